"""Are comparisons in a recording the bools that they are without one: in arithmetic, combined,
asked, compared, copied, kept?

Each idiom is a line of Python. The recorded function must give the number and the gradient that the
line gives when it isn't recorded, or raise: a `TraceError` that names this file, or, in a row for
which the line itself fails, what that row's replay raises.
"""

from __future__ import annotations

import builtins
import copy
import functools
import gc
import math
import operator
import pickle
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import (
    TraceError,
    Value,
    compile,
    live_nodes,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    where,
)

NAMES: dict[str, Any] = {
    "copy": copy,
    "Fraction": Fraction,
    "functools": functools,
    "logical_and": logical_and,
    "logical_not": logical_not,
    "logical_or": logical_or,
    "math": math,
    "maximum": maximum,
    "minimum": minimum,
    "np": np,
    "operator": operator,
    "pickle": pickle,
    "pygradc": pygradc,
    "Value": Value,
    "where": where,
}

RIGHT = """
x * (x > 0)
(x > 0) * x
x + (x > 0)
(x > 0) - x
x - (x > 0)
x / ((x > 0) + 1)
x / (x > 0)
(x > 0) / x
x / (1 - (x > 0))
1 / (x > 0)
x ** (x > 0)
(x > 0) ** x
2 ** (x > 0)
2.5 ** (x > 0) * x
(x > 0) ** 2
(x > 0) ** -1
-(x > 0) * x
+(x > 0) * x
abs(x > 0) * x
(1 - (x > 0)) * x
((x > 0) + (x > 1)) * x
((x > 0) * (x > 1)) * x
((x > 0) - (x > 1)) / (1 + (x > -5)) * x
(x > 0) / (x > -3) * x
x ** ((x > 0) + (x > 1))
x * ((x > 0) ** (x > 1))
x * sum([x > 0, x > 1, x < 3])
x * pygradc.sum([x > 0, x > 1, x])
x * pygradc.dot([x > 0, 2.0], [x, x > 1], x > 0)
x * math.prod([x > 0, x > 1])
x * (5 % (x > 0))
x * ((x > 0) % 2)
x * ((x > 0) // 2)
x * (7 // (x > 0))
x * divmod((x > 0), 2)[1]
x * divmod(3, (x > 0))[0]
x * divmod((x > 0), (x > 1))[1]
x * ((x > 0) // (x > -9))
x * (np.float64(2.0) * (x > 0))
x * (np.int64(2) + (x > 0))
x * ((x > 0) * np.float64(2.5))
x * ((x > 0) - np.float32(2.5))
x * (np.True_ * (x > 0))
x * ((x > 0) * Fraction(1, 4))
x * (Fraction(1, 4) + (x > 0))
(np.array([1.0, 2.0]) * (x > 0)).sum() * x
((x > 0) * np.array([1.0, 2.0])).sum() * x
(np.array([x, x + 1]) * (x > 0)).sum()
x * np.sum([x > 0, x > 1])
x * np.mean([x > 0, x > 1])
x * np.dot([x > 0, x > 1], [2.0, 3.0])
x * np.multiply(x > 0, 2.0)
x * pow(2, x > 0)
x * (lambda k=x > 0: k)()
x.maximum(x > 0)
maximum(x > 0, x)
minimum(x > 0, x > 1) * x
where(x > 0, x > 1, x > 2) * x
where(True, x > 0, x)
(x > 0) * 2 + 1
(x > 0) * 0 + x
(x > 0) * -0.0 + x
(x > 0) * math.inf + x
[x > 0, x * 1]
{"a": x > 0, "b": [x <= 0]}
x > 0
x * max([x > 0, 0])
where((x > 0) & (x < 1), x, 2 * x)
where((x > 0) | (x < -1), x, 2 * x)
where((x > 0) ^ (x < 1), x, 2 * x)
where((x > 0) ^ True, x, 2 * x)
where(False ^ (x > 0), x, 2 * x)
where(np.True_ & (x > 0), x, 2 * x)
where((x > 0) & np.False_, x, 2 * x)
where(np.True_ ^ (x > 0), x, 2 * x)
where(False | (x > 0), x, 2 * x)
((x > 0) & (x < 1)) * x
((x > 0) ^ (x < 1)) * x
((x > 0) | (x < -1)) + x
x * ((x > 0) & 1)
x * ((x > 0) & 2)
x * (3 & (x > 0))
x * ((x > 0) | 2)
x * ((x > 0) ^ 3)
x * ((x > 0) << 2)
x * (1 << (x > 0))
x * (6 >> (x > 0))
x * functools.reduce(operator.and_, [x > 0, x > 1, x < 9])
x * functools.reduce(operator.or_, [x > 0, x > 1, x < 9])
x * functools.reduce(operator.xor, [x > 0, x > 1, x < 9])
x * functools.reduce(operator.mul, [x > 0, x > 1, x < 9])
where(logical_not(x > 0), x, 2 * x)
logical_not(x > 0) * x
logical_not(logical_not(x > 0)) * x
where(logical_and(x > 0, x < 1, True), x, 2 * x)
logical_and(x > 0, x < 1) * x
logical_and(x > 0, np.True_, x < 1, x > 0.7) * x
where(logical_or(x > 2, x < 0, False), x, 2 * x)
logical_or(x > 2, logical_and(x < 0, x > -1), np.False_) * x
where(logical_or(), x, 2 * x)
where(logical_and(), x, 2 * x)
where(logical_and(x > 0, False), x, 2 * x)
where(logical_or(x > 0, True), x, 2 * x)
where(logical_not(False), x, 2 * x)
where(logical_and(*[x > k for k in (-1, 0, 1)]), x, 2 * x)
where((x > 0) == True, x, 2 * x)
where((x > 0) == 0, x, 2 * x)
where((x > 0) != 1, x, 2 * x)
where((x > 0) == 1.0, x, 2 * x)
where(1 == (x > 0), x, 2 * x)
where((x > 0) == 2, x, 2 * x)
where((x > 0) == math.nan, x, 2 * x)
where((x > 0) != None, x, 2 * x)
where((x > 0) == "x", x, 2 * x)
where((x > 0) < 1, x, 2 * x)
where((x > 0) >= 0.5, x, 2 * x)
where(0.5 < (x > 0), x, 2 * x)
where((x > 0) <= 1, x, 2 * x)
where((x > 0) > (x > 1), x, 2 * x)
where((x > 0) <= (x > 1), x, 2 * x)
where((x > 0) > x, x, 2 * x)
where(x > (x > 0), x, 2 * x)
where((x > 0) + (x > 1) >= 2, x, 2 * x)
""".strip().splitlines()

RAISES = """
x if x > 0 else -x
x if (x > 0) and (x < 1) else -x
x if (x > 0) or (x < 1) else -x
x if not (x > 0) else -x
x if 0 < x < 1 else -x
x if (x > 0) & (x < 1) else -x
x * (5 if (x > 0) else 6)
[x, 2 * x][x > 0]
(x, 2 * x)[x > 0]
"ab"[x > 0] and x
x * range(5)[x > 0]
x * len(range(x > 0))
x * len([1, 2, 3][: (x > 0)])
x * len("ab" * (x > 0))
x * len((x > 0) * [1])
x * float(x > 0)
x * int(x > 0)
x * bool(x > 0)
x * round(x > 0)
x * round(x > 0, 1)
x * abs(complex(x > 0))
x * len(f"{x > 0:d}")
x * len(format(x > 0, "5"))
x * len(bin(x > 0))
x * max(x > 0, x > 1)
x * min(x > 0, 0)
x * sorted([x > 0, x > 1])[0]
{True: x, False: 2 * x}[x > 0]
x * {True: 1}.get(x > 0, 2)
x * ((x > 0) in {True})
x * len({x > 0, True})
x * hash(x > 0)
x * ((x > 0) in (True,))
x * ((x > 0) in [False])
x * [True, False].index(x > 0)
x * [True, False].count(x > 0)
np.where(x > 0, x, 2 * x).item()
x * np.logical_not(x > 0)
x * np.logical_and(x > 0, x < 1)
x * np.any([x > 0, x > 1])
x * np.all([x > 0, x > 1])
x * np.max([x > 0, x > 1])
x * np.count_nonzero([x > 0, x > 1])
x * np.array([x > 0], dtype=bool)[0]
x * np.array([x > 0], dtype=float)[0]
x * np.array([x > 0], dtype=int)[0]
x * np.float64(x > 0)
x * any([x > 0, x > 1])
x * all([x > 0, x > 1])
x * len(list(filter(None, [x > 0])))
x * math.sqrt(x > 0)
x * math.fsum([x > 0, x > 1])
x * math.floor(x > 0)
x * copy.copy(x > 0)
x * copy.deepcopy([x > 0])[0]
x * pickle.loads(pickle.dumps(x > 0))
x * operator.index(x > 0)
x * operator.not_(x > 0)
x * operator.truth(x > 0)
Value(x > 0) * x
Value(x) * x
Value(data=x) * x
sum(map(Value, [x, x]))
pygradc.nn.MLP(1, [1])(list(map(Value, [x])))
(x > 0).real * x
x * (x > 0).bit_length()
(x > 0) * "ab"
~(x > 0) * x
x + ~(x > 0)
(~(x > 0) & (x < 1)) * x
-(~(x > 0)) * x
x * ~~(x > 0)
x * (~(x > 0) == 0)
where((x > 0) == (x > 1), x, 2 * x)
where((x > 0) != (x > 1), x, 2 * x)
where((x > 0) == x, x, 2 * x)
[x, x][x]
(x, x)[x]
[[x, x]][0][x]
x * len([1] * x)
x * len([1, 2][x:])
x * range(3)[x]
x * "abc".find("b", x)
x * operator.index(x)
""".strip().splitlines()

POINTS = (-2.0, -0.5, -0.0, 0.5, 1.0, 2.0, 3.5, math.inf, math.nan)


def numbers_of(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: numbers_of(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return list(map(numbers_of, found))
    return (found.data if isinstance(found, Value) else float(found)).hex()


def function_of(idiom: str) -> Callable[[Value], Any]:
    function: Callable[[Value], Any] = eval(f"lambda x: {idiom}", NAMES)
    return function


@pytest.mark.parametrize("idiom", RIGHT)
@pytest.mark.parametrize("passes", [None, []], ids=["all passes", "no pass"])
def test_arithmetic_is_that_of_bools(idiom: str, passes: Any) -> None:
    function = function_of(idiom)
    recorded = compile(function, passes=passes)
    failed = 0
    for point in POINTS:
        x, again = Value(point), Value(point)
        try:
            expected = function(x)
        except (ArithmeticError, ValueError):
            failed += 1
            with pytest.raises(FloatingPointError):
                recorded(point)
            continue
        found = recorded(again)
        assert numbers_of(found) == numbers_of(expected)
        if isinstance(expected, Value):
            expected.backward()
            found.backward()
            assert again.grad.hex() == x.grad.hex()
    assert failed < len(POINTS)


@pytest.mark.parametrize("idiom", ["x * (x > 0)", "(1 - (x > 0)) / 2 * x", "x ** (x > 1)"])
def test_other_modes_give_the_same(idiom: str, tmp_path: Any) -> None:
    function = function_of(idiom)
    rows = np.linspace(-3.0, 3.0, 100) + 0.01
    expected = np.array([function(Value(x)).data for x in rows])
    for options in ({"math": "fast"}, {"errors": "ignore"}, {}):
        recorded = compile(function, **options)
        np.testing.assert_allclose(recorded.map(rows), expected, rtol=1e-14)
    program = recorded.programs[0]
    program.save(tmp_path / "p")
    assert (pygradc.load(tmp_path / "p").map(rows) == expected).all()
    assert pygradc.load(tmp_path / "p").to_c() == program.to_c()


@pytest.mark.parametrize("idiom", RAISES)
def test_what_asks_for_the_answer_is_refused(idiom: str) -> None:
    source = f"def function(x):\n    return {idiom}\n"
    names = dict(NAMES)
    exec(builtins.compile(source, "user.py", "exec"), names)
    for call in (
        lambda: compile(names["function"])(1.0),
        lambda: compile(names["function"]).map(np.array([1.0, -1.0])),
    ):
        with warnings.catch_warnings(), pytest.raises(TraceError) as caught:
            warnings.simplefilter("ignore", DeprecationWarning)  # ~ of a bool
            call()
        assert str(caught.value).startswith("user.py:2: "), str(caught.value)
        last = traceback.extract_tb(caught.value.__traceback__)[-1]
        assert (last.filename, last.lineno) == ("user.py", 2)


def test_what_numpy_refuses_itself_is_loud() -> None:
    for function in (lambda x: x * np.sqrt(x > 0), lambda x: np.select([x > 0], [x], 2 * x)):
        with pytest.raises(TypeError):
            compile(function)(1.0)


def test_an_inverted_condition_is_no_result() -> None:
    with pytest.raises(TraceError, match=r"pygradc\.logical_not"):
        compile(lambda x: [~(x > 0)])(1.0)
    assert compile(lambda x: [logical_not(x > 0)])(1.0)[0] is False


def test_a_condition_passes_no_gradient() -> None:
    x = Value(2.0)
    compile(lambda x: (x > 0) * 3.0 + (x > 1) * (x < 5))(x).backward()
    assert x.grad == 0.0


def test_a_count_of_conditions_is_a_metric() -> None:
    w = Value(1.0)
    right = compile(lambda x, y: (w * x > 0) * (y > 0) + (w * x <= 0) * (y <= 0))
    X, Y = np.array([1.0, -1.0, 2.0, -3.0]), np.array([1.0, 1.0, 1.0, -1.0])
    assert right.mean(X, Y).data == 0.75
    w.data = -1.0
    assert right.mean(X, Y).data == 0.25
    assert compile(lambda x: x > 0).map(X).tolist() == [1.0, 0.0, 1.0, 0.0]


# ---- logical_not, logical_and, logical_or --------------------------------------------------------

BOOLS = [True, False, np.True_, np.False_]


def test_logical_functions_of_bools_are_bools() -> None:
    for a in BOOLS:
        assert logical_not(a) is (not a)
        for b in BOOLS:
            assert logical_and(a, b) is bool(a and b)
            assert logical_or(a, b) is bool(a or b)
            for c in BOOLS:
                assert logical_and(a, b, c) is bool(a and b and c)
                assert logical_or(a, b, c) is bool(a or b or c)
    assert logical_and() is True and logical_or() is False
    x = Value(1.0)
    assert logical_and(x > 0, x < 2) is True and logical_not(x > 0) is False


@pytest.mark.parametrize("odd", [1, 0.0, None, "x", [True], Value(1.0), np.array([True])], ids=repr)
def test_logical_functions_take_bools_and_comparisons_only(odd: Any) -> None:
    for call in (
        lambda: logical_not(odd),
        lambda: logical_and(True, odd),
        lambda: logical_or(True, odd),
        lambda: compile(lambda x: x * logical_or(x > 0, odd))(1.0),
    ):
        with pytest.raises(TypeError, match=r"must be a bool or a comparison, not .*logical_not"):
            call()


def test_the_message_of_where_names_them() -> None:
    with pytest.raises(TypeError, match=r"pygradc\.logical_not, logical_and and logical_or"):
        where(~int(Value(1.0) > 0), 1.0, 2.0)


def test_the_first_condition_chooses_first() -> None:
    """A row in which it decides takes nothing of the others: nan isn't compared there."""
    recorded = compile(lambda x, y: where(logical_and(x > 0, y > 0), x, y) * 1.0)
    for x in (-1.0, 0.0, 1.0):
        for y in (-1.0, 0.0, 1.0, math.nan):
            assert numbers_of(recorded(x, y)) == (x if x > 0 and y > 0 else y).hex()


# ---- kept beyond the recording -------------------------------------------------------------------

USES: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "not": lambda c: not c,
    "where": lambda c: where(c, 1.0, 2.0),
    "where's operand": lambda c: where(True, c, c),
    "product": lambda c: c * Value(1.0),
    "product, reflected": lambda c: Value(1.0) * c,
    "product with a number": lambda c: 2 * c,
    "power": lambda c: Value(1.0) ** c,
    "negated": lambda c: -c,
    "and": lambda c: c & True,
    "or": lambda c: True | c,
    "inverted": lambda c: ~c,
    "equal": lambda c: c == 1,
    "unequal": lambda c: c != c,
    "less": lambda c: c < 1,
    "float": float,
    "int": int,
    "index": lambda c: [1.0][c],
    "hash": hash,
    "copy": copy.copy,
    "deepcopy": lambda c: copy.deepcopy([c]),
    "pickle": pickle.dumps,
    "format": lambda c: f"{c:d}",
    "attribute": lambda c: c.real,
    "logical_not": logical_not,
    "logical_and": lambda c: logical_and(False, c),
    "logical_or": lambda c: logical_or(True, c),
    "sum": lambda c: sum([c, Value(1.0)]),
    "pygradc.sum": lambda c: pygradc.sum([c]),
    "Value": Value,
    "data": lambda c: setattr(Value(1.0), "data", c),
    "numpy": lambda c: np.multiply(c, 2.0),
    "max": lambda c: max(c, 1),
    "maximum": lambda c: maximum(c, 1.0),
    "argument": lambda c: compile(lambda y: y * 1)(c),
    "another recording's product": lambda c: compile(lambda y: y * c)(1.0),
    "another recording's where": lambda c: compile(lambda y: where(c, y, 1.0))(1.0),
    "another recording's if": lambda c: compile(lambda y: y if c else 1.0)(1.0),
    "another recording's and": lambda c: compile(lambda y: where((y > 0) & c, y, 1.0))(1.0),
    "another recording's result": lambda c: compile(lambda y: c)(1.0),
    "another recording's logical_and": lambda c: compile(lambda y: y * logical_and(False, c))(1.0),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_kept_condition_has_no_answer(use: Callable[[Any], Any]) -> None:
    kept: list[Any] = []

    def function(x: Value) -> Value:
        kept.extend([x > 0, (x > 0) & (x < 1), Value(2.0) > 1.0, (x > 0) | False])
        return x * kept[0]  # whose number is known from now on

    compile(function)(1.0)
    gc.collect()
    nodes = live_nodes()
    for condition in kept:
        with pytest.raises(TraceError) as caught:
            use(condition)
        assert str(caught.value).startswith(f"{__file__}:"), str(caught.value)
        assert "outside of the recording that made it" in str(caught.value)
        assert "Condition" in repr(condition)
        del caught
    gc.collect()
    assert live_nodes() == nodes


def test_errors_of_kept_conditions_end_in_the_users_frame() -> None:
    kept: list[Any] = []
    compile(lambda x: kept.append(x > 0) or x)(1.0)
    for use in (bool, lambda c: c * 2, lambda c: Value(1.0) * c, lambda c: [1][c], lambda c: c & c):
        with pytest.raises(TraceError) as caught:
            use(kept[0])
        assert traceback.extract_tb(caught.value.__traceback__)[-1].filename == __file__


def test_a_cached_condition_is_refused_in_the_next_recording() -> None:
    w = Value(1.0)

    @functools.lru_cache
    def positive() -> Any:
        return w * 1.0 > 0

    compile(lambda x: where(x > 0, x, 1.0) * where(positive(), 2.0, 3.0))(1.0)
    with pytest.raises(TraceError, match=r"w \* 1\.0 > 0.*outside of the recording"):
        compile(lambda x: x * where(positive(), 2.0, 3.0))(1.0)


def test_another_thread_has_no_part_in_a_condition() -> None:
    caught: list[BaseException] = []

    def ask(condition: Any) -> None:
        try:
            where(condition, 1.0, 2.0)
        except TraceError as error:
            caught.append(error)

    def function(x: Value) -> Value:
        thread = threading.Thread(target=ask, args=(x > 0,))
        thread.start()
        thread.join()
        return where(x > 0, x, 1.0)

    with pytest.raises(TraceError, match="caught this error"):
        compile(function)(-2.0)
    assert len(caught) == 1


def test_another_threads_errors_are_none_of_a_recordings() -> None:
    kept: list[Any] = []
    compile(lambda x: (kept.extend([x * 2, x > 0]), x)[1])(1.0)
    caught: list[BaseException] = []

    def ask() -> None:
        for use in (lambda: kept[0] + 1, lambda: where(kept[1], 1.0, 2.0)):
            try:
                use()
            except TraceError as error:
                caught.append(error)

    def function(x: Value) -> Value:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return where(x > 0, x, 1.0)

    assert compile(function)(-2.0).data == 1.0 and len(caught) == 2


# ---- what the messages say -----------------------------------------------------------------------

exact = pytest.mark.skipif(sys.version_info < (3, 11), reason="instructions have no columns")


def message(function: Callable[[Value], Any]) -> str:
    with pytest.raises(TraceError) as caught:
        compile(function)(1.0)
    return str(caught.value)


@exact
def test_the_comparison_is_quoted_as_it_was_written() -> None:
    def in_two_lines(x: Value) -> Any:
        positive = (
            x * 2.0
            > 0.0
        )  # fmt: skip
        return x if positive else -x

    text = message(in_two_lines)
    assert re.search(r"the comparison 'x \* 2\.0 > 0\.0', in '.*positive.*', while", text), text
    assert "the comparison 'x > 0' while" in message(lambda x: x if x > 0 else -x)
    assert "the comparison '(x > 0) & (x < 1)'" in message(lambda x: x if (x > 0) & (x < 1) else -x)
    assert "'x', in 'float(x)'," in message(lambda x: x * float(x)).replace("an input", "'x'")
    assert "logical_not(x > 0)" in message(lambda x: x if logical_not(x > 0) else -x)


@exact
def test_letters_of_several_bytes_are_quoted_whole() -> None:
    assert "the comparison 'größe > 0' while" in message(
        lambda größe: "äöü" and (größe if größe > 0 else 1.0)
    )


def test_without_source_the_message_says_what_was_compared() -> None:
    names: dict[str, Any] = {}
    exec("def function(x):\n    return x.exp() if x.sin() > 0 else x", names)
    with pytest.raises(TraceError, match="the comparison 'sin > leaf' while"):
        compile(names["function"])(1.0)
    exec("def function(x):\n    return x if ~((x > 0) & (x.sin() <= 1)) else x", names)
    with pytest.raises(TraceError, match=r"~\(\(input > leaf\) & \(sin <= leaf\)\)"):
        compile(names["function"])(1.0)


def call_back(x: Any) -> Any:
    return np.vectorize(lambda v: v * float(v))(np.array([x, x]))[0]


LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "numpy calls back": call_back,
    "numpy asks": lambda x: np.where(np.array([x > 0, x > 1]), x, 1.0)[0],
    "numpy's Python code asks": lambda x: np.linalg.norm([x, x]) * np.sort([x > 0, x > 1])[0],
    "statistics": lambda x: x * __import__("statistics").median([x, x * 2, x * 3]),
    "copy": lambda x: copy.deepcopy({"a": [x * 2]})["a"][0],
    "heapq": lambda x: __import__("heapq").nsmallest(1, [x, x * 2])[0],
    "bisect": lambda x: x * __import__("bisect").bisect([0.0, 1.0], x),
    "functools": lambda x: functools.reduce(lambda a, b: a if a > b else b, [x, x * 2]),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_line_is_the_users_also_where_a_library_asks(name: str) -> None:
    function = LIBRARIES[name]
    with pytest.raises(TraceError) as caught:
        compile(function)(1.0)
    line = str(caught.value).split(": ")[0]
    code = function.__code__
    first = code.co_firstlineno
    assert line.rpartition(":")[0] == __file__
    assert first <= int(line.rpartition(":")[2]) <= first + 1
    assert traceback.extract_tb(caught.value.__traceback__)[-1].filename == __file__


def test_indexing_a_table_by_a_value_names_the_remedy() -> None:
    table = [[Value(1.0)], [Value(2.0)]]
    for function in (lambda x: table[x][0], lambda x: table[int(x)][0] * x, lambda x: table[x:]):
        with pytest.raises(TraceError, match=r"Instead, look it up with pygradc.take"):
            compile(function)(1.0)
        with pytest.raises(TypeError, match=r"v\.data"):
            function(Value(1.0))


def test_a_model_of_values_of_values_is_told_so() -> None:
    model = pygradc.nn.MLP(2, [2, 1])
    with pytest.raises(TraceError, match=r"are Values already.*model\(x\), not model\(list\(map"):
        compile(lambda x: model(list(map(Value, x))))([1.0, 2.0])
    assert isinstance(compile(lambda x: model(x))([1.0, 2.0]), Value)


@pytest.mark.parametrize("decided", [False, np.False_])
def test_what_stands_first_chooses_first(decided: Any) -> None:
    f = compile(lambda x: where(decided & (x.log() > 1), x, 0.0))
    g = compile(lambda x: where((not decided) | (x.log() > 1), x, 0.0))
    assert f.map([-1.0, 3.0]).tolist() == [0.0, 0.0] and g.map([-1.0, 3.0]).tolist() == [-1.0, 3.0]
    with pytest.raises(FloatingPointError, match="row 0: log"):
        compile(lambda x: where((x.log() > 1) & decided, x, 0.0)).map([-1.0])
