"""What numpy does with a comparison whose left side is a scalar of its own."""

from __future__ import annotations

from typing import Any

import numpy as np


class Answers:
    """Not numpy's, as a Value."""

    def __eq__(self, other: object) -> Any:
        return "what it says"

    __hash__ = None  # type: ignore[assignment]


# Older ones make a bool of the answer, which a recording refuses.
HANDS_ON = isinstance(np.float64(1.0) == Answers(), str)
