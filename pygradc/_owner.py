"""Structs of the core that Python owns: the owner is made first, and then what it owns.

Ctrl-C and failing allocations come between any two calls. `ffi.gc` around what a call has returned
would be too late for them: the struct would be lost.
"""

from __future__ import annotations

from typing import Any

from pygradc._core import ffi, lib

_DROPS = {
    "program": lib.pg_python_drop_program,
    "backward_plan": lib.pg_python_drop_backward_plan,
    "workspace": lib.pg_python_drop_workspace,
}


def new_owner(kind: str) -> Any:
    """A `pg_<kind> **` to fill. What it points to is freed when it dies itself; the pointer read
    from it keeps nothing alive.
    """
    return ffi.gc(ffi.new(f"pg_{kind} **"), _DROPS[kind])
