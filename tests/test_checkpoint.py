"""Does a run that stops, and is resumed, come to the bits of one that never did?

Runs are stopped by an exception, by the number of epochs, by a full disk, by SIGKILL; a file of
another run, or a damaged one, is refused and changes nothing.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lives import OPTIMIZERS, XS, YS, Signs, Slower, network, outcome, trained
from test_saving import files, lives, no_file_above, posix

import pygradc
from pygradc import Value, load_state, losses, nn, optim, save_state
from pygradc.__main__ import main
from pygradc.command.training import train
from pygradc.datasets import load

each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


class Stop(Exception):
    """What ends a run early."""


class StopAt(Slower):
    """As Slower, and raises in one epoch."""

    def __init__(self, optimizer: Any, at: int) -> None:
        super().__init__(optimizer)
        self.at = at

    def __call__(self, epoch: int, loss: float) -> None:
        super().__call__(epoch, loss)
        if epoch == self.at:
            raise Stop


def stopped_at(name: str, at: int, epochs: int, **how: Any) -> None:
    parameters, loss = network()
    optimizer = OPTIMIZERS[name](parameters)
    with pytest.raises(Stop):
        pygradc.fit(
            loss, XS, YS, optimizer, epochs=epochs, callback=StopAt(optimizer, at), **how
        )  # fmt: skip


# ---- The same bits -------------------------------------------------------------------------------


@each_optimizer
@pytest.mark.parametrize("every", [1, 3, 100])
@pytest.mark.parametrize("batch_size", [None, 1, 5, 23])
@pytest.mark.parametrize("shuffle", [True, False])
def test_resumed_runs_come_to_the_same_bits(
    name: str, every: int, batch_size: int | None, shuffle: bool, tmp_path: Path
) -> None:
    how = {"batch_size": batch_size, "shuffle": shuffle, "seed": 3}
    file = {"checkpoint": tmp_path / "run.npz", "checkpoint_every": every}
    for at in (1, 4, 5):
        stopped_at(name, at, 8, **how, **file, resume=True)
    assert trained(name, 8, **how, **file, resume=True) == trained(name, 8, **how)
    assert list(files(tmp_path)) == ["run.npz"]


@each_optimizer
def test_more_epochs_than_before(name: str, tmp_path: Path) -> None:
    file = tmp_path / "run.npz"
    for epochs in (0, 2, 3, 7, 7):
        one = trained(name, epochs, checkpoint=file, checkpoint_every=5, resume=True)
        assert one == trained(name, epochs)


def test_a_checkpoint_changes_nothing_for_the_run_that_writes_it(tmp_path: Path) -> None:
    for every in (1, 2, 10):
        how = {"checkpoint": tmp_path / "run.npz", "checkpoint_every": every}
        assert trained("Adam", 5, **how) == trained("Adam", 5)


def test_many_epochs_at_once_where_nobody_looks(tmp_path: Path) -> None:
    def run(epochs: int, **how: Any) -> str:
        parameters, loss = network()
        optimizer = optim.Adam(parameters)
        return outcome(optimizer, pygradc.fit(loss, XS, YS, optimizer, epochs=epochs, **how))

    file = {"checkpoint": tmp_path / "run.npz", "checkpoint_every": 40}
    assert run(70, **file) == run(70)
    assert len(load_state(file["checkpoint"])["history"]) == 70
    assert run(200, **file, resume=True) == run(200)


def test_a_seed_of_none_goes_on_in_the_order_that_it_drew(tmp_path: Path) -> None:
    """The run is copied in mid-course, and both copies come to the same."""
    file, copy = tmp_path / "run.npz", tmp_path / "copy.npz"
    trained("Adam", 3, seed=None, checkpoint=file)
    copy.write_bytes(file.read_bytes())
    one, other = (
        trained("Adam", 9, seed=None, checkpoint=path, resume=True) for path in (file, copy)
    )
    assert one == other != trained("Adam", 9, seed=None)


def test_what_the_function_captured_besides_is_part_of_the_run(tmp_path: Path) -> None:
    """The weight of a penalty, which the callback lowers; nobody clears its gradient."""

    def run(epochs: int, make: Callable[[Any], Any], **how: Any) -> str:
        random.seed(3)
        model, penalty = nn.MLP(2, [3, 1]), Value(0.1)
        parameters = model.parameters()
        optimizer = make(parameters)

        def lower(epoch: int, loss: float) -> None:
            penalty.data *= 0.5

        loss = pygradc.compile(
            lambda x, y: losses.mse(model(x), y) + penalty * sum(p * p for p in parameters)
        )
        history = pygradc.fit(loss, XS, YS, optimizer, epochs=epochs, callback=lower, **how)
        return outcome(optimizer, history) + repr((penalty.data, penalty.grad))

    for i, make in enumerate(OPTIMIZERS.values()):
        file = {"checkpoint": tmp_path / f"{i}.npz", "batch_size": 7, "seed": 1}
        run(3, make, **file)
        assert run(6, make, **file, resume=True) == run(6, make, batch_size=7, seed=1)


def test_momentum_that_comes_later(tmp_path: Path) -> None:
    def run(epochs: int, **how: Any) -> str:
        parameters, loss = network()
        optimizer = optim.SGD(parameters, lr=0.05)

        def push(epoch: int, loss: float) -> None:
            if epoch == 2:
                optimizer.momentum = 0.9

        how = {"batch_size": 5, "seed": 2, "callback": push, **how}
        return outcome(optimizer, pygradc.fit(loss, XS, YS, optimizer, epochs=epochs, **how))

    file = tmp_path / "run.npz"
    for epochs in (1, 2, 4, 6):
        assert run(epochs, checkpoint=file, resume=True) == run(epochs)


def test_the_optimisers_order_and_parameters_of_its_own(tmp_path: Path) -> None:
    def run(epochs: int, **how: Any) -> str:
        parameters, loss = network()
        optimizer = optim.Adam([Value(7.0), *reversed(parameters[2:])], weight_decay=0.1)
        history = pygradc.fit(loss, XS, YS, optimizer, epochs=epochs, batch_size=9, seed=1, **how)
        return outcome(optimizer, history)

    file = tmp_path / "run.npz"
    run(2, checkpoint=file)
    assert run(4, checkpoint=file, resume=True) == run(4)


# ---- The end of a run ----------------------------------------------------------------------------


def test_a_run_that_the_callback_ended_stays_ended(tmp_path: Path) -> None:
    def run(epochs: int, **how: Any) -> tuple[str, list[int]]:
        parameters, loss = network()
        optimizer, seen = optim.Adam(parameters), []

        def stop(epoch: int, loss: float) -> bool:
            seen.append(epoch)
            return epoch == 4

        history = pygradc.fit(
            loss, XS, YS, optimizer, epochs=epochs, batch_size=9, seed=1, callback=stop, **how
        )
        return outcome(optimizer, history), seen

    file = {"checkpoint": tmp_path / "run.npz", "checkpoint_every": 10}
    whole, seen = run(20)
    assert run(20, **file) == (whole, seen) and seen == [1, 2, 3, 4]
    assert run(20, **file, resume=True) == (whole, [])


def test_a_run_that_is_over_trains_no_more(tmp_path: Path) -> None:
    file = tmp_path / "run.npz"
    trained("SGD", 3, checkpoint=file)
    before = file.read_bytes()
    assert trained("SGD", 3, checkpoint=file, resume=True) == trained("SGD", 3)
    assert file.read_bytes() == before


def test_without_resume_it_begins_again(tmp_path: Path) -> None:
    file = tmp_path / "run.npz"
    trained("SGD", 3, checkpoint=file)
    assert trained("SGD", 2, checkpoint=file) == trained("SGD", 2)
    assert len(load_state(file)["history"]) == 2


def test_the_callback_hears_of_the_epochs_that_are_left(tmp_path: Path) -> None:
    file, seen = tmp_path / "run.npz", []
    parameters, loss = network()
    for epochs in (2, 5):
        pygradc.fit(
            loss, XS, YS, optim.SGD(parameters, lr=0.1), epochs=epochs, checkpoint=file,
            resume=True, callback=lambda epoch, mean: seen.append(epoch),
        )  # fmt: skip
    assert seen == [1, 2, 3, 4, 5]


def test_the_bar_begins_where_the_run_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    how = {"checkpoint": tmp_path / "run.npz", "progress": True, "resume": True}
    trained("SGD", 3, **how)
    capfd.readouterr()
    assert trained("SGD", 4, **how) == trained("SGD", 4)
    bar = capfd.readouterr().err
    assert " 75%" in bar.split("\r")[1] and "100%" in bar


# ---- Kills and failures --------------------------------------------------------------------------


@posix
@each_optimizer
def test_killed_again_and_again(name: str, tmp_path: Path) -> None:
    seen = lives("train", tmp_path, name)
    assert seen["kills"] >= 20 and seen["different"] == 0


@posix
@each_optimizer
def test_a_disk_that_gets_full_in_mid_run(name: str, tmp_path: Path) -> None:
    """The run ends, its numbers stay, and the checkpoint before is whole."""
    file = tmp_path / "run.npz"
    parameters, loss = network()
    optimizer = OPTIMIZERS[name](parameters)
    slower = Slower(optimizer)
    how = {"batch_size": 5, "seed": 7, "checkpoint": file}
    pygradc.fit(loss, XS, YS, optimizer, epochs=3, callback=slower, **how)
    before, size = outcome(optimizer, []), file.stat().st_size
    with no_file_above(size - 1), pytest.raises(OSError, match=r"run\.npz") as caught:
        pygradc.fit(
            loss, XS, YS, optimizer, epochs=9, callback=slower, checkpoint_every=2, resume=True,
            **how,
        )  # fmt: skip
    assert caught.value.errno == errno.EFBIG
    assert outcome(optimizer, []) != before
    assert list(files(tmp_path)) == ["run.npz"] and file.stat().st_size == size
    assert trained(name, 9, checkpoint=file, resume=True) == trained(name, 9)


def test_a_folder_that_is_not_there_is_known_before_the_training(tmp_path: Path) -> None:
    parameters, loss = network()
    before = [p.data for p in parameters]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        pygradc.fit(
            loss, XS, YS, optim.SGD(parameters, lr=0.1), checkpoint=tmp_path / "nowhere" / "run"
        )  # fmt: skip
    assert [p.data for p in parameters] == before


def test_a_bad_row_leaves_the_last_epochs_checkpoint(tmp_path: Path) -> None:
    file, w = tmp_path / "run.npz", Value(3.0)
    log = pygradc.compile(lambda x: (w + x).log())
    with pytest.raises(FloatingPointError):
        pygradc.fit(
            log, np.zeros(4), optim.SGD([w], lr=1.0), batch_size=1, epochs=9, checkpoint=file
        )
    state = load_state(file)
    assert len(state["history"]) == 1 and state["parameters"][0] > 0.0 > w.data


# ---- Another run ---------------------------------------------------------------------------------


def resume(tmp_path: Path, **change: Any) -> None:
    """A run of SGD's, resumed with something changed."""
    random.seed(3)
    model = nn.MLP(2, change.pop("sizes", [4, 1]), change.pop("activation", "tanh"), "linear")
    loss = pygradc.compile(lambda x, y: losses.mse(model(x), y))
    parameters = change.pop("order", list)(model.parameters())
    optimizer = change.pop("make", lambda ps: optim.SGD(ps, lr=0.1))(parameters)
    xs, ys = change.pop("xs", XS), change.pop("ys", YS)
    how = {"batch_size": 5, "seed": 1, "epochs": 4, "checkpoint": tmp_path / "run.npz", **change}
    before = outcome(optimizer, [])
    try:
        pygradc.fit(loss, xs, ys, optimizer, resume=True, **how)
    except ValueError:
        assert outcome(optimizer, []) == before
        raise


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "parameters": ({"sizes": [5, 1]}, "Values that the function captured is 17 there, 21 here"),
    "function": ({"activation": "relu"}, "the recorded function .* is .* there"),
    "rows": ({"xs": XS[:20], "ys": YS[:20]}, r"array 0 is \[23, 2\] there, \[20, 2\] here"),
    "numbers": ({"ys": YS + 1e-9}, "content of array 1 .* is .* there"),
    "batch_size": ({"batch_size": 6}, "batch_size is 5 there, 6 here"),
    "shuffle": ({"shuffle": False}, "shuffle is True there, False here"),
    "seed": ({"seed": 2}, "seed is 1 there, 2 here"),
    "no seed": ({"seed": None}, "seed is 1 there, None here"),
    "epochs": ({"epochs": 2}, "the run has 3 epochs already, more than 2"),
    "optimiser": ({"make": optim.Adam}, "the optimizer is SGD there, Adam here"),
    "lr": ({"make": lambda ps: optim.SGD(ps, lr=0.2)}, "lr is 0.1 there, 0.2 here"),
    "momentum": (
        {"make": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.5)},
        "momentum is 0.0 there, 0.5 here",
    ),
    "trained": (
        {"make": lambda ps: optim.SGD(ps[1:], lr=0.1)},
        "the number of its parameters is 17 there, 16 here",
    ),
    "order": ({"order": lambda ps: ps[::-1]}, "their order .* is .* there"),
    "callback": (
        {"callback": Slower(optim.SGD([Value(0.0)], lr=0.1))},
        "whether the callback has a state_dict is False there, True here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_checkpoint_of_another_run_names_what_differs(what: str, tmp_path: Path) -> None:
    change, message = DIFFERENT[what]
    resume(tmp_path, epochs=3)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=r"run\.npz: .*" + message):
        resume(tmp_path, **dict(change))
    assert files(tmp_path) == before
    resume(tmp_path)


def test_a_message_lists_a_few_differences(tmp_path: Path) -> None:
    resume(tmp_path, epochs=3)
    with pytest.raises(ValueError, match=r"; and 3 more$") as caught:
        resume(
            tmp_path, batch_size=6, seed=2, shuffle=False, ys=YS + 1, activation="relu", make=Signs
        )
    assert str(caught.value).count(" there, ") == 3


# ---- Damaged files -------------------------------------------------------------------------------


def changed(file: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> None:
    """Let change(about, state) work on the file's content."""
    state: dict[str, Any] = dict(load_state(file))
    about = json.loads(str(state["about"]))
    change(about, state)
    if "about" in state:
        state["about"] = json.dumps(about) if about is not None else state["about"]
    save_state(state, file)


DAMAGE: dict[str, Callable[[Any, Any], Any]] = {
    "no about": lambda about, state: state.pop("about"),
    "no parameters": lambda about, state: state.pop("parameters"),
    "no velocity": lambda about, state: state.pop("optimizer.velocity"),
    "no steps": lambda about, state: state.pop("optimizer.steps"),
    "another version": lambda about, state: about.update(version=99),
    "no version": lambda about, state: about.pop("version"),
    "no run": lambda about, state: about.pop("run"),
    "a run that is a list": lambda about, state: about.update(run=[1]),
    "no settings": lambda about, state: about.update(settings={}),
    "settings that are none": lambda about, state: about["settings"]["now"].update(step=3),
    "a setting too many": lambda about, state: about["settings"]["now"].update(parameters=3),
    "another generator": lambda about, state: about["random"].update(bit_generator="MT19937"),
    "no generator": lambda about, state: about.update(random=None),
    "a generator too large": lambda about, state: about["random"]["state"].update(state=2**200),
    "too few parameters": lambda about, state: state.update(parameters=state["parameters"][1:]),
    "parameters that are words": lambda about, state: state.update(parameters=["x"] * 17),
    "a table of gradients": lambda about, state: state.update(gradients=np.zeros((17, 2))),
    "a history of no axis": lambda about, state: state.update(history=3.0),
    "a history that is a table": lambda about, state: state.update(history=np.zeros((3, 1))),
    "rates of another number": lambda about, state: state.update({"history.lr": [0.1]}),
    "figures of nothing": lambda about, state: state.update({"history.figures": np.zeros((1, 3))}),
    "captured out of nowhere": lambda about, state: state.update(captured=[1.0]),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_changes_nothing(what: str, tmp_path: Path) -> None:
    how = {"make": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.5)}
    resume(tmp_path, epochs=3, **how)
    changed(tmp_path / "run.npz", DAMAGE[what])
    with pytest.raises(ValueError, match=r"run\.npz: ."):
        resume(tmp_path, **how)


def test_undamaged_it_is_taken(tmp_path: Path) -> None:
    resume(tmp_path, epochs=3)
    changed(tmp_path / "run.npz", lambda about, state: None)
    resume(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.npz: not an archive of arrays"):
        resume(tmp_path)
    assert (tmp_path / "run.npz").read_bytes() == content


def test_a_deep_description(tmp_path: Path) -> None:
    save_state({"about": "[" * 100_000}, tmp_path / "run.npz")
    with pytest.raises(ValueError, match=r"run\.npz: not a checkpoint"):
        resume(tmp_path)


def test_a_callback_that_fails_to_load_leaves_the_optimiser(tmp_path: Path) -> None:
    trained("Adam", 3, checkpoint=tmp_path / "run.npz")
    changed(tmp_path / "run.npz", lambda about, state: state.pop("callback.best"))
    parameters, loss = network()
    optimizer = OPTIMIZERS["Adam"](parameters)
    before = outcome(optimizer, [])
    with pytest.raises(KeyError, match="best"):
        pygradc.fit(
            loss, XS, YS, optimizer, epochs=9, batch_size=5, seed=7, callback=Slower(optimizer),
            checkpoint=tmp_path / "run.npz", resume=True,
        )  # fmt: skip
    assert outcome(optimizer, []) == before


# ---- Arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how, error, message",
    [
        ({"resume": True}, ValueError, "resume=True needs checkpoint="),
        ({"checkpoint": "run", "checkpoint_every": 0}, ValueError, "checkpoint_every=0"),
        ({"checkpoint": "run", "checkpoint_every": 1.5}, TypeError, "checkpoint_every must be"),
        ({"checkpoint": "run", "seed": [1, 2]}, TypeError, "seed must be a whole number"),
        ({"checkpoint": 3}, TypeError, "a file's path"),
    ],
)
def test_arguments_that_make_no_sense(
    how: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    parameters, loss = network()
    with pytest.raises(error, match=message):
        pygradc.fit(loss, XS, YS, optim.SGD(parameters, lr=0.1), **how)
    assert files(tmp_path) == {}


def test_an_optimiser_with_a_state_that_it_keeps_to_itself_is_refused(tmp_path: Path) -> None:
    class Secret(Signs):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters)
            self.seen: list[float] = []

    class Told(Secret):
        def state_dict(self) -> dict[str, Any]:
            return {**super().state_dict(), "seen": self.seen}

        def load_state_dict(self, state: Any) -> None:
            self.seen = state["seen"].tolist()
            super().load_state_dict({name: state[name] for name in ("steps", "sum")})

    parameters, loss = network()
    with pytest.raises(TypeError, match="Secret would lack its 'seen'"):
        pygradc.fit(loss, XS, YS, Secret(parameters), checkpoint=tmp_path / "run.npz")
    assert files(tmp_path) == {}
    pygradc.fit(loss, XS, YS, Told(parameters), epochs=2, checkpoint=tmp_path / "run.npz")
    pygradc.fit(
        loss, XS, YS, Told(parameters), epochs=3, checkpoint=tmp_path / "run.npz", resume=True
    )  # fmt: skip


# ---- A file to look into -------------------------------------------------------------------------


def test_the_weights_can_be_taken_out_with_numpy(tmp_path: Path) -> None:
    parameters, loss = network()
    pygradc.fit(loss, XS, YS, optim.Adam(parameters), epochs=2, checkpoint=tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as archive:
        assert archive["parameters"].tolist() == [p.data for p in parameters]
        assert sorted(archive) == [
            "about", "captured", "captured_gradients", "gradients", "history",
            "history.figures", "history.lr", "history.seconds",
            "optimizer.mean", "optimizer.square", "optimizer.steps", "parameters",
        ]  # fmt: skip


# ---- The command ---------------------------------------------------------------------------------


def test_training_resumes_with_its_history(tmp_path: Path) -> None:
    def arrays(result: Any) -> Any:
        found = {name: np.asarray(array).tolist() for name, array in result.arrays().items()}
        return found, result.history

    iris, file = load("iris"), tmp_path / "run.npz"
    train(iris, epochs=2, checkpoint=file)
    resumed = train(iris, epochs=5, checkpoint=file, resume=True)
    assert arrays(resumed) == arrays(train(iris, epochs=5))
    again = train(iris, epochs=5, checkpoint=file, resume=True)
    assert arrays(again) == arrays(resumed)


def run(folder: Path, epochs: int, *more: str) -> int:
    out = ["--data", "iris", "--out", str(folder), "--epochs", str(epochs)]
    return main(["train", *out, *more])


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second each."""
    for name in ("matplotlib", "pygradc.command.picture"):  # either may be imported already
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("no_pictures")
def test_the_command_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    file = ["--checkpoint", str(tmp_path / "run.npz")]
    assert run(whole, 5) == 0
    assert run(parts, 2, *file, "--checkpoint-every", "2") == 0
    assert run(parts, 5, *file, "--resume") == 0
    assert files(parts) == files(whole)
    capsys.readouterr()
    assert run(parts, 5, *file, "--resume", "--lr", "0.5") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("pygradc train: error: ") and error.endswith(
        "lr is 0.01 there, 0.5 here"
    )
    assert run(parts, 5, "--checkpoint", str(tmp_path / "nowhere" / "run")) == 1
    assert run(parts, 5, "--resume") == 2
    assert "--resume needs --checkpoint" in capsys.readouterr().err


@posix
@pytest.mark.usefixtures("no_pictures")
def test_the_command_is_killed_and_resumed(tmp_path: Path) -> None:
    file = tmp_path / "run.npz"
    more = ["--checkpoint", str(file), "--resume"]
    command = ["-m", "pygradc", "train", "--data", "iris", "--epochs", "100000", *more]
    environment = {**os.environ, "PYTHONPATH": str(Path(pygradc.__file__).parent.parent)}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (file.exists() and len(load_state(file)["history"]) > 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    epochs = len(load_state(file)["history"]) + 2
    assert run(tmp_path / "parts", epochs, *more) == run(tmp_path / "whole", epochs) == 0
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
