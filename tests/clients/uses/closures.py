# operations of one's own: a node made by hand, with a _backward closure assigned to it
import math

from engine import Value


def softplus(x):
    out = Value(math.log(1 + math.exp(x.data)), (x,), "softplus")

    def _backward():
        x.grad += out.grad / (1 + math.exp(-x.data))

    out._backward = _backward
    return out


def dot(ws, xs, b):
    """A whole neuron as one node; its data come later."""
    out = Value(0.0, (*ws, *xs, b), "dot")

    def forward():
        out.data = sum(w.data * x.data for w, x in zip(ws, xs)) + b.data

    def _backward():
        for w, x in zip(ws, xs):
            w.grad += x.data * out.grad
            x.grad += w.data * out.grad
        b.grad += out.grad

    forward()
    out._backward = _backward
    return out


ws = [Value(w) for w in (0.5, -1.0, 0.25)]
xs = [Value(x) for x in (1.0, 2.0, -3.0)]
b = Value(0.1)
calls = []
for step in range(5):
    n = dot(ws, xs, b)
    out = softplus(n * 2) * softplus(n) + n.tanh()
    for p in (*ws, *xs, b):
        p.grad = 0.0
    out.backward()
    for p in (*ws, b):
        p.data -= 0.1 * p.grad
    calls.append(out.data)
    print(n._op, n.grad, [p.grad for p in (*ws, *xs, b)])
print(calls)

# a closure that is assigned to a node of a built-in operation takes its place
y = ws[0] * xs[0]
y._backward = lambda: print("mine", y.grad)
z = y * 3
z.backward()
print(y.grad)
