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
 * A dot's start gets g. Such sums, and those of a dot alone, are formed eight abreast without a
 * panel: four rows of four columns are transposed in registers (add_columns).
 * A layer of few factors has its gradients transposed instead, in registers (add_narrow).
 * Accumulators are in the order of the parameters (backward_plan.c), so those of a dot's weights
 * are neighbours as a rule (PG_FOLDS_NEIGHBOURS). In a chunk's first block, sums that get nothing
 * else start from 0 here, and needn't be cleared.
 * In a chunk's last block sums that get nothing else are complete here: if wanted, SGD's step is
 * taken for a tile as long as it is in the first cache (descend).
 * Invariant: each accumulator gets its products row by row, as from lanes_dots.h.
 * Not a template: it serves any number of lanes, and is compiled once a vector level.
 * Owns a panel on the stack, 18 KiB. Cost: for each block a load and a store of each sum, and half
 * an operation on a vector for each number that is added; transposing adds to it what two more dots
 * would.
 * Goto and van de Geijn, Anatomy of high-performance matrix multiplication (2008): panels, tiles.
 */

enum {
    TILE_DOTS = 3,
    TILE_VECS = 4,
    PANEL = PG_PANEL,
    ROW_OF_PANEL = PANEL + 8 /* not a power of 2 */
};

/* The dots of a layer, or of a part of it, with the factors that they have in common. */
typedef struct outer {
    const pg_block *block;
    const pg_step *steps;
    const pg_pair *pairs; /* of the first dot */
    uint32_t dots, count; /* count: factors */
    uint32_t first, last; /* those that are wanted of a wide layer: first .. last - 1 */
    size_t lanes;
} outer;

static inline double *sum_of(const outer *o, const pg_step *step, uint32_t k) {
    return o->block->accumulators + o->block->plan->targets[step->first + 2 * k].at;
}

static inline const double *gradient_of(const outer *o, const pg_step *step) {
    return o->block->grads + (size_t)o->block->program->code[step->instr].dst * o->lanes;
}

/* The lanes of a factor; beyond the last, those of any. */
static inline const double *factor_of(const outer *o, uint32_t k) {
    const uint32_t known = k < o->count ? k : 0;
    return o->block->values + (size_t)o->pairs[known].right * o->lanes;
}

/* Do these sums start from 0? */
static inline bool starts_from_zero(const outer *o, const pg_step *step) {
    return o->block->first && step->alone;
}

/* ---- Complete sums --------------------------------------------------------------------------- */

/* Returns: nonzero if a result isn't finite. */
static uint64_t step_down(double *restrict next, const double *restrict now,
                          const double *restrict sums, size_t count, double scale,
                          const pg_sgd_settings s) {
    uint64_t odd = 0;
    for (size_t i = 0; i < count; i++)
        odd |= pg_unless_finite(next[i] = pg_sgd_one(now[i], scale * sums[i], NULL, &s));
    return odd;
}

static void descend_from(const outer *o, uint32_t at, size_t count) {
    pg_descent *const d = o->block->descent;
    d->odd |= step_down(d->next + at, d->now + at, o->block->accumulators + at, count, d->scale,
                        *d->settings);
}

/* The sums of some weights of a dot, and after the last one that of its start, are complete. */
static void descend_dot(const outer *o, const pg_step *step, uint32_t first, uint32_t count) {
    const pg_target *const targets = o->block->plan->targets + step->first;
    const bool last = first + count == o->count && step->a.how == PG_ACCUMULATE_FOLD;
    if (step->folds == PG_FOLDS_NEIGHBOURS) {
        const uint32_t at = targets[2 * first].at;
        const bool next = last && step->a.at == at + count;
        descend_from(o, at, count + next);
        if (next) return;
    } else {
        for (uint32_t k = first; k < first + count; k++) descend_from(o, targets[2 * k].at, 1);
    }
    if (last) descend_from(o, step->a.at, 1);
}

/* The same for some dots, from this step on. */
static inline void descend(const outer *o, const pg_step *steps, uint32_t dots, uint32_t first,
                           uint32_t count) {
    for (uint32_t d = 0; o->block->descent != NULL && d < dots; d++)
        if (steps[d].alone) descend_dot(o, &steps[d], first, count);
}

/* ---- Four rows of four columns --------------------------------------------------------------- */

#if TRANSPOSES
/* Load rows r to r + 3 of four columns, times g unless that is NULL, row by row. */
static inline PG_ALWAYS_INLINE void load_rows(pg_four *rows, const double *const *xs,
                                              const double *g, size_t r) {
    for (int j = 0; j < 4; j++) {
        rows[j] = *(const pg_four *)(xs[j] + r);
        if (g != NULL) rows[j] *= *(const pg_four *)(g + r);
    }
    pg_transpose(rows);
}
#endif

/* Some columns, one number a lane, to be added to a sum each, times g unless that is NULL; filled
 * up to eight with any. */
typedef struct columns {
    const double *xs[8], *g;
    double *start; /* gets g; or NULL */
    size_t count, rows, lanes;
    bool from_zero; /* the sums */
} columns;

#if TRANSPOSES
/* So many fours abreast, each a chain of additions; `weighted`: there is a g. Both are constants.
 */
static inline PG_ALWAYS_INLINE void add_abreast(const columns *c, double *sums, int fours,
                                                bool weighted) {
    const double *const g = weighted ? c->g : NULL;
    pg_four sum[2] = {{0}}, rows[2][4];
    double start = c->start != NULL && !c->from_zero ? *c->start : 0.0;
    size_t r = 0;
    for (int j = 0; j < fours && !c->from_zero; j++) sum[j] = ((const pg_four_anywhere *)sums)[j];
    for (; r + 4 <= c->rows; r += 4) {
        for (int j = 0; j < fours; j++) load_rows(rows[j], c->xs + 4 * j, g, r);
        for (size_t i = 0; weighted && i < 4; i++) start += g[r + i];
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < fours; j++) sum[j] += rows[j][i];
    }
    for (int j = 0; r < c->rows && j < fours; j++) {
        load_rows(rows[j], c->xs + 4 * j, g, r);
        for (size_t i = 0; i < c->rows - r; i++) sum[j] += rows[j][i];
    }
    for (int j = 0; j < fours; j++) ((pg_four_anywhere *)sums)[j] = sum[j];
    for (; weighted && r < c->rows; r++) start += g[r];
    if (c->start != NULL) *c->start = start;
}
#endif

/* Add the columns to these sums; there is room for groups of four. */
static void add_columns(const columns *c, double *sums) {
#if TRANSPOSES
    const bool many = c->lanes > 1;
    if (many && c->count > 4 && c->g != NULL) add_abreast(c, sums, 2, true);
    else if (many && c->count > 4) add_abreast(c, sums, 2, false);
    else if (many && c->count > 1 && c->g != NULL) add_abreast(c, sums, 1, true);
    else if (many && c->count > 1) add_abreast(c, sums, 1, false);
    if (many && c->count > 1) return;
#endif
    for (size_t k = 0; k < c->count; k++) {
        if (c->from_zero) sums[k] = 0.0;
        for (size_t r = 0; r < c->rows; r++)
            sums[k] += c->g != NULL ? c->xs[k][r] * c->g[r] : c->xs[k][r];
    }
    if (c->start != NULL && c->from_zero) *c->start = 0.0;
    for (size_t r = 0; c->start != NULL && r < c->rows; r++) *c->start += c->g[r];
}

/* The starts of some dots, up to eight. */
static void add_starts(const outer *o, const pg_step *const *steps, uint32_t count) {
    columns c = {.count = count, .rows = o->block->active, .lanes = o->lanes};
    double sums[8] = {0};
    for (uint32_t k = 0; k < 8; k++) c.xs[k] = gradient_of(o, steps[k < count ? k : 0]);
    for (uint32_t k = 0; k < count; k++)
        if (!starts_from_zero(o, steps[k])) sums[k] = o->block->accumulators[steps[k]->a.at];
    add_columns(&c, sums);
    for (uint32_t k = 0; k < count; k++) o->block->accumulators[steps[k]->a.at] = sums[k];
}

static void add_all_starts(const outer *o) {
    const pg_step *steps[8];
    uint32_t count = 0;
    for (uint32_t d = 0; d < o->dots; d++) {
        if (o->steps[d].a.how == PG_ACCUMULATE_FOLD) steps[count++] = &o->steps[d];
        if (count == 0 || (count < 8 && d + 1 < o->dots)) continue;
        add_starts(o, steps, count);
        count = 0;
    }
}

/* Some weights of one dot, up to eight; with the first ones, its start. */
static void add_weights(const outer *o, uint32_t first, uint32_t count) {
    const pg_step *const step = o->steps;
    const bool in_place = step->folds == PG_FOLDS_NEIGHBOURS && count % 4 == 0;
    double kept[8] = {0}, *const sums = in_place ? sum_of(o, step, first) : kept;
    columns c = {.g = gradient_of(o, step),
                 .count = count,
                 .rows = o->block->active,
                 .lanes = o->lanes,
                 .from_zero = starts_from_zero(o, step)};
    if (first == 0 && step->a.how == PG_ACCUMULATE_FOLD)
        c.start = o->block->accumulators + step->a.at;
    for (uint32_t k = 0; k < 8; k++) c.xs[k] = factor_of(o, first + k);
    for (uint32_t k = 0; k < count && !in_place && !c.from_zero; k++)
        sums[k] = *sum_of(o, step, first + k);
    add_columns(&c, sums);
    for (uint32_t k = 0; k < count && !in_place; k++) *sum_of(o, step, first + k) = sums[k];
}

/* The same of one row: all of the dot's weights. */
static void add_row(const outer *o) {
    const bool from_zero = starts_from_zero(o, o->steps);
    const double g = *gradient_of(o, o->steps);
    for (uint32_t k = 0; k < o->count; k++) {
        double *const sum = sum_of(o, o->steps, k);
        *sum = (from_zero ? 0.0 : *sum) + *factor_of(o, k) * g;
    }
    if (o->steps->a.how != PG_ACCUMULATE_FOLD) return;
    double *const start = o->block->accumulators + o->steps->a.at;
    *start = (from_zero ? 0.0 : *start) + g;
}

static void add_dot(const outer *o) {
    if (o->lanes == 1) {
        add_row(o);
        return;
    }
    for (uint32_t k = 0; k < o->count; k += 8)
        add_weights(o, k, o->count - k < 8 ? o->count - k : 8);
    descend(o, o->steps, 1, 0, o->count);
}

/* ---- A panel --------------------------------------------------------------------------------- */

/* Transpose four columns: four rows at a time, of which there may be more than the block's. */
static void transpose_four(const outer *o, double *to, const double *const *xs) {
    const size_t rows = o->block->active;
#if TRANSPOSES
    for (size_t r = 0; o->lanes > 1 && r < rows; r += 4) {
        pg_four x[4];
        load_rows(x, xs, NULL, r);
        for (size_t i = 0; i < 4; i++) *(pg_four *)(to + (r + i) * ROW_OF_PANEL) = x[i];
    }
    if (o->lanes > 1) return;
#endif
    for (size_t r = 0; r < rows; r++)
        for (int j = 0; j < 4; j++) to[r * ROW_OF_PANEL + (size_t)j] = xs[j][r];
}

/* Transpose `count` factors, from the first one on; the last vector is filled up with any. */
static void transpose(const outer *o, double *panel, uint32_t first, uint32_t count) {
    const uint32_t step = PG_VEC > 4 ? PG_VEC : 4;
    for (uint32_t k = 0; k < (count + step - 1) / step * step; k += 4) {
        const double *xs[4];
        for (uint32_t j = 0; j < 4; j++) xs[j] = factor_of(o, first + k + j);
        transpose_four(o, panel + k, xs);
    }
}

/* ---- A tile ---------------------------------------------------------------------------------- */

/* For `count` columns ys, add their products with so many vectors of a panel's columns to the sums
 * at `at`, which may start from zero, for all rows; count and vecs are constants. */
static inline PG_ALWAYS_INLINE void add_products(size_t rows, const double *panel,
                                                 const double *const *ys, double *const *at,
                                                 const bool *from_zero, int count, int vecs) {
    pg_vec sums[TILE_DOTS][TILE_VECS];
    for (int d = 0; d < count; d++)
        for (int v = 0; v < vecs; v++)
            sums[d][v] = from_zero[d] ? (pg_vec){0} : ((const pg_vec_anywhere *)at[d])[v];
    for (size_t r = 0; r < rows; r++) {
        pg_vec x[TILE_VECS];
        for (int v = 0; v < vecs; v++) x[v] = ((const pg_vec *)(panel + r * ROW_OF_PANEL))[v];
        for (int d = 0; d < count; d++)
            for (int v = 0; v < vecs; v++) sums[d][v] += x[v] * ys[d][r];
    }
    for (int d = 0; d < count; d++)
        for (int v = 0; v < vecs; v++) ((pg_vec_anywhere *)at[d])[v] = sums[d][v];
}

/* Up to TILE_DOTS dots, with their gradients, and the sums that get products with the panel's first
 * factor, the layer's factor `first`. */
typedef struct tile {
    const pg_step *steps;
    const double *panel, *g[TILE_DOTS];
    double *sums[TILE_DOTS];
    const double *next[TILE_DOTS]; /* those of the dots that follow */
    bool from_zero[TILE_DOTS];     /* do they start so? */
    uint32_t first;
    bool neighbours; /* so are all sums of each dot */
} tile;

static inline PG_ALWAYS_INLINE tile tile_of(const outer *o, const pg_step *steps,
                                            const double *panel, uint32_t first, int dots) {
    tile t = {.steps = steps, .panel = panel, .first = first, .neighbours = true};
    for (int d = 0; d < dots; d++) {
        t.g[d] = gradient_of(o, &steps[d]);
        t.sums[d] = sum_of(o, &steps[d], first);
        t.from_zero[d] = starts_from_zero(o, &steps[d]);
        t.next[d] =
            steps + d + dots < o->steps + o->dots ? sum_of(o, &steps[d + dots], first) : t.sums[d];
        t.neighbours = t.neighbours && steps[d].folds == PG_FOLDS_NEIGHBOURS;
    }
    return t;
}

/* Ask for numbers, a line at a time. */
static inline PG_ALWAYS_INLINE void ask_for(const double *numbers, int count) {
    for (int i = 0; i < count; i += 8) PG_PREFETCH(numbers + i);
}

/* Add to the sums of the panel's factors from the k-th on, which are neighbours and fill the
 * vectors. Sums are far apart, and one use a block: ask for those of the next dots early. */
static inline PG_ALWAYS_INLINE void add_in_place(const outer *o, const tile *t, uint32_t k,
                                                 int dots, int vecs) {
    const pg_descent *const descent = o->block->descent;
    double *at[TILE_DOTS];
    for (int d = 0; d < dots; d++) {
        at[d] = t->sums[d] + k;
        ask_for(t->next[d] + k, vecs * PG_VEC);
        if (descent == NULL) continue;
        const ptrdiff_t place = at[d] - o->block->accumulators;
        ask_for(descent->now + place, vecs * PG_VEC);
        ask_for(descent->next + place, vecs * PG_VEC);
    }
    add_products(o->block->active, t->panel + k, t->g, at, t->from_zero, dots, vecs);
}

/* The same for `count` factors, where they aren't, or don't: on a copy. */
static inline PG_ALWAYS_INLINE void add_to_copy(const outer *o, const tile *t, uint32_t k,
                                                uint32_t count, int dots, int vecs) {
    double kept[TILE_DOTS][TILE_VECS * PG_VEC] = {{0}}, *at[TILE_DOTS];
    for (int d = 0; d < dots; d++) {
        at[d] = kept[d];
        for (uint32_t i = 0; i < count && !t->from_zero[d]; i++)
            kept[d][i] = *sum_of(o, &t->steps[d], t->first + k + i);
    }
    add_products(o->block->active, t->panel + k, t->g, at, t->from_zero, dots, vecs);
    for (int d = 0; d < dots; d++)
        for (uint32_t i = 0; i < count; i++)
            *sum_of(o, &t->steps[d], t->first + k + i) = kept[d][i];
}

/* All `count` factors of the panel. `dots` is a constant. */
static inline PG_ALWAYS_INLINE void add_dots(const outer *o, const pg_step *steps,
                                             const double *panel, uint32_t first, uint32_t count,
                                             int dots) {
    enum { most = TILE_VECS * PG_VEC };
    const tile t = tile_of(o, steps, panel, first, dots);
    uint32_t k = 0;
    for (; t.neighbours && k + most <= count; k += most) add_in_place(o, &t, k, dots, TILE_VECS);
    for (; t.neighbours && k + 2 * PG_VEC <= count; k += 2 * PG_VEC)
        add_in_place(o, &t, k, dots, 2);
    for (; t.neighbours && k + PG_VEC <= count; k += PG_VEC) add_in_place(o, &t, k, dots, 1);
    for (; k + PG_VEC < count; k += most)
        add_to_copy(o, &t, k, count - k < most ? count - k : most, dots, TILE_VECS);
    if (k < count) add_to_copy(o, &t, k, count - k, dots, 1);
    descend(o, steps, (uint32_t)dots, first, count);
}

/* ---- A layer --------------------------------------------------------------------------------- */

static void add_panel(const outer *o, double *panel, uint32_t first) {
    const uint32_t left = o->count - first, count = left < PANEL ? left : PANEL;
    transpose(o, panel, first, count);
    for (uint32_t d = 0, some; d < o->dots; d += some) {
        some = next_abreast(o->dots - d, TILE_DOTS);
        if (some == TILE_DOTS) add_dots(o, o->steps + d, panel, first, count, TILE_DOTS);
        else if (some == 2) add_dots(o, o->steps + d, panel, first, count, 2);
        else add_dots(o, o->steps + d, panel, first, count, 1);
    }
}

static void add_wide(const outer *o) {
    _Alignas(64) double panel[32 * ROW_OF_PANEL];
    if (o->first == 0) add_all_starts(o);
    for (uint32_t first = o->first; first < o->last; first += PANEL) add_panel(o, panel, first);
}

/* ---- A narrow layer -------------------------------------------------------------------------- */

enum { MOST_NARROW = 4 }; /* factors: of more, adding up a panel's rows is as fast */

#if TRANSPOSES
/* Where a sum of a dot is, of factor k or, after all factors, of the start; NULL: it isn't summed.
 */
static inline double *narrow_sum(const outer *o, const pg_step *step, uint32_t k) {
    if (k < o->count) return sum_of(o, step, k);
    return step->a.how == PG_ACCUMULATE_FOLD ? o->block->accumulators + step->a.at : NULL;
}

/* Where the sums of four dots, of their factors and, after them, their starts, begin, if those of
 * each dot lie side by side; else false. */
static inline bool find_rows_of_sums(const outer *o, const pg_step *steps, uint32_t count,
                                     double **at) {
    for (uint32_t d = 0; d < 4; d++) {
        if (steps[d].folds != PG_FOLDS_NEIGHBOURS || steps[d].a.how != PG_ACCUMULATE_FOLD)
            return false;
        at[d] = sum_of(o, &steps[d], 0);
        if (o->block->accumulators + steps[d].a.at != at[d] + count) return false;
        if (starts_from_zero(o, &steps[d]) != starts_from_zero(o, steps)) return false;
    }
    return true;
}

/* Four dots' sums, which begin there, from rows to columns in registers, or back. */
static inline PG_ALWAYS_INLINE void load_sums(pg_four *sums, double *const *at, uint32_t count) {
    for (int d = 0; d < 4; d++) sums[d] = *(const pg_four_anywhere *)at[d];
    pg_transpose(sums);
    if (count == 4) sums[4] = (pg_four){at[0][4], at[1][4], at[2][4], at[3][4]};
}

static inline PG_ALWAYS_INLINE void store_sums(const pg_four *sums, double *const *at,
                                               uint32_t count) {
    pg_four rows[4] = {sums[0], sums[1], sums[2], sums[3]};
    pg_transpose(rows);
    for (int d = 0; d < 4; d++) *(pg_four_anywhere *)at[d] = rows[d];
    for (int d = 0; count == 4 && d < 4; d++) at[d][4] = sums[4][d];
}

/* Add the products of all rows to the sums of four dots, g, with the factors x; count, of these, is
 * a constant. Rows of the dots' gradients stay in registers. */
static inline PG_ALWAYS_INLINE void add_rows(pg_four *sums, const double *const *g,
                                             const double *const *x, size_t rows, uint32_t count) {
    for (size_t r = 0; r < rows; r += 4) {
        pg_four row[4];
        const size_t left = rows - r < 4 ? rows - r : 4;
        load_rows(row, g, NULL, r);
        for (size_t i = 0; i < 4; i++) {
            if (i >= left) break; /* not in the condition: so the loop is unrolled */
            for (uint32_t k = 0; k < count; k++) sums[k] += row[i] * x[k][r + i];
            sums[count] += row[i];
        }
    }
}

/* Four dots or fewer, from this step on. */
static inline PG_ALWAYS_INLINE void add_four_dots(const outer *o, const pg_step *steps,
                                                  uint32_t dots, uint32_t count) {
    const size_t rows = o->block->active;
    const double *g[4], *x[MOST_NARROW];
    double *row_at[4], *at[MOST_NARROW + 1][4], kept[MOST_NARROW + 1][4];
    pg_four sums[MOST_NARROW + 1];
    for (uint32_t k = 0; k < count; k++) x[k] = factor_of(o, k);
    for (uint32_t d = 0; d < 4; d++) g[d] = gradient_of(o, &steps[d < dots ? d : 0]);
    if (count >= 3 && dots == 4 && find_rows_of_sums(o, steps, count, row_at)) {
        if (starts_from_zero(o, steps)) memset(sums, 0, sizeof sums);
        else load_sums(sums, row_at, count);
        add_rows(sums, g, x, rows, count);
        store_sums(sums, row_at, count);
        return;
    }
    for (uint32_t d = 0; d < 4; d++) {
        const pg_step *const step = &steps[d < dots ? d : 0];
        for (uint32_t k = 0; k <= count; k++) {
            at[k][d] = d < dots ? narrow_sum(o, step, k) : NULL;
            kept[k][d] = at[k][d] == NULL || starts_from_zero(o, step) ? 0.0 : *at[k][d];
        }
    }
    for (uint32_t k = 0; k <= count; k++) memcpy(&sums[k], kept[k], sizeof sums[k]);
    add_rows(sums, g, x, rows, count);
    for (uint32_t k = 0; k <= count; k++) {
        memcpy(kept[k], &sums[k], sizeof sums[k]);
        for (uint32_t d = 0; d < 4; d++)
            if (at[k][d] != NULL) *at[k][d] = kept[k][d];
    }
}

static void add_narrow(const outer *o) {
    for (uint32_t d = 0; d < o->dots; d += 4) {
        const pg_step *const steps = o->steps + d;
        const uint32_t dots = o->dots - d < 4 ? o->dots - d : 4;
        switch (o->count) {
        case 1: add_four_dots(o, steps, dots, 1); break;
        case 2: add_four_dots(o, steps, dots, 2); break;
        case 3: add_four_dots(o, steps, dots, 3); break;
        case 4: add_four_dots(o, steps, dots, 4); break;
        default: break;
        }
    }
    descend(o, o->steps, o->dots, 0, o->count);
}
#else
static void add_narrow(const outer *o) { add_wide(o); }
#endif

/* Dots from this step on that have accumulators of their own, all factors; at most `run`. */
static outer outer_of(const pg_block *block, const pg_step *steps, uint32_t run, size_t lanes) {
    const pg_instr *const dot = &block->program->code[steps->instr];
    outer o = {.block = block,
               .steps = steps,
               .pairs = block->program->pairs + dot->first,
               .count = dot->count,
               .last = dot->count,
               .lanes = lanes};
    while (o.dots < run && steps[o.dots].folds != PG_FOLDS_ANY) o.dots++;
    return o;
}

/* Add the products of as many dots, from the first step on, as have accumulators of their own.
 * Returns: how many. */
static uint32_t push_weights(const pg_block *block, const pg_step *steps, uint32_t run,
                             size_t lanes) {
    const outer o = outer_of(block, steps, run, lanes);
    if (block->unsummed) return o.dots;
    if (o.dots == 1) add_dot(&o);
    else if (o.dots > 1 && o.count <= MOST_NARROW && lanes > 1) add_narrow(&o);
    else if (o.dots > 1) add_wide(&o);
    return o.dots;
}

/* The block's steps, which are such dots of one layer; all factors, or panels of them. */
static pg_status sum_weights(pg_block *block) {
    const uint32_t run = (uint32_t)block->step_count;
    outer o = outer_of(block, block->steps, run, block->lanes);
    if (block->factors.count >= o.count) {
        push_weights(block, block->steps, run, block->lanes);
        return PG_OK;
    }
    o.first = (uint32_t)block->factors.first;
    if (o.count - o.first > block->factors.count) o.last = o.first + (uint32_t)block->factors.count;
    add_wide(&o);
    return PG_OK;
}
