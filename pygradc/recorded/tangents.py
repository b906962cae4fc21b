"""Derivatives of rows along a direction, as work that threads can share.

A part is some rows, and a call of the core: rows don't depend on each other, so that no bit depends
on the parts. They are multiples of the core's blocks of eight.
Source: csrc/replay/tangent.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pygradc._core import ffi, lib
from pygradc.recorded.parallel import Numbered, Part, Results, Work
from pygradc.recorded.rows import Column, Floats, Rows
from pygradc.recorded.workspace import HESSIAN, HVP, JVP, Borrowed, Replayable, Workspace, pointer

_ROWS = 64  # of a chunk
_WRT = {JVP: 0, HVP: lib.PG_WRT_INPUTS, HESSIAN: lib.PG_WRT_INPUTS}


class Direction(NamedTuple):
    """A direction in the parameters, or in `width` inputs from the first on.

    Attributes:
        params: shape (params,), or None.
        inputs: shape (inputs,) for all rows, or (rows, inputs); None: along each one in turn.
    """

    params: Floats | None = None
    inputs: Floats | None = None
    first: int = 0
    width: int = 0

    def for_the_core(self, start: int, end: int) -> Any:
        """A pg_direction of these rows; the caller keeps the arrays alive."""
        if self.params is not None:
            return ffi.new("pg_direction *", {"params": pointer(self.params)})
        if self.inputs is None:
            return ffi.new("pg_direction *", {"first": self.first, "count": self.width})
        each = self.inputs.ndim == 2
        numbers = pointer(self.inputs[start:end] if each else self.inputs)
        stride = self.width if each else 0
        return ffi.new("pg_direction *", {"inputs": numbers, "stride": stride, "count": self.width})


class Tangents(Work):
    """`kind` JVP: outputs and their derivatives. HVP, HESSIAN: products with a row's Hessian.

    Both derivatives and products are the results' `gradients`, `shape` numbers for each row.
    """

    def __init__(
        self,
        program: Replayable,
        params: Floats,
        rows: Rows,
        kind: int,
        along: Direction,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__(program, params, rows, _WRT[kind], gradients=True, sums=False)
        self.kind, self.along, self.shape = kind, along, shape

    @property
    def chunks(self) -> int:
        return max(1, -(-self.count // _ROWS))

    def _rows_of(self, first: int, last: int) -> tuple[int, int]:
        return min(first * _ROWS, self.count), min(last * _ROWS, self.count)

    def room(self, parts: Sequence[Part]) -> Results:
        outputs = np.empty((self.count, self.program._size.outputs)) if self.kind == JVP else None
        return Results(outputs, np.empty((self.count, *self.shape)), None)

    def alone(self) -> Results:
        results = self.room(())
        with Borrowed(self.program) as ws:
            self._call(ws, self.columns, results, 0, self.count)
        return results

    def do(self, results: Results, parts: Iterator[Numbered], stop: Any = None) -> None:
        for _, part in parts:
            start, end = self._rows_of(*part)
            some = Results(
                None if results.outputs is None else results.outputs[start:end],
                results.gradients[start:end],
                None,
            )
            with Borrowed(self.program) as ws:
                own = ws.stop
                if stop is not None:
                    ws.listen(stop)
                self._call(ws, self._columns_of(start, end), some, start, end)
                ws.listen(own)

    def _call(
        self, ws: Workspace, columns: list[Column], results: Results, start: int, end: int
    ) -> None:
        ws.aim(columns, end - start, self.program._plan(self.wrt) if self.wrt else None)
        along = self.along.for_the_core(start, end)
        given = ws.handle, pointer(self.params), along, ws.task, pointer(results.gradients)
        if self.kind == JVP:
            ws.write_to(outputs=results.outputs)
            status = lib.pg_jvp(*given)
        else:
            status = lib.pg_hvp_rows(*given)
        if status != lib.PG_OK:
            self.program._fail(status, ws, start)
