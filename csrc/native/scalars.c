/* scalars.c - the op table's formulas as functions of one row, which machine code calls.
 *
 * scalars.h expands each formula twice, with libm's functions and with our own; these are compiled
 * for AVX2, which machine code needs anyway.
 * Owns nothing. Cost: one call; most end in a jump to the C library. */
#include "base/portability.h"
#include "native/formula.h"
#include "ops/kernels.h"

#define NAME(x) exact_##x
#include "native/scalars.h"
#undef NAME
#if PG_X86_LEVELS
PG_BEGIN_AVX2
#endif
#include "ops/fastnames.h"
#include "ops/quicknames.h"
#define NAME(x) fast_##x
#include "native/scalars.h"
#undef NAME
#include "ops/fastnames_end.h"
#if PG_X86_LEVELS
PG_END_TARGET
#endif

pg_scalar *pg_scalar_of(int op, pg_formula_name name, bool fast) {
    return name > PG_OF_SLOPE_B ? NULL
           : fast               ? fast_functions[op][name]
                                : exact_functions[op][name];
}
