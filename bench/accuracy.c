/* accuracy.c - values and their errors in ulp, for accuracy.py, which compiles this file.
 *
 * The reference is long double, whose 64 bits or more see an error of 1/1000 ulp; accuracy.py
 * checks the reference itself against mpmath.
 */
#include "ops/fastmath.h"

#include <float.h>
#include <stddef.h>

#if LDBL_MANT_DIG < 64
#error "long double is no more than double here, so it can't tell the error of a double"
#endif

static double libm_sigmoid(double x) {
    return x >= 0.0 ? 1.0 / (1.0 + exp(-x)) : exp(x) / (1.0 + exp(x));
}

static long double sigmoidl(long double x) {
    return x >= 0.0L ? 1.0L / (1.0L + expl(-x)) : expl(x) / (1.0L + expl(x));
}

/* |y - truth| in units of the last place that a double near the truth has. */
static double error_in_ulp(double y, long double truth) {
    int exponent;
    frexpl(truth, &exponent);
    if (exponent < DBL_MIN_EXP) exponent = DBL_MIN_EXP;
    return (double)ldexpl(fabsl((long double)y - truth), DBL_MANT_DIG - exponent);
}

#define PG_FUNCTION(NAME, LIBM, TRUTH)                                                             \
    void NAME##_values(size_t n, const double *x, double *ours, double *libm) {                    \
        for (size_t i = 0; i < n; i++) ours[i] = pg_fast_##NAME(x[i]);                             \
        for (size_t i = 0; i < n; i++) libm[i] = LIBM(x[i]);                                       \
    }                                                                                              \
    void NAME##_errors(size_t n, const double *x, double *ours, double *libm) {                    \
        NAME##_values(n, x, ours, libm);                                                           \
        for (size_t i = 0; i < n; i++) {                                                           \
            long double truth = TRUTH(x[i]);                                                       \
            ours[i] = error_in_ulp(ours[i], truth);                                                \
            libm[i] = error_in_ulp(libm[i], truth);                                                \
        }                                                                                          \
    }

PG_FUNCTION(exp, exp, expl)
PG_FUNCTION(log, log, logl)
PG_FUNCTION(tanh, tanh, tanhl)
PG_FUNCTION(sigmoid, libm_sigmoid, sigmoidl)
PG_FUNCTION(erf, erf, erfl)
PG_FUNCTION(expm1, expm1, expm1l)
PG_FUNCTION(log1p, log1p, log1pl)
PG_FUNCTION(atan, atan, atanl)
PG_FUNCTION(tan, tan, tanl)
