"""What this installation is: versions, compiler, vector level, native code, as a bug report needs.

`pygradc.info()` and `python -m pygradc info` show the same lines. Collected at the call: a few
milliseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pygradc._core import ffi, lib
from pygradc.recorded import workspace

__version__ = "0.1.0"

_VECTORS = ("the architecture's baseline", "AVX2", "AVX-512")  # pg_replay_levels, without native


class Info(dict[str, str]):
    """A dict whose repr is a table, one item a line."""

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{key:{width}}  {value}" for key, value in self.items())


def info() -> Info:
    """Versions and capabilities: the lines that a bug report needs.

        >>> import pygradc
        >>> sorted(pygradc.info())[:4]
        ['NumPy', 'Python', 'cffi', 'compiler']

    Returns:
        A dict of strings: pygradc, Python, NumPy, cffi, platform, compiler, libm, vectors, native
        code. In an interactive session it shows as one line each; `print(pygradc.info())` prints
        them.
    """
    import platform  # these take 2 and 10 ms

    import cffi

    return Info(
        {
            "pygradc": __version__,
            "Python": f"{platform.python_version()} ({platform.python_implementation()})",
            "NumPy": np.__version__,
            "cffi": cffi.__version__,
            "platform": platform.platform(),
            "compiler": ffi.string(lib.pg_compiler()).decode("ascii", "replace"),
            "libm": _libm(),
            "vectors": _VECTORS[lib.pg_replay_levels() - lib.pg_has_native() - 1],
            "native code": _native(),
        }
    )


def _libm() -> str:
    """The C library, whose libm exact mode calls."""
    import platform

    return " ".join(filter(None, platform.libc_ver())) or "unknown"


def _native() -> str:
    if not lib.pg_has_native():
        return "no: not on this processor"
    return "yes" if workspace.default_level() < 0 else "off: PYGRADC_NATIVE=0"


def show(_options: Any) -> int:
    """`python -m pygradc info`; returns the exit code."""
    print(info())
    return 0
