# the neuron of the lesson, once with tanh and once with tanh spelt out in exp
from engine import Value


def neuron(squash):
    x1, x2 = Value(2.0), Value(0.0)
    w1, w2 = Value(-3.0), Value(1.0)
    b = Value(6.8813735870195432)
    n = x1 * w1 + x2 * w2 + b
    o = squash(n)
    o.backward()
    return [v.data for v in (n, o)] + [v.grad for v in (x1, w1, x2, w2, n, b)]


def spelt_out(n):
    e = (2 * n).exp()
    return (e - 1) / (e + 1)


print(neuron(lambda n: n.tanh()))
print(neuron(spelt_out))
for x in (-800.0, -20.0, -1e-8, 0.0, 0.3, 20.0, 800.0):
    v = Value(x)
    out = v.tanh()
    out.backward()
    print(out.data, v.grad)
