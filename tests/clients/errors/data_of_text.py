from engine import Value

values = [Value(x) for x in "1 2".split()]  # raises
