"""Distribute the parts of a replay to threads, or to the workers of any other executor.

Threads share the program and the results, as `sharing.py` says. For any other executor the program
is pickled, with a part of the rows for each worker.
Imported only when an executor is given, since `concurrent.futures` is slow to import.
"""

from __future__ import annotations

import os
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from typing import Any, NoReturn

import numpy as np

from pygradc.recorded.parallel import Part, Results, Work, cut, run_part, together
from pygradc.recorded.sharing import HELPINGS, Call, by_threads
from pygradc.recorded.workers import begin_task, result_of


def run(work: Work, executor: Executor) -> Results:
    """Replay all chunks by an executor."""
    _check_executor(executor)
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    try:
        if isinstance(executor, ThreadPoolExecutor):
            return _in_threads(work, executor, workers)
        return _in_parts(work, executor, workers)
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


def _serve(work: Work, part: Part) -> Results:
    """Replay a part in a worker process."""
    begin_task()
    return run_part(work, part)


def _in_threads(work: Work, executor: Executor, workers: int) -> Results:
    call = Call(work, cut(work.chunks, HELPINGS * workers))
    by_threads(call, executor.submit, min(workers, len(call.parts)) - 1)
    return call.total()


def _in_parts(work: Work, executor: Executor, workers: int) -> Results:
    parts = cut(work.chunks, workers)
    futures = [executor.submit(_serve, work.part(*part), part) for part in parts]
    try:
        done = [result_of(future, executor) for future in futures]
    except BaseException:
        for future in futures:  # tasks that are running continue, and are not waited for
            future.cancel()
        raise
    joined = (None if kind[0] is None else np.concatenate(kind) for kind in zip(*done))
    return together(Results(*joined), parts)
