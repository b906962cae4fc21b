"""Is what docs/recording.md says true: its session, the files that it names, its figures?"""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from pygradc._core import lib

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "recording.md"


def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def test_the_session_prints_what_it_says() -> None:
    results = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert results.attempted > 50
    assert results.failed == 0


def test_files_that_it_names_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text())
    names = re.findall(r"`((?:csrc|pygradc|bench|docs|tests)/[\w./]+)`", text())
    commands = re.findall(r"`python ([\w./]+)`", text())
    assert links and names and commands
    missing = [link for link in links if not (DOCUMENT.parent / link).exists()]
    missing += [name for name in names + commands if not (ROOT / name).exists()]
    assert not missing


def test_functions_that_it_names_exist() -> None:
    core = [*(ROOT / "csrc").rglob("*.[hc]"), *(ROOT / "pygradc").glob("*.py")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in core)
    names = set(re.findall(r"`(?:tracing\.)?((?!g_)[a-zA-Z]\w*_\w+|_[a-z_]+)`", text()))
    assert names
    assert not [name for name in names if not re.search(rf"\b{name}\b", sources)]


def test_figures_that_it_states_are_those_of_the_core() -> None:
    assert [lib.pg_chunk_count(rows) for rows in (1024, 1025, 10**6)] == [1, 2, 64]
    replay = (ROOT / "csrc" / "replay" / "replay.c").read_text(encoding="utf-8")
    assert re.search(r"fits_the_cache\s*=\s*2048\b", replay)
