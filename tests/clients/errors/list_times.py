from engine import Value

print([1.0, 2.0] * Value(2.0))  # raises
