from engine import Value

x = Value(2.0)
out = Value(4.0, (x,), "broken")


def _backward():
    x.grad += wrong * out.grad  # raises # noqa: F821


out._backward = _backward
(out * 3).backward()
