# backpropagation by hand: the last gradient is 1, then _backward() of each node, last to first
from engine import Value

x, y = Value(1.3), Value(-0.4)
weight, other, bias = Value(0.9), Value(2.1), Value(-0.05)
first = x * weight
second = y * other
total = first + second + bias
out = total.tanh()
out.grad = 1.0
for node in (out, total, *total._children, second, first):
    node._backward()
for v in (out, total, second, first, x, weight, y, other, bias):
    print(v.data, v.grad)


# or in an order that one finds oneself
def postorder(v, done):
    if v not in done:
        for operand in v._children:
            postorder(operand, done)
        done[v] = True
    return done


result = (x * y + weight) * (x - other) / 3
for v in (x, y, weight, other):
    v.grad = 0.0
nodes = list(postorder(result, {}))
result.grad = 1.0
while nodes:
    nodes.pop()._backward()
print([v.grad for v in (x, y, weight, other)])
