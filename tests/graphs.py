"""What several test files need to know of a graph."""

from __future__ import annotations

from typing import Any


def written(root: Any) -> list[tuple[Any, ...]]:
    """The graph below root, for comparison: label, op, data and children's places of each node."""
    places: dict[Any, int] = {}
    rows: list[tuple[Any, ...]] = []
    stack = [root]
    while stack:
        node = stack[-1]
        waiting = [child for child in node._children if child not in places]
        if waiting:
            stack.append(waiting[0])
        elif stack.pop() not in places:
            places[node] = len(rows)
            children = tuple(places[child] for child in node._children)
            rows.append((node.label, node._op, node.data, children))
    return rows
