"""`micrograd` by its own name: unchanged programs import pygradc's.

Invariant: while installed, `sys.modules` holds pygradc's modules under micrograd's names, so that
no other micrograd, installed or beside the program, is found first; what was there before is put
back by `uninstall`. A micrograd that has more modules than pygradc's (`micrograd.optim`, say) still
gives those, and they get pygradc's `Value`.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from types import ModuleType

_before: dict[str, ModuleType] | None = None  # what install() displaced; None: not installed
elsewhere: list[str] = []  # the folders of the micrograd that is passed by


def install() -> None:
    """Let `import micrograd` mean pygradc.compat.micrograd from now on. May be called again."""
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
    """Undo `install`: later imports find the micrograd that would be found without it, if any."""
    global _before
    if _before is None:
        return
    from pygradc.compat import micrograd

    for name in _take_out().keys() - {"micrograd", "micrograd.engine", "micrograd.nn"}:
        vars(micrograd).pop(name.partition(".")[2], None)  # a module that the other has
    sys.modules.update(_before)
    _before = None
    for folder in elsewhere:
        micrograd.__path__.remove(folder)


def _take_out() -> dict[str, ModuleType]:
    """Remove micrograd and all its modules from those that were imported; returns them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "micrograd"]
    return {name: sys.modules.pop(name) for name in names}
