/* ops.c - the tables of ops and instructions as data, for use at run time: by files, checks,
 * Python, tests and the docs. */
#include "ops/ops.h"

#include "pygradc.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

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

double pg_op_default(int op) {
    switch (op) {
#define PG_UNARY(...)
#define PG_NUMBER(...)
#define PG_BINARY(...)
#define PG_DEFAULT(NAME, number)                                                                   \
    case PG_OP_##NAME: return number;
#include "ops/ops.def"
    default: return NAN;
    }
}

/* The row of a table op: operands only, no pairs. */
#define PG_OP_ROW(NAME, python, y_, da_, count, slopes)                                            \
    [PG_OP_##NAME] = {python, y_, da_, count, PG_PAIRS_NONE, slopes, 0, 0.0}

static const pg_instr_info instructions[PG_OP_PROGRAM] = {
#define PG_UNARY(NAME, python, symbol, y_, da_, ...) PG_OP_ROW(NAME, python, #y_, #da_, 1, 1),
#define PG_NUMBER(NAME, python, symbol, y_, da_, ...) PG_OP_ROW(NAME, python, #y_, #da_, 2, 1),
#define PG_BINARY(NAME, python, symbol, y_, da_, ...) PG_OP_ROW(NAME, python, #y_, #da_, 2, 2),
#include "ops/ops.def"
#define PG_LANEWISE(NAME, name, y_, fault, da_, da_fault, daa_, power)                             \
    [PG_OP_##NAME] = {name, #y_, #da_, 1, PG_PAIRS_NONE, 1, 0, power},
#define PG_SHAPED(NAME, name, operands, pairs, receivers, pairs_receive)                           \
    [PG_OP_##NAME] = {name, "", "", operands, pairs, receivers, pairs_receive, 0.0},
#include "ops/instructions.def"
};

const pg_instr_info *pg_instr_describe(int op) {
    const bool known = op > 0 && op < PG_OP_PROGRAM && instructions[op].name != NULL;
    return known ? &instructions[op] : NULL;
}

const char *pg_instr_name(int op) {
    return pg_instr_describe(op) != NULL ? pg_instr_describe(op)->name : NULL;
}
