"""Which classes does `python -m pygradc run` replace, which of their methods does it keep, and why?

Modules are compiled and run in this process, in the way that `run` uses.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from test_clients import CLIENTS

from pygradc import Value
from pygradc.compat import _replace, _run


@pytest.fixture(autouse=True)
def as_before() -> Any:
    yield
    _replace.restore()


def engine(protocol: str) -> str:
    return (CLIENTS / "engines" / f"{protocol}.py").read_text(encoding="utf-8")


def changed(protocol: str, **members: str) -> str:
    """The source of this protocol's class with other members; "" takes one away."""
    tree = ast.parse(engine(protocol))
    (cls,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    cls.body = [part for part in cls.body if getattr(part, "name", "") not in members]
    new = [part for text in members.values() for part in ast.parse(textwrap.dedent(text)).body]
    aliases = next(i for i, part in enumerate(cls.body) if isinstance(part, ast.FunctionDef))
    cls.body[aliases:aliases] = new
    return ast.unparse(tree)


def defined(text: str, path: str = "program.py") -> Any:
    """The Value of this module under `run`."""
    space: dict[str, Any] = {"__name__": "program"}
    exec(_run.compiled(text.encode(), path), space)
    return space["Value"]


@pytest.mark.parametrize("protocol", ["closures", "local_grads"])
def test_both_protocols_are_replaced(protocol: str, capsys: Any) -> None:
    assert defined(engine(protocol)) is Value
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("pygradc: program.py:6: class Value is pygradc's")


# ---- Methods -------------------------------------------------------------------------------------

OTHER = "it differs from pygradc's"
KEPT = {  # a method, and why it stays
    "through exp": (
        """
        def tanh(self):
            e = math.exp(2 * self.data)
            y = (e - 1) / (e + 1)
            return Value(y, (self,), (1 - y**2,))
        """,
        OTHER,
    ),
    "slope of the result": (  # where y is near 1 it has lost digits, which pygradc's has
        """
        def tanh(self):
            y = math.tanh(self.data)
            return Value(y, (self,), (1 - y * y,))
        """,
        OTHER,
    ),
    "leaky": (
        """
        def relu(self):
            slope = 1.0 if self.data > 0 else 0.01
            return Value(max(0.01 * self.data, self.data), (self,), (slope,))
        """,
        OTHER,
    ),
    "one at zero": (
        """
        def relu(self):
            return Value(max(0, self.data), (self,), (float(self.data >= 0),))
        """,
        OTHER,
    ),
    "quotient": (
        """
        def __truediv__(self, other):
            other = other if isinstance(other, Value) else Value(other)
            slopes = (1 / other.data, -self.data / other.data**2)
            return Value(self.data / other.data, (self, other), slopes)
        """,
        OTHER,
    ),
    "a node of its own": (  # the same numbers, another graph
        """
        def __sub__(self, other):
            other = other if isinstance(other, Value) else Value(other)
            return Value(self.data - other.data, (self, other), (1, -1))
        """,
        OTHER,
    ),
    "clamped": (
        """
        def log(self):
            x = max(self.data, 1e-12)
            return Value(math.log(x), (self,), (1 / x,))
        """,
        OTHER,
    ),
    "a threshold that is written there": (
        """
        def sin(self):
            y = math.sin(self.data) if self.data < 12345.0 else 0.0
            return Value(y, (self,), (math.cos(self.data),))
        """,
        OTHER,
    ),
    "a threshold that is computed": (
        """
        def sin(self):
            x = self.data * self.data
            y = math.sin(self.data) if x < math.pi**99 else 0.0
            return Value(y, (self,), (math.cos(self.data),))
        """,
        "part of it did not run when it was tried",
    ),
    "wrong slope": (
        """
        def exp(self):
            y = math.exp(self.data)
            return Value(y, (self,), (y * (1 + 1e-15),))
        """,
        OTHER,
    ),
    "a name that pygradc lacks": (
        "def log_of_more(self): return (self.exp() + 1).log()",
        "pygradc has none",
    ),
    "text": ("def __repr__(self): return f'<{self.data}>'", OTHER),
    "in place": ("def __iadd__(self, other): return self + other * 2", "pygradc has none"),
    "another argument": ("def sigmoid(self, slope): return self * slope", OTHER),
    "order": ("def __lt__(self, other): return self.data <= other.data", OTHER),
    "raises": ("def sigmoid(self): return 1 / 0", OTHER),
    "a number": ("def sigmoid(self): return 1 / (1 + math.exp(-self.data))", OTHER),
    "its operand": (
        """
        def exp(self):
            self.grad = 0.0
            y = math.exp(self.data)
            return Value(y, (self,), (y,))
        """,
        OTHER,
    ),
    "a global": (
        """
        def exp(self):
            y = math.exp(self.data) * scale
            return Value(y, (self,), (y,))
        """,
        "it reads the global scale on line",
    ),
    "the class's attribute": (
        """
        def exp(self):
            y = math.exp(self.data) if Value.on else 0.0
            return Value(y, (self,), (y,))
        """,
        "it reads the class's attribute on on line",
    ),
    "another attribute": (
        "def exp(self): return self if self.frozen else self",
        "it reads .frozen on line",
    ),
    "prints": ("def exp(self): print(self)", "it calls print on line"),
    "asserts": ("def log(self): assert self.data > 0", "it asserts something other than a type"),
    "imports": ("def exp(self): import os", "it has a syntax node that isn't allowed, Import"),
    "tries": ("def exp(self):\n    try: return self\n    finally: pass", "it has try on line"),
    "raises itself": ("def exp(self): raise E", "it has raise on line"),
    "a mutable default": ("def exp(self, seen=[]): return self", "it has a default that isn't"),
    "decorated": ("@property\ndef exp(self): return self.data", "its source doesn't say"),
    "the class as an object": (
        "def exp(self): return [Value][0]",
        "it uses the class as an object",
    ),
    "the type as an object": ("def exp(self): return [type(self)][0]", "it calls type"),
    "the class by its name": ("def exp(self): return [self.__class__][0]", "it reads .__class__"),
}


def name_of(text: str) -> str:
    found = re.search(r"def (\w+)", text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("case", KEPT)
def test_what_differs_is_kept(case: str, capsys: Any) -> None:
    text, why = KEPT[case]
    name = name_of(text)
    before = vars(Value).get(name)
    assert defined(changed("local_grads", **{"tanh": "", name: text})) is Value
    assert getattr(vars(Value).get(name), "__module__", "program") == "program"
    said = capsys.readouterr().err
    assert f"kept from the program: {name}: {why}" in said and said.count("kept") == 1
    _replace.restore()
    assert vars(Value).get(name) is before


GIVES_WAY = {
    "minus": "def __neg__(self):\n    minus = -1\n    return self * minus",
    "text": "def __repr__(self): return f'Value(data={self.data}, grad={self.grad})'",
    "order": """
        def __lt__(self, other):
            return self.data < (other.data if isinstance(other, Value) else other)
        """,
    "hash": "def __hash__(self): return id(self)",
    "everything": """
        def sin(self) -> 'Value':
            '''The sine.'''
            assert isinstance(self, Value), 'what?'
            slope: float = math.cos(self.data)
            return type(self)(math.sin(self.data), (self,), (slope,))
        """,
    "relu": """
        def relu(self):
            if self.data < 0:
                y, slope = 0.0, 0.0
            else:
                y, slope = self.data, 1.0
                if not self.data > 0:
                    slope = 0.0
            return Value(data=y, children=(self,), local_grads=(slope,))
        """,
    "swapped": """
        def __add__(self, other):
            if isinstance(other, (int, float)):
                other = Value(other)
            assert isinstance(other, Value), f"no {other}"
            total = other.data + self.data
            return self.__class__(total, (self, other), (1.0, 1.0))
        """,
}


@pytest.mark.parametrize("case", GIVES_WAY)
def test_what_gives_the_same_bits_is_pygradcs(case: str, capsys: Any) -> None:
    text = textwrap.dedent(GIVES_WAY[case])
    assert defined(changed("local_grads", **{"tanh": "", name_of(text): text})) is Value
    assert "kept" not in capsys.readouterr().err


def test_a_method_is_kept_that_is_made_of_one_that_is_kept(capsys: Any) -> None:
    power = "def __pow__(self, n): return Value(self.data**n * scale, (self,), (n,))"
    assert defined(changed("local_grads", tanh="", __pow__=power)) is Value
    said = capsys.readouterr().err
    assert "kept from the program: __rtruediv__, __truediv__: it differs" in said
    assert "__pow__: it reads the global scale on line" in said


def test_a_power_is_kept_whose_reflection_is(capsys: Any) -> None:
    own = "def __rpow__(self, x): return x"
    assert defined(changed("local_grads", tanh="", __rpow__=own)) is Value
    assert "kept from the program: __pow__" in capsys.readouterr().err


def test_equality_by_data_is_kept_with_its_hash() -> None:
    equal = "def __eq__(self, other): return self.data == other.data"
    same = "def __hash__(self): return id(self)"
    assert defined(changed("local_grads", __eq__=equal, __hash__=same)) is Value
    a = Value(1.0)
    assert a == Value(1.0) and hash(a) == id(a)
    _replace.restore()
    assert Value(1.0) != Value(1.0)


# ---- Classes -------------------------------------------------------------------------------------

CONSTRUCTOR = """
def __init__(self, data, _children=(), _op='', label=''):
    self.data, self.grad, self._op, self.label = data, 0, _op, label
    self._prev, self._backward = tuple(_children), lambda: None
    {}
"""
BACKWARD = """
def backward(self):
    order, seen = [], set()
    def build(v):
        if v not in seen:
            seen.add(v)
            {}
            for child in v._children:
                build(child)
            order.append(v)
    build(self)
    self.grad = {}
    for v in reversed(order):
        for child, slope in zip(v._children, v._local_grads):
            child.grad += slope * v.grad
    {}
"""


def constructor(more: str) -> dict[str, str]:
    return {"__init__": CONSTRUCTOR.format(more)}


def backward(before: str = "pass", seed: str = "1", after: str = "pass") -> dict[str, str]:
    return {"backward": BACKWARD.format(before, seed, after)}


ELSE = "its backward() does something else"
LEFT: dict[str, tuple[str, dict[str, str], str]] = {
    "arguments": (
        "local_grads",
        {"__init__": "def __init__(self, data, shape=(), dtype=None): pass"},
        "its constructor takes (data",
    ),
    "labels": (
        "closures",
        constructor("self.label = label or str(data)"),
        "its label differs from",
    ),
    "numbers": (
        "closures",
        constructor("self.number = id(self)"),
        "its number differs from node to node",
    ),
    "counts": (
        "closures",
        constructor("Value.count += 1"),
        "its __init__ can't be replaced: it ass",
    ),
    "lists": (
        "closures",
        constructor("nodes.append(self)"),
        "its __init__ can't be replaced: it re",
    ),
    "files": (
        "closures",
        constructor("open('x').close()"),
        "its __init__ can't be replaced: it cal",
    ),
    "no op": ("closures", constructor("self._op = _op or None"), "its _op is None by default"),
    "no gradient": ("closures", constructor("self.grad = None"), "its initial gradient is None"),
    "sign": ("closures", constructor("self.data = abs(data)"), "its data are 3 for -3"),
    "drops": ("closures", constructor("self._prev = ()"), "its constructor stores _children as ()"),
    "mixes": (
        "closures",
        constructor("self._prev = set(_children) if _children else ()"),
        "its _prev isn't always a set",
    ),
    "from zero": ("local_grads", backward("v.grad = 0"), ELSE),
    "seeded": ("local_grads", backward(seed="self.grad or 1.0"), ELSE),
    "answers": ("local_grads", backward(after="return order"), ELSE),
    "other seed": ("local_grads", backward(seed="2"), ELSE),
    "adds the seed": ("local_grads", backward(seed="self.grad + 1"), ELSE),
    "lets go": ("local_grads", backward(after="self._children = ()"), ELSE),
    "clears": ("local_grads", backward(after="for v in order: v.grad = 0"), ELSE),
    "seeds": ("local_grads", {"backward": "def backward(self, x=1): pass"}, "its backward() takes"),
    "no backward": ("local_grads", {"backward": ""}, "it has no backward of its own"),
    "sum": ("local_grads", {"__add__": "def __add__(a, b): return a * b"}, ELSE),
    "getattr": (
        "local_grads",
        {"__getattr__": "def __getattr__(self, name): return 0"},
        "it defines __getattr__ itself",
    ),
    "property": (
        "closures",
        {"data": "@property\ndef data(self): return 1"},
        "it defines data itself",
    ),
    "private": (
        "local_grads",
        {"_push": "def _push(self): return None"},
        "pygradc's Value has a different _push",
    ),
    "raises": ("closures", {"__add__": "def __add__(a, b): return 1 / 0"}, "its backward() raises"),
    "hooks": (
        "local_grads",
        {"__add__": "def __add__(a, b):\n    for hook in hooks: hook(a)\n    return a"},
        "its __add__ can't be replaced: it reads the global hooks",
    ),
    "endless": (
        "local_grads",
        {"__mul__": "def __mul__(a, b):\n    while b: pass"},
        "2.0 times 7.0, or its backward(), raises Endless",
    ),
    "super": (
        "local_grads",
        {"softplus": "def softplus(self): return super().softplus()"},
        "its softplus uses super()",
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_does_not_fit_is_left_as_it_is(case: str, capsys: Any) -> None:
    protocol, members, why = LEFT[case]
    before = dict(vars(Value))
    assert defined(changed(protocol, **members)) is not Value
    assert dict(vars(Value)) == before
    told = re.search("program.py:.*: class Value is left as is: (.*)", capsys.readouterr().err)
    assert told is not None and told[1].startswith(why)


def test_a_backward_that_only_differs_in_form_gives_way() -> None:
    assert defined(changed("local_grads", **backward(seed="1.0"))) is Value


def test_gradients_that_are_set_instead_of_added_are_noticed(capsys: Any) -> None:
    text = engine("closures").replace("operand.grad += slope", "operand.grad = slope")
    assert text != engine("closures") and defined(text) is not Value
    assert ELSE in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Value(1.0, _prev=3)", "the program passes _prev= to its constructor"),
        ("def f(v): v._prev = set()", "the program assigns to ._prev"),
        ("def f(v): v._prev.clear()", "the program changes ._prev"),
        ("def f(v):\n    kept = v._prev\n    kept.clear()", "the program changes kept"),
        ("def f(v): setattr(v, '_prev', ())", "the program calls setattr"),
        ("def f(v): Value.__init__ = v", "the program assigns to Value.__init__"),
        ("class Child(Value): pass", "the program derives Child from it"),
        ("def f():\n    global Value\n    Value = 3", "its __add__ can't be replaced: it"),
        ("from os import *", "its __init__ can't be replaced: it calls "),
        ("def set(x): return x", "its __init__ can't be replaced: it calls "),
    ],
)
def test_what_the_rest_of_the_program_does_counts(text: str, why: str, capsys: Any) -> None:
    before = dict(vars(Value))
    exits = "raise SystemExit\n"  # nothing of it has to run
    with pytest.raises(SystemExit):
        own = engine("closures").replace("tuple(_children)", "set(_children)")
        defined(f"{own}\n{exits}{text}\n")
    assert dict(vars(Value)) == before
    err = capsys.readouterr().err
    assert "class Value is left as is: " in err and why.partition(": ")[0] in err


def test_a_class_with_a_base_or_a_decorator_is_left(capsys: Any) -> None:
    text = engine("closures")
    assert defined(text.replace("class Value:", "class Value(dict):")) is not Value
    assert "it has base classes" in capsys.readouterr().err
    assert defined(text.replace("class Value:", "@(lambda c: c)\nclass Value:")) is not Value
    assert "it is decorated" in capsys.readouterr().err


def test_a_method_that_the_class_body_replaces_is_not_its_source(capsys: Any) -> None:
    text = engine("local_grads") + "    locals()['exp'] = lambda self: self\n"
    assert defined(text) is Value
    assert (
        "kept from the program: exp: its source doesn't say what it is" in capsys.readouterr().err
    )


def test_attributes_with_a_constant_default_are_the_classs() -> None:
    assert defined(changed("closures", **constructor("self.m, self.colour = 0.0, None"))) is Value
    a, b = Value(1.0), Value(2.0)
    a.m = 3.0
    assert (a.m, b.m, (a + b).m, a.colour) == (3.0, 0.0, 0.0, None)


@pytest.mark.parametrize("kind", [set, frozenset, list, tuple])
def test_children_stay_of_the_kind_that_the_class_keeps(kind: Any) -> None:
    text = changed("closures", **constructor(f"self._prev = {kind.__name__}(_children)"))
    assert defined(text) is Value
    a, b = Value(2.0), Value(3.0)
    assert type(a._prev) is type((a + b)._prev) is kind
    assert (a + b)._prev == kind((a, b)) and (a + a)._prev == kind((a, a))


def test_other_names_for_the_graph_can_be_read() -> None:
    own = (
        "def __init__(self, data, children=(), local_grad=()):\n    self.data, self.grad = data, 0"
    )
    own += "\n    self.prev, self._local_grad = children, local_grad"
    text = changed("local_grads", __init__=own, **backward()).replace("__slots__", "slots")
    for old, new in {
        "children=(self": "(self",
        "local_grads=(1": "(1",
        "local_grads=slopes": "slopes",
        "v._local_grads": "v._local_grad",
        "v._children": "v.prev",
    }.items():
        text = text.replace(old, new)
    assert defined(text) is Value
    a = Value(2.0)
    out = Value(6.0, (a,), (3.0,))
    assert (out.prev, out._local_grad, a.prev) == ((a,), (3.0,), ())
    assert not hasattr(out, "_children")


def test_a_class_that_is_defined_again_leaves_the_first_alone(capsys: Any) -> None:
    first = changed("local_grads", __repr__="def __repr__(self): return 'first'")
    second = changed("local_grads", softplus="def softplus(self): return 1")
    assert defined(f"{first}\n{second}") is Value
    assert repr(Value(1.0)) != "first" and Value(1.0).softplus() == 1
    err = capsys.readouterr().err
    assert re.match("pygradc: program.py:4: class Value is left as is: it is defined again", err)


def test_of_classes_that_run_in_turn_one_gives_way(capsys: Any) -> None:
    text = changed("local_grads", __repr__="def __repr__(self): return 'first'")
    assert defined(text) is Value
    for path in ("program.py", "other.py"):  # reloaded, and of another module
        assert defined(engine("local_grads"), path) is not Value
        assert "the one at program.py:4 is pygradc's" in capsys.readouterr().err
    assert repr(Value(1.0)) == "first"


def test_a_class_that_is_no_statement_of_the_module_is_said(capsys: Any) -> None:
    defined("Value = 3\ndef f():\n    class Value: pass\n", str(Path.cwd() / "a.py"))
    assert capsys.readouterr().err == (
        "pygradc: a.py:3: class Value is left as is: it isn't a top-level statement of the module\n"
    )
