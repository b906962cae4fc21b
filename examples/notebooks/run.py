"""Run the notebooks: each in a fresh kernel, and each must print what is kept in it.

    python examples/notebooks/run.py                   all of them
    python examples/notebooks/run.py moons pinn        some
    python examples/notebooks/run.py --keep moons      keep the new outputs in the file

A notebook's outputs are its expected numbers. Text has to be the same; a number may differ by one
unit of its last digit, if that is at most a thousandth of it, since rounding differs a little from
processor to processor. Pictures are not compared. Any exception is an error, and so is what was
printed on stderr.

What is kept has no paths, times or versions, so that a file changes only if its contents do.
Needs the extra `notebooks`, and Graphviz's `dot`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
PICTURES = ("image/svg+xml", "image/png")
SECONDS = 120  # that a cell may take
FRACTION = re.compile(r"\d+\.\d*(?:e[+-]\d+)?|\d+e[+-]\d+")


# ---- What is compared ----------------------------------------------------------------------------


def same(kept: str, found: str) -> bool:
    """Are the texts equal, but for the last digit of numbers with a fraction?"""
    if FRACTION.sub("#", kept) != FRACTION.sub("#", found):
        return False
    return all(map(near, FRACTION.findall(kept), FRACTION.findall(found)))


def near(kept: str, found: str) -> bool:
    a, b = Decimal(kept), Decimal(found)
    unit = Decimal((0, (1,), min(int(x.as_tuple().exponent) for x in (a, b))))
    return a == b or abs(a - b) <= min(unit, abs(a) / 1000)


def text(outputs: list[Any]) -> str:
    """What a cell printed and returned, in order."""
    parts = []
    for output in outputs:
        if output.output_type == "stream":
            parts.append(output.text if output.name == "stdout" else f"stderr: {output.text}")
        elif output.output_type == "error":
            parts.append(f"{output.ename}: {output.evalue}\n")
        else:
            parts.append(output.data.get("text/plain", "a picture") + "\n")
    return "".join(parts)


def differences(kept: Any, found: Any) -> list[str]:
    """Of each cell whose output isn't what was kept, both."""
    return [
        f"cell {number}:\n{now.source}\n"
        f"--- kept ---\n{text(old.outputs)}--- found ---\n{text(now.outputs)}"
        for number, (old, now) in enumerate(zip(kept.cells, found.cells), start=1)
        if now.cell_type == "code" and not same(text(old.outputs), text(now.outputs))
    ]


# ---- Running -------------------------------------------------------------------------------------


def tidied(notebook: Any) -> Any:
    """Without what changes from run to run: one form of each output, no metadata of the machine."""
    notebook.metadata.clear()
    notebook.metadata.update(METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.metadata.clear()
        cell.id = f"cell-{number}"
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
            if "data" in output:
                form = next((name for name in PICTURES if name in output.data), "text/plain")
                output.data = {form: output.data[form]}
    return notebook


def executed(path: Path) -> Any:
    """The notebook with new outputs, from a kernel of its own that starts in the notebook's folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as profile:  # nobody's settings, no history
        NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(path.parent)}},
        ).execute(env={**os.environ, "IPYTHONDIR": profile})  # fmt: skip
    return tidied(notebook)


def check(path: Path, keep: bool = False) -> list[str]:
    """Run one notebook. Returns: what is wrong with it; nothing, if its outputs are kept."""
    import nbformat
    from nbclient.exceptions import CellExecutionError

    try:
        found = executed(path)
    except CellExecutionError as error:
        return [str(error)]
    if not keep:
        return differences(nbformat.read(path, as_version=4), found)
    nbformat.write(found, path)
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the notebooks and compare their outputs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--keep", action="store_true", help="keep the new outputs")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no notebook {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if shutil.which("dot") is None:
        parser.error("notebooks draw graphs: Graphviz's dot is missing")
    failed = []
    for name in options.names or NAMES:
        began = time.perf_counter()
        wrong = check(FOLDER / f"{name}.ipynb", options.keep)
        print(f"{name:22}{'failed' if wrong else 'ok':8}{time.perf_counter() - began:5.1f} s")
        print(*wrong, sep="\n", end="\n" if wrong else "", flush=True)
        failed += [name] if wrong else []
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main())
