"""Installs the C type under Value into the extension, once, and gives it its name in Python.

cffi compiles csrc/python/*.c into the same extension but can't declare a type; a function of the
core creates it.
"""

import os
import threading

from pygradc import _core

if _core.lib.pg_python_install(b"pygradc._core") != 0:  # prints the reason itself
    raise ImportError("pygradc: the type under Value could not be installed")

Scalar = _core.Scalar


def _after_fork() -> None:
    """In a child process: this thread is the only one, and the main one."""
    Scalar._main_thread(threading.get_ident())
    Scalar._forget_threads()


Scalar._main_thread(threading.main_thread().ident)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["Scalar"]
