/* verify.h - what the core relies on, checked while it runs: only in builds with -DPG_VERIFY.
 *
 * Elsewhere the macros are nothing. In such a build the graph keeps a ledger beside its nodes: how
 * many references to each belong to somebody outside. So every reference can be accounted for.
 * What is broken is printed and ends the program: this is a build for tests, and the only place
 * where the core does either.
 * For tapes see record/verify_tape.h, for programs program/verify_program.h.
 *
 *   PG_CHECK_GRAPH    after every operation, as long as the graph is small; see verify_graph.c
 *   PG_CHECK_WALK     each order: is it topological, and just what the root is made of
 */
#ifndef PG_VERIFY_H
#define PG_VERIFY_H

#include "graph/graph.h"

#ifdef PG_VERIFY

/* What is broken first, or NULL. Each may take scratch memory and reads only. */
const char *pg_graph_complaint(const pg_graph *graph);
const char *pg_walk_complaint(const pg_graph *graph, const pg_walk *walk, pg_node_id root);

/* Look at the graph, if it is time to. */
void pg_verify_graph(pg_graph *graph);
/* Print a complaint, if there is one, and abort. */
void pg_verify(const char *complaint);
/* Scratch, all zero. */
void *pg_verify_scratch(size_t count, size_t size);

#define PG_CHECK_GRAPH(graph) pg_verify_graph(graph)
#define PG_CHECK_WALK(graph, walk, root) pg_verify(pg_walk_complaint(graph, walk, root))

#else

#define PG_CHECK_GRAPH(graph) ((void)0)
#define PG_CHECK_WALK(graph, walk, root) ((void)0)

#endif
#endif
