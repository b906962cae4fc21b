"""A replay of many rows in parts: chunks, and the executors that do them.

Chunks depend on the number of rows only, and each gives its own partial sums, so whoever does them
changes no bit. Threads share the program and the results, and each takes the next chunks when it
has done its own; the caller's thread is one of them, and waits for no thread that hasn't begun: the
executor may have none to spare, as when the caller is one of its threads. To any other executor the
program is pickled, with a part of the rows for each worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from pygradc._core import ffi, lib
from pygradc._rows import Floats, Rows
from pygradc._workers import begin_task, result_of
from pygradc._workspace import Borrowed, Workspace

if TYPE_CHECKING:
    from pygradc.program import Program

_HELPINGS = 8  # of chunks for each thread: the last one to finish is not far behind the others


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
            np.empty((last - first, self.program._reverse(self.wrt).partials)) if sums else None,
        )

    def do(self, results: Results, parts: Iterator[tuple[int, int]], stop: Any = None) -> None:
        """Do parts, (first chunk, last chunk + 1) each, into results that begin as `columns` do.

        Ends early where `stop`, an int *, becomes nonzero.
        """
        with Borrowed(self.program) as ws:
            reverse = self.program._reverse(self.wrt) if self.wrt else None
            ws.aim(self.columns, self.count, reverse)
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
        return _run_part(work, 0, chunks)
    _check_executor(executor)
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    try:
        if isinstance(executor, ThreadPoolExecutor):
            return _in_threads(work, executor, chunks, workers)
        return _in_parts(work, executor, chunks, workers)
    except BrokenExecutor as broken:
        _say_what_to_do(broken)


def _check_executor(executor: Any) -> None:
    """Has it what is called of it?

    Raises:
        TypeError: no; names what came.
    """
    if isinstance(executor, type):
        raise TypeError(f"executor={executor.__name__} is a class: write {executor.__name__}()")
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"executor={executor!r} has no submit(): expected an object with one, as "
            "concurrent.futures.ThreadPoolExecutor() and ProcessPoolExecutor() are"
        )


def _say_what_to_do(broken: BrokenExecutor) -> NoReturn:
    """A worker was killed, or never came up. The executor is of no use any more."""
    raise type(broken)(
        f"a worker of the executor has died: {broken} Nothing has changed, no gradient and no "
        "parameter: make a new executor and call again. (A worker that is killed again and again "
        "may lack memory: give it fewer rows, or the executor fewer workers.)"
    ) from broken


def _cut(chunks: int, parts: int) -> list[tuple[int, int]]:
    """Neighbouring chunks, in as many parts, none of them empty."""
    parts = max(1, min(chunks, parts))
    bounds = [chunks * i // parts for i in range(parts + 1)]
    return list(zip(bounds, bounds[1:]))


def _run_part(work: Work, first: int, last: int) -> Results:
    results = work.room(first, last)
    work.do(results, iter([(first, last)]))
    return results


def _serve(work: Work, first: int, last: int) -> Results:
    """The same for another process."""
    begin_task()
    return _run_part(work, first, last)


def _settle(futures: list[Future[None]], stop: Any) -> None:
    """After a failure: no thread runs any more."""
    stop[0] = 1
    for future in futures:
        if not future.cancel():
            future.exception()


def _join(future: Future[None]) -> None:
    """All parts are given out: what hasn't begun has nothing to do any more."""
    if not future.cancel():
        future.result()


def _in_threads(work: Work, executor: Executor, chunks: int, workers: int) -> Results:
    """This thread is one of the workers. A row that fails ends the handing out of parts; those with
    earlier rows are under way by then, so that the first row that fails is known in the end.
    """
    results = work.room(0, chunks)
    cut = _cut(chunks, _HELPINGS * workers)
    parts = iter(cut)  # next() is atomic
    stop = ffi.new("int *")
    faults: list[FloatingPointError] = []
    futures: list[Future[None]] = []
    mine: Callable[[], None] = partial(work.do, results, parts, stop)
    try:
        for _ in range(min(workers, len(cut)) - 1):
            futures.append(executor.submit(mine))
        finishes: list[Callable[[], None]] = [mine, *(partial(_join, one) for one in futures)]
        for finish in finishes:
            try:
                finish()
            except FloatingPointError as fault:
                faults.append(fault)
    except BaseException:
        _settle(futures, stop)
        raise
    if faults:
        raise min(faults, key=_row_of)
    return results


def _row_of(fault: FloatingPointError) -> int:
    return fault.row  # type: ignore[attr-defined, no-any-return]


def _in_parts(work: Work, executor: Executor, chunks: int, workers: int) -> Results:
    futures = [
        executor.submit(_serve, work.part(first, last), first, last)
        for first, last in _cut(chunks, workers)
    ]
    try:
        done = [result_of(future, executor) for future in futures]
    except BaseException:
        for future in futures:  # what runs already goes on, and nobody waits for it
            future.cancel()
        raise
    return Results(*(None if kind[0] is None else np.concatenate(kind) for kind in zip(*done)))
