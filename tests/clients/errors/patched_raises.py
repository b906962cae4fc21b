from engine import Value


def sqrt(self):
    assert self.data >= 0, "sqrt of a negative number"  # raises
    return self**0.5


Value.root = sqrt
print(Value(2.0).root().data)
Value(-2.0).root()
