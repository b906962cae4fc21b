"""Optimisers: the parameters as a list, their state as numpy arrays, one C call a step.

The formulas are PyTorch's. `lr` and the other settings may be changed between steps.
Source: csrc/optim.c.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pygradc import states, tracing
from pygradc._scalar import Scalar
from pygradc.value import Value

_MOST_STEPS = 2**53  # Adam takes powers of them, as doubles


def _check(name: str, value: float, low: float = 0.0, high: float = float("inf")) -> float:
    number = float(value)
    if not low <= number < high:
        raise ValueError(f"{name} must be in [{low}, {high}), not {value!r}")
    return number


class Optimizer:
    """Holds the parameters. A subclass has `step`, and names its state in `_state`."""

    _state: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Value]) -> None:
        self.parameters = list(parameters)
        for i, p in enumerate(self.parameters):
            if not isinstance(p, Value):
                raise TypeError(f"parameter {i} must be a Value, not {type(p).__name__}")
        self.steps = 0

    def step(self) -> None:
        """Move every parameter against its gradient."""
        raise NotImplementedError

    def _zeros(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.zeros(len(self.parameters))

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        Scalar._zero_grad(self.parameters)

    def state_dict(self) -> dict[str, Any]:
        """Steps taken and the state arrays, shape (parameters,), float64: copies."""
        tracing.refuse("state_dict()")
        arrays = {name: getattr(self, name).copy() for name in self._state}
        return {"steps": self.steps, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict`, or `pygradc.load_state`, gave.

        Raises:
            ValueError: a name is missing or a shape differs; says which. Nothing is changed.
        """
        tracing.refuse("load_state_dict()")
        name = type(self).__name__
        needs = f"{name}: state_dict needs steps and {self._state}"
        states.check_names(needs, state, ("steps", *self._state))
        steps = _steps(name, state["steps"])
        shape = (len(self.parameters),)
        arrays = {key: states.numbers(f"{name}: {key}", state[key], shape) for key in self._state}
        self.steps = steps
        for key, array in arrays.items():
            setattr(self, key, array)


def _steps(name: str, value: Any) -> int:
    try:
        steps = operator.index(value)
    except TypeError:
        steps = -1
    if not 0 <= steps < _MOST_STEPS:
        raise ValueError(f"{name}: steps must be a whole number of at least 0, not {value!r}")
    return steps


class SGD(Optimizer):
    """p -= lr * velocity; velocity = momentum * velocity + grad + weight_decay * p.

    Raises:
        ValueError: a setting is negative or nan.
        TypeError: a parameter isn't a Value.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters)
        self.lr = _check("lr", lr)
        self.momentum = _check("momentum", momentum)
        self.weight_decay = _check("weight_decay", weight_decay)
        self._state = ("velocity",) if momentum else ()
        if momentum:
            self.velocity = self._zeros()

    def _velocity(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """None as long as there was no momentum."""
        if self.momentum and not self._state:
            self._state, self.velocity = ("velocity",), self._zeros()
        return self.velocity if self._state else None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "velocity" in state:  # of one whose momentum came later, as may this one's
            self._velocity()
        super().load_state_dict(state)

    def step(self) -> None:
        """Move every parameter against its gradient."""
        velocity = self._velocity()
        Scalar._sgd(self.parameters, velocity, self.lr, self.momentum, self.weight_decay)
        self.steps += 1


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015); with decoupled=True, AdamW (Loshchilov and Hutter, 2019).

    Raises:
        ValueError: a setting is negative or nan, or a beta isn't below 1.
        TypeError: a parameter isn't a Value.
    """

    _state = ("mean", "square")

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(parameters)
        self.lr = _check("lr", lr)
        self.betas = (_check("betas[0]", betas[0], 0, 1), _check("betas[1]", betas[1], 0, 1))
        self.eps = _check("eps", eps)
        if not self.eps:
            raise ValueError("eps must be above 0: a gradient of 0 would be divided by it")
        self.weight_decay = _check("weight_decay", weight_decay)
        self.decoupled = bool(decoupled)
        self.mean = self._zeros()
        self.square = self._zeros()

    def step(self) -> None:
        """Move every parameter against its averaged gradient."""
        Scalar._adam(
            self.parameters,
            self.mean,
            self.square,
            self.lr,
            *self.betas,
            self.eps,
            self.weight_decay,
            self.decoupled,
            self.steps + 1,
        )
        self.steps += 1
