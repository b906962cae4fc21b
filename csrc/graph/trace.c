/* trace.c - recording a function: its inputs, and nodes that only the recorder reads.
 *
 * The function runs on ordinary nodes. Its inputs are leaves that hold nan; nodes that predate the
 * trace are flagged as old and are the parameters, even if they have operands. A leaf that the
 * function creates is a constant. record/record.c builds a tape from the nodes that the outputs
 * depend on; outlive.c ends the trace.
 * Owns nothing but scratch. Cost: one pass over the arena at the beginning; a dependence query is
 * O(nodes below the node that the trace created). */
#include "graph/walk.h"
#include "ops/kernels.h"

#include <string.h>

void pg_trace_begin(pg_graph *graph) {
    graph->tracing = true;
    for (size_t i = 1; i < graph->used; i++)
        if (graph->nodes[i].op != PG_OP_FREE) graph->nodes[i].flags |= PG_FLAG_OLD;
}

pg_status pg_trace_input(pg_graph *graph, pg_node_id *id_ret) {
    pg_status status = pg_graph_leaf(graph, id_ret, NAN);
    if (status == PG_OK) graph->nodes[*id_ret].flags |= PG_FLAG_INPUT;
    return status;
}

/* Append a node that only the recorder reads, on living operands; its data are known only if theirs
 * are. Gradients go to the first `receivers` operands. */
static pg_status add_symbol(pg_graph *graph, pg_node_id *id_ret, pg_variadic_kind kind, double data,
                            pg_children operands, size_t receivers) {
    uint8_t flags = receivers > 0 ? PG_FLAG_DETACHED : 0;
    for (size_t i = 0; i < receivers; i++) flags &= graph->nodes[operands.ids[i]].flags;
    for (size_t i = 0; i < operands.count; i++)
        if (isnan(graph->nodes[operands.ids[i]].data)) data = NAN;
    pg_status status = pg_add_variadic(graph, id_ret, kind, data, operands);
    if (status == PG_OK) graph->nodes[*id_ret].flags |= flags;
    return status;
}

pg_status pg_trace_select(pg_graph *graph, pg_node_id *id_ret, pg_condition condition, pg_node_id a,
                          pg_node_id b) {
    const pg_node_id operands[] = {a, b, condition.left, condition.right};
    const int compare = condition.compare;
    if (compare < 0 || compare >= PG_COMPARE_COUNT) return PG_ERR_BAD_OP;
    if (!pg_all_alive(graph, operands, 4)) return PG_ERR_BAD_NODE;
    const pg_node *nodes = graph->nodes;
    const bool holds = pg_compares(compare, nodes[operands[2]].data, nodes[operands[3]].data);
    return add_symbol(graph, id_ret, (pg_variadic_kind)(PG_VARIADIC_SELECT + compare),
                      nodes[holds ? a : b].data, (pg_children){operands, NULL, 4}, 2);
}

pg_status pg_trace_detach(pg_graph *graph, pg_node_id *id_ret, pg_node_id a) {
    if (!pg_alive(graph, a)) return PG_ERR_BAD_NODE;
    return add_symbol(graph, id_ret, PG_VARIADIC_DETACH, graph->nodes[a].data,
                      (pg_children){&a, NULL, 1}, 0);
}

pg_status pg_trace_custom(pg_graph *graph, pg_node_id *id_ret, pg_node_id value,
                          const pg_node_id *operands, const pg_node_id *slopes, size_t count) {
    if (count == 0 || !pg_alive(graph, value) || !pg_all_alive(graph, operands, count) ||
        !pg_all_alive(graph, slopes, count))
        return PG_ERR_BAD_NODE;
    pg_node_id *all = pg_realloc(NULL, 2 * count + 1, sizeof *all);
    if (all == NULL) return PG_ERR_NOMEM;
    memcpy(all, operands, count * sizeof *all);
    all[count] = value;
    memcpy(all + count + 1, slopes, count * sizeof *all);
    pg_status status = add_symbol(graph, id_ret, PG_VARIADIC_RULE, graph->nodes[value].data,
                                  (pg_children){all, NULL, 2 * count + 1}, count);
    pg_free(all);
    return status;
}

/* head, then count nodes, then tail; 0 for none of these. NULL: no memory. */
static pg_node_id *around(pg_node_id head, const pg_node_id *ids, size_t count, pg_node_id tail) {
    pg_node_id *all = pg_realloc(NULL, count + 1, sizeof *all);
    if (all == NULL) return NULL;
    all[head != 0 ? 0 : count] = head != 0 ? head : tail;
    memcpy(all + (head != 0), ids, count * sizeof *all);
    return all;
}

pg_status pg_trace_take(pg_graph *graph, pg_node_id *id_ret, pg_node_id index,
                        const pg_node_id *table, size_t count) {
    if (count == 0 || !pg_alive(graph, index) || !pg_all_alive(graph, table, count))
        return PG_ERR_BAD_NODE;
    pg_node_id *all = around(0, table, count, index);
    if (all == NULL) return PG_ERR_NOMEM;
    pg_status status = add_symbol(graph, id_ret, PG_VARIADIC_TAKE, NAN,
                                  (pg_children){all, NULL, count + 1}, count);
    pg_free(all);
    return status;
}

pg_status pg_trace_search(pg_graph *graph, pg_node_id *id_ret, pg_node_id x,
                          const pg_node_id *knots, size_t count, int right) {
    if (count == 0 || !pg_alive(graph, x) || !pg_all_alive(graph, knots, count))
        return PG_ERR_BAD_NODE;
    pg_node_id *all = around(x, knots, count, 0);
    if (all == NULL) return PG_ERR_NOMEM;
    pg_status status =
        add_symbol(graph, id_ret, right ? PG_VARIADIC_SEARCH_RIGHT : PG_VARIADIC_SEARCH_LEFT, NAN,
                   (pg_children){all, NULL, count + 1}, 0);
    pg_free(all);
    return status;
}

pg_status pg_trace_scatter(pg_graph *graph, pg_node_id *id_ret, const pg_node_id *gradients,
                           const pg_node_id *indices, size_t count, size_t entries) {
    if (count == 0 || entries == 0 || !pg_all_alive(graph, gradients, count) ||
        !pg_all_alive(graph, indices, count))
        return PG_ERR_BAD_NODE;
    if (entries > INT32_MAX) return PG_ERR_LIMIT;
    pg_node_id *all = pg_realloc(NULL, 2 * count, sizeof *all);
    if (all == NULL) return PG_ERR_NOMEM;
    memcpy(all, gradients, count * sizeof *all);
    memcpy(all + count, indices, count * sizeof *all);
    pg_status status = add_symbol(graph, id_ret, PG_VARIADIC_SCATTER, NAN,
                                  (pg_children){all, NULL, 2 * count}, count);
    pg_free(all);
    if (status == PG_OK) graph->nodes[*id_ret].of.variadic->number = (uint32_t)entries;
    return status;
}

pg_status pg_trace_part(pg_graph *graph, pg_node_id *id_ret, pg_node_id scatter, size_t entry) {
    if (!pg_is_scatter(graph, scatter) || entry >= graph->nodes[scatter].of.variadic->number)
        return PG_ERR_BAD_NODE;
    pg_status status =
        add_symbol(graph, id_ret, PG_VARIADIC_PART, NAN, (pg_children){&scatter, NULL, 1}, 1);
    if (status == PG_OK) graph->nodes[*id_ret].of.variadic->number = (uint32_t)entry;
    return status;
}

/* ---- What depends on what -------------------------------------------------------------------- */

/* Visit the children of a node: 1 if one at which the walk ends has one of these flags; else 0, or
 * -1 without memory. The others are pushed. */
static int look_at_children(pg_graph *graph, pg_path *path, pg_node_id id, uint8_t flags) {
    const uint16_t mark = graph->mark;
    size_t count;
    const pg_node_id *held = pg_holds(&graph->nodes[id], &count);
    for (size_t i = 0; i < count; i++) {
        pg_node *child = &graph->nodes[held[i]];
        if (child->mark == mark) continue;
        child->mark = mark;
        if (pg_is_trace_end(child) && (child->flags & flags)) return 1;
        if (!pg_is_trace_end(child) && pg_descend(path, held[i]) != PG_OK) return -1;
    }
    return 0;
}

/* Does the node, or one below it at which the walk ends, have one of these flags? 1, 0; -1 without
 * memory. */
static int reaches(pg_graph *graph, pg_node_id id, uint8_t flags) {
    const pg_node *node = &graph->nodes[id];
    if (pg_is_trace_end(node)) return (node->flags & flags) != 0;
    pg_path path = {0};
    pg_walk_mark(graph);
    int found = pg_descend(&path, id) == PG_OK ? 0 : -1;
    while (found == 0 && path.depth > 0)
        found = look_at_children(graph, &path, pg_ascend(&path), flags);
    pg_free(path.frames);
    return found;
}

int pg_trace_depends(pg_graph *graph, pg_node_id id) { return reaches(graph, id, PG_FLAG_INPUT); }

int pg_trace_varies(pg_graph *graph, pg_node_id id) {
    return reaches(graph, id, PG_FLAG_INPUT | PG_FLAG_OLD);
}

pg_status pg_trace_judge(pg_graph *graph, pg_status status, pg_node_id a, pg_node_id b) {
    if (graph->hooks.recording != NULL && !graph->hooks.recording()) return status;
    int depends = a != 0 ? pg_trace_varies(graph, a) : 0;
    if (depends == 0 && b != 0) depends = pg_trace_varies(graph, b);
    if (depends < 0) return PG_ERR_NOMEM;
    return depends != 0 ? PG_OK : status;
}
