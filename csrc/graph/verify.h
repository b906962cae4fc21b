/* verify.h - what the core relies on, checked while it runs: only in builds with -DPG_VERIFY.
 *
 * Elsewhere the macros are nothing. In such a build the graph keeps a ledger beside its nodes: how
 * many references to each belong to somebody outside. So every reference can be accounted for.
 * What is broken is printed and ends the program: this is a build for tests, and the only place
 * where the core does either.
 *
 *   PG_CHECK_GRAPH    after every operation, as long as the graph is small; see verify_graph.c
 *   PG_CHECK_WALK     each order: is it topological, and just what the root is made of
 *   PG_CHECK_TAPE     after recording and after each pass
 *   PG_CHECK_PROGRAM  when it was made or read
 *   PG_CHECK_REVERSE  when it was made
 *   PG_ORDER_...      joining the steps of a layer keeps the order of every sum
 */
#ifndef PG_VERIFY_H
#define PG_VERIFY_H

#include "graph/graph.h"

#ifdef PG_VERIFY

struct pg_tape;

/* What is broken first, or NULL. Each may take scratch memory and reads only. */
const char *pg_graph_complaint(const pg_graph *graph);
const char *pg_walk_complaint(const pg_graph *graph, const pg_walk *walk, pg_node_id root);
/* marked: pg_tape_mark_dead has been there. */
const char *pg_tape_complaint(const struct pg_tape *tape, bool marked);
const char *pg_program_complaint(const pg_program *program);
/* whole: it is ready, and says which gradients it reaches. */
const char *pg_reverse_complaint(const pg_program *program, const pg_reverse *reverse, bool whole);
/* A number that differs when contributions to a gradient come in another order. */
uint64_t pg_order_of_sums(const pg_program *program, const pg_reverse *reverse);

/* Look at the graph, if it is time to. */
void pg_verify_graph(pg_graph *graph);
/* Print a complaint, if there is one, and abort. */
void pg_verify(const char *complaint);
/* Scratch, all zero. */
void *pg_verify_scratch(size_t count, size_t size);

#define PG_CHECK_GRAPH(graph) pg_verify_graph(graph)
#define PG_CHECK_WALK(graph, walk, root) pg_verify(pg_walk_complaint(graph, walk, root))
#define PG_CHECK_TAPE(tape, marked) pg_verify(pg_tape_complaint(tape, marked))
#define PG_CHECK_PROGRAM(program) pg_verify(pg_program_complaint(program))
#define PG_CHECK_REVERSE(program, reverse, whole)                                                  \
    pg_verify(pg_reverse_complaint(program, reverse, whole))
#define PG_ORDER_BEFORE(program, reverse)                                                          \
    const uint64_t order_before = pg_order_of_sums(program, reverse)
#define PG_ORDER_AFTER(program, reverse)                                                           \
    if (order_before != pg_order_of_sums(program, reverse)) pg_verify("a sum has another order")

#else

#define PG_CHECK_GRAPH(graph) ((void)0)
#define PG_CHECK_WALK(graph, walk, root) ((void)0)
#define PG_CHECK_TAPE(tape, marked) ((void)0)
#define PG_CHECK_PROGRAM(program) ((void)0)
#define PG_CHECK_REVERSE(program, reverse, whole) ((void)0)
#define PG_ORDER_BEFORE(program, reverse) ((void)0)
#define PG_ORDER_AFTER(program, reverse) ((void)0)

#endif
#endif
