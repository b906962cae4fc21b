"""A replay of many rows in parts, ranges of chunks; `executors.py` distributes them to workers.

The tree of sums depends on the number of rows only. A part is a branch of it, and gives one partial
sum, so the distribution over workers changes no bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pygradc._core import lib
from pygradc.recorded.rows import Floats, Rows
from pygradc.recorded.workspace import Borrowed, Replayable, Workspace

Part = tuple[int, int]
"""The first chunk, and the one after the last."""


def halves(first: int, last: int) -> list[Part]:
    """The two branches of a branch of the tree; itself if it is a single chunk."""
    if last - first <= 1:
        return [(first, last)]
    middle = lib.pg_chunk_middle(first, last)
    return [(first, middle), (middle, last)]


class Results(NamedTuple):
    """The result arrays of a replay; None where not requested.

    Attributes:
        outputs: shape (rows, outputs).
        gradients: shape (rows, outputs, inputs).
        partials: shape (parts, sums); when they are together (sums,).
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

    def room(self, parts: list[Part]) -> Results:
        """Allocate the results of adjacent parts."""
        size = self.program._size
        start, end = self._rows_of(parts[0][0], parts[-1][1])
        rows, sums = end - start, self.wrt and self.sums
        return Results(
            None if self.sums else np.empty((rows, size.outputs)),
            np.empty((rows, size.outputs, size.inputs)) if self.gradients else None,
            np.empty((len(parts), self.program._plan(self.wrt).partials)) if sums else None,
        )

    def do(self, results: Results, parts: Iterator[tuple[int, Part]], stop: Any = None) -> None:
        """Replay parts, each with its number, into results that begin as `columns`.

        Ends early when `stop`, an int *, becomes nonzero.
        """
        with Borrowed(self.program) as ws:
            plan = self.program._plan(self.wrt) if self.wrt else None
            ws.aim(self.columns, self.count, plan)
            ws.task.base_chunk = self.base
            ws.write_to(outputs=results.outputs, gradients=results.gradients)
            own = ws.stop
            if stop is not None:
                ws.listen(stop)
            self._do(ws, results.partials, parts)
            ws.listen(own)

    def _do(self, ws: Workspace, partials: Any, parts: Iterator[tuple[int, Part]]) -> None:
        program, task, begun = self.program, ws.task, False
        for number, (first, last) in parts:
            if partials is not None:
                ws.write_to(partials=partials[number])
            if not begun:
                program._begin(ws, self.params)
                begun = True
            task.first_chunk, task.last_chunk = first, last
            status = lib.pg_replay(ws.handle, task)
            if status != lib.PG_OK:
                for _ in parts:  # drain the shared iterator: no worker starts another part
                    pass
                program._fail(status, ws)


def run_part(work: Work, part: Part) -> Results:
    results = work.room([part])
    work.do(results, iter([(0, part)]))
    return results


def together(results: Results, parts: list[Part]) -> Results:
    """Add the partial sums of the parts that make up the whole, in the tree."""
    if results.partials is None:
        return results
    found = dict(zip(parts, results.partials))

    def total(first: int, last: int) -> Any:
        known = found.get((first, last))
        if known is not None:
            return known
        left, right = halves(first, last)
        return total(*left) + total(*right)

    return results._replace(partials=total(parts[0][0], parts[-1][1]))
