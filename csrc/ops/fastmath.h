/* fastmath.h - exp, log, tanh, sigmoid, erf, expm1, log1p, atan and tan that a compiler can
 * vectorise.
 *
 * Idea: a loop over a libm call handles one element at a time. These functions are straight-line
 * code of +, -, *, /, comparisons and integer shifts, so at -O3 a plain loop over one of them
 * becomes SIMD code.
 *
 * Invariant: an argument gives the same bits on every machine and at every vector width, as long as
 * the compiler doesn't rewrite the arithmetic: compile with -ffp-contract=off and without
 * -ffast-math. nan gives nan; infinities, signed zeros and subnormals, as arguments and as results,
 * are right. The error is at most 1 ulp more than that of glibc's function; `python
 * bench/accuracy.py` measures it. tan has a reach, PG_TAN_REACH: beyond it, callers ask libm.
 *
 * Cost: no table, no branch, at most one division; 0.65 to 1.5 ns an element with AVX-512. gcc
 * needs -fno-trapping-math: without it, gcc won't compute both sides of a selection, and the loop
 * stays scalar, with the same results.
 *
 * Three things look odd; each is there for the vectoriser:
 *  - Adding 1.5 * 2**52 to a small number rounds it to an integer and leaves this integer in the
 *    low bits; there is no vector conversion from double to a 64-bit integer before AVX-512.
 *  - Results out of range are replaced at the end. If the argument were clamped first, gcc would
 *    propagate the constant through the function and select between more values.
 *  - log(2) is split into a high and a low part where a product with it has to be exact (Cody and
 *    Waite).
 *
 * Source: Cody and Waite, Software Manual for the Elementary Functions, 1980 (the reductions, tanh
 * by a rational function up to 0.55); Tang, Table-driven implementation of the logarithm function,
 * ACM TOMS 16(4), 1990, and fdlibm's e_log.c (log from s = f / (2 + f)); Cody, Rational Chebyshev
 * approximations for the error function, Math. Comp. 23, 1969; fdlibm's s_expm1.c, s_log1p.c,
 * s_atan.c, e_rem_pio2.c and k_tan.c (what to correct, and where to reduce). The coefficients are
 * our own: by the Remez algorithm in 50 digits, minimising the error relative to the result. */
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

/* y * 2**k, rounded once even if subnormal, for the k in the low bits of k_plus_2046. Scales by
 * half of k twice, because 2**k itself may be out of range; shifting by 52 drops the bits above. */
static inline double pg_scale(double y, double k_plus_2046) {
    uint64_t k = pg_bits_of(k_plus_2046), half = k >> 1;
    return y * pg_from_bits(half << 52) * pg_from_bits((k - half) << 52);
}

/* exp(r) for |r| <= log(2) / 2. The powers are grouped for instruction-level parallelism. */
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

/* exp(r) - 1 - r for |r| <= log(2) / 2. */
static inline double pg_expm1_tail(double r) {
    double r2 = r * r, r4 = r2 * r2;
    double low =
        (0.5 + 0x1.5555555555559p-3 * r) + (0x1.555555555553fp-5 + 0x1.111111110f6dep-7 * r) * r2;
    double mid = (0x1.6c16c16c1f049p-10 + 0x1.a01a01afd1cacp-13 * r) +
                 (0x1.a01a017bd05b4p-16 + 0x1.71ddf884b5790p-19 * r) * r2;
    double high = (0x1.27e5361eccc2dp-22 + 0x1.af5e6974bae49p-26 * r) + 0x1.1ee891dd5f13fp-29 * r2;
    return r2 * (low + r4 * (mid + r4 * high));
}

/* exp(x) - 1 = 2**k ((1 - 2**-k) + r + tail). Where k is 1 and r near -log(2) / 2, the first two
 * cancel, exactly; the rounding error of r then counts, so that it is added. */
static inline double pg_fast_expm1(double x) {
    double n = x * PG_LOG2_E + (PG_ROUND + 2046.0), k = n - (PG_ROUND + 2046.0);
    double high = x - k * PG_LN2_HIGH, low = k * PG_LN2_LOW, r = high - low;
    double lost = (high - r) - low;
    double power = pg_from_bits((3069 - pg_bits_of(n)) << 52); /* 2**-k */
    power = x > 45.0 ? 0.0 : power;
    double y = pg_scale(((1.0 - power) + r) + (pg_expm1_tail(r) + lost), n);
    y = x > 710.0 ? INFINITY : y;
    y = x < -45.0 ? -1.0 : y;
    return x == 0.0 ? x : y; /* -0.0 */
}

/* tanh(a) = v - v**3 P/Q for a < 0.55, and 1 - 2 / (exp(2a) + 1) above, where tanh exceeds 1/2 and
 * the fraction's error counts half. The same P/Q serves both: exp(2v) = (1 + tanh v)/(1 - tanh v),
 * so one division is enough. Numerator and denominator are selected before it. */
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

/* exp(r) = (q + t) / (q - t) for |r| <= log(2) / 2, where t / q = tanh(r / 2). In a function that
 * has to divide anyway this is half the work of the polynomial. */
static inline double pg_exp_t(double r, double r2) {
    return r * ((0x1.10ee239d5da26p-5 * r2 + 0x1.c01895f0a19a7p+3) * r2 + 0x1.f82b0745c536fp+8);
}

static inline double pg_exp_q(double r2) {
    return (r2 + 0x1.c022d50001226p+6) * r2 + 0x1.f82b0745c536fp+9;
}

/* 1 / (1 + exp(-x)) = E / (E + 1) with E = exp(x) as a fraction. There is no cancellation, so that
 * the result is accurate down to the subnormals. */
static inline double pg_fast_sigmoid(double x) {
    double n = x * PG_LOG2_E + (PG_ROUND + 2046.0), k = n - (PG_ROUND + 2046.0);
    double r = (x - k * PG_LN2_HIGH) - k * PG_LN2_LOW, r2 = r * r;
    double t = pg_exp_t(r, r2), q = pg_exp_q(r2);
    double scaled = pg_scale(q + t, n);
    double y = scaled / (scaled + (q - t));
    y = x > 40.0 ? 1.0 : y;
    return x < -746.0 ? 0.0 : y;
}

/* log(1 + f) - (f - f**2 / 2) for 1 + f in [sqrt(1/2), sqrt(2)]. With s = f / (2 + f) this is
 * s (f**2 / 2 + R), where s R is what follows 2 s in the series of log((1 + s) / (1 - s)). */
static inline double pg_log_tail(double f, double half_f2) {
    double s = f / (2.0 + f), z = s * s, z2 = z * z;
    double even = 0x1.999999998009fp-2 + z2 * (0x1.c71c52208990cp-3 + z2 * 0x1.39a21a045a5c5p-3);
    double odd = 0x1.24924941cf9f3p-2 + z2 * (0x1.74663ac136b9dp-3 + z2 * 0x1.2f0202aad3f20p-3);
    double rest = 0x1.5555555555592p-1 + z * even + z2 * odd;
    return s * (half_f2 + z * rest);
}

#define PG_ROOT_HALF 0x3fe6a09e667f3bcdu /* the bits of sqrt(1/2) */

/* The bits of x = 2**k (1 + f), a normal number, plus the offset that makes sqrt(1/2) a power of
 * two: this leaves k in the exponent field. */
static inline uint64_t pg_log_bits(double x) {
    return pg_bits_of(x) + (0x3ff0000000000000u - PG_ROOT_HALF);
}

/* log(x), from those. */
static inline double pg_log_from(uint64_t u, double k) {
    double f = pg_from_bits((u & 0x000fffffffffffffu) + PG_ROOT_HALF) - 1.0;
    double half_f2 = 0.5 * f * f;
    return k * PG_LN2_HIGH - ((half_f2 - (pg_log_tail(f, half_f2) + k * PG_LN2_LOW)) - f);
}

/* A subnormal is scaled by 2**54 first. */
static inline double pg_fast_log(double x) {
    int subnormal = x < 0x1p-1022;
    double scaled = x * 0x1p54, offset = subnormal ? 0x1p52 + 1077.0 : 0x1p52 + 1023.0;
    scaled = subnormal ? scaled : x;
    uint64_t u = pg_log_bits(scaled);
    double k = pg_from_bits(u >> 52 | 0x4330000000000000u) - offset; /* or-ing adds 2**52 */
    double y = pg_log_from(u, k);
    y = x == INFINITY ? INFINITY : y;
    double out = x == 0.0 ? -INFINITY : NAN;
    return x > 0.0 ? y : out;
}

/* As log of u = 1 + x, corrected for the rounding error c of this sum: log(u + c) is log(u) + c /
 * u. Of c / u = 2**-k c / (1 + f) few bits count: 1 / (1 + f) is 1 - f + f**2. Where k is 0, f is x
 * itself, and nothing is lost. */
static inline double pg_fast_log1p(double x) {
    double sum = 1.0 + x, back = sum - 1.0, c = (1.0 - (sum - back)) + (x - back);
    uint64_t u = pg_log_bits(sum);
    double k = pg_from_bits(u >> 52 | 0x4330000000000000u) - (0x1p52 + 1023.0);
    double f = pg_from_bits((u & 0x000fffffffffffffu) + PG_ROOT_HALF) - 1.0;
    int small = k == 0.0;
    c = c * pg_from_bits((2047 - (u >> 52)) << 52); /* 2**(1-k), which is in range */
    k = small ? -0.0 : k;                           /* log1p(-0.0) is -0.0 */
    f = small ? x : f;
    c = c * (small ? 0.0 : 0.5 * (1.0 - f + f * f));
    double half_f2 = 0.5 * f * f;
    double low = pg_log_tail(f, half_f2) + (k * PG_LN2_LOW + c);
    double y = k * PG_LN2_HIGH + (f - (half_f2 - low));
    y = x == INFINITY ? INFINITY : y;
    double out = x == -1.0 ? -INFINITY : NAN;
    return x > -1.0 ? y : out;
}

/* (atan(t) - t) / t**3 as a function of z = t**2, for |t| <= 1/2. */
static inline double pg_atan_tail(double z) {
    double z2 = z * z, z4 = z2 * z2;
    double low = (-0x1.5555555555516p-2 + 0x1.999999999113cp-3 * z) +
                 (-0x1.249249215dc27p-3 + 0x1.c71c7090df6cfp-4 * z) * z2;
    double mid = (-0x1.745cf4ca7b013p-4 + 0x1.3b113db831666p-4 * z) +
                 (-0x1.10f31ed62d376p-4 + 0x1.dfe974f12d5a5p-5 * z) * z2;
    double high = (-0x1.a3985bc6afaa6p-5 + 0x1.56f5aeb1bafcdp-5 * z) +
                  (-0x1.c17f947dd466cp-6 + 0x1.4b83c6a9ec9f7p-7 * z) * z2;
    return low + z4 * (mid + z4 * high);
}

/* atan(a) is that of a up to 1/2, pi/4 plus that of (a - 1) / (a + 1) up to 2, where a - 1 is
 * exact, and pi/2 plus that of -1 / a above. Numerator and denominator are selected before the
 * division. */
static inline double pg_fast_atan(double x) {
    double a = pg_from_bits(pg_bits_of(x) & ~PG_SIGN_BIT);
    int reduced = a > 0.5, large = a > 2.0;
    double numerator = reduced ? a - 1.0 : a, denominator = reduced ? a + 1.0 : 1.0;
    numerator = large ? -1.0 : numerator;
    denominator = large ? a : denominator;
    double base = reduced ? 0x1.921fb54442d18p-1 : 0.0,
           rest = reduced ? 0x1.1a62633145c07p-55 : 0.0;
    base = large ? base + base : base;
    rest = large ? rest + rest : rest;
    double t = numerator / denominator, z = t * t;
    double y = base + (t + (t * (z * pg_atan_tail(z)) + rest));
    return pg_from_bits(pg_bits_of(y) | (pg_bits_of(x) & PG_SIGN_BIT));
}

/* Up to here multiples of pi/2 are below 2**20, and their products with 33 bits are exact. */
#define PG_TAN_REACH 0x1.921fb5p+20

/* x without its lower 27 bits: the product of two such numbers is exact. */
static inline double pg_upper_half(double x) {
    return pg_from_bits(pg_bits_of(x) & 0xfffffffff8000000u);
}

/* a - k pi/2, as the sum of the result and *low; pi/2 has 152 bits here, as doubles within the
 * reach come as near as 2**-60 to a multiple. A difference that isn't exact has a smaller
 * subtrahend, so that its rounding error is known. */
static inline double pg_less_quarters(double a, double k, double *low) {
    double first = a - k * 0x1.921fb544p+0, w = k * 0x1.0b4611a6p-34, second = first - w;
    double lost = (first - second) - w;
    w = k * 0x1.3198a2ep-69;
    double r = second - w;
    *low = lost + (((second - r) - w) - k * 0x1.b839a252049c1p-104);
    return r;
}

/* (sin(r) - r) / r as a function of z = r**2, for |r| <= pi/4. */
static inline double pg_sin_tail(double z) {
    double z2 = z * z;
    return z * ((-0x1.5555555555548p-3 + 0x1.111111110f7d0p-7 * z) +
                z2 * ((-0x1.a01a019bfdf00p-13 + 0x1.71de3567d4735p-19 * z) +
                      z2 * (-0x1.ae5e5a9286348p-26 + 0x1.5d8fd1fae5bc3p-33 * z)));
}

/* cos(r) - 1 + z / 2, likewise. */
static inline double pg_cos_tail(double z) {
    double z2 = z * z;
    return z2 * ((0x1.555555555554bp-5 + -0x1.6c16c16c14f91p-10 * z) +
                 z2 * ((0x1.a01a019c844f9p-16 + -0x1.27e4f7eac4ee0p-22 * z) +
                       z2 * (0x1.1ee9d7b505c16p-29 + -0x1.8fa49a19e2a15p-37 * z)));
}

/* tan(k pi/2 + r) is sin(r) / cos(r) for even k, else -cos(r) / sin(r). Both come with what their
 * rounding lost, and the quotient of upper halves leaves a remainder that is exact but for that: so
 * only the last sum rounds. */
static inline double pg_tan_reduced(double r, double r_low, int odd) {
    double z = r * r, half_z = 0.5 * z;
    double bend = r * pg_sin_tail(z) + r_low * (1.0 - half_z), sine = r + bend;
    double sine_low = (r - sine) + bend;
    double upper = 1.0 - half_z, rest = ((1.0 - upper) - half_z) + (pg_cos_tail(z) - r * r_low);
    double cosine = upper + rest, cosine_low = (upper - cosine) + rest;
    double top = odd ? -cosine : sine, top_low = odd ? -cosine_low : sine_low;
    double bottom = odd ? sine : cosine, bottom_low = odd ? sine_low : cosine_low;
    double inverse = 1.0 / bottom, y = pg_upper_half(top * inverse);
    double divisor = pg_upper_half(bottom);
    double remainder = (top - y * divisor) + (top_low - y * ((bottom - divisor) + bottom_low));
    return y + remainder * inverse;
}

static inline double pg_fast_tan(double x) {
    double a = pg_from_bits(pg_bits_of(x) & ~PG_SIGN_BIT);
    double k = (a * 0x1.45f306dc9c883p-1 + PG_ROUND) - PG_ROUND, half_k = 0.5 * k;
    int odd = (half_k + PG_ROUND) - PG_ROUND != half_k;
    double r_low, r = pg_less_quarters(a, k, &r_low), y = pg_tan_reduced(r, r_low, odd);
    return pg_from_bits(pg_bits_of(y) ^ (pg_bits_of(x) & PG_SIGN_BIT));
}

/* The fraction P/Q of erf: the same operations for both ranges of a, with different
 * coefficients. */
static inline double pg_erf_p(int small, double v) {
    double p = small ? -0x1.7b17c7d8b18a8p+7 : 0x1.20dd025ea1d2cp-1;
    p = p * v + (small ? -0x1.940b3b8141f79p+11 : 0x1.4f94bd1e4fdf2p+2);
    p = p * v + (small ? -0x1.33ba37848d4d8p+16 : 0x1.6f80d8af006a8p+4);
    p = p * v + (small ? -0x1.7ab93ba2f75e2p+18 : 0x1.cec48b041a2bbp+5);
    p = p * v + (small ? -0x1.8434eff1ac5aep+21 : 0x1.502ec7760deebp+6);
    return p * v + (small ? 0x1.36d8326c95668p+20 : 0x1.dee590b99777p+5);
}

static inline double pg_erf_q(int small, double v) {
    double q = v + (small ? 0x1.41e2cc44848b5p+7 : 0x1.296502da2b26ap+3);
    q = q * v + (small ? 0x1.4c3a6c960f232p+12 : 0x1.49b754c39942cp+5);
    q = q * v + (small ? 0x1.53a2b1a5e4687p+16 : 0x1.ac94edf4dfd4dp+6);
    q = q * v + (small ? 0x1.8e8996b0f3104p+19 : 0x1.5213b5e94bfe2p+7);
    q = q * v + (small ? 0x1.05885bf330299p+22 : 0x1.2f2f785ad67d2p+7);
    return q * v + (small ? 0x1.2ea99c49b52fcp+23 : 0x1.dee596f1d5c22p+5);
}

/* erf(a) = a + a P/Q(a**2) for a < 1.1, and 1 - exp(-a**2) P/Q(a) above, where erf exceeds 0.88 and
 * the product's error counts an eighth or less. As exp is a fraction, one division is enough. */
static inline double pg_fast_erf(double x) {
    double a = pg_from_bits(pg_bits_of(x) & ~PG_SIGN_BIT), a2 = a * a;
    int small = a < 1.1;
    double n = a2 * -PG_LOG2_E + (PG_ROUND + 3071.0); /* << 52: -(2**k), as 2048 is the sign */
    double r = -a2 - (n - (PG_ROUND + 3071.0)) * PG_LN2, r2 = r * r;
    double t = pg_exp_t(r, r2), q = pg_exp_q(r2);
    double scaled = pg_from_bits(pg_bits_of(n) << 52) * (q + t), v = small ? a2 : a;
    double numerator = (small ? a : scaled) * pg_erf_p(small, v);
    double denominator = (small ? 1.0 : q - t) * pg_erf_q(small, v);
    double base = small ? a : 1.0;
    double y = base + numerator / denominator;
    y = a > 6.0 ? 1.0 : y;
    return pg_from_bits(pg_bits_of(y) | (pg_bits_of(x) & PG_SIGN_BIT));
}

#endif
