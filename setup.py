"""Builds the C core through cffi; everything else about the package is in pyproject.toml, but for
the description that an index shows: the README, whose links lead to files that aren't there.
"""

import re
from pathlib import Path
from shutil import which

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
        ext_modules=[Extension("pygradc._gil", ["csrc/python/gil/gil.c"])],
        cmdclass={"build_ext": BuildCore, "build_py": BuildModules},
    )
