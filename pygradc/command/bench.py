"""`python -m pygradc bench`: pygradc beside pure Python on this machine, in seconds."""

from __future__ import annotations

import argparse
import math
from statistics import median

from pygradc.about import info
from pygradc.command import arguments as types
from pygradc.command.errors import CommandError
from pygradc.command.races import Competitor, Race, WrongResult, races

ROUNDS = 7
TOLD = ("pygradc", "Python", "platform", "compiler", "vectors", "native code")

EXAMPLES = """\
examples:
  python -m pygradc bench
  PYGRADC_NATIVE=0 python -m pygradc bench --rounds 15
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Measure pygradc beside a Value in pure Python, on this machine, in a few seconds.\n"
        "They take turns; printed are the medians of times and of their ratios."
    )
    parser.epilog = EXAMPLES
    told = "turns of each (default: %(default)s)"
    parser.add_argument("--rounds", metavar="N", type=types.count, default=ROUNDS, help=told)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    found = info()
    print(", ".join(f"{name} {found[name]}" for name in TOLD), flush=True)
    for race in races():
        try:
            race.run(arguments.rounds)
        except WrongResult as error:
            raise CommandError(f"{race.name}: {error}; please report this") from error
        print(f"\n{race.name}")
        for competitor in race.competitors:
            print(_line(race, competitor), flush=True)
    print(f"\nmedian of {arguments.rounds} rounds (fewest and most)")
    return 0


def _line(race: Race, competitor: Competitor) -> str:
    seconds = _time(race.seconds(competitor))
    if competitor is race.competitors[0]:
        return f"  {competitor.name:<18} {seconds}"
    ratios = race.ratios(competitor)
    spread = f"({_two(ratios[0])} to {_two(ratios[-1])})"
    return f"  {competitor.name:<18} {seconds}  {_two(median(ratios)):>6} times faster {spread}"


def _two(ratio: float) -> str:
    """Two digits: more would be noise."""
    digits = 1 - math.floor(math.log10(ratio))
    return f"{round(ratio, digits):,.{max(digits, 0)}f}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:8.3g} {unit}"
    return f"{seconds / 1e-6:8.3g} us"
