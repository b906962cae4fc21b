"""Drawing a graph with graphviz.

The picture is micrograd's: a record with label, data and gradient for each node, an oval for its
op. Nodes are named by number, so that equal graphs give equal source. Traversal is iterative;
graphs too large for graphviz to lay out in reasonable time are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pygradc.core.refusals import refuse

if TYPE_CHECKING:
    from pygradc.core.drawing import Digraph

MAX_NODES = 2000
"""Above this many nodes `draw_dot` refuses: dot's layout takes minutes from there on."""


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


def draw_dot(
    root: Any,
    format: str = "svg",
    rankdir: str = "LR",
    *,
    max_depth: int | None = None,
    max_nodes: int = MAX_NODES,
) -> Digraph:
    """Draw the graph below root.

        >>> import pygradc
        >>> graph = pygradc.draw_dot(pygradc.Value(2.0, label="a") * 3)
        >>> "data 6.0000" in graph.source                    # graph.render("product") writes a file
        True

    Args:
        root: A Value.
        format: "svg", "png", or another format of graphviz.
        rankdir: "LR", left to right, or "TB", top to bottom.
        max_depth: Draw only nodes at most this far from root.
        max_nodes: Refuse to draw more nodes than this.
    Returns:
        A graphviz.Digraph: a notebook displays it (as text without the `dot` program); has
        `.source` and `.render(path)`.
    Raises:
        ImportError: the graphviz package is missing; the message says how to install it.
        TypeError: root isn't a Value; or, as TraceError, a function is being recorded.
        ValueError: an unknown rankdir, or more than max_nodes nodes.
        graphviz.ExecutableNotFound: on rendering without the `dot` program; says what to install.
    """
    refuse("draw_dot()")
    _check_root(root)
    try:
        from graphviz import escape

        from pygradc.core.drawing import Digraph
    except ImportError:
        raise ImportError("drawing needs graphviz: pip install graphviz") from None
    if not isinstance(format, str):
        raise TypeError(f"format must be a name, such as 'svg' or 'png', not {format!r}")
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"rankdir must be 'LR' or 'TB', not {rankdir!r}")
    counted = len(_near(root, max_depth, max_nodes))
    if counted > max_nodes:
        raise ValueError(
            f"at least {counted} nodes are too many to draw (max_nodes={max_nodes}); "
            "draw the part near the root with max_depth=, say max_depth=5"
        )
    nodes, edges = trace(root, max_depth)
    dot = Digraph(format=format, graph_attr={"rankdir": rankdir})
    dot.text = as_text(nodes)
    name = {node: str(i) for i, node in enumerate(nodes)}
    for node in nodes:
        text = f"{{ {_escape(node.label)} | data {node.data:.4f} | grad {node.grad:.4f} }}"
        dot.node(name[node], label=text, shape="record")
        if node._op:
            dot.node(name[node] + "op", label=escape(str(node._op)))
            dot.edge(name[node] + "op", name[node])
    for child, node in edges:
        dot.edge(name[child], name[node] + "op" if node._op else name[node])
    return dot
