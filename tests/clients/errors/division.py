from engine import Value

a, b = Value(3.0), Value(2.0)
b.data -= 2.0
ratio = a / b  # raises
