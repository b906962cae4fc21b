# walk downhill by assigning .data, then nudge one input for a numerical slope
from engine import Value

x, y = Value(3.0), Value(-1.5)


def f():
    return (x - 1) ** 2 + (x * y + 2) ** 2 + y / 7


for step in range(25):
    x.grad = y.grad = 0.0
    out = f()
    out.backward()
    for p in (x, y):
        p.data -= 0.01 * p.grad
    print(step, out.data, x.data, y.data)

h = 1e-6
before = f().data
x.data += h
print((f().data - before) / h)

# an inner node's data can be overwritten before the sweep
inner = x * y
out = inner * inner
inner.data = 10.0
out.backward()
print(inner.grad, x.grad, y.grad)
