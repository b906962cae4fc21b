"""Does a program print its own digits under `run`, whatever its class Value does besides?

Each is a known form (clients/forms) with something of its own, and some lines that show it. Python
runs it, and `python -m pygradc run`; stdout, exit code, the last line of stderr and the files
written must be the same.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_clients import CLIENTS
from test_run import Program, Run, start


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def form(stem: str, /, **changes: str) -> str:
    """The form with its parts replaced: `old=new`, where old is a key of PARTS."""
    text = (CLIENTS / "forms" / f"{stem}.py").read_text(encoding="utf-8")
    for part, new in changes.items():
        assert PARTS[part] in text
        text = text.replace(PARTS[part], new)
    return text


PARTS = {
    "init": "        self.data = data\n",
    "header": "class Value:\n",
    "prev": "set(_children)",
    "add": "            self.grad += out.grad\n",
    "relu": "        out = Value(0 if self.data < 0 else self.data, (self,), \"ReLU\")\n",
    "name": '"ReLU"',
    "power": 'f"**{other}"',
    "seed": "        self.grad = 1\n",
    "sub": "        return self + (-other)\n",
    "end": "        for v in reversed(topo):\n            v._backward()\n",
    "op": '_op="")',
    "message": '"an exponent is a plain number"',
    "mul": "        out = Value(self.data * other.data, (self, other), \"*\")\n",
    "repr": 'f"Value(data={self.data}, grad={self.grad})"',
    "exp": "            self.grad += out.data * out.grad\n",
}  # fmt: skip

NET = """
a, b = Value(1.5), Value(-0.25)
loss = (a * b + a) * 3.0 + (b + b).relu() + a**2 / 7.0
loss.backward()
print(float(loss.data), float(a.grad), float(b.grad), loss._op, a._op)
"""


def same(program: Program, text: str) -> Run:
    """Run by both; compares what they write, too."""
    program.write(program=text)
    theirs = program.by_python()
    files = {path.name: path.read_bytes() for path in program.folder.glob("*.txt")}
    for path in program.folder.glob("*.txt"):
        path.unlink()
    ours = program.by_pygradc()
    assert (ours.code, ours.out) == (theirs.code, theirs.out)
    assert ours.err.splitlines()[-1:] == theirs.err.splitlines()[-1:]
    assert {path.name: path.read_bytes() for path in program.folder.glob("*.txt")} == files
    said = [told for told in ours.said if not told.startswith("micrograd is pygradc's")]
    return ours._replace(said=said)


LEFT = "class Value is left as it is: "
CONSTRUCTORS = {  # a line of the constructor, what comes before the class, and what shows it
    "a counter": ("Value.count += 1", "    count = 0\n", "print(Value.count)"),
    "a global counter": (
        "global COUNT\n        COUNT += 1",
        "",
        "print(COUNT)",
    ),
    "a list of all": ("NODES.append(self)", "", "print(len(NODES), NODES[3].data)"),
    "a file": ("open('log.txt', 'a').write(f'{data}\\n')", "", "print('done')"),
    "an id": ("self.id = next(IDS)", "", "print(loss.id, a.id)"),
    "a dict": ("SEEN[data] = self", "", "print(len(SEEN))"),
    "random": ("self.key = random.random()", "", "print(random.random())"),
}


@pytest.mark.parametrize("case", CONSTRUCTORS)
@pytest.mark.parametrize("fits", [True, False])
def test_a_constructor_with_side_effects_runs_for_the_program_only(
    program: Program, case: str, fits: bool
) -> None:
    line, attribute, shown = CONSTRUCTORS[case]
    text = form("micrograd", init=f"        self.data = data\n        {line}\n")
    text = text.replace(PARTS["header"], f"{PARTS['header']}{attribute}")
    if not fits:  # a class that would be left alone anyway
        text = text.replace("def backward(self):", "def backward(self, seed=1):")
    before = "import itertools, random\nrandom.seed(1)\n"
    before += "NODES, SEEN, IDS, COUNT = [], {}, itertools.count(), 0\n"
    run = same(program, before + text + NET + shown)
    assert len(run.said) == 1 and LEFT in run.said[0] and run.code == 0


WHAT_IT_DOES = {
    "sets a gradient in + only": form(
        "micrograd", add="            self.grad = out.grad\n", prev="tuple(_children)"
    ),
    "sets a gradient in exp only": form("lecture", exp="            self.grad = out.data\n"),
    "names relu": form("micrograd", name='"relu"'),
    "names powers": form("micrograd", power='f"^{other}"'),
    "no name": form("micrograd", op="_op=None)"),
    "seeds": form("micrograd", seed="        self.grad = self.grad or 1.0\n"),
    "seeds by adding": form("micrograd", seed="        self.grad += 1\n"),
    "returns its order": form("micrograd", end=PARTS["end"] + "        return topo\n"),
    "a difference of its own": form(
        "micrograd",
        sub="""        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data - other.data, (self, other), "-")

        def _backward():
            self.grad += out.grad
            other.grad -= out.grad

        out._backward = _backward
        return out
""",
    ),
    "a relu that counts": form(
        "micrograd", relu="        CALLS.append(1)\n" + PARTS["relu"]
    ),
    "a relu that asks a switch": form(
        "micrograd", relu="        if TRAINING:\n            return self * 2\n" + PARTS["relu"]
    ),
    "a product that asks a switch": form(
        "micrograd",
        mul=PARTS["mul"] + "        if NO_GRAD[0]:\n            return Value(out.data)\n",
    ),
    "a product with hooks": form(
        "micrograd", mul=PARTS["mul"] + "        for hook in HOOKS:\n            hook(out)\n"
    ),
    "a product with an assert": form(
        "micrograd", mul=PARTS["mul"] + "        assert out.data < LIMIT, 'too large'\n"
    ),
    "digits": form("micrograd", repr="f'{round(self.data, DIGITS)}'"),
    "data with digits": form("micrograd", init="        self.data = round(data, DIGITS)\n"),
    "a sigmoid that is a number": form("lecture")
    + "\n    def sigmoid(self):\n        return 1 / (1 + math.exp(-self.data))\n",
    "a sigmoid of a class without exp": form("micrograd")
    + "\n    def sigmoid(self):\n        return 2.0 ** self.data\n",
    "a data that is clamped": form("micrograd", init="        self.data = max(data, -100)\n"),
}  # fmt: skip

ASK = """
import math
CALLS, TRAINING, NO_GRAD, HOOKS, LIMIT, DIGITS = [], False, [False], [], 1000.0, 4


class Tail:
    pass


def main():
    global TRAINING, LIMIT, DIGITS
    a, b = Value(1.5), Value(-0.25)
    d = a - b + (a + a)
    loss = (a * b + d) * 3.0 + getattr(b + b, "relu", (b + b).__neg__)() + a**2 / 7.0 - 1.0
    answer = loss.backward()
    print(answer if answer is None else [float(v.data) for v in answer][-1:], len(loss._prev))
    print(float(loss.data), float(a.grad), float(b.grad), loss._op, a._op, d._op, (a**2)._op)
    e = a + b
    e.grad = 3.0
    e.backward()
    print(float(a.grad), float(e.grad))
    for name in ("relu", "exp", "tanh", "sigmoid"):
        if hasattr(a, name):
            y = getattr(a, name)()
            print(name, type(y).__name__, getattr(y, "data", y), getattr(y, "_op", None))
            if isinstance(y, Value):
                (y * y + y).backward()
                print(float(a.grad))
    TRAINING, NO_GRAD[0], DIGITS = True, True, 2
    HOOKS.append(lambda out: CALLS.append(out.data))
    z = (a * 2.5).relu() if hasattr(a, "relu") else a * 2.5
    z.backward()
    print(float(z.data), float(a.grad), len(z._prev), CALLS, Value(1.23456).data)
    LIMIT = 3.0
    print(repr(a * 3.21987 * 3.0)[:12])


main()
"""


@pytest.mark.parametrize("case", WHAT_IT_DOES)
def test_what_a_class_does_besides_is_done(program: Program, case: str) -> None:
    run = same(program, WHAT_IT_DOES[case] + ASK)
    assert run.out.count("\n") >= 3
    what = [told for told in run.said if LEFT in told or "kept of the program's" in told]
    assert what and "Traceback" not in "".join(run.said)


@pytest.mark.parametrize("kind", ["set", "frozenset", "list", "tuple"])
def test_children_are_of_the_programs_kind_and_in_order(program: Program, kind: str) -> None:
    text = form("micrograd", prev=f"{kind}(_children)") + NET
    text += "print(type(loss._prev).__name__, type(a._prev).__name__, len((a + a)._prev))\n"
    if kind in ("list", "tuple"):
        text += "print([v._op for v in loss._prev], [v.data for v in (b * a)._prev], a._prev)\n"
    run = same(program, text)
    assert len(run.said) == 1 and "class Value is pygradc's" in run.said[0]


ANSWERS = '''
def ask(question):
    try:
        answer = question()
        text = str(answer if not isinstance(answer, Value) else float(answer.data))
        print(re.sub(" at 0x[0-9a-f]+", "", text))
    except Exception as error:
        print(type(error).__name__, error)


import fractions, re, numpy
a, b = Value(2.0), Value(3.0)
for question in [
    lambda: a**b, lambda: a**"x", lambda: a ** fractions.Fraction(2), lambda: a ** numpy.float32(2),
    lambda: a ** numpy.float64(2), lambda: 2.0**a, lambda: a + "x", lambda: a * None,
    lambda: "x" * a, lambda: a == 2.0, lambda: a != 2.0, lambda: 2 == a, lambda: a == a,
    lambda: a in [2.0, 3], lambda: [b, a].index(2.0), lambda: a < b, lambda: a >= 2.0,
    lambda: sorted([b, a])[0], lambda: max(a, b), lambda: f"{a:.2f}", lambda: format(a, "e"),
    lambda: float(a), lambda: int(a), lambda: abs(a), lambda: +a, lambda: bool(Value(0.0)),
    lambda: len({a, b, a}), lambda: hash(a) == hash(a), lambda: a.sqrt(), lambda: a.sin(),
    lambda: hasattr(a, "maximum"), lambda: hasattr(a, "_local_grads"), lambda: a.draw_dot(),
    lambda: getattr(a * b, "_children", "none"), lambda: hasattr(Value, "cos"), lambda: repr(Value),
    lambda: Value.__doc__, lambda: Value.__name__, lambda: type(a), lambda: numpy.exp([a]),
    lambda: {a: 1}[a], lambda: a // 2, lambda: round(a), lambda: a.nothing, lambda: [1, 2, 3][a],
]:
    ask(question)
'''  # fmt: skip


@pytest.mark.parametrize("name", ["micrograd", "microgpt", "lecture", "typed"])
def test_what_the_class_lacks_is_lacking(program: Program, name: str) -> None:
    run = same(program, form(name) + ANSWERS)
    assert "class Value is pygradc's" in run.said[0] and run.out.count("Error") > 10


def test_a_failing_assert_ends_the_program_with_its_message(program: Program) -> None:
    run = same(program, form("micrograd") + "\nprint('so far')\nValue(2.0) ** Value(3.0)\n")
    assert (run.code, run.out) == (1, "so far\n")
    assert run.err.endswith("AssertionError: an exponent is a plain number")


def test_objects_are_counted_as_the_program_has_them(program: Program) -> None:
    text = "import gc\n" + form("micrograd") + NET
    text += "print(sum(isinstance(x, Value) for x in gc.get_objects()), 'objects')\n"
    run = same(program, text)
    assert not run.out.endswith("\n0 objects\n")
    assert "the program counts objects by get_objects" in run.said[0]


def test_a_graph_that_is_cut_is_cut(program: Program) -> None:
    text = form("micrograd") + NET + "loss._prev.clear()\na.grad = 0\nloss.backward()\n"
    run = same(program, text + "print(float(a.grad))\n")
    assert "the program changes ._prev in line" in run.said[0]


def test_a_class_in_a_folder_beside_is_said(program: Program) -> None:
    (program.folder / "lib").mkdir()
    (program.folder / "app").mkdir()
    (program.folder / "lib" / "engine.py").write_text(form("micrograd"), encoding="utf-8")
    main = program.folder / "app" / "main.py"
    main.write_text(
        "import sys, os\nsys.path.append(os.path.join(os.path.dirname(__file__), '../lib'))\n"
        "from engine import Value\n" + NET,
        encoding="utf-8",
    )
    theirs = start("app/main.py", cwd=program.folder)
    ours = start("-m", "pygradc", "run", "app/main.py", cwd=program.folder)
    assert ours[:3] == theirs[:3] and theirs.code == 0
    assert ours.said == [
        "lib/engine.py:4: class Value is left as it is: it isn't in the program's folder"
    ]


def test_a_module_that_changes_the_graph_later_is_said(program: Program) -> None:
    cut = "def cut(v):\n    v._prev.clear()\n"
    text = "from engine import Value\nimport tools\n" + NET
    program.write(engine=form("micrograd"), tools=cut, program=text)
    run = program.same()
    assert run.said[-1].startswith("tools.py:2: this changes ._prev, which pygradc's Value")


def test_a_module_that_changed_the_graph_before_counts(program: Program) -> None:
    text = "def cut(v):\n    v._prev.clear()\nfrom engine import Value\n" + NET
    program.write(engine=form("micrograd"), program=text + "cut(loss)\nprint(len(loss._prev))\n")
    assert re.search("the program changes ._prev in line 2 of program.py", program.same().said[0])
