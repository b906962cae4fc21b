/* tables.c - lookups: an entry of a table by its index, the place of a number among knots, and
 * sums by index.
 *
 * take reads for each lane the entry that the lane's index names; its step back scatters the lanes'
 * gradients to the entries that were taken, and no other gets anything, not even a product with 0.
 * scatter is that step back as an instruction: it clears its parts, and adds each number to the
 * part that its index names; its own step back gathers. Invariant: an index that names no entry
 * reads nothing and gives nothing. Gathers gain little from wider vectors, so these are loops over
 * any number of lanes, compiled once. Owns nothing. Cost: O(lanes); a search, O(lanes *
 * log(knots)); where entries are row slots, a step back clears those that it reaches first; a
 * scatter, O(lanes * (parts + pairs)). */
#include "ops/kernels.h"
#include "replay/lanes.h"

#include <string.h>

enum { most_lanes = 32 };

/* The entries, or knots, of an instruction, and the lanes of what is looked up. */
typedef struct table {
    const pg_pair *pairs;
    const double *at; /* uniform slots, or row slots */
    const double *xs;
    size_t lanes;
    uint32_t count;
    bool uniform, right;
} table;

static table table_of(const pg_block *block, const pg_instr *instr) {
    const bool uniform = instr->shape & PG_DOT_WEIGHTED;
    return (table){.pairs = block->program->pairs + instr->first,
                   .at = uniform ? block->uniform : block->values,
                   .xs = block->values + (size_t)instr->a * block->lanes,
                   .lanes = block->lanes,
                   .count = instr->count,
                   .uniform = uniform,
                   .right = instr->shape & PG_SEARCH_RIGHT};
}

/* `uniform` is a constant where it matters. */
static inline PG_ALWAYS_INLINE double entry_of(const table *t, uint32_t index, size_t lane,
                                               bool uniform) {
    const size_t left = t->pairs[index].left;
    return uniform ? t->at[left] : t->at[left * t->lanes + lane];
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* Returns: does each index name an entry? */
static inline PG_ALWAYS_INLINE bool gather(const table t, double *restrict ys, bool uniform) {
    bool inside = true;
    for (size_t l = 0; l < t.lanes; l++) {
        const uint32_t index = pg_index_of(t.xs[l], t.count);
        inside &= index < t.count;
        ys[l] = PG_LIKELY(index < t.count) ? entry_of(&t, index, l, uniform) : NAN;
    }
    return inside;
}

pg_status pg_gather(pg_block *block, const pg_instr *take) {
    const table t = table_of(block, take);
    double *const ys = block->values + (size_t)take->dst * block->lanes;
    const bool inside = t.uniform ? gather(t, ys, true) : gather(t, ys, false);
    return inside || !block->judge ? PG_OK : PG_ERR_DOMAIN;
}

/* Bisect for `abreast` lanes from the first on: they take each step together, since the steps don't
 * depend on x, and their loads overlap. A comparison is no branch: it would be taken at random. */
static inline PG_ALWAYS_INLINE void bisect(const table *t, double *ys, size_t first, int abreast,
                                           bool uniform, bool right) {
    uint32_t from[8] = {0};
    for (uint32_t left = t->count; left > 1;) {
        const uint32_t half = left / 2;
        for (int k = 0; k < abreast; k++) {
            const size_t lane = first + (size_t)k;
            const double knot = entry_of(t, from[k] + half - 1, lane, uniform);
            from[k] += half & -(uint32_t)pg_is_after(t->xs[lane], knot, right);
        }
        left -= half;
    }
    for (int k = 0; k < abreast; k++) {
        const size_t lane = first + (size_t)k;
        const double knot = entry_of(t, from[k], lane, uniform);
        ys[lane] = (double)(int32_t)(from[k] + pg_is_after(t->xs[lane], knot, right));
    }
}

static inline PG_ALWAYS_INLINE void search(const table t, double *ys, bool uniform, bool right) {
    size_t l = 0;
    for (; l + 8 <= t.lanes; l += 8) bisect(&t, ys, l, 8, uniform, right);
    for (; l < t.lanes; l++) bisect(&t, ys, l, 1, uniform, right);
}

void pg_search(pg_block *block, const pg_instr *instr) {
    const table t = table_of(block, instr);
    double *const ys = block->values + (size_t)instr->dst * block->lanes;
    if (!t.uniform) search(t, ys, false, t.right);
    else if (t.right) search(t, ys, true, true);
    else search(t, ys, true, false);
}

/* ---- Gradients ------------------------------------------------------------------------------- */

/* Clear the gradients of entries that this step is the first to reach. */
static void clear_targets(const pg_block *block, const pg_target *targets, uint32_t count,
                          double *grads) {
    for (uint32_t i = 0; i < count; i++)
        if (targets[2 * i].how == PG_ACCUMULATE_STORE)
            memset(grads + (size_t)targets[2 * i].at * block->lanes, 0,
                   block->lanes * sizeof *grads);
}

void pg_scatter(const pg_block *block, const pg_step *step, pg_place to, size_t apart) {
    double *const grads = to.grads;
    const pg_instr *const take = &block->program->code[step->instr];
    const pg_target *const targets = block->plan->targets + step->first;
    const size_t lanes = block->lanes;
    const double *const indices = block->values + (size_t)take->a * lanes;
    const double *const g = grads + (size_t)take->dst * lanes;
    if (step->left == PG_ACCUMULATE_STORE || step->left == PG_ACCUMULATE_MIXED)
        clear_targets(block, targets, take->count, grads);
    for (size_t l = 0; l < lanes; l++) {
        const uint32_t index = pg_index_of(indices[l], take->count);
        if (index == take->count || targets[2 * index].how == PG_ACCUMULATE_NONE) continue;
        const size_t at = targets[2 * index].at;
        if (targets[2 * index].how == PG_ACCUMULATE_FOLD)
            to.accumulators[at * apart + l % apart] += g[l];
        else grads[at * lanes + l] += g[l];
    }
}

/* ---- Scatters ---------------------------------------------------------------------------------*/

/* The parts that a pair's indices name, lane by lane; `parts` where they name none. */
static void parts_named(const pg_block *block, pg_pair pair, uint32_t parts, uint32_t *named) {
    const double *const indices = block->values + (size_t)pair.right * block->lanes;
    for (size_t l = 0; l < block->lanes; l++) named[l] = pg_index_of(indices[l], parts);
}

/* A part that is named starts from -0.0, which changes no first summand, not even -0.0. */
void pg_sum_parts(const pg_block *block, const pg_instr *scatter, double *slots) {
    const pg_pair *const pairs = block->program->pairs + scatter->first;
    const size_t lanes = block->lanes;
    const uint32_t parts = scatter->run - 1;
    double *const own = slots + (size_t)scatter->dst * lanes, *const sums = own + lanes;
    uint32_t named[most_lanes];
    memset(own, 0, scatter->run * lanes * sizeof *own);
    for (uint32_t i = 0; i < scatter->count; i++) {
        parts_named(block, pairs[i], parts, named);
        for (size_t l = 0; l < lanes; l++)
            if (named[l] < parts) sums[named[l] * lanes + l] = -0.0;
    }
    for (uint32_t i = 0; i < scatter->count; i++) {
        const double *const gs = slots + (size_t)pairs[i].left * lanes;
        parts_named(block, pairs[i], parts, named);
        for (size_t l = 0; l < lanes; l++)
            if (named[l] < parts) sums[named[l] * lanes + l] += gs[l];
    }
}

/* Each left operand gets the gradient of the part that it was added to. */
void pg_gather_parts(const pg_block *block, const pg_step *step, pg_place to, size_t apart) {
    const pg_instr *const scatter = &block->program->code[step->instr];
    const pg_target *const targets = block->plan->targets + step->first;
    const pg_target *const sources = targets + 2 * (size_t)scatter->count;
    const size_t lanes = block->lanes;
    const uint32_t parts = scatter->run - 1;
    for (uint32_t i = scatter->count; i-- > 0;) {
        uint32_t named[most_lanes];
        double ts[most_lanes];
        if (targets[2 * i].how == PG_ACCUMULATE_NONE) continue;
        parts_named(block, block->program->pairs[scatter->first + i], parts, named);
        for (size_t l = 0; l < lanes; l++) {
            const bool given = named[l] < parts && sources[named[l]].how != PG_ACCUMULATE_NONE;
            ts[l] = given ? to.grads[(size_t)sources[named[l]].at * lanes + l] : 0.0;
        }
        pg_give_lanes(to, apart, targets[2 * i], ts, lanes);
    }
}
