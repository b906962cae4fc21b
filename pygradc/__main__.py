"""The command line: `python -m pygradc COMMAND`.

A command is a module of `pygradc/command` with `add_arguments(parser)` and `run(arguments)`, which
returns the exit code. `COMMANDS` lists them; only the module of the command that is called is
imported, so that `--help` and `info` needn't wait for the others.

Exit codes: 0; 1 data or a model can't be used, or training failed; 2 bad arguments; 130 Ctrl-C;
141 the reader of the output is gone. Errors are one line on stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from pygradc.about import __version__
from pygradc.command.errors import USAGE, guarded

COMMANDS = {  # name: module, and what it does
    "train": ("pygradc.command.train", "train a network on a table"),
    "predict": ("pygradc.command.predict", "predict the rows of a table by a trained network"),
    "bench": ("pygradc.command.bench", "measure pygradc beside pure Python on this machine"),
    "view": ("pygradc.command.view", "show the graph that a program leaves, step by step"),
    "info": ("pygradc.command.info", "print versions and the like, as a bug report needs"),
    "run": ("pygradc.command.run", "run a program with pygradc in place of its class Value"),
}

EXAMPLES = """\
examples:
  python -m pygradc train
  python -m pygradc view program.py --open
  python -m pygradc train --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Raises SystemExit(2) for a bad command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else ""
    if name == "run":  # the program's exceptions are the program's own
        return _call(name, given)
    return guarded(name if name in COMMANDS else "", lambda: _call(name, given))


def _call(name: str, given: Sequence[str]) -> int:
    module = import_module(COMMANDS[name][0]) if name in COMMANDS else None
    parser = _Parser(
        prog="python -m pygradc",
        description="Scalar autograd in C: micrograd's Value with a native core.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pygradc {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    called = parser
    for command, (_, told) in COMMANDS.items():
        added = commands.add_parser(command, help=told, formatter_class=parser.formatter_class)
        if module and command == name:
            called = added
            module.add_arguments(added)
            added.usage = _usage(added)
    options, others = parser.parse_known_args(given)
    if others or module is None:
        called.error(f"unrecognized arguments: {' '.join(others)}")
    return int(module.run(options))


def _usage(parser: argparse.ArgumentParser) -> str:
    """The arguments in short: options are listed below."""
    places = [action for action in parser._actions if not action.option_strings]
    names = [str(action.metavar or action.dest) for action in places]
    return " ".join([parser.prog, "[OPTIONS]", *names])


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as the commands do."""

    def error(self, message: str) -> NoReturn:
        name = self.prog[self.prog.index("pygradc") :]
        self.exit(USAGE, f"{name}: error: {' '.join(message.split())}; see --help\n")


if __name__ == "__main__":
    sys.exit(main())
