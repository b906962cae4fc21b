/* optim.c - optimizers over a list of nodes, or over arrays: one pass each, no allocation.
 *
 * The caller owns the state (velocity, means), one double a node. Every node is checked before the
 * first is changed. The formulas are PyTorch's.
 * Sources: Kingma and Ba, Adam, 2015; Loshchilov and Hutter, Decoupled weight decay regularization,
 * 2019; Tieleman and Hinton, Lecture 6.5: rmsprop, 2012; Pascanu et al., On the difficulty of
 * training recurrent neural networks, 2013 (clipping by norm); sgd.h. */
#include "base/finite.h"
#include "base/portability.h"
#include "base/transpose.h"
#include "graph/graph.h"
#include "graph/sgd.h"

#include <math.h>
#include <string.h>

void pg_zero_living(pg_graph *graph, const pg_node_id *nodes, size_t count) {
    for (size_t i = 0; i < count; i++) graph->nodes[nodes[i]].u.grad = 0.0;
}

pg_status pg_zero_grad(pg_graph *graph, const pg_node_id *nodes, size_t count) {
    if (!pg_all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    pg_zero_living(graph, nodes, count);
    return PG_OK;
}

/* Loop invariants of one step of Adam. */
typedef struct adam_step {
    pg_adam_settings s;
    double rate, correction;
} adam_step;

static adam_step adam_step_of(const pg_adam_settings *s) {
    return (adam_step){*s, s->lr / (1.0 - pow(s->beta1, s->step)),
                       sqrt(1.0 - pow(s->beta2, s->step))};
}

static inline double adam_one(double p, double g, double *mean, double *square,
                              const adam_step *step) {
    const pg_adam_settings *s = &step->s;
    if (s->decoupled) p -= s->lr * s->weight_decay * p;
    else if (s->weight_decay != 0.0) g += s->weight_decay * p;
    *mean = s->beta1 * *mean + (1.0 - s->beta1) * g;
    *square = s->beta2 * *square + (1.0 - s->beta2) * g * g;
    return p - step->rate * *mean / (sqrt(*square) / step->correction + s->eps);
}

static inline double rmsprop_one(double p, double g, double *square, double *velocity,
                                 const pg_rmsprop_settings *s) {
    if (s->weight_decay != 0.0) g += s->weight_decay * p;
    *square = s->alpha * *square + (1.0 - s->alpha) * g * g;
    g = g / (sqrt(*square) + s->eps);
    if (velocity != NULL) g = *velocity = s->momentum * *velocity + g;
    return p - s->lr * g;
}

/* ---- Over arrays ----------------------------------------------------------------------------- */

#define NAME(x) x##_base
#define FOURS 0
#include "graph/optim_loops.h"
#undef NAME
#undef FOURS

#if PG_X86_LEVELS
PG_BEGIN_AVX2
#define NAME(x) x##_avx2
#define FOURS PG_HAS_SHUFFLE
#include "graph/optim_loops.h"
#undef NAME
#undef FOURS
PG_END_TARGET
#else
#define sgd_all_avx2 sgd_all_base
#define adam_all_avx2 adam_all_base
#define rmsprop_all_avx2 rmsprop_all_base
#define adam_in_place_avx2 adam_in_place_base
#define gather_avx2 gather_base
#endif

static uint64_t sgd_all(double *data, double *velocity, const pg_optimizer_arrays from,
                        size_t count, const pg_sgd_settings *s) {
    return (PG_HAS_AVX2() ? sgd_all_avx2 : sgd_all_base)(data, velocity, from, count, s);
}

static uint64_t adam_all(double *data, double *means, double *squares,
                         const pg_optimizer_arrays from, size_t count, const adam_step *step) {
    return (PG_HAS_AVX2() ? adam_all_avx2 : adam_all_base)(data, means, squares, from, count, step);
}

static uint64_t rmsprop_all(double *data, double *squares, double *velocity,
                            const pg_optimizer_arrays from, size_t count,
                            const pg_rmsprop_settings *s) {
    return (PG_HAS_AVX2() ? rmsprop_all_avx2 : rmsprop_all_base)(data, squares, velocity, from,
                                                                 count, s);
}

static void gather(double *data, double *gradients, const pg_node *nodes, size_t count) {
    (PG_HAS_AVX2() ? gather_avx2 : gather_base)(data, gradients, nodes, count);
}

static void adam_in_place(double *data, double *mean, double *square, const double *gradients,
                          size_t count, const adam_step *step) {
    if (PG_HAS_AVX2()) adam_in_place_avx2(data, mean, square, gradients, count, step);
    else adam_in_place_base(data, mean, square, gradients, count, step);
}

uint64_t pg_sgd_array(const pg_optimizer_arrays *next, const pg_optimizer_arrays *now, size_t count,
                      const pg_sgd_settings *settings) {
    const pg_sgd_settings s = *settings;
    pg_optimizer_arrays from = *now;
    from.gradients = next->gradients;
    from.scale = next->scale;
    return sgd_all(next->data, next->velocity, from, count, &s);
}

uint64_t pg_adam_array(const pg_optimizer_arrays *next, const pg_optimizer_arrays *now,
                       size_t count, const pg_adam_settings *settings) {
    const adam_step step = adam_step_of(settings);
    pg_optimizer_arrays from = *now;
    from.gradients = next->gradients;
    from.scale = next->scale;
    return adam_all(next->data, next->mean, next->square, from, count, &step);
}

uint64_t pg_rmsprop_array(const pg_optimizer_arrays *next, const pg_optimizer_arrays *now,
                          size_t count, const pg_rmsprop_settings *settings) {
    const pg_rmsprop_settings s = *settings;
    pg_optimizer_arrays from = *now;
    from.gradients = next->gradients;
    from.scale = next->scale;
    return rmsprop_all(next->data, next->square, next->velocity, from, count, &s);
}

/* ---- Clipping -------------------------------------------------------------------------------- */

static double *gradient_at(double *gradients, const uint32_t *at, size_t i) {
    return &gradients[at != NULL ? at[i] : i];
}

static void clip_each(double *gradients, const uint32_t *at, size_t count, double most) {
    for (size_t i = 0; i < count; i++) {
        double *const g = gradient_at(gradients, at, i);
        if (isfinite(*g) && fabs(*g) > most) *g = copysign(most, *g);
    }
}

/* The norm of numbers whose squares leave the range of doubles: they are divided by the largest. */
static double norm_of_extremes(double *gradients, const uint32_t *at, size_t count) {
    double largest = 0.0, squares = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double size = fabs(*gradient_at(gradients, at, i));
        if (!isfinite(size)) return size;
        if (size > largest) largest = size;
    }
    if (largest == 0.0) return 0.0;
    for (size_t i = 0; i < count; i++) {
        const double part = *gradient_at(gradients, at, i) / largest;
        squares += part * part;
    }
    return largest * sqrt(squares);
}

static double norm_of(double *gradients, const uint32_t *at, size_t count) {
    const double least = 1e-280; /* of a sum whose terms of influence haven't underflowed */
    double squares = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double g = *gradient_at(gradients, at, i);
        squares += g * g;
    }
    const bool is_within = isfinite(squares) && squares >= least;
    return is_within ? sqrt(squares) : norm_of_extremes(gradients, at, count);
}

double pg_clip(double *gradients, const uint32_t *at, size_t count,
               const pg_clip_settings *settings) {
    if (settings->value > 0.0) clip_each(gradients, at, count, settings->value);
    if (settings->norm <= 0.0) return 0.0;
    const double norm = norm_of(gradients, at, count);
    const double factor = settings->norm / (norm + 1e-6);
    if (isfinite(norm) && factor < 1.0)
        for (size_t i = 0; i < count; i++) *gradient_at(gradients, at, i) *= factor;
    return norm;
}

/* ---- Over nodes ------------------------------------------------------------------------------ */

void pg_sgd_living(pg_graph *graph, double *velocity, const pg_node_id *nodes, size_t count,
                   const pg_sgd_settings *settings) {
    for (size_t i = 0; i < count; i++) {
        pg_node *p = &graph->nodes[nodes[i]];
        p->data = pg_sgd_one(p->data, p->u.grad, velocity != NULL ? &velocity[i] : NULL, settings);
    }
}

pg_status pg_sgd(pg_graph *graph, double *velocity, const pg_node_id *nodes, size_t count,
                 const pg_sgd_settings *settings) {
    if (!pg_all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    pg_sgd_living(graph, velocity, nodes, count, settings);
    return PG_OK;
}

enum { most_in_block = 64 };

/* Are these nodes side by side? */
static bool are_side_by_side(const pg_node_id *nodes, size_t count) {
    pg_node_id differ = 0;
    for (size_t i = 0; i < count; i++) differ |= nodes[i] ^ (nodes[0] + (pg_node_id)i);
    return differ == 0;
}

/* Step a block of nodes. Dividing numbers of an array, several at a time, takes half as long as
 * dividing those of nodes; parameters that were made one after the other are copied to one. Whoever
 * has set both states to one array gets what the loop below makes of it. */
static void adam_block(pg_graph *graph, double *mean, double *square, const pg_node_id *nodes,
                       size_t count, const adam_step *step) {
    double data[most_in_block], gradients[most_in_block];
    if (mean != square && are_side_by_side(nodes, count)) {
        pg_node *const first = &graph->nodes[nodes[0]];
        gather(data, gradients, first, count);
        adam_in_place(data, mean, square, gradients, count, step);
        for (size_t i = 0; i < count; i++) first[i].data = data[i];
        return;
    }
    for (size_t i = 0; i < count; i++) {
        pg_node *p = &graph->nodes[nodes[i]];
        p->data = adam_one(p->data, p->u.grad, &mean[i], &square[i], step);
    }
}

void pg_adam_living(pg_graph *graph, double *mean, double *square, const pg_node_id *nodes,
                    size_t count, const pg_adam_settings *settings) {
    const adam_step step = adam_step_of(settings);
    for (size_t first = 0; first < count; first += most_in_block) {
        const size_t left = count - first;
        adam_block(graph, mean + first, square + first, nodes + first,
                   left < most_in_block ? left : most_in_block, &step);
    }
}

pg_status pg_adam(pg_graph *graph, double *mean, double *square, const pg_node_id *nodes,
                  size_t count, const pg_adam_settings *settings) {
    if (!pg_all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    pg_adam_living(graph, mean, square, nodes, count, settings);
    return PG_OK;
}

void pg_rmsprop_living(pg_graph *graph, double *square, double *velocity, const pg_node_id *nodes,
                       size_t count, const pg_rmsprop_settings *settings) {
    for (size_t i = 0; i < count; i++) {
        pg_node *p = &graph->nodes[nodes[i]];
        p->data = rmsprop_one(p->data, p->u.grad, &square[i],
                              velocity != NULL ? &velocity[i] : NULL, settings);
    }
}

pg_status pg_rmsprop(pg_graph *graph, double *square, double *velocity, const pg_node_id *nodes,
                     size_t count, const pg_rmsprop_settings *settings) {
    if (!pg_all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    pg_rmsprop_living(graph, square, velocity, nodes, count, settings);
    return PG_OK;
}
