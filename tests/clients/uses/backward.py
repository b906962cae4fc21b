# one expression with every operator, numbers on either side, and nodes that are used again
from engine import Value

p, q = Value(1.75), Value(-0.6)
r = p * q - 3
r += p**2 / 4
s = (r + q).relu() + 2 * p - (-q) ** 3
s = s * 0.5 + 1 - s / (1 + p * p)
t = 12.5 / s + (s - r) ** -1 + r
t -= q
u = t * t / (t + 40) - 1e-3 * r
u.backward()
print(u.data, p.grad, q.grad)
for v in (r, s, t, u):
    print(v.data, v.grad)
