/* power_scalars.c - a ** (n / 2) of one row, and its derivative, as functions that machine code
 * calls.
 *
 * Those of powers.h that are frequent, one function for each. Invariant: the bits of pow, where its
 * error is known; machine code asks that. Owns nothing.
 * Cost: 3 to 10 ns, where pow takes 10 to 20; in one of 32 rows, both. */
#include "base/portability.h"
#include "native/formula.h"

/* All machines that have machine code have a fused multiply-add. */
#if PG_HAS_NATIVE

#if PG_X86_LEVELS
PG_BEGIN_AVX2
#endif
#include "ops/powers.h"

/* pow's exponent must not be a constant: compilers would write a * a for pow(a, 2.0). */
#define PG_USUAL(NAME, n, power_)                                                                  \
    static inline double NAME(double a, double exponent) {                                         \
        const pg_pair_sum x = {a, 0.0}, power = power_;                                            \
        return PG_LIKELY(pg_clear(power) > 0.0) ? power.y : pow(a, exponent);                      \
    }                                                                                              \
    static double NAME##_value(double a, double b, double y) {                                     \
        (void)y;                                                                                   \
        return NAME(a, b);                                                                         \
    }                                                                                              \
    static double NAME##_slope(double a, double b, double y) {                                     \
        (void)y;                                                                                   \
        return b * NAME(a, b - 1.0);                                                               \
    }
PG_USUAL_POWERS
#undef PG_USUAL

#if PG_X86_LEVELS
PG_END_TARGET
#endif

pg_scalar *pg_power_scalar_of(double exponent, pg_formula_name name) {
    if (name > PG_OF_SLOPE_A || exponent == 0.0) return NULL;
    switch (pg_halves_of(name == PG_OF_VALUE ? exponent : exponent - 1.0)) {
#define PG_USUAL(NAME, n, power)                                                                   \
    case n: return name == PG_OF_VALUE ? NAME##_value : NAME##_slope;
        PG_USUAL_POWERS
#undef PG_USUAL
    default: return NULL;
    }
}

#endif
