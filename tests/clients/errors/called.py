from engine import Value

Value(0.3)(2.0)  # raises
