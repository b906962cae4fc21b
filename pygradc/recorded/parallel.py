"""A replay of many rows in parts, ranges of chunks; `executors.py` distributes them to workers.

Chunks depend on the number of rows only, and each gives its own partial sums, so the distribution
over workers changes no bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pygradc._core import lib
from pygradc.recorded.rows import Floats, Rows
from pygradc.recorded.workspace import Borrowed, Replayable, Workspace


class Results(NamedTuple):
    """The result arrays of a replay; None where not requested.

    Attributes:
        outputs: shape (rows, outputs).
        gradients: shape (rows, outputs, inputs).
        partials: shape (chunks, sums).
    """

    outputs: Any
    gradients: Any
    partials: Any


class Work:
    """A replay of many rows that can be split into parts; it can be pickled.

    `columns` begin with the first row of chunk `base`.
    """

    def __init__(
        self, program: Replayable, params: Floats, rows: Rows, wrt: int, gradients: bool, sums: bool
    ) -> None:
        self.program, self.params, self.wrt = program, params, wrt
        self.columns, self.count, self.base = rows.columns, rows.count, 0
        self.gradients, self.sums = gradients, sums

    def part(self, first: int, last: int) -> Work:
        """The same work, with the rows of chunks first to last - 1 only."""
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
        """Allocate the results of chunks first to last - 1."""
        size = self.program._size
        start, end = self._rows_of(first, last)
        rows, sums = end - start, self.wrt and self.sums
        return Results(
            None if self.sums else np.empty((rows, size.outputs)),
            np.empty((rows, size.outputs, size.inputs)) if self.gradients else None,
            np.empty((last - first, self.program._plan(self.wrt).partials)) if sums else None,
        )

    def do(self, results: Results, parts: Iterator[tuple[int, int]], stop: Any = None) -> None:
        """Replay parts, each (first chunk, last chunk + 1), into results that begin as `columns`.

        Ends early when `stop`, an int *, becomes nonzero.
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
            status = lib.pg_replay(ws.handle, task)
            if status != lib.PG_OK:
                for _ in parts:  # drain the shared iterator: no worker starts another part
                    pass
                program._fail(status, ws)


def run_part(work: Work, first: int, last: int) -> Results:
    results = work.room(first, last)
    work.do(results, iter([(first, last)]))
    return results
