/* pygradc.h - the core's only public header: C programs include it, and cffi reads this same text.
 *
 * A graph holds nodes; a node is a number, its gradient, and the nodes that it was made of.
 * Nodes are named by ids, which stay valid while the arena grows. A node lives while somebody
 * outside owns a reference to it or a living node uses it.
 *
 * Every function that can fail returns a pg_status and leaves the graph as it was when it does.
 * Argument order: object, outputs, inputs, counts. Nothing prints, nothing exits.
 * A graph belongs to one thread at a time (in Python: to the thread that holds the GIL).
 *
 * Lines that begin with # are for the C compiler alone; cffi skips them.
 */
#ifndef PYGRADC_H
#define PYGRADC_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t pg_node_id; /* 0 names no node */

typedef enum pg_status {
    PG_OK = 0,
    PG_ERR_NOMEM,         /* an allocation failed */
    PG_ERR_LIMIT,         /* more nodes or references than ids can count */
    PG_ERR_BAD_NODE,      /* an id that names no living node */
    PG_ERR_BAD_OP,        /* no such op, or not of this arity */
    PG_ERR_DOMAIN,        /* an operand outside the op's domain */
    PG_ERR_ZERO_DIVISION, /* zero to a negative power, or a derivative that divides by zero */
    PG_ERR_OVERFLOW,      /* finite operands, result too large for a double */
    PG_ERR_STOPPED,       /* a hook asked to stop */
    PG_ERR_UNTRACEABLE, /* a node that can't be replayed: a closure, derivatives given by number */
    PG_ERR_BAD_FILE,    /* bytes that are no sound program */
    PG_ERR_NOT_FINITE   /* a step of training that would leave the finite numbers */
} pg_status;

/* One row of ops.def. */
typedef struct pg_op_info {
    const char *name;   /* Python's name for it */
    const char *symbol; /* what Value._op says */
    const char *doc;
    const char *value;   /* the formulas, as ops.def writes them */
    const char *da;      /* dy/da */
    const char *db;      /* dy/db; empty unless b is a node */
    int arity;           /* nodes it is made of: 1 or 2 */
    int takes_number;    /* b is a number: the op is a ** 2's kind */
    double lo[2], hi[2]; /* the interval in which tests sample a and b */
} pg_op_info;

/* How many ops there are, and one of them: op from 1 to pg_op_count().
 * Returns: the row, which lives forever; NULL for no such op. */
int pg_op_count(void);
const pg_op_info *pg_op_describe(int op);

/* What went wrong in the last call on a graph that returned PG_ERR_DOMAIN, _ZERO_DIVISION or
 * _OVERFLOW. */
typedef struct pg_fault {
    int op;
    int derivative; /* the value was right; dy/da (1) or dy/db (2) was not */
    double a, b;    /* the operands' data */
} pg_fault;

/* An operand that is a node, or, with id 0, a plain number. */
typedef struct pg_operand {
    pg_node_id id;
    double number;
} pg_operand;

typedef struct pg_graph pg_graph;

/* A graph without nodes. Returns: NULL when memory runs out. */
pg_graph *pg_graph_new(void);
/* Free it with all its nodes, whoever references them. NULL is allowed. */
void pg_graph_free(pg_graph *graph);

/* Living nodes; bytes of memory that the graph holds. */
size_t pg_graph_live(const pg_graph *graph);
size_t pg_graph_bytes(const pg_graph *graph);
pg_fault pg_graph_fault(const pg_graph *graph);

/* Make room for count more nodes, so that adding them can't fail for memory.
 * Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_LIMIT. */
pg_status pg_graph_reserve(pg_graph *graph, size_t count);

/* Add a leaf. Out: id_ret, which the caller owns. Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_LIMIT. */
pg_status pg_graph_leaf(pg_graph *graph, pg_node_id *id_ret, double data);

/* Add a leaf with a's data whose gradient stays 0: it, and what is made of such leaves and of
 * numbers only, is asked for no derivative. Returns: as pg_graph_leaf; PG_ERR_BAD_NODE. */
pg_status pg_graph_detach(pg_graph *graph, pg_node_id *id_ret, pg_node_id a);

/* Append op(a), op(a, number) or op(a, b).
 * Returns: PG_OK; PG_ERR_NOMEM, _LIMIT, _BAD_NODE, _BAD_OP, and what op's row says of its domain.
 * Out:     id_ret  the new node; the caller owns one reference.
 * In:      a, b    living nodes; the new node references them itself. */
pg_status pg_graph_unary(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a);
pg_status pg_graph_number(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a, double number);
pg_status pg_graph_binary(pg_graph *graph, pg_node_id *id_ret, int op, pg_node_id a, pg_node_id b);

/* What Python's expressions append, node for node as micrograd does. At least one operand is a
 * node; a number becomes a leaf of its own.
 *   binary    op(a, b) as it stands
 *   add, mul  a number on the left comes second: 2 * v is mul(v, 2)
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
pg_status pg_expr_neg(pg_graph *graph, pg_node_id *id_ret, pg_node_id a);

/* Append a node of any arity whose derivatives are given as numbers.
 * In: children  count living nodes, repeats allowed
 *     locals    dy/dchild for each, or NULL: the node passes no gradient on by itself
 * Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_LIMIT, PG_ERR_BAD_NODE. */
pg_status pg_graph_variadic(pg_graph *graph, pg_node_id *id_ret, double data,
                            const pg_node_id *children, const double *locals, size_t count);

/* Append a node of a custom op: as pg_graph_variadic, but its derivatives are asked for when a
 * gradient comes to it, of the hooks, which know the tag. The last child gets its gradient first.
 */
pg_status pg_graph_custom(pg_graph *graph, pg_node_id *id_ret, double data,
                          const pg_node_id *children, size_t count, void *tag);

/* start + v[0] + v[1] ... from left to right, as sum(v, start). All numbers: a leaf. */
pg_status pg_graph_sum(pg_graph *graph, pg_node_id *id_ret, pg_operand start,
                       const pg_operand *values, size_t count);

/* For each of rows neurons: activation(bias + w[0]*x[0] + w[1]*x[1] ...), node for node as
 * sum((wi*xi for wi, xi in zip(w, x)), bias) and one unary op. All of them are added, or none.
 * Out: ids_ret     rows nodes, which the caller owns
 * In:  weights     rows x columns, row by row;  biases  rows;  inputs  columns
 *      activation  a unary op, or 0 for none */
pg_status pg_graph_layer(pg_graph *graph, pg_node_id *ids_ret, int activation,
                         const pg_operand *weights, const pg_operand *biases,
                         const pg_operand *inputs, size_t rows, size_t columns);

/* Own, or stop owning, one more reference. A node that nobody references and no node uses is freed,
 * and so are the nodes that only it used, without recursion.
 * Returns (retain): PG_OK; PG_ERR_BAD_NODE, PG_ERR_LIMIT. */
pg_status pg_graph_retain(pg_graph *graph, pg_node_id id);
void pg_graph_release(pg_graph *graph, pg_node_id id);

/* Read and write a living node. */
double pg_node_data(const pg_graph *graph, pg_node_id id);
double pg_node_grad(const pg_graph *graph, pg_node_id id);
void pg_node_set_data(pg_graph *graph, pg_node_id id, double data);
void pg_node_set_grad(pg_graph *graph, pg_node_id id, double grad);
int pg_node_op(const pg_graph *graph, pg_node_id id);          /* a row of ops.def, or: */
int pg_node_is_leaf(const pg_graph *graph, pg_node_id id);     /* made of nothing */
int pg_node_is_variadic(const pg_graph *graph, pg_node_id id); /* made by pg_graph_variadic */
double pg_node_number(const pg_graph *graph, pg_node_id id);   /* the 2 of a ** 2 */
size_t pg_node_arity(const pg_graph *graph, pg_node_id id);
pg_node_id pg_node_child(const pg_graph *graph, pg_node_id id, size_t index);
const double *pg_node_locals(const pg_graph *graph,
                             pg_node_id id); /* of a variadic node, or NULL */

/* The derivatives of an op of the table by its one or two children, from their data as they are.
 * Returns: PG_OK; PG_ERR_BAD_NODE; PG_ERR_BAD_OP for a leaf or a variadic node; _DOMAIN,
 * _ZERO_DIVISION, _OVERFLOW as pg_backward. */
pg_status pg_node_slopes(pg_graph *graph, double slopes_ret[2], pg_node_id id);

/* The nodes that root is made of and root itself, children before parents: depth first, children
 * from left to right, each after its own children. The number of a ** 2 is among them, a leaf.
 * Out: count_ret   how many
 *      order_ret   room for pg_graph_live() ids, or NULL to count only
 * Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_BAD_NODE, PG_ERR_STOPPED. */
pg_status pg_graph_order(pg_graph *graph, pg_node_id *order_ret, size_t *count_ret,
                         pg_node_id root);

/* Set root's gradient to 1, give every other inner node below it a fresh one, and add to those of
 * the leaves. Returns: PG_OK; PG_ERR_NOMEM, _BAD_NODE; _DOMAIN, _ZERO_DIVISION, _OVERFLOW from a
 * derivative; PG_ERR_STOPPED from a hook. On any failure all gradients are as they were. */
pg_status pg_backward(pg_graph *graph, pg_node_id root);

/* Set the gradient of root and of every node below it to 0. Returns: PG_OK; PG_ERR_NOMEM,
 * _BAD_NODE, _STOPPED. */
pg_status pg_clear_grads(pg_graph *graph, pg_node_id root);

/* Add one node's gradient, times its derivatives, to those of its children. Here and in pg_backward
 * a gradient of 0 adds 0, be the derivative infinite, undefined or an error. */
pg_status pg_push(pg_graph *graph, pg_node_id id);

/* Optimisers over count nodes; count may be 0. Their state is the caller's: arrays of count.
 *   sgd   g += weight_decay * p;  velocity = momentum * velocity + g;  p -= lr * velocity
 *         (velocity NULL: p -= lr * g)
 *   adam  Kingma and Ba 2015, step counted from 1; decoupled: Loshchilov and Hutter 2019
 * Returns: PG_OK; PG_ERR_BAD_NODE, before anything is changed. */
typedef struct pg_sgd_settings {
    double lr, momentum, weight_decay;
} pg_sgd_settings;

typedef struct pg_adam_settings {
    double lr, beta1, beta2, eps, weight_decay;
    int decoupled;
} pg_adam_settings;

pg_status pg_zero_grad(pg_graph *graph, const pg_node_id *nodes, size_t count);
pg_status pg_sgd(pg_graph *graph, double *velocity, const pg_node_id *nodes, size_t count,
                 const pg_sgd_settings *settings);
pg_status pg_adam(pg_graph *graph, double *mean, double *square, const pg_node_id *nodes,
                  size_t count, const pg_adam_settings *settings, double step);
/* The same over arrays: from data and state to data_ret and state_ret, which must not overlap them.
 * Without momentum both velocities are NULL.
 * Returns: 0 if all new numbers are finite. */
uint64_t pg_sgd_array(double *data_ret, double *velocity_ret, const double *data,
                      const double *gradients, const double *velocity, size_t count,
                      const pg_sgd_settings *settings);
uint64_t pg_adam_array(double *data_ret, double *mean_ret, double *square_ret, const double *data,
                       const double *gradients, const double *mean, const double *square,
                       size_t count, const pg_adam_settings *settings, double step);

/* ---- Recorded programs ---------------------------------------------------------------------- */

/* A trace: until pg_trace_end, nodes that live now count as parameters, leaves that are added as
 * constants, and those of pg_trace_input, which hold nan, as inputs. Traces don't nest.
 * end:   what was made of parameters alone, and still lives, becomes an ordinary node; what was
 * made of inputs is flagged. Returns: how many nodes that live now have that flag */
void pg_trace_begin(pg_graph *graph);
size_t pg_trace_end(pg_graph *graph);
pg_status pg_trace_input(pg_graph *graph, pg_node_id *id_ret);
/* Do this node's data depend on an input? On an input or a parameter? 1, 0; -1 without memory. */
int pg_trace_depends(pg_graph *graph, pg_node_id id);
int pg_trace_varies(pg_graph *graph, pg_node_id id);
/* How many nodes outlive the trace whose inputs they were made of? */
size_t pg_trace_left(const pg_graph *graph);

typedef enum pg_compare { /* the second four are the opposites of the first, also for nan; the last
                           * two of each other. Files name them by number */
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

/* condition ? a : b, an ordinary node of both; the gradient goes to the one chosen. */
pg_status pg_graph_where(pg_graph *graph, pg_node_id *id_ret, int condition, pg_node_id a,
                         pg_node_id b);
/* Nodes that only a recording understands: left < right ? a : b; and a without its gradient. */
pg_status pg_trace_select(pg_graph *graph, pg_node_id *id_ret, int compare, pg_node_id left,
                          pg_node_id right, pg_node_id a, pg_node_id b);
pg_status pg_trace_detach(pg_graph *graph, pg_node_id *id_ret, pg_node_id a);
/* A custom op of count operands as a recording understands it: value, whose derivative by
 * operands[i] is slopes[i], whatever value was computed from. */
pg_status pg_trace_custom(pg_graph *graph, pg_node_id *id_ret, pg_node_id value,
                          const pg_node_id *operands, const pg_node_id *slopes, size_t count);

typedef enum pg_pass { /* see csrc/record/passes.c, runs.c; share and powers change bits: for fast mode */
                       PG_PASS_FOLD = 1,
                       PG_PASS_HOIST = 2,
                       PG_PASS_FUSE = 4,
                       PG_PASS_SHARE = 8,
                       PG_PASS_POWERS = 16,
                       PG_PASS_LAYERS = 32
} pg_pass;

typedef struct pg_program pg_program; /* straight-line code; never changes once it is made */

/* Record what the outputs, nodes of a trace that is under way, were computed from.
 * In: passes  of pg_pass;  fast  replay with our own vector functions instead of libm's
 * Returns: PG_OK; PG_ERR_NOMEM, PG_ERR_LIMIT; PG_ERR_UNTRACEABLE, pg_graph_fault then has its op */
pg_status pg_record(pg_graph *graph, pg_program **program_ret, const pg_node_id *inputs,
                    size_t input_count, const pg_node_id *outputs, size_t output_count,
                    unsigned passes, int fast);
void pg_program_free(pg_program *program); /* NULL is allowed */
/* The nodes that the parameters of a program just recorded were; NULL for a loaded one. */
const pg_node_id *pg_program_sources(const pg_program *program);

/* A program's code, for those who list, save or translate it. It has two parts:
 *   uniform  depends on no input, and runs once a replay, on a number a slot:
 *            slots [constants | parameters | results]
 *   rows     runs once for each row: slots [inputs | imports | results]
 * An import is a copy of a uniform slot. Instruction i of a part writes its result i. */
typedef struct pg_program_size {
    size_t inputs, params, outputs, constants, imports;
    size_t uniform_slots, row_slots;
    size_t uniform_instrs, row_instrs, pairs;
    int fast;
} pg_program_size;

typedef struct pg_pair {
    uint32_t left, right;
} pg_pair;

enum {                           /* how a dot reads its operands; flags */
       PG_DOT_STARTS = 1,        /* from slot a; else from the first product */
       PG_DOT_UNIFORM_START = 2, /* a is a uniform slot, though the code is a row's */
       PG_DOT_WEIGHTED = 4,      /* left factors are uniform slots, right ones row slots */
       PG_DOT_SQUARES = 8 /* products of a slot with itself fail as a ** 2 does; no weights */
};

typedef struct pg_instr {
    uint8_t op;            /* a row of ops.def, or what pg_instr_name says */
    uint8_t shape;         /* select: the comparison; dot: flags */
    uint32_t dst, a, b;    /* slots; of a dot a is the start */
    uint32_t first, count; /* dot, select, custom: pairs of slots */
    uint32_t run;          /* so many from here on run as one: see csrc/program/runs.c */
} pg_instr;

pg_program_size pg_program_measure(const pg_program *program);
const pg_instr *pg_program_code(const pg_program *program); /* the uniform part, then the rows' */
const pg_pair *pg_program_pairs(const pg_program *program);
const double *pg_program_constants(const pg_program *program);
const uint32_t *pg_program_imports(const pg_program *program);
const uint32_t *pg_program_outputs(const pg_program *program); /* row slots */

/* One op or other instruction: a row of ops.def, or of instructions.def. */
enum { PG_PAIRS_NONE, PG_PAIRS_ONE, PG_PAIRS_SOME };
typedef struct pg_instr_info {
    const char *name;
    const char *value, *da; /* formulas of a, b and y; empty where pairs decide */
    int operands;           /* how many of a, b it reads; a dot may be without a */
    int pairs;
    int receivers;     /* how many of a, b get a gradient */
    int pairs_receive; /* do its pairs? Of a custom op's only what stands on the left */
    double power;      /* it was written for a ** power, and fails as that; else 0 */
} pg_instr_info;

/* Returns: the row, which lives forever; its name; NULL for no such thing. */
const pg_instr_info *pg_instr_describe(int op);
const char *pg_instr_name(int op);

/* A program as bytes, which hold nothing that could be executed.
 * write: bytes_ret NULL only measures. Returns: how many bytes.
 * read:  checks everything. Returns: PG_OK; PG_ERR_NOMEM; PG_ERR_BAD_FILE. */
size_t pg_program_write(const pg_program *program, uint8_t *bytes_ret);
pg_status pg_program_read(pg_program **program_ret, const uint8_t *bytes, size_t count);

/* What pushes one output's gradient back to parameters, inputs or both. */
typedef struct pg_backward_plan pg_backward_plan;
typedef enum pg_accumulation { /* what happens to a contribution to a gradient */
                               PG_ACCUMULATE_NONE = 0, /* nobody asks for it */
                               PG_ACCUMULATE_STORE,    /* the first of this slot */
                               PG_ACCUMULATE_ADD,
                               PG_ACCUMULATE_FOLD, /* summed over the rows, into an accumulator */
                               PG_ACCUMULATE_MIXED /* of several targets: not all the same */
} pg_accumulation;

typedef struct pg_target {
    uint32_t how; /* pg_accumulation */
    uint32_t at;  /* a slot, or an accumulator */
} pg_target;

/* One step back: instruction `instr` passes its gradient on. Of a dot or a custom op, the targets
 * of its pairs are at `first`: left and right of the first pair, left and right of the second ...
 */
typedef struct pg_step {
    uint32_t instr; /* or PG_COLLECT: add accumulator b.at to uniform gradient a.at */
    uint32_t first;
    pg_accumulation left,
        right; /* of these: what all left and all right targets say, or PG_ACCUMULATE_MIXED */
    pg_target a, b;
    uint32_t run; /* so many from here on run as one */
} pg_step;

static const uint32_t PG_COLLECT = 0xffffffff;

typedef struct pg_steps {
    const pg_step *rows, *uniform;
    size_t row_count, uniform_count, accumulators;
    const pg_target *targets;
    const uint8_t *input_reached, *uniform_reached; /* has the slot got a gradient at all? */
    uint32_t output;                                /* the row slot that begins with 1 */
    const uint32_t *input_order; /* all inputs, in the order in which they first get a gradient */
} pg_steps;

pg_steps pg_backward_plan_steps(const pg_backward_plan *plan);
enum { PG_WRT_PARAMS = 1, PG_WRT_INPUTS = 2 };
pg_status pg_backward_plan_new(pg_backward_plan **plan_ret, const pg_program *program,
                               size_t output, unsigned wrt);
void pg_backward_plan_free(pg_backward_plan *plan); /* NULL is allowed */

/* Where the inputs of the rows are: count of them, row after row stride doubles apart. A stride of
 * 0 is one row for all. Arguments in turn give a program's inputs in order. */
typedef struct pg_argument {
    const double *data;
    size_t stride, count;
} pg_argument;

/* What went wrong where, in the last call that returned PG_ERR_DOMAIN, _ZERO_DIVISION or
 * _OVERFLOW. Row -1: in what depends on parameters only, and every row reaches it. */
typedef struct pg_replay_fault {
    int64_t row;
    pg_fault fault;
} pg_replay_fault;

/* How many kinds of vectors this machine can be made to use: 1, what every machine of its kind has;
 * on x86-64 also 2, AVX2, and 3, AVX-512. */
int pg_vector_levels(void);

/* Room to replay one program in one thread. In: level  0 .. pg_vector_levels() - 1, or -1: the
 * widest. Returns: NULL without memory. */
typedef struct pg_workspace pg_workspace;
pg_status pg_workspace_new(pg_workspace **workspace_ret, const pg_program *program, int level);
void pg_workspace_free(pg_workspace *workspace); /* NULL is allowed */
pg_replay_fault pg_workspace_fault(const pg_workspace *workspace);
/* Called now and then in a long replay; nonzero stops it. NULL: nobody asks. */
void pg_workspace_poll(pg_workspace *workspace, int (*poll)(void *), void *context);

/* What a replay is to do. Rows are cut into chunks, whose number depends on that of the rows only;
 * sums are formed chunk by chunk, and then in a fixed tree over all chunks. All arrays begin with
 * the first row of base_chunk, or with base_chunk. */
typedef struct pg_task {
    const pg_argument *arguments; /* argument_count of them */
    size_t argument_count;
    const int64_t *index;                /* the numbers of the rows, or NULL: 0, 1, 2 ... */
    size_t rows;                         /* of all chunks */
    size_t base_chunk;                   /* at most first_chunk */
    size_t first_chunk, last_chunk;      /* do these, without the last */
    double *outputs;                     /* rows x outputs, or NULL */
    double *gradients;                   /* rows x outputs x inputs, or NULL */
    double *partials;                    /* chunks x pg_partial_count, or NULL: no sums */
    const pg_backward_plan *const *plan; /* one an output; NULL: no gradients, no sums */
    int ignore;                          /* let rows outside an op's domain give inf and nan */
} pg_task;

size_t pg_chunk_count(size_t rows);
size_t pg_chunk_start(size_t rows,
                      size_t chunk); /* its first row; rows for the one after the last */
/* Doubles that a chunk's sums take: for each output its total and its accumulators. */
size_t pg_partial_count(const pg_program *program, const pg_backward_plan *const *plan);
/* Compute what depends on the parameters only. Comes before the rows, in each workspace. What fails
 * here is the fault of the rows that need it. Returns: PG_OK; PG_ERR_STOPPED. */
pg_status pg_replay_begin(const pg_program *program, pg_workspace *workspace, const double *params,
                          int ignore);
/* Do the chunks first_chunk .. last_chunk - 1. Touches no graph: threads may share the program.
 * A row fails by an op that its outputs need, through the choices it takes, or by a derivative that
 * a gradient other than 0 comes to.
 * Returns: PG_OK; PG_ERR_DOMAIN, _ZERO_DIVISION, _OVERFLOW (see pg_workspace_fault: the first row
 *          that fails); PG_ERR_STOPPED; PG_ERR_NOMEM */
pg_status pg_replay(const pg_program *program, pg_workspace *workspace, const pg_task *task);
/* When all chunks are done: the sums, and their gradients with respect to the parameters. The
 * task's arguments are those of all rows, which are looked at again where a sum of 0 meets an
 * infinite slope; without them (NULL) no such sum counts as 0. In:  scale     what both are
 * multiplied by: 1, or 1 / rows for means Out: totals    one an output gradients outputs x params
 */
pg_status pg_replay_finish(const pg_program *program, pg_workspace *workspace, const pg_task *task,
                           double *totals, double *gradients, double scale);
/* The three in one, all chunks. task->partials may be NULL where there is one chunk. */
pg_status pg_replay_sum(const pg_program *program, pg_workspace *workspace, const double *params,
                        const pg_task *task, double *totals, double *gradients, double scale);

/* Derivatives along a direction in the parameters, which is count params doubles.
 *   jvp  for each row the outputs, and the outputs' derivatives along it (task->outputs, tangents:
 *        rows x outputs)
 *   hvp  of the sum of the only output over all rows, times scale: the Hessian times the direction,
 *        and the gradient too; task->plan with respect to the parameters
 * Rows are done one chunk after another by the caller's thread. A detached value has no derivative.
 * Returns: as pg_replay; PG_ERR_NOMEM. */
pg_status pg_jvp(const pg_program *program, pg_workspace *workspace, const double *params,
                 const double *direction, const pg_task *task, double *tangents);
pg_status pg_hvp(const pg_program *program, pg_workspace *workspace, const double *params,
                 const double *direction, const pg_task *task, double *product, double *gradient,
                 double scale);

/* ---- Training ------------------------------------------------------------------------------- */

/* An optimiser and its parameters: count of them, in its order. */
typedef enum pg_training_part {
    PG_TRAINING_LOSS,
    PG_TRAINING_PARAMETER,
    PG_TRAINING_STATE
} pg_training_part;

typedef struct pg_training {
    size_t count;
    double *data, *gradients; /* count each; gradients: of the last step */
    const uint32_t *places;   /* for each the program's parameter that it is, or 0xffffffff */
    double *params;           /* the program's parameters, in its order */
    int adam;                 /* else sgd */
    pg_sgd_settings sgd;
    pg_adam_settings adam_settings;
    double *velocity;      /* sgd: NULL without momentum */
    double *mean, *square; /* adam */
    size_t steps;          /* taken so far; adam counts from there */
    /* Out, where pg_fit fails: the epoch and its batch, from 0. PG_ERR_NOT_FINITE: what left the
     * finite numbers, of which parameter, and what it would have become. */
    size_t epoch, batch;
    pg_training_part part;
    size_t which;
    double number;
} pg_training;

/* Train on the mean of the program's only output: epochs times all rows of task, in batches.
 * In:  task    arguments, index, rows, plan, ignore; index, if given, has rows row numbers for
 *              each epoch, one epoch after the other
 * Out: losses  for each epoch the mean over its rows, each taken before its batch's step
 * Returns: as pg_replay; PG_ERR_NOT_FINITE, unless task->ignore: a loss isn't finite, or a step
 *          would take a parameter, or the optimiser's state, there. Parameters, gradients and state
 *          are then those after the last whole step. */
pg_status pg_fit(const pg_program *program, pg_workspace *workspace, const pg_task *task,
                 pg_training *training, double *losses, size_t batch, size_t epochs);

/* The place of the first nan; count: there is none. */
size_t pg_first_nan(const double *numbers, size_t count);

/* Testing only: let the n-th allocation from now fail, once; 0 turns it off. */
void pg_alloc_fail_at(long n);

/* Python only: create the type `Scalar` and add it to the module of this name, whose functions
 * these are. Returns: 0, or -1 after printing the exception, as an import does. */
int pg_python_install(const char *module);
/* Python only, for pg_workspace_poll: has a signal come, or has *stop, an int, become nonzero? */
int pg_python_poll(void *stop);
/* Python only: free what the owner points to. Nothing frees what a call returned to an interpreter
 * that Ctrl-C interrupts behind the call; so the owner is made before what it owns. */
void pg_python_drop_program(pg_program **owner);
void pg_python_drop_backward_plan(pg_backward_plan **owner);
void pg_python_drop_workspace(pg_workspace **owner);

#endif
