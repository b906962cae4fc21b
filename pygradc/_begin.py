"""What comes before all other modules, and after them: an import as a whole, or none.

Python keeps the modules that were imported when another one failed, or was interrupted by Ctrl-C.
The C core is there once a process, and modules that know it, and each other, by half would spoil
every later import. So `begin` drops what an import that was broken off left behind, but for the
extensions, which can't be had twice; and `end` says that nothing is to be dropped any more.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import ModuleType

_STAY = {"pygradc._begin", "pygradc._core", "pygradc._gil"}
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
    _core().Scalar._seal()


def _core() -> ModuleType:
    try:
        from pygradc import _core as core
    except ImportError as error:
        if not (_ROOT / "csrc" / "pygradc.h").is_file():
            raise
        raise ImportError(_not_built(error), name=error.name, path=error.path) from None
    return core


def _not_built(error: ImportError) -> str:
    """For who starts Python in a clone, where this folder comes before what is installed."""
    others = sorted(
        path.name for path in (_ROOT / "pygradc").glob("_core.*") if path.suffix != ".pyi"
    )
    found = f"; there is {', '.join(others)}" if others else ""
    wanted = f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    return (
        f"{_ROOT} is pygradc's source folder, and not built for this Python ({wanted} is wanted"
        f"{found}: {error}). Start Python in another folder to use the pygradc that is installed, "
        f"or build this one: {sys.executable} -m pip install -e {_ROOT}"
    )
