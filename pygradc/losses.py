"""Losses, written in Values' own operators, so that they serve any engine with micrograd's Value.

Each takes one prediction or a batch and returns one Value, the mean over what it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from pygradc import tracing


def _as_list(x: Any) -> list[Any]:
    return list(x) if hasattr(x, "__len__") else [x]


def _pairs(name: str, predictions: Any, targets: Any) -> list[tuple[Any, Any]]:
    left, right = _as_list(predictions), _as_list(targets)
    if len(left) != len(right):
        raise ValueError(f"{name}: {len(left)} predictions for {len(right)} targets")
    if not left:
        raise ValueError(f"{name}: nothing to average")
    return list(zip(left, right))


def _mean(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total * (1.0 / len(terms))


def mse(predictions: Any, targets: Any) -> Any:
    """Mean of (prediction - target)**2.

    Args:
        predictions: A Value, or n of them.
        targets: As many numbers or Values.
    Raises:
        ValueError: different lengths, or none at all.
    """
    return _mean([(p - t) ** 2 for p, t in _pairs("mse", predictions, targets)])


def hinge(scores: Any, targets: Any) -> Any:
    """Mean of max(0, 1 - target*score), targets -1 or 1: micrograd's svm loss.

    Raises:
        ValueError: different lengths, or none at all.
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

    Takes no decision, so it can be recorded, unlike `cross_entropy` with labels.

    Args:
        logits: One Value a class.
        probabilities: As many numbers or Values, with the sum 1.
    Raises:
        ValueError: different lengths, or none at all.
    """
    pairs = _pairs("soft_cross_entropy", probabilities, logits)
    shifted, log_total = _shifted_logits(logits)
    total = log_total
    for (p, _), x in zip(pairs, shifted):
        total = total - p * x
    return total


def _cross_entropy(logits: Sequence[Any], label: Any) -> Any:
    if hasattr(label, "backward"):
        raise TypeError(
            "cross_entropy: a label must be a number that is known when the graph is built; "
            "in a recorded function use soft_cross_entropy with one-hot rows"
        )
    number = int(label)
    if number != label or not 0 <= number < len(logits):
        raise ValueError(f"cross_entropy: label {label} for {len(logits)} classes")
    shifted, log_total = _shifted_logits(logits)
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
    if hasattr(labels, "__len__"):
        return _mean([_cross_entropy(*row) for row in _pairs("cross_entropy", logits, labels)])
    return _cross_entropy(logits, labels)
