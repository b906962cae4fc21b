"""fit(workers=): are the bits those of one thread, and is one thread enough where it must be?"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, losses, nn, optim
from pygradc._core import lib
from pygradc.recorded import crews
from pygradc.recorded.crews import Crew
from pygradc.recorded.pool import OURS

WAIT = 60  # seconds, of a machine that does other things, too
LONG = 1e9  # seconds for a row: sharing always pays


def model(sizes: tuple[int, ...]) -> nn.MLP:
    random.seed(1)
    return nn.MLP(sizes[0], list(sizes[1:]))


def classifier(*sizes: int, **how: Any) -> tuple[Any, list[Value]]:
    mlp = model(sizes)
    f = pygradc.compile(lambda x, y: losses.cross_entropy(mlp(x), y), **how)
    return f, mlp.parameters()


def rows_for(sizes: tuple[int, ...], count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(count)
    return rng.normal(size=(count, sizes[0])), rng.integers(0, sizes[-1], size=count).astype(float)


def record(f: Any, rows: tuple[Any, ...]) -> None:
    f.mean(*(np.ones_like(array[:1]) for array in rows))


def share_always(program: Any, batch_rows: int) -> None:
    """Whatever can be shared is, however fast it is, and busy the machine."""
    program._fit_payoff.rows = min(batch_rows, 1024)
    program._fit_payoff.alone = LONG


def was_shared(program: Any) -> bool:
    """No whole chunk was done alone: its time would be known."""
    payoff, plan = program._fit_payoff, program._plan(lib.PG_WRT_PARAMS)
    assert lib.pg_fit_can_share(program._handle, plan.array[0], payoff.rows)
    return bool(payoff.alone == LONG and payoff.pause == payoff.rests == 0)


def state(params: list[Value], optimizer: Any, history: list[float]) -> bytes:
    arrays = [[p.data for p in params], [p.grad for p in params], history]
    arrays += [v for v in vars(optimizer).values() if isinstance(v, np.ndarray)]
    return b"".join(np.asarray(array).tobytes() for array in arrays)


OPTIMIZERS: dict[str, Callable[[list[Value]], optim.Optimizer]] = {
    "SGD": lambda params: optim.SGD(params, lr=0.01),
    "momentum": lambda params: optim.SGD(params, lr=0.01, momentum=0.9, weight_decay=0.01),
    "Adam": lambda params: optim.Adam(params, lr=0.01),
}
SIZES = (60, 100, 30, 10)


def trained(
    kind: str, workers: int | None, batch: int, rows: tuple[Any, Any], math: str = "fast"
) -> bytes:
    f, params = classifier(*SIZES, math=math)
    record(f, rows)
    share_always(f.programs[0], batch)
    optimizer = OPTIMIZERS[kind](params)
    history = pygradc.fit(f, *rows, optimizer, epochs=3, batch_size=batch, seed=7, workers=workers)
    assert was_shared(f.programs[0])
    return state(params, optimizer, history)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("count, batch", [(331, 113), (500, 128), (2100, 1025), (1500, 1500)])
def test_no_bit_depends_on_the_workers(kind: str, count: int, batch: int) -> None:
    rows = rows_for(SIZES, count)
    alone = trained(kind, None, batch, rows)
    for workers in (1, 2, 3, 7):
        assert trained(kind, workers, batch, rows) == alone


@pytest.mark.parametrize("workers", [2, 7])
def test_nor_in_exact_mode(workers: int) -> None:
    rows = rows_for(SIZES, 300)
    assert trained("SGD", workers, 120, rows, "exact") == trained("SGD", None, 120, rows, "exact")


def test_layers_of_many_inputs_and_of_many_blocks() -> None:
    """Their tiles are panels of factors; and a chunk's blocks are more than its memory holds."""
    for sizes, count in (((300, 65, 3), 96), ((1100, 6, 2), 1024)):
        rows, found = rows_for(sizes, count), []
        for workers in (None, 3):
            f, params = classifier(*sizes, math="fast")
            optimizer = optim.SGD(params, lr=0.01)
            record(f, rows)
            share_always(f.programs[0], count)
            history = pygradc.fit(f, *rows, optimizer, epochs=2, workers=workers)
            assert was_shared(f.programs[0])
            found.append(state(params, optimizer, history))
        assert found[0] == found[1]


def tied(x: Any, w: list[Value]) -> Value:
    """Weights with two uses each, whose sums two dots share."""
    hidden = [sum((w[i + j] * x[j] for j in range(40)), Value(0.0)).tanh() for i in range(40)]
    return sum((w[i] * hidden[i] for i in range(40)), Value(0.0)) ** 2


def test_weights_that_several_dots_share_are_summed_by_one_thread() -> None:
    x, found = np.random.default_rng(0).normal(size=(300, 40)), []
    for workers in (None, 2):
        w = [Value(0.01 * i) for i in range(80)]
        f = pygradc.compile(lambda x, w=w: tied(x, w))
        optimizer = optim.SGD(w, lr=0.001)
        found.append(state(w, optimizer, pygradc.fit(f, x, optimizer, epochs=3, workers=workers)))
        program = f.programs[0]
        plan = program._plan(lib.PG_WRT_PARAMS)
        assert not lib.pg_fit_can_share(program._handle, plan.array[0], 300)
    assert found[0] == found[1]


# ---- What isn't ordinary -------------------------------------------------------------------------


def logs(errors: str = "raise") -> tuple[Any, list[Value]]:
    mlp = model((110, 100, 1))
    return pygradc.compile(lambda x, t: mlp(x) ** 2 + t.log(), errors=errors), mlp.parameters()


def outcome(f: Any, params: list[Value], rows: Any, workers: int | None) -> Any:
    optimizer = optim.SGD(params, lr=0.001)
    record(f, rows)
    share_always(f.programs[0], 100)
    try:
        history = pygradc.fit(
            f, *rows, optimizer, epochs=2, batch_size=100, shuffle=False, workers=workers
        )
    except FloatingPointError as error:
        return str(error), state(params, optimizer, [])
    return "", state(params, optimizer, history)


@pytest.mark.parametrize("errors", ["raise", "ignore"])
def test_a_row_that_fails(errors: str) -> None:
    for row in (0, 57, 100, 299):
        x, t = np.random.default_rng(0).normal(size=(300, 110)), np.ones(300)
        t[row:] = -1.0
        alone = outcome(*logs(errors), (x, t), None)
        assert f"row {row}: log(-1.0)" in alone[0] or errors == "ignore"
        for workers in (2, 3):
            assert outcome(*logs(errors), (x, t), workers) == alone


def test_an_op_that_fails_where_no_row_needs_it() -> None:
    found = []
    x, t = np.random.default_rng(0).normal(size=(300, 110)), np.linspace(-1.0, 1.0, 300)
    for workers in (None, 2, 3):
        mlp = model((110, 100, 1))

        def loss(x: Any, t: Any, mlp: Any = mlp) -> Any:
            return mlp(x) ** 2 + pygradc.where(t > 0.0, t.sqrt(), t)

        found.append(outcome(pygradc.compile(loss), mlp.parameters(), (x, t), workers))
    assert found[0][0] == "" and found[1] == found[2] == found[0]


def test_gradients_that_are_undefined_products() -> None:
    """0 times an infinite derivative counts 0: the chunk is done once more, carefully."""
    found = []
    x, t = np.random.default_rng(0).normal(size=(300, 110)), np.abs(np.arange(300) - 150.0)
    for workers in (None, 2):
        mlp = model((110, 100, 1))

        def loss(x: Any, t: Any, mlp: Any = mlp) -> Any:
            return ((mlp(x) * t) ** 2).sqrt() * t

        found.append(outcome(pygradc.compile(loss), mlp.parameters(), (x, t), workers))
    assert found[1] == found[0]


def test_parameters_that_leave_the_finite_numbers() -> None:
    found = []
    rows = rows_for(SIZES, 300)
    for workers in (None, 3):
        f, params = classifier(*SIZES)
        optimizer = optim.SGD(params, lr=1e200, weight_decay=1e200)
        record(f, rows)
        share_always(f.programs[0], 100)
        with pytest.raises(FloatingPointError) as raised:
            pygradc.fit(f, *rows, optimizer, batch_size=100, seed=1, workers=workers)
        found.append((str(raised.value), state(params, optimizer, [])))
    assert found[0] == found[1]


# ---- Helpers -------------------------------------------------------------------------------------


def prepared(workers: int = 3, **how: Any) -> Callable[[], list[float]]:
    rows = rows_for(SIZES, 1000)
    f, params = classifier(*SIZES, math="fast")
    record(f, rows)
    share_always(f.programs[0], 250)
    optimizer = optim.SGD(params, lr=0.001)
    how.update(batch_size=250, shuffle=False, workers=workers)
    return lambda: pygradc.fit(f, *rows, optimizer, **how)


def fit_long(workers: int = 3, **how: Any) -> list[float]:
    return prepared(workers, **how)()


def test_helpers_come_and_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, begun, ended = crews._help, threading.Semaphore(0), threading.Semaphore(0)

    def help_and_say(owner: Any) -> None:
        begun.release()
        usual(owner)
        ended.release()

    monkeypatch.setattr(crews, "_help", help_and_say)
    deadline = time.monotonic() + WAIT
    while not begun.acquire(blocking=False):  # on a busy machine a fit may end before any comes
        fit_long(epochs=20)
        assert time.monotonic() < deadline
    assert ended.acquire(timeout=WAIT)


def test_a_program_that_is_small_stays_with_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OURS, "submit", None)  # which would fail
    w = Value(0.5)
    f = pygradc.compile(lambda x: (w * x - 1.0) ** 2)
    assert len(pygradc.fit(f, np.ones(100), optim.SGD([w], lr=0.01), epochs=3, workers=7)) == 3


def test_where_sharing_doesnt_pay_it_rests_ever_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "_SHORT", 0.0)
    rows = rows_for(SIZES, 1000)
    f, params = classifier(*SIZES, math="fast")
    record(f, rows)
    payoff, pauses = f.programs[0]._fit_payoff, []
    for _ in range(9):
        payoff.rows, payoff.rests = 1000, 0
        payoff.alone = 2.5e-7  # 0.25 milliseconds for all rows, which take longer
        pygradc.fit(f, *rows, optim.SGD(params, lr=0.001), workers=2)
        pauses.append((payoff.pause, payoff.rests))
        pygradc.fit(f, *rows, optim.SGD(params, lr=0.001), workers=2)
        assert payoff.rests == pauses[-1][1] - 1 and 2.5e-7 < payoff.alone < 1.0
    assert pauses == [(n, n) for n in (1, 3, 7, 15, 31, 63, 64, 64, 64)]


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
    assert fit_long(epochs=2) == fit_long(workers=1, epochs=2)


def test_in_a_helper_of_another_call_the_thread_trains_alone() -> None:
    found: list[Any] = []
    OURS.submit(lambda: found.append(fit_long(epochs=2)), 1).result()
    assert found == [fit_long(workers=1, epochs=2)]


def test_fits_in_several_threads_at_once() -> None:
    alone, found = fit_long(workers=1, epochs=5), []
    fits = [prepared(epochs=5) for _ in range(3)]
    threads = [threading.Thread(target=lambda fit=fit: found.append(fit())) for fit in fits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert found == [alone] * 3


def test_callbacks_may_share_work_and_fit_too() -> None:
    inner: list[Any] = []

    def callback(epoch: int, loss: float) -> None:
        inner.append(fit_long(epochs=1))

    assert fit_long(epochs=3, callback=callback) == fit_long(workers=1, epochs=3)
    assert inner == [fit_long(workers=1, epochs=1)] * 3


def test_a_crew_that_nothing_refers_to_sends_its_helpers_home() -> None:
    """As where Ctrl-C came between the crew's opening and its end."""
    crew = Crew(2)
    crew.__enter__()
    tasks = list(crew.tasks)
    del crew
    for task in tasks:
        assert task.cancel() or task.result() is None


@pytest.mark.parametrize(
    ("workers", "kind", "message"),
    [
        (0, ValueError, r"workers=0: expected at least 1, which is the calling thread alone"),
        (True, TypeError, r"workers=True: expected a number of threads, such as workers=2"),
        ("2", TypeError, r"workers='2': expected a number of threads"),
    ],
)
def test_what_is_no_number_of_workers(workers: Any, kind: type, message: str) -> None:
    w = Value(0.5)
    f = pygradc.compile(lambda x: (w * x) ** 2)
    with pytest.raises(kind, match=message):
        pygradc.fit(f, np.ones(3), optim.SGD([w], lr=0.01), workers=workers)


# ---- Forks, exits, signals -----------------------------------------------------------------------

HEAD = """
import os, signal, sys, threading, time
sys.path[:0] = {path!r}
from tests.test_fit_workers import fit_long
alone = fit_long(workers=1, epochs=4)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    head = HEAD.format(path=[root, *sys.path])
    command = [sys.executable, "-W", "error", "-c", head + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


FORK = """
def fork_and_compare(*_):
    child = os.fork()
    if child == 0:
        os._exit(0 if fit_long(epochs=4) == alone else 1)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.forks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    "code",
    [
        "assert fit_long(epochs=4) == alone; fork_and_compare()",
        "assert fit_long(epochs=4, callback=fork_and_compare) == alone",
    ],
)
def test_a_child_has_helpers_of_its_own(code: str) -> None:
    done = run(FORK + code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.forks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_signals_handler_may_fork_in_the_middle() -> None:
    """The child trains on, without helpers. It forks once: the timer doesn't repeat."""
    done = run("""
import warnings
warnings.simplefilter("ignore")  # that there are threads
long, children = fit_long(workers=1, epochs=100), []
def fork(*_):
    if not children:
        children.append(os.fork())
signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.02)
same = fit_long(epochs=100) == long
if children == [0]:
    os._exit(0 if same else 1)
assert same and (not children or os.waitpid(children[0], 0)[1] == 0)
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to threads of POSIX")
def test_ctrl_c_ends_it_soon() -> None:
    done = run("""
main = threading.main_thread().ident
threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
start = time.monotonic()
try:
    fit_long(epochs=10**6)
except KeyboardInterrupt:
    assert fit_long(epochs=4) == alone
    sys.exit(0)
sys.exit(1)
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "end",
    [
        "",
        "threading.Thread(target=lambda: fit_long(epochs=20)).start()",
        "threading.Thread(target=lambda: fit_long(epochs=10**6), daemon=True).start();"
        " time.sleep(0.3)",
        "import atexit; atexit.register(lambda: fit_long(epochs=20))",
    ],
)
def test_an_exit_ends_the_threads(end: str) -> None:
    done = run(f"assert fit_long(epochs=4) == alone\n{end}")
    assert (done.returncode, done.stderr) == (0, "")
