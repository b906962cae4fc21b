"""What `fit` measures after each epoch, with the weights at its end: validation loss and metrics.

The validation loss, and a metric that is compiled, are means over rows, with the bits of
`function.mean(*arrays)`, but without its gradients: that is faster, and a derivative that is
infinite, as that of sqrt at 0, fails no row. Any other metric is a plain function without
arguments.
Everything is converted, checked and recorded before training begins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np

from pygradc._core import lib
from pygradc.core.numbers import as_number
from pygradc.recorded import fit_arguments
from pygradc.recorded import structure as structures
from pygradc.recorded.checkpoint import code_of, describe_rows
from pygradc.recorded.compiled import Compiled
from pygradc.recorded.history import LOSS, VALIDATION_LOSS
from pygradc.recorded.parallel import Results, together
from pygradc.recorded.program import Program
from pygradc.recorded.rows import Floats, Rows
from pygradc.value import Value

if TYPE_CHECKING:
    from pygradc.recorded.parallel import Sharers

Metric = Union[Compiled, Program, Callable[[], Any]]

_KINDS = (Compiled, Program)


class Training(NamedTuple):
    """What `fit` trains: the function, its program, and the rows, also as they were given."""

    function: Compiled | Program
    program: Program
    data: tuple[Any, ...]
    rows: Rows
    static: dict[str, Any]


class Measures:
    """The validation loss and the metrics of a run.

    Args:
        training: what is trained.
        validation_data, metrics: as in `fit`.
        by: the threads that share the rows.
    Raises:
        TypeError, ValueError: they aren't as `fit` expects; says what is wrong.
    Attributes:
        metrics: by name.
        names: of all figures; the validation loss comes first.
        training_loss: the mean loss over the training rows, as a function of the epoch.
    """

    def __init__(
        self,
        training: Training,
        validation_data: Any,
        metrics: Mapping[str, Metric] | None,
        by: Sharers,
    ) -> None:
        self._figures: dict[str, Callable[[int], float]] = {}
        data, rows = training.data, training.rows
        self.training_loss = _Mean("the training rows", training.program, rows, by)
        if validation_data is not None:
            data = _arguments(validation_data)
            rows, program = _validation(training, data)
            self._figures[VALIDATION_LOSS] = _Mean("validation_data", program, rows, by)
        self._rows = rows  # of the means
        self.metrics = _named(metrics) if metrics is not None else {}
        for name, metric in self.metrics.items():
            what = f"metric {name!r}"
            if not isinstance(metric, _KINDS):
                self._figures[name] = _Plain(what, metric)
                continue
            takes = fit_arguments.parameters(metric)
            static = {key: value for key, value in training.static.items() if key in takes}
            program = fit_arguments.program_of(metric, data, rows, static, what)
            self._figures[name] = _Mean(what, program, rows, by)
        self.names = tuple(self._figures)

    def take(self, epoch: int) -> dict[str, float]:
        """Measure with the present weights; the epoch is for messages."""
        return {name: figure(epoch) for name, figure in self._figures.items()}

    def describe(self) -> dict[str, Any]:
        """What a resumed run must have in common with this one, by its name in messages."""
        if not self.names:
            return {}
        about: dict[str, Any] = {"the figures measured": [*self.names]}
        for figure in self._figures.values():
            if isinstance(figure, _Mean):
                about[f"{figure.what} (its function's CRC-32)"] = code_of(figure.program)
        if VALIDATION_LOSS in self._figures:
            about.update(describe_rows(self._rows, "validation array"))
        return about


# ---- the figures --------------------------------------------------------------------------------


class _Mean:
    """The mean of a program's output over rows."""

    def __init__(self, what: str, program: Program, rows: Rows, by: Sharers) -> None:
        self.what, self.program, self.rows, self.by = what, program, rows, by

    def __call__(self, epoch: int) -> float:
        try:
            done = self.program._run(self.rows, self.by, 0, gradients=False, sums=False)
        except FloatingPointError as error:
            raise _located(error, self.what, epoch) from None
        return mean_of(done.outputs[:, 0])


def mean_of(outputs: Floats) -> float:
    """The mean over rows with the bits of a replay's, which sums chunks row by row, in a tree."""
    count = len(outputs)
    chunks = [(i, i + 1) for i in range(lib.pg_chunk_count(count))]
    ends = [(lib.pg_chunk_start(count, i), lib.pg_chunk_start(count, j)) for i, j in chunks]
    with np.errstate(all="ignore"):  # infinities are for the caller to judge
        sums = [0.0 + np.add.accumulate(outputs[first:last])[-1] for first, last in ends]
        total = together(Results(None, None, sums), chunks).partials
    return float(1.0 / count * total)


def _located(error: FloatingPointError, what: str, epoch: int) -> FloatingPointError:
    located = FloatingPointError(f"fit: after epoch {epoch}, {what}: {error}")
    vars(located).update(vars(error), epoch=epoch)
    return located


class _Plain:
    """A number that a function of the user's returns."""

    def __init__(self, what: str, function: Callable[[], Any]) -> None:
        self.what, self.function = what, function

    def __call__(self, epoch: int) -> float:
        answer = self.function()
        number = answer.data if isinstance(answer, Value) else as_number(answer)
        if number is NotImplemented:
            raise TypeError(
                f"fit: after epoch {epoch}, {self.what} must return a number, not "
                f"{type(answer).__name__} {answer!r:.80}"
            )
        return float(number)


# ---- checks -------------------------------------------------------------------------------------


def _arguments(given: Any) -> tuple[Any, ...]:
    if isinstance(given, (tuple, list)) and not hasattr(given, "_fields"):
        return tuple(given)
    raise TypeError(
        "fit: validation_data must be a tuple of the function's arguments, such as "
        f"validation_data=(X, Y), not {type(given).__name__}"
    )


def _validation(training: Training, data: tuple[Any, ...]) -> tuple[Rows, Program]:
    """The validation rows, and the program for them.

    Raises:
        TypeError, ValueError: they aren't as the training rows are, or can't be used.
    """
    count, wanted = len(data), len(training.data)
    if count != wanted:
        raise ValueError(
            f"fit: validation_data has {count} argument{'s' * (count != 1)}, but the training data "
            f"have {wanted}: validation_data=(X, Y) takes the same arguments in the same order"
        )
    try:
        rows = Rows(data)
    except (TypeError, ValueError) as error:
        raise type(error)(f"fit: validation_data: {error}") from None
    if rows.count == 0:
        raise ValueError("fit: validation_data has no rows")
    _check_structure(rows.structure, training.rows.structure)
    what = "the function, for validation_data,"
    program = fit_arguments.program_of(training.function, data, rows, training.static, what)
    if program._errors != "ignore":
        fit_arguments.refuse_nan(rows, data, "validation_data")
    return rows, program


def _check_structure(given: Any, wanted: Any) -> None:
    """Require columns as in the training data; strings, None and bools may be others.

    Raises:
        ValueError: an argument differs; names it, and both.
    """
    for i, (one, other) in enumerate(zip(given.items, wanted.items)):
        if one != other and not (
            isinstance(one, structures.Static) and isinstance(other, structures.Static)
        ):
            raise ValueError(
                f"fit: validation_data: a row of argument {i} is {structures.describe(one)}, but "
                f"in the training data it is {structures.describe(other)}"
            )


def _named(metrics: Any) -> dict[str, Any]:
    """The metrics, checked.

    Raises:
        TypeError, ValueError: not names and functions that can be called; says what to write.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(
            'fit: metrics must be a dict of names and functions, such as {"accuracy": f}, not '
            f"{type(metrics).__name__}"
        )
    for name, metric in metrics.items():
        if not isinstance(name, str):
            raise TypeError(f"fit: a metric's name must be a string, not {name!r:.80}")
        if name in (LOSS, VALIDATION_LOSS):
            raise ValueError(f"fit: a metric can't be called {name!r}, as the losses are")
        _check_metric(name, metric)
    return dict(metrics)


def _check_metric(name: str, metric: Any) -> None:
    if isinstance(metric, _KINDS):
        return
    if not callable(metric):
        kind = type(metric).__name__
        raise TypeError(f"fit: metric {name!r} must be a function, not {kind}")
    try:
        signature = inspect.signature(metric)
    except (TypeError, ValueError):  # a builtin without a signature
        return
    try:
        signature.bind()
    except TypeError:
        raise TypeError(
            f"fit: metric {name!r} takes arguments, {signature}, but a plain function is called "
            "without any: compile it, and it is averaged over the rows: pygradc.compile(f)"
        ) from None
