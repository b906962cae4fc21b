from engine import Value

out = Value(2.0, (Value(1.0), 2.0), "op")  # raises
