"""Checkpoints of `fit`: all that is needed to resume a run as if it had never been interrupted.

The file is a state, as states.py writes it:

    about                           JSON: version, run, settings, random, stopped
    parameters, gradients           of the optimizer, shape (parameters,)
    captured, captured_gradients    of the other Values that the function captured
    history                         the epochs' losses so far
    history.lr, history.seconds     one for each of these epochs
    history.figures                 (figures, epochs): the validation loss, and the metrics
    optimizer.*, callback.*         their state_dict
    callbacks.0.* and so on         that of each one

`run` describes everything that must be equal for the results to be equal bit for bit; a file of
another run is refused, and the error says what differs. `settings` are the optimizer's, at the
beginning of the run and now: a callback may have changed them. Everything is checked before
anything is changed.
Cost: writing the file, and two flushes to disk.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pygradc import optim, states
from pygradc.core import arrays
from pygradc.core.scalar import core
from pygradc.recorded import program_file
from pygradc.recorded.history import History
from pygradc.recorded.program import Program
from pygradc.recorded.rows import Rows
from pygradc.schedules import LRSchedule

VERSION = 1
ORDER_OF_SUMS = 2
"""The number of the rule that sums rows: chunks of 1,024, row by row, in a tree halved from the
top. Rule 1 had at most 64 chunks, and eight partial sums in each."""
_SHOWN = 3  # differences that a message lists
_NO_SETTINGS = ("parameters", "_state")


class CheckpointError(ValueError):
    """The file isn't a checkpoint, is damaged, or belongs to another run; the message says how."""


class Checkpoint:
    """Writes a run to a file, and reads it back.

    Args:
        path: the file.
        every: epochs between two writes.
        run: the description of the run, from `describe`.
        program, optimizer: as in `fit`.
        listeners: the callback, or None, and the callbacks.
        random: the generator that permutes the rows.
        schedule: as in `fit`.
    Raises:
        ValueError: every is below 1.
        TypeError: the optimizer has state that its state_dict omits; names it.
    Attributes:
        stopped: whether a callback has ended the run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int,
        run: dict[str, Any],
        program: Program,
        optimizer: optim.Optimizer,
        listeners: tuple[Any, tuple[Any, ...]],
        random: np.random.Generator,
        schedule: LRSchedule | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"fit: checkpoint_every={every} must be positive")
        self.path, self.every, self.epochs = path, every, 0
        self.optimizer, self.random = optimizer, random
        callback, callbacks = listeners
        keep = [*map(_keeps_a_state, callbacks)]
        self.run = {**run, "whether the callback has a state_dict": _keeps_a_state(callback)}
        if callbacks:
            self.run["which of the callbacks have a state_dict"] = keep
        named = {"callback.": callback, **{f"callbacks.{i}.": c for i, c in enumerate(callbacks)}}
        self.listeners = {name: c for name, c in named.items() if _keeps_a_state(c)}
        self.names: Sequence[str] = ()
        own = set(map(id, optimizer.parameters))
        self.captured = [p for p in program.parameters() if id(p) not in own]
        if schedule is not None:
            self.run["the schedule"] = repr(schedule)
        self.scheduled = ("lr",) if schedule is not None else ()  # settings that follow from it
        self.first = self._settings()
        self.stopped = False

    def _settings(self) -> dict[str, Any]:
        """The optimizer's settings, but for those that the schedule sets."""
        settings = _settings(self.optimizer)
        return {name: value for name, value in settings.items() if name not in self.scheduled}

    def begin(self, history: History, names: Sequence[str], epochs: int, resume: bool) -> None:
        """Restore the run from the file, or begin a new one and write it.

        Args:
            history: of no epochs; receives those so far.
            names: of the figures in it besides the losses.
            epochs: the number of epochs of the whole run.
        Raises:
            CheckpointError: the file belongs to another run, or has more epochs already.
            OSError: it can't be read or written.
        """
        self.names, self.epochs = names, epochs
        if resume and os.path.exists(self.path):
            self._read(history)
        else:
            self.write(history, False)

    def epochs_left(self, history: History) -> int:
        """The number of epochs until the next write."""
        return self.every - len(history) % self.every

    def is_due(self, history: History, stopped: bool) -> bool:
        return stopped or len(history) == self.epochs or len(history) % self.every == 0

    def write(self, history: History, stopped: bool) -> None:
        """Write the current state of the run."""
        optimizer = self.optimizer
        about = {
            "version": VERSION,
            "run": self.run,
            "settings": {"first": self.first, "now": self._settings()},
            "random": self.random.bit_generator.state,
            "stopped": stopped,
        }
        state = {
            "about": json.dumps(about),
            "parameters": arrays.data(optimizer.parameters),
            "gradients": arrays.grads(optimizer.parameters),
            "captured": arrays.data(self.captured),
            "captured_gradients": arrays.grads(self.captured),
            **history.state_dict(self.names),
            **_prefixed("optimizer.", optimizer.state_dict()),
        }
        for prefix, listener in self.listeners.items():
            state.update(_prefixed(prefix, listener.state_dict()))
        states.save_state(state, self.path)

    def _read(self, history: History) -> None:
        try:
            state = states.load_state(self.path)
            about = _about(state)
            self._compare(about)
            self._restore(about, state, history)
        except ValueError as error:
            name = os.fsdecode(self.path)
            text = str(error).removeprefix(f"{name}: ")
            raise CheckpointError(f"{name}: {text}") from None

    def _compare(self, about: dict[str, Any]) -> None:
        """Require that the file describes this run; both are compared as JSON.

        Raises:
            ValueError: it describes another one; says what differs.
        """
        there, here = about["run"], json.loads(json.dumps(self.run))
        first, now = (about["settings"][when] for when in ("first", "now"))
        settings = json.loads(json.dumps(self.first))
        if there.get("the optimizer") == here["the optimizer"] and not _same(settings, now):
            there, here = {**there, **first}, {**here, **settings}
        names = [name for name in {**here, **there} if not _same(here.get(name), there.get(name))]
        if names:
            parts = [f"{name} is {there.get(name)} there, {here.get(name)} here" for name in names]
            more = [f"and {len(parts) - _SHOWN} more"] * (len(parts) > _SHOWN)
            raise ValueError(
                f"the checkpoint belongs to another run: {'; '.join(parts[:_SHOWN] + more)}"
            )

    def _restore(self, about: dict[str, Any], state: dict[str, Any], history: History) -> None:
        optimizer, captured = self.optimizer, self.captured
        own, others = (len(optimizer.parameters),), (len(captured),)
        data, gradients = (states.numbers(k, state[k], own) for k in ("parameters", "gradients"))
        theirs, their_gradients = (
            states.numbers(k, state[k], others) for k in ("captured", "captured_gradients")
        )
        done = history.read(self.names, state)
        if done > self.epochs:
            raise ValueError(f"the run has {done} epochs already, more than {self.epochs}")
        before, order = dict(vars(optimizer)), self.random.bit_generator.state
        try:
            self._restore_objects(about, state)
        except BaseException:
            vars(optimizer).clear()
            vars(optimizer).update(before)
            self.random.bit_generator.state = order
            raise
        for values, numbers, slopes in (
            (optimizer.parameters, data, gradients),
            (captured, theirs, their_gradients),
        ):
            core.write(values, numbers, slopes)
        self.first, self.stopped = about["settings"]["first"], about.get("stopped") is True

    def _restore_objects(self, about: dict[str, Any], state: dict[str, Any]) -> None:
        try:
            self.random.bit_generator.state = about["random"]
        except (TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"damaged: the generator's state: {error!r}") from None
        for name, value in about["settings"]["now"].items():
            if name in _NO_SETTINGS or callable(getattr(type(self.optimizer), name, None)):
                raise ValueError(f"damaged: {name!r} is not a setting")
            value = tuple(value) if isinstance(value, list) else value
            is_clip = name == "clip" and isinstance(value, tuple)
            setattr(self.optimizer, name, optim.ClipGradients(*value) if is_clip else value)
        self.optimizer.load_state_dict(_with_prefix("optimizer.", state))
        for prefix, listener in self.listeners.items():
            listener.load_state_dict(_with_prefix(prefix, state))


def _keeps_a_state(callback: Any) -> bool:
    return hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict")


# ---- the description of a run -------------------------------------------------------------------


def describe(
    program: Program,
    rows: Rows,
    optimizer: optim.Optimizer,
    batch_size: int,
    shuffle: bool,
    seed: int | None,
) -> dict[str, Any]:
    """Everything on which the bits of the results depend, keyed by its name in messages.

    Raises:
        TypeError: the seed isn't a whole number.
    """
    about: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle}
    about["the number of the rule that sums rows"] = ORDER_OF_SUMS
    try:
        about["seed"] = None if seed is None else operator.index(seed)
    except TypeError:
        raise TypeError("fit: with a checkpoint, seed must be a whole number or None") from None
    about["the number of Values that the function captured"] = program._size.params
    about["the recorded function (its code's CRC-32)"] = code_of(program)
    about.update(describe_rows(rows, "array"))
    place = {id(p): i for i, p in enumerate(program.parameters())}
    places = [place.get(id(p), -1) for p in optimizer.parameters]
    about["the optimizer"] = type(optimizer).__qualname__
    about["the number of its parameters"] = len(places)
    about["their order (a CRC-32)"] = _crc(json.dumps(places).encode())
    return about


def describe_rows(rows: Rows, name: str) -> dict[str, Any]:
    """The shape and the content of each array, each called `name`."""
    about: dict[str, Any] = {}
    for i, (array, _, _) in enumerate(rows.columns):
        about[f"the shape of {name} {i}"] = list(array.shape)
        about[f"the content of {name} {i} (its CRC-32)"] = _crc(array.reshape(-1).view(np.uint8))
    return about


def code_of(program: Program) -> str:
    """The CRC-32 of a program's code."""
    return _crc(program_file.code_of(program._handle))


def _crc(content: Any) -> str:
    return f"{zlib.crc32(content):08x}"


def _settings(optimizer: optim.Optimizer) -> dict[str, Any]:
    """The optimizer's plain attributes.

    Raises:
        TypeError: another attribute isn't in its state_dict, and its class defines none of its own.
    """
    state = optimizer.state_dict()
    of_its_own = type(optimizer).state_dict is not optim.Optimizer.state_dict
    settings = {}
    for name, value in vars(optimizer).items():
        if name in _NO_SETTINGS or name in state:
            continue
        value = value.item() if isinstance(value, np.generic) else value
        value = dataclasses.astuple(value) if isinstance(value, optim.ClipGradients) else value
        if _is_plain(value):
            settings[name] = value
        elif not of_its_own:
            kind = type(optimizer).__name__
            raise TypeError(
                f"fit: a checkpoint of {kind} would lack its {name!r}: include it in the "
                "class's state_dict and load_state_dict"
            )
    return settings


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


# ---- the file -----------------------------------------------------------------------------------


def _about(state: dict[str, Any]) -> dict[str, Any]:
    """The description; the required entries of the state are checked.

    Raises:
        ValueError: not a checkpoint, or damaged, or another version.
    """
    try:
        about = json.loads(str(state["about"]))
        if about["version"] != VERSION:
            raise ValueError(
                f"a checkpoint of version {about['version']}; this pygradc reads {VERSION}"
            )
        parts = (about["run"], *(about["settings"][when] for when in ("first", "now")))
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"not a checkpoint, or damaged: {error!r}") from None
    entries = {"parameters", "gradients", "captured", "captured_gradients", "history"}
    if not all(isinstance(part, dict) for part in parts) or not entries <= set(state):
        raise ValueError("not a checkpoint, or damaged: an entry is missing")
    return dict(about)


def _prefixed(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


def _with_prefix(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {name[len(prefix) :]: state[name] for name in state if name.startswith(prefix)}


def _same(left: Any, right: Any) -> bool:
    """Are they equal as JSON, in which nan equals nan and 1 differs from 1.0?"""
    return json.dumps(left) == json.dumps(right)
