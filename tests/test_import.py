"""Is an import a whole or nothing? Ctrl-C at any line of it, another Python, a folder not built.

`python tests/test_import.py FIRST STEP` interrupts imports, in processes of their own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import FrameType
from typing import Any

import numpy
import pytest

ROOT = Path(__file__).resolve().parent.parent
THROUGH = 3  # exit code: the import has fewer lines
FULL = bool(os.environ.get("PYGRADC_FULL"))


def python(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    env.update(more.pop("env", {}))
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, **more)


# ---- Ctrl-C --------------------------------------------------------------------------------------


def interrupt(line: int) -> bool:
    """Import, and press Ctrl-C at the n-th line of the package's. Were there so many?"""
    seen = 0

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return local

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        return local if f"{os.sep}pygradc{os.sep}" in name else None

    try:
        sys.settrace(trace)
        import pygradc  # noqa: F401
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return seen >= line


def check() -> None:
    """Does everything know everything else?"""
    import pygradc
    from pygradc import Value, nn, optim

    random_input = [0.5, -1.0]
    v = Value(2.0)
    w = v * 3 + 1
    w.backward()
    assert type(w) is Value and v.grad == 3.0 and w._prev
    assert pygradc.sum([v, 1]).data == 3.0 and pygradc.core.graphs.clear_grads(w) is None
    model = nn.MLP(2, [3, 1])
    loss = pygradc.compile(lambda x, y: pygradc.where(x[0] > y, model(x), v) ** 2)
    total = loss.mean([random_input] * 3, [0.0] * 3)
    total.backward()
    optim.SGD(model.parameters(), 0.1).step()
    with pygradc.no_grad():
        assert (v * 2)._prev == set()
    with contextlib.suppress(pygradc.TraceError):
        pygradc.compile(lambda x: x + 1 if x > 0 else x)(1.0)
    try:
        Value(-1.0).log()
    except ValueError:
        return
    raise AssertionError("no error")


def main(first: int, step: int) -> None:
    """Each import in a fork; prints how many lines there were, and at which the next one failed."""
    import cffi
    import numpy

    assert cffi and numpy  # which are other people's
    line, code = first, 0
    failed = []
    while code != THROUGH:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                came_so_far = interrupt(line)
                check()
                code = 0 if came_so_far else THROUGH
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in (0, THROUGH):
            failed.append(line)
        line += step
    print(line, failed)


@pytest.mark.once
@pytest.mark.unsanitized
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.skipif(sys.gettrace() is not None, reason="something else traces")
def test_ctrl_c_during_an_import_spoils_no_later_one() -> None:
    """At every line under PYGRADC_FULL=1, else at some of them."""
    done = python(__file__, "3", "1" if FULL else "83", timeout=300 if not FULL else None)
    assert done.returncode == 0, done.stderr
    lines, _, failed = done.stdout.partition(" ")
    assert failed.strip() == "[]", done.stderr
    assert int(lines) > 1500


# ---- A folder that isn't built -------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What there is of the package in a fresh clone, with nothing built."""
    folder = tmp_path / "clone"
    for part in ("pygradc", "csrc"):
        shutil.copytree(
            ROOT / part,
            folder / part,
            ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"),
        )
    return folder


PACKAGES = os.pathsep.join(str(Path(m.__file__).parent.parent) for m in (numpy, pytest))
WANTED = f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"


@pytest.mark.skipif(not (ROOT / "csrc" / "pygradc.h").is_file(), reason="no sources here")
@pytest.mark.parametrize("there", [None, "_core.cpython-38-x86_64-linux-gnu.so", WANTED])
@pytest.mark.parametrize("how", [("-c", "import pygradc"), ("-m", "pygradc", "train")])
def test_in_the_clones_folder_it_says_what_to_do(
    how: tuple[str, ...], there: str | None, clone: Path
) -> None:
    """Nothing built, something of another Python, something that can't be loaded. Without site, for
    an editable installation finds its own extension for every folder's package.
    """
    if there is not None:
        (clone / "pygradc" / there).write_bytes(b"no library")
    done = python("-S", *how, cwd=clone, env={"PYTHONPATH": ""})
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert f"{clone} is pygradc's source folder, and not built for this Python" in last
    assert f"{WANTED} is needed" in last and (there is None or f"there is {there}" in last)
    assert "in another folder" in last and f"-m pip install -e {clone}" in last
    assert "partially initialized" not in last
    assert (f"{there}: " in last) == (there == WANTED)  # why it can't be loaded


EDITABLE = """
import importlib.machinery, sys
class Finder:  # as an editable installation's
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith("pygradc."):
            return importlib.machinery.PathFinder.find_spec(name, [{folder!r}])
sys.meta_path.append(Finder)
for _ in range(2):
    try:
        import pygradc
    except ImportError as error:
        print(error)
"""


@pytest.mark.parametrize("is_source", [True, False])
def test_the_extension_of_another_folder_is_refused(clone: Path, is_source: bool) -> None:
    if not is_source:
        shutil.rmtree(clone / "csrc")
    spec = importlib.util.find_spec("pygradc")
    assert spec is not None and spec.origin is not None
    own = str(Path(spec.origin).parent)
    done = python("-S", "-c", EDITABLE.format(folder=own), cwd=clone, env={"PYTHONPATH": PACKAGES})
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second and f"{own}{os.sep}_core" in first and "another copy of pygradc" in first
    assert f"-m pip install -e {clone}" in first if is_source else "install this copy" in first


def test_elsewhere_a_missing_extension_is_pythons_own_error(clone: Path) -> None:
    shutil.rmtree(clone / "csrc")
    done = python("-S", "-c", "import pygradc", cwd=clone, env={"PYTHONPATH": ""})
    assert done.returncode == 1 and "source folder" not in done.stderr
    assert "_core" in done.stderr.strip().splitlines()[-1]


# ---- What it needn't wait for --------------------------------------------------------------------


SLOW = ("concurrent.futures", "hashlib", "logging", "multiprocessing", "numpy.random", "sysconfig")


@pytest.mark.parametrize("wanted", ["pygradc", "pygradc.compat._run"])
def test_what_takes_long_isnt_imported_before_it_is_used(wanted: str) -> None:
    code = (
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        f"import {wanted}\n"
        f"print(*(set(sys.modules) - before) & {{*{SLOW!r}, 'pygradc.command.training'}})"
    )
    assert python("-c", code).stdout == "\n"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
