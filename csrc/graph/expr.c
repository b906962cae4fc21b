/* expr.c - append ops to the graph: single ones, and Python's expressions as micrograd writes them.
 *
 * Values are computed here, once, when a node is created.
 * A function evaluates and checks first, reserves capacity second and fills slots last: it never
 * has to undo anything.
 * Owns nothing. Cost: O(1) a call, the arithmetic and one to three slots. */
#include "graph/verify.h"
#include "ops/kernels.h"

static pg_operand number_operand(double number) { return (pg_operand){0, number}; }

/* Evaluate op on these data; PG_OK, or the error. */
static pg_status evaluate(pg_graph *graph, double *y_ret, int op, double a, double b) {
    double y = pg_value_of(op, a, b);
    *y_ret = y;
    if (PG_LIKELY(isfinite(y))) return PG_OK;
    pg_status status = pg_fault_of(op, y, a, b);
    if (status != PG_OK) graph->fault = (pg_fault){op, 0, a, b};
    return status;
}

/* As above, on operands. During a trace, values that depend on inputs or parameters aren't known
 * yet: the replay will check them. */
static inline pg_status evaluate_operands(pg_graph *graph, double *y_ret, int op, pg_operand a,
                                          pg_operand b) {
    const double left = pg_operand_data(graph, a), right = pg_operand_data(graph, b);
    pg_status status = evaluate(graph, y_ret, op, left, right);
    if (PG_LIKELY(status == PG_OK) || !graph->tracing) return status;
    return pg_trace_judge(graph, status, a.id, b.id);
}

/* op(a, b) of two nodes, or op(a) if b is 0. The caller owns the result. */
static inline pg_status append(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a,
                               pg_node_id b) {
    const pg_node *left = &graph->nodes[a], *right = &graph->nodes[b];
    double y;
    pg_status status = evaluate_operands(graph, &y, op, (pg_operand){a, 0.0}, (pg_operand){b, 0.0});
    if (PG_UNLIKELY(status != PG_OK)) return status;
    if (PG_UNLIKELY(!pg_can_retain(left) || (b != 0 && !pg_can_retain(right)))) return PG_ERR_LIMIT;
    status = pg_graph_reserve(graph, 1);
    if (PG_UNLIKELY(status != PG_OK)) return status;
    *id_ret = pg_take_op(graph, op, y, a, b);
    pg_own_new(graph, *id_ret);
    PG_CHECK_GRAPH(graph);
    return PG_OK;
}

static pg_operand node_operand(pg_node_id id) { return (pg_operand){id, 0.0}; }

/* op(a, b) of a node and a number, which becomes a leaf once nothing can fail any more. */
static pg_status append_mixed(pg_graph *graph, pg_node_id *id_ret, int op, pg_operand a,
                              pg_operand b) {
    double y;
    pg_status status = evaluate_operands(graph, &y, op, a, b);
    if (status != PG_OK) return status;
    if (!pg_can_retain(&graph->nodes[a.id != 0 ? a.id : b.id])) return PG_ERR_LIMIT;
    status = pg_graph_reserve(graph, 2);
    if (status != PG_OK) return status;
    *id_ret = pg_take_mixed(graph, op, y, a, b);
    pg_own_new(graph, *id_ret);
    PG_CHECK_GRAPH(graph);
    return PG_OK;
}

pg_status pg_graph_unary(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a) {
    const pg_op_info *info = pg_op_describe(op);
    if (info == NULL || info->arity != 1 || info->takes_number) return PG_ERR_BAD_OP;
    if (!pg_alive(graph, a)) return PG_ERR_BAD_NODE;
    return append(graph, id_ret, op, a, 0);
}

pg_status pg_graph_number(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a,
                          double number) {
    const pg_op_info *info = pg_op_describe(op);
    if (info == NULL || !info->takes_number) return PG_ERR_BAD_OP;
    if (!pg_alive(graph, a)) return PG_ERR_BAD_NODE;
    return append_mixed(graph, id_ret, op, node_operand(a), number_operand(number));
}

pg_status pg_graph_binary(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a, pg_node_id b) {
    const pg_op_info *info = pg_op_describe(op);
    if (info == NULL || info->arity != 2) return PG_ERR_BAD_OP;
    if (!pg_alive(graph, a) || !pg_alive(graph, b)) return PG_ERR_BAD_NODE;
    return append(graph, id_ret, op, a, b);
}

/* Is there at least one node, and is every node alive? */
static bool usable(const pg_graph *graph, pg_operand a, pg_operand b) {
    return (a.id != 0 || b.id != 0) && (a.id == 0 || pg_alive(graph, a.id)) &&
           (b.id == 0 || pg_alive(graph, b.id));
}

static inline pg_status append_any(pg_graph *graph, pg_node_id *id_ret, int op, pg_operand a,
                                   pg_operand b) {
    if (!usable(graph, a, b)) return PG_ERR_BAD_NODE;
    return a.id != 0 && b.id != 0 ? append(graph, id_ret, op, a.id, b.id)
                                  : append_mixed(graph, id_ret, op, a, b);
}

pg_status pg_expr_binary(pg_graph *graph, pg_node_id *id_ret, int op, pg_operand a, pg_operand b) {
    const pg_op_info *info = pg_op_describe(op);
    if (info == NULL || info->arity != 2) return PG_ERR_BAD_OP;
    return append_any(graph, id_ret, op, a, b);
}

/* Release an intermediate node, which the result now references; passes the status through. */
static pg_status pass_on(pg_graph *graph, pg_status status, pg_node_id step) {
    pg_graph_release(graph, step);
    return status;
}

pg_status pg_expr_add(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    return a.id != 0 ? append_any(graph, id_ret, PG_OP_ADD, a, b)
                     : append_any(graph, id_ret, PG_OP_ADD, b, a);
}

pg_status pg_expr_mul(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    return a.id != 0 ? append_any(graph, id_ret, PG_OP_MUL, a, b)
                     : append_any(graph, id_ret, PG_OP_MUL, b, a);
}

pg_status pg_expr_neg(pg_graph *graph, pg_node_id *id_ret, pg_node_id a) {
    return append_any(graph, id_ret, PG_OP_MUL, node_operand(a), number_operand(-1.0));
}

pg_status pg_expr_sub(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    if (!usable(graph, a, b)) return PG_ERR_BAD_NODE;
    if (b.id == 0) return pg_expr_add(graph, id_ret, a, number_operand(-b.number));
    pg_node_id negated;
    pg_status status = pg_expr_neg(graph, &negated, b.id);
    if (status != PG_OK) return status;
    return pass_on(graph, pg_expr_add(graph, id_ret, a, node_operand(negated)), negated);
}

pg_status pg_expr_div(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    if (!usable(graph, a, b)) return PG_ERR_BAD_NODE;
    if (b.id == 0) {
        double inverse;
        volatile double exponent =
            -1.0; /* volatile: compilers would turn pow into 1/x, which rounds differently */
        pg_status status = evaluate(graph, &inverse, PG_OP_POWN, b.number, exponent);
        if (status != PG_OK) return status;
        return pg_expr_mul(graph, id_ret, a, number_operand(inverse));
    }
    pg_node_id inverse;
    pg_status status = pg_graph_number(graph, &inverse, PG_OP_POWN, b.id, -1.0);
    if (status != PG_OK) return status;
    graph->nodes[inverse].flags |= PG_FLAG_INT;
    return pass_on(graph, pg_expr_mul(graph, id_ret, a, node_operand(inverse)), inverse);
}

pg_status pg_expr_pow(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    return append_any(graph, id_ret, a.id != 0 && b.id == 0 ? PG_OP_POWN : PG_OP_POW, a, b);
}

pg_status pg_expr_mod(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    return append_any(graph, id_ret, PG_OP_MOD, a, b);
}

pg_status pg_expr_floordiv(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b) {
    return append_any(graph, id_ret, PG_OP_FLOORDIV, a, b);
}

pg_status pg_graph_where(pg_graph *graph, pg_node_id *id_ret, int condition, pg_node_id a,
                         pg_node_id b) {
    const pg_node_id ids[] = {a, b};
    const double locals[] = {condition ? 1.0 : 0.0, condition ? 0.0 : 1.0};
    if (!pg_all_alive(graph, ids, 2)) return PG_ERR_BAD_NODE;
    const double data = graph->nodes[condition ? a : b].data;
    return pg_add_variadic(graph, id_ret, PG_VARIADIC_CHOICE, data, (pg_children){ids, locals, 2});
}
