"""Do the lessons' examples run as they are written, with the numbers that they print?"""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from pygradc import Value, losses, nn, reference

BIAS = 6.8813735870195432
TOPO_DATA = [1.0, 0.0, 0.0, 2.0, -3.0, -6.0, -6.0, 6.881373587019543, 0.8813735870195432]
SAMPLES = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
TARGETS = [1.0, -1.0, -1.0, 1.0]

# ---- derivatives of a function ------------------------------------------------------------------


def f(x):
    return 3 * x**2 - 4 * x + 5


def test_the_parabola_has_the_lessons_values():
    assert f(Value(3.0)).data == f(3.0) == 20.0
    xs = np.arange(-5, 5, 0.25)
    ys = f(np.vectorize(Value)(xs))
    assert [y.data for y in ys] == f(xs).tolist()
    assert [y.data for y in ys[:5]] == [100.0, 91.6875, 83.75, 76.1875, 69.0]


@pytest.mark.parametrize(
    "x, h, printed, slope",
    [
        (3.0, 0.000000001, 14.000001158365194, 14.0),
        (3.0, 0.0001, 14.000300000063248, 14.0),
        (-3.0, 0.000000001, -22.000001820288162, -22.0),
        (0.667, 0.000000001, 0.002000177801164682, 6 * 0.667 - 4),
    ],
)
def test_the_parabolas_slope_by_difference_and_by_backward(x, h, printed, slope):
    assert (f(Value(x + h)).data - f(Value(x)).data) / h == printed
    v = Value(x)
    f(v).backward()
    assert v.grad == pytest.approx(slope, rel=1e-12)


def test_the_tangent_is_drawn_where_the_curve_is():
    figure = pytest.importorskip("matplotlib.figure")
    from pygradc import plots

    ax = figure.Figure().add_subplot()
    assert plots.plot_tangent(f, 3.0, ax=ax) == 14.0
    curve, tangent, point = ax.get_lines()
    xs = np.arange(-5, 5, 0.25)
    assert np.array_equal(curve.get_xdata(), xs) and np.array_equal(curve.get_ydata(), f(xs))
    assert np.allclose(tangent.get_ydata(), 20 + 14 * (xs - 3.0)) and tangent.is_dashed()
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([3.0], [20.0])


@pytest.mark.parametrize("x, slope", [(-3.0, -22.0), (0.667, 6 * 0.667 - 4)])
def test_the_tangents_slope_elsewhere(x, slope):
    figure = pytest.importorskip("matplotlib.figure")
    from pygradc import plots

    ax = figure.Figure().add_subplot()
    assert plots.plot_tangent(f, x, ax=ax) == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize(
    "nudged, moved, slope",
    [
        ("a", 3.999699999999999, -3.000000000010772),
        ("b", 4.0002, 2.0000000000042206),
        ("c", 4.0001, 0.9999999999976694),
    ],
)
def test_three_inputs_nudged_one_by_one(nudged, moved, slope):
    h = 0.0001
    inputs = {"a": Value(2.0), "b": Value(-3.0), "c": Value(10.0)}
    d1 = inputs["a"] * inputs["b"] + inputs["c"]
    inputs[nudged] += h
    d2 = inputs["a"] * inputs["b"] + inputs["c"]
    assert (d1.data, d2.data, (d2 - d1).data / h) == (4.0, moved, slope)


def test_three_inputs_nudged_one_after_the_other():
    h = 0.0001
    a, b, c = Value(2.0), Value(-3.0), Value(10.0)
    d = [a * b + c]
    a.data += h
    d.append(a * b + c)
    b.data += h
    d.append(a * b + c)
    c.data += h
    d.append(a * b + c)
    assert [x.data for x in d] == [4.0, 3.999699999999999, 3.99990001, 4.00000001]
    slopes = [(right.data - left.data) / h for left, right in zip(d, d[1:])]
    assert slopes == [-3.000000000010772, 2.0001000000124947, 0.9999999999976694]


# ---- L = (a*b + c) * f --------------------------------------------------------------------------


def lesson(nudge: str = "", h: float = 0.0) -> dict[str, Value]:
    """The expression, node by node, as it is written; one node moved by h."""
    nodes: dict[str, Value] = {}

    def keep(name: str, node: Value) -> Value:
        nodes[name] = node = Value(node.data + h, name) if name == nudge else node
        node.label = name
        return node

    a, b = keep("a", Value(2.0)), keep("b", Value(-3.0))
    c, g = keep("c", Value(10.0)), keep("f", Value(-2.0))
    e = keep("e", a * b)
    d = keep("d", e + c)
    keep("L", d * g)
    return nodes


def test_the_forward_pass():
    n = lesson()
    assert repr(n["L"]) == "Value(data=-8.0, grad=0.0)"
    assert {name: node.data for name, node in n.items()} == {
        "a": 2.0, "b": -3.0, "c": 10.0, "f": -2.0, "e": -6.0, "d": 4.0, "L": -8.0
    }  # fmt: skip
    assert n["L"]._prev == {n["d"], n["f"]} and n["d"]._prev == {n["e"], n["c"]}
    assert [n[name]._op for name in "Ldea"] == ["*", "+", "*", ""]


PRINTED = {
    "L": 0.9999999999976694,
    "d": -1.9999999999953388,
    "f": 3.9999999999995595,
    "c": -1.9999999999953388,
    "e": -1.9999999999953388,
    "b": -4.000000000008441,
    "a": 6.000000000021544,
}


@pytest.mark.parametrize("name", PRINTED)
def test_finite_differences_print_the_lessons_digits(name):
    h = 0.0001
    assert (lesson(name, h)["L"].data - lesson()["L"].data) / h == PRINTED[name]


def test_a_node_on_the_way_can_be_nudged_in_place():
    h = 0.0001
    a, b, c, g = Value(2.0), Value(-3.0), Value(10.0), Value(-2.0)
    d = a * b + c
    L1 = (d * g).data
    d.data += h
    assert ((d * g).data - L1) / h == PRINTED["d"]


def test_backward_finds_the_gradients_that_were_found_by_hand():
    n = lesson()
    n["L"].backward()
    assert {name: node.grad for name, node in n.items()} == {
        "a": 6.0, "b": -4.0, "c": -2.0, "f": 4.0, "e": -2.0, "d": -2.0, "L": 1.0
    }  # fmt: skip


def test_gradients_can_be_set_by_hand_and_a_step_raises_L():
    n = lesson()
    a, b, c, d, e, g, L = (n[name] for name in "abcdefL")
    L.grad = 1
    d.grad, g.grad = g.data, d.data
    e.grad, c.grad = -2, -2
    a.grad, b.grad = -2.0 * -3.0, -2.0 * 2.0
    for leaf in (a, b, c, g):
        leaf.data += 0.01 * leaf.grad
    e = a * b
    d = e + c
    L = d * g
    assert repr(L) == "Value(data=-7.286496, grad=0.0)"


@pytest.mark.parametrize("h, grows", [(0.01, True), (-0.01, False)])
def test_ints_make_the_same_expression(h, grows):
    a, b, c, g = Value(2, label="a"), Value(-3.0), Value(10), Value(-2, label="f")
    L1 = (a * b + c) * g
    L1.backward()
    a, b = Value(2 + a.grad * h), Value(-3.0 + b.grad * h)
    c, g = Value(10 + c.grad * h), Value(-2 + g.grad * h)
    L2 = (a * b + c) * g
    assert L1.data == -8.0 and (L2 > L1) == grows
    assert L2.data == ((2 + 6 * h) * (-3.0 - 4 * h) + (10 - 2 * h)) * (-2 + 4 * h)


def test_a_product_of_a_product_and_a_sum():
    a, b = Value(-2.0), Value(3.0)
    out = (a * b) * (a + b)
    out.backward()
    assert (out.data, a.grad, b.grad) == (-6.0, -3.0, -8.0)
    h = 0.001
    for moved, slope in (((-2.0 + h, 3.0), -3.0), ((-2.0, 3.0 + h), -8.0)):
        a, b = map(Value, moved)
        assert (((a * b) * (a + b)).data - -6.0) / h == pytest.approx(slope, rel=2e-3)


# ---- the neuron ---------------------------------------------------------------------------------
# The lessons write tanh with exp; the library's may differ from that in the last digit.


def lesson_tanh(self: Value) -> Value:
    x = self.data
    t = (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1)
    out = Value(t, (self,), "tanh")

    def _backward():
        self.grad += (1 - t**2) * out.grad

    out._backward = _backward
    return out


def neuron(bias: float = BIAS) -> dict[str, Value]:
    x1, x2 = Value(2.0, label="x1"), Value(0.0, label="x2")
    w1, w2 = Value(-3.0, label="w1"), Value(1.0, label="w2")
    b = Value(bias, label="b")
    x1w1 = x1 * w1
    x1w1.label = "x1*w1"
    x2w2 = x2 * w2
    x2w2.label = "x2*w2"
    x1w1x2w2 = x1w1 + x2w2
    x1w1x2w2.label = "x1*w1 + x2*w2"
    n = x1w1x2w2 + b
    n.label = "n"
    nodes = [x1, x2, w1, w2, b, x1w1, x2w2, x1w1x2w2, n]
    return {node.label: node for node in nodes}


def gradients(nodes: dict[str, Value]) -> dict[str, float]:
    return {name: node.grad for name, node in nodes.items()}


def expected_gradients(dn: float) -> dict[str, float]:
    """By hand, for the slope that reached n."""
    return {
        "x1": -3.0 * dn, "x2": 1.0 * dn, "w1": 2.0 * dn, "w2": 0.0, "b": dn,
        "x1*w1": dn, "x2*w2": dn, "x1*w1 + x2*w2": dn, "n": dn,
    }  # fmt: skip


def test_the_tanh_neuron_written_as_in_the_lessons_prints_their_digits():
    nodes = neuron()
    o = lesson_tanh(nodes["n"])
    assert repr(o) == "Value(data=0.7071067811865476, grad=0.0)"
    assert nodes["n"].data == 0.8813735870195432 and 1 - o.data**2 == 0.4999999999999999
    o.backward()
    assert gradients(nodes) == expected_gradients(0.4999999999999999) and o.grad == 1.0


def test_the_tanh_neuron():
    nodes = neuron()
    o = nodes["n"].tanh()
    assert o.data == math.tanh(0.8813735870195432)
    assert o.data == pytest.approx(0.7071067811865476, rel=1e-15)
    o.backward()
    assert gradients(nodes) == expected_gradients(1 - o.data * o.data)
    assert gradients(nodes) == pytest.approx(expected_gradients(0.5), rel=1e-14)


@pytest.mark.parametrize("tanh", [Value.tanh, lesson_tanh])
def test_the_neuron_node_by_node_in_the_lessons_order(tanh):
    nodes = neuron()
    o = tanh(nodes["n"])
    o.grad = 1.0
    o._backward()
    assert nodes["n"].grad == pytest.approx(0.5, rel=1e-14) and nodes["b"].grad == 0.0
    for name in ("n", "b", "x1*w1 + x2*w2", "x2*w2", "x1*w1"):
        nodes[name]._backward()
    assert gradients(nodes) == expected_gradients(nodes["n"].grad)


@pytest.mark.parametrize("tanh", [Value.tanh, lesson_tanh])
def test_the_neuron_in_an_order_of_ones_own(tanh):
    nodes = neuron()
    o = tanh(nodes["n"])
    topo, visited = [], set()

    def build_topo(v):
        if v not in visited:
            visited.add(v)
            for child in v._prev:
                build_topo(child)
            topo.append(v)

    build_topo(o)
    assert sorted(v.data for v in topo) == sorted([*TOPO_DATA, o.data])
    assert all(topo.index(child) < topo.index(v) for v in topo for child in v._prev)
    o.grad = 1.0
    for node in reversed(topo):
        node._backward()
    assert gradients(nodes) == expected_gradients(nodes["n"].grad)
    assert nodes["n"].grad == pytest.approx(0.5, rel=1e-14)


def test_the_neuron_through_exp():
    nodes = neuron()
    e = (2 * nodes["n"]).exp()
    o = (e - 1) / (e + 1)
    o.label = "o"
    o.backward()
    assert o.data == pytest.approx(0.7071067811865476, rel=1e-15)
    assert gradients(nodes) == pytest.approx(expected_gradients(0.5), rel=1e-14)


def test_the_neuron_with_the_bias_that_single_precision_makes_of_it():
    nodes = neuron(float(np.float32(BIAS)))
    o = nodes["n"].tanh()
    o.backward()
    printed = {"x2": 0.5000001283844369, "w2": 0.0, "x1": -1.5000003851533106}
    assert o.data == pytest.approx(0.7071066904050358, rel=1e-15)
    assert {name: nodes[name].grad for name in printed} == pytest.approx(printed, rel=1e-14)
    assert nodes["w1"].grad == pytest.approx(1.0000002567688737, rel=1e-14)


@pytest.mark.parametrize("h, grows", [(0.01, True), (-0.01, False)])
def test_a_step_along_the_gradient_moves_the_neuron(h, grows):
    def output(step):
        w1, w2, b = Value(-3.0 + step * 1), Value(1.0 + step * 0), Value(6.88127 + step * 0.5)
        return (Value(2.0) * w1 + Value(0.0) * w2 + b).tanh()

    before, after = output(0.0), output(h)
    assert (after > before) == grows
    assert after.data - before.data == pytest.approx(h * (2 + 0.5) * 0.5, rel=0.05)


def test_the_linear_neuron():
    x1, x2, w1, w2, b = (Value(x) for x in (1.0, 2.0, 3.0, -1.0, 1.0))
    n = x1 * w1 + x2 * w2 + b
    n.backward()
    assert n.data == 2.0
    assert [v.grad for v in (x1, x2, w1, w2, b)] == [3.0, -1.0, 1.0, 2.0, 1.0]


@pytest.mark.parametrize("activate", [lambda z: z.relu(), lambda z: max(z, 0)])
def test_the_relu_neuron_and_one_step_down(activate):
    x = [Value(v) for v in (1.0, -2.0, 3.0)]
    w = [Value(v) for v in (-3.0, -1.0, 2.0)]
    b = Value(1.0)

    def forward():
        return activate(x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + b)

    y = forward()
    y.backward()
    assert y.data == 6.0
    assert [v.grad for v in x] == [-3.0, -1.0, 2.0] and [v.grad for v in w] == [1.0, -2.0, 3.0]
    for p in (*w, b):
        p.data += -0.001 * p.grad
    assert [p.data for p in (*w, b)] == [-3.001, -0.998, 1.997, 0.999]
    assert forward().data == 5.985


def test_the_full_layers_gradient_on_its_inputs():
    rows = [[0.2, 0.8, -0.5, 1.0], [0.5, -0.91, 0.26, -0.5], [-0.26, -0.27, 0.17, 0.87]]
    inputs = np.array([Value(x) for x in (1.0, 2.0, 3.0, 2.5)])
    outputs = np.dot(np.vectorize(Value)(rows), inputs)
    dvalues = np.array([1.0, 1.0, 1.0])
    np.dot(outputs, dvalues).backward()
    dx = [x.grad for x in inputs]
    assert dx == pytest.approx([0.44, -0.38, -0.07, 1.37], abs=1e-12)
    assert dx == pytest.approx(np.dot(dvalues, rows).tolist(), abs=1e-12)


def test_small_expressions():
    assert (Value(2.0) - Value(4.0)).data == -2.0
    assert Value(2.0).exp().data == 7.38905609893065
    assert (Value(2.0) * Value(-3.0)).data == -6.0


# ---- the network --------------------------------------------------------------------------------


class Neuron:
    def __init__(self, nin):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(random.uniform(-1, 1))

    def __call__(self, x):
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return act.tanh()

    def parameters(self):
        return self.w + [self.b]


class Layer:
    def __init__(self, nin, nout):
        self.neurons = [Neuron(nin) for _ in range(nout)]

    def __call__(self, x):
        outs = [n(x) for n in self.neurons]
        return outs[0] if len(outs) == 1 else outs

    def parameters(self):
        return [p for neuron in self.neurons for p in neuron.parameters()]


class MLP:
    def __init__(self, nin, nouts):
        sz = [nin] + nouts
        self.layers = [Layer(sz[i], sz[i + 1]) for i in range(len(nouts))]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters()]


def training_loop(network, seed: int, steps: int = 20) -> tuple[list[float], list[float]]:
    """The lesson's loop: every loss, and the parameters at the end."""
    random.seed(seed)
    model = network(3, [4, 4, 1])
    history = []
    for _ in range(steps):
        ypred = [model(x) for x in SAMPLES]
        loss = sum((yout - ygt) ** 2 for ygt, yout in zip(TARGETS, ypred))
        loss.backward()
        for p in model.parameters():
            p.data -= 0.05 * p.grad
            p.grad = 0
        history.append(loss.data)
    return history, [p.data for p in model.parameters()]


@pytest.mark.parametrize("seed", [1337, 7, 42])
def test_the_training_loop_agrees_with_the_reference_to_the_last_bit(seed):
    expected = training_loop(reference.MLP, seed)
    assert training_loop(nn.MLP, seed) == expected
    assert training_loop(MLP, seed) == expected
    losses_seen, parameters = expected
    assert len(parameters) == 41 and losses_seen[-1] < 0.2 * losses_seen[0]


def test_gradients_that_are_not_reset_add_up():
    random.seed(3)
    model = nn.MLP(3, [4, 4, 1])
    for _ in range(2):
        losses.mse([model(x) for x in SAMPLES], TARGETS).backward()
    twice = [p.grad for p in model.parameters()]
    model.zero_grad()
    losses.mse([model(x) for x in SAMPLES], TARGETS).backward()
    assert [p.grad for p in model.parameters()] == pytest.approx([0.5 * g for g in twice])


def test_the_printed_predictions_give_the_printed_loss():
    printed = (-0.7028959990425087, 0.1757758058598642, 0.39624177470697325, 0.16264413106842704)
    ypred = [Value(y) for y in printed]
    loss = sum((yout - ygt) ** 2 for ygt, yout in zip(TARGETS, ypred))
    assert loss.data == pytest.approx(6.932959473871423, rel=1e-15)
    loss.backward()
    assert [y.grad for y in ypred] == [2 * (y - t) for y, t in zip(printed, TARGETS)]


def test_the_printed_weight_moves_to_the_printed_weight():
    p = Value(0.28438888706081467)
    p.grad = 1.711566891777295
    p.data -= 0.01 * p.grad
    assert p.data == 0.2672732181430417


# ---- drawing of one's own -----------------------------------------------------------------------


def trace(root):
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    return nodes, edges


def test_trace_finds_the_same_objects_each_time():
    n = lesson()
    nodes, edges = trace(n["L"])
    assert nodes == set(n.values()) and {id(v) for v in nodes} == {id(v) for v in n.values()}
    named = {(child.label, parent.label) for child, parent in edges}
    assert named == {("a", "e"), ("b", "e"), ("e", "d"), ("c", "d"), ("d", "L"), ("f", "L")}


def test_trace_of_nodes_that_nobody_kept():
    x = Value(0.5)
    out = ((x * 2 + 1) ** 2).tanh()
    nodes, edges = trace(out)
    assert len(nodes) == 7 and len(edges) == 6
    again, _ = trace(out)
    assert {id(v) for v in nodes} == {id(v) for v in again}


def draw_dot(graphviz, root, format="svg", rankdir="LR"):
    nodes, edges = trace(root)
    dot = graphviz.Digraph(format=format, graph_attr={"rankdir": rankdir})
    for n in nodes:
        label = "{ %s | data %.4f | grad %.4f }" % (n.label, n.data, n.grad)  # noqa: UP031
        dot.node(name=str(id(n)), label=label, shape="record")
        if n._op:
            dot.node(name=str(id(n)) + n._op, label=n._op)
            dot.edge(str(id(n)) + n._op, str(id(n)))
    for n1, n2 in edges:
        dot.edge(str(id(n1)), str(id(n2)) + n2._op)
    return dot


def test_the_lessons_own_drawing():
    graphviz = pytest.importorskip("graphviz")
    n = lesson()
    n["L"].backward()
    source = draw_dot(graphviz, n["L"]).source
    assert source.count("->") == 6 + 3
    for name, node in n.items():
        assert f"{{ {name} | data {node.data:.4f} | grad {node.grad:.4f} }}" in source
    for child, parent in (("a", "e"), ("b", "e"), ("e", "d"), ("c", "d"), ("d", "L"), ("f", "L")):
        assert f'{id(n[child])} -> "{id(n[parent])}{n[parent]._op}"' in source


def test_the_tanh_of_the_lessons_is_the_librarys():
    for x in np.arange(-5, 5, 0.2).tolist():
        t = (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1)
        assert Value(x).tanh().data == pytest.approx(t, rel=1e-13, abs=1e-15)
