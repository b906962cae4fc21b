"""The whole engine in pure Python: the idea without the C, and the tests' oracle.

Graph, order of the sweep, errors, data and gradients are those of the C core, bit for bit. The file
imports nothing of pygradc and reads from top to bottom: ops, Value, the backward pass, networks,
optimizers. The op table is deliberately written a second time, so that the oracle can't inherit a
mistake of csrc/ops/ops.def; a test requires that both have the same ops.
"""

from __future__ import annotations

import ctypes
import math
import numbers
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

# ---- Ops -----------------------------------------------------------------------------------------


class Op(NamedTuple):
    """y = value(a, b), and dy/da and dy/db as functions of (a, b, y)."""

    symbol: str
    value: Callable[[float, float], Any]
    derivatives: tuple[Callable[[float, float, float], float], ...]
    carries: bool = False  # inf and nan are results, not errors, as with Python's + and *


def _sigmoid(a: float) -> float:
    return 1.0 / (1.0 + math.exp(-a)) if a >= 0.0 else math.exp(a) / (1.0 + math.exp(a))


def _saturated(y: float) -> bool:
    """Is |y| so close to 1 that 1 - |y| has lost digits? The derivative is then computed from a."""
    return abs(y) > 0.96875


def _sigmoid_slope(a: float) -> float:
    e = math.exp(-abs(a))
    return e / ((1.0 + e) * (1.0 + e))


def _bell(a: float) -> float:
    """exp(-a^2), corrected for the rounding error of a * a (Veltkamp and Dekker)."""
    if not abs(a) < 28.0:
        return math.exp(-(a * a))
    upper = 134217729.0 * a - (134217729.0 * a - a)
    error = (upper * upper - a * a) + (a - upper) * (a + upper)
    return math.exp(-(a * a)) * (1.0 - error)


def _power(a: float, b: float) -> float:
    if a < 0.0 and math.isfinite(a) and math.isfinite(b) and b != math.floor(b):
        raise ValueError("outside the real domain")  # where Python's ** returns a complex number
    return float(a**b)


def _log_or_nan(a: float) -> float:
    return math.log(a) if a > 0.0 else math.nan


def _pown_slope(a: float, b: float) -> float:
    return 0.0 if b == 0.0 else b * _power(a, b - 1.0)


def _power_slope(a: float, b: float) -> float:
    return 0.0 if b == 0.0 else _gated(b, _power(a, b - 1.0))


def _exponent_slope(a: float, y: float) -> float:
    """The derivative of y = a**b by b."""
    return 0.0 if a == 0.0 or (a == math.inf and y == 0.0) else y * _log_or_nan(a)


def _of_libm(name: str) -> Callable[[float], float]:
    """A function of C's library: math's differs in the last bit, or is missing before 3.11."""
    function = getattr(ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None), name)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    return function  # type: ignore[no-any-return]


_cbrt, _libm_exp2, _libm_lgamma = map(_of_libm, ("cbrt", "exp2", "lgamma"))


def _exp2(a: float) -> float:
    y = _libm_exp2(a)
    if math.isinf(y) and math.isfinite(a):
        raise OverflowError("2 ** a")
    return y


def _hypot(a: float, b: float) -> float:
    """The operands are scaled by a power of two, so that no square overflows. math.hypot rounds
    better than libm and the core, and so differs in the last bit.
    """
    if math.isinf(a) or math.isinf(b):
        return math.inf
    larger = abs(a) if abs(a) > abs(b) else abs(b)
    scale = 2.0**-600 if larger > 2.0**500 else 2.0**600 if larger < 2.0**-500 else 1.0
    u, v = a * scale, b * scale
    return math.sqrt(u * u + v * v) / scale


def _hypot_slope(a: float, b: float) -> float:
    """a / hypot(a, b): 1 or -1 where only a is infinite."""
    ratio = a / _hypot(a, b)
    return math.copysign(1.0, a) if math.isinf(a) and math.isfinite(b) else ratio


def _over_squares(a: float, sum: float) -> float:
    """a / sum, of squares of a and another number; 0 where the sum is infinite."""
    return math.copysign(0.0, a) if math.isinf(sum) else a / sum


def _first_is_larger(a: float, b: float) -> bool:
    return a >= b or math.isnan(a)


def _first_is_smaller(a: float, b: float) -> bool:
    return a <= b or math.isnan(a)


def _whole(function: Callable[[float], int], a: float) -> float:
    """floor(a) and its like as floats: with a's sign, and inf and nan as they are."""
    return math.copysign(float(function(a)), a) if math.isfinite(a) else a


def _fmod_quotient(a: float, b: float, y: float) -> float:
    quotient = (a - y) / b
    return _whole(round, quotient)


def _gated(a: float, b: float) -> float:
    return 0.0 if math.isnan(a * b) and b == 0.0 else a * b


def _normal_density(a: float) -> float:
    """exp(-a^2 / 2) / sqrt(2 pi), corrected as _bell is."""
    half = 0.5 * a
    upper = 134217729.0 * half - (134217729.0 * half - half)
    error = (upper * upper - half * half) + (half - upper) * (half + upper)
    correction = 1.0 - 2.0 * (error if abs(half) < 28.0 else 0.0)
    return 0.3989422804014327 * (math.exp(-2.0 * (half * half)) * correction)


def _twice_normal(a: float) -> float:
    """Twice the normal distribution function."""
    return math.erfc(-0.7071067811865476 * a)


def _gelu_slope(a: float) -> float:
    return 0.5 * _twice_normal(a) + _gated(a, _normal_density(a))


def _silu_slope(a: float) -> float:
    return _gated(1.0 + _gated(a, _sigmoid(-a)), _sigmoid(a))


def _log_ndtr_slope(a: float) -> float:
    """density(a) / distribution(a); below -5 by Laplace's continued fraction."""
    if a > -5.0:
        return _normal_density(a) / (0.5 * _twice_normal(a))
    fraction = -a
    for k in range(60, 0, -1):
        fraction = -a + k / fraction
    return fraction


def _log_ndtr(a: float) -> float:
    if a > -1.0:
        return math.log1p(-0.5 * math.erfc(0.7071067811865476 * a))
    if a > -5.0:
        return math.log(0.5 * _twice_normal(a))
    return -0.5 * (a * a) - 0.9189385332046727 - math.log(_log_ndtr_slope(a))


def _log_gamma(a: float) -> float:
    if a <= 0.0 and math.isfinite(a) and a == math.floor(a):
        raise ValueError("a pole")
    return _libm_lgamma(a)


def _horner(coefficients: Sequence[float], x: float) -> float:
    total = 0.0
    for c in coefficients:
        total = total * x + c
    return total


# fmt: off
_NEAR_ROOT = (-0.0020713321167745952, -0.045251321448739056, -0.28919126444774784,
              -0.65031853770896507, -0.32555031186804491, 0.25479851061131551)
_NEAR_ROOT_BELOW = (-0.55789841321675513e-6, 0.0021284987017821144, 0.054151797245674225,
                    0.43593529692665969, 1.4606242909763515, 2.0767117023730469, 1.0)
_DIGAMMA_FAR = (1.0 / 12.0, -691.0 / 32760.0, 1.0 / 132.0, -1.0 / 240.0, 1.0 / 252.0,
                -1.0 / 120.0, 1.0 / 12.0)
# Bernoulli's numbers B(2j) / (2j)!
_BERNOULLI = (1.0 / 12.0, -1.0 / 720.0, 1.0 / 30240.0, -1.0 / 1209600.0, 1.0 / 47900160.0,
              -691.0 / 1307674368000.0, 1.0 / 74724249600.0, -3617.0 / 10670622842880000.0)
# fmt: on


def _digamma_above_0(a: float) -> float:
    """Boost's: between 1 and 2 relative to the root, else by recurrence or a series."""
    if a >= 10.0:
        z = 1.0 / (a * a)
        return math.log(a) - 0.5 / a - z * _horner(_DIGAMMA_FAR, z)
    sum = 0.0
    if a < 1.0:
        sum, a = -1.0 / a, a + 1.0
    while a > 2.0:
        a -= 1.0
        sum += 1.0 / a
    from_root = a - 1569415565.0 / 1073741824.0
    from_root -= 381566830.0 / 1073741824.0 / 1073741824.0
    from_root -= 0.9016312093258695918615325266959189453125e-19
    ratio = _horner(_NEAR_ROOT, a - 1.0) / _horner(_NEAR_ROOT_BELOW, a - 1.0)
    return sum + (from_root * 0.99558162689208984 + from_root * ratio)


def _digamma(a: float) -> float:
    if a > 0.0:
        return _digamma_above_0(a) if math.isfinite(a) else a
    if math.isnan(a):
        return a
    if math.isinf(a) or a == math.floor(a):
        raise ValueError("a pole")
    turn = 3.141592653589793 * (a - _whole(round, a))
    return _digamma_above_0(1.0 - a) - 3.141592653589793 / math.tan(turn)


def _hurwitz_zeta(s: float, a: float) -> float:
    """The sum of (a + k) ** -s, by Euler and Maclaurin."""
    sum, k = 0.0, 0.0
    while a + k < 9.0 + s:
        sum += float((a + k) ** -s)
        k += 1.0
    x = a + k
    return _add_zeta(sum, s, x, float(x ** (1.0 - s)), float(x**-s))


def _add_zeta(sum: float, s: float, x: float, first: float, power: float) -> float:
    """sum, and that of (x + k) ** -s, in the units of first, x ** (1 - s), and power, x ** -s."""
    sum += first / (s - 1.0) + 0.5 * power
    rising = s / x * power
    for j, bernoulli in enumerate(_BERNOULLI):
        sum += bernoulli * rising
        rising *= (s + (2.0 * j + 1.0)) / x * ((s + (2.0 * j + 2.0)) / x)
    return sum


def _polygamma(a: float, n: float) -> float:
    if n == 0.0:
        return _digamma(a)
    if math.isnan(a) or math.isnan(n):
        return math.nan
    if not (0.0 < n <= 100.0 and n == math.floor(n) and a > -1000.0):
        raise ValueError("outside the domain")
    if a <= 0.0 and a == math.floor(a):
        raise ValueError("a pole")
    if math.isinf(a):
        return 0.0
    factor = 1.0 if n % 2.0 == 1.0 else -1.0
    for k in range(2, int(n) + 1):
        factor *= k
    if not (a > 500.0 and a**-n < 1e-290):
        return factor * _hurwitz_zeta(n + 1.0, a)
    half = float(a ** (-0.5 * n))  # the sum would underflow: it is taken in units of a ** -n
    return factor * half * _add_zeta(0.0, n + 1.0, a, 1.0, 1.0 / a) * half


# fmt: off
OPS = {
    "add": Op("+", lambda a, b: a + b, (lambda a, b, y: 1.0, lambda a, b, y: 1.0), True),
    "mul": Op("*", lambda a, b: a * b, (lambda a, b, y: b, lambda a, b, y: a), True),
    "pown": Op("**", lambda a, b: _power(a, b), (lambda a, b, y: _pown_slope(a, b),)),
    "pow": Op("**", lambda a, b: _power(a, b),
              (lambda a, b, y: _power_slope(a, b), lambda a, b, y: _exponent_slope(a, y))),
    "exp": Op("exp", lambda a, b: math.exp(a), (lambda a, b, y: y,)),
    "log": Op("log", lambda a, b: math.log(a), (lambda a, b, y: 1.0 / a,)),
    "tanh": Op("tanh", lambda a, b: math.tanh(a),
               (lambda a, b, y: 4.0 * _sigmoid_slope(2.0 * a) if _saturated(y) else 1.0 - y * y,),
               True),
    "relu": Op("ReLU", lambda a, b: 0.0 if a < 0.0 else a,
               (lambda a, b, y: 1.0 if y > 0.0 else 0.0,), True),
    "sigmoid": Op("sigmoid", lambda a, b: _sigmoid(a),
                  (lambda a, b, y: _sigmoid_slope(a) if _saturated(y) else y * (1.0 - y),), True),
    "sqrt": Op("sqrt", lambda a, b: math.sqrt(a), (lambda a, b, y: 0.5 / y,)),
    "abs": Op("abs", lambda a, b: abs(a),
              (lambda a, b, y: 1.0 if a > 0.0 else -1.0 if a < 0.0 else 0.0,), True),
    "sin": Op("sin", lambda a, b: math.sin(a), (lambda a, b, y: math.cos(a),)),
    "cos": Op("cos", lambda a, b: math.cos(a), (lambda a, b, y: -math.sin(a),)),
    "erf": Op("erf", lambda a, b: math.erf(a),
              (lambda a, b, y: 1.1283791670955126 * _bell(a),), True),
    "softplus": Op("softplus", lambda a, b: math.log1p(math.exp(-abs(a))) + (a if a > 0.0 else 0.0),
                   (lambda a, b, y: _sigmoid(a),), True),
    "atan2": Op("atan2", lambda a, b: math.atan2(a, b),
                (lambda a, b, y: _over_squares(b, a * a + b * b),
                 lambda a, b, y: -_over_squares(a, a * a + b * b))),
    "log1p": Op("log1p", lambda a, b: math.log1p(a), (lambda a, b, y: 1.0 / (1.0 + a),)),
    "expm1": Op("expm1", lambda a, b: math.expm1(a), (lambda a, b, y: math.exp(a),)),
    "log2": Op("log2", lambda a, b: math.log2(a), (lambda a, b, y: 1.4426950408889634 / a,)),
    "log10": Op("log10", lambda a, b: math.log10(a), (lambda a, b, y: 0.4342944819032518 / a,)),
    "exp2": Op("exp2", lambda a, b: _exp2(a), (lambda a, b, y: 0.6931471805599453 * y,)),
    "cbrt": Op("cbrt", lambda a, b: _cbrt(a), (lambda a, b, y: 1.0 / (3.0 * (y * y)),)),
    "tan": Op("tan", lambda a, b: math.tan(a), (lambda a, b, y: 1.0 + y * y,)),
    "asin": Op("asin", lambda a, b: math.asin(a),
               (lambda a, b, y: 1.0 / math.sqrt((1.0 - a) * (1.0 + a)),)),
    "acos": Op("acos", lambda a, b: math.acos(a),
               (lambda a, b, y: -1.0 / math.sqrt((1.0 - a) * (1.0 + a)),)),
    "atan": Op("atan", lambda a, b: math.atan(a), (lambda a, b, y: 1.0 / (1.0 + a * a),), True),
    "sinh": Op("sinh", lambda a, b: math.sinh(a), (lambda a, b, y: math.cosh(a),)),
    "cosh": Op("cosh", lambda a, b: math.cosh(a), (lambda a, b, y: math.sinh(a),)),
    "asinh": Op("asinh", lambda a, b: math.asinh(a), (lambda a, b, y: 1.0 / _hypot(a, 1.0),), True),
    "acosh": Op("acosh", lambda a, b: math.acosh(a),
                (lambda a, b, y: 1.0 / (math.sqrt(a - 1.0) * math.sqrt(a + 1.0)),)),
    "atanh": Op("atanh", lambda a, b: math.atanh(a),
                (lambda a, b, y: 1.0 / ((1.0 - a) * (1.0 + a)),)),
    "erfc": Op("erfc", lambda a, b: math.erfc(a),
               (lambda a, b, y: -1.1283791670955126 * _bell(a),), True),
    "hypot": Op("hypot", lambda a, b: _hypot(a, b),
                (lambda a, b, y: _hypot_slope(a, b), lambda a, b, y: _hypot_slope(b, a))),
    "maximum": Op("maximum", lambda a, b: a if _first_is_larger(a, b) else b,
                  (lambda a, b, y: 1.0 if _first_is_larger(a, b) else 0.0,
                   lambda a, b, y: 0.0 if _first_is_larger(a, b) else 1.0), True),
    "minimum": Op("minimum", lambda a, b: a if _first_is_smaller(a, b) else b,
                  (lambda a, b, y: 1.0 if _first_is_smaller(a, b) else 0.0,
                   lambda a, b, y: 0.0 if _first_is_smaller(a, b) else 1.0), True),
    "sign": Op("sign", lambda a, b: 1.0 if a > 0.0 else -1.0 if a < 0.0 else abs(a),
               (lambda a, b, y: 0.0,), True),
    "floor": Op("floor", lambda a, b: _whole(math.floor, a), (lambda a, b, y: 0.0,), True),
    "ceil": Op("ceil", lambda a, b: _whole(math.ceil, a), (lambda a, b, y: 0.0,), True),
    "trunc": Op("trunc", lambda a, b: _whole(math.trunc, a), (lambda a, b, y: 0.0,), True),
    "rint": Op("rint", lambda a, b: _whole(round, a), (lambda a, b, y: 0.0,), True),
    "fmod": Op("fmod", lambda a, b: math.fmod(a, b),
               (lambda a, b, y: 1.0, lambda a, b, y: -_fmod_quotient(a, b, y))),
    "mod": Op("%", lambda a, b: a % b, (lambda a, b, y: 1.0, lambda a, b, y: -(a // b)), True),
    "floordiv": Op("//", lambda a, b: a // b,
                   (lambda a, b, y: 0.0, lambda a, b, y: 0.0), True),
    "gelu": Op("gelu", lambda a, b: _gated(0.5 * a, _twice_normal(a)),
               (lambda a, b, y: _gelu_slope(a),), True),
    "silu": Op("silu", lambda a, b: _gated(a, _sigmoid(a)),
               (lambda a, b, y: _silu_slope(a),), True),
    "leaky_relu": Op("leaky_relu", lambda a, b: a if a > 0.0 else b * a,
                     (lambda a, b, y: 1.0 if a > 0.0 else b,), True),
    "elu": Op("elu", lambda a, b: a if a > 0.0 else b * math.expm1(a),
              (lambda a, b, y: 1.0 if a > 0.0 else b * math.exp(a),), True),
    "log_ndtr": Op("log_ndtr", lambda a, b: _log_ndtr(a),
                   (lambda a, b, y: _log_ndtr_slope(a),), True),
    "lgamma": Op("lgamma", lambda a, b: _log_gamma(a), (lambda a, b, y: _digamma(a),)),
    "digamma": Op("digamma", lambda a, b: _digamma(a), (lambda a, b, y: _polygamma(a, 1.0),)),
    "polygamma": Op("polygamma", lambda a, b: _polygamma(a, b),
                    (lambda a, b, y: _polygamma(a, b + 1.0),)),
}
NUMBERS: dict[str, float | None] = {  # ops with a number; its default
    **{"leaky_relu": 0.01, "elu": 1.0, "polygamma": None}
}
# fmt: on


def _judge(op: Op, function: Callable[..., Any], a: float, b: float, *y: float) -> float:
    """function(a, b, *y); raises what Python's floats would, naming the op and its operands."""
    call = f"{op.symbol} of {a!r}" + (f" and {b!r}" if len(op.derivatives) == 2 else "")
    try:
        result = function(a, b, *y)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise type(error)(f"{call}: {error}") from None
    if not op.carries and math.isnan(result) and not (math.isnan(a) or math.isnan(b)):
        raise ValueError(f"{call}: outside the real domain")
    if not op.carries and math.isinf(result) and math.isfinite(a) and math.isfinite(b):
        raise OverflowError(f"{call}: result too large")
    return float(result)


# ---- Value ---------------------------------------------------------------------------------------


def _number(x: object) -> float | int | None:
    """x as an int or float; None if it isn't a real number."""
    if isinstance(x, float):
        return x
    if isinstance(x, numbers.Integral):
        return int(x)
    if isinstance(x, numbers.Real) or type(x).__name__ in ("bool_", "bool"):
        return float(x)  # type: ignore[arg-type]
    return None


def _equal_number(x: object) -> float | int | None:
    """As _number, for ==; nan, which equals nothing, if the conversion changes the value."""
    try:
        number = _number(x)
    except OverflowError:
        return math.nan
    return number if number is None or number == x else math.nan


def _require_number(x: object, what: str) -> float:
    number = _number(x)
    if number is None:
        raise TypeError(f"{what} must be a real number, not {type(x).__name__}")
    return float(number)


def _digits(exponent: float | int) -> str:
    """The exponent in a node's _op: "2" for 2, "2.0" for 2.0."""
    text = repr(float(exponent))
    return text[:-2] if isinstance(exponent, int) and text.endswith(".0") else text


class Value:
    """A scalar that records the op and the operands that produced it; see pygradc.Value."""

    def __init__(
        self,
        data: Any,
        _children: Iterable[Value] = (),
        _op: Any = "",
        label: str = "",
        *,
        children: Iterable[Value] | None = None,
        local_grads: Iterable[float] | None = None,
    ) -> None:
        self.data = data
        self.grad = 0.0
        if isinstance(_children, str):
            _children, label = (), label or _children
        if local_grads is None and not isinstance(_op, str):
            local_grads, _op = _op, ""
        self.label = label
        self._op = _op
        self._children = tuple(_children if children is None else children)
        self._rule: Op | None = None
        self._exponent = 0.0
        self._closure: Callable[[], Any] | None = None
        slopes = () if local_grads is None else tuple(local_grads)
        if local_grads is not None and len(slopes) != len(self._children):
            raise ValueError(f"{len(self._children)} children need as many local gradients")
        for i, child in enumerate(self._children):
            if not isinstance(child, Value):
                raise TypeError(f"child {i} must be a Value, not {type(child).__name__}")
        self._given = tuple(_require_number(x, "a local gradient") for x in slopes)
        self._written = False  # a number in an expression, not yet used by an op
        self._detached: bool = bool(slopes) and all(child._detached for child in self._children)

    @property
    def data(self) -> float:
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._data = _require_number(data, "data")

    @property
    def grad(self) -> float:
        return self._grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        self._grad = _require_number(grad, "grad")

    @property
    def _prev(self) -> set[Value]:
        return set(self._children)

    def _make(self, name: str, other: Value | None = None, exponent: Any = 0.0) -> Value:
        """The node name(self, other), or name(self, exponent) for a plain number."""
        rule = OPS[name]
        b = other._data if other is not None else float(exponent)
        out = Value(_judge(rule, rule.value, self._data, b))
        out._children = (self,) if other is None else (self, other)
        out._op = rule.symbol if name != "pown" else f"**{_digits(exponent)}"
        out._rule, out._exponent = rule, float(exponent)
        out._detached = all(child._detached or child._written for child in out._children)
        for child in out._children:
            child._written = False
        return out

    def _operand(self, other: Any) -> Value | None:
        """other as a Value: a number becomes a leaf."""
        if isinstance(other, Value):
            return other
        number = _number(other)
        if number is None:
            return None
        leaf = Value(number)
        leaf._written = True
        return leaf

    # Sub, div and neg are composed as in micrograd; a number on the left becomes the right operand.
    # All use the operators, which may be patched, or overridden in a subclass.

    def __add__(self, other: Any) -> Value:
        right = self._operand(other)
        return NotImplemented if right is None else self._make("add", right)

    def __mul__(self, other: Any) -> Value:
        right = self._operand(other)
        return NotImplemented if right is None else self._make("mul", right)

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __neg__(self) -> Value:
        return self * -1

    def __pos__(self) -> Value:
        return self

    def __sub__(self, other: Any) -> Value:
        if isinstance(other, Value):
            return self + -other
        number = _number(other)
        return NotImplemented if number is None else self + -float(number)

    def __rsub__(self, other: Any) -> Value:
        left: Value | float | None = other if isinstance(other, Value) else _number(other)
        return NotImplemented if left is None else left + -self

    def __truediv__(self, other: Any) -> Value:
        if isinstance(other, Value):
            return self * other**-1
        number = _number(other)
        if number is None:
            return NotImplemented
        return self * _judge(OPS["pown"], OPS["pown"].value, float(number), -1.0)

    def __rtruediv__(self, other: Any) -> Value:
        left: Value | float | None = other if isinstance(other, Value) else _number(other)
        return NotImplemented if left is None else left * self**-1

    def __pow__(self, other: Any) -> Value:
        if isinstance(other, Value):
            return self._make("pow", other)
        number = _number(other)
        return NotImplemented if number is None else self._make("pown", exponent=number)

    def __rpow__(self, other: Any) -> Value:
        left = self._operand(other)
        return NotImplemented if left is None else left._make("pow", self)

    def __mod__(self, other: Any) -> Value:
        right = self._operand(other)
        return NotImplemented if right is None else self._make("mod", right)

    def __rmod__(self, other: Any) -> Value:
        left = self._operand(other)
        return NotImplemented if left is None else left._make("mod", self)

    def __floordiv__(self, other: Any) -> Value:
        right = self._operand(other)
        return NotImplemented if right is None else self._make("floordiv", right)

    def __rfloordiv__(self, other: Any) -> Value:
        left = self._operand(other)
        return NotImplemented if left is None else left._make("floordiv", self)

    def __divmod__(self, other: Any) -> tuple[Value, Value]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Value, Value]:
        return other // self, other % self

    def __abs__(self) -> Value:
        return self._make("abs")

    def __int__(self) -> int:  # else Python 3.11's int() would call __trunc__
        raise TypeError("a Value is no int")

    def __floor__(self) -> Value:
        return self._make("floor")

    def __ceil__(self) -> Value:
        return self._make("ceil")

    def __trunc__(self) -> Value:
        return self._make("trunc")

    def round(self, ndigits: None = None) -> Value:
        if ndigits is not None:
            raise TypeError("round() of a Value takes no number of digits")
        return self._make("rint")

    __round__ = round

    def _compare(self, other: Any, test: Callable[[float, float], bool]) -> bool:
        number = other._data if isinstance(other, Value) else _number(other)
        return NotImplemented if number is None else test(self._data, float(number))

    def __eq__(self, other: object) -> bool:
        """Of data with a number, as floats; of two Values by identity, since graphs hash them."""
        number = None if isinstance(other, Value) else _equal_number(other)
        return NotImplemented if number is None else self._data == number

    __hash__ = object.__hash__

    def __lt__(self, other: Any) -> bool:
        return self._compare(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> bool:
        return self._compare(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> bool:
        return self._compare(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> bool:
        return self._compare(other, lambda a, b: a >= b)

    def __repr__(self) -> str:
        return f"Value(data={self.data}, grad={self.grad})"

    def __format__(self, spec: str) -> str:
        return format(self.data, spec) if spec else repr(self)

    # ---- The backward pass ----

    @property
    def _local_grads(self) -> tuple[float, ...]:
        """The derivatives with respect to the children, at their current data."""
        if self._rule is None:
            return self._given
        return tuple(self._slope(i) for i in range(len(self._children)))

    def _slope(self, i: int) -> float:
        """The derivative with respect to child i."""
        if self._rule is None:
            return self._given[i]
        a = self._children[0]._data
        b = self._children[1]._data if len(self._children) == 2 else self._exponent
        return _judge(self._rule, self._rule.derivatives[i], a, b, self._data)

    @property
    def _receives(self) -> bool:
        """Does it receive a gradient? Not if detached, or computed from detached Values only."""
        return not self._detached or self._closure is not None

    def _push(self) -> None:
        """Add this gradient times each derivative to that child's gradient: the chain rule."""
        if self._detached or (self._rule is None and not self._given):
            return
        asked = [i for i, child in enumerate(self._children) if child._receives]
        for i, amount in [(i, self._product(i)) for i in asked]:
            self._children[i]._grad += amount

    def _product(self, i: int) -> float:
        """Derivative times gradient. If the gradient is 0, the product is 0 even where the
        derivative is undefined or infinite: a branch that wasn't taken contributes nothing.
        """
        try:
            product = self._slope(i) * self._grad
        except (ValueError, ZeroDivisionError, OverflowError):
            if self._grad != 0.0:
                raise
            return 0.0
        return 0.0 if math.isnan(product) and self._grad == 0.0 else product

    @property
    def _backward(self) -> Callable[[], Any]:
        return self._push if self._closure is None else self._closure

    @_backward.setter
    def _backward(self, closure: Callable[[], Any]) -> None:
        if not callable(closure):
            raise TypeError(f"_backward must be callable, not {type(closure).__name__}")
        self._closure = closure

    def _order(self) -> list[Value]:
        """Topological order, depth first: children from left to right, then the node."""
        order: list[Value] = []
        visited = {self}
        stack = [(self, iter(self._children))]
        while stack:
            node, children = stack[-1]
            child = next((c for c in children if c not in visited), None)
            if child is None:
                order.append(node)
                stack.pop()
            else:
                visited.add(child)
                stack.append((child, iter(child._children)))
        return order

    def backward(self) -> None:
        """Compute the gradients of all nodes below; an exception restores the previous ones."""
        order = self._order()
        saved = [node._grad for node in order]
        for node in order:
            if node._children:
                node._grad = 0.0
        self._grad = 1.0
        try:
            for node in reversed(order):
                node._backward()
        except BaseException:
            for node, grad in zip(order, saved):
                node._grad = grad
            raise


def _method(name: str) -> Callable[..., Value]:
    """The method of Value for a row of OPS."""
    if name in NUMBERS:

        def with_number(self: Value, number: Any = NUMBERS[name]) -> Value:
            return self._make(name, exponent=_require_number(number, name))

        return with_number
    if len(OPS[name].derivatives) == 1:
        return lambda self: self._make(name)

    def method(self: Value, other: Any) -> Value:
        right = self._operand(other)
        if right is None:
            raise TypeError(f"{name} must be a Value or a real number, not {type(other).__name__}")
        return self._make(name, right)

    return method


for _name in OPS:
    if _name != "pown":
        setattr(Value, _name, _method(_name))


def detach(a: Value) -> Value:
    """The same number, as a leaf that passes no gradient on."""
    out = Value(a._data)
    out._detached = True
    return out


def where(condition: bool, a: Any, b: Any) -> Value:
    """a if the condition holds, else b; only the selected one receives the gradient."""
    first, second = (x if isinstance(x, Value) else Value(x) for x in (a, b))
    for x, leaf, other in ((a, first, second), (b, second, first)):
        leaf._detached = leaf._detached or (not isinstance(x, Value) and other._detached)
    chosen = first if condition else second
    return Value(chosen._data, (first, second), (1.0, 0.0) if condition else (0.0, 1.0))


def dot(ws: Iterable[Any], xs: Iterable[Any], bias: Any = 0) -> Any:
    """bias + w[0]*x[0] + w[1]*x[1] + ..."""
    ws, xs = tuple(ws), tuple(xs)
    if len(ws) != len(xs):
        raise ValueError(f"dot: {len(ws)} weights for {len(xs)} inputs")
    return sum((w * x for w, x in zip(ws, xs)), bias)


# ---- Networks ------------------------------------------------------------------------------------


class Module:
    def parameters(self) -> list[Value]:
        return []

    def zero_grad(self) -> None:
        for p in self.parameters():
            p.grad = 0.0


class Neuron(Module):
    def __init__(self, nin: int, activation: str = "tanh") -> None:
        self.activation = activation
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(random.uniform(-1, 1))

    def __call__(self, x: Sequence[Any]) -> Any:
        out = dot(self.w, x, self.b)
        return out if self.activation == "linear" else getattr(out, self.activation)()

    def parameters(self) -> list[Value]:
        return [*self.w, self.b]


class Layer(Module):
    def __init__(self, nin: int, nout: int, activation: str = "tanh") -> None:
        self.neurons = [Neuron(nin, activation) for _ in range(nout)]

    def __call__(self, x: Sequence[Any]) -> Any:
        outs = [neuron(x) for neuron in self.neurons]
        return outs[0] if len(outs) == 1 else outs

    def parameters(self) -> list[Value]:
        return [p for neuron in self.neurons for p in neuron.parameters()]


class MLP(Module):
    def __init__(
        self,
        nin: int,
        nouts: Iterable[int],
        activation: str = "tanh",
        output_activation: str | None = None,
    ) -> None:
        sizes = [nin, *nouts]
        last = activation if output_activation is None else output_activation
        activations = [activation] * (len(sizes) - 2) + [last]
        self.layers = [Layer(*shape) for shape in zip(sizes, sizes[1:], activations)]

    def __call__(self, x: Sequence[Any]) -> Any:
        out: Any = x
        for layer in self.layers:
            out = layer(out if hasattr(out, "__len__") else [out])
        return out

    def parameters(self) -> list[Value]:
        return [p for layer in self.layers for p in layer.parameters()]


# ---- Optimizers ----------------------------------------------------------------------------------


class SGD:
    """p -= lr * velocity; velocity = momentum * velocity + grad + weight_decay * p."""

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocity = [0.0] * len(self.parameters)

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = 0.0

    def step(self) -> None:
        for i, p in enumerate(self.parameters):
            g = p.grad
            if self.weight_decay:
                g += self.weight_decay * p.data
            if self.momentum:
                g = self.velocity[i] = self.momentum * self.velocity[i] + g
            p.data -= self.lr * g


class RMSprop(SGD):
    """Steps divided by the root of the gradient's mean square."""

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, momentum, weight_decay)
        self.alpha, self.eps = alpha, eps
        self.square = [0.0] * len(self.parameters)

    def step(self) -> None:
        for i, p in enumerate(self.parameters):
            g = p.grad
            if self.weight_decay:
                g += self.weight_decay * p.data
            self.square[i] = self.alpha * self.square[i] + (1.0 - self.alpha) * g * g
            g /= math.sqrt(self.square[i]) + self.eps
            if self.momentum:
                g = self.velocity[i] = self.momentum * self.velocity[i] + g
            p.data -= self.lr * g


class Adam(SGD):
    """Adam; with decoupled=True, AdamW."""

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay)
        self.betas, self.eps, self.decoupled = betas, eps, decoupled
        self.mean = [0.0] * len(self.parameters)
        self.square = [0.0] * len(self.parameters)
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        beta1, beta2 = self.betas
        rate = self.lr / (1.0 - beta1**self.steps)
        correction = math.sqrt(1.0 - beta2**self.steps)
        for i, p in enumerate(self.parameters):
            g = p.grad
            if self.decoupled:
                p.data -= self.lr * self.weight_decay * p.data
            elif self.weight_decay:
                g += self.weight_decay * p.data
            self.mean[i] = beta1 * self.mean[i] + (1.0 - beta1) * g
            self.square[i] = beta2 * self.square[i] + (1.0 - beta2) * g * g
            p.data -= rate * self.mean[i] / (math.sqrt(self.square[i]) / correction + self.eps)
