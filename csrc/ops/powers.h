/* powers.h - a ** (n / 2), n a small whole number, in all lanes, with the bits of libm's pow.
 *
 * Idea: a call of pow takes one lane at a time, 10 ns each. A power that is products, quotients and
 * roots takes 1 ns in vectors, and a fused multiply-add gives what its rounding loses: the power is
 * y + rest, to more than 90 bits. Where rest is clear of half a unit in the last place (ulp) of y
 * by more than pow's own error, pow has no other number to round to: its result is y. Only the
 * other lanes, one in 32, ask pow.
 *
 *   a ** 2      y = a * a       rest = fma(a, a, -y)            exact
 *   a ** -1     y = 1 / a       rest = fma(-a, y, 1) * y        1 / a = y + (1 - a * y) / a
 *   a ** 1      y = a           rest = 0                        so a representable power is pow's
 *   the others  squares, products, a root and a quotient of such pairs
 *
 * Proof: glibc's pow (sysdeps/ieee754/dbl-64/e_pow.c, from 2.28 on) computes exp(b * log(a)) with
 * digits to spare and rounds once. It states the error of a result r as at most 0.511 ulp for exp,
 * half an ulp of which is that rounding, and |log(r)| * 1.5 * 2**-68 for log, relative to r. For
 * 2**-128 <= r <= 2**128 the number that it rounds is thus wrong by less than
 *
 *   0.011 + 128 log(2) * 1.5 * 2**-68 * 2**53 = 0.01506 ulp,
 *
 * and y + rest by less than 2**-40 ulp. Both together are less than 1/64 ulp; so if rest is less
 * than 1/2 - 1/64 ulp, both round to y. The test is y + rest * (1/2) / (1/2 - 1/64) == y, as Ziv's:
 * below a power of two, where the ulp is smaller, it rounds accordingly.
 * Outside that range, which no 0, infinity, nan or subnormal is in, and where an intermediate
 * result would leave it, pow is asked.
 *
 * Invariant: bits are pow's, where its error is known (pg_pow_is_known); elsewhere the caller
 * doesn't come here. Included where the target has a fused multiply-add: PG_BEGIN_AVX2, or where
 * PG_HAS_FMA says so. `make prove-powers` compares 10^9 points of each formula.
 * Owns nothing. Cost: 1 to 3 ns a lane, with a fused multiply-add; never without.
 * Source: Ziv, Fast evaluation of elementary mathematical functions with correctly rounded last
 * bit, ACM TOMS 17(3), 1991; Dekker, A floating-point technique for extending the available
 * precision, Numer. Math. 18, 1971. */
#ifndef PG_POWERS_H
#define PG_POWERS_H

#include "base/portability.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lanes are whole eights, for the vectoriser. */
enum { PG_MOST_POWER_LANES = 32, PG_MOST_HALVES = 64 };

#define PG_TO_TIE 0x1.0842108421085p+0 /* 32/31, rounded up */

/* n of an exponent n / 2; 0 if there is none, or it isn't computed here. */
static inline int pg_halves_of(double exponent) {
    const double n = 2.0 * exponent;
    const bool small = fabs(n) <= PG_MOST_HALVES;
    return small && n == (double)(int)n ? (int)n : 0;
}

/* ---- Sums of two numbers --------------------------------------------------------------------- */

/* y + rest; the rest is a few ulp of y, or less. */
typedef struct pg_pair_sum {
    double y, rest;
} pg_pair_sum;

static inline pg_pair_sum pg_exact_product(double a, double b) {
    const double y = a * b;
    return (pg_pair_sum){y, fma(a, b, -y)};
}

static inline pg_pair_sum pg_long_product(pg_pair_sum a, pg_pair_sum b) {
    const pg_pair_sum product = pg_exact_product(a.y, b.y);
    return (pg_pair_sum){product.y, product.rest + (a.y * b.rest + a.rest * b.y)};
}

/* With s near the root, it is s + (a - s * s) / (2 s). */
static inline pg_pair_sum pg_long_root(double a) {
    const double s = sqrt(a);
    return (pg_pair_sum){s, fma(-s, s, a) * (0.5 / s)};
}

/* With z near 1 / a, it is z + z * (1 - a * z). */
static inline pg_pair_sum pg_long_inverse(pg_pair_sum a) {
    const double z = 1.0 / a.y;
    return (pg_pair_sum){z, z * (fma(-a.y, z, 1.0) - a.rest * z)};
}

/* The same number, with a rest of half an ulp at most (Dekker). */
static inline pg_pair_sum pg_normal_sum(pg_pair_sum a) {
    const double y = a.y + a.rest;
    return (pg_pair_sum){y, a.rest - (y - a.y)};
}

/* ---- Powers ---------------------------------------------------------------------------------- */

/* 1 if pow's result is y; -1 if the rest leaves a doubt, or y is out of range. */
static inline double pg_clear(pg_pair_sum power) {
    const double size = fabs(power.y);
    const double from_tie = power.y + power.rest * PG_TO_TIE == power.y ? 1.0 : -1.0;
    const double not_small = size >= 0x1p-128 ? from_tie : -1.0;
    return size <= 0x1p128 ? not_small : -1.0;
}

#define EACH_LANE for (size_t l = 0; l < lanes; l++)
#define SUM ((pg_pair_sum){ys[l], rests[l]})
#define REST power.rest
#define STORE_EACH(power_, rest_)                                                                  \
    EACH_LANE {                                                                                    \
        const pg_pair_sum x = {xs[l], 0.0}, power = power_;                                        \
        (void)x;                                                                                   \
        ys[l] = power.y;                                                                           \
        rests[l] = rest_;                                                                          \
    }

/* xs ** n, n >= 1: square and multiply, from the highest bit on. Rests grow to n ulp. */
static inline void pg_whole_powers(double *restrict ys, double *restrict rests,
                                   const double *restrict xs, unsigned n, size_t lanes) {
    unsigned bit = 1;
    while (bit <= n / 2) bit *= 2;
    STORE_EACH(x, REST)
    while (bit /= 2, bit > 0) {
        STORE_EACH(pg_long_product(SUM, SUM), REST)
        if (n & bit) STORE_EACH(pg_long_product(SUM, x), REST)
    }
}

static inline PG_ALWAYS_INLINE void pg_any_powers(double *restrict ys, double *restrict rests,
                                                  const double *restrict xs, int n, size_t lanes,
                                                  bool judged) {
    const unsigned halves = n < 0 ? -(unsigned)n : (unsigned)n;
    if (halves > 1) pg_whole_powers(ys, rests, xs, halves / 2, lanes);
    else EACH_LANE ys[l] = 1.0, rests[l] = 0.0;
    if (halves & 1) STORE_EACH(pg_long_product(SUM, pg_long_root(x.y)), REST)
    if (n < 0) STORE_EACH(pg_long_inverse(SUM), REST)
    STORE_EACH(pg_normal_sum(SUM), judged ? pg_clear(power) : REST)
}

/* Those that are frequent, of an x without a rest: PG_USUAL(NAME, n, power). */
#define PG_USUAL_POWERS                                                                            \
    PG_USUAL(square, 4, pg_exact_product(x.y, x.y))                                                \
    PG_USUAL(inverse, -2, pg_long_inverse(x))                                                      \
    PG_USUAL(root, 1, pg_long_root(x.y))                                                           \
    PG_USUAL(cube, 6, pg_normal_sum(pg_long_product(pg_exact_product(x.y, x.y), x)))               \
    PG_USUAL(inverse_square, -4, pg_normal_sum(pg_long_inverse(pg_exact_product(x.y, x.y))))       \
    PG_USUAL(inverse_root, -1, pg_normal_sum(pg_long_inverse(pg_long_root(x.y))))

/* ys + rests = xs ** (n / 2); `judged`, a constant: instead of the rests, are they clear? */
static inline PG_ALWAYS_INLINE void pg_long_powers(double *restrict ys, double *restrict rests,
                                                   const double *restrict xs, int n, size_t lanes,
                                                   bool judged) {
    switch (n) {
#define PG_USUAL(NAME, n_, power_)                                                                 \
    case n_: STORE_EACH(power_, judged ? pg_clear(power) : REST) break;
        PG_USUAL_POWERS
#undef PG_USUAL
    default: pg_any_powers(ys, rests, xs, n, lanes, judged);
    }
}

/* ys = xs ** exponent, which is n / 2: libm's power where it isn't clear. Returns: were all? Then
 * they are finite. */
static inline bool pg_powers(double *restrict ys, const double *restrict xs, double exponent, int n,
                             size_t count) {
    const size_t lanes = count / 8 * 8; /* so that loops over vectors have no remainder */
    double clear[PG_MOST_POWER_LANES];
    uint64_t doubts = 0;
    if (n == 2) {
        EACH_LANE ys[l] = xs[l];
        return false;
    }
    pg_long_powers(ys, clear, xs, n, lanes, true);
    for (size_t l = 0; l < lanes; l += 4) doubts |= (uint64_t)PG_SIGNS_OF_FOUR(clear + l) << l;
    if (PG_LIKELY(doubts == 0)) return true;
    for (; doubts != 0; doubts &= doubts - 1) {
        const int l = PG_LOWEST_BIT(doubts);
        ys[l] = pow(xs[l], exponent);
    }
    return false;
}

#undef EACH_LANE
#undef SUM
#undef REST
#undef STORE_EACH
#endif
