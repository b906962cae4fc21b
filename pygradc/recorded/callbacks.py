"""Callbacks of `fit`: the record that they receive after each epoch, and EarlyStopping.

Which weights belong to a figure? The history's loss of an epoch is measured row by row before each
batch's step, so that no single set of weights has it; with one batch per epoch it is that of the
weights with which the epoch began. Validation losses and metrics are measured after the epoch, and
belong to `Epoch.weights`. So EarlyStopping only compares figures of the latter kind: where it
watches the training loss, `fit` measures that again after each epoch.
"""

from __future__ import annotations

import inspect
import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pygradc import optim, states
from pygradc.core import arrays
from pygradc.recorded import fit_arguments
from pygradc.recorded.compiled import _levels_to_user
from pygradc.recorded.history import LOSS, VALIDATION_LOSS, History
from pygradc.recorded.rows import Floats
from pygradc.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from pygradc.recorded.measures import Measures


class Epoch(NamedTuple):
    """What `fit` passes to each of its `callbacks` after an epoch.

        >>> from pygradc import Value, compile, fit, optim
        >>> w = Value(1.0)
        >>> def show(e):
        ...     print(e.epoch, e.loss, e.weights, e.lr, e.validation_loss, e.training_loss)
        ...     assert e.parameters == [w] and e.metrics == {} and e.seconds >= 0.0
        ...     e.optimizer.lr /= 2
        >>> loss = compile(lambda x: (w * x) ** 2)
        >>> history = fit(loss, [1.0, 2.0], optim.SGD([w], lr=0.1), epochs=2, callbacks=[show])
        1 2.5 [0.5] 0.1 None None
        2 0.625 [0.375] 0.05 None None

    Attributes:
        epoch: Its number, counted from 1.
        loss: As in the history: each row's loss is taken before its batch's step.
        validation_loss: None without validation data.
        metrics: By name.
        lr: The learning rate of the epoch's last step; nan if the optimizer has none.
        seconds: The time of its steps.
        parameters: The Values that were trained.
        weights: A read-only copy of their data after the epoch, before any callback of this epoch:
            the validation loss and the metrics are those of these weights.
        training_loss: The mean loss over the training rows with these weights; None unless an
            EarlyStopping watches it.
        optimizer: Its parameters, state and settings may be set, and hold from the next epoch on.
    """

    epoch: int
    loss: float
    validation_loss: float | None
    metrics: dict[str, float]
    lr: float
    seconds: float
    parameters: list[Value]
    weights: Floats
    training_loss: float | None
    optimizer: optim.Optimizer


class EarlyStopping:
    """Ends training when a figure has not improved for a while; then restores the best weights.

        >>> from pygradc import EarlyStopping, Value, compile, fit, optim
        >>> w = Value(0.0)
        >>> loss = compile(lambda x, y: (w * x - y) ** 2)
        >>> held_out = [1.0], [0.75]
        >>> history = fit(
        ...     loss, [1.0, 2.0], [1.0, 2.0], optim.SGD([w], lr=0.1), epochs=100,
        ...     validation_data=held_out, callbacks=[EarlyStopping(patience=3)])
        >>> history.validation_loss, w.data
        ([0.0625, 0.0, 0.015625, 0.03515625, 0.0478515625], 0.75)

    All figures are measured after an epoch, and belong to the weights at its end, before any
    callback: the validation loss, a metric, or without validation data the training loss. The
    latter is measured again over all training rows, which takes one more replay of them per epoch:
    the history's loss of an epoch is measured before each of its steps (with one batch per epoch it
    is that of the weights with which the epoch began), not with the weights at its end.
    EarlyStopping warns once if it watches the training loss for want of validation data.

    Args:
        patience: Epochs in a row without an improvement, at least 1, after which training ends.
        restore_best: When `fit` ends, for whatever reason but an exception, set the parameters to
            those of the best figure. (After Ctrl-C, `end(optimizer)` does so.) The optimizer's
            state stays as after the last step, and a checkpoint holds the weights after the last
            step, so that a longer run can resume.
        monitor: "validation_loss", "loss", or the name of a metric; None: the validation loss, or
            without validation data the training loss.
        min_delta: Only a figure that is better by more than this ends the wait; the best weights
            are those of the best figure in any case.
        mode: "min" if smaller figures are better, "max" if larger ones are. None: "min" for losses;
            for a metric it must be given.
    Raises:
        TypeError, ValueError: an argument isn't as above. `fit` raises ValueError if it has no such
            figure.
    Attributes:
        best: The best figure so far; nan before there is one. nan is never better.
        best_epoch: Its epoch; 0 before there is one.
    A new call of `fit` begins anew, unless it resumes or a state was loaded.
    """

    def __init__(
        self,
        patience: int,
        restore_best: bool = True,
        monitor: str | None = None,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] | None = None,
    ) -> None:
        self.patience, self.restore_best = _patience(patience), bool(restore_best)
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"EarlyStopping: monitor must be a figure's name, not {monitor!r:.80}")
        self.monitor, self.mode = monitor, _mode(monitor, mode)
        self.min_delta = optim.number("min_delta", min_delta)
        if not 0.0 <= self.min_delta < math.inf:
            raise ValueError(f"EarlyStopping: min_delta must be at least 0, not {min_delta!r}")
        self._figure = monitor or VALIDATION_LOSS
        self._has_warned = self._is_loaded = False
        self._reset()

    def _reset(self) -> None:
        self.best, self.best_epoch, self._waited = math.nan, 0, 0
        self._reference = math.nan  # the figure that has to be improved on
        self._weights: Floats | None = None
        self._parameters: Sequence[Any] | None = None  # whose weights these are

    def __call__(self, epoch: Epoch) -> bool:
        """Compare the epoch's figure; True if training should end."""
        figure = self._of(epoch)
        if self._is_better(figure, self.best, 0.0):
            self.best, self.best_epoch = figure, epoch.epoch
            if self.restore_best:
                self._weights, self._parameters = epoch.weights, epoch.parameters
        if self._is_better(figure, self._reference, self.min_delta):
            self._reference, self._waited = figure, 0
        else:
            self._waited += 1
        return self._waited >= self.patience

    def _is_better(self, figure: float, than: float, delta: float) -> bool:
        if math.isnan(than):
            return not math.isnan(figure)
        return figure < than - delta if self.mode == "min" else figure > than + delta

    def _of(self, epoch: Epoch) -> float:
        losses = {LOSS: epoch.training_loss, VALIDATION_LOSS: epoch.validation_loss}
        figure = losses[self._figure] if self._figure in losses else epoch.metrics[self._figure]
        assert figure is not None  # `begin` has checked that it is measured
        return figure

    # ---- called by fit

    def begin(self, names: Sequence[str]) -> bool:
        """Begin a run in which `fit` measures figures of these names.

        Returns:
            Does it need `Epoch.training_loss`?
        Raises:
            ValueError: the figure that it watches isn't measured.
        """
        figure = self.monitor or (VALIDATION_LOSS if VALIDATION_LOSS in names else LOSS)
        if figure != LOSS and figure not in names:
            known = ", ".join(map(repr, (LOSS, *names)))
            more = "; pass validation_data=" * (figure == VALIDATION_LOSS)
            raise ValueError(
                f"fit: EarlyStopping(monitor={figure!r}): there is no such figure, only "
                f"{known}{more}"
            )
        if not self._is_loaded:
            self._reset()
        elif figure != self._figure:
            raise ValueError(
                f"fit: EarlyStopping watches {figure!r}, but the state that it was given is of "
                f"{self._figure!r}"
            )
        self._figure = figure
        return figure == LOSS

    def start(self) -> None:
        """Training begins, or resumes: say once if it watches the training loss unasked."""
        self._is_loaded = False
        if self.monitor is None and self._figure == LOSS and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                "fit: EarlyStopping watches the training loss, since there is no validation_data: "
                'it can\'t see overfitting. If that is meant, write EarlyStopping(monitor="loss")',
                RuntimeWarning,
                stacklevel=_levels_to_user(),
            )

    def end(self, optimizer: optim.Optimizer) -> None:
        """Set the parameters to the best weights, if there are any and restore_best is true."""
        if self.restore_best and self._weights is not None:
            arrays.set_data(self._parameters or optimizer.parameters, self._weights)

    # ---- states

    def state_dict(self) -> dict[str, Floats | float | str | None]:
        """The best figure with its weights, and the wait so far."""
        return {
            "figure": self._figure,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "reference": self._reference,
            "waited": self._waited,
            "weights": None if self._weights is None else self._weights.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from the result of `state_dict` or `pygradc.load_state`.

        Raises:
            ValueError: it is another object's state, or of another figure. Nothing is changed.
        """
        states.check_names("EarlyStopping", state, self.state_dict())
        figure = str(state["figure"])
        if self.monitor is not None and figure != self.monitor:
            raise ValueError(f"EarlyStopping: the state is of {figure!r}, not {self.monitor!r}")
        best, best_epoch, reference, waited = (
            states.numbers(f"EarlyStopping: {name}", state[name], ())
            for name in ("best", "best_epoch", "reference", "waited")
        )
        weights = state["weights"]
        if weights is not None:
            weights = states.numbers("EarlyStopping: weights", weights, (np.size(weights),))
        self._figure, self._weights, self._parameters = figure, weights, None
        self.best, self._reference = float(best), float(reference)
        self.best_epoch, self._waited = int(best_epoch), int(waited)
        self._is_loaded = True


def _patience(given: Any) -> int:
    try:
        patience = 0 if isinstance(given, bool) else operator.index(given)
    except TypeError:
        patience = 0
    if patience < 1:
        raise ValueError(
            f"EarlyStopping: patience must be a number of epochs of at least 1, not {given!r:.80}"
        )
    return patience


def _mode(monitor: str | None, mode: Any) -> str:
    if mode is None:
        if monitor not in (None, LOSS, VALIDATION_LOSS):
            raise ValueError(
                f"EarlyStopping(monitor={monitor!r}): is a larger figure better, or a smaller one? "
                'Write mode="max", as for an accuracy, or mode="min"'
            )
        return "min"
    if mode not in ("min", "max"):
        raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', not {mode!r:.80}")
    return str(mode)


# ---- checks -------------------------------------------------------------------------------------


def check_callbacks(callback: Any, callbacks: Any) -> tuple[Any, ...]:
    """The callbacks that receive an `Epoch`, checked, as is the one that doesn't.

    Raises:
        TypeError: one can't be called as `fit` calls it; says what to write.
    """
    if isinstance(callback, EarlyStopping):
        raise TypeError("fit: EarlyStopping goes into the list: callbacks=[EarlyStopping(...)]")
    if callback is not None and not callable(callback):
        raise TypeError(f"fit: callback must be a function, not {type(callback).__name__}")
    if callbacks is None:
        return ()
    if not isinstance(callbacks, (list, tuple)):
        kind = fit_arguments.kind_of(callbacks)
        raise TypeError(f"fit: callbacks must be a list of functions, not {kind}: callbacks=[f]")
    for i, each in enumerate(callbacks):
        if isinstance(each, type) or not callable(each):
            raise TypeError(
                f"fit: callbacks[{i}] must be a function, not {fit_arguments.kind_of(each)}"
            )
        _check_takes_one(i, each)
    return tuple(callbacks)


def _check_takes_one(i: int, callback: Any) -> None:
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # a builtin without a signature
        return
    try:
        signature.bind(None)
    except TypeError:
        raise TypeError(
            f"fit: callbacks[{i}] is called with one argument, an Epoch e with e.epoch, e.loss and "
            f"more, but takes {signature}; a function of (epoch, loss) is for callback="
        ) from None


# ---- after an epoch -----------------------------------------------------------------------------


class AfterEpoch:
    """All that `fit` does after an epoch: measure, then call `callback`, then the `callbacks`.

    Args:
        measures: what is measured.
        callback, callbacks, optimizer: as in `fit`.
    Raises:
        ValueError: an EarlyStopping watches what isn't measured.
    """

    def __init__(
        self,
        measures: Measures,
        callback: Callable[[int, float], Any] | None,
        callbacks: tuple[Callable[[Epoch], Any], ...],
        optimizer: optim.Optimizer,
    ) -> None:
        self.measures, self.callback, self.callbacks = measures, callback, callbacks
        self.optimizer = optimizer
        self.stoppers = [each for each in callbacks if isinstance(each, EarlyStopping)]
        needs = [each.begin(measures.names) for each in self.stoppers]
        self.needs_training_loss = any(needs)

    @property
    def is_needed(self) -> bool:
        return bool(self.measures.names or self.callback is not None or self.callbacks)

    def __call__(self, history: History) -> bool:
        """Measure, and append the figures to the history; should training end?"""
        number, loss = len(history), history[-1]
        figures = self.measures.take(number)
        for name, figure in figures.items():
            history.of(name).append(figure)
        record = self._record(history, figures) if self.callbacks else None
        answers = [] if self.callback is None else [self.callback(number, loss)]
        if record is not None:
            answers += [each(record) for each in self.callbacks]
        return any(map(_is_true, answers))

    def _record(self, history: History, figures: dict[str, float]) -> Epoch:
        number, optimizer = len(history), self.optimizer
        parameters = list(optimizer.parameters)  # which a callback may exchange
        weights = arrays.data(parameters)
        weights.flags.writeable = False  # callbacks may keep it
        again = self.measures.training_loss(number) if self.needs_training_loss else None
        return Epoch(
            epoch=number,
            loss=history[-1],
            validation_loss=figures.pop(VALIDATION_LOSS, None),
            metrics=figures,
            lr=history.lr[-1],
            seconds=history.seconds[-1],
            parameters=parameters,
            weights=weights,
            training_loss=again,
            optimizer=optimizer,
        )

    def start(self) -> None:
        """Training begins, or resumes."""
        for each in self.stoppers:
            each.start()

    def end(self) -> None:
        """Training has ended without an exception."""
        for each in self.stoppers:
            each.end(self.optimizer)


def _is_true(answer: Any) -> bool:
    return answer is True or (isinstance(answer, np.bool_) and bool(answer))
