# one head of causal attention over a short sequence, with rmsnorm and residuals, as in microgpt
import random

from engine import Value

random.seed(11)
vocab, width, length = 5, 4, 6


def matrix(rows, columns):
    return [[Value(random.gauss(0, 0.3)) for _ in range(columns)] for _ in range(rows)]


state = {
    "wte": matrix(vocab, width),
    "wpe": matrix(length, width),
    **{name: matrix(width, width) for name in ("wq", "wk", "wv", "wo")},
    "fc1": matrix(2 * width, width),
    "fc2": matrix(width, 2 * width),
    "head": matrix(vocab, width),
}
params = [p for m in state.values() for row in m for p in row]


def linear(x, w):
    return [sum(wi * xi for wi, xi in zip(row, x)) for row in w]


def softmax(logits):
    biggest = max(v.data for v in logits)
    exps = [(v - biggest).exp() for v in logits]
    total = sum(exps)
    return [e / total for e in exps]


def rmsnorm(x):
    scale = (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def step(token, position, keys, values):
    x = [t + p for t, p in zip(state["wte"][token], state["wpe"][position])]
    residual, x = x, rmsnorm(x)
    q = linear(x, state["wq"])
    keys.append(linear(x, state["wk"]))
    values.append(linear(x, state["wv"]))
    scores = [sum(qi * ki for qi, ki in zip(q, k)) / width**0.5 for k in keys]
    weights = softmax(scores)
    mixed = [sum(w * v[j] for w, v in zip(weights, values)) for j in range(width)]
    x = [a + b for a, b in zip(linear(mixed, state["wo"]), residual)]
    residual = x
    x = linear([v.relu() for v in linear(rmsnorm(x), state["fc1"])], state["fc2"])
    return linear([a + b for a, b in zip(x, residual)], state["head"])


tokens = [0, 3, 1, 4, 1, 2, 0]
for iteration in range(4):
    keys, values, losses = [], [], []
    for position in range(length):
        logits = step(tokens[position], position, keys, values)
        losses.append(-softmax(logits)[tokens[position + 1]].log())
    loss = sum(losses) * (1 / len(losses))
    loss.backward()
    norm = sum(p.grad**2 for p in params) ** 0.5
    for p in params:
        p.data -= 0.5 * p.grad / norm
        p.grad = 0
    print(iteration, loss.data, norm)
print([p.data for p in params[:6]])
