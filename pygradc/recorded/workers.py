"""Worker processes that are interrupted by Ctrl-C, or die.

A worker that is killed breaks its pool, and waiting for a result raises BrokenExecutor. But
CPython's pool waits forever if a worker leaves a partial result in the pipe:

- A terminal sends Ctrl-C to workers, too. It would interrupt a worker in the middle of writing its
  result, and the worker would continue with something else. So once a worker has run one of our
  tasks, Ctrl-C interrupts tasks only, never the reads and writes between them.
- A worker dies while it writes: the pool keeps reading, since it holds the pipe's write end itself.
  The symptom is a worker that has been dead for a second and is still listed. The write end is then
  closed, and the pool notices that it is broken.

Uses private attributes of executors; where they are missing, Ctrl-C has its default effect, and
futures are simply waited for. Cost: one check of the workers a second.
"""

from __future__ import annotations

import signal
import sys
import threading
from concurrent.futures import Executor, Future, wait
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

PATIENCE = 1.0  # seconds; a pool that isn't stuck notices a dead worker at once
_POOL = ("concurrent.futures.process", "multiprocessing.queues")

# --- in the worker -------------------------------------------------------------------------------


def begin_task() -> None:
    """In a worker process, let Ctrl-C interrupt tasks only."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_task)


def _end_task(_: int, frame: FrameType | None) -> None:
    """SIGINT handler: interrupt a task, but not the pool's own code.

    What `_process_worker`, the pool's loop, has called is one or the other.
    """
    called = None
    while frame is not None and frame.f_code.co_name != "_process_worker":
        called, frame = frame, frame.f_back
    if frame is None or (called is not None and not _is_of_the_pool(called)):
        raise KeyboardInterrupt


def _is_of_the_pool(called: FrameType) -> bool:
    """Does it fetch a task, or send a result or an exception? A chunk is tasks of `map`."""
    module = called.f_globals.get("__name__")
    return module in _POOL and called.f_code.co_name != "_process_chunk"


# --- in the parent process -----------------------------------------------------------------------


def result_of(future: Future[Result], executor: Executor) -> Result:
    """future.result(), which returns or raises even if a worker dies while it writes."""
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
    from multiprocessing import connection  # already imported if there are workers

    return {worker.pid for worker in _workers(executor) if connection.wait([worker.sentinel], 0)}


def _give_up(executor: Executor) -> None:
    """Kill all workers and close the result pipe's write end: the pool then breaks."""
    for worker in _workers(executor):
        worker.kill()
    writer = getattr(getattr(executor, "_result_queue", None), "_writer", None)
    if writer is not None:
        writer.close()
