"""A crew: the threads that share the batches of one `fit`.

The calling thread trains. Helpers of the library's own pool are in one call of C for as long as
`with crew:` lasts, and take parts of a batch there without the GIL. A helper that hasn't begun by
the end of it is cancelled, and nothing waits for one that has: it leaves by itself.
Owns the core's crew together with the helpers' tasks, so that it lives as long as any is in it.
Where Ctrl-C skips the end of `with`, `close` at the end of fit sends helpers home, or `__del__`.
Cost: 20 us for each helper in the calling thread, at each `with`. Source: csrc/base/crew.c.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from pygradc._core import lib
from pygradc.core.forks import in_child
from pygradc.core.owner import new_owner
from pygradc.recorded.pool import OURS, Task, is_a_helper

if TYPE_CHECKING:
    from pygradc.recorded.program import Program
    from pygradc.recorded.workspace import BackwardPlan

_SHORT = 3e-3  # seconds of training without helpers: a thread that wakes may hold the GIL for long

_alive: weakref.WeakSet[Crew] = weakref.WeakSet()


class Crew:
    """A `pg_crew` with so many helpers."""

    _close = staticmethod(lib.pg_crew_close)  # also while the interpreter ends

    def __init__(self, helpers: int) -> None:
        self.helpers = helpers
        self.owner = new_owner("crew")
        if lib.pg_crew_new(self.owner) != lib.PG_OK:
            raise MemoryError
        self.handle = self.owner[0]
        self.tasks: list[Task] = []
        _alive.add(self)

    def can_share(self, program: Program, plan: BackwardPlan, batch_rows: int) -> bool:
        """Not in a helper of another call, which may be waiting for this thread."""
        handle = program._handle
        return not is_a_helper() and bool(lib.pg_fit_can_share(handle, plan.array[0], batch_rows))

    def pays(self, payoff: Any, rows: int) -> bool:
        """Is it worth it to invite helpers for so many rows in all? Not while sharing rests."""
        short = 0.0 < payoff.alone * rows < _SHORT
        return not short and payoff.rests * payoff.rows < rows

    def __enter__(self) -> None:
        lib.pg_crew_open(self.handle)
        for _ in range(self.helpers):
            self.tasks.append(OURS.submit(partial(_help, self.owner), self.helpers))

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._close(self.handle)
        while self.tasks:
            self.tasks.pop().cancel()

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._close(self.handle)


def _help(owner: Any) -> None:
    lib.pg_crew_help(owner[0])


@in_child
def _forget_helpers() -> None:
    for crew in list(_alive):
        lib.pg_crew_forget(crew.handle)
