"""The command line: `python -m pygradc train`, `python -m pygradc run program.py`,
`python -m pygradc view program.py`, and `python -m pygradc info`.

Exit codes: 0; 1 the training failed; 2 a bad argument or file (one line on stderr); 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pygradc import about
from pygradc.compat._run import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Raises SystemExit(2) for a bad command line."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m pygradc", description="Scalar autograd in C.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    if given[:1] != ["run"]:  # `run` skips importing the training code: 10 ms
        from pygradc.command import train

        train.add_to(commands)
    _add_run(commands)
    _add_info(commands)
    _add_view(commands, given)
    options = parser.parse_args(given)
    return int(options.call(options))


def _add_run(commands: Any) -> None:
    told = "run a Python program with pygradc in place of its micrograd or class Value"
    command = commands.add_parser("run", help=told, description=told[0].upper() + told[1:] + ".")
    add = command.add_argument
    add("--keep", action="store_true", help="keep the program's own class Value")
    add("program", metavar="PROGRAM.py", help="the program")
    add("arguments", metavar="...", nargs=argparse.REMAINDER, help="its arguments")
    command.set_defaults(call=lambda o: run(o.program, o.arguments, keep=o.keep))


def _add_info(commands: Any) -> None:
    told = "print versions, compiler, vector level, native code, as a bug report needs"
    command = commands.add_parser("info", help=told, description=told[0].upper() + told[1:] + ".")
    command.set_defaults(call=about.show)


def _add_view(commands: Any, given: Sequence[str]) -> None:
    told = "show the graph that a program leaves as a page to step through"
    command = commands.add_parser("view", help=told)
    if given[:1] == ["view"]:
        from pygradc.command import view

        view.add_arguments(command)
        command.set_defaults(call=view.run)


if __name__ == "__main__":
    sys.exit(main())
