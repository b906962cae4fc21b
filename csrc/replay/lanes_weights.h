/* lanes_weights.h - the gradients of a layer's weights, summed over a block's rows in registers.
 *
 * Of a dot, weight i gets x_i * g, where x_i is its factor and g the dot's gradient. A layer's dots
 * have their factors in common, so their weights' gradients are an outer product, summed over the
 * rows. For two dots, three factors and two rows:
 *
 *   factors   row 0   x0 x1 x2        sums   dot 0   g0*x0  g0*x1  g0*x2
 *             row 1   x0 x1 x2               dot 1   g1*x0  g1*x1  g1*x2
 *
 *   1. Transpose a panel of factors, so that those of one row are neighbours (transpose).
 *   2. A tile of sums, TILE_DOTS dots x TILE_VECS vectors of factors, is loaded to registers; each
 *      row adds its products to all of them; then it is stored (add_products).
 * A dot's start counts as a factor that is 1, and comes first. Accumulators are in the order of the
 * parameters (backward_plan.c), so those of a dot are neighbours as a rule (PG_FOLDS_NEIGHBOURS).
 * In a chunk's first block, sums that get nothing else start from 0 here, and needn't be cleared.
 * Invariant: each accumulator gets its products row by row, as from lanes_dots.h.
 * Not a template: it serves any number of lanes, and is compiled once a vector level.
 * Owns a panel on the stack, 18 KiB. Cost: for each block a load and a store of each sum, and half
 * an operation on a vector for each number that is added; transposing adds to it what two more dots
 * would.
 * Goto and van de Geijn, Anatomy of high-performance matrix multiplication (2008): panels, tiles.
 */

enum { TILE_DOTS = 4, TILE_VECS = 2, PANEL = 64, ROW_OF_PANEL = PANEL + 8 /* not a power of 2 */ };

/* The dots of a layer, or of a part of it, with the factors that they have in common. */
typedef struct outer {
    const pg_block *block;
    const pg_step *steps;
    const pg_pair *pairs; /* of the first dot */
    uint32_t dots, count; /* count: factors, with the start if that is summed too */
    bool starts;
    size_t lanes;
} outer;

/* The accumulator of a dot's k-th factor. The start, if it counts, is the first. */
static inline uint32_t sum_of(const outer *o, const pg_step *step, uint32_t k) {
    if (o->starts && k == 0) return step->a.at;
    return o->block->plan->targets[step->first + 2 * (k - o->starts)].at;
}

/* ---- A panel --------------------------------------------------------------------------------- */

/* The lanes of a factor; `ones` is what a start has. */
static const double *factor_of(const outer *o, uint32_t k, const double *ones) {
    if (k >= o->count || (o->starts && k == 0)) return ones;
    return o->block->values + (size_t)o->pairs[k - o->starts].right * o->lanes;
}

/* Transpose four factors: four rows at a time, of which there may be more than the block's. */
static void transpose_four(const outer *o, double *to, const double *const *xs) {
    const size_t rows = o->block->active;
#if PG_HAS_SHUFFLE
    typedef double four PG_VECTOR(32);
    for (size_t r = 0; o->lanes > 1 && r < rows; r += 4) {
        const four a = *(const four *)(xs[0] + r), b = *(const four *)(xs[1] + r);
        const four c = *(const four *)(xs[2] + r), d = *(const four *)(xs[3] + r);
        const four ab = PG_SHUFFLE(a, b, 0, 4, 2, 6), cd = PG_SHUFFLE(c, d, 0, 4, 2, 6);
        const four ab_next = PG_SHUFFLE(a, b, 1, 5, 3, 7), cd_next = PG_SHUFFLE(c, d, 1, 5, 3, 7);
        double *const at = to + r * ROW_OF_PANEL;
        *(four *)at = PG_SHUFFLE(ab, cd, 0, 1, 4, 5);
        *(four *)(at + ROW_OF_PANEL) = PG_SHUFFLE(ab_next, cd_next, 0, 1, 4, 5);
        *(four *)(at + 2 * ROW_OF_PANEL) = PG_SHUFFLE(ab, cd, 2, 3, 6, 7);
        *(four *)(at + 3 * ROW_OF_PANEL) = PG_SHUFFLE(ab_next, cd_next, 2, 3, 6, 7);
    }
    if (o->lanes > 1) return;
#endif
    for (size_t r = 0; r < rows; r++)
        for (int j = 0; j < 4; j++) to[r * ROW_OF_PANEL + (size_t)j] = xs[j][r];
}

/* Transpose `count` factors, from the first one on; the last vector is filled up with any. */
static void transpose(const outer *o, double *panel, uint32_t first, uint32_t count) {
    static const _Alignas(64) double ones[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint32_t step = PG_VEC > 4 ? PG_VEC : 4;
    for (uint32_t k = 0; k < (count + step - 1) / step * step; k += 4) {
        const double *xs[4];
        for (uint32_t j = 0; j < 4; j++) xs[j] = factor_of(o, first + k + j, ones);
        transpose_four(o, panel + k, xs);
    }
}

/* ---- A tile ---------------------------------------------------------------------------------- */

/* Some factors of a panel, the first of which is the layer's factor `first`. */
typedef struct tile {
    const double *panel;
    uint32_t first, count; /* count: at most as many as the tile's vectors have lanes */
} tile;

/* Load a dot's sums, or store them: some are neighbours, and then all of a full tile's are. */
static inline PG_ALWAYS_INLINE void load_sums(const outer *o, const pg_step *step, tile t,
                                              bool whole, double *sums) {
    const double *const all = o->block->accumulators;
    const double *const from = all + sum_of(o, step, t.first);
    if (whole) memcpy(sums, from, t.count * sizeof *sums);
    else if (step->folds == PG_FOLDS_NEIGHBOURS)
        for (uint32_t k = 0; k < t.count; k++) sums[k] = from[k];
    else
        for (uint32_t k = 0; k < t.count; k++) sums[k] = all[sum_of(o, step, t.first + k)];
}

static inline PG_ALWAYS_INLINE void store_sums(const outer *o, const pg_step *step, tile t,
                                               bool whole, const double *sums) {
    double *const all = o->block->accumulators, *const to = all + sum_of(o, step, t.first);
    if (whole) memcpy(to, sums, t.count * sizeof *sums);
    else if (step->folds == PG_FOLDS_NEIGHBOURS)
        for (uint32_t k = 0; k < t.count; k++) to[k] = sums[k];
    else
        for (uint32_t k = 0; k < t.count; k++) all[sum_of(o, step, t.first + k)] = sums[k];
}

/* Add all rows' products to the sums of `dots` dots from this step on. `whole`: the tile is full,
 * and the sums of each dot are neighbours; dots, vecs and whole are constants. */
static inline PG_ALWAYS_INLINE void add_products(const outer *o, const pg_step *steps, tile t,
                                                 int dots, int vecs, bool whole) {
    const size_t rows = o->block->active;
    pg_vec sums[TILE_DOTS][TILE_VECS];
    const double *g[TILE_DOTS];
    if (whole) t.count = (uint32_t)vecs * PG_VEC;
    for (int d = 0; d < dots; d++) {
        const bool first = o->block->first && steps[d].alone;
        for (int v = 0; v < TILE_VECS; v++) sums[d][v] = (pg_vec){0};
        g[d] = o->block->grads + (size_t)o->block->program->code[steps[d].instr].dst * o->lanes;
        if (!first) load_sums(o, &steps[d], t, whole, (double *)sums[d]);
    }
    for (size_t r = 0; r < rows; r++) {
        const pg_vec *const x = (const pg_vec *)(t.panel + r * ROW_OF_PANEL);
        for (int d = 0; d < dots; d++)
            for (int v = 0; v < vecs; v++) sums[d][v] += x[v] * g[d][r];
    }
    for (int d = 0; d < dots; d++) store_sums(o, &steps[d], t, whole, (const double *)sums[d]);
}

/* The same for as many vectors as the tile needs. */
static inline PG_ALWAYS_INLINE void add_vectors(const outer *o, const pg_step *steps, tile t,
                                                int dots, bool neighbours) {
    if (t.count == TILE_VECS * PG_VEC && neighbours)
        add_products(o, steps, t, dots, TILE_VECS, true);
    else if (t.count == PG_VEC && neighbours) add_products(o, steps, t, dots, 1, true);
    else if (t.count > PG_VEC) add_products(o, steps, t, dots, TILE_VECS, false);
    else add_products(o, steps, t, dots, 1, false);
}

static void add_tile(const outer *o, const pg_step *steps, tile t, int dots) {
    bool neighbours = true;
    for (int d = 0; d < dots; d++) neighbours = neighbours && steps[d].folds == PG_FOLDS_NEIGHBOURS;
    if (dots == TILE_DOTS) add_vectors(o, steps, t, TILE_DOTS, neighbours);
    else
        for (int d = 0; d < dots; d++) add_vectors(o, steps + d, t, 1, neighbours);
}

/* ---- A layer --------------------------------------------------------------------------------- */

/* Sums are far apart, and one use a block: ask for those of the next dots early. */
static void prefetch_sums(const outer *o, uint32_t dot, uint32_t k) {
    const uint32_t end = dot + TILE_DOTS < o->dots ? dot + TILE_DOTS : o->dots;
    for (; dot < end; dot++) PG_PREFETCH(o->block->accumulators + sum_of(o, &o->steps[dot], k));
}

static void add_panel(const outer *o, double *panel, uint32_t first) {
    enum { most = TILE_VECS * PG_VEC };
    const uint32_t left = o->count - first, count = left < PANEL ? left : PANEL;
    transpose(o, panel, first, count);
    for (uint32_t d = 0; d < o->dots; d += TILE_DOTS) {
        const uint32_t dots = o->dots - d < TILE_DOTS ? o->dots - d : TILE_DOTS;
        for (uint32_t k = 0; k < count; k += most) {
            const tile t = {panel + k, first + k, count - k < most ? count - k : most};
            prefetch_sums(o, d + TILE_DOTS, first + k);
            add_tile(o, o->steps + d, t, (int)dots);
        }
    }
}

/* How many dots, from the first step on, have accumulators of their own, and starts alike? */
static uint32_t dots_apart(const pg_step *steps, uint32_t run) {
    uint32_t dots = 0;
    while (dots < run && steps[dots].folds != PG_FOLDS_ANY &&
           (steps[dots].a.how == PG_ACCUMULATE_FOLD) == (steps->a.how == PG_ACCUMULATE_FOLD))
        dots++;
    return dots;
}

/* Add the products of as many dots as possible, from the first step on. Returns: how many. */
static uint32_t push_weights(const pg_block *block, const pg_step *steps, uint32_t run,
                             size_t lanes) {
    _Alignas(64) double panel[32 * ROW_OF_PANEL];
    const pg_instr *const dot = &block->program->code[steps->instr];
    const bool starts = steps->a.how == PG_ACCUMULATE_FOLD;
    const outer o = {.block = block,
                     .steps = steps,
                     .pairs = block->program->pairs + dot->first,
                     .dots = dots_apart(steps, run),
                     .count = dot->count + starts,
                     .starts = starts,
                     .lanes = lanes};
    for (uint32_t first = 0; o.dots > 0 && first < o.count; first += PANEL)
        add_panel(&o, panel, first);
    return o.dots;
}
