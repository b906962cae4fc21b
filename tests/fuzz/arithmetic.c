/* arithmetic.c - the ops, their derivatives and their errors, written out once more: nothing here
 * comes from ops.def, whose mistakes would else be right by definition. Only the functions of fast
 * mode are the core's own: what they return is measured elsewhere; and lgamma is libm's in both.
 *
 * Results are compared bit for bit, so log_ndtr, digamma and polygamma are computed as the core
 * does. Each is held against another method that shares nothing with that, an integral, to 11
 * digits: log_ndtr with its derivatives everywhere, digamma above -100, polygamma above 0. What is
 * left, digamma and polygamma below, is the same here and there. */
#include "base/portability.h"
#include "ops/fastmath.h"
#include "plain.h"
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double logistic(double a) {
    return a >= 0.0 ? 1.0 / (1.0 + exp(-a)) : exp(a) / (1.0 + exp(a));
}

bool plain_compare(int compare, double left, double right) {
    const bool holds[] = {left<right, left <= right, left> right, left >= right};
    if (compare >= PG_EQUAL) return (left == right) == (compare == PG_EQUAL);
    return compare < PG_NOT_LESS ? holds[compare] : !holds[compare - PG_NOT_LESS];
}

/* A new op has no line in a switch of this file. */
static void miss(int op) {
    fprintf(stderr, "tests/fuzz/arithmetic.c lacks %s\n", pg_instr_name(op));
    abort();
}

/* exp(-a^2): a * a is rounded, by what an upper half's square lacks of it. */
static double gauss(double a, double (*our_exp)(double)) {
    const double upper = 134217729.0 * a - (134217729.0 * a - a);
    const double lost = (upper * upper - a * a) + (a - upper) * (a + upper);
    return our_exp(-(a * a)) * (1.0 - (fabs(a) < 28.0 ? lost : 0.0));
}

/* e / (1 + e)^2 with e = exp(-|a|) */
static double logistic_slope(double a) {
    const double e = exp(a < 0.0 ? a : -a), sum = 1.0 + e;
    return e / (sum * sum);
}

/* Has a difference from 1 lost digits? Fast mode doesn't ask. */
static bool near_one(double y, bool fast) { return fabs(y) > 0.96875 && !fast; }

/* Of squares that neither overflow nor vanish. */
static double distance(double a, double b) {
    if (isinf(a) || isinf(b)) return INFINITY;
    const double most = fmax(fabs(a), fabs(b));
    const int shift = most > ldexp(1.0, 500) ? -600 : most < ldexp(1.0, -500) ? 600 : 0;
    a = ldexp(a, shift), b = ldexp(b, shift);
    return ldexp(sqrt(a * a + b * b), -shift);
}

static double sign_of(double a) { return a > 0.0 ? 1.0 : a < 0.0 ? -1.0 : 0.0; }

/* The rest with the divisor's sign, and the quotient rounded down, as Python's floats have them. */
static double rest_of(double a, double b) {
    double rest = fmod(a, b);
    if (rest != 0.0 && signbit(rest) != signbit(b)) rest += b;
    return rest == 0.0 ? copysign(rest, b) : rest;
}

static double quotient_of(double a, double b) {
    const double rest = fmod(a, b);
    double quotient = (a - rest) / b;
    if (rest != 0.0 && signbit(rest) != signbit(b)) quotient -= 1.0;
    return quotient == 0.0 ? copysign(quotient, a / b) : rint(quotient);
}

/* a * b, where a b of 0 counts more than what a is. */
static double gated_product(double a, double b) { return b == 0.0 && !isfinite(a) ? 0.0 : a * b; }

static double power_by_base(double a, double b) {
    return b == 0.0 ? 0.0 : gated_product(b, pow(a, b - 1.0));
}

static double power_by_exponent(double a, double y, double (*our_log)(double)) {
    if (a == 0.0 || (y == 0.0 && isinf(a) && a > 0.0)) return 0.0;
    return our_log(a) * y;
}

static double cosine_of(double a, double b) {
    if (isinf(a) && isfinite(b)) return a > 0.0 ? 1.0 : -1.0;
    return a / distance(a, b);
}

/* Of an infinite a nothing is left, either, but its sign. */
static double by_square(double a, double square) {
    return (isinf(square) && isinf(a) ? copysign(1.0, a) : a) / square;
}

/* exp(-a^2 / 2) / sqrt(2 pi) */
static double density(double a) {
    const double half = a / 2.0;
    const double upper = 134217729.0 * half - (134217729.0 * half - half);
    const double lost = (upper * upper - half * half) + (half - upper) * (half + upper);
    return 0.3989422804014327 *
           (exp(-(half * half) * 2.0) * (1.0 - (fabs(half) < 28.0 ? lost : 0.0) * 2.0));
}

static double gelu_slope(double a) {
    return erfc(a * -0.7071067811865476) / 2.0 + gated_product(a, density(a));
}

static double silu_slope(double a, bool fast) {
    double (*const share)(double) = fast ? pg_fast_sigmoid : logistic;
    return gated_product(1.0 + gated_product(a, share(-a)), share(a));
}

static double silu_bend(double a, bool fast) {
    const double share = fast ? pg_fast_sigmoid(a) : logistic(a);
    const double steep = near_one(share, fast) ? logistic_slope(a) : share * (1.0 - share);
    return gated_product(a * (1.0 - share * 2.0) + 2.0, steep);
}

static double elu_slope(double a, double b, double (*our_exp)(double), double above) {
    return a > 0.0 ? above : b * our_exp(a);
}

/* ---- Integrals: other methods for the functions below --------------------------------------- */

/* The trapezoidal rule is exact to the last digits for a smooth function that vanishes at both
 * ends. Source: Trefethen and Weideman, The exponentially convergent trapezoidal rule, SIAM Review
 * 56, 2014. */
static double integral(double (*f)(double v, double x, double n), double x, double n) {
    enum { steps = 1024 };
    const double from = -45.0, to = 5.0, h = (to - from) / steps;
    double sum = 0.0;
    for (int i = 0; i <= steps; i++) sum += f(from + i * h, x, n);
    return sum * h;
}

/* A value that another method confirms, to 1e-11 of the scale. */
static double held(double value, double opinion, double scale) {
    CHECK(fabs(value - opinion) <= 1e-11 * fmax(scale, 1e-290));
    return value;
}

/* t^n exp(-x t - t^2 / 2) dt, times (1 + x)^(n + 1); t is exp(v) / (1 + x). */
static double mills(double v, double x, double n) {
    const double t = exp(v) / (1.0 + x);
    return exp((n + 1.0) * v - x * t - 0.5 * t * t);
}

/* The distribution function at -x over the density there, x >= 0. */
static double mills_ratio(double x) { return integral(mills, x, 0.0) / (1.0 + x); }

static double log_ndtr_by_mills(double a) {
    const double half_square = 0.5 * a * a + 0.9189385332046727; /* log(2 pi) / 2 */
    const double ratio = mills_ratio(fabs(a));
    return a > 0.0 ? log1p(-exp(-half_square) * ratio) : log(ratio) - half_square;
}

static double log_ndtr_slope_by_mills(double a) {
    if (a <= 0.0) return 1.0 / mills_ratio(-a);
    return exp(-0.5 * a * a - 0.9189385332046727 - log_ndtr_by_mills(a));
}

/* By parts, 1 = x * ratio + first moment. */
static double log_ndtr_excess_by_mills(double a) {
    if (a > 0.0) return a + log_ndtr_slope_by_mills(a);
    return integral(mills, -a, 1.0) / integral(mills, -a, 0.0) / (1.0 - a);
}

/* t / ((t^2 + x^2) (exp(2 pi t) - 1)) dt; t is exp(v). */
static double binet(double v, double x, double n) {
    const double t = exp(v);
    (void)n;
    return t / (t * t + x * x) * (t / expm1(6.283185307179586 * t));
}

/* Binet's integral from 1 on, below by recurrence. Source: Abramowitz and Stegun 6.3.5, 6.3.21. */
static double digamma_by_binet(double a, double *scale_ret) {
    double sum = 0.0, scale = 1.0;
    for (; a < 1.0; a += 1.0) {
        sum -= 1.0 / a;
        scale += fabs(1.0 / a);
    }
    *scale_ret = scale + log(a);
    return sum + (log(a) - 0.5 / a - 2.0 * integral(binet, a, 0.0));
}

/* t^n exp(-x t) / (1 - exp(-t)) dt, without its constant factors; t is exp(v) (n + 1) / x. */
static double bose(double v, double x, double n) {
    const double t = exp(v) * ((n + 1.0) / x);
    return exp((n + 1.0) * (v - exp(v) + 1.0) - v) * (t < 1e-290 ? 1.0 : t / -expm1(-t));
}

/* The logarithm of |polygamma|, a > 0. Source: Abramowitz and Stegun 6.4.1. */
static double log_polygamma_by_bose(double a, double n) {
    return n * log((n + 1.0) / a) - (n + 1.0) + log(integral(bose, a, n));
}

/* ---- The tail and the gamma functions: with the core's bits, held against the above ---------- */

static double log_ndtr_slope_as_core(double a) {
    if (a > -5.0) return density(a) / (0.5 * erfc(-0.7071067811865476 * a));
    double fraction = -a;
    for (int k = 60; k > 0; k--) fraction = -a + k / fraction;
    return fraction;
}

static double log_ndtr_excess_as_core(double a) {
    if (a > -5.0) return a + log_ndtr_slope_as_core(a);
    double fraction = -a;
    for (int k = 60; k > 1; k--) fraction = -a + k / fraction;
    return 1.0 / fraction;
}

static double plain_log_ndtr_slope(double a) {
    const double slope = log_ndtr_slope_as_core(a);
    if (!isfinite(a)) return slope;
    const double opinion = log_ndtr_slope_by_mills(a);
    return held(slope, opinion, opinion);
}

static double plain_log_ndtr_excess(double a) {
    const double excess = log_ndtr_excess_as_core(a);
    if (!isfinite(a)) return excess;
    const double opinion = log_ndtr_excess_by_mills(a);
    return held(excess, opinion, opinion);
}

static double plain_log_ndtr_bend(double a) {
    if (a < 0.0 && isinf(a)) return -1.0;
    return -gated_product(plain_log_ndtr_excess(a), plain_log_ndtr_slope(a));
}

static double log_ndtr_as_core(double a) {
    if (a > -1.0) return log1p(-0.5 * erfc(0.7071067811865476 * a));
    if (a > -5.0) return log(0.5 * erfc(-0.7071067811865476 * a));
    return -0.5 * (a * a) - 0.9189385332046727 - log(log_ndtr_slope_as_core(a));
}

static double plain_log_ndtr(double a) {
    const double value = log_ndtr_as_core(a);
    if (!isfinite(a) || !isfinite(value)) return value;
    const double opinion = log_ndtr_by_mills(a);
    return held(value, opinion, fabs(opinion));
}

static double plain_horner(const double *c, int count, double x) {
    double total = 0.0;
    for (int i = 0; i < count; i++) total = total * x + c[i];
    return total;
}

static double plain_digamma_above_0(double a) {
    static const double near_root[] = {-0.0020713321167745952, -0.045251321448739056,
                                       -0.28919126444774784,   -0.65031853770896507,
                                       -0.32555031186804491,   0.25479851061131551};
    static const double below[] = {-0.55789841321675513e-6,
                                   0.0021284987017821144,
                                   0.054151797245674225,
                                   0.43593529692665969,
                                   1.4606242909763515,
                                   2.0767117023730469,
                                   1.0};
    static const double far[] = {1.0 / 12.0,  -691.0 / 32760.0, 1.0 / 132.0, -1.0 / 240.0,
                                 1.0 / 252.0, -1.0 / 120.0,     1.0 / 12.0};
    if (a >= 10.0) {
        const double z = 1.0 / (a * a);
        return log(a) - 0.5 / a - z * plain_horner(far, 7, z);
    }
    double sum = 0.0;
    if (a < 1.0) {
        sum = -1.0 / a;
        a += 1.0;
    }
    while (a > 2.0) {
        a -= 1.0;
        sum += 1.0 / a;
    }
    double from_root = a - 1569415565.0 / 1073741824.0;
    from_root -= 381566830.0 / 1073741824.0 / 1073741824.0;
    from_root -= 0.9016312093258695918615325266959189453125e-19;
    const double ratio = plain_horner(near_root, 6, a - 1.0) / plain_horner(below, 7, a - 1.0);
    return sum + (from_root * 0.99558162689208984 + from_root * ratio);
}

static double digamma_as_core(double a) {
    if (isnan(a) || a == INFINITY) return a;
    if (a > 0.0) return plain_digamma_above_0(a);
    if (a == floor(a)) return NAN;
    const double turn = 3.141592653589793 * (a - rint(a));
    return plain_digamma_above_0(1.0 - a) - 3.141592653589793 / tan(turn);
}

static double plain_digamma(double a) {
    const double value = digamma_as_core(a);
    if (!isfinite(value) || a < -100.0) return value;
    double scale = 0.0;
    const double opinion = digamma_by_binet(a, &scale);
    return held(value, opinion, scale);
}

static double plain_add_zeta(double sum, double s, double x, double first, double power) {
    static const double bernoulli[] = {1.0 / 12.0,          -1.0 / 720.0,
                                       1.0 / 30240.0,       -1.0 / 1209600.0,
                                       1.0 / 47900160.0,    -691.0 / 1307674368000.0,
                                       1.0 / 74724249600.0, -3617.0 / 10670622842880000.0};
    sum += first / (s - 1.0) + 0.5 * power;
    double rising = s / x * power;
    for (int j = 0; j < 8; j++) {
        sum += bernoulli[j] * rising;
        rising *= (s + (2.0 * j + 1.0)) / x * ((s + (2.0 * j + 2.0)) / x);
    }
    return sum;
}

static double plain_hurwitz_zeta(double s, double a) {
    double sum = 0.0, k = 0.0;
    for (; a + k < 9.0 + s; k += 1.0) sum += pow(a + k, -s);
    const double x = a + k;
    return plain_add_zeta(sum, s, x, pow(x, 1.0 - s), pow(x, -s));
}

static double plain_polygamma(double a, double n) {
    if (n == 0.0) return plain_digamma(a);
    if (isnan(a) || !(0.0 < n && n <= 100.0 && n == floor(n) && a > -1000.0)) return NAN;
    if (a <= 0.0 && a == floor(a)) return NAN;
    if (isinf(a)) return 0.0;
    double factor = fmod(n, 2.0) == 1.0 ? 1.0 : -1.0;
    for (double k = 2.0; k <= n; k += 1.0) factor *= k;
    const bool far = a > 500.0 && pow(a, -n) < 1e-290;
    const double half = pow(a, -0.5 * n);
    const double value = far ? factor * half * plain_add_zeta(0.0, n + 1.0, a, 1.0, 1.0 / a) * half
                             : factor * plain_hurwitz_zeta(n + 1.0, a);
    if (isnormal(value) && a > 0.0)
        (void)held(log(fabs(value)), log_polygamma_by_bose(a, n), 1.0 + n);
    return value;
}

double plain_value(int op, double a, double b, bool fast) {
    double (*const our_exp)(double) = fast ? pg_fast_exp : exp;
    double (*const our_log1p)(double) = fast ? pg_fast_log1p : log1p;
    switch (op) {
    case PG_OP_ADD: return a + b;
    case PG_OP_MUL: return a * b;
    case PG_OP_POWN:
    case PG_OP_POW: return pow(a, b);
    case PG_OP_EXP: return fast ? pg_fast_exp(a) : exp(a);
    case PG_OP_LOG: return fast ? pg_fast_log(a) : log(a);
    case PG_OP_TANH: return fast ? pg_fast_tanh(a) : tanh(a);
    case PG_OP_RELU: return a < 0.0 ? 0.0 : a;
    case PG_OP_SIGMOID: return fast ? pg_fast_sigmoid(a) : logistic(a);
    case PG_OP_SQRT: return sqrt(a);
    case PG_OP_ABS: return fabs(a);
    case PG_OP_SIN: return sin(a);
    case PG_OP_COS: return cos(a);
    case PG_OP_ERF: return fast ? pg_fast_erf(a) : erf(a);
    case PG_OP_SOFTPLUS: return our_log1p(our_exp(a > 0.0 ? -a : a)) + (a < 0.0 ? 0.0 : a);
    case PG_OP_ATAN2: return atan2(a, b);
    case PG_OP_LOG1P: return our_log1p(a);
    case PG_OP_EXPM1: return fast ? pg_fast_expm1(a) : expm1(a);
    case PG_OP_LOG2: return log2(a);
    case PG_OP_LOG10: return log10(a);
    case PG_OP_EXP2: return exp2(a);
    case PG_OP_CBRT: return cbrt(a);
    case PG_OP_TAN: return fast && !(fabs(a) > PG_TAN_REACH) ? pg_fast_tan(a) : tan(a);
    case PG_OP_ASIN: return asin(a);
    case PG_OP_ACOS: return acos(a);
    case PG_OP_ATAN: return fast ? pg_fast_atan(a) : atan(a);
    case PG_OP_SINH: return sinh(a);
    case PG_OP_COSH: return cosh(a);
    case PG_OP_ASINH: return asinh(a);
    case PG_OP_ACOSH: return acosh(a);
    case PG_OP_ATANH: return atanh(a);
    case PG_OP_ERFC: return erfc(a);
    case PG_OP_HYPOT: return distance(a, b);
    case PG_OP_MAXIMUM: return isnan(a) || a >= b ? a : b;
    case PG_OP_MINIMUM: return isnan(a) || a <= b ? a : b;
    case PG_OP_SIGN: return a == 0.0 ? 0.0 : isnan(a) ? a : copysign(1.0, a);
    case PG_OP_FLOOR: return floor(a);
    case PG_OP_CEIL: return -floor(-a);
    case PG_OP_TRUNC: return a < 0.0 ? ceil(a) : floor(a);
    case PG_OP_RINT: return nearbyint(a);
    case PG_OP_FMOD: return fmod(a, b);
    case PG_OP_MOD: return rest_of(a, b);
    case PG_OP_FLOORDIV: return quotient_of(a, b);
    case PG_OP_GELU: return gated_product(a / 2.0, erfc(a * -0.7071067811865476));
    case PG_OP_SILU: return gated_product(a, fast ? pg_fast_sigmoid(a) : logistic(a));
    case PG_OP_LEAKY_RELU: return a > 0.0 ? a : b * a;
    case PG_OP_ELU: return a > 0.0 ? a : b * (fast ? pg_fast_expm1 : expm1)(a);
    case PG_OP_LOG_NDTR: return plain_log_ndtr(a);
    case PG_OP_LGAMMA: return pg_lgamma(a);
    case PG_OP_DIGAMMA: return plain_digamma(a);
    case PG_OP_POLYGAMMA: return plain_polygamma(a, b);
    case PG_OP_LOG_NDTR_SLOPE: return plain_log_ndtr_slope(a);
    case PG_OP_LOG_NDTR_EXCESS: return plain_log_ndtr_excess(a);
    case PG_OP_LOG_NDTR_BEND: return plain_log_ndtr_bend(a);
    case PG_OP_HYPOT_SLOPE: return cosine_of(a, b);
    case PG_OP_NORMAL_DENSITY: return density(a);
    case PG_OP_GELU_SLOPE: return gelu_slope(a);
    case PG_OP_SILU_SLOPE: return silu_slope(a, fast);
    case PG_OP_LEAKY_RELU_SLOPE: return a > 0.0 ? 1.0 : b;
    case PG_OP_ELU_SLOPE: return elu_slope(a, b, our_exp, 1.0);
    case PG_OP_ELU_BEND: return elu_slope(a, b, our_exp, 0.0);
    case PG_OP_GATE_EITHER:
        if (a == 0.0 && !isfinite(b)) return 0.0;
        return b == 0.0 && !isfinite(a) ? 0.0 : a * b;
    case PG_OP_GATE: return b == 0.0 && !isfinite(a) ? 0.0 : a * b;
    case PG_OP_GATE_HELD: return b == 0.0 && !isfinite(a) ? 0.0 : a * b;
    case PG_OP_HELD: return isinf(a) && b == 0.0 ? 0.0 : a;
    case PG_OP_TANH_SLOPE: return near_one(b, fast) ? 4.0 * logistic_slope(a + a) : 1.0 - b * b;
    case PG_OP_SIGMOID_SLOPE: return near_one(b, fast) ? logistic_slope(a) : b * (1.0 - b);
    case PG_OP_ERF_SLOPE: return 1.1283791670955126 * gauss(a, our_exp); /* 2 / sqrt(pi) */
    case PG_OP_STEP: return a > 0.0 ? 1.0 : 0.0;
    case PG_OP_ABS_SLOPE: return sign_of(a);
    case PG_OP_FMOD_QUOTIENT: return rint((a - fmod(a, b)) / b);
    case PG_OP_TAKES_LARGER: return isnan(a) || a >= b ? 1.0 : 0.0;
    case PG_OP_TAKES_SMALLER: return isnan(a) || a <= b ? 1.0 : 0.0;
    case PG_OP_POW_SLOPE: return power_by_base(a, b);
    case PG_OP_POW_LOG: return a == 0.0 ? 0.0 : fast ? pg_fast_log(a) : log(a);
    case PG_OP_SQUARE: return a * a;
    case PG_OP_RECIP: return 1.0 / a;
    case PG_OP_DETACH:
    case PG_OP_CUSTOM:
    case PG_OP_COPY: return a;
    default: miss(op); return NAN;
    }
}

double plain_slope(int op, int by, double a, double b, double y, bool fast) {
    double (*const our_exp)(double) = fast ? pg_fast_exp : exp;
    double (*const our_log)(double) = fast ? pg_fast_log : log;
    const bool first = by == 1;
    switch (op) {
    case PG_OP_MUL: return first ? b : a;
    case PG_OP_POWN: return b == 0.0 ? 0.0 : b * pow(a, b - 1.0);
    case PG_OP_POW: return first ? power_by_base(a, b) : power_by_exponent(a, y, our_log);
    case PG_OP_EXP: return y;
    case PG_OP_LOG: return 1.0 / a;
    case PG_OP_TANH: return near_one(y, fast) ? 4.0 * logistic_slope(a + a) : 1.0 - y * y;
    case PG_OP_RELU: return y > 0.0 ? 1.0 : 0.0;
    case PG_OP_SIGMOID: return near_one(y, fast) ? logistic_slope(a) : y * (1.0 - y);
    case PG_OP_SQRT: return 0.5 / y;
    case PG_OP_ABS: return sign_of(a);
    case PG_OP_SIN: return cos(a);
    case PG_OP_COS: return -sin(a);
    case PG_OP_ERF: return 1.1283791670955126 * gauss(a, our_exp); /* 2 / sqrt(pi) */
    case PG_OP_SOFTPLUS: return fast ? pg_fast_sigmoid(a) : logistic(a);
    case PG_OP_ATAN2: return by_square(first ? b : -a, a * a + b * b);
    case PG_OP_LOG1P: return 1.0 / (a + 1.0);
    case PG_OP_EXPM1: return our_exp(a);
    case PG_OP_LOG2: return 1.4426950408889634 / a;  /* 1 / log(2) */
    case PG_OP_LOG10: return 0.4342944819032518 / a; /* 1 / log(10) */
    case PG_OP_EXP2: return 0.6931471805599453 * y;  /* log(2) */
    case PG_OP_CBRT: return 1.0 / (y * y * 3.0);
    case PG_OP_TAN: return y * y + 1.0;
    case PG_OP_ASIN: return 1.0 / sqrt((1.0 + a) * (1.0 - a));
    case PG_OP_ACOS: return -(1.0 / sqrt((1.0 + a) * (1.0 - a)));
    case PG_OP_ATAN: return 1.0 / (a * a + 1.0);
    case PG_OP_SINH: return cosh(a);
    case PG_OP_COSH: return sinh(a);
    case PG_OP_ASINH: return 1.0 / distance(1.0, a);
    case PG_OP_ACOSH: return 1.0 / (sqrt(a + 1.0) * sqrt(a - 1.0));
    case PG_OP_ATANH: return 1.0 / ((1.0 + a) * (1.0 - a));
    case PG_OP_ERFC: return -(1.1283791670955126 * gauss(a, our_exp)); /* -2 / sqrt(pi) */
    case PG_OP_HYPOT: return first ? cosine_of(a, b) : cosine_of(b, a);
    case PG_OP_MAXIMUM: return (isnan(a) || a >= b) == first ? 1.0 : 0.0;
    case PG_OP_MINIMUM: return (isnan(a) || a <= b) == first ? 1.0 : 0.0;
    case PG_OP_GATE:
    case PG_OP_GATE_EITHER: return first ? b : a;
    case PG_OP_GATE_HELD: return first ? b : isinf(a) && b == 0.0 ? 0.0 : a;
    case PG_OP_HELD: return first ? 1.0 : 0.0;
    case PG_OP_TANH_SLOPE: return first ? 0.0 : -2.0 * b;
    case PG_OP_SIGMOID_SLOPE: return first ? 0.0 : 1.0 - 2.0 * b;
    case PG_OP_ERF_SLOPE: return gated_product(-2.0 * a, y);
    case PG_OP_FMOD: return first ? 1.0 : -rint((a - y) / b);
    case PG_OP_MOD: return first ? 1.0 : -quotient_of(a, b);
    case PG_OP_GELU: return gelu_slope(a);
    case PG_OP_SILU: return silu_slope(a, fast);
    case PG_OP_LEAKY_RELU: return a > 0.0 ? 1.0 : b;
    case PG_OP_ELU: return elu_slope(a, b, our_exp, 1.0);
    case PG_OP_LOG_NDTR: return plain_log_ndtr_slope(a);
    case PG_OP_LGAMMA: return plain_digamma(a);
    case PG_OP_DIGAMMA: return plain_polygamma(a, 1.0);
    case PG_OP_POLYGAMMA: return plain_polygamma(a, b + 1.0);
    case PG_OP_LOG_NDTR_SLOPE: return plain_log_ndtr_bend(a);
    case PG_OP_LOG_NDTR_EXCESS: return 1.0 + plain_log_ndtr_bend(a);
    case PG_OP_LOG_NDTR_BEND:
        return -(gated_product(plain_log_ndtr_excess(a), y) +
                 gated_product(plain_log_ndtr_slope(a), 1.0 + y));
    case PG_OP_HYPOT_SLOPE:
        return (first ? cosine_of(b, a) : -y) * cosine_of(b, a) / distance(a, b);
    case PG_OP_NORMAL_DENSITY: return gated_product(-a, y);
    case PG_OP_GELU_SLOPE: return gated_product(2.0 - a * a, density(a));
    case PG_OP_SILU_SLOPE: return silu_bend(a, fast);
    case PG_OP_LEAKY_RELU_SLOPE: return first || a > 0.0 ? 0.0 : 1.0;
    case PG_OP_ELU_SLOPE: return elu_slope(a, first ? b : 1.0, our_exp, 0.0);
    case PG_OP_ELU_BEND: return first ? y : elu_slope(a, 1.0, our_exp, 0.0);
    case PG_OP_SIGN:
    case PG_OP_FLOOR:
    case PG_OP_CEIL:
    case PG_OP_TRUNC:
    case PG_OP_RINT:
    case PG_OP_FLOORDIV:
    case PG_OP_STEP:
    case PG_OP_ABS_SLOPE:
    case PG_OP_FMOD_QUOTIENT:
    case PG_OP_TAKES_LARGER:
    case PG_OP_TAKES_SMALLER: return 0.0;
    case PG_OP_POW_SLOPE:
        if (first)
            return b == 0.0 || b == 1.0 ? 0.0 : gated_product(b * (b - 1.0), pow(a, b - 2.0));
        return a == 0.0 ? 0.0 : gated_product(1.0 + b * our_log(a), pow(a, b - 1.0));
    case PG_OP_POW_LOG: return a == 0.0 ? 0.0 : 1.0 / a;
    case PG_OP_SQUARE: return 2.0 * a;
    case PG_OP_RECIP: return -(y * y);
    case PG_OP_ADD:
    case PG_OP_COPY: return 1.0;
    default: miss(op); return NAN;
    }
}

/* Results that stand, whatever they are, as those of Python's + and * do. */
static bool carries(int op) {
    switch (op) {
    case PG_OP_POWN:
    case PG_OP_POW:
    case PG_OP_EXP:
    case PG_OP_LOG:
    case PG_OP_SQRT:
    case PG_OP_SIN:
    case PG_OP_COS:
    case PG_OP_ATAN2:
    case PG_OP_LOG1P:
    case PG_OP_EXPM1:
    case PG_OP_LOG2:
    case PG_OP_LOG10:
    case PG_OP_EXP2:
    case PG_OP_CBRT:
    case PG_OP_TAN:
    case PG_OP_ASIN:
    case PG_OP_ACOS:
    case PG_OP_SINH:
    case PG_OP_COSH:
    case PG_OP_ACOSH:
    case PG_OP_ATANH:
    case PG_OP_HYPOT:
    case PG_OP_HYPOT_SLOPE:
    case PG_OP_POW_SLOPE:
    case PG_OP_POW_LOG:
    case PG_OP_FMOD:
    case PG_OP_FMOD_QUOTIENT:
    case PG_OP_LGAMMA:
    case PG_OP_DIGAMMA:
    case PG_OP_POLYGAMMA:
    case PG_OP_SQUARE:
    case PG_OP_RECIP: return false;
    case PG_OP_ADD:
    case PG_OP_MUL:
    case PG_OP_TANH:
    case PG_OP_RELU:
    case PG_OP_SIGMOID:
    case PG_OP_ABS:
    case PG_OP_ERF:
    case PG_OP_SOFTPLUS:
    case PG_OP_ATAN:
    case PG_OP_ASINH:
    case PG_OP_ERFC:
    case PG_OP_MAXIMUM:
    case PG_OP_MINIMUM:
    case PG_OP_GATE:
    case PG_OP_GATE_EITHER:
    case PG_OP_GATE_HELD:
    case PG_OP_HELD:
    case PG_OP_TANH_SLOPE:
    case PG_OP_SIGMOID_SLOPE:
    case PG_OP_ERF_SLOPE:
    case PG_OP_STEP:
    case PG_OP_SIGN:
    case PG_OP_FLOOR:
    case PG_OP_CEIL:
    case PG_OP_TRUNC:
    case PG_OP_RINT:
    case PG_OP_MOD:
    case PG_OP_FLOORDIV:
    case PG_OP_GELU:
    case PG_OP_SILU:
    case PG_OP_LEAKY_RELU:
    case PG_OP_ELU:
    case PG_OP_LOG_NDTR:
    case PG_OP_LOG_NDTR_SLOPE:
    case PG_OP_LOG_NDTR_EXCESS:
    case PG_OP_LOG_NDTR_BEND:
    case PG_OP_NORMAL_DENSITY:
    case PG_OP_GELU_SLOPE:
    case PG_OP_SILU_SLOPE:
    case PG_OP_LEAKY_RELU_SLOPE:
    case PG_OP_ELU_SLOPE:
    case PG_OP_ELU_BEND:
    case PG_OP_ABS_SLOPE:
    case PG_OP_TAKES_LARGER:
    case PG_OP_TAKES_SMALLER:
    case PG_OP_DETACH:
    case PG_OP_CUSTOM:
    case PG_OP_TAKE:
    case PG_OP_SEARCH:
    case PG_OP_SCATTER:
    case PG_OP_PART:
    case PG_OP_COPY: return true;
    default: miss(op); return true;
    }
}

/* The rule of Python's math: nan of operands that are none, infinity of finite ones. */
static pg_status judge(double a, double b, double result, pg_status if_infinite) {
    if (isnan(result)) return isnan(a) || isnan(b) ? PG_OK : PG_ERR_DOMAIN;
    return isinf(result) && isfinite(a) && isfinite(b) ? if_infinite : PG_OK;
}

static bool is_power(int op) {
    return op == PG_OP_POWN || op == PG_OP_POW || op == PG_OP_POW_SLOPE || op == PG_OP_SQUARE ||
           op == PG_OP_RECIP;
}

/* Is a an end of op's domain, where the value is infinite? */
static bool is_asymptote(int op, double a) {
    switch (op) {
    case PG_OP_LOG:
    case PG_OP_LOG2:
    case PG_OP_LOG10:
    case PG_OP_POW_LOG: return a == 0.0;
    case PG_OP_LOG1P: return a == -1.0;
    case PG_OP_ATANH: return fabs(a) == 1.0;
    case PG_OP_LGAMMA: return a <= 0.0;
    default: return false;
    }
}

/* Is the derivative infinite, or undefined, though the value may be a number? */
static bool is_pole(int op, double a, double b, double y) {
    switch (op) {
    case PG_OP_SQRT: return y == 0.0;
    case PG_OP_CBRT: return y * y == 0.0;
    case PG_OP_ASIN:
    case PG_OP_ACOS: return fabs(a) == 1.0;
    case PG_OP_ACOSH: return a == 1.0;
    case PG_OP_HYPOT:
    case PG_OP_HYPOT_SLOPE: return a == 0.0 && b == 0.0;
    case PG_OP_ATAN2: return a * a + b * b == 0.0;
    case PG_OP_FMOD:
    case PG_OP_FMOD_QUOTIENT: return b == 0.0;
    case PG_OP_LGAMMA: return false;
    default: return is_asymptote(op, a) || (is_power(op) && a == 0.0);
    }
}

static bool is_division(int op) { return op == PG_OP_MOD || op == PG_OP_FLOORDIV; }

pg_status plain_judge_value(int op, double a, double b, double y) {
    if (is_division(op) && b == 0.0) return PG_ERR_ZERO_DIVISION;
    if (op == PG_OP_HYPOT_SLOPE && a == 0.0 && b == 0.0) return PG_ERR_ZERO_DIVISION;
    if (carries(op)) return PG_OK;
    if (is_asymptote(op, a)) return judge(a, b, y, PG_ERR_DOMAIN);
    return judge(a, b, y, is_power(op) && a == 0.0 ? PG_ERR_ZERO_DIVISION : PG_ERR_OVERFLOW);
}

pg_status plain_judge_slope(int op, double a, double b, double y, double slope) {
    if (is_division(op) && b == 0.0 && !isfinite(slope)) return PG_ERR_ZERO_DIVISION;
    if (carries(op)) return PG_OK;
    if (!isfinite(slope) && is_pole(op, a, b, y) && isfinite(b)) return PG_ERR_ZERO_DIVISION;
    return judge(a, b, slope, PG_ERR_OVERFLOW);
}

double plain_product(double slope, double grad) {
    return grad == 0.0 && !isfinite(slope) ? 0.0 : slope * grad;
}

int plain_operands(int op) { return pg_instr_describe(op)->operands; }
