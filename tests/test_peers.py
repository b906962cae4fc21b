"""Is the race with JAX and C fair: do both sides compute the same? Does a row say how it went?"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from bench import peers, run
from bench.peer_workloads import Garch, Network, Side

pytestmark = [pytest.mark.once, pytest.mark.unsanitized]

SIZES: dict[str, dict[str, Any]] = {
    **{name: {"sizes": (5, 4, 3), "batch": 3, "rows": 12} for name in peers.ROWS},
    "pendulum": {"steps": 7},
    "garch": {"returns": 9},
    "black-scholes": {"rows": 11},
    "lennard-jones": {"particles": 4, "rows": 3},
    "demo": {},  # C knows one size
}


def tiny(name: str) -> Any:
    return replace(peers.ROWS[name].workload, **SIZES[name])  # type: ignore[type-var]


@pytest.mark.parametrize("name", peers.ROWS)
def test_both_sides_compute_the_same(name: str) -> None:
    try:
        peers.agreeing(tiny(name), ("fast", "exact"))
    except ImportError as missing:
        pytest.skip(str(missing))


class Differs(Garch):
    """A workload whose peer is off by a little."""

    def peer(self) -> Side:
        side = self.ours("exact")
        return Side(side.call, lambda value: [x * (1.0 + 1e-8) for x in side.answer(value)])


class Lacks(Garch):
    """A workload whose peer is not installed."""

    def peer(self) -> Side:
        raise ImportError("No module named 'jax'")


def test_a_row_whose_sides_differ_is_not_timed() -> None:
    times = peers.race(peers.Row(Differs(returns=9), {"exact": 1.0}), rounds=1)
    assert "exact differs from the peer by 1.0e-08" in times.missing
    assert not times.peer.wall and not times.ratios("exact")


def test_a_row_without_its_peer_says_so() -> None:
    times = peers.race(peers.Row(Lacks(returns=9), {"exact": 1.0}), rounds=1)
    told = peers.tables({"garch": times})
    assert "not measured (ImportError: No module named 'jax')" in told
    assert "| not measured |" in told and told in peers.markdown({"garch": times})


def made_up(ours: list[float], peer: list[float]) -> peers.Times:
    """Seconds by the clock; the processor's are all one."""
    ones = [1.0] * len(ours)
    return peers.Times({"fast": peers.Samples(ours, ones)}, peers.Samples(peer, ones))


def test_a_ratio_is_taken_inside_a_round_and_held_against_its_limit() -> None:
    quick = peers.target("garch", "fast", made_up([1.0, 4.0, 1.0], [2.0, 8.0, 1.0]))
    assert (quick.figure, quick.verdict) == (0.5, "holds")
    times = made_up([2.0, 8.0, 1.0], [1.0, 4.0, 1.0])
    slow = peers.target("garch", "fast", times)
    assert (slow.figure, slow.limit, slow.verdict) == (2.0, "at most 0.6 times", "**missed**")
    assert times.cpu_ratios("fast") == [1.0, 1.0, 1.0]


def test_a_race_takes_so_many_turns() -> None:
    row = peers.Row(Network((3, 2, 2), batch=2, rows=4, scale=0.1, lr=0.05), {"fast": 1.0})
    times = peers.race(row, rounds=2)
    if times.missing:
        pytest.skip(times.missing)
    assert len(times.peer.wall) == len(times.ratios("fast")) == len(times.cpu_ratios("fast")) == 2


def test_the_runner_knows_the_rows() -> None:
    assert run.arguments(["--only", "peers"]).only == ["peers"]
    assert peers.arguments(["--only", "garch", "--rounds", "2"]).only == ["garch"]
