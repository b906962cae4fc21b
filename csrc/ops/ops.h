/* ops.h - the op numbers: the table's ops in its order, then nodes and instructions that are no
 * ops. */
#ifndef PG_OPS_H
#define PG_OPS_H

enum {
    PG_OP_FREE = 0, /* an arena slot without a node; as an argument: no op */
#define PG_UNARY(NAME, ...) PG_OP_##NAME,
#define PG_NUMBER(NAME, ...) PG_OP_##NAME,
#define PG_BINARY(NAME, ...) PG_OP_##NAME,
#include "ops/ops.def"
    PG_OP_LEAF,     /* no operands: an input, a parameter, a constant */
    PG_OP_VARIADIC, /* any number of children, derivatives stored as numbers */
    PG_OP_COUNT,
    PG_OP_LAST_OF_NODES = PG_OP_COUNT - 1, /* instructions that exist only in programs follow */
#define PG_LANEWISE(NAME, ...) PG_OP_##NAME,
#define PG_SHAPED(NAME, ...) PG_OP_##NAME,
#include "ops/instructions.def"
    PG_OP_PROGRAM
};

/* Does the instruction read a table: entries, or knots, and an index or a number? */
static inline int pg_is_lookup(int op) { return op == PG_OP_TAKE || op == PG_OP_SEARCH; }

/* Of its operands, does it give gradients to the left ones of its pairs only? */
static inline int pg_gives_lefts(int op) {
    return op == PG_OP_CUSTOM || op == PG_OP_TAKE || op == PG_OP_SCATTER;
}

/* The number of a node's child slots in use; 0 for a leaf, and for a variadic node, which stores
 * its children elsewhere. An op with a number uses both: the number is a leaf of its own. */
extern const unsigned char pg_op_slots[PG_OP_COUNT];

#endif
