/* lanes_careful.h - gradients once more, for a block where one came out undefined or failed: the
 * last part of the template that lanes_kernels.h begins.
 *
 * Runs the steps of lanes_backward.h one by one, in their order, with one difference: where
 * derivative * g is undefined and g is 0, it counts as 0 (pg_product). nan propagates, so the fast
 * kernels needn't check: an undefined product shows in the results. All other bits are theirs.
 * Where gradients are sums over rows (the uniform section), the block's `reached` may mark a slot
 * that rows do reach, though their gradients cancel: products with its 0 are formed as they are. */

/* What a step's products are formed from, and the block that its fault is stored in. */
typedef struct NAME(careful_step) {
    pg_block *block;
    pg_place to;
    const double *g;
    bool reached; /* rows reach the result, so a g of 0 means that they cancel */
} NAME(careful_step);

static inline void NAME(give_product)(const NAME(careful_step) * step, pg_target target,
                                      const double *slopes) {
    _Alignas(64) double ts[LANES];
    for (int l = 0; l < LANES; l++) {
        ts[l] = step->reached ? slopes[l] * step->g[l] : pg_product(slopes[l], step->g[l]);
        if (step->g[l] == 0.0 && !isfinite(slopes[l])) step->block->spared = true;
    }
    NAME(give)(step->to, target, (const VEC *)ts);
}

static void NAME(careful_dot)(const NAME(careful_step) * on, const pg_step *step) {
    const pg_block *const block = on->block;
    const pg_instr *const dot = &block->program->code[step->instr];
    const pg_target *const targets = block->plan->targets + step->first;
    _Alignas(64) double weights[LANES];
    for (uint32_t i = dot->count; i-- > 0;) {
        const pg_pair pair = block->program->pairs[dot->first + i];
        if (i == 0) NAME(give)(on->to, step->a, (const VEC *)on->g);
        if (targets[2 * i].how != PG_ACCUMULATE_NONE)
            NAME(give_product)(on, targets[2 * i], block->values + (size_t)pair.right * LANES);
        if (targets[2 * i + 1].how == PG_ACCUMULATE_NONE) continue;
        const double *left = block->values + (size_t)pair.left * LANES;
        if (dot->shape & PG_DOT_WEIGHTED) {
            for (int l = 0; l < LANES; l++) weights[l] = block->uniform[pair.left];
            left = weights;
        }
        NAME(give_product)(on, targets[2 * i + 1], left);
    }
}

static void NAME(careful_select)(const NAME(careful_step) * on, const pg_step *step,
                                 const pg_instr *instr) {
    const pg_pair pair = on->block->program->pairs[instr->first];
    const double *left = on->block->values + (size_t)pair.left * LANES;
    const double *right = on->block->values + (size_t)pair.right * LANES;
    _Alignas(64) double to_a[LANES], to_b[LANES];
    for (int l = 0; l < LANES; l++) {
        const bool chosen = pg_compares(instr->shape, left[l], right[l]);
        to_a[l] = chosen ? 1.0 : 0.0;
        to_b[l] = chosen ? 0.0 : 1.0;
    }
    if (step->a.how != PG_ACCUMULATE_NONE) NAME(give_product)(on, step->a, to_a);
    if (step->b.how != PG_ACCUMULATE_NONE) NAME(give_product)(on, step->b, to_b);
}

#define PG_CAREFUL(op, which, d_, fault, target)                                                   \
    if ((target).how != PG_ACCUMULATE_NONE) {                                                      \
        PG_SLOPES(op, which, d_, fault, on.reached ? NULL : on.g)                                  \
        NAME(give_product)(&on, target, ds);                                                       \
    }

static pg_status NAME(careful)(pg_block *block) {
    const double *const values = block->values;
    for (size_t i = 0; i < block->step_count; i++) {
        const pg_step *step = &block->steps[i];
        const pg_instr *instr = &block->program->code[step->instr];
        const double *as = values + (size_t)instr->a * LANES;
        const double *bs = values + (size_t)instr->b * LANES;
        const double *ys = values + (size_t)instr->dst * LANES;
        const NAME(careful_step)
            on = {block, pg_place_of(block), block->grads + (size_t)instr->dst * LANES,
                  block->reached != NULL && block->reached[instr->dst] != 0};
        switch (instr->op) {
#define PG_UNARY(NAME_, python, symbol, y_, da_, fault, ...)                                       \
    case PG_OP_##NAME_: PG_CAREFUL(PG_OP_##NAME_, 1, da_, fault, step->a) break;
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME_, python, symbol, y_, da_, db_, fault, ...)                                 \
    case PG_OP_##NAME_:                                                                            \
        PG_CAREFUL(PG_OP_##NAME_, 1, da_, fault, step->a)                                          \
        PG_CAREFUL(PG_OP_##NAME_, 2, db_, fault, step->b)                                          \
        break;
#include "ops/ops.def"
#define PG_LANEWISE(NAME_, name, y_, fault, da_, da_fault, ...)                                    \
    case PG_OP_##NAME_: PG_CAREFUL(PG_OP_##NAME_, 1, da_, da_fault, step->a) break;
#include "ops/instructions.def"
        case PG_OP_SELECT: NAME(careful_select)(&on, step, instr); break;
        case PG_OP_CUSTOM: /* its right factors, the derivatives, get no gradient */
        case PG_OP_DOT: NAME(careful_dot)(&on, step); break;
        default: break;
        }
    }
    return PG_OK;
}

#undef PG_CAREFUL
#undef PG_SLOPES
