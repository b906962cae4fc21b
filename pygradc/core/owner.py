"""Ownership of the core's structs: the owner is made first, and then the struct that it owns.

Ctrl-C and failing allocations may come between any two calls. Wrapping the result of a call in
`ffi.gc` would leak the struct if one came in between.
"""

from __future__ import annotations

from typing import Any

from pygradc._core import ffi, lib

_DROPS = {
    "program": lib.pg_python_drop_program,
    "backward_plan": lib.pg_python_drop_backward_plan,
    "workspace": lib.pg_python_drop_workspace,
    "crew": lib.pg_python_drop_crew,
}


def new_owner(kind: str) -> Any:
    """A `pg_<kind> **` to fill, which owns the struct that it points to.

    The struct is freed with the owner; the pointer read from it is borrowed.
    """
    return ffi.gc(ffi.new(f"pg_{kind} **"), _DROPS[kind])
