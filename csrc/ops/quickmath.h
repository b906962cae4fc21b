/* quickmath.h - the functions of fastmath.h for one argument at a time.
 *
 * In a vector all cases are computed and selected from; for one argument a branch that is nearly
 * always taken costs less than that. Where the argument is an ordinary one, what is left out here
 * would have changed no bit; else fastmath.h has the case.
 * Invariant: the bits of fastmath.h. Cost: 5 to 15 ns, as libm's functions or less. */
#ifndef PG_QUICKMATH_H
#define PG_QUICKMATH_H

#include "base/portability.h"
#include "ops/fastmath.h"

/* Is it a normal number, finite and greater than 0? */
static inline int pg_is_ordinary(double x) {
    return pg_bits_of(x) - 0x0010000000000000u < 0x7ff0000000000000u - 0x0010000000000000u;
}

/* The result is a normal number: one product scales it. */
static inline double pg_quick_exp(double x) {
    if (PG_UNLIKELY(!(fabs(x) < 700.0))) return pg_fast_exp(x);
    double n = x * PG_LOG2_E + (PG_ROUND + 1023.0), k = n - (PG_ROUND + 1023.0);
    double r = (x - k * PG_LN2_HIGH) - k * PG_LN2_LOW;
    return pg_exp_reduced(r) * pg_from_bits(pg_bits_of(n) << 52);
}

static inline double pg_quick_log(double x) {
    if (PG_UNLIKELY(!pg_is_ordinary(x))) return pg_fast_log(x);
    const uint64_t u = pg_log_bits(x);
    return pg_log_from(u, (double)((int)(u >> 52) - 1023));
}

/* Below pi/4 there is nothing to reduce. */
static inline double pg_quick_tan(double x) {
    double a = fabs(x);
    if (a >= 0.78) return pg_fast_tan(x);
    return copysign(pg_tan_reduced(a, 0.0, 0), x);
}

#endif
