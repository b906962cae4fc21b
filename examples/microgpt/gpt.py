"""A GPT in plain Values: lists, loops, `sum` and micrograd's operators.

The size and the shape are those of Karpathy's microgpt: one block of attention and a perceptron
with ReLU, each behind an RMS norm and around it a residual; no biases, no learned gains, an output
layer of its own. 4,192 numbers for an alphabet of 27.

Any class of the kind will do for `Value`. Nothing here knows a token: the embedding rows of the
letters and one-hot rows of the targets are arguments. The graph's shape is then a matter of the
word's length alone, and one recording serves all words of a length. (The sums with one-hot rows add
zeros; they pick a logit without changing a bit of it.)

Some 8,000 nodes a letter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

WIDTH = 16
HEADS = 4
BLOCK = 16  # letters that it can look back on

Row = Sequence[Any]  # of Values, or of numbers
Matrix = list[list[Any]]  # [outputs][inputs]


class Weights:
    """The matrices, drawn one after the other from `random`."""

    def __init__(self, value: Callable[[float], Any], vocabulary: int) -> None:
        def matrix(rows: int, columns: int) -> Matrix:
            return [[value(random.gauss(0.0, 0.08)) for _ in range(columns)] for _ in range(rows)]

        self.tokens = matrix(vocabulary, WIDTH)
        self.places = matrix(BLOCK, WIDTH)
        self.output = matrix(vocabulary, WIDTH)
        self.query, self.key, self.content, self.mix = (matrix(WIDTH, WIDTH) for _ in range(4))
        self.widen = matrix(4 * WIDTH, WIDTH)
        self.narrow = matrix(WIDTH, 4 * WIDTH)

    def parameters(self) -> list[Any]:
        return [p for matrix in vars(self).values() for row in matrix for p in row]


def dot(a: Row, b: Row) -> Any:
    return sum(x * y for x, y in zip(a, b))


def linear(matrix: Matrix, x: Row) -> Row:
    return [dot(row, x) for row in matrix]


def add(a: Row, b: Row) -> Row:
    return [x + y for x, y in zip(a, b)]


def rms_norm(x: Row) -> Row:
    scale = (dot(x, x) / len(x) + 1e-5) ** -0.5
    return [v * scale for v in x]


def softmax(scores: Row) -> Row:
    """Without the usual shift by the largest: the scores of so small a net stay far below 700."""
    powers = [s.exp() for s in scores]
    scale = sum(powers) ** -1
    return [p * scale for p in powers]


class Reader:
    """Reads a word letter by letter, and keeps the keys and contents of those it has read."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.keys: list[Row] = []
        self.contents: list[Row] = []

    def read(self, letter: Row) -> Row:
        """The logits of the next letter, given the embedding row of this one."""
        w = self.weights
        x = rms_norm(add(letter, w.places[len(self.keys)]))
        x = add(linear(w.mix, self._attend(rms_norm(x))), x)
        hidden = [unit.relu() for unit in linear(w.widen, rms_norm(x))]
        x = add(linear(w.narrow, hidden), x)
        return linear(w.output, x)

    def _attend(self, x: Row) -> Row:
        """What the letters so far have to say to this one, head by head."""
        w = self.weights
        query = linear(w.query, x)
        self.keys.append(linear(w.key, x))
        self.contents.append(linear(w.content, x))
        answer: list[Any] = []
        for start in range(0, WIDTH, WIDTH // HEADS):
            own = slice(start, start + WIDTH // HEADS)
            scores = [dot(query[own], key[own]) / (WIDTH / HEADS) ** 0.5 for key in self.keys]
            attention = softmax(scores)
            answer += [dot(attention, column) for column in zip(*(c[own] for c in self.contents))]
        return answer


def loss(weights: Weights, letters: Sequence[Row], targets: Sequence[Row]) -> Any:
    """The mean cross-entropy of a word's letters, each predicted from those before it.

    Args:
        letters: the embedding row of each.
        targets: of each, a one-hot row that marks the next.
    """
    reader = Reader(weights)
    terms = []
    for letter, target in zip(letters, targets):
        logits = reader.read(letter)
        exps: Any = sum(l.exp() for l in logits)
        terms.append(exps.log() - dot(logits, target))
    return sum(terms) / len(terms)
