"""One call of `fit` or `partial_fit`: the settings carried over to pygradc's training, and results.

"adam" is optim.Adam, whose epsilon is added after the correction of the bias, where scikit-learn's
is added before it; "sgd" is optim.SGD, or with nesterovs_momentum, the default, `network.Nesterov`;
"lbfgs" is pygradc.minimize over all rows. alpha's penalty, alpha / 2 * |w|^2, is divided by the sum
of the weights of a batch's rows. So the weights are scikit-learn's up to rounding, for one batch of
standardized data and the same random_state (tests/test_sklearn.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from pygradc import optim
from pygradc.core import arrays
from pygradc.recorded.callbacks import Epoch
from pygradc.sklearn.network import Data, Nesterov, Network
from pygradc.sklearn.progress import Progress
from pygradc.sklearn.rows import Rows

_MOST_ROWS = 200  # of a batch of "auto"
_SEEDS = 2**31 - 1


class Run:
    """Training of a network by an estimator's settings.

    Args:
        settings: The estimator, which isn't changed.
        rows: Standardized.
        score: Of the rows held out, with the network's present weights; None without them.
        random: Where the order of rows comes from.
        goes_on: Continue with its optimizer's state and its progress, for one epoch.
    """

    def __init__(
        self,
        settings: Any,
        network: Network,
        rows: Rows,
        score: Callable[[], float] | None,
        random: np.random.RandomState,
        goes_on: bool,
    ) -> None:
        self.settings, self.network, self.rows = settings, network, rows
        self.score, self.random, self.goes_on = score, random, goes_on

    def results(self) -> dict[str, Any]:
        """Train; returns the estimator's attributes.

        Raises:
            ValueError: the loss, or a step, isn't finite.
        """
        by = self._lbfgs if self.settings.solver == "lbfgs" else self._stochastic
        try:
            return by()
        except FloatingPointError as error:
            raise ValueError(
                f"{type(self.settings).__name__}: training diverged ({error}): a smaller "
                f"learning_rate_init={self.settings.learning_rate_init} or a larger "
                f"alpha={self.settings.alpha} may help"
            ) from error

    def _data(self, batch_size: int) -> Data:
        X, y, weights = self.rows
        mean = float(weights.mean())
        return Data(X, y, weights / mean, self.settings.alpha / (2.0 * batch_size * mean))

    # ---- minibatches

    def _stochastic(self) -> dict[str, Any]:
        settings, count = self.settings, len(self.rows.X)
        progress = self._progress()
        optimizer = self._optimizer(progress.rate(settings))
        batch_size = self._batch_size()
        seed = int(self.random.randint(_SEEDS)) if settings.shuffle else None
        epochs = 0
        is_over = False

        def after(epoch: Epoch) -> bool:
            nonlocal epochs, is_over
            epochs += 1
            is_over = progress.is_over(epoch, count, settings, self.score)
            return is_over

        most = 1 if self.goes_on else int(settings.max_iter)
        try:
            self.network.train(self._data(batch_size), optimizer, batch_size, most, seed, after)
        except KeyboardInterrupt:
            if not epochs:
                raise
            warnings.warn("Training interrupted by user.", stacklevel=2)
            is_over = True
        if not (is_over or self.goes_on):
            _warn(f"max_iter={most} epochs reached, and training hasn't converged yet")
        if progress.best_weights is not None:
            arrays.set_data(optimizer.parameters, progress.best_weights)
        return {
            "n_iter_": epochs,
            "t_": progress.rows,
            "loss_": progress.losses[-1],
            "loss_curve_": progress.losses,
            **_best(progress, self.score is not None),
            "_progress": progress,
            "_optimizer_state": (type(optimizer).__name__, optimizer.state_dict()),
        }

    def _progress(self) -> Progress:
        before: Progress | None = getattr(self.settings, "_progress", None)
        if before is None or not (self.goes_on or self.settings.warm_start):
            return Progress()
        return before.going_on() if self.goes_on else before.beginning()

    def _optimizer(self, rate: float) -> optim.SGD | optim.Adam:
        settings, parameters = self.settings, self.network.parameters
        optimizer: optim.SGD | optim.Adam
        if settings.solver == "adam":
            betas = float(settings.beta_1), float(settings.beta_2)
            optimizer = optim.Adam(parameters, rate, betas, float(settings.epsilon))
        else:
            kind = Nesterov if settings.nesterovs_momentum and settings.momentum else optim.SGD
            optimizer = kind(parameters, rate, float(settings.momentum))
        name, state = getattr(settings, "_optimizer_state", ("", {}))
        if self.goes_on and name == type(optimizer).__name__:
            optimizer.load_state_dict(state)
        return optimizer

    def _batch_size(self) -> int:
        asked, count = self.settings.batch_size, len(self.rows.X)
        if asked == "auto":
            return min(_MOST_ROWS, count)
        if asked > count:
            warnings.warn(
                f"batch_size={asked} is more than the {count} rows: all of them are one batch",
                stacklevel=2,
            )
        return min(int(asked), count)

    # ---- all rows at once

    def _lbfgs(self) -> dict[str, Any]:
        settings, losses = self.settings, []

        def after(iteration: int, loss: float) -> None:
            losses.append(loss)
            if settings.verbose:
                print(f"Iteration {iteration}, loss = {loss:.8f}")

        options = {
            "maxiter": int(settings.max_iter),
            "maxfun": int(settings.max_fun),
            "gtol": float(settings.tol),
        }
        result = self.network.minimize(self._data(len(self.rows.X)), after, options)
        if not result.success:
            _warn(f"lbfgs ended before it had converged: {result.message}")
        loss = float(result.fun)
        return {
            "n_iter_": int(result.nit),
            "t_": 0,
            "loss_": loss,
            "loss_curve_": losses,
            "best_loss_": loss,
            "validation_scores_": None,
            "best_validation_score_": None,
            "_progress": None,
            "_optimizer_state": ("", {}),
        }


def _best(progress: Progress, has_scores: bool) -> dict[str, Any]:
    return {
        "best_loss_": None if has_scores else progress.best,
        "validation_scores_": progress.scores if has_scores else None,
        "best_validation_score_": -progress.best if has_scores else None,
    }


def _warn(what: str) -> None:
    warnings.warn(what, ConvergenceWarning, stacklevel=2)
