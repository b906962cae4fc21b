"""Is what the documents on recordings say true: their sessions, links, names and figures?"""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from pygradc._core import lib

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "using-recordings.md"
INSIDE = ROOT / "docs" / "how-replay-works.md"
DOCUMENTS = pytest.mark.parametrize("document", [GUIDE, INSIDE], ids=lambda path: path.stem)


@pytest.mark.parametrize("document, least", [(GUIDE, 75), (INSIDE, 35)])
def test_the_session_prints_what_it_says(document: Path, least: int) -> None:
    results = doctest.testfile(str(document), module_relative=False)
    assert results.attempted > least
    assert results.failed == 0


@DOCUMENTS
def test_files_that_it_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    names = re.findall(r"`((?:csrc|pygradc|bench|docs|tests)/[\w./]+)`", text)
    assert links
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [name for name in names if not (ROOT / name).exists()]
    assert not missing


@DOCUMENTS
def test_functions_that_it_names_exist(document: Path) -> None:
    core = [*(ROOT / "csrc").rglob("*.[hc]"), *(ROOT / "pygradc").rglob("*.py")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in core)
    text = document.read_text(encoding="utf-8")
    names = set(re.findall(r"`(?:tracing\.)?((?!g_)[a-zA-Z]\w*_\w+|_[a-z_]+)`", text))
    assert names
    assert not [name for name in names if not re.search(rf"\b{name}\b", sources)]


def test_figures_that_they_state_are_those_of_the_core() -> None:
    assert [lib.pg_chunk_count(rows) for rows in (1024, 1025, 10**6)] == [1, 2, 977]
    replay = (ROOT / "csrc" / "replay" / "replay.c").read_text(encoding="utf-8")
    assert re.search(r"fits_the_cache\s*=\s*8192\b", replay)
