"""Another form: annotations, docstrings, conversions by a helper, asserts, children in a list."""

from __future__ import annotations

from math import exp, log
from typing import Callable, Union

Number = Union[int, float]


class Value:
    """A scalar.

    It knows what it was made of.
    """

    data: float
    grad: float

    def __init__(self, data: Number, _children: tuple = (), _op: str = "", label: str = "") -> None:
        """A leaf, or the result of an op."""
        self._op, self.label = _op, label
        self._prev: list = list(_children)
        self.grad: float = 0.0
        self._backward: Callable[[], None] = lambda: None
        self.data = data

    @staticmethod
    def _as_value(x: Number | Value) -> Value:
        if isinstance(x, Value):
            return x
        return Value(x)

    def __add__(self, other: Number | Value) -> Value:
        """The sum."""
        assert isinstance(other, (Value, int, float)), f"can't add {type(other)}"
        if not isinstance(other, Value):
            other = Value(other)
        total: float = self.data + other.data
        out = self.__class__(total, (self, other), _op="+")

        def push() -> None:
            gradient = out.grad
            other.grad += gradient
            self.grad += gradient

        out._backward = push
        return out

    def __mul__(self, other: Number | Value) -> Value:
        """The product."""
        assert isinstance(other, (Value, int, float)), "not a number"
        right = Value._as_value(other)
        result = type(self)(self.data * right.data, (self, right), "*")

        def push() -> None:
            self.grad += right.data * result.grad
            right.grad += self.data * result.grad

        result._backward = push
        return result

    __radd__ = __add__
    __rmul__ = __mul__

    def __pow__(self, n: Number) -> Value:
        """The power."""
        assert isinstance(n, (int, float))
        result = Value(self.data**n, (self,), f"**{n}")

        def push() -> None:
            slope = n * self.data ** (n - 1)
            self.grad += slope * result.grad

        result._backward = push
        return result

    def __neg__(self) -> Value:
        return self * -1

    def __sub__(self, other: Number | Value) -> Value:
        return self + (-other)

    def __rsub__(self, other: Number) -> Value:
        return (-self) + other

    def __truediv__(self, other: Number | Value) -> Value:
        return self * other**-1

    def __rtruediv__(self, other: Number) -> Value:
        return self**-1 * other

    def exp(self) -> Value:
        """e to the power of this."""
        out = Value(exp(self.data), (self,), "exp")

        def push() -> None:
            self.grad += out.data * out.grad

        out._backward = push
        return out

    def log(self) -> Value:
        """The natural logarithm."""
        out = Value(log(self.data), (self,), "log")

        def push() -> None:
            self.grad += (1 / self.data) * out.grad

        out._backward = push
        return out

    def relu(self) -> Value:
        """This, or 0."""
        if self.data < 0:
            out = Value(0.0, (self,), "ReLU")
        else:
            out = Value(self.data, (self,), "ReLU")

        def push() -> None:
            if out.data > 0:
                self.grad += out.grad

        out._backward = push
        return out

    def backward(self) -> None:
        """Push gradients down."""
        order: list[Value] = []
        seen: set[Value] = set()

        def visit(node: Value) -> None:
            if node in seen:
                return
            seen.add(node)
            for child in node._prev:
                visit(child)
            order.append(node)

        visit(self)
        self.grad = 1.0
        for node in order[::-1]:
            node._backward()

    def __repr__(self) -> str:
        return f"Value(data={self.data}, grad={self.grad})"
