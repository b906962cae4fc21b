"""The cffi build: csrc/*/*.c become the extension pygradc._core.

cffi reads csrc/pygradc.h itself, without its preprocessor lines; there is no second copy of the
declarations. The C type under `Value` is compiled into the same extension, which therefore uses
CPython's full API.
"""

import os
import re
import sys
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
# cffi and setuptools need sources relative to the project's root, where every build runs.
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/*/*.c"))


def declarations(header: str) -> str:
    """The part of a header that cffi reads: everything but preprocessor lines."""
    return re.sub(r"^#.*\n", "", header, flags=re.MULTILINE)


def compile_arguments() -> list[str]:
    """No contraction of a*b + c into fma: every operation rounds, as in Python.

    errno and the floating-point exception flags are never read; not preserving them lets the
    compiler vectorize loops, and changes no result.

    Python's own flags ask for debugging information, which would be four fifths of the file and is
    of no use to those who install it; PYGRADC_CFLAGS=-g has it back.
    """
    if sys.platform == "win32":
        return ["/O2", "/fp:precise", "/std:c11"]
    return [
        "-std=c11",
        "-O3",
        "-g0",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fvisibility=hidden",
        *os.environ.get("PYGRADC_CFLAGS", "").split(),
    ]


ffi = FFI()
ffi.cdef(declarations((ROOT / "csrc" / "pygradc.h").read_text(encoding="utf-8")))
ffi.set_source(
    "pygradc._core",
    '#include "pygradc.h"',
    sources=SOURCES,
    include_dirs=["csrc"],
    depends=sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.[hd]*")),
    extra_compile_args=compile_arguments(),
    extra_link_args=os.environ.get("PYGRADC_LDFLAGS", "").split(),
    libraries=[] if sys.platform == "win32" else ["m"],
    py_limited_api=False,
)

if __name__ == "__main__":
    os.chdir(ROOT)
    ffi.compile(verbose=True)
