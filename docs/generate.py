"""Write what derives from the op table into docs/ops.md, docstrings and type stubs, and what
`--help` prints into docs/command-line.md: `make docs`.

A generated part lies between two marker lines, which are kept. `tests/test_docs.py` checks that
each part is up to date.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path

from pygradc import Value, functions
from pygradc.__main__ import COMMANDS, main
from pygradc.core.ops import FUNCTIONS, OPS, Op
from pygradc.core.scalar import ALIASES

ROOT = Path(__file__).resolve().parent.parent


def _call(op: Op) -> str:
    """How a user writes the op."""
    written = {
        **{"add": "a + b", "mul": "a * b", "pown": "a ** 2", "pow": "a ** b, 2 ** b"},
        **{"mod": "a % b", "floordiv": "a // b", "rint": "a.rint(), round(a)"},
    }
    if op.name in written:
        return written[op.name]
    if op.default is not None:
        return f"a.{op.name}(b={op.default!r})"
    names = [op.name, *(alias for alias, name in ALIASES.items() if name == op.name)]
    second = "" if len(op.intervals) == 1 else "b"
    return ", ".join(f"a.{name}({second})" for name in names)


def ops_table() -> list[str]:
    """The op table in Markdown, a row an op."""
    rows = ["| op | | y | dy/da | dy/db |", "|---|---|---|---|---|"]
    for op in OPS:
        formulas = [op.value, *op.derivatives, ""][:3]
        cells = " | ".join(f"`{f.replace('|', chr(92) + '|')}`" if f else "" for f in formulas)
        rows.append(f"| `{_call(op)}` | {op.doc} | {cells} |")
    return rows


def stub_methods() -> list[str]:
    """The methods that Scalar gets from the table, typed; and their other names."""
    return [
        *(
            f"    def {op.name}(self{_second(op)}) -> Value: ..."
            for op in OPS
            if op.name == op.method
        ),
        *(f"    {alias} = {name}" for alias, name in ALIASES.items()),
    ]


def stub_functions() -> list[str]:
    """The functions of pygradc.functions, typed."""
    names = [f'    "{name}",' for name in sorted(FUNCTIONS, key=_natural)]
    functions = [
        f"def {name}(a: Value | Number{_second(op).replace('other:', 'b:') or ', /'}) -> Value: ..."
        for name, op in FUNCTIONS.items()
    ]
    return ["__all__ = [", *names, "]", "", *functions, ""]


def function_examples() -> list[str]:
    """For each function its operands in an example, and what that prints: value, derivatives."""
    rows = [f'    "{name}": {_example(name, op)},' for name, op in FUNCTIONS.items()]
    return ["_EXAMPLES = {", *rows, "}"]


def _example(name: str, op: Op) -> str:
    """Within each operand's interval, to two digits: not in its middle, where much is 0 or 1."""
    shares = (0.25 if op.default is not None else 0.75, 0.6)  # elu is of interest below 0
    operands = [round(lo + share * (hi - lo), 1) for share, (lo, hi) in zip(shares, op.intervals)]
    if op.takes_number:
        operands = operands[:1] if op.default is not None else [operands[0], 1]
    nodes = [Value(x) for x in operands[: op.arity]]
    y = getattr(functions, name)(*nodes, *operands[op.arity :])
    y.backward()
    printed = " ".join(f"{x:.4g}" for x in (y.data, *(node.grad for node in nodes)))
    return f'({tuple(operands)}, "{printed}")'


def _natural(name: str) -> list[str | int]:
    """log1p, log2, log10: as the linter sorts."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _second(op: Op) -> str:
    """The parameters of a method after self."""
    if op.arity == 2:
        return ", other: Value | Number, /"
    if not op.takes_number:
        return ""
    return ", number: Number, /" if op.default is None else f", number: Number = {op.default!r}, /"


def help_texts() -> list[str]:
    """What `--help` prints, of the whole and of each command."""
    lines = []
    for name in ("", *COMMANDS):
        heading = f"### {name or 'All commands'}"
        lines += ["", heading, "", "```text", *_help_of(name).splitlines(), "```"]
    return [*lines, ""]


def _help_of(name: str) -> str:
    """The same for every Python, terminal and environment."""
    before = {key: os.environ.get(key) for key in ("COLUMNS", "NO_COLOR")}
    os.environ.update(COLUMNS="80", NO_COLOR="1")
    try:
        with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
            main([*name.split(), "--help"])
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            os.environ.update({} if value is None else {key: value})
    return text.getvalue().replace("\noptional arguments:", "\noptions:").rstrip()


PARTS = {
    "docs/command-line.md": ("<!-- help: begin -->", "<!-- help: end -->", help_texts),
    "docs/ops.md": ("<!-- ops: begin -->", "<!-- ops: end -->", ops_table),
    "pygradc/functions.py": ("# ops: begin", "# ops: end", function_examples),
    "pygradc/functions.pyi": ("# ops: begin", "# ops: end", stub_functions),
    "pygradc/_core.pyi": ("    # ops: begin", "    # ops: end", stub_methods),
}


def replaced(text: str, begin: str, end: str, lines: Iterable[str]) -> str:
    """The text with the lines between the markers replaced."""
    head, rest = text.split(begin + "\n", 1)
    tail = rest.split(end, 1)[1]
    return "\n".join([head + begin, *lines, end]) + tail


def regenerated(name: str) -> str:
    """What a file with a generated part should hold."""
    begin, end, lines = PARTS[name]
    return replaced((ROOT / name).read_text(encoding="utf-8"), begin, end, lines())


if __name__ == "__main__":
    for file in PARTS:
        (ROOT / file).write_text(regenerated(file), encoding="utf-8")
