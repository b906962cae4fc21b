"""Does a recording say that random numbers were drawn in it, once, and in which line?"""

from __future__ import annotations

import functools
import inspect
import itertools
import random
import subprocess
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable
from random import gauss
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.random import standard_normal

import pygradc
from pygradc import RecordingWarning, Value, compile, nn

SCALE = Value(2.0)
GENERATOR = np.random.default_rng(1)
STATE = np.random.RandomState(2)
OWN = random.Random(3)
DRAWN = random.random()


def told(call: Callable[[], Any]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [one for one in caught if issubclass(one.category, RecordingWarning)]


# ---- functions that draw; the line is the one that says so ---------------------------------------


def from_the_module(x: Value) -> Any:
    return x * random.random()  # here


def by_its_own_name(x: Value) -> Any:
    return x + gauss(0.0, 1.0)  # here


def of_numpy(x: Value) -> Any:
    return x * SCALE * np.random.rand()  # here


def normal_of_numpy(x: Value) -> Any:
    return x * standard_normal()  # here


def an_array_of_numpy(x: Value) -> Any:
    noise = np.random.normal(size=(3, 2))  # here
    return x * noise[0, 0]


def exactly_one_refill(x: Value) -> Any:
    return x * np.random.random(312)[0]  # here


def imported_inside(x: Value) -> Any:
    import random as r

    return x if r.choice([True, False]) else x * 2.0  # here


def imported_from_inside(x: Value) -> Any:
    from numpy.random import uniform

    return x * uniform()  # here


def in_a_comprehension(x: Value) -> Any:
    return sum(
        x * w
        for w in [
            random.uniform(0.0, 1.0)  # here
            for _ in range(3)
        ]
    )


def noise(x: Value) -> Any:
    return x * np.random.binomial(1, 0.5)  # here, of those that call it


def in_a_helper(x: Value) -> Any:
    y = x + 1.0
    return noise(y)


def in_a_helpers_helper(x: Value) -> Any:
    return in_a_helper(x) * 2.0


def in_a_compiled_helper(x: Value) -> Any:
    return COMPILED(x)


COMPILED = compile(noise)


def a_layer_made_inside(x: Value) -> Any:
    return nn.MLP(1, [2, 1])([x])  # here


def a_neuron_made_inside(x: Value) -> Any:
    neuron = nn.Neuron(1)  # here
    return neuron([x])


def a_generator(x: Value) -> Any:
    return x * GENERATOR.normal()  # here


def an_old_generator(x: Value) -> Any:
    return x * STATE.rand()  # here


def a_generator_of_python(x: Value) -> Any:
    return x * OWN.random()  # here


def shuffled(x: Value) -> Any:
    order = [x, x * 2.0, x * 3.0]
    random.shuffle(order)  # here
    return order[0]


def passed_on(x: Value) -> Any:
    numbers = iter(random.random, 2.0)  # here
    return x * next(numbers)


def by_default(x: Value, draw: Callable[[], float] = random.random) -> Any:
    return x * draw()


class Dropout:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, x: Value) -> Any:
        return x * (self.rng.random() < 0.5)  # here


class Model:
    def __init__(self) -> None:
        self.w = Value(0.5)
        self.layers = [Dropout(), Dropout()]

    def __call__(self, x: Value) -> Any:
        for layer in self.layers:
            x = layer(x * self.w)
        return x

    @compile
    def loss(self, x: Value) -> Any:
        return self(x) ** 2


MODEL = Model()


def in_a_model(x: Value) -> Any:
    return MODEL(x)


class Slotted:
    __slots__ = ("__rng", "unset")

    def __init__(self) -> None:
        self.__rng = np.random.default_rng(0)

    def __call__(self, x: Value) -> Any:
        return x * self.__rng.random()


class Named:
    __slots__ = ("rng",)

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)


class Below(Named):
    __slots__ = ("w",)


class OfTheClass:
    rng = random.Random(1)
    draw = staticmethod(rng.random)

    @property
    def noise(self) -> float:
        return self.rng.gauss(0.0, 1.0)


class Drawing(list):  # type: ignore[type-arg]
    def __init__(self) -> None:
        self.rng = random.Random(9)

    @functools.cached_property
    def noise(self) -> float:
        return self.rng.random() + OWN.random()


class ByAProperty:
    @property
    def noise(self) -> float:
        return OWN.random()  # here


SLOTTED, NAMED, BELOW, OF_THE_CLASS, BY_A_PROPERTY = (
    Slotted(),
    Named(),
    Below(),
    OfTheClass(),
    ByAProperty(),
)
BITS = np.random.PCG64(5)
NORMAL, OWN_RANDOM = GENERATOR.normal, OWN.random
NORMALS, SHUFFLED = iter(GENERATOR.normal, None), map(OWN.gauss, [0.0] * 99, [1.0] * 99)
STREAM = (OWN.random() for _ in range(99))
STREAM_OF_ITS_OWN = (lambda rng: (rng.random() for _ in range(99)))(random.Random(4))
SPACE = SimpleNamespace(rng=np.random.default_rng(6))
LIST = Drawing()
QUEUE = deque([random.Random(7)])
SET = frozenset([random.Random(8)])
LAYERS = nn.MLP(1, [1, 1])
LAYERS.layers.append(Dropout())  # type: ignore[arg-type]


def of_a_slot(x: Value) -> Any:
    return x * NAMED.rng.random()  # here


def of_a_slot_of_the_class_above(x: Value) -> Any:
    return x * BELOW.rng.normal()  # here


def of_a_class_attribute(x: Value) -> Any:
    return x * OF_THE_CLASS.rng.random()  # here


def of_a_static_method(x: Value) -> Any:
    return x * OF_THE_CLASS.draw()  # here


def of_a_property(x: Value) -> Any:
    return x * BY_A_PROPERTY.noise


def of_a_bit_generator(x: Value) -> Any:
    return x * float(BITS.random_raw() % 7)  # here


def of_a_namespace(x: Value) -> Any:
    return x * SPACE.rng.random()  # here


def of_a_bound_method(x: Value) -> Any:
    return x * NORMAL()  # here


def of_a_bound_builtin(x: Value) -> Any:
    return x * OWN_RANDOM()  # here


DRAWING: dict[Callable[..., Any], Any] = {
    from_the_module: from_the_module,
    by_its_own_name: by_its_own_name,
    of_numpy: of_numpy,
    normal_of_numpy: normal_of_numpy,
    an_array_of_numpy: an_array_of_numpy,
    exactly_one_refill: exactly_one_refill,
    imported_inside: imported_inside,
    imported_from_inside: imported_from_inside,
    in_a_comprehension: in_a_comprehension,
    in_a_helper: noise,
    in_a_helpers_helper: noise,
    in_a_compiled_helper: noise,
    a_layer_made_inside: a_layer_made_inside,
    a_neuron_made_inside: a_neuron_made_inside,
    a_generator: a_generator,
    an_old_generator: an_old_generator,
    a_generator_of_python: a_generator_of_python,
    shuffled: shuffled,
    passed_on: passed_on,
    in_a_model: Dropout.__call__,
    of_a_slot: of_a_slot,
    of_a_slot_of_the_class_above: of_a_slot_of_the_class_above,
    of_a_class_attribute: of_a_class_attribute,
    of_a_static_method: of_a_static_method,
    of_a_property: ByAProperty.noise.fget,  # type: ignore[attr-defined]
    of_a_bit_generator: of_a_bit_generator,
    of_a_namespace: of_a_namespace,
    of_a_bound_method: of_a_bound_method,
    of_a_bound_builtin: of_a_bound_builtin,
}


def place(function: Any) -> int:
    lines, first = inspect.getsourcelines(function)
    (offset,) = (i for i, line in enumerate(lines) if "# here" in line)
    return first + offset


@pytest.mark.parametrize("function", DRAWING, ids=lambda f: f.__name__)
def test_the_warning_names_the_line_and_what_to_do(function: Callable[..., Any]) -> None:
    f = compile(copy_of(function))
    (warning,) = told(lambda: f(1.0))
    line = place(DRAWING[function])
    assert (warning.filename, warning.lineno) == (__file__, line)
    text = str(warning.message)
    assert text.startswith(f"{__file__}:{line}: {function.__name__} draws random numbers")
    assert "pass them as an argument" in text


def copy_of(function: Any) -> Any:
    """Another function of the same code, that nothing has been told of yet."""
    again = type(function)(
        function.__code__, globals(), function.__name__, function.__defaults__, function.__closure__
    )
    again.__qualname__, again.__kwdefaults__ = function.__qualname__, function.__kwdefaults__
    return again


def test_it_is_said_once_for_a_function() -> None:
    f = compile(copy_of(from_the_module))
    assert len(told(lambda: (f(1.0), f(2.0), f([1.0][0])))) == 1
    assert told(lambda: f(np.ones(3))) == [] and len(f.programs) == 2
    assert told(lambda: compile(f.__wrapped__)(1.0)) == []


def test_it_is_said_once_for_a_method_of_many_objects() -> None:
    models = [Model(), Model()]
    assert len(told(lambda: [model.loss(1.0) for model in models])) == 1


def test_a_second_structure_can_be_the_first_to_draw() -> None:
    def function(x: Value, training: bool = False) -> Any:
        return x * random.random() if training else x

    f = compile(function)
    assert told(lambda: f(1.0)) == []
    assert len(told(lambda: f(1.0, training=True))) == 1


def test_without_a_line_the_functions_own_is_named() -> None:
    (warning,) = told(lambda: compile(copy_of(by_default))(1.0))
    assert warning.lineno == by_default.__code__.co_firstlineno
    names: dict[str, Any] = {"random": random}
    exec("def function(x):\n    return x * random.random()", names)
    (warning,) = told(lambda: compile(names["function"])(1.0))
    assert "function draws random numbers" in str(warning.message)


def test_callable_objects_and_partials() -> None:
    (warning,) = told(lambda: compile(Dropout())(1.0))
    assert warning.lineno == place(Dropout.__call__)
    partial = functools.partial(lambda rng, x: x * rng.random(), random.Random(1))
    assert len(told(lambda: compile(partial)(1.0))) == 1
    assert len(told(lambda: compile(Model().loss.__wrapped__)(1.0))) == 0  # told before


HELD: dict[str, Callable[[Value], Any]] = {
    "a private slot": lambda x: SLOTTED(x),
    "a property of the class's": lambda x: x * OF_THE_CLASS.noise,
    "calls of a bound method": lambda x: x * next(NORMALS),
    "calls of a bound method, by its own": lambda x, again=NORMALS.__next__: x * again(),  # type: ignore[misc]
    "a map": lambda x: x * next(SHUFFLED),
    "a generator expression": lambda x: x * next(STREAM),
    "a generator expression with a generator": lambda x: x * next(STREAM_OF_ITS_OWN),
    "a generator of bits' own": lambda x: x * np.random.Generator(BITS).normal(),
    "a deque": lambda x: x * QUEUE[0].random(),
    "a set": lambda x: x * sum(rng.random() for rng in SET),
    "a list of the user's": lambda x: x * LIST.rng.random(),
    "a property that is kept": lambda x: x * Drawing().noise,
    "a layer among the library's": lambda x: LAYERS.layers[-1](x),
}


@pytest.mark.parametrize("name", HELD)
def test_generators_that_something_holds(name: str) -> None:
    assert len(told(lambda: compile(HELD[name])(1.0))) == 1


def by_keyword(x: Value, rng: Any = None) -> Any:
    return x * rng.normal()  # here


def by_keyword_only(x: Value, *, rng: Any) -> Any:
    return x * rng.random_raw()  # here


def of_an_argument(x: Value, model: Any) -> Any:
    return x * model.rng.random()  # here


def handed_on(x: Value, rng: Any) -> Any:
    return by_keyword(x + 1.0, rng=rng)


def of_any_name(x: Value, **settings: Any) -> Any:
    return x * settings["rng"].normal()


STATIC: dict[Callable[..., Any], tuple[dict[str, Any], Any]] = {
    by_keyword: ({"rng": np.random.default_rng(1)}, by_keyword),
    by_keyword_only: ({"rng": np.random.PCG64(1)}, by_keyword_only),
    of_an_argument: ({"model": NAMED}, of_an_argument),
    handed_on: ({"rng": np.random.RandomState(1)}, by_keyword),
}


@pytest.mark.parametrize("function", STATIC, ids=lambda f: f.__name__)
def test_generators_that_are_keyword_arguments(function: Callable[..., Any]) -> None:
    static, drawing = STATIC[function]
    f = compile(copy_of(function))
    (warning,) = told(lambda: f(1.0, **static))
    assert warning.lineno == place(drawing)
    assert told(lambda: f.sum(np.ones(3), **static)) == []


def test_a_keyword_argument_without_a_name() -> None:
    (warning,) = told(lambda: compile(of_any_name)(1.0, rng=np.random.default_rng(1)))
    assert warning.lineno == of_any_name.__code__.co_firstlineno


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: Value) -> Any:
        return x * random.random()  # here


def test_an_object_that_cant_be_hashed() -> None:
    (warning,) = told(lambda: compile(Unhashable())(1.0))
    assert warning.lineno == place(Unhashable.__call__)


NOTHING_DRAWN: dict[str, Callable[[Value], Any]] = {
    "no generator": lambda x: x * SCALE,
    "a generator that isn't asked": lambda x: x * (GENERATOR is not None),
    "a model": lambda x: MODEL.w * x,
    "generators that something holds": lambda x: (
        x
        * (len([SLOTTED, NAMED, BELOW, OF_THE_CLASS, NORMALS, SHUFFLED, STREAM, SPACE, QUEUE, SET]))
    ),
    "random numbers drawn before": lambda x, noise=DRAWN: x * noise,  # type: ignore[misc]
}


@pytest.mark.parametrize("name", NOTHING_DRAWN)
def test_nothing_is_said_where_nothing_is_drawn(name: str) -> None:
    assert told(lambda: compile(NOTHING_DRAWN[name])(1.0)) == []


def test_replays_and_eager_calls_are_no_recordings() -> None:
    f = compile(lambda x: x * SCALE)
    f(1.0)
    assert told(lambda: (f(random.random()), from_the_module(Value(1.0)), np.random.rand())) == []


def test_passing_the_numbers_is_the_remedy() -> None:
    f = compile(lambda x, mask: x * mask)
    X = np.ones(1000)
    assert told(lambda: f.map(X, np.random.default_rng(0).integers(0, 2, 1000))) == []
    assert f.map(X, np.random.default_rng(0).integers(0, 2, 1000)).mean() == pytest.approx(0.5, 0.2)


def test_the_users_random_numbers_are_the_same_as_without() -> None:
    """To look at a generator draws nothing from it."""

    def drawn(record: bool) -> list[Any]:
        random.seed(1)
        np.random.seed(1)
        if record:
            compile(lambda x: x * SCALE)(1.0)
            compile(lambda x: x * np.random.normal.__name__.__len__())(1.0)
        return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()]

    assert drawn(True) == drawn(False)


def test_as_an_error_it_leaves_nothing_recorded() -> None:
    f = compile(copy_of(from_the_module))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RecordingWarning):
            f(1.0)
    assert f.programs == ()
    assert f(1.0).data < 1.0


def test_what_the_function_raises_is_all_that_is_said() -> None:
    def function(x: Value) -> Any:
        return x / (random.random() * 0)

    def call() -> None:
        with pytest.raises(ZeroDivisionError):
            compile(function)(1.0)

    assert told(call) == []


@pytest.mark.skipif(not hasattr(np.random, "set_bit_generator"), reason="numpy before 1.24")
def test_another_global_generator_of_numpy() -> None:
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        assert len(told(lambda: compile(copy_of(of_numpy))(1.0))) == 1
        assert told(lambda: compile(lambda x: x * SCALE)(1.0)) == []
    finally:
        np.random.set_bit_generator(before)


def in_new_process(*lines: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stderr


def test_a_new_process_says_it_too() -> None:
    said = in_new_process(
        "import random, pygradc",
        "f = pygradc.compile(lambda x: x * random.random())",
        "f(1.0); f(2.0)",
    )
    assert said.count("RecordingWarning") == 1, said
    assert pygradc.RecordingWarning.__mro__[1] is UserWarning


@pytest.mark.parametrize(
    ("call", "times"),
    [("np.random.rand()", 1), ("np.random.randint(9)", 1), ("len(dir(np.random))", 0)],
)
def test_numpys_module_that_the_function_is_the_first_to_use(call: str, times: int) -> None:
    said = in_new_process(
        "import numpy as np, pygradc",
        f"f = pygradc.compile(lambda x: x * ({call}))",
        "f(1.0); f(2.0)",
    )
    assert said.count("RecordingWarning") == times, said


def test_what_another_thread_draws_is_not_said_of_the_function() -> None:
    begun, ended = threading.Event(), threading.Event()

    def draw() -> None:
        begun.wait(60.0)
        random.random()
        ended.set()

    def function(x: Value) -> Any:
        begun.set()
        ended.wait(60.0)
        keep.wait(0.0)
        return x * SCALE

    keep = threading.Event()
    threads = [threading.Thread(target=draw), threading.Thread(target=keep.wait, args=(60.0,))]
    for thread in threads:
        thread.start()
    (warning,) = told(lambda: compile(function)(1.0))
    keep.set()
    for thread in threads:
        thread.join()
    assert "while it is recorded, or another thread did so meanwhile: " in str(warning.message)


def test_objects_that_other_threads_change_meanwhile() -> None:
    held, done = SimpleNamespace(), threading.Event()
    table: dict[str, object] = {}

    class Kept:
        pass

    kept = Kept()

    def change() -> None:
        for i in itertools.cycle(range(50)):
            for names in (vars(held), table, vars(kept)):
                names.pop(f"name{i}", None) or names.update({f"name{i}": object()})
            if done.is_set():
                return

    def function(x: Value) -> Any:
        return x * SCALE if (held, table, kept) else x

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert compile(function)(1.0).data == 2.0
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)
