from engine import Value

x = Value(10.0)
for _ in range(5):
    x = x**5  # raises
    print(x.data)
