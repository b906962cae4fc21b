# a bigram model of letters: a table of logits, softmax, negative log likelihood, Adam, sampling
import random

from engine import Value

random.seed(0)
words = "anna bella emma hannah lena nala alma".split()
letters = [""] + sorted(set("".join(words)))
table = [[Value(random.gauss(0, 0.1)) for _ in letters] for _ in letters]
params = [p for row in table for p in row]


def softmax(logits):
    biggest = max(v.data for v in logits)
    exps = [(v - biggest).exp() for v in logits]
    total = sum(exps)
    return [e / total for e in exps]


m, v = [0.0] * len(params), [0.0] * len(params)
for step in range(12):
    word = words[step % len(words)]
    tokens = [0] + [letters.index(ch) for ch in word] + [0]
    losses = [-softmax(table[a])[b].log() for a, b in zip(tokens, tokens[1:])]
    loss = (1 / len(losses)) * sum(losses)
    loss.backward()
    for i, p in enumerate(params):
        m[i] = 0.9 * m[i] + 0.1 * p.grad
        v[i] = 0.99 * v[i] + 0.01 * p.grad**2
        p.data -= (
            0.1
            * (m[i] / (1 - 0.9 ** (step + 1)))
            / ((v[i] / (1 - 0.99 ** (step + 1))) ** 0.5 + 1e-8)
        )
        p.grad = 0
    print(step, loss.data)

for _ in range(5):
    name, token = "", 0
    while len(name) < 12:
        weights = [p.data for p in softmax([logit / 0.5 for logit in table[token]])]
        token = random.choices(range(len(letters)), weights=weights)[0]
        if token == 0:
            break
        name += letters[token]
    print(name)
