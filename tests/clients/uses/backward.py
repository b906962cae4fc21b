# the expression everybody starts with: all operators, numbers on either side
from engine import Value

a = Value(-4.0)
b = Value(2.0)
c = a + b
d = a * b + b**3
c += c + 1
c += 1 + c + (-a)
d += d * 2 + (b + a).relu()
d += 3 * d + (b - a).relu()
e = c - d
f = e**2
g = f / 2.0
g += 10.0 / f
print(g.data)
g.backward()
print(a.grad, b.grad)
for v in (c, d, e, f, g):
    print(v.data, v.grad)
