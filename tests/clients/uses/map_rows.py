# rows of numbers become rows of Values with map(Value, row)
from engine import Value

rows = [[0.5, -1.0, 2], [3.0, 0.25, -4], [1, 1, 1]]
inputs = [list(map(Value, row)) for row in rows]
w = list(map(Value, [0.1, -0.2, 0.3]))
scores = list(map(lambda x: sum(wi * xi for wi, xi in zip(w, x)), inputs))
print([s.data for s in scores])
loss = sum((s - y) ** 2 for s, y in zip(scores, [1.0, -1.0, 0.0]))
loss.backward()
print(loss.data, [wi.grad for wi in w])
print([[x.grad for x in row] for row in inputs])
best = max(scores, key=lambda s: s.data)
print(best is scores[0], [s.data > 0 for s in scores])
