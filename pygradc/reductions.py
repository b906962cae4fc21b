"""logsumexp, softmax and norm of several Values, and clip of one: compositions of ops.

Each is stable where the formula isn't: it shifts or scales by the largest operand, which is
detached, since the result doesn't depend on it. So derivatives of every order are those of the
formula. Nothing branches on data except `where`, so eager and recorded code make the same nodes
and have the same bits.

At the origin of a norm, and where the largest operand is infinite, the formula has no number
(0/0, inf - inf). The result there is the largest operand itself, with the derivatives of `maximum`.

    logsumexp([x, y]), softmax([x, y]), norm([x, y]), clip(x, 0.0, 1.0)

Source: Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax functions, IMA
J. Numer. Anal. 41, 2021; Blue, A portable Fortran program to find the Euclidean norm of a vector,
ACM TOMS 4, 1978.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from functools import reduce
from typing import Any, Union

from pygradc.core.masks import refuse_masked
from pygradc.core.numbers import as_number
from pygradc.core.scalar import core
from pygradc.recorded.tracing import (
    Condition,
    as_value,
    detach,
    logical_or,
    maximum,
    minimum,
    where,
)
from pygradc.value import Number, Value, dot, sum

Operand = Union[Value, Number]


def _operand(name: str, x: Any) -> Value | float:
    """x as a Value or a float; TypeError unless it is one, or a number.

    A number stays one: beside a detached Value it mustn't become a leaf that takes a gradient.
    """
    if isinstance(x, (Value, Condition)):
        return as_value(x)
    number = as_number(x)
    if number is NotImplemented:
        each = "; call it for each of its items" if hasattr(x, "__len__") else ""
        raise TypeError(
            f"{name}: expected a Value or a number, got {repr(x)[:80]} of type "
            f"{type(x).__name__}{each}"
        )
    return float(number)


def _operands(name: str, values: Any) -> list[Any]:
    """The items as Values and floats; at least one."""
    if isinstance(values, (Mapping, Set, str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(
            f"{name}: expected a list of Values and numbers, not a {type(values).__name__}"
        )
    refuse_masked(name, values)
    operands = [_operand(f"{name}: item {i}", x) for i, x in enumerate(values)]
    if not operands:
        raise ValueError(f"{name}: expected at least one Value or number")
    return operands


def _largest(operands: list[Any]) -> Value:
    """The maximum, with its derivatives: a tie goes to the first."""
    return as_value(reduce(maximum, operands))


# ---- log, exp and sums ---------------------------------------------------------------------------


def _shifted_exps(operands: list[Any], shift: Value) -> list[Value]:
    """exp(operand - shift), at most 1, so that none overflows and their sum is at least 1."""
    return [(x - shift).exp() for x in operands]


def logsumexp(values: Iterable[Operand]) -> Value:
    """log(exp(values[0]) + exp(values[1]) + ...), without overflow or underflow.

        >>> import pygradc
        >>> print(f"{pygradc.logsumexp([1000.0, 1000.0]).data:.4f}")      # 1000 + log(2)
        1000.6931

    Its derivatives are the softmax; those of second order diag(p) - p p^T. If the largest value is
    infinite the result is that value, and the derivative 1 goes to the first one that has it.

    Args:
        values: Values and numbers, at least one.
    Returns:
        A Value; -inf if all are -inf, inf if one is, nan if one is.
    Raises:
        TypeError: an item is neither a Value nor a number.
        ValueError: there are no values, or entries are masked.
    """
    operands = _operands("logsumexp", values)
    largest = _largest(operands)
    shift = detach(largest)
    of_finite = sum(_shifted_exps(operands, shift)).log() + shift
    return where(abs(shift) == math.inf, largest, of_finite)


def softmax(values: Iterable[Operand]) -> list[Value]:
    """exp(values[i]) / (exp(values[0]) + exp(values[1]) + ...) for each i, without overflow.

        >>> import pygradc
        >>> [p.data for p in pygradc.softmax([1000.0, 1000.0])]
        [0.5, 0.5]

    For a loss, `losses.log_softmax` and the cross-entropies keep digits that the logarithm of a
    small probability has lost.

    Args:
        values: Values and numbers, at least one.
    Returns:
        As many Values, with sum 1; all nan if the largest value is infinite, or one is nan.
    Raises: as `logsumexp`.
    """
    operands = _operands("softmax", values)
    exps = _shifted_exps(operands, detach(_largest(operands)))
    factor = sum(exps) ** -1
    return [x * factor for x in exps]


# ---- Euclidean norm ------------------------------------------------------------------------------

# Squares neither overflow nor lose digits if the largest operand is between these two. Beyond them
# operands are scaled, by powers of two: without rounding.
_SMALL, _LARGE = 2.0**-400, 2.0**480
_UP, _DOWN = 2.0**600, 2.0**-600


def _scale(size: Value) -> tuple[Value, Value]:
    """A factor that brings size between _SMALL and _LARGE, or close, and its inverse."""
    is_large, is_small = size > _LARGE, size < _SMALL
    factor = where(is_large, _DOWN, where(is_small, _UP, 1.0))
    inverse = where(is_large, _UP, where(is_small, _DOWN, 1.0))
    return detach(factor), detach(inverse)


def norm(values: Iterable[Operand]) -> Value:
    """sqrt(values[0]**2 + values[1]**2 + ...), the Euclidean norm, without overflow or underflow.

        >>> import pygradc
        >>> print(f"{pygradc.norm([3e200, 4e200]).data:.1e}")
        5.0e+200

    At the origin all derivatives are defined as 0. If the largest magnitude is infinite the result
    is inf, and the first value that has it gets the derivative 1 or -1.

    Args:
        values: Values and numbers, at least one.
    Returns:
        A Value; nan if a value is nan. Between 2**-400 and 2**480 it has the bits of the formula.
    Raises: as `logsumexp`.
    """
    operands = _operands("norm", values)
    largest = _largest([abs(x) for x in operands])
    size = detach(largest)
    factor, inverse = _scale(size)
    scaled = [x * factor for x in operands]
    of_finite = dot(scaled, scaled).sqrt() * inverse
    return where(logical_or(size == 0.0, size == math.inf), largest, of_finite)


# ---- clip ----------------------------------------------------------------------------------------


def _require_order(lo: Value | float, hi: Value | float) -> Value | float:
    """hi; it fails where lo > hi: eager code and constants here, a recording in its row."""
    if core.tracing() and (isinstance(lo, Value) or isinstance(hi, Value)):
        return hi * detach(where(lo > hi, hi - lo, 1.0).sqrt())  # 1.0, or outside sqrt's domain
    if lo > hi:
        low, high = (getattr(x, "data", x) for x in (lo, hi))
        raise ValueError(f"clip: lo = {low!r} is larger than hi = {high!r}")
    return hi


def clip(x: Operand, lo: Operand | None, hi: Operand | None) -> Value:
    """x if it is between lo and hi, else the nearer of the two: minimum(maximum(x, lo), hi).

    The derivative by x is 1 between lo and hi and at both ends, where a tie of `maximum` and
    `minimum` goes to their first operand, and 0 outside; there the bound gets the derivative 1.

        >>> import pygradc
        >>> [pygradc.clip(p, 0.0, 1.0).data for p in (-0.5, 0.25, 1.5)]
        [0.0, 0.25, 1.0]

    Args:
        x: A Value or a number.
        lo, hi: As x; or None, for one of them, where there is no bound.
    Returns:
        A Value; nan if one of the three is.
    Raises:
        TypeError: one is neither a Value nor a number.
        ValueError: lo > hi, or both are None. In a recorded function bounds that are inputs or
            parameters fail the row, with the domain error of sqrt(hi - lo).
    """
    value = _operand("clip: x", x)
    if lo is None and hi is None:
        raise ValueError("clip: lo and hi are both None: give one of them")
    if lo is None:
        return minimum(value, _operand("clip: hi", hi))
    low = _operand("clip: lo", lo)
    if hi is None:
        return maximum(value, low)
    high = _require_order(low, _operand("clip: hi", hi))
    return minimum(maximum(value, low), high)
