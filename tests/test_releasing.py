"""Can it be released: one version everywhere, classifiers that are true, files that exist."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pygradc

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.unsanitized


def text_of(name: str) -> str:
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} isn't in this copy of the sources")
    return path.read_text(encoding="utf-8")


def found(pattern: str, name: str) -> str:
    match = re.search(pattern, text_of(name), re.MULTILINE)
    assert match, f"{name}: no {pattern}"
    return match[1]


def declared() -> str:
    return found(r'^version = "(.+)"$', "pyproject.toml")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("CHANGELOG.md", r"^## (\S+) \("),
        ("CITATION.cff", r"^version: (\S+)$"),
        ("pygradc/about.py", r'^__version__ = "(.+)"$'),
    ],
)
def test_there_is_one_version(name: str, pattern: str) -> None:
    assert found(pattern, name) == declared() == pygradc.__version__


def supported() -> list[str]:
    """The Pythons that wheels are built for, as cibuildwheel's configuration says."""
    minors = found(r'^build = "cp3\{([\d,]+)\}-\*"$', "pyproject.toml").split(",")
    return [f"3.{minor}" for minor in minors]


def test_classifiers_and_wheels_are_those_of_requires_python() -> None:
    classified = re.findall(
        r'"Programming Language :: Python :: (3\.\d+)"', text_of("pyproject.toml")
    )
    assert classified == supported()
    assert classified[0] == found(r'^requires-python = ">=(.+)"$', "pyproject.toml")
    minors = [int(each.split(".")[1]) for each in classified]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert f"| Python | {classified[0]} to {classified[-1]} |" in text_of("docs/releasing.md")


@pytest.mark.parametrize(
    "name", ["CONTRIBUTING.md", "SECURITY.md", "docs/releasing.md", ".ci/wheels"]
)
def test_files_that_are_named_exist(name: str) -> None:
    text, folder = text_of(name), (ROOT / name).parent
    for link in re.findall(r"\]\((?![a-z]+:|#)([^)\s#]+)", text):
        assert (folder / link).exists(), link
    paths = re.findall(r"`((?:csrc|tests|docs|pygradc|\.github)/[\w./-]+\.\w+)`", text)
    for path in [*paths, *re.findall(r"\b(tests/installed)\b", text)]:
        if not path.startswith(".github"):  # which an sdist has not
            assert (ROOT / path).exists(), path
    for target in re.findall(r"`?make ([a-z][\w-]+)", text):
        assert re.search(rf"^{target}:", text_of("Makefile"), re.MULTILINE) or target in (
            "train", "test", "it", "sure",
        ), target  # fmt: skip


YAML = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*(ROOT / ".github").rglob("*.yml"), *ROOT.glob("*.cff")]
)


@pytest.mark.parametrize("name", YAML)
def test_yaml_is_sound(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load(text_of(name))
    assert isinstance(content, dict)
    if "/workflows/" in name:
        assert content["jobs"] and content["permissions"] == {"contents": "read"}
        for job in content["jobs"].values():
            assert "uses" in job or (job["runs-on"] and job["steps"])
            needs = job.get("needs", [])
            assert set([needs] if isinstance(needs, str) else needs) <= set(content["jobs"])
    elif "/ISSUE_TEMPLATE/" in name and not name.endswith("config.yml"):
        assert content["name"] and content["description"]
        ids = [part["id"] for part in content["body"]]
        assert len(ids) == len(set(ids))


def test_the_citation_has_what_its_format_needs() -> None:
    assert {"cff-version", "message", "title", "authors"} <= set(
        re.findall(r"^([\w-]+):", text_of("CITATION.cff"), re.MULTILINE)
    )


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="needs setuptools")
def test_sources_are_compiled_in_order_and_the_first_error_wins() -> None:
    code = """
import runpy, threading
many = runpy.run_path("setup.py", run_name="not main")["many_at_once"]
seen = []
def compile_all(sources, output_dir=None):
    (source,) = sources
    seen.append(source)
    if "bad" in source: raise OSError(source)
    return [source + output_dir]
names = ["a.c", "b.c", "x/lanes_1.c", "c.c"]
assert many(compile_all, 3)(names, output_dir=".o") == [name + ".o" for name in names]
assert seen[0] == "a.c" and sorted(seen) == sorted(names)
seen.clear()
many(compile_all, 1)(names, output_dir=".o")
assert seen == ["a.c", "x/lanes_1.c", "b.c", "c.c"]
assert many(compile_all, 2)([], output_dir=".o") == []
try: many(compile_all, 1)(["a.c", "bad1.c", *"bcdefgh", "bad2.c"], output_dir="")
except OSError as error: assert str(error) == "bad1.c"
else: raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
