# Value(data, children, local_grads): derivatives as numbers, no closures
import math

from engine import Value


def gelu(x):
    c = math.sqrt(2 / math.pi)
    u = c * (x.data + 0.044715 * x.data**3)
    t = math.tanh(u)
    slope = 0.5 * (1 + t) + 0.5 * x.data * (1 - t * t) * c * (1 + 3 * 0.044715 * x.data**2)
    return Value(0.5 * x.data * (1 + t), (x,), (slope,))


def fused_mean(xs):
    return Value(sum(x.data for x in xs) / len(xs), xs, [1 / len(xs)] * len(xs))


xs = [Value(0.3 * i - 1) for i in range(7)]
out = fused_mean([gelu(x) for x in xs]) ** 2 + gelu(xs[0] * xs[1])
out.backward()
print(out.data, [x.grad for x in xs])
by_name = Value(6.0, children=(xs[0], xs[1]), local_grads=(2.0, 3.0))
print(len(by_name._children), tuple(by_name._local_grads))
for x in xs:
    x.grad = 0
by_name.backward()
print([x.grad for x in xs[:2]])
constant = Value(6.0, (), ())
constant.backward()
print(constant.grad)
