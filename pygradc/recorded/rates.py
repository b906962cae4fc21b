"""The learning rates of `fit` with a schedule: computed here for many steps, and read by C.

Step numbers are the optimizer's (`optimizer.steps`), and an epoch's number follows from them, so
that a resumed run goes on with the rates of the run that wasn't interrupted. The optimizer's `lr`
is always that of the last step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pygradc import optim
from pygradc.recorded import fit_arguments
from pygradc.recorded.rows import Floats
from pygradc.schedules import LRSchedule

_MOST_AT_ONCE = 1 << 16  # rates that are computed for a call into C


class Rates:
    """A schedule's rates for an optimizer, which takes so many steps in each epoch.

    Raises:
        TypeError: the schedule is none, or the optimizer has no lr; says what to write.
    """

    def __init__(self, schedule: Any, optimizer: optim.Optimizer, per_epoch: int) -> None:
        if not isinstance(schedule, LRSchedule):
            line = "LRSchedule.cosine(0.1, steps=100), or LRSchedule(function of the step's number)"
            kind = fit_arguments.kind_of(schedule)
            raise TypeError(f"fit: schedule must be an LRSchedule, not {kind}: {line}")
        if not hasattr(optimizer, "lr"):
            kind = type(optimizer).__name__
            raise TypeError(f"fit: schedule= sets the optimizer's lr, which {kind} doesn't have")
        self.schedule, self.optimizer, self.per_epoch = schedule, optimizer, per_epoch
        self.most_epochs = max(1, _MOST_AT_ONCE // per_epoch)
        self.first, self.each = 0, np.empty(0)

    def of(self, epochs: int, first: int) -> Floats:
        """The rates of the steps of so many epochs, after the first steps; kept until the next."""
        schedule, per_epoch = self.schedule, self.per_epoch
        if schedule.by == "step":
            each = np.array([schedule(first + i) for i in range(epochs * per_epoch)])
        else:
            done = first // per_epoch
            each = np.repeat([schedule(done + i) for i in range(epochs)], per_epoch)
        self.first, self.each = first, each
        return each

    @property
    def by_epoch(self) -> list[float]:
        """For each epoch of the last call of `of`, the rate of its last step."""
        rates: list[float] = self.each[self.per_epoch - 1 :: self.per_epoch].tolist()
        return rates

    def reach(self, steps: int) -> None:
        """So many steps are taken: the optimizer's lr is the next one's, or the very last one's."""
        self.set(float(self.each[min(steps - self.first, len(self.each) - 1)]))

    def set(self, rate: float) -> None:
        self.optimizer.lr = rate

    def check_count(self, before: int) -> None:
        """Require that a step in Python has counted itself.

        Raises:
            TypeError: it hasn't.
        """
        if self.optimizer.steps != before + 1:
            kind = type(self.optimizer).__name__
            raise TypeError(
                f"fit: schedule= goes by the optimizer's steps, which the step of {kind} doesn't "
                "count: end it with self.steps += 1"
            )

    def check(self, before: float) -> None:
        """Refuse that a callback has set lr, which the next step would overwrite.

        Raises:
            ValueError: it did.
        """
        now = self.optimizer.lr
        if now != before:
            raise ValueError(
                f"fit: a callback set lr={now!r}, which schedule= sets before each step: put the "
                "rate into the schedule, or leave schedule= out"
            )
