"""Does bench/soak.py see what long use leaves behind, and leave nothing itself?"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pygradc import Value

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from bench import soak

FULL = bool(os.environ.get("PYGRADC_FULL"))


@pytest.mark.memory
def test_random_use_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    """Speeds of half a second say nothing; those of ten minutes are for the full run."""
    first, last = soak.soak(600.0 if FULL else 5.0)
    if not FULL:
        last = replace(last, eager=first.eager, replay=first.replay)
    assert soak.faults(first, last) == []
    assert last.jobs > first.jobs > 0
    assert len(capsys.readouterr().out.splitlines()) == 12


held: list[Value] = []


def leak(_: int) -> None:
    held.append(Value(1.0))


def test_what_is_left_behind_is_seen() -> None:
    trial = soak.Soak(1, [*soak.JOBS[:3], leak])
    states = []
    for _ in range(2):
        trial.run(0.5)
        states.append(trial.state(0.5))
    held.clear()
    assert any(fault.endswith(" nodes") for fault in soak.faults(*states))


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"nodes": 9}, "-1 nodes"),
        ({"memory": 105.0}, r"+5.0 MB"),
        ({"eager": 12.0}, "eager steps take 1.20 times as long"),
        ({"replay": 24.0}, "replay steps take 1.20 times as long"),
        ({"memory": 103.9, "eager": 11.4, "replay": 10.0, "jobs": 9}, None),
    ],
)
def test_a_change_is_a_fault(change: dict[str, Any], fault: str | None) -> None:
    first = soak.State(60.0, 1, 10, 100.0, 10.0, 20.0)
    assert soak.faults(first, replace(first, **change)) == ([fault] if fault else [])


def test_another_result_is_an_error() -> None:
    calls = iter(range(1000))
    trial = soak.Soak(1, [lambda seed: next(calls)])
    with pytest.raises(AssertionError, match="gave"):
        trial.run(5.0)
