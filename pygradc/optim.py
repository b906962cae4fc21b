"""Optimizers: parameters in a list, state in numpy arrays, one C call per step.

The formulas are PyTorch's. `lr` and the other settings may be changed between steps.
Source: csrc/graph/optim.c.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pygradc import states
from pygradc.core import arrays
from pygradc.core.arrays import Floats
from pygradc.core.refusals import refuse
from pygradc.core.scalar import core
from pygradc.value import Value

_MOST_STEPS = 2**53  # Adam raises the betas to the number of steps, as doubles


def _check(name: str, value: Any, low: float = 0.0, high: float = float("inf")) -> float:
    checked = number(name, value)
    if not low <= checked < high:
        raise ValueError(f"{name} must be in [{low}, {high}), not {value!r}")
    return checked


def number(name: str, value: Any) -> float:
    """Convert a setting to float; refuse strings, bools, bytes, Values and non-scalar arrays."""
    hint = ""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            hint = f": write {name}={float(value)!r}, without quotes"
    elif isinstance(value, Value):
        hint = f": write {name}=v.data"
    elif name == "lr" and callable(value):
        hint = ": pass a schedule to fit(..., schedule=), or set lr before each step of a loop"
    elif not isinstance(value, (bool, np.bool_, bytes, bytearray)) and np.ndim(value) == 0:
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    raise TypeError(f"{name} must be a number, not {_shown(value)}{hint}")


def _shown(value: Any) -> str:
    """Describe a wrong argument for an error message: its type and repr."""
    return f"{value!r:.80}" if value is None else f"{type(value).__name__} {value!r:.80}"


def check_parameters(name: str, parameters: Sequence[Any]) -> None:
    """Check that an optimizer can train these: Values, at least one, each once.

    Args:
        name: The caller's name, for messages.
    Raises:
        TypeError: an item isn't a Value.
        ValueError: the list is empty, or a Value occurs twice.
    """
    if parameters and core.are_distinct(parameters):
        return
    for i, p in enumerate(parameters):
        if not isinstance(p, Value):
            hint = "; pass one flat list" if isinstance(p, _CONTAINERS) else ""
            raise TypeError(f"{name}: parameter {i} must be a Value, not {type(p).__name__}{hint}")
    if not parameters:
        raise ValueError(
            f"{name}: no parameters to train: the list is empty, or an exhausted iterator; "
            "expected Values, such as model.parameters()"
        )
    places: dict[int, int] = {}
    for i, p in enumerate(parameters):
        first = places.setdefault(id(p), i)
        if first != i:
            raise ValueError(
                f"{name}: parameter {i} is parameter {first} again; list a shared parameter "
                "once: list(dict.fromkeys(parameters))"
            )


_CONTAINERS = (list, tuple, dict, np.ndarray)


def _listed(name: str, parameters: Any) -> list[Value]:
    """The parameters passed to a call, as a list.

    Raises:
        TypeError, ValueError: not valid parameters; the message says what to write.
    """
    kind = type(parameters).__name__
    example = f"{name}(model.parameters(), lr=0.01)"
    if callable(getattr(parameters, "parameters", None)):
        raise TypeError(f"{name}: expected parameters, not the {kind} that has them: {example}")
    if isinstance(parameters, Value):
        raise TypeError(f"{name}: expected a list of Values, not one: {name}([w], lr=0.01)")
    if isinstance(parameters, Mapping):
        raise TypeError(f"{name}: expected a list of Values, not a {kind}: pass its values()")
    try:
        listed = list(parameters)
    except TypeError as error:
        if hasattr(type(parameters), "__iter__"):
            raise  # it is iterable, and its iterator failed
        raise TypeError(f"{name}: expected parameters, not {kind}: {example}") from error
    check_parameters(name, listed)
    return listed


@dataclasses.dataclass(frozen=True)
class ClipGradients:
    """Limits gradients before a step: their norm, or each one. An optimizer takes it as `clip=`.

        >>> from pygradc import ClipGradients, Value, optim
        >>> v, w = Value(1.0), Value(2.0)
        >>> (30.0 * v + 40.0 * w).backward()
        >>> ClipGradients(norm=5.0)([v, w])
        50.0
        >>> v.grad, w.grad
        (2.9999999400000013, 3.999999920000002)
        >>> optimizer = optim.SGD([v, w], lr=0.1, clip=ClipGradients(value=0.5))
        >>> optimizer.step()
        >>> v.data, w.data, optimizer.clip.norm, optimizer.clip.value
        (0.95, 1.95, None, 0.5)

    Args:
        norm: All gradients are multiplied by norm / (n + 1e-6), if that is less than 1, where n is
            their Euclidean norm: PyTorch's `clip_grad_norm_`. Squares are summed in the parameters'
            order. (Where that sum is infinite or below 1e-280, gradients are divided by the
            largest before they are squared.)
        value: Each gradient is limited to [-value, value]: PyTorch's `clip_grad_value_`.
    Raises:
        TypeError, ValueError: neither or both are given, or it isn't a finite number above 0.
    Infinite gradients and nan stay as they are, with the norm also all others: so `fit` refuses the
    step, as without clipping.
    Source: csrc/graph/optim.c.
    """

    norm: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        if (self.norm is None) == (self.value is None):
            raise TypeError(
                "ClipGradients: give one of norm and value: ClipGradients(norm=1.0), or "
                "ClipGradients(value=0.5)"
            )
        for name in ("norm", "value"):
            given = getattr(self, name)
            if given is None:
                continue
            limit = number(f"ClipGradients: {name}", given)
            if not 0.0 < limit < float("inf"):
                raise ValueError(f"ClipGradients: {name} must be finite and above 0, not {given!r}")
            object.__setattr__(self, name, limit)

    def __call__(self, parameters: Iterable[Value]) -> float:
        """Clip the gradients of these Values in place; returns their norm (0.0 with `value`)."""
        return arrays.clip_grads(list(parameters), self.norm or 0.0, self.value or 0.0)


def check_clip(value: Any) -> ClipGradients | None:
    if value is None or isinstance(value, ClipGradients):
        return value
    hint = "ClipGradients(norm=1.0), or ClipGradients(value=0.5)"
    raise TypeError(f"clip must be a ClipGradients, not {_shown(value)}: {hint}")


class Optimizer:
    """Holds the parameters. A subclass defines `step`, and names its state arrays in `_state`.

        >>> from pygradc import Value, optim
        >>> class Signs(optim.Optimizer):
        ...     def step(self):
        ...         for p in self.parameters:
        ...             p.data -= 0.1 * ((p.grad > 0) - (p.grad < 0))
        ...         self.steps += 1
        >>> w = Value(1.0)
        >>> signs = Signs([w])
        >>> (w * w).backward()
        >>> signs.step()
        >>> signs.zero_grad()
        >>> w, signs.state_dict()
        (Value(data=0.9, grad=0.0), {'steps': 1})
        >>> signs.load_state_dict({"steps": 7})
        >>> signs.steps, signs.clip
        (7, None)

    Args:
        parameters: An iterable of Values, at least one, each once.
    Raises:
        TypeError: not an iterable of Values; the message says what to write.
        ValueError: there are none, or one occurs twice.
    Attributes:
        steps: The number of steps taken.
        clip: A ClipGradients, with which the steps of SGD, RMSprop, Adam and AdamW begin; None.
    """

    _state: tuple[str, ...] = ()
    clip: ClipGradients | None = None

    def __init__(self, parameters: Iterable[Value]) -> None:
        self.parameters = _listed(type(self).__name__, parameters)
        self.steps = 0

    def __repr__(self) -> str:
        """The class, the settings that aren't the defaults, and how many parameters."""
        shown = []
        for name, setting in inspect.signature(type(self)).parameters.items():
            value = repr(getattr(self, name, setting.default))
            if name == "lr" or (name != "parameters" and value != repr(setting.default)):
                shown.append(f"{name}={value:.80}")
        count = len(getattr(self, "parameters", ()))
        shown.append(f"{count:,} parameter{'s' * (count != 1)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def step(self) -> None:
        """Move every parameter against its gradient."""
        raise NotImplementedError

    def _clip_with(self, clip: Any) -> None:
        if clip is not None:  # else the class's
            self.clip = check_clip(clip)

    def _zeros(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.zeros(len(self.parameters))

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        core.zero_grad(self.parameters)

    def state_dict(self) -> dict[str, Floats | int]:
        """The number of steps, and copies of the state arrays, shape (parameters,), float64."""
        refuse("state_dict()")
        copies = {name: getattr(self, name).copy() for name in self._state}
        return {"steps": self.steps, **copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from the result of `state_dict` or `pygradc.load_state`.

        Raises:
            ValueError: a name is missing or a shape differs; the message says which. Nothing is
                changed.
        """
        refuse("load_state_dict()")
        name = type(self).__name__
        needs = f"{name}: state_dict needs steps and {self._state}"
        states.check_names(needs, state, ("steps", *self._state))
        steps = _steps(name, state["steps"])
        shape = (len(self.parameters),)
        given = {key: states.numbers(f"{name}: {key}", state[key], shape) for key in self._state}
        self.steps = steps
        for key, array in given.items():
            setattr(self, key, array)


def _steps(name: str, value: Any) -> int:
    try:
        steps = operator.index(value)
    except TypeError:
        steps = -1
    if not 0 <= steps < _MOST_STEPS:
        raise ValueError(f"{name}: steps must be a whole number of at least 0, not {value!r}")
    return steps


class _WithMomentum(Optimizer):
    """An optimizer whose velocities exist from when momentum is first set."""

    momentum: float
    velocity: Floats

    def _velocity(self) -> Floats | None:
        """The velocities; None until momentum is first set."""
        if self.momentum and "velocity" not in self._state:
            self._state, self.velocity = (*self._state, "velocity"), self._zeros()
        return self.velocity if "velocity" in self._state else None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "velocity" in state:  # saved with momentum, which may have been off here so far
            self._velocity()
        super().load_state_dict(state)


class SGD(_WithMomentum):
    """p -= lr * velocity; velocity = momentum * velocity + grad + weight_decay * p.

        >>> from pygradc import Value, optim
        >>> w = Value(1.0)
        >>> optimizer = optim.SGD([w], lr=0.25, momentum=0.9)
        >>> for step in range(2):
        ...     optimizer.zero_grad()
        ...     (w * w).backward()
        ...     optimizer.step()
        >>> print(f"{w.data:.3f} {optimizer.velocity[0]:.1f}")
        -0.200 2.8

    Args:
        lr: The learning rate; must be given.
        clip: A ClipGradients, or None.
    Raises:
        ValueError: a setting is negative or nan; no parameters, or one twice.
        TypeError: a parameter isn't a Value, or a setting isn't a number.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float | None = None,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        *,
        clip: ClipGradients | None = None,
    ) -> None:
        super().__init__(parameters)
        if lr is None:
            raise TypeError("SGD: lr, the learning rate, is missing: SGD(parameters, lr=0.01)")
        self.lr = _check("lr", lr)
        self.momentum = _check("momentum", momentum)
        self.weight_decay = _check("weight_decay", weight_decay)
        self._state = ("velocity",) if momentum else ()
        if momentum:
            self.velocity = self._zeros()
        self._clip_with(clip)

    def step(self) -> None:
        """Move every parameter against its gradient."""
        velocity = self._velocity()
        if self.clip is not None:
            self.clip(self.parameters)
        core.sgd(self.parameters, velocity, self.lr, self.momentum, self.weight_decay)
        self.steps += 1


class RMSprop(_WithMomentum):
    """A step divided by the root of the gradient's mean square (Tieleman and Hinton, 2012).

        >>> from pygradc import Value, optim
        >>> w = Value(1.0)
        >>> optimizer = optim.RMSprop([w], lr=0.01, clip=optim.ClipGradients(value=3.0))
        >>> w.grad = 5.0
        >>> optimizer.step()
        >>> print(f"{w.data:.6f} {optimizer.square[0]:.6f}")  # at first lr / sqrt(1 - alpha)
        0.900000 0.090000
        >>> optimizer.alpha, optimizer.eps, optimizer.weight_decay, optimizer.momentum
        (0.99, 1e-08, 0.0, 0.0)

    grad += weight_decay * p; square = alpha * square + (1 - alpha) * grad**2;
    velocity = momentum * velocity + grad / (sqrt(square) + eps); p -= lr * velocity.
    PyTorch's, but for its option `centered`.

    Args:
        clip: A ClipGradients, or None.
    Raises:
        ValueError: a setting is negative or nan, or alpha isn't below 1; no parameters, or one
            twice.
        TypeError: a parameter isn't a Value, or a setting isn't a number.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        *,
        clip: ClipGradients | None = None,
    ) -> None:
        super().__init__(parameters)
        self.lr = _check("lr", lr)
        self.alpha = _check("alpha", alpha, 0, 1)
        self.eps = _check_eps(eps)
        self.weight_decay = _check("weight_decay", weight_decay)
        self.momentum = _check("momentum", momentum)
        self._state = ("square", "velocity") if momentum else ("square",)
        self.square = self._zeros()
        if momentum:
            self.velocity = self._zeros()
        self._clip_with(clip)

    def step(self) -> None:
        """Move every parameter against its gradient."""
        velocity = self._velocity()
        if self.clip is not None:
            self.clip(self.parameters)
        core.rmsprop(
            self.parameters,
            self.square,
            velocity,
            self.lr,
            self.alpha,
            self.eps,
            self.weight_decay,
            self.momentum,
        )
        self.steps += 1


def _check_eps(value: Any) -> float:
    eps = _check("eps", value)
    if not eps:
        raise ValueError("eps must be greater than 0: a gradient of 0 is divided by it")
    return eps


def _betas(given: Any) -> tuple[float, float]:
    if isinstance(given, (str, bytes)) or np.shape(given) != (2,):
        raise TypeError(f"betas must be two numbers, such as (0.9, 0.999), not {_shown(given)}")
    first, second = given
    return _check("betas[0]", first, 0, 1), _check("betas[1]", second, 0, 1)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015); with decoupled=True, AdamW (Loshchilov and Hutter, 2019).

        >>> from pygradc import Value, optim
        >>> w = Value(1.0)
        >>> optimizer = optim.Adam([w], lr=0.1)
        >>> (w * w).backward()
        >>> optimizer.step()                                 # of lr at first, whatever the gradient
        >>> print(f"{w.data:.3f}")
        0.900

    Raises:
        ValueError: a setting is negative or nan, or a beta isn't below 1; no parameters, or one
            twice.
        TypeError: a parameter isn't a Value, or a setting isn't a number.
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
        *,
        clip: ClipGradients | None = None,
    ) -> None:
        super().__init__(parameters)
        self.lr = _check("lr", lr)
        self.betas = _betas(betas)
        self.eps = _check_eps(eps)
        self.weight_decay = _check("weight_decay", weight_decay)
        self.decoupled = bool(decoupled)
        self.mean = self._zeros()
        self.square = self._zeros()
        self._clip_with(clip)

    def step(self) -> None:
        """Move every parameter against its exponentially averaged gradient."""
        if self.clip is not None:
            self.clip(self.parameters)
        core.adam(
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


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), by default 0.01.

        >>> from pygradc import Value, optim
        >>> w = Value(1.0)
        >>> optim.AdamW([w], lr=0.5, weight_decay=0.1).step()  # its gradient is 0: only the decay
        >>> w
        Value(data=0.95, grad=0.0)

    The same steps, bit for bit, as those of Adam(..., weight_decay=0.01, decoupled=True): before
    each of Adam's, p -= lr * weight_decay * p.

    Raises:
        ValueError, TypeError: as Adam.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip: ClipGradients | None = None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, decoupled=True, clip=clip)
