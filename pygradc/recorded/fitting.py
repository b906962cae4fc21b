"""`fit`: the whole training loop, minibatches and optimizer in C.

The parameters are copied into arrays, trained there, and written back: before anything is measured
or called after an epoch, and at the end in any case, also after a failing row or Ctrl-C. Changes
that a callback makes take effect: the arrays are read again after it, and written back only if
steps were taken since.
An optimizer of a class other than SGD, RMSprop, Adam and AdamW, or one with a patched `step`, steps
in Python.
A step with a result that isn't finite is not taken, unless the program ignores errors.
Source: csrc/replay/fit.c, csrc/graph/optim.c.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import operator
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from pygradc import optim
from pygradc._core import ffi, lib
from pygradc.core import arrays
from pygradc.core.forks import in_child
from pygradc.core.numbers import as_number
from pygradc.core.refusals import refuse
from pygradc.core.scalar import core
from pygradc.recorded import fit_arguments
from pygradc.recorded.callbacks import AfterEpoch, Epoch, check_callbacks
from pygradc.recorded.checkpoint import Checkpoint, describe
from pygradc.recorded.compiled import Compiled, _levels_to_user
from pygradc.recorded.crews import Crew
from pygradc.recorded.history import History
from pygradc.recorded.measures import Measures, Metric, Training
from pygradc.recorded.parallel import Threads, sharers
from pygradc.recorded.program import Program
from pygradc.recorded.progress import Bar, check_progress
from pygradc.recorded.rates import Rates
from pygradc.recorded.rows import Floats, Rows
from pygradc.recorded.workspace import Borrowed, Workspace, pointer
from pygradc.schedules import LRSchedule
from pygradc.value import Value

_LONG_ORDER = 1_000_000  # rows, which numpy takes 50 ms to permute
_SHOW_EVERY = 0.1  # seconds of training between two updates of the bar
_IN_C = (optim.SGD, optim.RMSprop, optim.Adam, optim.AdamW)  # steps implemented in C
_STEPS = {kind: kind.step for kind in _IN_C}
_ZERO_GRAD = optim.Optimizer.zero_grad


def fit(
    function: Compiled | Program,
    *data: Any,
    optimizer: optim.Optimizer | None = None,
    epochs: int = 1,
    batch_size: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    callback: Callable[[int, float], Any] | None = None,
    callbacks: Sequence[Callable[[Epoch], Any]] | None = None,
    validation_data: Sequence[Any] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    schedule: LRSchedule | None = None,
    progress: bool | Literal["epochs", "rows"] = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    workers: int | None = None,
    **static: Any,
) -> History:
    """Train parameters on the mean of a compiled loss over minibatches of rows.

        >>> import pygradc
        >>> w, b = pygradc.Value(0.0), pygradc.Value(0.0)
        >>> loss = pygradc.compile(lambda x, y: (w * x + b - y) ** 2)
        >>> optimizer = pygradc.optim.SGD([w, b], lr=0.1)
        >>> history = pygradc.fit(loss, [0.0, 1.0, 2.0], [1.0, 3.0, 5.0], optimizer, epochs=500)
        >>> print(f"{history[-1]:.3f} {w.data:.3f} {b.data:.3f}")
        0.000 2.000 1.000

    Args:
        function: The loss of one row: a compiled function, or a program, that returns one Value.
        data: Its arguments, arrays with the row as first axis; the optimizer may come last.
        optimizer: The optimizer of the parameters to train.
        epochs: Number of passes over the rows, at least 0; with resume, counted from the beginning
            of the run.
        batch_size: Rows per step; None: all.
        shuffle: Permute the rows anew in each epoch.
        seed: Seed of the permutations; None: a different one in each run.
        callback: Called after each epoch as callback(epoch, loss), epochs counted from 1; training
            ends when it returns True. If it sets parameters, or the optimizer's state or settings,
            training continues with these, and they stay when it ends.
        callbacks: Called in this order after it, each with an `Epoch`: the epoch's number, losses,
            metrics, weights and the optimizer. All are called; then training ends if one returned
            True. The rest is as for callback.
        validation_data: The function's arguments for other rows, as a tuple. The mean loss over
            them is measured after each epoch, with the bits of function.mean(*validation_data).
        metrics: Names and functions, measured after each epoch: a compiled function of the same
            arguments is averaged over the validation rows, or without any over the training rows;
            another one is called without arguments, and returns a number.
        schedule: Sets the optimizer's lr before each step, by the number of steps that it has taken
            (`optimizer.steps`), or of epochs of that many steps: so training goes on with the rates
            of one long run after its state was restored.
        progress: Show a bar by rows, or by "epochs" (needs tqdm); not where stderr is neither a
            terminal nor a notebook's.
        checkpoint: Path of a file that holds the state of the run, written at the beginning, after
            each checkpoint_every epochs, and at the end; each write is atomic. The file includes
            the history, and the state of callbacks that have state_dict and load_state_dict.
        resume: Continue from that file, if it exists; the results have the bits of a run that was
            never interrupted.
        workers: Threads that share each batch, the calling one included: rows, then weights. No
            bit depends on it. What doesn't pay stays in the calling thread (docs/performance.md).
        static: Keyword arguments of the function.
    Returns:
        For each epoch the mean loss over its rows, each row's loss taken before its batch's step: a
        list, whose attributes validation_loss, metrics, lr and seconds hold the other figures.
    Raises:
        TypeError, ValueError: an argument isn't as above; says what was expected. The data contain
            nan; names argument, row and column. The program has none of the optimizer's parameters,
            or one of its parameters was computed from one of them before it was recorded. The
            checkpoint is damaged, or belongs to another run; says what differs. Nothing is changed.
        FloatingPointError: a row leaves an op's domain; or the loss isn't finite, or a step would
            make a parameter or the optimizer's state infinite or nan: names epoch and batch,
            counted from 1, or the epoch after which a row of validation_data or of a metric failed.
            Parameters and the optimizer's state are as after the last step. With a program of
            errors="ignore", which also accepts nan in its data, training continues.
        RuntimeError: another thread is fitting one of the parameters.
        OSError: the checkpoint can't be written or read; the previous one is kept.
    """
    refuse("fit()")
    fit_arguments.check_function(function)
    threads = sharers(None, workers)
    data, optimizer = fit_arguments.split(data, optimizer)
    fit_arguments.check_keywords(fit.__kwdefaults__ or (), function, static)
    rows = Rows(data)
    batch_size = max(rows.count, 1) if batch_size is None else _whole("batch_size", batch_size)
    batch_size, epochs = min(batch_size, max(rows.count, 1)), _whole("epochs", epochs)
    _check(rows, epochs, batch_size)
    called = check_callbacks(callback, callbacks)
    shown = check_progress(progress)
    for name, flag in (("shuffle", shuffle), ("resume", resume)):
        if isinstance(flag, str):
            raise TypeError(f"fit: {name} must be True or False, not {flag!r}")
    order = _Order(rows.count, batch_size, shuffle, seed)
    program = fit_arguments.program_of(function, data, rows, static)
    if program._errors != "ignore":
        fit_arguments.refuse_nan(rows, data)
    _check_checkpoint(checkpoint, checkpoint_every, resume)
    training = Training(function, program, data, rows, static)
    measures = Measures(training, validation_data, metrics, threads)
    per_epoch = -(-rows.count // batch_size)
    rates = None if schedule is None else Rates(schedule, optimizer, per_epoch)
    saved = None
    if checkpoint is not None:
        every = _whole("checkpoint_every", checkpoint_every)
        run = describe(program, rows, optimizer, batch_size, bool(shuffle), seed)
        run.update(measures.describe())
        listeners = callback, called
        saved = Checkpoint(
            checkpoint, every, run, program, optimizer, listeners, order.random, schedule
        )
    trained = _Trained(program, optimizer)
    _check_parameters(function, program, trained)
    after = AfterEpoch(measures, callback, called, optimizer)
    claim = _Claim(trained.values)
    crew = Crew(threads - 1) if isinstance(threads, Threads) else None
    try:
        claim.take()
        history = History(metrics=measures.metrics)
        if saved is not None:
            saved.begin(history, measures.names, epochs, resume)
            trained = _Trained(program, optimizer)  # a callback's state may have replaced them
        if rates is not None and history:
            rates.set(history.lr[-1])
        loop = _Loop(program, rows, optimizer, batch_size, rates, trained, crew)
        after.start()
        with Bar(shown, epochs, rows.count, len(history)) as bar:
            then = claim.lent_to(after) if after.is_needed else None
            _run(loop, order, epochs, then, bar, history, saved)
        after.end()
        return history
    finally:
        claim.give_up()
        if crew is not None:
            crew.close()


_MOST_EPOCHS = 2**31  # each adds a loss to the history


def _check(rows: Rows, epochs: int, batch_size: int) -> None:
    if epochs < 0:
        raise ValueError(f"fit: epochs={epochs} must be at least 0")
    if epochs > _MOST_EPOCHS:
        raise ValueError(f"fit: epochs={epochs} is more than {_MOST_EPOCHS}")
    if batch_size < 1:
        raise ValueError(
            f"fit: batch_size={batch_size} must be at least 1, or None: all rows in one step"
        )
    if rows.count == 0:
        raise ValueError("fit: there are no rows")


def _check_checkpoint(checkpoint: Any, checkpoint_every: Any, resume: Any) -> None:
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint=, the file to resume from")
    if checkpoint_every != 1 and checkpoint is None:
        raise ValueError("fit: checkpoint_every needs checkpoint=, the file to write")
    if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
        kind = type(checkpoint).__name__
        raise TypeError(
            f"fit: checkpoint must be a file's path, not {checkpoint!r:.80} of type {kind}"
        )


def _whole(name: str, value: Any) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"fit: {name} must be a whole number, not {value!r}")


class _Trained:
    """An optimizer's parameters, and where they are among a program's.

    Raises:
        TypeError, ValueError: they aren't Values, at least one, each once; says what to write.
    """

    def __init__(self, program: Program, optimizer: optim.Optimizer) -> None:
        given, own = optimizer.parameters, program._params
        # A copy counts a reference to each: that takes as long as finding their places.
        self.values: Sequence[Value] = own if core.are_same(given, own) else list(given)
        answer = core.places(self.values, program._params)
        if answer is None or not self.values:
            optim.check_parameters("fit", self.values)
        assert answer is not None
        places, self.found, are_leaves = answer  # found: how many the program has
        self.places = np.frombuffer(places, dtype=np.uint32)
        if not are_leaves:
            _refuse_ancestors(program, self.values)


def _check_parameters(function: Any, program: Program, trained: _Trained) -> None:
    """Require that the program has one of the optimizer's parameters, and warn if it lacks some.

    Raises:
        ValueError: it isn't so; says what to write.
    """
    count = len(trained.values)
    if trained.found > 0:
        if trained.found < count:
            _check_replaced(function, program, trained.values)
        return
    if not program._params:
        raise ValueError("fit: nothing to train: the function uses no parameters")
    what = f"the program has {len(program._params)} parameters, but none of the optimizer's {count}"
    if function is program:
        why = "pass the program's own to the optimizer: program.parameters()"
    else:
        why = (
            "the function was recorded with others, perhaps since the model was made again "
            "afterwards; compile the function again after making the model, and pass "
            "model.parameters() to the optimizer"
        )
    raise ValueError(f"fit: {what}: {why}")


def _check_replaced(function: Any, program: Program, parameters: Sequence[Any]) -> None:
    """Detect parameters that were replaced after the function was recorded with them.

    Warns if the program has parameters that the optimizer doesn't.

    Raises:
        ValueError: the program holds the only references to such a parameter.
    """
    programs = function.programs if isinstance(function, Compiled) else (program,)
    ids = set(map(id, parameters))
    references = collections.Counter(id(p) for each in programs for p in each._params)
    counts = tuple(references[id(p)] or 1 for p in program._params)
    gone = [i for i in core.unheld(program._params, counts) if id(program._params[i]) not in ids]
    others = sum(id(p) not in ids for p in program._params)
    known = set(map(id, program._params))
    place = next(i for i, p in enumerate(parameters) if id(p) not in known)
    what = (
        f"fit: the program doesn't have the optimizer's "
        f"{_called(place, parameters[place])}, and the optimizer doesn't have "
    )
    why = "compile the function again after changing the model"
    if gone:
        raise ValueError(
            f"{what}the program's {_called(gone[0], program._params[gone[0]])}, which nothing else "
            f"references any more: it was replaced after the function was recorded. Instead, {why}"
        )
    if others:
        warnings.warn(
            f"{what}{others} of the program's. If they were replaced after the function was "
            f"recorded, {why}",
            RuntimeWarning,
            stacklevel=_levels_to_user(),
        )


def _refuse_ancestors(program: Program, parameters: Sequence[Any]) -> None:
    """Refuse to train an ancestor of a parameter: gradients end at the program's parameters.

    Raises:
        ValueError: the optimizer has such a Value; names it, and says what to write.
    """
    places = {id(p): i for i, p in enumerate(parameters)}
    seen: dict[int, Any] = {}
    for i, parameter in enumerate(program._params):
        stack = [parameter]
        while stack:
            new = {id(child): child for child in stack.pop()._children if id(child) not in seen}
            seen.update(new)
            stack += new.values()
            if places.keys().isdisjoint(new):
                continue
            place = min(places[key] for key in new if key in places)
            result = f", a result of {parameter._op!r}," if parameter._op else ""
            raise ValueError(
                f"fit: the optimizer's {_called(place, parameters[place])} would not be trained: "
                f"the program's {_called(i, parameter)}{result} was computed from it before the "
                "function was recorded. Compute it inside the compiled function instead"
            )


class _Claim:
    """An exclusive claim of a thread on the parameters that it is fitting.

    They are trained as copies in arrays: of two threads, the last to write back would undo the
    other's steps.
    """

    _lock = threading.RLock()
    # Weak references: a claim ends with its call.
    _taken: ClassVar[weakref.WeakSet[_Claim]] = weakref.WeakSet()

    def __init__(self, parameters: Sequence[Any]) -> None:
        self.thread = threading.get_ident()
        self.parameters = parameters  # keeps them alive, so that ids stay valid

    @functools.cached_property
    def ids(self) -> frozenset[int]:
        """Made where another thread fits at the same time: it costs as much as many steps."""
        return frozenset(map(id, self.parameters))

    def take(self) -> None:
        with self._lock:
            for other in self._taken:
                if other.thread != self.thread and not self.ids.isdisjoint(other.ids):
                    raise RuntimeError(
                        "fit: another thread is fitting one of these parameters; each fit needs "
                        "parameters of its own, such as those of a deepcopy of the model"
                    )
            self._taken.add(self)

    def give_up(self) -> None:
        with self._lock:
            self._taken.discard(self)

    def lent_to(self, after: AfterEpoch) -> Callable[[History], bool]:
        """Wrap what is done after an epoch: the claim is given up while it runs."""

        def call(history: History) -> bool:
            self.give_up()
            try:
                return after(history)
            finally:
                self.take()

        return call


@in_child
def _forget_claims() -> None:
    _Claim._lock, _Claim._taken = threading.RLock(), weakref.WeakSet()


class _Order:
    """The order of the rows in each epoch."""

    def __init__(self, rows: int, batch_size: int, shuffle: bool, seed: int | None) -> None:
        self.rows = rows
        self.fixed = not shuffle or batch_size >= rows  # in one batch the order makes no difference
        if seed is not None:
            try:
                self.random = np.random.default_rng(seed)
            except (TypeError, ValueError) as error:
                raise type(error)(f"fit: seed={seed!r}: {error}") from None

    @functools.cached_property
    def random(self) -> np.random.Generator:
        return np.random.default_rng()  # without a seed; takes as long as the rest of a short fit

    def next(self) -> Any:
        if self.fixed:
            return None
        if self.rows < _LONG_ORDER:
            return self.random.permutation(self.rows)
        from concurrent.futures import ThreadPoolExecutor

        pool = ThreadPoolExecutor(1)  # numpy doesn't check for signals; waiting for a thread does
        try:
            return pool.submit(self.random.permutation, self.rows).result()
        finally:
            pool.shutdown(wait=False)


def _run(
    loop: _Loop,
    order: _Order,
    epochs: int,
    after: Callable[[History], bool] | None,
    bar: Bar,
    history: History,
    saved: Checkpoint | None,
) -> None:
    """Run epochs in C, one a call if `after` or the order needs each, else several at once."""
    together = epochs if order.fixed and after is None else 1
    most = epochs if loop.rates is None else loop.rates.most_epochs
    if bar.is_shown and together > 1:
        together = 1
    stopped = saved is not None and saved.stopped
    try:
        while len(history) < epochs and not stopped:
            count = min(together, epochs - len(history), most)
            if saved is not None:
                count = min(count, saved.epochs_left(history))
            started = time.perf_counter()
            losses = loop.run(count, order.next(), len(history))
            spent = time.perf_counter() - started
            history.record(losses, loop.lr if loop.rates is None else loop.rates.by_epoch, spent)
            bar.update(count, losses[-1])
            if after is not None:
                loop.write_back()
                stopped = after(history)
            elif together < epochs and order.fixed and spent < _SHOW_EVERY:
                together = min(2 * together, epochs)
            if saved is not None and saved.is_due(history, stopped):
                loop.write_back()
                saved.write(history, stopped)
            if after is not None and not stopped:
                if loop.rates is not None:
                    loop.rates.check(history.lr[-1])
                loop.read()
    finally:
        loop.write_back()


# ---- the loop -----------------------------------------------------------------------------------


class _Loop:
    """The loop in C, or in Python for an optimizer without C code; a callback may switch it."""

    def __init__(
        self,
        program: Program,
        rows: Rows,
        optimizer: optim.Optimizer,
        batch_size: int,
        rates: Rates | None,
        trained: _Trained,
        crew: Crew | None,
    ) -> None:
        self.what, self.crew, self.rates = (
            (program, rows, optimizer, batch_size, rates),
            crew,
            rates,
        )
        self.kind: type[_InC] | type[_InPython] = _InC if _is_known(optimizer) else _InPython
        self.loop = self.kind(*self.what, trained, crew)

    @property
    def lr(self) -> float:
        """The optimizer's learning rate; nan if it has none."""
        lr = getattr(self.what[2], "lr", math.nan)
        number = lr if type(lr) is float else as_number(lr)
        return math.nan if number is NotImplemented else float(number)

    def run(self, epochs: int, index: Any, done: int) -> list[float]:
        """Run `epochs` more after `done` epochs; returns their losses."""
        return self.loop.run(epochs, index, done)

    def read(self) -> None:
        """Continue with the current parameters, state and settings."""
        optimizer = self.what[2]
        kind = _InC if _is_known(optimizer) else _InPython
        if kind is self.kind and core.are_same(optimizer.parameters, self.loop.parameters):
            self.loop.read()
            return
        trained = _Trained(self.what[0], optimizer)
        self.kind, self.loop = kind, kind(*self.what, trained, self.crew)

    def write_back(self) -> None:
        """Copy the results of the steps since `read` to the graph and the optimizer."""
        self.loop.write_back()


def _is_known(optimizer: optim.Optimizer) -> bool:
    """Does C implement it: its class itself, no subclass, `step` and `zero_grad` unpatched?"""
    kind = type(optimizer)
    return (
        kind in _STEPS
        and kind.step is _STEPS[kind]
        and kind.zero_grad is _ZERO_GRAD
        and vars(optimizer).keys().isdisjoint(("step", "zero_grad"))
    )


def _stop(epoch: int, batch: int, what: str, optimizer: Any, row: int | None = None) -> NoReturn:
    """Raise FloatingPointError for a step that isn't taken."""
    remedy = f"A smaller learning rate usually helps (lr={getattr(optimizer, 'lr', None)!r})"
    if (epoch, batch) == (1, 1) and "the step would make" not in what:
        remedy = "No step has been taken yet: check the parameters, the constants and the data"
    raise _step_error(
        f"fit: epoch {epoch}, batch {batch}: {what}; parameters and the optimizer's state are as "
        f"before this step. {remedy}",
        epoch=epoch,
        batch=batch,
        **({} if row is None else {"row": row}),
    ) from None


def _step_error(message: str, **places: int) -> FloatingPointError:
    """Make the error in a frame of its own: a frame in its traceback must not refer to it."""
    error = FloatingPointError(message)
    vars(error).update(places)
    return error


def _loss_is(program: Program) -> str:
    """The subject of the message: a captured parameter that isn't finite, or the loss."""
    for i, p in enumerate(program._params):
        if not math.isfinite(p.data):
            return f"{_called(i, p)} that the function captured is {p.data}, and the loss is"
    return "the loss is"


def _called(i: int, parameter: Any) -> str:
    label = f" ({parameter.label})" if parameter.label else ""
    return f"parameter {i}{label}"


_ALONE = contextlib.nullcontext()


class _InC:
    """The loop in csrc/replay/fit.c."""

    def __init__(
        self,
        program: Program,
        rows: Rows,
        optimizer: Any,
        batch_size: int,
        rates: Rates | None,
        trained: _Trained,
        crew: Crew | None,
    ) -> None:
        self.program, self.rows, self.optimizer, self.rates = program, rows, optimizer, rates
        self.plan = program._plan(lib.PG_WRT_PARAMS)
        self.parameters, self.places = trained.values, trained.places
        count = len(self.places)
        self.data, self.gradients = np.empty(count), np.empty(count)
        self.params = np.empty(program._size.params)
        self.trains_all = trained.found == program._size.params
        training = self.training = ffi.new("pg_training *")
        training.count, training.batch_rows = count, batch_size
        arrays = training.arrays
        arrays.data, arrays.gradients = pointer(self.data), pointer(self.gradients)
        training.params = pointer(self.params)
        training.places = ffi.from_buffer("uint32_t[]", self.places)
        self.crew = crew
        if crew is not None and not crew.can_share(program, self.plan, batch_size):
            self.crew = None
        if self.crew is not None:
            training.crew, training.payoff = self.crew.handle, program._fit_payoff[0]
        self.written = 0  # the step count at the last read or write_back
        self.read()

    def read(self) -> None:
        """Read the current parameters, state and settings."""
        optimizer, training = self.optimizer, self.training
        arrays = training.arrays
        self.written = training.steps = optimizer.steps
        core.read(self.parameters, self.data)
        if not self.trains_all:
            core.read(self.program._params, self.params)
        clip = optim.check_clip(optimizer.clip)
        training.clip = (0.0, 0.0) if clip is None else (clip.norm or 0.0, clip.value or 0.0)
        if isinstance(optimizer, optim.Adam):
            training.kind, settings = lib.PG_ADAM, training.adam
            settings.lr, settings.eps = optim.number("lr", optimizer.lr), optimizer.eps
            settings.beta1, settings.beta2 = optimizer.betas
            settings.weight_decay, settings.decoupled = optimizer.weight_decay, optimizer.decoupled
            arrays.mean, arrays.square = map(self._state, (optimizer.mean, optimizer.square))
            return
        if isinstance(optimizer, optim.RMSprop):
            training.kind, settings = lib.PG_RMSPROP, training.rmsprop
            settings.alpha, settings.eps = optimizer.alpha, optimizer.eps
            arrays.square = self._state(optimizer.square)
        else:
            training.kind, settings = lib.PG_SGD, training.sgd
        settings.lr, settings.momentum = optim.number("lr", optimizer.lr), optimizer.momentum
        settings.weight_decay = optimizer.weight_decay
        velocity = optimizer._velocity()
        arrays.velocity = ffi.NULL if velocity is None else self._state(velocity)

    def _state(self, array: Any) -> Any:
        count = len(self.places)
        if array.shape != (count,) or array.dtype != np.float64 or not array.flags.c_contiguous:
            raise ValueError(f"fit: the optimizer's state must be arrays of {count} float64")
        return pointer(array)

    def run(self, epochs: int, index: Any, done: int) -> list[float]:
        losses, training = np.empty(epochs), self.training
        if self.rates is not None:
            training.rates = pointer(self.rates.of(epochs, training.steps))
        with Borrowed(self.program) as ws:
            ws.aim(self.rows.columns, self.rows.count, self.plan, index)
            self._fit(ws, losses, epochs, done)
        return list(map(float, losses))

    def _fit(self, ws: Workspace, losses: Floats, epochs: int, done: int) -> None:
        program = self.program
        self.training.epochs = epochs
        crew, count = self.crew, epochs * self.rows.count
        with crew if crew and crew.pays(self.training.payoff, count) else _ALONE:
            status = lib.pg_fit(ws.handle, ws.task, self.training, pointer(losses))
        if self.rates is not None:
            self.rates.reach(self.training.steps)
        if self.crew is not None:
            program._fit_payoff[0] = self.training.payoff
        if status == lib.PG_OK:
            return
        epoch, batch = done + self.training.epoch + 1, self.training.batch + 1
        if status == lib.PG_ERR_NOT_FINITE:
            _stop(epoch, batch, self._lost(), self.optimizer)
        try:
            program._fail(status, ws)
        except FloatingPointError as error:
            _stop(epoch, batch, str(error), self.optimizer, error.row)  # type: ignore[attr-defined]

    def _lost(self) -> str:
        """What became infinite or nan."""
        training = self.training
        i = training.which
        if training.part == lib.PG_TRAINING_LOSS:
            self.write_back()
            what = _loss_is(self.program)
        elif training.part == lib.PG_TRAINING_PARAMETER:
            what = f"the step would make {_called(i, self.parameters[i])}"
        else:
            what = f"the step would make the optimizer's state of {_called(i, self.parameters[i])}"
        return f"{what} {training.number}"

    def write_back(self) -> None:
        if self.training.steps == self.written:
            return  # also if the first step failed: gradients belong to a step that was taken
        core.write(self.parameters, self.data, self.gradients)
        self.optimizer.steps = self.training.steps
        self.written = self.training.steps


class _InPython:
    """The loop in Python, for an optimizer without C code."""

    def __init__(
        self,
        program: Program,
        rows: Rows,
        optimizer: optim.Optimizer,
        batch_size: int,
        rates: Rates | None,
        trained: _Trained,
        _: Crew | None,
    ) -> None:
        self.program, self.rows, self.optimizer = program, rows, optimizer
        self.batch_size, self.rates = batch_size, rates
        self.parameters = trained.values
        self.is_guarded = program._errors != "ignore"

    def read(self) -> None:
        pass

    def write_back(self) -> None:
        pass

    def run(self, epochs: int, index: Any, done: int) -> list[float]:
        if self.rates is not None:
            self.rates.of(epochs, self.optimizer.steps)
        return [self._epoch(index, done + i + 1) for i in range(epochs)]

    def _epoch(self, index: Any, epoch: int) -> float:
        total = 0.0
        numbers = np.arange(self.rows.count) if index is None else index
        for first in range(0, self.rows.count, self.batch_size):
            end = min(first + self.batch_size, self.rows.count)
            batch = first // self.batch_size + 1
            try:
                loss = self.program._total(self.rows.part(numbers[first:end]), None, mean=True)
            except FloatingPointError as error:
                row = getattr(error, "row", None)
                _stop(epoch, batch, str(error), self.optimizer, row)
            total += loss.data * (end - first)
            if self.rates is not None:
                self.rates.reach(self.optimizer.steps)
            before = self.optimizer.steps
            self._step(loss, math.isfinite(total), epoch, batch)
            if self.rates is not None:
                self.rates.check_count(before)
        return total / self.rows.count

    def _step(self, loss: Any, is_finite: bool, epoch: int, batch: int) -> None:
        optimizer = self.optimizer
        if self.is_guarded and not is_finite:
            _stop(epoch, batch, f"{_loss_is(self.program)} {loss.data}", optimizer)
        before = _Before(optimizer) if self.is_guarded else None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lost = before.lost() if before is not None else None
        if before is not None and lost is not None:
            before.restore()
            _stop(epoch, batch, lost, optimizer)


class _Before:
    """A snapshot of what a step may change: parameters, gradients, the optimizer's state."""

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self.optimizer, self.parameters = optimizer, optimizer.parameters
        self.data, self.gradients = arrays.data(self.parameters), arrays.grads(self.parameters)
        self.attributes = {
            name: value if value is self.parameters else _copied(value)
            for name, value in vars(optimizer).items()
        }
        keeps_more = type(optimizer).state_dict is not optim.Optimizer.state_dict
        self.state = optimizer.state_dict() if keeps_more else None

    def lost(self) -> str | None:
        """What has become infinite or nan since."""
        i, number = _lost(self.data, arrays.data(self.parameters))
        if i >= 0:
            return f"the step would make {_called(i, self.parameters[i])} {number}"
        for name in self.optimizer._state:
            after = getattr(self.optimizer, name)
            before = self.attributes.get(name, 0.0)
            if not isinstance(after, np.ndarray) or np.shape(before) not in (after.shape, ()):
                continue  # not an array, or replaced by one of another shape
            i, number = _lost(before, after)
            if i >= 0:
                return f"the step would make the optimizer's {name} of parameter {i} {number}"
        return None

    def restore(self) -> None:
        core.write(self.parameters, self.data, self.gradients)
        vars(self.optimizer).clear()
        vars(self.optimizer).update(self.attributes)
        if self.state is not None:
            self.optimizer.load_state_dict(self.state)


def _lost(before: Any, after: Any) -> tuple[int, float]:
    """The index and value of the first number that became infinite or nan; index -1 if none."""
    if np.isfinite(after).all():
        return -1, 0.0
    lost = np.ravel(~np.isfinite(after) & ~np.isnan(before) & (after != before))
    i = int(lost.argmax())
    return (i, float(after.flat[i])) if lost[i] else (-1, 0.0)


def _copied(value: Any) -> Any:
    """A copy of an optimizer's state: containers and arrays are copied, Values are shared."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is list:
        return list(value) if _PLAIN.issuperset(map(type, value)) else [*map(_copied, value)]
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return value


_PLAIN = frozenset((float, int, bool, str, type(None)))
