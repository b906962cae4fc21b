"""What comes before all other modules, and after them: an import as a whole, or none.

Python keeps the modules that were imported when another one failed, or was interrupted by Ctrl-C.
The C core is there once a process, and modules that know it, and each other, by half would spoil
every later import. So `begin` drops what an import that was broken off left behind, but for the
extensions, which can't be had twice; and `end` says that nothing is to be dropped any more.
An editable installation finds its extensions for every folder's package. Those of another folder
may be of another version, and so are refused.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

_STAY = {"pygradc._begin", "pygradc._core", "pygradc._gil"}
_FOLDER = os.path.dirname(__file__)
_ROOT = Path(__file__).resolve().parent.parent


def begin() -> None:
    """Forget what an import that was broken off has left.

    Raises:
        ImportError: the extension isn't there, or is another Python's; says where, and what to do.
    """
    core = _core()
    scalar = getattr(core, "Scalar", None)
    if scalar is None or not scalar._is_sealed():
        for name in [name for name in sys.modules if name.startswith("pygradc.")]:
            if name not in _STAY:
                del sys.modules[name]
    package = sys.modules["pygradc"]
    for name, module in list(sys.modules.items()):  # which a package that is made anew hasn't
        if name.startswith("pygradc.") and name.count(".") == 1:
            setattr(package, name.partition(".")[2], module)


def end() -> None:
    """All modules are there."""
    core, gil = _core(), sys.modules.get("pygradc._gil")
    if gil is not None:
        _require_own(gil)
    core.Scalar._seal()


def _core() -> ModuleType:
    try:
        from pygradc import _core as core
    except ImportError as error:
        if not _is_source():
            raise
        reason = f": {error}" if _has_core() else ""
        raise ImportError(_not_built(reason), name=error.name, path=error.path) from None
    _require_own(core)
    return core


def _require_own(extension: ModuleType) -> None:
    """Is it in this package's folder?"""
    path = getattr(extension, "__file__", None) or __file__  # none if it is linked into Python
    folder = os.path.dirname(path)
    if folder == _FOLDER or os.path.realpath(folder) == os.path.realpath(_FOLDER):
        return
    reason = f": Python finds {path}, which belongs to another copy of pygradc"
    if _is_source():
        message = _not_built(reason)
    else:
        there = f"{_FOLDER} has no {os.path.basename(path)}"
        message = f"{there}{reason}. Start Python in another folder, or install this copy again"
    raise ImportError(message, name=extension.__name__, path=path)


def _is_source() -> bool:
    return (_ROOT / "csrc" / "pygradc.h").is_file()


def _has_core() -> bool:
    """One that this Python would load; then it has said why it couldn't."""
    return any((_ROOT / "pygradc" / f"_core{suffix}").exists() for suffix in EXTENSION_SUFFIXES)


def _not_built(reason: str) -> str:
    """For who starts Python in a clone, where this folder comes before what is installed."""
    import sysconfig  # which takes time that an import without a fault hasn't

    others = sorted(
        path.name for path in (_ROOT / "pygradc").glob("_core.*") if path.suffix != ".pyi"
    )
    found = f"; there is {', '.join(others)}" if others else ""
    wanted = f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    return (
        f"{_ROOT} is pygradc's source folder, and not built for this Python ({wanted} is wanted"
        f"{found}{reason}). Start Python in another folder to use the pygradc that is installed, "
        f"or build this one: {sys.executable} -m pip install -e {_ROOT}"
    )
