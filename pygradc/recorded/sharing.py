"""Share the parts of a replay among threads: the caller's own, and helpers that a pool lends.

Each thread takes the next part when it has done its own. The caller is one of them, and waits for
no helper that hasn't begun: the pool may have no free thread, as when the caller runs on one of
its threads. Earlier rows are begun before later ones, so that after a failure the first failing
row is known once the parts that were begun have ended.
Sums are written to an array of the thread's own. Where a call gives nothing but sums, it waits for
no helper of our own pool at all, whose core may be busy: the caller does a part that is late again,
with the same bits. The helper then stops; until it does, it reads the call's arrays, and its sums
are dropped.
Cost: a part 3 us with the GIL, for which another thread may have to wait, for milliseconds if the
holder's core is busy. So there are few parts: large ones at first, of 50 us in the end.
"""

from __future__ import annotations

import contextlib
import math
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Union

from pygradc._core import ffi
from pygradc.recorded.parallel import Numbered, Part, Results, Work, taper, together
from pygradc.recorded.pool import OURS, Task, is_a_helper
from pygradc.recorded.workspace import Stopped

if TYPE_CHECKING:
    from concurrent.futures import Future

    Helping = Union[Future[None], Task]

HELPINGS = 8  # parts for each thread, for load balance: all finish at nearly the same time


def _nothing() -> None:
    pass


class Call:
    """One call's work, with what its threads share."""

    def __init__(self, work: Work, parts: Sequence[Part]) -> None:
        self.work, self.parts = work, parts
        self.results = work.room(parts)
        self.next = iter(enumerate(parts))  # next() is atomic
        self.left = dict(enumerate(parts))  # not done yet
        self.sums: list[Any] = [None] * len(parts)
        self.pace = math.inf  # seconds for a chunk, in the fastest part
        self.stop = ffi.new("int *")  # all threads listen to it
        self.ended = ffi.new("int *")  # set when a helper has ended: `take_over` listens to it

    def serve(self, invite: Callable[[], None]) -> None:
        """In the calling thread: do parts until all have been taken.

        Helpers are invited when the first part is about to begin, which releases the GIL.
        """
        self._do(self.results, invite)

    def help(self) -> None:
        """In a helper: the same, with sums of its own."""
        try:
            self._do(self.work.with_own_sums(self.results))
        finally:
            self.ended[0] = 1

    def _do(self, results: Results, begin: Callable[[], None] = _nothing) -> None:
        try:
            self.work.do(results, self._noted(self.next, results, begin), self.stop)
        except BaseException:
            self.take_the_rest()
            raise

    def take_the_rest(self) -> None:
        """So that no thread begins another part."""
        for _ in self.next:
            pass

    def _noted(
        self, parts: Iterable[Numbered], results: Results, begin: Callable[[], None] = _nothing
    ) -> Iterator[Numbered]:
        """These parts; each is done when the next one is asked for."""
        for number, (first, last) in parts:
            begin()
            begin, start = _nothing, time.perf_counter()
            yield number, (first, last)
            self.pace = min(self.pace, (time.perf_counter() - start) / max(1, last - first))
            if results.partials is not None:
                self.sums[number] = results.partials[number]
            self.left.pop(number, None)

    def take_over(self) -> None:
        """Do what late helpers haven't done, unless they end meanwhile; then stop them."""
        try:
            while self.left:
                self._do_what_is_left()
        finally:
            self.stop[0] = 1

    def _do_what_is_left(self) -> None:
        self.ended[0] = 0
        left = (one for one in sorted(self.left.items()) if one[0] in self.left)
        with contextlib.suppress(Stopped):  # a helper has ended: its part may be this one
            self.work.do(self.results, self._noted(left, self.results), self.ended)

    def total(self) -> Results:
        sums = None if self.results.partials is None else self.sums
        return together(self.results._replace(partials=sums), self.parts)


def by_threads(call: Call, submit: Callable[[Callable[[], None]], Helping], helpers: int) -> None:
    """Do all parts, in this thread and at most so many helpers.

    Raises:
        FloatingPointError: of the first row that fails.
    """
    helping: list[Helping] = []
    faults: list[FloatingPointError] = []

    def invite() -> None:
        for _ in range(helpers):
            helping.append(submit(call.help))

    try:
        _collect(partial(call.serve, invite), faults)
        late = [one for one in helping if call.work.gives_only_sums and _is_late(one)]
        for one in helping:
            if one not in late:
                _collect(partial(_join, one), faults)
        if faults:  # a late helper may have an earlier row that fails
            for one in late:
                _collect(partial(_join, one), faults)
        else:
            _collect(call.take_over, faults)
    except BaseException:
        call.take_the_rest()
        _settle(helping, call.stop)
        raise
    if faults:
        first = min(faults, key=operator.attrgetter("row"))
        faults.clear()
        try:
            raise first
        finally:
            del first  # no circle with this frame


def _collect(finish: Callable[[], None], faults: list[FloatingPointError]) -> None:
    try:
        finish()
    except FloatingPointError as fault:
        faults.append(fault)


def _is_late(helping: Helping) -> bool:
    """Has it begun, and not ended? Threads of an executor are waited for."""
    return isinstance(helping, Task) and not (helping.cancel() or helping.ended)


def _join(helping: Helping) -> None:
    """Wait for a helper; one that hasn't begun is cancelled, since no parts are left."""
    if not helping.cancel():
        helping.result()


def _settle(helping: list[Helping], stop: Any) -> None:
    """After a failure: stop all helpers, and wait until none is running."""
    stop[0] = 1
    for one in helping:
        if not one.cancel():
            one.exception()


def by_workers(work: Work, workers: int) -> Results:
    """Do all parts in so many threads, of the library's own but for the calling one."""
    if is_a_helper():  # of another call, which may be waiting for this thread
        return work.alone()
    start, chunks = time.perf_counter(), work.chunks
    least = chunks * work.payoff.few // (6 * work.count)  # 50 us
    call = Call(work, taper(0, chunks, workers, 1 << max(0, least.bit_length() - 1)))
    helpers = min(workers, len(call.parts)) - 1
    by_threads(call, partial(OURS.submit, most=helpers), helpers)
    results = call.total()
    work.payoff.note(work.count, call.pace * chunks, time.perf_counter() - start)
    return results
