"""microgpt's protocol: (data, children, local_grads), derivatives stored as numbers."""

import math


class Value:
    __slots__ = ("_children", "_local_grads", "data", "grad", "velocity")

    def __init__(self, data, children=(), local_grads=()):
        self.data, self.grad = data, 0
        self._children, self._local_grads = children, local_grads

    def __add__(self, other):
        if not isinstance(other, Value):
            other = Value(other)
        return Value(self.data + other.data, children=(self, other), local_grads=(1, 1))

    def __mul__(self, other):
        if not isinstance(other, Value):
            other = Value(other)
        slopes = other.data, self.data
        return Value(self.data * other.data, children=(self, other), local_grads=slopes)

    def __pow__(self, n):
        slope = n * self.data ** (n - 1)
        return Value(self.data**n, (self,), (slope,))

    def exp(self):
        y = math.exp(self.data)
        return Value(y, (self,), (y,))

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def tanh(self):
        y = math.tanh(self.data)
        return Value(y, (self,), (1 - y * y,))

    def relu(self):
        positive = self.data > 0
        return Value(self.data if positive else 0.0, (self,), (float(positive),))

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

    def backward(self):
        order, waiting = {}, [self]
        while waiting:  # depth first, each node after its own
            below = [v for v in waiting[-1]._children if v not in order]
            if below:
                waiting.append(below[0])
            else:
                order[waiting.pop()] = True
        self.grad = 1
        for v in reversed(order):
            for child, slope in zip(v._children, v._local_grads):
                child.grad += slope * v.grad
