"""Does a file bring the same program back, and does a bad one only ever give ValueError?

Files are damaged in many ways: cut, with single bytes changed, with checksums that are right all
the same, with code and descriptions written for the purpose. What may crash runs in a process of
its own, as a function of this file, in SCENARIOS.
"""

from __future__ import annotations

import contextlib
import copy
import faulthandler
import functools
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import of_any

import pygradc
from pygradc import Program, Value, detach, maximum, nn, where
from pygradc._core import lib
from pygradc.core.ops import OPS
from pygradc.files.magic import PROGRAM as MAGIC
from pygradc.recorded import structure as structures
from pygradc.recorded.program_file import VERSION

# ---- Programs to save ----------------------------------------------------------------------------

PROGRAMS: dict[str, Callable[[], tuple[Program, tuple[Any, ...]]]] = {}
Case = tuple[Callable[..., Any], tuple[Any, ...]]


def case(**options: Any) -> Callable[[Callable[[], Case]], None]:
    """Let tests run over the program of this function, with these arguments, one row of them."""

    def register(make: Callable[[], Case]) -> None:
        def made() -> tuple[Program, tuple[Any, ...]]:
            function, row = make()
            return record(function, *row, **options), row

        PROGRAMS[make.__name__] = made

    return register


def record(function: Callable[..., Any], *row: Any, **options: Any) -> Program:
    compiled = pygradc.compile(function, **options)
    compiled(*row)
    (program,) = compiled.programs
    return program


def weights(count: int = 3) -> list[Value]:
    return [Value(0.3 * i - 0.4, label=f"w{i}") for i in range(count)]


@case()
def model() -> Case:
    mlp = nn.MLP(3, [4, 4, 1], activation="tanh")
    return lambda x: mlp(x), ([0.1, 0.2, 0.3],)


@case()
def every_kind_of_instruction() -> Case:
    w = weights()

    def function(x: Value, y: Value) -> Any:
        hoisted = sum(p * p for p in w)
        chain = hoisted.exp() + w[0] * x + w[1] * y + w[2] * x
        chosen = where(x < y, chain, detach(x * y + x * x))
        return chosen, w[0], 3.0, maximum(x**2, y) + x * y, w[1].tanh() / (y * y + 1)

    return function, (0.5, 2.0)


@case()
def every_op() -> Case:
    def function(x: Value, y: Value) -> Any:
        unary = [of_any(op.name, x) for op in OPS if op.arity == 1 and not op.takes_number]
        return unary, [getattr(x, op.name)(y) for op in OPS if op.arity == 2], x**3

    return function, (0.5, 1.5)


@case(math="fast")
def fast() -> Case:
    w = weights()
    return lambda x: (x.tanh() * w[0] + (x**2 + 1) ** -1 * w[1], x.exp() + w[2]), (0.4,)


@case(errors="ignore")
def ignoring_errors() -> Case:
    w = weights()
    return lambda x: (x * w[0]).log() + x.sqrt(), (-1.0,)


@case(passes=())
def no_passes() -> Case:
    w = weights()
    return lambda x: (x * w[0] + w[1] + Value(2.0).exp()).sigmoid(), (0.3,)


@case()
def no_parameters() -> Case:
    return lambda x, y: x * y + (x - y).tanh(), (0.5, 0.25)


@case()
def no_inputs() -> Case:
    w = weights()
    return lambda: (w[0] * w[1], Value(2.0)), ()


@case()
def neither() -> Case:
    return lambda: Value(1.5), ()


@case()
def containers() -> Case:
    w = weights()

    def function(x: Any, more: Any) -> Any:
        a, (b, c) = more["a"], more["bc"]
        return {"s": x[0] * w[0], "l": [a, b * w[1]], "t": (c, [x[1], [x[2], 1.0]]), "é\n": a}

    return function, (np.array([1.0, 2.0, 3.0]), {"a": 0.1, "bc": (0.2, 0.3)})


@case()
def arrays() -> Case:
    return lambda x: x * 2.0, (np.arange(6.0).reshape(2, 3),)


@case()
def static_results() -> Case:
    return lambda x: (None, x * x, "text", True, {"k": False, "v": [x, None]}), (0.7,)


@case()
def empty_containers() -> Case:
    return lambda x, y: ([], x[0] + x[1], {}, (), np.empty((0, 3))), ([0.5, 0.1], np.empty(0))


@case()
def two_and_two() -> Case:
    w = Value(1.0)
    return lambda x, y: (x * w, y), (1.0, 2.0)


@case()
def odd_numbers() -> Case:
    w = [Value(v) for v in (math.inf, -math.inf, math.nan, -0.0, 5e-324, 1.7e308)]
    return lambda x: [p * x + math.inf for p in w] + [x * -0.0, maximum(w[3], x)], (2.0,)


each_program = pytest.mark.parametrize("name", PROGRAMS)


def rows_like(row: tuple[Any, ...], count: int = 70) -> tuple[Any, ...]:
    """Arrays with so many rows, for `map`, around one row of arguments."""
    rng = np.random.default_rng(1)

    def many(arg: Any) -> Any:
        if isinstance(arg, dict):
            return {key: many(item) for key, item in arg.items()}
        return np.asarray(arg, dtype=float) + rng.uniform(0, 1, (count, *np.shape(arg)))

    return tuple(map(many, row))


def flat(result: Any) -> list[Any]:
    """What is in containers, with their types and keys."""
    if isinstance(result, dict):
        return ["dict", *result, *itertools.chain.from_iterable(map(flat, result.values()))]
    if isinstance(result, (list, tuple)):
        return [type(result).__name__, *itertools.chain.from_iterable(map(flat, result))]
    if isinstance(result, np.ndarray) and result.dtype == object:
        return [result.shape, *result.ravel().tolist()]
    return [result]


def bits(number: Any) -> Any:
    if isinstance(number, np.ndarray):
        number = np.where(np.isnan(number), np.nan, number)
        return number.shape, number.tobytes()
    if isinstance(number, float):
        return struct.pack("<d", math.nan if math.isnan(number) else number)
    return number


def everything(program: Program, row: tuple[Any, ...]) -> list[Any]:
    """Outputs, gradients, sums and their gradients, to the last bit; and what one can read."""
    said = [str(program), program.to_c(), len(program), repr(program)]
    said += [p.label for p in program.parameters()]
    numbers = [p.data for p in program.parameters()]
    runs = [program(*row)]
    if row:
        rows = rows_like(row)
        runs += [program.sum(*rows), program.mean(*rows)]
        numbers += flat(program.map(*rows)) + flat(program.gradients(*rows))
    for end in itertools.chain.from_iterable(map(flat, runs)):
        numbers.append(end.data if isinstance(end, Value) else end)
        if isinstance(end, Value):
            for p in program.parameters():
                p.grad = 0.0
            end.backward()
            numbers += [p.grad for p in program.parameters()]
    return said + [bits(number) for number in numbers]


# ---- The same program ----------------------------------------------------------------------------


def through_a_file(program: Program, folder: Path) -> Program:
    program.save(folder / "program.pygradc")
    return pygradc.load(folder / "program.pygradc")


@each_program
def test_a_file_brings_the_same_program_back(name, tmp_path):
    program, row = PROGRAMS[name]()
    loaded = through_a_file(program, tmp_path)
    assert type(loaded) is Program and everything(loaded, row) == everything(program, row)
    assert through_a_file(loaded, tmp_path).__reduce__() == program.__reduce__()
    assert not {id(p) for p in loaded.parameters()} & {id(p) for p in program.parameters()}


@each_program
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_brings_the_same_program_back(name, protocol):
    program, row = PROGRAMS[name]()
    again = pickle.loads(pickle.dumps(program, protocol))
    assert everything(again, row) == everything(program, row)


@each_program
def test_copies_are_the_same_program(name):
    program, row = PROGRAMS[name]()
    wanted = everything(program, row)
    assert everything(copy.copy(program), row) == wanted
    assert everything(copy.deepcopy(program), row) == wanted


def test_a_copy_shares_parameters_and_a_deep_copy_has_its_own():
    w = Value(2.0, label="w")
    program = record(lambda x: x * w, 1.0)
    shallow, deep = copy.copy(program), copy.deepcopy(program)
    assert shallow.parameters()[0] is w and deep.parameters()[0] is not w
    w.data = 5.0
    assert [p(3.0).data for p in (program, shallow, deep)] == [15.0, 15.0, 6.0]
    twice = copy.deepcopy([program, program])
    assert twice[0] is twice[1]


def test_a_loaded_programs_parameters_are_trained_as_any(tmp_path):
    w = [Value(1.0), Value(2.0)]
    program = record(lambda x: (x * w[0] + w[1]) ** 2, 1.0)
    loaded = through_a_file(program, tmp_path)
    for each in (program, loaded):
        optimizer = pygradc.optim.SGD(each.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            each.mean(np.arange(4.0)).backward()
            optimizer.step()
    assert [p.data for p in loaded.parameters()] == [p.data for p in w] != [1.0, 2.0]


def test_the_data_saved_are_those_of_that_moment(tmp_path):
    w = Value(1.0)
    program = record(lambda x: x * w, 1.0)
    w.data = 7.0
    program.save(tmp_path / "a")
    w.data, w.label = 8.0, "late"
    assert pygradc.load(str(tmp_path / "a")).parameters()[0].data == 7.0
    program.save(str(tmp_path / "a"))
    (p,) = pygradc.load(tmp_path / "a").parameters()
    assert (p.data, p.grad, p.label) == (8.0, 0.0, "late")


@pytest.mark.parametrize("label", ["é日本", "a\nb", '"', "\\", "\0", "\ud800", " ", "x" * 10_000])
def test_any_label_comes_along(label, tmp_path):
    w = [Value(1.0), Value(2.0, label=label)]
    loaded = through_a_file(record(lambda x: x * w[0] + w[1], 1.0), tmp_path)
    assert [p.label for p in loaded.parameters()] == ["", label]


def test_errors_are_raised_or_ignored_as_in_the_program_saved(tmp_path):
    ignoring, row = PROGRAMS["ignoring_errors"]()
    assert math.isnan(through_a_file(ignoring, tmp_path)(*row).data)
    raising = record(lambda x: x.log(), 1.0)
    with pytest.raises(FloatingPointError, match="row 2: log"):
        through_a_file(raising, tmp_path).map(np.array([1.0, 2.0, -1.0]))


def test_arguments_of_another_structure_are_refused_as_by_the_program_saved(tmp_path):
    program, _ = PROGRAMS["containers"]()
    loaded = through_a_file(program, tmp_path)
    for wrong in ((), (1.0,), ([1.0, 2.0, 3.0], {"a": 1.0}), ([1.0, 2.0, 3.0, 4.0], {})):
        with pytest.raises(ValueError) as theirs:
            program(*wrong)
        with pytest.raises(ValueError) as ours:
            loaded(*wrong)
        assert str(ours.value) == str(theirs.value)


class Pair(NamedTuple):
    first: Any
    second: Any


def test_a_named_tuple_comes_back_as_a_tuple(tmp_path):
    program = record(lambda p: Pair(p.first * 2, p.second), Pair(1.0, 2.0))
    result = through_a_file(program, tmp_path)((3.0, 4.0))
    assert type(result) is tuple and [v.data for v in result] == [6.0, 4.0]


def test_twenty_thousand_instructions(tmp_path):
    def function(x: Value) -> Any:
        total = x
        for i in range(10_000):
            total = total * 0.999 + i
        return total

    program = record(function, 1.0, passes=())
    assert len(program) == 20_000
    loaded = through_a_file(program, tmp_path)
    rows = np.linspace(-1, 1, 5)
    assert bits(loaded.map(rows)) == bits(program.map(rows))
    assert bits(loaded.gradients(rows)[1][0]) == bits(program.gradients(rows)[1][0])
    assert str(loaded) == str(program)


# ---- Other processes -----------------------------------------------------------------------------


def run_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own that can import what this one can."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def test_a_fresh_process_runs_it_without_the_function(tmp_path):
    program, row = PROGRAMS["containers"]()
    program.save(tmp_path / "p")
    code = (
        "import sys, numpy as np, pygradc\n"
        "p = pygradc.load(sys.argv[1])\n"
        "r = p(np.array([1.0, 2.0, 3.0]), {'a': 0.1, 'bc': (0.2, 0.3)})\n"
        "(r['s'] + r['l'][1] + r['t'][1][1][0]).backward()\n"
        "print(*(v.data.hex() for v in (r['s'], r['l'][1], r['t'][0])))\n"
        "print(*(v.grad.hex() for v in p.parameters()), *(v.label for v in p.parameters()))\n"
    )
    done = run_here("-c", code, str(tmp_path / "p"))
    assert done.returncode == 0, done.stderr
    result = program(*row)
    shown = [result["s"], result["l"][1], result["t"][0]]
    (result["s"] + result["l"][1] + result["t"][1][1][0]).backward()
    gradients = [p.grad.hex() for p in program.parameters()]
    labels = [p.label for p in program.parameters()]
    lines = done.stdout.splitlines()
    assert lines[0].split() == [v.data.hex() for v in shown]
    assert lines[1].split() == gradients + labels


def test_worker_processes_sum_as_one_does():
    """Programs go to them as bytes, so that the function may be a lambda, or local."""
    w = weights()

    def local(x: Any, target: Value) -> Any:
        return ((x[0] * w[0] + x[1] * w[1] + w[2]).tanh() - target) ** 2

    rng = np.random.default_rng(2)
    x, target = rng.normal(size=(5000, 2)), rng.normal(size=5000)
    functions = [pygradc.compile(local), pygradc.compile(lambda a, b: local(a, b) * a[1].exp())]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for f in functions:
            results = []
            for executor in (None, pool):
                for p in w:
                    p.grad = 0.0
                total = f.sum(x, target, executor=executor)
                total.backward()
                outputs, gradients = f.gradients(x, target, executor=executor)
                results.append([bits(v) for v in (total.data, *(p.grad for p in w))])
                results[-1] += [bits(array) for array in (outputs, *gradients)]
            assert results[0] == results[1]
        loaded = pickle.loads(pickle.dumps(functions[0].programs[0]))
        assert loaded.sum(x, target, executor=pool).data == functions[0].sum(x, target).data
        with pytest.raises(FloatingPointError, match=r"row 4321: log"):
            logs = pygradc.compile(lambda v: v.log())
            logs.map(np.where(np.arange(5000) == 4321, -1.0, 1.0), executor=pool)


# ---- What can't be saved -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function, row, message",
    [
        (lambda x: {1: x}, (1.0,), "dict keys that aren't strings"),
        (lambda x: [{"a": {(1, 2): x}}], (1.0,), "dict keys that aren't strings"),
        (lambda d: d[0] * 2, ({0: 1.0},), "dict keys that aren't strings"),
        (lambda x: (x, b"bytes"), (1.0,), "bytes"),
    ],
)
def test_what_can_not_be_saved_says_why_and_leaves_the_file(function, row, message, tmp_path):
    program = record(function, *row)
    path = tmp_path / "precious"
    path.write_bytes(b"as it was")
    with pytest.raises(ValueError, match=message):
        program.save(path)
    assert path.read_bytes() == b"as it was"


def test_a_folder_that_is_not_there(tmp_path):
    program, _ = PROGRAMS["no_parameters"]()
    with pytest.raises(FileNotFoundError):
        program.save(tmp_path / "nowhere" / "p")
    with pytest.raises(FileNotFoundError):
        pygradc.load(tmp_path / "p")
    with pytest.raises(OSError):
        program.save(tmp_path)


# ---- A file taken apart, and put together otherwise ----------------------------------------------


class Code:
    """The code of a file, as program_bytes.c of the core writes it, every field open to change."""

    COUNTS = ("constants", "params", "inputs", "imports", "uniform", "length", "pairs", "outputs")

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0
        self.names = [self.take(*self.take("B")) for _ in range(self.u32())]
        self.counts = dict(zip((*self.COUNTS, "fast"), self.take("9I")))
        c = self.counts
        self.constants = self.take(f"{c['constants']}d")
        self.imports = self.take(f"{c['imports']}I")
        self.instrs = [Instr(*self.take("2B4I")) for _ in range(c["length"])]
        self.pairs = [self.take("2I") for _ in range(c["pairs"])]
        self.outputs = self.take(f"{c['outputs']}I")
        self.orders = [self.take(f"{self.u32()}I") for _ in range(c["outputs"])]
        self.rest = content[self.at :]

    def take(self, form: Any) -> Any:
        form = f"<{form}" if isinstance(form, str) else f"<{form}s"
        numbers = struct.unpack_from(form, self.content, self.at)
        self.at += struct.calcsize(form)
        return list(numbers) if not form.endswith("s") else numbers[0]

    def u32(self) -> int:
        return int(self.take("I")[0])

    def pack(self) -> bytes:
        parts = [struct.pack("<I", len(self.names))]
        parts += [bytes([len(name)]) + name for name in self.names]
        parts.append(struct.pack("<9I", *self.counts.values()))
        parts.append(struct.pack(f"<{len(self.constants)}d", *self.constants))
        parts.append(struct.pack(f"<{len(self.imports)}I", *self.imports))
        parts += [struct.pack("<2B4I", *vars(instr).values()) for instr in self.instrs]
        parts += [struct.pack("<2I", *pair) for pair in self.pairs]
        parts.append(struct.pack(f"<{len(self.outputs)}I", *self.outputs))
        parts += [struct.pack(f"<I{len(order)}I", len(order), *order) for order in self.orders]
        return b"".join(parts) + self.rest

    def find(self, name: str, where: Callable[[Instr], bool] = lambda instr: True) -> Instr:
        """The first instruction of this op."""
        number = self.names.index(name.encode())
        return next(i for i in self.instrs if i.op == number and where(i))

    def dst(self, instr: Instr) -> int:
        i, c = self.instrs.index(instr), self.counts
        if i < c["uniform"]:
            return c["constants"] + c["params"] + i
        return c["inputs"] + c["imports"] + i - c["uniform"]


class Instr:
    def __init__(self, op: int, shape: int, a: int, b: int, first: int, count: int) -> None:
        self.op, self.shape, self.a, self.b, self.first, self.count = op, shape, a, b, first, count


class Parts:
    """A file's description, numbers and code."""

    def __init__(self, content: bytes) -> None:
        body = content[HEAD:]
        text, numbers = struct.unpack_from("<QQ", body)
        self.about = json.loads(body[16 : 16 + text])
        self.numbers = body[16 + text : 16 + text + numbers]
        self.code = Code(body[16 + text + numbers :])

    def pack(self, text: str | bytes | None = None, code: bytes | None = None) -> bytes:
        text = json.dumps(self.about) if text is None else text
        text = text.encode() if isinstance(text, str) else text
        code = self.code.pack() if code is None else code
        lengths = struct.pack("<QQ", len(text), len(self.numbers))
        return sealed(lengths + text + self.numbers + code)


HEAD = 8 + 4 + 32
DAMAGED = r"damaged|description"


def sealed(body: bytes, magic: bytes = MAGIC, version: int = VERSION) -> bytes:
    """A file of this body, its checksum right."""
    return magic + struct.pack("<I", version) + hashlib.sha256(body).digest() + body


def as_bytes(program: Program) -> bytes:
    return bytes(program.__reduce__()[1][0])


def loads(content: bytes) -> Program:
    return loader()(content)


@functools.cache
def loader() -> Callable[[bytes], Program]:
    """What unpickles a program."""
    return PROGRAMS["neither"]()[0].__reduce__()[0]


def attacked(name: str = "every_kind_of_instruction") -> Parts:
    return Parts(as_bytes(PROGRAMS[name]()[0]))


@each_program
def test_taking_apart_loses_nothing(name):
    content = as_bytes(PROGRAMS[name]()[0])
    parts = Parts(content)
    assert parts.pack() == content and parts.code.rest == b""


def test_the_program_under_attack_has_all_kinds_of_instructions():
    code = attacked().code
    uniform, rows = code.counts["uniform"], code.instrs[code.counts["uniform"] :]
    kinds = {code.names[i.op].decode() for i in code.instrs}
    assert kinds >= {"select", "detach", "copy", "dot", "maximum", "pown", "mul", "exp"}
    dots = {(i.op in {code.find("dot").op}, i.shape) for i in rows}
    assert (True, 0) in dots and (True, 7) in dots and uniform > 1
    assert any(i.op == code.find("dot").op and i.shape == 1 for i in code.instrs[:uniform])
    assert "recip" in str(PROGRAMS["fast"]()[0])


# ---- Damage that the checksum finds --------------------------------------------------------------


def test_every_truncation_is_noticed():
    content = as_bytes(PROGRAMS["no_parameters"]()[0])
    for length in range(len(content)):
        with pytest.raises(ValueError):
            loads(content[:length])


def test_every_change_of_a_byte_is_noticed():
    content = as_bytes(PROGRAMS["no_parameters"]()[0])
    for at, byte in itertools.product(range(len(content)), range(256)):
        if byte == content[at]:
            continue
        try:
            loads(content[:at] + bytes([byte]) + content[at + 1 :])
        except ValueError:
            continue
        pytest.fail(f"byte {at} may be {byte}")


def test_bytes_at_the_end_are_noticed():
    content = as_bytes(PROGRAMS["no_parameters"]()[0])
    for more in (b"\0", b"\n", content):
        with pytest.raises(ValueError, match="damaged"):
            loads(content + more)
        with pytest.raises(ValueError, match="damaged"):
            loads(sealed(content[HEAD:] + more))


@pytest.mark.parametrize("content", [b"", b"\0", MAGIC, b"PK\3\4" * 30, b"pygradd\0" + b"\0" * 99])
def test_what_is_no_program_is_called_so(content, tmp_path):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(ValueError, match="this is not a pygradc program"):
        pygradc.load(tmp_path / "p")


@pytest.mark.parametrize("version", [0, 2, 0xFFFFFFFF])
def test_another_version_is_called_so(version):
    body = as_bytes(PROGRAMS["no_parameters"]()[0])[HEAD:]
    with pytest.raises(ValueError, match=f"version {version}; this pygradc reads version 1"):
        loads(sealed(body, version=version))


# ---- Damage behind a right checksum: the code ----------------------------------------------------

HUGE = [0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]
CodeChange = Callable[[Code], None]


def setting(find: Callable[[Code], Any], field: str, to: Callable[[Code, Any], int]) -> CodeChange:
    def change(code: Code) -> None:
        instr = find(code)
        setattr(instr, field, to(code, instr))

    return change


def code_changes() -> Iterator[tuple[str, CodeChange]]:
    """Changes each of which makes the code unsound."""
    ops = ("mul", "exp", "maximum", "pown", "select", "detach", "copy")
    bad: dict[str, Callable[[Code, Any], int]] = {
        "itself": lambda code, instr: code.dst(instr),
        "later": lambda code, instr: code.dst(instr) + 1,
        "nothing": lambda code, instr: 0xFFFFFFFF,
        "wrapping": lambda code, instr: 0x80000000 + instr.a,
    }
    for op, field, (kind, to) in itertools.product(ops, "ab", bad.items()):
        yield f"{op}.{field} = {kind}", setting(lambda c, op=op: c.find(op), field, to)
    for flags, (kind, to) in itertools.product((1, 7), bad.items()):
        if (flags, kind) not in ((7, "itself"), (7, "later")):
            yield f"start of dot {flags} = {kind}", setting(dot(flags), "a", to)
    yield "start after the uniform slots", setting(dot(7), "a", uniform_slots)
    for flags, side, (kind, to) in itertools.product((0, 1, 7), (0, 1), bad.items()):
        if (flags, side) == (7, 0) and kind in ("itself", "later"):
            continue

        def change(code: Code, flags: int = flags, side: int = side, to: Any = to) -> None:
            instr = dot(flags)(code)
            code.pairs[instr.first + instr.count - 1][side] = to(code, instr)

        yield f"{('left', 'right')[side]} of dot {flags} = {kind}", change

    def weight(code: Code) -> None:
        code.pairs[dot(7)(code).first][0] = uniform_slots(code)

    yield "weight after the uniform slots", weight
    for op in ("dot", "select"):
        for n in HUGE:
            yield f"{op}.first = {n}", setting(lambda c, op=op: c.find(op), "first", number(n))
            yield f"{op}.count = {n}", setting(lambda c, op=op: c.find(op), "count", number(n))
        for n in (0,) if op == "dot" else (0, 2):
            yield f"{op}.count = {n}", setting(lambda c, op=op: c.find(op), "count", number(n))
    yield "pairs past the end", setting(dot(7), "first", lambda c, i: len(c.pairs) - i.count + 1)
    yield "pairs of an op that has none", setting(lambda c: c.find("mul"), "count", number(1))
    for n in (lib.PG_COMPARE_COUNT, 128, 255):
        yield f"compare = {n}", setting(lambda c: c.find("select"), "shape", number(n))
    for n in (32, 64, 128, 255):
        yield f"dot flags {n}", setting(dot(1), "shape", number(n))
    yield "squares of weights", setting(dot(7), "shape", number(15))
    yield "squares that are gates", setting(dot(1), "shape", number(24))
    yield "uniform start of no start", setting(dot(0), "shape", number(2))
    yield "weights in the uniform part", setting(dot(1), "shape", number(5))
    yield "uniform start in the uniform part", setting(dot(1), "shape", number(3))
    beyond_all = setting(lambda c: c.find("mul"), "op", lambda c, i: len(c.names))
    yield "an op beyond the names", beyond_all
    for n in (100, 255):
        yield f"op {n}", setting(lambda c: c.find("mul"), "op", number(n))
    yield "an op without a name", setting(lambda c: c.find("mul"), "op", lambda c, i: nameless(c))
    yield from count_changes()
    yield from order_changes()


def number(n: int) -> Callable[[Code, Any], int]:
    return lambda code, instr: n


def dot(flags: int) -> Callable[[Code], Instr]:
    return lambda code: code.find("dot", lambda instr: instr.shape == flags)


def uniform_slots(code: Code, instr: Any = None) -> int:
    return code.counts["constants"] + code.counts["params"] + code.counts["uniform"]


def nameless(code: Code) -> int:
    return code.names.index(b"")


def count_changes() -> Iterator[tuple[str, CodeChange]]:
    for key in Code.COUNTS:
        for to in (*HUGE, 0, "one more", "one less"):

            def change(code: Code, key: str = key, to: Any = to) -> None:
                old = code.counts[key]
                code.counts[key] = old + (to == "one more") - (to == "one less")
                if not isinstance(to, str):
                    code.counts[key] = to

            yield f"{key} = {to}", change

    def rename(to: bytes) -> CodeChange:
        def change(code: Code) -> None:
            code.names[code.find("mul").op] = to

        return change

    for name in (b"frobnicate", b"", b"MUL", b"mul\0", b"mu", b"\xff" * 255):
        yield f"mul is called {name[:12]!r}", rename(name)
    for i, field in itertools.product(range(2), ("imports", "outputs")):

        def beyond(code: Code, i: int = i, field: str = field) -> None:
            rows = code.counts["inputs"] + code.counts["imports"] + len(code.instrs)
            most = {"imports": uniform_slots(code), "outputs": rows - code.counts["uniform"]}
            getattr(code, field)[-1] = (most[field], 0xFFFFFFFF)[i]

        yield f"{field} beyond the slots, {i}", beyond


def order_changes() -> Iterator[tuple[str, CodeChange]]:
    def order(change: Callable[[list[int], Code], None]) -> CodeChange:
        return lambda code: change(max(code.orders, key=len), code)

    yield "reversed", order(lambda o, c: o.reverse())
    yield "the last first", order(lambda o, c: o.insert(0, o.pop()))
    yield "twice the last", order(lambda o, c: o.append(o[-1]))
    yield "twice the first", order(lambda o, c: o.append(o[0]))
    yield "twice in place of another", order(lambda o, c: o.__setitem__(-1, o[0]))
    yield "without the first", order(lambda o, c: o.remove(o[0]))
    for n in ("length", *HUGE):
        yield (
            f"order of {n}",
            order(lambda o, c, n=n: o.append(c.counts["length"] if n == "length" else n)),
        )
    for n in HUGE:

        def longer(code: Code, n: int = n) -> None:
            code.rest = struct.pack("<I", n)
            code.orders.pop()

        yield f"an order of {n} elements", longer


def lengthen_uniform(by: int) -> CodeChange:
    return lambda code: code.counts.update(uniform=code.counts["length"] + by)


CODE_CHANGES = {what: ("every_kind_of_instruction", change) for what, change in code_changes()}
for by in (1, 2, 1000):
    CODE_CHANGES[f"{by} uniform too many"] = ("neither", lengthen_uniform(by))


def make_unsound(trial: Trial) -> None:
    """Print what becomes of each change: ["its name", "what happened"]."""
    for what, (name, change) in CODE_CHANGES.items():
        parts = attacked(name)
        before = parts.pack()
        change(parts.code)
        after = parts.pack()
        assert before != after, what
        trial.take_note(what, after)
        try:
            loads(after)
            verdict = "accepted"
        except ValueError as error:
            verdict = f"refused: {error}"
        print(json.dumps([what, verdict]), flush=True)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory) -> dict[str, str]:
    note = tmp_path_factory.mktemp("unsound") / "note"
    done = run_here(__file__, "make_unsound", str(note))
    found = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    if done.returncode != 0:
        what = note.read_text(encoding="ascii").split("\n")[0]
        found[what] = f"ended with {done.returncode}: {done.stderr[-2000:]}"
    return found


@pytest.mark.parametrize("what", CODE_CHANGES)
def test_unsound_code_is_refused(what, verdicts):
    verdict = verdicts.get(what, "not reached: one before it crashed")
    assert verdict.startswith("refused") and re.search(r"damaged|doesn't fit", verdict), verdict


def test_an_output_in_an_imports_slot_is_refused_or_right():
    """Programs that were recorded have a copy there, which passes the gradient on."""
    parts = attacked("two_and_two")
    code = parts.code
    assert code.imports == [uniform_slots(code) - 1] and code.counts["inputs"] == 2
    code.outputs[1], code.orders[1] = 2, []
    try:
        program = loads(parts.pack())
    except ValueError:
        return
    result = program(3.0, 4.0)[1]
    result.backward()
    assert (result.data, program.parameters()[0].grad) == (1.0, 1.0)
    assert "return v0, p0" in str(program)


@pytest.mark.parametrize("inputs", [2**30, 2**31, 2**32 - 2, 2**32 - 1])
def test_more_inputs_than_slots_can_be_numbered_are_refused(inputs):
    """Inputs take no bytes in the code, so that the description may well agree."""
    parts = attacked("neither")
    axes = [2**30] * (inputs // 2**30) + [inputs % 2**30] * (inputs % 2**30 > 0)
    parts.about["inputs"] = {"tuple": [{"array": [n]} for n in axes]}
    parts.code.counts["inputs"] = inputs
    parts.code.instrs[0].a, parts.code.outputs = 0, [0]
    with pytest.raises(ValueError, match=DAMAGED):
        loads(parts.pack())


def test_any_cut_of_the_code_is_refused():
    parts = attacked()
    code = parts.code.pack()
    for length in range(len(code)):
        with pytest.raises(ValueError, match="damaged"):
            loads(parts.pack(code=code[:length]))


def test_ops_go_by_name_not_by_number():
    """So that a table with other ops, in another order, reads old files."""
    program, row = PROGRAMS["every_kind_of_instruction"]()
    parts = Parts(as_bytes(program))
    code = parts.code
    places = list(range(len(code.names)))
    random.Random(1).shuffle(places)
    names = [code.names[i] for i in places]
    for instr in code.instrs:
        instr.op = places.index(instr.op)
    code.names = [name or b"some op of tomorrow" for name in names]
    loaded = loads(parts.pack())
    assert everything(loaded, row) == everything(program, row)
    assert as_bytes(loaded) == as_bytes(program)


def test_odd_numbers_are_no_damage():
    parts = attacked()
    for number in (math.inf, -math.inf, math.nan, -0.0, 5e-324):
        parts.numbers = struct.pack("<3d", number, 1.0, number)
        assert [bits(p.data) for p in loads(parts.pack()).parameters()] == [
            bits(v) for v in (number, 1.0, number)
        ]
    for length in (0, 8, 16, 23, 25, 32):
        parts.numbers = b"\0" * length
        with pytest.raises(ValueError):
            loads(parts.pack())


@pytest.mark.parametrize("n", [0, 1, 7, 1000, 2**32, 2**63, 2**64 - 8, 2**64 - 1])
@pytest.mark.parametrize("which", [0, 1])
def test_wrong_lengths_are_refused(which, n):
    body = bytearray(attacked().pack()[HEAD:])
    struct.pack_into("<Q", body, 8 * which, n)
    with pytest.raises(ValueError, match="damaged"):
        loads(sealed(bytes(body)))


# ---- Damage behind a right checksum: the description ---------------------------------------------


def nested(depth: int) -> str:
    return '{"list": [' * depth + '"leaf"' + "]}" * depth


BAD_TEXTS = {
    "nothing": "",
    "no JSON": "{'name': 1}",
    "no UTF-8": b"\xff\xfe\xfd",
    "a list": "[]",
    "a number": "1",
    "null": "null",
    "nothing in it": "{}",
    "two objects": "{}{}",
    "brackets": "[" * 100_000,
    "braces": '{"a":' * 100_000,
    "a long number": "1" * 100_000,
}
STRUCTURES: dict[str, Any] = {
    "no structure": "leaves",
    "null": None,
    "a number": 5,
    "empty": {},
    "unknown": {"set": ["leaf", "leaf"]},
    "too few": {"tuple": ["leaf"]},
    "too many": {"tuple": ["leaf"] * 3},
    "no list": {"tuple": 2},
    "null for items": {"tuple": None},
    "a string for items": {"tuple": "ab"},
    "negative axes": {"array": [-1, -2]},
    "no axes": {"array": []},
    "a huge axis": {"array": [2**62]},
    "huge axes": {"array": [2**31, 2**31, 2**31]},
    "a huge axis and an empty one": {"tuple": ["leaf", "leaf", {"array": [0, 2**70]}]},
    "many axes": {"tuple": ["leaf", {"array": [1] * 70}]},
    "an infinite axis": {"array": [math.inf]},
    "an axis of nan": {"array": [math.nan]},
    "an axis of text": {"array": ["two"]},
    "an axis of lists": {"array": [[2]]},
    "no keys": {"dict": ["a"], "items": ["leaf", "leaf"]},
    "no items": {"dict": ["a", "b"]},
    "no strings for keys": {"dict": [1, 2], "items": ["leaf", "leaf"]},
    "one key twice": {"dict": ["a", "a"], "items": ["leaf", "leaf"]},
    "null for keys": {"dict": None, "items": None},
    "a static number": {"tuple": ["leaf", "leaf", {"static": 1.5}]},
    "a static list": {"tuple": ["leaf", "leaf", {"static": []}]},
}


@pytest.mark.parametrize("what", BAD_TEXTS)
def test_a_bad_description_is_refused(what):
    with pytest.raises(ValueError, match=DAMAGED):
        loads(attacked().pack(BAD_TEXTS[what]))


@pytest.mark.parametrize("where", ["inputs", "outputs"])
@pytest.mark.parametrize("what", STRUCTURES)
def test_a_bad_structure_is_refused(what, where):
    parts = attacked("two_and_two")
    parts.about[where] = STRUCTURES[what]
    with pytest.raises(ValueError, match=DAMAGED):
        loads(parts.pack())


@pytest.mark.parametrize("inputs", ["leaf", {"array": [1]}, {"dict": ["a"], "items": ["leaf"]}])
def test_arguments_must_be_a_tuple(inputs):
    parts = Parts(as_bytes(record(lambda x: x * 2.0, 1.0)))
    parts.about["inputs"] = inputs
    with pytest.raises(ValueError, match=DAMAGED):
        loads(parts.pack())


@pytest.mark.parametrize("key", ["name", "errors", "inputs", "outputs", "labels"])
@pytest.mark.parametrize("value", [None, 1, "", "x", [], {}, [[]], {"a": 1}, True, math.inf])
def test_a_key_that_is_missing_or_no_such_thing(key, value):
    parts = attacked("two_and_two")
    del parts.about[key]
    with pytest.raises(ValueError, match=f"description is damaged.*{key}"):
        loads(parts.pack())
    parts.about[key] = value
    try:
        program = loads(parts.pack())
    except ValueError:
        return
    exercise(program)


@pytest.mark.parametrize("key", ["3", "-1", "99999999999999999999", "x", "", "1.0", "nan", "1e9"])
def test_a_label_of_no_parameter_is_refused(key):
    parts = attacked()
    parts.about["labels"] = {key: "label"}
    with pytest.raises(ValueError, match="damaged"):
        loads(parts.pack())


def test_a_key_twice_is_no_way_round_the_checks():
    parts = attacked("two_and_two")
    text = json.dumps(parts.about)
    for more in ('"errors": "maybe"', '"inputs": "leaf"', '"labels": {"7": "x"}', '"outputs": {}'):
        with pytest.raises(ValueError, match=DAMAGED):
            loads(parts.pack(text[:-1] + ", " + more + "}"))


def refuses_depth(where: str, depth: int) -> bool:
    parts = attacked("two_and_two")
    parts.about[where] = "DEEP"
    text = json.dumps(parts.about).replace('"DEEP"', f'{{"tuple": ["leaf", {nested(depth)}]}}')
    try:
        loads(parts.pack(text))
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_deep_nesting_is_refused_or_works(where):
    """Also where the stack just suffices for one step and not for the next."""
    assert not refuses_depth(where, 20)
    fine, refused = 20, 3000
    while refused - fine > 1:
        middle = (fine + refused) // 2
        fine, refused = (fine, middle) if refuses_depth(where, middle) else (middle, refused)
    for depth in (*range(fine - 40, fine + 40), 10_000, 100_000):
        refuses_depth(where, depth)


# ---- Any damage ----------------------------------------------------------------------------------


def arguments(structure: structures.Structure, leaf: Callable[[tuple[int, ...]], Any]) -> Any:
    """Arguments of this structure; `leaf` makes an array of a shape."""
    shape = structures.shape_of(structure)
    if shape is not None:
        return leaf(shape)
    if isinstance(structure, structures.Static):
        return structure.value
    assert isinstance(structure, (structures.Mapping, structures.Sequence))
    items = [arguments(item, leaf) for item in structure.items]
    if isinstance(structure, structures.Mapping):
        return dict(zip(structure.keys, items))
    return structure.kind(items)


def has_rows(structure: structures.Structure) -> bool:
    """Can arguments of this structure be given as arrays with a row axis?"""
    if isinstance(structure, structures.Mapping):
        return bool(structure.items) and all(map(has_rows, structure.items))
    return structures.shape_of(structure) is not None


def values(shape: tuple[int, ...]) -> Any:
    array = np.empty(shape, dtype=object)
    for i in range(array.size):
        array.reshape(-1)[i] = Value(0.5 + i)
    return array if shape else array.item()


def exercise(program: Program) -> None:
    """All that one can do with a program: it ends well, whatever the numbers are."""
    str(program), repr(program), program.to_c()
    program._errors = "ignore"
    inputs = program._inputs
    assert isinstance(inputs, structures.Sequence), "the arguments are no tuple"
    one = tuple(arguments(item, values) for item in inputs.items)
    for end in flat(program(*one)):
        if isinstance(end, Value):
            end.backward()
    if all(map(has_rows, inputs.items)) and inputs.items:
        many = [arguments(item, lambda shape: np.full((41, *shape), 0.5)) for item in inputs.items]
        program.gradients(*many)
        program.sum(*many)
    assert as_bytes(loads(as_bytes(program))) == as_bytes(program)


def small_edits(content: bytes) -> Iterator[bytes]:
    """Each byte by itself: its bits, neighbours and extremes; left out; doubled."""
    for at, byte in enumerate(content):
        others = {byte ^ 1 << bit for bit in range(8)} | {0, 1, 2, 127, 255}
        others |= {(byte + 1) % 256, (byte - 1) % 256}
        for other in sorted(others - {byte}):
            yield content[:at] + bytes([other]) + content[at + 1 :]
        yield content[:at] + content[at + 1 :]
        yield content[:at] + content[at : at + 1] + content[at:]


class Trial:
    """Notes each attempt in a file before it is made, so that a crash leaves its cause."""

    def __init__(self, note: str) -> None:
        self.note = open(note, "w", encoding="ascii")  # noqa: SIM115
        self.tried = self.accepted = 0

    def take_note(self, what: str, content: bytes) -> None:
        self.note.seek(0)
        self.note.truncate()
        self.note.write(f"{what}\n{content.hex()}")
        self.note.flush()
        self.tried += 1

    def __call__(self, what: str, content: bytes) -> None:
        self.take_note(what, content)
        try:
            program = loads(content)
        except ValueError:
            return
        self.accepted += 1
        with contextlib.suppress(MemoryError):
            exercise(program)


CAMPAIGN = ("every_kind_of_instruction", "fast", "containers")


def change_each_byte(trial: Trial) -> None:
    for name in CAMPAIGN:
        parts = attacked(name)
        text, code = json.dumps(parts.about).encode(), parts.code.pack()
        names = 4 + sum(1 + len(name) for name in parts.code.names)
        for edit in small_edits(code[names:]):
            trial(f"{name}: a byte of the code", parts.pack(code=code[:names] + edit))
        if name == "containers":
            for edit in small_edits(text):
                trial(f"{name}: a byte of the description", parts.pack(edit))
        elif name == CAMPAIGN[0]:  # all have the same names: those of the whole table
            for edit in small_edits(code[:names]):
                trial(f"{name}: a byte of the names", parts.pack(code=edit + code[names:]))


edits = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "word", "copy"]),
        st.integers(0, 2**16),
        st.one_of(st.integers(0, 24), st.sampled_from([127, 255, 2**31, 2**32 - 1])),
        st.integers(0, 2**16),
    ),
    min_size=1,
    max_size=8,
)


def edited(content: bytes, changes: list[tuple[str, int, int, int]]) -> bytes:
    body = bytearray(content)
    for kind, place, number, other in changes:
        at = place % (len(body) + 1)
        if kind == "set" and at < len(body):
            body[at] = number % 256
        elif kind == "insert":
            body[at:at] = bytes([number % 256]) * (other % 9)
        elif kind == "delete":
            del body[at : at + number % 40]
        elif kind == "word":
            body[at : at + 4] = struct.pack("<I", number)
        elif kind == "copy":
            body[at:at] = body[other % (len(body) + 1) :][: number % 64]
    return bytes(body)


def json_structures(most: int) -> st.SearchStrategy[Any]:
    odd = [None, 1, {}, {"array": [1e999]}, {"array": [2**40]}, {"static": 1}, {"array": [1] * 70}]
    return st.recursive(
        st.one_of(
            st.sampled_from([*["leaf"] * 6, {"array": [2]}, {"array": [0, 3]}, {"array": [2, 1]}]),
            st.builds(lambda v: {"static": v}, st.sampled_from([None, True, "x"])),
            st.integers(0, 19).map(lambda i: odd[i] if i < len(odd) else "leaf"),
        ),
        lambda inner: st.builds(
            structure_of, st.sampled_from(["tuple", "list", "dict"]), st.lists(inner, max_size=3)
        ),
        max_leaves=most,
    )


def structure_of(kind: str, items: list[Any]) -> Any:
    if kind != "dict":
        return {kind: items}
    return {"dict": [f"k{i}" for i in range(len(items))], "items": items}


def leaves_of(structure: Any) -> int:
    """How many leaves a reader might count in this description."""
    if not isinstance(structure, dict):
        return int(structure == "leaf")
    if "array" in structure:
        return int(min(math.prod(structure["array"]), 99))
    return sum(
        sum(map(leaves_of, items)) for items in structure.values() if isinstance(items, list)
    )


def passing_on(inputs: int, outputs: int) -> Parts:
    """A program that returns its inputs, and a constant."""
    parts = attacked("neither")
    code = parts.code
    assert code.names[code.instrs[-1].op] == b"copy" and code.counts["length"] == 1
    code.counts["inputs"], code.counts["outputs"] = inputs, outputs
    code.instrs[0].a = inputs
    slots = [*range(inputs), inputs + 1]
    code.outputs = [slots[i % len(slots)] for i in range(outputs)]
    code.orders = [[0] if slot > inputs else [] for slot in code.outputs]
    return parts


def change_at_random(trial: Trial) -> None:
    seeds = [attacked(name) for name in CAMPAIGN]
    rule = settings(
        max_examples=700,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    @rule
    @given(st.sampled_from(seeds), edits)
    def code(parts: Parts, changes: Any) -> None:
        packed = parts.code.pack()
        names = 4 + sum(1 + len(name) for name in parts.code.names)
        trial("code at random", parts.pack(code=packed[:names] + edited(packed[names:], changes)))

    @rule
    @given(st.sampled_from(seeds), edits)
    def whole(parts: Parts, changes: Any) -> None:
        trial("body at random", sealed(edited(parts.pack()[HEAD:], changes)))

    @rule
    @given(st.sampled_from(seeds), st.data())
    def instructions(parts: Parts, data: Any) -> None:
        """Fields set to numbers that may well be right, so that much is accepted."""
        code = Code(parts.code.pack())
        slots = len(code.instrs) + len(code.imports) + 4
        for _ in range(data.draw(st.integers(1, 4))):
            instr = data.draw(st.sampled_from(code.instrs))
            most = {
                "a": code.dst(instr),
                "b": code.dst(instr),
                "first": len(code.pairs),
                "count": 3,
            }
            most.update(op=len(code.names), shape=lib.PG_COMPARE_COUNT)
            field = data.draw(st.sampled_from(list(most)))
            setattr(instr, field, data.draw(st.integers(0, most[field])))
        for row in (code.outputs, code.imports, *code.pairs, *code.orders):
            if row and data.draw(st.integers(0, 19)) == 19:
                row[data.draw(st.integers(0, len(row) - 1))] = data.draw(st.integers(0, slots))
        order = data.draw(st.sampled_from(code.orders))
        if order and data.draw(st.booleans()):
            order.remove(data.draw(st.sampled_from(order)))
        trial("fields at random", parts.pack(code=code.pack()))

    @rule
    @given(st.lists(json_structures(4), max_size=3), json_structures(6))
    def descriptions(inputs: list[Any], outputs: Any) -> None:
        parts = passing_on(sum(map(leaves_of, inputs)), leaves_of(outputs))
        parts.about["inputs"], parts.about["outputs"] = {"tuple": inputs}, outputs
        trial("structures at random", parts.pack())

    for campaign in (code, whole, instructions, descriptions):
        campaign()


SCENARIOS = {
    "make_unsound": make_unsound,
    "change_each_byte": change_each_byte,
    "change_at_random": change_at_random,
}


@pytest.mark.once
@pytest.mark.parametrize("scenario", ["change_each_byte", "change_at_random"])
def test_damage_gives_an_error_or_a_program_that_works(scenario, tmp_path):
    note = tmp_path / "note"
    done = run_here(__file__, scenario, str(note))
    if done.returncode != 0:
        what = note.read_text(encoding="ascii") if note.exists() else "before the first attempt"
        pytest.fail(f"ended with {done.returncode}: {what}\n{done.stderr[-4000:]}", pytrace=False)
    tried, accepted = map(int, done.stdout.split())
    assert tried > 2000 and 100 < accepted < tried, "the damage is all too much, or too little"


def test_a_scenario_that_fails_is_noticed(tmp_path):
    done = run_here(__file__, "no_such_scenario", str(tmp_path / "note"))
    assert done.returncode == 1 and "KeyError" in done.stderr


if __name__ == "__main__":
    faulthandler.enable()
    trial = Trial(sys.argv[2])
    try:
        SCENARIOS[sys.argv[1]](trial)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    print(trial.tried, trial.accepted)
