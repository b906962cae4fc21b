from engine import Value


def forward(x):
    x * 2


out = forward(Value(1.0)) * 3  # raises
