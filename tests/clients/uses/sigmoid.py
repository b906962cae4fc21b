# sigmoid as a method, and binary cross entropy with it
from engine import Value

for x in (-30.0, -2.0, -0.1, 0.0, 0.1, 2.0, 30.0):
    v = Value(x)
    out = v.sigmoid()
    out.backward()
    print(out.data, v.grad)

w, b = Value(0.4), Value(-0.1)
data = [(0.5, 1), (-1.5, 0), (2.0, 1), (0.1, 0)]
for _ in range(10):
    loss = Value(0.0)
    for x, y in data:
        p = (w * x + b).sigmoid()
        loss = loss - (y * p.log() + (1 - y) * (1 - p).log())
    w.grad, b.grad = 0.0, 0.0
    loss.backward()
    w.data -= 0.1 * w.grad
    b.data -= 0.1 * b.grad
    print(loss.data, w.data, b.data)
