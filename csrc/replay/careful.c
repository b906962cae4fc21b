/* careful.c - gradients once more, for a chunk where one came out undefined or failed; and gated
 * dots, which are gradients computed as values.
 *
 * Runs the steps of lanes_ops.h one by one, in their order, with one difference: where
 * derivative * g is undefined and g is 0, it counts as 0 (pg_product). nan propagates, so the fast
 * kernels needn't check: an undefined product shows in the results. All other bits are theirs.
 * Where gradients are sums over rows (the uniform section), the block's `reached` may mark a slot
 * that rows do reach, though their gradients cancel: products with its 0 are formed as they are.
 * It is rare, so these are loops over any number of lanes, compiled once.
 * Owns nothing. Cost: about twice the lane kernels'. */
#include "ops/kernels.h"
#include "replay/lanes.h"

enum { most_lanes = 32 };

#define NAME(x) x##_exact
#include "replay/slopes.h"
#undef NAME
#include "ops/fastnames.h"
#define NAME(x) x##_fast
#include "replay/slopes.h"
#undef NAME
#include "ops/fastnames_end.h"

/* What a step's products are formed from, and the block that its fault is stored in. */
typedef struct careful_step {
    pg_block *block;
    const pg_instr *instr;
    const double *g;
    size_t lanes;
    bool reached; /* rows reach the result, so a g of 0 means that they cancel */
} careful_step;

static const double *lanes_of(const careful_step *on, uint32_t slot) {
    return on->block->values + (size_t)slot * on->lanes;
}

void pg_give_lanes(pg_place to, size_t apart, pg_target target, const double *ts, size_t lanes) {
    double *const grads = to.grads + (size_t)target.at * lanes;
    if (target.how == PG_ACCUMULATE_ADD)
        for (size_t l = 0; l < lanes; l++) grads[l] += ts[l];
    else if (target.how == PG_ACCUMULATE_STORE)
        for (size_t l = 0; l < lanes; l++) grads[l] = 0.0 + ts[l];
    else if (target.how == PG_ACCUMULATE_FOLD)
        for (size_t l = 0; l < lanes; l++) to.accumulators[target.at * apart + l % apart] += ts[l];
}

static void give(const careful_step *on, pg_target target, const double *ts) {
    pg_give_lanes(pg_place_of(on->block), 1, target, ts, on->lanes);
}

static void give_product(const careful_step *on, pg_target target, const double *slopes) {
    double ts[most_lanes];
    if (target.how == PG_ACCUMULATE_NONE) return;
    for (size_t l = 0; l < on->lanes; l++) {
        ts[l] = on->reached ? slopes[l] * on->g[l] : pg_product(slopes[l], on->g[l]);
        if (on->g[l] == 0.0 && !isfinite(slopes[l])) on->block->spared = true;
    }
    give(on, target, ts);
}

/* A custom op's right factors, the derivatives, have no targets. */
static void push_pairs(const careful_step *on, const pg_step *step) {
    const pg_block *const block = on->block;
    const pg_target *const targets = block->plan->targets + step->first;
    double weights[most_lanes];
    for (uint32_t i = on->instr->count; i-- > 0;) {
        const pg_pair pair = block->program->pairs[on->instr->first + i];
        if (i == 0) give(on, step->a, on->g);
        give_product(on, targets[2 * i], lanes_of(on, pair.right));
        const bool weighted = on->instr->shape & PG_DOT_WEIGHTED;
        if (weighted && targets[2 * i + 1].how != PG_ACCUMULATE_NONE)
            for (size_t l = 0; l < on->lanes; l++) weights[l] = block->uniform[pair.left];
        give_product(on, targets[2 * i + 1], weighted ? weights : lanes_of(on, pair.left));
    }
}

static void push_select(const careful_step *on, const pg_step *step) {
    const pg_pair pair = on->block->program->pairs[on->instr->first];
    const double *left = lanes_of(on, pair.left), *right = lanes_of(on, pair.right);
    double to_a[most_lanes], to_b[most_lanes];
    for (size_t l = 0; l < on->lanes; l++) {
        const bool chosen = pg_compares(on->instr->shape, left[l], right[l]);
        to_a[l] = chosen ? 1.0 : 0.0;
        to_b[l] = chosen ? 0.0 : 1.0;
    }
    give_product(on, step->a, to_a);
    give_product(on, step->b, to_b);
}

/* Give the derivative by operand 1 or 2, times g, to its target. */
static pg_status push_derivative(const careful_step *on, int which, pg_target target) {
    const int op = on->instr->op;
    if (target.how == PG_ACCUMULATE_NONE) return PG_OK;
    double ds[most_lanes];
    const pg_judged judged = {ds, lanes_of(on, on->instr->a), lanes_of(on, on->instr->b),
                              on->reached ? NULL : on->g};
    const double *const ys = lanes_of(on, on->instr->dst);
    if (on->block->program->fast) slopes_fast(op, which, &judged, ys, ds, on->lanes);
    else slopes_exact(op, which, &judged, ys, ds, on->lanes);
    if (on->block->judge && pg_may_fail(op, which)) {
        const pg_status status = pg_judge_lanes(on->block, op, which, &judged);
        if (status != PG_OK) return status;
    }
    give_product(on, target, ds);
    return PG_OK;
}

/* ---- Gated dots ------------------------------------------------------------------------------ */

static void dot_carefully(const pg_block *block, const pg_instr *dot) {
    const size_t lanes = block->lanes;
    double *const values = block->values, *const ys = values + (size_t)dot->dst * lanes;
    const double *start = values + (size_t)dot->a * lanes;
    size_t stride = 1;
    if (dot->shape & PG_DOT_UNIFORM_START) start = block->uniform + dot->a, stride = 0;
    for (size_t l = 0; l < lanes; l++) {
        double sum = dot->shape & PG_DOT_STARTS ? start[l * stride] : 0.0;
        for (uint32_t i = 0; i < dot->count; i++) {
            const pg_pair pair = block->program->pairs[dot->first + i];
            const double slope = dot->shape & PG_DOT_WEIGHTED ? block->uniform[pair.left]
                                                              : values[pair.left * lanes + l];
            const double product = pg_product(slope, values[pair.right * lanes + l]);
            sum = i == 0 && !(dot->shape & PG_DOT_STARTS) ? product : sum + product;
        }
        ys[l] = sum;
    }
}

void pg_dots_carefully(const pg_block *block, const pg_instr *dots) {
    for (uint32_t d = 0; d < dots->run; d++) dot_carefully(block, dots + d);
}

/* ---- Gradients ------------------------------------------------------------------------------- */

pg_status pg_backward_carefully(pg_block *block) {
    const size_t lanes = block->lanes;
    for (size_t i = 0; i < block->step_count; i++) {
        const pg_step *const step = &block->steps[i];
        const pg_instr *const instr = &block->program->code[step->instr];
        const careful_step on = {block, instr, block->grads + (size_t)instr->dst * lanes, lanes,
                                 block->reached != NULL && block->reached[instr->dst] != 0};
        pg_status status = PG_OK;
        if (instr->op == PG_OP_TAKE) pg_scatter(block, step, pg_place_of(block), 1);
        else if (instr->op == PG_OP_SCATTER) pg_gather_parts(block, step, pg_place_of(block), 1);
        else if (pg_instr_describe(instr->op)->pairs_receive) push_pairs(&on, step);
        else if (instr->op == PG_OP_SELECT) push_select(&on, step);
        else {
            status = push_derivative(&on, 1, step->a);
            if (status == PG_OK) status = push_derivative(&on, 2, step->b);
        }
        if (status != PG_OK) return status;
    }
    return PG_OK;
}
