"""Builds the C core through cffi; everything else about the package is in pyproject.toml, but for
the description that an index shows: the README, whose links lead to files that aren't there.
"""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which
from typing import Callable

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

FILES = ""
"""Address of the project's files, as "https://.../blob/main/"; empty as long as it has none."""

ROOT = Path(__file__).resolve().parent
FENCE = "```"
RELATIVE_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def description(readme: str, files: str) -> str:
    """The README with addresses for its relative links; without `files`, the links' texts only.

    An image is addressed as a file, not as the page that shows it.
    """

    def replacement(link: "re.Match[str]") -> str:
        image, text, path = link.groups()
        if not files:
            return text
        return f"{image}[{text}]({files}{path}{'?raw=true' if image else ''})"

    parts = readme.split(FENCE)
    parts[::2] = [RELATIVE_LINK.sub(replacement, prose) for prose in parts[::2]]  # no code
    return FENCE.join(parts)


NO_SYMBOLS = {} if sys.platform == "win32" else {"extra_compile_args": ["-g0"]}
"""As of the core: pygradc/core/build.py says why."""

LONGEST = "/lanes_"
"""In the names of the sources that take a compiler half of the time."""


def many_at_once(compile_all: "Callable[..., list[str]]", jobs: int) -> "Callable[..., list[str]]":
    """A compiler's `compile` that takes its sources one by one, in so many threads.

    setuptools builds extensions in parallel, but the sources of one in turn. Here the compiler's
    own method gets one source a call. The longest come first: started last, one of them would run
    alone at the end. The first is compiled before the others start, for what a compiler sets up
    once. An error is that of the first source that has one, and nothing starts after it.
    """

    def compile_sources(sources: "list[str]", *args: object, **kwargs: object) -> "list[str]":
        def one(source: str) -> "list[str]":
            return compile_all([source], *args, **kwargs)

        first, rest = sources[:1], sources[1:]
        objects = {source: one(source) for source in first}
        with ThreadPoolExecutor(jobs) as pool:
            running = {
                source: pool.submit(one, source)
                for source in sorted(rest, key=lambda source: LONGEST not in source)
            }
            try:
                objects.update((source, done.result()) for source, done in running.items())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return [name for source in sources for name in objects[source]]

    return compile_sources


def cores() -> int:
    """How many of the machine's cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class BuildCore(build_ext):
    """Compiles sources in parallel (`build_ext -j N`: so many at a time), and says so when there is
    no C compiler, instead of a traceback from the build's depths."""

    def build_extensions(self) -> None:
        command = getattr(self.compiler, "compiler_so", None)  # not on MSVC, which finds itself
        if command and which(command[0]) is None:
            raise SystemExit(
                f"pygradc has a core in C, and its compiler, {command[0]!r}, was not found. "
                "Install one (Debian and Ubuntu: apt install gcc; Fedora: dnf install gcc; "
                "macOS: xcode-select --install) or name yours with CC=..., then install again."
            )
        jobs = self.parallel if isinstance(self.parallel, int) else 0
        self.parallel = None  # of extensions: they share the compiler
        self.compiler.compile = many_at_once(self.compiler.compile, jobs or cores())
        super().build_extensions()


class BuildModules(build_py):
    """Leaves the build script out: it needs csrc, which isn't installed."""

    def find_package_modules(self, package: str, package_dir: str) -> "list[tuple[str, str, str]]":
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if module[:2] != ("pygradc.core", "build")]


if __name__ == "__main__":
    setup(
        long_description=description((ROOT / "README.md").read_text(encoding="utf-8"), FILES),
        long_description_content_type="text/markdown",
        cffi_modules=["pygradc/core/build.py:ffi"],
        ext_modules=[Extension("pygradc._gil", ["csrc/python/gil/gil.c"], **NO_SYMBOLS)],
        cmdclass={"build_ext": BuildCore, "build_py": BuildModules},
    )
