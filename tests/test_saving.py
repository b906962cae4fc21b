"""Do files hold what was saved, whole or not at all, whatever happens; and what is read from bytes?

How a file is written, by whoever writes one; states of modules and optimisers in files; what a
state that doesn't fit is told.
"""

from __future__ import annotations

import errno
import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pygradc
from pygradc import Value, load_state, nn, optim, save_state
from pygradc.files import atomic
from pygradc.files import npz as npz_files

HERE = Path(__file__).resolve().parent
posix = pytest.mark.skipif(os.name != "posix", reason="as POSIX does it")


def lives(name: str, folder: Path, *arguments: str) -> Any:
    """What tests/lives.py saw."""
    command = [sys.executable, str(HERE / "lives.py"), name, str(folder), *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def program() -> pygradc.Program:
    w = Value(2.0)
    compiled = pygradc.compile(lambda x: x * w)
    compiled(1.0)
    return compiled.programs[0]


# Whoever writes a file, and what the file is to hold.
WRITERS: dict[str, Callable[[Any], None]] = {
    "bytes": lambda path: atomic.write(path, b"new" * 10_000),
    "state": lambda path: save_state({"a": np.arange(4000.0)}, path),
    "program": lambda path: program().save(path),
}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def files(folder: Path) -> dict[str, bytes | None]:
    return {p.name: p.read_bytes() if p.is_file() else None for p in sorted(folder.iterdir())}


# ---- A kill --------------------------------------------------------------------------------------


@posix
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    seen = lives("save", tmp_path)
    assert (seen["torn"], seen["older"]) == (0, 0)
    assert seen["whole"] >= 80 and seen["last"] >= 20
    assert seen["drafts"] >= 20, "no kill came in the middle of a writing"


@posix
def test_a_plain_writer_would_be_caught(tmp_path: Path) -> None:
    assert lives("save_plainly", tmp_path)["torn"] == 1


# ---- A failure -----------------------------------------------------------------------------------


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As when the disk gets full: a write that would go further fails."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


@posix
@each_writer
@pytest.mark.parametrize("old", [None, b"old"], ids=["no file before", "a file before"])
def test_a_disk_that_gets_full(
    write: Callable[[Any], None], old: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = files(tmp_path)
    with no_file_above(100), pytest.raises(OSError, match="file") as caught:
        write(path)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)
    assert files(tmp_path) == before
    write(path)
    assert list(files(tmp_path)) == ["file"] and path.read_bytes() != old


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", ["fsync", "replace"])
@each_writer
def test_a_failure_at_each_step(
    write: Callable[[Any], None],
    call: str,
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: Any) -> None:
        assert len(files(tmp_path)) == 2  # beside the old one
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(type(error)):
            write(path)
    assert files(tmp_path) == {"file": b"old"}


def test_what_can_not_be_saved_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'b' must be real numbers, .* not a list of Value"):
        save_state({"a": 1.0, "b": [Value(1.0)]}, tmp_path / "file")
    assert files(tmp_path) == {}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@each_writer
def test_a_full_device(write: Callable[[Any], None]) -> None:
    with pytest.raises(OSError) as caught:
        write("/dev/full")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == "/dev/full"
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@posix
def test_devices_and_pipes_are_written_to_and_stay(tmp_path: Path) -> None:
    atomic.write(os.devnull, b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    atomic.write(pipe, b"through")
    assert reader.communicate(timeout=60)[0] == b"through"
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


@each_writer
@pytest.mark.parametrize("name", ["nowhere/file", ".", "", "file/below", "new/"])
def test_paths_that_can_not_be_written(
    write: Callable[[Any], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"old")
    with pytest.raises(OSError) as caught:
        write(name)
    with pytest.raises(type(caught.value)):
        os.open(name, os.O_WRONLY | os.O_CREAT)  # fails in the same way
    assert files(tmp_path) == {"file": b"old"}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights. In this process: sanitizers may not survive a fork beside threads."""
    if os.getuid() != 0:
        yield
        return
    os.setresgid(65534, 65534, 0)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that every user can reach, which tmp_path isn't."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@posix
def test_an_unwritable_folder_or_file(public: Path) -> None:
    folder, closed = public / "folder", public / "closed"
    for path in (folder, closed):
        path.mkdir()
        (path / "file").write_bytes(b"old")
    (closed / "file").chmod(0o666)
    closed.chmod(0o555)
    folder.chmod(0o777)
    (folder / "file").chmod(0o444)

    with as_nobody():
        for path in (closed / "file", closed / "new", folder / "file"):
            with pytest.raises(PermissionError, match=path.name):
                save_state({"a": 1.0}, path)
    assert files(folder) == files(closed) == {"file": b"old"}


# ---- Names, links, permissions -------------------------------------------------------------------


@posix
@each_writer
def test_a_new_file_is_as_open_makes_it_and_an_old_one_keeps_its_mode(
    write: Callable[[Any], None], tmp_path: Path
) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    old = os.umask(0o027)
    try:
        write(tmp_path / "new")
        (tmp_path / "plain").write_bytes(b"")
        for bits in (0o600, 0o644, 0o777):
            path = tmp_path / oct(bits)
            path.write_bytes(b"old")
            path.chmod(bits)
            write(path)
            assert mode(path) == bits
    finally:
        os.umask(old)
    assert mode(tmp_path / "new") == mode(tmp_path / "plain") == 0o640


@posix
def test_the_content_is_never_open_to_more_than_the_file_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o600)
    modes = []
    real = os.open

    def spy(name: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        descriptor = real(name, flags, mode, **more)
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", spy)
    atomic.write(path, b"new")
    assert modes[0] == 0o600


@posix
@pytest.mark.skipif(os.name == "posix" and os.getuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    os.chmod(path, 0o2640)
    atomic.write(path, b"new")
    after = path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (1234, 4321, 0o2640)


@posix
@each_writer
def test_a_symbolic_link_stays_one(write: Callable[[Any], None], tmp_path: Path) -> None:
    real, links = tmp_path / "real", tmp_path / "links"
    real.mkdir(), links.mkdir()
    (real / "file").write_bytes(b"old")
    (links / "first").symlink_to("second")
    (links / "second").symlink_to(real / "file")
    (links / "new").symlink_to("../real/new")
    write(links / "first")
    write(links / "new")
    assert sorted(files(real)) == ["file", "new"] and sorted(files(links)) == [
        "first", "new", "second"
    ]  # fmt: skip
    assert (real / "file").read_bytes() == (real / "new").read_bytes() != b"old"
    assert all(path.is_symlink() for path in links.iterdir())


@posix
def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError) as caught:
        atomic.write(tmp_path / "a", b"new")
    assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "a").is_symlink() and (tmp_path / "b").is_symlink()


@posix
def test_another_hard_link_keeps_the_old_content(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"old")
    os.link(path, other)
    atomic.write(path, b"new")
    assert (path.read_bytes(), other.read_bytes()) == (b"new", b"old")


@pytest.mark.parametrize("kind", [str, Path, os.fsencode], ids=["str", "Path", "bytes"])
def test_paths_of_each_kind(kind: Callable[[Any], Any], tmp_path: Path) -> None:
    name = "n" * 250  # a longer one beside it would be too long
    save_state({"a": 1.0}, kind(str(tmp_path / name)))
    assert load_state(kind(str(tmp_path / name)))["a"] == 1.0


@posix
def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, os.replace

    def spy_sync(descriptor: int) -> None:
        what = os.fstat(descriptor)
        calls.append("folder" if stat.S_ISDIR(what.st_mode) else f"{what.st_size} bytes")
        sync(descriptor)

    def spy_replace(draft: Any, target: Any) -> None:
        calls.append("replace")
        replace(draft, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "replace", spy_replace)
    atomic.write(tmp_path / "file", b"12345")
    assert calls == ["5 bytes", "replace", "folder"]


@posix
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_can_not_be_flushed(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    if number == errno.EIO:
        with pytest.raises(OSError, match="file"):
            atomic.write(tmp_path / "file", b"new")
    else:
        atomic.write(tmp_path / "file", b"new")
    assert files(tmp_path) == {"file": b"new"}


# ---- States in files -----------------------------------------------------------------------------

STATES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "numbers": {"a": 1.5, "b": 3, "c": -0.0, "d": float("nan"), "e": 2**62},
    "arrays": {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(6, dtype=np.int8), "c": []},
    "strings": {"a": "ü\u20ac", "b": ["one", "three", ""], "c": np.array([], dtype=str)},
    "orders": {"a": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "b": np.arange(9.0)[::2]},
    "other bytes": {"a": np.arange(3, dtype=">f8"), "b": np.arange(3, dtype=np.float32)},
    "empty": {"a": np.zeros((0, 3)), "b": np.zeros((2, 0))},
    "bools": {"a": True, "b": np.array([[False, True]]), "c": [], "d": [True, False]},
    "names": {"layers.0.weight": 1.0, "file": 2.0, "allow_pickle": 3.0, "a/b ü": 4.0, "": 5.0},
}  # fmt: skip


def same(state: dict[str, Any], expected: dict[str, Any]) -> bool:
    return list(state) == list(expected) and all(
        state[name].shape == np.shape(value)
        and state[name].dtype.newbyteorder("=") == np.asarray(value).dtype.newbyteorder("=")
        and state[name].tobytes() == np.asarray(value, state[name].dtype).tobytes()
        for name, value in expected.items()
    )


@pytest.mark.parametrize("name", STATES)
def test_a_state_goes_round(name: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    save_state(STATES[name], path)
    state = load_state(path)
    assert same(state, STATES[name])
    for array in state.values():
        assert array.flags.writeable and array.flags.aligned and array.dtype.isnative


@pytest.mark.parametrize("name", STATES)
def test_numpy_reads_and_writes_the_same(name: str, tmp_path: Path) -> None:
    save_state(STATES[name], tmp_path / "ours.npz")
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as archive:
        assert same(dict(archive), STATES[name])
    theirs = {k: v for k, v in STATES[name].items() if k not in ("file", "allow_pickle", "")}
    np.savez(tmp_path / "theirs.npz", **theirs)
    assert same(load_state(tmp_path / "theirs.npz"), theirs)


def test_the_same_state_gives_the_same_bytes() -> None:
    assert len({npz_files.to_bytes(STATES["arrays"]) for _ in range(3)}) == 1


@pytest.mark.parametrize(
    "state, error, message",
    [
        ({1: 2.0}, TypeError, "names must be strings, not 1"),
        ({"a\0b": 2.0}, ValueError, "can't be the name"),
        ({"a" * 70_000: 2.0}, ValueError, "can't be the name"),
        ({"a": object()}, TypeError, "'a' must be real numbers, .* not object"),
        ({"a": 1j}, TypeError, "'a' must be real numbers, .* not complex128"),
        ({"a": b"bytes"}, TypeError, "'a' must be"),
        ({"a": {1, 2}}, TypeError, "'a' must be .* not set"),
        ({"a": [None, 1]}, TypeError, "'a' must be .* not a list of NoneType and int"),
        ({"a": [{"b": 1}]}, TypeError, "'a' must be .* not a list of dict"),
        ({"a": ["b", 1]}, TypeError, "'a' must not mix strings with int"),
        ({"a": "x\0"}, ValueError, "'a' has a string that ends in NUL"),
        ({"a": [["x", "y\0"]]}, ValueError, "'a' has a string that ends in NUL"),
        ({"a": [2**63 + 1, -1]}, ValueError, "'a' has 9223372036854775809, which no array"),
        ({"a": [0.5, 2**53 + 1]}, ValueError, "'a' has 9007199254740993, which no array"),
        (
            {"a": np.ma.masked_equal([1.0, 2.0, 2.0], 2.0)},
            ValueError,
            "'a': 2 masked entries",
        ),
        ({"a": {"b": object()}}, TypeError, "'a/b' must be .* not object"),
        ({"a": {1: 2.0}}, TypeError, "names must be strings, not 1"),
        ({"a": {"b": 1}, "a/b": 2}, ValueError, "two entries would both be named 'a/b'"),
        ({"\ud800": 1}, ValueError, "can't be the name"),
        ({"a": 2**70}, TypeError, "'a' must be"),
        ({"a": np.zeros(2, "f8,i4")}, TypeError, "'a' must be"),
        ({"a": np.datetime64("2020-01-01")}, TypeError, "'a' must be"),
    ],
)
def test_what_a_state_can_not_hold(
    state: dict[Any, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        save_state(state, tmp_path / "state.npz")
    assert files(tmp_path) == {}


def test_modules_and_optimisers_go_through_files(tmp_path: Path) -> None:
    random.seed(1)
    model, other = nn.MLP(3, [4, 2]), nn.MLP(3, [4, 2])
    adam = optim.Adam(model.parameters())
    for p in model.parameters():
        p.grad = p.data
    adam.step()
    save_state(model.state_dict(), tmp_path / "model.npz")
    save_state(adam.state_dict(), tmp_path / "adam.npz")
    other.load_state_dict(load_state(tmp_path / "model.npz"))
    second = optim.Adam(other.parameters())
    second.load_state_dict(load_state(tmp_path / "adam.npz"))
    for p, q in zip(model.parameters(), other.parameters()):
        q.grad = p.grad
    adam.step(), second.step()
    assert [p.data for p in other.parameters()] == [p.data for p in model.parameters()]
    assert second.steps == 2 and type(second.steps) is int


# ---- Bytes of any kind ---------------------------------------------------------------------------


def npz(**members: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        for name, content in members.items():
            out.writestr(f"{name}.npy", content)
    return archive.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def compressed() -> bytes:
    archive = io.BytesIO()
    np.savez_compressed(archive, a=np.zeros(100))
    return archive.getvalue()


def twice() -> bytes:
    """Two members that are the same bytes of the file: sizes add up to more than there is."""
    content = npz(a=npy("{'descr': '<f8', 'fortran_order': False, 'shape': (64,), }", bytes(512)))
    directory = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    entry = content[directory:end]
    tail = bytearray(content[end:])
    tail[8:12] = (2).to_bytes(2, "little") * 2
    tail[12:16] = (2 * len(entry)).to_bytes(4, "little")
    return content[:directory] + entry + entry.replace(b"a.npy", b"b.npy") + bytes(tail)


def pickled() -> bytes:
    archive = io.BytesIO()
    np.savez(archive, a=np.array([object()]))
    return archive.getvalue()


def text(content: bytes) -> bytes:
    """What stands for None, or a dict."""
    return npy(GOOD.replace("<f8", f"|S{len(content)}").replace("2,", ""), content)


GOOD = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"
HOSTILE = {
    "nothing": b"",
    "no zip file": b"PK" * 40,
    "a plain array": npy(GOOD, bytes(16)),
    "compressed beyond the limit": compressed(),
    "members over each other": twice(),
    "pickled objects": pickled(),
    "no array inside": npz(a=b"hello"),
    "too little data": npz(a=npy(GOOD, bytes(15))),
    "too much data": npz(a=npy(GOOD, bytes(17))),
    "a header that is cut off": npz(a=npy(GOOD)[:40]),
    "a version to come": npz(a=npy(GOOD, bytes(16), b"\4\0")),
    "too many axes for empty": npz(a=npy(GOOD.replace("2,", "0, " + "999999999999999999, " * 9))),
    "no bools": npz(a=npy(GOOD.replace("<f8", "|b1"), b"\1\2")),
    "bytes": npz(a=text(b"null")),
    "keys twice": npz(a=text(b'pygradc:["b", "b"]')),
    "a dict without its values": npz(a=text(b'pygradc:["b"]')),
    "keys that are numbers": npz(a=text(b"pygradc:[1]")),
    "half a surrogate": npz(a=text(b"pygradc:\xff")),
    "no JSON": npz(a=text(b"pygradc:[[[[,")),
    "a deep list": npz(a=text(b"pygradc:" + b"[" * 9000)),
    "an enormous array": npz(a=npy(GOOD.replace("2,", "10000000000000000,"))),
    "an overflowing shape": npz(a=npy(GOOD.replace("2,", "999999999999999999, " * 2))),
    "a negative axis": npz(a=npy(GOOD.replace("2,", "-2,"))),
    "many axes": npz(a=npy(GOOD.replace("2,", "1, " * 99 + "1"), bytes(8))),
    "a type of objects": npz(a=npy(GOOD.replace("<f8", "|O"), bytes(16))),
    "a type of fields": npz(a=npy(GOOD.replace("'<f8'", "[('x', '<f8')]"), bytes(16))),
    "complex numbers": npz(a=npy(GOOD.replace("<f8", "<c16"), bytes(32))),
    "an expression": npz(a=npy(GOOD.replace("(2,)", "(1+1,)"), bytes(16))),
    "deep brackets": npz(a=npy("(" * 9000)),
    "deep signs": npz(a=npy("-" * 9000 + "1")),
    "enormous strings": npz(a=npy(GOOD.replace("<f8", "<U999999999"))),
    "no characters": npz(a=npy(GOOD.replace("<f8", "<U1"), b"\xff" * 8)),
    "another member": npz(a=npy(GOOD, bytes(16))).replace(b"a.npy", b"a.txt"),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_a_value_error_that_names_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match=r"state\.npz: ."):
        load_state(path, max_size=799)


def test_the_good_one_among_them_is_read() -> None:
    content = npz(a=npy(GOOD, np.array([1.0, 2.0]).tobytes()))
    assert npz_files.from_bytes(content)["a"].tolist() == [1.0, 2.0]


def damaged(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed))
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del changed[at : at + rng.randint(1, 8)]
        else:
            changed[at:at] = rng.randbytes(rng.randint(1, 8))
    return bytes(changed)


def test_a_damaged_archive_is_refused_or_says_the_same() -> None:
    """A checksum stands over each array."""
    rng = random.Random(1)
    content = npz_files.to_bytes({"a": np.arange(9.0), "b": ["x", "yz"], "c": 7})
    read = 0
    for _ in range(3000):
        try:
            state = npz_files.from_bytes(damaged(content, rng))
        except ValueError:
            continue
        read += 1
        for array, expected in zip(state.values(), (np.arange(9.0), ["x", "yz"], 7)):
            assert array.tobytes() in (np.asarray(expected).tobytes(), b"")
    assert read > 0  # bytes that do not matter, as dates


def test_a_damaged_member_under_a_right_checksum_is_refused_or_an_array() -> None:
    rng = random.Random(2)
    with zipfile.ZipFile(
        io.BytesIO(npz_files.to_bytes({"a": np.arange(4.0), "b": "xyz"}))
    ) as archive:
        members = [archive.read(name) for name in archive.namelist()]
    for i in range(4000):
        try:
            array = npz_files.from_bytes(npz(a=damaged(members[i % 2], rng)))["a"]
        except ValueError:
            continue
        assert array.dtype.kind in "fiuU" and array.size < 100
        array.tolist()


@given(st.binary(max_size=200))
def test_random_bytes(content: bytes) -> None:
    with pytest.raises(ValueError):
        npz_files.from_bytes(content)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "nowhere")


# ---- States that don't fit -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "theirs, message",
    [
        ((3, [5, 2]), r"'layers.0.weight' has shape \(5, 3\), expected \(4, 3\)"),
        ((3, [4, 3]), r"'layers.1.weight' has shape \(3, 4\), expected \(2, 4\)"),
        ((2, [4, 2]), r"'layers.0.weight' has shape \(4, 2\), expected \(4, 3\)"),
        ((3, [4, 2, 2]), r"\['layers.2.bias', 'layers.2.weight'\] not expected"),
        ((3, [2]), r"\['layers.1.bias', 'layers.1.weight'\] missing"),
    ],
)
def test_a_state_of_another_shape_names_the_parameters(
    theirs: Any, message: str, tmp_path: Path
) -> None:
    model = nn.MLP(3, [4, 2])
    before = [p.data for p in model.parameters()]
    save_state(nn.MLP(*theirs).state_dict(), tmp_path / "other.npz")
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(load_state(tmp_path / "other.npz"))
    assert [p.data for p in model.parameters()] == before


@pytest.mark.parametrize(
    "module, message",
    [
        (lambda: nn.Neuron(4), r"'parameters' has shape \(5,\), expected \(4,\)"),
        (lambda: nn.Layer(1, 3), r"'parameters' has shape \(6,\), expected \(4,\)"),
    ],
)
def test_a_module_without_names_says_how_many(module: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.Neuron(3).load_state_dict(module().state_dict())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mean": ["a", "b"]}, "Adam: mean must be real numbers"),
        ({"mean": [1j, 1j]}, "Adam: mean must be real numbers"),
        ({"square": [[1.0], [2.0, 3.0]]}, "Adam: square must be real numbers"),
        ({"square": [1.0, 2.0, 3.0]}, r"Adam: square has shape \(3,\), expected \(2,\)"),
        ({"steps": 1.5}, "Adam: steps must be a whole number of at least 0, not 1.5"),
        ({"steps": -1}, "Adam: steps must be a whole number of at least 0, not -1"),
        ({"steps": 2**60}, "Adam: steps must be"),
        ({"velocity": [1.0, 2.0]}, r"Adam: .*\['velocity'\] not expected"),
    ],
)
def test_an_optimisers_state_that_does_not_fit(change: dict[str, Any], message: str) -> None:
    adam = optim.Adam([Value(1.0), Value(2.0)])
    good = adam.state_dict()
    with pytest.raises(ValueError, match=message):
        adam.load_state_dict({**good, **change})
    assert adam.steps == 0 and adam.mean.tolist() == adam.square.tolist() == [0.0, 0.0]


def test_a_velocity_goes_to_an_optimiser_whose_momentum_came_later() -> None:
    first = optim.SGD([Value(1.0)], lr=0.1, momentum=0.9)
    first.velocity[0] = 3.0
    second = optim.SGD([Value(1.0)], lr=0.1)
    with pytest.raises(ValueError, match="velocity"):
        second.load_state_dict(first.state_dict())
    second.momentum = 0.9
    second.load_state_dict(first.state_dict())
    assert second.velocity.tolist() == [3.0]
