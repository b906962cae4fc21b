"""The documentation site, by Sphinx: `make docs-site` builds it into build/site.

The sources are the Markdown pages that GitHub shows, where they are, and the docstrings; a link to
any other file of the repository gives the file itself. docs/index.md is the navigation. A page that
isn't in it, a link or an anchor that leads nowhere, and a docstring that isn't valid are errors.
"""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import pygradc

project = "pygradc"
copyright = "the pygradc developers"
release = pygradc.__version__

extensions = [
    "myst_parser",  # Markdown
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # docstrings with Args, Returns, Raises
    "sphinx_copybutton",
]
include_patterns = [
    "docs/**",
    "*.md",
    "bench/*.md",
    "csrc/README.md",
    "examples/notebooks/README.md",
    "pygradc/data/README.md",
]
root_doc = "docs/index"

myst_heading_anchors = 4  # as GitHub's
default_role = "code"  # `name` across two lines of a docstring
napoleon_use_ivar = True
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "pygradc"
html_extra_path = ["site"]  # index.html leads to the start page
html_show_sourcelink = False


def without_links_to_folders(app: Sphinx, doctree: nodes.document) -> None:
    """GitHub lists a folder; here there is nothing that such a link could lead to."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link in [*doctree.findall(addnodes.pending_xref)]:
        if link["reftype"] == "myst" and (here / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def without_blank_lines(app: Sphinx, doctree: nodes.document) -> None:
    """A session in Markdown ends with one, for doctest."""
    for block in doctree.findall(nodes.literal_block):
        block[:] = [nodes.Text(block.astext().rstrip("\n"))]


def as_restructured_text(
    app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]
) -> None:
    """Docstrings are plain text with `code`: * and | mean themselves, an example stands alone."""
    indent = None  # of an example
    for i, line in enumerate(lines):
        text = line.lstrip()
        if not text:
            indent = None
        elif text.startswith(">>> ") and indent is None:
            indent = len(line) - len(text)
        if indent is None:
            parts = re.split(r"(`[^`]+`)", line)
            parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
            parts[1::2] = [f"`{part}`\\ " for part in parts[1::2]]
            lines[i] = "".join(parts)
            if i and lines[i - 1].strip() == "Returns:":  # no type before a colon
                lines[i] = re.sub(r"^( *)", r"\1: ", lines[i])
        else:
            lines[i] = line[indent:]


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", without_links_to_folders)
    app.connect("doctree-read", without_blank_lines)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)  # napoleon is next
