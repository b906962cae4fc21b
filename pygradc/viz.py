"""Drawing a graph with graphviz.

The picture is micrograd's: a record with label, data and gradient for each node, an oval for its
op. Nodes are named by number, so that equal graphs give equal source. Traversal is iterative;
graphs too large for graphviz to lay out in reasonable time are refused.
With `group=True` the layers that viewing/layers.py finds in the graph are a box each: of a batch of
rows one for each row, and one for the weights that they share.
Colors: Okabe & Ito (2008), distinguishable by color-blind readers, and black text readable on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pygradc.core.ops import ROWS, Op
from pygradc.core.refusals import refuse

if TYPE_CHECKING:
    from pygradc.core.drawing import Digraph

MAX_NODES = 2000
"""Above this many nodes `draw_dot` refuses: dot's layout takes minutes from there on."""
MAX_GROUPED = 100_000
"""And above this many it doesn't look for layers, which takes seconds from there on."""

_COLORS = (None, "op", "grad", "both")
_ORANGE, _BLUE, _GREY = (230, 159, 0), (86, 180, 233), "#CCCCCC"


def _near(root: Any, max_depth: int | None, most: int | None = None) -> set[Any]:
    """Root and the nodes at most max_depth steps below it; stops at more than `most` nodes."""
    found, level, depth = {root}, [root], 0
    while level and (max_depth is None or depth < max_depth):
        below: set[Any] = set()
        for node in level:
            below.update(child for child in node._children if child not in found)
            if most is not None and len(found) + len(below) > most:
                return found | below
        found |= below
        level, depth = list(below), depth + 1
    return found


def trace(root: Any, max_depth: int | None = None) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """The nodes below root and the edges (child, parent), children before parents.

    Args:
        root: Any Value with `_children`.
        max_depth: Omit nodes further than this from root; None for no limit.
    Returns:
        Nodes, each once, in topological order, and edges, each once.
    """
    near = _near(root, max_depth)
    nodes: dict[Any, None] = {}
    visited, stack = {root}, [(root, iter(root._children))]
    while stack:
        node, children = stack[-1]
        child = next((c for c in children if c in near and c not in visited), None)
        if child is None:
            nodes[node] = None
            stack.pop()
        else:
            visited.add(child)
            stack.append((child, iter(child._children)))
    edges = {(child, node): None for node in nodes for child in node._children if child in near}
    return list(nodes), list(edges)


def _escape(label: object) -> str:
    """A label inside a record: graphviz reads these characters as structure."""
    text = str(label).replace("\\", "\\\\").replace("\n", " ")
    for character in "{}|<>":
        text = text.replace(character, "\\" + character)
    return text


def _check_root(root: Any) -> None:
    if hasattr(root, "_children") and not isinstance(root, type):
        return  # also of other classes with children
    if hasattr(root, "__len__") and not isinstance(root, (str, bytes)):
        raise TypeError(
            f"draw_dot: expected one Value, the root of a graph, not a {type(root).__name__} of "
            f"{len(root)}: write draw_dot(values[0]) for one of them, or "
            "draw_dot(pygradc.sum(values)) for all"
        )
    what = f"the class {root.__name__}" if isinstance(root, type) else type(root).__name__
    raise TypeError(
        f"draw_dot: expected a Value, the root of a graph, not {what}: write draw_dot(y) with a y "
        "computed from Values, such as y = Value(2.0) * 3"
    )


def as_text(nodes: Iterable[Any]) -> str:
    """One line per node, children before parents: its number, op and children, then the text of its
    record in the drawing.
    """
    number: dict[Any, int] = {}
    lines = []
    for node in nodes:
        number[node] = len(number)
        below = " ".join(
            f"n{number[child]}" if child in number else "..." for child in node._children
        )
        made = f" = {node._op}({below})" if node._op else ""
        label = " ".join(str(node.label).split())
        label = f" {label} |" if label else ""
        lines.append(f"n{number[node]}{made}:{label} data {node.data:.4f} | grad {node.grad:.4f}")
    return "\n".join(lines)


# ---- Colors --------------------------------------------------------------------------------------


_ROWS = {("**" if row.name == "pown" else row.symbol, row.arity): row for row in reversed(ROWS)}


def _row_of(node: Any) -> Op | None:
    """The row of the op table that has the node's symbol and as many operands."""
    arity = len(node._children)
    symbol = "**" if arity == 1 and str(node._op).startswith("**") else str(node._op)
    return _ROWS.get((symbol, arity))


def _color_of_op(node: Any) -> str:
    """A pale color for each op of the table; grey for a custom op."""
    row = _row_of(node)
    hue = 0.618034 * row.number % 1.0 if row is not None else 0.0  # far apart for neighbours
    return f"{hue:.3f} 0.400 0.950" if row is not None else _GREY


def _color_of_grad(grad: float, largest: float) -> str:
    """White for 0, to orange for the largest gradient, to blue for the least; grey for nan."""
    if not math.isfinite(grad):
        return _GREY
    part = math.sqrt(abs(grad) / largest) if largest else 0.0  # so that small ones can be seen
    end = _ORANGE if grad > 0.0 else _BLUE
    return "#" + "".join(f"{round(255 + part * (channel - 255)):02X}" for channel in end)


class _Colors:
    """The attributes of nodes, ops and boxes that color them."""

    def __init__(self, nodes: Iterable[Any], color: str | None) -> None:
        self.by_op, self.by_grad = color in ("op", "both"), color in ("grad", "both")
        finite = (abs(node.grad) for node in nodes if math.isfinite(node.grad))
        self.largest = max(finite, default=0.0) if self.by_grad else 0.0

    def of_op(self, node: Any) -> dict[str, str]:
        return _filled(_color_of_op(node)) if self.by_op else {}

    def of_grad(self, grad: float) -> dict[str, str]:
        return _filled(_color_of_grad(grad, self.largest)) if self.by_grad else {}


def _filled(color: str) -> dict[str, str]:
    return {"style": "filled", "fillcolor": color}


# ---- Boxes ---------------------------------------------------------------------------------------


class _Box(NamedTuple):
    """Nodes that are drawn as one. `output`: the only one that others use, or None."""

    name: str
    nodes: Sequence[Any]
    output: Any

    def grad(self) -> float:
        """The gradient of the largest absolute value; nan if one is."""
        grads: list[float] = [node.grad for node in self.nodes]
        return math.nan if any(map(math.isnan, grads)) else max(grads, key=abs)

    def texts(self) -> list[str]:
        """Its name, counts, and the numbers of its output, or else the largest gradient."""
        leaves = sum(not node._children for node in self.nodes)
        counted = f"{len(self.nodes):,} nodes, {leaves:,} leaves"
        if self.output is None:
            return [self.name, counted, f"largest grad {self.grad():.4f}"]
        return [self.name, counted, f"data {self.output.data:.4f}", f"grad {self.output.grad:.4f}"]


def _boxes(nodes: Sequence[Any], edges: Iterable[tuple[Any, Any]]) -> list[_Box]:
    """The layers of the graph, their weights, and long sums."""
    from pygradc.viewing.description import Graph, Node
    from pygradc.viewing.layers import find_layers

    number = {node: i for i, node in enumerate(nodes)}
    described = []
    for i, node in enumerate(nodes):
        below = [number[child] for child in node._children]
        row = _row_of(node) if below else None
        described.append(Node(f"n{i}", str(node._op), below, row, data=node.data))
    forward = [i for i, node in enumerate(described) if node.operands]
    groups = find_layers(Graph("", described, len(nodes) - 1, forward))
    return _with_outputs([(g.name, [nodes[i] for i in g.nodes]) for g in groups], nodes[-1], edges)


def _with_outputs(
    groups: Iterable[tuple[str, Sequence[Any]]], root: Any, edges: Iterable[tuple[Any, Any]]
) -> list[_Box]:
    groups = [(name, nodes) for name, nodes in groups if len(nodes) > 1]
    inside = {node: i for i, (_, nodes) in enumerate(groups) for node in nodes}
    used: list[dict[Any, None]] = [{} for _ in groups]
    outward = [child for child, node in edges if inside.get(child) != inside.get(node)]
    for node in (root, *outward):
        if node in inside:
            used[inside[node]][node] = None
    return [
        _Box(name, nodes, next(iter(outputs)) if len(outputs) == 1 else None)
        for (name, nodes), outputs in zip(groups, used)
    ]


def _one_line(label: object) -> list[str]:
    return [" ".join(str(label).split())] if str(label) else []


def _boxes_as_text(
    nodes: Iterable[Any], edges: Iterable[tuple[Any, Any]], boxes: Mapping[Any, tuple[str, _Box]]
) -> str:
    """As `as_text`; a box is one line, where its last node would be."""
    place = {node: i for i, node in enumerate(nodes)}
    name = {node: boxes[node][0] if node in boxes else f"n{i}" for node, i in place.items()}
    below: dict[str, dict[str, None]] = {}
    for child, node in edges:
        if name[child] != name[node]:
            below.setdefault(name[node], {})[name[child]] = None
    last = {own: node for node, own in name.items()}
    lines = []
    for own, node in sorted(last.items(), key=lambda pair: place[pair[1]]):
        operands = f"({' '.join(below[own])})" if own in below else ""
        if node in boxes:
            title, *texts = boxes[node][1].texts()
            made = f" = {title} {operands}".rstrip()
        else:
            texts = [*_one_line(node.label), f"data {node.data:.4f}", f"grad {node.grad:.4f}"]
            made = f" = {node._op}{operands}" if node._op else ""
        lines.append(f"{own}{made}: {' | '.join(texts)}")
    return "\n".join(lines)


# ---- The drawing ---------------------------------------------------------------------------------


def draw_dot(
    root: Any,
    format: str = "svg",
    rankdir: str = "LR",
    *,
    max_depth: int | None = None,
    max_nodes: int = MAX_NODES,
    color: str | None = None,
    group: bool = False,
) -> Digraph:
    """Draw the graph below root.

        >>> import pygradc
        >>> graph = pygradc.draw_dot(pygradc.Value(2.0, label="a") * 3)
        >>> "data 6.0000" in graph.source                    # graph.render("product") writes a file
        True
        >>> model = pygradc.nn.MLP(2, [4, 1], seed=0)
        >>> graph = pygradc.draw_dot(model([0.5, -1.0]), color="grad", group=True)
        >>> "layer 1: 2 → 4, tanh" in graph.source
        True

    Args:
        root: A Value.
        format: "svg", "png", or another format of graphviz.
        rankdir: "LR", left to right, or "TB", top to bottom.
        max_depth: Draw only nodes at most this far from root.
        max_nodes: Refuse to draw more nodes than this; grouped, more boxes and nodes.
        color: "op": a color for each op; "grad": for each node from white, where the gradient is 0,
            to orange, where it is large, or blue, where it is negative; or "both".
        group: Draw each layer of neurons as one box, with the numbers of its nodes and leaves; the
            same for weights that several rows share, and for long sums. A neuron is a sum of at
            least two products with leaves, as `nn` and the lessons compute it.
    Returns:
        A graphviz.Digraph: a notebook displays it (as text without the `dot` program); has
        `.source` and `.render(path)`.
    Raises:
        ImportError: the graphviz package is missing; the message says how to install it.
        TypeError: root isn't a Value; or, as TraceError, a function is being recorded.
        ValueError: an unknown rankdir or color, more than max_nodes nodes, or both group and
            max_depth.
        graphviz.ExecutableNotFound: on rendering without the `dot` program; says what to install.
    """
    refuse("draw_dot()")
    _check_root(root)
    try:
        from pygradc.core.drawing import Digraph
    except ImportError:
        raise ImportError("drawing needs graphviz: pip install graphviz") from None
    if not isinstance(format, str):
        raise TypeError(f"format must be a name, such as 'svg' or 'png', not {format!r}")
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"rankdir must be 'LR' or 'TB', not {rankdir!r}")
    if color not in _COLORS:
        raise ValueError(f"color must be 'op', 'grad', 'both' or None, not {color!r}")
    _check_group(group, max_depth)
    most = max(max_nodes, MAX_GROUPED) if group else max_nodes
    counted = len(_near(root, max_depth, most))
    if counted > most:
        more = "" if group else ", or layers as boxes with group=True"
        raise ValueError(
            f"at least {counted} nodes are too many to draw (max_nodes={max_nodes}); "
            f"draw the part near the root with max_depth=, say max_depth=5{more}"
        )
    nodes, edges = trace(root, max_depth)
    boxes = _boxes(nodes, edges) if group else []
    shown = len(nodes) - sum(len(box.nodes) - 1 for box in boxes)
    if shown > max_nodes:
        raise ValueError(
            f"{shown} boxes and nodes are too many to draw (max_nodes={max_nodes}): draw the graph "
            "of fewer rows"
        )
    dot = Digraph(format=format, graph_attr={"rankdir": rankdir})
    _draw(dot, nodes, edges, boxes, _Colors(nodes, color))
    return dot


def _check_group(group: Any, max_depth: int | None) -> None:
    if not isinstance(group, bool):
        raise TypeError(f"group must be True or False, not {group!r}")
    if group and max_depth is not None:
        raise ValueError("group=True draws the whole graph: leave out max_depth, or group")


def _draw(
    dot: Digraph,
    nodes: Sequence[Any],
    edges: Sequence[tuple[Any, Any]],
    boxes: Sequence[_Box],
    colors: _Colors,
) -> None:
    """Add the nodes, ops and edges, and for nodes in boxes these."""
    from graphviz import escape

    inside = {node: (f"g{i}", box) for i, box in enumerate(boxes) for node in box.nodes}
    dot.text = _boxes_as_text(nodes, edges, inside) if boxes else as_text(nodes)
    for i, box in enumerate(boxes):
        label = f"{{ {' | '.join(map(_escape, box.texts()))} }}"
        dot.node(f"g{i}", label=label, shape="Mrecord", **colors.of_grad(box.grad()))
    source = {node: inside[node][0] if node in inside else str(i) for i, node in enumerate(nodes)}
    target = dict(source)
    for node in nodes:
        if node in inside:
            continue
        text = f"{{ {_escape(node.label)} | data {node.data:.4f} | grad {node.grad:.4f} }}"
        dot.node(source[node], label=text, shape="record", **colors.of_grad(node.grad))
        if node._op:
            target[node] += "op"
            dot.node(target[node], label=escape(str(node._op)), **colors.of_op(node))
            dot.edge(target[node], source[node])
    ends = {(source[child], target[node]): None for child, node in edges}
    for tail, head in ends:
        if tail != head:
            dot.edge(tail, head)
