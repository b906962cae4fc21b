"""What is installed: what a wheel holds, what an index would show, which versions are declared."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
RELATIVE = re.compile(r"\]\((?![a-z]+:|#)")

pytestmark = [
    pytest.mark.skipif(find_spec("setuptools") is None, reason="needs setuptools"),
    pytest.mark.unsanitized,
]


@pytest.fixture(scope="module")
def setup() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "setup.py"), run_name="not main")


# ---- The description -----------------------------------------------------------------------------


def test_an_index_shows_no_dead_link(setup: dict[str, Any]) -> None:
    links = len(RELATIVE.findall(README))
    assert links > 8
    text = setup["description"](README, "")
    assert not RELATIVE.search(text)
    assert "`pygradc/reference.py`" in text and "[docs/reliability.md]" not in text
    assert "[micrograd](https://github.com/karpathy/micrograd)" in text
    assert text.count("```") == README.count("```")
    base = "https://example.org/pygradc/blob/main/"
    text = setup["description"](README, base)
    assert not RELATIVE.search(text) and text.count(f"]({base}") == links
    assert f"[`pygradc/reference.py`]({base}pygradc/reference.py)" in text
    assert f"]({base}bench/results.png?raw=true)" in text


@pytest.mark.parametrize(
    ("given", "linked", "plain"),
    [
        ("a [b](c.md#d) e", "a [b](http://x/c.md#d) e", "a b e"),
        ("[a](https://b.c/d) [e](#f)", "[a](https://b.c/d) [e](#f)", "[a](https://b.c/d) [e](#f)"),
        ("a ![b](c.png) d", "a ![b](http://x/c.png?raw=true) d", "a b d"),
        ("```\nx[i](j)\n```\n[a](b)", "```\nx[i](j)\n```\n[a](http://x/b)", "```\nx[i](j)\n```\na"),
    ],
)
def test_links_one_by_one(given: str, linked: str, plain: str, setup: dict[str, Any]) -> None:
    assert setup["description"](given, "http://x/") == linked
    assert setup["description"](given, "") == plain


def test_every_relative_link_of_the_readme_leads_to_a_file() -> None:
    for path in re.findall(r"\]\((?![a-z]+:|#)([^)\s#]+)", README):
        assert (ROOT / path).exists(), path


# ---- Versions ------------------------------------------------------------------------------------


def test_what_is_needed_has_an_oldest_version() -> None:
    """On which CI runs the suite: `make test OLDEST=1`."""
    for name in ("requires", "dependencies"):
        needs = re.search(rf"^{name} = \[(.*)\]", PROJECT, re.MULTILINE)
        assert needs
        for need in needs[1].split(", "):
            assert re.fullmatch(r'"[\w-]+>=\d+\.\d+\.\d+"', need), need
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    code = makefile[makefile.index("define DECLARED\n") + 16 : makefile.index("endef\nexport DECL")]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {line.split("==")[0] for line in done.stdout.split()}
    assert {"setuptools", "cffi", "numpy"} <= names and len(names) == len(done.stdout.split())


# ---- Enumerators ---------------------------------------------------------------------------------


def test_no_enumerator_is_beyond_int() -> None:
    """There are compilers that make -1 of 0xffffffff then."""
    sources = [p for ending in ("c", "h", "def") for p in (ROOT / "csrc").rglob(f"*.{ending}")]
    found = 0
    for path in sources:
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for body in re.findall(r"\benum\b[^{;()]*\{([^}]*)\}", text):
            for number in re.findall(r"=\s*(0x[0-9a-fA-F]+|\d+)", body):
                found += 1
                assert int(number, 0) < 2**31, f"{path.name}: {number}"
    assert found > 10


# ---- The wheel -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist of a copy of the tree, and a wheel of that."""
    pytest.importorskip("build.__main__")  # not a folder of that name
    tree = tmp_path_factory.mktemp("packaging") / "tree"
    leave_out = shutil.ignore_patterns(".*", "build", "*.so", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, tree, ignore=leave_out)
    shutil.copy(ROOT / ".clang-format", tree)
    command = [sys.executable, "-m", "build", "--outdir", str(tree.parent / "dist"), str(tree)]
    env = {**os.environ, "PYGRADC_CFLAGS": "-O0"}  # what is inside doesn't depend on it
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return tree.parent / "dist"


@pytest.mark.once
def test_a_wheel_holds_what_works_there_and_each_file_once(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(n).decode() for n in names if n.endswith("/METADATA"))
    assert not [
        name for name in names if name.endswith("core/build.py") or name.endswith((".c", ".h"))
    ]
    assert len([name for name in names if name.endswith("data/README.md")]) == 1
    files = {name for name in names if name.startswith("pygradc/")}
    expected = {
        path.relative_to(ROOT).as_posix()
        for ending in ("*.py", "*.pyi", "py.typed", "data/*", "viewing/assets/*")
        for path in (ROOT / "pygradc").rglob(ending)
    } - {"pygradc/core/build.py", "pygradc/data/README.md"}
    assert {name for name in files if not name.endswith((".so", ".pyd"))} == expected
    assert len(files - expected) == 2  # _core and _gil
    assert "Description-Content-Type: text/markdown" in metadata
    assert "micrograd" in metadata.partition("\n\n")[2] and not RELATIVE.search(metadata)


@pytest.mark.once
def test_an_sdist_holds_what_the_build_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "pygradc/core/build.py",
        "csrc/pygradc.h",
        "setup.py",
        "README.md",
        "tests/conftest.py",
        "examples/notebooks/moons.ipynb",
        "examples/notebooks/matplotlibrc",
    }
    assert wanted <= names and not [name for name in names if name.endswith(".so")]


@pytest.mark.once
def test_installed_in_a_fresh_environment_it_works(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    for command in (
        [sys.executable, "-m", "venv", str(tmp_path / "venv")],
        [str(python), "-m", "pip", "install", "--quiet", str(wheel)],
    ):
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    code = """
from pygradc import Value, compile, datasets
v = Value(2.0)
(v * 3).backward()
print(v.grad, compile(lambda x: x * v).mean([1.0, 2.0]).data, len(datasets.load("iris").features))
"""
    done = subprocess.run(
        [str(python), "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.stdout == "3.0 3.0 150\n", done.stderr
