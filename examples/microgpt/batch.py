"""Train the GPT of gpt.py on batches of names, by one recording for names of all lengths.

    python examples/microgpt/batch.py

train.py takes a name a step, and records its loss once for each length. Here a name is a row of
numbers: its letters between two `end`, filled up with `end` to the longest. `pygradc.take` looks up
a letter's embedding, and the logit of the letter that comes next; places behind the end of a name
count nothing. So all rows have one shape, and `pygradc.fit` trains on them in batches.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from typing import Any

import gpt
import names
import numpy as np
import train

import pygradc
from pygradc import Value, optim

RATE = 0.01


def padded(data: names.Names, words: Sequence[str]) -> tuple[Any, Any]:
    """Rows of numbers, (words, letters of the longest + 2), and how many letters each predicts."""
    rows = [data.encode(word)[: gpt.BLOCK + 1] for word in words]
    longest = max(map(len, rows))
    lengths = np.array([len(row) - 1 for row in rows])
    return np.array([row + [data.end] * (longest - len(row)) for row in rows]), lengths


def loss(weights: gpt.Weights, numbers: Sequence[Any], length: Any) -> Any:
    """The mean cross-entropy of a word's letters, as gpt.loss: of the first `length` places."""
    reader = gpt.Reader(weights)
    total: Value | float = 0.0
    for place, (letter, target) in enumerate(zip(numbers, numbers[1:])):
        logits = reader.read(pygradc.take(weights.tokens, letter))
        term = pygradc.sum(l.exp() for l in logits).log() - pygradc.take(logits, target)
        total += pygradc.where(length > place, term, 0.0)
    return total / length


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small GPT on batches of names.")
    parser.add_argument("--epochs", type=train.count, default=3)
    parser.add_argument("--batch", type=train.count, default=32, help="names a step")
    parser.add_argument("--words", type=train.count, default=2000)
    options = parser.parse_args()
    random.seed(42)
    data = names.load(names.FILE)
    random.shuffle(data.words)
    rows, lengths = padded(data, data.words[: options.words])
    weights = gpt.Weights(Value, data.vocabulary)

    @pygradc.compile(math="fast")
    def of_row(numbers: Sequence[Any], length: Any) -> Any:
        return loss(weights, numbers, length)

    optimizer = optim.Adam(weights.parameters(), lr=RATE, betas=train.BETAS)
    began = time.perf_counter()
    for epoch in range(options.epochs):
        optimizer.lr = RATE * (1 - epoch / options.epochs)
        (mean,) = pygradc.fit(
            of_row, rows, lengths, optimizer, epochs=1, batch_size=options.batch, seed=epoch
        )
        print(f"epoch {epoch + 1}: loss {mean:.4f}, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
