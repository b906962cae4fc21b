"""What may a compiled function be called with, and what does it say of the rest?

Keys: arguments that are equal and not the same get programs of their own. Rows: which arguments are
rows, which are columns, which are the same for all rows, and that without arrays there is one row.
Refusals: each says what came, what was expected, and what to write.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import pickle
import re
import subprocess
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import pygradc
from pygradc import Value, nn, optim

pandas = pytest.importorskip("pandas")

XS = np.array([1.0, 2.0, 3.0])


# ---- Keys ----------------------------------------------------------------------------------------


class Kind(str, enum.Enum):
    R = "r"


class Level(enum.IntEnum):
    ONE = 1


class Half(float):
    pass


class Whole(int):
    pass


class Text(str):
    pass


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass(frozen=True)
class Config:
    lr: Any


class ById:
    """Has neither equality nor a hash of its own."""


UTC = datetime.timezone.utc
LATER = datetime.timezone(datetime.timedelta(hours=1))
QUIET = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]

# Each differs from all others in type or bits; most are equal to another one.
DIFFERENT: list[Any] = [
    *(1, True, 1.0, Whole(1), Half(1.0), Level.ONE, complex(1), fractions.Fraction(1)),
    *(np.float32(1), np.float64(1), np.int64(1), np.int8(1), np.bool_(True), np.longdouble(1)),
    *(0.0, -0.0, np.float32(0.0), np.float32(-0.0), np.float64(-0.0), Half(-0.0), Half(0.0)),
    *(complex(0.0, 0.0), complex(0.0, -0.0), complex(-0.0, 0.0)),
    *(float("nan"), -float("nan"), float(QUIET), Half("nan"), np.float32("nan")),
    *(decimal.Decimal(1), decimal.Decimal("1.0"), decimal.Decimal("-0"), decimal.Decimal("NaN")),
    *("r", Kind.R, Text("r"), b"r", np.str_("r"), "", None),
    *((), (1, 2), (True, 2), (1.0, 2), Pair(1, 2), Pair(True, 2), ((0.0,),), ((-0.0,),)),
    *(frozenset({1}), frozenset({True}), frozenset({1.0}), frozenset({(1,)}), frozenset({(True,)})),
    *(Config(0.0), Config(-0.0), Config(0), Config(False), Config((1,)), Config((True,))),
    *(range(0), range(1, 1), range(0, 3, 2), range(0, 4, 2)),
    *(np.datetime64("2020"), np.datetime64("2020-01-01"), np.dtype("f4"), np.float32, int),
    datetime.datetime(2020, 1, 1, tzinfo=UTC),
    datetime.datetime(2020, 1, 1, 1, tzinfo=LATER),
    *(ById(), ById(), len, Value(1.0), Value(1.0)),
]


def test_static_arguments_are_told_apart_by_type_and_bits() -> None:
    f = pygradc.compile(lambda x, k=None: x * 2.0, max_programs=1000)
    for value in DIFFERENT:
        f(1.0, k=value)
    assert len(f.programs) == len(DIFFERENT)
    for value in DIFFERENT:
        f(1.0, k=value)
        if type(value) not in (ById, Value):
            f(1.0, k=pickle.loads(pickle.dumps(value)))
    assert len(f.programs) == len(DIFFERENT)


def test_each_value_gets_its_own_answer() -> None:
    f = pygradc.compile(
        lambda x, k: x * (1.0 if type(k) is float else 2.0) * np.copysign(1.0, k), max_programs=99
    )
    for k in (0.0, np.float32(-0.0), -0.0, np.float32(0.0), Half(-0.0), 1, True) * 2:
        expected = (1.0 if type(k) is float else 2.0) * np.copysign(1.0, k)
        assert f(1.0, k=k).data == expected


def test_strings_by_position_are_told_apart() -> None:
    f = pygradc.compile(lambda x, m: x * (2.0 if type(m) is str else 3.0))
    for _ in range(2):
        assert [f(1.0, m).data for m in ("r", Kind.R, np.str_("r"), "r")] == [2.0, 3.0, 3.0, 2.0]
        assert f.map(XS, Kind.R).tolist() == [3.0, 6.0, 9.0]
        assert f.map(XS, "r").tolist() == [2.0, 4.0, 6.0]
    assert len(f.programs) == 3


def test_the_keys_of_dicts_are_told_apart() -> None:
    keys: list[Any] = [1, True, 1.0, "r", Kind.R, 0.0, -0.0, (1,), (True,)]

    def named(row: dict[Any, Any]) -> Value:
        ((key, x),) = row.items()
        return x * float(keys.index(key) if type(key) is int else len(repr(key)))

    f = pygradc.compile(named)
    for key in keys * 2:
        assert f({key: 2.0}).data == named({key: Value(2.0)}).data, key
        assert f.map({key: XS}).tolist() == [named({key: Value(x)}).data for x in XS], key
    assert len(f.programs) == len(keys)


def test_tuples_are_no_namedtuples() -> None:
    f = pygradc.compile(lambda p: p[0] * (2.0 if type(p) is tuple else p.b))
    assert (f((3.0, 5.0)).data, f(Pair(3.0, 5.0)).data, f((3.0, 5.0)).data) == (6.0, 15.0, 6.0)


def test_what_equals_nothing_is_refused_by_name() -> None:
    f = pygradc.compile(lambda x, k=None: x)
    for k in ([1.0], {}, (1, [2.0]), np.ones(2)):
        with pytest.raises(
            TypeError, match=r"k= is not: unhashable.*Pass numbers and arrays by position"
        ):
            f(1.0, k=k)


def test_a_program_of_an_enum_is_pickled_and_not_saved(tmp_path: Path) -> None:
    f = pygradc.compile(lambda d, m: d[Kind.R] * (2.0 if m is Kind.R else 3.0))
    f.map({Kind.R: XS}, Kind.R)
    (program,) = f.programs
    for again in (pickle.loads(pickle.dumps(program)), copy.deepcopy(program)):
        assert again.map({Kind.R: XS}, Kind.R).tolist() == [2.0, 4.0, 6.0]
        with pytest.raises(ValueError, match="recorded for"):
            again.map({"r": XS}, Kind.R)
    with pytest.raises(ValueError, match="can't be saved"):
        program.save(tmp_path / "program")
    with ProcessPoolExecutor(1) as pool:
        assert f.map({Kind.R: XS}, Kind.R, executor=pool).tolist() == [2.0, 4.0, 6.0]


# ---- One row -------------------------------------------------------------------------------------


def rosenbrock() -> tuple[Any, Value, Value]:
    x, y = Value(-1.0), Value(1.0)
    return pygradc.compile(lambda: (1 - x) ** 2 + 100 * (y - x * x) ** 2), x, y


def hessian(x: float, y: float) -> list[list[float]]:
    return [[2 - 400 * (y - 3 * x * x), -400 * x], [-400 * x, 200.0]]


@pytest.mark.parametrize("of", ["function", "program", "loaded", "static"])
def test_without_arrays_there_is_one_row(of: str, tmp_path: Path) -> None:
    f, x, y = rosenbrock()
    rows: tuple[Any, ...] = ()
    if of == "static":
        rows = ("x", None, True)
        f = pygradc.compile(lambda *_: (1 - x) ** 2 + 100 * (y - x * x) ** 2)
    if of in ("program", "loaded"):
        f.map()
        f = f.programs[0]
    if of == "loaded":
        f.save(tmp_path / "program")
        f = pygradc.load(tmp_path / "program")
        x, y = f.parameters()
    x.data, y.data = -0.5, 0.75
    expected = 1.5**2 + 100 * 0.5**2
    for value in (f(*rows), f.sum(*rows), f.mean(*rows), f.sum(*rows)):
        x.grad = y.grad = 0.0
        value.backward()
        assert value.data == expected and (x.grad, y.grad) == (-3.0 + 100.0, 100.0)
    assert f.map(*rows).tolist() == [expected]
    assert f.gradients(*rows)[0].tolist() == [expected]
    outputs, tangents = f.jvp([1.0, 0.0], *rows)
    assert outputs.tolist() == [expected] and tangents.tolist() == [97.0]
    for v in ([1.0, 0.0], [0.0, 1.0]):
        by_hand = np.array(hessian(-0.5, 0.75)) @ v
        assert f.hvp(v, *rows) == pytest.approx(by_hand)
        assert f.hvp(v, *rows, mean=True) == pytest.approx(by_hand)
    with ThreadPoolExecutor(2) as threads:
        assert f.map(*rows, executor=threads).tolist() == [expected]
        assert f.sum(*rows, executor=threads).data == expected


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_fit_minimises_what_has_no_arrays(mode: str) -> None:
    _, x, y = rosenbrock()
    f = pygradc.compile(lambda: (1 - x) ** 2 + 100 * (y - x * x) ** 2, math=mode)
    losses = pygradc.fit(f, optim.Adam([x, y], 0.05), epochs=3000)
    assert len(losses) == 3000 and losses[0] == 4.0
    assert (x.data, y.data) == pytest.approx((1.0, 1.0), abs=0.02)


def test_fit_with_static_arguments_only() -> None:
    w = Value(5.0)
    f = pygradc.compile(lambda kind, *, to=0.0: (w - to) ** 2 if kind == "square" else w)
    pygradc.fit(f, "square", optim.SGD([w], 0.1), epochs=100, to=2.0)
    assert w.data == pytest.approx(2.0)


def test_c_without_arrays(tmp_path: Path) -> None:
    f, x, y = rosenbrock()
    f.sum()
    source = tmp_path / "program.c"
    source.write_text(
        f.programs[0].to_c("f")
        + "#include <stdio.h>\nint main(void) { double p[] = {-0.5, 0.75}, y[1];"
        ' f_value(NULL, p, y); printf("%.17g", y[0]); return 0; }\n'
    )
    subprocess.run(["cc", source, "-lm", "-o", tmp_path / "program"], check=True)
    found = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True)
    x.data, y.data = -0.5, 0.75
    assert float(found.stdout) == f().data == 27.25


def test_a_function_that_wants_arrays_says_so() -> None:
    f = pygradc.compile(lambda x, y: x * y)
    for method in (f.map, f.sum, f.mean, f.gradients):
        with pytest.raises(ValueError, match=r"at least one array.* takes \(x, y\)"):
            method()
        with pytest.raises(ValueError, match="call the function itself"):
            method(1.0, 2.0)
    with pytest.raises(TypeError, match="missing 2 required positional arguments"):
        f()


# ---- Rows and columns ----------------------------------------------------------------------------


@pytest.mark.parametrize("static", ["a", None, True, b"a", np.str_("a"), Kind.R, np.array("a")])
def test_static_arguments_are_the_same_for_all_rows(static: Any) -> None:
    w = Value(2.0)
    seen = []

    def function(x: Any, kind: Any) -> Value:
        seen.append(kind)
        return w * x

    f = pygradc.compile(function)
    f(1.0, static)
    assert f.map(XS, static).tolist() == [2.0, 4.0, 6.0]
    assert f.map({"x": XS}["x"], static).tolist() == [2.0, 4.0, 6.0]
    assert f.sum(XS, static).data == 12.0 and f.mean(XS, static).data == 4.0
    gradients = f.gradients(XS, static)[1]
    assert gradients[0].tolist() == [2.0] * 3 and gradients[1].shape == (3, 0)
    assert f.jvp([1.0], XS, static)[1].tolist() == XS.tolist()
    assert f.hvp([1.0], XS, static).tolist() == [0.0]
    pygradc.fit(f, XS, static, optim.SGD([w], 0.1))
    assert len(f.programs) == 1 and len(seen) == 1
    assert type(seen[0]) is (str if isinstance(static, np.ndarray) else type(static))


def test_static_arguments_within_dicts() -> None:
    f = pygradc.compile(lambda d: d["x"] * (2.0 if d["kind"] == "a" else 3.0))
    assert f.map({"x": XS, "kind": "a"}).tolist() == [2.0, 4.0, 6.0]
    assert f.map({"x": XS, "kind": None}).tolist() == [3.0, 6.0, 9.0]


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_or_tuple_of_arrays_is_rows(kind: Any) -> None:
    f = pygradc.compile(lambda row: row[0] * 10.0 + row[1])
    rows = kind([np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([5.0, 6.0])])
    assert f.map(rows).tolist() == [12.0, 34.0, 56.0]


def test_a_dict_or_namedtuple_of_arrays_is_columns() -> None:
    by_name = pygradc.compile(lambda row: row["a"] * 10.0 + row["b"])
    assert by_name.map({"a": XS, "b": 2 * XS}).tolist() == [12.0, 24.0, 36.0]
    assert by_name({"a": 1.0, "b": 2.0}).data == 12.0
    w = Value(10.0)
    by_field = pygradc.compile(lambda row, c: row.a * w + row.b * c[0])
    c = np.ones((3, 1))
    assert by_field.map(Pair(XS, 2 * XS), c).tolist() == [12.0, 24.0, 36.0]
    assert by_field.map(Pair(XS, 5.0), c).tolist() == [15.0, 25.0, 35.0]
    assert by_field(Pair(1.0, 2.0), [1.0]).data == 12.0
    by_field.mean(Pair(XS, XS), c).backward()
    assert w.grad == 2.0
    with pytest.raises(ValueError, match=r"argument 0\['b'\] has 2 rows"):
        by_field.map(Pair(XS, np.ones(2)), c)


def test_objects_that_are_numbers_are_converted() -> None:
    f = pygradc.compile(lambda x: x * 2.0)
    mixed = [1, 2.0, np.float32(3), True, fractions.Fraction(1, 2), Level.ONE, np.int8(4)]
    expected = [2.0, 4.0, 6.0, 2.0, 1.0, 2.0, 8.0]
    assert f.map(np.array(mixed, dtype=object)).tolist() == expected
    assert f.map(pandas.Series(mixed, dtype=object)).tolist() == expected
    g = pygradc.compile(lambda row: row[0] + row[1])
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [True, False]})
    assert g.map(frame).tolist() == [2.0, 2.0]
    assert f.map(pandas.Series([3, 4], dtype="category")).tolist() == [6.0, 8.0]
    assert f.map(np.array([Level.ONE, Level.ONE])).tolist() == [2.0, 2.0] and f(Level.ONE).data == 2


# ---- Refusals ------------------------------------------------------------------------------------

FRAME = pandas.DataFrame({"size": [1.0, 2.0], "town": ["Bern", "Basel"]})


def numbers() -> Iterator[float]:
    yield 1.0


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a text column": (
        lambda: FRAME,
        r"'Bern' \(row 0 of column 'town', whose dtype is (object|str).*float",
    ),
    "a text series": (lambda: FRAME["town"], r"'Bern' \(row 0, dtype (object|str)"),
    "a category": (lambda: FRAME["town"].astype("category"), r"'Bern' \(row 0, dtype category\)"),
    "None": (lambda: np.array([1.0, None]), r"None \(row 1, dtype object\)"),
    "deep": (
        lambda: np.array([[1.0, 2.0], [3.0, "x"]], dtype=object),
        r"'x' \(row 1, 1, dtype object\)",
    ),
    "Decimal": (
        lambda: [decimal.Decimal("1.5")],
        r"Decimal\('1.5'\) \(row 0, .*: convert it with float",
    ),
    "complex": (lambda: [1j], "real numbers, got an array of complex128, such as 1j"),
    "complexes": (lambda: np.array([1.0, 1j], dtype=object), r"1j \(row 1"),
    "strings": (lambda: ["1.5", "2"], "real numbers, got an array of <U3, such as '1.5'"),
    "a string among numbers": (lambda: [[1.0, 2.0], [3.0, "x"]], "an array of <U32, such as 'x'"),
    "dates": (lambda: np.array(["2020"], "M8[D]"), "real numbers, got an array of datetime64"),
    "generator": (
        lambda: numbers(),
        r"a generator, which is not an array: convert it with list\(...\)",
    ),
    "map": (
        lambda: map(float, [1.0]),
        r"a map, which is not an array: convert it with list\(...\)",
    ),
    "set": (lambda: {1.0}, r"a set, which is not an array: convert it with list\(...\)"),
    "a model": (
        lambda: nn.MLP(1, [1]),
        "of type MLP; pass a non-number that is the same .* by keyword",
    ),
    "Values": (lambda: [Value(1.0)], "pass Values one row at a time"),
    "ragged": (lambda: [[1.0], [1.0, 2.0]], "as separate arguments, or as a dict"),
    "fields": (lambda: np.ones(2, dtype=[("a", float)]), r"real numbers, got an array of \[\('a'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_array_of_numbers_is_named(what: str) -> None:
    odd, message = REFUSED[what]
    f = pygradc.compile(lambda x: x * 2.0)
    with pytest.raises((TypeError, ValueError), match=f"^argument 0: .*{message}"):
        f.map(odd())
    with pytest.raises((TypeError, ValueError), match=rf"^argument 1\['a'\]: .*{message}"):
        f.map(XS, {"a": odd()})


ONE_ROW: dict[str, tuple[Any, str]] = {
    "Decimal": (decimal.Decimal("1.5"), r"got Decimal\('1.5'\): convert it with float\(...\)"),
    "series": (FRAME["town"], "or Values in the array, got 'Bern'"),
    "dates": (np.array(["2020"], "M8[ns]"), r"got an array of datetime64\[ns\]"),
    "generator": (numbers(), r"convert it with list\(...\)"),
    "complex": (1j, "got 1j"),
    "a model": (nn.MLP(1, [1]), "pass a non-number by keyword"),
}


@pytest.mark.parametrize("what", ONE_ROW)
def test_what_is_no_number_is_named(what: str) -> None:
    odd, message = ONE_ROW[what]
    f = pygradc.compile(lambda x: x * 2.0)
    with pytest.raises(TypeError, match="(?s)^argument: expected numbers.*" + message):
        f(odd)


def test_whole_arrays_go_to_mean_and_map() -> None:
    model = nn.MLP(2, [3, 1])

    @pygradc.compile
    def loss(x: Any, y: Any) -> Value:
        return (model(x) - y) ** 2

    rows, targets = np.ones((5, 2)), np.ones(5)
    with pytest.raises((TypeError, ValueError)) as caught:
        loss(rows, targets)
    for part in ("loss was called with arrays of shape (5, 2), (5,)", "one row", "loss.mean(...)"):
        assert part in str(caught.value)
    assert loss.mean(rows, targets).data > 0.0
    assert pygradc.compile(model).map(rows).tolist() == [model([1.0, 1.0]).data] * 5


def test_what_works_on_whole_arrays_as_numpy_does_still_does() -> None:
    w = Value(2.0)
    f = pygradc.compile(lambda x, y: (w * x - y) ** 2)
    assert [v.data for v in f(XS, XS)] == [1.0, 4.0, 9.0]


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        (
            3,
            r"executor=3 has no submit\(\): expected an object with one, such as .*ThreadPool",
        ),
        (0, r"executor=0 has no submit\(\)"),
        ("threads", r"executor='threads' has no submit"),
        (ThreadPoolExecutor, r"ThreadPoolExecutor is a class: write ThreadPoolExecutor\(\)"),
    ],
)
def test_what_is_no_executor_is_named(executor: Any, message: str) -> None:
    f = pygradc.compile(lambda x: x * 2.0)
    f.map(XS)
    for each in (f, f.programs[0]):
        for method in (each.map, each.sum, each.mean, each.gradients):
            with pytest.raises(TypeError, match=message):
                method(XS, executor=executor)


def everything(x: Any, **options: Any) -> Value:
    return x * 2.0


def test_options_that_belong_elsewhere_are_refused_by_name() -> None:
    with ThreadPoolExecutor(1) as threads:
        for function in (lambda x: x * 2.0, everything):
            f = pygradc.compile(function)
            for call in (
                lambda f=f: f(1.0, executor=threads),
                lambda f=f: f.jvp([], XS, executor=threads),
                lambda f=f: f.hvp([], XS, executor=threads),
            ):
                with pytest.raises(
                    TypeError, match="executor= is an option of map, sum, mean, gradients, jac"
                ):
                    call()
            with pytest.raises(TypeError, match="mean= is an option of hvp only"):
                f.sum(XS, mean=True)
            with pytest.raises(TypeError, match="executor"):
                pygradc.fit(f, XS, optim.SGD([Value(1.0)], 0.1), executor=threads)
    f = pygradc.compile(lambda x, *, executor=None: x * (2.0 if executor else 3.0))
    assert f(1.0, executor=1).data == 2.0


def test_a_keyword_that_the_function_has_not_is_named() -> None:
    @pygradc.compile
    def loss(x: Any, *, kind: str = "a") -> Value:
        return x * 2.0

    with pytest.raises(TypeError, match="loss takes no keyword argument 'kin'"):
        loss.mean(XS, kin="b")


def test_hvp_says_how_to_differentiate_by_an_argument() -> None:
    f = pygradc.compile(lambda x: x**3)
    with pytest.raises(
        ValueError, match=r"each of the 0 parameters.*arguments, write wrt='inputs'$"
    ):
        f.hvp([1.0], XS)
    assert f.hvp([1.0], XS, wrt="inputs")[:, 0] == pytest.approx(6.0 * XS)  # as the message says
    x = Value(2.0)
    assert pygradc.compile(lambda: f(x)).hvp([1.0]).tolist() == [12.0]
    for v in (["a"], [None], [[1.0], [1.0, 2.0]]):
        with pytest.raises((TypeError, ValueError), match=r"v: .*expected"):
            pygradc.compile(lambda: x * x).hvp(v)


# ---- Recording again and again -------------------------------------------------------------------


def warned(call: Callable[[], Any]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return found


def test_recording_again_and_again_warns_once_and_names_the_line() -> None:
    f = pygradc.compile(lambda x: sum(x) * 2.0, max_programs=4)

    def work() -> None:
        for _ in range(10):
            for n in range(1, 10):
                assert f([1.0] * n).data == 2.0 * n

    (one,) = warned(work)
    assert one.category is RuntimeWarning and one.filename == __file__
    text = str(one.message)
    assert re.search(r"max_programs=4\b", text) and "Pad" in text and "max_programs=)" in text


def test_keywords_that_never_come_again_warn() -> None:
    f = pygradc.compile(lambda x, k=0: x * float(k), max_programs=2)
    assert len(warned(lambda: [f(1.0, k=i) for i in range(400)])) == 1


def test_first_passes_and_rare_recordings_warn_of_nothing() -> None:
    f = pygradc.compile(lambda x: sum(x) * 2.0)
    assert not warned(lambda: [f([1.0] * n) for n in range(1, 150) for _ in range(2)])
    g = pygradc.compile(lambda x: sum(x) * 2.0, max_programs=1)

    def rarely() -> None:
        for n in range(1, 30):
            for _ in range(200):
                g([1.0] * (1 + n % 2))

    assert not warned(rarely)


def test_an_error_made_of_the_warning_leaves_all_in_order() -> None:
    f = pygradc.compile(lambda x: sum(x) * 2.0, max_programs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="again and again"):
            for i in range(100):
                f([1.0] * (1 + i % 2))
    assert f([1.0, 2.0]).data == 6.0 and len(f.programs) == 1


# ---- What an argument is besides its numbers -----------------------------------------------------


class Tenfold(Value):
    def __add__(self, other: Any) -> Any:
        return Value.__add__(self, other) * 10


class Plain(Value):
    pass


class Doubling(dict):  # type: ignore[type-arg]
    def __getitem__(self, key: Any) -> Any:
        return 2 * dict.__getitem__(self, key)


class Scaled(list):  # type: ignore[type-arg]
    scale = 1.0


class Point(NamedTuple):
    x: Any
    y: Any


class Moved(Point):
    def __new__(cls, x: Any, y: Any) -> Moved:
        return Point.__new__(cls, x * 2, y)


class Measured(Point):
    def area(self) -> Any:
        return self.x * self.y


class Split(tuple):  # type: ignore[type-arg]
    def __new__(cls, *items: Any) -> Split:
        return tuple.__new__(cls, items)


def scaled(scale: float) -> Scaled:
    found = Scaled([3.0])
    found.scale = scale
    return found


NOT_ALL: dict[str, tuple[Callable[[], Any], str]] = {
    "operators": (lambda: Tenfold(2.0), r"a Tenfold with its own __add__: .*\.data, a number"),
    "items of a dict": (lambda: Doubling(a=3.0), r"its own __getitem__: .* write dict\(x\)"),
    "attributes of a list": (lambda: scaled(5.0), r"its own scale: .* write list\(x\)"),
    "a namedtuple's making": (lambda: Moved(3.0, 4.0), r"its own __new__: .* write tuple\(x\)"),
    "a tuple's making": (lambda: Split(3.0, 4.0), r"its own __new__: .* write tuple\(x\)"),
    "inside a list": (lambda: [1.0, Tenfold(2.0)], "a Tenfold with its own __add__"),
}


@pytest.mark.parametrize("what", NOT_ALL)
def test_what_is_more_than_its_numbers_is_refused(what: str) -> None:
    make, message = NOT_ALL[what]
    f = pygradc.compile(lambda x: x)
    with pytest.raises(TypeError, match=message):
        f(make())
    if what != "inside a list":  # whose items would be rows
        with pytest.raises(TypeError, match=message):
            pygradc.compile(lambda x, y: [x, y]).map(make(), XS)


def test_what_is_more_is_refused_where_a_program_is_there() -> None:
    f = pygradc.compile(lambda x: x + 1)
    assert f(2.0).data == 3.0
    with pytest.raises(TypeError, match="a Tenfold with its own __add__"):
        f(Tenfold(2.0))
    with pytest.raises(TypeError, match="a Tenfold with its own __add__"):
        f.programs[0](Tenfold(2.0))
    assert f(Plain(2.0)).data == 3.0
    parameter = Tenfold(2.0)
    assert pygradc.compile(lambda x: parameter + x)(1.0).data == (parameter + 1.0).data == 30.0


def test_what_a_class_adds_and_nothing_asks_for_stays() -> None:
    assert pygradc.compile(lambda p: p.area())(Measured(3.0, 4.0)).data == 12.0
    assert pygradc.compile(lambda x: x[0] * x.scale)(Scaled([3.0])).data == 3.0


def test_results_that_are_more_than_their_numbers_are_refused() -> None:
    def of(x: Any) -> Any:
        found = Scaled([x])
        found.scale = 5.0
        return found

    with pytest.raises(TypeError, match=r"result: a Scaled with its own scale: .* list\(x\)"):
        pygradc.compile(of)(2.0)


def test_a_program_knows_the_names_of_its_namedtuple() -> None:
    class Turned(NamedTuple):
        y: Any
        x: Any

    f = pygradc.compile(lambda p: p.x * 10.0 + p.y)
    assert f(Point(1.0, 2.0)).data == f.programs[0]((1.0, 2.0)).data == 12.0
    turned = Turned(y=2.0, x=1.0)
    assert f(turned).data == 12.0
    with pytest.raises(ValueError, match=r"recorded for Point\(x=a number, .* with Turned\(y="):
        f.programs[0](turned)


def test_objects_are_told_apart_by_their_own_comparison_too() -> None:
    class Hidden:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Hidden) and self.scale == other.scale

        def __hash__(self) -> int:
            return 0

        def __getstate__(self) -> dict[str, Any]:
            return {}

    f = pygradc.compile(lambda x, of: x * of.scale)
    assert [f(1.0, of=Hidden(scale)).data for scale in (2.0, 5.0, 2.0)] == [2.0, 5.0, 2.0]
    assert len(f.programs) == 2


def test_a_compiled_function_within_another_gets_values() -> None:
    inner = pygradc.compile(lambda x, row: x.exp() + row[0].exp() + row[1]["a"].exp())
    outer = pygradc.compile(lambda x: x * inner(2.0, [0.5, {"a": x}]))
    assert outer(1.0).data == inner(2.0, [0.5, {"a": 1.0}]).data


# ---- Bools ---------------------------------------------------------------------------------------


def test_what_a_row_decides_is_a_bool(tmp_path: Path) -> None:
    positive = pygradc.compile(lambda x: x > 0)
    assert positive(2.0) is True and positive(-2.0) is False and positive(Value(-1.0)) is False
    assert [x for x in (2.0, -2.0, 1.0) if positive(x)] == [2.0, 1.0]
    assert positive.map([1.0, -1.0]).tolist() == [1.0, 0.0]
    assert positive.mean([1.0, -1.0]).data == 0.5
    program = positive.programs[0]
    program.save(tmp_path / "p")
    for again in (
        pygradc.load(tmp_path / "p"),
        copy.copy(program),
        pickle.loads(pickle.dumps(program)),
    ):
        assert again(2.0) is True and again(-2.0) is False
    assert pygradc.compile(lambda x: pygradc.where(positive(x), x, -x)).map(
        [-2.0, 3.0]
    ).tolist() == [
        2.0,
        3.0,
    ]


def test_bools_among_other_results(tmp_path: Path) -> None:
    def of(x: Any) -> Any:
        return {"a": x > 0, "b": [x, x < 0], "c": np.array([x > 1, x * 2]), "d": np.bool_(True)}

    f = pygradc.compile(of)
    f(1.0)
    f.programs[0].save(tmp_path / "p")
    for g in (f, pygradc.load(tmp_path / "p")):
        found = g(2.0)
        assert found["a"] is True and found["b"][1] is False and found["d"] is True
        assert found["c"][0] is True and found["c"][1].data == 4.0 and found["b"][0].data == 2.0
        assert g.map([1.0, 2.0])["c"].tolist() == [[0.0, 2.0], [1.0, 4.0]]


# ---- Arguments that are changed in place ---------------------------------------------------------


def assigns(x: Any) -> Any:
    x["h"] = x["h"] * 0.5
    return x["h"]


def adds_a_key(x: Any) -> Any:
    x["more"] = x["h"] * 2.0
    return x["more"]


def subtracts(x: Any) -> Any:
    x -= 1.0
    return x[0] * x[1]


def appends_deep_inside(x: Any) -> Any:
    x["deep"][1].append(x["deep"][0])
    return sum(x["deep"][1])


def keeps_text(x: Any) -> Any:
    x[0] = object()
    return x[1] * 2.0


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (assigns, {"h": 1.0}),
        (adds_a_key, {"h": 1.0}),
        (subtracts, np.array([2.0, 5.0])),
        (lambda x: x.pop() * 2.0, [1.0, 2.0, 3.0]),
        (lambda x: x.reverse() or x[0] * 2.0, [1.0, 2.0, 3.0]),
        (lambda x: x.insert(0, x[1]) or x[0] * 1.0, [1.0, 2.0]),
        (appends_deep_inside, {"deep": (1.0, [2.0, 3.0])}),
        (keeps_text, [1.0, 2.0]),
    ],
)
def test_a_function_that_changes_its_argument_is_refused(function: Any, argument: Any) -> None:
    expected = function(copy.deepcopy(argument))  # in plain Python the caller's would be changed
    f, before = pygradc.compile(lambda a, x: function(x) + a), copy.deepcopy(argument)
    message = (
        r"test_arguments\.py:\d+: <lambda> changes its argument 1 in place while it is recorded"
    )
    for _ in range(2):
        with pytest.raises(pygradc.TraceError, match=message):
            f(0.0, argument)
    assert str(argument) == str(before) and f.programs == ()
    copies = pygradc.compile(lambda x: function(copy_of(x)))
    assert copies(argument).data == copies(argument).data == expected


def copy_of(x: Any) -> Any:
    """Of containers, not of what is in them, which has no number."""
    if isinstance(x, dict):
        return {key: copy_of(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(copy_of(value) for value in x)
    return x.copy() if isinstance(x, np.ndarray) else x


def test_rows_that_are_changed_in_place_are_refused() -> None:
    with pytest.raises(pygradc.TraceError, match="subtracts changes its argument 0 in place"):
        pygradc.compile(subtracts).map(np.ones((3, 2)))


async def waits(x: Any) -> Any:
    return x


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("function", "remedy"),
    [
        (lambda x: (v * 2 for v in [x]), r"convert it with list\(\.\.\.\)"),
        (lambda x: map(abs, [x]), r"convert it with list\(\.\.\.\)"),
        (lambda x: {x}, r"convert it with list\(\.\.\.\)"),
        (waits, "write the function without async"),
    ],
)
def test_a_result_that_is_no_container_says_what_to_write(function: Any, remedy: str) -> None:
    with pytest.raises(TypeError, match=f"result: expected numbers, Values .*: {remedy}$"):
        pygradc.compile(function)(1.0)
