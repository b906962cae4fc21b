# numpy arrays of Values
import numpy as np

from engine import Value

rng = np.random.default_rng(7)
X = rng.normal(size=(4, 3))
to_values = np.vectorize(Value, otypes=[object])
W = to_values(rng.normal(size=(3, 2)))
b = to_values(np.zeros(2))

H = X.astype(object) @ W + b
print(H.shape, H.dtype)
out = np.tanh(H)
loss = np.sum((out - 0.5) ** 2)
loss.backward()
print(loss.data)
print([[v.grad for v in row] for row in W], [v.grad for v in b])
print(np.mean(H).data, np.dot(W[:, 0], W[:, 1]).data, np.exp(W[0]).sum().data)
print([v.data for v in (W * 2.0 - 1.0).ravel()])
values = np.array([Value(1.0), Value(2.0)])
print(values.dtype, values.sum().data, values[values > 1.5].size)
