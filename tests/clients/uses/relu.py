# relu on both sides of its kink and at it, alone and as a hinge loss
from engine import Value

for x in (-2.0, -1e-300, 0.0, 1e-300, 3.5):
    v = Value(x)
    out = v.relu()
    out.backward()
    print(x, out.data, v.grad)

w, b = Value(0.8), Value(-0.2)
losses = []
for x, y in [(1.0, 1), (-0.5, -1), (0.1, -1), (2.0, 1)]:
    score = w * x + b
    losses.append((1 + -y * score).relu())
loss = sum(losses) * (1.0 / len(losses))
loss.backward()
print(loss.data, w.grad, b.grad, [v.data for v in losses])
