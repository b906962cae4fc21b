/* sweep.c - the backward sweep: propagate gradients from a root to its leaves.
 *
 * Every node comes after its children in the order; in the reverse order, a node's gradient is
 * complete before it is propagated.
 * Detached nodes, and nodes computed only from such, request no derivative; and a gradient of 0
 * propagates nothing, even if the derivative is infinite, undefined or an error: that is the branch
 * not taken. The walk has saved all gradients, so that a failure at any point can restore them. A
 * hook may run code that adds nodes: the arena may have moved when it returns.
 * The result of a replay, a node above thousands of leaves, is swept without a walk.
 * Owns nothing: the order belongs to the walk, gradients to the graph. Cost: O(nodes + edges); no
 * recursion.
 * Source: Griewank and Walther, Evaluating Derivatives, 2nd ed., ch. 3. */
#include "graph/verify.h"
#include "ops/kernels.h"

static const size_t ahead = 16; /* prefetch distance: about one memory latency, in nodes */

static pg_status fail(pg_graph *graph, pg_status status, pg_fault fault) {
    graph->fault = fault;
    return status;
}

static void give_carefully(pg_node *child, double slope, double g) {
    if (pg_receives(child)) child->u.grad += pg_product(slope, g);
}

/* Add one contribution to the gradient of a child. */
static inline void give(pg_node *child, double slope, double g, const bool detached) {
    const double product = slope * g;
    if (PG_UNLIKELY((detached && (child->flags & PG_FLAG_DETACHED) != 0) || isnan(product)))
        give_carefully(child, slope, g);
    else child->u.grad += product;
}

/* The same for both children of an op, where a product may be undefined or a child detached. */
static pg_status give_both(pg_node *left, pg_node *right, double ga, double gb, double g) {
    give_carefully(left, ga, g);
    give_carefully(right, gb, g);
    return PG_OK;
}

/* Does a failure of the derivative with respect to this child matter? */
static bool is_asked(const pg_node *child, double g) { return g != 0.0 && pg_receives(child); }

/* The arena may have moved when the hook returns. */
static pg_status push_custom(pg_graph *graph, pg_node_id id) {
    if (graph->hooks.slopes(graph->nodes[id].of.variadic->tag, id) != 0) return PG_ERR_STOPPED;
    pg_node *const nodes = graph->nodes;
    const pg_variadic *variadic = nodes[id].of.variadic;
    for (size_t i = variadic->count; i-- > 0;)
        give(&nodes[variadic->ids[i]], variadic->locals[i], nodes[id].u.grad, true);
    return PG_OK;
}

static pg_status push_variadic(pg_graph *graph, const pg_node *node, const bool detached) {
    pg_node *const nodes = graph->nodes;
    const pg_variadic *variadic = node->of.variadic;
    if (variadic->kind == PG_VARIADIC_CUSTOM) return push_custom(graph, (pg_node_id)(node - nodes));
    if (variadic->locals == NULL) return PG_OK;
    const pg_node_id *const ids = variadic->ids;
    const double *const locals = variadic->locals, g = node->u.grad;
    for (size_t i = 0; i < variadic->count; i++) give(&nodes[ids[i]], locals[i], g, detached);
    return PG_OK;
}

/* The backward kernels, with or without checks for detached nodes. Derivatives are computed and
 * checked before any is used; a and b may be the same node, as in x * x, so each gradient is read
 * after the other has been written. */
static inline PG_ALWAYS_INLINE pg_status push(pg_graph *graph, const pg_node *node,
                                              const bool detached) {
    pg_node *const nodes = graph->nodes;
    const double g = node->u.grad, y = node->data;
    (void)y;
    if (detached && PG_UNLIKELY(node->flags & PG_FLAG_DETACHED)) return PG_OK;
    switch (node->op) {
#define PG_PUSH_ONE(NAME, b_, da_, fault_, pole)                                                   \
    case PG_OP_##NAME: {                                                                           \
        pg_node *const left = &nodes[node->of.child[0]];                                           \
        const double a = left->data, b = (b_), ga = (da_);                                         \
        if (PG_UNLIKELY(!isfinite(ga))) {                                                          \
            const pg_status status = pg_pole_of(ga, (fault_), (pole), a, b);                       \
            if (status != PG_OK && is_asked(left, g))                                              \
                return fail(graph, status, (pg_fault){PG_OP_##NAME, 1, a, b});                     \
            give(left, ga, g, detached);                                                           \
            return PG_OK;                                                                          \
        }                                                                                          \
        left->u.grad += ga * g;                                                                    \
        return PG_OK;                                                                              \
    }
#define PG_UNARY(NAME, python, symbol, y_, da_, fault_, pole, ...)                                 \
    PG_PUSH_ONE(NAME, 0.0, da_, fault_, pole)
#define PG_NUMBER(NAME, python, symbol, y_, da_, fault_, pole, ...)                                \
    PG_PUSH_ONE(NAME, nodes[node->of.child[1]].data, da_, fault_, pole)
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault_, pole, ...)                           \
    case PG_OP_##NAME: {                                                                           \
        pg_node *const left = &nodes[node->of.child[0]];                                           \
        pg_node *const right = &nodes[node->of.child[1]];                                          \
        const double a = left->data, b = right->data, ga = (da_), gb = (db_);                      \
        pg_status status = pg_pole_of(ga, (fault_), (pole), a, b);                                 \
        if (PG_UNLIKELY(status != PG_OK) && is_asked(left, g))                                     \
            return fail(graph, status, (pg_fault){PG_OP_##NAME, 1, a, b});                         \
        status = pg_pole_of(gb, (fault_), (pole), a, b);                                           \
        if (PG_UNLIKELY(status != PG_OK) && is_asked(right, g))                                    \
            return fail(graph, status, (pg_fault){PG_OP_##NAME, 2, a, b});                         \
        const double to_left = ga * g, to_right = gb * g;                                          \
        if (PG_UNLIKELY((detached && ((left->flags | right->flags) & PG_FLAG_DETACHED) != 0) ||    \
                        isunordered(to_left, to_right)))                                           \
            return give_both(left, right, ga, gb, g);                                              \
        left->u.grad += to_left;                                                                   \
        right->u.grad += to_right;                                                                 \
        return PG_OK;                                                                              \
    }
#include "ops/ops.def"
    case PG_OP_VARIADIC: return push_variadic(graph, node, detached);
    default: return PG_OK;
    }
}

pg_status pg_push(pg_graph *graph, pg_node_id id) {
    if (!pg_alive(graph, id)) return PG_ERR_BAD_NODE;
    return push(graph, &graph->nodes[id], true);
}

/* Sweep the nodes before *end_ret, from the last on, up to a hook at most: it may detach nodes, and
 * the caller then has to choose the variant again. */
static inline PG_ALWAYS_INLINE pg_status sweep_to_hook(pg_graph *graph, const pg_walk *walk,
                                                       size_t *end_ret, const bool detached) {
    for (size_t i = *end_ret; i-- > 0; *end_ret = i) {
        if (i >= ahead) PG_PREFETCH(&graph->nodes[walk->ids[i - ahead]]);
        const pg_node *node = &graph->nodes[walk->ids[i]];
        const bool calls = (node->flags & PG_FLAG_CLOSURE) != 0;
        if (PG_UNLIKELY(calls)) {
            if (graph->hooks.call(graph->owners[walk->ids[i]]) != 0) return PG_ERR_STOPPED;
        } else {
            pg_status status = push(graph, node, detached);
            if (PG_UNLIKELY(status != PG_OK)) return status;
        }
        if (PG_UNLIKELY(i % pg_patience == 0) && walk->count > pg_patience &&
            graph->hooks.poll != NULL && graph->hooks.poll() != 0)
            return PG_ERR_STOPPED;
        if (PG_UNLIKELY(calls)) {
            *end_ret = i;
            return PG_OK;
        }
    }
    return PG_OK;
}

static pg_status sweep(pg_graph *graph, const pg_walk *walk) {
    pg_status status = PG_OK;
    for (size_t end = walk->count; end > 0 && status == PG_OK;)
        status = graph->has_detached ? sweep_to_hook(graph, walk, &end, true)
                                     : sweep_to_hook(graph, walk, &end, false);
    return status;
}

pg_status pg_clear_grads(pg_graph *graph, pg_node_id root) {
    pg_walk walk;
    pg_status status = pg_walk_begin(graph, &walk, root);
    if (status != PG_OK) return status;
    for (size_t i = 0; i < walk.count; i++) graph->nodes[walk.ids[i]].u.grad = 0.0;
    pg_walk_end(graph, &walk);
    return PG_OK;
}

/* Is it the result of a replay, a node with numeric derivatives whose children are all leaves, and
 * without hooks? The replay has looked, as a rule; else: inner nodes among its children come last,
 * the Values among the arguments. */
static bool is_flat(const pg_graph *graph, pg_node_id root) {
    const pg_node *const nodes = graph->nodes, *const node = &nodes[root];
    if (node->op != PG_OP_VARIADIC || (node->flags & PG_FLAG_CLOSURE)) return false;
    const pg_variadic *variadic = node->of.variadic;
    if (variadic->kind != PG_VARIADIC_PLAIN) return false;
    if (variadic->flat == graph->turned) return true;
    for (size_t i = variadic->count; i-- > 0;)
        if (!pg_is_plain_leaf(&nodes[variadic->ids[i]])) return false;
    return true;
}

/* The sweep of such a node without a walk: its order is known, and nothing can fail. */
static pg_status sweep_flat(pg_graph *graph, pg_node_id root) {
    graph->nodes[root].u.grad = 1.0;
    return push(graph, &graph->nodes[root], graph->has_detached);
}

pg_status pg_backward(pg_graph *graph, pg_node_id root) {
    if (pg_alive(graph, root) && is_flat(graph, root)) return sweep_flat(graph, root);
    pg_walk walk;
    pg_status status = pg_walk_begin(graph, &walk, root);
    if (status != PG_OK) return status;
    pg_own(graph, root); /* a hook may drop the last other reference */
    graph->nodes[root].u.grad = 1.0;
    status = sweep(graph, &walk);
    if (status != PG_OK) pg_walk_undo(graph, &walk);
    pg_walk_end(graph, &walk);
    pg_graph_release(graph, root);
    return status;
}

/* ---- One node by hand ------------------------------------------------------------------------ */

pg_status pg_node_slopes(pg_graph *graph, double slopes_ret[2], pg_node_id id) {
    if (!pg_alive(graph, id)) return PG_ERR_BAD_NODE;
    const pg_node *const nodes = graph->nodes, *const node = &nodes[id];
    const double y = node->data;
    double *const slopes = slopes_ret;
    pg_status status = PG_OK;
    (void)y;
    switch (node->op) {
#define PG_OPERAND(k) nodes[node->of.child[k]].data
#define PG_SLOPE(NAME, k, slope, fault_, pole)                                                     \
    slopes[k] = (slope);                                                                           \
    if (status == PG_OK) {                                                                         \
        status = pg_pole_of(slopes[k], (fault_), (pole), a, b);                                    \
        if (status != PG_OK) fail(graph, status, (pg_fault){PG_OP_##NAME, (k) + 1, a, b});         \
    }
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, pole, ...)                                  \
    case PG_OP_##NAME: {                                                                           \
        const double a = PG_OPERAND(0), b = 0.0;                                                   \
        PG_SLOPE(NAME, 0, da_, fault, pole)                                                        \
        return status;                                                                             \
    }
#define PG_NUMBER(NAME, python, symbol, y_, da_, fault, pole, ...)                                 \
    case PG_OP_##NAME: {                                                                           \
        const double a = PG_OPERAND(0), b = PG_OPERAND(1);                                         \
        PG_SLOPE(NAME, 0, da_, fault, pole)                                                        \
        return status;                                                                             \
    }
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, pole, ...)                            \
    case PG_OP_##NAME: {                                                                           \
        const double a = PG_OPERAND(0), b = PG_OPERAND(1);                                         \
        PG_SLOPE(NAME, 0, da_, fault, pole)                                                        \
        PG_SLOPE(NAME, 1, db_, fault, pole)                                                        \
        return status;                                                                             \
    }
#include "ops/ops.def"
    default: return PG_ERR_BAD_OP;
    }
}
