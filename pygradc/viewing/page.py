"""The page: one HTML file with the graph, its style and its scripts, that loads nothing else.

The graph is JSON inside of the page, in which nothing can end the element that it is in; the
scripts show it as text. A policy in the page forbids whatever would reach the network, and in a
notebook the page is in a frame without access to the notebook.
dagre (MIT; `assets/dagre.LICENSE.txt`) lays out small graphs: `make dagre` fetches it.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import tempfile
import webbrowser
from functools import lru_cache
from pathlib import Path

from pygradc.files import atomic
from pygradc.viewing.description import Graph, as_json

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("model.js", "layout.js", "drawing.js", "panel.js", "main.js")
_HEIGHT = 620  # pixels, in a notebook


class View:
    """A graph as a page.

    A notebook shows it; elsewhere its `repr` says where the file is.

    Attributes:
        path: the file that was written, or None.
        html: the page.
        nodes: how many there are.
    """

    def __init__(self, graph: Graph) -> None:
        self.html = page_of(graph)
        self.path: Path | None = None
        self.nodes = len(graph.nodes)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file; returns its path.

        Raises:
            OSError: the file can't be written; it is unchanged.
        """
        atomic.write(path, self.html.encode())
        self.path = Path(path)
        return self.path

    def open(self) -> None:
        """Show the page in a browser; writes a temporary file if there is none yet."""
        webbrowser.open((self.path or self.save_temporarily()).resolve().as_uri())

    def save_temporarily(self) -> Path:
        """Write the page to a new temporary file; returns its path."""
        number, name = tempfile.mkstemp(".html", "pygradc-view-")
        os.close(number)
        return self.save(name)

    def _repr_html_(self) -> str:
        """The page in a frame that may run its scripts, and nothing else."""
        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(self.html)}" '
            f'style="width: 100%; height: {_HEIGHT}px; border: 1px solid #ccc"></iframe>'
        )

    def __repr__(self) -> str:
        where = "" if self.path is None else f": {self.path}"
        return f"<View of {self.nodes} nodes{where}>"


def show(graph: Graph, path: str | os.PathLike[str] | None, open: bool) -> View:
    """The page of a graph: written to path, or, outside of a notebook, to a temporary file.

    A script, in which nothing shows the result, prints where that is.
    """
    view = View(graph)
    if path is not None:
        view.save(path)
    elif not _is_notebook():
        view.save_temporarily()
        if not hasattr(sys, "ps1"):
            print(view)
    if open:
        view.open()
    return view


def _is_notebook() -> bool:
    """Does a notebook, or something like it, show results as HTML?"""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def page_of(graph: Graph) -> str:
    """The page as text."""
    parts = {
        "title": html.escape(graph.title),
        "style": _read("viewer.css"),
        "dagre": _dagre(),
        "script": "\n".join(['(() => {\n"use strict";', *map(_read, _SCRIPTS), "})();"]),
        "graph": _embedded(as_json(graph)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("viewer.html"))


def _embedded(described: object) -> str:
    """JSON that is the same in a script element: without <, > and &, which mean something there."""
    text = json.dumps(described, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _dagre() -> str:
    """dagre and its licence; without the name of a file that isn't in the page."""
    script = re.sub(r"^//# sourceMappingURL=.*\n?", "", _read("dagre.min.js"), flags=re.MULTILINE)
    return f"/* dagre\n\n{_read('dagre.LICENSE.txt')}*/\n{script}"


@lru_cache(None)
def _read(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
