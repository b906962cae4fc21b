"""Learning-rate schedules: the rate as a function of a number of steps, or of epochs.

A schedule has no state: the rate of a step follows from how many steps were taken before it, which
the optimizer counts and saves (`optimizer.steps`). So training that is interrupted and resumed goes
on where it was.
Cost: a call of a Python function for each step; `fit` makes them before it enters C.
Sources: Loshchilov and Hutter, SGDR, 2017 (cosine); Goyal et al., Accurate, large minibatch SGD,
2017 (warm-up).
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, Literal

from pygradc.optim import number

By = Literal["step", "epoch"]


class LRSchedule:
    """A learning rate for each step or epoch, for `fit(..., schedule=)` or a loop of one's own.

        >>> from pygradc import LRSchedule
        >>> schedule = LRSchedule.warmup(2, then=LRSchedule.step(0.4, every=3, factor=0.5))
        >>> [schedule(steps) for steps in range(9)]
        [0.2, 0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1]
        >>> LRSchedule.cosine(0.1, steps=10, lowest=0.01)
        LRSchedule.cosine(0.1, steps=10, lowest=0.01, by='step')

    It is called with the number of steps (or epochs) before the one whose rate it returns. In a
    loop: `optimizer.lr = schedule(optimizer.steps)`, and then `optimizer.step()`.

    Args:
        rate: A function of that number, 0 in the beginning, that returns the rate. It should depend
            on nothing else, or a resumed run differs.
        by: What `fit` counts: "step", or "epoch": as many steps as `fit` takes in one.
    Raises:
        TypeError, ValueError: an argument isn't as above; when called, if the rate isn't a finite
            number of at least 0.
    """

    def __init__(self, rate: Callable[[int], float], by: By = "step") -> None:
        if isinstance(rate, LRSchedule):
            raise TypeError(
                "LRSchedule: expected a function of the number of steps, not a schedule"
            )
        if not callable(rate):
            raise TypeError(
                f"LRSchedule: expected a function of the number of steps, not {rate!r:.80}: "
                "LRSchedule(lambda steps: 0.1 / (1 + steps))"
            )
        if by not in ("step", "epoch"):
            raise ValueError(f"LRSchedule: by must be 'step' or 'epoch', not {by!r:.80}")
        self.by: By = by
        self._rate = rate
        self._text = str(getattr(rate, "__qualname__", type(rate).__qualname__))

    @classmethod
    def step(cls, lr: float, every: int, factor: float = 0.1, by: By = "step") -> LRSchedule:
        """lr, times factor after each `every` steps or epochs: lr * factor ** (n // every)."""
        lr, factor = _size("step", "lr", lr), _size("step", "factor", factor)
        every = _count("step", "every", every)
        rate = functools.partial(_staircase, lr, every, factor)
        return cls(rate, by)._called(f".step({lr}, every={every}, factor={factor}")

    @classmethod
    def cosine(cls, lr: float, steps: int, lowest: float = 0.0, by: By = "step") -> LRSchedule:
        """From lr down to `lowest` along half a cosine, in so many steps or epochs; then lowest."""
        lr, lowest = _size("cosine", "lr", lr), _size("cosine", "lowest", lowest)
        steps = _count("cosine", "steps", steps)
        rate = functools.partial(_half_wave, lr, steps, lowest)
        return cls(rate, by)._called(f".cosine({lr}, steps={steps}, lowest={lowest}")

    @classmethod
    def warmup(cls, steps: int, then: LRSchedule | float, by: By | None = None) -> LRSchedule:
        """Up to the first rate of `then`, in equal steps from 1 / steps of it; then that schedule.

        Args:
            steps: How many are below that rate, or reach it; `then` counts those after them.
            then: A schedule, or a number: a constant rate.
            by: "step" or "epoch"; None: as `then`.
        """
        steps = _count("warmup", "steps", steps)
        if not isinstance(then, LRSchedule):
            then = cls(functools.partial(_constant, _size("warmup", "then", then)))._named(then)
            then.by = by or "step"
        if by not in (None, then.by):
            raise ValueError(f"LRSchedule.warmup: by={by!r:.80}, but then counts by {then.by!r}")
        rate = functools.partial(_ramp, steps, then)
        return cls(rate, then.by)._called(f".warmup({steps}, then={then._text}")

    def __call__(self, count: int) -> float:
        """The rate after `count` steps or epochs.

        Raises:
            TypeError, ValueError: it isn't a finite number of at least 0.
        """
        rate = number(f"{self!r}: the rate of {self.by} {count}", self._rate(count))
        if not 0.0 <= rate < math.inf:
            raise ValueError(
                f"{self!r}: the rate of {self.by} {count} must be finite and at least 0, not {rate}"
            )
        return rate

    def __repr__(self) -> str:
        return (
            self._text
            if self._text.startswith("LRSchedule.")
            else (f"LRSchedule({self._text}, by={self.by!r})")
        )

    def _called(self, text: str) -> LRSchedule:
        return self._named(f"LRSchedule{text}, by={self.by!r})")

    def _named(self, text: Any) -> LRSchedule:
        self._text = str(text)
        return self


def _staircase(lr: float, every: int, factor: float, count: int) -> float:
    return lr * factor ** (count // every)


def _half_wave(lr: float, steps: int, lowest: float, count: int) -> float:
    if count >= steps:
        return lowest
    return lowest + (lr - lowest) * (1.0 + math.cos(math.pi * count / steps)) / 2.0


def _constant(lr: float, _: int) -> float:
    return lr


def _ramp(steps: int, then: LRSchedule, count: int) -> float:
    return then(0) * (count + 1) / steps if count < steps else then(count - steps)


# ---- arguments ----------------------------------------------------------------------------------


def _size(kind: str, name: str, value: Any) -> float:
    size = number(f"LRSchedule.{kind}: {name}", value)
    if not 0.0 <= size < math.inf:
        raise ValueError(f"LRSchedule.{kind}: {name} must be finite and at least 0, not {value!r}")
    return size


def _count(kind: str, name: str, value: Any) -> int:
    try:
        count = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(
            f"LRSchedule.{kind}: {name} must be a whole number of at least 1, not {value!r:.80}"
        )
    return count
