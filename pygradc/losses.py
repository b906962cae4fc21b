"""Losses, written in Values' own operators, so that they serve any engine with micrograd's Value.

Each takes one prediction or a batch and returns one Value, the mean over what it was given.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from pygradc import tracing
from pygradc._rows import refuse_masked
from pygradc.value import Value

_ONE = frozenset((Value, float, int, bool))


def _is_batch(x: Any) -> bool:
    """Several items, rather than one number or Value?"""
    if type(x) in _ONE or isinstance(x, (str, bytes)) or getattr(x, "ndim", None) == 0:
        return False
    return hasattr(x, "__len__") or hasattr(x, "__next__")


def _as_list(name: str, x: Any) -> list[Any]:
    if not _is_batch(x):
        return [x]
    refuse_masked(name, x)
    return list(np.asarray(x) if hasattr(x, "__array__") else x)


def _plain(x: Any) -> Any:
    """A number as a float, before integers of few bits overflow; a Value as it is."""
    if type(x) is Value or type(x) is float:
        return x
    if getattr(x, "ndim", None) == 0:  # of numpy, or another library's tensor
        x = x.item()
    return float(x) if isinstance(x, numbers.Real) else x


def _rows(name: str, predictions: Any, targets: Any) -> list[tuple[Any, Any]]:
    """What belongs together, one level down."""
    left = _as_list(f"{name}: predictions", predictions)
    right = _as_list(f"{name}: targets", targets)
    if len(left) != len(right):
        raise ValueError(f"{name}: {len(left)} predictions for {len(right)} targets")
    if not left:
        raise ValueError(f"{name}: nothing to average")
    return list(zip(left, right))


def _pairs(name: str, predictions: Any, targets: Any) -> list[tuple[Any, Any]]:
    """Each prediction with its target, through rows of several, too."""
    pairs = []
    for left, right in _rows(name, predictions, targets):
        if _is_batch(left) or _is_batch(right):
            pairs += _pairs(name, left, right)
        else:
            pairs.append((_plain(left), _plain(right)))
    return pairs


def _mean(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total * (1.0 / len(terms))


def mse(predictions: Any, targets: Any) -> Any:
    """Mean of (prediction - target)**2.

    Args:
        predictions: A Value, or n of them, or n rows of Values: the mean is over all.
        targets: As many numbers or Values, in the same shape.
    Raises:
        ValueError: different lengths, none at all, or masked entries.
    """
    return _mean([(p - t) ** 2 for p, t in _pairs("mse", predictions, targets)])


def hinge(scores: Any, targets: Any) -> Any:
    """Mean of max(0, 1 - target*score), targets -1 or 1: micrograd's svm loss.

    Args, Raises: as `mse`.
    """
    return _mean([(1 + -t * s).relu() for s, t in _pairs("hinge", scores, targets)])


def _largest(logits: Sequence[Any]) -> Any:
    """A number; where a function is recorded, and there are none yet, a Value without gradient."""
    if tracing.tracing():
        return tracing.detach(reduce(tracing.maximum, logits))
    return max(logit.data for logit in logits)


def _shifted_logits(logits: Sequence[Any]) -> tuple[list[Any], Any]:
    """The logits less the largest, so that no exp overflows; and log(sum of exp) of those."""
    shift = _largest(logits)
    shifted = [logit - shift for logit in logits]
    total = shifted[0].exp()
    for x in shifted[1:]:
        total = total + x.exp()
    return shifted, total.log()


def log_softmax(logits: Sequence[Any]) -> list[Any]:
    """log(exp(logit) / sum of exp(logits)) for each of at least one Value."""
    shifted, log_total = _shifted_logits(logits)
    return [x - log_total for x in shifted]


def soft_cross_entropy(logits: Sequence[Any], probabilities: Sequence[Any]) -> Any:
    """-(sum of p * log of softmax(logits)), for one row; one-hot for a label.

    Takes no decision, so it can be recorded, unlike `cross_entropy` with labels. A class of
    probability 0 counts 0, also where its logarithm is -inf.

    Args:
        logits: One Value a class; or a batch, n such rows.
        probabilities: As many numbers or Values, with the sum 1.
    Returns:
        One Value, the mean over the batch.
    Raises:
        ValueError: different lengths, none at all, or masked entries.
    """
    rows = _rows("soft_cross_entropy", logits, probabilities)
    if _is_batch(rows[0][0]):
        return _mean([soft_cross_entropy(*row) for row in rows])
    shifted, total = _shifted_logits([logit for logit, _ in rows])
    for (_, p), x in zip(rows, shifted):
        total = total - _weighted(_plain(p), x)
    return total


def _weighted(p: Any, x: Any) -> Any:
    """p * x, or, where that is 0 * -inf, 0: p itself, through which a nan shows yet."""
    product = p * x
    if tracing.tracing():
        otherwise = tracing.detach(p) if hasattr(p, "backward") else p
        return tracing.where(product <= math.inf, product, otherwise)
    if product.data == product.data:
        return product
    return p.data if hasattr(p, "backward") else p


def _class_of(label: Any, classes: int) -> int:
    if getattr(label, "ndim", None) == 0:
        label = label.item()
    if hasattr(label, "backward"):
        raise TypeError(
            "cross_entropy: a label must be a number that is known when the graph is built; "
            "in a recorded function use soft_cross_entropy with one-hot rows"
        )
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
            "cross_entropy: expected a label, the class's number, for each row of logits; "
            "one-hot rows are for soft_cross_entropy"
        )
    row = _as_list("cross_entropy: logits", logits)
    number = _class_of(label, len(row))
    shifted, log_total = _shifted_logits(row)
    return log_total - shifted[number]


def cross_entropy(logits: Sequence[Any], labels: Any) -> Any:
    """Negative log-likelihood of the label under softmax(logits).

    Args:
        logits: One Value a class; or a batch, n such rows.
        labels: The class's number; or n of them.
    Returns:
        One Value, the mean over the batch.
    Raises:
        ValueError: a label that is no class's number, different lengths, or no rows.
    """
    if _is_batch(labels):
        return _mean([_cross_entropy(*row) for row in _rows("cross_entropy", logits, labels)])
    return _cross_entropy(logits, labels)
