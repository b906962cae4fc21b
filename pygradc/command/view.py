"""`python -m pygradc view`: the graph that a program leaves, or a saved program, as a page.

The program is run as by `python -m pygradc run`. Of what it leaves, the Value is shown that was
assigned last at top level and computed from others; or what `--name` says.
"""

from __future__ import annotations

import argparse
import ast
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pygradc.command.errors import FAILED, OK, CommandError
from pygradc.compat._run import run as run_program
from pygradc.core.scalar import Scalar
from pygradc.files import magic
from pygradc.recorded import stepping
from pygradc.recorded.compiled import Compiled
from pygradc.recorded.program import Program, load
from pygradc.viewing import graphs
from pygradc.viewing.description import Graph
from pygradc.viewing.page import View

EXAMPLES = """\
examples:
  python -m pygradc view program.py                  the last Value that it assigns
  python -m pygradc view program.py --name loss --open
  python -m pygradc view saved.pgradc --row 2.0,-3.0  a program that was saved, with its numbers
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.description = "Show a graph as a page to step through: one HTML file."
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--name", metavar="NAME", help="what to show: a Value, a compiled function, model.loss")
    add("--out", metavar="FILE", type=Path, help="where to write (default: a temporary file)")
    add("--open", action="store_true", help="show the page in a browser")
    add("--row", metavar="X,X", type=_row, help="of a compiled function: the numbers of one row")
    add("--output", metavar="N", type=int, default=0, help="of several outputs: which (default: 0)")
    add("--keep", action="store_true", help="keep the program's own class Value")
    add("program", metavar="PROGRAM", help="a Python program, or a file of Program.save")
    add("--arguments", metavar="TEXT", type=shlex.split, default=[], help="its command line")


def _row(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers, such as 2.0,-3.0, not {text!r}") from (
            None
        )


def run(arguments: argparse.Namespace) -> int:
    """Show it; returns the exit code."""
    try:
        view = View(_graph(arguments))
        if arguments.out is not None:
            view.save(arguments.out)
        elif not arguments.open:
            view.save_temporarily()
        if arguments.open:
            view.open()
    except (ValueError, TypeError, IndexError, ArithmeticError) as error:
        raise CommandError(str(error)) from None
    except _Failed as failure:
        sys.excepthook(type(failure.error), failure.error, failure.error.__traceback__)
        return FAILED
    print(f"{view.path}: {view.nodes} nodes")
    return OK


def _graph(arguments: argparse.Namespace) -> Graph:
    with open(arguments.program, "rb") as file:
        start = file.read(len(magic.PROGRAM))
    if start == magic.PROGRAM:
        found: Any = load(arguments.program)
    else:
        found = _left_by(arguments)
    if isinstance(found, Compiled):
        if not found.programs:
            raise CommandError(f"{arguments.name} isn't recorded: the program never calls it")
        found = found.programs[-1]
    if isinstance(found, Program):
        row = None if arguments.row is None else stepping.arguments(found, arguments.row)
        return stepping.describe(found, row, arguments.output)
    if arguments.row is not None:
        raise CommandError(
            "--row is of compiled functions and saved programs; a Value has its data"
        )
    name = arguments.name or Path(arguments.program).name
    return graphs.describe(found, str(found.label) or name)


# ---- What a program leaves -----------------------------------------------------------------------


class _Failed(Exception):
    """The program raised this error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _left_by(arguments: argparse.Namespace) -> Any:
    """Run the program, and return the object to show."""
    source = Path(arguments.program).read_bytes()
    try:
        code = run_program(arguments.program, arguments.arguments, keep=arguments.keep)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    except Exception as error:
        raise _Failed(error) from None
    else:
        if code:
            raise SystemExit(code)
    names = vars(sys.modules["__main__"])
    return _named(arguments.name, names) if arguments.name else _last(source, names)


def _named(name: str, names: dict[str, Any]) -> Any:
    """The object of this name, which may lead through attributes: model.loss."""
    first, *attributes = name.split(".")
    if first not in names:
        raise CommandError(f"the program leaves no {first!r} at top level")
    found = names[first]
    for attribute in attributes:
        if not hasattr(found, attribute):
            raise CommandError(f"{name}: a {type(found).__name__} has no {attribute!r}")
        found = getattr(found, attribute)
    if not isinstance(found, (Scalar, Program, Compiled)):
        raise CommandError(
            f"{name} is a {type(found).__name__}; what can be shown is a Value, a compiled "
            "function or a program"
        )
    return found


def _last(source: bytes, names: dict[str, Any]) -> Any:
    for name in reversed([*_assigned(ast.parse(source).body)]):
        found = names.get(name)
        if isinstance(found, Scalar) and found._children:
            return found
    raise CommandError(
        "the program assigns no Value at top level that was computed from others: assign the one "
        f"to show, as in loss = ...{_alternative(names)}"
    )


def _alternative(names: dict[str, Any]) -> str:
    """What else the program leaves, by its names there."""
    found = [name for name, each in names.items() if isinstance(each, (Scalar, Program, Compiled))]
    return f"; or choose with --name: {', '.join(found[:8])}" if found else ""


def _assigned(body: list[ast.stmt]) -> Iterator[str]:
    """The names that these statements bind, in the order of the source; not those in functions."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for field in ast.iter_child_nodes(statement):
            if isinstance(field, ast.stmt):
                yield from _assigned([field])
            elif isinstance(field, (ast.ExceptHandler, ast.withitem)):
                yield from _names_in(field)
                yield from _assigned(getattr(field, "body", []))
            else:
                yield from _names_in(field)


def _names_in(expression: ast.AST) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
