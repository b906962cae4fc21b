"""Does `python -m pygradc bench` time the same work in each way, and print it as it is?"""

from __future__ import annotations

import re

import pytest

from pygradc import reference
from pygradc.__main__ import main
from pygradc.command import bench, races
from pygradc.command.lean import Value
from pygradc.command.races import Competitor, Race, WrongResult

pytestmark = pytest.mark.unsanitized


def test_the_lean_value_has_the_oracles_gradients() -> None:
    def gradients(kind: type) -> list[float]:
        a, b, c = kind(2.0), kind(-3.0), kind(0.5)
        y = (a * b + c * 2.0 + 1.0).tanh() * (b + a) ** 3 + 2.0 * a
        y.backward()
        return [y.data, a.grad, b.grad, c.grad]

    assert gradients(Value) == pytest.approx(gradients(reference.Value), rel=1e-12)


def test_it_prints_a_line_for_each_competitor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--rounds", "1"]) == 0
    out, error = capsys.readouterr()
    assert error == "" and "median of 1 rounds" in out
    lines = re.findall(r"^  (pure Python|pygradc\S*(?: \w+)*) +([\d.]+) (s|ms|us)(.*)$", out, re.M)
    assert [line[0] for line in lines] == [
        "pure Python", "pygradc", "pure Python", "pygradc, op by op", "pygradc, recorded",
    ]  # fmt: skip
    for name, _, _, ratio in lines:
        assert bool(re.fullmatch(r" +[\d,.]+ times faster \(\S+ to \S+\)", ratio)) == (
            name != "pure Python"
        )


def test_times_and_ratios_are_medians_of_the_rounds() -> None:
    pure, ours = Competitor("pure", float), Competitor("ours", float)
    pure.samples, ours.samples = [4.0, 6.0, 100.0], [1.0, 2.0, 10.0]
    race = Race("race", [pure, ours])
    assert race.ratios(ours) == [3.0, 4.0, 10.0] and race.seconds(ours) == 2.0
    line = bench._line(race, ours)
    assert re.sub(" +", " ", line) == " ours 2 s 4.0 times faster (3.0 to 10)"


def test_competitors_take_turns() -> None:
    turns: list[str] = []

    def work(name: str) -> races.Work:
        return lambda: float(turns.append(name) or 1.0)

    race = Race("race", [Competitor("a", work("a")), Competitor("b", work("b"))])
    race.run(3)
    assert [len(c.samples) for c in race.competitors] == [3, 3]
    changes = [name for name, before in zip(turns, ["", *turns]) if name != before]
    assert changes == ["a", "b"] * 5  # compared, warmed up, three rounds


def test_another_result_is_no_race(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    race = Race("sum", [Competitor("a", lambda: 1.0), Competitor("b", lambda: 1.0 + 1e-6)])
    with pytest.raises(WrongResult, match=r"b gives 1\.000001, not 1\.0"):
        race.run(1)
    monkeypatch.setattr(bench, "races", lambda: [race])
    assert main(["bench"]) == 1
    error = capsys.readouterr().err
    assert error == "pygradc bench: error: sum: b gives 1.000001, not 1.0; please report this\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.0125, "12.5 ms"), (3.56e-7, "0.356 us")]
)
def test_units_of_time(seconds: float, text: str) -> None:
    assert bench._time(seconds).strip() == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(11.4, "11"), (1.26, "1.3"), (538.0, "540"), (12345.0, "12,000"), (0.5, "0.50")],
)
def test_ratios_have_two_digits(ratio: float, text: str) -> None:
    assert bench._two(ratio) == text
