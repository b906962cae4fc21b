# gradients are reset, scaled and clipped by assigning .grad
from engine import Value

ws = [Value(0.3 * i - 0.7) for i in range(5)]
xs = [1.0, -2.0, 0.5, 4.0, -0.1]


def loss():
    return (sum(w * x for w, x in zip(ws, xs)) - 3) ** 2


for _ in range(3):
    loss().backward()  # three times: they add up
print([w.grad for w in ws])

norm = sum(w.grad * w.grad for w in ws) ** 0.5
for w in ws:
    w.grad = w.grad / norm * 0.5
print([w.grad for w in ws])
for w in ws:
    w.grad = max(-0.2, min(0.2, w.grad))
    w.data += -0.1 * w.grad
    w.grad = 0
print([(w.data, w.grad) for w in ws])
out = loss()
out.grad = 123.0  # backward() sets it to 1
out.backward()
print(out.grad, [w.grad for w in ws])
