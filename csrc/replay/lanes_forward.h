/* lanes_forward.h - values: the first part of the template that lanes_kernels.h begins.
 *
 * An instruction, or a run of them, writes no slot that it reads, so results may be `restrict`. */

/* The sum stays in registers. */
static inline void NAME(dot)(const pg_block *block, const pg_instr *instr) {
    const pg_pair *pair = block->program->pairs + instr->first, *end = pair + instr->count;
    double *const values = block->values;
    const double *const uniform = block->uniform;
    const bool weighted = instr->shape & PG_DOT_WEIGHTED;
    VEC sum[VECS];
    if (instr->shape & PG_DOT_UNIFORM_START) {
        const double start = uniform[instr->a];
        EACH_VEC sum[v] = start - (VEC){0};
    } else if (instr->shape & PG_DOT_STARTS) {
        EACH_VEC sum[v] = SLOT(values, instr->a)[v];
    } else {
        if (weighted) EACH_VEC sum[v] = uniform[pair->left] * SLOT(values, pair->right)[v];
        else EACH_VEC sum[v] = SLOT(values, pair->left)[v] * SLOT(values, pair->right)[v];
        pair++;
    }
    if (weighted)
        for (; pair < end; pair++)
            EACH_VEC sum[v] += uniform[pair->left] * SLOT(values, pair->right)[v];
    else
        for (; pair < end; pair++)
            EACH_VEC sum[v] += SLOT(values, pair->left)[v] * SLOT(values, pair->right)[v];
    EACH_VEC SLOT(values, instr->dst)[v] = sum[v];
}

/* Register tile: `abreast` dots of a layer, in AT_ONCE vectors from the `from`-th on. */
static inline PG_ALWAYS_INLINE void NAME(dots)(const pg_block *block, const pg_instr *dots,
                                               int abreast, int from) {
    double *const values = block->values;
    const double *const uniform = block->uniform;
    const pg_pair *pairs[ABREAST];
    VEC sums[ABREAST][AT_ONCE];
    for (int d = 0; d < abreast; d++) pairs[d] = block->program->pairs + dots[d].first;
    const VEC *right = SLOT(values, pairs[0]->right) + from;
    const bool starts = dots->shape & PG_DOT_STARTS;
    for (int d = 0; d < abreast; d++) {
        const double first = uniform[starts ? dots[d].a : pairs[d]->left];
        EACH_AT_ONCE sums[d][v] = starts ? first - (VEC){0} : first * right[v];
    }
    for (uint32_t i = starts ? 0 : 1; i < dots->count; i++) {
        right = SLOT(values, pairs[0][i].right) + from;
        for (int d = 0; d < abreast; d++) {
            const double left = uniform[pairs[d][i].left];
            EACH_AT_ONCE sums[d][v] += left * right[v];
        }
    }
    for (int d = 0; d < abreast; d++)
        EACH_AT_ONCE(SLOT(values, dots[d].dst) + from)[v] = sums[d][v];
}

static void NAME(layer)(const pg_block *block, const pg_instr *dots) {
    uint32_t left = dots->run;
    for (; left >= ABREAST; left -= ABREAST, dots += ABREAST)
        for (int v = 0; v < VECS; v += AT_ONCE) NAME(dots)(block, dots, ABREAST, v);
    for (; left > 0; left--, dots++)
        for (int v = 0; v < VECS; v += AT_ONCE) NAME(dots)(block, dots, 1, v);
}

/* y = op(a, b) in all lanes of a run; `fault` says what an infinite y means, as in the op table. */
#define PG_FORWARD(op, y_, fault)                                                                  \
    {                                                                                              \
        for (size_t l = 0; l < LANES * run; l++) {                                                 \
            const double a = as[l], b = bs[l];                                                     \
            (void)a, (void)b;                                                                      \
            ys[l] = (y_);                                                                          \
        }                                                                                          \
        const double a = 1.0, b = 0.0;                                                             \
        (void)a, (void)b;                                                                          \
        for (size_t l = 0; (fault) != PG_OK && block->judge && l < LANES * run; l += LANES) {      \
            if (PG_LIKELY(NAME(all_finite)(ys + l))) continue;                                     \
            const pg_judged judged = {ys + l, as + l, bs + l, NULL};                               \
            const pg_status status = pg_judge_lanes(block, op, 0, &judged);                        \
            if (status != PG_OK) return status;                                                    \
        }                                                                                          \
        break;                                                                                     \
    }

static pg_status NAME(forward)(pg_block *block) {
    double *const values = block->values;
    for (const pg_instr *instr = block->code, *end = instr + block->length; instr < end;
         instr += instr->run) {
        const size_t run = instr->run;
        const double *as = values + (size_t)instr->a * LANES;
        const double *bs = values + (size_t)instr->b * LANES;
        double *restrict ys = values + (size_t)instr->dst * LANES;
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
            const double *left = values + (size_t)pair.left * LANES;
            const double *right = values + (size_t)pair.right * LANES;
            for (int l = 0; l < LANES; l++)
                ys[l] = pg_compares(instr->shape, left[l], right[l]) ? as[l] : bs[l];
            break;
        }
        case PG_OP_DOT:
            if (run > 1) NAME(layer)(block, instr);
            else NAME(dot)(block, instr);
            if (PG_UNLIKELY(instr->shape & PG_DOT_SQUARES) && block->judge && !NAME(all_finite)(ys))
                return PG_ERR_OVERFLOW; /* perhaps: pg_find_fault judges the squares */
            break;
        default: break;
        }
    }
    return PG_OK;
}

#undef PG_FORWARD
