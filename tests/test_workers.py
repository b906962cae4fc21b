"""workers=: are the bits those of one thread, does nothing hang, and do the threads end?"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, optim
from pygradc._core import lib
from pygradc.recorded import payoff, pool
from pygradc.recorded.parallel import Work, halves, taper
from pygradc.recorded.payoff import Payoff
from pygradc.recorded.pool import OURS, Pool
from pygradc.recorded.sharing import Call

WAIT = 60  # seconds, of a machine that does other things, too


@pytest.fixture(autouse=True)
def no_work_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has two chunks is shared, however fast it is, and busy the machine."""
    monkeypatch.setattr(payoff, "SHORT", 0.0)
    monkeypatch.setattr(payoff, "MOST_RESTS", 0)


def function(x: Value, y: Value, params: list[Value]) -> Value:
    u, v, w = params
    return (x * u + y * v + w).tanh() * u + w * w * x


def recorded(math: str = "exact") -> tuple[Any, list[Value]]:
    params = [Value(0.5, label="u"), Value(-0.75, label="v"), Value(0.25, label="w")]
    return pygradc.compile(lambda x, y: function(x, y, params), math=math), params


def columns(count: int) -> tuple[Any, Any]:
    x, y = np.random.default_rng(count).normal(size=(2, count))
    return x, y


def gradients(total: Value, leaves: list[Value]) -> list[float]:
    for leaf in leaves:
        leaf.grad = 0.0
    total.backward()
    return [total.data, *(leaf.grad for leaf in leaves)]


def bits(*results: Any) -> bytes:
    return b"".join(np.asarray(result).tobytes() for result in results)


def sum_with_a_value(f: Any, params: list[Value], x: Any, _: Any, **how: Any) -> bytes:
    y = Value(0.5)
    return bits(gradients(f.sum(x, y, **how), [*params, y]))


V3, V2 = np.array([1.0, -2.0, 3.0]), np.array([1.0, -2.0])
ENTRIES: dict[str, Callable[..., bytes]] = {
    "sum": lambda f, params, x, y, **how: bits(gradients(f.sum(x, y, **how), params)),
    "mean": lambda f, params, x, y, **how: bits(gradients(f.mean(x, y, **how), params)),
    "sum, with a Value": sum_with_a_value,
    "map": lambda f, _, x, y, **how: bits(f.map(x, y, **how)),
    "gradients": lambda f, _, x, y, **how: bits((found := f.gradients(x, y, **how))[0], *found[1]),
    "gradients, parameters": lambda f, _, x, y, **how: bits(
        *f.gradients(x, y, wrt="parameters", **how)
    ),
    "jacobian": lambda f, _, x, y, **how: bits(f.jacobian(x, y, **how)),
    "vjp": lambda f, _, x, y, **how: bits(f.vjp([2.0], x, y, **how)),
    "hessian": lambda f, _, x, y, **how: bits(f.hessian(x, y, **how)),
    "hessian, parameters": lambda f, _, x, y, **how: bits(f.hessian(x, y, wrt="parameters", **how)),
    "jvp": lambda f, _, x, y, **how: bits(*f.jvp(V3, x, y, **how)),
    "jvp, inputs": lambda f, _, x, y, **how: bits(*f.jvp(V2, x, y, wrt="inputs", **how)),
    "jvp, a direction for each row": lambda f, _, x, y, **how: bits(
        *f.jvp(np.stack([y, x], axis=1), x, y, wrt="inputs", **how)
    ),
    "hvp": lambda f, _, x, y, **how: bits(f.hvp(V3, x, y, **how)),
    "hvp, inputs": lambda f, _, x, y, **how: bits(f.hvp(V2, x, y, wrt="inputs", **how)),
    "hvp, mean": lambda f, _, x, y, **how: bits(f.hvp(V3, x, y, mean=True, **how)),
}


@pytest.mark.parametrize("math", ["exact", "fast"])
@pytest.mark.parametrize("count", [1, 100, 1023, 1024, 1025, 5000, 100_000])
@pytest.mark.parametrize("entry", ENTRIES)
def test_no_bit_depends_on_the_workers(entry: str, count: int, math: str) -> None:
    f, params = recorded(math)
    call, rows = ENTRIES[entry], columns(count)
    alone = call(f, params, *rows)
    for workers in (1, 2, 3, 7):
        assert call(f, params, *rows, workers=workers) == alone
        assert call(f.programs[0], params, *rows, workers=workers) == alone


def test_no_rows() -> None:
    f, _ = recorded()
    none = np.empty(0)
    assert f.sum(none, none, workers=3).data == 0.0
    assert f.map(none, none, workers=3).shape == (0,)
    assert f.jvp(V3, none, none, workers=3)[1].shape == (0,)
    with pytest.raises(ValueError, match="mean: there are no rows"):
        f.mean(none, none, workers=3)


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("least", [1, 4])
def test_parts_are_branches_of_the_tree(threads: int, least: int) -> None:
    def branches(first: int, last: int) -> set[tuple[int, int]]:
        inner = [branches(*half) for half in halves(first, last) if half != (first, last)]
        return {(first, last)}.union(*inner)

    for chunks in (1, 2, 3, 10, 98, 1000):
        parts = taper(0, chunks, threads, least)
        assert set(parts) <= branches(0, chunks)
        assert [first for first, _ in parts] == [0, *(last for _, last in parts[:-1])]
        assert parts[-1][1] == chunks
        assert all(last - first <= max(least, -(-chunks // (2 * threads))) for first, last in parts)
        assert parts[-1][1] - parts[-1][0] <= least


# ---- Arguments -----------------------------------------------------------------------------------

METHODS = ("map", "sum", "mean", "gradients", "jacobian", "hessian")


@pytest.mark.parametrize(
    ("workers", "kind", "message"),
    [
        (0, ValueError, r"workers=0: expected at least 1, which is the calling thread alone"),
        (-2, ValueError, r"workers=-2: expected at least 1"),
        (True, TypeError, r"workers=True: expected a number of threads, such as workers=2"),
        (np.bool_(True), TypeError, r"expected a number of threads"),
        (2.0, TypeError, r"workers=2\.0: expected a number of threads"),
        ("2", TypeError, r"workers='2': expected a number of threads"),
    ],
)
def test_what_is_no_number_of_workers(workers: Any, kind: type, message: str) -> None:
    f = pygradc.compile(lambda x: x * 2.0)
    x = np.ones(10)
    f.map(x)
    for each in (f, f.programs[0]):
        calls = [functools.partial(getattr(each, method), x) for method in METHODS]
        calls += [functools.partial(getattr(each, name), [], x) for name in ("jvp", "hvp")]
        for call in (*calls, functools.partial(each.vjp, [1.0], x)):
            with pytest.raises(kind, match=message):
                call(workers=workers)


def test_a_number_of_numpys_is_one() -> None:
    f, _ = recorded()
    rows = columns(5000)
    assert f.sum(*rows, workers=np.int64(40)).data == f.sum(*rows, workers=None).data


def test_an_executor_and_workers_are_one_too_many() -> None:
    f = pygradc.compile(lambda x: x * 2.0)
    x = np.ones(10)
    with ThreadPoolExecutor(1) as threads:
        for each in (f, f.programs[0] if f.programs else f):
            for method in METHODS[:-1]:
                with pytest.raises(TypeError, match="executor= and workers= are both given"):
                    getattr(each, method)(x, executor=threads, workers=2)


def test_where_workers_is_no_option() -> None:
    f = pygradc.compile(lambda x: x * 2.0)
    with pytest.raises(TypeError, match="workers= is an option of map, sum, mean, gradients, jac"):
        f(1.0, workers=2)
    with pytest.raises(TypeError, match="'executor': workers=2 shares each batch with a thread"):
        pygradc.fit(f, np.ones(3), optim.SGD([Value(1.0)], 0.1), executor=2)
    g = pygradc.compile(lambda x, *, workers=1: x * float(workers))
    assert g(3.0, workers=2).data == 6.0


# ---- Who does what -------------------------------------------------------------------------------


class Spied:
    """Parts as they are handed out: `before` is told of each one before it begins."""

    def __init__(self, parts: Any, before: Callable[[Any], None]) -> None:
        self.parts, self.before = parts, before

    def __iter__(self) -> Spied:
        return self

    def __next__(self) -> Any:
        number, part = next(self.parts)
        self.before(part)
        return number, part


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], None]:
    """Call this before each part, in the thread that does it."""
    usual = Work.do

    def set_spy(before: Callable[[Any], None]) -> None:
        def do(work: Work, results: Any, parts: Any, stop: Any = None) -> None:
            usual(work, results, Spied(parts, before), stop)  # type: ignore[arg-type]

        monkeypatch.setattr(Work, "do", do)

    return set_spy


class Meeting:
    """Threads wait for each other before their first part, so that all of them take part."""

    def __init__(self, count: int) -> None:
        self.barrier, self.met = threading.Barrier(count, timeout=WAIT), threading.local()
        self.parts: dict[int, list[Any]] = {}

    def __call__(self, part: Any) -> None:
        self.parts.setdefault(threading.get_ident(), []).append(part)
        if not hasattr(self.met, "once"):
            self.met.once = self.barrier.wait()


@pytest.mark.parametrize("method", ["sum", "map"])
def test_the_caller_and_the_librarys_threads_share_the_rows(spy: Any, method: str) -> None:
    f, _ = recorded()
    rows = columns(40_000)
    alone = getattr(f, method)(*rows)
    meeting = Meeting(3)
    spy(meeting)
    shared = getattr(f, method)(*rows, workers=3)
    assert bits(getattr(shared, "data", shared)) == bits(getattr(alone, "data", alone))
    assert len(meeting.parts) == 3 and threading.get_ident() in meeting.parts
    done = {part for parts in meeting.parts.values() for part in parts}
    assert sum(last - first for first, last in done) == lib.pg_chunk_count(40_000)


def test_work_that_is_short_stays_with_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    f, _ = recorded()
    monkeypatch.setattr(OURS, "submit", None)  # which would fail
    rows = columns(1000)
    f.map(*rows, workers=7)
    f.sum(*rows, workers=7)
    monkeypatch.undo()
    monkeypatch.setattr(payoff, "SHORT", 1e3)
    rows = columns(3000)
    f.map(*rows, workers=7)  # measures how long it takes
    f.sum(*rows, workers=7)
    monkeypatch.setattr(OURS, "submit", None)
    assert f.sum(*rows, workers=7).data == f.sum(*rows).data
    assert bits(f.map(*rows, workers=7)) == bits(f.map(*rows))


def test_where_sharing_doesnt_pay_it_is_tried_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    rows, payoff = 100_000, Payoff(1024)
    assert payoff.is_alone(1024) and not payoff.is_alone(1025)

    def calls_until_shared() -> int:
        count = 0
        while payoff.is_alone(rows):
            count += 1
        return count

    rests = []
    for _ in range(8):
        payoff.note(rows, alone=0.001, shared=0.002)
        rests.append(calls_until_shared())
    assert rests == [1, 3, 7, 15, 31, 63, 64, 64]
    assert payoff.is_alone(29_000) and not payoff.few > 30_000
    payoff.note(rows, alone=0.001, shared=0.0006)
    assert calls_until_shared() == 0


@pytest.fixture
def busy() -> Iterator[None]:
    """All threads of the pool wait for something else."""
    free = threading.Event()
    count = max(2, len(OURS._threads))
    tasks = [OURS.submit(lambda: free.wait(WAIT) and None, count) for _ in range(count)]
    yield
    free.set()
    for task in tasks:
        task.result()


def test_nothing_waits_for_a_helper_that_hasnt_begun(busy: None) -> None:
    f, params = recorded()
    rows = columns(20_000)
    for call in ENTRIES.values():
        assert call(f, params, *rows, workers=2) == call(f, params, *rows)


@pytest.mark.parametrize("ends", [False, True])
def test_a_sum_doesnt_wait_for_a_late_helper(spy: Any, ends: bool) -> None:
    """Its core is busy; `ends`: it goes on when the caller does its part again."""
    f, params = recorded()
    rows = columns(40_000)
    alone = gradients(f.sum(*rows), params)
    caller, taken, free = threading.get_ident(), [], threading.Event()
    begun = threading.Event()

    def before(part: Any) -> None:
        if threading.get_ident() != caller:
            taken.append(part)
            begun.set()
            free.wait(WAIT)
            return
        assert begun.wait(WAIT)
        if ends and part in taken:
            free.set()

    spy(before)
    assert gradients(f.sum(*rows, workers=2), params) == alone
    assert len(taken) == 1 or ends
    free.set()


def test_calls_from_two_threads_both_come_to_an_end() -> None:
    f, _ = recorded()
    x, y = columns(20_000)
    alone, wrong = bits(f.map(x, y)), []

    def work() -> None:
        for _ in range(20):
            if bits(f.map(x, y, workers=3)) != alone:
                wrong.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_a_call_in_a_helper_is_that_threads_own_work(spy: Any) -> None:
    f, _ = recorded()
    rows = columns(20_000)
    alone, found = bits(f.map(*rows)), []

    def call() -> None:
        found.append((pool.is_a_helper(), bits(f.map(*rows, workers=3))))

    tasks = [OURS.submit(call, 1) for _ in range(4)]
    for task in tasks:
        task.result()
    assert found == [(True, alone)] * 4 and not pool.is_a_helper()


# ---- Failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [2, 7])
def test_the_first_row_that_fails_is_named(workers: int) -> None:
    f, x = pygradc.compile(lambda x: x.log()), np.ones(20_000)
    w = Value(1.0)
    g = pygradc.compile(lambda x: w * x.log())
    for row in (0, 1023, 1024, 5555, 19_999):
        x[:] = 1.0
        x[[row, 19_999]] = -1.0
        calls = [f.map, f.sum, f.gradients, f.hessian, functools.partial(g.jvp, [1.0])]
        calls.append(functools.partial(g.hvp, [1.0], wrt="inputs"))
        for call in calls:
            with pytest.raises(FloatingPointError, match=rf"^row {row}: log\(-1\.0\)") as raised:
                call(x, workers=workers)
            assert raised.value.row == row  # type: ignore[attr-defined]
    x[:] = 1.0
    assert bits(f.map(x, workers=workers)) == bits(np.zeros(20_000))


def test_what_ignores_errors_gives_the_same_nan() -> None:
    w = Value(2.0)
    f = pygradc.compile(lambda x: w * x.log(), errors="ignore")
    x = np.linspace(-1.0, 1.0, 20_000)
    x[7777] = np.nan
    assert bits(f.map(x, workers=3)) == bits(f.map(x))
    assert bits(*f.gradients(x, workers=3)[1]) == bits(*f.gradients(x)[1])
    assert bits(gradients(f.sum(x, workers=3), [w])) == bits(gradients(f.sum(x), [w]))


@pytest.mark.parametrize("method", ["sum", "map"])
@pytest.mark.parametrize("late", ["caller", "helper"])
def test_a_later_row_that_fails_first_isnt_named(spy: Any, method: str, late: str) -> None:
    """Both threads fail; the one with the earlier rows, the first part or the second, is late."""
    f, x = pygradc.compile(lambda x: x.log()), np.full(40_000, -1.0)
    first, second = taper(0, 40, 2, 1)[:2]
    if late == "helper":
        x[: 1024 * second[0]] = 1.0
    caller, both = threading.get_ident(), threading.Barrier(2, timeout=WAIT)
    begun: dict[str, Any] = {}

    def before(part: Any) -> None:
        mine = "caller" if threading.get_ident() == caller else "helper"
        if mine not in begun:
            begun[mine] = part
            both.wait()
        if mine == late:
            time.sleep(0.05)

    spy(before)
    row = 0 if late == "caller" else 1024 * second[0]
    with pytest.raises(FloatingPointError, match=rf"^row {row}: "):
        getattr(f, method)(x, workers=2)
    assert begun == {"caller": first, "helper": second}


def test_a_fault_in_the_part_of_a_late_helper(spy: Any) -> None:
    f, x = pygradc.compile(lambda x: x.log()), np.ones(40_000)
    row = 1024 * taper(0, 40, 2, 1)[1][0] + 5
    x[row] = -1.0
    caller, begun, free = threading.get_ident(), threading.Event(), threading.Event()

    def before(part: Any) -> None:
        if threading.get_ident() == caller:
            assert begun.wait(WAIT)
            return
        begun.set()
        free.wait(WAIT)

    spy(before)
    start = time.monotonic()
    with pytest.raises(FloatingPointError, match=rf"^row {row}: "):
        f.sum(x, workers=2)
    assert time.monotonic() - start < WAIT / 2
    free.set()


def test_what_a_helper_raises_reaches_the_caller(spy: Any) -> None:
    f, _ = recorded()
    rows = columns(40_000)
    caller, meeting = threading.get_ident(), Meeting(2)

    def before(part: Any) -> None:
        meeting(part)
        if threading.get_ident() != caller:
            raise MemoryError("no room")

    spy(before)
    with pytest.raises(MemoryError, match="no room"):
        f.map(*rows, workers=2)


def test_a_system_without_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    f, params = recorded()
    rows = columns(20_000)
    few = Pool()
    monkeypatch.setattr(OURS, "submit", few.submit)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert bits(f.map(*rows, workers=4)) == bits(f.map(*rows))
    assert gradients(f.sum(*rows, workers=4), params) == gradients(f.sum(*rows), params)
    assert few._threads == []


def test_an_interrupt_stops_the_helpers(spy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    f, _ = recorded()
    rows = columns(40_000)
    caller, meeting, calls = threading.get_ident(), Meeting(2), []
    usual = Call.help

    def help_and_say(call: Call) -> None:
        calls.append(call)
        usual(call)

    def before(part: Any) -> None:
        meeting(part)
        if threading.get_ident() == caller:
            raise KeyboardInterrupt

    monkeypatch.setattr(Call, "help", help_and_say)
    spy(before)
    with pytest.raises(KeyboardInterrupt):
        f.map(*rows, workers=2)
    (call,) = calls
    assert call.stop[0] == 1 and call.ended[0] == 1 and list(call.next) == []


# ---- Forks and exits -----------------------------------------------------------------------------


def test_the_threads_are_as_many_as_one_call_has_asked_for() -> None:
    few = Pool()
    for most in (1, 3, 2):
        few.submit(lambda: None, most).result()
    assert len(few._threads) == 3
    threads = few._threads
    few.end(WAIT)
    assert not any(thread.is_alive() for thread in threads) and few._threads == []
    few.submit(lambda: None, 1).result()  # begins anew
    few.close(WAIT)
    assert few.submit(lambda: None, 1).cancel() and few._threads == []


def run(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    head = """
import os, sys, threading, time
import numpy as np
import pygradc
from pygradc.recorded import payoff, pool
payoff.SHORT, payoff.MOST_RESTS = 0.0, 0
def slow(x):
    for _ in range(20):
        x = (x * 1.01).sin()
    return x
f, x = pygradc.compile(slow), np.linspace(0.0, 1.0, 100_000)
"""
    command = [sys.executable, "-W", "error", "-c", head + code]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.forks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_ends_the_threads_and_the_child_has_its_own() -> None:
    done = run("""
alone = f.map(x).tobytes()
assert f.map(x, workers=3).tobytes() == alone
threads = list(pool.OURS._threads)
assert len(threads) == 2
child = os.fork()  # with threads, Python from 3.12 on would warn
if child == 0:
    same = f.map(x, workers=3).tobytes() == alone and len(pool.OURS._threads) == 2
    same = same and f.sum(x, workers=3).data == f.sum(x).data
    os._exit(0 if same else 1)
assert not any(thread.is_alive() for thread in threads)
assert f.map(x, workers=3).tobytes() == alone
assert os.waitpid(child, 0)[1] == 0
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(0)",
        "del f, x",
        "threading.Thread(target=lambda: f.sum(x, workers=3)).start()",
        "threading.Thread(target=lambda: [f.sum(x, workers=3) for _ in range(10**6)],"
        " daemon=True).start(); time.sleep(0.1)",
        "threading.Thread(target=lambda: [f.map(x, workers=3) for _ in range(10**6)],"
        " daemon=True).start(); time.sleep(0.1)",
        "import atexit; atexit.register(lambda: f.sum(x, workers=3))",
    ],
)
def test_an_exit_ends_the_threads(end: str) -> None:
    start = time.monotonic()
    done = run(f"f.map(x, workers=3); f.sum(x, workers=3)\n{end}")
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - start < WAIT
