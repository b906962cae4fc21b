"""How do Values, models, programs, histories and optimizers look in a notebook and in a terminal?

HTML is parsed: what is read in its cells is compared with what the objects hold.
"""

from __future__ import annotations

import json
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import pygradc
from pygradc import History, Value, nn, optim
from pygradc.core import notebook

pytestmark = pytest.mark.unsanitized
ROOT = Path(pygradc.__file__).resolve().parent.parent


class Page(HTMLParser):
    """The cells of the tables, row by row, and the tags; each that opens must close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def page(item: Any) -> Page:
    return Page(item._repr_html_())


def everything() -> Iterator[Any]:
    model = nn.MLP(2, [3, 1], seed=0)
    y = model([0.5, 2.0])
    y.backward()
    f = pygradc.compile(lambda x: model(x) ** 2)
    yield from (y, model, model.layers[0], model.layers[0].neurons[0], nn.Embedding(3, 2, seed=0))
    yield f
    f([1.0, 2.0])
    yield from (f, *f.programs, History([3.0, 2.0, 1.0]))


# ---- HTML ----------------------------------------------------------------------------------------


def test_html_is_small_complete_and_fits_any_theme() -> None:
    for item in everything():
        text = item._repr_html_()
        assert len(text) < 6000 and page(item).text
        assert not re.search(r"<(script|style|link|img)|https?:|@import|url\(", text)
        colours = {*re.findall(r"(?:color|background|stroke)[:=]\"?([^;\"]+)", text)}
        assert colours <= {"inherit", "none", "currentColor"}
        assert "#" not in text and "black" not in text and "white" not in text


def test_a_value_and_its_operands() -> None:
    a, b = Value(2.0, label="a"), Value(-3.0)
    y = a * b
    y.label = "y"
    y.backward()
    found = page(y)
    assert found.rows == [
        ["", "op", "data", "grad"],
        ["y", "*", "-6.0", "1.0"],
        ["a", "", "2.0", "-3.0"],
        ["operand 2", "", "-3.0", "2.0"],
    ]
    assert page(b).rows[1:] == [["this", "", "-3.0", "2.0"]]


def test_labels_and_ops_are_escaped() -> None:
    label = "<script>alert('x')</script> & \"y\""
    y = Value(1.0, (Value(2.0, label=label),), "<b>")
    text = y._repr_html_() or ""
    assert "<script" not in text and "<b>&lt;" not in text
    assert page(y).rows[1][1] == "<b>" and page(y).rows[2][0] == label


def test_of_a_wide_node_the_first_and_the_last_operands() -> None:
    y = Value(0.0, [Value(float(i)) for i in range(1000)], "custom")
    rows = page(y).rows
    assert len(rows) == 1 + 10 + 1 and rows[6][0] == "… 991 more"
    assert rows[-1][:3] == ["operand 1000", "", "999.0"]


def test_classes_that_show_themselves_keep_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Value):
        def __repr__(self) -> str:
            return "mine"

    class Plain(Value):
        pass

    class Model(nn.MLP):
        def __repr__(self) -> str:
            return "mine"

    assert Own(1.0)._repr_html_() is None and Model(1, [1])._repr_html_() is None
    assert Plain(1.0)._repr_html_() is not None
    monkeypatch.setattr(Value, "__repr__", lambda self: "patched")
    assert Value(1.0)._repr_html_() is None


def test_a_value_without_a_number_is_shown_as_text() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        y = x * 2.0
        seen.extend([y._repr_html_(), repr(y), y])
        return y

    pygradc.compile(f)(3.0)
    assert seen[0] is None and "being recorded" in seen[1]
    assert seen[2]._repr_html_() is None  # it outlived the recording


def test_a_model_is_its_summary() -> None:
    model = nn.MLP(2, [4, 1], seed=0)
    lines = [re.split(r"  +", line.strip()) for line in model.summary().splitlines()]
    rows = [[cell for cell in row if cell] for row in page(model).rows]
    assert rows == lines and rows[-1][2] == "17"
    assert page(nn.Sequential(*[nn.Linear(1, 1) for _ in range(50)])).rows[11][0] == "… 31 more"


def test_a_program_and_a_compiled_function() -> None:
    w = Value(2.0, label="<w>")
    f = pygradc.compile(lambda x, y: w * x + y)
    assert "not recorded so far" in page(f).text
    f(1.0, 2.0)
    (program,) = f.programs
    found = page(program)
    assert found.rows[1][:5] == ["a number, a number", "2", "1", "1", str(len(program))]
    assert found.rows == page(f).rows
    assert str(program) in found.text and "&lt;w&gt;" in program._repr_html_()


def test_the_code_of_a_long_program_is_not_listed() -> None:
    def long(x: Any) -> Any:
        for _ in range(600):
            x = (x + 1.0).tanh()
        return x

    f = pygradc.compile(long)
    f(0.5)
    assert len(f.programs[0]) > 500 and "details" not in page(f.programs[0]).tags


# ---- the history ---------------------------------------------------------------------------------


def trained(epochs: int) -> History:
    w = Value(1.0)
    f = pygradc.compile(lambda x: (w * x) ** 2)
    held, metric = ([0.5],), {"<size>": lambda: abs(w.data)}
    how: dict[str, Any] = {"epochs": epochs, "validation_data": held, "metrics": metric}
    return pygradc.fit(f, [1.0, 2.0], optim.SGD([w], lr=0.01), **how)


@pytest.mark.parametrize("epochs", [1, 7, 8, 9, 10, 11, 500])
def test_a_history_is_ten_lines_at_most(epochs: int) -> None:
    history = trained(epochs)
    lines = history.summary().splitlines()
    assert lines[0].split() == ["epoch", "loss", "validation_loss", "<size>", "lr", "seconds"]
    assert len(lines) <= 10 and len(repr(history).splitlines()) == 1
    for line, epoch in ((lines[1], 0), (lines[-1], epochs - 1)):
        number, loss, validation, size, lr, _ = line.split()
        assert number == str(epoch + 1) and lr == "0.01"
        assert float(loss) == pytest.approx(history[epoch], rel=1e-3)
        assert float(validation) == pytest.approx(history.validation_loss[epoch], rel=1e-3)
        assert float(size) == pytest.approx(history.metrics["<size>"][epoch], rel=1e-3)
    assert len(lines) == 1 + epochs if epochs <= 8 else lines[5].strip() == "..."
    rows = page(history).rows
    assert rows[0] == lines[0].split()
    assert rows[1] == lines[1].split() and rows[-1] == lines[-1].split()


def test_a_history_is_still_a_list() -> None:
    history = History([0.5, 0.25])
    assert history == [0.5, 0.25] and repr(history) == "[0.5, 0.25]" == repr([*history]) == str(
        history
    )
    assert json.dumps(history) == "[0.5, 0.25]" and pickle.loads(pickle.dumps(history)) == history
    assert history.summary().splitlines()[1:] == ["    1   0.5", "    2  0.25"]
    longer = History(float(i) for i in range(100))
    assert repr(longer) == "[0.0, 1.0, 2.0, ... 94 more ..., 97.0, 98.0, 99.0]"
    assert longer == [*longer] and repr(longer[:]) == repr([*longer])
    assert repr(History()) == "[]" and History().summary() == "epoch  loss"
    unequal = History([1.0])
    unequal.append(2.0)
    unequal.lr = [0.1]
    assert unequal.summary().splitlines()[-1].split() == ["2", "2"]


def points(text: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'points="([^"]*)"', text)
    return [[tuple(map(float, p.split(","))) for p in line.split()] for line in found]  # type: ignore[misc]


def test_the_curves() -> None:
    (line,) = points(notebook.curves({"loss": [4.0, 3.0, 0.0]}))
    assert line == [(2.0, 2.0), (120.0, 16.0), (238.0, 58.0)]
    both = notebook.curves({"loss": [1.0, 1.0], "<v>": [0.0, 2.0]})
    assert [at for _, at in points(both)[0]] == [30.0, 30.0] and both.count("dasharray") == 1
    assert "&lt;v&gt;" in both
    gap = points(notebook.curves({"loss": [1.0, math.nan, 1e308, -1e308, math.inf]}))
    assert [len(line) for line in gap] == [1, 2] and gap[1][1][1] == 58.0
    assert notebook.curves({"loss": [1.0]}) == notebook.curves({"loss": [math.nan] * 3}) == ""
    assert len(points(notebook.curves({"loss": [0.5] * 100_000}))[0]) <= 240


# ---- text ----------------------------------------------------------------------------------------


def test_the_lessons_texts_are_unchanged() -> None:
    assert repr(Value(2.0)) == "Value(data=2.0, grad=0.0)"
    assert str(nn.MLP(2, [1])) == "MLP of [Layer(2, 1, 'tanh')]"


@pytest.mark.parametrize(
    "make, shown",
    [
        (lambda p: optim.SGD(p, lr=0.1), "SGD(lr=0.1, 3 parameters)"),
        (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), "SGD(lr=0.1, momentum=0.9, 3 parameters)"),
        (lambda p: optim.SGD(p[:1], 1), "SGD(lr=1.0, 1 parameter)"),
        (lambda p: optim.Adam(p), "Adam(lr=0.001, 3 parameters)"),
        (
            lambda p: optim.Adam(p, betas=(0.5, 0.9), decoupled=True),
            "Adam(lr=0.001, betas=(0.5, 0.9), decoupled=True, 3 parameters)",
        ),
        (lambda p: optim.AdamW(p, 0.5), "AdamW(lr=0.5, 3 parameters)"),
    ],
)
def test_optimizers_say_what_is_set(make: Any, shown: str) -> None:
    assert repr(make([Value(1.0), Value(2.0), Value(3.0)])) == shown


def test_optimizers_of_ones_own_say_it_too() -> None:
    class Signs(optim.Optimizer):
        def __init__(self, parameters: Any, scales: Any = (1.0,), **more: Any) -> None:
            super().__init__(parameters)
            self.scales = scales

    import numpy as np

    signs = Signs([Value(1.0)], np.array([1.0, 2.0]))
    assert repr(signs) == "Signs(scales=array([1., 2.]), 1 parameter)"
    assert repr(Signs.__new__(Signs)) == "Signs(0 parameters)"
    optimizer = optim.SGD([Value(1.0)], lr=0.1)
    optimizer.lr = 0.5
    assert repr(optimizer) == "SGD(lr=0.5, 1 parameter)"


def test_models_of_ones_own_say_how_large_they_are() -> None:
    class Line(nn.Module):
        def __init__(self) -> None:
            self.w, self.b = Value(1.0), Value(0.0)

    class Broken(nn.Module):
        def parameters(self) -> list[Value]:
            return [self.w]  # type: ignore[attr-defined]

    assert repr(Line()) == "<Line: 2 parameters>" and "Line object" not in str(Line())
    assert "Broken object at" in repr(Broken())  # a repr doesn't fail


def test_an_import_needs_neither_html_nor_matplotlib() -> None:
    code = "import sys, numpy; before = {*sys.modules}; import pygradc, pygradc.plots\n"
    code += "print(*sorted({'html', 'matplotlib', 'graphviz'} & ({*sys.modules} - before)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "\n"
