"""The base of `bench`'s ratios: a scalar autograd `Value` in pure Python, as fast as it gets.

An op stores its local derivatives beside its children, so that `backward` needs a multiplication
and an addition an edge, and no closure. It checks nothing; `pygradc.reference`, the oracle, checks
what the core checks and takes five times as long, so that ratios to it would flatter.
`backward` orders the graph by recursion, as the lessons do.
"""

from __future__ import annotations

import math
from typing import Any


class Value:
    """A number that remembers which numbers it came from, and with what slope."""

    __slots__ = ("children", "data", "grad", "slopes")

    def __init__(
        self, data: float, children: tuple[Value, ...] = (), slopes: tuple[float, ...] = ()
    ) -> None:
        self.data, self.grad = data, 0.0
        self.children, self.slopes = children, slopes

    def __add__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, exponent: float) -> Value:
        slope = exponent * self.data ** (exponent - 1)
        return Value(self.data**exponent, (self,), (slope,))

    def tanh(self) -> Value:
        """The hyperbolic tangent."""
        y = math.tanh(self.data)
        return Value(y, (self,), (1.0 - y * y,))

    def backward(self) -> None:
        """Add d(self)/d(node) to the gradient of every node below."""
        order: list[Value] = []
        seen: set[Value] = set()

        def visit(node: Value) -> None:
            if node not in seen:
                seen.add(node)
                for child in node.children:
                    visit(child)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            for child, slope in zip(node.children, node.slopes):
                child.grad += slope * node.grad
