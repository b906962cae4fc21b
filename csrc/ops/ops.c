/* ops.c - the op table as data, for those who read it at run time: Python, tests, the README. */
#include "ops/ops.h"

#include "pygradc.h"

const unsigned char pg_op_slots[PG_OP_COUNT] = {
#define PG_UNARY(NAME, ...) [PG_OP_##NAME] = 1,
#define PG_NUMBER(NAME, ...) [PG_OP_##NAME] = 2,
#define PG_BINARY(NAME, ...) [PG_OP_##NAME] = 2,
#include "ops/ops.def"
};

static const pg_op_info table[] = {
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, pole, lo, hi, doc, ...)                     \
    {python, symbol, doc, #y_, #da_, "", 1, 0, {lo, 0.0}, {hi, 0.0}},
#define PG_NUMBER(NAME, python, symbol, y_, da_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc, ...)    \
    {python, symbol, doc, #y_, #da_, "", 1, 1, {a_lo, b_lo}, {a_hi, b_hi}},
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, pole, a_lo, a_hi, b_lo, b_hi, doc,    \
                  ...)                                                                             \
    {python, symbol, doc, #y_, #da_, #db_, 2, 0, {a_lo, b_lo}, {a_hi, b_hi}},
#include "ops/ops.def"
};

int pg_op_count(void) { return (int)(sizeof table / sizeof table[0]); }

const pg_op_info *pg_op_describe(int op) {
    return op >= 1 && op <= pg_op_count() ? &table[op - 1] : NULL;
}
