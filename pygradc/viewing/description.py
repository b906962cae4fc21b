"""What the page shows: nodes, the order in which they are computed, and every gradient as it grows.

A `Graph` is independent of where it comes from, a Value or a program. Numbers are finished here:
the page computes none, and shows them as Python's `repr` writes them, so that what is read there is
what a program prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pygradc.core.ops import Op


@dataclass
class Node:
    """A value of the graph.

    Attributes:
        name: what formulas call it, such as "n5"; its label is shown before that.
        made: how it was made, as `Value._op` says it: "+", "**2", "dot"; "" for a leaf.
        operands: numbers of nodes, in order.
        row: the row of the op table; None for a leaf, and for what isn't in the table.
        data: None if it isn't known, as in a program without arguments.
        held: the gradient that the Value has at present.
        number: the operand that is no node, the 2 of `a ** 2`.
        formula: how it is computed, with the operands' names in place of {0}, {1} and so on; for
            nodes without a row.
        note: a sentence that belongs to this node.
        kind: of a leaf: "input", "parameter", "constant", or "".
    """

    name: str
    made: str = ""
    operands: list[int] = field(default_factory=list)
    row: Op | None = None
    label: str = ""
    data: float | None = None
    held: float | None = None
    number: float | None = None
    formula: str = ""
    note: str = ""
    kind: str = ""


class Give(NamedTuple):
    """One contribution to a gradient.

    Attributes:
        source: the node whose gradient is passed on.
        target: the operand that receives.
        slot: which operand of the source that is.
        slope: the derivative of the source by this operand; None if Python code gave it.
        amount: what is added, slope times the source's gradient.
        total: the target's gradient afterwards.
    """

    source: int
    target: int
    slot: int
    slope: float | None
    amount: float
    total: float


@dataclass
class Group:
    """Nodes that are shown as one box when they are collapsed."""

    name: str
    nodes: list[int]


@dataclass
class Graph:
    """A graph, and how it is computed forward and back.

    Attributes:
        nodes: operands before the nodes that use them.
        root: the node that `backward()` starts from.
        forward: the inner nodes, in the order in which they are computed.
        backward: the contributions to gradients, in the order of `backward()`; all gradients are 0
            before. Empty where `data` is unknown.
        stops: why `backward()` ends here with an error; "" if it doesn't.
        notes: sentences about the whole graph.
    """

    title: str
    nodes: list[Node]
    root: int
    forward: list[int]
    backward: list[Give] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    stops: str = ""
    notes: list[str] = field(default_factory=list)

    def gradients(self) -> list[float]:
        """The gradients after the last step, by node."""
        found = [0.0] * len(self.nodes)
        found[self.root] = 1.0
        for give in self.backward:
            found[give.target] = give.total
        return found


class Sweep:
    """Gradients as they grow, and the contributions: by the rules of csrc/graph/sweep.c."""

    def __init__(self, count: int, root: int) -> None:
        self.gradients = [0.0] * count
        self.gradients[root] = 1.0
        self.gives: list[Give] = []

    def give(self, source: int, slot: int, target: int, slope: float) -> None:
        """Add slope times the source's gradient to the target's."""
        self.add(source, slot, target, slope, product(slope, self.gradients[source]))

    def add(self, source: int, slot: int, target: int, slope: float | None, amount: float) -> None:
        total = self.gradients[target] = self.gradients[target] + amount
        self.gives.append(Give(source, target, slot, slope, amount, total))


def product(slope: float, g: float) -> float:
    """slope * g; where g is 0 an infinite or undefined slope gives 0: the branch not taken."""
    found = slope * g
    return 0.0 if found != found and g == 0.0 else found


def as_json(graph: Graph) -> dict[str, Any]:
    """The graph as the page reads it: one list for each attribute, numbers as text.

    Cost: some 200 bytes a node.
    """
    nodes, gives = graph.nodes, graph.backward
    rows = list({node.row.number: node.row for node in nodes if node.row is not None}.values())
    place = {row.number: i for i, row in enumerate(rows)}
    return {
        "title": graph.title,
        "root": graph.root,
        "rows": [
            {
                **{"name": row.name, "symbol": row.symbol, "doc": row.doc, "value": row.value},
                "derivatives": row.derivatives,
            }
            for row in rows
        ],
        "nodes": {
            "name": [node.name for node in nodes],
            "label": [node.label for node in nodes],
            "made": [node.made for node in nodes],
            "row": [-1 if node.row is None else place[node.row.number] for node in nodes],
            "operands": [node.operands for node in nodes],
            "data": [_text(node.data) for node in nodes],
            "held": [_text(node.held) for node in nodes],
            "number": [_text(node.number) for node in nodes],
            "formula": [node.formula for node in nodes],
            "kind": [node.kind for node in nodes],
            "note": {str(i): node.note for i, node in enumerate(nodes) if node.note},
        },
        "groups": [{"name": group.name, "nodes": group.nodes} for group in graph.groups],
        "forward": graph.forward,
        "backward": {
            "source": [give.source for give in gives],
            "target": [give.target for give in gives],
            "slot": [give.slot for give in gives],
            "slope": [_text(give.slope) for give in gives],
            "amount": [repr(give.amount) for give in gives],
            "total": [repr(give.total) for give in gives],
        },
        "stops": graph.stops,
        "notes": graph.notes,
    }


def _text(number: float | None) -> str:
    return "" if number is None else repr(number)
