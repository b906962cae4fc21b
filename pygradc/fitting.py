"""`fit`: the whole training loop, minibatches and optimiser in C.

The parameters are copied into arrays, trained there, and written back: after each epoch for a
callback, and at the end in any case, also when a row fails or Ctrl-C comes.
An optimiser of another class than SGD and Adam steps in Python.
Source: csrc/fit.c, csrc/optim.c.
"""

from __future__ import annotations

import operator
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from pygradc import optim
from pygradc._checkpoint import Checkpoint, describe
from pygradc._core import ffi, lib
from pygradc._forks import in_child
from pygradc._rows import Floats, Rows
from pygradc._scalar import Scalar
from pygradc._workspace import Borrowed, Workspace, pointer
from pygradc.compiled import Compiled
from pygradc.program import Program

_NOWHERE = 0xFFFFFFFF
_LONG_ORDER = 1_000_000  # rows: 50 ms for numpy to put in an order
_SHOW_EVERY = 0.1  # seconds of training between two looks at the bar


def fit(
    function: Compiled | Program,
    *data: Any,
    optimizer: optim.Optimizer | None = None,
    epochs: int = 1,
    batch_size: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    callback: Callable[[int, float], Any] | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    **static: Any,
) -> list[float]:
    """Train parameters on the mean of a compiled loss over minibatches of rows.

    Args:
        function: One row's loss: a compiled function, or a program, that returns one Value.
        data: Its arguments, arrays whose first axis is the row; the optimiser may come last.
        optimizer: Of the parameters to train.
        epochs: How often each row is used, at least 0; with resume, from the run's beginning.
        batch_size: Rows a step; None: all.
        shuffle: Draw the rows in a new order in each epoch.
        seed: Of that order; None: another one each time.
        callback: Called after each epoch as callback(epoch, loss), epochs counted from 1; training
            ends when it returns True.
        progress: Show a bar (needs tqdm).
        checkpoint: A file that holds the run as it is at the beginning, after each
            checkpoint_every epochs, and at the end: written whole or not at all. If the callback
            has state_dict and load_state_dict, its state is part of it.
        resume: Go on from that file, if there is one, to the bits that the run would have come to
            had it never stopped.
        static: Keyword arguments of the function.
    Returns:
        For each epoch the mean loss over its rows, each taken before its batch's step.
    Raises:
        TypeError, ValueError: something isn't as above; says what was expected. The checkpoint is
            damaged, or of another run; says what differs. Nothing is changed.
        FloatingPointError: a row leaves an op's domain; the parameters are as after the last step.
        RuntimeError: another thread is fitting one of the parameters.
        OSError: the checkpoint can't be written or read; the one before it stays.
    """
    if optimizer is None and data and isinstance(data[-1], optim.Optimizer):
        data, optimizer = data[:-1], data[-1]
    if not isinstance(optimizer, optim.Optimizer):
        raise TypeError("fit: expected an optimizer after the arrays, as optim.SGD(parameters, lr)")
    rows = Rows(data)
    program = _program(function, rows, static)
    batch_size = max(rows.count, 1) if batch_size is None else _whole("batch_size", batch_size)
    epochs = _whole("epochs", epochs)
    _check(rows, epochs, batch_size, callback)
    order = _Order(rows.count, batch_size, shuffle, seed)
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint=, the file to go on from")
    saved = None
    if checkpoint is not None:
        every = _whole("checkpoint_every", checkpoint_every)
        run = describe(program, rows, optimizer, batch_size, bool(shuffle), seed)
        saved = Checkpoint(checkpoint, every, run, program, optimizer, callback, order.random)
    claim = _Claim(optimizer)
    try:
        claim.take()
        history = saved.begin(epochs, resume) if saved else []
        loop = _loop_for(program, rows, optimizer, batch_size)
        with _Bar(progress, epochs, rows.count, len(history)) as bar:
            return _run(loop, order, epochs, claim.lent_to(callback), bar, history, saved)
    finally:
        claim.give_up()


def _check(rows: Rows, epochs: int, batch_size: int, callback: Any) -> None:
    if callback is not None and not callable(callback):
        raise TypeError(f"fit: callback must be a function, not {type(callback).__name__}")
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"fit: epochs={epochs} and batch_size={batch_size} must be positive")
    if rows.count == 0:
        raise ValueError("fit: there are no rows")


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"fit: {name} must be a whole number, not {value!r}") from None


def _program(function: Any, rows: Rows, static: dict[str, Any]) -> Program:
    if isinstance(function, Compiled):
        program = function._program(rows.structure, static)
    elif isinstance(function, Program):
        if static:
            raise TypeError(f"fit: a program takes no keyword arguments, got {sorted(static)}")
        program = function
        program._check(rows.structure)
    else:
        raise TypeError(f"fit: expected a compiled function, not {type(function).__name__}")
    if program._size.outputs != 1:
        raise ValueError(f"fit: the function must return one Value, not {program._size.outputs}")
    if rows.values:
        raise TypeError("fit: a Value among the arrays can't be trained; capture it instead")
    return program


class _Claim:
    """Parameters that a thread is fitting, and no other one may meanwhile: they lie in arrays, and
    who writes them back last would undo the other's steps.
    """

    _lock = threading.Lock()
    # A call that is over claims nothing.
    _taken: ClassVar[weakref.WeakSet[_Claim]] = weakref.WeakSet()

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self.thread = threading.get_ident()
        self.optimizer = optimizer  # which keeps the parameters, and so their ids
        self.ids = frozenset(map(id, optimizer.parameters))

    def take(self) -> None:
        with self._lock:
            for other in self._taken:
                if other.thread != self.thread and not self.ids.isdisjoint(other.ids):
                    raise RuntimeError(
                        "fit: another thread is fitting one of these parameters; each fit needs "
                        "parameters of its own, as those of a deepcopy of the model"
                    )
            self._taken.add(self)

    def give_up(self) -> None:
        with self._lock:
            self._taken.discard(self)

    def lent_to(self, callback: Callable[[int, float], Any] | None) -> Any:
        """The callback, which may do what it likes with them."""
        if callback is None:
            return None

        def call(epoch: int, loss: float) -> Any:
            self.give_up()
            try:
                return callback(epoch, loss)
            finally:
                self.take()

        return call


@in_child
def _forget_claims() -> None:
    _Claim._lock, _Claim._taken = threading.Lock(), weakref.WeakSet()


class _Order:
    """In which order the rows come, epoch after epoch."""

    def __init__(self, rows: int, batch_size: int, shuffle: bool, seed: int | None) -> None:
        self.rows = rows
        self.fixed = not shuffle or batch_size >= rows  # one batch: the order changes nothing
        self.random = np.random.default_rng(seed)

    def next(self) -> Any:
        if self.fixed:
            return None
        if self.rows < _LONG_ORDER:
            return self.random.permutation(self.rows)
        pool = ThreadPoolExecutor(1)  # numpy looks for no signals; who waits for a thread does
        try:
            return pool.submit(self.random.permutation, self.rows).result()
        finally:
            pool.shutdown(wait=False)


class _Bar:
    """A tqdm bar over rows, or nothing."""

    def __init__(self, wanted: bool, epochs: int, rows: int, done: int) -> None:
        self.bar: Any = None
        if wanted:
            try:
                from tqdm import tqdm
            except ImportError:
                raise ImportError("fit(progress=True) needs tqdm: pip install tqdm") from None
            self.bar = tqdm(total=epochs * rows, initial=done * rows, unit="row", unit_scale=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, rows: int, loss: float) -> None:
        if self.bar is not None:
            self.bar.update(rows)
            self.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)


def _run(
    loop: _InC | _InPython,
    order: _Order,
    epochs: int,
    callback: Callable[[int, float], Any] | None,
    bar: _Bar,
    history: list[float],
    saved: Checkpoint | None,
) -> list[float]:
    """Epochs go to C one by one where somebody wants to hear of each, else many at once."""
    together = epochs if order.fixed and callback is None else 1
    if bar.bar is not None and together > 1:
        together = 1
    stopped = saved is not None and saved.stopped
    try:
        while len(history) < epochs and not stopped:
            count = min(together, epochs - len(history))
            if saved is not None:
                count = min(count, saved.epochs_left(history))
            started = time.perf_counter()
            losses = loop.run(count, order.next())
            history += losses
            bar.update(count * order.rows, losses[-1])
            if callback is not None:
                loop.write_back()
                stopped = callback(len(history), losses[-1]) is True
            elif together < epochs and order.fixed:
                spent = time.perf_counter() - started
                if spent < _SHOW_EVERY:
                    together = min(2 * together, epochs)
            if saved is not None and saved.is_due(history, stopped):
                loop.write_back()
                saved.write(history, stopped)
            if callback is not None and not stopped:
                loop.read()
    finally:
        loop.write_back()
    return history


# ---- the loop -----------------------------------------------------------------------------------


def _loop_for(
    program: Program, rows: Rows, optimizer: optim.Optimizer, batch_size: int
) -> _InC | _InPython:
    in_c = type(optimizer) in (optim.SGD, optim.Adam)
    if in_c and len(set(map(id, optimizer.parameters))) == len(optimizer.parameters):
        return _InC(program, rows, optimizer, batch_size)
    return _InPython(program, rows, optimizer, batch_size)


class _InC:
    """The loop in csrc/fit.c."""

    def __init__(self, program: Program, rows: Rows, optimizer: Any, batch_size: int) -> None:
        self.program, self.rows, self.optimizer = program, rows, optimizer
        self.batch_size = batch_size
        self.reverse = program._reverse(lib.PG_WRT_PARAMS)
        place = {id(p): i for i, p in enumerate(program._params)}
        places = [place.get(id(p), _NOWHERE) for p in optimizer.parameters]
        self.data, self.gradients = np.empty(len(places)), np.zeros(len(places))
        self.params = np.empty(program._size.params)
        self.places = np.array(places, dtype=np.uint32)
        training = self.training = ffi.new("pg_training *")
        training.count = len(places)
        training.data, training.gradients = pointer(self.data), pointer(self.gradients)
        training.params = pointer(self.params)
        training.places = ffi.from_buffer("uint32_t[]", self.places)
        self.read()

    def read(self) -> None:
        """Parameters, state and settings, as they are now."""
        optimizer, training = self.optimizer, self.training
        Scalar._read(optimizer.parameters, self.data)
        Scalar._read(self.program._params, self.params)
        training.steps = optimizer.steps
        training.adam = isinstance(optimizer, optim.Adam)
        if training.adam:
            settings = training.adam_settings
            settings.lr, settings.eps = optimizer.lr, optimizer.eps
            settings.beta1, settings.beta2 = optimizer.betas
            settings.weight_decay, settings.decoupled = optimizer.weight_decay, optimizer.decoupled
            training.mean, training.square = map(self._state, (optimizer.mean, optimizer.square))
            return
        sgd = training.sgd
        sgd.lr, sgd.momentum = optimizer.lr, optimizer.momentum
        sgd.weight_decay = optimizer.weight_decay
        velocity = optimizer._velocity()
        training.velocity = ffi.NULL if velocity is None else self._state(velocity)

    def _state(self, array: Any) -> Any:
        count = len(self.places)
        if array.shape != (count,) or array.dtype != np.float64 or not array.flags.c_contiguous:
            raise ValueError(f"fit: the optimizer's state must be {count} float64")
        return pointer(array)

    def run(self, epochs: int, index: Any) -> list[float]:
        losses = np.empty(epochs)
        with Borrowed(self.program) as ws:
            ws.aim(self.rows.columns, self.rows.count, self.reverse, index)
            self._fit(ws, losses, epochs)
        return list(map(float, losses))

    def _fit(self, ws: Workspace, losses: Floats, epochs: int) -> None:
        program = self.program
        status = lib.pg_fit(
            program._handle,
            ws.handle,
            ws.task,
            self.training,
            pointer(losses),
            self.batch_size,
            epochs,
        )
        if status != lib.PG_OK:
            program._fail(status, ws)

    def write_back(self) -> None:
        if self.training.steps == self.optimizer.steps:
            return  # also where the first step failed: gradients are those of a step
        Scalar._write(self.optimizer.parameters, self.data)
        Scalar._write_grad(self.optimizer.parameters, self.gradients)
        self.optimizer.steps = self.training.steps


class _InPython:
    """The same with an optimiser that only Python knows."""

    def __init__(
        self, program: Program, rows: Rows, optimizer: optim.Optimizer, batch_size: int
    ) -> None:
        self.program, self.rows, self.optimizer = program, rows, optimizer
        self.batch_size = batch_size

    def read(self) -> None:
        pass

    def write_back(self) -> None:
        pass

    def run(self, epochs: int, index: Any) -> list[float]:
        return [self._epoch(index) for _ in range(epochs)]

    def _epoch(self, index: Any) -> float:
        total = 0.0
        numbers = np.arange(self.rows.count) if index is None else index
        for first in range(0, self.rows.count, self.batch_size):
            end = min(first + self.batch_size, self.rows.count)
            batch = self.rows.part(numbers[first:end])
            loss = self.program._total(batch, None, mean=True)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.data * (end - first)
        return total / self.rows.count
