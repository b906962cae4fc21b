"""Names from a file, and their letters as numbers.

The alphabet is whatever the file uses, in order. One number more, `end`, stands before and after
every name.
"""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).resolve().parent / "data" / "names.txt"


class Names:
    """Words and their alphabet.

    Raises:
        ValueError: there is no word.
    """

    def __init__(self, words: list[str]) -> None:
        if not words:
            raise ValueError("no names in it")
        self.words = words
        self.letters = sorted(set("".join(words)))
        self.end = len(self.letters)
        self._numbers = {letter: i for i, letter in enumerate(self.letters)}

    @property
    def vocabulary(self) -> int:
        """How many numbers there are, `end` included."""
        return len(self.letters) + 1

    def encode(self, word: str) -> list[int]:
        """The numbers of its letters, between two `end`."""
        return [self.end, *(self._numbers[letter] for letter in word), self.end]

    def decode(self, numbers: list[int]) -> str:
        return "".join(self.letters[i] for i in numbers)


def load(path: Path) -> Names:
    """The names in a UTF-8 file, one a line; empty lines don't count.

    Raises:
        OSError: the file can't be read.
        ValueError: it is no UTF-8, or empty.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    return Names([line.strip() for line in lines if line.strip()])
