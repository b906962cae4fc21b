# labels by keyword, by place and by assignment; they stay with nodes that nobody holds
from engine import Value

a = Value(2.0, label="a")
b = Value(-3.0, (), "", "b")
c = Value(10.0)
c.label = "c"
e = a * b
e.label = "e"
d = e + c
d.label = "d"
del e
print([v.label for v in (a, b, c, d)])
print(sorted(v.label for v in d._prev))
out = d.tanh()
print(repr(out.label), [child.label for child in out._prev])
by_name = {v.label: v for v in (a, b, c, d)}
out.backward()
print({name: v.grad for name, v in sorted(by_name.items())})
