"""A graphviz drawing that a notebook can display, as text if the program `dot` is missing.

A separate module, since it can't be imported without the graphviz package.
"""

from __future__ import annotations

from typing import Any

import graphviz

WITHOUT_DOT = """\
Drawing needs the program dot of Graphviz, which was not found. To install it: apt install \
graphviz, brew install graphviz, conda install graphviz, or winget install graphviz. As text:
"""


class Digraph(graphviz.Digraph):  # type: ignore[misc] # the package has no types
    """Attributes: text: the graph as text."""

    text = ""

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None, **more: Any
    ) -> dict[str, str]:
        try:
            return dict(super()._repr_mimebundle_(include, exclude, **more))
        except graphviz.ExecutableNotFound:
            return {"text/plain": WITHOUT_DOT + self.text}
