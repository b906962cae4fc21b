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
from pathlib import Path
from typing import NamedTuple

import pytest
from test_clients import CLIENTS

import pygradc

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
    said = [told for told in run.said if not told.startswith("micrograd is pygradc's")]
    assert said[0].startswith(f"program.py:{line}: class Value is pygradc's: its data are floats")
    kept = ["_below, _lift, _node: pygradc has none"] if protocol == "closures" else []
    kept.append("tanh: it differs from pygradc's")
    assert said[1:] == [f"program.py:{line}: kept from the program: {each}" for each in kept]


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
    assert [line.partition(":")[0] for line in run.said] == ["engine.py"] * 3
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
