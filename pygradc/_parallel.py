"""A replay of many rows in parts: chunks, and the executors that do them.

Chunks depend on the number of rows only, and each gives its own partial sums, so whoever does them
changes no bit. Threads share the program; to a process it is pickled, with its rows only.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from pygradc._core import ffi, lib
from pygradc._rows import Floats, Rows
from pygradc._workspace import Borrowed

if TYPE_CHECKING:
    from pygradc.program import Program


class Work:
    """A replay of many rows, that can be done in parts; it pickles."""

    def __init__(
        self, program: Program, params: Floats, rows: Rows, wrt: int, gradients: bool, sums: bool
    ) -> None:
        self.program, self.params, self.wrt = program, params, wrt
        self.columns, self.count = rows.columns, rows.count
        self.gradients, self.sums = gradients, sums

    def part(self, first: int, last: int) -> Work:
        """The same with the rows of these chunks only."""
        start, end = (lib.pg_chunk_start(self.count, chunk) for chunk in (first, last))
        some: Work = object.__new__(Work)
        some.__dict__.update(self.__dict__)
        some.columns = [
            (array[start:end] if stride else array, stride, n) for array, stride, n in self.columns
        ]
        return some

    def run(self, first: int, last: int, stop: Any) -> tuple[Any, Any, Any]:
        """Do these chunks, whose rows are those of `columns`."""
        program = self.program
        size = program._size
        start, end = (lib.pg_chunk_start(self.count, chunk) for chunk in (first, last))
        reverse = program._reverse(self.wrt) if self.wrt else None
        outputs = None if self.sums else np.empty((end - start, size.outputs))
        gradients = np.empty((end - start, size.outputs, size.inputs)) if self.gradients else None
        partials = np.empty((last - first, reverse.partials)) if reverse and self.sums else None
        with Borrowed(program) as ws:
            ws.aim(self.columns, self.count, reverse)
            task = ws.task
            task.first_chunk, task.last_chunk = first, last
            ws.write_to(outputs=outputs, gradients=gradients, partials=partials)
            if stop is not None:
                lib.pg_workspace_poll(ws.handle, lib.pg_python_poll, stop)
            try:
                program._begin(ws, self.params)
                status = lib.pg_replay(program._handle, ws.handle, task)
                if status != lib.PG_OK:
                    program._fail(status, ws)
            finally:
                lib.pg_workspace_poll(ws.handle, lib.pg_python_poll, ws.stop)
        return outputs, gradients, partials


def _run_part(work: Work, first: int, last: int, stop: Any) -> tuple[Any, Any, Any]:
    return work.run(first, last, stop)


def in_parallel(work: Work, executor: Executor) -> tuple[Any, Any, Any]:
    """Hand out neighbouring chunks, as many parts as there are workers."""
    chunks = lib.pg_chunk_count(work.count)
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    parts = max(1, min(chunks, workers))
    bounds = [chunks * i // parts for i in range(parts + 1)]
    stop = ffi.new("int *") if isinstance(executor, ThreadPoolExecutor) else None
    futures = [
        executor.submit(_run_part, work.part(first, last), first, last, stop)
        for first, last in zip(bounds, bounds[1:])
    ]
    try:
        results = [future.result() for future in futures]
    except BaseException:
        if stop is not None:
            stop[0] = 1
        for future in futures:
            future.cancel()
        for future in futures:
            if not future.cancelled():
                future.exception()
        raise
    joined = []
    for kind in zip(*results):
        joined.append(None if kind[0] is None else np.concatenate(kind))
    return joined[0], joined[1], joined[2]
