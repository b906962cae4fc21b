from engine import Value

probs = [Value(0.5), Value(0.0)]
nll = [-p.log() for p in probs]  # raises
