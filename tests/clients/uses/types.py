# is it a Value? type(x) ==, isinstance, and a subclass
from engine import Value

a = Value(2.0)
things = [a, a + 1, 2 * a, a.relu(), a**2, -a, a / 3, sum([a, a]), 1.0, "x", None]
print([type(x) == Value for x in things])
print([isinstance(x, Value) for x in things])
print([x.data if type(x) is Value else x for x in things])


class Parameter(Value):
    def __init__(self, data, name):
        super().__init__(data)
        self.name = name

    def step(self, rate):
        self.data -= rate * self.grad


w = Parameter(0.5, "w")
out = (w * 3 - 1) ** 2
out.backward()
w.step(0.1)
print(w.name, w.data, w.grad, type(w) == Value, isinstance(w, Value), type(out) == Value)
