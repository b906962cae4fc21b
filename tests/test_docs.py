"""Is what the documents say true: their sessions, the files that they name, the op table?"""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.unsanitized
ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
LINKED = ["README.md", "CHANGELOG.md", "bench/RELIABILITY.md", *PAGES]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


SESSIONS = {  # and the fewest examples that each should have
    "README.md": 20,
    "docs/tour.md": 30,
    "docs/ops.md": 5,
    "docs/compat.md": 10,
    "docs/derivatives.md": 15,
    "docs/drop-in.md": 30,
    "docs/saving.md": 10,
    "docs/looking.md": 30,
    "docs/networks.md": 25,
    "docs/accuracy.md": 4,
    "docs/start-here.md": 10,
    "docs/tutorial/1-derivative.md": 8,
    "docs/tutorial/2-value.md": 20,
    "docs/tutorial/3-neuron.md": 20,
    "docs/tutorial/4-network.md": 10,
    "docs/tutorial/5-compile-fit-grad.md": 20,
    "docs/how-to/save-and-go-on.md": 10,
    "docs/how-to/own-op.md": 10,
    "docs/how-to/embeddings.md": 10,
    "docs/how-to/learning-rate.md": 5,
    "docs/how-to/small-data.md": 10,
    "docs/how-to/sensitivities.md": 8,
    "docs/how-to/equations.md": 8,
    "docs/coming-from/micrograd.md": 10,
    "docs/coming-from/microgpt.md": 8,
    "docs/coming-from/pytorch.md": 20,
    "docs/coming-from/jax.md": 20,
    "docs/viewing.md": 8,
}
# Where each program is one that a newcomer types: at most twelve lines, its output not counted.
SHORT = [name for name in SESSIONS if name.count("/") > 1]
SHORT += ["docs/start-here.md", "docs/looking.md"]


@pytest.mark.parametrize("document, least", SESSIONS.items())
def test_sessions_print_what_they_say(
    document: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # sessions write files
    results = doctest.testfile(str(ROOT / document), module_relative=False)
    assert results.attempted > least
    assert results.failed == 0


def test_every_session_is_run() -> None:
    elsewhere = {"docs/using-recordings.md", "docs/how-replay-works.md"}  # test_recording_doc.py
    elsewhere.add("docs/minimizing.md")  # test_minimize.py, where scipy is
    elsewhere.add("docs/scikit-learn.md")  # test_sklearn.py, where scikit-learn is
    found = {
        name
        for name in ["README.md", *PAGES]
        if re.search(r"^>>> ", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == SESSIONS.keys() | elsewhere


@pytest.mark.parametrize("document", SHORT)
def test_programs_for_newcomers_are_short(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for program in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        assert len(re.findall(r"^(?:>>>|\.\.\.) ", program, re.MULTILINE)) <= 12, program


def cells(text: str) -> list[str]:
    """The code in the right-hand cells of the tables, as it is there."""
    rows = re.findall(r"^\| .* \| (.*) \|$", text, re.MULTILINE)
    return [code.replace(r"\|", "|") for cell in rows for code in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("document", [name for name in SESSIONS if "/coming-from/" in name])
def test_the_right_hand_cells_are_part_of_programs_that_are_run(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    program = "\n".join(example.source for example in doctest.DocTestParser().get_examples(text))
    found = cells(text)
    assert len(found) > 10
    assert not [code for code in found if not all(part in program for part in code.split("..."))]


def test_a_cell_that_no_program_contains_would_be_noticed() -> None:
    assert cells("| a | b |\n|---|---|\n| `x` | `y` or `f(x)` |\n") == ["y", "f(x)"]


def test_the_site_has_every_page() -> None:
    """So that `make docs-site` won't be the first to say that one isn't in the navigation."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```{toctree}\n(.*?)^```", index, re.MULTILINE | re.DOTALL)
    words = [word.strip("<>") for tree in trees for word in tree.split()]
    listed = [path for word in words for path in (ROOT / "docs").glob(f"{word}.md")]
    names = {path.relative_to(ROOT).as_posix() for path in listed if ".." not in path.parts}
    assert names == {*PAGES} - {"docs/index.md"}


def test_the_readme_is_read_in_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_tour_quotes_the_oracle() -> None:
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    oracle = (ROOT / "pygradc" / "reference.py").read_text(encoding="utf-8")
    quoted = re.findall(r"^```python\n((?!>>>).*?)^```", tour, re.MULTILINE | re.DOTALL)
    stripped = {line.strip() for line in oracle.splitlines()}
    assert quoted
    assert {line.strip() for line in quoted[0].splitlines()} <= stripped


@pytest.mark.parametrize("name", generate.PARTS)
def test_generated_parts_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generate.regenerated(name), "run: make docs"


def test_an_outdated_part_would_be_noticed() -> None:
    text = "<!-- ops: begin -->\nold\n<!-- ops: end -->\n"
    begin, end, lines = generate.PARTS["docs/ops.md"]
    assert generate.replaced(text, begin, end, lines()) != text


@pytest.mark.parametrize("document", LINKED)
def test_files_that_documents_name_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    folder = (ROOT / document).parent
    links = re.findall(r"\]\(([^)#]+)\)", text)
    names = re.findall(r"`((?:csrc|pygradc|bench|docs|tests)/[\w./]+)`", text)
    missing = [name for name in names if not (ROOT / name).exists()]
    missing += [name for name in links if "://" not in name and not (folder / name).exists()]
    assert not missing


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", LINKED)
def test_anchors_that_documents_link_to_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    missing = []
    for link, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)#([^)]+)\)", text):
        path = (ROOT / document).parent / link if link else ROOT / document
        headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if anchor not in map(slug, headings):
            missing.append(f"{link}#{anchor}")
    assert not missing


def test_import_needs_only_cffi_and_numpy() -> None:
    code = (
        "import sys; extras = ['matplotlib', 'tqdm', 'graphviz', 'scipy', 'sklearn'];"
        "sys.modules.update(dict.fromkeys(extras));"
        "import pygradc; print(pygradc.Value(1.0) + 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "Value(data=2.0, grad=0.0)\n", done.stderr
