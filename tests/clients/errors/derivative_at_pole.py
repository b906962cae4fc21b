from engine import Value

x = Value(0.0)
y = x**0.5
print(y.data)
y.backward()  # raises
