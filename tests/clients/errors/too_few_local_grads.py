from engine import Value

a, b = Value(1.0), Value(2.0)
out = Value(2.0, (a, b), (2.0,))  # raises
