/* lanes_ops.h - a program's code, forward and backward, over the lanes of a block.
 *
 * A template: lanes_levels.h includes it for one lane and for many, with libm's functions and with
 * our own. NAME(x) is defined; LANES is the number of lanes, 1 or any multiple of 8, and DOTS(x)
 * the function x of lanes_dots.h for it. The arithmetic comes from the op table; each loop is plain
 * C that the compiler vectorises.
 * An instruction, or a run of them, writes no slot that it reads, so results may be `restrict`. */

/* ---- Values ---------------------------------------------------------------------------------- */

/* Has powers.h computed it? In one lane it isn't asked. */
#define RAISED(op, done) ((op) == PG_OP_POWN && MOST > 1 ? (done) : none_done)

/* y = op(a, b) in all lanes of a run, for long formulas: their operations wait for each other.
 * Those of some lanes are unrolled into one piece, from which gcc makes vectors whose operations
 * alternate (it wants all lanes loaded before the first is stored). */
#if MOST > 1 && PG_VECTOR_BYTES >= 32 && PG_JOINS_LANES
#define PG_ALTERNATE(piece, y_)                                                                    \
    for (; first + (piece) <= lanes * run; first += (piece)) {                                     \
        double ready[piece];                                                                       \
        PG_UNROLL(piece) for (size_t i = 0; i < (piece); i++) {                                    \
            const double a = as[first + i], b = bs[first + i];                                     \
            (void)a, (void)b;                                                                      \
            ready[i] = (y_);                                                                       \
        }                                                                                          \
        PG_UNROLL(piece) for (size_t i = 0; i < (piece); i++) ys[first + i] = ready[i];            \
    }
#else
#define PG_ALTERNATE(piece, y_)
#endif

/* y = op(a, b) in all lanes of a run; `fault` says what an infinite y means, as in the op table. */
#define PG_FORWARD(op, y_, fault)                                                                  \
    {                                                                                              \
        const powers_done done = RAISED(op, raise_all(block, instr, 0.0, ys, lanes, run));         \
        size_t first = 0;                                                                          \
        if (alternates(op) >= 16) {                                                                \
            PG_ALTERNATE(16, y_)                                                                   \
        }                                                                                          \
        if (alternates(op) >= 8) {                                                                 \
            PG_ALTERNATE(2 * PG_VEC, y_)                                                           \
        }                                                                                          \
        for (size_t l = first; done == none_done && l < lanes * run; l++) {                        \
            const double a = as[l], b = bs[l];                                                     \
            (void)a, (void)b;                                                                      \
            ys[l] = (y_);                                                                          \
        }                                                                                          \
        int far = 0;                                                                               \
        for (size_t l = 0; l < lanes * run; l++) far |= out_of_reach(op, as[l]);                   \
        for (size_t l = 0; PG_UNLIKELY(far) && l < lanes * run; l++)                               \
            if (out_of_reach(op, as[l])) ys[l] = pg_value_of(op, as[l], bs[l]);                    \
        if (done == all_finite_done) break;                                                        \
        const double a = 1.0, b = 0.0;                                                             \
        (void)a, (void)b;                                                                          \
        for (size_t l = 0; (fault) != PG_OK && block->judge && l < lanes * run; l += lanes) {      \
            if (PG_LIKELY(all_finite(ys + l, lanes))) continue;                                    \
            const pg_judged judged = {ys + l, as + l, bs + l, NULL};                               \
            const pg_status status = pg_judge_lanes(block, op, 0, &judged);                        \
            if (status != PG_OK) return status;                                                    \
        }                                                                                          \
        break;                                                                                     \
    }

static pg_status NAME(forward)(pg_block *block) {
    const size_t lanes = LANES;
    double *const values = block->values;
    for (const pg_instr *instr = block->code, *end = instr + block->length; instr < end;
         instr += instr->run) {
        const size_t run = instr->run;
        const double *as = values + (size_t)instr->a * lanes;
        const double *bs = values + (size_t)instr->b * lanes;
        double *restrict ys = values + (size_t)instr->dst * lanes;
        switch (instr->op) {
#define PG_UNARY(NAME_, python, symbol, y_, da_, fault, ...)                                       \
    case PG_OP_##NAME_: PG_FORWARD(PG_OP_##NAME_, y_, fault)
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME_, python, symbol, y_, da_, db_, fault, ...)                                 \
    case PG_OP_##NAME_: PG_FORWARD(PG_OP_##NAME_, y_, fault)
#include "ops/ops.def"
#define PG_LANEWISE(NAME_, name, y_, fault, ...)                                                   \
    case PG_OP_##NAME_: PG_FORWARD(PG_OP_##NAME_, y_, fault)
#include "ops/instructions.def"
        case PG_OP_DETACH:
        case PG_OP_CUSTOM: PG_FORWARD(PG_OP_DETACH, a, PG_OK)
        case PG_OP_SELECT: {
            const pg_pair pair = block->program->pairs[instr->first];
            const double *left = values + (size_t)pair.left * lanes;
            const double *right = values + (size_t)pair.right * lanes;
            for (size_t l = 0; l < lanes; l++)
                ys[l] = pg_compares(instr->shape, left[l], right[l]) ? as[l] : bs[l];
            break;
        }
        case PG_OP_TAKE:
            if (pg_gather(block, instr) != PG_OK) return PG_ERR_DOMAIN;
            break;
        case PG_OP_SEARCH: pg_search(block, instr); break;
        case PG_OP_SCATTER: pg_sum_parts(block, instr, values); break;
        case PG_OP_DOT:
            if (run > 1) DOTS(layer)(block, instr);
            else DOTS(dot)(block, instr);
            if (PG_LIKELY(!(instr->shape & (PG_DOT_SQUARES | PG_DOT_GATED))) ||
                all_finite(ys, lanes * run))
                break;
            if (instr->shape & PG_DOT_GATED) pg_dots_carefully(block, instr);
            else if (block->judge) return PG_ERR_OVERFLOW; /* perhaps: pg_find_fault judges them */
            break;
        default: break;
        }
    }
    return PG_OK;
}

/* ---- Gradients ------------------------------------------------------------------------------- */

/* Give the derivative `d_` by one operand, judged where g isn't 0, times g to its target. */
#define PG_PUSH_ONE(op, which, d_, fault, target)                                                  \
    {                                                                                              \
        _Alignas(64) double ds[MOST];                                                              \
        const powers_done done = RAISED(op, slopes_of_power(block, instr, ds, lanes));             \
        for (size_t l = 0; done == none_done && l < lanes; l++) {                                  \
            const double a = as[l], b = bs[l], y = ys[l];                                          \
            (void)a, (void)b, (void)y;                                                             \
            ds[l] = (d_);                                                                          \
        }                                                                                          \
        const double a = 1.0, b = 0.0;                                                             \
        (void)a, (void)b;                                                                          \
        const bool finite = done == all_finite_done;                                               \
        if ((fault) != PG_OK && block->judge && !finite && PG_UNLIKELY(!all_finite(ds, lanes))) {  \
            const pg_judged judged = {ds, as, bs, g};                                              \
            const pg_status status = pg_judge_lanes(block, op, which, &judged);                    \
            if (status != PG_OK) return status;                                                    \
        }                                                                                          \
        DOTS(give_product)(to, target, ds, g);                                                     \
    }

/* The same for a run of ops, which has targets in neighbouring slots; `how` is = 0.0 + or +=. */
#define PG_PUSH_RUN(d_, how, target)                                                               \
    {                                                                                              \
        double *restrict const ts = to.grads + (size_t)(target).at * lanes;                        \
        for (size_t l = 0; l < lanes * run; l++) {                                                 \
            const double a = as[l], b = bs[l], y = ys[l];                                          \
            (void)a, (void)b, (void)y;                                                             \
            ts[l] how(d_) * g[l];                                                                  \
        }                                                                                          \
    }

#if MOST == 1 /* one lane: a loop over the run, since several copies of each op cost code */
#define PG_PUSH(op, which, d_, fault, target)                                                      \
    for (size_t r = 0; (target).how != PG_ACCUMULATE_NONE && r < run; r++) {                       \
        const double a = as[r], b = bs[r], y = ys[r];                                              \
        (void)a, (void)b, (void)y;                                                                 \
        double d = (d_);                                                                           \
        if ((fault) != PG_OK && block->judge && PG_UNLIKELY(!isfinite(d))) {                       \
            const pg_judged judged = {&d, as + r, bs + r, g + r};                                  \
            const pg_status status = pg_judge_lanes(block, op, which, &judged);                    \
            if (status != PG_OK) return status;                                                    \
        }                                                                                          \
        const pg_target next = {(target).how, (target).at + (uint32_t)r};                          \
        DOTS(give_product)(to, next, &d, g + r);                                                   \
    }
#else
#define PG_PUSH(op, which, d_, fault, target)                                                      \
    if (!pg_can_fail(op) && (target).how == PG_ACCUMULATE_STORE) PG_PUSH_RUN(d_, = 0.0 +, target)  \
    else if (!pg_can_fail(op) && (target).how == PG_ACCUMULATE_ADD) PG_PUSH_RUN(d_, +=, target)    \
    else if ((target).how != PG_ACCUMULATE_NONE) PG_PUSH_ONE(op, which, d_, fault, target)
#endif

static pg_status NAME(backward)(pg_block *block) {
    const size_t lanes = LANES;
    const pg_place to = pg_place_of(block);
    const double *const values = block->values;
    for (size_t i = 0; i < block->step_count;) {
        const pg_step *step = &block->steps[i];
        const size_t run = step->run;
        i += run;
        if (run > 1 && step[1].instr < step->instr) step += run - 1; /* start at the lowest slot */
        const pg_instr *instr = &block->program->code[step->instr];
        const double *as = values + (size_t)instr->a * lanes;
        const double *bs = values + (size_t)instr->b * lanes;
        const double *ys = values + (size_t)instr->dst * lanes;
        const double *g = to.grads + (size_t)instr->dst * lanes;
        switch (instr->op) {
#define PG_UNARY(NAME_, python, symbol, y_, da_, fault, ...)                                       \
    case PG_OP_##NAME_: PG_PUSH(PG_OP_##NAME_, 1, da_, fault, step->a) break;
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME_, python, symbol, y_, da_, db_, fault, ...)                                 \
    case PG_OP_##NAME_:                                                                            \
        PG_PUSH(PG_OP_##NAME_, 1, da_, fault, step->a)                                             \
        PG_PUSH(PG_OP_##NAME_, 2, db_, fault, step->b)                                             \
        break;
#include "ops/ops.def"
#define PG_LANEWISE(NAME_, name, y_, fault, da_, da_fault, ...)                                    \
    case PG_OP_##NAME_: PG_PUSH(PG_OP_##NAME_, 1, da_, da_fault, step->a) break;
#include "ops/instructions.def"
        case PG_OP_SELECT: {
            const pg_pair pair = block->program->pairs[instr->first];
            const double *left = values + (size_t)pair.left * lanes;
            const double *right = values + (size_t)pair.right * lanes;
            _Alignas(64) double ga[MOST], gb[MOST];
            for (size_t l = 0; l < lanes; l++) {
                const bool chosen = pg_compares(instr->shape, left[l], right[l]);
                ga[l] = chosen ? 1.0 : 0.0;
                gb[l] = chosen ? 0.0 : 1.0;
            }
            DOTS(give_product)(to, step->a, ga, g);
            DOTS(give_product)(to, step->b, gb, g);
            break;
        }
        case PG_OP_CUSTOM: DOTS(push_dot)(block, step); break; /* right factors get no gradient */
        case PG_OP_TAKE: pg_scatter(block, step, to, 1); break;
        case PG_OP_SCATTER: pg_gather_parts(block, step, to, 1); break;
        case PG_OP_DOT:
            if (run > 1) DOTS(push_layer)(block, &block->steps[i - run]);
            else DOTS(push_dot)(block, step);
            break;
        default: break;
        }
    }
    return PG_OK;
}

#undef RAISED
#undef PG_ALTERNATE
#undef PG_FORWARD
#undef PG_PUSH
#undef PG_PUSH_RUN
#undef PG_PUSH_ONE
