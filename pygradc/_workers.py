"""Worker processes and what may happen to them: Ctrl-C, and a sudden end.

A worker that is killed breaks its pool, and whoever waits gets a BrokenExecutor. But CPython's
pool waits forever where a worker leaves half a result in the pipe:

- A terminal sends Ctrl-C to workers, too. One that is writing its result gives up in the middle of
  it, and goes on with something else. So once a worker has had a task of ours, Ctrl-C ends tasks
  only, and no reading and writing between them.
- One that dies while it is writing: the pool reads on, since it could itself write the rest. From
  outside this is a worker that has been dead for a second and is still counted. The pipe is then
  closed for good, and the pool finds out that it is broken.

Uses names that executors don't promise; where they are others, Ctrl-C does what it always did, and
futures are waited for, and that is all. Cost: a look at the workers, once a second.
"""

from __future__ import annotations

import signal
import sys
import threading
from concurrent.futures import Executor, Future, wait
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

PATIENCE = 1.0  # seconds; a pool that isn't stuck notices at once
_POOL = ("concurrent.futures.process", "multiprocessing.queues")

# --- in the worker -------------------------------------------------------------------------------


def begin_task() -> None:
    """In a worker process, see to it that Ctrl-C ends tasks only."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_task)


def _end_task(_: int, frame: FrameType | None) -> None:
    """What the pool's loop, `_process_worker`, has called is a task, or of the pool's own."""
    called = None
    while frame is not None and frame.f_code.co_name != "_process_worker":
        called, frame = frame, frame.f_back
    if frame is None or (called is not None and not _is_of_the_pool(called)):
        raise KeyboardInterrupt


def _is_of_the_pool(called: FrameType) -> bool:
    """It fetches a task, or hands over a result or an exception; a chunk is tasks of `map`."""
    module = called.f_globals.get("__name__")
    return module in _POOL and called.f_code.co_name != "_process_chunk"


# --- in the process that waits -------------------------------------------------------------------


def result_of(future: Future[Result], executor: Executor) -> Result:
    """future.result(), which comes to an end even if a worker dies at the worst moment."""
    dead: set[int] = set()
    while not wait([future], PATIENCE).done:
        before, dead = dead, _dead_workers(executor)
        if before & dead:
            _give_up(executor)
    return future.result()


def _workers(executor: Executor) -> list[Any]:
    processes = getattr(executor, "_processes", None)
    found = list(processes.values()) if isinstance(processes, dict) else []
    return [worker for worker in found if hasattr(worker, "sentinel")]


def _dead_workers(executor: Executor) -> set[int]:
    from multiprocessing import connection  # where there are workers, it is there

    return {worker.pid for worker in _workers(executor) if connection.wait([worker.sentinel], 0)}


def _give_up(executor: Executor) -> None:
    """Nobody can write results any more."""
    for worker in _workers(executor):
        worker.kill()
    writer = getattr(getattr(executor, "_result_queue", None), "_writer", None)
    if writer is not None:
        writer.close()
