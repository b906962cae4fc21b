# backpropagation by hand, node by node: o.grad = 1, then _backward() of each
from engine import Value

x1, x2 = Value(2.0), Value(0.0)
w1, w2 = Value(-3.0), Value(1.0)
b = Value(6.8813735870195432)
x1w1 = x1 * w1
x2w2 = x2 * w2
both = x1w1 + x2w2
n = both + b
o = n.tanh()

o.grad = 1.0
for node in (o, n, b, both, x2w2, x1w1):
    node._backward()
for v in (o, n, b, both, x2w2, x1w1, x1, w1, x2, w2):
    print(v.data, v.grad)

# or in an order of one's own making
topo, visited = [], set()


def build_topo(v):
    if v not in visited:
        visited.add(v)
        for child in v._prev:
            build_topo(child)
        topo.append(v)


out = (x1 * x2 + w1) * (x1 - w2) / 3
for v in (x1, x2, w1, w2):
    v.grad = 0.0
build_topo(out)
out.grad = 1.0
for v in reversed(topo):
    v._backward()
print(len(topo), [v.grad for v in (x1, x2, w1, w2)])
