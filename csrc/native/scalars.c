/* scalars.c - the op table's formulas as functions of one row, which machine code calls.
 *
 * scalars.h expands each formula twice, with libm's functions and with our own.
 * Owns nothing. Cost: one call; most end in a jump to the C library. */
#include "native/formula.h"
#include "ops/kernels.h"

#define NAME(x) exact_##x
#include "native/scalars.h"
#undef NAME
#include "ops/fastnames.h"
#define NAME(x) fast_##x
#include "native/scalars.h"
#undef NAME
#include "ops/fastnames_end.h"

pg_scalar *pg_scalar_of(int op, pg_formula_name name, bool fast) {
    return name > PG_OF_SLOPE_B ? NULL
           : fast               ? fast_functions[op][name]
                                : exact_functions[op][name];
}
