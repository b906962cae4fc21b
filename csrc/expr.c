/* expr.c - append ops to the graph: single ones, and Python's expressions as micrograd writes them.
 *
 * Values are computed here, once, when a node is made.
 * A call computes and judges first, makes room second and fills slots last: it never has to undo.
 * Owns nothing. Cost: O(1) a call, the arithmetic and one to three slots. */
#include "kernels.h"

#include "graph.h"

static pg_operand number_operand(double number) { return (pg_operand){0, number}; }

static double operand_data(const pg_graph *graph, pg_operand a) {
    return a.id != 0 ? graph->nodes[a.id].data : a.number;
}

/* op's value of these data, or the error that it is. */
static pg_status evaluate(pg_graph *graph, double *y_ret, int op, double a, double b) {
    double y = pg_value_of(op, a, b);
    *y_ret = y;
    if (PG_LIKELY(isfinite(y))) return PG_OK;
    pg_status status = pg_fault_of(op, y, a, b);
    if (status != PG_OK) graph->fault = (pg_fault){op, 0, a, b};
    return status;
}

pg_status pg_append(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a, pg_node_id b,
                    double number) {
    const pg_node *nodes = graph->nodes;
    double y;
    pg_status status =
        evaluate(graph, &y, op, nodes[a].data, b != 0 ? nodes[b].data : number);
    if (status != PG_OK) return status;
    if (PG_UNLIKELY(!pg_can_retain(&nodes[a]) || (b != 0 && !pg_can_retain(&nodes[b]))))
        return PG_ERR_LIMIT;
    status = pg_graph_reserve(graph, 1);
    if (PG_UNLIKELY(status != PG_OK)) return status;
    *id_ret = pg_take_op(graph, op, y, a, b);
    graph->nodes[*id_ret].number = number;
    return PG_OK;
}

/* The caller of a public function owns what it returns. */
static pg_status append_owned(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a,
                              pg_node_id b, double number) {
    pg_status status = pg_append(graph, id_ret, op, a, b, number);
    if (PG_LIKELY(status == PG_OK)) graph->nodes[*id_ret].refs = 1;
    return status;
}

pg_status pg_graph_unary(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a) {
    const pg_op_info *info = pg_op_describe(op);
    if (info == NULL || info->arity != 1 || info->takes_number) return PG_ERR_BAD_OP;
    if (!pg_alive(graph, a)) return PG_ERR_BAD_NODE;
    return append_owned(graph, id_ret, op, a, 0, 0.0);
}

pg_status pg_graph_number(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a,
                          double number) {
    const pg_op_info *info = pg_op_describe(op);
    if (info == NULL || !info->takes_number) return PG_ERR_BAD_OP;
    if (!pg_alive(graph, a)) return PG_ERR_BAD_NODE;
    return append_owned(graph, id_ret, op, a, 0, number);
}

pg_status pg_graph_binary(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a,
                          pg_node_id b) {
    const pg_op_info *info = pg_op_describe(op);
    if (info == NULL || info->arity != 2) return PG_ERR_BAD_OP;
    if (!pg_alive(graph, a) || !pg_alive(graph, b)) return PG_ERR_BAD_NODE;
    return append_owned(graph, id_ret, op, a, b, 0.0);
}

/* At least one node, and every node alive. */
static bool usable(const pg_graph *graph, pg_operand a, pg_operand b) {
    return (a.id != 0 || b.id != 0) && (a.id == 0 || pg_alive(graph, a.id)) &&
           (b.id == 0 || pg_alive(graph, b.id));
}

static pg_node_id as_node(pg_graph *graph, pg_operand a) {
    return a.id != 0 ? a.id : pg_take(graph, PG_OP_LEAF, a.number);
}

/* op(a, b); a number among them becomes a leaf once nothing can fail any more. */
static pg_status append_mixed(pg_graph *graph, pg_node_id *id_ret, int op, pg_operand a,
                              pg_operand b) {
    if (PG_LIKELY(a.id != 0 && b.id != 0)) return append_owned(graph, id_ret, op, a.id, b.id, 0.0);
    double y;
    pg_status status = evaluate(graph, &y, op, operand_data(graph, a), operand_data(graph, b));
    if (status == PG_OK) status = pg_graph_reserve(graph, 2);
    if (status != PG_OK) return status;
    pg_node_id left = as_node(graph, a);
    pg_node_id right = as_node(graph, b);
    if (!pg_can_retain(&graph->nodes[left]) || !pg_can_retain(&graph->nodes[right])) {
        pg_discard(graph, a.id == 0 ? left : right);
        return PG_ERR_LIMIT;
    }
    *id_ret = pg_take_op(graph, op, y, left, right);
    graph->nodes[*id_ret].refs = 1;
    return PG_OK;
}

/* Give up the reference to a step on the way, which the result now uses. */
static pg_status pass_on(pg_graph *graph, pg_status status, pg_node_id step) {
    pg_graph_release(graph, step);
    return status;
}

pg_status pg_expr_add(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    if (!usable(graph, a, b)) return PG_ERR_BAD_NODE;
    return a.id != 0 ? append_mixed(graph, id_ret, PG_OP_ADD, a, b)
                     : append_mixed(graph, id_ret, PG_OP_ADD, b, a);
}

pg_status pg_expr_mul(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    if (!usable(graph, a, b)) return PG_ERR_BAD_NODE;
    return a.id != 0 ? append_mixed(graph, id_ret, PG_OP_MUL, a, b)
                     : append_mixed(graph, id_ret, PG_OP_MUL, b, a);
}

pg_status pg_expr_neg(pg_graph *graph, pg_node_id *id_ret, pg_node_id a) {
    return pg_expr_mul(graph, id_ret, (pg_operand){a, 0.0}, number_operand(-1.0));
}

pg_status pg_expr_sub(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    if (!usable(graph, a, b)) return PG_ERR_BAD_NODE;
    if (b.id == 0) return pg_expr_add(graph, id_ret, a, number_operand(-b.number));
    pg_node_id negated;
    pg_status status = pg_expr_neg(graph, &negated, b.id);
    if (status != PG_OK) return status;
    return pass_on(graph, pg_expr_add(graph, id_ret, a, (pg_operand){negated, 0.0}), negated);
}

pg_status pg_expr_div(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    if (!usable(graph, a, b)) return PG_ERR_BAD_NODE;
    if (b.id == 0) {
        double inverse;
        pg_status status = evaluate(graph, &inverse, PG_OP_POWN, b.number, -1.0);
        if (status != PG_OK) return status;
        return pg_expr_mul(graph, id_ret, a, number_operand(inverse));
    }
    pg_node_id inverse;
    pg_status status = pg_graph_number(graph, &inverse, PG_OP_POWN, b.id, -1.0);
    if (status != PG_OK) return status;
    graph->nodes[inverse].flags |= PG_FLAG_INT;
    return pass_on(graph, pg_expr_mul(graph, id_ret, a, (pg_operand){inverse, 0.0}), inverse);
}

pg_status pg_expr_pow(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    if (!usable(graph, a, b)) return PG_ERR_BAD_NODE;
    if (b.id == 0) return pg_graph_number(graph, id_ret, PG_OP_POWN, a.id, b.number);
    return append_mixed(graph, id_ret, PG_OP_POW, a, b);
}
