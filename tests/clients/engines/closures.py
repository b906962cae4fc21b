"""micrograd's protocol: (data, _children, _op, label), and a closure a node for the sweep."""

import math


class Value:
    """A scalar with its gradient."""

    def __init__(self, data, _children=(), _op="", label=""):
        self.data, self.grad = data, 0
        self._op, self.label = _op, label
        self._prev = tuple(_children)  # in order, so that sums come out the same each time
        self._backward = lambda: None

    @staticmethod
    def _lift(x):
        return x if isinstance(x, Value) else Value(x)

    @staticmethod
    def _node(data, op, *slopes):
        """A node from pairs of an operand and its derivative, a function of the node's data."""
        out = Value(data, [operand for operand, _ in slopes], op)

        def push():
            for operand, slope in slopes:
                operand.grad += slope(out.data) * out.grad

        out._backward = push
        return out

    def __add__(self, other):
        other = Value._lift(other)
        return Value._node(self.data + other.data, "+", (self, lambda y: 1), (other, lambda y: 1))

    def __mul__(self, other):
        other = Value._lift(other)
        slopes = (self, lambda y: other.data), (other, lambda y: self.data)
        return Value._node(self.data * other.data, "*", *slopes)

    def __pow__(self, n):
        slope = self, lambda y: n * self.data ** (n - 1)
        return Value._node(self.data**n, f"**{n}", slope)

    def relu(self):
        return Value._node(self.data if self.data > 0 else 0, "ReLU", (self, lambda y: y > 0))

    def tanh(self):
        e = math.exp(2 * self.data)
        return Value._node((e - 1) / (e + 1), "tanh", (self, lambda y: 1 - y**2))

    def exp(self):
        return Value._node(math.exp(self.data), "exp", (self, lambda y: y))

    def log(self):
        return Value._node(math.log(self.data), "log", (self, lambda y: 1 / self.data))

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * other**-1

    def __rtruediv__(self, other):
        return self**-1 * other

    __radd__, __rmul__ = __add__, __mul__

    def _below(self, order, seen):
        seen.add(self)
        for operand in self._prev:
            if operand not in seen:
                operand._below(order, seen)
        order.append(self)
        return order

    def backward(self):
        self.grad = 1
        for node in reversed(self._below([], set())):
            node._backward()

    def __repr__(self):
        return f"Value(data={self.data}, grad={self.grad})"
