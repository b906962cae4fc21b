"""Does a method of a program's class agree with pygradc's bit for bit? Tried on sample numbers.

Both classes get the same operands, with nonzero gradients: fresh leaves, the same leaf twice,
results of ops. The whole graphs are compared after a sweep: data, gradients, children in order,
names of ops, labels. If the program's class raises, pygradc's must raise the same type.
The program's class is a sterile copy (`_sterile.py`), so that trials have no side effects.
Not tried, since pygradc differs from all such classes there: a negative base with a
fractional exponent, and infinite or nan operands.
Cost: some thousand small expressions, a tenth of a second.
"""

from __future__ import annotations

import functools
import inspect
import operator
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from pygradc.compat._sterile import SETS
from pygradc.core.ops import OPS
from pygradc.value import Value

Numbers = tuple[tuple[float, ...], ...]


class Try(NamedTuple):
    """An expression, and rows of operands: one number for each of its arguments."""

    expression: Callable[..., Any]
    rows: Numbers


ONES: Numbers = tuple((1.57 * k - 9.1,) for k in range(13))
FEW: Numbers = ONES[::4] + ((0.0,), (1.0,), (-1.0,))
EDGES: Numbers = ((0.0,), (1.0,), (-1.0,), (1e-9,), (800.0,), (-800.0,))
PAIRS: Numbers = (
    *((2.5, -1.7), (0.3, 3.9), (-4.1, -0.9), (7.3, 1.1)),
    *((1e3, 0.07), (0.0, 2.0), (-1.0, 0.0)),
)
BASES: Numbers = ((0.0,), (0.3,), (1.0,), (1.7,), (9.2,))


def _binary(apply: Callable[[Any, Any], Any]) -> list[Try]:
    with_numbers = [Try(lambda a, x=x: apply(a, x), FEW) for x in (2, -3, 0.7)]
    shared = [
        Try(lambda a, b: apply(a * b, a) * apply(b, b), PAIRS[:4]),
        Try(lambda a, b: apply(apply(a, b), a * b) + a, PAIRS[:4]),
    ]
    return [Try(apply, PAIRS), *with_numbers, *shared]


def _reflected(apply: Callable[[Any, Any], Any]) -> list[Try]:
    shared = Try(lambda a, b: apply(2, a * b) * apply(0.5, a), PAIRS[:4])
    return [*(Try(lambda a, x=x: apply(x, a), FEW) for x in (2, -3, 0.7)), shared]


def _unary(apply: Callable[[Any], Any]) -> list[Try]:
    shared = Try(lambda a, b: apply(a * b) * a + apply(a) * apply(a), PAIRS[:4])
    return [Try(apply, ONES + EDGES), shared]


def _power() -> list[Try]:
    positive = ((2.5, 1.7), (0.3, 3.9), (4.1, 0.9))
    return [
        Try(lambda a: a**3, ONES + EDGES),
        *(Try(lambda a, n=n: a**n, FEW) for n in (1, 2, -1, -2)),
        *(Try(lambda a, x=x: a**x, BASES) for x in (0.5, -0.5, 2.0, 1 / 3)),
        Try(lambda a: a**1.0, FEW),
        Try(lambda a: a**0, BASES[1:]),
        Try(lambda a, b: (a * b) ** 2 * a**3 + (a**2) ** 2, positive),
    ]


def _of_operators() -> dict[str, list[Try]]:
    tries = {
        "__pow__": _power(),
        "__rpow__": [Try(lambda a, x=x: x**a, FEW) for x in (2, 0.7)],
    }
    for name in ("neg", "pos", "abs"):
        tries[f"__{name}__"] = _unary(getattr(operator, name))
    for name in ("add", "sub", "mul", "truediv"):
        tries[f"__{name}__"] = _binary(getattr(operator, name))
        tries[f"__r{name}__"] = _reflected(getattr(operator, name))
    return tries


def _calls(name: str) -> Callable[[Any, Any], Any]:
    return lambda a, b: getattr(a, name)(b)


def _of_ops() -> dict[str, list[Try]]:
    """The methods of the op table."""
    tries = {}
    for op in OPS:
        if op.arity == 2:
            tries[op.name] = _binary(_calls(op.name))
        elif op.is_activation:
            tries[op.name] = _unary(operator.methodcaller(op.name))
    return tries


TRIES = {**_of_operators(), **_of_ops()}
REFLECTED = frozenset(name for name in TRIES if name.startswith("__r"))


def _comparison(name: str) -> Callable[[Any, Any], Any]:
    """Call the method itself: for 2 < a Python would call another one."""

    def answers(a: Any, b: Any) -> list[Any]:
        compare = getattr(type(a), f"__{name}__")
        others = [None, "a"] if name in ("eq", "ne") else []
        return [compare(a, other) for other in (a, b, a * b, -a, 2.5, 3, *others)]

    return answers


# Methods with a result that isn't a node; called on two Values.
ANSWERS: dict[str, Callable[[Any, Any], Any]] = {
    "__repr__": lambda a, b: (repr(a), repr(b), repr(_swept(a * b)), repr(_swept(a + 1.5))),
    "__str__": lambda a, b: (str(a), str(_swept(a * b)), repr(a)),
    "__format__": lambda a, b: (f"{a}", f"{a:.3f}", f"{_swept(a * b):>30}"),
    "__float__": lambda a, b: (float(a), float(a * b)),
    "__bool__": lambda a, b: (bool(a), bool(a - a)),
    **{f"__{name}__": _comparison(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}


def _swept(node: Any) -> Any:
    node.grad = 0.25  # 0 would be an int in a class that keeps one
    return node


class View(NamedTuple):
    """The program's names for attributes that both classes have; "" for one that it lacks."""

    children: str
    op: str
    label: str
    is_set: bool  # children are stored once each, unordered

    def picture(self, roots: Iterable[Any]) -> Any:
        """All that a program can observe of these nodes and of those below them."""
        ours = type(next(iter(roots), None)) is Value
        op = "_op" if ours and self.op else self.op
        name = "_children" if ours else self.children
        places: dict[int, int] = {}
        nodes: list[Any] = []
        inner: list[tuple[int, tuple[Any, ...]]] = []  # places of nodes with children
        todo = list(roots)
        while todo:
            node = todo.pop()
            if id(node) in places:
                continue
            place = places[id(node)] = len(nodes)
            nodes.append(node)
            children = tuple(getattr(node, name))
            if children:
                if self.is_set:
                    children = tuple(dict.fromkeys(children))
                inner.append((place, children))
                todo += children[::-1]
        numbers = array("d", [x for node in nodes for x in (node.data, node.grad)])
        names = [getattr(node, op) for node in nodes] if op else []
        labels = [node.label for node in nodes] if self.label else []
        below = [(place, [places[id(child)] for child in children]) for place, children in inner]
        return numbers.tobytes(), names, labels, below


def same(cls: Any, name: str, view: View, constants: Sequence[float]) -> bool:
    """Does pygradc's method of this name agree with the class's?

    Args:
        cls: The sterile class.
        constants: Numbers in the method's source; its behavior may change next to them.
    """
    if name in ANSWERS:
        return bool(_answer(cls, name) == _answer(Value, name))
    if name not in TRIES or not _takes_the_same(cls, name):
        return False
    if name == "__pow__" and not _powers_of_values_agree(cls, view):
        return False
    more = [Try(TRIES[name][0].expression, _near(constants, len(TRIES[name][0].rows[0])))]
    if name == "__pow__":
        more = [Try(lambda a, n=n: a**n, BASES[1:]) for n in constants if abs(n) < 20]
    tries = *TRIES[name], *more
    return bool(_outcome(cls, tries, view) == _outcome(Value, tries, view))


def _powers_of_values_agree(cls: Any, view: View) -> bool:
    """Do they agree for Value ** Value? If the class refuses it, the guard does so, too."""
    tries = [Try(operator.pow, ((2.5, 1.7), (0.3, 3.9)))]
    try:
        theirs = _outcome(cls, tries, view)
    except (TypeError, AssertionError):
        return False  # its data aren't numbers
    refused = theirs in ([TypeError] * 2, [AssertionError] * 2)
    return refused or theirs == _outcome(Value, tries, view)


def _near(constants: Sequence[float], count: int) -> Numbers:
    points = [
        float(x) for c in constants for x in (c, -c, c * (1 + 1e-12), c * (1 - 1e-12), c + 1, c - 1)
    ]
    return tuple((x, 1.3, -0.7)[:count] for x in points if abs(x) < 1e100)


def _takes_the_same(cls: type, name: str) -> bool:
    """Does a named method have as many parameters as pygradc's?"""
    if name.startswith("__"):
        return True
    count = 2 if any(op.name == name and op.arity == 2 for op in OPS) else 1
    try:
        return len(inspect.signature(getattr(cls, name)).parameters) == count
    except (TypeError, ValueError):
        return False


def _leaves(cls: Any, numbers: Sequence[float]) -> list[Any]:
    """Leaves with nonzero gradients."""
    values = [cls(number) for number in numbers]
    for i, value in enumerate(values):
        value.grad = 0.3 + 0.4 * i
    return values


def _changed(values: Sequence[Any], numbers: Sequence[float]) -> bool:
    """Do these leaves differ from what `_leaves` made?"""
    return any(
        (value.data, value.grad) != (number, 0.3 + 0.4 * i)
        for i, (value, number) in enumerate(zip(values, numbers))
    )


def _outcome(cls: Any, tries: Iterable[Try], view: View) -> Any:
    """For each row the type of its exception or non-node result; and the graph that joins the
    other results, after a sweep.
    """
    rows = [(each.expression, row) for each in tries for row in each.rows]
    told: list[Any] = [None] * len(rows)
    for attempt in ("all at once", "without those whose derivatives raise"):
        leaves, roots = [], []
        for i, (expression, row) in enumerate(rows):
            if told[i] is not None:
                continue
            values = _leaves(cls, row)
            try:
                out = expression(*values)
            except Exception as error:
                if _changed(values, row):
                    return "operands of an op that fails are changed"
                told[i] = type(error)
                continue
            if type(out) is not cls:
                told[i] = type(out)
                continue
            leaves += values
            roots.append(out)
        if not roots:
            return told
        total = functools.reduce(operator.add, roots) * cls(1.7)
        try:
            total.backward()
            return told, view.picture([*leaves, total])
        except Exception:
            if attempt != "all at once":
                raise
            _note_failures(cls, rows, told)
    return None


def _note_failures(cls: Any, rows: Iterable[tuple[Any, Sequence[float]]], told: list[Any]) -> None:
    for i, (expression, row) in enumerate(rows):
        try:
            if told[i] is None:
                (expression(*_leaves(cls, row)) * cls(1.7)).backward()
        except Exception as error:
            told[i] = type(error)


def _answer(cls: Any, name: str) -> Any:
    try:
        a, b = _leaves(cls, (2.5, 2.5))
        if hasattr(a, "label"):
            b.label = "b"
        return ANSWERS[name](a, b)
    except Exception as error:
        return type(error)


# ---- The constructor and backward() --------------------------------------------------------------


def sweeps(cls: Any, view: View) -> list[Any]:
    """Observations of several sweeps: from results, from a leaf, and twice from the same root.

    Not observed: gradients of inner nodes that an earlier sweep has reached, which pygradc, unlike
    the other classes, doesn't accumulate.
    """
    a, b, c, twin = values = _leaves(cls, (0.7, -1.3, 2.9, 0.7))
    seen: list[Any] = []
    d = a * b + a
    e = d * d + d * b
    f = (e * c + d) * (e + 0.1) + (twin * b + twin) * c
    product, twice = b * c, a + a
    for root in (f, (a * b) * (c + b), product, product, twice, a):
        root.grad = 5.0
        seen.append((root.backward(), view.picture([root, *values])))
    return seen


def kind_of_children(kept: Any) -> Any:
    """The type of a children container: set, frozenset, list or tuple."""
    return SETS.get(type(kept), type(kept))
