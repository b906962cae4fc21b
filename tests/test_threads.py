"""Do threads that each train a model of their own get what they would alone, and does fork work?"""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import pygradc
from pygradc import Value, live_nodes, losses, nn, optim

SAMPLES = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
TARGETS = [1.0, -1.0, -1.0, 1.0]


def halved(x: Value) -> Value:
    """A custom op: its closure is Python, so another thread may come in between."""
    out = Value(x.data * 0.5, (x,), "halved")

    def _backward():
        x.grad += 0.5 * out.grad

    out._backward = _backward
    return out


def build(seed: int) -> nn.MLP:
    model = nn.MLP(3, [4, 4, 1])
    dice = random.Random(seed)  # random's own generator is shared by the threads
    for p in model.parameters():
        p.data = dice.uniform(-1, 1)
    return model


def train(seed: int, closures: bool, steps: int = 40) -> list[float]:
    """Every loss, then the parameters and the gradients of the last step."""
    model = build(seed)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    seen = []
    for _ in range(steps):
        outputs = [model(x) for x in SAMPLES]
        if closures:
            outputs = [halved(halved(y) * 3.0) for y in outputs]
        for y in outputs:
            y.label = str(seed)
        loss = losses.mse(outputs, TARGETS) + 1e-4 * sum(p * p for p in model.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.data)
    parameters = model.parameters()
    return seen + [p.data for p in parameters] + [p.grad for p in parameters]


def in_threads(count: int, closures: bool) -> list:
    """What each thread found; an exception stands for itself."""
    found: list = [None] * count
    gate = threading.Barrier(count)

    def work(i: int) -> None:
        gate.wait()
        try:
            found[i] = train(i, closures)
        except BaseException as error:
            found[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.fixture(params=[None, 1e-6], ids=["usual interval", "switching all the time"])
def interval(request):
    before = sys.getswitchinterval()
    if request.param is not None:
        sys.setswitchinterval(request.param)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("closures", [False, True])
@pytest.mark.parametrize("count", [2, 8])
def test_threads_find_what_they_find_alone(interval, count, closures):
    alone = [train(i, closures) for i in range(count)]
    assert in_threads(count, closures) == alone
    assert alone[0] != alone[1] and alone[0][39] < alone[0][0]


def test_threads_leave_no_nodes_behind():
    gc.collect()
    before = live_nodes()
    in_threads(8, closures=True)
    gc.collect()
    assert live_nodes() == before


def test_threads_may_release_what_others_built():
    gc.collect()
    before = live_nodes()
    graphs = [halved(sum([Value(float(i)) for i in range(500)])) * 2 for _ in range(200)]

    def drop() -> None:
        while graphs:
            try:
                graphs.pop().backward()
            except IndexError:
                return

    threads = [threading.Thread(target=drop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert live_nodes() == before


def test_threads_share_parameters_that_only_one_changes():
    model, stop, wrong = build(0), threading.Event(), []
    expected = model([1.0, 2.0, 3.0]).data

    def read() -> None:
        while not stop.is_set():
            if model([1.0, 2.0, 3.0]).data != expected:
                wrong.append("another output")

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        (model([3.0, 2.0, 1.0]) - 1.0).backward()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.forks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_trains_and_the_parent_goes_on():
    before = train(3, closures=True)
    x = Value(2.0)
    graph = halved(x * x) + 1
    child = os.fork()
    if child == 0:
        same = train(3, closures=True) == before
        graph.backward()
        os._exit(0 if same and x.grad == 2.0 else 1)
    assert train(3, closures=True) == before
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    assert x.grad == 0.0
    graph.backward()
    assert x.grad == 2.0


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def import_where_the_gil_is(on: str) -> subprocess.CompletedProcess[str]:
    """A stand-in for a free-threaded build; `on` is Python, and says when it runs with the GIL."""
    code = f"""
import sys
sys._is_gil_enabled = lambda: {on}
import pygradc
print("pygradc._gil" in sys.modules)
"""
    return python("-c", code)


def test_the_gil_is_turned_on_where_it_is_off():
    """By a module that doesn't declare, as cffi's do, that it needs none."""
    assert import_where_the_gil_is(on="'pygradc._gil' in sys.modules").stdout == "True\n"
    assert import_where_the_gil_is(on="True").stdout == "False\n"


def test_a_python_that_keeps_it_off_is_refused():
    run = import_where_the_gil_is(on="False")
    assert run.returncode == 1
    assert "ImportError: pygradc needs the GIL" in run.stderr and "PYTHON_GIL=0" in run.stderr


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="not free-threaded")
def test_a_free_threaded_python():
    code = "import sys, pygradc; print(sys._is_gil_enabled())"
    run = python("-c", code, PYTHON_GIL="")
    assert run.stdout == "True\n"
    assert "RuntimeWarning: The global interpreter lock (GIL) has been enabled" in run.stderr
    run = python("-c", code, PYTHON_GIL="0")
    assert run.returncode == 1 and "ImportError: pygradc needs the GIL" in run.stderr


def test_a_recording_that_waits_for_a_threads_recording_doesnt_hang() -> None:
    inner = pygradc.compile(lambda y: y * 2.0)

    def function(x):
        with ThreadPoolExecutor(1) as pool:
            return x * pool.submit(inner, 3.0).result()

    message = r"test_threads\.py:\d+: .*call that function once before"
    with pytest.raises(pygradc.TraceError, match=message):
        pygradc.compile(function)(2.0)
    assert inner(3.0).data == 6.0
