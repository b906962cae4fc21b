"""Do threads that do everything at once get what one alone gets?

The switch interval is 1 us, so that the threads change places wherever they can. Each job, of
bench/soak.py and below, has its right result, bit for bit. A few seconds; PYGRADC_FULL=1 in the
environment makes it 60, `python tests/test_stress.py SECONDS` any number.
"""

from __future__ import annotations

import functools
import gc
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import pygradc
from pygradc import Value, live_nodes
from pygradc.recorded import payoff

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from bench.soak import JOBS, ROWS, SEEDS, halfway, network

SECONDS = 60.0 if os.environ.get("PYGRADC_FULL") else 3.0

# ---- Work on what all threads share --------------------------------------------------------------

SHARED = network(99)
REPLAYED = pygradc.compile(lambda x: SHARED(x).tanh())


def replay(seed: int) -> Any:
    """Parameters are only read; no gradient is changed."""
    rows = ROWS[seed : seed + 50]
    outputs, (by_inputs,) = REPLAYED.gradients(rows)
    return outputs.tobytes(), by_inputs.tobytes(), REPLAYED.map(rows).tobytes()


def replay_in_threads(executor: ThreadPoolExecutor, seed: int) -> Any:
    return REPLAYED.map(ROWS[seed:], executor=executor).tobytes()


MANY = np.resize(ROWS, (3000, ROWS.shape[1]))


def replay_by_workers(seed: int) -> Any:
    """All of these calls share two threads."""
    rows = MANY[seed:]
    return REPLAYED.map(rows, workers=3).tobytes(), REPLAYED.sum(rows, workers=3).data


BASE = Value(3.0)


def accumulate(_: int) -> Any:
    """All threads' backward() add to one leaf, whole numbers: no order changes the sum. The rule,
    which is Python, lets other threads come in between.
    """
    (halfway(BASE * 4.0) + 1.0).backward()
    return None


# ---- All of it at once ---------------------------------------------------------------------------

THREADS = 6


class Stress:
    """Threads that choose work at random until the time is over."""

    def __init__(self, work: list[Callable[[int], Any]]) -> None:
        self.work = work
        self.expected = {(i, seed): job(seed) for i, job in enumerate(work) for seed in SEEDS}
        self.done = [0] * THREADS
        self.sums = [0] * THREADS
        self.wrong: list[Any] = []

    def run(self, seconds: float) -> None:
        before, self.end = sys.getswitchinterval(), time.monotonic() + seconds
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=self._thread, args=(i,)) for i in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)

    def _thread(self, number: int) -> None:
        dice = random.Random(number)
        try:
            while time.monotonic() < self.end and not self.wrong:
                i, seed = dice.randrange(len(self.work)), dice.choice(SEEDS)
                if self.work[i](seed) != self.expected[i, seed]:
                    self.wrong.append((self.work[i], seed))
                self.done[number] += 1
                self.sums[number] += self.work[i] is accumulate
        except BaseException as error:
            self.wrong.append(error)


def stress(seconds: float) -> int:
    """How many jobs were done, all of them right, leaving nothing behind."""
    gc.collect()
    with ThreadPoolExecutor(2) as pool, mock.patch.multiple(payoff, SHORT=0.0, MOST_RESTS=0):
        shared = [replay, accumulate, functools.partial(replay_in_threads, pool), replay_by_workers]
        trial = Stress([*JOBS, *shared])
        gc.collect()
        nodes, before = live_nodes(), [p.grad for p in SHARED.parameters()]
        BASE.grad = 0.0
        trial.run(seconds)
    assert trial.wrong == [], trial.wrong
    assert min(trial.done) > 0
    assert BASE.grad == 2.0 * sum(trial.sums)
    assert [p.grad for p in SHARED.parameters()] == before
    gc.collect()
    assert live_nodes() == nodes
    return sum(trial.done)


def test_threads_that_do_everything_at_once() -> None:
    assert stress(SECONDS) > THREADS


def test_a_wrong_result_would_be_noticed() -> None:
    calls = iter(range(1000))
    trial = Stress([lambda seed: next(calls)])
    trial.run(1.0)
    assert trial.wrong != []


if __name__ == "__main__":
    seconds = float(sys.argv[1])
    print(f"{stress(seconds)} jobs in {THREADS} threads in {seconds:.0f} s: all right")
