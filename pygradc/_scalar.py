"""Installs the C type under Value into the extension, once, and gives it its name in Python.

cffi compiles csrc/python/*.c into the same extension but can't declare a type; a function of the
core creates it.
"""

from pygradc import _core

if _core.lib.pg_python_install(b"pygradc._core") != 0:  # prints the reason itself
    raise ImportError("pygradc: the type under Value could not be installed")

Scalar = _core.Scalar

__all__ = ["Scalar"]
