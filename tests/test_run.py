"""Does `python -m pygradc run` run a program as Python does, only on pygradc's Value?

Programs are run twice in processes of their own, by Python and by pygradc; output, exit code and,
but for the lines that begin with "pygradc:", stderr must be the same.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_clients import CLIENTS, engine

import pygradc
from pygradc import Value
from pygradc.compat import _replace
from pygradc.compat._replace import replaced

ROOT = Path(pygradc.__file__).resolve().parent.parent


class Run(NamedTuple):
    code: int
    out: str
    err: str  # without pygradc's own lines
    said: list[str]  # pygradc's own lines, without "pygradc: "


def start(*command: str, cwd: Path, **variables: str) -> Run:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "", **variables}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )
    lines = done.stderr.splitlines()
    said = [line.partition(": ")[2] for line in lines if line.startswith("pygradc: ")]
    rest = [line for line in lines if not line.startswith("pygradc: ")]
    return Run(done.returncode, done.stdout, "\n".join(rest), said)


class Program:
    """A program in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, program: str, **modules: str) -> None:
        """Modules of packages are written a_b for a/b.py."""
        for name, text in {"program": program, **modules}.items():
            path = self.folder / (name.replace("_", "/", 1) + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def by_python(self, *arguments: str, **variables: str) -> Run:
        return start("program.py", *arguments, cwd=self.folder, **variables)

    def by_pygradc(self, *arguments: str, options: tuple[str, ...] = (), **variables: str) -> Run:
        command = ("-m", "pygradc", "run", *options, "program.py", *arguments)
        return start(*command, cwd=self.folder, **variables)

    def same(self, *arguments: str, **variables: str) -> Run:
        """Both ways; asserts that nothing differs, and returns what pygradc gave."""
        theirs, ours = (run(*arguments, **variables) for run in (self.by_python, self.by_pygradc))
        assert ours[:3] == theirs[:3]
        return ours


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def source(engine_name: str, client: str = "") -> str:
    """A program with a class Value of its own."""
    own = (CLIENTS / "engines" / f"{engine_name}.py").read_text(encoding="utf-8")
    if not client:
        return own
    text = (CLIENTS / "programs" / f"{client}.py").read_text(encoding="utf-8")
    return own + "\n\n" + text.replace("from engine import Value\n", "")


# A few lines that show whether Value is pygradc's.
WHICH = "\nimport pygradc\nprint(Value is pygradc.Value)\n"

# ---- whole programs -----------------------------------------------------------------------------

PROGRAMS = sorted(path.stem for path in (CLIENTS / "programs").glob("*.py"))


@pytest.mark.parametrize("client", PROGRAMS)
@pytest.mark.parametrize("protocol", ["closures", "local_grads"])
def test_a_program_prints_the_same_digits(program: Program, protocol: str, client: str) -> None:
    text = source(protocol, client)
    program.write(program=text)
    run = program.same()
    line = 1 + text[: text.index("class Value")].count("\n")
    assert run.code == 0 and len(re.findall(r"\d\.\d{8,}", run.out)) > 5
    assert run.said[0].startswith(
        f"program.py:{line}: class Value is pygradc's: its data are floats"
    )
    kept = "_below, _lift, _node, tanh" if protocol == "closures" else "tanh"
    assert run.said[1:] == [f"program.py:{line}: kept of the program's: {kept}"]


def test_the_class_really_is_replaced(program: Program) -> None:
    program.write(program=source("local_grads") + WHICH)
    assert program.by_python().out == "False\n"
    assert program.by_pygradc().out == "True\n"


def test_keep_leaves_it(program: Program) -> None:
    program.write(program=source("local_grads") + WHICH)
    run = program.by_pygradc(options=("--keep",))
    assert (run.out, run.said) == ("False\n", [])


def test_micrograd_is_pygradcs(program: Program) -> None:
    text = (
        "from micrograd.engine import Value\nfrom micrograd.nn import MLP\n"
        "import micrograd\nprint(MLP(2, [2, 1]), MLP(1, [1])([Value(2.0)]).data)"
    )
    program.write(program=text + WHICH)
    run = program.by_pygradc()
    assert "Layer of [LinearNeuron(2)]" in run.out and run.out.endswith("True\n")
    assert program.by_python().code == 1


def test_micrograd_that_is_installed_is_passed_by(program: Program, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    elsewhere = Program(tmp_path / "site")
    elsewhere.write("", micrograd___init__="", micrograd_engine="Value = 'another'")
    program.write(program="from micrograd.engine import Value\nprint(Value)")
    path = os.pathsep.join([str(ROOT), str(elsewhere.folder)])
    assert program.by_python(PYTHONPATH=path).out == "another\n"
    run = program.by_pygradc(PYTHONPATH=path)
    assert run.out == "<class 'pygradc.value.Value'>\n"
    assert run.said == [f"micrograd is pygradc's, not the one in {elsewhere.folder / 'micrograd'}"]


# ---- modules beside the program -----------------------------------------------------------------


def test_an_engine_beside_the_program_is_replaced_too(program: Program) -> None:
    program.write(
        engine=source("closures") + "\nOTHER = 5\n",
        net_layers="from engine import Value, OTHER\nw = Value(3.0)\n",
        program="from net.layers import w, Value, OTHER\nprint((w * 2).relu().data, OTHER)" + WHICH,
    )
    run = program.by_pygradc()
    assert run.out == "6.0 5\nTrue\n"
    assert [line.partition(":")[0] for line in run.said] == ["engine.py", "engine.py"]
    again = program.by_python()  # what was compiled for pygradc must not be met by Python
    assert again.out == "6.0 5\nFalse\n"
    assert program.by_pygradc().out == run.out


def test_a_micrograd_of_the_programs_own_keeps_its_networks(program: Program) -> None:
    program.write(
        micrograd___init__="",
        micrograd_engine=source("closures"),
        micrograd_nn="from micrograd.engine import Value\nclass MLP: name = 'mine'\n",
        program="from micrograd.engine import Value\nfrom micrograd.nn import MLP\nprint(MLP.name)"
        + WHICH,
    )
    run = program.by_pygradc()
    assert run.out == "mine\nTrue\n"
    assert run.said[0].startswith("micrograd/engine.py:6: class Value is pygradc's")


def test_a_folder_that_only_has_the_name_does_not_hide_pygradcs(program: Program) -> None:
    program.write(
        micrograd___init__="",
        micrograd_engine="raise SystemError('not an engine')",
        program="from micrograd.engine import Value" + WHICH,
    )
    assert program.by_pygradc().out == "True\n"


# ---- like `python program.py` -------------------------------------------------------------------


def test_a_program_finds_itself_as_under_python(program: Program) -> None:
    text = (
        "'''A docstring.'''\n"
        "from __future__ import annotations\n"
        "import sys, os, inspect, beside, pickle\n"
        "class Thing:\n    x: Missing = 1\n"
        "print(sys.argv, __name__, __file__, __doc__, __spec__, __package__)\n"
        "print(globals().get('__annotations__'))\n"
        "print(os.path.basename(sys.path[0]), beside.x, __builtins__.__name__, type(__loader__))\n"
        "print(sys.modules['__main__'].Thing is Thing, inspect.getsource(Thing))\n"
        "print(type(pickle.loads(pickle.dumps(Thing()))) is Thing, 'run' in globals())\n"
    )
    program.write(program=text, beside="x = 3")
    run = program.same("--keep", "-x", "a b", "--", "-h")
    assert run.out.startswith("['program.py', '--keep', '-x', 'a b', '--', '-h'] __main__ /")


def test_a_program_elsewhere_and_through_a_link(program: Program, tmp_path: Path) -> None:
    program.write(program="import sys, beside\nprint(sys.argv, beside.x)", beside="x = 3")
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.py"
    link.symlink_to(program.folder / "program.py")
    for path in ("../program.py", str(link)):
        theirs = start(path, "1", cwd=link.parent)
        ours = start("-m", "pygradc", "run", path, "1", cwd=link.parent)
        assert ours == theirs and theirs.out.endswith("'1'] 3\n")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("raise SystemExit", 0),
        ("import sys; sys.exit(7)", 7),
        ("raise SystemExit('a message')", 1),
        ("raise SystemExit(None)", 0),
        ("import os; os._exit(9)", 9),
        ("1 / 0", 1),
        ("import atexit; atexit.register(print, 'at exit'); undefined", 1),
        ("import sys; sys.excepthook = lambda *e: print(e[0], e[2].tb_lineno); 1 / 0", 1),
        ("raise ValueError('x') from KeyError('y')", 1),
    ],
)
def test_exit_codes(program: Program, statement: str, code: int) -> None:
    program.write(program=statement)
    assert program.same().code == code


def test_interrupted(program: Program) -> None:
    program.write(program="import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('later')")
    assert program.same().code == -signal.SIGINT


def test_tracebacks_show_the_programs_lines_only(program: Program) -> None:
    text = source("closures") + (
        "\n\ndef deep(n):\n    return deep(n - 1) if n else scale(Value(2.0))\n\n\n"
        "def scale(v):\n    return v * [1][3]\n\n\ndeep(1)\n"
    )
    program.write(program=text)
    run = program.same()
    assert run.code == 1 and run.err.count("in deep") == 2 and "IndexError" in run.err


def test_an_error_of_an_op_is_at_the_programs_line(program: Program) -> None:
    text = source("local_grads") + "\n\nx = Value(0.0)\nprint('so far')\ny = 3 / x\n"
    program.write(program=text)
    theirs, ours = program.by_python(), program.by_pygradc()
    line = text.splitlines().index("y = 3 / x") + 1
    assert (ours.code, ours.out) == (theirs.code, theirs.out) == (1, "so far\n")
    assert re.findall(r'File "(.*)", line (\d+)', ours.err) == [
        (str(program.folder / "program.py"), str(line))
    ]
    assert ours.err.splitlines()[-1].startswith("ZeroDivisionError")
    assert theirs.err.splitlines()[-1].startswith("ZeroDivisionError")


@pytest.mark.parametrize(
    "text", ["x = = 3", "def f(:\n  pass", "x = 'a", "\tx\n  y", "x = ) # \xe9"]
)
def test_syntax_errors(program: Program, text: str) -> None:
    program.write(program=text)
    run = program.same()
    assert run.code == 1 and "Error" in run.err
    program.write(program="import broken", broken="class Value: pass\n" + text)
    assert "broken.py" in program.same().err


def test_encodings(program: Program) -> None:
    text = "# -*- coding: latin-1 -*-\nprint('\xe9')\n"
    (program.folder / "program.py").write_bytes(text.encode("latin-1"))
    assert program.same().out == "\xe9\n"
    (program.folder / "program.py").write_bytes(text.encode("latin-1")[26:])
    theirs, ours = program.by_python(), program.by_pygradc()
    assert ours.code == theirs.code == 1 and "SyntaxError" in ours.err


@pytest.mark.parametrize("path", ["missing.py", "folder", "missing/program.py"])
def test_a_program_that_cannot_be_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    run = start("-m", "pygradc", "run", path, cwd=tmp_path)
    assert (run.code, run.out, run.err) == (2, "", "")
    assert len(run.said) == 1 and run.said[0].startswith(f"can't open file '{path}'")


def test_no_program(tmp_path: Path) -> None:
    run = start("-m", "pygradc", "run", cwd=tmp_path)
    assert run.code == 2 and "PROGRAM" in run.err


# ---- which classes are replaced, and what is kept -----------------------------------------------


@pytest.fixture(autouse=True)
def as_before() -> Any:
    yield
    _replace.restore()


def changed(protocol: str, **members: Any) -> Any:
    """The class of this protocol with other members; None takes one away."""
    cls = engine(protocol)
    for name, member in members.items():
        if member is None:
            delattr(cls, name)
        else:
            setattr(cls, name, member)
    return cls


def replace(cls: Any, keywords: tuple[str, ...] = ()) -> Any:
    return replaced(cls, "program.py", 3, keywords)


@pytest.mark.parametrize("protocol", ["closures", "local_grads"])
def test_both_protocols_are_replaced(protocol: str, capsys: Any) -> None:
    assert replace(engine(protocol)) is Value
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("pygradc: program.py:3: class Value is pygradc's")


def through_exp(self: Any) -> Any:
    import math

    e = math.exp(2 * self.data)
    y = (e - 1) / (e + 1)
    return type(self)(y, (self,), (1 - y**2,))


def slope_of_result(self: Any) -> Any:
    """Where y is near 1 this slope has lost digits, which pygradc's has."""
    import math

    y = math.tanh(self.data)
    return type(self)(y, (self,), (1 - y * y,))


def leaky(self: Any) -> Any:
    return type(self)(max(0.01 * self.data, self.data), (self,), (1.0 if self.data > 0 else 0.01,))


def one_at_zero(self: Any) -> Any:
    return type(self)(max(0, self.data), (self,), (float(self.data >= 0),))


def quotient(self: Any, other: Any) -> Any:
    other = other if isinstance(other, type(self)) else type(self)(other)
    slopes = (1 / other.data, -self.data / other.data**2)
    return type(self)(self.data / other.data, (self, other), slopes)


def clamped_log(self: Any) -> Any:
    import math

    x = max(self.data, 1e-12)
    return type(self)(math.log(x), (self,), (1 / x,))


def wrong_slope(self: Any) -> Any:
    import math

    y = math.exp(self.data)
    return type(self)(y, (self,), (y * (1 + 1e-15),))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("tanh", through_exp),
        ("tanh", slope_of_result),
        ("relu", leaky),
        ("relu", one_at_zero),
        ("__truediv__", quotient),
        ("log", clamped_log),
        ("exp", wrong_slope),
        ("softplus", lambda self: (self.exp() + 1).log()),
        ("__repr__", lambda self: f"<{self.data}>"),
        ("__str__", lambda self: "a Value"),
        ("__iadd__", lambda self, other: self + other * 2),
        ("sigmoid", lambda self, slope: self * slope),
        ("__lt__", lambda self, other: self.data <= other.data),
    ],
)
def test_what_differs_is_kept(name: str, method: Callable[..., Any], capsys: Any) -> None:
    before = vars(Value).get(name)
    assert replace(changed("local_grads", **{"tanh": None, name: method})) is Value
    assert vars(Value)[name] is method
    assert capsys.readouterr().err.endswith(f"kept of the program's: {name}\n")
    _replace.restore()
    assert vars(Value).get(name) is before


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("__sub__", lambda self, other: type(self)(self.data - other.data, (self, other), (1, -1))),
        ("__neg__", lambda self: type(self)(-self.data, (self,), (-1,))),
        ("sigmoid", lambda self: 1 / 0),
        ("__repr__", lambda self: f"Value(data={self.data}, grad={self.grad})"),
        ("__lt__", lambda self, other: self.data < getattr(other, "data", other)),
        ("__hash__", lambda self: id(self)),
        ("__eq__", lambda self, other: self is other),
    ],
)
def test_what_gives_the_same_bits_is_pygradcs(name: str, method: Any, capsys: Any) -> None:
    assert replace(changed("local_grads", **{"tanh": None, name: method})) is Value
    assert "kept" not in capsys.readouterr().err


def test_equality_by_data_is_kept_with_its_hash() -> None:
    cls = changed("local_grads", __eq__=lambda a, b: a.data == b.data, __hash__=lambda a: id(a))
    assert replace(cls) is Value
    a = Value(1.0)
    assert a == Value(1.0) and hash(a) == id(a)
    _replace.restore()
    assert Value(1.0) != Value(1.0)


def array_data(self: Any, data: Any, children: Any = (), local_grads: Any = ()) -> None:
    import numpy as np

    self.data, self.grad = np.array(data), 0
    self._children, self._local_grads = children, local_grads


def labelled(self: Any, data: Any, _children: Any = (), _op: str = "", label: str = "") -> None:
    self.data, self.grad, self._op, self.label = data, 0, _op, label or str(data)
    self._prev, self._backward = tuple(_children), lambda: None


def numbered(self: Any, data: Any, _children: Any = (), _op: str = "") -> None:
    labelled(self, data, _children, _op)
    self.label, self.number = "", id(self)


def shape_of(self: Any, data: Any, shape: Any = (), dtype: Any = None) -> None:
    pass


def from_zero(self: Any) -> None:
    order = []
    stack = [self]
    while stack:
        v = stack.pop()
        v.grad = 0
        order.append(v)
        stack.extend(v._children)
    engine("local_grads").backward(self)


@pytest.mark.parametrize(
    ("protocol", "members", "why"),
    [
        ("local_grads", {"__init__": shape_of}, "its constructor takes (data"),
        ("local_grads", {"__init__": array_data}, "its data are of type ndarray"),
        ("closures", {"__init__": labelled}, "its label is '2.5'"),
        ("closures", {"__init__": numbered}, "its attribute number"),
        ("local_grads", {"backward": from_zero}, "its backward() does something else"),
        ("local_grads", {"backward": lambda self, seed=1: None}, "its backward() takes arguments"),
        ("local_grads", {"backward": None}, "it has no backward of its own"),
        ("local_grads", {"__add__": lambda a, b: a * b}, "its backward() does something else"),
        ("local_grads", {"__radd__": lambda a, b: a * 3}, "__radd__ give other numbers"),
        ("local_grads", {"__getattr__": lambda self, name: 0}, "it defines __getattr__ itself"),
        ("closures", {"data": property(lambda self: 1)}, "it defines data itself"),
        ("closures", {"relu": lambda self: print("relu") or self}, "its methods print"),
        ("local_grads", {"_push": lambda self: None}, "pygradc's Value has another _push"),
        ("closures", {"__add__": lambda a, b: 1 / 0}, "2.0 times 7.0, or its backward(), raises"),
    ],
)
def test_what_does_not_fit_is_left_as_it_is(
    protocol: str, members: dict[str, Any], why: str, capsys: Any
) -> None:
    before = dict(vars(Value))
    cls = changed(protocol, **members)
    assert replace(cls) is cls
    assert dict(vars(Value)) == before
    assert f"pygradc: program.py:3: class Value is left as it is: {why}" in capsys.readouterr().err


def test_keywords_that_pygradcs_constructor_lacks_are_noticed(capsys: Any) -> None:
    cls = engine("closures")
    assert replace(cls, ("_prev", "data")) is cls
    assert "the program passes _prev= to its constructor" in capsys.readouterr().err
    assert replace(cls, ("_children", "_op", "label", "data")) is Value


def test_a_class_with_a_base_is_left(capsys: Any) -> None:
    class Child(engine("closures")):  # type: ignore[misc]
        pass

    assert replace(Child) is Child
    assert "it has base classes" in capsys.readouterr().err


def with_moments(self: Any, data: Any, _children: Any = (), _op: str = "") -> None:
    labelled(self, data, _children, _op)
    self.label, self.m, self.colour = "", 0.0, None


def test_attributes_with_a_constant_default_are_the_classs(capsys: Any) -> None:
    assert replace(changed("closures", __init__=with_moments)) is Value
    assert "kept of the program's: _below, _lift, _node, colour, m, tanh" in capsys.readouterr().err
    a, b = Value(1.0), Value(2.0)
    a.m = 3.0
    assert (a.m, b.m, (a + b).m, a.colour) == (3.0, 0.0, 0.0, None)


def other_names(self: Any, data: Any, children: Any = (), local_grad: Any = ()) -> None:
    labelled(self, data, children)
    self.label, self.prev, self.op, self.children = "", self._prev, self._op, children
    self._local_grad = local_grad


def test_other_names_for_the_graph_can_be_read() -> None:
    assert replace(changed("closures", __init__=other_names)) is Value
    a = Value(2.0)
    out = Value(6.0, (a,), (3.0,))
    assert (out.children, out.prev, out._local_grad, (a * a).op) == ((a,), {a}, (3.0,), "*")


def test_random_numbers_of_the_program_stay_as_they_are() -> None:
    import random

    import numpy as np

    def dropped(self: Any) -> Any:
        return self * (random.random() + np.random.rand())

    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    replace(changed("local_grads", relu=dropped))
    assert (random.random(), np.random.rand()) == expected


def test_a_class_that_is_defined_again_takes_the_place_of_the_first() -> None:
    replace(changed("local_grads", __repr__=lambda self: "first"))
    replace(changed("local_grads", softplus=lambda self: 1))
    assert repr(Value(1.0)) != "first" and Value(1.0).softplus() == 1


def test_a_class_that_is_defined_again_is_compared_with_pygradcs(capsys: Any) -> None:
    for _ in range(2):
        assert replace(changed("local_grads", tanh=through_exp)) is Value
        assert vars(Value)["tanh"] is through_exp
    misfit = changed("local_grads", backward=from_zero)
    assert replace(misfit) is misfit
    assert vars(Value)["tanh"] is through_exp  # of the class before, whose Values may still be used


def test_classes_of_two_modules_do_not_mix(capsys: Any) -> None:
    assert replace(changed("local_grads", __repr__=lambda self: "first")) is Value
    other = changed("local_grads", softplus=lambda self: 1)
    assert replaced(other, "other.py", 9, ()) is other
    assert "that of program.py:3 has other methods" in capsys.readouterr().err
    assert repr(Value(1.0)) == "first"
