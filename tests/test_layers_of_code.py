"""Is every stage of the core built only on those before it, and does its map say what is where?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
STAGES = ("base", "ops", "graph", "record", "program", "replay", "python")

pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="no sources here")

# What a reader asks, and where csrc/README.md sends them: (words of its row, file).
QUESTIONS = {
    "Where are an op's formulas?": ("formulas of an op", "ops/ops.def"),
    "How does a node lie in memory?": ("node lies in memory", "graph/graph.h"),
    "Where is the free list?": ("free list", "graph/graph.c"),
    "Who sorts the nodes?": ("topological order", "graph/order.c"),
    "Where does backward() push gradients?": ("sweep of `backward()`", "graph/sweep.c"),
    "What happens where a trace ends?": ("where a trace ends", "graph/outlive.c"),
    "Who fuses chains of multiply-add?": ("fusing chains", "record/fuse.c"),
    "Who gives values their slots?": ("slots, and how", "program/lower.c"),
    "Where is the backward plan made?": ("the backward plan", "program/backward_plan.c"),
    "Where are the loops over lanes?": ("loops over lanes", "replay/lanes_forward.h"),
    "Where are rows summed?": ("sums over rows", "replay/replay.c"),
    "Where are Value's operators?": ("operators of `Value`", "python/scalar_operators.c"),
}


def sources() -> list[Path]:
    found = sorted(path for ending in ("c", "h", "def") for path in CSRC.rglob(f"*.{ending}"))
    assert len(found) > 60
    return found


def stage_of(path: Path) -> int:
    parts = path.relative_to(CSRC).parts
    return STAGES.index(parts[0]) if len(parts) > 1 else -1  # pygradc.h


def included(path: Path) -> list[Path]:
    names = re.findall(r'#include "([^"]+)"', path.read_text(encoding="utf-8"))
    return [CSRC / name for name in names]


def without_comments(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


DECLARATION = re.compile(r"^\w[\w \*]*\([^;{]*\);", re.MULTILINE)


def circle(uses: dict[Path, Iterable[Path]]) -> list[Path]:
    """Files each of which includes the next, and the last the first; [] if there are none."""
    done: set[Path] = set()

    def from_here(path: Path, way: list[Path]) -> list[Path]:
        if path in way:
            return [*way[way.index(path) :], path]
        if path in done:
            return []
        for used in uses.get(path, ()):
            found = from_here(used, [*way, path])
            if found:
                return found
        done.add(path)
        return []

    return next(filter(None, (from_here(path, []) for path in uses)), [])


def test_every_stage_includes_only_itself_and_those_before_it() -> None:
    missing = [(p.name, q) for p in sources() for q in included(p) if not q.is_file()]
    upwards = [
        (str(p.relative_to(CSRC)), str(q.relative_to(CSRC)))
        for p in sources()
        for q in included(p)
        if stage_of(q) > stage_of(p)
    ]
    assert not missing and not upwards


def test_no_header_includes_itself_by_a_detour() -> None:
    assert not circle({path: included(path) for path in sources() if path.suffix != ".def"})


def test_a_circle_is_found() -> None:
    a, b, c = Path("a"), Path("b"), Path("c")
    assert circle({a: [b], b: [c], c: [b]}) == [b, c, b]
    assert not circle({a: [b, c], b: [c]})


def test_every_stage_calls_only_itself_and_those_before_it() -> None:
    defined: dict[str, int] = {}
    texts = {path: without_comments(path) for path in sources() if stage_of(path) >= 0}
    for path, text in texts.items():
        for name in re.findall(r"^(?!static)\w[\w \*]*\b(pg_\w+)\([^;{]*\) \{", text, re.MULTILINE):
            defined[name] = stage_of(path)
    assert len(defined) > 100 and defined["pg_record"] == STAGES.index("program")
    upwards = [
        (str(path.relative_to(CSRC)), name)
        for path, text in texts.items()
        for name in set(re.findall(r"\b(pg_\w+)\(", DECLARATION.sub("", text)))
        if defined.get(name, -1) > stage_of(path)
    ]
    assert not upwards


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_map_answers(question: str) -> None:
    words, answer = QUESTIONS[question]
    assert (CSRC / answer).is_file()
    text = (CSRC / "README.md").read_text(encoding="utf-8")
    rows = [row for row in text.splitlines() if row.startswith("|") and words in row]
    assert len(rows) == 1 and f"`{answer}`" in rows[0]


def test_the_map_names_every_folder_and_only_files_that_exist() -> None:
    text = (CSRC / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[`(\w+)/`\]", text, re.MULTILINE) == [*STAGES]
    names = re.findall(r"`(\w+/[\w.]+\.\w+)`", text)
    assert len(names) > 30 and all((CSRC / n).is_file() or (ROOT / n).is_file() for n in names)
