/* testing.h - what the C tests share: checks that count, a generator of random numbers, and a
 * second opinion on the graph.
 *
 * The tests speak to the core through pygradc.h. graph.h is there for what the public header can't
 * show: reference counts, the free list, hooks, and the core's names for the ops.
 * Each file asks one group of questions. Its tests are static, so that the compiler complains of
 * one that is missing in its list. */
#ifndef TESTING_H
#define TESTING_H

#include "graph.h"

#include <stdio.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

/* One list a file, ended by a row of zeros. */
extern const test_case op_tests[], sweep_tests[], memory_tests[], bulk_tests[], failure_tests[];

#define TEST(function) {#function, function}
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Count and print a failure. Returns: the condition, for tests that can't go on without it. */
#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
bool check(bool ok, const char *expression, const char *file, int line);

bool same_bits(double a, double b);
bool near(double a, double b, double relative); /* relative to the larger of |b| and 1 */

/* splitmix64: the same numbers everywhere. */
void seed(uint64_t start);
uint64_t random_bits(void);
size_t below(size_t n);
double uniform(double lo, double hi);

/* As malloc and free, but never NULL: a test without memory is over. */
void *must_alloc(size_t count, size_t size);

pg_graph *new_graph(void);
pg_node_id leaf(pg_graph *graph, double data);
pg_node_id binary(pg_graph *graph, int op, pg_node_id a, pg_node_id b);
pg_node_id unary(pg_graph *graph, int op, pg_node_id a);
pg_operand node(pg_node_id id);
pg_operand number(double value);
/* op(a, b), whatever kind of op it is: b's data is the number if it takes one. */
pg_status apply(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a, pg_node_id b);
void release_all(pg_graph *graph, const pg_node_id *ids, size_t count);

/* count nodes, each made of some before it: diamonds, x * x, shared leaves and wide nodes with
 * repeats. Values stay within (-4, 4). The caller owns each once. */
void random_graph(pg_graph *graph, pg_node_id *ids, size_t count);

/* Whether every reference is accounted for: refs are the uses by other nodes plus the owners, which
 * the test lists (with repeats); the free list holds each free slot once and nothing else. */
bool consistent(const pg_graph *graph, const pg_node_id *owned, size_t count);

/* A copy of all living nodes, to compare with. */
typedef struct snapshot {
    pg_node *nodes;
    size_t used, live;
} snapshot;

snapshot snapshot_take(const pg_graph *graph);
/* Whether the same nodes live, with the same data, gradients, children and references. */
bool snapshot_holds(const snapshot *before, const pg_graph *graph);
void snapshot_free(snapshot *before);

/* The recursive order, as micrograd's build_topo. Out: order_ret, room for pg_graph_live() ids.
 * Returns: how many. */
size_t reference_order(const pg_graph *graph, pg_node_id *order_ret, pg_node_id root);
/* What the gradients will be after pg_backward, by slot. The caller frees them. */
double *reference_gradients(const pg_graph *graph, pg_node_id root);

#endif
