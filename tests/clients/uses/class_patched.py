# methods that the class lacks, or has in another way, are set on it from outside
import math

from engine import Value


def softsign(self):
    return self / (1 + abs(self.data))


def sinh(self):
    out = Value(math.sinh(self.data), (self,), "sinh")

    def _backward():
        self.grad += math.cosh(self.data) * out.grad

    out._backward = _backward
    return out


def tanh(self):
    e = math.exp(2 * self.data)
    t = (e - 1) / (e + 1)
    out = Value(t, (self,), "tanh")

    def _backward():
        self.grad += (1 - t**2) * out.grad

    out._backward = _backward
    return out


Value.softsign = softsign
Value.sinh = sinh
Value.tanh = tanh
Value.__repr__ = lambda self: f"<{self.data:.6f} {self.grad:.6f}>"
Value.__matmul__ = lambda self, other: self * other + 1

a, b = Value(0.7), Value(-1.9)
out = a.softsign() + a.sinh() * b.tanh() + (a @ b)
out.backward()
print(out, a, b)
print(out.data, a.grad, b.grad)
