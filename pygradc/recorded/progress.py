"""The bar of `fit`: tqdm's, by rows or by epochs, in a terminal or a notebook; else nothing.

Cost: without a bar, a comparison for each call into C.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

Progress = Literal["", "rows", "epochs"]


def check_progress(given: Any) -> Progress:
    """By what to show progress; "" for no bar.

    Raises:
        TypeError: it is neither a bool nor one of the words.
    """
    if given in ("rows", "epochs"):
        return "rows" if given == "rows" else "epochs"
    if isinstance(given, str):
        raise TypeError(f"fit: progress must be True, False, 'epochs' or 'rows', not {given!r:.80}")
    return "rows" if given else ""


class Bar:
    """A tqdm bar over a run, or a no-op; a context, which closes it.

    Args:
        by: "rows" or "epochs"; "" for a no-op.
        epochs, rows: of the run; done: epochs that it has already.
    Raises:
        ImportError: tqdm is not installed.
    """

    def __init__(self, by: Progress, epochs: int, rows: int, done: int) -> None:
        self.bar: Any = None
        self.each = rows if by == "rows" else 1
        if not by:
            return
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError("fit(progress=True) needs tqdm: pip install tqdm") from None
        if _is_notebook() or sys.stderr.isatty():
            self.bar = tqdm(
                total=epochs * self.each,
                initial=done * self.each,
                unit=by[:-1],
                unit_scale=by == "rows",
            )

    @property
    def is_shown(self) -> bool:
        return self.bar is not None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, epochs: int, loss: float) -> None:
        """So many epochs more are done, the last of this loss."""
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            self.bar.update(epochs * self.each)


def _is_notebook() -> bool:
    """Is this the kernel of a notebook?"""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config
