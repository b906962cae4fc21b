"""`python -m pygradc info`: what a bug report needs."""

from __future__ import annotations

import argparse

from pygradc import about

EXAMPLES = """\
examples:
  python -m pygradc info
  python -m pygradc info --json >info.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Print what a bug report needs: versions, compiler, vector level, native code, threads."
    )
    parser.epilog = EXAMPLES
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the lines of `pygradc.info()`; returns the exit code."""
    found = about.info()
    if arguments.json:
        import json

        print(json.dumps(found, indent=2))
    else:
        print(found)
    return 0
