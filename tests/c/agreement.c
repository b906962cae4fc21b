/* agreement.c - powers.h beside libm's pow.
 *
 * Points come from one generator, 32 at a time, by turns of these kinds:
 *   bits     any 64 bits: nan, infinities, subnormals, powers that overflow
 *   inside   any mantissa and sign, with a power within the range of powers.h
 *   ties     where the power is next to the middle of two doubles. Of x ** 2: x * x = t mod 2**53
 *            with t near 2**52, solved by Hensel's lifting. Of x ** 0.5: a middle m, squared, is
 *            1 mod 2**55 or so. Of x ** -1: (2**53 - k) * (2**53 + k) = 2**106 - k * k
 *   edges    next to powers of two, and to the ends of that range; 0, infinity, nan, subnormals
 * Owns nothing. Cost: twice pow's. */
#include "agreement.h"

#include "base/portability.h"

#include <math.h>
#include <string.h>

#if PG_X86_LEVELS
PG_BEGIN_AVX2
#endif
#include "ops/kernels.h"
#include "ops/powers.h"

typedef struct source {
    uint64_t state;
    double exponent;
} source;

/* splitmix64 */
static uint64_t bits_from(source *s) {
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double double_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* An exponent of two whose power is 2**-128 to 2**128, or just outside. */
static int binade(source *s) {
    const int most = (int)(130.0 / fabs(s->exponent)) + 1;
    return (int)(bits_from(s) % (2 * (uint64_t)most + 1)) - most;
}

static double inside(source *s) {
    const uint64_t bits = bits_from(s);
    const double mantissa = double_of((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
    return ldexp(bits >> 63 ? -mantissa : mantissa, binade(s));
}

/* x * x = t mod 2**bits, for t = 1 mod 8: each step doubles the bits that are right. */
static uint64_t root_mod(uint64_t t, int bits) {
    uint64_t inverse = 1; /* of the root: inverse**2 * t = 1 */
    for (int i = 0; i < 6; i++) inverse = inverse * ((3 - t * inverse * inverse) / 2);
    return (t * inverse) & (((uint64_t)1 << bits) - 1);
}

/* A mantissa, as a whole number from 2**52 on, whose square's lost bits are nearly a half. */
static double square_tie(source *s) {
    const uint64_t few = bits_from(s) % 4096, half = (uint64_t)1 << 52;
    uint64_t x = root_mod((few & 1 ? half - 8 * few : half + 8 * few) + 1, 54);
    if (bits_from(s) & 1) x = ((uint64_t)1 << 54) - x;
    while (x < half) x += half; /* bits above the 53rd don't change the square's lowest 53 */
    return ldexp((double)(x & (2 * half - 1)), binade(s) - 52);
}

/* 2**53 * m is a middle of doubles; x = m * m without its last bits, which are 1. */
static double root_tie(source *s) {
    const uint64_t few = bits_from(s) % 4096;
    if (bits_from(s) & 1) return ldexp(1.0 + (double)(2 * few + 1) * 0x1p-52, 2 * binade(s));
    const double m = (double)(root_mod(8 * few + 1, 54) | (uint64_t)1 << 53);
    return ldexp(m * m, 2 * (binade(s) / 2) - 106);
}

static double inverse_tie(source *s) {
    const double k = (double)(2 * (bits_from(s) % (1 << 22)) + 1);
    return ldexp(0x1p53 - k, binade(s) - 53);
}

static double tie(source *s) {
    if (s->exponent == 2.0) return square_tie(s);
    if (s->exponent == 0.5) return root_tie(s);
    if (s->exponent == -1.0) return inverse_tie(s);
    const double to = ldexp(1.0 + (double)(bits_from(s) >> 12) * 0x1p-52, binade(s));
    return pow(to, 1.0 / s->exponent);
}

static double edge(source *s) {
    static const double special[] = {0.0,       INFINITY,  NAN,
                                     0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp1023};
    const uint64_t kind = bits_from(s) % 16, steps = bits_from(s) % 64;
    const double sign = bits_from(s) & 1 ? -1.0 : 1.0;
    if (kind < sizeof special / sizeof *special) return sign * special[kind];
    double near = ldexp(1.0, binade(s));
    if (kind & 1) near = pow(ldexp(1.0, kind & 2 ? 128 : -128), 1.0 / s->exponent);
    return sign * double_of(bits_of(near) + steps - 32);
}

static void fill(source *s, double *xs, uint64_t turn) {
    for (int l = 0; l < PG_MOST_POWER_LANES; l++) {
        const uint64_t kind = (turn + (uint64_t)l) % 16;
        xs[l] = kind < 2    ? double_of(bits_from(s))
                : kind == 2 ? edge(s)
                : kind < 5  ? tie(s)
                            : inside(s);
    }
}

/* Has pow misrounded, in the range, and how far from a tie? y + rest is the power. */
static void judge(agreement *a, double y, double rest, double libms) {
    const double size = fabs(y);
    if (!(size >= 0x1p-128 && size <= 0x1p128)) {
        a->asked++;
        return;
    }
    a->asked += y + rest * PG_TO_TIE != y;
    if (libms == y) return;
    const double away = rest < 0.0 ? -size : size * 2.0; /* towards the other candidate */
    const double ulp = fabs(nextafter(size, y < 0.0 ? -away : away) - size);
    const double from_tie = 0.5 - fabs(rest) / ulp;
    a->misrounded++;
    if (from_tie > a->farthest) a->farthest = from_tie;
}

static bool same_number(double a, double b) {
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

int halves_of(double exponent) { return pg_halves_of(exponent); }

bool powers_are_used(void) {
#if PG_X86_LEVELS
    return pg_pow_is_known() && PG_HAS_AVX2();
#else
    return pg_pow_is_known() && PG_HAS_FMA;
#endif
}

agreement compare_powers(double exponent, uint64_t points, uint64_t seed) {
    enum { lanes = PG_MOST_POWER_LANES };
    source s = {seed, exponent};
    agreement a = {0};
    double xs[lanes], ys[lanes], long_ys[lanes], rests[lanes];
    const int n = pg_halves_of(exponent);
    for (; a.points < points; a.points += lanes) {
        fill(&s, xs, a.points / lanes);
        pg_powers(ys, xs, exponent, n, lanes);
        pg_long_powers(long_ys, rests, xs, n, lanes, false);
        for (int l = 0; l < lanes; l++) {
            const double libms = pow(xs[l], exponent);
            if (n != 2) judge(&a, long_ys[l], rests[l], libms);
            if (same_number(ys[l], libms)) continue;
            a.differ++;
            a.example = xs[l];
        }
    }
    return a;
}

#if PG_X86_LEVELS
PG_END_TARGET
#endif
