"""Builds the C core through cffi; everything else about the package is in pyproject.toml."""

from shutil import which

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildCore(build_ext):
    """Says so when there is no C compiler, instead of a traceback from the build's depths."""

    def build_extensions(self) -> None:
        command = getattr(self.compiler, "compiler_so", None)  # not on MSVC, which finds itself
        if command and which(command[0]) is None:
            raise SystemExit(
                f"pygradc has a core in C, and its compiler, {command[0]!r}, was not found. "
                "Install one (Debian and Ubuntu: apt install gcc; Fedora: dnf install gcc; "
                "macOS: xcode-select --install) or name yours with CC=..., then install again."
            )
        super().build_extensions()


setup(
    cffi_modules=["pygradc/_build.py:ffi"],
    ext_modules=[Extension("pygradc._gil", ["csrc/gil/gil.c"])],
    cmdclass={"build_ext": BuildCore},
)
