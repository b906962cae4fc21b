/* verify.h - the core's invariants, checked while it runs: only in builds with -DPG_VERIFY.
 *
 * In other builds the macros expand to nothing. In such a build the graph keeps a ledger beside its
 * nodes: the number of external references to each, so that every reference can be accounted for. A
 * violation is printed and aborts the program: this is a build for tests, and the only place where
 * the core does either.
 * For tapes see record/verify_tape.h, for programs program/verify_program.h.
 *
 *   PG_CHECK_GRAPH    after every operation, as long as the graph is small; see verify_graph.c
 *   PG_CHECK_WALK     each order: is it topological, and exactly the nodes that the root depends
 * on? */
#ifndef PG_VERIFY_H
#define PG_VERIFY_H

#include "graph/graph.h"

#ifdef PG_VERIFY

/* The first violation, or NULL. Each may allocate scratch memory, and modifies nothing. */
const char *pg_graph_complaint(const pg_graph *graph);
const char *pg_walk_complaint(const pg_graph *graph, const pg_walk *walk, pg_node_id root);

/* Check the graph, if a check is due. */
void pg_verify_graph(pg_graph *graph);
/* Print a complaint, if there is one, and abort. */
void pg_verify(const char *complaint);
/* Zeroed scratch memory. */
void *pg_verify_scratch(size_t count, size_t size);

#define PG_CHECK_GRAPH(graph) pg_verify_graph(graph)
#define PG_CHECK_WALK(graph, walk, root) pg_verify(pg_walk_complaint(graph, walk, root))

#else

#define PG_CHECK_GRAPH(graph) ((void)0)
#define PG_CHECK_WALK(graph, walk, root) ((void)0)

#endif
#endif
