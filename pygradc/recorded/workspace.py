"""What a replay needs: the core's program, its backward plans, and the memory that it works in.

A workspace belongs to one replay at a time. A program keeps a pool of them, as large as the
largest number of concurrent replays.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from pygradc._core import ffi, lib
from pygradc.core.errors import describe
from pygradc.core.owner import new_owner
from pygradc.core.scalar import core
from pygradc.recorded.payoff import Payoff
from pygradc.recorded.rows import Column, Floats

from_buffer = ffi.from_buffer
_DOUBLES = ffi.typeof("double[]")
_INDEX = ffi.typeof("int64_t[]")
_ARGUMENTS = ffi.typeof("pg_argument[]")
_POLL = ffi.addressof(lib, "pg_python_poll")  # cffi before 1.17 doesn't convert functions


def pointer(array: Floats) -> Any:
    """A double * that keeps the array alive."""
    return from_buffer(_DOUBLES, array)


JVP, HVP, HESSIAN = range(4, 7)  # kinds of work, beside the PG_WRT_ flags of replays
_ROWS_OF_A_PART = (1024, 1024, 1024, 1024, 64, 64, 64)  # at least, by kind


class Workspace:
    """The scratch memory of one replay, with the C structs that describe its task."""

    def __init__(self, program: Replayable) -> None:
        self.owner = new_owner("workspace")
        if lib.pg_workspace_new(self.owner, program._handle, program._level) != lib.PG_OK:
            raise MemoryError
        self.handle = self.owner[0]
        self.task = ffi.new("pg_task *")
        self.direction = ffi.new("pg_direction *")  # in the parameters only
        self.task.ignore = program._errors == "ignore"
        self.arguments: Any = ()
        self.keep: list[Any] | None = None  # the arrays that `arguments` point to
        self.results: dict[str, Any] = {}
        self.layout: list[tuple[int, int]] = []
        self.plan: BackwardPlan | None = None
        self.rows = 0
        size = program._size
        self.params = np.empty(size.params)
        self.totals = np.empty(size.outputs)
        self.gradients = np.empty((size.outputs, size.params))
        self.params_at, self.totals_at, self.gradients_at = map(
            pointer, (self.params, self.totals, self.gradients)
        )
        self.stop = ffi.new("int *")
        self.listen(self.stop)

    def listen(self, stop: Any) -> None:
        """End replays early when stop, an int *, becomes nonzero, or a signal arrives."""
        self.stop = stop
        lib.pg_workspace_poll(self.handle, _POLL, stop)

    def aim(
        self,
        columns: Sequence[Column],
        rows: int,
        plan: BackwardPlan | None,
        index: Any = None,
    ) -> None:
        """Set up a task over all chunks: arguments, rows, plan and index; results follow."""
        self.keep = [from_buffer(_DOUBLES, column[0]) for column in columns]
        task = self.task
        if len(self.arguments) != len(columns):
            self.arguments = ffi.new(_ARGUMENTS, len(columns))
            self.layout = [(0, 0)] * len(columns)
            task.arguments = self.arguments
            task.argument_count = len(columns)
        for i, (_, stride, count) in enumerate(columns):
            argument = self.arguments[i]
            argument.data = self.keep[i]
            if self.layout[i] != (stride, count):
                self.layout[i] = argument.stride, argument.count = stride, count
        if self.plan is not plan:
            self.plan = plan
            task.plan = plan.array if plan is not None else ffi.NULL
        if self.rows != rows:
            self.rows = task.rows = rows
        if index is not None:
            self.results = {"index": index}
            task.index = from_buffer(_INDEX, index)

    def write_to(self, **results: Floats | None) -> None:
        """Set the result arrays that the task fills: outputs, gradients, partials."""
        self.results.update(results)
        for name, array in results.items():
            if array is not None:
                setattr(self.task, name, pointer(array))

    def forget(self) -> None:
        """Release the arrays that the task read and filled; result pointers are reset to null."""
        self.keep = None
        if self.results:
            self.results = {}
            task = self.task
            task.outputs = task.gradients = task.partials = task.index = ffi.NULL
            task.first_chunk = task.base_chunk = 0


class BackwardPlan:
    """The backward plan of each output, with respect to parameters, inputs or both."""

    def __init__(self, program: Replayable, wrt: int) -> None:
        self.owners = []
        for output in range(program._size.outputs):
            owner = new_owner("backward_plan")
            if lib.pg_backward_plan_new(owner, program._handle, output, wrt) != lib.PG_OK:
                raise MemoryError
            self.owners.append(owner)
        self.array = ffi.new("pg_backward_plan *[]", [owner[0] for owner in self.owners])
        self.address = int(ffi.cast("intptr_t", self.array))
        self.partials = lib.pg_partial_count(program._handle, self.array)

    def input_order(self, output: int, inputs: int) -> Any:
        """All inputs, in the order in which the backward pass of this output reaches them."""
        return ffi.unpack(lib.pg_backward_plan_steps(self.array[output]).input_order, inputs)


class Borrowed:
    """A workspace borrowed from the program's pool: `with Borrowed(program) as ws`.

    After an exception, which Ctrl-C may raise anywhere, it isn't returned to the pool: it may be
    half set up, and a replay checks nothing.
    """

    __slots__ = ("program", "ws")

    def __init__(self, program: Replayable) -> None:
        self.program = program

    def __enter__(self) -> Workspace:
        try:
            self.ws = self.program._idle.pop()
        except IndexError:
            self.ws = Workspace(self.program)
        return self.ws

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.ws.forget()
            self.program._idle.append(self.ws)


def default_level() -> int:
    """Machine code, unless the environment says PYGRADC_NATIVE=0: then the kernels."""
    interpreted = os.environ.get("PYGRADC_NATIVE") == "0" and lib.pg_has_native()
    return int(lib.pg_replay_levels()) - 2 if interpreted else -1


class Replayable:
    """The core's program with its workspaces and backward plans: the base of `Program`."""

    def __init__(self, owner: Any, errors: str) -> None:
        self._owner, self._handle = owner, owner[0]
        self._size = lib.pg_program_measure(self._handle)
        self._errors = errors
        self._level = default_level()
        self._idle: list[Workspace] = []
        self._plans: dict[int, BackwardPlan] = {}
        self._fast_path: Any = None
        self._payoffs = [Payoff(rows) for rows in _ROWS_OF_A_PART]
        self._fit_payoff = ffi.new("pg_payoff *")

    def _plan(self, wrt: int) -> BackwardPlan:
        plan = self._plans.get(wrt)
        if plan is None:
            plan = self._plans.setdefault(wrt, BackwardPlan(self, wrt))  # another thread's may win
            if self._fast_path is not None:
                core.replay_back(self._fast_path, wrt, plan.address)
        return plan

    def _begin(self, ws: Workspace, params: Floats) -> None:
        status = lib.pg_replay_begin(ws.handle, pointer(params), self._errors == "ignore")
        if status != lib.PG_OK:
            self._fail(status, ws)

    def _fail(self, status: int, ws: Workspace, start: int = 0) -> NoReturn:
        """Raise what a status means; `start` is the number of the task's first row."""
        if status == lib.PG_ERR_STOPPED:
            core.raise_signal()
            raise Stopped
        if status == lib.PG_ERR_NOMEM:
            raise MemoryError
        at = lib.pg_workspace_fault(ws.handle)
        fault = at.fault
        what = describe(status, fault.op, fault.derivative, fault.a, fault.b)
        row = start + at.row if at.row >= 0 else -1
        where = f"row {row}" if row >= 0 else "in what depends on parameters only"
        raise _row_error(f"{where}: {what}", row)


class Stopped(Exception):
    """A replay was stopped because another part of the same work failed."""


def _row_error(message: str, row: int) -> FloatingPointError:
    """Make the error in a frame of its own.

    A frame in an error's traceback must not refer to the error: the cycle would keep all of the
    frame's locals alive until the next garbage collection.
    """
    error = FloatingPointError(message)
    error.row = row  # type: ignore[attr-defined]
    return error
