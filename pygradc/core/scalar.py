"""Install the C type under Value into the extension, once, as `Scalar`, and the functions of
csrc/python, which are `core`'s.

cffi compiles csrc/python/*.c into the same extension but can't declare a type; a function of the
core creates it.
"""

import importlib
import sys
import threading
from types import MethodDescriptorType

from pygradc import _core
from pygradc.core.forks import in_child


def _require_gil() -> None:
    """Require the GIL, which protects the graph. A free-threaded Python enables it, with a
    RuntimeWarning, unless told to run without.
    """
    is_enabled = getattr(sys, "_is_gil_enabled", lambda: True)
    if not is_enabled():
        importlib.import_module("pygradc._gil")
    if not is_enabled():
        raise ImportError(
            "pygradc needs the GIL, which is disabled in this free-threaded Python "
            "(-X gil=0, or PYTHON_GIL=0 in the environment)"
        )


_require_gil()
if _core.lib.pg_python_install(b"pygradc._core") != 0:  # it prints the reason
    raise ImportError("pygradc: the type under Value could not be installed")

Scalar = _core.Scalar
core = _core

# The methods under NumPy's names, and whose they are: {"arcsin": "asin", ...}.
ALIASES = {
    name: method.__name__
    for name, method in vars(Scalar).items()
    if isinstance(method, MethodDescriptorType) and method.__name__ != name
}


@in_child
def _forget_other_threads() -> None:
    """In the child this thread is the only one, and the main thread."""
    core.main_thread(threading.get_ident())
    core.forget_threads()


core.main_thread(threading.main_thread().ident or 0)
