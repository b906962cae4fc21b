# y = 3x - 2 with noise, mean squared error, minibatches
import random

from engine import Value

rng = random.Random(5)
points = [(x, 3 * x - 2 + rng.gauss(0, 0.3)) for x in (rng.uniform(-2, 2) for _ in range(30))]
slope, intercept = Value(0.0), Value(0.0)
for epoch in range(5):
    rng.shuffle(points)
    for start in range(0, len(points), 10):
        batch = points[start : start + 10]
        loss = sum((slope * x + intercept - y) ** 2 for x, y in batch) / len(batch)
        slope.grad = intercept.grad = 0.0
        loss.backward()
        for p in (slope, intercept):
            p.data -= 0.1 * p.grad
    print(epoch, loss.data, slope.data, intercept.data)
print(f"y = {slope.data:.4f} x + {intercept.data:.4f}")
