"""Every op's value and derivatives, and the losses, against mpmath at 50 digits.

    python -m bench.accuracy_ops [--points N] [--write]

Prints the tables of docs/accuracy.md, or writes them there. Arguments are drawn from the interval
that the op table states, and from everywhere that the result is a finite number: evenly, evenly
over the bit patterns (subnormals included), and edges. bench/accuracy.py looks harder, at the
functions that fast mode brings along; here every op comes, with its derivatives, as a program
computes them, which tests hold to be bit for bit what eager code does.

Errors are in ulp, as in bench/accuracy.py. Where a derivative of fast mode loses its digits, as it
goes to 0 as the difference of two numbers near 1, no bound in ulp holds everywhere; the promise is
in ulp of 1 then, which is 2**-53 just below it: the error doesn't grow where the derivative gets
small.

PROMISES are what the documents state, and tests/test_accuracy.py holds on fewer points.
"""

from __future__ import annotations

import argparse
import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpmath import mp, mpf

import pygradc
from bench.accuracy import DIGITS, HUGE, PLACES, TINY, Doubles, Place, error_in_ulp
from pygradc import Value, losses
from pygradc.core.ops import OPS, Op

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "accuracy.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
ULP_OF_1 = 2.0**-53
# The ops that fast mode computes otherwise: a formula calls one of its functions.
_ITS_FUNCTIONS = re.compile(rf"\b({'|'.join(PLACES)})\(")
FAST = {op.name for op in OPS if any(map(_ITS_FUNCTIONS.search, (op.value, *op.derivatives)))}
EXPONENTS = (-3.0, -2.0, -1.0, -0.5, 0.0, 0.1, 1 / 3, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0, 100.25)


# --- the truth -----------------------------------------------------------------------------------


def _step(a: Any) -> int:
    return int(a > 0)


def _logistic_slope(a: Any) -> Any:
    small = mp.exp(-abs(a))
    return small / (1 + small) ** 2


def _silu_slope(a: Any) -> Any:
    share = 1 / (1 + mp.exp(-a))
    return share * (1 + a * (1 - share))


def _log_ndtr(a: Any) -> Any:
    return mp.log(mp.ncdf(a)) if a < 0 else mp.log1p(-mp.ncdf(-a))


def _truncated(a: Any) -> Any:
    return mp.floor(a) if a > 0 else mp.ceil(a)


def _power_slope(a: Any, b: Any) -> Any:
    """None where a**(b-1) alone is too large: there the op raises."""
    power = mp.power(a, b - 1)
    return b * power if power <= HUGE else None


# --- where to look -------------------------------------------------------------------------------

_ANY = (Place(1.0, TINY, HUGE, by_bits=True, signs=True),)
_POSITIVE = (Place(1.0, TINY, HUGE, by_bits=True),)
_EXPONENT = (Place(0.5, -3.0, 3.0), Place(0.5, 1e-20, 700.0, by_bits=True, signs=True))
_ANGLE = (Place(0.5, -100.0, 100.0), Place(0.5, TINY, HUGE, by_bits=True, signs=True))
_SQUARED = (Place(1.0, 1e-150, 1e150, by_bits=True, signs=True),)  # whose squares are numbers
_WIDE = (Place(1.0, 1e-300, 1e300, by_bits=True, signs=True),)
_GROWING = (  # hyperbolic functions
    Place(0.4, -710.4, 710.4),
    Place(0.3, -3.0, 3.0),
    Place(0.3, TINY, 700.0, by_bits=True, signs=True),
)
_BETWEEN_ONES = (
    Place(0.3, -1.0, 1.0),
    Place(0.4, TINY, 1.0, by_bits=True, signs=True),
    Place(0.15, 1e-16, 0.1, by_bits=True, plus=-1.0),
    Place(0.15, -0.1, -1e-16, plus=1.0),
)
_ABOVE_ONE = (Place(0.5, 1e-15, 9.0, by_bits=True, plus=1.0), Place(0.5, 1.0, HUGE, by_bits=True))
_ABOVE_MINUS_ONE = (*_BETWEEN_ONES, *_POSITIVE)
_MODERATE = (Place(1.0, 1e-6, 1e6, by_bits=True, signs=True),)  # whose quotients are exact
MODERATE_EDGES = (1e-6, 0.5, 1.0 - 2.0**-53, 1.0, 1.0 + 2.0**-52, 3.0, 1e6)
TAIL_EDGES = (0.0, 1e-8, 1.0 - 2.0**-53, 1.0, 5.0 - 2.0**-50, 5.0, 37.0)
GAMMA_EDGES = (1e-8, 1.0 - 2.0**-53, 1.0, 1.0 + 2.0**-52, 1.4616321449683623, 2.0, 10.0)
EDGES = (0.0, TINY, 2.2250738585072014e-308, 1e-8, 1.0 - 2.0**-53, 1.0, 1.0 + 2.0**-52, HUGE)
EXPONENT_EDGES = (1e-8, 0.5, 1.0 - 2.0**-53, 1.0, 1.0 + 2.0**-52, 2.0)
WIDE_EDGES = (1e-300, 1e-8, 1.0 - 2.0**-53, 1.0, 1.0 + 2.0**-52, 1e300)
SQUARED_EDGES = (1e-150, 1e-8, 1.0 - 2.0**-53, 1.0, 1.0 + 2.0**-52, 1e150)


# --- the ops -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Promise:
    """Bounds in ulp, over the op's interval and everywhere; there, perhaps, in ulp of 1."""

    interval: float
    everywhere: float
    of_1: bool = False

    def broken(self, interval: Worst, everywhere: Worst) -> list[str]:
        """Where it doesn't hold: the range, what was promised and what was measured there."""
        far = (everywhere.ulp, "ulp", everywhere.at)
        if self.of_1:
            far = (everywhere.of_1, "ulp of 1", everywhere.of_1_at)
        measured = (
            ("interval", self.interval, interval.ulp, "ulp", interval.at),
            ("everywhere", self.everywhere, *far),
        )
        return [
            f"{where}: {error:g} {unit} at {at}, but at most {bound:g} was promised"
            for where, bound, error, unit, at in measured
            if not error <= bound
        ]


_EXACT, _ROUNDED = Promise(0.0, 0.0), Promise(0.5, 0.5)


@dataclass(frozen=True)
class Entry:
    """What is known of an op besides its formulas.

    Attributes:
        truths: its value and derivatives as functions of (a, b), in mpmath's numbers.
        promises: a bound for each of them.
        places: for each operand, where "everywhere" is.
        fast: the promises of fast mode, where they are others.
        edges: for each operand.
        positive: the first operand is.
        numbers: of an op that takes one, what it is given.
    """

    truths: tuple[Callable[[Any, Any], Any], ...]
    promises: tuple[Promise, ...]
    places: tuple[tuple[Place, ...], ...]
    fast: tuple[Promise, ...] = ()
    edges: tuple[tuple[float, ...], ...] = (EDGES, EDGES)
    positive: bool = False
    numbers: tuple[float, ...] = ()


ENTRIES = {
    "add": Entry(
        (lambda a, b: a + b, lambda a, b: 1, lambda a, b: 1),
        (_ROUNDED, _EXACT, _EXACT),
        (_ANY, _ANY),
    ),
    "mul": Entry(
        (lambda a, b: a * b, lambda a, b: b, lambda a, b: a),
        (_ROUNDED, _EXACT, _EXACT),
        (_ANY, _ANY),
    ),
    "pown": Entry(
        (mp.power, _power_slope),
        (Promise(0.6, 0.6), Promise(3.0, 1000.0)),
        (_POSITIVE,),
        positive=True,
        numbers=EXPONENTS,
    ),
    "pow": Entry(
        (mp.power, _power_slope, lambda a, b: mp.power(a, b) * mp.log(a)),
        (Promise(0.6, 0.6), Promise(5.0, 1500.0), Promise(3.0, 400.0)),
        (_POSITIVE, _EXPONENT),
        edges=(EDGES, EXPONENT_EDGES),
        positive=True,
    ),
    "exp": Entry(
        (lambda a, b: mp.exp(a), lambda a, b: mp.exp(a)),
        (Promise(1.1, 1.1), Promise(1.1, 1.1)),
        (PLACES["exp"],),
    ),
    "log": Entry(
        (lambda a, b: mp.log(a), lambda a, b: 1 / a),
        (Promise(1.0, 1.0), _ROUNDED),
        (PLACES["log"],),
        positive=True,
    ),
    "tanh": Entry(
        (lambda a, b: mp.tanh(a), lambda a, b: mp.sech(a) ** 2),
        (Promise(2.5, 2.5), Promise(30.0, 30.0)),
        ((*PLACES["tanh"], Place(0.3, 18.0, 370.0, signs=True)),),
        fast=(Promise(2.5, 2.5), Promise(200.0, 4.0, of_1=True)),
    ),
    "relu": Entry((lambda a, b: max(a, 0), lambda a, b: _step(a)), (_EXACT, _EXACT), (_ANY,)),
    "sigmoid": Entry(
        (lambda a, b: 1 / (1 + mp.exp(-a)), lambda a, b: _logistic_slope(a)),
        (Promise(2.5, 2.5), Promise(50.0, 50.0)),
        ((*PLACES["sigmoid"], Place(0.3, 30.0, 745.0)),),
        fast=(Promise(2.5, 2.5), Promise(250.0, 3.0, of_1=True)),
    ),
    "sqrt": Entry(
        (lambda a, b: mp.sqrt(a), lambda a, b: 1 / (2 * mp.sqrt(a))),
        (_ROUNDED, Promise(1.5, 1.5)),
        (_POSITIVE,),
        positive=True,
    ),
    "abs": Entry(
        (lambda a, b: abs(a), lambda a, b: _step(a) - _step(-a)), (_EXACT, _EXACT), (_ANY,)
    ),
    "sin": Entry(
        (lambda a, b: mp.sin(a), lambda a, b: mp.cos(a)),
        (Promise(0.6, 0.6), Promise(0.6, 0.6)),
        (_ANGLE,),
    ),
    "cos": Entry(
        (lambda a, b: mp.cos(a), lambda a, b: -mp.sin(a)),
        (Promise(0.6, 0.6), Promise(0.6, 0.6)),
        (_ANGLE,),
    ),
    "erf": Entry(
        (lambda a, b: mp.erf(a), lambda a, b: 2 / mp.sqrt(mp.pi) * mp.exp(-a * a)),
        (Promise(1.5, 1.5), Promise(3.0, 3.0)),
        ((*PLACES["erf"], Place(0.3, 5.0, 26.5, signs=True)),),
    ),
    "softplus": Entry(
        (lambda a, b: mp.log1p(mp.exp(a)), lambda a, b: 1 / (1 + mp.exp(-a))),
        (Promise(2.5, 2.5), Promise(2.5, 2.5)),
        ((*PLACES["sigmoid"], Place(0.3, 30.0, 745.0)),),
    ),
    "atan2": Entry(
        (mp.atan2, lambda a, b: b / (a * a + b * b), lambda a, b: -a / (a * a + b * b)),
        (Promise(1.0, 1.0), Promise(2.5, 2.5), Promise(2.5, 2.5)),
        (_SQUARED, _SQUARED),
        edges=(SQUARED_EDGES, SQUARED_EDGES),
    ),
    "log1p": Entry(
        (lambda a, b: mp.log1p(a), lambda a, b: 1 / (1 + a)),
        (Promise(1.5, 1.5), Promise(2.0, 2.0)),
        (_ABOVE_MINUS_ONE,),
    ),
    "expm1": Entry(
        (lambda a, b: mp.expm1(a), lambda a, b: mp.exp(a)),
        (Promise(1.5, 1.5), Promise(1.1, 1.1)),
        (PLACES["exp"],),
    ),
    "log2": Entry(
        (lambda a, b: mp.log(a) / mp.ln2, lambda a, b: 1 / (a * mp.ln2)),
        (Promise(1.0, 1.0), Promise(1.5, 1.5)),
        (PLACES["log"],),
        positive=True,
    ),
    "log10": Entry(
        (lambda a, b: mp.log10(a), lambda a, b: 1 / (a * mp.ln10)),
        (Promise(2.0, 2.0), Promise(1.5, 1.5)),
        (PLACES["log"],),
        positive=True,
    ),
    "exp2": Entry(
        (lambda a, b: mp.power(2, a), lambda a, b: mp.power(2, a) * mp.ln2),
        (Promise(0.6, 0.6), Promise(1.5, 1.5)),
        ((Place(0.5, -1075.0, 1024.0), Place(0.5, TINY, 1000.0, by_bits=True, signs=True)),),
    ),
    "cbrt": Entry(
        (lambda a, b: mp.sign(a) * mp.cbrt(abs(a)), lambda a, b: 1 / (3 * mp.cbrt(abs(a)) ** 2)),
        (Promise(4.0, 4.0), Promise(12.0, 12.0)),
        (_ANY,),
    ),
    "tan": Entry(
        (lambda a, b: mp.tan(a), lambda a, b: mp.sec(a) ** 2),
        (Promise(1.0, 1.0), Promise(2.5, 2.5)),
        (_ANGLE,),
        fast=(Promise(1.5, 1.5), Promise(3.0, 3.0)),
    ),
    "asin": Entry(
        (lambda a, b: mp.asin(a), lambda a, b: 1 / mp.sqrt((1 - a) * (1 + a))),
        (Promise(0.6, 0.6), Promise(2.5, 2.5)),
        (_BETWEEN_ONES,),
    ),
    "acos": Entry(
        (lambda a, b: mp.acos(a), lambda a, b: -1 / mp.sqrt((1 - a) * (1 + a))),
        (Promise(0.6, 0.6), Promise(2.5, 2.5)),
        (_BETWEEN_ONES,),
    ),
    "atan": Entry(
        (lambda a, b: mp.atan(a), lambda a, b: 1 / (1 + a * a)),
        (Promise(0.6, 0.6), Promise(2.0, 2.0)),
        (_SQUARED,),
        fast=(Promise(2.0, 2.0), Promise(2.0, 2.0)),
        edges=(SQUARED_EDGES,),
    ),
    "sinh": Entry(
        (lambda a, b: mp.sinh(a), lambda a, b: mp.cosh(a)),
        (Promise(2.5, 2.5), Promise(2.5, 2.5)),
        (_GROWING,),
    ),
    "cosh": Entry(
        (lambda a, b: mp.cosh(a), lambda a, b: mp.sinh(a)),
        (Promise(2.5, 2.5), Promise(2.5, 2.5)),
        (_GROWING,),
    ),
    "asinh": Entry(
        (lambda a, b: mp.asinh(a), lambda a, b: 1 / mp.sqrt(a * a + 1)),
        (Promise(2.5, 2.5), Promise(2.5, 2.5)),
        (_ANY,),
    ),
    "acosh": Entry(
        (lambda a, b: mp.acosh(a), lambda a, b: 1 / mp.sqrt((a - 1) * (a + 1))),
        (Promise(2.5, 2.5), Promise(3.0, 3.0)),
        (_ABOVE_ONE,),
        positive=True,
    ),
    "atanh": Entry(
        (lambda a, b: mp.atanh(a), lambda a, b: 1 / ((1 - a) * (1 + a))),
        (Promise(2.5, 2.5), Promise(2.5, 2.5)),
        (_BETWEEN_ONES,),
    ),
    "erfc": Entry(
        (lambda a, b: mp.erfc(a), lambda a, b: -2 / mp.sqrt(mp.pi) * mp.exp(-a * a)),
        (Promise(5.0, 5.0), Promise(3.0, 3.0)),
        ((*PLACES["erf"], Place(0.3, 5.0, 26.5, signs=True)),),
    ),
    "hypot": Entry(
        (
            lambda a, b: mp.sqrt(a * a + b * b),
            lambda a, b: a / mp.sqrt(a * a + b * b),
            lambda a, b: b / mp.sqrt(a * a + b * b),
        ),
        (Promise(1.5, 1.5), Promise(2.5, 2.5), Promise(2.5, 2.5)),
        (_WIDE, _WIDE),
        edges=(WIDE_EDGES, WIDE_EDGES),
    ),
    "maximum": Entry(
        (lambda a, b: max(a, b), lambda a, b: int(a >= b), lambda a, b: int(a < b)),
        (_EXACT, _EXACT, _EXACT),
        (_ANY, _ANY),
    ),
    "minimum": Entry(
        (lambda a, b: min(a, b), lambda a, b: int(a <= b), lambda a, b: int(a > b)),
        (_EXACT, _EXACT, _EXACT),
        (_ANY, _ANY),
    ),
    "sign": Entry((lambda a, b: _step(a) - _step(-a), lambda a, b: 0), (_EXACT, _EXACT), (_ANY,)),
    "floor": Entry((lambda a, b: mp.floor(a), lambda a, b: 0), (_EXACT, _EXACT), (_ANY,)),
    "ceil": Entry((lambda a, b: mp.ceil(a), lambda a, b: 0), (_EXACT, _EXACT), (_ANY,)),
    "trunc": Entry((lambda a, b: _truncated(a), lambda a, b: 0), (_EXACT, _EXACT), (_ANY,)),
    "rint": Entry((lambda a, b: mp.nint(a), lambda a, b: 0), (_EXACT, _EXACT), (_ANY,)),
    "fmod": Entry(
        (lambda a, b: a - b * _truncated(a / b), lambda a, b: 1, lambda a, b: -_truncated(a / b)),
        (_EXACT, _EXACT, _EXACT),
        (_MODERATE, _MODERATE),
        edges=(MODERATE_EDGES, MODERATE_EDGES),
    ),
    "mod": Entry(
        (lambda a, b: a - b * mp.floor(a / b), lambda a, b: 1, lambda a, b: -mp.floor(a / b)),
        (_ROUNDED, _EXACT, _EXACT),
        (_MODERATE, _MODERATE),
        edges=(MODERATE_EDGES, MODERATE_EDGES),
    ),
    "floordiv": Entry(
        (lambda a, b: mp.floor(a / b), lambda a, b: 0, lambda a, b: 0),
        (_EXACT, _EXACT, _EXACT),
        (_MODERATE, _MODERATE),
        edges=(MODERATE_EDGES, MODERATE_EDGES),
    ),
    "gelu": Entry(
        (lambda a, b: a * mp.ncdf(a), lambda a, b: mp.ncdf(a) + a * mp.npdf(a)),
        (Promise(15.0, 1500.0), Promise(3000.0, 3.0, of_1=True)),
        ((Place(0.5, -9.0, 9.0), Place(0.5, 1e-20, 38.0, by_bits=True, signs=True)),),
    ),
    "silu": Entry(
        (lambda a, b: a / (1 + mp.exp(-a)), lambda a, b: _silu_slope(a)),
        (Promise(3.5, 3.5), Promise(3000.0, 4.0, of_1=True)),
        ((Place(0.5, -40.0, 40.0), Place(0.5, 1e-20, 700.0, by_bits=True, signs=True)),),
    ),
    "leaky_relu": Entry(
        (lambda a, b: a if a > 0 else a * b, lambda a, b: 1 if a > 0 else b),
        (_ROUNDED, _EXACT),
        (_ANY,),
        numbers=(0.01, 0.2, 0.0, 1 / 3),
    ),
    "elu": Entry(
        (
            lambda a, b: a if a > 0 else b * mp.expm1(a),
            lambda a, b: 1 if a > 0 else b * mp.exp(a),
        ),
        (Promise(2.0, 2.0), Promise(2.0, 2.0)),
        ((*PLACES["exp"], Place(0.5, 1e-20, 700.0, by_bits=True, signs=True)),),
        numbers=(1.0, 0.5, 1 / 3),
    ),
    "log_ndtr": Entry(
        (lambda a, b: _log_ndtr(a), lambda a, b: mp.npdf(a) / mp.ncdf(a)),
        (Promise(20.0, 1600.0), Promise(30.0, 30.0)),
        ((Place(0.5, -38.0, 9.0), Place(0.5, 1e-20, 37.0, by_bits=True, signs=True)),),
        edges=(TAIL_EDGES,),
    ),
    "lgamma": Entry(
        (lambda a, b: mp.loggamma(a), lambda a, b: mp.digamma(a)),
        (Promise(3.0, 3.0), Promise(4.0, 4.0)),
        ((Place(1.0, 1e-300, 1e300, by_bits=True),),),
        positive=True,
    ),
    "digamma": Entry(
        (lambda a, b: mp.digamma(a), lambda a, b: mp.polygamma(1, a)),
        (Promise(4.0, 4.0), Promise(6.0, 6.0)),
        ((Place(1.0, 1e-150, 1e300, by_bits=True),),),
        edges=(GAMMA_EDGES,),
        positive=True,
    ),
    "polygamma": Entry(
        (lambda a, b: mp.polygamma(int(b), a), lambda a, b: mp.polygamma(int(b) + 1, a)),
        (Promise(10.0, 10.0), Promise(10.0, 10.0)),
        ((Place(1.0, 1e-20, 1e20, by_bits=True),),),
        edges=(GAMMA_EDGES,),
        positive=True,
        numbers=(0.0, 1.0, 2.0, 3.0, 5.0),
    ),
}
TRUTHS = {name: entry.truths for name, entry in ENTRIES.items()}
PROMISES = {name: entry.promises for name, entry in ENTRIES.items()}


def _drawn(rng: np.random.Generator, places: tuple[Place, ...], points: int) -> Doubles:
    total = sum(place.share for place in places)
    parts = [place.draw(rng, math.ceil(place.share / total * points)) for place in places]
    return rng.permutation(np.concatenate(parts))[:points]


def arguments(op: Op, points: int, everywhere: bool, seed: int = 1) -> tuple[Doubles, ...]:
    """Arrays of a and b, or of a alone."""
    rng = np.random.default_rng(seed)
    if everywhere:
        columns = [_drawn(rng, places, points) for places in ENTRIES[op.name].places]
        edges = ENTRIES[op.name].edges[: len(columns)]
        grid = np.meshgrid(*(np.array([*some, *(-x for x in some)]) for some in edges))
        columns = [np.append(x, e.reshape(-1)) for x, e in zip(columns, grid)]
    else:
        columns = [rng.uniform(low, high, points) for low, high in op.intervals[: op.arity]]
    if ENTRIES[op.name].positive:
        columns[0] = np.abs(columns[0])
    if op.takes_number:
        columns.append(np.resize(ENTRIES[op.name].numbers, len(columns[0])))
    return tuple(columns)


# --- what comes out ------------------------------------------------------------------------------


def computed(op: Op, math_kind: str, columns: tuple[Doubles, ...]) -> list[Doubles]:
    """y, dy/da and, of a binary op, dy/db; inf or nan where a row leaves the op's domain."""
    if op.takes_number:
        a, b = columns
        results = [np.empty_like(a), np.empty_like(a)]
        for number in ENTRIES[op.name].numbers:
            rows = b == number
            function = _compiled(lambda a, n=number: getattr(a, op.method)(n), math_kind)
            for result, part in zip(results, _results(function, (a[rows],))):
                result[rows] = part
        return results
    infix: dict[str, Callable[..., Any]] = {
        "add": lambda a, b: a + b,
        "mul": lambda a, b: a * b,
        "pow": lambda a, b: a**b,
    }
    return _results(_compiled(infix.get(op.name, getattr(Value, op.name)), math_kind), columns)


def _compiled(function: Callable[..., Any], math_kind: str) -> Any:
    return pygradc.compile(lambda *args: function(*args), math=math_kind, errors="ignore")


def _results(function: Any, columns: tuple[Doubles, ...]) -> list[Doubles]:
    y, slopes = function.gradients(*columns)
    return [y, *(slopes if isinstance(slopes, tuple) else (slopes,))]


# --- the errors ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Worst:
    """The largest error, in ulp and in ulp of 1, and where each is."""

    ulp: float
    of_1: float
    at: tuple[float, ...]
    of_1_at: tuple[float, ...] = ()


def errors(op: Op, points: int, everywhere: bool, math_kind: str, seed: int = 1) -> list[Worst]:
    """Of y and each derivative, where the true one is a double's size."""
    columns = arguments(op, points, everywhere, seed)
    rows = list(zip(*(x.tolist() for x in columns)))
    return [
        _worst(result.tolist(), truth, rows)
        for result, truth in zip(computed(op, math_kind, columns), TRUTHS[op.name])
    ]


def _worst(found: list[float], truth: Any, rows: list[tuple[float, ...]]) -> Worst:
    ulp, of_1, at, of_1_at = 0.0, 0.0, rows[0], rows[0]
    for y, row in zip(found, rows):
        a, b = mpf(row[0]), mpf(row[-1])
        true = _true(truth, a, b)
        if true is None:
            continue
        here = error_in_ulp(y, true) if math.isfinite(y) else math.inf
        if here > ulp:
            ulp, at = here, row
        off = float(abs(mpf(y) - true)) / ULP_OF_1 if math.isfinite(y) else math.inf
        if off > of_1:
            of_1, of_1_at = off, row
    return Worst(ulp, of_1, at, of_1_at)


def _true(truth: Any, a: Any, b: Any) -> Any:
    """None where it isn't defined, or no double is that large."""
    try:
        true = mpf(truth(a, b))
    except (ZeroDivisionError, ValueError, TypeError, OverflowError):
        return None
    return true if abs(true) <= HUGE else None


# --- the losses ----------------------------------------------------------------------------------


def loss_errors(points: int, seed: int = 1) -> dict[str, float]:
    """The largest errors of cross_entropy's value and gradient, in ulp of 1 and of the largest
    logit, which has to be subtracted first.
    """
    rng = random.Random(seed)
    value = slope = 0.0
    for i in range(points):
        scale = (1.0, 10.0, 700.0, 1e6)[i % 4]
        numbers = [rng.gauss(0.0, scale) for _ in range(rng.randint(2, 10))]
        label = rng.randrange(len(numbers))
        logits = [Value(x) for x in numbers]
        loss = losses.cross_entropy(logits, label)
        loss.backward()
        shares = [mp.exp(mpf(x) - mpf(max(numbers))) for x in numbers]
        total = mp.fsum(shares)
        true = mp.log(total) + mpf(max(numbers)) - mpf(numbers[label])
        unit = ULP_OF_1 * max(1.0, *map(abs, numbers))
        value = max(value, float(abs(mpf(loss.data) - true)) / unit)
        for j, (logit, share) in enumerate(zip(logits, shares)):
            off = float(abs(mpf(logit.grad) - share / total + (j == label)))
            slope = max(slope, off / unit)
    return {"value": value, "gradient": slope}


LOSS_PROMISES = {"value": 8.0, "gradient": 5.0}


# --- the tables ----------------------------------------------------------------------------------


def _number(x: float) -> str:
    return "0" if x == 0.0 else f"{x:.2f}" if x < 100.0 else f"{x:.0f}"


def _everywhere(promise: Promise) -> str:
    return _number(promise.everywhere) + " of 1" * promise.of_1


def promises_of(op_name: str, math_kind: str) -> tuple[Promise, ...]:
    fast = ENTRIES[op_name].fast if math_kind == "fast" else ()
    return fast or PROMISES[op_name]


def _rows(op: Op, points: int) -> Iterator[str]:
    for kind in ("exact", "fast") if op.name in FAST else ("exact",):
        interval, everywhere = (errors(op, points, where, kind) for where in (False, True))
        for i, promise in enumerate(promises_of(op.name, kind)):
            what = ("value", "by a", "by b")[i]
            if broken := promise.broken(interval[i], everywhere[i]):
                raise SystemExit(f"{op.name}, {what}, {kind}: {'; '.join(broken)}")
            far = everywhere[i].of_1 if promise.of_1 else everywhere[i].ulp
            cells = [
                *(op.name + ", fast" * (kind == "fast"), what),
                *(_number(promise.interval), _number(interval[i].ulp)),
                *(_everywhere(promise), _number(far)),
            ]
            yield f"| {' | '.join(cells)} |"


HEADER = """\
| | | interval: at most | measured | everywhere: at most | measured |
|---|---|--:|--:|--:|--:|"""


def tables(points: int) -> Iterator[str]:
    yield HEADER
    for op in OPS:
        yield from _rows(op, points)
    yield ""
    yield "| cross_entropy | at most | measured |\n|---|--:|--:|"
    for what, worst in loss_errors(points).items():
        yield f"| {what} | {_number(LOSS_PROMISES[what])} | {_number(worst)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=20_000, help="for each op and range")
    parser.add_argument("--write", action="store_true", help="to docs/accuracy.md")
    options = parser.parse_args()
    mp.dps = DIGITS
    lines = list(tables(options.points))
    if options.write:
        head, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
        text = "\n".join([head + BEGIN, *lines, END]) + rest.split(END)[1]
        DOCUMENT.write_text(text, encoding="utf-8")
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
