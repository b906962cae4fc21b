"""Does the GPT of examples/microgpt train, to the same digits on every engine?

Its anchors from outside: the losses and names that microgpt's author printed, central differences.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pygradc

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples" / "microgpt"))

import batch
import gpt
import names
import train

# What microgpt's author printed: https://karpathy.github.io/2026/02/12/microgpt
LOSSES = (3.3660, 3.4243, 3.1778, 3.0664, 3.2209, 2.9452, 3.2894, 3.3245, 2.8990, 3.2229, 2.7964)
NAMES = ["kamon", "ann", "karai", "jaire", "vialan", "karia", "yeran", "anna", "areli", "kaina"]
WORDS = ["ada", "alana", "o", "annabella", "hannah"]  # letters once, twice, three times, four


def trainer(engine: str) -> train.Trainer:
    return train.start(train.ENGINES[engine](), names.load(names.FILE))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, train.__file__, *arguments],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


# ---- The three engines ---------------------------------------------------------------------------


def losses_and_names(engine: str) -> list[str]:
    ours = trainer(engine)
    words = [*ours.data.words[:4], *WORDS[:3]]
    losses = [repr(ours.step(word, 0.01 * (1 - i / 1000))) for i, word in enumerate(words)]
    return [*losses, *(ours.sample() for _ in range(2))]


@pytest.mark.once
@pytest.mark.unsanitized
def test_three_engines_print_the_same_digits_and_names() -> None:
    oracle = losses_and_names("reference")
    assert [round(float(loss), 4) for loss in oracle[:4]] == list(LOSSES[:4])
    assert losses_and_names("pygradc") == oracle
    assert losses_and_names("recorded") == oracle


@pytest.mark.once
@pytest.mark.unsanitized
def test_a_whole_training_is_the_published_one_eagerly_and_recorded() -> None:
    eager, recorded = (command("--engine", engine) for engine in ("pygradc", "recorded"))
    assert (eager.returncode, recorded.returncode) == (0, 0), eager.stderr + recorded.stderr
    assert recorded.stdout == eager.stdout
    assert "32033 names, 27 tokens\n4192 parameters\n" in eager.stdout
    losses = re.findall(r"^step \d+ / 1000: loss ([\d.]+)$", eager.stdout, re.M)
    made_up = re.findall(r"^name \d+: ([a-z]*)$", eager.stdout, re.M)
    assert (len(losses), len(made_up)) == (1000, 20)
    assert [round(float(loss), 4) for loss in losses[: len(LOSSES)]] == list(LOSSES)
    assert made_up[:10] == NAMES


@pytest.mark.parametrize("word", WORDS)
def test_gradients_are_the_same_bits_however_often_a_letter_occurs(word: str) -> None:
    found = []
    for engine in ("pygradc", "recorded"):
        ours = trainer(engine)
        ours.step(word, rate=0.0)
        found.append([p.grad.hex() for p in ours.weights.parameters()])
    assert found[0] == found[1]
    reached = sum(gradient != "0x0.0p+0" for gradient in found[0])
    untouched = (27 - 1 - len(set(word))) * gpt.WIDTH + (gpt.BLOCK - 1 - len(word)) * gpt.WIDTH
    assert 0.8 * (4192 - untouched) < reached <= 4192 - untouched


def test_one_program_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    compiled = pygradc.compile

    def remember(*args: Any, **settings: Any) -> Any:
        made.append(compiled(*args, **settings))
        return made[-1]

    monkeypatch.setattr(pygradc, "compile", remember)
    ours = trainer("recorded")
    for word in ("ada", "eve", "o", "hannah", "robert", "ida"):
        ours.step(word)
    assert len(made) == 1 and len(made[0].programs) == 3


# ---- The model -----------------------------------------------------------------------------------


def small_loss(ours: train.Trainer, word: str) -> Any:
    numbers = ours.data.encode(word)
    rows = [ours.weights.tokens[i] for i in numbers[:-1]]
    return ours.loss(rows, [ours._one_hot[i] for i in numbers[1:]])


def test_there_are_4192_parameters_drawn_with_deviation_0_08() -> None:
    parameters = trainer("pygradc").weights.parameters()
    numbers = [p.data for p in parameters]
    assert len(numbers) == len(set(map(id, parameters))) == 4192
    assert (sum(x * x for x in numbers) / 4192) ** 0.5 == pytest.approx(0.08, rel=0.03)


def test_gradients_agree_with_central_differences() -> None:
    ours = trainer("pygradc")
    for p in ours.weights.parameters():
        p.data *= 4.0  # larger slopes
    small_loss(ours, "alana").backward()
    random.seed(1)
    matrices = vars(ours.weights).values()
    for p in [random.choice(matrix[i % len(matrix)]) for matrix in matrices for i in range(3)]:
        kept, h = p.data, 1e-6
        p.data = kept + h
        above = small_loss(ours, "alana").data
        p.data = kept - h
        below = small_loss(ours, "alana").data
        p.data = kept
        assert p.grad == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-8)


def test_a_letter_sees_those_before_it_and_none_after() -> None:
    ours = trainer("pygradc")

    def logits(word: str) -> list[list[float]]:
        reader, rows = gpt.Reader(ours.weights), ours.weights.tokens
        return [[v.data for v in reader.read(rows[i])] for i in ours.data.encode(word)[:-1]]

    one, other = logits("mary"), logits("marc")
    assert one[:4] == other[:4] and one[4] != other[4]
    early, late = logits("mary")[-1], logits("kary")[-1]
    assert all(a != b for a, b in zip(early, late))


def test_probabilities_add_up_to_one_and_the_loss_is_the_mean_surprise() -> None:
    ours = trainer("pygradc")
    reader, surprise = gpt.Reader(ours.weights), 0.0
    numbers = ours.data.encode("emma")
    for letter, following in zip(numbers, numbers[1:]):
        chances = gpt.softmax(reader.read(ours.weights.tokens[letter]))
        assert sum(p.data for p in chances) == pytest.approx(1.0, rel=1e-12)
        surprise -= chances[following].log().data / 5
    assert small_loss(ours, "emma").data == pytest.approx(surprise, rel=1e-12)


@pytest.mark.parametrize("engine", ["pygradc", "recorded"])
def test_a_long_word_is_cut_to_the_block(engine: str) -> None:
    ours = trainer(engine)
    cut, whole = (
        ours.step(word, rate=0.0) for word in ("abcdefghijklmnop", "abcdefghijklmnopqrst")
    )
    assert cut == whole != ours.step("abcdefghijklmno", rate=0.0)


# ---- The data and the command --------------------------------------------------------------------


def test_the_names_are_those_that_the_readme_describes() -> None:
    lines = names.FILE.read_text(encoding="ascii").split("\n")
    assert len(lines) == 32_033 and lines[:3] == ["emma", "olivia", "ava"]
    assert all(re.fullmatch("[a-z]{2,15}", line) for line in lines)
    readme = (names.FILE.parent / "README.md").read_text(encoding="utf-8")
    assert "32,033 names" in readme and "2 to 15 letters" in readme and "ssa.gov" in readme


def test_letters_become_numbers_and_letters_again() -> None:
    data = names.Names(["zoë", "ada"])
    assert (data.letters, data.end, data.vocabulary) == (["a", "d", "o", "z", "ë"], 5, 6)
    assert data.encode("adë") == [5, 0, 1, 4, 5]
    assert data.decode(data.encode("zoë")[1:-1]) == "zoë"


def test_another_file_brings_another_alphabet(tmp_path: Path) -> None:
    file = tmp_path / "codes.txt"
    file.write_text("0110\n\n  101 \r\n0011\n", encoding="utf-8")
    done = command("--data", str(file), "--steps", "4", "--samples", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 names, 3 tokens\n3424 parameters\nstep 1 / 4: loss ")
    assert re.findall(r"^name \d: [01]*$", done.stdout, re.M)
    assert re.fullmatch(r"recorded: [\d.]+ s\n", done.stderr)


def test_no_steps_and_no_samples_are_fine() -> None:
    done = command("--steps", "0", "--samples", "0")
    assert done.returncode == 0 and done.stdout == "32033 names, 27 tokens\n4192 parameters\n"


def absent(folder: Path) -> list[str]:
    return ["--data", str(folder / "absent.txt")]


def holding(content: bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "names.txt").write_bytes(content)
        return ["--data", str(folder / "names.txt")]

    return make


def just(*arguments: str) -> Callable[[Path], list[str]]:
    return lambda _: list(arguments)


BAD = {
    "no such file": (absent, "absent.txt: No such file"),
    "a folder": (lambda folder: ["--data", str(folder)], "error: --data "),
    "empty": (holding(b"\n \n"), "names.txt: no names in it"),
    "bytes": (holding(b"\xff\xfe\x00"), "names.txt: 'utf-8' codec can't decode"),
    "steps": (just("--steps", "-1"), "--steps: '-1' is not a whole number from 0 on"),
    "samples": (just("--samples", "two"), "--samples: 'two' is not a whole number"),
    "engine": (just("--engine", "torch"), "invalid choice: 'torch'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_argument_is_said_in_a_line(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    done = command(*make(tmp_path))
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


# ---- Batches of padded rows ----------------------------------------------------------------------


@pytest.fixture
def weights() -> gpt.Weights:
    random.seed(7)
    return gpt.Weights(pygradc.Value, names.load(names.FILE).vocabulary)


def test_a_padded_row_has_the_loss_and_gradients_of_the_word(weights: gpt.Weights) -> None:
    data = names.load(names.FILE)
    rows, lengths = batch.padded(data, WORDS)
    recorded = pygradc.compile(lambda row, length: batch.loss(weights, row, length))
    found = recorded.map(rows, lengths)
    recorded.sum(rows, lengths).backward()
    gradients = [p.grad for p in weights.parameters()]
    for p in weights.parameters():
        p.grad = 0.0
    for word, number in zip(WORDS, found):
        codes = data.encode(word)
        hot = [[float(i == j) for i in range(data.vocabulary)] for j in codes[1:]]
        alone = gpt.loss(weights, [weights.tokens[i] for i in codes[:-1]], hot)
        assert alone.data == pytest.approx(number, rel=1e-12)
        alone.backward()
    assert gradients == pytest.approx([p.grad for p in weights.parameters()], rel=1e-9, abs=1e-12)


def test_batches_train() -> None:
    done = subprocess.run(
        [sys.executable, batch.__file__, "--epochs", "3", "--words", "600"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    losses = [float(x) for x in re.findall(r"loss ([\d.]+),", done.stdout)]
    assert len(losses) == 3 and losses[-1] < 2.5 < losses[0], done.stderr
