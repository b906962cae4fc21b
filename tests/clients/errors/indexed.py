from engine import Value

Value(0.3)[0]  # raises
