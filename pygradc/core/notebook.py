"""HTML for notebooks: small tables, and curves, that any theme can show.

A piece is complete in itself: no script, no style sheet, nothing from a network; all text in it is
escaped. Text and curves have the color of the page around them, and lines are half transparent, so
that they can be read on light and on dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LINE = "1px solid rgba(128,128,128,.4)"
_LONGEST = 80  # characters of a cell
_WIDTH, _HEIGHT = 240, 60  # pixels of curves
_MOST_POINTS = 240


def is_ours(item: Any) -> bool:
    """Is its `repr` the package's, or Python's?

    A class with one of its own, or one that was patched, is shown by that: no HTML in its place.
    """
    module = getattr(type(item).__repr__, "__module__", None) or "pygradc"
    return str(module).partition(".")[0] == "pygradc"


def abridged(rows: Sequence[Any], most: int) -> tuple[Sequence[Any], int, Sequence[Any]]:
    """The first rows, how many are omitted, and the last rows: together at most `most`."""
    if len(rows) <= most:
        return rows, 0, []
    first = most // 2
    last = most - first
    return rows[:first], len(rows) - most, rows[-last:]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], title: str, most: int = 20) -> str:
    """A table below its title; columns whose cells are all numbers are aligned to the right.

    Args:
        most: Rows to show; of more, the first and the last ones.
    """
    first, omitted, last = abridged(rows, most)
    numeric = [all(map(_is_number, column)) for column in zip(*rows)] or [False] * len(heads)
    lines = [_row("th", heads, numeric)]
    lines += [_row("td", cells, numeric) for cells in first]
    if omitted:
        lines.append(_row("td", [f"… {omitted:,} more", *[""] * (len(heads) - 1)], numeric))
    lines += [_row("td", cells, numeric) for cells in last]
    style = "border-collapse:collapse;color:inherit;font-size:90%;margin:.3em 0"
    return f'{heading(title)}<table style="{style}">{"".join(lines)}</table>'


def heading(text: str) -> str:
    return f'<div style="color:inherit"><b>{_escaped(text, 4 * _LONGEST)}</b></div>'


def folded(title: str, text: str) -> str:
    """Text that unfolds at a click."""
    return (
        f'<details style="color:inherit"><summary>{_escaped(title)}</summary>'
        f'<pre style="color:inherit;background:none">{_escaped_whole(text)}</pre></details>'
    )


def curves(named: Mapping[str, Sequence[float]]) -> str:
    """Lines over their index on one scale, as SVG: the first solid, others dashed."""
    seen = [y for curve in named.values() for y in curve if math.isfinite(y)]
    longest = max(map(len, named.values()), default=0)
    if longest < 2 or not seen:
        return ""
    low, span = min(seen) / 2, max(seen) / 2 - min(seen) / 2  # halves: no overflow
    lines = []
    for i, (name, curve) in enumerate(named.items()):
        dashes = ' stroke-dasharray="4 3"' if i else ""
        for points in _pieces(curve, longest, low, span or 1.0):
            lines.append(f'<polyline points="{points}"{dashes}><title>{_escaped(name)}</title>')
            lines.append("</polyline>")
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" fill="none" '
        f'stroke="currentColor" stroke-width="1.5" style="border-left:{_LINE};'
        f'border-bottom:{_LINE}">{"".join(lines)}</svg>'
    )


def _pieces(curve: Sequence[float], longest: int, low: float, span: float) -> Iterable[str]:
    """The points of a curve, between its gaps: numbers that aren't finite.

    Args:
        low, span: Half of the least number, and of the distance to the largest.
    """
    step = max(1, -(-longest // _MOST_POINTS))
    points: list[str] = []
    for x in range(0, len(curve), step):
        if math.isfinite(curve[x]):
            across = 2 + (_WIDTH - 4) * x / (longest - 1)
            down = 2 + (_HEIGHT - 4) * (1 - (curve[x] / 2 - low) / span)
            points.append(f"{across:.1f},{down:.1f}")
        elif points:
            yield " ".join(points)
            points = []
    if points:
        yield " ".join(points)


def _row(tag: str, cells: Iterable[str], numeric: Sequence[bool]) -> str:
    style = f"border-bottom:{_LINE};padding:.1em .7em;text-align:"
    return "".join(
        [
            "<tr>",
            *(
                f'<{tag} style="{style}{"right" if number else "left"}">{_escaped(cell)}</{tag}>'
                for cell, number in zip(cells, numeric)
            ),
            "</tr>",
        ]
    )


def _escaped(text: object, longest: int = _LONGEST) -> str:
    """On one line, and shortened."""
    line = " ".join(str(text).split())
    return _escaped_whole(line if len(line) <= longest else line[: longest - 1] + "…")


def _escaped_whole(text: str) -> str:
    import html  # here, since it takes 1 ms, and losses are shown as text, too

    return html.escape(text)


def _is_number(text: str) -> bool:
    try:
        float(text.removesuffix(" B").replace(",", "") or "0")
    except ValueError:
        return False
    return True
