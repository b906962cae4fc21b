/* lanes_kernels.h - a program's instructions, forward and backward, over LANES rows at once.
 *
 * A template: lanes_widths.h includes it once for each number of lanes and kind of functions, with
 * LANES and NAME(x) defined. The arithmetic comes from the op table; each loop is plain C
 * that the compiler turns into vectors.
 * Each lane does what the sweep does for one row, operation for operation: a first contribution to
 * a gradient is 0.0 + t, since the sweep starts from 0.0 and -0.0 must become 0.0 here too.
 * An instruction writes a slot that it doesn't read, so results may be `restrict`; two gradients of
 * one instruction may be the same slot (x * x), so they are given away one after the other. */

#if LANES == 1
typedef double NAME(vec);
enum { NAME(VECS) = 1 };
#else
typedef pg_vec NAME(vec);
enum { NAME(VECS) = LANES / PG_VEC };
#endif
#define VEC NAME(vec)
#define VECS NAME(VECS)
#define EACH_VEC for (int v = 0; v < VECS; v++)
#define SLOT(array, slot) ((VEC *)((array) + (size_t)(slot) * LANES))

/* Sum the lanes in a fixed tree: lanes that are 8 apart meet. Lanes without a row count for 0. */
static inline PG_ALWAYS_INLINE void NAME(fold_vecs)(const pg_block *block, double *accumulator,
                                                    const VEC *lanes) {
#if LANES == 1
    (void)block;
    accumulator[0] += lanes[0];
#else
    enum { eight = PG_SUBLANES / PG_VEC };
    pg_vec *const sums = (pg_vec *)accumulator;
    VEC kept[VECS];
    if (PG_UNLIKELY(block->active < LANES)) {
        EACH_VEC kept[v] = PG_MASKED(lanes[v], ((const pg_mask *)block->mask)[v]);
    } else {
        EACH_VEC kept[v] = lanes[v];
    }
    for (int k = 0; k < eight; k++)
#if LANES == 32
        sums[k] += (kept[k] + kept[k + eight]) + (kept[k + 2 * eight] + kept[k + 3 * eight]);
#else
        sums[k] += kept[k];
#endif
#endif
}

static void NAME(fold)(const pg_block *block, double *accumulator, const double *lanes) {
    NAME(fold_vecs)(block, accumulator, (const VEC *)lanes);
}

/* A contribution to a gradient goes where it is aimed at. */
static inline PG_ALWAYS_INLINE void NAME(give)(const pg_block *block, pg_target target,
                                               const VEC *lanes) {
    if (target.give == PG_GIVE_ADD) {
        VEC *const grads = SLOT(block->grads, target.at);
        EACH_VEC grads[v] += lanes[v];
    } else if (target.give == PG_GIVE_STORE) {
        VEC *const grads = SLOT(block->grads, target.at);
        EACH_VEC grads[v] = 0.0 + lanes[v];
    } else if (target.give == PG_GIVE_FOLD) {
        NAME(fold_vecs)(block, block->accumulators + (size_t)target.at * PG_SUBLANES, lanes);
    }
}

static inline bool NAME(all_finite)(const double *lanes) {
    int odd = 0;
    for (int l = 0; l < LANES; l++) odd |= !(fabs(lanes[l]) <= DBL_MAX);
    return odd == 0;
}

/* ---- Forward --------------------------------------------------------------------------------- */

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
        case PG_OP_CUSTOM:
        case PG_OP_COPY: PG_FORWARD(PG_OP_COPY, a, PG_OK)
        case PG_OP_SELECT: {
            const pg_pair pair = block->program->pairs[instr->first];
            const double *left = values + (size_t)pair.left * LANES;
            const double *right = values + (size_t)pair.right * LANES;
            for (int l = 0; l < LANES; l++)
                ys[l] = pg_compares(instr->shape, left[l], right[l]) ? as[l] : bs[l];
            break;
        }
        case PG_OP_DOT: NAME(dot)(block, instr); break;
        default: break;
        }
    }
    return PG_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* Of each pair, the left factor gets the sum's gradient times the right one, and the other way
 * round. What all left and all right targets say is known to the callers that matter, and the
 * compiler then leaves out the questions. */
static inline PG_ALWAYS_INLINE void NAME(push_pairs)(const pg_block *block, const pg_step *step,
                                                     const pg_instr *instr, pg_give left,
                                                     pg_give right, bool weighted) {
    const pg_pair *pair = block->program->pairs + instr->first + instr->count;
    const pg_target *target = block->reverse->targets + step->first + 2 * (size_t)instr->count;
    const double *const values = block->values, *const uniform = block->uniform;
    VEC g[VECS], t[VECS];
    EACH_VEC g[v] = SLOT(block->grads, instr->dst)[v];
    for (uint32_t i = instr->count; i-- > 0;) {
        pair--;
        target -= 2;
        if (i == 0) NAME(give)(block, step->a, g);
        if (left != PG_GIVE_NONE) {
            const pg_give how = left == PG_GIVE_MIXED ? (pg_give)target[0].give : left;
            EACH_VEC t[v] = SLOT(values, pair->right)[v] * g[v];
            NAME(give)(block, (pg_target){how, target[0].at}, t);
        }
        if (right != PG_GIVE_NONE) {
            const pg_give how = right == PG_GIVE_MIXED ? (pg_give)target[1].give : right;
            if (weighted) EACH_VEC t[v] = uniform[pair->left] * g[v];
            else EACH_VEC t[v] = SLOT(values, pair->left)[v] * g[v];
            NAME(give)(block, (pg_target){how, target[1].at}, t);
        }
    }
}

static inline void NAME(push_dot)(const pg_block *at, const pg_step *step, const pg_instr *instr) {
    const pg_block block = *at; /* a copy, which no store can change */
    const pg_give left = step->left, right = step->right;
    if (!(instr->shape & PG_DOT_WEIGHTED)) {
        if (left == PG_GIVE_STORE && right == PG_GIVE_ADD) /* a sum of squares */
            NAME(push_pairs)(&block, step, instr, PG_GIVE_STORE, PG_GIVE_ADD, false);
        else NAME(push_pairs)(&block, step, instr, PG_GIVE_MIXED, PG_GIVE_MIXED, false);
    } else if (left == PG_GIVE_FOLD && right == PG_GIVE_ADD) {
        NAME(push_pairs)(&block, step, instr, PG_GIVE_FOLD, PG_GIVE_ADD, true);
    } else if (left == PG_GIVE_FOLD && right == PG_GIVE_STORE) {
        NAME(push_pairs)(&block, step, instr, PG_GIVE_FOLD, PG_GIVE_STORE, true);
    } else if (left == PG_GIVE_FOLD && right == PG_GIVE_NONE) {
        NAME(push_pairs)(&block, step, instr, PG_GIVE_FOLD, PG_GIVE_NONE, true);
    } else {
        NAME(push_pairs)(&block, step, instr, PG_GIVE_MIXED, PG_GIVE_MIXED, true);
    }
}

/* The derivative `d_` by one operand, judged, times g, to its target. */
#define PG_PUSH(op, which, d_, fault, target)                                                      \
    if ((target).give != PG_GIVE_NONE) {                                                           \
        _Alignas(64) double ds[LANES];                                                             \
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
        NAME(give)(block, target, (VEC *)ds);                                                      \
    }

static pg_status NAME(backward)(pg_block *block) {
    const double *const values = block->values;
    pg_status status = PG_OK;
    for (size_t i = 0; i < block->step_count; i++) {
        const pg_step *const step = &block->steps[i];
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
            _Alignas(64) double ga[LANES], gb[LANES];
            for (int l = 0; l < LANES; l++) {
                const bool chosen = pg_compares(instr->shape, left[l], right[l]);
                ga[l] = (chosen ? 1.0 : 0.0) * g[l];
                gb[l] = (chosen ? 0.0 : 1.0) * g[l];
            }
            NAME(give)(block, step->a, (VEC *)ga);
            NAME(give)(block, step->b, (VEC *)gb);
            break;
        }
        case PG_OP_CUSTOM: /* a dot whose right factors get nothing */
        case PG_OP_DOT: NAME(push_dot)(block, step, instr); break;
        default: break;
        }
    }
    return PG_OK;
}

#undef VEC
#undef VECS
#undef EACH_VEC
#undef SLOT
#undef PG_FORWARD
#undef PG_PUSH
