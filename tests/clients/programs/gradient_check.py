# compare backward() with central differences, function by function
from engine import Value

functions = {
    "polynomial": lambda x, y: x**3 - 2 * x * y + y**2 / 4 - 7,
    "quotient": lambda x, y: (x + 2) / (y * y + 1) - 1 / x,
    "rectified": lambda x, y: (x * 2 - y).relu() + (y - x).relu() * x,
    "squashed": lambda x, y: (x * y).tanh() + (x - y).exp() * 0.1,
    "logarithm": lambda x, y: (x * x + y * y).log() * y,
    "power": lambda x, y: (x * x + 1) ** 0.5 * y**-2,
}
h = 1e-5
for name, f in functions.items():
    worst = 0.0
    for x0, y0 in [(0.5, -1.2), (2.0, 3.0), (-1.5, 0.7)]:
        x, y = Value(x0), Value(y0)
        f(x, y).backward()
        dx = (f(Value(x0 + h), Value(y0)).data - f(Value(x0 - h), Value(y0)).data) / (2 * h)
        dy = (f(Value(x0), Value(y0 + h)).data - f(Value(x0), Value(y0 - h)).data) / (2 * h)
        worst = max(worst, abs(dx - x.grad), abs(dy - y.grad))
        print(name, x.grad, y.grad, dx, dy)
    assert worst < 1e-6, name
