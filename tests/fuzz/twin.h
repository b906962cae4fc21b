/* twin.h - one graph twice: the core's, and the plain one beside it.
 *
 * What is held is a reference to a node of the core, with the plain node that should equal it. Each
 * change is made to both, the core first: where it is out of memory, the plain graph stays as it
 * was, and so should the core's. */
#ifndef TWIN_H
#define TWIN_H

#include "fuzz.h"

/* Held nodes, entries of a table, summands of a scatter: at most so many. */
enum { TWIN_HELD = 64, TWIN_ENTRIES = 5, TWIN_SUMMANDS = 5 };

typedef struct twin_node {
    pg_node_id id;
    uint32_t plain;
} twin_node;

typedef struct twin {
    pg_graph *graph;
    plain_graph plain;
    twin_node held[TWIN_HELD];
    size_t count;
    int tags[PLAIN_TAGS + 1];       /* references to each; their addresses are the tags */
    uint32_t plain_of[PLAIN_NODES]; /* by id; as of the last twin_check */
} twin;

extern twin both_graphs; /* a graph's hooks know no context */

void twin_begin(twin *t);
/* Let go of everything: nothing is left. */
void twin_end(twin *t);

void twin_hold(twin *t, pg_node_id id, uint32_t plain);
void twin_drop(twin *t, size_t index);

/* Is everything below this node the same: order, ops, data, gradients? */
void twin_compare(twin *t, twin_node root);
/* Do as many nodes live as can be reached, is every reference accounted for, and are tags? */
void twin_count(twin *t);
/* All of it, from everything that is held. */
void twin_check(twin *t);

/* Tags are counted from 1; 0 is none. find: as pg_find_tag. */
size_t twin_tag_number(const void *tag);
void *twin_find_tag(void *context, uint32_t number, pg_variadic_kind kind);

/* A copy of everything below a node, through bytes. Returns: false if memory ran out. */
bool twin_copy(twin *t, twin_node root);

/* twin_trace.c: record what was made since the plain graph had `since` nodes, and replay it. In:
 * inputs, outputs  held nodes;  passes  those that keep bits */
void twin_replay(twin *t, uint32_t since, const twin_node *inputs, size_t input_count,
                 const twin_node *outputs, size_t output_count, unsigned passes);

#endif
