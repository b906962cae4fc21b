"""Programs that are killed at random moments, for test_saving.py and test_checkpoint.py.

    python lives.py NAME FOLDER

runs a function of this file in a process of its own, which forks children and kills them with
SIGKILL, again and again, and prints what was seen, as JSON. POSIX only.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import pygradc
from pygradc import Value, load, load_state, losses, nn, optim, save_state
from pygradc.files import atomic

# ---- Life and death ------------------------------------------------------------------------------


def run_child(work: Callable[[], Any]) -> NoReturn:
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def live(work: Callable[[], Any], seconds: float) -> bool:
    """Fork a child that works, and kill it after this time. Did it come to its end before?"""
    child = os.fork()
    if child == 0:
        run_child(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
        return True
    return False


def drafts(folder: Path) -> int:
    """Files that a kill has left behind: it came in the middle of a writing."""
    left = list(folder.glob(".pygradc-*.part"))
    for path in left:
        path.unlink()
    return len(left)


# ---- Saving in a loop ----------------------------------------------------------------------------

NUMBERS = 30_000  # of a state: 240 kB


def plain_write(path: Any, content: bytes) -> None:
    """What a writer must not do; the test has to see that."""
    with open(path, "wb") as file:
        file.write(content)


def saver(folder: Path) -> Callable[[int], None]:
    w = Value(0.0)
    program = pygradc.compile(lambda x: x * w)
    program(1.0)

    def save_version(version: int) -> None:
        w.data = float(version)
        program.programs[0].save(folder / "program")
        save_state({"a": np.full(NUMBERS, version), "b": version}, folder / "state.npz")

    return save_version


def versions(folder: Path) -> tuple[int, int]:
    """Of the two files, each of which must be of one piece."""
    w = load(folder / "program").parameters()[0].data
    state = load_state(folder / "state.npz")
    found = set(state["a"].tolist()) | {int(state["b"])}
    if state["a"].shape != (NUMBERS,) or len(found) != 1:
        raise ValueError(f"a mixture of {found}")
    return int(w), found.pop()


def save(folder: Path, most: int = 1000) -> dict[str, Any]:
    """How many files were in pieces, or old, or were caught half-written, until enough was seen."""
    rng, save_version = random.Random(1), saver(folder)
    save_version(0)

    def save_forever() -> None:
        for version in range(seen["last"] + 1, 1_000_000):
            save_version(version)

    seen = {"torn": 0, "older": 0, "drafts": 0, "whole": 0, "last": 0}
    longest = 0.03
    while seen["torn"] == 0 and (seen["whole"] < 80 or seen["last"] < 20 or seen["drafts"] < 20):
        assert seen["whole"] < most, seen
        live(save_forever, rng.uniform(0.0, longest))
        longest *= 1.02  # where the disk is so slow that nothing gets done
        seen["drafts"] += drafts(folder)
        try:
            program, state = versions(folder)
        except ValueError:
            seen["torn"] += 1
            continue
        seen["whole"] += 1
        seen["older"] += state < seen["last"] or program < state
        seen["last"] = state
    return seen


def save_plainly(folder: Path) -> dict[str, Any]:
    atomic.write = plain_write
    return save(folder)


# ---- Training ------------------------------------------------------------------------------------

XS = np.random.default_rng(1).normal(size=(23, 2))
YS = np.random.default_rng(2).normal(size=23)


class Signs(optim.Optimizer):
    """An optimiser that only Python knows, with an array of its own and a number."""

    _state = ("sum",)

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters)
        self.sum, self.lr = np.zeros(len(self.parameters)), 0.01

    def step(self) -> None:
        for i, p in enumerate(self.parameters):
            self.sum[i] += p.grad
            p.data -= self.lr * float(np.sign(self.sum[i]))
        self.steps += 1


class Slower:
    """A callback with a memory: when the loss has gone up often enough, half the learning rate."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer, self.best, self.waited = optimizer, float("inf"), 0

    def __call__(self, epoch: int, loss: float) -> None:
        self.waited = 0 if loss < self.best else self.waited + 1
        self.best = min(self.best, loss)
        if self.waited == 2:
            self.waited, self.optimizer.lr = 0, self.optimizer.lr / 2

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited = float(state["best"]), int(state["waited"])


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.3, momentum=0.9),
    "Adam": lambda ps: optim.Adam(ps, lr=0.1, weight_decay=0.01),
    "Signs": Signs,
}


def network() -> tuple[list[Value], Any]:
    """Parameters, and one row's loss; each time the same, with Values of its own."""
    random.seed(3)
    model = nn.MLP(2, [4, 1], "tanh", "linear")
    return model.parameters(), pygradc.compile(lambda x, y: losses.mse(model(x), y))


def outcome(optimizer: Any, history: list[float]) -> str:
    """Every bit that a training leaves."""
    state = {name: np.asarray(x).tolist() for name, x in optimizer.state_dict().items()}
    numbers = [(p.data, p.grad) for p in optimizer.parameters]
    return repr((numbers, state, optimizer.lr, history))


def trained(name: str, epochs: int, **how: Any) -> str:
    parameters, loss = network()
    optimizer = OPTIMIZERS[name](parameters)
    how = {"batch_size": 5, "seed": 7, "callback": Slower(optimizer), **how}
    return outcome(optimizer, pygradc.fit(loss, XS, YS, optimizer, epochs=epochs, **how))


def train(folder: Path, name: str, epochs: int = 30, kills: int = 20) -> dict[str, Any]:
    """Kill trainings, and go on with them; how many come to another end than they would have?

    A fast machine does several of them until there were enough kills.
    """
    rng, expected = random.Random(name), trained(name, epochs)
    file, result = folder / "run.npz", folder / "result"

    def work() -> None:
        result.write_text(trained(name, epochs, checkpoint=file, resume=True))

    seen = {"kills": 0, "different": 0}
    longest = 0.02
    while seen["kills"] < kills:
        file.unlink(missing_ok=True)
        while not live(work, rng.uniform(0.0, longest)):
            seen["kills"] += 1
            longest *= 1.05  # where the disk is so slow that nothing gets done
        longest /= 2.0
        seen["different"] += result.read_text() != expected
    return seen


def main() -> None:
    name, folder, *arguments = sys.argv[1:]
    print(json.dumps(globals()[name](Path(folder), *arguments)))


if __name__ == "__main__":
    main()
