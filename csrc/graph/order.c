/* order.c - the topological order: depth first, children from left to right, each before its
 * parents.
 *
 * The order of the recursive version, without recursion. The path from the root to the current node
 * is a stack. A node is on the stack or in the order, never in both, so one array holds the two:
 * the order grows from its start, the stack from its end, and they cannot meet. A visited node is
 * marked with the number of the walk, so that nothing has to be cleared afterwards; when the 16-bit
 * numbers run out, all marks are reset, once in 65,535 walks.
 * No external code runs during a walk except hooks.stop, which may not walk, so two walks never
 * interleave. A long walk polls hooks.stop and, if stopped, restores everything.
 * Owns the walk's arrays while it is lent out. Cost: O(nodes + edges); 12 bytes a living node.
 * Source: Tarjan, Depth-first search and linear graph algorithms, SIAM J. Comput. 1, 1972. */
#include "graph/verify.h"

static void wipe_marks(pg_graph *graph) {
    for (size_t i = 1; i < graph->used; i++) graph->nodes[i].mark = 0;
    graph->mark = 0;
}

uint16_t pg_walk_mark(pg_graph *graph) {
    if (graph->mark == UINT16_MAX) wipe_marks(graph);
    return ++graph->mark;
}

/* Arrays large enough for a walk over every living node. */
static pg_status take_scratch(pg_graph *graph, pg_walk *walk) {
    *walk = graph->scratch;
    graph->scratch = (pg_walk){0};
    walk->count = 0;
    size_t needed = pg_graph_live(graph);
    if (walk->capacity >= needed) return PG_OK;
    size_t capacity = graph->capacity; /* of the arena: reallocated only as often as it grows */
    pg_free(walk->ids);
    pg_free(walk->saved);
    walk->ids = pg_realloc(NULL, capacity, sizeof *walk->ids);
    walk->saved = walk->ids ? pg_realloc(NULL, capacity, sizeof *walk->saved) : NULL;
    walk->capacity = capacity;
    if (walk->saved != NULL) return PG_OK;
    pg_free(walk->ids);
    *walk = (pg_walk){0};
    return PG_ERR_NOMEM;
}

/* Append to the order. Saves the node's gradient, and resets it if it is an inner node, while the
 * node is in the cache: a separate pass over all nodes would cost more than the walk itself. */
static inline void append(pg_walk *walk, pg_node_id id, pg_node *node, bool leaf) {
    walk->saved[walk->count] = node->u.grad;
    if (!leaf) node->u.grad = 0.0;
    walk->ids[walk->count++] = id;
}

/* Visit a child: true if the walk must descend into it before its parent can continue. A leaf has
 * no children and is appended to the order at once. */
static inline bool must_descend(pg_node *nodes, pg_walk *walk, pg_node_id child, uint16_t mark) {
    if (nodes[child].mark == mark) return false;
    nodes[child].mark = mark;
    if (nodes[child].op != PG_OP_LEAF) return true;
    append(walk, child, &nodes[child], true);
    return false;
}

/* The next child of a variadic node to descend into, or 0. */
static pg_node_id next_of_variadic(pg_node *nodes, pg_walk *walk, pg_variadic *variadic,
                                   uint16_t mark) {
    while (variadic->cursor < variadic->count) {
        pg_node_id child = variadic->ids[variadic->cursor++];
        if (must_descend(nodes, walk, child, mark)) return child;
    }
    variadic->cursor = 0;
    return 0;
}

/* Flag of a stack entry: the walk is in the node's last child; none is left to visit. */
static const pg_node_id last_child = 0x80000000;

/* The next child of `here` to descend into, or 0. Of two children, the left one is checked again
 * when the walk returns for the right one; it is marked by then. A variadic node keeps a cursor.
 * *entry_ret is what to push for `here`. */
static inline pg_node_id next_child(pg_node *nodes, pg_walk *walk, pg_node_id *entry_ret,
                                    pg_node_id here, uint16_t mark) {
    const pg_node *node = &nodes[here];
    *entry_ret = here;
    if (PG_UNLIKELY(node->op == PG_OP_VARIADIC))
        return next_of_variadic(nodes, walk, node->of.variadic, mark);
    const pg_node_id left = node->of.child[0], right = node->of.child[1];
    if (must_descend(nodes, walk, left, mark)) {
        if (right == 0) *entry_ret |= last_child;
        return left;
    }
    *entry_ret |= last_child;
    return right != 0 && must_descend(nodes, walk, right, mark) ? right : 0;
}

/* Abort the walk: reset the cursors of the variadic nodes on the path. */
static void give_up(const pg_node *nodes, const pg_walk *walk, size_t top, pg_node_id here) {
    for (;; here = walk->ids[top++] & ~last_child) {
        if (nodes[here].op == PG_OP_VARIADIC) nodes[here].of.variadic->cursor = 0;
        if (top == walk->capacity) return;
    }
}

static pg_status visit_all(pg_graph *graph, pg_walk *walk, pg_node_id root) {
    pg_node *const nodes = graph->nodes;
    const uint16_t mark = graph->mark;
    pg_walk out = *walk; /* a local copy, which the compiler can keep in registers */
    size_t top = out.capacity;
    uint32_t patience = pg_patience;
    pg_node_id here = root;
    nodes[root].mark = mark;
    for (;;) {
        if (PG_UNLIKELY(--patience == 0)) {
            patience = pg_patience;
            if (graph->hooks.stop != NULL && graph->hooks.stop() != 0) {
                give_up(nodes, &out, top, here);
                walk->count = out.count;
                return PG_ERR_STOPPED;
            }
        }
        pg_node_id entry, child = next_child(nodes, &out, &entry, here, mark);
        if (child != 0) {
            out.ids[--top] = entry;
            here = child;
            continue;
        }
        append(&out, here, &nodes[here], false);
        while (top < out.capacity && (out.ids[top] & last_child)) {
            here = out.ids[top++] & ~last_child;
            append(&out, here, &nodes[here], false);
        }
        if (top == out.capacity) break;
        here = out.ids[top++];
    }
    walk->count = out.count;
    return PG_OK;
}

pg_status pg_walk_begin(pg_graph *graph, pg_walk *walk, pg_node_id root) {
    *walk = (pg_walk){0};
    if (!pg_alive(graph, root)) return PG_ERR_BAD_NODE;
    pg_status status = take_scratch(graph, walk);
    if (status != PG_OK) return status;
    pg_walk_mark(graph);
    if (graph->nodes[root].op != PG_OP_LEAF) status = visit_all(graph, walk, root);
    else append(walk, root, &graph->nodes[root], true);
    if (status == PG_OK) {
        PG_CHECK_WALK(graph, walk, root);
        return PG_OK;
    }
    pg_walk_undo(graph, walk);
    pg_walk_end(graph, walk);
    return status;
}

void pg_walk_end(pg_graph *graph, pg_walk *walk) {
    if (graph->scratch.capacity < walk->capacity) {
        pg_walk smaller = graph->scratch;
        graph->scratch = *walk;
        *walk = smaller;
    }
    pg_free(walk->ids);
    pg_free(walk->saved);
    PG_CHECK_GRAPH(graph);
}

void pg_walk_undo(pg_graph *graph, const pg_walk *walk) {
    for (size_t i = 0; i < walk->count; i++) graph->nodes[walk->ids[i]].u.grad = walk->saved[i];
}

pg_status pg_graph_order(pg_graph *graph, pg_node_id *order_ret, size_t *count_ret,
                         pg_node_id root) {
    pg_walk walk;
    pg_status status = pg_walk_begin(graph, &walk, root);
    if (status != PG_OK) return status;
    pg_walk_undo(graph, &walk);
    *count_ret = walk.count;
    for (size_t i = 0; order_ret != NULL && i < walk.count; i++) order_ret[i] = walk.ids[i];
    pg_walk_end(graph, &walk);
    return PG_OK;
}
