"""After each epoch, by scikit-learn's rules: has training converged, and the next learning rate.

Training has converged when n_iter_no_change + 1 epochs in a row haven't bettered the best figure by
tol: the training loss, or with early_stopping the score of the rows held out; then the weights of
the best score are restored. An adaptive learning rate is divided by 5 instead, down to 1e-6.
A Progress holds numbers and arrays only, and is kept by the estimator: `partial_fit` goes on there.
Source: scikit-learn, MLPClassifier; the learning rates: its parameter `learning_rate`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from pygradc import optim
from pygradc.recorded.callbacks import Epoch
from pygradc.recorded.rows import Floats

_LEAST_RATE = 1e-6


class Progress:
    """What the epochs so far have come to.

    Attributes:
        losses: Of each epoch.
        scores: Of the rows held out, after each epoch; [] without early stopping.
        rows: Seen so far.
        best: The best loss, or score; infinite before there is one.
        best_weights: Those of the best score, in the order of the optimizer's parameters.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.rows = self.waited = self.reductions = 0
        self.best = math.inf
        self.best_weights: Floats | None = None

    def going_on(self) -> Progress:
        """A copy to go on with: `partial_fit`."""
        other = copy.copy(self)
        other.losses, other.scores = [*self.losses], [*self.scores]
        return other

    def beginning(self) -> Progress:
        """A copy that waits anew, after earlier training: `warm_start`."""
        other = Progress()
        other.losses, other.scores = [*self.losses], [*self.scores]
        return other

    def rate(self, settings: Any) -> float:
        """The learning rate of the next epoch."""
        first = float(settings.learning_rate_init)
        if settings.solver != "sgd" or settings.learning_rate == "constant":
            return first
        if settings.learning_rate == "adaptive":
            return first / 5.0**self.reductions
        return float(first / (self.rows + 1) ** settings.power_t)

    def is_over(
        self, epoch: Epoch, rows: int, settings: Any, score: Callable[[], float] | None
    ) -> bool:
        """Note an epoch over so many rows, and set the next one's learning rate.

        Args:
            settings: The estimator.
            score: Of the rows held out, with the present weights.
        """
        self.rows += rows
        self.losses.append(epoch.loss)
        if settings.verbose:
            print(f"Iteration {len(self.losses)}, loss = {epoch.loss:.8f}")
        self._compare(epoch, settings, score)
        stops = self.waited > settings.n_iter_no_change and not self._reduces(settings)
        assert isinstance(epoch.optimizer, (optim.SGD, optim.Adam))
        epoch.optimizer.lr = self.rate(settings)
        if stops and settings.verbose:
            print(f"No improvement by {settings.tol} in {self.waited} epochs: training ends")
        return stops

    def _compare(self, epoch: Epoch, settings: Any, score: Callable[[], float] | None) -> None:
        figure = epoch.loss  # the less, the better
        if score is not None:
            self.scores.append(score())
            figure = -self.scores[-1]
            if settings.verbose:
                print(f"Validation score: {self.scores[-1]:.6f}")
        worse = figure > self.best - settings.tol
        self.waited = self.waited + 1 if worse else 0
        if figure < self.best:
            self.best = figure
            if score is not None:
                self.best_weights = epoch.weights

    def _reduces(self, settings: Any) -> bool:
        """Is a smaller learning rate the answer?"""
        adaptive = settings.solver == "sgd" and settings.learning_rate == "adaptive"
        if not adaptive or self.rate(settings) <= _LEAST_RATE:
            return False
        self.reductions += 1
        self.waited = 0
        return True
