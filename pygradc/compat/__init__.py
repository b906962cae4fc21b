"""Compatibility with existing programs: micrograd's and microgpt's names for pygradc's Value.

- `pygradc.compat.micrograd` has micrograd's `engine` and `nn`; `pygradc.compat.microgpt` its Value.
- `install()` makes `import micrograd`, in unchanged programs, import pygradc's.
- `python -m pygradc run program.py` does so for one program, and replaces its `class Value`.

docs/compat.md lists what is the same and what differs.
"""

from pygradc.compat._install import install, uninstall

__all__ = ["install", "uninstall"]
