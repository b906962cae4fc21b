/* layers.c - many nodes in one call: sums and layers.
 *
 * The resulting graph is, node for node, that of the Python expression: the same order, the same
 * bits, the same drawing. Only building it is cheaper.
 * Capacity for all nodes is reserved first; then only an activation's domain error can stop the
 * work, and the nodes added so far are released.
 * Owns nothing. Cost: O(nodes). */
#include "graph/verify.h"

#include <math.h>

/* Is every node alive, and can each take this many more references? */
static pg_status check(const pg_graph *graph, const pg_operand *values, size_t count,
                       size_t references) {
    if (references > UINT32_MAX / 4) return PG_ERR_LIMIT;
    for (size_t i = 0; i < count; i++) {
        if (values[i].id == 0) continue;
        if (!pg_alive(graph, values[i].id)) return PG_ERR_BAD_NODE;
        if (graph->nodes[values[i].id].refs > UINT32_MAX - 4 - references) return PG_ERR_LIMIT;
    }
    return PG_OK;
}

/* op(a, b) for add and mul; requires capacity. As in Python, two numbers give a number. Otherwise
 * the result is a node without references; a number becomes a leaf and goes second. */
static pg_operand combine(pg_graph *graph, int op, pg_operand a, pg_operand b) {
    double left = pg_operand_data(graph, a), right = pg_operand_data(graph, b);
    double y = op == PG_OP_ADD ? left + right : left * right;
    if (a.id == 0 && b.id == 0) return (pg_operand){0, y};
    pg_operand first = a.id != 0 ? a : b, second = a.id != 0 ? b : a;
    return (pg_operand){pg_take_mixed(graph, op, y, first, second), 0.0};
}

pg_status pg_graph_sum(pg_graph *graph, pg_node_id *id_ret, pg_operand start,
                       const pg_operand *values, size_t count) {
    pg_status status = check(graph, values, count, count + 2);
    if (status == PG_OK) status = check(graph, &start, 1, count + 2);
    if (status == PG_OK) status = pg_graph_reserve(graph, 2 * count + 1);
    if (status != PG_OK) return status;
    pg_operand total = start;
    for (size_t i = 0; i < count; i++) total = combine(graph, PG_OP_ADD, total, values[i]);
    *id_ret = pg_operand_node(graph, total);
    pg_own(graph, *id_ret);
    PG_CHECK_GRAPH(graph);
    return PG_OK;
}

/* total + w * x, three nodes; *sum is total's data before, and the result's after. */
static inline pg_node_id multiply_add(pg_graph *graph, double *sum, pg_node_id total, pg_node_id w,
                                      pg_node_id x) {
    double product = graph->nodes[w].data * graph->nodes[x].data;
    pg_node_id times = pg_take_op(graph, PG_OP_MUL, product, w, x);
    *sum += product;
    return pg_take_op(graph, PG_OP_ADD, *sum, total, times);
}

/* bias + w[0]*x[0] + w[1]*x[1] ..., a number up to the first node. */
static pg_operand weighted_sum(pg_graph *graph, const pg_layer *layer, size_t row) {
    const pg_operand *const inputs = layer->inputs;
    const pg_operand *const weights =
        layer->columns != 0 ? layer->weights + row * layer->columns : NULL;
    pg_operand total = layer->biases[row];
    double sum = pg_operand_data(graph, total);
    for (size_t i = 0; i < layer->columns; i++) {
        if (PG_LIKELY(total.id != 0 && weights[i].id != 0 && inputs[i].id != 0)) {
            total.id = multiply_add(graph, &sum, total.id, weights[i].id, inputs[i].id);
            continue;
        }
        pg_operand product = combine(graph, PG_OP_MUL, weights[i], inputs[i]);
        total = combine(graph, PG_OP_ADD, total, product);
        sum = pg_operand_data(graph, total);
    }
    return total;
}

static pg_status activate(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id total) {
    if (!pg_op_describe(op)->takes_number) return pg_graph_unary(graph, id_ret, op, total);
    return pg_graph_number(graph, id_ret, op, total, pg_op_default(op));
}

/* Can op be applied to one node alone: a unary op, or one with a default for its number? */
static bool is_activation(int op) {
    const pg_op_info *info = pg_op_describe(op);
    return info != NULL && info->arity == 1 && (!info->takes_number || !isnan(pg_op_default(op)));
}

/* The neuron's node, with one reference, owned by the caller. */
static pg_status neuron(pg_graph *graph, pg_node_id *id_ret, const pg_layer *layer, size_t row) {
    pg_node_id total = pg_operand_node(graph, weighted_sum(graph, layer, row));
    pg_own(graph, total);
    *id_ret = total;
    if (layer->activation == 0) return PG_OK;
    pg_status status = activate(graph, id_ret, layer->activation, total);
    pg_graph_release(graph, total);
    return status;
}

pg_status pg_graph_layer(pg_graph *graph, pg_node_id *ids_ret, const pg_layer *layer) {
    const size_t rows = layer->rows, columns = layer->columns;
    if (layer->activation != 0 && !is_activation(layer->activation)) return PG_ERR_BAD_OP;
    if (columns != 0 && rows > UINT32_MAX / 8 / columns) return PG_ERR_LIMIT;
    const size_t references = rows * columns + rows;
    pg_status status = check(graph, layer->weights, rows * columns, references);
    if (status == PG_OK) status = check(graph, layer->biases, rows, references);
    if (status == PG_OK) status = check(graph, layer->inputs, columns, references);
    if (status == PG_OK) status = pg_graph_reserve(graph, rows * (4 * columns + 4));
    for (size_t row = 0; status == PG_OK && row < rows; row++) {
        status = neuron(graph, &ids_ret[row], layer, row);
        if (status != PG_OK)
            while (row > 0) pg_graph_release(graph, ids_ret[--row]);
    }
    return status;
}
