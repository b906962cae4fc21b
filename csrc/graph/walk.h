/* walk.h - the stack of a depth-first walk: the nodes from the root to the current one, each with
 * its next child. For walks that happen once a recording or a copy; order.c, needed by every sweep,
 * keeps its stack in the array of the order itself. */
#ifndef PG_WALK_H
#define PG_WALK_H

#include "graph/graph.h"

typedef struct pg_frame {
    pg_node_id id;
    uint32_t next; /* index of the next child to visit */
} pg_frame;

/* Owned by the function that walks: zero it at first, and pg_free its frames at the end. */
typedef struct pg_path {
    pg_frame *frames;
    size_t depth, capacity;
} pg_path;

static inline pg_status pg_descend(pg_path *path, pg_node_id id) {
    if (pg_grow((void **)&path->frames, &path->capacity, path->depth, sizeof *path->frames) < 0)
        return PG_ERR_NOMEM;
    path->frames[path->depth++] = (pg_frame){id, 0};
    return PG_OK;
}

/* The node on top of the stack; pop it. */
static inline pg_node_id pg_top(const pg_path *path) { return path->frames[path->depth - 1].id; }
static inline pg_node_id pg_ascend(pg_path *path) { return path->frames[--path->depth].id; }

/* The next child of the node on top of the stack, or 0 after its last. */
static inline pg_node_id pg_next_child(pg_path *path, const pg_graph *graph) {
    pg_frame *top = &path->frames[path->depth - 1];
    size_t count;
    const pg_node_id *held = pg_holds(&graph->nodes[top->id], &count);
    return top->next < count ? held[top->next++] : 0;
}

/* Does a walk over a trace's nodes stop here: at a leaf, or a node that predates the trace? */
static inline bool pg_is_trace_end(const pg_node *node) {
    return node->op == PG_OP_LEAF || (node->flags & PG_FLAG_OLD) != 0;
}

#endif
