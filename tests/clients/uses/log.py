# log: negative log likelihood and an entropy
from engine import Value

logits = [Value(x) for x in (0.2, -1.3, 2.7)]
exps = [v.exp() for v in logits]
total = sum(exps)
probs = [e / total for e in exps]
nll = -probs[0].log()
nll.backward()
print(nll.data, [v.grad for v in logits])
entropy = -sum(p * p.log() for p in probs)
for v in logits:
    v.grad = 0.0
entropy.backward()
print(entropy.data, [v.grad for v in logits])
for x in (1e-300, 0.1, 1.0, 7e200):
    v = Value(x)
    out = v.log()
    out.backward()
    print(out.data, v.grad)
