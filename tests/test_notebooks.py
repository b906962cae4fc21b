"""Are the notebooks complete, free of the machine that ran them, and would a wrong number be found?

Here nothing is executed but small notebooks of the tests' own: `make notebooks` runs the real ones.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unsanitized
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LESSONS = [name for name in NAMES if name.startswith("lesson")]
MOST_BYTES = 150_000


def load_runner() -> Any:
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = load_runner()


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def joined(lines: Any) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def code(name: str) -> list[Any]:
    return [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]


def prose(name: str) -> list[str]:
    return [joined(c["source"]) for c in read(name)["cells"] if c["cell_type"] == "markdown"]


def texts(name: str) -> str:
    """What its cells print and return."""
    outputs = [output for cell in code(name) for output in cell["outputs"]]
    forms = [o.get("data", {"text/plain": o.get("text")}) for o in outputs]
    found = [form.get("text/plain", "") for form in forms]
    return "\n".join(map(joined, found))


# ---- The files -----------------------------------------------------------------------------------


def test_there_are_all_that_were_meant() -> None:
    assert [name[:7] for name in LESSONS] == [f"lesson{i}" for i in range(1, 6)]
    assert set(NAMES) - set(LESSONS) == {
        "bigram", "black_scholes", "digits", "microgpt", "mnist", "moons", "pendulum", "pinn"
    }  # fmt: skip
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\((\w[\w-]*)\.ipynb\)", readme)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_valid(name: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.read(FOLDER / f"{name}.ipynb", as_version=4))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_small_and_as_it_was_run(name: str) -> None:
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MOST_BYTES
    counts = [cell["execution_count"] for cell in code(name)]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in code(name) for output in cell["outputs"]]
    assert {o["output_type"] for o in outputs} <= {"stream", "execute_result", "display_data"}
    assert all(o["name"] == "stdout" for o in outputs if o["output_type"] == "stream")


FOLDERS = r"(?<![\w.)])/(?:home|root|usr|tmp|opt|work|Users|var)\b"
OF_THE_MACHINE = re.compile(FOLDERS + r"|[A-Z]:\\\\|0x[0-9a-f]{6}|site-packages")


@pytest.mark.parametrize("text", ["/usr/lib", r"C:\a", "<Line2D at 0x7f00aa>", "in site-packages"])
def test_what_is_of_the_machine_is_noticed(text: str) -> None:
    assert OF_THE_MACHINE.search(json.dumps(text))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_nothing_of_the_machine(name: str) -> None:
    notebook = read(name)
    assert notebook["metadata"] == runner.METADATA and notebook["nbformat"] == 4
    for number, cell in enumerate(notebook["cells"], start=1):
        assert (cell["metadata"], cell["id"]) == ({}, f"cell-{number}")
        for output in cell.get("outputs", []):
            assert output.get("metadata", {}) == {} and len(output.get("data", "1")) == 1
    assert not OF_THE_MACHINE.search(re.sub(r'"image/png": ".*?"', "", json.dumps(notebook)))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_numbers_to_compare(name: str) -> None:
    assert len(re.findall(r"\d+\.\d+", texts(name))) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_what_it_shows_and_where_to_go(name: str) -> None:
    cells = prose(name)
    assert re.match(r"# .*\n\n\*\*Shows\*\* ", cells[0])
    assert "**Needs** " in cells[0] and "**Takes** " in cells[0]
    assert cells[-1].startswith("**Next:** ") and "](../../docs/" in cells[-1]


@pytest.mark.parametrize("name", [*NAMES, "README"])
def test_links_of_notebooks_lead_to_files(name: str) -> None:
    path = FOLDER / f"{name}.md"
    text = path.read_text(encoding="utf-8") if name == "README" else "\n".join(prose(name))
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        assert (FOLDER / file).exists(), link
        if anchor:
            page = (FOLDER / file).read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in slugs, link


# What the lecture's notes print: tests/test_lessons.py has the same digits without notebooks.
PRINTED = {
    "lesson1": """20.0 91.6875 53.6875 14.000001158365194 -22.000001820288162 0.002000177801164682
        14.000300000063248 3.999699999999999 -3.000000000010772 4.0002 2.0000000000042206 4.0001
        0.9999999999976694 3.99990001 2.0001000000124947 4.00000001""",
    "lesson2": """Value(data=-8.0, 0.9999999999976694 -1.9999999999953388 3.9999999999995595
        -4.000000000008441 6.000000000021544 Value(data=-6.0, Value(data=-7.286496,""",
    "lesson3": """0.7071067811865476 0.4999999999999999 6.0 5.985 [-3.001, -0.998, 1.997] 0.999
        -0.26] -0.27] 0.17] 0.87]] 0.44, -0.38, -0.07, 1.37]""",
    "lesson4": """Value(data=0.7071067811865476) Value(data=6.881373587019543)
        Value(data=0.8813735870195432) Value(data=-2.0) Value(data=7.38905609893065)
        0.7071066904050358 0.5000001283844369 -1.5000003851533106 1.0000002567688737""",
    "lesson5": "41 6.932959473871 0.2672732181430417",
}


@pytest.mark.parametrize("name", LESSONS)
def test_lessons_print_the_lectures_numbers(name: str) -> None:
    words = set(re.split(r"[\s;]+", re.sub(r"[(,]$", "", texts(name), flags=re.MULTILINE)))
    found = {word.strip(",()[]") for word in words}
    wanted = {word.strip(",()[]") for word in PRINTED[name[:7]].split()}
    assert wanted <= found, wanted - found


# ---- The comparison ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kept, found, equal",
    [
        ("loss 0.1234\n", "loss 0.1234\n", True),
        ("loss 0.1234\n", "loss 0.1235\n", True),  # rounding
        ("loss 0.1234\n", "loss 0.1236\n", False),
        ("loss 0.1234\n", "loss -0.1234\n", False),
        ("0.7071067811865476", "0.7071067811865477", True),
        ("4.0", "4.1", False),
        ("[ 2.  -0.2]", "[ 3.  -0.2]", False),
        ("8.1e-05", "8.2e-05", False),
        ("8.123e-05", "8.124e-05", True),
        ("1e-05", "1e-06", False),
        ("97 of 100", "98 of 100", False),
        ("1.5 2.5", "1.5", False),
        ("anna 1.5", "hannah 1.5", False),
        ("9.9999", "10.0000", True),
    ],
)
def test_texts_are_compared_number_by_number(kept: str, found: str, equal: bool) -> None:
    assert runner.same(kept, found) is equal and runner.same(found, kept) is equal


def notebook(path: Path, *sources: str) -> Path:
    v4 = pytest.importorskip("nbformat.v4")
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [v4.new_code_cell(source) for source in sources]
    import nbformat

    nbformat.write(v4.new_notebook(cells=cells), path)
    return path


def test_a_wrong_number_fails(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "x = 1.5", "print(x)\nx * 2")
    assert runner.check(path, keep=True) == []
    kept = path.read_text(encoding="utf-8")
    assert runner.check(path) == []
    path.write_text(kept.replace("x = 1.5", "x = 1.25"), encoding="utf-8")
    (wrong,) = runner.check(path)
    assert wrong.startswith("cell 2:") and "1.5\n3.0\n--- found ---\n1.25\n2.5" in wrong
    path.write_text(kept.replace("x * 2", "x * 2;"), encoding="utf-8")  # an output less
    assert len(runner.check(path)) == 1


@pytest.mark.parametrize(
    "source, message",
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; print('careful', file=sys.stderr)", "stderr: careful"),
    ],
)
def test_errors_fail(tmp_path: Path, source: str, message: str) -> None:
    (wrong,) = runner.check(notebook(tmp_path / "a.ipynb", source))
    assert message in wrong


def test_kept_outputs_have_nothing_of_the_machine(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    source = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    path = notebook(tmp_path / "a.ipynb", source)
    assert runner.check(path, keep=True) == []
    first = path.read_text(encoding="utf-8")
    assert runner.check(path, keep=True) == []
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept == json.loads(first) and kept["metadata"] == runner.METADATA
    assert '"image/png"' in first and '"text/plain"' not in first  # <Figure size 432x245 ...>
