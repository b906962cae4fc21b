"""States in files: is each kind of entry what it was, is each flipped bit noticed, and does what a
signal's handler raises come out as it is?

How files are written, and damaged ones of other kinds: test_saving.py.
"""

from __future__ import annotations

import enum
import io
import math
import os
import random
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, load_state, nn, optim, save_state
from pygradc.files import archive as zips
from pygradc.files import npz
from pygradc.states import MAX_SIZE

NESTED: dict[str, Any] = {
    "stopped": False,
    "best": None,
    "note": "ü",
    "epoch": 3,
    "model": {"layers.0.weight": np.arange(6.0).reshape(2, 3), "bias": [1.5, -0.0]},
    "deep": {"er": {"empty": {}, "still": {"": True, "none": None}}, "x/y": 2.0},
    "last": [True, False],
}


def plain(state: Any) -> Any:
    """Arrays as lists and numbers, to be compared."""
    if isinstance(state, dict):
        return {name: plain(value) for name, value in state.items()}
    return state if state is None else np.asarray(state).tolist()


def round_trip(state: dict[str, Any]) -> dict[str, Any]:
    return npz.from_bytes(npz.to_bytes(state))


# ---- What a state holds --------------------------------------------------------------------------


def test_bools_none_and_dicts_go_round(tmp_path: Path) -> None:
    save_state(NESTED, tmp_path / "state.npz")
    state = load_state(tmp_path / "state.npz")
    assert plain(state) == plain(NESTED)
    assert list(state) == list(NESTED) and list(state["deep"]) == ["er", "x/y"]
    assert state["best"] is None and state["deep"]["er"]["still"]["none"] is None
    assert state["stopped"].dtype == bool and not state["stopped"]
    assert state["epoch"].dtype.kind == "i" and state["model"]["bias"].tolist() == [1.5, -0.0]


def test_numpy_reads_every_file(tmp_path: Path) -> None:
    save_state(NESTED, tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz", allow_pickle=False) as archive:
        assert archive["model/layers.0.weight"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        assert archive["best"].item() == b"pygradc:null"
        assert archive["model"].item() == b'pygradc:["layers.0.weight", "bias"]'
        assert not archive["stopped"]


def test_a_model_and_its_optimiser_in_one_state(tmp_path: Path) -> None:
    model, other = nn.MLP(2, [3, 1]), nn.MLP(2, [3, 1])
    adam, second = (optim.Adam(m.parameters()) for m in (model, other))
    adam.step()
    save_state({"model": model.state_dict(), "adam": adam.state_dict()}, tmp_path / "all.npz")
    state = load_state(tmp_path / "all.npz")
    other.load_state_dict(state["model"])
    second.load_state_dict(state["adam"])
    assert [p.data for p in other.parameters()] == [p.data for p in model.parameters()]
    assert second.steps == 1


def test_a_callback_keeps_a_bool_and_none_and_a_dict_in_a_checkpoint(tmp_path: Path) -> None:
    class Callback:
        def __init__(self) -> None:
            self.state: dict[str, Any] = {"stopped": False, "best": None, "seen": {"loss": 0.0}}

        def __call__(self, epoch: int, loss: float) -> None:
            self.state["seen"] = {"loss": loss, "epoch": epoch}

        def state_dict(self) -> dict[str, Any]:
            return self.state

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.state = state

    w = Value(0.5)
    loss = pygradc.compile(lambda x: (x * w - 1.0) ** 2)
    path, x = tmp_path / "run", np.linspace(0.0, 1.0, 8)
    first, second = Callback(), Callback()
    for callback, epochs in ((first, 2), (second, 2)):
        sgd = optim.SGD([w], lr=0.1)
        pygradc.fit(
            loss, x, sgd, epochs=epochs, seed=1, callback=callback, checkpoint=path, resume=True
        )
    assert plain(second.state) == plain(first.state)
    assert second.state["best"] is None and second.state["stopped"].dtype == bool


class Mode(str, enum.Enum):
    TRAIN = "train"
    LONGER = "evaluation"


class Shown(str):
    def __str__(self) -> str:
        return "shown"


class Half(float, enum.Enum):
    ONE = 0.5


def test_strings_of_subclasses_are_the_strings_they_are() -> None:
    state = {
        "mode": Mode.TRAIN, "list": [Mode.TRAIN, "x", Shown("abcdefgh")], "own": Shown("abc"),
        "rows": [[Mode.TRAIN, Mode.LONGER], [Shown("a"), "b"]], "numpy's": [np.str_("hi")],
        Mode.LONGER: {Mode.TRAIN: 1}, "number": Half.ONE, "numbers": [Half.ONE],
    }  # fmt: skip
    assert plain(round_trip(state)) == {
        "mode": "train", "list": ["train", "x", "abcdefgh"], "own": "abc",
        "rows": [["train", "evaluation"], ["a", "b"]], "numpy's": ["hi"],
        "evaluation": {"train": 1}, "number": 0.5, "numbers": [0.5],
    }  # fmt: skip
    with pytest.raises(TypeError, match="'a' must not mix strings with int"):
        npz.to_bytes({"a": [Mode.TRAIN, 1]})
    with pytest.raises(ValueError, match="'a' has a string that ends in NUL"):
        npz.to_bytes({"a": Shown("a\0")})


class Weights(nn.Module):
    def __init__(self) -> None:
        self.w, self.b = Value(2.0), [Value(1.0), Value(3.0)]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"w": None, "b": [5.0, 6.0]}, "'w' must be real numbers, not None: None is not a number"),
        ({"w": 5.0, "b": [None, 6.0]}, "'b' must be real numbers, not .*: None is not a number"),
        ({"w": 5.0, "b": np.array([None, 6], object)}, "'b' must be real .*: None is not a number"),
        ({"w": 5.0, "b": np.array(["5", 6], object)}, "'b' must be real .*: '5' is not a number"),
        ({"w": 5.0, "b": np.array([np.complex128(5), 6], object)}, "'b' must be real .* number"),
        ({"w": 10**400, "b": [5.0, 6.0]}, "'w' must be real numbers, .*: int too large"),
    ],
)
def test_what_is_no_number_becomes_no_parameter(
    state: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = Weights()
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    assert (model.w.data, [v.data for v in model.b]) == (2.0, [1.0, 3.0])
    model.load_state_dict({"w": np.array(5, object), "b": np.array([np.float32(6), True], object)})
    assert (model.w.data, [v.data for v in model.b]) == (5.0, [6.0, 1.0])


def test_a_none_of_a_file_becomes_no_parameter_and_no_mean(tmp_path: Path) -> None:
    model, path = Weights(), tmp_path / "state.npz"
    save_state({"w": None, "b": [5.0, 6.0]}, path)
    with pytest.raises(ValueError, match="'w' must be real numbers, not None"):
        model.load_state_dict(load_state(path))
    assert model.w.data == 2.0
    adam = optim.Adam([model.w])
    for name in ("mean", "square"):
        with pytest.raises(ValueError, match=rf"Adam: {name} must be real numbers, not \[None\]"):
            adam.load_state_dict({**adam.state_dict(), "steps": 3, name: [None]})
    assert plain(adam.state_dict()) == {"steps": 0, "mean": [0.0], "square": [0.0]}


@pytest.mark.parametrize(
    "value", [[[1], [2, 3]], [[1, 2], 3], [np.ones(2), np.ones(3)], ["ab", ["c"]]]
)
def test_parts_of_different_lengths_are_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"'a' has parts of different lengths, .*: save each as"):
        npz.to_bytes({"a": value})


@pytest.mark.parametrize("size", ["x", None, math.nan, -1, [1]])
def test_a_size_that_is_none_says_what_to_write(size: Any, tmp_path: Path) -> None:
    save_state({"a": 1.0}, tmp_path / "a.npz")
    with pytest.raises(
        TypeError, match=r"max_size must be a number of bytes, not .*max_size=2\*\*30"
    ):
        load_state(tmp_path / "a.npz", max_size=size)
    for fine in (0, 1e9, np.int64(5), math.inf):
        assert load_state(tmp_path / "a.npz", max_size=fine) == {"a": 1.0}  # type: ignore[arg-type]


def deep(levels: int) -> dict[str, Any]:
    state: dict[str, Any] = {"a": 1.0}
    for _ in range(levels):
        state = {"a": state}
    return state


def test_dicts_in_dicts_have_a_limit() -> None:
    assert plain(round_trip(deep(100))) == deep(100)
    with pytest.raises(ValueError, match="more than 100 nested dicts"):
        npz.to_bytes(deep(101))
    circle: dict[str, Any] = {}
    circle["a"] = circle
    with pytest.raises(ValueError, match="more than 100 nested dicts"):
        npz.to_bytes(circle)


def test_more_axes_than_every_numpy_has_are_refused() -> None:
    assert round_trip({"a": np.ones((1,) * 32)})["a"].ndim == 32
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        with pytest.raises(ValueError, match="'a' has 33 axes"):
            npz.to_bytes({"a": np.ones((1,) * 33)})


# ---- Other archives ------------------------------------------------------------------------------


def saved(save: Callable[..., None], **arrays: Any) -> bytes:
    archive = io.BytesIO()
    save(archive, **arrays)
    return archive.getvalue()


def by_zipfile(method: int, *entries: tuple[str, Any]) -> bytes:
    """As save_state wrote files before they had a checksum."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as members:
        for name, value in entries:
            entry = io.BytesIO()
            np.save(entry, np.asarray(value))
            members.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue(), method)
    return archive.getvalue()


ARRAYS: dict[str, Any] = {"a": np.arange(3.0), "ü": np.array(["x", "yz"]), "c": np.int64(7)}
FILES: dict[str, bytes] = {
    "save_state": npz.to_bytes(ARRAYS),
    "save_state of nested ones": npz.to_bytes({"n": None, "d": {"b": False, "x": 1.5}}),
    "save_state of before": by_zipfile(zipfile.ZIP_STORED, *ARRAYS.items()),
    "numpy.savez": saved(np.savez, **ARRAYS),
    "numpy.savez_compressed": saved(np.savez_compressed, **ARRAYS),
}


@pytest.mark.parametrize("name", FILES)
def test_files_with_and_without_a_checksum_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(FILES[name])
    state = load_state(tmp_path / "file")
    expected = {"n": None, "d": {"b": False, "x": 1.5}} if "nested" in name else ARRAYS
    assert plain(state) == plain(expected)


@pytest.mark.parametrize("name", FILES)
def test_each_flipped_bit_is_refused_or_changes_nothing(name: str) -> None:
    content, refused = FILES[name], 0
    expected = plain(npz.from_bytes(content, MAX_SIZE))
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            state = npz.from_bytes(bytes(flipped), MAX_SIZE)
        except ValueError:
            refused += 1
            continue
        assert plain(state) == expected, f"bit {bit} of {len(content)} bytes"
    checked = name in ("save_state", "save_state of nested ones")
    assert refused == 8 * len(content) if checked else refused > 4 * len(content)


@pytest.mark.parametrize("name", FILES)
def test_each_cut_and_each_repetition_is_refused(name: str) -> None:
    content = FILES[name]
    for length in range(len(content)):
        with pytest.raises(ValueError):
            npz.from_bytes(content[:length], MAX_SIZE)
    for damaged in (content * 2, b"x" + content, content + b"x", content + FILES["numpy.savez"]):
        with pytest.raises(ValueError):
            npz.from_bytes(damaged, MAX_SIZE)


def test_what_was_changed_behind_a_right_crc_is_seen_by_the_checksum() -> None:
    content = npz.to_bytes({"first": 1.0, "second": 2.0})
    changed = content.replace(b"second.npy", b"sicond.npy")  # in both places
    with pytest.raises(ValueError, match="its checksum is wrong"):
        npz.from_bytes(changed)


@pytest.mark.parametrize("comment", [b"by hand, with PK\5\6 in it", b"pygradc sha255 ", b"p"])
def test_some_other_comment_is_refused(comment: bytes) -> None:
    """It may have been the checksum before a bit of its mark flipped."""
    archive = io.BytesIO(FILES["numpy.savez"])
    with zipfile.ZipFile(archive, "a") as members:
        members.comment = comment
    with pytest.raises(ValueError, match=r"its comment isn't save_state's checksum"):
        npz.from_bytes(archive.getvalue())


def test_members_that_were_written_to_a_stream(tmp_path: Path) -> None:
    """Their sizes come behind them; the directory knows them, too."""

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def writable(self) -> bool:
            return True

        def write(self, part: Any) -> int:
            self.parts.append(bytes(part))
            return len(self.parts[-1])

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as members:  # type: ignore[call-overload]
        entry = io.BytesIO()
        np.save(entry, np.arange(5.0))
        members.writestr("a.npy", entry.getvalue())
    content = b"".join(stream.parts)
    assert plain(npz.from_bytes(content, MAX_SIZE)) == {"a": [0.0, 1.0, 2.0, 3.0, 4.0]}


def test_very_large_archives_have_long_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if sizes and offsets above 300 didn't fit 32 bits."""
    state = {"a": np.arange(64.0), "b": 1.0, "c": np.arange(64.0), "d": 2.0}
    short = npz.to_bytes(state)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 300)
    content = npz.to_bytes(state)
    assert len(content) > len(short) + 76
    assert plain(npz.from_bytes(content)) == plain(state)
    with np.load(io.BytesIO(content)) as archive:
        assert plain(dict(archive)) == plain(state)


@pytest.mark.once
@pytest.mark.parametrize("count", [65_534, 65_535])
def test_more_members_than_16_bits_count(count: int) -> None:
    members = {f"{i}": b"" for i in range(count)}
    content = zips.pack(members.items())
    assert zips.unpack(content, 0) == members
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == count


# ---- Compressed ones -----------------------------------------------------------------------------


def test_compressed_arrays_are_read_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    np.savez_compressed(path, a=np.zeros(1000), b=np.arange(10))
    assert load_state(path)["a"].shape == (1000,)
    unpacked = 8000 + 80 + 2 * 128  # numpy's headers
    assert load_state(path, max_size=unpacked)["b"].tolist() == list(range(10))
    with pytest.raises(ValueError, match=r"state\.npz: .*8,336 bytes, more than max_size=8,335"):
        load_state(path, max_size=unpacked - 1)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    np.savez_compressed(path, a=np.zeros(MAX_SIZE // 8 + 1))
    assert path.stat().st_size < 2**19
    with pytest.raises(ValueError, match=f"more than max_size={MAX_SIZE:,}"):
        load_state(path)


def lying(size: int) -> bytes:
    """A compressed megabyte whose directory says that it is this large."""
    content = bytearray(by_zipfile(zipfile.ZIP_DEFLATED, ("a", np.zeros(2**17))))
    at = content.index(b"PK\1\2") + 24
    content[at : at + 4] = size.to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize("size", [0, 1, 200, 2**20, 2**20 + 129, 2**27])
def test_a_directory_that_lies_about_a_size(size: int) -> None:
    with pytest.raises(ValueError, match="damaged"):
        npz.from_bytes(lying(size), MAX_SIZE)
    assert npz.from_bytes(lying(2**20 + 128), MAX_SIZE)["a"].shape == (2**17,)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(method: int) -> None:
    with pytest.raises(ValueError, match=f"compressed by method {method}, not by deflate"):
        npz.from_bytes(by_zipfile(method, ("a", 1.0)), MAX_SIZE)


def test_random_damage_of_compressed_archives() -> None:
    rng, content = random.Random(1), FILES["numpy.savez_compressed"]
    for _ in range(2000):
        changed = bytearray(content)
        for _ in range(rng.randint(2, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            state = npz.from_bytes(bytes(changed), MAX_SIZE)
        except ValueError:
            continue
        assert plain(state) == plain(ARRAYS)


# ---- What a signal's handler raises --------------------------------------------------------------


class Handled(Exception):
    """A handler's own."""


RAISED: dict[str, Callable[[], BaseException]] = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "TimeoutError": lambda: TimeoutError("too late"),
    "ValueError": lambda: ValueError("of the handler"),
    "TypeError": lambda: TypeError("of the handler"),
    "RuntimeError": lambda: RuntimeError("of the handler"),
    "OSError": lambda: OSError("of the handler"),
    "Handled": Handled,
}

OWN = {"archive.py", "npz.py", "atomic.py", "states.py", "program_file.py", "program.py"}


@contextmanager
def raising_at(line: int, error: BaseException) -> Iterator[list[int]]:
    """As a handler would: at the n-th line that the library's own files come to."""
    seen = [0]

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            seen[0] += 1
            if seen[0] == line:
                sys.settrace(None)
                raise error
        return local

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        return local if os.path.basename(frame.f_code.co_filename) in OWN else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)


def program() -> pygradc.Program:
    w = Value(2.0, label="w")
    compiled = pygradc.compile(lambda x, more: x["a"] * w + more[0])
    compiled({"a": 1.0}, [2.0])
    return compiled.programs[0]


CALLS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "save_state": lambda path: lambda: save_state({"a": {"b": None}, "c": "x"}, path),
    "load_state": lambda path: lambda: load_state(path),
    "save": lambda path: partial_save(path),
    "load": lambda path: lambda: pygradc.load(path),
}


def partial_save(path: Path) -> Callable[[], Any]:
    recorded = program()
    return lambda: recorded.save(path)


def before(name: str, path: Path) -> bytes:
    if name == "load":
        program().save(path)
    else:
        save_state({"a": {"b": None}, "c": [True]}, path)
    return path.read_bytes()


@pytest.mark.skipif(sys.gettrace() is not None, reason="something else traces")
@pytest.mark.parametrize("kind", RAISED)
@pytest.mark.parametrize("name", CALLS)
def test_what_a_handler_raises_comes_out_as_it_is(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    old = before(name, path)
    call = CALLS[name](path)
    with raising_at(10**9, Handled()) as seen:
        call()
    new, lines = path.read_bytes(), seen[0]
    assert lines > 25
    for line in range(1, lines + 1):
        path.write_bytes(old)
        error = RAISED[kind]()
        with pytest.raises(type(error)) as caught, raising_at(line, error):
            call()
        assert caught.value is error, f"line {line} of {lines}"
        assert error.__cause__ is None and str(error) in ("", "too late", "of the handler")
        assert path.read_bytes() in (old, new)
        assert [p.name for p in tmp_path.iterdir()] == ["file"]
    call()


# ---- Errors that say what to write ---------------------------------------------------------------


class Model:
    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: save_state(nn.MLP(1, [1])), r"not MLP; write save_state\(model.state_dict\(\), "),  # type: ignore[arg-type]
        (lambda: save_state(nn.MLP(1, [1]), "w.npz"), r"not MLP; write save_state\(model\.state_"),  # type: ignore[arg-type]
        (lambda: save_state(Model(), "w.npz"), r"not Model; write save_state\(model\.state_dict"),  # type: ignore[arg-type]
        (lambda: save_state(optim.SGD([Value(1.0)], 0.1), "w"), r"not SGD; .*\(optimizer\.state_d"),  # type: ignore[arg-type]
        (lambda: save_state([1.0], "w.npz"), "expected a dict of names and arrays, not list"),  # type: ignore[arg-type]
        (lambda: save_state("w.npz", {"a": 1}), r"the state comes first: save_state\(state, path"),  # type: ignore[arg-type]
        (lambda: save_state({"a": 1.0}), r"path is missing: save_state\(state, 'model\.npz'\)"),
        (lambda: load_state(0), "expected str, bytes or os.PathLike object, not int"),  # type: ignore[arg-type]
        (lambda: pygradc.load(0), "expected str, bytes or os.PathLike object, not int"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_no_state_or_path_says_what_to_write(
    call: Callable[[], Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=message):
        call()
    assert not list(tmp_path.iterdir())


def test_programs_and_states_name_each_others_function(tmp_path: Path) -> None:
    weights, recorded = tmp_path / "weights.npz", tmp_path / "loss.pygradc"
    save_state(nn.MLP(1, [1]).state_dict(), weights)
    program().save(recorded)
    with pytest.raises(
        ValueError, match=r"weights\.npz: .*not a pygradc program.*load_state reads"
    ):
        pygradc.load(weights)
    with pytest.raises(
        ValueError, match=re.escape("loss.pygradc: this is a program: read it with pygradc.load")
    ):
        load_state(recorded)
