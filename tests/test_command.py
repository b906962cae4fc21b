"""Does `python -m pygradc` find its commands, quickly, and does whatever fails fail in one line?"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pygradc
from pygradc.__main__ import COMMANDS, main
from pygradc.command import errors

pytestmark = pytest.mark.unsanitized
ROOT = Path(pygradc.__file__).resolve().parent.parent


def modules() -> dict[str, Any]:
    return {name: importlib.import_module(module) for name, (module, _) in COMMANDS.items()}


def parser_of(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    modules()[name].add_arguments(parser)
    return parser


def python(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, **more)


# ---- help ---------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    for name, (_, told) in COMMANDS.items():
        assert re.search(rf"^    {name} +{re.escape(told)}$", out, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples_that_it_takes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: python -m pygradc {name} ")
    examples = out.partition("\nexamples:\n")[2].splitlines()
    assert len(examples) >= 2
    for line in examples:
        command = re.split(r" {2,}| >", line.strip())[0]  # without a remark, or a file
        words = shlex.split(command)
        words = words[words.index("python") :]
        assert words[:3] == ["python", "-m", "pygradc"]
        parser_of(words[3]).parse_args(words[4:])


def test_every_command_of_the_folder_is_listed() -> None:
    listed = {module for module, _ in COMMANDS.values()}
    folder = ROOT / "pygradc" / "command"
    found = {
        f"pygradc.command.{path.stem}"
        for path in folder.glob("*.py")
        if re.search(r"^def add_arguments\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == listed


@pytest.mark.parametrize("arguments", [["--help"], ["info"], ["--version"]], ids=" ".join)
def test_help_and_info_import_no_other_command(arguments: list[str]) -> None:
    code = (
        "import sys; from pygradc.__main__ import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(*sorted(m for m in sys.modules if m.startswith('pygradc.command.')))"
        "; print('matplotlib' in sys.modules, 'pygradc.datasets' in sys.modules)"
    )
    *_, last, others = python("-c", code).stdout.splitlines()
    assert {*last.split()} <= {"pygradc.command.errors", "pygradc.command.info"}
    assert others == "False False"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"pygradc {pygradc.__version__}\n"


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "pygradc: error: the following arguments are required: COMMAND"),
        (["trian"], "pygradc: error: argument COMMAND: invalid choice: 'trian'"),
        (["--wrong"], "pygradc: error: "),
        (["train", "--wrong"], "pygradc train: error: unrecognized arguments: --wrong"),
        (["train", "houses.csv"], "pygradc train: error: unrecognized arguments: houses.csv"),
        (["info", "more"], "pygradc info: error: unrecognized arguments: more"),
        (["train", "--task", "cluster"], "pygradc train: error: argument --task: invalid choice"),
        (["predict"], "pygradc predict: error: the following arguments are required: MODEL, DATA"),
        (["bench", "--rounds", "0"], "pygradc bench: error: argument --rounds: '0' is not a whole"),
        (["run"], "pygradc run: error: the following arguments are required: PROGRAM.py"),
    ],
    ids=" ".join,
)
def test_a_bad_command_line_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    out, error = capsys.readouterr()
    assert stopped.value.code == 2 and out == ""
    assert error.startswith(message) and error.count("\n") == 1 and "see --help" in error


def fail(error: BaseException) -> Any:
    def call() -> int:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.CommandError("a\n  b"), 1, "error: a b"),
        (errors.UsageError("x needs y"), 2, "error: x needs y"),
        (FileNotFoundError(2, "No such file", "here.npz"), 1, "error: here.npz: No such file"),
        (OSError("no errno"), 1, "error: no errno"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_raised_becomes_a_line_and_a_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert errors.guarded("train", fail(error)) == code
    assert capsys.readouterr().err == f"pygradc train: {message}\n"


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        errors.guarded("train", fail(ZeroDivisionError()))


def test_a_programs_exceptions_are_its_own(tmp_path: Path) -> None:
    for line, kind in (
        ("open('nowhere')", "FileNotFoundError"),
        ("raise KeyboardInterrupt", "Key"),
    ):
        (tmp_path / "p.py").write_text(f"{line}\n")
        done = python("-m", "pygradc", "run", "p.py", cwd=tmp_path)
        assert "Traceback" in done.stderr and kind in done.stderr.splitlines()[-1]


CODE = "import sys; sys.modules['tqdm'] = None; from pygradc.__main__ import main; sys.exit(main())"


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "line", ["--help", "train --help", "info", "train --data iris --out o", "predict m.npz iris"]
)
def test_a_closed_pipe_is_no_traceback(line: str, unbuffered: str, tmp_path: Path) -> None:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    scaling = ([0.0] * 4, [1.0] * 4, 0.0, 1.0, names)
    pygradc.save_model(pygradc.nn.MLP(4, [3], seed=0), tmp_path / "m.npz", scaling)
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE, *line.split()],
            cwd=tmp_path, env=env, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip
    finally:
        os.close(writing)
    ignored = [0] if "help" in line and unbuffered else []  # by argparse, since 3.11 or so
    assert done.returncode in [errors.PIPE_CLOSED, *ignored]
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
