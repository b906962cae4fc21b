# Value(data, _children, _op): new operations as methods of a class of one's own making
import math

from engine import Value

a = Value(0.5)
out = Value(math.sin(a.data), (a,), "sin")
print(out._op, out._prev == {a}, out.data)


def _backward():
    a.grad += math.cos(a.data) * out.grad


out._backward = _backward
(out * out).backward()
print(a.grad, out.grad)

wide = Value(3.0, [a, out], _op="pair")
print(wide._op, wide._prev == {a, out}, wide.data)
named = Value(1.5, _children=(a,), _op="named", label="n")
print(named._op, named.label, len(named._prev))
leaf = Value(4, (), "")
print(leaf._op == "", leaf._prev == set())
