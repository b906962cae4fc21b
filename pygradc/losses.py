"""Losses, written with Value's operators, so that they work with any micrograd-like engine.

Each takes one prediction or a batch and returns one Value, the mean over the batch.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence, Set
from functools import reduce
from typing import Any

import numpy as np

from pygradc.core.masks import refuse_masked
from pygradc.core.numbers import as_number
from pygradc.core.scalar import core
from pygradc.recorded import tables, tracing
from pygradc.value import Value

_PLAIN = frozenset((Value, float))
_NUMBERS = frozenset((float, int, bool))
_ONE = _PLAIN | _NUMBERS


def _is_batch(x: Any) -> bool:
    """Is it a sequence or an iterator, rather than one number or Value?"""
    if type(x) is list:
        return True
    if type(x) in _ONE or isinstance(x, (str, bytes)) or getattr(x, "ndim", None) == 0:
        return False
    return hasattr(x, "__len__") or hasattr(x, "__next__")


def _items(name: str, x: Any) -> Any:
    """The items of a batch; a single number or Value becomes a list of one."""
    if not _is_batch(x):
        if type(x) not in _ONE:
            refuse_masked(name, x)
        return [_plain(name, x)]
    if _are_plain(x):
        return x
    if isinstance(x, (Mapping, Set)):
        raise TypeError(
            f"{name}: expected numbers in order, not a {type(x).__name__}: write a list"
        )
    refuse_masked(name, x)
    return np.asarray(x).tolist() if hasattr(x, "__array__") else list(x)


def _floats(name: str, items: Any) -> Any:
    """Convert numbers to float, before narrow integers overflow; keep Values and rows."""
    kinds = set(map(type, items))
    if kinds <= _PLAIN:
        return items
    return list(map(float, items) if kinds <= _NUMBERS else (_plain(name, x) for x in items))


def _plain(name: str, x: Any) -> Any:
    """Convert one item as `_floats` does; TypeError unless it is a number, a Value or a row."""
    if type(x) in _PLAIN:
        return x
    number = x if type(x) in _NUMBERS else as_number(x)
    if number is not NotImplemented:
        return float(number)
    if isinstance(x, np.ndarray) and x.ndim == 0:  # of dtype object
        x = x.item()
    if _is_batch(x) or hasattr(x, "backward") or isinstance(x, tracing.Condition):
        return x
    raise TypeError(
        f"{name}: expected numbers or Values, got {repr(x)[:80]} of type {type(x).__name__}: "
        "convert it with float(), encode it as a number, or leave it out"
    )


def _sides(name: str, predictions: Any, targets: Any) -> tuple[Any, Any]:
    """The items of predictions and of targets, one level down; their lengths agree."""
    left = _items(f"{name}: predictions", predictions)
    right = _items(f"{name}: targets", targets)
    _check_lengths(name, left, right)
    return left, right


def _check_lengths(name: str, left: Any, right: Any) -> None:
    if len(left) != len(right):
        raise ValueError(f"{name}: {len(left)} predictions for {len(right)} targets")
    if not left:
        raise ValueError(f"{name}: nothing to average")


def _pairs(name: str, predictions: Any, targets: Any) -> list[tuple[Any, Any]]:
    """Pair each prediction with its target, also inside nested rows."""
    if type(predictions) in _PLAIN and type(targets) in _PLAIN:
        return [(predictions, targets)]
    if not _are_plain(predictions) or not _are_plain(targets):
        return _pairs_of_any(name, predictions, targets)
    _check_lengths(name, predictions, targets)
    return list(zip(predictions, targets))


def _are_plain(x: Any) -> bool:
    if type(x) is not list:
        return False
    if core.all_exactly(x, Value) or core.all_exactly(x, float):
        return True
    return _PLAIN.issuperset(map(type, x))


def _pairs_of_any(name: str, predictions: Any, targets: Any) -> list[tuple[Any, Any]]:
    left, right = _sides(name, predictions, targets)
    left, right = _floats(f"{name}: predictions", left), _floats(f"{name}: targets", right)
    if _are_plain(left) and _are_plain(right):
        return list(zip(left, right))
    pairs = []
    for one, other in zip(left, right):
        if _is_batch(one) or _is_batch(other):
            pairs += _pairs(name, one, other)
        else:
            pairs.append((one, other))
    return pairs


def _mean(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total * (1.0 / len(terms))


def mse(predictions: Any, targets: Any) -> Any:
    """Mean of (prediction - target)**2.

    Args:
        predictions: A Value, n of them, or n rows of Values: the mean is over all.
        targets: As many numbers or Values, in the same shape.
    Raises:
        ValueError: the lengths differ, the batch is empty, or entries are masked.
        TypeError: an item is neither a number nor a Value.
    """
    return _mean([(p - t) ** 2 for p, t in _pairs("mse", predictions, targets)])


def hinge(scores: Any, targets: Any) -> Any:
    """Mean of max(0, 1 - target*score), targets -1 or 1: micrograd's svm loss.

    Args, Raises: as `mse`.
    """
    return _mean([(1 + -t * s).relu() for s, t in _pairs("hinge", scores, targets)])


def _largest(logits: Sequence[Any]) -> Any:
    """The largest logit, as a number; while a function is recorded, a Value without gradient."""
    if core.tracing():
        return tracing.detach(reduce(tracing.maximum, logits))
    return max(logit.data for logit in logits)


def _log_of_exps(shifted: Sequence[Any]) -> Any:
    """log(sum of exp) of numbers with maximum 0, so that no exp overflows."""
    total = shifted[0].exp()
    for x in shifted[1:]:
        total = total + x.exp()
    return total.log()


def _shifted_logits(logits: Sequence[Any]) -> tuple[list[Any], Any]:
    """The logits minus their maximum, and log(sum of exp) of these."""
    shift = _largest(logits)
    shifted = [logit - shift for logit in logits]
    return shifted, _log_of_exps(shifted)


def log_softmax(logits: Sequence[Any]) -> list[Any]:
    """log(exp(logit) / sum of exp(logits)) for each logit; at least one Value."""
    shifted, log_total = _shifted_logits(logits)
    return [x - log_total for x in shifted]


_ROUNDING = 1e-6  # tolerance for a sum of probabilities, also in float32


def _weights(probabilities: Any) -> Any:
    """The weights of one row: numbers and Values, one per class."""
    if _are_plain(probabilities):
        return probabilities
    weights = _floats("soft_cross_entropy: probabilities", probabilities)
    row = next(filter(_is_batch, weights), None)
    if row is not None:
        raise TypeError(
            f"soft_cross_entropy: expected one probability for each logit, got {repr(row)[:80]}: "
            "write numbers; if these are the rows of a batch, the logits must be rows, too"
        )
    return weights


def _half_sum(weights: Sequence[Any]) -> Any:
    """Half the sum of the weights; exactly 0.5 if the sum is 1 up to rounding, also in a recording.
    The derivatives with respect to the weights are those of the sum in either case.
    """
    if core.all_exactly(weights, float) and abs(sum(weights) - 1.0) <= _ROUNDING:
        return 0.5
    whole = reduce(operator.add, weights)
    return whole * 0.5 + _rounding(whole - 1.0) * -0.5


def _rounding(excess: Any) -> Any:
    """excess if it is rounding error, else 0; a number or a detached Value, as in `_largest`."""
    if core.tracing():
        return tracing.detach(tracing.where(abs(excess) <= _ROUNDING, excess, 0.0))
    number = getattr(excess, "data", excess)
    return number if abs(number) <= _ROUNDING else 0.0


def soft_cross_entropy(logits: Sequence[Any], probabilities: Sequence[Any]) -> Any:
    """-sum(p * log(softmax(logits))), for one row; one-hot probabilities for a label.

    Halves of the logits are summed, which is exact: the difference of two logits may overflow, and
    the infinity times a probability of 0 would be nan.

    Args:
        logits: One Value per class; or a batch, n such rows.
        probabilities: As many numbers or Values. Their sum is arbitrary (multi-hot rows, weighted
            classes) and multiplies log(sum of exp). A sum within 1e-6 of 1 counts as 1.
    Returns:
        One Value, the mean over the batch.
    Raises:
        ValueError: the lengths differ, the batch is empty, or entries are masked.
        TypeError: a probability is neither a number nor a Value.
    """
    row, weights = _sides("soft_cross_entropy", logits, probabilities)
    if _is_batch(row[0]):
        return _mean(list(map(soft_cross_entropy, row, weights)))
    half_shift = _largest(row) * 0.5
    halves = [logit * -0.5 + half_shift for logit in row]  # half of max - logit, at least 0
    weights = _weights(weights)
    total = _log_of_exps([x * -2.0 for x in halves]) * _half_sum(weights)
    for x, p in zip(halves, weights):
        total = total + p * x
    return total * 2.0


def _class_of(label: Any, classes: int) -> int:
    if type(label) is int and 0 <= label < classes:
        return label
    if getattr(label, "ndim", None) == 0:
        refuse_masked("cross_entropy: label", label)
        label = label.item()
    if isinstance(label, Value):
        label = label.data
    try:
        number = int(label)
        if number == label and 0 <= number < classes:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"cross_entropy: label {label} for {classes} classes")


def _cross_entropy(logits: Any, label: Any) -> Any:
    if not _is_batch(logits) or _is_batch(label):
        raise ValueError(
            "cross_entropy: expected a label, the class index, for each row of logits; "
            "one-hot rows are for soft_cross_entropy"
        )
    row = logits if type(logits) is list else _items("cross_entropy: logits", logits)
    if isinstance(label, tracing.Condition):
        label = tracing.as_value(label)
    is_asked_later = core.tracing() and core.is_traced(label)
    index = label if is_asked_later else _class_of(label, len(row))
    shifted, log_total = _shifted_logits(row)
    return log_total - tables.take(shifted, index)


def cross_entropy(logits: Sequence[Any], labels: Any) -> Any:
    """Negative log-likelihood of the label under softmax(logits).

    Args:
        logits: One Value per class; or a batch, n such rows.
        labels: The class index; or n of them. In a recorded function they may be inputs.
    Returns:
        One Value, the mean over the batch.
    Raises:
        ValueError: a label isn't a class index, the lengths differ, or there are no rows. A row of
            a recorded function raises FloatingPointError, as `pygradc.take` does.
    """
    if _is_batch(labels):
        return _mean(list(map(_cross_entropy, *_sides("cross_entropy", logits, labels))))
    return _cross_entropy(logits, labels)
