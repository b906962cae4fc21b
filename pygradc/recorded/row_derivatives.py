"""Derivatives of each row, as numbers: by the inputs of a program, or by its parameters.

A replay sums gradients with respect to the parameters over the rows. For those of each row the
program is lifted: the same code with the parameters as further inputs, and so with the same bits.
Lifted with weights, its only output is the sum of the outputs times their weights, whose gradient
is a product with the Jacobian in one backward pass.
First derivatives come from the ordinary backward pass, second ones from tangents of it. Nothing is
recorded again, so that loaded programs have them, too.
Source: csrc/program/lift.c, csrc/replay/tangent.c.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from pygradc._core import lib
from pygradc.core.owner import new_owner
from pygradc.core.scalar import core
from pygradc.recorded import sharing  # not later: a fork during a first import would keep its lock
from pygradc.recorded.parallel import Results, Threads, Work
from pygradc.recorded.rows import Floats, Rows, _floats
from pygradc.recorded.tangents import Direction, Tangents
from pygradc.recorded.workspace import HESSIAN, HVP, JVP, Borrowed, Replayable, pointer

if TYPE_CHECKING:
    from pygradc.recorded.parallel import Sharers

_NONE = np.empty(0)
WRT = ("inputs", "parameters")
_BY_PARAMETERS = lib.PG_WRT_PARAMS
_hvp = lib.pg_hvp  # looked up once: a product of one row takes about as long


class Lifted(Replayable):
    """A program with inputs for its parameters, and if weighted for a weight of each output."""

    def __init__(self, program: Replayable, weighted: bool) -> None:
        owner = new_owner("program")
        if lib.pg_program_lift(owner, program._handle, weighted) != lib.PG_OK:
            raise MemoryError
        super().__init__(owner, program._errors)
        self._level = program._level
        self._made_of = weakref.ref(program)  # which keeps this one: no circle
        self._weighted = weighted

    def __reduce__(self) -> Any:
        """For worker processes, while a method of the program waits for them."""
        return Lifted, (self._made_of(), self._weighted)


def run(work: Work, by: Sharers) -> Results:
    """Replay all chunks, in this thread or shared with others."""
    if by is None or (isinstance(by, Threads) and work.payoff.is_alone(work.count)):
        return work.alone()
    if isinstance(by, Threads):
        return sharing.by_workers(work, by)
    from pygradc.recorded import executors  # takes 5 ms

    return executors.run(work, by)


def is_by_inputs(wrt: str) -> bool:
    """By the inputs, rather than the parameters?

    Raises:
        ValueError: wrt is neither.
    """
    if wrt not in WRT:
        raise ValueError(f"wrt must be 'inputs' or 'parameters', not {wrt!r}")
    return wrt == "inputs"


def require_one_output(program: Any, name: str) -> None:
    """Raises:
    ValueError: the function returns several Values; says what to do.
    """
    if program._size.outputs != 1:
        raise ValueError(
            f"{name}: the function returns {program._size.outputs} Values, not one: record one "
            "that returns a single Value, such as their sum"
        )


# ---- First derivatives ---------------------------------------------------------------------------


def first(program: Any, rows: Rows, wrt: str, by: Sharers) -> tuple[Floats, Floats]:
    """The outputs, shape (rows, outputs), and their gradients, (rows, outputs, inputs or
    parameters)."""
    inputs = program._size.inputs
    if is_by_inputs(wrt):
        done = run(Work(program, program._data(), rows, lib.PG_WRT_INPUTS, True, False), by)
        return done.outputs, done.gradients
    done = _run_lifted(program, rows, None, by)
    return done.outputs, np.ascontiguousarray(done.gradients[..., inputs:])


def weighted(program: Any, weights: Any, rows: Rows, wrt: str, by: Sharers) -> Floats:
    """The Jacobian of each row times weights from the left, shape (rows, inputs or parameters)."""
    size = program._size
    column = _numbers_of_rows("weights", weights, rows.count, size.outputs, "outputs")
    wanted = slice(size.inputs) if is_by_inputs(wrt) else slice(size.inputs, -size.outputs)
    done = _run_lifted(program, rows, column, by)
    return np.ascontiguousarray(done.gradients[:, 0, wanted])


def _run_lifted(
    program: Any, rows: Rows, weights: tuple[Floats, int] | None, by: Sharers
) -> Results:
    lifted = program._lift(weights is not None)
    more = _lifted(program, rows, weights)
    return run(Work(lifted, _NONE, more, lib.PG_WRT_INPUTS, True, False), by)


def _lifted(program: Any, rows: Rows, weights: tuple[Floats, int] | None = None) -> Rows:
    """The rows with the current data of the parameters, and the weights, as further inputs."""
    size = program._size
    columns = [(program._data(), 0, size.params)]
    if weights is not None:
        columns.append((*weights, size.outputs))
    return rows.with_inputs(columns)


def _numbers_of_rows(name: str, given: Any, rows: int, count: int, what: str) -> tuple[Floats, int]:
    """Numbers for each row, or the same for all rows, and their stride in doubles.

    Raises:
        ValueError, TypeError: the shape is neither (count,) nor (rows, count); or no numbers.
    """
    array = np.atleast_1d(_floats(() if given is None else given, ("argument", name)))
    if array.shape == (count,):
        return array, 0
    if array.shape == (rows, count):
        return array, count
    raise ValueError(
        f"{name} has shape {array.shape}, expected ({count},), the same for all rows, or "
        f"({rows}, {count}): a number for each of the {count} {what}"
    )


# ---- Along a direction, and second derivatives ---------------------------------------------------


def _in_inputs(v: Any, rows: Rows, inputs: int) -> Direction:
    array, _ = _numbers_of_rows("v", v, rows.count, inputs, "inputs")
    return Direction(inputs=array, width=inputs)


def along(program: Any, v: Any, rows: Rows, wrt: str, by: Sharers) -> tuple[Floats, Floats]:
    """The outputs and their derivatives along v, each of shape (rows, outputs)."""
    if is_by_inputs(wrt):
        direction = _in_inputs(v, rows, program._size.inputs)
    else:
        direction = Direction(params=program._direction(v))
    shape = (program._size.outputs,)
    done = run(Tangents(program, program._data(), rows, JVP, direction, shape), by)
    return done.outputs, done.gradients


def hessian_of_sum_times(program: Any, v: Any, rows: Rows, scale: float) -> Floats:
    """The Hessian of the scaled sum over the rows, times v, by the parameters."""
    along = pointer(program._direction(v))
    product = np.empty(len(program._params))
    with Borrowed(program) as ws:
        ws.aim(rows.columns, rows.count, program._plan(_BY_PARAMETERS))
        task, direction = ws.task, ws.direction
        task.scale = scale
        direction.params = along
        core.read(program._params, ws.params)
        status = _hvp(ws.handle, ws.params_at, direction, task, pointer(product), ws.gradients_at)
        if status:
            program._fail(status, ws)
    return product


def hessian_times(program: Any, v: Any, rows: Rows, by: Sharers) -> Floats:
    """The Hessian of each row by the inputs, times v: shape (rows, inputs)."""
    inputs = program._size.inputs
    direction = _in_inputs(v, rows, inputs)
    work = Tangents(program, program._data(), rows, HVP, direction, (inputs,))
    return run(work, by).gradients  # type: ignore[no-any-return]


def hessian(program: Any, rows: Rows, wrt: str, by: Sharers) -> Floats:
    """The Hessian of each row: along each unit vector in turn, of the inputs or parameters."""
    size = program._size
    if is_by_inputs(wrt):
        direction = Direction(width=size.inputs)
        target, params = program, program._data()
    else:
        direction = Direction(first=size.inputs, width=size.params)
        target, params, rows = program._lift(False), _NONE, _lifted(program, rows)
    square = (direction.width, direction.width)
    done = run(Tangents(target, params, rows, HESSIAN, direction, square), by)
    return done.gradients  # type: ignore[no-any-return]
