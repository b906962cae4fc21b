/* optim.c - optimisers over a list of nodes: one pass each, no allocation.
 *
 * State (velocity, means) is the caller's, one double a node. Every node is checked before the
 * first is changed. The formulas are PyTorch's.
 * Sources: Sutskever et al. 2013 (momentum); Kingma and Ba, Adam, 2015; Loshchilov and Hutter,
 * Decoupled weight decay regularization, 2019. */
#include "graph.h"

#include <math.h>

static bool all_alive(const pg_graph *graph, const pg_node_id *nodes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!pg_alive(graph, nodes[i])) return false;
    return true;
}

pg_status pg_zero_grad(pg_graph *graph, const pg_node_id *nodes, size_t count) {
    if (!all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    for (size_t i = 0; i < count; i++) graph->nodes[nodes[i]].u.grad = 0.0;
    return PG_OK;
}

pg_status pg_sgd(pg_graph *graph, double *velocity, const pg_node_id *nodes, size_t count,
                 double lr, double momentum, double weight_decay) {
    if (!all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    for (size_t i = 0; i < count; i++) {
        pg_node *p = &graph->nodes[nodes[i]];
        double g = p->u.grad;
        if (weight_decay != 0.0) g += weight_decay * p->data;
        if (velocity != NULL) g = velocity[i] = momentum * velocity[i] + g;
        p->data -= lr * g;
    }
    return PG_OK;
}

pg_status pg_adam(pg_graph *graph, double *mean, double *square, const pg_node_id *nodes,
                  size_t count, double lr, double beta1, double beta2, double eps,
                  double weight_decay, int decoupled, double step) {
    if (!all_alive(graph, nodes, count)) return PG_ERR_BAD_NODE;
    const double rate = lr / (1.0 - pow(beta1, step));
    const double correction = sqrt(1.0 - pow(beta2, step));
    for (size_t i = 0; i < count; i++) {
        pg_node *p = &graph->nodes[nodes[i]];
        double g = p->u.grad;
        if (decoupled) p->data -= lr * weight_decay * p->data;
        else if (weight_decay != 0.0) g += weight_decay * p->data;
        mean[i] = beta1 * mean[i] + (1.0 - beta1) * g;
        square[i] = beta2 * square[i] + (1.0 - beta2) * g * g;
        p->data -= rate * mean[i] / (sqrt(square[i]) / correction + eps);
    }
    return PG_OK;
}
