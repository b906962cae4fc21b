"""A next-character model in the style of microgpt, recorded although its graph depends on tokens.

Which rows of the embedding table a word needs depends on its letters, and a recording would freeze
them. So the recorded function doesn't look anything up: it takes the rows, lists of Values, as its
arguments, and the targets as one-hot rows. One program a length serves all words, and
`loss.backward()` flows into exactly the rows that were passed. What doesn't depend on the tokens
(positions, attention, output) is captured.
"""

from __future__ import annotations

import argparse
import random
import timeit
from collections.abc import Callable
from functools import partial

import numpy as np

import pygradc
from pygradc import Value, dot, losses, optim

TEXT = """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
thousand million billion"""
WORDS = TEXT.split()
LETTERS = ["."] + sorted(set("".join(WORDS)))  # "." begins and ends a word
NUMBER = {letter: i for i, letter in enumerate(LETTERS)}
LONGEST = max(map(len, WORDS)) + 1
WIDTH = 12

Row = list[Value]


def matrix(rows: int, columns: int) -> list[Row]:
    return [[Value(random.gauss(0.0, 0.3)) for _ in range(columns)] for _ in range(rows)]


random.seed(42)
tokens, places = matrix(len(LETTERS), WIDTH), matrix(LONGEST, WIDTH)
query, key, content, mix = (matrix(WIDTH, WIDTH) for _ in range(4))
output = matrix(len(LETTERS), WIDTH)
tables = (tokens, places, query, key, content, mix, output)
parameters = [p for table in tables for row in table for p in row]


def linear(weights: list[Row], x: Row) -> Row:
    return [dot(row, x) for row in weights]


def scores(rows: list[Row]) -> list[Row]:
    """For each position a logit a letter: one head of attention over the tokens so far."""
    keys, contents, results = [], [], []
    for row, place in zip(rows, places):
        x = [a + b for a, b in zip(row, place)]
        asked = linear(query, x)
        keys.append(linear(key, x))
        contents.append(linear(content, x))
        similar = [dot(asked, k) * WIDTH**-0.5 for k in keys]
        weights = [w.exp() for w in losses.log_softmax(similar)]
        seen = linear(mix, [dot(weights, column) for column in zip(*contents)])
        results.append(linear(output, [a + b for a, b in zip(x, seen)]))
    return results


@pygradc.compile(max_programs=LONGEST)
def loss(rows: list[Row], targets: list[list[float]]) -> Value:
    """The mean cross-entropy of a word's letters, each predicted from those before it."""
    terms = map(losses.soft_cross_entropy, scores(rows), targets)
    return pygradc.sum(list(terms)) / len(rows)


@pygradc.compile(max_programs=LONGEST)
def next_scores(rows: list[Row]) -> Row:
    return scores(rows)[-1]


def rows_and_targets(word: str) -> tuple[list[Row], list[list[float]]]:
    numbers = [NUMBER[letter] for letter in f".{word}."]
    return [tokens[i] for i in numbers[:-1]], np.eye(len(LETTERS))[numbers[1:]].tolist()


def sample(temperature: float = 0.5) -> str:
    """A word, letter by letter. It takes numbers and no gradients: `map`."""
    table = np.array([[p.data for p in row] for row in tokens])
    word = [0]
    for _ in range(LONGEST):
        (logits,) = next_scores.map(table[word][None])
        chances = np.exp((logits - logits.max()) / temperature)
        word += random.choices(range(len(LETTERS)), chances.tolist())
        if word[-1] == 0:
            break
    return "".join(LETTERS[i] for i in word if i)


def step(function: Callable[..., Value], word: str, optimizer: optim.Optimizer) -> float:
    mean = function(*rows_and_targets(word))
    optimizer.zero_grad()
    mean.backward()
    optimizer.step()
    return mean.data


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=3000)
    steps = parser.parse_args().steps
    optimizer = optim.Adam(parameters, lr=0.01)
    print(f"{len(WORDS)} words, {len(LETTERS)} letters, {len(parameters)} parameters")
    recent: list[float] = []
    for i in range(steps):
        word = random.choice(WORDS)
        eager = loss.__wrapped__(*rows_and_targets(word)).data if i < 10 else None
        recent.append(step(loss, word, optimizer))
        assert eager is None or eager == recent[-1]  # to the last digit
        optimizer.lr = 0.01 * (1.0 - i / steps)
        if (i + 1) % max(1, steps // 10) == 0:
            print(f"step {i + 1:5}  loss {sum(recent) / len(recent):.4f}")
            recent = []
    print(f"{len(loss.programs)} programs, one a length")
    for name, function in (("eager", loss.__wrapped__), ("recorded", loss)):
        seconds = timeit.repeat(partial(step, function, "seventeen", optimizer), number=1)
        print(f"a step {name}: {min(seconds) * 1e3:.2f} ms")
    print("sampled:", *(sample() for _ in range(12)))


if __name__ == "__main__":
    main()
