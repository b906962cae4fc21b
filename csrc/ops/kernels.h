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

/* sqrt(a^2 + b^2). Where a square would overflow, or lose digits among the subnormals, both
 * operands are scaled by a power of two, which is exact. As C's hypot: an infinite operand
 * outweighs a nan. */
static inline double scaled_hypot(double a, double b) {
    const double larger = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    const double scale = larger > 0x1p500 ? 0x1p-600 : larger < 0x1p-500 ? 0x1p600 : 1.0;
    const double u = a * scale, v = b * scale;
    return isinf(a) || isinf(b) ? INFINITY : sqrt(u * u + v * v) / scale;
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
    const double a = 1.0;
    (void)a;
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
