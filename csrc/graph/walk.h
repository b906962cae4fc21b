/* walk.h - the way from a root to where a depth-first walk stands: nodes, each with the child that
 * comes next. For walks that happen once a recording or a copy; order.c's, which every sweep needs,
 * keeps its way in the array of the order itself. */
#ifndef PG_WALK_H
#define PG_WALK_H

#include "graph/graph.h"

typedef struct pg_frame {
    pg_node_id id;
    uint32_t next; /* the child that the walk comes to next */
} pg_frame;

/* Owned by who walks; all zero at first, and its frames go to pg_free in the end. */
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

/* The node on top, or the one that was on top until now. */
static inline pg_node_id pg_top(const pg_path *path) { return path->frames[path->depth - 1].id; }
static inline pg_node_id pg_ascend(pg_path *path) { return path->frames[--path->depth].id; }

/* Where a walk over what a trace made ends: a leaf, or a node that was there before the trace. */
static inline bool pg_is_trace_end(const pg_node *node) {
    return node->op == PG_OP_LEAF || (node->flags & PG_FLAG_OLD) != 0;
}

#endif
