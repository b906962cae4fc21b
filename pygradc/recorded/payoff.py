"""Does it pay to share rows with other threads? Learned from calls that did, for each kind of work.

A few rows take less than to wake a thread. And where the other cores are busy, sharing takes longer
than not to: then some calls go without, 1, 3, 7 and so on up to 64, before the next one tries.
No result depends on it.
"""

from __future__ import annotations

SHORT = 3e-4  # seconds of work that isn't shared: sharing takes 0.1 ms itself
MOST_RESTS = 64  # calls


class Payoff:
    """What is known of one kind of work.

    Attributes:
        few: the number of rows up to which the calling thread does them alone.
    """

    __slots__ = ("_least", "_pause", "_rests", "few")

    def __init__(self, least: int) -> None:
        self.few = self._least = least  # rows that can't be shared
        self._pause = self._rests = 0

    def is_alone(self, rows: int) -> bool:
        """Does the calling thread do so many rows alone?"""
        if rows <= self.few:
            return True
        if self._rests <= 0:
            return False
        self._rests -= 1
        return True

    def note(self, rows: int, alone: float, shared: float) -> None:
        """Note the seconds that so many rows take alone, and what they took shared."""
        self.few = max(self._least, int(rows * SHORT / max(alone, 1e-9)))
        self._pause = min(2 * self._pause + 1, MOST_RESTS) if shared > alone else 0
        self._rests = self._pause
