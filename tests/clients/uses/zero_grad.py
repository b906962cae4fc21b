# what zero_grad is for: the same step with it and without it
from engine import Value


class Line:
    def __init__(self):
        self.m, self.c = Value(0.1), Value(0.0)

    def __call__(self, x):
        return self.m * x + self.c

    def parameters(self):
        return [self.m, self.c]

    def zero_grad(self):
        for p in self.parameters():
            p.grad = 0.0


def train(careful):
    line = Line()
    for _ in range(6):
        loss = sum((line(x) - (2 * x - 1)) ** 2 for x in (-1.0, 0.0, 0.7, 2.0))
        if careful:
            line.zero_grad()
        loss.backward()
        for p in line.parameters():
            p.data -= 0.03 * p.grad
        print(careful, loss.data, [(p.data, p.grad) for p in line.parameters()])


train(True)
train(False)
