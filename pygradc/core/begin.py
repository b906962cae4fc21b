"""Make importing the package atomic: `begin` runs before all other modules, `end` after them.

When an import fails, or Ctrl-C interrupts it, Python keeps the submodules imported so far in
`sys.modules`. The C core is initialized once per process, and half-initialized modules would break
every later import. So `begin` removes the submodules that an aborted import left behind, except the
extensions, which can't be loaded twice; `end` marks the import as complete.
An editable installation's finder offers its extensions to a package in any folder. Extensions from
another folder may have another version, and are refused.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

_STAY = {"pygradc.core.begin", "pygradc._core", "pygradc._gil"}
_MOVED = {  # modules that pickles of earlier versions name
    "_structure": "recorded.structure",
    "compiled": "recorded.compiled",
    "copying": "core.copying",
    "program": "recorded.program",
}
_FOLDER = os.path.dirname(os.path.dirname(__file__))
_ROOT = Path(__file__).resolve().parents[2]


def begin() -> None:
    """Remove the submodules that an aborted import left in `sys.modules`.

    Raises:
        ImportError: the extension is missing, or built for another Python; the message says where
            it was looked for, and what to do.
    """
    core = _core()
    is_sealed = getattr(core, "is_sealed", None)  # missing before the first import
    if is_sealed is None or not is_sealed():
        for name in [name for name in sys.modules if name.startswith("pygradc.")]:
            if name not in _STAY:
                del sys.modules[name]
    package = sys.modules["pygradc"]
    for name, module in list(sys.modules.items()):  # attributes that a new package lacks
        if name.startswith("pygradc.") and name.count(".") == 1:
            setattr(package, name.partition(".")[2], module)


def end() -> None:
    """Mark the import as complete."""
    core, gil = _core(), sys.modules.get("pygradc._gil")
    if gil is not None:
        _require_own(gil)
    for old, new in _MOVED.items():
        sys.modules[f"pygradc.{old}"] = sys.modules[f"pygradc.{new}"]
    core.seal()


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
    """Raise ImportError unless the extension is in this package's folder."""
    path = getattr(extension, "__file__", None) or __file__  # none if linked into Python
    folder = os.path.dirname(path)
    if folder == _FOLDER or os.path.realpath(folder) == os.path.realpath(_FOLDER):
        return
    reason = f": Python finds {path}, which belongs to another copy of pygradc"
    if _is_source():
        message = _not_built(reason)
    else:
        there = f"{_FOLDER} has no {os.path.basename(path)}"
        message = f"{there}{reason}. Start Python in another folder, or reinstall this copy"
    raise ImportError(message, name=extension.__name__, path=path)


def _is_source() -> bool:
    return (_ROOT / "csrc" / "pygradc.h").is_file()


def _has_core() -> bool:
    """Is there an extension that this Python would load? If so, the ImportError has the reason."""
    return any((_ROOT / "pygradc" / f"_core{suffix}").exists() for suffix in EXTENSION_SUFFIXES)


def _not_built(reason: str) -> str:
    """The message for Python started in a clone, where this folder precedes the installed one."""
    import sysconfig  # not at the top: a successful import needn't pay for it

    others = sorted(
        path.name for path in (_ROOT / "pygradc").glob("_core.*") if path.suffix != ".pyi"
    )
    found = f"; there is {', '.join(others)}" if others else ""
    wanted = f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    return (
        f"{_ROOT} is pygradc's source folder, and not built for this Python ({wanted} is needed"
        f"{found}{reason}). Start Python in another folder to use the installed pygradc, "
        f"or build this one: {sys.executable} -m pip install -e {_ROOT}"
    )
