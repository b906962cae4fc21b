"""Is the drawing the graph: each node once, every label legible, nothing that dot can't lay out?"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import pygradc
from pygradc import Value, draw_dot
from pygradc.viz import as_text, trace

pytest.importorskip("graphviz")

ROOT = Path(pygradc.__file__).resolve().parent.parent

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs graphviz' dot")


def run(code: str, **environment: str) -> str:
    """What this code prints in a Python of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lesson() -> Value:
    a, b, c = Value(2.0, label="a"), Value(-3.0, label="b"), Value(10.0, label="c")
    e = a * b
    e.label = "e"
    d = e + c
    d.label = "d"
    L = d * Value(-2.0, label="f")
    L.label = "L"
    L.backward()
    return L


def records(source: str) -> dict[str, str]:
    """Each record's name in the source, with its label."""
    return dict(re.findall(r'^\s*(\S+) \[label="(.*)" shape=record\]$', source, re.MULTILINE))


def ovals(source: str) -> dict[str, str]:
    """Each op's name in the source, with its label."""
    found = re.findall(r'^\s*"?(\w+)"? \[label="?([^"\]]*)"?\]$', source, re.MULTILINE)
    return {name: label for name, label in found if name not in records(source)}


def edges(source: str) -> set[tuple[str, str]]:
    """The edges between labels; an op's oval stands before its record."""
    labels = {name: label.split()[1] for name, label in records(source).items()}
    labels.update(ovals(source))
    found = re.findall(r'^\s*"?(\w+)"? -> "?(\w+)"?$', source, re.MULTILINE)
    return {(labels[tail], labels[head]) for tail, head in found}


# ---- what is drawn ------------------------------------------------------------------------------


def test_the_lessons_graph():
    source = draw_dot(lesson()).source
    assert sorted(records(source).values()) == [
        "{ L | data -8.0000 | grad 1.0000 }",
        "{ a | data 2.0000 | grad 6.0000 }",
        "{ b | data -3.0000 | grad -4.0000 }",
        "{ c | data 10.0000 | grad -2.0000 }",
        "{ d | data 4.0000 | grad -2.0000 }",
        "{ e | data -6.0000 | grad -2.0000 }",
        "{ f | data -2.0000 | grad 4.0000 }",
    ]
    assert sorted(ovals(source).values()) == ["*", "*", "+"]
    assert edges(source) == {
        ("a", "*"), ("b", "*"), ("*", "e"), ("e", "+"), ("c", "+"), ("+", "d"),
        ("d", "*"), ("f", "*"), ("*", "L"),
    }  # fmt: skip
    assert source.count("->") == 9


def test_the_same_graph_gives_the_same_source():
    assert draw_dot(lesson()).source == draw_dot(lesson()).source
    code = (
        "from pygradc import Value; x = Value(1.0); print(((x + 2) * x).tanh().draw_dot().source)"
    )
    assert run(code, PYTHONHASHSEED="1") == run(code, PYTHONHASHSEED="2")


def test_the_method_and_the_function_are_the_same():
    L = lesson()
    assert L.draw_dot().source == draw_dot(L).source == draw_dot(L, "svg", "LR").source
    assert L.draw_dot(max_depth=1).source == draw_dot(L, max_depth=1).source
    assert L.draw_dot(format="png").format == "png" and L.draw_dot().format == "svg"


@pytest.mark.parametrize("rankdir", ["LR", "TB"])
def test_the_direction(rankdir):
    assert f"rankdir={rankdir}" in lesson().draw_dot(rankdir=rankdir).source


@pytest.mark.parametrize("rankdir", ["lr", "", "BT", None])
def test_another_direction_is_refused(rankdir):
    with pytest.raises(TypeError, match="format must be a name, such as 'svg' or 'png', not 5"):
        draw_dot(Value(1.0), format=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rankdir must be 'LR' or 'TB'"):
        draw_dot(lesson(), rankdir=rankdir)


def test_a_single_leaf():
    source = draw_dot(Value(1.5, label="x")).source
    assert list(records(source).values()) == ["{ x | data 1.5000 | grad 0.0000 }"]
    assert ovals(source) == {} and "->" not in source


def test_shared_nodes_and_their_edges_are_drawn_once():
    x = Value(3.0, label="x")
    y = x * x
    y.label = "y"
    z = y + y
    z.label = "z"
    source = draw_dot(z).source
    assert len(records(source)) == 3 and len(ovals(source)) == 2
    assert source.count("->") == 4
    assert edges(source) == {("x", "*"), ("*", "y"), ("y", "+"), ("+", "z")}


def test_a_power_has_one_child():
    a = Value(3.0, label="a")
    p = a**2
    p.label = "p"
    source = draw_dot(p).source
    assert list(ovals(source).values()) == ["**2"] and len(records(source)) == 2
    assert source.count("->") == 2


def test_custom_ops_and_labels_of_dropped_nodes_are_drawn():
    x = Value(1.0, label="x")
    out = Value(2.0, (x,), "custom") + 1
    out._children[0].label = "inner"
    source = draw_dot(out).source
    assert "custom" in ovals(source).values() and "{ inner | data 2.0000" in source


# ---- order and depth ----------------------------------------------------------------------------


def uneven() -> Value:
    """x is near the root on one way and far from it on another."""
    x = Value(1.0, label="x")
    return x + ((x * 2).tanh() * 3).exp()


@pytest.mark.parametrize("root", [lesson(), uneven()])
def test_children_are_traced_before_their_parents(root):
    nodes, pairs = trace(root)
    place = {node: i for i, node in enumerate(nodes)}
    assert len(place) == len(nodes) and len(set(pairs)) == len(pairs)
    assert place[root] == len(nodes) - 1
    assert all(place[child] < place[node] for child, node in pairs)


@pytest.mark.parametrize("depth, labels", [(0, "L"), (1, "Ldf"), (2, "Ldfec"), (3, "Ldfecab")])
def test_max_depth_keeps_what_is_near_the_root(depth, labels):
    source = draw_dot(lesson(), max_depth=depth).source
    assert {label.split()[1] for label in records(source).values()} == set(labels)


def test_depth_is_the_shortest_way():
    nodes, pairs = trace(uneven(), max_depth=1)
    assert sorted(node.label or node._op for node in nodes) == ["+", "exp", "x"]
    assert len(pairs) == 2


def test_a_long_chain_is_traced_without_recursion():
    x = Value(0.0)
    for _ in range(5000):
        x = -x
    nodes, pairs = trace(x)
    assert len(nodes) == 10_001 and len(pairs) == 10_000


# ---- too much -----------------------------------------------------------------------------------


def test_more_than_max_nodes_is_refused_with_a_way_out():
    L = lesson()
    with pytest.raises(ValueError, match=r"7 nodes are too many .*max_nodes=6.*max_depth="):
        draw_dot(L, max_nodes=6)
    assert len(records(draw_dot(L, max_nodes=7).source)) == 7


def test_a_huge_graph_is_refused_soon():
    x = Value(0.0)
    for _ in range(500_000):
        x = x + 1
    began = time.perf_counter()
    with pytest.raises(ValueError, match="too many to draw"):
        draw_dot(x)
    assert time.perf_counter() - began < 10.0
    assert len(records(draw_dot(x, max_depth=3).source)) == 7


# ---- labels that mean something to dot ----------------------------------------------------------

SPECIAL = ["{", "}", "|", "<", ">", "{x|<p> y}", "\\", "\\n", "\\N", "\\\\", 'a "b"', '\\"', "a\\"]
SPECIAL += ["x1*w1 + x2*w2", "αβ日本", "&", "a;b", "[c]", "#", "->", "//"]


def texts(root: Value) -> list[str]:
    """What can be read in the picture that dot makes."""
    svg = root.draw_dot().pipe(encoding="utf-8")
    found = re.findall(r"<text[^>]*>(.*?)</text>", svg)
    for entity, character in {"&quot;": '"', "&#45;": "-", "&lt;": "<", "&gt;": ">"}.items():
        found = [text.replace(entity, character) for text in found]
    return [text.replace("&#160;", " ").replace("&amp;", "&") for text in found]


@needs_dot
@pytest.mark.parametrize("label", SPECIAL)
def test_special_characters_in_labels_are_shown_as_they_are(label):
    assert texts(Value(1.0, label=label)) == [label, "data 1.0000", "grad 0.0000"]


@needs_dot
@pytest.mark.parametrize("op", ["<=>", "<b>", "a|b", "{", 'say "x"', "\\", "\\l", "[0]", "a:b"])
def test_special_characters_in_ops_are_shown_as_they_are(op):
    assert op in texts(Value(1.0, (Value(2.0),), op))


def test_special_characters_leave_the_source_with_its_nodes():
    for label in SPECIAL:
        root = Value(1.0, label=label) + Value(2.0, label=label)
        source = draw_dot(root).source
        assert len(records(source)) == 3 and source.count(" -> ") - label.count(" -> ") == 3


def test_labels_need_not_be_strings():
    v = Value(1.0)
    v.label = 7
    assert "{ 7 | data 1.0000" in draw_dot(v).source


def test_infinities_and_nan_are_drawn():
    v = Value(float("inf"))
    v.grad = float("nan")
    assert "data inf | grad nan" in draw_dot(v).source


# ---- rendering, and what may be missing ---------------------------------------------------------


@needs_dot
def test_svg_and_png_are_rendered(tmp_path):
    path = Path(lesson().draw_dot().render(tmp_path / "graph"))
    svg = path.read_text(encoding="utf-8")
    assert path.name == "graph.svg" and svg.count('class="node"') == 10
    assert svg.count('class="edge"') == 9
    assert lesson().draw_dot(format="png").pipe().startswith(b"\x89PNG")
    assert "<svg" in lesson().draw_dot()._repr_mimebundle_(["image/svg+xml"])["image/svg+xml"]


def test_without_dot_the_source_is_there_and_rendering_says_what_to_install(tmp_path):
    code = """
import graphviz
from pygradc import Value
dot = (Value(1.0, label="x") * 2).draw_dot()
assert "{ x | data 1.0000" in dot.source
try:
    dot.pipe()
except graphviz.ExecutableNotFound as error:
    print(error)
"""
    assert "Graphviz executables" in run(code, PATH=str(tmp_path))


@pytest.mark.parametrize("call", ["pygradc.draw_dot(v)", "v.draw_dot()"])
def test_without_the_package_the_error_says_how_to_install_it(call):
    code = f"""
import sys
sys.modules["graphviz"] = None
import pygradc
v = pygradc.Value(1.0)
try:
    {call}
except ImportError as error:
    print(error)
"""
    assert "drawing needs graphviz: pip install graphviz" in run(code)


def test_without_dot_a_notebook_shows_text_and_one_line_on_how_to_install_it(tmp_path):
    code = """
from pygradc import Value
a = Value(2.0, label="a")
y = (a * -3.0 + a).relu()
y.backward()
dot = y.draw_dot()
for shown in (dot, dot.copy()):
    bundle = shown._repr_mimebundle_()
    assert list(bundle) == ["text/plain"], bundle
print(dot._repr_mimebundle_()["text/plain"])
"""
    first, *graph = run(code, PATH=str(tmp_path)).splitlines()
    assert "the program dot of Graphviz, which was not found" in first
    assert "apt install graphviz" in first and "brew install graphviz" in first
    assert graph == [
        "n0: a | data 2.0000 | grad 0.0000",
        "n1: data -3.0000 | grad 0.0000",
        "n2 = *(n0 n1): data -6.0000 | grad 0.0000",
        "n3 = +(n2 n0): data -4.0000 | grad 0.0000",
        "n4 = ReLU(n3): data 0.0000 | grad 1.0000",
    ]


def test_ipython_shows_that_text_and_no_traceback(tmp_path):
    pytest.importorskip("IPython")
    code = """
from IPython.core.formatters import DisplayFormatter
from pygradc import Value
data, _ = DisplayFormatter().format((Value(2.0) * 3).draw_dot())
print(data["text/plain"])
"""
    assert "n2 = *(n0 n1): data 6.0000" in run(code, PATH=str(tmp_path))


def test_the_text_of_a_part_says_where_it_was_cut():
    x = Value(2.0)
    nodes, _ = trace((x * 3) + 1, max_depth=1)
    assert as_text(nodes).splitlines() == [
        "n0 = *(... ...): data 6.0000 | grad 0.0000",
        "n1: data 1.0000 | grad 0.0000",
        "n2 = +(n0 n1): data 7.0000 | grad 0.0000",
    ]


def test_drawings_are_copied_and_pickled():
    dot = lesson().draw_dot()
    for other in (dot.copy(), pickle.loads(pickle.dumps(dot))):
        assert other.source == dot.source


@pytest.mark.parametrize(
    "root, message",
    [
        (5, r"expected a Value, the root of a graph, not int: write draw_dot\(y\)"),
        (None, "expected a Value, the root of a graph, not NoneType"),
        ("y", "expected a Value, the root of a graph, not str"),
        (Value, "expected a Value, the root of a graph, not the class Value"),
        ([Value(1.0), Value(2.0)], r"not a list of 2: write draw_dot\(values\[0\]\).*sum\(values"),
        ((Value(1.0),), r"not a tuple of 1: write draw_dot\(values\[0\]\)"),
        ([], "not a list of 0"),
        (np.array([Value(1.0)]), r"not a ndarray of 1: write draw_dot\(values\[0\]\)"),
        ({"loss": Value(1.0)}, r"not a dict of 1: write draw_dot"),
    ],
)
def test_what_is_no_value_is_refused_with_what_to_write(root, message):
    with pytest.raises(TypeError, match=message):
        pygradc.draw_dot(root)


# ---- colors -------------------------------------------------------------------------------------


def colors(source: str) -> dict[str, str]:
    """From each node's, op's or box's name to its color."""
    found = re.findall(r'^\s*"?(\w+)"? \[.*fillcolor="([^"]*)".*\]$', source, re.MULTILINE)
    return dict(found)


def labels(source: str) -> dict[str, str]:
    found = re.findall(r'^\s*"?(\w+)"? \[label="?(.*?)"? ?(?:fillcolor|shape|\])', source, re.M)
    return dict(found)


def test_without_color_nothing_is_colored():
    plain = lesson().draw_dot()
    assert "fillcolor" not in plain.source and "style" not in plain.source
    assert plain.source == lesson().draw_dot(color=None, group=False).source


def test_each_op_has_a_color():
    a, b = Value(2.0), Value(3.0)
    y = ((a * b + a) * b).tanh() ** 2
    source = draw_dot(y + Value(1.0, (y,), "mine"), color="op").source
    names = labels(source)
    shown = {names[name]: color for name, color in colors(source).items()}
    assert set(shown) == {"*", "+", "tanh", "**2", "mine"}  # no record has one
    assert len({*shown.values()}) == 5 and shown["mine"] == "#CCCCCC"
    assert len({name for name in colors(source) if names[name] == "*"}) == 2
    assert draw_dot(a * b, color="op").source.count(shown["*"]) == 1  # the same in any drawing


def graded() -> Value:
    parts = [Value(1.0, label=label) for label in "abcdefg"]
    for part, grad in zip(parts, (0.0, 4.0, -4.0, 1.0, float("nan"), float("inf"), -1.0)):
        part.grad = grad
    return Value(0.0, parts, "mine")


def test_gradients_are_white_at_0_and_full_at_the_largest():
    source = draw_dot(graded(), color="grad").source
    by_label = {text.split()[1]: colors(source)[name] for name, text in labels(source).items()
                if text.startswith("{")}  # fmt: skip
    assert by_label["a"] == "#FFFFFF"
    assert by_label["b"] == "#E69F00" and by_label["c"] == "#56B4E9"
    assert by_label["d"] == "#F2CF80"  # half of the way: the root of a quarter
    assert by_label["e"] == by_label["f"] == "#CCCCCC" and by_label["g"] not in ("#FFFFFF", "")
    assert "mine" in labels(source).values() and len(colors(source)) == 8  # not the op


def test_without_gradients_all_are_white():
    assert {*colors(draw_dot(Value(1.0) * 2.0, color="grad").source).values()} == {"#FFFFFF"}


def test_both_colors():
    L = lesson()
    both, op, grad = (colors(L.draw_dot(color=color).source) for color in ("both", "op", "grad"))
    assert both == {**op, **grad} and len(op) == 3 and len(grad) == 7


@needs_dot
def test_colored_drawings_are_rendered():
    svg = lesson().draw_dot(color="both").pipe(encoding="utf-8")
    assert svg.count('fill="#e69f00"') == 1  # the largest gradient, a's


@pytest.mark.parametrize("color", ["red", "", True, 1, "OP"])
def test_other_colors_are_refused(color):
    with pytest.raises(ValueError, match="color must be 'op', 'grad', 'both' or None, not"):
        draw_dot(Value(1.0), color=color)


# ---- layers as boxes ----------------------------------------------------------------------------


def network(rows: int = 1) -> Value:
    model = pygradc.nn.MLP(3, [4, 2, 1], seed=0)
    outputs = [model([1.0, float(row), -1.0]) for row in range(rows)]
    for out in outputs:
        out.label = "out"
    loss = pygradc.sum((out - 1.0) ** 2 for out in outputs)
    loss.backward()
    return loss


def boxes(source: str) -> dict[str, list[str]]:
    found = re.findall(r'^\s*(g\d+) \[label="\{ (.*) \}"', source, re.MULTILINE)
    return {name: text.split(" | ") for name, text in found}


def links(source: str) -> list[tuple[str, str]]:
    return re.findall(r'^\s*"?(\w+)"? -> "?(\w+)"?$', source, re.MULTILINE)


def test_each_layer_is_a_box_with_its_counts():
    loss = network()
    source = draw_dot(loss, group=True).source
    shown = boxes(source)
    assert [texts[0] for texts in shown.values()] == [
        "layer 1: 3 → 4, tanh", "layer 2: 4 → 2, tanh", "layer 3: 2 → 1, tanh",
    ]  # fmt: skip
    # Of 4 neurons of 3 weights and a bias: leaves, and as many numbers 1.0, 0.0, -1.0; products;
    # additions; tanh. The next layers take the outputs of those before.
    assert shown["g0"][1] == "56 nodes, 28 leaves"
    assert shown["g1"][1] == f"{2 * (4 + 1 + 4 + 4 + 1)} nodes, 10 leaves"
    out = next(node for node in trace(loss)[0] if node.label == "out")
    assert shown["g2"][2:] == [f"data {out.data:.4f}", f"grad {out.grad:.4f}"]
    assert [link for link in links(source) if "g" in "".join(link)][:2] == [
        ("g0", "g1"), ("g1", "g2"),
    ]  # fmt: skip
    assert "largest grad" in shown["g0"][2]


def test_boxes_and_nodes_are_all_the_nodes_and_every_edge_has_its_ends():
    loss = network(3)
    nodes, pairs = trace(loss)
    source = draw_dot(loss, group=True).source
    shown = boxes(source)
    inside = sum(int(texts[1].split()[0]) for texts in shown.values())
    alone = {name for name in records(source) if name not in shown}
    assert inside + len(alone) == len(nodes)
    known = {*shown, *alone, *ovals(source)}
    ends = links(source)
    assert {end for link in ends for end in link} <= known
    assert len({*ends}) == len(ends) and all(tail != head for tail, head in ends)
    names = [texts[0] for texts in shown.values()]
    assert "layer 1, row 3: 3 → 4, tanh" in names and "weights of layer 1" in names
    weights = next(name for name, texts in shown.items() if texts[0] == "weights of layer 1")
    assert shown[weights][1] == "16 nodes, 16 leaves"
    users = {head for tail, head in ends if tail == weights}
    assert {shown[user][0][:7] for user in users} == {"layer 1"} and len(users) == 3
    assert len(pairs) > len(ends)


def test_the_lessons_own_neurons_are_found_and_other_graphs_are_as_before():
    w, x = [Value(1.0), Value(-1.0)], [Value(0.5), Value(0.25)]
    y = sum((wi * xi for wi, xi in zip(w, x)), Value(0.1)).tanh()
    assert boxes(draw_dot(y * 2.0, group=True).source)["g0"][0] == "layer 1: 2 → 1, tanh"
    L = lesson()
    assert draw_dot(L, group=True).source == draw_dot(L).source


def test_a_root_in_a_box_shows_its_numbers():
    y = pygradc.nn.MLP(2, [1], seed=0)([1.0, 2.0])
    y.backward()
    source = draw_dot(y, group=True).source
    assert boxes(source)["g0"][2:] == [f"data {y.data:.4f}", "grad 1.0000"]
    assert "->" not in source


def test_boxes_are_colored_by_their_largest_gradient():
    loss = network()
    source = draw_dot(loss, group=True, color="both").source
    assert {*boxes(source)} <= {*colors(source)}
    first = next(node for node in trace(loss)[0] if not node._children)  # in the last layer
    first.grad = float("nan")
    grey = colors(draw_dot(loss, group=True, color="grad").source)
    assert [name for name in boxes(source) if grey[name] == "#CCCCCC"] == ["g2"]


def test_the_text_of_boxes(tmp_path):
    code = """
import pygradc
y = pygradc.nn.MLP(2, [2, 1], seed=0)([1.0, 2.0]) * pygradc.Value(2.0, label="two")
print(y.draw_dot(group=True)._repr_mimebundle_()["text/plain"].partition("As text:")[2])
"""
    lines = run(code, PATH=str(tmp_path)).strip().splitlines()
    assert lines[0] == "g0 = layer 1: 2 → 2, tanh: 20 nodes, 10 leaves | largest grad 0.0000"
    assert lines[1].startswith("g1 = layer 2: 2 → 1, tanh (g0): 8 nodes, 3 leaves | data ")
    assert re.fullmatch(r"n\d+: two \| data 2.0000 \| grad 0.0000", lines[2])
    assert re.fullmatch(r"n\d+ = \*\(g1 n\d+\): data .* \| grad 0.0000", lines[3])
    assert len(lines) == 4


def test_a_network_too_large_for_dot_is_small_in_boxes():
    model = pygradc.nn.MLP(30, [30, 30, 1], seed=0)
    y = model([0.1] * 30)
    with pytest.raises(ValueError, match="too many to draw"):
        draw_dot(y)
    began = time.perf_counter()
    assert len(boxes(draw_dot(y, group=True).source)) == 3
    assert time.perf_counter() - began < 10.0
    with pytest.raises(ValueError, match=r"3 boxes and nodes are too many .*max_nodes=2"):
        draw_dot(y, group=True, max_nodes=2)


def test_what_group_is_not():
    with pytest.raises(ValueError, match="group=True draws the whole graph: leave out max_depth"):
        draw_dot(lesson(), group=True, max_depth=2)
    with pytest.raises(TypeError, match="group must be True or False, not 'layers'"):
        draw_dot(lesson(), group="layers")  # type: ignore[arg-type]
