"""Installs the C type under Value into the extension, once, and gives it its name in Python.

cffi compiles csrc/python/*.c into the same extension but can't declare a type; a function of the
core creates it.
"""

import sys
import threading

from pygradc import _core
from pygradc._forks import in_child

# The graph is protected by the GIL, and modules that cffi makes say that they need none.
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    raise ImportError(
        "pygradc needs the GIL, which this free-threaded Python runs without: "
        "start it as `python -X gil=1`, or with PYTHON_GIL=1 in the environment"
    )
if _core.lib.pg_python_install(b"pygradc._core") != 0:  # prints the reason itself
    raise ImportError("pygradc: the type under Value could not be installed")

Scalar = _core.Scalar


@in_child
def _forget_other_threads() -> None:
    """This thread is the only one, and the main one."""
    Scalar._main_thread(threading.get_ident())
    Scalar._forget_threads()


Scalar._main_thread(threading.main_thread().ident or 0)

__all__ = ["Scalar"]
