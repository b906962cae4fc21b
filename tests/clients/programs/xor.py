# xor, with momentum kept in attributes of the parameters themselves
import random

from engine import Value

random.seed(3)
hidden = [[Value(random.uniform(-1, 1)) for _ in range(3)] for _ in range(4)]
output = [Value(random.uniform(-1, 1)) for _ in range(5)]
params = [p for row in hidden for p in row] + output
for p in params:
    p.velocity = 0.0


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def predict(a, b):
    h = [(w1 * a + w2 * b + bias).tanh() for w1, w2, bias in hidden]
    return sigmoid(sum((w * x for w, x in zip(output, h)), output[-1]))


cases = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
for epoch in range(40):
    loss = sum(
        -(predict(a, b).log() if target else (1 - predict(a, b)).log()) for a, b, target in cases
    )
    for p in params:
        p.grad = 0
    loss.backward()
    for p in params:
        p.velocity = 0.8 * p.velocity - 0.3 * p.grad
        p.data += p.velocity
    if epoch % 8 == 0:
        print(epoch, loss.data)
print([predict(a, b).data for a, b, _ in cases])
