/* kernels.h - an op's value and its derivatives, expanded from the table.
 *
 * Plain inline functions of doubles: with a constant op, a call reduces to that op's arithmetic.
 * The error rule is defined here, once: an op with a fault in its row fails where Python's math
 * would raise, and propagates infs and nans that were in its operands. */
#ifndef PG_KERNELS_H
#define PG_KERNELS_H

#include "base/portability.h"
#include "ops/ops.h"
#include "pygradc.h"

#include <math.h>
#include <stdbool.h>

/* powers.c: is the C library's pow the one whose error ops/powers.h states? */
bool pg_pow_is_known(void);

/* Doesn't overflow at either end. */
static inline double sigmoid(double a) {
    return a >= 0.0 ? 1.0 / (1.0 + exp(-a)) : exp(a) / (1.0 + exp(a));
}

/* Is y so near 1 or -1 that 1 - |y| has lost digits? Derivatives are then computed from a. */
static inline bool saturated(double y) { return fabs(y) > 0.96875; }

/* For how many lanes in one piece, or two vectors if they are longer, is the op's value fastest,
 * being a long formula of fast mode's?
 */
static inline int alternates(int op) {
    (void)op;
    return 0;
}

/* Is a too large for fast mode's function? Then the op's value is libm's there, too. */
static inline bool out_of_reach(int op, double a) {
    (void)op, (void)a;
    return false;
}

/* sigmoid'(a) to full precision; tanh'(a) is 4 sigmoid'(2a). */
static inline double sigmoid_slope(double a) {
    const double e = exp(-fabs(a));
    return e / ((1.0 + e) * (1.0 + e));
}

/* a^2 - a * a, the rounding error of the product: exp(-a^2) is exp(-(a * a)) times exp(-error). a
 * is split into halves, and the upper one's square is exact (Veltkamp, Dekker). 0 where exp(-(a *
 * a)) is 0. */
static inline double square_error(double a) {
    const double shifted = 134217729.0 * a, upper = shifted - (shifted - a);
    const double error = (upper * upper - a * a) + (a - upper) * (a + upper);
    return fabs(a) < 28.0 ? error : 0.0;
}

/* sqrt(a^2 + b^2). Where a square would overflow, or lose digits among the subnormals, both
 * operands are scaled by a power of two, which is exact. As C's hypot: an infinite operand
 * outweighs a nan. */
static inline double scaled_hypot(double a, double b) {
    const double larger = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    const double scale = larger > 0x1p500 ? 0x1p-600 : larger < 0x1p-500 ? 0x1p600 : 1.0;
    const double u = a * scale, v = b * scale;
    return isinf(a) || isinf(b) ? INFINITY : sqrt(u * u + v * v) / scale;
}

/* a / hypot(a, b): 1 or -1 where only a is infinite. */
static inline double hypot_slope(double a, double b) {
    const double ratio = a / scaled_hypot(a, b);
    return isinf(a) && isfinite(b) ? copysign(1.0, a) : ratio;
}

/* a / sum, of squares of a and another number; 0 where the sum is infinite, even if a is. */
static inline double over_squares(double a, double sum) {
    return isinf(sum) ? copysign(0.0, a) : a / sum;
}

/* a * b; 0 where b is 0 and a is infinite or nan. The op GATE, as a function. */
static inline double gated(double a, double b) {
    const double product = a * b;
    return isnan(product) && b == 0.0 ? 0.0 : product;
}

/* exp(-a^2 / 2) / sqrt(2 pi), corrected for the rounding error of the square. */
static inline double normal_density(double a) {
    const double half = 0.5 * a, bell = exp(-2.0 * (half * half));
    return 0.3989422804014327 * (bell * (1.0 - 2.0 * square_error(half)));
}

/* The derivative of log_ndtr: density over distribution. Below -5 by Laplace's continued fraction,
 * -a + 1/(-a + 2/(-a + ...)), whose last digit 60 terms reach there.
 * Source: Abramowitz and Stegun 26.2.14. */
static inline double log_ndtr_slope(double a) {
    if (a > -5.0) return normal_density(a) / (0.5 * erfc(-0.7071067811865476 * a));
    double fraction = -a;
    for (int k = 60; k > 0; k--) fraction = -a + k / fraction;
    return fraction;
}

/* a + log_ndtr_slope(a), which cancels in the tail: there it is the fraction's second term. */
static inline double log_ndtr_excess(double a) {
    if (a > -5.0) return a + log_ndtr_slope(a);
    double fraction = -a;
    for (int k = 60; k > 1; k--) fraction = -a + k / fraction;
    return 1.0 / fraction;
}

/* The second derivative of log_ndtr: its limits are -1 and 0. */
static inline double log_ndtr_bend(double a) {
    return a == -INFINITY ? -1.0 : -gated(log_ndtr_excess(a), log_ndtr_slope(a));
}

/* The logarithm of the normal distribution function. */
static inline double log_ndtr(double a) {
    if (a > -1.0) return log1p(-0.5 * erfc(0.7071067811865476 * a));
    if (a > -5.0) return log(0.5 * erfc(-0.7071067811865476 * a));
    return -0.5 * (a * a) - 0.9189385332046727 - log(log_ndtr_slope(a));
}

/* lgamma, without its global. */
static inline double log_gamma(double a) { return pg_lgamma(a); }

/* c[0] x^(n-1) + ... + c[n-1] */
static inline double horner(const double *c, int count, double x) {
    double total = 0.0;
    for (int i = 0; i < count; i++) total = total * x + c[i];
    return total;
}

/* digamma of a > 0: between 1 and 2 relative to the root there, elsewhere by recurrence, or from 10
 * on by the asymptotic series. Source: Boost.Math, digamma.hpp (Maddock; 53 bits). */
static inline double digamma_above_0(double a) {
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
        return log(a) - 0.5 / a - z * horner(far, 7, z);
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
    const double ratio = horner(near_root, 6, a - 1.0) / horner(below, 7, a - 1.0);
    return sum + (from_root * 0.99558162689208984 + from_root * ratio);
}

/* The derivative of lgamma; nan at its poles, 0, -1, -2 ... and at -inf. */
static inline double digamma(double a) {
    if (isnan(a) || a == INFINITY) return a;
    if (a > 0.0) return digamma_above_0(a);
    if (a == floor(a)) return NAN;
    const double turn = 3.141592653589793 * (a - rint(a));
    return digamma_above_0(1.0 - a) - 3.141592653589793 / tan(turn);
}

/* sum, and the sum of (x + k)^-s over k = 0, 1, 2 ... by Euler and Maclaurin, with Bernoulli's
 * numbers B(2j) / (2j)!; in units of u, given x^(1-s) / u and x^-s / u.
 * Source: Abramowitz and Stegun 23.1.30. */
static inline double add_zeta(double sum, double s, double x, double first, double power) {
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

/* The sum of (a + k)^-s over k = 0, 1, 2 ...: some terms, and the rest. */
static inline double hurwitz_zeta(double s, double a) {
    double sum = 0.0, k = 0.0;
    for (; a + k < 9.0 + s; k += 1.0) sum += pow(a + k, -s);
    const double x = a + k;
    return add_zeta(sum, s, x, pow(x, 1.0 - s), pow(x, -s));
}

/* The n-th derivative of digamma; nan at poles, for an order that is no whole number from 0 to 100,
 * and at or below -1000, from where there would be too many terms. */
static inline double polygamma(double a, double n) {
    if (n == 0.0) return digamma(a);
    if (isnan(a) || !(0.0 < n && n <= 100.0 && n == floor(n) && a > -1000.0)) return NAN;
    if (a <= 0.0 && a == floor(a)) return NAN;
    if (isinf(a)) return 0.0;
    double factor = fmod(n, 2.0) == 1.0 ? 1.0 : -1.0;
    for (double k = 2.0; k <= n; k += 1.0) factor *= k;
    if (!(a > 500.0 && pow(a, -n) < 1e-290)) return factor * hurwitz_zeta(n + 1.0, a);
    const double half = pow(a, -0.5 * n); /* the sum would underflow: it is in units of a^-n */
    return factor * half * add_zeta(0.0, n + 1.0, a, 1.0, 1.0 / a) * half;
}

/* a % b of Python's floats: its sign is b's, that of a 0 too. nan where b is 0. */
static inline double python_mod(double a, double b) {
    const double rest = fmod(a, b);
    if (rest == 0.0) return copysign(0.0, b);
    return (b < 0.0) != (rest < 0.0) ? rest + b : rest;
}

/* a // b of Python's floats: (a - rest) / b is within rounding of a whole number. nan where b is 0.
 * Source: CPython, Objects/floatobject.c, _float_div_mod. */
static inline double python_floordiv(double a, double b) {
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0.0 && (b < 0.0) != (rest < 0.0)) quotient -= 1.0;
    if (quotient == 0.0) return copysign(0.0, a / b);
    const double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1.0 : whole;
}

/* y = op(a, b) */
static inline double pg_value_of(int op, double a, double b) {
    switch (op) {
#define PG_UNARY(NAME, python, symbol, y_, ...)                                                    \
    case PG_OP_##NAME: return y_;
#define PG_NUMBER PG_UNARY
#define PG_BINARY PG_UNARY
#include "ops/ops.def"
    default: return NAN;
    }
}

/* The status of a result of op, or of a derivative of it: PG_OK, or an error. */
static inline pg_status pg_judge(double result, pg_status if_infinite, double a, double b) {
    if (isfinite(result) || if_infinite == PG_OK) return PG_OK;
    if (b == 0.0 && if_infinite == PG_ERR_ZERO_DIVISION) return PG_ERR_ZERO_DIVISION;
    if (isnan(result)) return isnan(a) || isnan(b) ? PG_OK : PG_ERR_DOMAIN;
    return isfinite(a) && isfinite(b) ? if_infinite : PG_OK;
}

static inline pg_status pg_fault_of(int op, double y, double a, double b) {
    switch (op) {
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, ...)                                        \
    case PG_OP_##NAME: return pg_judge(y, (fault), a, b);
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, ...)                                  \
    case PG_OP_##NAME: return pg_judge(y, (fault), a, b);
#include "ops/ops.def"
    default: return PG_OK;
    }
}

/* Can op, or a derivative of it, fail? */
static inline bool pg_can_fail(int op) {
    const double a = 1.0, b = 0.0;
    (void)a, (void)b;
    switch (op) {
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, ...)                                        \
    case PG_OP_##NAME: return (fault) != PG_OK;
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, ...)                                  \
    case PG_OP_##NAME: return (fault) != PG_OK;
#include "ops/ops.def"
    default: return true;
    }
}

/* Can an instruction's result be an error (derivative 0), or can its derivatives (1, 2)? */
static inline bool pg_may_fail(int op, int derivative) {
    switch (op) {
#define PG_LANEWISE(NAME, name, y_, fault, da_, da_fault, ...)                                     \
    case PG_OP_##NAME: return (derivative == 0 ? (fault) : (da_fault)) != PG_OK;
#include "ops/instructions.def"
    default: return pg_can_fail(op);
    }
}

/* slope * g; 0 if that is nan and g is 0: a node that no gradient reaches propagates none, such as
 * the branch that a select didn't take. */
static inline double pg_product(double slope, double g) {
    const double product = slope * g;
    return PG_UNLIKELY(isnan(product)) && g == 0.0 ? 0.0 : product;
}

/* As pg_judge for a derivative, which has poles of its own: 1/a at 0, those of sqrt and pow, and
 * atan2's 0/0 at the origin. */
static inline pg_status pg_pole_of(double derivative, pg_status fault, double pole, double a,
                                   double b) {
    if (isfinite(derivative) || fault == PG_OK) return PG_OK;
    if (pole == 0.0 && isfinite(b)) return PG_ERR_ZERO_DIVISION;
    return pg_judge(derivative, PG_ERR_OVERFLOW, a, b);
}

static inline bool pg_compares(int compare, double left, double right) {
    switch (compare) {
    case PG_LESS: return left < right;
    case PG_LESS_EQUAL: return left <= right;
    case PG_GREATER: return left > right;
    case PG_GREATER_EQUAL: return left >= right;
    case PG_NOT_LESS: return !(left < right);
    case PG_NOT_LESS_EQUAL: return !(left <= right);
    case PG_NOT_GREATER: return !(left > right);
    case PG_EQUAL: return left == right;
    case PG_NOT_EQUAL: return left != right;
    default: return !(left >= right);
    }
}

/* The index of an entry in a table of count, at most 2**31 - 1; count where it is none: nan,
 * negative, a fraction. */
static inline uint32_t pg_index_of(double index, uint32_t count) {
    const bool inside = index >= 0.0 && index < (double)count;
    return inside && index == (double)(int32_t)index ? (uint32_t)(int32_t)index : count;
}

/* Is x inserted after this knot? nan is, after all. */
static inline bool pg_is_after(double x, double knot, bool right) {
    return right ? !(x < knot) : !(x <= knot);
}

/* The status of this derivative of op: PG_OK, or an error. */
static inline pg_status pg_fault_of_derivative(int op, double derivative, double a, double b) {
    const double y = pg_value_of(op, a, b);
    (void)y;
    switch (op) {
#define PG_UNARY(NAME, python, symbol, y_, da_, fault, pole, ...)                                  \
    case PG_OP_##NAME: return pg_pole_of(derivative, (fault), (pole), a, b);
#define PG_NUMBER PG_UNARY
#define PG_BINARY(NAME, python, symbol, y_, da_, db_, fault, pole, ...)                            \
    case PG_OP_##NAME: return pg_pole_of(derivative, (fault), (pole), a, b);
#include "ops/ops.def"
    default: return PG_OK;
    }
}

#endif
