"""The smallest language model: which letter follows which, learned from names.

    python examples/bigram.py

A bigram model has one number, a logit, for each letter and each letter that may follow it. Here the
logits are Values and are trained; `take(table, letter)` looks up the row of the letter before, an
input of the recorded loss, and `cross_entropy` looks up the letter that comes next.

Counting solves the same problem without any training: the best chance of a pair is the share of
it among the pairs that begin alike. So the loss that training must arrive at is known, and the
script prints both. As in Karpathy's makemore, part 1.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from pathlib import Path

import pygradc
from pygradc import Value, losses, optim

FILE = Path(__file__).resolve().parent / "microgpt" / "data" / "names.txt"
NAMES = FILE.read_text(encoding="utf-8").split()[:2000]
LETTERS = ["."] + sorted(set("".join(NAMES)))  # "." begins and ends a name
NUMBER = {letter: i for i, letter in enumerate(LETTERS)}

table = [[Value(0.0) for _ in LETTERS] for _ in LETTERS]  # a row of logits for each letter
parameters = [logit for row in table for logit in row]


def pairs() -> tuple[list[int], list[int]]:
    """Each letter of the names, and the one that follows it."""
    numbers = [[NUMBER[letter] for letter in f".{name}."] for name in NAMES]
    before = [i for word in numbers for i in word[:-1]]
    return before, [i for word in numbers for i in word[1:]]


@pygradc.compile(math="fast")
def loss(before: Value, after: Value) -> Value:
    """How surprising the second letter is after the first: -log of its chance."""
    return losses.cross_entropy(pygradc.take(table, before), after)


def loss_of_counts(before: list[int], after: list[int]) -> float:
    """The mean of the same loss, if chances are what was counted: no table has a smaller one."""
    starts, counts = Counter(before), Counter(zip(before, after))
    surprises = (n * -math.log(n / starts[first]) for (first, _), n in counts.items())
    return sum(surprises) / len(before)


def sample() -> str:
    """A name, letter by letter, by the chances that were learned."""
    word = [0]
    while len(word) == 1 or word[-1] != 0:
        weights = [math.exp(logit.data) for logit in table[word[-1]]]
        word += random.choices(range(len(LETTERS)), weights)
    return "".join(LETTERS[i] for i in word if i)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args().epochs
    random.seed(42)
    before, after = pairs()
    print(f"{len(NAMES)} names, {len(before)} pairs, {len(parameters)} parameters")
    optimizer = optim.Adam(parameters, lr=0.1)
    for epoch in range(epochs):
        optimizer.lr = 0.1 * (1.0 - epoch / epochs)
        (mean,) = pygradc.fit(loss, before, after, optimizer, epochs=1, batch_size=1000)
        if (epoch + 1) % max(1, epochs // 6) == 0:
            print(f"epoch {epoch + 1:3}  loss {mean:.4f}")
    print(f"after training {loss.mean(before, after).data:.4f}")
    print(f"by counting    {loss_of_counts(before, after):.4f}")
    print("sampled:", *(sample() for _ in range(10)))


if __name__ == "__main__":
    main()
