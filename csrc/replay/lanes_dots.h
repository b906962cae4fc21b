/* lanes_dots.h - sums of products, forward and backward, over LANES rows at once: dots, layers of
 * them, and how a contribution reaches its gradient.
 *
 * A template: lanes_levels.h includes it once for each number of lanes, with LANES and NAME(x)
 * defined. Sums stay in registers, so the number of lanes is a constant here; lanes_ops.h, which
 * has the ops, needs none.
 * Sums over rows, which are uniform slots' gradients, are formed row by row; lanes_weights.h does
 * so for many weights at a time. Each lane does what the sweep does for one row, operation for
 * operation: a first contribution to a gradient is 0.0 + t, since the sweep starts from 0.0 and
 * -0.0 must become 0.0 here too. Both operands of an instruction may have the same gradient slot (x
 * * x), so its contributions are given to their targets one after the other. careful.c does the
 * same once more, carefully. */

#if LANES == 1
#define GIVE_INLINE inline PG_ALWAYS_INLINE
typedef double NAME(vec);
enum { NAME(VECS) = 1 };
#else
#define GIVE_INLINE /* it is called in many places */
typedef pg_vec NAME(vec);
enum { NAME(VECS) = LANES / PG_VEC };
#endif
#define VEC NAME(vec)
#define VECS NAME(VECS)
#define EACH_VEC for (int v = 0; v < VECS; v++)
#define SLOT(array, slot) ((VEC *)((array) + (size_t)(slot) * LANES))

/* Register tile of a layer: AT_ONCE vectors of a slot x ABREAST slots, independent sums that fit in
 * 16 registers with a factor's vectors. */
enum {
    NAME(at_once) = VECS < 4 ? VECS : 4,
    NAME(abreast) = NAME(at_once) == 1 ? 8 : 12 / NAME(at_once)
};
#define AT_ONCE NAME(at_once)
#define ABREAST NAME(abreast)
#define EACH_AT_ONCE for (int v = 0; v < AT_ONCE; v++)

/* ---- Values ---------------------------------------------------------------------------------- */

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

/* Register tile: `abreast` dots of a layer, in AT_ONCE vectors from the `from`-th on, as far as
 * some of their pairs go. `neighbours`, a constant: the slots of each dot are. */
static inline PG_ALWAYS_INLINE void NAME(dots)(const pg_block *block, const pg_instr *dots,
                                               int abreast, int from, uint32_t first, uint32_t last,
                                               bool neighbours) {
    double *const values = block->values;
    const double *const uniform = block->uniform;
    const bool starts = dots->shape & PG_DOT_STARTS, once = dots->shape & PG_DOT_UNIFORM_START;
    const pg_pair *pairs[ABREAST];
    const double *weights[ABREAST];
    VEC sums[ABREAST][AT_ONCE];
    for (int d = 0; d < abreast; d++) pairs[d] = block->program->pairs + dots[d].first;
    for (int d = 0; d < abreast; d++) weights[d] = uniform + pairs[d]->left;
    const VEC *right = SLOT(values, pairs[0]->right) + from;
    for (int d = 0; d < abreast; d++) {
        const double number = uniform[once ? dots[d].a : pairs[d]->left];
        if (first > 0) EACH_AT_ONCE sums[d][v] = (SLOT(values, dots[d].dst) + from)[v];
        else if (starts && !once) EACH_AT_ONCE sums[d][v] = (SLOT(values, dots[d].a) + from)[v];
        else EACH_AT_ONCE sums[d][v] = once ? number - (VEC){0} : number * right[v];
    }
    uint32_t i = first == 0 && !starts ? 1 : first;
    right += (size_t)i * VECS;
    for (; i < last; i++, right += VECS) {
        if (!neighbours) right = SLOT(values, pairs[0][i].right) + from;
        VEC factor[AT_ONCE];
        EACH_AT_ONCE factor[v] = right[v];
        for (int d = 0; d < abreast; d++) {
            const double weight = neighbours ? weights[d][i] : uniform[pairs[d][i].left];
            EACH_AT_ONCE sums[d][v] += weight * factor[v];
        }
    }
    for (int d = 0; d < abreast; d++)
        EACH_AT_ONCE(SLOT(values, dots[d].dst) + from)[v] = sums[d][v];
}

/* A layer, in panels of pairs whose factors fit the first cache. */
static inline PG_ALWAYS_INLINE void NAME(panels)(const pg_block *block, const pg_instr *dots,
                                                 bool neighbours) {
    enum { panel = 64 };
    const uint32_t count = dots->count;
    for (uint32_t first = 0; first < count; first += panel) {
        const uint32_t last = count - first < panel ? count : first + panel;
        for (uint32_t d = 0, some; d < dots->run; d += some) {
            some = next_abreast(dots->run - d, ABREAST);
            for (int v = 0; v < VECS; v += AT_ONCE)
                if (some == ABREAST)
                    NAME(dots)(block, dots + d, ABREAST, v, first, last, neighbours);
                else if (some == 2) NAME(dots)(block, dots + d, 2, v, first, last, neighbours);
                else NAME(dots)(block, dots + d, 1, v, first, last, neighbours);
        }
    }
}

static void NAME(layer)(const pg_block *block, const pg_instr *dots) {
    if (all_neighbours(dots)) NAME(panels)(block, dots, true);
    else NAME(panels)(block, dots, false);
}

/* ---- Gradients ------------------------------------------------------------------------------- */

/* Add the lanes to an accumulator, row by row. Those without a row hold 0. */
static void NAME(fold)(double *accumulator, const double *lanes) {
    double sum = *accumulator;
    for (int l = 0; l < LANES; l++) sum += lanes[l];
    *accumulator = sum;
}

/* Give a contribution to its target: add it, store it, or fold it into an accumulator. */
static inline PG_ALWAYS_INLINE void NAME(give)(pg_place to, pg_target target, const VEC *lanes) {
    if (target.how == PG_ACCUMULATE_ADD) {
        VEC *const grads = SLOT(to.grads, target.at);
        EACH_VEC grads[v] += lanes[v];
    } else if (target.how == PG_ACCUMULATE_STORE) {
        VEC *const grads = SLOT(to.grads, target.at);
        EACH_VEC grads[v] = 0.0 + lanes[v];
    } else if (target.how == PG_ACCUMULATE_FOLD) {
        NAME(fold)(to.accumulators + target.at, (const double *)lanes);
    }
}

/* Give ds * g to their target. */
static GIVE_INLINE void NAME(give_product)(pg_place to, pg_target target, double *ds,
                                           const double *g) {
    for (int l = 0; l < LANES; l++) ds[l] *= g[l];
    NAME(give)(to, target, (const VEC *)ds);
}

/* ---- Dots ------------------------------------------------------------------------------------ */

/* For each pair, the left factor gets the sum's gradient times the right one, and vice versa. The
 * callers that matter pass constants for `left` and `right`, what all left and all right targets
 * say, so that the compiler drops the tests in the loop. */
static inline PG_ALWAYS_INLINE void NAME(push_pairs)(const pg_block *block, pg_place to,
                                                     const pg_step *step, pg_accumulation left,
                                                     pg_accumulation right, bool weighted) {
    const pg_instr *const dot = &block->program->code[step->instr];
    const pg_pair *const pairs = block->program->pairs + dot->first;
    const pg_target *const targets = block->plan->targets + step->first;
    const double *const values = block->values, *const uniform = block->uniform;
    VEC g[VECS], t[VECS];
    EACH_VEC g[v] = SLOT(to.grads, dot->dst)[v];
    for (uint32_t i = dot->count; i-- > 0;) {
        const pg_pair pair = pairs[i];
        if (i == 0 && (left != PG_ACCUMULATE_NONE || step->a.how != PG_ACCUMULATE_FOLD))
            NAME(give)(to, step->a, g);
        if (left != PG_ACCUMULATE_NONE) {
            const pg_target target = targets[2 * i];
            const pg_accumulation how =
                left == PG_ACCUMULATE_MIXED ? (pg_accumulation)target.how : left;
            EACH_VEC t[v] = SLOT(values, pair.right)[v] * g[v];
            NAME(give)(to, (pg_target){how, target.at}, t);
        }
        if (right != PG_ACCUMULATE_NONE) {
            const pg_target target = targets[2 * i + 1];
            const pg_accumulation how =
                right == PG_ACCUMULATE_MIXED ? (pg_accumulation)target.how : right;
            if (weighted) EACH_VEC t[v] = uniform[pair.left] * g[v];
            else EACH_VEC t[v] = SLOT(values, pair.left)[v] * g[v];
            NAME(give)(to, (pg_target){how, target.at}, t);
        }
    }
}

static void NAME(push_dot)(const pg_block *block, const pg_step *step) {
    const pg_place to = pg_place_of(block);
    const bool weighted = block->program->code[step->instr].shape & PG_DOT_WEIGHTED;
    const pg_accumulation left = step->left, right = step->right;
    if (step->folds != PG_FOLDS_ANY) {
        if (right == PG_ACCUMULATE_ADD)
            NAME(push_pairs)(block, to, step, PG_ACCUMULATE_NONE, PG_ACCUMULATE_ADD, true);
        else if (right == PG_ACCUMULATE_STORE)
            NAME(push_pairs)(block, to, step, PG_ACCUMULATE_NONE, PG_ACCUMULATE_STORE, true);
        else if (right == PG_ACCUMULATE_NONE)
            NAME(push_pairs)(block, to, step, PG_ACCUMULATE_NONE, PG_ACCUMULATE_NONE, true);
        else NAME(push_pairs)(block, to, step, PG_ACCUMULATE_NONE, PG_ACCUMULATE_MIXED, true);
        push_weights(block, step, 1, LANES);
    } else if (!weighted && left == PG_ACCUMULATE_STORE &&
               right == PG_ACCUMULATE_ADD) /* as in a sum of squares */
        NAME(push_pairs)(block, to, step, PG_ACCUMULATE_STORE, PG_ACCUMULATE_ADD, false);
    else if (!weighted)
        NAME(push_pairs)(block, to, step, PG_ACCUMULATE_MIXED, PG_ACCUMULATE_MIXED, false);
    else NAME(push_pairs)(block, to, step, PG_ACCUMULATE_MIXED, PG_ACCUMULATE_MIXED, true);
}

/* The gradients of one neuron's weights, one after the other. */
static void NAME(push_neuron)(const pg_block *block, const pg_step *step) {
    NAME(push_pairs)(block, pg_place_of(block), step, PG_ACCUMULATE_MIXED, PG_ACCUMULATE_NONE,
                     true);
}

/* ---- Layers ---------------------------------------------------------------------------------- */

/* One dot of a layer in the backward pass: its weights, and its gradient. */
typedef struct NAME(neuron) {
    const pg_pair *pairs;
    const double *weights; /* if they are neighbours */
    const VEC *g;
} NAME(neuron);

/* Add the neurons' contributions, one neuron after the other, to the gradients of the right slots
 * of `abreast` pairs, from pair i on. The gradients stay in registers meanwhile. `neighbours`, a
 * constant: the weights are. */
static inline PG_ALWAYS_INLINE void NAME(pull)(const pg_block *block, const NAME(neuron) * neurons,
                                               int count, const pg_target *targets, uint32_t i,
                                               int abreast, int from, bool neighbours) {
    const double *const uniform = block->uniform;
    double *const all = block->grads;
    VEC sums[ABREAST][AT_ONCE];
    targets += 2 * i;
    for (int r = 0; r < abreast; r++) {
        const pg_target target = targets[2 * r + 1];
        const VEC *grads = SLOT(all, target.at) + from;
        EACH_AT_ONCE sums[r][v] = target.how == PG_ACCUMULATE_ADD ? grads[v] : (VEC){0};
    }
    for (int n = 0; n < count; n++) {
        const pg_pair *pairs = neurons[n].pairs + i;
        const double *weights = neurons[n].weights + i;
        VEC g[AT_ONCE];
        EACH_AT_ONCE g[v] = neurons[n].g[from + v];
        for (int r = 0; r < abreast; r++) {
            const double weight = neighbours ? weights[r] : uniform[pairs[r].left];
            EACH_AT_ONCE sums[r][v] += weight * g[v];
        }
    }
    for (int r = 0; r < abreast; r++) {
        const pg_target target = targets[2 * r + 1];
        VEC *const grads = SLOT(all, target.at) + from;
        if (target.how != PG_ACCUMULATE_NONE) EACH_AT_ONCE grads[v] = sums[r][v];
    }
}

static inline PG_ALWAYS_INLINE void NAME(pull_all)(const pg_block *block,
                                                   const NAME(neuron) * neurons, int count,
                                                   const pg_target *targets, uint32_t rights,
                                                   bool neighbours) {
    for (uint32_t i = 0, some; i < rights; i += some) {
        some = next_abreast(rights - i, ABREAST);
        for (int v = 0; v < VECS; v += AT_ONCE)
            if (some == ABREAST)
                NAME(pull)(block, neurons, count, targets, i, ABREAST, v, neighbours);
            else if (some == 2) NAME(pull)(block, neurons, count, targets, i, 2, v, neighbours);
            else NAME(pull)(block, neurons, count, targets, i, 1, v, neighbours);
    }
}

/* The gradients of the row slots that neurons start from, if they do; none is a right slot. */
static void NAME(push_starts)(const pg_block *block, const pg_step *steps, uint32_t count) {
    const pg_instr *const code = block->program->code;
    const uint8_t shape = code[steps->instr].shape; /* of all */
    if (!(shape & PG_DOT_STARTS) || (shape & PG_DOT_UNIFORM_START)) return;
    for (uint32_t n = 0; n < count; n++)
        NAME(give)(pg_place_of(block), steps[n].a, SLOT(block->grads, code[steps[n].instr].dst));
}

/* First the gradients of the right slots, then each neuron's start and weights. Many neurons are
 * processed in groups: each group adds to what the one before it stored. */
static void NAME(push_layer)(const pg_block *block, const pg_step *steps) {
    enum { group = 64 };
    NAME(neuron) neurons[group];
    const pg_instr *const code = block->program->code;
    for (uint32_t done = 0; steps->right != PG_ACCUMULATE_NONE && done < steps->run;) {
        const pg_target *targets = block->plan->targets + steps[done].first;
        bool neighbours = true;
        int count = 0;
        for (; count < group && done < steps->run; count++, done++) {
            const pg_instr *dot = &code[steps[done].instr];
            const pg_pair *const pairs = block->program->pairs + dot->first;
            neurons[count] = (NAME(neuron)){.pairs = pairs,
                                            .weights = block->uniform + pairs->left,
                                            .g = SLOT(block->grads, dot->dst)};
            neighbours = neighbours && dot->neighbours;
        }
        const uint32_t rights = code[steps->instr].count;
        if (neighbours) NAME(pull_all)(block, neurons, count, targets, rights, true);
        else NAME(pull_all)(block, neurons, count, targets, rights, false);
    }
    for (uint32_t n = 0; n < steps->run;) {
        const uint32_t done = push_weights(block, &steps[n], steps->run - n, LANES);
        NAME(push_starts)(block, &steps[n], done);
        if (done == 0) NAME(push_neuron)(block, &steps[n]);
        n += done > 0 ? done : 1;
    }
}

#undef VEC
#undef GIVE_INLINE
#undef VECS
#undef EACH_VEC
#undef SLOT
#undef AT_ONCE
#undef ABREAST
#undef EACH_AT_ONCE
