"""Train the GPT of gpt.py on names, then let it make some up.

    python examples/microgpt/train.py --engine recorded

Three engines run the same model and print the same digits: the loss of each step and the names.

    reference   pygradc.reference, pure Python, about a second a step
    pygradc     Values on the native graph, op by op
    recorded    the loss is recorded once for each length of a name, and replayed in C

The settings are those of Karpathy's microgpt, down to the order in which random numbers are drawn.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gpt
import names

Rows = Sequence[gpt.Row]
Loss = Callable[[Rows, Rows], Any]  # gpt.loss of given weights

RATE = 0.01
BETAS = (0.85, 0.99)
TEMPERATURE = 0.5


class Engine(NamedTuple):
    """What runs the model: a class of Values, its Adam, and what becomes of the loss function."""

    value: Callable[[float], Any]
    adam: Callable[..., Any]
    prepare: Callable[[Loss], Loss] = lambda loss: loss


def reference() -> Engine:
    from pygradc import reference

    return Engine(reference.Value, reference.Adam)


def eager() -> Engine:
    from pygradc import Value, optim

    return Engine(Value, optim.Adam)


def recorded() -> Engine:
    return eager()._replace(prepare=record)


def record(loss: Loss) -> Loss:
    """The loss as recorded programs, one for each length of a name.

    A letter's row is an argument at each of its places, and its gradients come back in the order in
    which `backward()` walks the graph. So the digits stay the same even where a letter occurs three
    times, as in "alana".
    """
    import pygradc

    replayed: Loss = pygradc.compile(loss, max_programs=gpt.BLOCK)
    return replayed


ENGINES = {"reference": reference, "pygradc": eager, "recorded": recorded}


class Trainer:
    """A model in training, with its optimiser; the weights come from `random` as it stands."""

    def __init__(self, engine: Engine, data: names.Names) -> None:
        self.data = data
        self.weights = gpt.Weights(engine.value, data.vocabulary)
        self.loss = engine.prepare(partial(gpt.loss, self.weights))
        self.optimizer = engine.adam(self.weights.parameters(), lr=RATE, betas=BETAS)
        numbers = range(data.vocabulary)
        self._one_hot = [[float(i == j) for j in numbers] for i in numbers]

    def step(self, word: str, rate: float = RATE) -> float:
        """Move all weights after one word. Returns: its loss before."""
        numbers = self.data.encode(word)[: gpt.BLOCK + 1]
        rows = [self.weights.tokens[i] for i in numbers[:-1]]
        mean = self.loss(rows, [self._one_hot[i] for i in numbers[1:]])
        self.optimizer.zero_grad()
        mean.backward()
        self.optimizer.lr = rate
        self.optimizer.step()
        return float(mean.data)

    def sample(self) -> str:
        """A new word, letter by letter."""
        reader, word = gpt.Reader(self.weights), [self.data.end]
        for _ in range(gpt.BLOCK):
            logits = reader.read(self.weights.tokens[word[-1]])
            chances = gpt.softmax([logit / TEMPERATURE for logit in logits])
            word += random.choices(range(len(chances)), [p.data for p in chances])
            if word[-1] == self.data.end:
                break
        return self.data.decode([i for i in word if i != self.data.end])


def start(engine: Engine, data: names.Names) -> Trainer:
    """With the seed that microgpt has; the words are shuffled."""
    random.seed(42)
    random.shuffle(data.words)
    return Trainer(engine, data)


def run(trainer: Trainer, steps: int, samples: int) -> None:
    """Train and sample, printing as it goes: the same on every engine."""
    words = trainer.data.words
    print(f"{len(words)} names, {trainer.data.vocabulary} tokens")
    print(f"{len(trainer.weights.parameters())} parameters")
    for i in range(steps):
        loss = trainer.step(words[i % len(words)], RATE * (1 - i / steps))
        print(f"step {i + 1} / {steps}: loss {loss!r}")
    for i in range(samples):
        print(f"name {i + 1}: {trainer.sample()}")


def count(text: str) -> int:
    """For argparse: how many; 0 is fine."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small GPT on names.")
    parser.add_argument("--engine", choices=ENGINES, default="recorded")
    parser.add_argument("--steps", type=count, default=1000, help="one name a step")
    parser.add_argument("--samples", type=count, default=20, help="names to make up at the end")
    parser.add_argument("--data", type=Path, default=names.FILE, help="a text file, a name a line")
    options = parser.parse_args()
    try:
        data = names.load(options.data)
    except (OSError, ValueError) as error:
        parser.error(f"--data {options.data}: {getattr(error, 'strerror', None) or error}")
    trainer = start(ENGINES[options.engine](), data)
    began = time.perf_counter()
    run(trainer, options.steps, options.samples)
    print(f"{options.engine}: {time.perf_counter() - began:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
