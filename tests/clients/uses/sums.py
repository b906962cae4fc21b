# sum() with and without a start, of lists, generators and nested sums
from engine import Value

xs = [Value(x) for x in (0.1, 0.2, 0.3, -0.7, 1e-9, 12345.678)]
b = Value(0.5)

total = sum(xs)
print(total.data)
with_start = sum((x * x for x in xs), b)
print(with_start.data)
with_number = sum((x * 0.1 for x in xs), 1.5)
print(with_number.data)
nested = sum(sum(x * y for y in xs) for x in xs)
print(nested.data)
one = sum([b])
print(one.data)
mean = sum(xs) / len(xs)
variance = sum((x - mean) ** 2 for x in xs) / (len(xs) - 1)
print(mean.data, variance.data)

out = total * 0.3 + with_start + with_number * nested + variance
out.backward()
print([x.grad for x in xs], b.grad)
print(sum([]), sum(v.data for v in xs))
