"""What a worker process owes: its result, or the pool's word that it has died.

A worker that is killed breaks its pool, and whoever waits gets a BrokenExecutor. But one that dies
while it writes its result leaves half of it in the pipe: the pool's thread then reads on, for the
pipe is not at its end as long as the pool itself and the other workers could write to it, and
everybody waits forever (CPython, 3.14 too). From outside this is a worker that has been dead for a
second and is still counted. The pipe is then closed for good, and the pool finds out that it is
broken.
Uses names that executors don't promise; where one hasn't got them, its futures are waited for and
that is all. Cost: a look at the workers, once a second.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

Result = TypeVar("Result")

PATIENCE = 1.0  # seconds; a pool that isn't stuck notices at once


def result_of(future: Future[Result], executor: Executor) -> Result:
    """future.result(), which comes to an end even if a worker dies at the worst moment."""
    dead: set[int] = set()
    while not wait([future], PATIENCE).done:
        before, dead = dead, _dead_workers(executor)
        if before & dead:
            _give_up(executor)
    return future.result()


def _workers(executor: Executor) -> list[Any]:
    return list((getattr(executor, "_processes", None) or {}).values())


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
