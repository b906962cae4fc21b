"""Would `python -m pygradc run` notice that a class isn't quite the one it knows?

The known forms (clients/forms) with one random change each, in front of a program that asks about
all that can be seen. Python runs it, and so does what `run` uses, in this process; both must print
the same, whether the class gives way or stays. docs/compat.md says that ints and the order of a set
may differ: sets are in order here, and 1 is as good as 1.0.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import copy
import io
import random
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_clients import CLIENTS

from pygradc import Value
from pygradc.compat import _replace, _run, _source
from pygradc.compat._sterile import FrozenOrderedSet, OrderedSet

MEMBERS = frozenset(vars(Value))
FORMS = sorted((CLIENTS / "forms").glob("*.py"))

ASKED = """
LOG, ON, FLAGS = [], True, {}


def show(*values):
    for v in values:
        print(float(v.data).hex(), float(v.grad).hex(), getattr(v, "_op", None),
              getattr(v, "label", None), type(getattr(v, KEEPS)).__name__, len(getattr(v, KEEPS)))


def ask(name, question):
    try:
        answer = question()
        print(name, type(answer).__name__ if isinstance(answer, Value) else answer)
        if isinstance(answer, Value):
            show(answer)
        return True
    except Exception as error:
        print(name, type(error).__name__, error if isinstance(error, AssertionError) else "")
        if name == "backward":  # gradients are as they were then, docs/compat.md says
            raise


def main():
    a, b, c = Value(1.5), Value(-0.5), Value(4.0)
    nodes = [a * b, a + b, c - a, b / c, a**2, c**-1, -b, 3.0 * a, 2.0 + b, a + a]
    for question in (lambda: 1.0 - c, lambda: 2.0 / c):
        if ask("reflected", question):  # the lecture's class has neither
            nodes.append(question())
    total = Value(0.25)
    for i, node in enumerate(nodes):
        total = total + node * (i - 4.5) + node * node
    shared = (a * b + a) * (a * b)
    total = total * shared + shared
    ask("backward", total.backward)
    show(a, b, c, total, shared, *nodes)
    ask("again", (a * b).backward)
    ask("leaf", c.backward)
    show(a, b, c)
    x, y = Value(0.7), Value(-1.3)
    u = x * y + x
    v = (u * u + u * y) * (u + 0.1) + x / 3.0
    v.backward()
    show(x, y, u, v)
    for name in ("relu", "tanh", "exp", "log"):
        for number in (-2.0, 0.0, 0.3, 5.5):
            w = Value(number)
            op = getattr(w, name, None)
            if op is not None and ask(name, lambda: [op(), (op() * 1.7).backward()][0]):
                show(w)
    for name, question in {
        "power": lambda: a**b, "text": lambda: a + "x", "none": lambda: a * None,
        "list": lambda: a - [1], "reflected": lambda: 2.0**a, "equal": lambda: a == 1.5,
        "unequal": lambda: a != 1.5, "same": lambda: a == a, "less": lambda: a < b,
        "format": lambda: f"{a:.2f}", "float": lambda: float(a), "abs": lambda: abs(a),
        "plus": lambda: +a, "bool": lambda: bool(Value(0.0)), "keyword": lambda: Value(data=1.0),
        "in": lambda: a in [1.5, b], "sqrt": lambda: a.sqrt(), "len": lambda: len(a),
        "parts": lambda: [type(x).__name__ for x in getattr(a, KEEPS)],
    }.items():
        ask(name, question)
    text = repr(total)
    print("an object, or in no order" if "0x" in text or "{" in text or "set(" in text else text)
    print(len(LOG), ON, FLAGS, getattr(Value, "count", None))


main()
"""


class Endless(BaseException):
    """A program that Python itself doesn't end."""


@contextlib.contextmanager
def in_time(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Endless

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class FrozenInOrder(FrozenOrderedSet):
    """A frozenset that shows its members in order, the same in each run."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({[*self]})"


class InOrder(OrderedSet, FrozenInOrder):
    pass


FrozenInOrder.__name__, InOrder.__name__ = "frozenset", "set"
BUILTINS = {**vars(builtins), "set": InOrder, "frozenset": FrozenInOrder}


def output(code: Any) -> tuple[str, str]:
    """What it prints, and what it ends with, on stdout; and what stderr gets."""
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        try:
            exec(code, {"__name__": "program", "__builtins__": BUILTINS})
        except Exception as error:
            said.write(f"\n{type(error).__name__}")
    return said.getvalue(), told.getvalue()


# ---- Changes -------------------------------------------------------------------------------------

Change = Callable[[random.Random, ast.ClassDef], bool]  # False: there is nothing to change


def functions(cls: ast.ClassDef) -> list[Any]:
    return [node for node in ast.walk(cls) if isinstance(node, ast.FunctionDef)]


def pick(rng: random.Random, cls: ast.ClassDef, *kinds: Any, where: Any = None) -> Any:
    found = [n for n in ast.walk(cls) if isinstance(n, kinds) and (where is None or where(n))]
    return rng.choice(found) if found else None


def body_and_place(rng: random.Random, cls: ast.ClassDef) -> tuple[list[ast.stmt], int]:
    bodies = [f.body for f in functions(cls)]
    bodies += [n.body for n in ast.walk(cls) if isinstance(n, (ast.For, ast.If))]
    body = rng.choice(bodies)
    return body, rng.randrange(len(body))


def another_operator(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.BinOp, ast.AugAssign)
    node.op = rng.choice([ast.Add(), ast.Sub(), ast.Mult(), ast.Div()])
    return True


def another_comparison(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Compare)
    node.ops = [rng.choice([ast.Lt(), ast.GtE(), ast.LtE(), ast.In(), ast.NotIn(), ast.Gt()])]
    return True


def another_number(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Constant, where=lambda n: isinstance(n.value, (int, float)))
    node.value = rng.choice(
        [node.value + 1, node.value + 1e-15, 0, -1, 0.5, 1e-9, node.value * 1.0]
    )
    return True


def another_text(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Constant, where=lambda n: isinstance(n.value, str))
    if node is None:
        return False
    node.value = rng.choice([node.value.lower() + "'", "^2", "relu", node.value + " "])
    return True


def drop(rng: random.Random, cls: ast.ClassDef) -> bool:
    body, i = body_and_place(rng, cls)
    body[i] = ast.Pass()
    return True


def twice(rng: random.Random, cls: ast.ClassDef) -> bool:
    body, i = body_and_place(rng, cls)
    body.insert(i, copy.deepcopy(body[i]))
    return True


def reorder(rng: random.Random, cls: ast.ClassDef) -> bool:
    body, i = body_and_place(rng, cls)
    j = rng.randrange(len(body))
    body[i], body[j] = body[j], body[i]
    return i != j


def set_instead_of_add(rng: random.Random, cls: ast.ClassDef) -> bool:
    body, i = body_and_place(rng, cls)
    for i, part in enumerate(body):
        if isinstance(part, ast.AugAssign):
            body[i] = ast.Assign([part.target], part.value)
            return True
    return False


def swap_operands(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.BinOp)
    node.left, node.right = node.right, node.left
    return True


def swap_members(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Tuple, where=lambda n: len(n.elts) > 1)
    if isinstance(node.ctx, ast.Store):
        return False
    node.elts.reverse()
    return True


def one_member_less(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Tuple, where=lambda n: n.elts and isinstance(n.ctx, ast.Load))
    node.elts.pop()
    return True


def another_default(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.FunctionDef, where=lambda n: n.args.defaults)
    i = rng.randrange(len(node.args.defaults))
    texts = ["None", "()", "''", "0", "'x'", "[]", "1.0"]
    node.args.defaults[i] = ast.parse(rng.choice(texts), mode="eval").body
    return True


def another_kind(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Call, where=lambda n: getattr(n.func, "id", "") in ("set", "list"))
    if node is None:
        return False
    node.func.id = rng.choice(["tuple", "list", "frozenset", "set", "reversed", "sorted"])
    return True


def another_attribute(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Attribute)
    node.attr = rng.choice(["data", "grad", "_op", "_prev", "_children", "extra", "relu", "label"])
    return True


def another_name(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Name, where=lambda n: isinstance(n.ctx, ast.Load))
    node.id = rng.choice(["self", "out", "other", "v", "ON", "node", "child"])
    return True


ADDED = [
    "LOG.append(1)", "print('here')", "Value.count = getattr(Value, 'count', 0) + 1",
    "global ON; ON = not ON", "FLAGS['x'] = 1", "return self", "return", "self.grad = 0",
    "self.extra = 1", "self.data = self.data", "raise ValueError", "import math", "return 0.0",
    "self.grad = self.grad or 1.0", "self._op = 'x'", "self.label = 'x'", "self._backward = print",
    "self.grad += 1e-9", "assert self.data < 4.5", "assert ON", "if self.data > 5: return self",
    "self._prev = ()", "self._prev = []", "self._children = ()", "x = Value(3.0)", "self = -self",
    "self.data = float(self.data)", "self.data = max(self.data, -0.75)", "FLAGS.get(self)",
    "self.grad = float(self.grad)", "self = Value(self.data)", "type(self).count = 3",
]  # fmt: skip


def add(rng: random.Random, cls: ast.ClassDef) -> bool:
    function = rng.choice(functions(cls))
    at = rng.choice([0, len(function.body)])
    if function.body and isinstance(function.body[-1], ast.Return) and at:
        at -= 1
    function.body[at:at] = ast.parse(rng.choice(ADDED)).body
    return True


CONDITIONS = [
    "ON", "self.data > 0", "self.data < 1e3", "LOG == []", "self.grad == 0", "len(FLAGS) == 0",
    "Value", "self.data * self.data < 20.0", "not self._op", "self.data != 1.5", "self is not None",
]  # fmt: skip


def only_if(rng: random.Random, cls: ast.ClassDef) -> bool:
    body, i = body_and_place(rng, cls)
    condition = ast.parse(rng.choice(CONDITIONS), mode="eval").body
    body[i] = ast.If(condition, [body[i]], [])
    return True


def another_answer(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Return)
    texts = ["None", "self", "0.0", "out", "self * 1", "NotImplemented", "self + 0.0"]
    node.value = ast.parse(rng.choice(texts), mode="eval").body
    return True


def without_a_method(rng: random.Random, cls: ast.ClassDef) -> bool:
    methods = [part for part in cls.body if isinstance(part, ast.FunctionDef)]
    cls.body.remove(rng.choice(methods))
    return True


def without_an_assert(rng: random.Random, cls: ast.ClassDef) -> bool:
    for function in functions(cls):
        for i, part in enumerate(function.body):
            if isinstance(part, ast.Assert) and rng.random() < 0.6:
                function.body[i] = ast.Pass()
                return True
    return False


def another_assert(rng: random.Random, cls: ast.ClassDef) -> bool:
    node = pick(rng, cls, ast.Assert)
    if node is None:
        return False
    texts = [
        *("isinstance(other, int)", "isinstance(other, float), 'float'", "other", "False, 'no'"),
        *("isinstance(self, Value), 'self'", "isinstance(other, (Value, float, str)), other"),
    ]
    (new,) = ast.parse(f"assert {rng.choice(texts)}").body
    assert isinstance(new, ast.Assert)
    node.test, node.msg = new.test, new.msg
    return True


METHODS = [
    "__radd__ = None", "__eq__ = lambda self, other: self.data == other", "count = 0",
    "def __eq__(self, other): return self.data == getattr(other, 'data', other)",
    "def __lt__(self, other): return self.data < other.data",
    "def __bool__(self): return self.data != 0", "def __len__(self): return 0",
    "def __abs__(self): return self if self.data > 0 else -self",
    "def __float__(self): return float(self.data)", "def __pos__(self): return self",
    "def sqrt(self): return self ** 0.5", "def sqrt(self): return 7", "__hash__ = None",
    "def __hash__(self): return id(self)", "def __hash__(self): return 7",
    "def __str__(self): return 'v'", "def __format__(self, spec): return format(self.data, spec)",
    "def __repr__(self): return f'V({self.data})'", "def __rpow__(self, x): return x",
    "def __sub__(self, o): return Value(self.data - o.data, (self, o))",
    "def tanh(self): return self", "def tanh(self): return 0.5", "__slots__ = ()",
    "__add__ = __sub__ = lambda self, other: self", "def __getattr__(self, name): return 0",
]  # fmt: skip


def another_method(rng: random.Random, cls: ast.ClassDef) -> bool:
    cls.body += ast.parse(rng.choice(METHODS)).body
    return True


CHANGES: list[Change] = [
    *(another_operator, another_comparison, another_number, another_text, drop, twice, reorder),
    *(set_instead_of_add, swap_operands, swap_members, one_member_less, another_default),
    *(another_kind, another_attribute, another_name, add, add, only_if, another_answer),
    *(without_a_method, without_an_assert, another_assert, another_method, another_method),
]


def changed(form: str, seed: int) -> str:
    """The class of this form with one change; "" where that changes nothing."""
    rng = random.Random(seed)
    tree = ast.parse(form)
    (cls,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    before = ast.dump(cls)
    if not rng.choice(CHANGES)(rng, cls) or ast.dump(cls) == before:
        return ""
    try:
        text = ast.unparse(ast.fix_missing_locations(tree))
        compile(text, "program.py", "exec")
    except SyntaxError:
        return ""
    return text


# ---- The comparison ------------------------------------------------------------------------------


def without_int(text: str) -> str:
    """grad=0 and grad=0.0 are the same: data are floats."""
    return re.sub(r"(\d)\.0(?!\d)", r"\1", text)


def outcome(form: str, seed: int) -> tuple[str, str]:
    """Whether the changed class gave way, and what differed then."""
    text = changed(form, seed)
    if not text:
        return "no change", ""
    keeps = "_children" if "_children=" not in text and "_children)" not in text else "_prev"
    program = f"{text}\nKEEPS = {keeps!r}\n{ASKED}"
    try:
        with in_time(1.0):
            theirs, _ = output(compile(program, "program.py", "exec"))
    except Endless:
        return "endless", ""
    try:
        ours, told = output(_run.compiled(program.encode(), "program.py"))
        how = "gives way" if _replace.replacements else "stays"
        if how == "gives way" and "kept from the program" in told:
            how = "gives way in part"
    finally:
        _replace.restore()
        for name in vars(Value).keys() - MEMBERS:  # which the program has set itself
            delattr(Value, name)
    if without_int(ours) == without_int(theirs):
        return how, ""
    lines = zip(without_int(theirs).splitlines(), without_int(ours).splitlines())
    first = next((pair for pair in lines if pair[0] != pair[1]), (theirs[-200:], ours[-200:]))
    return how, f"{told}\n{first}"


CASES = 640


@pytest.mark.once
@pytest.mark.unsanitized
def test_changed_classes_print_what_python_prints() -> None:
    forms = [path.read_text(encoding="utf-8") for path in FORMS]
    hows: Counter[str] = Counter()
    for seed in range(CASES):
        how, what = outcome(forms[seed % len(forms)], seed)
        hows[how] += 1
        assert not what, f"{FORMS[seed % len(forms)].stem} {seed}: {what}"
    assert hows["no change"] + hows["endless"] < CASES - 500, hows
    assert hows["gives way"] > 20 and min(hows["stays"], hows["gives way in part"]) > 100, hows


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_the_forms_themselves_give_way(path: Any, capsys: Any) -> None:
    text = path.read_text(encoding="utf-8")
    keeps = "_children" if path.stem == "microgpt" else "_prev"
    program = f"{text}\nKEEPS = {keeps!r}\n{ASKED}"
    theirs, _ = output(compile(program, "program.py", "exec"))
    ours, told = output(_run.compiled(program.encode(), "program.py"))
    _replace.restore()
    assert without_int(ours) == without_int(theirs) and theirs.count("0x") > 40
    kept = {"lecture": "__repr__, tanh", "typed": "_as_value"}.get(path.stem)
    assert re.findall("kept from the program: (.*?): ", told) == ([kept] if kept else [])


def test_a_rule_that_lets_too_much_through_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison of whole sweeps, set gradients pass for added ones."""
    form = FORMS[0].read_text(encoding="utf-8").replace("self.grad += 1.0", "self.grad = 1.0")
    monkeypatch.setattr("pygradc.compat._tries.sweeps", lambda cls, view: [])
    monkeypatch.setattr("pygradc.compat._tries.same", lambda *_: True)
    monkeypatch.setattr("pygradc.compat._replace._Trial._is_untried", lambda *_: False)
    program = f"{form}\nKEEPS = '_prev'\n{ASKED}"
    theirs, _ = output(compile(program, "program.py", "exec"))
    ours, _ = output(_run.compiled(program.encode(), "program.py"))
    gave_way = bool(_replace.replacements)
    _replace.restore()
    assert gave_way and without_int(ours) != without_int(theirs)


def test_nothing_is_left_behind() -> None:
    assert not _replace.replacements and not _source.modules
    assert repr(Value(1.0)) == "Value(data=1.0, grad=0.0)" and Value.__module__ == "pygradc.value"
