"""`python -m pygradc run`: a Python program on pygradc. `compat/_run.py` runs it."""

from __future__ import annotations

import argparse

from pygradc.compat._run import run as run_program

EXAMPLES = """\
examples:
  python -m pygradc run train.py
  python -m pygradc run --keep train.py --epochs 3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Run a Python program with pygradc in place of its micrograd or class Value."
    )
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("--keep", action="store_true", help="keep the program's own class Value")
    add("program", metavar="PROGRAM.py", help="the program")
    add("arguments", metavar="...", nargs=argparse.REMAINDER, help="its arguments")


def run(arguments: argparse.Namespace) -> int:
    """Run the program; returns the exit code. Its exceptions propagate, Ctrl-C too."""
    return run_program(arguments.program, arguments.arguments, keep=arguments.keep)
