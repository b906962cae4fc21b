/* testing.h - what the C tests share: checks that count, a generator of random numbers, and a
 * second opinion on the graph.
 *
 * The tests speak to the core through pygradc.h. graph.h is there for what the public header can't
 * show: reference counts, the free list, hooks, and the core's names for the ops.
 * Each file asks one group of questions. Its tests are static, so that the compiler complains of
 * one that is missing in its list. */
#ifndef TESTING_H
#define TESTING_H

#include "graph/graph.h"

#include <stdio.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

/* One list a file, ended by a row of zeros. */
extern const test_case op_tests[], sweep_tests[], memory_tests[], bulk_tests[], failure_tests[],
    record_tests[], replay_tests[], runs_tests[], save_tests[], custom_tests[], pack_tests[],
    starved_tests[], derive_tests[], powers_tests[];

#define TEST(function) {#function, function}
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Count and print a failure. Returns: the condition, for tests that can't go on without it. */
#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)
bool check(bool ok, const char *expression, const char *file, int line);

bool same_bits(double a, double b);
bool same_number(double a, double b);           /* the same bits, or both nan */
bool near(double a, double b, double relative); /* relative to the larger of |b| and 1 */

/* splitmix64: the same numbers everywhere. */
void seed(uint64_t start);
uint64_t random_bits(void);
size_t below(size_t n);
double uniform(double lo, double hi);
unsigned some_of(unsigned flags);

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

/* ---- functions to record ------------------------------------------------------------------ */

enum {
    both = PG_WRT_PARAMS | PG_WRT_INPUTS,
    exact_passes = PG_PASS_FOLD | PG_PASS_HOIST | PG_PASS_FUSE | PG_PASS_LAYERS,
    all_passes = 2 * PG_PASS_ORDER - 1
};

/* One line of a function: op(a, b), where a and b are values that come before it. */
typedef struct line {
    int op; /* a row of ops.def; PG_OP_LEAF, a constant; or PG_OP_SELECT, _DETACH, _CUSTOM, _TAKE,
               _SCATTER */
    uint32_t a, b;        /* values */
    uint32_t left, right; /* SELECT: left < right ? a : b, or another comparison; CUSTOM: a, whose
                             derivative by b is right, and by left is b; TAKE: of b, left and right
                             the one at a's place among the knots -0.5 and 0.5; SCATTER: the part
                             compare / 2, where b goes to a's place and left to right's */
    int compare;          /* TAKE, SCATTER: odd: a knot that equals a counts */
    double number;        /* a constant, or the 2 of a ** 2 */
    double most;          /* no result is larger than this */
} line;

enum { MOST_OUTPUTS = 3 };

/* A function in straight lines. Its values are counted through: inputs, parameters, lines. */
typedef struct recipe {
    line *lines;
    size_t inputs, params, count, outputs;
    uint32_t ends[MOST_OUTPUTS]; /* the values that are outputs */
} recipe;

/* By hand: no lines yet; one more, and the value that it is; one output more. */
recipe recipe_new(size_t inputs, size_t params);
uint32_t recipe_add(recipe *r, line it);
void recipe_end(recipe *r, uint32_t value);
/* count lines or more, of all ops, diamonds and chains of multiply-add among them; the outputs need
 * some of them, or all. For inputs and parameters within (-2, 2) no op and no derivative is an
 * error. recipe_free when done. */
recipe random_recipe(size_t inputs, size_t params, size_t count, size_t outputs);
/* Any op of any values, so that rows fail; no parameters, no constants, no detach. */
recipe reckless_recipe(size_t inputs, size_t count, size_t outputs);
void recipe_free(recipe *r);

/* The nodes of a trace that is under way. */
typedef struct traced_recipe {
    pg_graph *graph;
    pg_node_id *ids; /* of the values */
    pg_node_id ends[MOST_OUTPUTS];
} traced_recipe;

/* Trace it; traced_free ends the trace. Returns: PG_OK, or an op's error. */
pg_status recipe_trace(traced_recipe *t_ret, const recipe *r);
void traced_free(traced_recipe *t);

/* Trace and record it. Out: param_of_ret  for each parameter of the program the recipe's, or NULL.
 * Returns: NULL if the trace itself is an error. */
pg_program *recipe_record(const recipe *r, uint32_t *param_of_ret, unsigned passes, int fast);
/* The same, for recipes and memory that don't fail. */
pg_program *must_record(const recipe *r, uint32_t *param_of_ret, unsigned passes, int fast);

/* A use of a parameter that has a leaf of its own. */
typedef struct param_use {
    uint32_t param;
    pg_node_id id;
} param_use;

/* A value whose op left its domain. */
typedef struct failure {
    uint32_t value;
    pg_status status;
    pg_fault fault;
} failure;

/* The second opinion: the function on ordinary nodes, anew for each row. */
typedef struct eager {
    const recipe *recipe;
    pg_graph *graph;
    pg_node_id *ids; /* of each value that the outputs need; 0 for the others */
    bool split;      /* give each use of a parameter a leaf of its own, and list them */
    param_use *uses;
    size_t use_count;
    pg_status status;  /* the first error that an output needs */
    failure *failures; /* of values, in the order in which they were computed */
    size_t failure_count;
} eager;

eager eager_new(const recipe *r, bool split);
void eager_free(eager *e);
/* Compute one row: the outputs' nodes are then e->ids[r->ends[...]].
 * Returns: PG_OK, or the first op's error that an output needs, by the choices of this row;
 *          pg_graph_fault(e->graph) has more. */
pg_status eager_forward(eager *e, const double *inputs, const double *params);
/* One output's gradients, from 0. Out: inputs_ret  one an input;  params_ret  one a parameter, or
 * NULL. Returns: as pg_backward. */
pg_status eager_backward(eager *e, double *inputs_ret, double *params_ret, size_t output);
double eager_output(const eager *e, size_t output);

#endif
