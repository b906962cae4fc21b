"""Is a compiled method the method that plain Python would call?

The same classes are made twice, with `compile` and with a decorator that does nothing, and asked
the same. Recordings belong to the function and the instance, whatever the class does with names,
slots, equality or attributes.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import functools
import gc
import inspect
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import pygradc
from pygradc import Value

XS = np.array([1.0, 2.0, 3.0])


def plainly(function: Any) -> Any:
    return function


def number(x: Any) -> float:
    """Plain Python makes floats of floats."""
    return float(x.data if isinstance(x, Value) else x)


# ---- Which function is called? -------------------------------------------------------------------


def overrides(compiled: Any) -> list[Any]:
    class Base:
        def __init__(self) -> None:
            self.w = Value(2.0)

        @compiled
        def f(self, x: Any) -> Value:
            return self.w * x

    class Middle(Base):
        @compiled
        def f(self, x: Any) -> Value:
            return super().f(x) * 10.0

    class Above(Middle):
        @compiled
        def f(self, x: Any) -> Value:
            return super().f(x) + 1.0

        def all(self, x: float) -> list[float]:
            found = [self.f(x), super().f(x), super(Middle, self).f(x)]
            found += [Base.f(self, x), Middle.f(self, x), Above.f(self, x)]
            return [v.data for v in found]

    one, two = Above(), Above()
    two.w.data = 5.0
    return [one.all(1.0), two.all(1.0), one.all(2.0), Base().f(1.0).data, Middle().f(1.0).data]


def two_names(compiled: Any) -> list[Any]:
    class Both:
        def __init__(self, w: float) -> None:
            self.w = Value(w)

        @compiled
        def f(self, x: Any) -> Value:
            return self.w * x

        g = f

    Both.h = Both.f  # type: ignore[attr-defined]
    one, two = Both(2.0), Both(3.0)
    names = ("f", "g", "h")
    return [getattr(each, name)(4.0).data for name in names for each in (one, two)]


def assigned_later(compiled: Any) -> list[Any]:
    class Empty:
        def __init__(self) -> None:
            self.w = Value(3.0)

    one: Any = Empty()
    found = []
    for factor in (1.0, 2.0):
        Empty.f = compiled(lambda self, x, k=factor: self.w * x * Value(k))  # type: ignore
        found += [one.f(1.0).data, one.f(2.0).data]
    one.f = lambda x: Value(-1.0)  # an attribute of the instance's own hides it
    found.append(one.f(1.0).data)
    del one.f
    return [*found, one.f(1.0).data]


def of_classes(compiled: Any) -> list[Any]:
    class Meta(type):
        w: Value

        @compiled
        def f(cls, x: Any) -> Value:
            return cls.w * x

    class One(metaclass=Meta):
        w = Value(2.0)

    class Two(One):
        w = Value(3.0)

    return [kind.f(x).data for x in (1.0, 2.0) for kind in (One, Two, One)]


def static_and_class_methods(compiled: Any) -> list[Any]:
    class One:
        w = Value(2.0)

        @compiled
        @classmethod
        def f(cls, x: Any) -> Value:
            return cls.w * x

        @staticmethod
        @compiled
        def s(x: Any) -> Value:
            return x * 3.0

        @compiled
        @staticmethod
        def t(x: Any) -> Value:
            return x * 4.0

    class Two(One):
        w = Value(5.0)

        @compiled
        @classmethod
        def f(cls, x: Any) -> Value:
            return super().f(x) + 1.0

    found = []
    for kind in (One, Two):
        for each in (kind, kind()):
            found += map(number, (each.f(1.0), each.s(1.0), each.t(1.0)))
    return found


def class_methods_of_compiled(compiled: Any) -> list[Any]:
    class One:
        w = Value(2.0)

        @classmethod
        @compiled
        def f(cls, x: Any) -> Value:
            return cls.w * x

    class Two(One):
        w = Value(5.0)

    return [kind.f(1.0).data for kind in (One, Two, One)] + [One().f(2.0).data, Two().f(2.0).data]


def properties(compiled: Any) -> list[Any]:
    class One:
        def __init__(self, w: float) -> None:
            self.w = Value(w)

        @property
        @compiled
        def square(self) -> Value:
            return self.w * self.w

        @functools.cached_property
        @compiled
        def cube(self) -> Value:
            return self.w**3

        @compiled
        def power(self, x: Any, n: int = 1) -> Value:
            return self.w * x**n

        half = functools.partialmethod(power, n=2)

    one, two = One(2.0), One(3.0)
    return [v.data for o in (one, two, one) for v in (o.square, o.cube, o.power(2.0), o.half(3.0))]


def odd_instances(compiled: Any) -> list[Any]:
    class Equal:
        __hash__ = None  # type: ignore[assignment]

        def __init__(self, w: float) -> None:
            self.w = Value(w)

        def __eq__(self, other: object) -> bool:
            return True

        @compiled
        def f(self, x: Any) -> Value:
            return self.w * x

    class Closed(Equal):
        def __init__(self, w: float) -> None:
            object.__setattr__(self, "w", Value(w))

        def __setattr__(self, name: str, value: Any) -> None:
            raise RuntimeError(name)

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __bool__(self) -> bool:
            raise RuntimeError

    class Short:
        __slots__ = ("w",)

        def __init__(self, w: float) -> None:
            self.w = Value(w)

        @compiled
        def f(self, x: Any) -> Value:
            return self.w * x

    class Weak(Short):
        __slots__ = ("__weakref__",)

    class Pair(NamedTuple):
        w: Value

        f = compiled(lambda self, x: self.w * x)

    class Whole(int):
        f = compiled(lambda self, x: x * float(int(self)))

    makers: list[Callable[[float], Any]] = [Equal, Closed, Short, Weak]
    makers += [lambda w: Pair(Value(w)), lambda w: Whole(int(w))]
    found = []
    for make in makers:
        each = [make(float(i)) for i in range(12)]
        found += [number(o.f(x)) for x in (1.0, 2.0) for o in each]
    return found


def data_classes(compiled: Any) -> list[Any]:
    options: dict[str, Any] = {"slots": True} if sys.version_info >= (3, 10) else {}

    class Made:
        w: Value

        @compiled
        def f(self, x: Any) -> Value:
            return self.w * x

    Made.__annotations__ = {"w": Value}
    kind: Any = dataclasses.dataclass(**options)(Made)
    one, two = kind(Value(2.0)), kind(Value(3.0))
    three = dataclasses.replace(one, w=Value(4.0))
    return [o.f(2.0).data for o in (one, two, three, copy.deepcopy(two))]


def abstract(compiled: Any) -> list[Any]:
    class Base(abc.ABC):
        @compiled
        @abc.abstractmethod
        def f(self, x: Any) -> Value:
            return x * 2.0

    class One(Base):
        @compiled
        def f(self, x: Any) -> Value:
            return super().f(x) + 1.0

    try:
        Base()  # type: ignore[abstract]
    except TypeError:
        return ["abstract", number(One().f(2.0))]
    return []


CLASSES = [
    overrides,
    two_names,
    assigned_later,
    of_classes,
    static_and_class_methods,
    properties,
    odd_instances,
    data_classes,
    abstract,
]


@pytest.mark.parametrize("classes", CLASSES)
def test_a_compiled_method_is_the_one_that_python_calls(classes: Any) -> None:
    expected = classes(plainly)
    assert expected and classes(pygradc.compile) == expected


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="classmethod binds no descriptor any more")
def test_a_class_method_of_a_compiled_function() -> None:
    assert class_methods_of_compiled(pygradc.compile) == class_methods_of_compiled(plainly)


class Model:
    """Its docstring."""

    def __init__(self, w: float = 3.0) -> None:
        self.w = Value(w)

    @pygradc.compile
    def loss(self, x: Any, *, square: bool = True) -> Value:
        """Of one row."""
        return (self.w * x) ** 2 if square else self.w * x


def test_rows_go_by_the_class_as_well() -> None:
    model = Model()
    assert Model.loss.map(model, XS).tolist() == model.loss.map(XS).tolist() == [9.0, 36.0, 81.0]
    assert Model.loss.mean(model, XS, square=False).data == 6.0
    assert len(model.loss.programs) == 2 and not Model.loss.programs


def test_what_python_says_of_it() -> None:
    model = Model()
    assert str(inspect.signature(model.loss)) == "(x: 'Any', *, square: 'bool' = True) -> 'Value'"
    assert list(inspect.signature(Model.loss).parameters) == ["self", "x", "square"]
    assert (model.loss.__name__, model.loss.__doc__) == ("loss", "Of one row.")
    assert model.loss.__qualname__ == "Model.loss" and model.loss.__module__ == __name__
    assert model.loss.__wrapped__(Value(1.0)).data == 9.0
    assert "bound method Model.loss" in repr(model.loss)
    assert isinstance(model.loss, pygradc.Compiled) and Model.loss is vars(Model)["loss"]


def test_bound_methods_are_equal_as_pythons_are() -> None:
    one, two = Model(), Model()
    assert one.loss == one.loss and hash(one.loss) == hash(one.loss)
    assert one.loss != two.loss and one.loss != Model.loss and Model.loss == Model.loss
    assert len({one.loss, one.loss, two.loss}) == 2


def test_attributes_are_the_functions() -> None:
    model = Model()
    with pytest.raises(AttributeError, match="through the class"):
        model.loss.note = 1
    Model.loss.note = 2
    try:
        assert model.loss.note == 2
    finally:
        del Model.loss.note


def test_a_models_attributes_hide_no_method() -> None:
    class Net:
        def __init__(self) -> None:
            self.mean, self.map, self.w = 5.0, None, Value(2.0)

        def __call__(self, x: Any) -> Value:
            return self.w * (x - self.mean)

    f = pygradc.compile(Net())
    assert f.mean(XS).data == -6.0 and f.map(XS).tolist() == [-8.0, -6.0, -4.0]


def test_only_functions_become_methods() -> None:
    class Net:
        def __call__(self, x: Any) -> Value:
            return x * 2.0

    class Holder:
        net = pygradc.compile(Net())
        bound = pygradc.compile(Model().loss.__wrapped__)

    assert Holder().net(3.0).data == 6.0 and Holder().bound(1.0).data == 9.0


# ---- How long do recordings live? ----------------------------------------------------------------


def test_a_bound_method_keeps_the_instance_alive() -> None:
    loss = Model().loss
    gc.collect()
    assert loss(1.0).data == 9.0


def test_recordings_are_found_again() -> None:
    model = Model()
    model.loss(1.0)
    (program,) = model.loss.programs
    model.loss(2.0)
    assert model.loss.programs == (program,)


def test_the_last_few_instances_that_take_no_weak_reference_are_kept() -> None:
    class Short:
        __slots__ = ("w",)

        def __init__(self, w: float) -> None:
            self.w = Value(w)

        @pygradc.compile
        def f(self, x: Any) -> Value:
            return self.w * x

    each = [Short(float(i)) for i in range(20)]
    for o in each:
        o.f(1.0)
    assert len(Short.f._at) == 8
    assert each[-1].f.programs and not each[0].f.programs
    assert [o.f(2.0).data for o in each] == [2.0 * i for i in range(20)]


@pytest.mark.memory
def test_instances_leave_no_memory_behind() -> None:
    def use(times: int) -> None:
        for i in range(times):
            model = Model(float(i))
            model.loss(1.0)
            model.loss.mean(XS)

    use(20)
    gc.collect()
    tracemalloc.start()
    try:
        use(20)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        use(300)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


def test_an_instance_may_be_used_while_it_dies() -> None:
    found = []

    class Dying(Model):
        def __del__(self) -> None:
            found.append(self.loss(1.0).data)

    model: Any = Dying()
    model.loss(1.0)
    model.me = model
    died = weakref.ref(model)
    del model
    gc.collect()
    assert found == [9.0] and died() is None


def test_threads_meet_at_one_instance() -> None:
    model, found = Model(), []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for i in range(50):
            found.append(model.loss(float(i)).data == (3.0 * i) ** 2)
            found.append(Model(2.0).loss(1.0).data == 4.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 400 and all(found) and len(model.loss.programs) == 1


# ---- Custom ops ----------------------------------------------------------------------------------


class Ops:
    def __init__(self, k: float) -> None:
        self.k = k

    @pygradc.op(derivatives=lambda self, a, y: self.k)
    def scale(self, a: Any) -> Any:
        return self.k * a

    @pygradc.op(derivatives=(lambda self, a, b, y: self.k * b, lambda self, a, b, y: self.k * a))
    def product(self, a: Any, b: Any) -> Any:
        return self.k * a * b

    @pygradc.op(derivatives=lambda a, y: 2.0 * a)
    def square(self, a: Any) -> Any:
        return a * a


class OpsAbove(Ops):
    @pygradc.op(derivatives=lambda self, a, y: 2.0 * self.k)
    def scale(self, a: Any) -> Any:
        return 2.0 * self.k * a

    def below(self, a: Any) -> Value:
        return super().scale(a)


def test_an_op_in_a_class_is_a_method() -> None:
    for k in (2.0, 5.0, 2.0):
        ops = OpsAbove(k)
        for op, operands, expected, slopes in (
            (ops.scale, (3.0,), 6.0 * k, [2.0 * k]),
            (ops.below, (3.0,), 3.0 * k, [k]),
            (ops.product, (3.0, 4.0), 12.0 * k, [4.0 * k, 3.0 * k]),
            (ops.square, (3.0,), 9.0, [6.0]),
        ):
            values = [Value(x) for x in operands]
            result = op(*values)
            result.backward()
            assert (result.data, [v.grad for v in values]) == (expected, slopes)


def test_an_op_of_an_instance_is_recorded_and_copied() -> None:
    ops = Ops(3.0)
    f = pygradc.compile(lambda x: ops.product(x, x) + ops.scale(x))
    assert f.gradients(XS)[1][0].tolist() == [9.0, 15.0, 21.0]
    x = Value(2.0)
    again, leaf = copy.deepcopy((ops.scale(x), x))
    again.backward()
    assert (leaf.grad, x.grad) == (3.0, 0.0)
    assert ops.scale == ops.scale != Ops(3.0).scale and Ops.scale is Ops.scale


def test_an_op_keeps_no_instance_alive() -> None:
    ops = Ops(3.0)
    ops.scale(Value(1.0))
    died = weakref.ref(ops)
    del ops
    gc.collect()
    assert died() is None


# ---- State that a method replaces ----------------------------------------------------------------


class Recurrent:
    def __init__(self) -> None:
        self.h, self.w, self.decay = Value(0.25, label="h"), Value(0.5), Value(1.0)
        self.table = {"w": Value(2.0)}
        self.queue = [Value(1.0), Value(2.0)]

    def step(self, x: Any) -> Any:
        self.h = self.h * self.w + x
        return self.h

    def decays(self, x: Any) -> Any:
        self.decay = self.decay * self.w
        return self.decay * x

    def updates(self, x: Any) -> Any:
        w = self.table["w"]
        self.table["w"] = w - 0.5
        return w * x

    def takes(self, x: Any) -> Any:
        return self.queue.pop() * x

    def keeps(self, x: Any) -> Any:
        self.last = self.h * x
        return self.last + self.w

    def lends(self, x: Any) -> Any:
        self.h, kept = Value(7.0), self.h
        result = kept * x
        self.h = kept
        return result


@pytest.mark.parametrize("name", ["step", "decays", "updates", "takes"])
@pytest.mark.parametrize("was_used", [False, True])
def test_a_method_that_replaces_what_it_reads_is_refused(name: str, was_used: bool) -> None:
    """In plain Python each call goes on from the last one."""
    plain = Recurrent()
    assert getattr(plain, name)(1.0).data != getattr(plain, name)(1.0).data
    recurrent = Recurrent()
    if was_used:
        outside = recurrent.w * 2.0 + 1.0
        assert outside.data == 2.0
    compiled = pygradc.compile(getattr(recurrent, name))
    with pytest.raises(
        pygradc.TraceError, match=f"{name} replaces a Value that it reads"
    ) as caught:
        compiled(1.0)
    assert f"{__file__}:" in str(caught.value)


@pytest.mark.parametrize("name", ["keeps", "lends"])
def test_a_method_may_keep_what_it_made(name: str) -> None:
    recurrent, plain = Recurrent(), Recurrent()
    compiled = pygradc.compile(getattr(recurrent, name))
    for x in (1.0, 2.0):
        assert compiled(x).data == getattr(plain, name)(x).data


def test_what_only_other_nodes_have_is_no_state() -> None:
    y = Value(2.0) * Value(3.0)
    f = pygradc.compile(lambda x: y._children[0] * x)
    assert [f(1.0).data, f(2.0).data] == [2.0, 4.0]
