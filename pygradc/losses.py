"""Losses, written with Value's operators, so that they work with any micrograd-like engine.

Each takes one prediction or a batch and returns one Value, the mean over the batch.

Numbers: mse, mae, huber. Two classes: bce_with_logits and hinge of a score, bce of a probability.
More: cross_entropy and soft_cross_entropy of scores, nll of the logarithms of probabilities.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence, Set
from functools import reduce
from typing import Any

import numpy as np

from pygradc.core.foreign import array_of, is_foreign
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
    if type(x) is not list and is_foreign(x) and getattr(x, "ndim", 1) != 0:
        x = array_of(name, x)
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
    return x.tolist() if isinstance(x, np.ndarray) else list(x)


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


def _mean(terms: list[Any]) -> Value:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total * (1.0 / len(terms))  # type: ignore[no-any-return]


def mse(predictions: Any, targets: Any) -> Value:
    """Mean of (prediction - target)**2.

        >>> from pygradc import Value, losses
        >>> losses.mse([Value(1.0), Value(3.0)], [1.0, 1.0]).data
        2.0

    Args:
        predictions: A Value, n of them, or n rows of Values: the mean is over all.
        targets: As many numbers or Values, in the same shape.
    Raises:
        ValueError: the lengths differ, the batch is empty, or entries are masked.
        TypeError: an item is neither a number nor a Value.
    """
    return _mean([(p - t) ** 2 for p, t in _pairs("mse", predictions, targets)])


def hinge(scores: Any, targets: Any) -> Value:
    """Mean of max(0, 1 - target*score), targets -1 or 1: micrograd's svm loss.

        >>> from pygradc import Value, losses
        >>> losses.hinge([Value(2.0), Value(0.5)], [1, -1]).data
        0.75

    Args, Raises: as `mse`.
    """
    return _mean([(1 + -t * s).relu() for s, t in _pairs("hinge", scores, targets)])


def mae(predictions: Any, targets: Any) -> Value:
    """Mean of abs(prediction - target); its derivative is 0 where the two are equal.

        >>> from pygradc import Value, losses
        >>> losses.mae([Value(1.0), Value(3.0)], [1.0, 1.0]).data
        1.0

    Args, Raises: as `mse`.
    """
    return _mean([abs(p - t) for p, t in _pairs("mae", predictions, targets)])


def _threshold(delta: Any) -> float:
    number = as_number(delta)
    if number is NotImplemented:
        raise TypeError(f"huber: delta must be a number, not {type(delta).__name__}")
    if not number > 0:
        raise ValueError(f"huber: delta must be larger than 0, not {delta!r}")
    return float(number)


def huber(predictions: Any, targets: Any, delta: float = 1.0) -> Value:
    """Mean of 0.5*d**2 where abs(d) <= delta, else delta*(abs(d) - 0.5*delta); d: the difference.

        >>> from pygradc import Value, losses
        >>> losses.huber(Value(0.5), 0.0).data, losses.huber(Value(3.0), 0.0).data
        (0.125, 2.5)

    Args:
        predictions, targets: As `mse`.
        delta: Where the square becomes a line; a number larger than 0.
    Raises:
        ValueError, TypeError: as `mse`; delta isn't such a number.
    Source: Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35, 1964.
    """
    delta = _threshold(delta)
    differences = [_as_value(p - t) for p, t in _pairs("huber", predictions, targets)]
    near = [d.maximum(-delta).minimum(delta) for d in differences]  # c * (d - c/2) is both formulas
    return _mean([c * (d - c * 0.5) for d, c in zip(differences, near)])


# ---- two classes ---------------------------------------------------------------------------------


def _as_value(x: Any) -> Any:
    """A number as a Value; in a recording also a comparison."""
    return x if hasattr(x, "backward") else tracing.as_value(x)


def _weighted_log(weight: Any, x: Any) -> Any:
    """weight * log(x), and 0 where both are 0."""
    if core.tracing():
        x = tracing.where(tracing.logical_and(x == 0.0, weight == 0.0), 1.0, x)
    elif x.data == getattr(weight, "data", weight) == 0.0:
        x = x * 0.0 + 1.0
    return weight * x.log()


def _require_finite(probability: float, target: float) -> None:
    """Refuse in eager code what `log` refuses in a recording, and say what to write."""
    impossible = (probability == 0.0 and target != 0.0) or (probability == 1.0 and target != 1.0)
    if impossible or probability < 0.0 or probability > 1.0:
        raise ValueError(
            f"bce: probability {probability!r} for target {target!r}: the loss is infinite or "
            "undefined. Instead, write bce_with_logits of what went into the sigmoid, or bce of "
            "pygradc.clip(probability, 1e-12, 1.0 - 1e-12)"
        )


def _bce(probability: Any, target: Any) -> Any:
    p, t = _as_value(probability), target
    if core.tracing():
        t = tracing.as_value(target)
    else:
        _require_finite(p.data, getattr(t, "data", t))
    return -(_weighted_log(t, p) + _weighted_log(1.0 - t, 1.0 - p))


def bce(probabilities: Any, targets: Any) -> Value:
    """Binary cross-entropy: mean of -(target*log(p) + (1 - target)*log(1 - p)).

        >>> from pygradc import Value, losses
        >>> print(f"{losses.bce(Value(0.8), 1).data:.4f}")         # -log(0.8)
        0.2231

    A probability of exactly 0 or 1 has loss 0 if it is the target, and else an infinite one, which
    is an error, where PyTorch would put 100. `bce_with_logits` doesn't have this edge, nor the
    rounding of 1 - p: prefer it.

    Args:
        probabilities: Between 0 and 1: a Value, n of them, or n rows of Values.
        targets: As many numbers or Values between 0 and 1, in the same shape.
    Raises:
        ValueError: a loss is infinite or undefined (in a recording that row fails, with the error
            of log); the lengths differ, the batch is empty, or entries are masked.
        TypeError: an item is neither a number nor a Value.
    """
    return _mean([_bce(p, t) for p, t in _pairs("bce", probabilities, targets)])


def bce_with_logits(logits: Any, targets: Any) -> Value:
    """bce(sigmoid(logit), target), stable for logits of any size.

        >>> from pygradc import Value, losses
        >>> losses.bce_with_logits([Value(1000.0), Value(-1000.0)], [1, 1]).data
        500.0

    As target*softplus(-logit) + (1 - target)*softplus(logit): neither term can cancel the other, so
    that small losses and derivatives keep their digits.

    Args, Raises: as `mse`; targets between 0 and 1.
    """
    terms = []
    for logit, t in _pairs("bce_with_logits", logits, targets):
        z = _as_value(logit)
        terms.append((-z).softplus() * t + z.softplus() * (1.0 - t))
    return _mean(terms)


# ---- several classes -----------------------------------------------------------------------------


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


def log_softmax(logits: Sequence[Any]) -> list[Value]:
    """log(exp(logit) / sum of exp(logits)) for each logit; at least one Value.

    >>> from pygradc import Value, losses
    >>> [round(v.data, 4) for v in losses.log_softmax([Value(0.0), Value(0.0)])]     # log(1/2)
    [-0.6931, -0.6931]
    """
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


def soft_cross_entropy(logits: Sequence[Any], probabilities: Sequence[Any]) -> Value:
    """-sum(p * log(softmax(logits))), for one row; one-hot probabilities for a label.

        >>> from pygradc import Value, losses
        >>> print(f"{losses.soft_cross_entropy([Value(1.0), Value(0.0)], [0.5, 0.5]).data:.4f}")
        0.8133

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
    return total * 2.0  # type: ignore[no-any-return]


def _class_of(name: str, label: Any, classes: int) -> int:
    if type(label) is int and 0 <= label < classes:
        return label
    if getattr(label, "ndim", None) == 0:
        refuse_masked(f"{name}: label", label)
        label = label.item()
    if isinstance(label, Value):
        label = label.data
    try:
        number = int(label)
        if number == label and 0 <= number < classes:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name}: label {label} for {classes} classes")


def _row_and_class(name: str, row: Any, label: Any) -> tuple[list[Any], Any]:
    """One row as a list, and the index of its class; in a recorded function perhaps a Value."""
    if not _is_batch(row) or _is_batch(label):
        raise ValueError(
            f"{name}: expected a label, the class index, for each row of logits; "
            "one-hot rows are for soft_cross_entropy"
        )
    items = row if type(row) is list else _items(f"{name}: logits", row)
    if isinstance(label, tracing.Condition):
        label = tracing.as_value(label)
    is_asked_later = core.tracing() and core.is_traced(label)
    return items, label if is_asked_later else _class_of(name, label, len(items))


def _cross_entropy(logits: Any, label: Any) -> Value:
    row, index = _row_and_class("cross_entropy", logits, label)
    shifted, log_total = _shifted_logits(row)
    return log_total - tables.take(shifted, index)  # type: ignore[no-any-return]


def _mean_over_rows(name: str, loss: Callable[[Any, Any], Value], rows: Any, labels: Any) -> Value:
    """loss(row, label), or its mean over a batch of them."""
    if _is_batch(labels):
        return _mean(list(map(loss, *_sides(name, rows, labels))))
    return loss(rows, labels)


def cross_entropy(logits: Sequence[Any], labels: Any) -> Value:
    """Negative log-likelihood of the label under softmax(logits).

        >>> from pygradc import Value, losses
        >>> logits = [Value(2.0), Value(0.0), Value(0.0)]
        >>> losses.cross_entropy(logits, 0).backward()
        >>> [round(v.grad, 3) for v in logits]               # softmax, less 1 at the label
        [-0.213, 0.107, 0.107]

    Args:
        logits: One Value per class; or a batch, n such rows.
        labels: The class index; or n of them. In a recorded function they may be inputs.
    Returns:
        One Value, the mean over the batch.
    Raises:
        ValueError: a label isn't a class index, the lengths differ, or there are no rows. A row of
            a recorded function raises FloatingPointError, as `pygradc.take` does.
    """
    return _mean_over_rows("cross_entropy", _cross_entropy, logits, labels)


def _nll(log_probabilities: Any, label: Any) -> Value:
    row, index = _row_and_class("nll", log_probabilities, label)
    return -tables.take(  # type: ignore[no-any-return]
        [_plain("nll: log_probabilities", x) for x in row], index
    )


def nll(log_probabilities: Sequence[Any], labels: Any) -> Value:
    """Negative log-likelihood of the label: -log_probabilities[label].

        >>> from pygradc import Value, losses
        >>> logits = [Value(2.0), Value(0.0)]
        >>> loss = losses.nll(losses.log_softmax(logits), 1)
        >>> loss.data == losses.cross_entropy(logits, 1).data
        True

    nll(log_softmax(logits), label) is cross_entropy(logits, label).

    Args:
        log_probabilities: One Value per class; or a batch, n such rows.
        labels, Returns, Raises: as `cross_entropy`.
    """
    return _mean_over_rows("nll", _nll, log_probabilities, labels)
