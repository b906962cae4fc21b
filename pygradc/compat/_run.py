"""Run a program as `python program.py` does, on pygradc: the implementation of `pygradc run`.

The program is compiled with one statement inserted: after a top-level `class Value`, the class is
passed to `_replace.replaced`, which has read the source by then. The modules that the program
imports from its own folder are compiled likewise; their bytecode is not cached, so that Python
itself never loads it. Line numbers are preserved.
`import micrograd` imports pygradc's (`install`), unless the program's folder has a micrograd with
its own engine: that one's networks may differ, and run unchanged, on pygradc's Value.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from pygradc.compat import _objections, _replace, _source
from pygradc.compat._install import elsewhere, install

CANNOT_OPEN = 2  # Python's exit code for a program that can't be read
CLASS = b"class Value"
CLASS_STATEMENT = re.compile(rb"^[ \t]*class[ \t]+Value\b", re.M)


def run(program: str, arguments: Sequence[str], keep: bool = False) -> int:
    """Run a program as the main module of this process.

    Args:
        program: The path of a Python file.
        arguments: Its command line.
        keep: Leave its class Value alone.
    Returns:
        An exit code. Exceptions of the program propagate, SystemExit too; the interpreter prints
        the traceback from the program's first frame on.
    """
    try:
        source = Path(program).read_bytes()
    except OSError as error:
        print(f"pygradc: can't open file {program!r}: {error.strerror}", file=sys.stderr)
        return CANNOT_OPEN
    path = os.path.abspath(program)
    main = _become_main(program, path, arguments)
    folder = os.path.dirname(os.path.realpath(program))
    if not _has_micrograd(folder):
        install()
        for passed_by in elsewhere if b"micrograd" in source else ():
            print(f"pygradc: micrograd is pygradc's, not the one in {passed_by}", file=sys.stderr)
    if not keep:
        sys.meta_path.insert(_before_path_finder(), _Finder(folder))
    try:
        code = compile(source, path, "exec", dont_inherit=True) if keep else compiled(source, path)
        exec(code, main.__dict__)
    except BaseException as error:
        _hide_frames(error)
        raise
    return 0


def _become_main(program: str, path: str, arguments: Sequence[str]) -> ModuleType:
    """Set up a fresh `__main__`, sys.argv and sys.path[0], as Python does for a program."""
    main = ModuleType("__main__")
    main.__file__ = path
    main.__loader__ = SourceFileLoader("__main__", path)
    main.__dict__.update(__builtins__=builtins, __cached__=None)
    if sys.version_info < (3, 14):  # since 3.14 created only with an annotation
        main.__annotations__ = {}
    sys.modules["__main__"] = main
    sys.argv = [program, *arguments]
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path[0] = os.path.dirname(os.path.realpath(program))
    return main


def _before_path_finder() -> int:
    """The position for our finder: just before PathFinder, so that built-in modules come first."""
    return sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)


class _Finder(MetaPathFinder):
    """Finds what PathFinder finds, and gives the program's own modules our loader."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.join(folder, "")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == "pygradc":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        path = os.path.realpath(spec.origin or "")
        if "site-packages" in path or path.startswith(_source.LIBRARY):
            return None
        if not path.startswith(self.folder):
            _say_what_is_passed_by(path)
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def _say_what_is_passed_by(path: str) -> None:
    """Report a class Value in a module outside the program's folder: it is not replaced."""
    try:
        source = Path(path).read_bytes()
    except OSError:
        return
    found = CLASS_STATEMENT.search(source)
    if found is not None:
        place = _replace.Place(path, 1 + source.count(b"\n", 0, found.start()))
        place.say("class Value is left as is: it isn't in the program's folder")


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType | None:
        source = self.get_data(self.path)
        if _replace.replacements:
            _object(source, self.path)
        return compiled(source, self.path) if CLASS in source else super().get_code(fullname)


def _object(source: bytes, path: str) -> None:
    """Report what a module does that Value, replaced already, can't reproduce."""
    with contextlib.suppress(SyntaxError, ValueError):
        if any(os.path.realpath(each.path) == os.path.realpath(path) for each in _source.modules):
            return  # read ahead, and checked, already
        module = _source.read(path, source)
        for line, what in _objections.objections_of(module, _replace.watched[-1]):
            told = f"this {what}, which pygradc's Value doesn't support; use --keep"
            _replace.Place(path, line).say(told)


def compiled(source: bytes, path: str) -> CodeType:
    """Compile a module so that its top-level class Value is passed to `replaced`."""
    module = _source.read(path, source)
    tree = ast.Module([], module.tree.type_ignores)
    for hidden in _source.hidden(module):
        _replace.Place(path, hidden.lineno).say(
            "class Value is left as is: it isn't a top-level statement of the module"
        )
    classes = [n for n in module.tree.body if isinstance(n, ast.ClassDef) and n.name == "Value"]
    for again in classes[:-1]:
        _replace.Place(path, again.lineno).say(
            f"class Value is left as is: it is defined again on line {classes[-1].lineno}"
        )
    for node in module.tree.body:
        tree.body.append(node)
        if node in classes[-1:]:
            tree.body.append(_handing_over(classes[-1], path))
    return compile(tree, path, "exec", dont_inherit=True)


def _handing_over(node: ast.ClassDef, path: str) -> ast.stmt:
    function = "__import__('pygradc.compat._replace', fromlist=['replaced']).replaced"
    (statement,) = ast.parse(f"Value = {function}(Value, {path!r}, {node.lineno})").body
    for part in ast.walk(statement):
        ast.copy_location(part, node)
    return statement


def _has_micrograd(folder: str) -> bool:
    """Does the program's folder contain a micrograd with its own engine?"""
    for name in ("micrograd.py", "micrograd/__init__.py", "micrograd/engine.py"):
        try:
            source = Path(folder, name).read_bytes()
            tree = ast.parse(source) if CLASS in source else ast.Module([], [])
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == "Value":
                methods = {getattr(part, "name", "") for part in node.body}
                if methods >= {"__init__", "backward"}:
                    return True
    return False


def _hide_frames(error: BaseException) -> None:
    """Make the interpreter print this error as if Python itself had run the program."""
    show = sys.excepthook  # or the program's own
    traceback = _without_ours(error.__traceback__)

    def excepthook(kind: type[BaseException], error: BaseException, _: object) -> None:
        show(kind, error.with_traceback(traceback), traceback)
        if _replace.replacements and isinstance(error, (AttributeError, TypeError)):
            hint = "with --keep the program uses its own class Value"
            print(f"pygradc: {hint}", file=sys.stderr)

    sys.excepthook = excepthook


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without frames of this folder and of importlib."""
    entries = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    own: TracebackType | None = None
    for entry in reversed(entries):
        name = entry.tb_frame.f_code.co_filename
        if os.path.dirname(name) != os.path.dirname(__file__) and not name.startswith(
            "<frozen importlib"
        ):
            own = TracebackType(own, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return own
