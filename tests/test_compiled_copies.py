"""Does a copy of what holds a compiled function go its own way?

Copies are made in every way there is, of everything that can hold a compiled function, after it was
called: the copy's parameters are set, and what the copy computes must be what plain Python computes
with its own function and parameters, while the original stays as it was. Pickles also go to other
processes, of every kind.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import io
import multiprocessing
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest

import pygradc
from pygradc import Value, nn, optim

XS = np.array([1.0, 2.0, 3.0])


class Line:
    """A model by hand."""

    def __init__(self, w: float = 3.0) -> None:
        self.w = Value(w)

    @pygradc.compile
    def loss(self, x: Any) -> Value:
        """Squared."""
        return (self.w * x) ** 2

    @pygradc.compile
    @classmethod
    def twice(cls, x: Any) -> Value:
        return x * 2.0


class Module(nn.Module):
    def __init__(self, w: float = 3.0) -> None:
        self.w = Value(w)

    def parameters(self) -> list[Value]:
        return [self.w]

    @pygradc.compile(math="fast")
    def loss(self, x: Any) -> Value:
        return (self.w * x) ** 2


@dataclasses.dataclass
class Record:
    w: Value = dataclasses.field(default_factory=lambda: Value(3.0))

    @pygradc.compile
    def loss(self, x: Any) -> Value:
        return (self.w * x) ** 2


class Slots:
    __slots__ = ("__weakref__", "w")

    def __init__(self, w: float = 3.0) -> None:
        self.w = Value(w)

    @pygradc.compile
    def loss(self, x: Any) -> Value:
        return (self.w * x) ** 2


class Kept(Line):
    """Holds its own methods, and a compiled bound method, among its attributes."""

    def __init__(self, w: float = 3.0) -> None:
        super().__init__(w)
        self.held = self.loss
        self.made = pygradc.compile(self.plain)

    def plain(self, x: Any) -> Value:
        return (self.w * x) ** 2


class Callable_:
    def __init__(self, w: float = 3.0) -> None:
        self.w = Value(w)

    def __call__(self, x: Any) -> Value:
        return (self.w * x) ** 2


@pygradc.compile
def double(x: Any) -> Value:
    return x * 2.0


@pygradc.compile(errors="ignore", max_programs=3)
def logarithm(x: Any, base: str = "e") -> Value:
    return x.log() if base == "e" else x.log() / Value(2.0).log()


def _plainly(x: Any) -> Value:
    return x * 5.0


other = pygradc.compile(_plainly)


def _joblib(x: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(x, file)
    file.seek(0)
    return joblib.load(file)


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "pickle 0": lambda x: pickle.loads(pickle.dumps(x, 0)),
    "pickle 2": lambda x: pickle.loads(pickle.dumps(x, 2)),
    "pickle in Python": lambda x: pickle._loads(pickle._dumps(x)),  # type: ignore[attr-defined]
    "cloudpickle": lambda x: pickle.loads(cloudpickle.dumps(x)),
    "joblib": _joblib,
}
by_copies = pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
HOLDERS = (Line, Module, Record, Slots, Kept)


def use(model: Any, loss: Any) -> None:
    """All that a recording can be made by."""
    loss(1.0)
    loss.mean(XS)
    loss.map(XS)
    loss.gradients(XS)


@by_copies
@pytest.mark.parametrize("kind", HOLDERS)
def test_a_copy_computes_with_its_own_parameters(kind: Any, again: Any) -> None:
    if kind is Slots and again is COPIES["pickle 0"]:
        pytest.skip("protocol 0 has no slots")
    model = kind()
    use(model, model.loss)
    other = again(model)
    assert not other.loss.programs
    other.w.data = 10.0
    assert other.loss(1.0).data == 100.0 and model.loss(1.0).data == 9.0
    assert other.loss.map(XS).tolist() == [100.0, 400.0, 900.0]
    other.loss.mean(XS).backward()
    assert other.w.grad == pytest.approx(2 * 10.0 * 14 / 3) and model.w.grad == 0.0
    assert other.loss.parameters() == [other.w] and model.loss.parameters() == [model.w]


@by_copies
@pytest.mark.parametrize("kind", HOLDERS)
def test_fit_trains_the_copy(kind: Any, again: Any) -> None:
    if kind is Slots and again is COPIES["pickle 0"]:
        pytest.skip("protocol 0 has no slots")
    model = kind()
    use(model, model.loss)
    other = again(model)
    pygradc.fit(other.loss, XS, optim.SGD([other.w], 0.05), epochs=30)
    assert abs(other.w.data) < 1e-3 and model.w.data == 3.0


def test_a_shallow_copy_shares_parameters_and_not_recordings() -> None:
    model = Line()
    use(model, model.loss)
    other = copy.copy(model)
    other.w = Value(10.0)
    assert other.loss(1.0).data == 100.0 and model.loss(1.0).data == 9.0


def test_the_instance_has_nothing_of_its_recordings() -> None:
    model = Line()
    before = dict(vars(model))
    use(model, model.loss)
    assert vars(model) == before
    other = Line(10.0)
    vars(other).update(vars(model))
    other.w = Value(7.0)
    assert other.loss(1.0).data == 49.0


@by_copies
def test_methods_and_functions_among_the_attributes_go_with_the_copy(again: Any) -> None:
    model = Kept()
    for function in (model.held, model.made):
        use(model, function)
    other = again(model)
    other.w.data = 10.0
    for function in (other.held, other.made, other.loss):
        assert function(1.0).data == 100.0 and function.parameters() == [other.w]
    assert other.held == other.loss and other.held != model.loss


@by_copies
def test_a_compiled_object_is_copied_with_the_object(again: Any) -> None:
    model = Callable_()
    f = pygradc.compile(model)
    use(model, f)
    other = again([f, model])
    other[1].w.data = 10.0
    assert other[0](1.0).data == 100.0 and f(1.0).data == 9.0


@by_copies
@pytest.mark.parametrize("holder", [list, tuple, lambda x: {"f": next(iter(x))}])
def test_containers_of_compiled_functions(again: Any, holder: Any) -> None:
    double(1.0)
    other = again(holder([double]))
    f = other["f"] if isinstance(other, dict) else other[0]
    assert f(4.0).data == 8.0


def test_a_named_function_pickles_by_its_name() -> None:
    double(1.0)
    assert pickle.loads(pickle.dumps(double)) is double
    assert pickle.loads(pickle.dumps(Line.loss)) is Line.loss
    assert pickle.loads(pickle.dumps(logarithm)) is logarithm


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_function_starts_without_recordings(again: Any) -> None:
    logarithm(2.0)
    other = again(logarithm)
    assert other is not logarithm and not other.programs and logarithm.programs
    assert other.map([2.0, -1.0], base="2")[0] == 1.0  # errors="ignore" is kept
    assert (other.__name__, other.__doc__) == (logarithm.__name__, logarithm.__doc__)
    for n in range(1, 6):
        other.map(np.ones(1), base=f"e{n}")
    assert len(other.programs) == 3  # and max_programs


def test_attributes_that_were_set_go_along() -> None:
    f = pygradc.compile(_plainly)
    f.note = ["kept"]
    for other in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert other.note == ["kept"] and other(1.0).data == 5.0
    assert copy.deepcopy(f).note is not f.note


def test_another_name_pickles_as_function_and_options() -> None:
    other(1.0)
    again = pickle.loads(pickle.dumps(other))
    assert again is not other and not again.programs and again.__wrapped__ is _plainly
    assert again(2.0).data == 10.0


def test_a_lambda_needs_cloudpickle() -> None:
    w = Value(3.0)
    f = pygradc.compile(lambda x: w * x)
    f(1.0)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(f)
    again = pickle.loads(cloudpickle.dumps(f))
    again(1.0).backward()
    assert again.parameters()[0] is not w and w.grad == 0.0


def test_a_function_that_calls_itself_by_a_closure() -> None:
    def make() -> Any:
        @pygradc.compile
        def power(x: Any, n: int = 3) -> Any:
            return x * power(x, n=n - 1) if n else x

        return power

    again = pickle.loads(cloudpickle.dumps(make()))
    assert again(2.0).data == 16.0


def test_bound_methods_pickle_as_instance_and_name() -> None:
    model = Line()
    loss = pickle.loads(pickle.dumps(model.loss))
    assert loss(1.0).data == 9.0 and loss.__wrapped__.__self__.w is not model.w
    both, own = pickle.loads(pickle.dumps((model.loss, model)))
    assert both.__wrapped__.__self__ is own
    assert pickle.loads(pickle.dumps(Line.twice))(3.0).data == 6.0


class Above(Line):
    @pygradc.compile
    def loss(self, x: Any) -> Value:
        return super().loss(x) + 1.0

    def below(self) -> Any:
        return super().loss


@by_copies
def test_the_method_above_stays_the_one_above(again: Any) -> None:
    assert again(Above().below())(1.0).data == 9.0
    assert again(Above().loss)(1.0).data == 10.0


def test_a_program_that_is_held_is_data() -> None:
    model: Any = Line()
    model.loss(1.0)
    model.program = model.loss.programs[0]
    again = copy.deepcopy(model)
    assert isinstance(again.program, pygradc.Program) and again.program(2.0).data == 36.0
    assert not again.loss.programs


@pytest.mark.parametrize("kind", [Line, Record, Slots])
def test_an_instance_dies_as_before(kind: Any) -> None:
    model = kind()
    use(model, model.loss)
    died = weakref.ref(model)
    del model
    gc.collect()
    assert died() is None and len(kind.loss._at) == 0


@pytest.mark.memory  # under instruments none comes again
def test_an_id_that_comes_again_meets_no_other_recording() -> None:
    seen = set()
    for i in range(300):
        model = Slots(float(i))
        seen.add(id(model))
        assert model.loss(1.0).data == i * i
        del model
    assert len(seen) < 300, "no id came again: the test tests nothing"


# ---- Processes -----------------------------------------------------------------------------------


def test_every_kind_of_process_takes_a_compiled_function() -> None:
    model = Line()
    model.loss(1.0)
    double(1.0)
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, context) as pool:
            assert [v.data for v in pool.map(double, [1.0, 2.0])] == [2.0, 4.0], method
            assert pool.submit(other, 2.0).result().data == 10.0, method
            assert pool.submit(model.loss, 2.0).result().data == 36.0, method


SCRIPT = """
import pickle, sys, cloudpickle, pygradc
from pygradc import Value
w = Value(3.0)
@pygradc.compile
def f(x):
    return w * x
class M:
    def __init__(self): self.w = Value(2.0)
    @pygradc.compile
    def loss(self, x): return self.w * x
f(1.0)
m = M()
m.loss(1.0)
sys.stdout.buffer.write(cloudpickle.dumps((f, m, m.loss)))
"""


def test_cloudpickle_takes_what_is_in_main_to_another_main(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    made = subprocess.run([sys.executable, str(script)], capture_output=True, check=True)
    f, m, loss = pickle.loads(made.stdout)
    assert (f(2.0).data, m.loss(2.0).data, loss(2.0).data) == (6.0, 4.0, 4.0)
    assert not hasattr(sys.modules["__main__"], "f")


def test_loky_takes_closures() -> None:
    loky = pytest.importorskip("loky")
    w = Value(3.0)
    f = pygradc.compile(lambda x: w * x)
    f(1.0)
    with loky.ProcessPoolExecutor(1) as pool:
        assert pool.submit(f, 2.0).result().data == 6.0
        assert f.map(XS, executor=pool).tolist() == [3.0, 6.0, 9.0]
