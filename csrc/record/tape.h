/* tape.h - a recorded function on its way from graph to program: record.c writes the tape, the
 * passes of passes.c transform it, program/lower.c lowers it.
 *
 * A tape is a list of values in which operands stand before their users. A value is an input, a
 * parameter, a constant, or an op of values before it. It has no slots and no lanes yet: a pass may
 * redirect operands, replace one value by another, append values, mark values dead, or write the
 * schedule, and nothing else. The parts of a scatter stand directly behind it, in their order, and
 * live as long as it does. */
#ifndef PG_TAPE_H
#define PG_TAPE_H

#include "graph/graph.h"

/* Kinds of values that are no instructions. */
enum { PG_OP_INPUT = PG_OP_PROGRAM, PG_OP_PARAM, PG_OP_CONST };

static const uint32_t PG_NO_VALUE = 0xffffffff; /* not an enumerator, since those are ints */

typedef struct pg_value {
    double number;  /* of a constant; SCATTER: how many parts; PART: its place among them; else,
                       before folding, what the trace computed */
    uint32_t a, b;  /* operands, or PG_NO_VALUE. DOT: the chain starts from a */
    uint32_t first; /* SELECT: its pair of lhs, rhs; else the first pair */
    uint32_t count; /* of pairs */
    uint8_t op;
    uint8_t compare; /* SELECT: the comparison; DOT, SEARCH: PG_DOT_SQUARES or _GATED,
                        PG_SEARCH_RIGHT; or 0 */
    uint8_t uniform; /* the same for all rows: given, or computed once a replay */
    uint8_t dead;    /* no output depends on it */
} pg_value;

typedef struct pg_tape {
    pg_value *values;
    size_t count, capacity;
    pg_pair *pairs;
    size_t pair_count, pair_capacity;
    pg_node_id *params; /* the nodes that the parameters were read from */
    size_t param_count, param_capacity;
    size_t input_count; /* values 0 .. input_count - 1 */
    uint32_t *outputs;
    size_t output_count;
    uint32_t *schedule; /* all values in the order of the code; NULL: the tape's order */
    uint32_t **orders;  /* for each output: its values in the order of backward(); see tape.c */
    size_t *order_counts;
    bool reorders; /* may gradients be summed in another order? */
} pg_tape;

void pg_tape_free(pg_tape *tape);
pg_status pg_tape_add(pg_tape *tape, uint32_t *value_ret, pg_value value);
pg_status pg_tape_add_pair(pg_tape *tape, uint32_t left, uint32_t right);

/* Is it computed, rather than given? */
static inline bool pg_is_op(const pg_value *value) { return value->op < PG_OP_PROGRAM; }

static inline bool pg_is_constant(const pg_value *value) { return value->op == PG_OP_CONST; }

/* The index-th operand: a, b, then those of the pairs. Returns false after the last. */
static inline bool pg_operand_of(const pg_tape *tape, const pg_value *value, size_t index,
                                 uint32_t **operand_ret) {
    pg_value *changing = (pg_value *)value;
    if (!pg_is_op(value)) return false;
    if (index == 0) *operand_ret = &changing->a;
    else if (index == 1) *operand_ret = &changing->b;
    else if (index - 2 < 2 * (size_t)value->count) {
        pg_pair *pair = &tape->pairs[value->first + (index - 2) / 2];
        *operand_ret = index % 2 == 0 ? &pair->left : &pair->right;
    } else return false;
    return true;
}

/* The index-th operand that receives a gradient, before any chain is fused: a value, or PG_NO_VALUE
 * where the instruction has none. Returns false after the last. */
static inline bool pg_gradient_operand_of(const pg_tape *tape, const pg_value *value, size_t index,
                                          uint32_t *operand_ret) {
    if (!pg_is_op(value) || value->op == PG_OP_DETACH || value->op == PG_OP_SEARCH) return false;
    if (pg_gives_lefts(value->op)) {
        if (index >= value->count) return false;
        *operand_ret = tape->pairs[value->first + index].left;
        return true;
    }
    *operand_ret = index == 0 ? value->a : value->b;
    return index < 2;
}

/* record.c: append the inputs, and all values that the outputs depend on. */
pg_status pg_tape_record(pg_graph *graph, pg_tape *tape, const pg_recording *recording);

/* passes.c, one function a pass. Each returns PG_OK or PG_ERR_NOMEM. */
pg_status pg_pass_fold(pg_tape *tape);
pg_status pg_pass_share(pg_tape *tape);
pg_status pg_pass_powers(pg_tape *tape);
pg_status pg_pass_hoist(pg_tape *tape);
pg_status pg_pass_fuse(pg_tape *tape);   /* fuse.c */
pg_status pg_pass_layers(pg_tape *tape); /* layers_pass.c */
pg_status pg_pass_order(pg_tape *tape);
/* passes.c: run those in `passes` (PG_PASS_... of pygradc.h), in the order that is fixed there. */
pg_status pg_tape_run_passes(pg_tape *tape, unsigned passes);

/* tape.c: does a row's instruction read one side of its pairs from the uniform section? Of a dot,
 * each pair has a uniform factor, the weight, and one that isn't (a gate's weight is its slope, as
 * its factors don't change places); of a take or search, all entries are uniform. */
bool pg_is_weighted(const pg_tape *tape, const pg_value *value);
/* tape.c: mark the values that no output depends on as dead; find the order of each output. */
void pg_tape_mark_dead(pg_tape *tape);
pg_status pg_tape_find_orders(pg_tape *tape);

#endif
