"""`bench/run.py --against FOLDER`: are ratios and verdicts right, and does it tell builds apart?

Nothing here depends on how long anything takes: times are made up, or only asked to be some.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

import pygradc
from bench import against, run
from bench.against import AGAIN, OTHER, THIS, Figure

pytestmark = [pytest.mark.once, pytest.mark.unsanitized]
BUILT = Path(pygradc.__file__).resolve().parent.parent


def figure(this: list[float], other: list[float], again: list[float]) -> Figure:
    return Figure({THIS: this, OTHER: other, AGAIN: again})


def test_a_ratio_is_taken_inside_a_round() -> None:
    """The machine is half as fast in the second round, and four times as slow in the third."""
    measured = figure([1.1, 2.2, 4.4], [1.0, 2.0, 4.0], [1.0, 2.0, 4.0])
    assert measured.ratio == pytest.approx(1.1) and measured.itself == 1.0
    assert measured.spread == 0.0 and measured.slower


@pytest.mark.parametrize(
    ("ratio", "again", "slower"),
    [
        (1.029, [1.0] * 9, False),
        (1.031, [1.0] * 9, True),
        (0.5, [1.0] * 9, False),
        (1.05, [1.03] * 9, False),  # the other build is as far from itself
        (1.05, [0.97] * 9, False),
        (1.07, [1.03] * 9, True),
        (1.07, [0.9, 0.9, 0.95, 0.95, 1.0, 1.05, 1.05, 1.1, 1.1], False),  # 0.05 either way
        (1.09, [0.9, 0.9, 0.95, 0.95, 1.0, 1.05, 1.05, 1.1, 1.1], True),
        (1.031, [1.0] * 8 + [5.0], True),  # a hiccup is no spread
    ],
)
def test_slower_is_beyond_the_spread_of_the_other_build(
    ratio: float, again: list[float], slower: bool
) -> None:
    measured = figure([ratio] * 9, [1.0] * 9, again)
    assert measured.slower is slower
    assert against.verdict(measured) == ("**slower**" if slower else "holds")


def test_one_round_has_a_spread_too() -> None:
    assert figure([1.1], [1.0], [0.95]).spread == pytest.approx(0.05)


class Fake:
    """A worker whose every turn takes as long as its folder's name says, but for the first."""

    def __init__(self, folder: Path) -> None:
        self.seconds, self.turns = float(folder.name), 0

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, line: str) -> Any:
        if line.startswith("prepare"):
            if "microgpt" in line and self.seconds < 2.0:
                return "ImportError: no names"
            return ""
        self.turns += 1
        return self.seconds if self.turns > 1 else 100.0


def test_each_side_has_its_best_turn_of_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "Worker", Fake)
    names = ["a * b, dropped", "import pygradc", "microgpt, recorded"]
    figures = against.compare(Path("/1.5"), Path("/3.0"), 4, names)
    for name in names[:2]:
        assert figures[name].samples == {THIS: [1.5] * 4, OTHER: [3.0] * 4, AGAIN: [3.0] * 4}
        assert figures[name].ratio == 0.5 and not figures[name].slower
    lost = figures[names[2]]
    assert lost.missing == f"{THIS}: ImportError: no names" and not lost.slower
    text = against.table(figures)
    assert "| 1.5e+06 | 3e+06 |" in text and "not measured (this: ImportError" in text


@pytest.mark.parametrize(
    ("this", "other", "code", "last"),
    [
        ("3.0", "3.0", 0, "slower: none; lost: none"),
        ("3.3", "3.0", 1, "slower: a * b, dropped, a * b, kept and released; lost: none"),
        ("2.0", "3.0", 0, "slower: none; lost: none"),
    ],
)
def test_the_exit_code_says_whether_something_is_slower(
    this: str,
    other: str,
    code: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(against, "Worker", Fake)
    monkeypatch.setattr(pygradc, "__file__", f"/{this}/pygradc/__init__.py")
    assert against.run(Path(f"/{other}"), 3, ["a * b"]) == code
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == last
    assert ("measured again" in said) == (code == 1)


def test_chance_alone_is_no_slowness(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What looked slower is measured again, and isn't."""
    answers = [figure([1.2], [1.0], [1.0]), figure([1.0], [1.0], [1.0])]
    monkeypatch.setattr(against, "compare", lambda *_: {"import pygradc": answers.pop(0)})
    assert against.run(BUILT, 1, ["import"]) == 0
    assert "**slower**" in capsys.readouterr().out and not answers


def test_a_figure_that_this_build_lost_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {"import pygradc": Figure(missing=f"{THIS}: it broke")}
    monkeypatch.setattr(against, "compare", lambda *_: missing)
    assert against.run(BUILT, 1, ["import"]) == 1
    assert "lost: import pygradc" in capsys.readouterr().out


def test_a_worker_measures_the_pygradc_of_its_folder() -> None:
    with against.Worker(BUILT) as worker:
        where = Path(worker.ask("where")).resolve()
        assert where.parent.parent == Path(worker.copy.name).resolve()
        assert where.read_bytes() == (BUILT / "pygradc" / "__init__.py").read_bytes()
        assert worker.ask("prepare no such figure").startswith("KeyError")
        for name in ("a * b, dropped", "recorded step from Python, relu, exact"):
            assert worker.ask(f"prepare {name}") == ""
            assert worker.ask("turn") > 0.0


def test_folders_without_a_build_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "pygradc").mkdir(parents=True)
    (tmp_path / "broken" / "pygradc" / "__init__.py").write_text("import pygradc._core_of_old")
    for name, message in (("empty", "pygradc"), ("broken", "No module named 'pygradc._core_of_")):
        assert against.run(tmp_path / name, 1, ["import pygradc"]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"against: {tmp_path / name}: ") and message in said


def test_figures_are_chosen_by_words() -> None:
    assert against.chosen([]) == list(against.FIGURES)
    assert against.chosen(["microgpt", "import"]) == [
        "microgpt, op by op",
        "microgpt, recorded",
        "import pygradc",
    ]
    args = run.arguments(["--against", "/there", "--figure", "fit"])
    assert (args.against, args.rounds, args.write) == (Path("/there"), 9, False)


@pytest.mark.parametrize(
    "argv",
    [
        ["--figure", "fit"],
        ["--against", "/there", "--figure", "no such"],
        ["--against", "/there", "--only", "mul"],
        ["--against", "/there", "--write"],
    ],
)
def test_arguments_that_make_no_sense(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.arguments(argv)
    assert ended.value.code == 2


@pytest.mark.parametrize("name", against.FIGURES)
def test_each_figure_measures_something(name: str) -> None:
    with against._program_folders:
        turn = against.FIGURES[name]()
        assert turn() > 0.0
