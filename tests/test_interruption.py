"""Does Ctrl-C end long work soon, and is everything usable after; what if a worker is killed?

Each case runs in a process of its own, which another one sends SIGINT as a terminal does: to all of
its group. PYGRADC_FULL=1 in the environment takes the sizes for which docs/reliability.md promises
0.2 s. `python tests/test_interruption.py name...` prints how late the exception was, in seconds.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, live_nodes, optim

FULL = bool(os.environ.get("PYGRADC_FULL"))
NODES = ROWS = 10_000_000 if FULL else 1_000_000
MOST_SECONDS = 0.2 if FULL else 2.0  # of a machine that does other things, too
SENTINEL = -1.5

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# ---- Sending and measuring -----------------------------------------------------------------------

SENDER = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
for line in sys.stdin:
    time.sleep(float(line))
    at = time.monotonic()
    os.killpg(0, signal.SIGINT)
    print(at, flush=True)
"""


class Sender:
    """A process that presses Ctrl-C."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SENDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def lateness(self, call: Callable[[], Any], delay: float) -> float | None:
        """Seconds from Ctrl-C to the KeyboardInterrupt; None if the call was over before."""
        assert self.process.stdin is not None and self.process.stdout is not None
        over = False
        try:
            self.process.stdin.write(f"{delay}\n")
            call()
            over = True
            time.sleep(60)  # until it comes
        except KeyboardInterrupt:
            at = time.monotonic()
        return None if over else at - float(self.process.stdout.readline())


# ---- Cases: the long call, and a look at what it left --------------------------------------------

# Whether it was stopped in its midst; Ctrl-C may come with its last step, too.
Check = Callable[[], bool]
Case = tuple[Callable[[], Any], Check]


def sweep(root: Value, leaf: Value, expected: float) -> Case:
    """A backward() that is stopped leaves all gradients as they were."""
    some = [root, root._children[0], leaf]

    def mark() -> None:
        for node in some:
            node.grad = SENTINEL

    def grads() -> list[float]:
        return [node.grad for node in some]

    def check() -> bool:
        found = grads()
        assert found in (before, after)
        leaf.grad = 0.0
        root.backward()
        assert (root.grad, leaf.grad) == (1.0, expected)
        mark()
        return found == before

    mark()
    before = grads()
    root.backward()
    after = grads()
    mark()
    return root.backward, check


@contextmanager
def a_chain() -> Iterator[Case]:
    x = root = Value(1.0)
    for _ in range(NODES // 2):  # a node for each number, too
        root = root * -1.0
    assert live_nodes() >= NODES
    yield sweep(root, x, float((-1) ** (NODES // 2)))


@contextmanager
def a_chain_all_over_the_memory() -> Iterator[Case]:
    leaves = [Value(1.0) for _ in range(NODES // 2)]
    random.Random(1).shuffle(leaves)
    root = pygradc.sum(leaves)
    assert live_nodes() >= NODES
    yield sweep(root, leaves[7], 1.0)


def slow(x: Value) -> Value:
    for _ in range(20):
        x = (x * 1.01).sin()
    return x


def very_slow(x: Value) -> Value:
    for _ in range(100):
        x = slow(x)
    return x


class Pool:
    """An executor; made anew when workers have died of Ctrl-C before they had anything to do."""

    def __init__(self, kind: Callable[[int], Executor] | None) -> None:
        self.kind = kind
        self.executor = kind(2) if kind is not None else None

    def renew(self) -> None:
        if self.executor is not None and self.kind is not None:
            self.executor.shutdown(wait=True)
            self.executor = self.kind(2)


@contextmanager
def replay(method: str, kind: Callable[[int], Executor] | None, **how: Any) -> Iterator[Case]:
    w = Value(1.0)
    f, rows = pygradc.compile(lambda x: slow(w * x)), np.linspace(-1.0, 1.0, ROWS)
    few, pool = rows[: ROWS // 100], Pool(kind)
    expected = f.map(few).tobytes()
    w.grad = SENTINEL

    def call() -> None:
        while True:  # so that no machine is too fast
            getattr(f, method)(rows, executor=pool.executor, **how)

    def check() -> bool:
        try:
            found = f.map(few, executor=pool.executor)
        except BrokenExecutor:
            pool.renew()
            found = f.map(few, executor=pool.executor)
        assert found.tobytes() == expected
        assert w.grad == SENTINEL
        return True

    yield call, check
    if pool.executor is not None:
        pool.executor.shutdown()


@contextmanager
def fit(batch_size: int | None, kind: Any) -> Iterator[Case]:
    w = Value(0.5)
    loss = pygradc.compile(lambda x: (slow(w * x) - x) ** 2)
    rows = np.linspace(-1.0, 1.0, ROWS)
    optimizer = kind([w], lr=0.01)

    def call() -> None:
        pygradc.fit(loss, rows, optimizer, epochs=10**6, batch_size=batch_size)

    def check() -> bool:
        before = w.data
        (lost,) = pygradc.fit(loss, rows[:1000], optimizer)
        assert 0.0 < lost < 1.0 and w.data != before
        return True

    yield call, check


class Descent(optim.SGD):
    """An optimiser of somebody's: fit's loop is in Python."""


CASES: dict[str, Callable[[], Any]] = {
    "sweep": a_chain,
    "sweep all over the memory": a_chain_all_over_the_memory,
    "map": functools.partial(replay, "map", None),
    "gradients": functools.partial(replay, "gradients", None),
    "sum in threads": functools.partial(replay, "sum", ThreadPoolExecutor),
    "map in threads": functools.partial(replay, "map", ThreadPoolExecutor),
    "map in processes": functools.partial(replay, "map", ProcessPoolExecutor),
    "sum by workers": functools.partial(replay, "sum", None, workers=3),
    "map by workers": functools.partial(replay, "map", None, workers=2),
    "fit": functools.partial(fit, None, optim.Adam),
    "fit in batches": functools.partial(fit, 7, optim.SGD),
    "fit in Python": functools.partial(fit, 100_000, Descent),
}


def interrupt(name: str) -> list[float]:
    """How late each of some interruptions was."""
    sender, late = Sender(), []
    with CASES[name]() as (call, check):
        check()
        start = time.perf_counter()
        check()
        usual = time.perf_counter() - start if name.startswith("sweep") else 1.0
        for part in (0.02, 0.1, 0.3, 0.5, 0.7):
            seconds = sender.lateness(call, part * usual)
            if check() and seconds is not None:
                late.append(seconds)
    assert late, "no call lasted long enough"
    return late


# A worker may die of Ctrl-C while it is fed, and then these wait forever (python/cpython#94777).
FEEDERS_HANG = sys.version_info < (3, 11, 5)


@pytest.mark.parametrize("name", CASES)
def test_ctrl_c_ends_long_work(name: str) -> None:
    if name == "map in processes" and FEEDERS_HANG:
        pytest.skip("this Python's ProcessPoolExecutor may hang where a worker dies")
    run = subprocess.run(
        [sys.executable, __file__, name],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "START_METHOD": multiprocessing.get_start_method(),
        },
        capture_output=True,
        text=True,
        timeout=300,
        start_new_session=True,  # Ctrl-C goes to its group
    )
    assert run.returncode == 0, run.stderr
    late = [float(seconds) for seconds in run.stdout.split(":")[-1].split()]
    assert late and max(late) < MOST_SECONDS


def test_a_handler_that_raises_nothing_ends_nothing() -> None:
    """Wherever in a walk or a sweep it is called: all of them are done, and once."""
    x, seen, sweeps = Value(1.0), [], 0
    root = x
    for _ in range(250_000):
        root = root * -1.0
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(sweeps))
    try:
        for times in range(1, 6):
            command = f"sleep 0.0{times}; kill -INT {os.getpid()}"
            with subprocess.Popen(["sh", "-c", command]):
                while len(seen) < times:
                    root.backward()
                    sweeps += 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert x.grad == sweeps > 0


# ---- Workers and Ctrl-C --------------------------------------------------------------------------


def interrupt_workers(pool: ProcessPoolExecutor) -> None:
    for pid in list(pool._processes):
        os.kill(pid, signal.SIGINT)


def interrupt_until_it_is_over(pool: ProcessPoolExecutor, over: Event) -> None:
    """More than once, as the task may not have begun when the first one comes."""
    while not over.wait(0.1):
        interrupt_workers(pool)


def write_in_two(connection: Any, message: Any) -> None:
    """As a pipe takes a long message; Ctrl-C comes in between."""
    half = len(message) // 2
    os.write(connection.fileno(), bytes(message)[:half])
    os.kill(os.getpid(), signal.SIGINT)
    os.write(connection.fileno(), bytes(message)[half:])


def interrupt_writing() -> None:
    Connection._send = write_in_two  # type: ignore[attr-defined]


def test_ctrl_c_tears_no_result() -> None:
    """Of which CPython's pool would wait for the rest."""
    f, rows = pygradc.compile(slow), np.linspace(-1.0, 1.0, 1000)
    with ProcessPoolExecutor(2, initializer=interrupt_writing) as pool:
        for _ in range(3):
            assert f.map(rows, executor=pool).tobytes() == f.map(rows).tobytes()


def test_ctrl_c_ends_what_workers_do_and_not_the_workers() -> None:
    f, rows = pygradc.compile(very_slow), np.linspace(-1.0, 1.0, 1_000_000)
    few = rows[::10_000]
    with ProcessPoolExecutor(1) as pool, ThreadPoolExecutor(1) as sender:
        f.map(few, executor=pool)
        workers = set(pool._processes)
        for _ in range(3):
            interrupt_workers(pool)  # which have nothing to do
            assert f.map(few, executor=pool).tobytes() == f.map(few).tobytes()
        over = Event()
        sent = sender.submit(interrupt_until_it_is_over, pool, over)
        with pytest.raises(KeyboardInterrupt):
            f.map(rows, executor=pool)
        over.set()
        sent.result()
        assert f.map(few, executor=pool).tobytes() == f.map(few).tobytes()
        assert set(pool._processes) == workers


@pytest.mark.parametrize("by_map", [False, True])
def test_ctrl_c_ends_tasks_that_are_not_ours(tmp_path: Path, by_map: bool) -> None:
    f, rows = pygradc.compile(slow), np.linspace(-1.0, 1.0, 100)
    with ProcessPoolExecutor(1) as pool:
        f.map(rows, executor=pool)
        begun = tmp_path / "begun"
        theirs = [pool.submit, pool.map][by_map](sleep_long, [str(begun)])
        while not begun.exists():
            time.sleep(0.01)
        interrupt_workers(pool)
        with pytest.raises(KeyboardInterrupt):
            next(theirs) if by_map else theirs.result()


def sleep_long(begun: Any) -> None:
    Path(begun if isinstance(begun, str) else begun[0]).touch()
    time.sleep(60)


# ---- A worker that is killed ---------------------------------------------------------------------


def kill_a_worker(pool: ProcessPoolExecutor) -> None:
    time.sleep(0.3)
    for process in list(pool._processes.values())[:1]:
        os.kill(process.pid, signal.SIGKILL)


def test_a_killed_worker_is_said_and_a_retry_works() -> None:
    """In mid-run: the rows last for much longer than the worker lives.

    They are few, and have long reached the workers: where one dies while it is fed, Pythons
    before 3.11.5 wait forever (python/cpython#94777).
    """
    w = Value(1.0)
    f, rows = pygradc.compile(lambda x: very_slow(w * x)), np.linspace(-1.0, 1.0, 200_000)
    few = rows[::1000]
    expected = f.sum(few)
    expected.backward()
    gradient, w.grad = w.grad, SENTINEL
    with ProcessPoolExecutor(2) as pool, ThreadPoolExecutor(1) as killer:
        f.map(few, executor=pool)  # so that the workers are there
        killed = killer.submit(kill_a_worker, pool)
        with pytest.raises(BrokenExecutor, match=r"a worker of the executor has died.* call again"):
            f.sum(rows, executor=pool)
        killed.result()
        with pytest.raises(BrokenExecutor, match="make a new executor"):
            f.sum(few, executor=pool)
    assert w.grad == SENTINEL and w.data == 1.0
    w.grad = 0.0
    with ProcessPoolExecutor(2) as pool:
        total = f.sum(few, executor=pool)
    total.backward()
    assert (total.data, w.grad) == (expected.data, gradient)


def die_writing(connection: Any, message: Any) -> None:
    os.write(connection.fileno(), bytes(message)[: len(message) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def make_writing_deadly() -> None:
    Connection._send = die_writing  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_killed_while_it_writes_its_result(workers: int) -> None:
    """Of which CPython's pool takes no notice."""
    w = Value(1.0)
    f, rows = pygradc.compile(lambda x: slow(w * x)), np.linspace(-1.0, 1.0, 1000)
    pool = ProcessPoolExecutor(workers, initializer=make_writing_deadly)
    with pytest.raises(BrokenExecutor, match=r"a worker of the executor has died.* call again"):
        f.map(rows, executor=pool)
    pool.shutdown()  # which would wait forever, too
    with ProcessPoolExecutor(workers) as pool:
        assert f.map(rows, executor=pool).tobytes() == f.map(rows).tobytes()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method(os.environ.get("START_METHOD"))
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    for name in sys.argv[1:] or CASES:
        print(f"{Path(__file__).stem} {name}:", *(f"{s:.3f}" for s in interrupt(name)), flush=True)
