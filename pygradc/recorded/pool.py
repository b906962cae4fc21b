"""The library's own threads, for `workers=`.

They are started when a call first asks for them, wait for tasks, and are as many as the largest
number of helpers that one call has asked for. All calls share them. A call does its own work: if
all threads are busy elsewhere, none helps, and nothing waits.
Before a fork idle threads end, the child has a pool of its own, and at exit they end, too.
Invariant: nothing here holds a lock, so that Ctrl-C, a signal handler or a fork at any point finds
the pool usable. At worst there is a thread too many, or one ends early.
Cost: a waiting thread none; a task 10 us in the caller, and 30 us until it begins.
"""

from __future__ import annotations

import _thread
import atexit
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from pygradc.core import forks

_AT_FORK, _AT_EXIT = 0.05, 1.0  # seconds to wait for threads that are to end

_CANCELLED, _BEGUN = "cancelled", "begun"


class Task:
    """A call that a thread of the pool makes unless it is cancelled before: a small `Future`.

    One thread at a time may wait for its end.
    """

    __slots__ = ("_call", "_end", "_error", "_state", "ended")

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call
        self._state: dict[None, str] = {}  # setdefault() is atomic: the first one decides
        self.ended, self._end = False, _thread.allocate_lock()
        self._end.acquire()
        self._error: BaseException | None = None

    def run(self) -> None:
        """In the pool's thread."""
        call = self._call
        if call is None or self._state.setdefault(None, _BEGUN) is not _BEGUN:
            return
        try:
            call()
        except BaseException as error:  # its frames refer to this task
            self._error = error.with_traceback(None)
        finally:
            self._call, self.ended = None, True
            self._end.release()

    def cancel(self) -> bool:
        """Cancel it unless it has begun. Returns: it is cancelled, and never begins."""
        if self._state.setdefault(None, _CANCELLED) is not _CANCELLED:
            return False
        self._call = None
        return True

    def _wait(self) -> None:
        if not self.ended:
            self._end.acquire()

    def result(self) -> None:
        """Wait for it, and raise what it raised."""
        self._wait()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # no circle with this frame

    def exception(self) -> BaseException | None:
        """Wait for it. Returns: what it raised."""
        self._wait()
        return self._error


class Pool:
    """Threads that take tasks from a queue."""

    def __init__(self) -> None:
        self._open = True
        self.forget()

    def forget(self) -> None:
        """Begin anew, as in a child, where the threads don't exist."""
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[[], None], most: int) -> Task:
        """Have a thread make this call; the pool grows to at most so many threads."""
        task, queue, threads = Task(call), self._queue, self._threads
        if self._open:
            queue.put(task)
            while len(threads) < most and _start(queue, threads):
                pass
        if queue is not self._queue:
            queue.put(None)  # the pool has ended meanwhile: so must a thread that began just now
        return task

    def end(self, seconds: float) -> None:
        """End all threads, and wait for those that are idle: at most so many seconds."""
        queue, threads = self._queue, self._threads
        self.forget()
        for _ in threads:
            queue.put(None)
        latest = time.monotonic() + seconds
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, latest - time.monotonic()))

    def close(self, seconds: float) -> None:
        """The same, and start none from now on."""
        self._open = False
        self.end(seconds)


_here = threading.local()


def is_a_helper() -> bool:
    """Is this one of the pool's threads?"""
    return getattr(_here, "helps", False)


def _start(queue: SimpleQueue[Task | None], threads: list[threading.Thread]) -> bool:
    """Start a thread. Returns: the system lets us; else there are as many helpers as there are."""
    name = f"pygradc worker {len(threads) + 1}"
    thread = threading.Thread(target=_serve, args=(queue,), name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return False
    threads.append(thread)
    return True


def _serve(queue: SimpleQueue[Task | None]) -> None:
    _here.helps = True
    for task in iter(queue.get, None):
        task.run()
        del task  # and what it refers to, while waiting for the next


OURS = Pool()
atexit.register(OURS.close, _AT_EXIT)
forks.in_child(OURS.forget)
forks.before(lambda: OURS.end(_AT_FORK))
