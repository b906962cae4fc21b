# exp: a softmax by hand and the logistic curve
from engine import Value

logits = [Value(x) for x in (0.0, 3.0, -2.0, 1.0)]
counts = [x.exp() for x in logits]
total = sum(counts)
probs = [c / total for c in counts]
print([p.data for p in probs])
loss = (probs[3] - 1) ** 2 + probs[0] * probs[1]
loss.backward()
print(loss.data, [x.grad for x in logits])

x = Value(-1.7)
y = 1 / (1 + (-x).exp())
y.backward()
print(y.data, x.grad)
for big in (-745.2, -700.0, 709.0):
    v = Value(big)
    out = v.exp()
    out.backward()
    print(out.data, v.grad)
