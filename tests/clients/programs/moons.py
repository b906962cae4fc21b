# two half moons, a ReLU network, a hinge loss with a penalty on the weights, a falling rate
import math
import random

from engine import Value

random.seed(1337)


def half_moon(n, label):
    for i in range(n):
        angle = math.pi * i / (n - 1)
        x = math.cos(angle) if label > 0 else 1 - math.cos(angle)
        y = math.sin(angle) if label > 0 else 0.5 - math.sin(angle)
        yield [x + random.gauss(0, 0.1), y + random.gauss(0, 0.1)], label


samples = [*half_moon(12, 1), *half_moon(12, -1)]
sizes = [2, 6, 6, 1]
network = [
    [([Value(random.uniform(-1, 1)) for _ in range(nin)], Value(0)) for _ in range(nout)]
    for nin, nout in zip(sizes, sizes[1:])
]
parameters = [p for layer in network for weights, bias in layer for p in (*weights, bias)]


def score(row):
    values = list(map(Value, row))
    for layer in network:
        sums = [sum((w * v for w, v in zip(weights, values)), bias) for weights, bias in layer]
        values = [s.relu() for s in sums]
    return sums[0]


for step in range(8):
    scores = [score(row) for row, _ in samples]
    margins = [(1 - s * label).relu() for s, (_, label) in zip(scores, samples)]
    penalty = sum(p * p for p in parameters)
    loss = sum(margins) / len(margins) + penalty * 1e-4
    for p in parameters:
        p.grad = 0
    loss.backward()
    rate = 1.0 - 0.9 * step / 100
    for p in parameters:
        p.data -= rate * p.grad
    right = sum((s.data > 0) == (label > 0) for s, (_, label) in zip(scores, samples))
    print(f"{step}: loss {loss.data}, {right} of {len(samples)} right")
print([p.data for p in parameters][:10])
