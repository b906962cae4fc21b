from engine import Value

p = Value(1.0)
p.data = None  # raises
