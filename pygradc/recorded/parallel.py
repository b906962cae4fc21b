"""A replay of many rows in parts, ranges of chunks: `sharing.py`, `executors.py` distribute them.

The tree of sums depends on the number of rows only. A part is a branch of it, and gives one partial
sum, so the distribution over workers changes no bit.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np

from pygradc._core import lib
from pygradc.recorded.payoff import Payoff
from pygradc.recorded.rows import Column, Floats, Rows
from pygradc.recorded.workspace import Borrowed, Replayable, Workspace

if TYPE_CHECKING:
    from concurrent.futures import Executor

    Sharers = Union[Executor, "Threads", None]
    """Those with whom a call shares its rows."""

Part = tuple[int, int]
"""The first chunk, and the one after the last."""
Numbered = tuple[int, Part]


class Threads(int):
    """So many threads: the calling one, and others of the library's own."""

    __slots__ = ()


def sharers(executor: Executor | None, workers: int | None) -> Sharers:
    """What a method's two arguments say. One worker is the calling thread: None.

    Raises:
        TypeError: both are given, or workers is no int.
        ValueError: there are no workers.
    """
    if executor is None and type(workers) is int and workers in _MADE:
        return _MADE[workers]
    if workers is None:
        return executor
    if executor is not None:
        raise TypeError(
            "executor= and workers= are both given: write one of them; workers=2 shares the rows "
            "with a thread of pygradc's own"
        )
    count = _whole(workers)
    if count < 1:
        raise ValueError(
            f"workers={workers}: expected at least 1, which is the calling thread alone; for one "
            "thread a core write workers=os.cpu_count()"
        )
    return Threads(count) if count > 1 else None


# Made once: a sum of 100 rows takes 7 us, of which its arguments should take little.
_MADE: dict[int, Sharers] = {1: None, **{n: Threads(n) for n in range(2, 33)}}


def _whole(workers: Any) -> int:
    """As an int; numpy's are whole numbers, too, and bools are not."""
    index = getattr(type(workers), "__index__", None)
    if index is None or isinstance(workers, (bool, np.bool_)):
        raise TypeError(f"workers={workers!r}: expected a number of threads, such as workers=2")
    return int(index(workers))


def halves(first: int, last: int) -> list[Part]:
    """The two branches of a branch of the tree; itself if it is a single chunk."""
    if last - first <= 1:
        return [(first, last)]
    middle = lib.pg_chunk_middle(first, last)
    return [(first, middle), (middle, last)]


def cut(chunks: int, parts: int) -> list[Part]:
    """Branches of the tree of sums that make up the whole: about `parts`, in order."""
    ranges = [(0, chunks)]
    while len(ranges) < parts and any(last - first > 1 for first, last in ranges):
        ranges = [half for whole in ranges for half in halves(*whole)]
    return ranges


@functools.lru_cache
def taper(first: int, last: int, threads: int, least: int) -> Sequence[Part]:
    """Branches that make up this one, in order: what is left at any time is a few parts for each
    thread, the last ones of about `least` chunks."""
    size = max(least, -(-(last - first) // (2 * threads)))
    if size == least:
        return tuple(_branches(first, last, least))
    left, right = halves(first, last)
    return (*_branches(*left, size), *taper(*right, threads, least))


def _branches(first: int, last: int, most: int) -> list[Part]:
    if last - first <= most:
        return [(first, last)]
    return [part for half in halves(first, last) for part in _branches(*half, most)]


class Results(NamedTuple):
    """The result arrays of a replay; None where not requested.

    Attributes:
        outputs: shape (rows, outputs).
        gradients: shape (rows, outputs, inputs).
        partials: shape (parts, sums), or a list of (sums,); when they are together (sums,).
    """

    outputs: Any
    gradients: Any
    partials: Any


class Work:
    """A replay of many rows that can be split into parts; it can be pickled.

    `columns` begin with the first row of chunk `base`. `kind` tells work apart that takes longer or
    less long for a row.
    """

    def __init__(
        self, program: Replayable, params: Floats, rows: Rows, wrt: int, gradients: bool, sums: bool
    ) -> None:
        self.program, self.params, self.wrt = program, params, wrt
        self.columns, self.count, self.base = rows.columns, rows.count, 0
        self.gradients, self.sums = gradients, sums
        self.kind = wrt

    @property
    def chunks(self) -> int:
        return int(lib.pg_chunk_count(self.count))

    @property
    def gives_only_sums(self) -> bool:
        return self.sums and not self.gradients

    @property
    def payoff(self) -> Payoff:
        return self.program._payoffs[self.kind]

    def part(self, first: int, last: int) -> Work:
        """The same work, with the rows of chunks first to last - 1 only."""
        some: Work = object.__new__(Work)
        some.__dict__.update(self.__dict__)
        some.base, some.columns = first, self._columns_of(*self._rows_of(first, last))
        return some

    def _columns_of(self, start: int, end: int) -> list[Column]:
        return [
            (array[start:end] if stride else array, stride, n) for array, stride, n in self.columns
        ]

    def _rows_of(self, first: int, last: int) -> tuple[int, int]:
        return lib.pg_chunk_start(self.count, first), lib.pg_chunk_start(self.count, last)

    def alone(self) -> Results:
        """Do all of it in this thread."""
        every = (0, self.chunks)
        return together(run_part(self, every), [every])

    def room(self, parts: Sequence[Part]) -> Results:
        """Allocate the results of adjacent parts."""
        size = self.program._size
        start, end = self._rows_of(parts[0][0], parts[-1][1])
        rows, sums = end - start, self.wrt and self.sums
        return Results(
            None if self.sums else np.empty((rows, size.outputs)),
            np.empty((rows, size.outputs, size.inputs)) if self.gradients else None,
            np.empty((len(parts), self.program._plan(self.wrt).partials)) if sums else None,
        )

    def with_own_sums(self, results: Results) -> Results:
        """The same results, with sums for another thread."""
        if results.partials is None:
            return results
        return results._replace(partials=np.empty_like(results.partials))

    def do(self, results: Results, parts: Iterator[Numbered], stop: Any = None) -> None:
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

    def _do(self, ws: Workspace, partials: Any, parts: Iterator[Numbered]) -> None:
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
                program._fail(status, ws)


def run_part(work: Work, part: Part) -> Results:
    results = work.room([part])
    work.do(results, iter([(0, part)]))
    return results


def together(results: Results, parts: Sequence[Part]) -> Results:
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
