/* lanes_kernels.h - a program's instructions, forward and backward, over LANES rows at once.
 *
 * A template: lanes_levels.h includes it once for each number of lanes and kind of functions, with
 * LANES, FAST and NAME(x) defined. The arithmetic comes from the op table; each loop is plain C
 * that the compiler turns into vectors.
 * Each lane does what the sweep does for one row, operation for operation: a first contribution to
 * a gradient is 0.0 + t, since the sweep starts from 0.0 and -0.0 must become 0.0 here too.
 * An instruction writes a slot that it doesn't read, so results may be `restrict`; two gradients of
 * one instruction may be the same slot (x * x), so they are given away one after the other. */

/* Sum the lanes in a fixed tree: lanes that are 8 apart meet. Lanes without a row count for 0. */
static inline void NAME(fold_lanes)(double *accumulator, const double *lanes, size_t active) {
#if LANES == 1
    (void)active;
    accumulator[0] += lanes[0];
#else
    double masked[LANES];
    if (PG_UNLIKELY(active < LANES)) {
        for (size_t l = 0; l < LANES; l++) masked[l] = l < active ? lanes[l] : 0.0;
        lanes = masked;
    }
    for (int k = 0; k < PG_SUBLANES; k++) {
#if LANES == 32
        accumulator[k] += (lanes[k] + lanes[k + 8]) + (lanes[k + 16] + lanes[k + 24]);
#else
        accumulator[k] += lanes[k];
#endif
    }
#endif
}

static inline void NAME(give)(const pg_block *block, pg_target target, const double *lanes) {
    double *grads = block->grads + (size_t)target.at * LANES;
    switch (target.give) {
    case PG_GIVE_STORE:
        for (int l = 0; l < LANES; l++) grads[l] = 0.0 + lanes[l];
        break;
    case PG_GIVE_ADD:
        for (int l = 0; l < LANES; l++) grads[l] += lanes[l];
        break;
    case PG_GIVE_FOLD:
        NAME(fold_lanes)(block->accumulators + (size_t)target.at * PG_SUBLANES, lanes,
                         block->active);
        break;
    default: break;
    }
}

static inline bool NAME(all_finite)(const double *lanes) {
    int odd = 0;
    for (int l = 0; l < LANES; l++) odd |= !(fabs(lanes[l]) <= DBL_MAX);
    return odd == 0;
}

static inline bool NAME(compare)(int compare, double left, double right) {
    switch (compare) {
    case PG_LESS: return left < right;
    case PG_LESS_EQUAL: return left <= right;
    case PG_GREATER: return left > right;
    case PG_GREATER_EQUAL: return left >= right;
    case PG_NOT_LESS: return !(left < right);
    case PG_NOT_LESS_EQUAL: return !(left <= right);
    case PG_NOT_GREATER: return !(left > right);
    default: return !(left >= right);
    }
}

/* ---- Forward --------------------------------------------------------------------------------- */

static inline void NAME(dot)(const pg_block *block, const pg_instr *instr) {
    const pg_pair *pairs = block->program->pairs + instr->first;
    const double *values = block->values, *uniform = block->uniform;
    double sum[LANES];
    uint32_t i = 0;
    if (instr->shape & PG_DOT_UNIFORM_START)
        for (int l = 0; l < LANES; l++) sum[l] = uniform[instr->a];
    else if (instr->shape & PG_DOT_STARTS)
        for (int l = 0; l < LANES; l++) sum[l] = values[(size_t)instr->a * LANES + l];
    else {
        const double *y = values + (size_t)pairs[0].right * LANES;
        const double *x = values + (size_t)pairs[0].left * LANES;
        const double w = uniform[instr->shape & PG_DOT_WEIGHTED ? pairs[0].left : 0];
        for (int l = 0; l < LANES; l++)
            sum[l] = (instr->shape & PG_DOT_WEIGHTED ? w : x[l]) * y[l];
        i = 1;
    }
    if (instr->shape & PG_DOT_WEIGHTED)
        for (; i < instr->count; i++) {
            const double w = uniform[pairs[i].left];
            const double *x = values + (size_t)pairs[i].right * LANES;
            for (int l = 0; l < LANES; l++) sum[l] += w * x[l];
        }
    else
        for (; i < instr->count; i++) {
            const double *x = values + (size_t)pairs[i].left * LANES;
            const double *y = values + (size_t)pairs[i].right * LANES;
            for (int l = 0; l < LANES; l++) sum[l] += x[l] * y[l];
        }
    double *out = block->values + (size_t)instr->dst * LANES;
    for (int l = 0; l < LANES; l++) out[l] = sum[l];
}

/* y = op(a, b) in all lanes; `fault` says what an infinite y means, as in the op table. */
#define PG_FORWARD(op, y_, fault)                                                                  \
    {                                                                                              \
        for (int l = 0; l < LANES; l++) {                                                          \
            const double a = as[l], b = bs[l];                                                     \
            (void)a, (void)b;                                                                      \
            ys[l] = (y_);                                                                          \
        }                                                                                          \
        const double a = 1.0;                                                                      \
        (void)a;                                                                                   \
        if ((fault) != PG_OK && block->judge && PG_UNLIKELY(!NAME(all_finite)(ys)) &&              \
            pg_judge_lanes(block, op, 0, ys, as, bs, &status))                                     \
            return status;                                                                         \
        break;                                                                                     \
    }

static pg_status NAME(forward)(pg_block *block) {
    double *const values = block->values;
    pg_status status = PG_OK;
    for (const pg_instr *instr = block->code, *end = instr + block->length; instr < end; instr++) {
        const double *as = values + (size_t)instr->a * LANES;
        const double *bs = values + (size_t)instr->b * LANES;
        double *restrict ys = values + (size_t)instr->dst * LANES;
        switch (instr->op) {
#define PG_UNARY(NAME_, python, symbol, y_, da_, fault, ...)                                       \
    case PG_OP_##NAME_: PG_FORWARD(PG_OP_##NAME_, y_, fault)
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME_, python, symbol, y_, da_, db_, fault, ...)                                 \
    case PG_OP_##NAME_: PG_FORWARD(PG_OP_##NAME_, y_, fault)
#include "ops.def"
        case PG_OP_RECIP: PG_FORWARD(PG_OP_RECIP, 1.0 / a, PG_ERR_ZERO_DIVISION)
        case PG_OP_DETACH:
        case PG_OP_COPY: PG_FORWARD(PG_OP_COPY, a, PG_OK)
        case PG_OP_SELECT: {
            const pg_pair pair = block->program->pairs[instr->first];
            const double *left = values + (size_t)pair.left * LANES;
            const double *right = values + (size_t)pair.right * LANES;
            for (int l = 0; l < LANES; l++)
                ys[l] = NAME(compare)(instr->shape, left[l], right[l]) ? as[l] : bs[l];
            break;
        }
        case PG_OP_DOT: NAME(dot)(block, instr); break;
        default: break;
        }
    }
    return PG_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* A pair of a DOT: both factors get the sum's gradient times the other factor. */
static inline void NAME(push_pair)(const pg_block *block, const pg_target *targets,
                                   const double *left, double weight, bool weighted,
                                   const double *right, const double *g) {
    double gl[LANES], gr[LANES];
    for (int l = 0; l < LANES; l++) gl[l] = right[l] * g[l];
    for (int l = 0; l < LANES; l++) gr[l] = (weighted ? weight : left[l]) * g[l];
    NAME(give)(block, targets[0], gl);
    NAME(give)(block, targets[1], gr);
}

static inline void NAME(push_dot)(const pg_block *block, const pg_step *step,
                                  const pg_instr *instr, const double *g) {
    const pg_pair *pairs = block->program->pairs + instr->first;
    const pg_target *targets = block->reverse->targets + step->first;
    const bool weighted = instr->shape & PG_DOT_WEIGHTED;
    for (uint32_t i = instr->count; i-- > 0;) {
        if (i == 0) NAME(give)(block, step->a, g);
        const double *right = block->values + (size_t)pairs[i].right * LANES;
        const double *left = weighted ? right : block->values + (size_t)pairs[i].left * LANES;
        const double weight = weighted ? block->uniform[pairs[i].left] : 0.0;
        NAME(push_pair)(block, targets + 2 * i, left, weight, weighted, right, g);
    }
}

/* The derivative `d_` by one operand, judged, times g, to its target. */
#define PG_PUSH(op, which, d_, fault, target)                                                      \
    if ((target).give != PG_GIVE_NONE) {                                                           \
        double ds[LANES];                                                                          \
        for (int l = 0; l < LANES; l++) {                                                          \
            const double a = as[l], b = bs[l], y = ys[l];                                          \
            (void)a, (void)b, (void)y;                                                             \
            ds[l] = (d_);                                                                          \
        }                                                                                          \
        const double a = 1.0;                                                                      \
        (void)a;                                                                                   \
        if ((fault) != PG_OK && block->judge && PG_UNLIKELY(!NAME(all_finite)(ds)) &&              \
            pg_judge_lanes(block, op, which, ds, as, bs, &status))                                 \
            return status;                                                                         \
        for (int l = 0; l < LANES; l++) ds[l] *= g[l];                                             \
        NAME(give)(block, target, ds);                                                             \
    }

static pg_status NAME(backward)(pg_block *block) {
    const double *const values = block->values;
    pg_status status = PG_OK;
    for (const pg_step *step = block->steps, *end = step + block->step_count; step < end; step++) {
        const pg_instr *instr = &block->program->code[step->instr];
        const double *as = values + (size_t)instr->a * LANES;
        const double *bs = values + (size_t)instr->b * LANES;
        const double *ys = values + (size_t)instr->dst * LANES;
        const double *g = block->grads + (size_t)instr->dst * LANES;
        switch (instr->op) {
#define PG_UNARY(NAME_, python, symbol, y_, da_, fault, ...)                                       \
    case PG_OP_##NAME_: PG_PUSH(PG_OP_##NAME_, 1, da_, fault, step->a) break;
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME_, python, symbol, y_, da_, db_, fault, ...)                                 \
    case PG_OP_##NAME_:                                                                            \
        PG_PUSH(PG_OP_##NAME_, 1, da_, fault, step->a)                                             \
        PG_PUSH(PG_OP_##NAME_, 2, db_, fault, step->b)                                             \
        break;
#include "ops.def"
        case PG_OP_RECIP: PG_PUSH(PG_OP_RECIP, 1, -(y * y), PG_ERR_ZERO_DIVISION, step->a) break;
        case PG_OP_COPY: PG_PUSH(PG_OP_COPY, 1, 1.0, PG_OK, step->a) break;
        case PG_OP_SELECT: {
            const pg_pair pair = block->program->pairs[instr->first];
            const double *left = values + (size_t)pair.left * LANES;
            const double *right = values + (size_t)pair.right * LANES;
            double ga[LANES], gb[LANES];
            for (int l = 0; l < LANES; l++) {
                const bool chosen = NAME(compare)(instr->shape, left[l], right[l]);
                ga[l] = (chosen ? 1.0 : 0.0) * g[l];
                gb[l] = (chosen ? 0.0 : 1.0) * g[l];
            }
            NAME(give)(block, step->a, ga);
            NAME(give)(block, step->b, gb);
            break;
        }
        case PG_OP_DOT: NAME(push_dot)(block, step, instr, g); break;
        default: break;
        }
    }
    return PG_OK;
}

#undef PG_FORWARD
#undef PG_PUSH
