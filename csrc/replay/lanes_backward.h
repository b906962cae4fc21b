/* lanes_backward.h - gradients: the second part of the template that lanes_kernels.h begins.
 *
 * Both operands of an instruction may have the same gradient slot (x * x), so its contributions are
 * given to their targets one after the other. */

/* Reduce ("fold") the lanes into an accumulator's eight sublanes, in a fixed tree: lanes that are 8
 * apart are added. Padding lanes count as 0. */
static inline PG_ALWAYS_INLINE void NAME(fold_vecs)(const int64_t *mask, double *accumulator,
                                                    const VEC *lanes) {
#if LANES == 1
    (void)mask;
    accumulator[0] += lanes[0];
#else
    enum { eight = PG_SUBLANES / PG_VEC };
    pg_vec *const sums = (pg_vec *)accumulator;
    VEC kept[VECS];
    if (PG_UNLIKELY(mask != NULL)) {
        EACH_VEC kept[v] = PG_MASKED(lanes[v], ((const pg_mask *)mask)[v]);
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
    NAME(fold_vecs)(block->mask, accumulator, (const VEC *)lanes);
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
        NAME(fold_vecs)(to.mask, to.accumulators + (size_t)target.at * PG_SUBLANES, lanes);
    }
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
    const pg_target *const targets = block->plan->targets + step->first, start = step->a;
    const double *const values = block->values, *const uniform = block->uniform;
    VEC g[VECS], t[VECS];
    EACH_VEC g[v] = SLOT(to.grads, dot->dst)[v];
    for (uint32_t i = dot->count; i-- > 0;) {
        const pg_pair pair = pairs[i];
        if (i == 0) NAME(give)(to, start, g);
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
    if (!weighted && left == PG_ACCUMULATE_STORE &&
        right == PG_ACCUMULATE_ADD) /* as in a sum of squares */
        NAME(push_pairs)(block, to, step, PG_ACCUMULATE_STORE, PG_ACCUMULATE_ADD, false);
    else if (!weighted)
        NAME(push_pairs)(block, to, step, PG_ACCUMULATE_MIXED, PG_ACCUMULATE_MIXED, false);
    else if (left == PG_ACCUMULATE_FOLD && right == PG_ACCUMULATE_ADD)
        NAME(push_pairs)(block, to, step, PG_ACCUMULATE_FOLD, PG_ACCUMULATE_ADD, true);
    else if (left == PG_ACCUMULATE_FOLD && right == PG_ACCUMULATE_STORE)
        NAME(push_pairs)(block, to, step, PG_ACCUMULATE_FOLD, PG_ACCUMULATE_STORE, true);
    else NAME(push_pairs)(block, to, step, PG_ACCUMULATE_MIXED, PG_ACCUMULATE_MIXED, true);
}

/* The left half of a neuron's step: the gradients of its weights. */
static void NAME(push_weights)(const pg_block *block, const pg_step *step) {
    pg_place to = pg_place_of(block);
    if (step->left == PG_ACCUMULATE_FOLD && to.mask == NULL) {
        to.mask = NULL; /* a constant: the inlined copy drops its test for each pair */
        NAME(push_pairs)(block, to, step, PG_ACCUMULATE_FOLD, PG_ACCUMULATE_NONE, true);
    } else if (step->left == PG_ACCUMULATE_FOLD)
        NAME(push_pairs)(block, to, step, PG_ACCUMULATE_FOLD, PG_ACCUMULATE_NONE, true);
    else NAME(push_pairs)(block, to, step, PG_ACCUMULATE_MIXED, PG_ACCUMULATE_NONE, true);
}

/* ---- Layers ---------------------------------------------------------------------------------- */

/* One dot of a layer in the backward pass: its weights, and its gradient. */
typedef struct NAME(neuron) {
    const pg_pair *pairs;
    const VEC *g;
} NAME(neuron);

/* Add the neurons' contributions, one neuron after the other, to the gradients of the right slots
 * of `abreast` pairs, from pair i on. The gradients stay in registers meanwhile. */
static inline PG_ALWAYS_INLINE void NAME(pull)(const pg_block *block, const NAME(neuron) * neurons,
                                               int count, const pg_target *targets, uint32_t i,
                                               int abreast, int from) {
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
        const VEC *g = neurons[n].g + from;
        for (int r = 0; r < abreast; r++) {
            const double weight = uniform[pairs[r].left];
            EACH_AT_ONCE sums[r][v] += weight * g[v];
        }
    }
    for (int r = 0; r < abreast; r++) {
        const pg_target target = targets[2 * r + 1];
        VEC *const grads = SLOT(all, target.at) + from;
        if (target.how != PG_ACCUMULATE_NONE) EACH_AT_ONCE grads[v] = sums[r][v];
    }
}

static void NAME(pull_all)(const pg_block *block, const NAME(neuron) * neurons, int count,
                           const pg_target *targets, uint32_t rights) {
    uint32_t i = 0;
    for (; i + ABREAST <= rights; i += ABREAST)
        for (int v = 0; v < VECS; v += AT_ONCE)
            NAME(pull)(block, neurons, count, targets, i, ABREAST, v);
    for (; i < rights; i++)
        for (int v = 0; v < VECS; v += AT_ONCE) NAME(pull)(block, neurons, count, targets, i, 1, v);
}

/* First the gradients of the right slots, then each neuron's weights. Many neurons are processed in
 * groups: each group adds to what the one before it stored. */
static void NAME(push_layer)(const pg_block *block, const pg_step *steps) {
    enum { group = 64 };
    NAME(neuron) neurons[group];
    const pg_instr *const code = block->program->code;
    for (uint32_t done = 0; steps->right != PG_ACCUMULATE_NONE && done < steps->run;) {
        const pg_target *targets = block->plan->targets + steps[done].first;
        int count = 0;
        for (; count < group && done < steps->run; count++, done++) {
            const pg_instr *dot = &code[steps[done].instr];
            neurons[count].pairs = block->program->pairs + dot->first;
            neurons[count].g = SLOT(block->grads, dot->dst);
        }
        NAME(pull_all)(block, neurons, count, targets, code[steps->instr].count);
    }
    for (uint32_t n = 0; n < steps->run; n++) NAME(push_weights)(block, &steps[n]);
}

/* ---- The steps ------------------------------------------------------------------------------- */

/* ds: the derivative `d_` by one operand, judged where g_ isn't 0. */
#define PG_SLOPES(op, which, d_, fault, g_)                                                        \
    _Alignas(64) double ds[LANES];                                                                 \
    for (int l = 0; l < LANES; l++) {                                                              \
        const double a = as[l], b = bs[l], y = ys[l];                                              \
        (void)a, (void)b, (void)y;                                                                 \
        ds[l] = (d_);                                                                              \
    }                                                                                              \
    const double a = 1.0, b = 0.0;                                                                 \
    (void)a, (void)b;                                                                              \
    if ((fault) != PG_OK && block->judge && PG_UNLIKELY(!NAME(all_finite)(ds))) {                  \
        const pg_judged judged = {ds, as, bs, g_};                                                 \
        const pg_status status = pg_judge_lanes(block, op, which, &judged);                        \
        if (status != PG_OK) return status;                                                        \
    }

/* Give that derivative, times g, to its target. */
#define PG_PUSH_ONE(op, which, d_, fault, target)                                                  \
    {                                                                                              \
        PG_SLOPES(op, which, d_, fault, g)                                                         \
        for (int l = 0; l < LANES; l++) ds[l] *= g[l];                                             \
        NAME(give)(to, target, (VEC *)ds);                                                         \
    }

/* The same for a run of ops, which has targets in neighbouring slots; `how` is = 0.0 + or +=. */
#define PG_PUSH_RUN(d_, how, target)                                                               \
    {                                                                                              \
        double *restrict const ts = to.grads + (size_t)(target).at * LANES;                        \
        for (size_t l = 0; l < LANES * run; l++) {                                                 \
            const double a = as[l], b = bs[l], y = ys[l];                                          \
            (void)a, (void)b, (void)y;                                                             \
            ts[l] how(d_) * g[l];                                                                  \
        }                                                                                          \
    }

#define PG_PUSH(op, which, d_, fault, target)                                                      \
    if (!pg_can_fail(op) && (target).how == PG_ACCUMULATE_STORE) PG_PUSH_RUN(d_, = 0.0 +, target)  \
    else if (!pg_can_fail(op) && (target).how == PG_ACCUMULATE_ADD) PG_PUSH_RUN(d_, +=, target)    \
    else if ((target).how != PG_ACCUMULATE_NONE) PG_PUSH_ONE(op, which, d_, fault, target)

static pg_status NAME(backward)(pg_block *block) {
    const pg_place to = pg_place_of(block);
    const double *const values = block->values;
    for (size_t i = 0; i < block->step_count;) {
        const pg_step *step = &block->steps[i];
        const size_t run = step->run;
        i += run;
        if (run > 1 && step[1].instr < step->instr) step += run - 1; /* start at the lowest slot */
        const pg_instr *instr = &block->program->code[step->instr];
        const double *as = values + (size_t)instr->a * LANES;
        const double *bs = values + (size_t)instr->b * LANES;
        const double *ys = values + (size_t)instr->dst * LANES;
        const double *g = to.grads + (size_t)instr->dst * LANES;
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
            const double *left = values + (size_t)pair.left * LANES;
            const double *right = values + (size_t)pair.right * LANES;
            _Alignas(64) double ga[LANES], gb[LANES];
            for (int l = 0; l < LANES; l++) {
                const bool chosen = pg_compares(instr->shape, left[l], right[l]);
                ga[l] = (chosen ? 1.0 : 0.0) * g[l];
                gb[l] = (chosen ? 0.0 : 1.0) * g[l];
            }
            NAME(give)(to, step->a, (VEC *)ga);
            NAME(give)(to, step->b, (VEC *)gb);
            break;
        }
        case PG_OP_CUSTOM: NAME(push_dot)(block, step); break; /* right factors get no gradient */
        case PG_OP_DOT:
            if (run > 1) NAME(push_layer)(block, &block->steps[i - run]);
            else NAME(push_dot)(block, step);
            break;
        default: break;
        }
    }
    return PG_OK;
}

#undef PG_PUSH
#undef PG_PUSH_RUN
#undef PG_PUSH_ONE
