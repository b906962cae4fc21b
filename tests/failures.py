"""What tests of failures share: exceptions caught without their frames, graphs to break, and
processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

from pygradc import Value, live_nodes


def failure(call: Callable[[], Any]) -> tuple[type[BaseException] | None, str]:
    """Type and message of what call raises; the exception itself, which holds frames, is gone."""
    try:
        call()
    except BaseException as error:
        return type(error), str(error)
    return None, ""


def state(nodes: Iterable[Value]) -> tuple[Any, ...]:
    """How many nodes there are, and the numbers of these."""
    return live_nodes(), [(v.data, v.grad, v._op, v._prev) for v in nodes]


def small_graph() -> list[Value]:
    """Leaves, inner nodes and a root, all with gradients."""
    a, b = Value(2.0), Value(-3.0)
    c = a * b + 1
    root = (c * c).tanh() + a
    root.backward()
    for i, node in enumerate((a, b, c, root)):
        node.grad += i
    return [a, b, c, root]


def deep_graph(break_it: Callable[[Value], Value], depth: int = 50) -> list[Value]:
    """A graph whose root a failing derivative lies deep below; every node with a gradient."""
    x = Value(3.0)
    nodes = [x, x * 0.5]
    nodes.append(break_it(nodes[-1]))
    for _ in range(depth):
        nodes.append(nodes[-1] * 0.9 + x)
        nodes.append(nodes[-1].sigmoid() + nodes[-2])
    for i, node in enumerate(nodes):
        node.grad = i + 0.25
    return nodes


def below(root: Value) -> list[Value]:
    """Every node of a graph, also those that nobody named."""
    seen, stack = {root}, [root]
    while stack:
        new = stack.pop()._prev - seen
        seen |= new
        stack.extend(new)
    return list(seen)


def ends_well(file: str, scenario: str) -> None:
    """Run `python file scenario`, which says so at its end, in a fresh process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, file, scenario],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, f"{scenario} ended with {run.returncode}:\n{run.stderr}"
    assert run.stdout.strip() == f"{scenario}: done"
