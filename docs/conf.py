"""The documentation site, by Sphinx: `make docs-site` builds it into build/site.

The sources are the Markdown pages that GitHub shows, where they are, and the docstrings; a link to
any other file of the repository gives the file itself. docs/index.md is the navigation. A page that
isn't in it, a link or an anchor that leads nowhere, and a docstring that isn't valid are errors.
"""

from __future__ import annotations

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
include_patterns = ["docs/**", "*.md", "bench/*.md", "csrc/README.md", "pygradc/data/README.md"]
root_doc = "docs/index"

myst_heading_anchors = 4  # as GitHub's
default_role = "code"  # `name` in a docstring
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
        if (here / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", without_links_to_folders)
