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

/* Doesn't overflow at either end. */
static inline double sigmoid(double a) {
    return a >= 0.0 ? 1.0 / (1.0 + exp(-a)) : exp(a) / (1.0 + exp(a));
}

/* Is y so near 1 or -1 that 1 - |y| has lost digits? Derivatives are then computed from a. */
static inline bool saturated(double y) { return fabs(y) > 0.96875; }

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
