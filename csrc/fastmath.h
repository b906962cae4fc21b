/* fastmath.h - exp, log, tanh, sigmoid and erf that a compiler can turn into vector instructions.
 *
 * Idea: a loop over a libm call runs one element at a time. These are straight lines of +, -, *, /,
 * comparisons and integer shifts, so at -O3 a plain loop over one of them becomes SIMD code.
 *
 * Invariant: an argument gives the same bits on every machine and at every vector width, as long as
 * nobody rewrites the arithmetic: compile with -ffp-contract=off and without -ffast-math. nan gives
 * nan; infinities, signed zeros and subnormals, as arguments and as results, are right. The error
 * is at most 1 ulp more than that of glibc's function; `python bench/accuracy.py` measures it.
 *
 * Cost: no memory, no branch, at most one division. gcc needs -fno-trapping-math (or else it may
 * not compute both sides of a selection) and vectorises some of them only with it.
 *
 * Three things look odd, and each is there for the vectoriser:
 *  - Adding 1.5 * 2**52 to a small number rounds it to an integer and leaves this integer in the
 *    low bits; there is no vector conversion from double to a 64-bit integer before AVX-512.
 *  - Results out of range are replaced at the end. If the argument were clamped first, gcc would
 *    work out what the constant leads to and select between more values.
 *  - log(2) comes as high and low part where a product with it has to be exact (Cody and Waite).
 *
 * Source: Cody and Waite, Software Manual for the Elementary Functions, 1980 (the reductions, tanh
 * by a rational function up to 0.55); Tang, Table-driven implementation of the logarithm function,
 * ACM TOMS 16(4), 1990, and fdlibm's e_log.c (log from s = f / (2 + f)); Cody, Rational Chebyshev
 * approximations for the error function, Math. Comp. 23, 1969. The coefficients are our own: by
 * the Remez algorithm in 60 digits, minimising the error relative to the result.
 */
#ifndef PG_FASTMATH_H
#define PG_FASTMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "fastmath.h rounds by adding and subtracting large constants: no -ffast-math"
#endif

#define PG_SIGN_BIT 0x8000000000000000u
#define PG_ROUND 0x1.8p52 /* adding it rounds to an integer */
#define PG_LOG2_E 0x1.71547652b82fep+0
#define PG_LN2 0x1.62e42fefa39efp-1
#define PG_LN2_HIGH 0x1.62e42fefa3800p-1 /* 42 bits: its products with exponents are exact */
#define PG_LN2_LOW 0x1.ef35793c76730p-45

static inline uint64_t pg_bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double pg_from_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* y * 2**k, rounded once even if subnormal, for the k in the low bits of k_plus_2046. Half of k at
 * a time, because 2**k itself may be out of range; shifting by 52 drops whatever is above. */
static inline double pg_scale(double y, double k_plus_2046) {
    uint64_t k = pg_bits_of(k_plus_2046), half = k >> 1;
    return y * pg_from_bits(half << 52) * pg_from_bits((k - half) << 52);
}

/* exp(r) for |r| <= log(2) / 2. The powers are grouped so that they don't wait for each other. */
static inline double pg_exp_reduced(double r) {
    double r2 = r * r, r4 = r2 * r2;
    double low = (0x1.000000000000ap-1 + 0x1.55555555554fap-3 * r) +
                 (0x1.5555555550884p-5 + 0x1.1111111127bcfp-7 * r) * r2;
    double mid = (0x1.6c16c18428b73p-10 + 0x1.a01a012a5be59p-13 * r) +
                 (0x1.a0199a0f93f2ap-16 + 0x1.71df254dd6258p-19 * r) * r2;
    double high = 0x1.28ad70340c7b0p-22 + 0x1.ad7f708da46c3p-26 * r;
    return 1.0 + (r + r2 * (low + r4 * (mid + r4 * high)));
}

static inline double pg_fast_exp(double x) {
    double n = x * PG_LOG2_E + (PG_ROUND + 2046.0), k = n - (PG_ROUND + 2046.0);
    double r = (x - k * PG_LN2_HIGH) - k * PG_LN2_LOW;
    double y = pg_scale(pg_exp_reduced(r), n);
    y = x > 710.0 ? INFINITY : y;
    return x < -746.0 ? 0.0 : y;
}

/* tanh(a) = v - v**3 P/Q for a < 0.55, and 1 - 2 / (exp(2a) + 1) above, where it is above 1/2 and
 * the fraction's error counts half. The same P/Q serves both: exp(2v) = (1 + tanh v)/(1 - tanh v),
 * so one division is enough. The numerator and the denominator are selected before it. */
static inline double pg_fast_tanh(double x) {
    double a = pg_from_bits(pg_bits_of(x) & ~PG_SIGN_BIT);
    int small = a < 0.55;
    double n = a * (2.0 * PG_LOG2_E) + (PG_ROUND + 1023.0); /* 2**k is these bits << 52 */
    double v = a - (n - (PG_ROUND + 1023.0)) * (0.5 * PG_LN2);
    v = small ? a : v;
    double z = v * v;
    double p = (0x1.edc26680262fap-1 * z + 0x1.8ce45c9530d7ap+6) * z + 0x1.935680bfb22ffp+10;
    double q = ((z + 0x1.c2f760e85a585p+6) * z + 0x1.17361c543447cp+11) * z + 0x1.2e80e08fc5a3fp+12;
    double cubic = v * (z * p), t = v * q - cubic; /* tanh(v) = t / q */
    double minus = q - t, plus = pg_from_bits(pg_bits_of(n) << 52) * (q + t);
    double base = small ? a : 1.0;
    double numerator = small ? cubic : minus + minus;
    double denominator = small ? q : plus + minus;
    double y = base - numerator / denominator;
    y = a > 20.0 ? 1.0 : y;
    return pg_from_bits(pg_bits_of(y) | (pg_bits_of(x) & PG_SIGN_BIT));
}

#endif
