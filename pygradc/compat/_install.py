"""Make `import micrograd`, in unchanged programs, import pygradc's.

Invariant: while installed, `sys.modules` holds pygradc's modules under micrograd's names, so that
no other micrograd, installed or beside the program, is found first; `uninstall` restores the
previous entries. If another micrograd has more modules than pygradc's (`micrograd.optim`, say),
these are still found, and import pygradc's `Value`.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from types import ModuleType

_before: dict[str, ModuleType] | None = (
    None  # the entries that install() displaced; None: not installed
)
elsewhere: list[str] = []  # the folders of the other micrograd, which is bypassed


def install() -> None:
    """Make `import micrograd` import pygradc.compat.micrograd from now on. Idempotent.

    >>> import pygradc.compat
    >>> pygradc.compat.install()
    >>> from micrograd.engine import Value
    >>> Value
    <class 'pygradc.value.Value'>
    >>> pygradc.compat.uninstall()
    """
    global _before
    if _before is not None:
        return
    from pygradc.compat import micrograd

    _before = _take_out()
    spec = PathFinder.find_spec("micrograd")
    elsewhere[:] = (spec.submodule_search_locations or ()) if spec is not None else ()
    micrograd.__path__.extend(elsewhere)
    sys.modules["micrograd"] = micrograd
    sys.modules["micrograd.engine"] = micrograd.engine
    sys.modules["micrograd.nn"] = micrograd.nn


def uninstall() -> None:
    """Undo `install`: later imports find another micrograd again, if there is one.

    >>> import sys
    >>> import pygradc.compat
    >>> before = sys.modules.get("micrograd")
    >>> pygradc.compat.install()
    >>> pygradc.compat.uninstall()
    >>> sys.modules.get("micrograd") is before
    True
    """
    global _before
    if _before is None:
        return
    from pygradc.compat import micrograd

    for name in _take_out().keys() - {"micrograd", "micrograd.engine", "micrograd.nn"}:
        vars(micrograd).pop(name.partition(".")[2], None)  # a module of the other micrograd
    sys.modules.update(_before)
    _before = None
    for folder in elsewhere:
        micrograd.__path__.remove(folder)


def _take_out() -> dict[str, ModuleType]:
    """Remove micrograd and its modules from `sys.modules`, and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "micrograd"]
    return {name: sys.modules.pop(name) for name in names}
