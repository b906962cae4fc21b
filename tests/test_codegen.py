"""Does the C file say the same as the program, bit for bit, and the listing what is computed?

`to_c` is compiled with every C compiler that is here and called for rows inside and outside the
ops' intervals; the listing is read back.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from programs import is_defined

import pygradc
from pygradc import (
    Program,
    Value,
    detach,
    interp,
    maximum,
    minimum,
    nn,
    searchsorted,
    take,
    where,
)
from pygradc._core import lib
from pygradc.core.ops import OPS
from pygradc.core.scalar import core

Interval = tuple[float, float]

# ---- Functions to translate ----------------------------------------------------------------------


class Case(NamedTuple):
    function: Callable[..., Any]
    intervals: tuple[Interval, ...]  # of each input


CASES: dict[str, Case] = {}


def case(*intervals: Interval) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let the tests below run over this function, its inputs from these intervals."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        CASES[function.__name__] = Case(function, intervals)
        return function

    return register


UNARY = [op for op in OPS if op.arity == 1 and not op.takes_number]
NUMBER = [op for op in OPS if op.takes_number]
BINARY = [op for op in OPS if op.arity == 2]
EXPONENTS = (2, 2.0, -1, 0.5, -0.5, 3, 0, 1, -2.5, 1 / 3, math.inf, -math.inf, math.nan, 1e-310)
CONSTANTS = (math.inf, -math.inf, math.nan, -0.0, 0.0, 1e-310, -5e-324, 1.7e308, 0.1, 1e22, -7.0)

W = [Value(0.7, label="w0"), Value(-1.3, label="w1"), Value(2.1), Value(0.4)]
ANY, POSITIVE = (-3.0, 3.0), (0.1, 3.0)


@case(*(op.intervals[0] for op in UNARY))
def every_unary_op(*xs: Value) -> Any:
    return [getattr(x, op.name)() for op, x in zip(UNARY, xs)]


@case(*itertools.chain(*(op.intervals for op in BINARY)))
def every_binary_op(*xs: Value) -> Any:
    pairs = zip(xs[::2], xs[1::2])
    return [getattr(a, op.name)(b) for op, (a, b) in zip(BINARY, pairs)]


@case(POSITIVE)
def every_exponent(x: Value) -> Any:
    return [x**n for n in EXPONENTS]


@case(ANY, ANY)
def every_constant(x: Value, y: Value) -> Any:
    return [end for c in CONSTANTS for end in (x + c, y * c, maximum(c, x), where(x < c, y, c))]


@case(POSITIVE, POSITIVE)
def powers_and_quotients(x: Value, y: Value) -> Any:
    return x**y, y ** W[0], W[2] ** x, x / y, 1 / x, W[1] / y, x / W[2], x / 3, 2.0**y


@case(ANY)
def output_is_the_input(x: Value) -> Any:
    return x, x, x * 1.0


@case(ANY)
def outputs_are_parameters_and_constants(x: Value) -> Any:
    return W[0], Value(3.0), 7.5, W[1], x, -0.0, math.nan, W[0]


@case(ANY)
def output_is_a_constant(x: Value) -> Any:
    return Value(3.0)


@case(ANY)
def output_is_a_choice_of_constants(x: Value) -> Any:
    return where(x < 0.5, 1.0, -2.0)


@case(ANY)
def output_is_detached(x: Value) -> Any:
    return detach(x * W[0]), detach(x)


@case(ANY, ANY, ANY)
def one_input_is_used_nowhere(x: Value, unused: Value, y: Value) -> Any:
    return (x * y).tanh()


@case(ANY, ANY)
def no_parameters(x: Value, y: Value) -> Any:
    return ((x * y + x).tanh() - y) * x


@case()
def no_inputs() -> Any:
    return W[0] * W[1], (W[2] ** 2 + W[0]).sigmoid()


@case()
def no_inputs_and_no_parameters() -> Any:
    return Value(2.0).exp(), Value(1.5)


@case(ANY, ANY)
def the_same_operand_twice(x: Value, y: Value) -> Any:
    return x * x + x, maximum(x, x), minimum(y, y), where(x < x, x, y), where(x >= x, x, x), y + y


@case(ANY, ANY)
def choices(x: Value, y: Value) -> Any:
    inside = (x > -1.0) & (x < W[0]) | ~(y >= x)
    return where(inside, x * W[1], y.exp()), maximum(x, y) * minimum(x, W[0]), abs(x).relu()


@case(ANY, ANY)
def choices_of_parameters(x: Value, y: Value) -> Any:
    return where(x <= y, W[0], W[1]) * W[2], where(True, W[0], x), where(W[0] < W[1], y, W[2])


@case(ANY, ANY)
def every_comparison(x: Value, y: Value) -> Any:
    return [core.trace_select(i, x, y, x * W[0], y) for i in range(lib.PG_COMPARE_COUNT)]


@case((-2.0, 3.0), ANY)
def entries_of_tables(x: Value, y: Value) -> Any:
    place = searchsorted([-1.0, 0.0, 1.0, 2.0], x)
    right = searchsorted([0.0, 0.0, 1.0], where(x < 2.0, W[2], y), "right")
    table = [W[0], y * y, 2.5, W[0], x.exp()]
    return take(table, place) * take(W, right), take([W[3], 1.5], x), take(table, W[2] * 0.0)


@case((-2.0, 3.0), (-2.0, 3.0))
def derivatives_of_takes(x: Value, y: Value) -> Any:
    i, j = x.floor(), searchsorted([0.0, 1.0, 2.0], y)
    table = [W[0], y * y, W[2] * x, W[0]]
    found = pygradc.grad(take(table, i) * take(table, j) * take(W, i), [*W, x, y])
    uniform = pygradc.grad(take(table, W[2] * 0.0) * take(W, W[2] * 0.0) ** 3, [W[0], W[2]])
    return found, pygradc.grad(pygradc.sum(found) ** 2, W), uniform


@case(ANY)
def interpolation(x: Value) -> Any:
    xs = [-1.0, 0.0, 0.5, 2.0]
    return interp(x, xs, [1.0, -2.0, 0.5, 4.0]), interp(x * W[0], xs, W)


@case(ANY, ANY)
def detached_on_the_way(x: Value, y: Value) -> Any:
    scale = detach(x.exp())
    return x * scale + detach(W[0]) * W[0], (x * y) / (detach(x * y) + 20)


@case(ANY)
def hoisted_penalty(x: Value) -> Any:
    penalty = sum(p * p for p in W)
    return x * W[0] + 0.01 * penalty, penalty, x.sin()


@case(ANY, ANY)
def hoisted_on_many_ways(x: Value, y: Value) -> Any:
    a = (W[0] * W[1]).tanh()
    b = a * x + a
    return b * a + y * W[0] + a * W[0], a.exp() * b, a + W[1]


@case(*[ANY] * 8)
def long_dots(*xs: Value) -> Any:
    first = sum((x * W[i % 4] for i, x in enumerate(xs)), W[0])
    second = sum(a * b for a, b in zip(xs, xs[1:]))
    return first, second, first * second, sum((x * x for x in xs), first)


@case(ANY, ANY)
def shared_by_outputs(x: Value, y: Value) -> Any:
    u = (x * W[0] + y * W[1] + W[2]).tanh()
    return {"a": u, "b": [u * u, u * x], "c": (u * W[3]).sigmoid()}


def mlp(activation: str) -> None:
    rng = np.random.default_rng(5)
    model = nn.MLP(3, [4, 4, 2], activation=activation)
    for p in model.parameters():
        p.data = float(rng.uniform(-1, 1))

    def function(*xs: Value) -> Any:
        return model(xs)

    function.__name__ = f"mlp_{activation}"
    case(ANY, ANY, ANY)(function)


for activation in ("tanh", "relu", "sigmoid"):
    mlp(activation)

WILD = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-310, -5e-324, 1e308, -1e308, 800.0, -800.0, 30.0]
WILD += [math.inf, -math.inf, math.nan, math.pi, -1e-8]


def inside(intervals: tuple[Interval, ...], count: int = 200) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (
        np.stack([rng.uniform(*i, count) for i in intervals], 1) if intervals else np.empty((1, 0))
    )


def outside(intervals: tuple[Interval, ...], count: int = 200) -> np.ndarray:
    return np.random.default_rng(2).choice(WILD, (count if intervals else 1, len(intervals)))


def record(
    function: Callable[..., Any], inputs: int, row: Sequence[float] = (), **settings: Any
) -> Program:
    compiled = pygradc.compile(function, **{"errors": "ignore", **settings})
    compiled(*(row or [1.0] * inputs))
    (program,) = compiled.programs
    return program


# ---- Compiling and calling -----------------------------------------------------------------------

STRICT = ["-std=c11", "-Wall", "-Werror", "-shared", "-fPIC"]
COMPILERS = [
    pytest.param([name, level], id=f"{name}{level}", marks=pytest.mark.skipif(not there, reason=no))
    for name, levels in (("cc", ("-O2", "-O0")), ("clang", ("-O2",)))
    for level in levels
    for there, no in [(shutil.which(name), f"needs {name}")]
]


def each_compiler(test: Any) -> Any:
    """On one Python and without sanitizers, which the compilers would inherit."""
    over_compilers = pytest.mark.parametrize("compiler", COMPILERS)
    return pytest.mark.once(pytest.mark.unsanitized(over_compilers(test)))


class Translation:
    """What a C file computes, for many rows."""

    def __init__(self, library: ctypes.CDLL, program: Program, name: str) -> None:
        self.value = getattr(library, f"{name}_value")
        self.gradient = getattr(library, f"{name}_gradient")
        self.size = program._size
        self.params = np.array([p.data for p in program.parameters()])

    def run(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Outputs, gradients by the inputs, gradients by the parameters; of each row."""
        size, count = self.size, len(rows)
        again = np.full((count, size.outputs), 77.0)  # a number that stays is one not written
        outputs = np.full((count, size.outputs), 77.0)
        by_inputs = np.full((count, size.outputs, size.inputs), 77.0)
        by_params = np.full((count, size.outputs, size.params), 77.0)
        for i in range(count):
            arrays = (rows[i], self.params, outputs[i], by_inputs[i], by_params[i])
            pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
            self.gradient(*pointers)
            self.value(*pointers[:2], ctypes.c_void_p(again[i].ctypes.data))
        assert_same(again, outputs, "value's outputs")
        return outputs, by_inputs, by_params


def translate(compiler: list[str], folder: Path, **programs: Program) -> dict[str, Translation]:
    """The programs' C files, compiled and loaded."""
    files = []
    for name, program in programs.items():
        files.append(folder / f"{name}.c")
        files[-1].write_text(program.to_c(name), encoding="utf-8")
    target = folder / "translation.so"
    command = [*compiler, *STRICT, *map(str, files), "-lm", "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        pytest.fail(f"it doesn't compile:\n{done.stderr}", pytrace=False)
    library = ctypes.CDLL(str(target))
    return {name: Translation(library, program, name) for name, program in programs.items()}


def replayed(program: Program, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `Translation.run` gives, from the program itself, row by row."""
    size, params = program._size, program.parameters()
    outputs = np.empty((len(rows), size.outputs))
    by_inputs = np.empty((len(rows), size.outputs, size.inputs))
    by_params = np.empty((len(rows), size.outputs, size.params))
    for i, row in enumerate(rows):
        xs = [Value(x) for x in row]
        for k, end in enumerate(leaves(program(*xs))):
            for v in (*params, *xs):
                v.grad = 0.0
            end.backward()
            outputs[i, k] = end.data
            by_inputs[i, k] = [x.grad for x in xs]
            by_params[i, k] = [p.grad for p in params]
    return outputs, by_inputs, by_params


def leaves(result: Any) -> list[Value]:
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return list(itertools.chain.from_iterable(map(leaves, result)))
    return [result]


def bits(array: Any) -> np.ndarray:
    """All nans are one: which of two operands' nans a sum gives is the compiler's choice."""
    array = np.array(array, dtype=np.float64)
    return np.where(np.isnan(array), np.nan, array).view(np.uint64)


def assert_same(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    differing = np.argwhere(bits(ours) != bits(theirs))
    if len(differing):
        at = tuple(differing[0])
        share = f"{len(differing)} of {ours.size}"
        raise AssertionError(f"{what}, {share}: at {at} {ours[at]!r}, not {theirs[at]!r}")


def assert_agrees(translation: Translation, program: Program, rows: np.ndarray) -> None:
    parts = ("outputs", "gradients by inputs", "gradients by parameters")
    for what, ours, theirs in zip(parts, translation.run(rows), replayed(program, rows)):
        assert_same(ours, theirs, what)


# ---- The same bits -------------------------------------------------------------------------------


@functools.cache
def each_case(*compiler: str) -> dict[str, tuple[Translation, Program]]:
    """Each case, with and without passes; all of them from one run of the compiler."""
    programs = {
        f"{name}_{kind}": record(function, len(intervals), **settings)
        for name, (function, intervals) in CASES.items()
        for kind, settings in (("all_passes", {}), ("no_passes", {"passes": ()}))
    }
    with tempfile.TemporaryDirectory() as folder:
        translations = translate(list(compiler), Path(folder), **programs)
    return {key: (translations[key], program) for key, program in programs.items()}


@each_compiler
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_the_programs_bit_for_bit(name, compiler):
    intervals = CASES[name].intervals
    for kind in ("all_passes", "no_passes"):
        translation, program = each_case(*compiler)[f"{name}_{kind}"]
        assert_agrees(translation, program, inside(intervals))
        assert_agrees(translation, program, outside(intervals))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.intervals])
def test_blocks_of_rows_give_what_single_rows_give(name):
    """So that what is compared with C is also what `map` and `gradients` say."""
    function, intervals = CASES[name]
    program, rows = record(function, len(intervals)), inside(intervals)
    outputs, by_inputs, _ = replayed(program, rows)
    mapped, gradients = program.gradients(*rows.T)
    assert_same(columns_of(program.map(*rows.T), len(rows)), outputs, "map")
    assert_same(columns_of(mapped, len(rows)), outputs, "gradients' outputs")
    for i, part in enumerate(gradients):
        assert_same(part.reshape(outputs.shape), by_inputs[:, :, i], f"gradients by {i}")


def columns_of(result: Any, rows: int) -> np.ndarray:
    """What `map` returns, as one array (rows, outputs)."""
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, (list, tuple)):
        return np.concatenate([columns_of(item, rows) for item in result], axis=1)
    return result.reshape(rows, -1)


@each_compiler
def test_passes_one_by_one(compiler, tmp_path):
    programs = {}
    for key, passes in {
        "fold": ("fold",),
        "hoist": ("hoist",),
        "fuse": ("fuse",),
        "hoist_fuse": ("hoist", "fuse"),
        "powers": ("powers",),
        "all": ("fold", "hoist", "fuse", "share", "powers"),
    }.items():

        def function(x: Value, y: Value) -> Any:
            u = x**2 * W[0] + y**-1 * W[1] + (W[2] * W[3]) ** -1 * x
            return u.tanh() + sum(p**2 for p in W), x**2 + u + Value(2.0) ** 2

        programs[key] = record(function, 2, passes=passes)
    assert "recip" in str(programs["all"]) and "recip" not in str(programs["fold"])
    for key, translation in translate(compiler, tmp_path, **programs).items():
        for rows in (inside((ANY, POSITIVE)), outside((ANY, ANY))):
            assert_agrees(translation, programs[key], rows)


@each_compiler
def test_powers_and_quotients_over_many_rows(compiler, tmp_path):
    """Compilers like to write pow otherwise: x**2 as a product, 2**x as exp2(x) ..."""

    def function(x: Value, y: Value) -> Any:
        return [
            *(x**n for n in (2, -1, 0.5, -0.5, 3, -2, 1.5, 0.25)),
            *(c**y for c in (2.0, 4.0, 0.5, 10.0, math.e, 3.0)),
            *(x / y, 1 / x, x / 3.0, x / 7, W[0] / x, x**y),
        ]

    program = record(function, 2)
    rng = np.random.default_rng(3)
    rows = np.stack([10 ** rng.uniform(-3, 3, 20_000), rng.uniform(0.1, 9.0, 20_000)], 1)
    translation = translate(compiler, tmp_path, program=program)["program"]
    outputs, by_inputs, _ = translation.run(rows)
    mapped, (by_x, by_y) = program.gradients(*rows.T)
    assert_same(outputs, mapped, "outputs")
    assert_same(by_inputs[:, :, 0], by_x, "gradients by x")
    assert_same(by_inputs[:, :, 1], by_y, "gradients by y")


OF_HARD = ("log", "exp", "tanh", "sin", "cos", "erf")
HARD = [  # glibc rounds these functions, and c**1.7, of these, three each, not correctly
    *(1.3356629710956356, 0.9142814983375589, 2.1598073969901455),
    *(1.5248772655487062, 2.7543680400164123, 1.8094658684640816),
    *(0.3964605534632386, 0.42253615120440324, 0.7750618035713218),
    *(0.12738431499120365, 0.9332547517159062, 2.7080561926079567),
    *(1.4249165144879612, 1.3860853316950452, 1.8091153568290077),
    *(0.8381183911349079, 1.0996544718573806, 0.4635881060964564),
    *(1.6465565741484736, 1.5811575178341057, 1.9321107344462518),
]
ROUND = (2.0, 3.0, 7.0, 10.0)
OF_CONSTANTS: dict[str, Callable[[Value], list[Value]]] = {
    "functions": lambda x: [
        x * getattr(Value(c), op.name)()
        for op in UNARY
        for c in (*(HARD if op.name in OF_HARD else HARD[::7]), *ROUND)
        if is_defined(op.name, c)
    ],
    "powers": lambda x: [x * Value(c) ** n for c in (*HARD, *ROUND) for n in (1.7, -1, Value(0.3))],
    "exponentials": lambda x: [y for c in (*HARD, *ROUND) for y in (c**x, (x * c).sin(), x**c)],
    "quotients": lambda x: [y for c in (*HARD, *ROUND) for y in (x / c, c / x)],
}


@each_compiler
def test_what_the_compiler_could_compute_itself_is_what_the_library_says(compiler, tmp_path):
    """A compiler rounds functions of constants correctly; the C library, almost always."""
    programs = {
        f"{kind}_{name}": record(function, 1, passes=passes)
        for kind, function in OF_CONSTANTS.items()
        for name, passes in (("no_passes", ()), ("all_passes", None))
    }
    for key, translation in translate(compiler, tmp_path, **programs).items():
        assert_agrees(translation, programs[key], inside((POSITIVE,), 40))


@each_compiler
def test_a_program_of_fast_mode_is_translated_to_the_librarys_functions(compiler, tmp_path):
    function, intervals = CASES["shared_by_outputs"]
    program = record(function, 2, math="fast")
    rows = inside(intervals)
    translation = translate(compiler, tmp_path, program=program)["program"]
    for ours, theirs in zip(translation.run(rows), replayed(program, rows)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@each_compiler
def test_a_loaded_program_is_translated_alike(compiler, tmp_path):
    program = record(CASES["choices"].function, 2)
    program.save(tmp_path / "program")
    loaded = pygradc.load(tmp_path / "program")
    assert loaded.to_c() == program.to_c() and str(loaded) == str(program)
    translation = translate(compiler, tmp_path, loaded=loaded)["loaded"]
    assert_agrees(translation, program, inside((ANY, ANY)))


# ---- The file as text ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("passes", [(), None], ids=["no passes", "all passes"])
def test_the_file_is_clean_text(name, passes):
    function, intervals = CASES[name]
    program = record(function, len(intervals), passes=passes)
    code = program.to_c("some_name")
    assert code.isascii() and code.endswith("}\n") and "\t" not in code and "\r" not in code
    assert not re.search(r"[ \t]+$", code, re.MULTILINE)
    for path in (__file__, pygradc.__file__, str(Path.home()), str(Path.cwd())):
        assert path not in code and Path(path).name + "/" not in code
    assert code.count("void some_name_value(") == code.count("void some_name_gradient(") == 1
    assert re.findall(r"#include (.*)", code) == ["<math.h>"]
    assert code == program.to_c("some_name")
    row = [low + 0.6 * (high - low) for low, high in intervals]  # where no op fails
    program = record(function, len(intervals), row, passes=passes, errors="raise")
    assert code == program.to_c("some_name")


def test_the_file_says_what_it_is():
    code = record(CASES["hoisted_penalty"].function, 1).to_c()
    assert "program.c - hoisted_penalty, recorded" in code
    assert "1 inputs, 4 parameters, 3 outputs" in code
    assert "void program_value(const double *inputs, const double *params, double *outputs)" in code


@pytest.mark.parametrize(
    "name",
    ["", " ", "1st", "a b", "a-b", "a.b", "é", "a\n", "\na", "a;", "a/*", "x y", "f()", "²", "a\0"],
)
def test_a_name_that_is_none_in_c_is_refused(name):
    program = record(CASES["no_parameters"].function, 2)
    with pytest.raises(ValueError, match="is not a C identifier"):
        program.to_c(name)


@each_compiler
def test_a_name_that_means_something_to_c_will_do(compiler, tmp_path):
    names = ["_", "pow", "sigmoid", "int", "main", "v0", "power", "x" * 200]
    programs = {name: record(lambda x: x.sigmoid() ** W[0], 1) for name in names}
    for name, translation in translate(compiler, tmp_path, **programs).items():
        assert_agrees(translation, programs[name], inside((ANY,), 10))


@each_compiler
def test_whatever_the_functions_name_the_file_compiles(compiler, tmp_path):
    """It stands in a comment, which it must not end."""
    programs = {}
    names = ["<lambda>", "a */ b", "a /* b", "*\\\n/", "a\nb", "größe", "??/", "!!<!!-"]
    for i, name in enumerate(names):

        def function(x: Value) -> Any:
            return x * W[0]

        function.__name__ = name
        programs[f"program{i}"] = record(function, 1)
    for key, translation in translate(compiler, tmp_path, **programs).items():
        assert_agrees(translation, programs[key], inside((ANY,), 10))


# ---- The listing ---------------------------------------------------------------------------------

NAME = re.compile(r"\b(?:in|p|u|v)\d+\b")


def parts_of(program: Program) -> tuple[str, str, list[str], list[str], list[str], str]:
    """Title, signature, labels, uniform instructions, row instructions, return."""
    title, signature, *lines = str(program).splitlines()
    uniform = lines.index("once per replay:") if "once per replay:" in lines else None
    rows = lines.index("for each row:") if "for each row:" in lines else len(lines) - 1
    labels = lines[: rows if uniform is None else uniform]
    before = [] if uniform is None else lines[uniform + 1 : rows]
    return title, signature, labels, before, lines[rows + 1 : -1], lines[-1]


def test_the_listing_of_a_small_function():
    a, b = Value(2.0, label="slope"), Value(1.0)

    def line(x: Value, y: Value) -> Any:
        scale = (a * a).exp()
        return where(x < 0.5, x * a + y * b + 1, detach(y)) * scale, x**2

    assert str(record(line, 2)) == (
        "<Program line: 2 inputs, 2 parameters, 2 outputs, 8 instructions>\n"
        "line(in0, in1)\n"
        "  p0 is slope\n"
        "once per replay:\n"
        "  u0 = p0 * p0\n"
        "  u1 = exp(u0)\n"
        "for each row:\n"
        "  v0 = dot: p0*in0 + p1*in1\n"
        "  v1 = v0 + 1.0\n"
        "  v2 = detach(in1)\n"
        "  v3 = v1 if in0 < 0.5 else v2\n"
        "  v4 = v3 * u1\n"
        "  v5 = in0 ** 2.0\n"
        "return v4, v5"
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("passes", [(), None], ids=["no passes", "all passes"])
def test_the_listing_has_a_line_an_instruction_and_defines_what_it_uses(name, passes):
    function, intervals = CASES[name]
    program = record(function, len(intervals), passes=passes)
    title, signature, _, uniform, rows, ends = parts_of(program)
    size = program._size
    assert title == repr(program) and signature.startswith(f"{name}(")
    assert (len(uniform), len(rows)) == (size.uniform_instrs, size.row_instrs)
    assert len(uniform) + len(rows) == len(program)
    inputs = {f"in{i}" for i in range(size.inputs)}
    known = {f"p{i}" for i in range(size.params)}
    for i, line in enumerate((*uniform, *rows)):
        known |= inputs if i == len(uniform) else set()
        result, formula = line.strip().split(" = ", 1)
        assert result == (f"u{i}" if i < len(uniform) else f"v{i - len(uniform)}")
        assert set(NAME.findall(formula)) <= known, line
        known.add(result)
    results = ends.replace("return ", "").split(", ")
    assert len(results) == size.outputs and set(results) <= known | inputs


def test_the_listing_names_every_op():
    text = str(record(every_unary_op, len(UNARY)))
    assert all(f"{op.name}(in{i})" in text for i, op in enumerate(UNARY))
    text = str(record(every_binary_op, 2 * len(BINARY)))
    signs = {"add": "+", "mul": "*", "pow": "**", "mod": "%", "floordiv": "//"}
    for i, op in enumerate(BINARY):
        a, b = f"in{2 * i}", f"in{2 * i + 1}"
        assert (f"{a} {signs[op.name]} {b}" if op.name in signs else f"{op.name}({a}, {b})") in text
    assert "in0 ** -1.0" in str(record(lambda x: x**-1, 1))


def test_the_listing_of_comparisons():
    text = str(record(every_comparison, 2))
    for sign in ("<", "<=", ">", ">="):
        assert f" if in0 {sign} in1 else " in text and f" if not in0 {sign} in1 else " in text


def test_the_listing_says_the_parameters_labels():
    labelled = [Value(0.1 * i, label=f"weight {i}" if i != 2 else "") for i in range(4)]
    program = record(lambda x: sum((x * p for p in labelled), 0.0), 1)
    assert parts_of(program)[2] == [f"  p{i} is weight {i}" for i in (0, 1, 3)]
    labelled[2].label = "late"
    assert "  p2 is late" in parts_of(program)[2]


def test_a_label_of_two_lines_is_no_instruction():
    w = Value(1.0, label="a\n  v7 = in0 * in0")
    _, _, labels, uniform, rows, _ = parts_of(record(lambda x: x * w, 1))
    assert len(labels) == 1 and uniform == [] and rows == ["  v0 = in0 * p0"]


def test_the_listing_shortens_what_is_long():
    xs = 30
    program = record(lambda *x: sum(a * p for a, p in zip(x, itertools.cycle(W))), xs)
    _, signature, _, _, rows, _ = parts_of(program)
    assert signature == "<lambda>(in0 ... in29)"
    assert any("+ ... 24 more ... + p1*in29" in line and "p0*in4 " in line for line in rows)
    assert max(map(len, str(program).splitlines())) < 100


def test_the_listing_is_what_print_prints(capsys):
    program = record(CASES["choices"].function, 2)
    print(program)
    assert capsys.readouterr().out == str(program) + "\n"
