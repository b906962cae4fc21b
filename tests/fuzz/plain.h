/* plain.h - the second opinions of the fuzz targets: a graph and a program without any tricks.
 *
 * Arrays that only grow, recursion, a row at a time; what lives is what can be reached. They share
 * with the core its headers and nothing of its code, so that they can't inherit a mistake, and they
 * are short, so that they can be believed. */
#ifndef PLAIN_H
#define PLAIN_H

#include "program/program.h"

/* ---- arithmetic.c --------------------------------------------------------------------------- */

/* op of a and b, and its derivative by a (1) or b (2), where y is the result; an instruction of
 * programs counts as an op. fast: with our own functions instead of libm's. */
double plain_value(int op, double a, double b, bool fast);
double plain_slope(int op, int by, double a, double b, double y, bool fast);
/* What it means that op, or its derivative, gave this: PG_OK, or an error. */
pg_status plain_judge_value(int op, double a, double b, double y);
pg_status plain_judge_slope(int op, double a, double b, double y, double slope);
/* Slope times gradient; 0 where the gradient is 0 and the product undefined. */
double plain_product(double slope, double grad);
bool plain_compare(int compare, double left, double right);
/* How many operands an op of the table has; the number of a ** 2 counts. */
int plain_operands(int op);

/* ---- plain_graph.c -------------------------------------------------------------------------- */

#define PLAIN_NOBODY 0xffffffffu /* an enumerator is an int */
enum { PLAIN_NODES = 1 << 13, PLAIN_EDGES = 1 << 15 };

typedef struct plain_node {
    int op; /* of the table, or PG_OP_LEAF, PG_OP_VARIADIC */
    pg_variadic_kind kind;
    size_t tag;             /* of a wide node, counted from 1; 0: it has none */
    bool has_locals, whole; /* whole: ** 2, not ** 2.0 */
    double data, grad;
    uint32_t first, count; /* its edges; the number of a ** 2 is at the end of one */
    bool is_input;         /* of the trace */
    bool detached;         /* or made of such only: gets no gradient */
    bool seen;             /* by the walk under way */
} plain_node;

typedef struct plain_edge {
    uint32_t to;
    double slope; /* of a wide node */
} plain_edge;

/* The rules of the custom ops, which both sides ask: the derivative by operand `index`. One of them
 * wants the sweep to stop. */
enum { PLAIN_TAGS = 4, PLAIN_TAG_STOPS = PLAIN_TAGS };
static inline double plain_rule(size_t tag, size_t index, double data) {
    return (double)tag * 0.5 + (double)index * data;
}

typedef struct plain_graph {
    plain_node nodes[PLAIN_NODES];
    plain_edge edges[PLAIN_EDGES];
    uint32_t count, edge_count;
    uint32_t order[PLAIN_NODES]; /* of the last walk */
    uint32_t ordered;
    pg_fault fault;
    bool judges;    /* errors are errors; else they are inf and nan */
    uint32_t since; /* a trace began with so many nodes; PLAIN_NOBODY: none is under way */
} plain_graph;

/* A node, or a number that becomes a leaf where a node is made of it. */
typedef struct plain_operand {
    uint32_t node; /* PLAIN_NOBODY: the number */
    double number;
} plain_operand;

void plain_clear(plain_graph *g);
/* Is there room for so many nodes and edges more? */
bool plain_has_room(const plain_graph *g, size_t nodes, size_t edges);

uint32_t plain_leaf(plain_graph *g, double data);
uint32_t plain_wide(plain_graph *g, pg_variadic_kind kind, double data, const plain_edge *edges,
                    size_t count, bool has_locals);
/* op(a), op(a, b). A number of POWN is a node, too. */
pg_status plain_op(plain_graph *g, uint32_t *id_ret, int op, uint32_t a, uint32_t b);
pg_status plain_mixed(plain_graph *g, uint32_t *id_ret, int op, plain_operand a, plain_operand b);
/* a + b, a - b, a * b, a / b, a ** b as micrograd writes them. */
pg_status plain_expression(plain_graph *g, uint32_t *id_ret, char sign, plain_operand a,
                           plain_operand b);
uint32_t plain_sum(plain_graph *g, plain_operand start, const plain_operand *values, size_t count);
pg_status plain_neuron(plain_graph *g, uint32_t *id_ret, int activation, plain_operand bias,
                       const plain_operand *weights, const plain_operand *inputs, size_t count);
void plain_cut(plain_graph *g, uint32_t id);

/* Children before parents, children from left to right: into g->order. */
void plain_walk(plain_graph *g, uint32_t root);
pg_status plain_backward(plain_graph *g, uint32_t root);
pg_status plain_push(plain_graph *g, uint32_t id);
/* How many nodes can be reached from these. */
size_t plain_reachable(plain_graph *g, const uint32_t *roots, size_t count);

/* ---- plain_program.c ------------------------------------------------------------------------ */

/* What a program should give. Of rows: outputs, and outputs x inputs gradients; of all rows the
 * outputs' sums, and outputs x params gradients. */
typedef struct plain_results {
    double *outputs, *gradients, *totals, *sums;
    pg_status status; /* where errors are errors */
    pg_replay_fault fault;
} plain_results;

/* Compute the program for rows x inputs numbers, in one chunk, and what errors there are. */
plain_results plain_replay(const pg_program *program, const double *params, const double *inputs,
                           size_t rows);
void plain_results_free(plain_results *results);

#endif
