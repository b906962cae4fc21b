"""Convert states to numpy's .npz archives and back; any bytes give a state or raise `Damaged`.

A member of the zip file is one array, with a header of exactly the form that numpy writes; so
nothing in a file is executed, and reading takes at most twice the memory of its content.
None and dicts are encoded as arrays too, so that `numpy.load` reads every file: a 0-d byte string,
"pygradc:" followed by JSON, which is null for None, and the list of keys for a dict. A dict's
values are separate members, "name/key".
Source: numpy/lib/format.py, NEP 1 (the header).
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pygradc.core.masks import refuse_masked
from pygradc.files import archive
from pygradc.files.archive import Damaged

Array = npt.NDArray[Any]

_SUFFIX = ".npy"
_LONGEST_NAME = 10_000
_DEEPEST = 100  # nested dicts
_MOST_AXES = 32  # numpy's limit before 2.0
_MOST_BYTES = 2**62  # that a shape may describe
_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # size of the header's length field, by version
_KIND = r"[<>](?:f[248]|[iu][248]|U[1-9]\d{0,8})|\|(?:[iu]1|b1)"
_TEXT = r"\|S[1-9]\d{0,8}"
_HEADER = re.compile(
    rb"\{'descr': '(%b)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, )*\d{1,18},?)?\), \} *\n" % f"{_KIND}|{_TEXT}".encode()
)
_LAST_CHARACTER = 0x10FFFF
_MARK = b"pygradc:"


class _Keys(list[str]):
    """The keys of a dict, which represent it in the archive."""


# ---- writing ------------------------------------------------------------------------------------


def to_bytes(state: Mapping[str, Any]) -> bytes:
    """The archive; the same state gives the same bytes.

    Raises:
        TypeError, ValueError: an entry can't be saved; names it.
    """
    members: dict[str, bytes] = {}
    for name, array in _entries(state, "", 0):
        if name in members:
            raise ValueError(f"state: two entries would both be named {name!r}")
        members[name] = _file(array)
    return archive.pack((name + _SUFFIX, content) for name, content in members.items())


def _entries(state: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Array]]:
    """The names and arrays of all entries; a dict comes before its values."""
    if depth > _DEEPEST:
        raise ValueError(f"state: {prefix[:60]!r}...: more than {_DEEPEST} nested dicts")
    for key, value in state.items():
        name = _name(prefix, key)
        if value is None:
            yield name, _text(None)
        elif isinstance(value, Mapping):
            keys = [key for key in value if _name(name + "/", key)]
            yield name, _text(keys)
            yield from _entries(value, name + "/", depth + 1)
        else:
            yield name, _array(name, value)


def _name(prefix: str, key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"state: names must be strings, not {key!r}")
    name = prefix + key
    if len(name) > _LONGEST_NAME or "\0" in name or not _is_text(name):
        raise ValueError(f"state: {name[:100]!r} can't be the name of an entry")
    return name


def _is_text(name: str) -> bool:
    """Is it free of lone surrogates, which can't be encoded?"""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _text(value: Any) -> Array:
    return np.array(_MARK + json.dumps(value).encode())


def _array(name: str, value: Any) -> Array:
    refuse_masked(f"state: {name!r}", value)
    array = _as_array(name, value)
    if not re.fullmatch(_KIND, array.dtype.str):
        raise TypeError(
            f"state: {name!r} must be real numbers, bools or strings, or None, or a dict of "
            f"these, not {_kind(value, array)}"
        )
    if array.ndim > _MOST_AXES:
        raise ValueError(f"state: {name!r} has {array.ndim} axes, more than {_MOST_AXES}")
    if isinstance(value, (np.ndarray, np.generic, float)):
        return array
    items = np.asarray(value, dtype=object).reshape(-1).tolist() if array.dtype.kind in "Uf" else []
    _check_items(name, items, array.dtype.kind)
    if all(type(item) is str for item in items) or array.dtype.kind == "f":
        return array
    # numpy calls str() on subclasses of str; that of an enum differs from its content
    return np.array([str.__str__(item) for item in items]).reshape(array.shape)


def _as_array(name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" not in str(error):  # such as one from a signal handler
            raise
        raise ValueError(
            f"state: {name!r} has parts of different lengths, {repr(value)[:80]}: save each as a "
            "separate entry, or all as a dict"
        ) from None


def _kind(value: Any, array: Array) -> str:
    if array.dtype != object:
        return str(array.dtype)
    if not isinstance(value, (list, tuple)):
        return type(value).__name__ if array.ndim == 0 else "objects"
    kinds = sorted({type(item).__name__ for item in array.reshape(-1)})
    return f"a {type(value).__name__} of {' and '.join(kinds)}"


def _check_items(name: str, items: list[Any], kind: str) -> None:
    """Refuse items that numpy's conversion would alter: it turns numbers next to a string into
    strings, and large next to negative integers into floats, and drops NULs at a string's end.
    """
    for item in items:
        if kind == "U" and not isinstance(item, str):
            raise TypeError(f"state: {name!r} must not mix strings with {type(item).__name__}")
        if kind == "U" and item.endswith("\0"):
            raise ValueError(f"state: {name!r} has a string that ends in NUL, which would be lost")
        if kind == "f" and isinstance(item, int) and int(float(item)) != item:
            raise ValueError(
                f"state: {name!r} has {item}, which no array can hold beside the others"
            )


def _file(array: Array) -> bytes:
    entry = io.BytesIO()
    np.lib.format.write_array(entry, array, allow_pickle=False)
    return entry.getvalue()


# ---- reading ------------------------------------------------------------------------------------


def from_bytes(content: bytes, max_size: int = 0) -> dict[str, Any]:
    """The inverse of `to_bytes`.

    Args:
        max_size: the largest total size of compressed members, unpacked, in bytes.
    Raises:
        Damaged: not an archive of arrays, or damaged, or compressed members are too large.
    """
    members = archive.unpack(content, max_size)
    if not all(name.endswith(_SUFFIX) for name in members):
        raise Damaged("not an archive of arrays: its members have other names")
    found = {name[: -len(_SUFFIX)]: _parse(name, entry) for name, entry in members.items()}
    state = {}
    while found:
        name = next(iter(found))
        state[name] = _taken(found, name, 0)
    return state


def _taken(found: dict[str, Any], name: str, depth: int) -> Any:
    """Remove and return this entry; a dict together with its values."""
    if name not in found or depth > _DEEPEST + 1:
        raise Damaged(f"damaged: {name[:100]!r} is missing, or nested too deeply")
    value = found.pop(name)
    if not isinstance(value, _Keys):
        return value
    return {key: _taken(found, f"{name}/{key}", depth + 1) for key in value}


def _parse(name: str, entry: bytes) -> Any:
    """One .npy file: an array, None, or a dict's keys."""
    version = entry[len(_MAGIC)] if entry[: len(_MAGIC)] == _MAGIC and len(entry) > 12 else 0
    if version not in _LENGTH_BYTES:
        raise Damaged(f"{name!r}: not an array")
    start = len(_MAGIC) + 2 + _LENGTH_BYTES[version]
    length = int.from_bytes(entry[len(_MAGIC) + 2 : start], "little")
    header = _HEADER.fullmatch(entry, start, start + length)
    if header is None:
        raise Damaged(f"{name!r}: not an array of real numbers, bools or strings")
    kind = header[1].decode()
    shape = tuple(int(axis) for axis in re.findall(rb"\d+", header[3] or b""))
    data = entry[start + length :]
    _check_size(name, kind, shape, len(data))
    if kind[1] == "S":
        return _plain(name, shape, data)
    dtype = np.dtype(kind)
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if header[2] == b"True" else "C")
    array = array.astype(dtype.newbyteorder("="))
    if dtype.kind == "U" and np.any(array.reshape(-1).view(np.uint32) > _LAST_CHARACTER):
        raise Damaged(f"{name!r}: not characters")
    if dtype.kind == "b" and np.any(array.view(np.uint8) > 1):
        raise Damaged(f"{name!r}: not bools")
    return array


def _check_size(name: str, kind: str, shape: tuple[int, ...], found: int) -> None:
    item = int(kind[2:]) * (4 if kind[1] == "U" else 1)
    # numpy checks this for empty arrays, too
    least = item * math.prod(max(axis, 1) for axis in shape)
    if item >= 2**31 or len(shape) > _MOST_AXES or least > _MOST_BYTES:
        raise Damaged(f"{name!r}: no array has shape {shape} and dtype {kind}")
    if item * math.prod(shape) != found:
        raise Damaged(f"{name!r}: {found} bytes for an array of shape {shape} and dtype {kind}")


def _plain(name: str, shape: tuple[int, ...], data: bytes) -> Any:
    """Decode what `_text` wrote."""
    if shape or not data.startswith(_MARK):
        raise Damaged(f"{name!r}: not an array of real numbers, bools or strings")
    try:
        value = json.loads(data[len(_MARK) :])
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise Damaged(f"{name!r}: damaged") from None
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(key, str) for key in value):
        raise Damaged(f"{name!r}: damaged")
    if len(set(value)) != len(value):
        raise Damaged(f"{name!r}: damaged: a duplicate key")
    return _Keys(value)
