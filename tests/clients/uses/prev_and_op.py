# _prev and _op: walk down the graph, count the operations, collect the leaves
from collections import Counter

from engine import Value

a, b, c = Value(2.0), Value(-3.0), Value(10.0)
out = ((a * b + c) / (a - 1.5) ** 2 - b).tanh() + (3 * a).exp().log() + (c**-1).relu()


def walk(v, seen):
    if v not in seen:
        seen.add(v)
        for child in v._prev:
            walk(child, seen)
    return seen


nodes = walk(out, set())
print(len(nodes))
print(sorted(Counter(v._op for v in nodes).items()))
leaves = [v for v in nodes if not v._prev]
print(sorted(v.data for v in leaves))
print({a, b, c} <= nodes, a in leaves, out in out._prev)
square = a * a
print(len(square._prev), square._prev == {a}, square._op, a._op == "", a._prev == set())
for v in sorted(nodes, key=lambda v: (v._op, v.data)):
    print(v._op, v.data, sorted(child.data for child in v._prev))
