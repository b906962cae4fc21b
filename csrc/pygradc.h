/* pygradc.h - the core's only public header: C programs include it, and cffi parses the same text.
 *
 * A graph holds nodes; a node is a value, its gradient and its operand nodes. Nodes are named by
 * ids, which stay valid when the arena grows. A node lives while it has an external reference or a
 * living node uses it.
 *
 * Every function that can fail returns a pg_status and on failure leaves the graph unchanged.
 * Argument order: object, outputs, inputs, counts. Nothing prints, nothing exits.
 * A graph is used by one thread at a time (in Python: the thread that holds the GIL).
 *
 * Lines that begin with # are for the C compiler only; cffi skips them. */
#ifndef PYGRADC_H
#define PYGRADC_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t pg_node_id; /* 0: no node */

typedef enum pg_status {
    PG_OK = 0,
    PG_ERR_NOMEM,         /* an allocation failed */
    PG_ERR_LIMIT,         /* more nodes or references than ids and counts can represent */
    PG_ERR_BAD_NODE,      /* an id without a living node */
    PG_ERR_BAD_OP,        /* no such op, or wrong arity */
    PG_ERR_DOMAIN,        /* an operand outside the op's domain */
    PG_ERR_ZERO_DIVISION, /* zero to a negative power, or a derivative that divides by zero */
    PG_ERR_OVERFLOW,      /* finite operands, result too large for a double */
    PG_ERR_STOPPED,       /* a hook requested a stop */
    PG_ERR_UNTRACEABLE, /* a node that can't be replayed: it has a closure or numeric derivatives */
    PG_ERR_BAD_FILE,    /* bytes that don't encode a valid program or graph */
    PG_ERR_NOT_FINITE   /* a training step would produce a non-finite number */
} pg_status;

/* One row of ops.def. */
typedef struct pg_op_info {
    const char *name;   /* its Python name */
    const char *symbol; /* the string in Value._op */
    const char *doc;
    const char *value;   /* the formulas, as written in ops.def */
    const char *da;      /* dy/da */
    const char *db;      /* dy/db; empty unless b is a node */
    int arity;           /* number of operand nodes: 1 or 2 */
    int takes_number;    /* b is a plain number, as in a ** 2 */
    double lo[2], hi[2]; /* the intervals from which tests sample a and b */
} pg_op_info;

/* The number of ops, and the description of one: op from 1 to pg_op_count().
 * Returns: the row, valid forever; NULL if there is no such op. */
int pg_op_count(void);
const pg_op_info *pg_op_describe(int op);

/* The number of an op that takes one, where it is left out; nan if there is none. */
double pg_op_default(int op);

/* Details of the last call on a graph that returned PG_ERR_DOMAIN, _ZERO_DIVISION or _OVERFLOW. */
typedef struct pg_fault {
    int op;
    int derivative; /* 0: the value failed; 1, 2: the value was fine, but dy/da or dy/db failed */
    double a, b;    /* the operands' data */
} pg_fault;

/* An operand: a node or, if id is 0, a plain number. */
typedef struct pg_operand {
    pg_node_id id;
    double number;
} pg_operand;

typedef struct pg_graph pg_graph;

/* Create an empty graph. Returns: NULL when memory runs out. */
pg_graph *pg_graph_new(void);
/* Free the graph and all its nodes, regardless of references to them. NULL is allowed. */
void pg_graph_free(pg_graph *graph);

/* The number of living nodes; the bytes of memory that the graph holds. */
size_t pg_graph_live(const pg_graph *graph);
size_t pg_graph_bytes(const pg_graph *graph);
pg_fault pg_graph_fault(const pg_graph *graph);

/* Reserve capacity for count more nodes, so that adding them can't run out of memory.
 * Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_LIMIT. */
pg_status pg_graph_reserve(pg_graph *graph, size_t count);

/* Add a leaf. Out: id_ret, which the caller owns. Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_LIMIT. */
pg_status pg_graph_leaf(pg_graph *graph, pg_node_id *id_ret, double data);

/* Add a leaf that holds a's data and keeps a gradient of 0. No derivative is evaluated for it, nor
 * for nodes computed only from such leaves and numbers. Returns: as pg_graph_leaf;
 * PG_ERR_BAD_NODE. */
pg_status pg_graph_detach(pg_graph *graph, pg_node_id *id_ret, pg_node_id a);

/* Append op(a), op(a, number) or op(a, b).
 * Returns: PG_OK; PG_ERR_NOMEM, _LIMIT, _BAD_NODE, _BAD_OP; a domain error as the op's row defines
 * it.
 * Out:     id_ret  the new node; the caller owns one reference.
 * In:      a, b    living nodes; the new node takes its own references to them. */
pg_status pg_graph_unary(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a);
pg_status pg_graph_number(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a, double number);
pg_status pg_graph_binary(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a, pg_node_id b);

/* Append the nodes of a Python expression, node for node as micrograd does. At least one operand is
 * a node; a number becomes a new leaf.
 *   binary    op(a, b) with the operands in this order
 *   add, mul  a number on the left goes second: 2 * v is mul(v, 2)
 *   sub       a + b * -1; a number b is negated first
 *   div       a * b ** -1; a number b is inverted first
 *   pow       a ** number is pown(a, number); otherwise pow(a, b)
 * Returns: as pg_graph_binary. */
pg_status pg_expr_binary(pg_graph *graph, pg_node_id *id_ret, int op, pg_operand a, pg_operand b);
pg_status pg_expr_add(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b);
pg_status pg_expr_mul(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b);
pg_status pg_expr_sub(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b);
pg_status pg_expr_div(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b);
pg_status pg_expr_pow(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b);
pg_status pg_expr_mod(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b);
pg_status pg_expr_floordiv(pg_graph *graph, pg_node_id *id_ret, pg_operand a, pg_operand b);
pg_status pg_expr_neg(pg_graph *graph, pg_node_id *id_ret, pg_node_id a);

/* The children of a node of any arity: count living nodes, repeats allowed. */
typedef struct pg_children {
    const pg_node_id *ids;
    const double
        *locals; /* dy/dchild for each, or NULL: the node propagates no gradient by itself */
    size_t count;
} pg_children;

/* Append a node of any arity, with its derivatives given as numbers.
 * Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_LIMIT, PG_ERR_BAD_NODE. */
pg_status pg_graph_variadic(pg_graph *graph, pg_node_id *id_ret, double data, pg_children children);

/* Append a custom op's node: as pg_graph_variadic, but without locals: its derivatives are computed
 * when a gradient reaches it, by the hook that gets the tag. The last child receives its gradient
 * first. */
pg_status pg_graph_custom(pg_graph *graph, pg_node_id *id_ret, double data, pg_children children,
                          void *tag);

/* start + v[0] + v[1] ... from left to right, as sum(v, start). If all are numbers, the result is a
 * leaf. */
pg_status pg_graph_sum(pg_graph *graph, pg_node_id *id_ret, pg_operand start,
                       const pg_operand *values, size_t count);

/* A layer of rows neurons, each of columns inputs. */
typedef struct pg_layer {
    int activation;            /* a unary op, or one with a default number; 0 for none */
    const pg_operand *weights; /* rows x columns, row-major */
    const pg_operand *biases;  /* rows */
    const pg_operand *inputs;  /* columns */
    size_t rows, columns;
} pg_layer;

/* For each neuron: activation(bias + w[0]*x[0] + w[1]*x[1] ...), node for node as
 * sum((wi*xi for wi, xi in zip(w, x)), bias) and one unary op. Adds all neurons or none.
 * Out: ids_ret  layer->rows nodes, owned by the caller */
pg_status pg_graph_layer(pg_graph *graph, pg_node_id *ids_ret, const pg_layer *layer);

/* The derivatives of y by each of count nodes, as nodes: they can be differentiated again.
 * No gradient changes. In a trace the nodes are the trace's.
 * Returns: PG_OK; PG_ERR_NOMEM, _LIMIT, _BAD_NODE; _DOMAIN, _ZERO_DIVISION, _OVERFLOW as
 *          pg_backward; PG_ERR_STOPPED; PG_ERR_BAD_OP: y depends on one of xs through a node with a
 *          closure or with numeric derivatives, which have no derivatives themselves.
 * Out:     ids_ret     owned by the caller; 0 where y doesn't depend on the node
 *          opaque_ret  the node that can't be differentiated; else 0 */
pg_status pg_graph_derive(pg_graph *graph, pg_node_id *ids_ret, pg_node_id *opaque_ret,
                          pg_node_id y, const pg_node_id *xs, size_t count);

/* Add or drop an external reference. A node without external references and uses is freed, and so
 * are the nodes that only it used, without recursion.
 * Returns (retain): PG_OK; PG_ERR_BAD_NODE, PG_ERR_LIMIT. */
pg_status pg_graph_retain(pg_graph *graph, pg_node_id id);
void pg_graph_release(pg_graph *graph, pg_node_id id);

/* Read and write a living node. */
double pg_node_data(const pg_graph *graph, pg_node_id id);
double pg_node_grad(const pg_graph *graph, pg_node_id id);
void pg_node_set_data(pg_graph *graph, pg_node_id id, double data);
void pg_node_set_grad(pg_graph *graph, pg_node_id id, double grad);
int pg_node_op(const pg_graph *graph, pg_node_id id);          /* a row of ops.def, or: */
int pg_node_is_leaf(const pg_graph *graph, pg_node_id id);     /* has no operands */
int pg_node_is_variadic(const pg_graph *graph, pg_node_id id); /* any number of children */
double pg_node_number(const pg_graph *graph, pg_node_id id);   /* the 2 of a ** 2 */
size_t pg_node_arity(const pg_graph *graph, pg_node_id id);
pg_node_id pg_node_child(const pg_graph *graph, pg_node_id id, size_t index);
const double *pg_node_locals(const pg_graph *graph,
                             pg_node_id id); /* of a variadic node; else NULL */

/* The derivatives of a table op with respect to its one or two children, at their current data.
 * Returns: PG_OK; PG_ERR_BAD_NODE; PG_ERR_BAD_OP for a leaf or a variadic node; _DOMAIN,
 * _ZERO_DIVISION, _OVERFLOW as pg_backward. */
pg_status pg_node_slopes(pg_graph *graph, double slopes_ret[2], pg_node_id id);

/* The nodes that root depends on, and root itself, in topological order: depth first, children from
 * left to right, each before its parents. The number of a ** 2 is among them, as a leaf.
 * Out: count_ret   the number of nodes
 *      order_ret   space for pg_graph_live() ids, or NULL to count only
 * Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_BAD_NODE, PG_ERR_STOPPED. */
pg_status pg_graph_order(pg_graph *graph, pg_node_id *order_ret, size_t *count_ret,
                         pg_node_id root);

/* Set root's gradient to 1, recompute the gradients of all other inner nodes below it from 0, and
 * accumulate into those of the leaves. Returns: PG_OK; PG_ERR_NOMEM, _BAD_NODE; _DOMAIN,
 * _ZERO_DIVISION, _OVERFLOW from a derivative; PG_ERR_STOPPED from a hook. On failure all gradients
 * are restored. */
pg_status pg_backward(pg_graph *graph, pg_node_id root);

/* Set the gradient of root and of every node below it to 0. Returns: PG_OK; PG_ERR_NOMEM,
 * _BAD_NODE, _STOPPED. */
pg_status pg_clear_grads(pg_graph *graph, pg_node_id root);

/* Add one node's gradient, times its derivatives, to those of its children. Here and in pg_backward
 * a gradient of 0 adds 0, even if the derivative is infinite, undefined or an error. */
pg_status pg_push(pg_graph *graph, pg_node_id id);

/* Optimizers over count nodes; count may be 0. The caller owns their state: arrays of count.
 *   sgd   g += weight_decay * p;  velocity = momentum * velocity + g;  p -= lr * velocity
 *         (velocity NULL: p -= lr * g)
 *   adam  Kingma and Ba 2015; decoupled: Loshchilov and Hutter 2019
 *   rmsprop  g += weight_decay * p;  square = alpha * square + (1 - alpha) * g * g;
 *         g /= sqrt(square) + eps;  velocity = momentum * velocity + g;  p -= lr * velocity
 *         (velocity NULL: p -= lr * g)
 * Returns: PG_OK; PG_ERR_BAD_NODE, before anything is modified. */
typedef struct pg_sgd_settings {
    double lr, momentum, weight_decay;
} pg_sgd_settings;

typedef struct pg_adam_settings {
    double lr, beta1, beta2, eps, weight_decay;
    int decoupled;
    double step; /* the step to take, counted from 1 */
} pg_adam_settings;

typedef struct pg_rmsprop_settings {
    double lr, alpha, eps, weight_decay, momentum;
} pg_rmsprop_settings;

/* A limit of gradients: of their Euclidean norm, or of each one; the other is 0. */
typedef struct pg_clip_settings {
    double norm, value;
} pg_clip_settings;

/* Parameters, their gradients, and an optimizer's state: arrays of equal length. */
typedef struct pg_optimizer_arrays {
    double *data, *gradients;
    double *velocity;      /* sgd, rmsprop: NULL without momentum */
    double *mean, *square; /* adam; rmsprop: only square; else NULL */
    double scale;          /* a gradient is this times its number */
} pg_optimizer_arrays;

pg_status pg_zero_grad(pg_graph *graph, const pg_node_id *nodes, size_t count);
pg_status pg_sgd(pg_graph *graph, double *velocity, const pg_node_id *nodes, size_t count,
                 const pg_sgd_settings *settings);
pg_status pg_adam(pg_graph *graph, double *mean, double *square, const pg_node_id *nodes,
                  size_t count, const pg_adam_settings *settings);
pg_status pg_rmsprop(pg_graph *graph, double *square, double *velocity, const pg_node_id *nodes,
                     size_t count, const pg_rmsprop_settings *settings);
/* The same over arrays of count: reads the data and state of `now` and the gradients of `next`,
 * and writes the data and state of `next`, which must not overlap those of `now`.
 * Returns: 0 if all new numbers are finite. */
uint64_t pg_sgd_array(const pg_optimizer_arrays *next, const pg_optimizer_arrays *now, size_t count,
                      const pg_sgd_settings *settings);
uint64_t pg_adam_array(const pg_optimizer_arrays *next, const pg_optimizer_arrays *now,
                       size_t count, const pg_adam_settings *settings);
uint64_t pg_rmsprop_array(const pg_optimizer_arrays *next, const pg_optimizer_arrays *now,
                          size_t count, const pg_rmsprop_settings *settings);

/* Clip count gradients, of which number i is gradients[at[i]]; at NULL: gradients[i]. By value:
 * each finite one to [-value, value]. By norm: all times norm / (their norm + 1e-6), if that is
 * less than 1 and their norm is finite; its squares are summed from i = 0 on.
 * Returns: the norm before; 0 if it wasn't needed. */
double pg_clip(double *gradients, const uint32_t *at, size_t count,
               const pg_clip_settings *settings);

/* ---- Recorded programs ---------------------------------------------------------------------- */

/* A trace: until pg_trace_end, nodes that exist now count as parameters, newly added leaves as
 * constants, and leaves of pg_trace_input, which hold nan, as inputs. Traces don't nest.
 * end: surviving nodes computed from parameters and constants alone become ordinary nodes; those
 * that depend on inputs are flagged. Returns: the number of living nodes with that flag, earlier
 * traces included; 0 if this trace left nothing to resolve. */
void pg_trace_begin(pg_graph *graph);
size_t pg_trace_end(pg_graph *graph);
pg_status pg_trace_input(pg_graph *graph, pg_node_id *id_ret);
/* Does the node depend on an input? On an input or a parameter? 1, 0; -1 without memory. */
int pg_trace_depends(pg_graph *graph, pg_node_id id);
int pg_trace_varies(pg_graph *graph, pg_node_id id);
/* The number of living nodes that depend on inputs of a finished trace. */
size_t pg_trace_left(const pg_graph *graph);

typedef enum pg_compare { /* the second four negate the first four, for nan too; the last two negate
                             each other. Files store these numbers */
                          PG_LESS = 0,
                          PG_LESS_EQUAL,
                          PG_GREATER,
                          PG_GREATER_EQUAL,
                          PG_NOT_LESS,
                          PG_NOT_LESS_EQUAL,
                          PG_NOT_GREATER,
                          PG_NOT_GREATER_EQUAL,
                          PG_EQUAL,
                          PG_NOT_EQUAL,
                          PG_COMPARE_COUNT
} pg_compare;

/* condition ? a : b, an ordinary node of both; the gradient goes to the chosen one. */
pg_status pg_graph_where(pg_graph *graph, pg_node_id *id_ret, int condition, pg_node_id a,
                         pg_node_id b);
/* A condition that a recording evaluates for each row: left < right, or another comparison. */
typedef struct pg_condition {
    int compare; /* pg_compare */
    pg_node_id left, right;
} pg_condition;

/* Nodes that only a recording can evaluate: condition ? a : b; and a without its gradient. */
pg_status pg_trace_select(pg_graph *graph, pg_node_id *id_ret, pg_condition condition, pg_node_id a,
                          pg_node_id b);
pg_status pg_trace_detach(pg_graph *graph, pg_node_id *id_ret, pg_node_id a);
/* A custom op of count operands in a trace: the result is value, and its derivative with respect to
 * operands[i] is slopes[i], no matter how value was computed. */
pg_status pg_trace_custom(pg_graph *graph, pg_node_id *id_ret, pg_node_id value,
                          const pg_node_id *operands, const pg_node_id *slopes, size_t count);

/* table[index] for an index that a recording evaluates for each row; and the index at which x would
 * be inserted in knots, which are sorted, to the left of equal ones or to their right. Neither has
 * a derivative by index or x. Returns: as pg_graph_variadic; PG_ERR_BAD_NODE also without entries.
 */
pg_status pg_trace_take(pg_graph *graph, pg_node_id *id_ret, pg_node_id index,
                        const pg_node_id *table, size_t count);
pg_status pg_trace_search(pg_graph *graph, pg_node_id *id_ret, pg_node_id x,
                          const pg_node_id *knots, size_t count, int right);
/* The derivative of takes from one table of so many entries: entry k gets the sum of the gradients
 * whose index is k, from the first to the last; 0 without any. An index that names no entry gives
 * nothing. The node of the scatter has no value; those of its parts have the sums, and no entry may
 * have two: one slot of a program holds it, with one gradient.
 * Returns: as pg_graph_variadic; PG_ERR_BAD_NODE also without gradients or entries, and for what is
 *          no scatter or has no such part; PG_ERR_LIMIT for more than 2**31 - 1 entries. */
pg_status pg_trace_scatter(pg_graph *graph, pg_node_id *id_ret, const pg_node_id *gradients,
                           const pg_node_id *indices, size_t count, size_t entries);
pg_status pg_trace_part(pg_graph *graph, pg_node_id *id_ret, pg_node_id scatter, size_t entry);

typedef enum pg_pass { /* csrc/record/passes.c; SHARE, POWERS, ORDER change bits: fast mode only */
                       PG_PASS_FOLD = 1,
                       PG_PASS_HOIST = 2,
                       PG_PASS_FUSE = 4,
                       PG_PASS_SHARE = 8,
                       PG_PASS_POWERS = 16,
                       PG_PASS_LAYERS = 32,
                       PG_PASS_ORDER = 64
} pg_pass;

typedef struct pg_program pg_program; /* straight-line code; immutable */

/* What to record: the computation of the outputs from the inputs, nodes of the active trace. */
typedef struct pg_recording {
    const pg_node_id *inputs, *outputs;
    size_t input_count, output_count;
    unsigned passes; /* flags of pg_pass */
    int fast;        /* replay with the core's own vector functions, not libm's */
} pg_recording;

/* Record a computation as a program.
 * Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_LIMIT; PG_ERR_UNTRACEABLE, with the op in pg_graph_fault. */
pg_status pg_record(pg_graph *graph, pg_program **program_ret, const pg_recording *recording);
void pg_program_free(pg_program *program); /* NULL is allowed */
/* The nodes recorded as the program's parameters; NULL for a loaded program. */
const pg_node_id *pg_program_sources(const pg_program *program);

/* The same code for rows in which the parameters are inputs, after the others. weighted: and after
 * them as many weights as outputs; the only output is the sum of the outputs times their weights.
 * Returns: PG_OK; PG_ERR_NOMEM. */
pg_status pg_program_lift(pg_program **lifted_ret, const pg_program *program, int weighted);

/* A program's code, for listing, saving or translating it. It has two sections:
 *   uniform  independent of the inputs; executed once a replay; a slot is one number:
 *            slots [constants | parameters | results]
 *   rows     executed once a row: slots [inputs | imports | results]
 * An import is a row slot to which a uniform slot is broadcast. Instruction i of a section writes
 * its result i. */
typedef struct pg_program_size {
    size_t inputs, params, outputs, constants, imports;
    size_t uniform_slots, row_slots;
    size_t uniform_instrs, row_instrs, pairs;
    int fast;
} pg_program_size;

typedef struct pg_pair {
    uint32_t left, right;
} pg_pair;

enum {                           /* flags: how a dot, a take or a search reads its operands */
       PG_DOT_STARTS = 1,        /* the sum starts with slot a; else with the first product */
       PG_DOT_UNIFORM_START = 2, /* a is a uniform slot, even in row code */
       PG_DOT_WEIGHTED = 4,      /* left factors are uniform slots, right ones row slots */
       PG_DOT_SQUARES = 8,       /* a slot times itself fails as a ** 2 does; not with weights */
       PG_DOT_GATED = 16,        /* each product is a gate: left is its slope, right its adjoint */
       PG_SEARCH_RIGHT = 16      /* a search counts the numbers equal to a, too */
};

typedef struct pg_instr {
    uint8_t op;            /* a row of ops.def or instructions.def; see pg_instr_name */
    uint8_t shape;         /* select: the comparison; dot, take, search: flags */
    uint8_t neighbours;    /* a dot: its left slots lie side by side, and so do its right ones */
    uint32_t dst, a, b;    /* slots; a dot's a is the start */
    uint32_t first, count; /* pairs of slots; the right one of a take or search is a */
    uint32_t run;          /* so many, from here on, execute as one: see csrc/program/runs.c */
} pg_instr;

pg_program_size pg_program_measure(const pg_program *program);
const pg_instr *pg_program_code(const pg_program *program); /* first uniform, then row code */
const pg_pair *pg_program_pairs(const pg_program *program);
const double *pg_program_constants(const pg_program *program);
const uint32_t *pg_program_imports(const pg_program *program);
const uint32_t *pg_program_outputs(const pg_program *program); /* row slots */

/* The description of an instruction: a row of ops.def or of instructions.def. */
enum { PG_PAIRS_NONE, PG_PAIRS_ONE, PG_PAIRS_SOME };
typedef struct pg_instr_info {
    const char *name;
    const char *value, *da; /* formulas in a, b and y; empty if it has pairs */
    int operands;           /* how many of a, b it reads; a dot may lack a */
    int pairs;
    int receivers;     /* how many of a, b get a gradient */
    int pairs_receive; /* do its pairs? Only the left ones, but of a dot */
    double power;      /* replaces a ** power, and fails as that does; else 0 */
} pg_instr_info;

/* Returns: the row, valid forever; its name; NULL if there is no such instruction. */
const pg_instr_info *pg_instr_describe(int op);
const char *pg_instr_name(int op);

/* Serialize a program; the bytes contain nothing executable.
 * write: bytes_ret NULL only measures. Returns: the number of bytes.
 * read:  validates everything. Returns: PG_OK; PG_ERR_NOMEM; PG_ERR_BAD_FILE. */
size_t pg_program_write(const pg_program *program, uint8_t *bytes_ret);
pg_status pg_program_read(pg_program **program_ret, const uint8_t *bytes, size_t count);

/* The backward pass of one output, to parameters, inputs or both. */
typedef struct pg_backward_plan pg_backward_plan;
typedef enum pg_accumulation { /* how a contribution to a gradient is accumulated */
                               PG_ACCUMULATE_NONE = 0, /* not wanted */
                               PG_ACCUMULATE_STORE,    /* the slot's first: overwrite */
                               PG_ACCUMULATE_ADD,
                               PG_ACCUMULATE_FOLD, /* summed over the rows into an accumulator */
                               PG_ACCUMULATE_MIXED /* of several targets: they differ */
} pg_accumulation;

typedef struct pg_target {
    uint32_t how; /* pg_accumulation */
    uint32_t at;  /* a slot or an accumulator */
} pg_target;

typedef enum pg_folds { /* the accumulators of a dot's weights, and of its start if that has one */
                        PG_FOLDS_ANY = 0,   /* some, perhaps, or the same one twice */
                        PG_FOLDS_APART,     /* each has one, which no other of the layer has */
                        PG_FOLDS_NEIGHBOURS /* and those of the weights are neighbours */
} pg_folds;

/* One backward step: instruction `instr` propagates its gradient. The targets of the pairs of a
 * dot, custom op, take or scatter are at `first`: left and right of the first pair, left and right
 * of the second. Behind those of a scatter there is one for each part: the slot of its gradient, or
 * PG_ACCUMULATE_NONE where it has none. */
typedef struct pg_step {
    uint32_t instr; /* or PG_COLLECT: add accumulator b.at to uniform gradient a.at */
    uint32_t first;
    uint8_t left, right; /* pg_accumulation: what all left (all right) targets do, or _MIXED */
    uint8_t folds;       /* pg_folds */
    uint8_t alone;       /* do these accumulators get nothing from other steps? */
    pg_target a, b;
    uint32_t run; /* so many, from here on, execute as one */
} pg_step;

static const uint32_t PG_COLLECT = 0xffffffff;

typedef struct pg_steps {
    const pg_step *rows, *uniform;
    size_t row_count, uniform_count, accumulators;
    const pg_target *targets;
    const uint8_t *input_reached, *uniform_reached; /* does the slot receive any gradient? */
    uint32_t output;                                /* the row slot that is seeded with 1 */
    const uint32_t *input_order; /* all inputs, in the order of their first contribution */
} pg_steps;

pg_steps pg_backward_plan_steps(const pg_backward_plan *plan);
enum { PG_WRT_PARAMS = 1, PG_WRT_INPUTS = 2 };
pg_status pg_backward_plan_new(pg_backward_plan **plan_ret, const pg_program *program,
                               size_t output, unsigned wrt);
void pg_backward_plan_free(pg_backward_plan *plan); /* NULL is allowed */

/* Input columns of the rows: count of them; consecutive rows are stride doubles apart. Stride 0
 * uses one row for all. The arguments, concatenated, give a program's inputs in order. */
typedef struct pg_argument {
    const double *data;
    size_t stride, count;
} pg_argument;

/* Details of the last call that returned PG_ERR_DOMAIN, _ZERO_DIVISION or _OVERFLOW. Row -1: it
 * failed in uniform code, for every row. Of a take: a is the index, b the number of entries. */
typedef struct pg_replay_fault {
    int64_t row;
    pg_fault fault;
} pg_replay_fault;

/* The number of levels that this machine supports: the kernels for the architecture's baseline; on
 * x86-64 also those for AVX2 and FMA, and for AVX-512; and machine code, which needs the former
 * there, and calls the widest kernels. All give the same bits. */
int pg_replay_levels(void);
int pg_has_native(void); /* Is the highest level machine code? */
/* The name and version of the compiler that built this core. */
const char *pg_compiler(void);

/* Do replays at this level run machine code? Compiles some, to find out. 0 where there is none, or
 * the system refuses executable pages: programs are then interpreted. */
int pg_program_is_native(const pg_program *program, int level);
/* The machine code that computes one row's values, for a disassembler. bytes_ret NULL only
 * measures. Returns: the number of bytes; 0: there is none. */
size_t pg_program_machine_code(const pg_program *program, uint8_t *bytes_ret);

/* Working memory to replay one program, which must outlive it, in one thread.
 * In: level  0 .. pg_replay_levels() - 1, or -1: the highest, whose machine code is made at the
 *            second run of a part, since it isn't worth it for one. Returns: PG_OK; PG_ERR_NOMEM.
 */
typedef struct pg_workspace pg_workspace;
pg_status pg_workspace_new(pg_workspace **workspace_ret, const pg_program *program, int level);
void pg_workspace_free(pg_workspace *workspace); /* NULL is allowed */
pg_replay_fault pg_workspace_fault(const pg_workspace *workspace);
/* A callback, called periodically in a long replay; nonzero stops it. NULL: none. */
void pg_workspace_poll(pg_workspace *workspace, int (*poll)(void *), void *context);

/* A replay's arguments and results. Rows are divided into chunks of 1,024, which are summed each,
 * and then in a fixed tree. Arrays of rows start at the first row of base_chunk. */
typedef struct pg_task {
    const pg_argument *arguments; /* argument_count of them */
    size_t argument_count;
    const int64_t *index;                /* row indices, or NULL: 0, 1, 2 ... */
    size_t rows;                         /* of all chunks */
    size_t base_chunk;                   /* at most first_chunk */
    size_t first_chunk, last_chunk;      /* the range to do, last_chunk excluded: with sums a branch
                                            of the tree */
    double *outputs;                     /* rows x outputs, or NULL */
    double *gradients;                   /* rows x outputs x inputs, or NULL */
    double *partials;                    /* the range's sums: pg_partial_count; or NULL: none */
    double scale;                        /* a factor of the sums: 1, or 1 / rows for means */
    const pg_backward_plan *const *plan; /* one per output; NULL: no gradients, no sums */
    int ignore;                          /* rows outside an op's domain yield inf and nan */
} pg_task;

size_t pg_chunk_count(size_t rows);
/* A chunk's first row; rows for the chunk after the last. */
size_t pg_chunk_start(size_t rows, size_t chunk);
/* The tree of sums: that of two or more chunks first .. last - 1 is first .. middle - 1 plus middle
 * .. last - 1. The first half is the larger one. */
size_t pg_chunk_middle(size_t first, size_t last);
/* The number of doubles in sums over rows: for each output its total and its accumulators. */
size_t pg_partial_count(const pg_program *program, const pg_backward_plan *const *plan);
/* Execute the uniform section. Required in each workspace before its rows. A failure here is
 * reported only for rows that need the value. Returns: PG_OK; PG_ERR_STOPPED. */
pg_status pg_replay_begin(pg_workspace *workspace, const double *params, int ignore);
/* Replay the chunks first_chunk .. last_chunk - 1. Touches no graph: threads may share the program.
 * A row fails by an op that its outputs need, through the branches it selects, or by a derivative
 * that a nonzero gradient reaches.
 * Returns: PG_OK; PG_ERR_DOMAIN, _ZERO_DIVISION, _OVERFLOW (see pg_workspace_fault: the first row
 *          that fails); PG_ERR_STOPPED; PG_ERR_NOMEM. */
pg_status pg_replay(pg_workspace *workspace, const pg_task *task);
/* When all chunks are done, and task->partials are the sums over all rows: the totals, and their
 * gradients with respect to the parameters, both times task->scale. The task's arguments are those
 * of all rows, which are read again where a sum of 0 meets an infinite derivative; without them
 * (NULL) no such sum counts as 0.
 * Out: totals     one per output
 *      gradients  outputs x params */
pg_status pg_replay_finish(pg_workspace *workspace, const pg_task *task, double *totals,
                           double *gradients);
/* The three in one, for all chunks. task->partials is ignored. */
pg_status pg_replay_sum(pg_workspace *workspace, const double *params, const pg_task *task,
                        double *totals, double *gradients);

/* A direction in the parameters, in the inputs, or in both. */
typedef struct pg_direction {
    const double *params; /* as many as parameters; NULL: they stand still */
    const double
        *inputs; /* of each row, stride apart, the inputs first .. first + count - 1; the
                    other inputs stand still. NULL: see pg_hvp_rows; count is 0 elsewhere */
    size_t stride, first, count;
} pg_direction;

/* Derivatives along a direction.
 *   jvp       for each row the outputs, and their derivatives along it (task->outputs, tangents:
 *             rows x outputs)
 *   hvp       for the only output, summed over all rows and times task->scale: the Hessian by the
 *             parameters times the direction, and the gradient; task->plan is with respect to the
 *             parameters
 *   hvp_rows  for the only output, for each row the Hessian by the inputs first .. first + count -
 * 1 times the direction (products: rows x count); without along->inputs along each of these inputs
 * in turn, which is the Hessian (rows x count x count); task->plan is with respect to the inputs
 * Chunks are processed in sequence on the calling thread. A detached value has no derivative.
 * Returns: as pg_replay; PG_ERR_NOMEM. */
pg_status pg_jvp(pg_workspace *workspace, const double *params, const pg_direction *along,
                 const pg_task *task, double *tangents);
pg_status pg_hvp(pg_workspace *workspace, const double *params, const pg_direction *along,
                 const pg_task *task, double *product, double *gradient);
pg_status pg_hvp_rows(pg_workspace *workspace, const double *params, const pg_direction *along,
                      const pg_task *task, double *products);

/* ---- Training ------------------------------------------------------------------------------- */

/* An optimizer and its parameters: count of them, in the optimizer's order. */
typedef enum pg_training_part {
    PG_TRAINING_LOSS,
    PG_TRAINING_PARAMETER,
    PG_TRAINING_STATE
} pg_training_part;

/* Threads that share the work of pg_fit: the calling one, and helpers, each in a call of
 * pg_crew_help. Nothing waits for a helper that has begun no part, and no bit depends on them.
 *   open     before work, by the thread that will call pg_fit: helpers may come
 *   help     take parts until the crew is closed; returns at once if it isn't open. A helper sleeps
 *            after 50 us without a part
 *   close    helpers leave. To be called by any thread, also twice
 *   forget   in the child of a fork: the helpers don't exist
 * A crew may be opened again. Where the system has no such threads helpers return at once. */
typedef struct pg_crew pg_crew;
pg_status pg_crew_new(pg_crew **crew_ret); /* PG_OK; PG_ERR_NOMEM */
void pg_crew_free(pg_crew *crew);          /* NULL is allowed; no helper may be in it */
void pg_crew_open(pg_crew *crew);
void pg_crew_help(pg_crew *crew);
void pg_crew_close(pg_crew *crew);
void pg_crew_forget(pg_crew *crew);
/* Can a crew share batches of so many rows, and are they worth it? The plan is by parameters. */
int pg_fit_can_share(const pg_program *program, const pg_backward_plan *plan, size_t batch_rows);

/* What pg_fit has learnt about sharing with a crew: zeros at first, and then its own. */
typedef struct pg_payoff {
    size_t rows;  /* of a chunk that it is about */
    double alone; /* seconds for a row without helpers; 0: not known yet */
    size_t pause,
        rests; /* chunks to do alone: after the last failure to be faster; of these left */
} pg_payoff;

typedef enum pg_optimizer_kind { PG_SGD, PG_ADAM, PG_RMSPROP } pg_optimizer_kind;

typedef struct pg_training {
    pg_crew *crew; /* shares the work; NULL: none */
    pg_payoff payoff;
    size_t epochs;     /* passes over all rows */
    size_t batch_rows; /* rows in a step; the last one of an epoch takes those that are left */
    size_t count;
    pg_optimizer_arrays arrays; /* count each; gradients: of the last step */
    const uint32_t *places;     /* each one's index among the program's parameters, or 0xffffffff */
    double *params;             /* the program's parameters, in the program's order */
    pg_optimizer_kind kind;
    pg_sgd_settings sgd;
    pg_adam_settings adam;
    pg_rmsprop_settings rmsprop;
    pg_clip_settings clip;
    const double *rates; /* the learning rate of each step of all epochs; NULL: the settings' */
    size_t steps;        /* taken so far; adam counts from there */
    /* Out, where pg_fit fails: the epoch and its batch, from 0. PG_ERR_NOT_FINITE: which quantity
     * stopped being finite, of which parameter, and the value it would have got. */
    size_t epoch, batch;
    pg_training_part part;
    size_t which;
    double number;
} pg_training;

/* Minimise the mean of the program's only output over the rows of task, in batches.
 * In:  task    arguments, index, rows, plan, ignore; index, if given, has rows row indices for
 *              each epoch, one epoch after the other
 * Out: losses  for each epoch the mean over its rows, each evaluated before its batch's step
 * Returns: as pg_replay; PG_ERR_NOT_FINITE, unless task->ignore: the loss isn't finite, or a step
 *          would make a parameter or the optimizer's state non-finite. Parameters, gradients and
 *          state are then those after the last complete step. */
pg_status pg_fit(pg_workspace *workspace, const pg_task *task, pg_training *training,
                 double *losses);

/* The index of the first nan; count if there is none. */
size_t pg_first_nan(const double *numbers, size_t count);

/* Testing only: make the n-th allocation from now fail, once; 0 disables it. */
void pg_alloc_fail_at(long n);

/* Python only: create the type `Scalar` and add it to the module of this name, which defines these
 * functions. Returns: 0, or -1 after printing the exception, as an import does. */
int pg_python_install(const char *module);
/* Python only, for pg_workspace_poll: has a signal arrived, or has *stop, an int, become
 * nonzero? */
int pg_python_poll(void *stop);
/* Python only: free what the owner points to. If Ctrl-C interrupts the interpreter just after a
 * call returned a pointer, nothing would free it; so the owner is created before what it owns. */
void pg_python_drop_program(pg_program **owner);
void pg_python_drop_backward_plan(pg_backward_plan **owner);
void pg_python_drop_workspace(pg_workspace **owner);
void pg_python_drop_crew(pg_crew **owner);

#endif
