"""Does docs/command-line.md show what the commands print? Its sessions are run, line by line.

`$ cat FILE` writes what follows it to that file. Help texts are generated: test_docs.py.
"""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from pathlib import Path

import pytest

from pygradc.__main__ import COMMANDS, main

pytestmark = pytest.mark.unsanitized
PAGE = Path(__file__).resolve().parent.parent / "docs" / "command-line.md"


def sessions() -> list[tuple[str, str]]:
    """Commands and what they print."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.DOTALL)
    steps = [step for block in blocks for step in re.split(r"^\$ ", block, flags=re.M) if step]
    return [(line, output) for line, _, output in (step.partition("\n") for step in steps)]


@pytest.mark.once
def test_the_pages_sessions_print_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    check = doctest.OutputChecker()
    ran = 0
    for line, expected in sessions():
        words = shlex.split(line)
        if words[0] == "cat":
            Path(words[1]).write_text(expected, encoding="utf-8")
            continue
        assert words[:3] == ["python", "-m", "pygradc"]
        main(words[3:])
        printed = "".join(capsys.readouterr())
        assert check.check_output(expected, printed, doctest.ELLIPSIS), printed
        ran += 1
    assert ran >= 4


def test_every_command_is_in_the_pages_table() -> None:
    table = PAGE.read_text("utf-8").partition("\n\n| exit code")[0]
    assert re.findall(r"^\| \[?`(\w+)`", table, re.M) == list(COMMANDS)
