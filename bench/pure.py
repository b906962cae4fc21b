"""The base of every ratio: a scalar autograd `Value` in pure Python, with slots.

This is about as fast as plain Python gets with one object a node. An op knows its local
derivatives when it runs, so it stores them as numbers beside its children; `backward` then
needs one multiplication and one addition an edge, and no closure. (micrograd stores a closure a
node: a reference cycle each, which keeps the garbage collector busy.)

`backward` orders the graph by recursion, as the lessons do, so a deep chain ends in RecursionError.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Union

Operand = Union["Value", float]


class Value:
    """A number that remembers which numbers it came from, and with what slope."""

    __slots__ = ("_children", "_local_grads", "data", "grad")

    def __init__(
        self, data: float, children: tuple[Value, ...] = (), local_grads: tuple[float, ...] = ()
    ) -> None:
        self.data = data
        self.grad = 0.0
        self._children = children
        self._local_grads = local_grads

    def __add__(self, other: Operand) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: Operand) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, exponent: float) -> Value:
        slope = exponent * self.data ** (exponent - 1)
        return Value(self.data**exponent, (self,), (slope,))

    def relu(self) -> Value:
        return Value(max(0.0, self.data), (self,), (float(self.data > 0),))

    def tanh(self) -> Value:
        y = math.tanh(self.data)
        return Value(y, (self,), (1.0 - y * y,))

    def exp(self) -> Value:
        y = math.exp(self.data)
        return Value(y, (self,), (y,))

    def log(self) -> Value:
        return Value(math.log(self.data), (self,), (1.0 / self.data,))

    def __neg__(self) -> Value:
        return self * -1.0

    def __sub__(self, other: Operand) -> Value:
        return self + (-other)

    def __truediv__(self, other: Operand) -> Value:
        return self * other**-1

    def __radd__(self, other: float) -> Value:
        return self + other

    def __rmul__(self, other: float) -> Value:
        return self * other

    def __rsub__(self, other: float) -> Value:
        return -self + other

    def __rtruediv__(self, other: float) -> Value:
        return self**-1 * other

    def __repr__(self) -> str:
        return f"Value(data={self.data}, grad={self.grad})"

    def backward(self) -> None:
        """Add d(self)/d(node) to the gradient of every node below."""
        order: list[Value] = []
        seen: set[Value] = set()

        def visit(node: Value) -> None:
            if node not in seen:
                seen.add(node)
                for child in node._children:
                    visit(child)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            for child, local in zip(node._children, node._local_grads):
                child.grad += local * node.grad


class Adam:
    """Adam (Kingma and Ba, 2015) as a loop over the parameters, in the arithmetic of pygradc's."""

    def __init__(
        self, parameters: Iterable[Value], lr: float, betas: tuple[float, float], eps: float = 1e-8
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.betas, self.eps = lr, betas, eps
        self.mean = [0.0] * len(self.parameters)
        self.square = [0.0] * len(self.parameters)
        self.steps = 0

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = 0.0

    def step(self) -> None:
        self.steps += 1
        (beta1, beta2), eps, mean, square = self.betas, self.eps, self.mean, self.square
        rate = self.lr / (1.0 - beta1**self.steps)
        correction = math.sqrt(1.0 - beta2**self.steps)
        for i, p in enumerate(self.parameters):
            g = p.grad
            mean[i] = m = beta1 * mean[i] + (1.0 - beta1) * g
            square[i] = s = beta2 * square[i] + (1.0 - beta2) * g * g
            p.data -= rate * m / (math.sqrt(s) / correction + eps)


class SGD:
    """Gradient descent, `p.data -= lr * p.grad`, as a loop over the parameters."""

    def __init__(self, parameters: Iterable[Value], lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = lr

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = 0.0

    def step(self) -> None:
        for p in self.parameters:
            p.data -= self.lr * p.grad
