"""Checks of the estimators' arguments, when `fit` begins: scikit-learn's rules, one row each.

The names, bounds and defaults are scikit-learn's (`sklearn.neural_network.MLPClassifier`).
An error names the argument, and what it takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from pygradc.core.ops import activation_number

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}  # others have the names of their ops
SOLVERS = ("adam", "sgd", "lbfgs")
RATES = ("constant", "invscaling", "adaptive")

Check = Callable[[str, Any], None]  # of the argument's name and value; raises


def check(estimator: Any) -> None:
    """Check the arguments that the estimator was constructed with.

    Raises:
        TypeError, ValueError: one can't be used; names it.
    """
    for name, rule in _RULES.items():
        rule(f"{type(estimator).__name__}: {name}", getattr(estimator, name))
    hidden_sizes(estimator)
    activation_of(estimator)


def hidden_sizes(estimator: Any) -> list[int]:
    """Neurons of each hidden layer; [] for a linear model."""
    given = estimator.hidden_layer_sizes
    what = f"{type(estimator).__name__}: hidden_layer_sizes"
    listed = [given] if np.ndim(given) == 0 else list(given)
    for size in listed:
        if not _is_whole(size):
            raise TypeError(f"{what} must be whole numbers, such as (100,), not {given!r:.80}")
        if size < 1:
            raise ValueError(f"{what} must be at least 1, not {given!r:.80}")
    return [int(size) for size in listed]


def activation_of(estimator: Any) -> str:
    """The hidden layers' activation as `nn` names it."""
    given, kind = estimator.activation, type(estimator).__name__
    if not isinstance(given, str):
        raise TypeError(f"{kind}: activation must be a name, such as 'relu', not {given!r:.80}")
    name = ACTIVATIONS.get(given, given)
    try:
        activation_number(name)
    except ValueError as error:
        raise ValueError(f"{kind}: {error}; or one of {[*ACTIVATIONS]}") from None
    return name


# ---- rules --------------------------------------------------------------------------------------


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _number(low: float, high: float = math.inf, ends: str = "[)") -> Check:
    """A number from low to high; ends says which of the two belong, as in [0, 1)."""

    def check_number(what: str, value: Any) -> None:
        if not _is_real(value):
            raise TypeError(f"{what} must be a number, not {value!r:.80}")
        above = value >= low if ends[0] == "[" else value > low
        below = value <= high if ends[1] == "]" else value < high
        if not (above and below):
            raise ValueError(f"{what} must be in {ends[0]}{low:g}, {high:g}{ends[1]}, not {value}")

    return check_number


def _whole(what: str, value: Any) -> None:
    if not _is_whole(value):
        raise TypeError(f"{what} must be a whole number, not {value!r:.80}")
    if value < 1:
        raise ValueError(f"{what} must be at least 1, not {value}")


def _or(other: Any, rule: Check) -> Check:
    """This value, or what the rule allows."""

    def check_either(what: str, value: Any) -> None:
        if type(value) is not type(other) or value != other:
            rule(what, value)

    return check_either


def _one_of(names: Sequence[str]) -> Check:
    def check_name(what: str, value: Any) -> None:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"{what} must be one of {list(names)}, not {value!r:.80}")

    return check_name


def _flag(what: str, value: Any) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be True or False, not {value!r:.80}")


def _verbosity(what: str, value: Any) -> None:
    if not isinstance(value, (bool, np.bool_, Integral)) or value < 0:
        raise TypeError(f"{what} must be True, False or a whole number, not {value!r:.80}")


_RULES: dict[str, Check] = {
    "solver": _one_of(SOLVERS),
    "alpha": _number(0.0),
    "batch_size": _or("auto", _whole),
    "learning_rate": _one_of(RATES),
    "learning_rate_init": _number(0.0, ends="()"),
    "power_t": _number(0.0),
    "max_iter": _whole,
    "shuffle": _flag,
    "tol": _number(0.0),
    "verbose": _verbosity,
    "warm_start": _flag,
    "momentum": _number(0.0, 1.0, "[]"),
    "nesterovs_momentum": _flag,
    "early_stopping": _flag,
    "validation_fraction": _number(0.0, 1.0),
    "beta_1": _number(0.0, 1.0),
    "beta_2": _number(0.0, 1.0),
    "epsilon": _number(0.0, ends="()"),
    "n_iter_no_change": _or(math.inf, _whole),
    "max_fun": _whole,
}
