from engine import Value

loss = Value(-1.0)
loss = loss.log()  # raises
