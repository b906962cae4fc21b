from engine import Value

Value(0.3).softmax()  # raises
