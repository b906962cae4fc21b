"""What this installation is: versions, compiler, vector level, native code, as a bug report needs.

`pygradc.info()` and `python -m pygradc info` show the same lines. Collected at the call: some tens
of milliseconds, for the versions of other libraries; none of them is imported.
"""

from __future__ import annotations

import contextlib
import os

import numpy as np

from pygradc._core import ffi, lib
from pygradc.recorded import workspace

__version__ = "0.1.0"

_OTHERS = ("graphviz", "jax", "matplotlib", "pandas", "scikit-learn", "scipy", "torch", "tqdm")
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
        A dict of strings: pygradc, Python, NumPy, cffi, other libraries that are installed,
        platform, compiler, libm, vectors, native code, threads. In an interactive session it shows
        as one line each; `print(pygradc.info())` prints them.
    """
    import platform  # these take 2 and 10 ms

    import cffi

    return Info(
        {
            "pygradc": __version__,
            "Python": f"{platform.python_version()} ({platform.python_implementation()})",
            "NumPy": np.__version__,
            "cffi": cffi.__version__,
            "others": _others(),
            "platform": platform.platform(),
            "compiler": ffi.string(lib.pg_compiler()).decode("ascii", "replace"),
            "libm": _libm(),
            "vectors": _VECTORS[lib.pg_replay_levels() - lib.pg_has_native() - 1],
            "native code": _native(),
            "threads": _threads(),
        }
    )


def _libm() -> str:
    """The C library, whose libm exact mode calls."""
    import platform

    return " ".join(filter(None, platform.libc_ver())) or "unknown"


def _others() -> str:
    """Versions of the optional libraries, and of those whose arrays are taken."""
    from importlib import metadata

    found = []
    for name in _OTHERS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return ", ".join(found) or "none"


def _native() -> str:
    import platform

    machine = platform.machine() or "unknown"
    if not lib.pg_has_native():
        return f"no: not on this processor ({machine})"
    return f"yes ({machine})" if workspace.default_level() < 0 else "off: PYGRADC_NATIVE=0"


def _threads() -> str:
    """How many processors this process may use, and how many there are."""
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return f"{usable} of {count} processors"
