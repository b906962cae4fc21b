from engine import Value

x = Value(1000.0)
y = [v for v in (x, x * 2) if v.exp().data > 0]  # raises
