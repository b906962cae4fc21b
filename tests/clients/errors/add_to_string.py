from engine import Value

print("loss: " + Value(0.5))  # raises
