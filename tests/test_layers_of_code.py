"""Is every part of core and package built only on those before it, and is the core's map true?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC, PACKAGE = ROOT / "csrc", ROOT / "pygradc"
STAGES = ("base", "ops", "graph", "record", "program", "native", "replay", "python")

pytestmark = [
    pytest.mark.skipif(not CSRC.is_dir(), reason="no sources here"),
    pytest.mark.once,
    pytest.mark.unsanitized,
]

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
    "Where are the loops over lanes?": ("loops over lanes", "replay/lanes_ops.h"),
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


# ---- The package ---------------------------------------------------------------------------------

# Each uses only itself and those before it: folders, and the public modules beside them.
FLOORS = (
    ("core",),
    ("files",),
    ("viz", "viewing", "plots", "value", "states", "optim"),
    ("recorded",),
    (
        "about",
        "reference",
        "derivatives",
        "losses",
        "reductions",
        "nn",
        "custom",
        "datasets",
    ),
    ("functions", "models", "minimizing"),
    ("compat",),
    ("command",),
    ("__init__", "__main__"),
)


def modules() -> dict[str, ast.Module]:
    """Every module by its path below the package, without the suffix: `core/ops`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").as_posix()
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    assert len(found) > 60
    return found


def floor_of(module: str) -> int:
    return next(i for i, floor in enumerate(FLOORS) if module.partition("/")[0] in floor)


def imported(name: str, tree: ast.Module, known: Iterable[str]) -> set[str]:
    """The modules of the package that it imports, in functions and for type checkers, too."""
    wanted = []  # for each import the places where the module may be, the likeliest first
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted += [(alias.name,) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (name, node.lineno)
            wanted += [(f"{node.module}.{alias.name}", str(node.module)) for alias in node.names]
    found = set()
    for places in wanted:
        paths = [place.partition("pygradc.")[2].replace(".", "/") for place in places]
        paths = [file for path in paths for file in (path, f"{path}/__init__") if file in known]
        found |= {*paths[:1]}
    return found


def test_the_package_imports_downwards_and_in_no_circle() -> None:
    trees = modules()
    uses = {name: imported(name, tree, trees) for name, tree in trees.items()}
    assert "recorded/program" in uses["recorded/compiled"] and "core/scalar" in uses["value"]
    upwards = [(a, b) for a, used in uses.items() for b in used if floor_of(b) > floor_of(a)]
    assert not upwards
    assert not circle({Path(a): map(Path, used - {a}) for a, used in uses.items()})


def private_attributes(tree: ast.Module, classes: Iterable[str] = ()) -> set[str]:
    """What methods of the classes, or of all, set, and the methods: names like `_x`."""
    found = set()
    for kind in ast.walk(tree):
        if isinstance(kind, ast.ClassDef) and (kind.name in classes or not classes):
            for node in ast.walk(kind):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
                elif isinstance(node, ast.FunctionDef):
                    found.add(node.name)
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def test_programs_and_compiled_functions_are_private_to_their_folder() -> None:
    trees = modules()
    private: set[str] = set()
    for name in ("recorded/workspace", "recorded/program", "recorded/compiled"):
        private |= private_attributes(trees[name], ("Replayable", "Program", "Compiled"))
    assert {"_handle", "_plan", "_kept", "_program"} <= private
    touched = [
        (name, node.attr, node.lineno)
        for name, tree in trees.items()
        if not name.startswith("recorded/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in private - private_attributes(tree)
    ]
    assert not touched


def test_no_underscore_where_the_folder_says_it() -> None:
    inner = [name for name in modules() if name.startswith(("core/", "recorded/", "files/"))]
    assert not [name for name in inner if re.search(r"/_(?!_init__)", name)]
