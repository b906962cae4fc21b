# trace and draw_dot as in the notebooks, with id(v) for names; the picture is a list of lines here
from engine import Value


def trace(root):
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    return nodes, edges


class Digraph:
    def __init__(self):
        self.labels, self.arrows = {}, []

    def node(self, name, label):
        assert name not in self.labels or self.labels[name] == label
        self.labels[name] = label

    def edge(self, tail, head):
        self.arrows.append((tail, head))


def draw_dot(root):
    dot = Digraph()
    nodes, edges = trace(root)
    for n in nodes:
        uid = str(id(n))
        dot.node(name=uid, label=f"{n.label} | data {n.data:.4f} | grad {n.grad:.4f}")
        if n._op:
            dot.node(name=uid + n._op, label=n._op)
            dot.edge(uid + n._op, uid)
    for n1, n2 in edges:
        dot.edge(str(id(n1)), str(id(n2)) + n2._op)
    return dot


a = Value(2.0, label="a")
b = Value(-3.0, label="b")
c = Value(10.0, label="c")
e = a * b
e.label = "e"
d = e + c
d.label = "d"
del e
f = Value(-2.0, label="f")
L = d * f
L.label = "L"
L.backward()
dot = draw_dot(L)
print(sorted(dot.labels.values()))
print(sorted((dot.labels[tail], dot.labels[head]) for tail, head in dot.arrows))
print(len(dot.labels), len(dot.arrows))
