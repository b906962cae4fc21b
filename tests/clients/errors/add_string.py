from engine import Value

row = [1.0, "2.0"]
print(sum(Value(0.5) * x for x in row[:1]).data)
out = Value(0.5) + row[1]  # raises
