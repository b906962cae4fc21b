# four samples of three numbers and a small tanh network, trained by assigning data
import random

from engine import Value

random.seed(42)


def layer(nin, nout):
    return [[Value(random.uniform(-1, 1)) for _ in range(nin + 1)] for _ in range(nout)]


layers = [layer(3, 4), layer(4, 4), layer(4, 1)]
parameters = [p for rows in layers for row in rows for p in row]


def predict(xs):
    for rows in layers:
        xs = [sum((w * x for w, x in zip(row, xs)), row[-1]).tanh() for row in rows]
    return xs[0]


samples = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
wanted = [1.0, -1.0, -1.0, 1.0]
for step in range(20):
    outputs = [predict(xs) for xs in samples]
    loss = sum((out - want) ** 2 for out, want in zip(outputs, wanted))
    for p in parameters:
        p.grad = 0.0
    loss.backward()
    for p in parameters:
        p.data += -0.05 * p.grad
    print(step, loss.data)
print([out.data for out in outputs])
