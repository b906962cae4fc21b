"""The graph below a Value, as the page shows it.

Nothing is changed: data, operands and local derivatives are read, and the gradients are computed
beside the graph, in the order and by the rules of the core's sweep, from gradients of 0. They have
the bits of `backward()` after `zero_grad()`. Only for a `_backward` closure, whose contribution
nothing but the closure knows, the gradients that it reads are set for the time of its call; all are
put back.
Source: csrc/graph/order.c, csrc/graph/sweep.c.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Iterator
from typing import Any

from pygradc.core import copying
from pygradc.core.ops import ROWS, Op
from pygradc.core.refusals import refuse
from pygradc.core.scalar import Scalar, core
from pygradc.core.single import Single
from pygradc.viewing.description import Graph, Node, Sweep
from pygradc.viewing.layers import find_layers

MAX_NODES = 200_000
"""More make a page of tens of megabytes, which browsers take seconds to read."""

_TOO_MANY = (
    f"view: more than {MAX_NODES:,} nodes: view a node below this one, such as one row's loss, or "
    "compile the function and view it with a row, f.view(x), where a neuron is one box"
)
_ARITHMETIC = (ValueError, ZeroDivisionError, OverflowError)
_STALE = "Its data isn't what the formula gives: data was assigned after this was computed."
_POWN = next(op for op in ROWS if op.name == "pown")


def describe(root: Any, title: str = "") -> Graph:
    """The graph below root.

    Raises:
        TypeError: root isn't a Value; or, as TraceError, a function is being recorded.
        ValueError: there are more than MAX_NODES nodes.
        RuntimeError: a `_backward` closure changes the gradient of a node that isn't its operand.
    """
    refuse("view()")
    _check_root(root)
    return _Reading(root).graph(title or str(root.label) or "graph")


def _check_root(root: Any) -> None:
    if isinstance(root, Scalar):
        return
    if hasattr(root, "__len__") and not isinstance(root, (str, bytes)):
        raise TypeError(
            f"view: expected one Value, the root of a graph, not a {type(root).__name__} of "
            f"{len(root)}: write values[0].view() for one of them, or "
            "pygradc.sum(values).view() for all"
        )
    raise TypeError(f"view: expected a Value, the root of a graph, not {type(root).__name__}")


def _in_order(root: Any) -> list[tuple[Any, tuple[Any, ...]]]:
    """The nodes and their operands: depth first, operands from left to right, as the core walks.

    Raises:
        ValueError: there are more than MAX_NODES.
    """
    found, seen = [], {root._id}
    children = root._children
    stack = [(root, children, iter(children))]
    while stack:
        node, children, rest = stack[-1]
        for child in rest:
            if child._id not in seen:
                seen.add(child._id)
                if len(seen) > MAX_NODES:
                    raise ValueError(_TOO_MANY)
                below = child._children
                stack.append((child, below, iter(below)))
                break
        else:
            found.append((node, children))
            stack.pop()
    return found


class _Reading:
    """One graph while it is read; keeps its Values alive, so that their ids stay theirs."""

    def __init__(self, root: Any) -> None:
        pairs = _in_order(root)
        self.values = [value for value, _ in pairs]
        place = {value._id: i for i, value in enumerate(self.values)}
        self.operands = [[place[child._id] for child in children] for _, children in pairs]
        self.single = Single()
        self.slopes: dict[int, tuple[float, ...]] = {}
        self.errors: dict[int, Exception] = {}
        self.nodes = [self._node(i) for i in range(len(self.values))]

    # ---- nodes

    def _node(self, i: int) -> Node:
        value, operands = self.values[i], self.operands[i]
        node = Node(
            f"n{i}",
            str(value._op) if operands else "",
            operands,
            label=" ".join(str(value.label).split()),
            data=value.data,
            held=value.grad,
        )
        if operands:
            self._read_slopes(i)
            self._find_row(i, node)
        return node

    def _read_slopes(self, i: int) -> None:
        try:
            self.slopes[i] = self.values[i]._local_grads
        except Exception as error:  # a pole, or what the rule of a custom op raised
            self.errors[i], self.slopes[i] = error, ()

    def _find_row(self, i: int, node: Node) -> None:
        """The row of the table that made this node: named by its symbol, and with its derivatives.

        A custom op may have any symbol, and derivatives of its own.
        """
        if node.made.startswith("**") and len(node.operands) == 1:
            node.number = _number(node.made[2:])
            rows = [_POWN] if node.number is not None else []
        else:
            rows = [r for r in _BY_SYMBOL.get(node.made, ()) if r.arity == len(node.operands)]
        for row in rows:
            if self._is_row(i, row, node):
                node.row = row
                return

    def _is_row(self, i: int, row: Op, node: Node) -> bool:
        if row.takes_number and node.number is None:
            return len(self.slopes[i]) == 1  # the number can't be read
        a = self.values[self.operands[i][0]].data
        b = self.values[self.operands[i][1]].data if row.arity == 2 else node.number or 0.0
        y = self.values[i].data
        found = self.single.slopes(row, a, b, y)
        if i in self.errors:
            self.slopes[i] = found
            return True
        if _bits(found) != _bits(self.slopes[i]):
            return False
        node.note = "" if self._gives(row, a, b, y) else _STALE
        return True

    def _gives(self, row: Op, a: float, b: float, y: float) -> bool:
        try:
            return _bits((self.single.value(row, a, b),)) == _bits((y,))
        except _ARITHMETIC:
            return False

    # ---- the graph

    def graph(self, title: str) -> Graph:
        root = len(self.nodes) - 1
        forward = [i for i, operands in enumerate(self.operands) if operands]
        found = Graph(title, self.nodes, root, forward)
        sweep = _ValueSweep(self)
        sweep.run()
        found.backward, found.stops, found.notes = sweep.gives, sweep.stops, sweep.notes
        found.groups = find_layers(found)
        return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _bits(numbers: tuple[float, ...]) -> tuple[bytes, ...]:
    """Equal for equal bits; any nan is like any other."""
    return tuple(b"nan" if math.isnan(x) else struct.pack("<d", x) for x in numbers)


_BY_SYMBOL: dict[str, list[Op]] = {}
for _row in ROWS:
    _BY_SYMBOL.setdefault(_row.symbol, []).append(_row)


class _ValueSweep(Sweep):
    """The sweep of `backward()` over the nodes that were read."""

    def __init__(self, reading: _Reading) -> None:
        super().__init__(len(reading.values), len(reading.values) - 1)
        self.reading = reading
        self.stops = ""
        self.notes: list[str] = []
        values = reading.values
        self.closures = {i for i, value in enumerate(values) if _has_closure(value)}
        self.detached = {
            i for i, value in enumerate(values) if core.is_detached(value)
        } - self.closures

    def run(self) -> None:
        held = [value.grad for value in self.reading.values] if self.closures else []
        try:
            for source in range(len(self.reading.values) - 1, -1, -1):
                if source in self.closures:
                    self._call(source)
                elif source not in self.detached:
                    self._push(source)
                if self.stops:
                    return
            self._require_unchanged(held)
        finally:
            for value, grad in zip(self.reading.values, held):
                value.grad = grad

    def _push(self, source: int) -> None:
        reading = self.reading
        operands, slopes = reading.operands[source], reading.slopes.get(source, ())
        receiving = [target not in self.detached for target in operands]
        error = reading.errors.get(source)
        if error is not None and self._is_asked(source, receiving):
            self.stops = f"{type(error).__name__}: {error}"
            return
        pairs = list(zip(range(len(slopes)), operands, slopes))
        for slot, target, slope in reversed(pairs) if self._is_reversed(source) else pairs:
            if receiving[slot]:
                self.give(source, slot, target, slope)

    def _is_asked(self, source: int, receiving: list[bool]) -> bool:
        """Does an error of the derivatives matter? Poles do where a gradient meets them."""
        if self.reading.nodes[source].row is None:
            return True
        poles = [not math.isfinite(slope) for slope in self.reading.slopes[source]] or [True]
        return self.gradients[source] != 0.0 and any(map(operator.and_, poles, receiving))

    def _is_reversed(self, source: int) -> bool:
        """Does it pass gradients from the last operand on, as an op of `pygradc.op` does?

        That matters only where an operand is there twice.
        """
        operands = self.reading.operands[source]
        if self.reading.nodes[source].row is not None or len(set(operands)) == len(operands):
            return False
        return self.reading.nodes[source].made in _custom_ops(self.reading.values[-1])

    def _call(self, source: int) -> None:
        """Let a closure add to its operands' gradients, and see what it added."""
        reading = self.reading
        value, targets = reading.values[source], dict.fromkeys(reading.operands[source])
        value.grad = self.gradients[source]
        for target in targets:
            reading.values[target].grad = self.gradients[target]
        try:
            value._backward()
        except Exception as error:
            self.stops = f"{type(error).__name__}: {error}"
            return
        for target in targets:
            before, after = self.gradients[target], reading.values[target].grad
            self.add(source, reading.operands[source].index(target), target, None, after - before)
            self.gradients[target] = after
            self.gives[-1] = self.gives[-1]._replace(total=after)

    def _require_unchanged(self, held: list[float]) -> None:
        """Require that closures changed their operands' gradients only."""
        known = {i for source in self.closures for i in (source, *self.reading.operands[source])}
        for i, grad in enumerate(held):
            if i not in known and _bits((self.reading.values[i].grad,)) != _bits((grad,)):
                raise RuntimeError(
                    f"view: a _backward closure changes the gradient of {self._name(i)}, which "
                    "isn't among the _children of its node, so its steps can't be shown: pass all "
                    "operands as _children"
                )

    def _name(self, i: int) -> str:
        node = self.reading.nodes[i]
        return repr(node.label) if node.label else f"a Value with data={node.data!r}"


def _has_closure(value: Any) -> bool:
    """Is its `_backward` anything but the core's own?"""
    own = value._backward
    return getattr(own, "__name__", "") != "_push" or getattr(own, "__self__", None) is not value


def _custom_ops(root: Any) -> set[str]:
    """The names of the ops of `pygradc.op` below root, of which a copy needs the rules."""
    return set(_names_of_rules(root))


def _names_of_rules(root: Any) -> Iterator[str]:
    _, (part, _) = copying.reduce(root)
    _, (_, _, names, _), _ = part.__reduce_ex__(2)
    for name in names:
        if isinstance(name, tuple):
            yield name[0].name
