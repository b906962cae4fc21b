/* locals.c - the derivatives of one node by its children, for those who sweep by hand.
 *
 * The same formulas as the backward kernels' (sweep.c), judged in the same way, but handed out
 * instead of spent.
 * Owns nothing. Cost: O(1). */
#include "graph/graph.h"
#include "ops/kernels.h"

static pg_status fault_of(pg_graph *graph, pg_status status, pg_fault fault) {
    if (status != PG_OK) graph->fault = fault;
    return status;
}

pg_status pg_node_slopes(pg_graph *graph, double slopes_ret[2], pg_node_id id) {
    if (!pg_alive(graph, id)) return PG_ERR_BAD_NODE;
    const pg_node *const nodes = graph->nodes, *const node = &nodes[id];
    const double y = node->data;
    double *const slopes = slopes_ret;
    pg_status status = PG_OK;
    (void)y;
    switch (node->op) {
#define PG_OPERAND(k) nodes[node->of.child[k]].data
#define PG_SLOPE(NAME, k, slope, fault, pole)                                                      \
    slopes[k] = (slope);                                                                           \
    if (status == PG_OK)                                                                           \
        status = fault_of(graph, pg_pole_of(slopes[k], (fault), (pole), a, b),                     \
                          (pg_fault){PG_OP_##NAME, (k) + 1, a, b});
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
