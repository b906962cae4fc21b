"""For the programs that people already have: micrograd's and microgpt's names over pygradc's Value.

- `pygradc.compat.micrograd` has micrograd's `engine` and `nn`; `pygradc.compat.microgpt` its Value.
- `install()`: after it `import micrograd`, in unchanged programs, gets pygradc's.
- `python -m pygradc run program.py` does that for a program, and replaces a `class Value` in it.
docs/compat.md says what is the same and what isn't.
"""

from pygradc.compat._install import install, uninstall

__all__ = ["install", "uninstall"]
