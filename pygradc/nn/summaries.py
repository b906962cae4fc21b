"""A model as a table: its layers, their shapes, activations, parameters and memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pygradc.value import Value

Row = tuple[str, ...]

HEADS = ("part", "kind", "shape", "activation", "parameters", "memory")
_NUMBERS = 2  # of the columns, from the right, are numbers
_NODE = 40  # bytes: pg_node, csrc/graph/graph.h


def row(name: str, kind: str, about: tuple[str, str], parameters: Iterable[Any]) -> Row:
    """A line of the table.

    Args:
        about: Shape and activation.
    """
    own = [p for p in parameters if isinstance(p, Value)]
    memory = sum(map(sys.getsizeof, own)) + _NODE * len(own)
    return name, kind, *about, f"{len(own):,}", f"{memory:,} B"


def table(rows: Iterable[Row]) -> str:
    """The lines below their heads, in columns."""
    return "\n".join(_aligned([HEADS, *rows]))


def _aligned(rows: list[Row]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    texts = len(HEADS) - _NUMBERS
    for cells in rows:
        padded = [
            cell.ljust(width) if i < texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths))
        ]
        yield "  ".join(padded)
