/* outlive.c - the end of a trace: resolve the nodes that outlive it.
 *
 * Nodes that the function created may still be referenced: from a list, a cache, a frame that an
 * exception holds. Those that depend on an input never had a value: they are flagged, and refused
 * from then on (PG_FLAG_OVER). Those computed from parameters and constants alone become what they
 * would have been without a trace: a select, a take or a scatter's part becomes the choice that the
 * data make, a detached value or a place among knots a leaf, a custom op's rule a node that gets
 * its derivatives from the tag; and nodes computed from these get their values. A node with an
 * error as its value is refused, too. Owns its scratch. Without memory all nodes of the trace that
 * have children are refused, and its inputs. Cost: one pass over the arena; a second one, O(nodes
 * that outlive it), only if there are any. */
#include "graph/walk.h"
#include "ops/kernels.h"

#include <string.h>

typedef enum state { unseen = 0, as_it_was, renewed, over } state;

typedef struct walker {
    pg_graph *graph;
    uint8_t *states; /* for each slot */
    pg_path path;
} walker;

static bool is_symbol(const pg_node *node) {
    return node->op == PG_OP_VARIADIC && node->of.variadic->kind >= PG_VARIADIC_DETACH;
}

/* Is it a node that only the recorder reads, or one with a value that hasn't been checked? */
static bool is_left_over(const pg_node *node) {
    return node->op != PG_OP_FREE && !(node->flags & PG_FLAG_OLD) &&
           ((node->flags & PG_FLAG_INPUT) || is_symbol(node) || !isfinite(node->data));
}

static bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

/* ---- One node, its children resolved --------------------------------------------------------- */

static state set_data(pg_node *node, double data) {
    const bool same = same_bits(node->data, data);
    node->data = data;
    return same ? as_it_was : renewed;
}

static state resolve_select(pg_graph *graph, pg_node_id id) {
    const pg_variadic *variadic = graph->nodes[id].of.variadic;
    const pg_node *nodes = graph->nodes;
    const int compare = (int)(variadic->kind - PG_VARIADIC_SELECT);
    const bool first =
        pg_compares(compare, nodes[variadic->ids[2]].data, nodes[variadic->ids[3]].data);
    const double locals[] = {first ? 1.0 : 0.0, first ? 0.0 : 1.0};
    const double data = nodes[variadic->ids[first ? 0 : 1]].data;
    const pg_children chosen = {variadic->ids, locals, 2};
    if (pg_become(graph, id, PG_VARIADIC_CHOICE, chosen) != PG_OK) return over;
    return set_data(&graph->nodes[id], data);
}

static state resolve_rule(pg_graph *graph, pg_node_id id) {
    const pg_variadic *variadic = graph->nodes[id].of.variadic;
    const size_t count = variadic->count / 2;
    const double data = graph->nodes[variadic->ids[count]].data;
    const pg_children operands = {variadic->ids, NULL, count};
    if (pg_become(graph, id, PG_VARIADIC_CUSTOM, operands) != PG_OK) return over;
    return set_data(&graph->nodes[id], data);
}

/* Of take(): where(True, entry, entry) of the entry that the index names. */
static state resolve_take(pg_graph *graph, pg_node_id id) {
    static const double locals[] = {1.0, 0.0};
    const pg_variadic *variadic = graph->nodes[id].of.variadic;
    const uint32_t count = (uint32_t)(variadic->count - 1);
    const uint32_t index = pg_index_of(graph->nodes[variadic->ids[count]].data, count);
    if (index == count) return over;
    const pg_node_id taken[] = {variadic->ids[index], variadic->ids[index]};
    const double data = graph->nodes[taken[0]].data;
    if (pg_become(graph, id, PG_VARIADIC_CHOICE, (pg_children){taken, locals, 2}) != PG_OK)
        return over;
    return set_data(&graph->nodes[id], data);
}

/* Its parts read it until they are resolved, too. Without them it means nothing. */
static state resolve_scatter(pg_graph *graph, pg_node_id id) {
    graph->nodes[id].flags |= PG_FLAG_OVER;
    return as_it_was;
}

/* The sum of the gradients whose index names this part, from the first on. */
static state resolve_part(pg_graph *graph, pg_node_id id) {
    const pg_variadic *part = graph->nodes[id].of.variadic;
    const pg_variadic *scatter = graph->nodes[part->ids[0]].of.variadic;
    const size_t count = scatter->count / 2;
    double *locals = pg_zeroed(count, sizeof *locals), data = 0.0;
    if (locals == NULL) return over;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const double index = graph->nodes[scatter->ids[count + i]].data;
        if (pg_index_of(index, scatter->number) != part->number) continue;
        const double gradient = graph->nodes[scatter->ids[i]].data;
        data = any ? data + gradient : gradient;
        any = true;
        locals[i] = 1.0;
    }
    const pg_children gradients = {scatter->ids, locals, count};
    const pg_status status = pg_become(graph, id, PG_VARIADIC_CHOICE, gradients);
    pg_free(locals);
    return status == PG_OK ? set_data(&graph->nodes[id], data) : over;
}

/* Of searchsorted(): a leaf, since it has no derivative. */
static state resolve_search(pg_graph *graph, pg_node_id id) {
    pg_node *node = &graph->nodes[id];
    const pg_variadic *variadic = node->of.variadic;
    const bool right = variadic->kind == PG_VARIADIC_SEARCH_RIGHT;
    const double x = graph->nodes[variadic->ids[0]].data;
    size_t place = 0;
    while (place + 1 < variadic->count &&
           pg_is_after(x, graph->nodes[variadic->ids[place + 1]].data, right))
        place++;
    const state result = set_data(node, (double)place);
    pg_cut(graph, id);
    return result;
}

/* Of detach(): the leaf receives no gradient. Of no_grad(): an ordinary leaf. */
static state resolve_detach(pg_graph *graph, pg_node_id id) {
    pg_node *node = &graph->nodes[id];
    const uint8_t detached = node->flags & PG_FLAG_DETACHED;
    const state result = set_data(node, graph->nodes[node->of.variadic->ids[0]].data);
    pg_cut(graph, id);
    node->flags |= detached;
    return result;
}

/* Resolve a table op. A value that was left for the replay to check is checked now. */
static state resolve_op(pg_graph *graph, pg_node *node, bool is_stale) {
    const double a = graph->nodes[node->of.child[0]].data;
    const double b = pg_op_slots[node->op] == 2 ? graph->nodes[node->of.child[1]].data : 0.0;
    const double y = is_stale ? pg_value_of(node->op, a, b) : node->data;
    if (!isfinite(y) && pg_fault_of(node->op, y, a, b) != PG_OK) return over;
    return set_data(node, y);
}

static state resolve_node(walker *walk, pg_node_id id) {
    pg_graph *graph = walk->graph;
    pg_node *node = &graph->nodes[id];
    if (node->flags & PG_FLAG_OVER) return over;
    if (node->flags & PG_FLAG_OLD) return as_it_was;
    if (node->op == PG_OP_LEAF) return (node->flags & PG_FLAG_INPUT) ? over : as_it_was;
    size_t count;
    const pg_node_id *held = pg_holds(node, &count);
    state worst = as_it_was;
    for (size_t i = 0; i < count; i++)
        if (walk->states[held[i]] > worst) worst = (state)walk->states[held[i]];
    if (worst == over) return over;
    if (node->op != PG_OP_VARIADIC) return resolve_op(graph, node, worst == renewed);
    switch (node->of.variadic->kind) {
    case PG_VARIADIC_PLAIN:
    case PG_VARIADIC_CHOICE:
    case PG_VARIADIC_CUSTOM: return as_it_was;
    case PG_VARIADIC_DETACH: return resolve_detach(graph, id);
    case PG_VARIADIC_RULE: return resolve_rule(graph, id);
    case PG_VARIADIC_TAKE: return resolve_take(graph, id);
    case PG_VARIADIC_SEARCH_LEFT:
    case PG_VARIADIC_SEARCH_RIGHT: return resolve_search(graph, id);
    case PG_VARIADIC_SCATTER: return resolve_scatter(graph, id);
    case PG_VARIADIC_PART: return resolve_part(graph, id);
    default: return resolve_select(graph, id);
    }
}

/* ---- All of them, children first ------------------------------------------------------------- */

/* The next unresolved child of the frame on top, or 0. */
static pg_node_id next_child(walker *walk) {
    if (walk->graph->nodes[pg_top(&walk->path)].flags & PG_FLAG_OLD) return 0;
    pg_node_id child;
    while ((child = pg_next_child(&walk->path, walk->graph)) != 0)
        if (walk->states[child] == unseen) return child;
    return 0;
}

static int resolve_from(walker *walk, pg_node_id root) {
    if (walk->states[root] != unseen) return 0;
    if (pg_descend(&walk->path, root) != PG_OK) return -1;
    while (walk->path.depth > 0) {
        const pg_node_id here = pg_top(&walk->path), child = next_child(walk);
        if (child != 0) {
            if (pg_descend(&walk->path, child) != PG_OK) return -1;
            continue;
        }
        pg_ascend(&walk->path);
        if (walk->states[here] != unseen) continue;
        walk->states[here] = (uint8_t)resolve_node(walk, here);
        if (walk->states[here] == over) walk->graph->nodes[here].flags |= PG_FLAG_OVER;
    }
    return 0;
}

static int resolve_all(pg_graph *graph) {
    walker walk = {.graph = graph};
    const size_t slots = graph->used;
    walk.states = pg_zeroed(slots, sizeof *walk.states);
    if (walk.states == NULL) return -1;
    int failed = 0;
    for (size_t i = 1; i < slots && i < graph->used && !failed; i++)
        if (graph->nodes[i].op != PG_OP_FREE) failed = resolve_from(&walk, (pg_node_id)i);
    pg_free(walk.states);
    pg_free(walk.path.frames);
    return failed;
}

static void refuse_all(pg_graph *graph) {
    for (size_t i = 1; i < graph->used; i++) {
        pg_node *node = &graph->nodes[i];
        if (node->op == PG_OP_FREE || (node->flags & PG_FLAG_OLD)) continue;
        if (node->op != PG_OP_LEAF || (node->flags & PG_FLAG_INPUT)) node->flags |= PG_FLAG_OVER;
    }
}

size_t pg_trace_left(const pg_graph *graph) {
    size_t count = 0;
    for (size_t i = 1; i < graph->used; i++)
        count += graph->nodes[i].op != PG_OP_FREE && (graph->nodes[i].flags & PG_FLAG_OVER) != 0;
    return count;
}

size_t pg_trace_end(pg_graph *graph) {
    graph->tracing = false;
    bool any = false;
    for (size_t i = 1; i < graph->used && !any; i++) any = is_left_over(&graph->nodes[i]);
    if (any && resolve_all(graph) < 0) refuse_all(graph);
    for (size_t i = 1; i < graph->used; i++)
        graph->nodes[i].flags &= (uint8_t)~(PG_FLAG_OLD | PG_FLAG_INPUT);
    return any ? pg_trace_left(graph) : 0;
}
