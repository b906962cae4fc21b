"""Is what the page shows true: every number of every step, the layers, the texts?

What is described is compared with `backward()`, bit for bit; what a browser makes of it is asked in
headless Chromium, where that and playwright are.
"""

from __future__ import annotations

import html
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import OP_CASES, Case, as_list, bits, drawn, mlp, recorded_row

import pygradc
from pygradc import Value
from pygradc.command import view as command
from pygradc.command.errors import CommandError
from pygradc.core.ops import OPS, ROWS
from pygradc.core.single import Single
from pygradc.recorded import stepping
from pygradc.viewing import graphs, page
from pygradc.viewing.description import Graph, as_json
from pygradc.viewing.graphs import describe

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "pygradc" / "viewing" / "assets"


def nodes_below(root: Value) -> list[Value]:
    """In the order of the core's walk."""
    found: dict[Value, None] = {}

    def visit(node: Value) -> None:
        for child in node._children:
            if child not in found:
                visit(child)
        found[node] = None

    visit(root)
    return list(found)


def gradients_of(root: Value) -> list[float]:
    """After `backward()` from gradients of 0; the gradients are put back."""
    values = nodes_below(root)
    held = [value.grad for value in values]
    for value in values:
        value.grad = 0.0
    root.backward()
    found = [value.grad for value in values]
    for value, grad in zip(values, held):
        value.grad = grad
    return found


def lesson() -> Value:
    a, b, c = Value(2.0, label="a"), Value(-3.0, label="b"), Value(10.0, label="c")
    L = a * b + c
    L.label = "L"
    return L


def node_called(graph: Graph, label: str) -> Any:
    return next(node for node in graph.nodes if label in (node.label, node.name))


# ---- A Value's graph: data and gradients --------------------------------------------------------


def check_value(root: Value) -> Graph:
    """The description agrees with the graph, and leaves it as it is."""
    values = nodes_below(root)
    for i, value in enumerate(values):
        value.grad = 0.1 * i
    before = [(value.data, value.grad) for value in values]
    graph = describe(root)
    assert bits(before) == bits([(value.data, value.grad) for value in values])
    assert bits([node.data for node in graph.nodes]) == bits([value.data for value in values])
    assert bits([node.held for node in graph.nodes]) == bits([value.grad for value in values])
    assert bits(graph.gradients()) == bits(gradients_of(root))
    place = {value: i for i, value in enumerate(values)}
    assert [[place[c] for c in v._children] for v in values] == [n.operands for n in graph.nodes]
    return graph


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_have_the_bits_of_backward(seed: int) -> None:
    case = drawn(seed)
    for root in as_list(case.function(*map(Value, case.rows(1, seed)[0]))):
        check_value(root)


@pytest.mark.parametrize("name", OP_CASES)
def test_every_op_has_its_row(name: str) -> None:
    case = OP_CASES[name]
    root = as_list(case.function(*map(Value, case.rows(1)[0])))[0]
    graph = check_value(root * 1.5)
    assert name in {node.row.name for node in graph.nodes if node.row is not None}
    assert not any(node.note for node in graph.nodes)


def test_every_contribution_is_a_product_and_a_sum() -> None:
    random.seed(3)
    model = pygradc.nn.MLP(3, [4, 4, 1])
    x = Value(0.3)
    graph = check_value(sum((model([x, x * x, 1.5]) - 0.5) ** 2 for _ in range(2)))
    gradients = [0.0] * len(graph.nodes)
    gradients[graph.root] = 1.0
    for give in graph.backward:
        assert give.slope is not None
        assert bits(give.amount) == bits(give.slope * gradients[give.source])
        gradients[give.target] += give.amount
        assert bits(give.total) == bits(gradients[give.target])
        assert graph.nodes[give.source].operands[give.slot] == give.target
    assert graph.forward == [i for i, node in enumerate(graph.nodes) if node.operands]


def test_an_operand_used_twice_receives_twice() -> None:
    x = Value(3.0)
    graph = check_value(x * x)
    assert [(give.slot, give.total) for give in graph.backward] == [(0, 3.0), (1, 6.0)]


def test_a_leaf_is_a_graph() -> None:
    graph = check_value(Value(2.0))
    assert not graph.forward and not graph.backward and graph.gradients() == [1.0]


def test_detached_nodes_and_branches_not_taken() -> None:
    x, y = Value(0.0), Value(2.0)
    check_value(pygradc.detach(x * y) * y + pygradc.where(x > 1.0, x.exp(), y))
    check_value(x.sqrt() * 0.0 + y)  # an infinite derivative meets a gradient of 0


def test_where_backward_fails_the_steps_end_with_its_error() -> None:
    x, y = Value(0.0), Value(2.0, label="y")
    root = x.sqrt() + y * 3.0
    graph = describe(root)
    with pytest.raises(ZeroDivisionError) as caught:
        root.backward()
    assert graph.stops == f"ZeroDivisionError: {caught.value}"
    assert graph.gradients()[graph.nodes.index(node_called(graph, "y"))] == 3.0
    assert x.grad == y.grad == 0.0
    assert not describe(pygradc.detach(x).sqrt() + y).stops


def test_data_assigned_later_is_pointed_out() -> None:
    x = Value(2.0)
    y = x.tanh()
    x.data = 0.5
    graph = check_value(y * 2.0)
    assert [bool(node.note) for node in graph.nodes] == [False, True, False, False]


# ---- Ops that aren't in the table ---------------------------------------------------------------


def test_a_custom_op_named_like_another_isnt_taken_for_it() -> None:
    a, b = Value(2.0), Value(3.0)
    odd = Value(5.0, (a, b), "+", "odd")
    given = Value(5.0, (a, b), (7.0, 0.5))
    graph = check_value(odd + given * odd)
    assert node_called(graph, "odd").row is None
    assert {give.slope for give in graph.backward} >= {7.0, 0.5}


def test_ops_of_pygradc_op_pass_gradients_from_the_last_operand_on() -> None:
    @pygradc.op(derivatives=lambda a, b, c, y: (0.1 * b, 0.7 * a, 0.3 * c))
    def mixed(a: Any, b: Any, c: Any) -> Any:
        return a * b + c

    x = Value(1.1)
    graph = check_value(mixed(x, x, x) * 3.3 + x * 0.1)
    assert node_called(graph, "n1").made == "mixed"


def square_by_closure(x: Value, log: list[float], also: Value | None = None) -> Value:
    y = Value(x.data * x.data, (x,), "square")

    def back() -> None:
        log.append(y.grad)
        x.grad += 2.0 * x.data * y.grad
        if also is not None:
            also.grad += 1.0

    y._backward = back
    return y


def test_a_closures_contribution_is_seen_and_gradients_are_put_back() -> None:
    log: list[float] = []
    x = Value(3.0, label="x")
    y = square_by_closure(x * 1.0, log)
    graph = check_value(y * 5.0 + square_by_closure(y, log) + x)
    by_closure = [give for give in graph.backward if give.slope is None]
    assert len(by_closure) == 2 and log[0] == 1.0


def test_a_closure_that_reaches_further_is_refused() -> None:
    x, other = Value(3.0), Value(1.0, label="other")
    z = other * 2.0
    root = square_by_closure(x, [], z) + z * 1.0
    with pytest.raises(RuntimeError, match=r"changes the gradient of a Value with data=2\.0"):
        describe(root)
    assert all(value.grad == 0.0 for value in nodes_below(root))


def test_a_closure_that_fails_ends_the_steps() -> None:
    x = Value(3.0)
    y = Value(9.0, (x,), "square")
    y._backward = lambda: {}["missing"]
    assert describe(y + 1.0).stops == "KeyError: 'missing'"
    assert y.grad == 0.0


def test_too_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MAX_NODES", 4)
    with pytest.raises(ValueError, match=r"more than 200,000 nodes: view a node below"):
        describe(lesson())
    assert len(describe(lesson()._children[0]).nodes) == 3


def test_what_is_no_value_is_refused_with_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"write values\[0\].view\(\)"):
        describe([Value(1.0)])
    with pytest.raises(TypeError, match=r"expected a Value.*not int"):
        describe(3)
    recorded = pygradc.compile(lambda x: x.view())
    with pytest.raises(pygradc.TraceError, match=r"view\(\) while a function is recorded"):
        recorded(1.0)


# ---- One op by itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_single_ops_are_the_tables(row: Any) -> None:
    single, rng = Single(), np.random.default_rng(1)
    lo, hi = zip(*row.intervals)
    for operands in rng.uniform(lo, hi, (5, len(lo))).tolist():
        if row.name == "polygamma":
            operands[1] = float(int(operands[1]))
        a, b = operands[0], operands[-1] if len(operands) > 1 else 0.0
        y = single.value(row, a, b)
        slopes = single.slopes(row, a, b, y)
        assert len(slopes) == row.arity
        if not row.name.startswith("_"):
            xs = [Value(x) for x in operands[: row.arity]]
            rest = [b] if row.takes_number else []
            made = getattr(xs[0], row.method)(*xs[1:], *rest)
            assert bits(made.data) == bits(y) and bits(made._local_grads) == bits(slopes)
    if row.name == "log":
        with pytest.raises(ValueError, match=r"log\(-1.0\)"):
            single.value(row, -1.0)


# ---- Layers -------------------------------------------------------------------------------------


def names(graph: Graph) -> list[str]:
    return [group.name for group in graph.groups]


def test_the_layers_of_a_network() -> None:
    model = pygradc.nn.MLP(3, [4, 5, 1], activation="relu", output_activation="linear")
    graph = describe(model([0.5, 0.25, 2.0]))
    assert names(graph) == ["layer 1: 3 → 4, relu", "layer 2: 4 → 5, relu", "layer 3: 5 → 1"]
    covered = [i for group in graph.groups for i in group.nodes]
    assert len(covered) == len(set(covered)) == len(graph.nodes)


def test_rows_share_weights() -> None:
    model = pygradc.nn.MLP(2, [3, 1])
    loss = sum((model([0.5, x]) - 1.0) ** 2 for x in (0.1, 0.2, 0.3))
    graph = describe(loss)
    assert names(graph)[:2] == ["layer 1: 2 → 3, tanh", "layer 2: 3 → 1, tanh"]
    assert "layer 1, row 3: 2 → 3, tanh" in names(graph)
    weights = next(group for group in graph.groups if group.name == "weights of layer 1")
    assert len(weights.nodes) == 9


def test_a_loop_that_someone_wrote_is_a_layer_too() -> None:
    xs = [Value(0.1 * i) for i in range(10)]
    neurons = []
    for _ in range(3):
        ws = [Value(random.random()) for _ in xs]
        neurons.append((sum((x * w for x, w in zip(xs, ws)), Value(0.5))).sigmoid())
    graph = describe(neurons[0] * neurons[1] * neurons[2])
    assert names(graph) == ["layer 1: 10 → 3, sigmoid", "inputs of layer 1"]


@pytest.mark.parametrize("weights_first", [True, False])
def test_a_batch_with_a_penalty(weights_first: bool) -> None:
    """Of two sides that are leaves, which are the weights? Rows may be more than neurons."""
    hidden = [[Value(random.random()) for _ in range(3)] for _ in range(4)]
    last = [Value(random.random()) for _ in range(5)]

    def product(w: Value, x: Any) -> Value:
        return w * x if weights_first else x * w

    def model(row: list[Value]) -> Value:
        hs = [sum(map(product, ws[:2], row), ws[2]).relu() for ws in hidden]
        return sum(map(product, last[:4], hs), last[4])

    rows = [[Value(random.random()), Value(random.random())] for _ in range(9)]
    loss = sum((model(row) - 1.0) ** 2 for row in rows)
    weights = [*(w for ws in hidden for w in ws), *last]
    graph = describe(loss * 0.1 + sum(w * w for w in weights) * 0.01)
    assert names(graph)[:2] == ["layer 1: 2 → 4, relu", "layer 2: 4 → 1"]
    assert names(graph)[-6:] == [
        *("layer 1, row 9: 2 → 4, relu", "layer 2, row 9: 4 → 1"),
        *("weights of layer 1", "weights of layer 2", "sum of 10", "sum of 18"),
    ]
    covered = [i for group in graph.groups for i in group.nodes]
    assert len(covered) == len(set(covered))
    penalty = graph.groups[-1].nodes
    assert len(penalty) == 17 + 17 + 1  # additions, squares, and the 0 that sum() begins with


def test_no_layers_where_there_are_none() -> None:
    assert describe(lesson()).groups == []
    x = Value(1.0)
    y = x * 2.0
    assert describe(y * y + y * x.exp()).groups == []  # products, but not of weights


# ---- Programs -----------------------------------------------------------------------------------


def check_program(case: Case, row: Any, **options: Any) -> None:
    f = pygradc.compile(case.function, **options)
    expected = recorded_row(f, case, row)
    (program,) = f.programs
    for output, data in enumerate(expected.data):
        graph = stepping.describe(program, tuple(map(float, row)), output)
        place = {node.name: i for i, node in enumerate(graph.nodes)}
        gradients = graph.gradients()
        assert bits(graph.nodes[graph.root].data) == bits(data) and not graph.notes
        for kind, found in (("in", expected.inputs[output]), ("p", expected.params[output])):
            parameters = program.parameters()
            for i, gradient in enumerate(found):
                at = (
                    i
                    if kind == "in"
                    else next(k for k, p in enumerate(parameters) if p is case.params[i])
                    if case.params[i] in parameters
                    else -1
                )
                if f"{kind}{at}" in place:
                    assert gradients[place[f"{kind}{at}"]] == gradient or math.isnan(gradient)
                else:
                    assert gradient == 0.0
        for node in range(len(graph.nodes)):
            assert all(operand < node for operand in graph.nodes[node].operands)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_have_the_bits_of_a_replay(seed: int) -> None:
    case = drawn(seed)
    check_program(case, case.rows(1, seed)[0])


@pytest.mark.parametrize("name", OP_CASES)
def test_every_op_in_a_program(name: str) -> None:
    case = OP_CASES[name]
    check_program(case, case.rows(1)[0])


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_derivatives_and_their_hidden_ops(op: Any) -> None:
    w = Value(0.7)
    number = {"polygamma": 2.0}.get(op.name, 0.3)

    def function(x: Any, y: Any) -> Any:
        rest = [number] if op.takes_number else [y][: op.arity - 1]
        v = getattr(x * w, op.method)(*rest)
        by_x, by_y = pygradc.grad(v * v, [x, y])
        return [by_x * y + by_y, pygradc.grad(by_x, x)]

    row = Case(function, 2, [w], *op.intervals[0]).rows(1)[0]
    row[1] = abs(row[1]) + 0.1
    check_program(Case(function, 2, [w]), row)
    for root in function(Value(row[0]), Value(row[1])):
        check_value(root)


def test_a_network_as_a_program() -> None:
    case = mlp([3, 4, 4, 2])
    check_program(case, case.rows(1)[0])
    f = pygradc.compile(case.function)
    f(0.1, 0.2, 0.3)
    graph = stepping.describe(f.programs[0], None, 0)
    assert names(graph) == ["layer 1: 3 → 4, tanh", "layer 2: 4 → 4, tanh", "layer 3: 4 → 2, tanh"]


def test_tables_and_searches_in_a_program() -> None:
    table = [Value(0.5 * i * i) for i in range(5)]
    knots = [0.0, 1.0, 2.0, 3.0]

    def function(x: Any, y: Any) -> Any:
        taken = pygradc.take(table, x)
        (slope,) = pygradc.grad(taken * taken * y, [table[2]])
        return taken * y + pygradc.interp(y, knots, table[:4]) + slope * taken

    case = Case(function, 2, table)
    for row in ([2.0, 1.5], [3.0, 0.2]):
        check_program(case, row)


def test_custom_ops_conditions_and_detach_in_a_program() -> None:
    @pygradc.op(derivatives=lambda a, b, y: (b, a))
    def times(a: Any, b: Any) -> Any:
        return a * b

    w = Value(0.7)

    def function(x: Any, y: Any) -> Any:
        chosen = pygradc.where(x > y, times(x, w), times(y, y))
        return chosen * pygradc.detach(w) + w * w * x / y

    for row in ([2.0, 1.5], [0.3, 1.2]):
        check_program(Case(function, 2, [w]), row)


def test_outputs_of_any_kind_are_counted_flat() -> None:
    f = pygradc.compile(lambda x, y: {"b": x > y[0], "list": [x * y[1], None], "s": "text"})
    f(1.0, [2.0, 3.0])
    data = [
        graph.nodes[graph.root].data
        for graph in (stepping.describe(f.programs[0], (1.0, [2.0, 3.0]), at) for at in (0, 1))
    ]
    assert data == [0.0, 3.0]


def test_fast_mode_says_where_its_digits_differ() -> None:
    f = pygradc.compile(lambda x: x.tanh().exp() + x**2 + 1.0 / x, math="fast")
    for x in np.linspace(0.1, 2.0, 40):
        data = f(float(x)).data
        graph = stepping.describe(f.programs[0], (float(x),), 0)
        shown = graph.nodes[graph.root].data
        assert shown is not None and abs(shown - data) <= 1e-14 * abs(data)
        assert bool(graph.notes) == (shown != data)
        if graph.notes:
            assert repr(data) in graph.notes[0]


def test_programs_without_a_row_have_no_numbers_but_parameters() -> None:
    w = Value(3.0, label="w")
    f = pygradc.compile(lambda x: x * w)
    f(2.0)
    graph = stepping.describe(f.programs[0], None, 0)
    assert [node.data for node in graph.nodes if node.kind == "parameter"] == [3.0]
    assert graph.nodes[graph.root].data is None and not graph.backward


def test_rows_that_a_program_refuses() -> None:
    f = pygradc.compile(lambda x: x.log())
    f(2.0)
    with pytest.raises(FloatingPointError, match="log"):
        f.view(-1.0)
    with pytest.raises(ValueError, match="recorded for"):
        f.programs[0].view(1.0, 2.0)
    with pytest.raises(IndexError, match="output=1 of a program with 1 outputs"):
        f.view(1.0, output=1)
    h = pygradc.compile(lambda x: f.programs[0].view(2.0))
    with pytest.raises(pygradc.TraceError, match=r"view\(\) while a function is recorded"):
        h(1.0)
    g = pygradc.compile(lambda x: x.log(), errors="ignore")
    g(2.0)
    with pytest.raises(FloatingPointError, match="choose another row"):
        g.view(-1.0)


def test_a_compiled_function_is_recorded_if_need_be(tmp_path: Path) -> None:
    f = pygradc.compile(lambda x, y: x[0] * y + x[1])
    with pytest.raises(ValueError, match="isn't recorded yet"):
        f.view()
    assert '"L"' not in f.view([2.0, -3.0], 4.0, path=tmp_path / "a.html").html
    assert described_in(f.view(path=tmp_path / "b.html").html)["backward"]["total"] == []
    program = pygradc.compile(lambda: Value(2.0) * 3.0)
    assert described_in(program.view(path=tmp_path / "c.html").html)["title"] == "<lambda>"

    class Model:
        w = Value(2.0)

        @pygradc.compile
        def loss(self, x: Any) -> Any:
            return self.w * x

    assert described_in(Model().loss.view(3.0, path=tmp_path / "d.html").html)["nodes"]["data"]


# ---- The page -----------------------------------------------------------------------------------


class Scripts(HTMLParser):
    """The elements of a page, and what is in its scripts, as a browser reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.contents: list[str] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "script":
            self.contents.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"]:
            self.contents[-1] += data


def parsed(text: str) -> Scripts:
    scripts = Scripts()
    scripts.feed(text)
    return scripts


def described_in(text: str) -> Any:
    return json.loads(parsed(text).contents[0])


HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "{{dagre}}",
    "\\u003c/script> & \u2028 \u2029 '\"",
    "{0} $& $1",
]


@pytest.mark.parametrize("label", HOSTILE)
def test_labels_are_nothing_but_text(label: str) -> None:
    plain = page.page_of(describe(Value(1.0, label="x") * 2.0, "plain"))
    text = page.page_of(describe(Value(1.0, label=label) * 2.0, label))
    assert parsed(text).tags == parsed(plain).tags
    assert parsed(text).contents[1:] == parsed(plain).contents[1:]
    described = described_in(text)
    assert described["title"] == label
    assert described["nodes"]["label"][0] == " ".join(label.split())
    frame = page.View(describe(Value(1.0, label=label)))._repr_html_()
    assert parsed(frame).tags == ["iframe"]


def test_numbers_are_pythons() -> None:
    numbers = [float("nan"), float("inf"), -float("inf"), -0.0, 1.7976931348623157e308, 5e-324, 0.1]
    root = sum((Value(x) * Value(1.0) for x in numbers), Value(0.0))
    described = as_json(describe(root))
    assert {repr(x) for x in numbers} <= set(described["nodes"]["data"])
    json.dumps(described, allow_nan=False)


def test_nothing_is_loaded() -> None:
    text = page.page_of(describe(lesson()))
    found = parsed(text)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(found.tags)
    assert not {"src", "href", "srcset", "action"} & {name for name, _ in found.attributes}
    policy = next(value for name, value in found.attributes if value and "default-src" in value)
    assert policy.startswith("default-src 'none';")
    assert "url(" not in text and "@import" not in text and "sourceMappingURL" not in text
    assert "://" not in text


def test_the_licence_of_dagre_is_in_the_page() -> None:
    licence = (ASSETS / "dagre.LICENSE.txt").read_text(encoding="utf-8")
    assert "Chris Pettitt" in licence and licence in page.page_of(describe(lesson()))


def test_dagre_is_the_one_that_make_fetches() -> None:
    import hashlib

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    digest = hashlib.sha256((ASSETS / "dagre.min.js").read_bytes()).hexdigest()
    assert re.findall(r"^DAGRE_SHA256 := (\w+)$", makefile, re.MULTILINE) == [digest]
    version = re.findall(r"^DAGRE := @dagrejs/dagre@([\d.]+)$", makefile, re.MULTILINE)
    assert f'"{version[0]}"' in (ASSETS / "dagre.min.js").read_text(encoding="utf-8")


def test_every_script_is_in_the_page() -> None:
    assert {f.name for f in ASSETS.glob("*.js")} == {*page._SCRIPTS, "dagre.min.js"}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "viewing/assets/*" in project and '"pygradc.viewing",' in project


def test_in_a_notebook_the_frame_has_no_access_to_it() -> None:
    view = page.View(describe(lesson()))
    found = parsed(view._repr_html_())
    assert ("sandbox", "allow-scripts") in found.attributes
    assert dict(found.attributes)["srcdoc"] == view.html
    assert html.unescape(html.escape(view.html)) == view.html


# ---- Where it goes ------------------------------------------------------------------------------


def test_a_path_is_written_and_nothing_is_said(tmp_path: Path, capsys: Any) -> None:
    view = lesson().view(tmp_path / "lesson.html")
    assert (tmp_path / "lesson.html").read_text(encoding="utf-8") == view.html
    assert repr(view) == f"<View of 5 nodes: {tmp_path / 'lesson.html'}>"
    assert capsys.readouterr().out == "" and described_in(view.html)["title"] == "L"
    assert described_in(lesson().view(tmp_path / "b.html", title="mine").html)["title"] == "mine"
    with pytest.raises(OSError, match="missing"):
        lesson().view(tmp_path / "missing" / "a.html")


def test_a_script_says_where_the_temporary_file_is(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page.tempfile, "tempdir", str(tmp_path))
    view = lesson().view()
    assert view.path is not None and view.path.parent == tmp_path
    assert capsys.readouterr().out == f"{view!r}\n"
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # where the result is shown anyway
    lesson().view()
    assert capsys.readouterr().out == "" and len(list(tmp_path.iterdir())) == 2


def test_a_notebook_gets_no_file(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)  # type: ignore[arg-type]
    view = lesson().view()
    assert view.path is None and capsys.readouterr().out == "" and repr(view) == "<View of 5 nodes>"


def test_open_shows_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(page.webbrowser, "open", opened.append)
    lesson().view(tmp_path / "a b.html", open=True)
    assert opened == [(tmp_path / "a b.html").resolve().as_uri()]


# ---- The command --------------------------------------------------------------------------------

PROGRAM = """
import sys
from micrograd.engine import Value
a, b = Value(2.0), Value(-3.0)
model = lambda: None
for _ in range(2):
    model.loss = loss = a * b + 10
if loss:
    lr = Value(0.1)
def f():
    unseen = a * a
    return unseen
print("ran", *sys.argv[1:])
"""


def run_view(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pygradc", "view", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.unsanitized
def test_the_last_value_that_a_program_computes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = run_view(tmp_path, "program.py", "--out", "a.html", "--arguments", "x 'y z'")
    assert done.stdout == "ran x y z\na.html: 5 nodes\n"
    described = described_in((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert described["nodes"]["data"] == ["2.0", "-3.0", "-6.0", "10.0", "4.0"]
    assert described["title"] == "program.py"
    run_view(tmp_path, "program.py", "--name", "model.loss", "--out", "b.html")
    assert described_in((tmp_path / "b.html").read_text(encoding="utf-8"))["title"] == "model.loss"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a = b = c", "b"),
        ("a = 1; c: int = 2", "c"),
        ("a = 1\nfor b in x: pass", "b"),
        ("if x:\n    a = 1\nelse:\n    (a, [b, *c]) = 1", "c"),
        ("b = 1\nwith x as a: pass\ndef c(): pass", "a"),
        ("b = 1\ntry: pass\nexcept x: c = 1\nclass A:\n    a = 1", "c"),
        ("b = 1\nprint(a := 2)\nx.c = y[c] = 3", "a"),
        ("b = 1\na = 2\na = 'no Value any more'\nleaf = 3", "b"),
    ],
)
def test_the_last_assignment(source: str, name: str) -> None:
    names = {**{each: lesson() for each in "abc"}, "leaf": Value(1.0)}
    if "no Value" in source:
        names["a"] = "no Value any more"  # type: ignore[assignment]
    assert command._last(source.encode(), names) is names[name]


def test_what_cant_be_shown() -> None:
    for name, message in (
        ("unseen", "leaves no 'unseen' at top level"),
        ("f.size", "f.size: a function has no 'size'"),
        ("f", "f is a function; what can be shown is a Value"),
    ):
        with pytest.raises(CommandError, match=message):
            command._named(name, {"f": lesson})
    with pytest.raises(CommandError, match=r"assigns no Value .*--name: a$"):
        command._last(b"a = 1", {"a": Value(1.0)})


@pytest.mark.unsanitized
def test_what_cant_be_run(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0", encoding="utf-8")
    assert "ZeroDivisionError" in run_view(tmp_path, "bad.py", code=1).stderr
    done = run_view(tmp_path, "missing.py", code=1)
    assert done.stderr == "pygradc view: error: missing.py: No such file or directory\n"


@pytest.mark.unsanitized
def test_a_saved_program(tmp_path: Path) -> None:
    f = pygradc.compile(lambda x, y: x[0] * y + x[1])
    f([1.0, 2.0], 3.0)
    f.programs[0].save(tmp_path / "saved")
    run_view(tmp_path, "saved", "--row", "2,-3,4", "--out", "a.html")
    described = described_in((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert described["nodes"]["data"][described["root"]] == "5.0"
    done = run_view(tmp_path, "saved", "--row", "2,-3", code=1)
    assert "2 numbers for a program of 3 inputs" in done.stderr
    (tmp_path / "program.py").write_text(
        "import pygradc\nf = pygradc.compile(lambda x: x * x)\nf(2.0)", encoding="utf-8"
    )
    run_view(tmp_path, "program.py", "--name", "f", "--row", "3", "--out", "b.html")


# ---- In a browser -------------------------------------------------------------------------------


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    program = chromium()
    if program is None:
        pytest.skip("needs chromium")
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A function that opens a graph's page, in which nothing may fail or reach the network."""
    context = browser.new_context(viewport={"width": 1100, "height": 640})
    complaints: list[str] = []

    def opened(view: page.View) -> Any:
        path = view.save(tmp_path / "page.html")
        shown = context.new_page()
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("dialog", lambda dialog: complaints.append("a dialog"))
        shown.on(
            "request",
            lambda request: request.url != path.as_uri() and complaints.append(request.url),
        )
        shown.goto(path.as_uri())
        return shown

    yield opened
    context.close()
    assert not complaints


def texts(shown: Any) -> list[str]:
    return [text.strip() for text in shown.locator("#text p").all_inner_texts()]


def numbers_of(shown: Any, name: str) -> tuple[str, str]:
    """Data and gradient of a node, found as a user finds it."""
    shown.fill("#search", name)
    shown.press("#search", "Enter")
    assert shown.inner_text("#name").startswith(name)
    return shown.inner_text("#data"), shown.inner_text("#gradient")


@pytest.mark.once
@pytest.mark.unsanitized
@pytest.mark.forks
def test_stepping_through_a_b_c(open_page: Any, tmp_path: Path) -> None:
    shown = open_page(page.View(describe(lesson())))
    assert shown.inner_text("#title") == "L"
    shown.click("#first")
    assert shown.inner_text("#count") == "step 0 of 7: start"
    assert numbers_of(shown, "a") == ("2.0", "–")
    assert numbers_of(shown, "L") == ("not computed yet", "–")

    shown.click("#forward")
    assert texts(shown) == ["n2 = a * b", "= 2.0 * (-3.0)", "= -6.0"]
    row = [shown.inner_text(f"#op-{part}") for part in ("name", "value", "da", "db", "doc")]
    assert row == ["mul", "a * b", "b", "a", "product"]
    shown.click("#forward")
    assert texts(shown) == ["L = n2 + c", "= (-6.0) + 10.0", "= 4.0"]
    assert shown.inner_text("#op-doc") == "sum"
    assert numbers_of(shown, "L") == ("4.0", "–")

    shown.click("#forward")
    assert texts(shown)[0] == "L.grad = 1.0"
    steps = []
    for _ in range(4):
        shown.click("#forward")
        steps.append(texts(shown))
    assert steps[0] == ["n2.grad += d L / d n2 · L.grad", "+= 1.0 · 1.0 = 1.0", "n2.grad = 1.0"]
    assert steps[2] == ["a.grad += d n2 / d a · n2.grad", "+= (-3.0) · 1.0 = -3.0", "a.grad = -3.0"]
    assert [step[-1] for step in steps[1::2]] == ["c.grad = 1.0", "b.grad = 2.0"]
    assert shown.is_disabled("#forward")
    assert numbers_of(shown, "a") == ("2.0", "-3.0") and numbers_of(shown, "b") == ("-3.0", "2.0")

    shown.click("#back")
    assert numbers_of(shown, "b") == ("-3.0", "0.0") and numbers_of(shown, "a") == ("2.0", "-3.0")
    shown.screenshot(path=tmp_path / "screen.png")
    assert (tmp_path / "screen.png").stat().st_size > 5_000


@pytest.mark.once
@pytest.mark.unsanitized
@pytest.mark.forks
def test_keys_mouse_and_layers(open_page: Any) -> None:
    random.seed(2)
    model = pygradc.nn.MLP(3, [6, 6, 1])
    shown = open_page(page.View(describe(model([0.1, 0.2, 0.3]) * 2.0)))
    boxes = "viewer.drawing.shown.boxes"
    collapsed = shown.evaluate(f"{boxes}.length")
    assert collapsed == 5 and shown.is_disabled("#collapse")
    shown.click("#expand")
    everything = shown.evaluate("viewer.model.count")
    assert shown.evaluate(f"{boxes}.length") == everything > 100
    shown.keyboard.press("c")
    assert shown.evaluate(f"{boxes}.length") == collapsed
    shown.keyboard.press("f")

    def middle_of(box: str) -> dict[str, float]:
        at = shown.evaluate(f"viewer.drawing.onCanvas({box})")
        corner = shown.locator("#graph").bounding_box()
        return {"x": corner["x"] + at["x"], "y": corner["y"] + at["y"]}

    layer = middle_of(f"{boxes}.find((box) => box.group === 1)")
    shown.mouse.dblclick(**layer)
    assert collapsed < shown.evaluate(f"{boxes}.length") < everything

    before = shown.evaluate("viewer.drawing.view")
    shown.mouse.move(300, 300)
    shown.mouse.wheel(0, -300)
    shown.wait_for_function(f"viewer.drawing.view.scale > {before['scale']}")
    shown.mouse.down()
    shown.mouse.move(340, 330)
    shown.mouse.up()
    assert shown.evaluate("viewer.drawing.view.x") < before["x"]

    shown.keyboard.press("f")
    root = middle_of("viewer.drawing.boxOf(viewer.model.root)")
    shown.mouse.click(**root)
    assert shown.inner_text("#op-name") == "mul"
    shown.keyboard.press("Home")
    shown.keyboard.press("ArrowRight")
    assert shown.inner_text("#count").startswith("step 1 of")
    shown.fill("#search", "tanh")
    assert shown.inner_text("#matches") == "13 matches"


@pytest.mark.once
@pytest.mark.unsanitized
@pytest.mark.forks
def test_the_frame_of_a_notebook(browser: Any, tmp_path: Path) -> None:
    outside = "<p id='secret'>of the notebook</p>" + page.View(describe(lesson()))._repr_html_()
    (tmp_path / "notebook.html").write_text(outside, encoding="utf-8")
    shown = browser.new_page()
    shown.goto((tmp_path / "notebook.html").as_uri())
    (frame,) = shown.frames[1:]
    frame.click("#back")
    assert frame.inner_text("#count") == "step 6 of 7: backward"
    reach = "() => { try { return parent.document.title; } catch (e) { return e.name; } }"
    assert frame.evaluate(reach) == "SecurityError"
    shown.close()


@pytest.mark.once
@pytest.mark.unsanitized
@pytest.mark.forks
def test_hostile_labels_and_odd_numbers_in_a_browser(open_page: Any) -> None:
    values = [Value(x, label=label) for x, label in zip((math.nan, math.inf, -0.0, 1e300), HOSTILE)]
    shown = open_page(page.View(describe(sum(v * 1.0 for v in values), HOSTILE[0])))
    assert shown.inner_text("#title") == HOSTILE[0]
    assert shown.locator("img").count() == 0
    assert numbers_of(shown, HOSTILE[0])[0] == "nan"
    assert numbers_of(shown, HOSTILE[2])[0] == "-0.0"


@pytest.mark.once
@pytest.mark.unsanitized
@pytest.mark.forks
def test_ten_thousand_nodes_open(open_page: Any) -> None:
    rng = random.Random(4)
    values = [Value(rng.random()) for _ in range(100)]
    while len(values) < 10_000:
        values.append(rng.choice(values[-300:]) * 0.5 + 0.1)
    shown = open_page(page.View(describe(sum(values))))
    assert shown.evaluate("viewer.model.count") > 10_000
    placed = shown.evaluate("viewer.drawing.shown.boxes.map((b) => `${b.x} ${b.y}`)")
    assert len(set(placed)) == len(placed)
    right = "({from, to}) => viewer.drawing.shown.boxes[from].x < viewer.drawing.shown.boxes[to].x"
    assert shown.evaluate(f"viewer.drawing.shown.edges.every({right})")
    assert shown.evaluate("viewer.drawing.view.scale") >= 0.4
