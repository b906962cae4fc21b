"""A replay of many rows in parts, which are chunks of rows; `_executors.py` gives them to others.

Chunks depend on the number of rows only, and each gives its own partial sums, so whoever does them
changes no bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pygradc._core import lib
from pygradc._rows import Floats, Rows
from pygradc._workspace import Borrowed, Workspace

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pygradc.program import Program


class Results(NamedTuple):
    """What a replay fills; None where it isn't asked for.

    Attributes:
        outputs: shape (rows, outputs).
        gradients: shape (rows, outputs, inputs).
        partials: shape (chunks, sums).
    """

    outputs: Any
    gradients: Any
    partials: Any


class Work:
    """A replay of many rows, that can be done in parts; it pickles.

    `columns` begin with the first row of chunk `base`.
    """

    def __init__(
        self, program: Program, params: Floats, rows: Rows, wrt: int, gradients: bool, sums: bool
    ) -> None:
        self.program, self.params, self.wrt = program, params, wrt
        self.columns, self.count, self.base = rows.columns, rows.count, 0
        self.gradients, self.sums = gradients, sums

    def part(self, first: int, last: int) -> Work:
        """The same with the rows of these chunks only."""
        start, end = self._rows_of(first, last)
        some: Work = object.__new__(Work)
        some.__dict__.update(self.__dict__)
        some.base = first
        some.columns = [
            (array[start:end] if stride else array, stride, n) for array, stride, n in self.columns
        ]
        return some

    def _rows_of(self, first: int, last: int) -> tuple[int, int]:
        return lib.pg_chunk_start(self.count, first), lib.pg_chunk_start(self.count, last)

    def room(self, first: int, last: int) -> Results:
        """For the results of these chunks."""
        size = self.program._size
        start, end = self._rows_of(first, last)
        rows, sums = end - start, self.wrt and self.sums
        return Results(
            None if self.sums else np.empty((rows, size.outputs)),
            np.empty((rows, size.outputs, size.inputs)) if self.gradients else None,
            np.empty((last - first, self.program._plan(self.wrt).partials)) if sums else None,
        )

    def do(self, results: Results, parts: Iterator[tuple[int, int]], stop: Any = None) -> None:
        """Do parts, (first chunk, last chunk + 1) each, into results that begin as `columns` do.

        Ends early where `stop`, an int *, becomes nonzero.
        """
        with Borrowed(self.program) as ws:
            plan = self.program._plan(self.wrt) if self.wrt else None
            ws.aim(self.columns, self.count, plan)
            ws.task.base_chunk = self.base
            ws.write_to(**results._asdict())
            own = ws.stop
            if stop is not None:
                ws.listen(stop)
            self._do(ws, parts)
            ws.listen(own)

    def _do(self, ws: Workspace, parts: Iterator[tuple[int, int]]) -> None:
        program, task, begun = self.program, ws.task, False
        for first, last in parts:
            if not begun:
                program._begin(ws, self.params)
                begun = True
            task.first_chunk, task.last_chunk = first, last
            status = lib.pg_replay(program._handle, ws.handle, task)
            if status != lib.PG_OK:
                for _ in parts:  # what follows is of no use any more
                    pass
                program._fail(status, ws)


def run(work: Work, executor: Executor | None) -> Results:
    """Do all of it: here, or by an executor."""
    chunks = lib.pg_chunk_count(work.count)
    if executor is None:
        return run_part(work, 0, chunks)
    from pygradc import _executors  # 5 ms

    return _executors.run(work, executor, chunks)


def run_part(work: Work, first: int, last: int) -> Results:
    results = work.room(first, last)
    work.do(results, iter([(first, last)]))
    return results
