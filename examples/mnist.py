"""MNIST in scalars: the loss of one picture, number by number, trained on all 60,000 of them.

    python examples/mnist.py --epochs 30          # the 1,797 digits that come with pygradc
    python examples/mnist.py FOLDER               # the four idx files, gzipped or not
    python examples/mnist.py TRAIN.csv TEST.csv   # a line: label, 784 pixels; or one file
    python examples/mnist.py FOLDER --jax         # after each epoch the same one in JAX

Nothing is downloaded. The loss is recorded once, and `fit` replays it over shuffled minibatches.
The label is an input: `cross_entropy` takes the logit that it names. One-hot rows would take the
same time, and make one more table.

Sources: LeCun et al., Gradient-based learning applied to document recognition, 1998 (the data);
He et al., Delving deep into rectifiers, 2015 (the scale of the first weights).
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import mnist_data

import pygradc
from pygradc import Value, losses, nn, optim
from pygradc.datasets import DataError

HIDDEN = 128
LEARNING_RATE = 3e-3  # of the first epoch; it falls in a line


def new_model(pixels: int) -> nn.MLP[list[Value]]:
    sizes = [HIDDEN, mnist_data.CLASSES]
    model: nn.MLP[list[Value]] = nn.MLP(pixels, sizes, "relu", output_activation="linear")
    for layer in model.layers:  # drawn between -1 and 1
        scale = math.sqrt(6.0 / len(layer.neurons[0].w))
        pygradc.set_data(layer.parameters(), scale * pygradc.data(layer.parameters()))
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path, nargs="?", help="a folder of idx files, or a CSV file")
    parser.add_argument("test", type=Path, nargs="?", help="a second CSV file")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--jax", action="store_true", help="race JAX, epoch by epoch")
    options = parser.parse_args()
    try:
        train, test = mnist_data.read(options.train, options.test)
    except DataError as error:
        parser.error(str(error))
    random.seed(0)
    model = new_model(train[0].shape[1])

    @pygradc.compile(math="fast")
    def loss(x: list[Value], label: Value) -> Value:
        return losses.cross_entropy(model(x), label)

    predict = pygradc.compile(model, math="fast")
    optimizer = optim.Adam(model.parameters())

    def ours(epoch: int, lr: float) -> float:
        optimizer.lr = lr
        return pygradc.fit(loss, *train, optimizer, batch_size=options.batch, seed=epoch)[0]

    racers: dict[str, Callable[[int, float], float]] = {"pygradc": ours}
    if options.jax:
        from mnist_jax import trainer

        racers["JAX"] = trainer(model.state_dict(), *train, options.batch)
    pygradc.fit(loss, *train, optimizer, epochs=0)  # records
    print(f"{len(train[1])} pictures, {len(model.parameters())} parameters")
    seconds: dict[str, list[float]] = {name: [] for name in racers}
    for epoch in range(options.epochs):
        for name, racer in racers.items():
            began = time.perf_counter()
            mean = racer(epoch, LEARNING_RATE * (1.0 - epoch / options.epochs))
            seconds[name].append(time.perf_counter() - began)
            print(f"epoch {epoch + 1:2}  {name:7}  loss {mean:.6f}  {seconds[name][-1]:.2f} s")
    right = predict.map(test[0]).argmax(axis=1) == test[1]
    print(f"right: {100.0 * right.mean():.2f}% of {len(right)} other pictures")
    if seconds.get("JAX"):
        ratio = min(seconds["pygradc"]) / min(seconds["JAX"])
        print(f"fastest epoch, as a multiple of JAX's: {ratio:.2f}")


if __name__ == "__main__":
    main()
