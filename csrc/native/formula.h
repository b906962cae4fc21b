/* formula.h - a formula of the op table as steps of a stack machine, for machine code. */
#ifndef PG_FORMULA_H
#define PG_FORMULA_H

#include "ops/ops.h"
#include "pygradc.h"

#include <stdbool.h>

/* What a step does with the top of the stack: push an operand or a number, or replace the topmost
 * one, two or three by a result. A comparison's result is a mask, all bits or none. */
typedef enum pg_step_kind {
    PG_PUSH_A,
    PG_PUSH_B,
    PG_PUSH_Y,
    PG_PUSH_SLOPE, /* d: the first derivative, in a second one */
    PG_PUSH_NUMBER,
    PG_ADDS,
    PG_SUBTRACTS,
    PG_MULTIPLIES,
    PG_DIVIDES,
    PG_IS_LESS,
    PG_IS_LESS_EQUAL,
    PG_IS_EQUAL,
    PG_ANDS,
    PG_ORS,
    PG_NEGATES,
    PG_SQUARE_ROOT,
    PG_MAGNITUDE,
    PG_IS_NAN,
    PG_SELECTS /* condition, then, else */
} pg_step_kind;

enum { PG_MOST_STEPS = 32, PG_MOST_NUMBERS = 8 };

typedef struct pg_formula {
    bool known; /* else it calls functions, and has no steps */
    uint8_t count, numbers;
    struct {
        uint8_t kind, number; /* number: an index, of what is pushed */
    } steps[PG_MOST_STEPS];
    double number[PG_MOST_NUMBERS];
} pg_formula;

/* Which formula of an op's row. */
typedef enum pg_formula_name {
    PG_OF_VALUE,
    PG_OF_SLOPE_A,
    PG_OF_SLOPE_B,
    PG_OF_SECOND_AA,
    PG_OF_SECOND_AB,
    PG_OF_SECOND_BB,
    PG_FORMULA_NAMES
} pg_formula_name;

/* The text in the table; NULL if the row has none. */
const char *pg_formula_text(int op, pg_formula_name name);
/* Read a formula. `known` is false if it is more than arithmetic, comparisons, sqrt and fabs. In
 * fast mode nothing is `saturated` (fastnames.h). */
void pg_formula_read(pg_formula *formula_ret, const char *text, bool fast);

/* The same formula as a compiled function of one row, with libm's functions or our own; NULL if the
 * row has none. Of a second derivative none is kept. */
typedef double pg_scalar(double a, double b, double y);
pg_scalar *pg_scalar_of(int op, pg_formula_name name, bool fast);
/* power_scalars.c: the same for a power with this exponent, or its derivative; NULL if it has none.
 */
pg_scalar *pg_power_scalar_of(double exponent, pg_formula_name name);

#endif
