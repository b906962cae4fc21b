# a drawing of one's own: nodes and edges in sets, id(v) for names; the picture is printed as text
from engine import Value


def trace(v, nodes, edges):
    if v in nodes:
        return
    nodes.add(v)
    for operand in v._prev:
        edges.add((operand, v))
        trace(operand, nodes, edges)


class Picture:
    def __init__(self):
        self.boxes, self.arrows = {}, []

    def box(self, name, text):
        assert name not in self.boxes or self.boxes[name] == text
        self.boxes[name] = text


def draw_dot(root):
    nodes, edges = set(), set()
    trace(root, nodes, edges)
    picture = Picture()
    for v in nodes:
        picture.box(str(id(v)), f"{v.label}: {v.data:.4f}, {v.grad:.4f}")
        if v._op:
            picture.box(f"{id(v)}{v._op}", v._op)
            picture.arrows.append((f"{id(v)}{v._op}", str(id(v))))
    for operand, v in edges:
        picture.arrows.append((str(id(operand)), f"{id(v)}{v._op}"))
    return picture


width = Value(2.5, label="width")
height = Value(-1.5, label="height")
depth = Value(4.0, label="depth")
area = width * height
area.label = "area"
volume = area * depth
volume.label = "volume"
del area
cost = volume * volume + 3 * depth
cost.label = "cost"
cost.backward()
picture = draw_dot(cost)
print(sorted(picture.boxes.values()))
print(sorted((picture.boxes[tail], picture.boxes[head]) for tail, head in picture.arrows))
print(len(picture.boxes), len(picture.arrows))
