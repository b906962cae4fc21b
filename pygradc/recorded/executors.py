"""Distribute the parts of a replay to threads, or to the workers of any other executor.

Threads share the program and the results, and each takes the next chunks when it has done its own.
The calling thread is one of them, and never waits for a task that hasn't started: the executor may
have no free thread, as when the caller runs on one of its threads. For any other executor the
program is pickled, with a part of the rows for each worker.
Imported only when an executor is given, since `concurrent.futures` is slow to import.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn

import numpy as np

from pygradc._core import ffi
from pygradc.recorded.parallel import Part, Results, Work, halves, run_part, together
from pygradc.recorded.workers import begin_task, result_of

_HELPINGS = 8  # parts for each thread, for load balance: all finish at nearly the same time


def run(work: Work, executor: Executor, chunks: int) -> Results:
    """Replay all chunks by an executor."""
    _check_executor(executor)
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    try:
        if isinstance(executor, ThreadPoolExecutor):
            return _in_threads(work, executor, chunks, workers)
        return _in_parts(work, executor, chunks, workers)
    except BrokenExecutor as broken:
        _say_what_to_do(broken)


def _check_executor(executor: Any) -> None:
    """Require an object with `submit`.

    Raises:
        TypeError: it has none; names what was given.
    """
    if isinstance(executor, type):
        raise TypeError(f"executor={executor.__name__} is a class: write {executor.__name__}()")
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"executor={executor!r} has no submit(): expected an object with one, such as "
            "concurrent.futures.ThreadPoolExecutor() or ProcessPoolExecutor()"
        )


def _say_what_to_do(broken: BrokenExecutor) -> NoReturn:
    """A worker was killed, or never started: the executor can't be used any more."""
    raise type(broken)(
        f"a worker of the executor has died: {broken} No gradient and no parameter has changed: "
        "make a new executor and call again. (If workers are killed repeatedly, memory may be "
        "short: pass fewer rows, or use fewer workers.)"
    ) from broken


def _cut(chunks: int, parts: int) -> list[Part]:
    """Branches of the tree of sums that make up the whole: about `parts`, in order."""
    ranges = [(0, chunks)]
    while len(ranges) < parts and any(last - first > 1 for first, last in ranges):
        ranges = [half for whole in ranges for half in halves(*whole)]
    return ranges


def _serve(work: Work, part: Part) -> Results:
    """Replay a part in a worker process."""
    begin_task()
    return run_part(work, part)


def _settle(futures: list[Future[None]], stop: Any) -> None:
    """After a failure: stop all threads, and wait until none is running."""
    stop[0] = 1
    for future in futures:
        if not future.cancel():
            future.exception()


def _join(future: Future[None]) -> None:
    """Wait for a thread; a task that hasn't started is cancelled, since no parts are left."""
    if not future.cancel():
        future.result()


def _in_threads(work: Work, executor: Executor, chunks: int, workers: int) -> Results:
    """Replay with shared results; this thread is one of the workers.

    A failing row stops the distribution of parts. Parts with earlier rows have been started by
    then, so that the first failing row is known in the end.
    """
    cut = _cut(chunks, _HELPINGS * workers)
    results = work.room(cut)
    parts = iter(enumerate(cut))  # next() is atomic
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
        raise min(faults, key=operator.attrgetter("row"))
    return together(results, cut)


def _in_parts(work: Work, executor: Executor, chunks: int, workers: int) -> Results:
    cut = _cut(chunks, workers)
    futures = [executor.submit(_serve, work.part(*part), part) for part in cut]
    try:
        done = [result_of(future, executor) for future in futures]
    except BaseException:
        for future in futures:  # tasks that are running continue, and are not waited for
            future.cancel()
        raise
    joined = (None if kind[0] is None else np.concatenate(kind) for kind in zip(*done))
    return together(Results(*joined), cut)
