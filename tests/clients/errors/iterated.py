from engine import Value

outs = [x.data for x in Value(0.3)]  # raises
