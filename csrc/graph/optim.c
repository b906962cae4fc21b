/* optim.c - optimisers over a list of nodes, or over arrays: one pass each, no allocation.
 *
 * The caller owns the state (velocity, means), one double a node. Every node is checked before the
 * first is changed. The formulas are PyTorch's.
 * Sources: Sutskever et al. 2013 (momentum); Kingma and Ba, Adam, 2015; Loshchilov and Hutter,
 * Decoupled weight decay regularization, 2019. */
#include "graph/graph.h"

#include <math.h>
#include <string.h>

pg_status pg_zero_grad(pg_graph *graph, const pg_node_id *nodes, size_t count) {
    if (!pg_all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    for (size_t i = 0; i < count; i++) graph->nodes[nodes[i]].u.grad = 0.0;
    return PG_OK;
}

/* Step one parameter: its new data. velocity may be NULL. */
static inline double sgd_one(double p, double g, double *velocity_ret, const double *velocity,
                             const pg_sgd_settings *s) {
    if (s->weight_decay != 0.0) g += s->weight_decay * p;
    if (velocity != NULL) g = *velocity_ret = s->momentum * *velocity + g;
    return p - s->lr * g;
}

/* Loop invariants of one step of Adam. */
typedef struct adam_step {
    pg_adam_settings s;
    double rate, correction;
} adam_step;

static adam_step adam_step_of(const pg_adam_settings *s, double step) {
    return (adam_step){*s, s->lr / (1.0 - pow(s->beta1, step)), sqrt(1.0 - pow(s->beta2, step))};
}

static inline double adam_one(double p, double g, double *mean_ret, double *square_ret, double mean,
                              double square, const adam_step *step) {
    const pg_adam_settings *s = &step->s;
    if (s->decoupled) p -= s->lr * s->weight_decay * p;
    else if (s->weight_decay != 0.0) g += s->weight_decay * p;
    *mean_ret = mean = s->beta1 * mean + (1.0 - s->beta1) * g;
    *square_ret = square = s->beta2 * square + (1.0 - s->beta2) * g * g;
    return p - step->rate * mean / (sqrt(square) / step->correction + s->eps);
}

pg_status pg_sgd(pg_graph *graph, double *velocity, const pg_node_id *nodes, size_t count,
                 const pg_sgd_settings *settings) {
    if (!pg_all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    for (size_t i = 0; i < count; i++) {
        pg_node *p = &graph->nodes[nodes[i]];
        double *v = velocity != NULL ? &velocity[i] : NULL;
        p->data = sgd_one(p->data, p->u.grad, v, v, settings);
    }
    return PG_OK;
}

pg_status pg_adam(pg_graph *graph, double *mean, double *square, const pg_node_id *nodes,
                  size_t count, const pg_adam_settings *settings, double step) {
    if (!pg_all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    const adam_step now = adam_step_of(settings, step);
    for (size_t i = 0; i < count; i++) {
        pg_node *p = &graph->nodes[nodes[i]];
        p->data = adam_one(p->data, p->u.grad, &mean[i], &square[i], mean[i], square[i], &now);
    }
    return PG_OK;
}

/* Nonzero if x isn't finite: inf - inf and nan - nan are nan. Unlike the result of a comparison,
 * bits can be or-ed together without a branch, lane by lane. */
static inline uint64_t unless_finite(double x) {
    const double difference = x - x;
    uint64_t bits;
    memcpy(&bits, &difference, sizeof bits);
    return bits;
}

uint64_t pg_sgd_array(double *restrict data_ret, double *restrict velocity_ret, const double *data,
                      const double *gradients, const double *velocity, size_t count,
                      const pg_sgd_settings *settings) {
    const pg_sgd_settings s = *settings;
    uint64_t odd = 0;
    for (size_t i = 0; velocity == NULL && i < count; i++)
        odd |= unless_finite(data_ret[i] = sgd_one(data[i], gradients[i], NULL, NULL, &s));
    for (size_t i = 0; velocity != NULL && i < count; i++) {
        data_ret[i] = sgd_one(data[i], gradients[i], &velocity_ret[i], &velocity[i], &s);
        odd |= unless_finite(data_ret[i]) | unless_finite(velocity_ret[i]);
    }
    return odd;
}

uint64_t pg_adam_array(double *restrict data_ret, double *restrict mean_ret,
                       double *restrict square_ret, const double *data, const double *gradients,
                       const double *mean, const double *square, size_t count,
                       const pg_adam_settings *settings, double step) {
    const adam_step now = adam_step_of(settings, step);
    uint64_t odd = 0;
    for (size_t i = 0; i < count; i++) {
        data_ret[i] =
            adam_one(data[i], gradients[i], &mean_ret[i], &square_ret[i], mean[i], square[i], &now);
        odd |=
            unless_finite(data_ret[i]) | unless_finite(mean_ret[i]) | unless_finite(square_ret[i]);
    }
    return odd;
}
