"""The file format of programs: header, checksum, description in JSON, parameters, and code.

    8 bytes   "pygradc" and a zero byte
    u32       version
    32 bytes  SHA-256 of the rest
    u64, u64  lengths in bytes of the next two
    JSON      name, errors, structures, labels
    float64[] the parameters' data
    bytes     the code, as csrc/program/program_bytes.c writes it

Numbers are little-endian. Nothing in a file is executed; everything is checked before it is used.
"""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

import numpy as np

from pygradc._core import ffi, lib
from pygradc.core.owner import new_owner
from pygradc.files import magic
from pygradc.recorded import structure as structures

VERSION = 1
_HEAD = struct.Struct("<8sI32s")
_LENGTHS = struct.Struct("<QQ")
_MOST_LEAVES = 2**30
_MOST_AXES = 32  # numpy's limit before 2.0
_MOST_DIGITS = 30
_KEYS = ("name", "errors", "inputs", "outputs", "labels")


class Damaged(ValueError):
    """The bytes aren't a program, have another version, or are damaged; says which.

    A class of its own, so that an error raised by a signal handler isn't mistaken for it.
    """


class Contents:
    """The contents of a file, decoded.

    Args:
        owner: of the core's program.
        data: the parameters' data, shape (parameters,).
        about: the description, not checked yet.
    Raises:
        Damaged: an entry of it is missing or invalid.
    """

    def __init__(self, owner: Any, data: Any, about: Any) -> None:
        if not isinstance(about, dict):
            raise _damaged("not a dict")
        missing = [key for key in _KEYS if key not in about]
        if missing:
            raise _damaged(f"{missing} is missing")
        self.owner, self.data = owner, data
        self.name = str(about["name"])
        self.errors = str(about["errors"])
        self.labels = _labels_from(about["labels"])
        self.inputs = _structure_from(about["inputs"])
        self.outputs = _structure_from(about["outputs"])


def to_bytes(program: Any, structured: bool = True) -> bytes:
    """Serialize a `Program`.

    With structured=False any program can be serialized: its structures become flat tuples of
    numbers.

    Raises:
        ValueError: JSON can't represent a structure.
    """
    params = program.parameters()
    inputs, outputs = program._inputs, program._outputs
    if not structured:
        inputs, outputs = map(_flat, (inputs, outputs))
    about = {
        "name": program._name,
        "errors": program._errors,
        "inputs": _structure_to(inputs),
        "outputs": _structure_to(outputs),
        "labels": {
            str(i): p.label for i, p in enumerate(params) if isinstance(p.label, str) and p.label
        },
    }
    text = json.dumps(about).encode()
    numbers = np.array([p.data for p in params], dtype="<f8").tobytes()
    body = _LENGTHS.pack(len(text), len(numbers)) + text + numbers + code_of(program._handle)
    return _HEAD.pack(magic.PROGRAM, VERSION, _digest(body)) + body


def _digest(body: bytes) -> bytes:
    import hashlib  # takes 3 ms

    return hashlib.sha256(body).digest()


def code_of(handle: Any) -> bytes:
    """The core's program as bytes."""
    count = lib.pg_program_write(handle, ffi.NULL)
    code = ffi.new("uint8_t[]", count)
    lib.pg_program_write(handle, code)
    return bytes(ffi.buffer(code))


def from_bytes(content: bytes) -> Contents:
    """Deserialize, the inverse of `to_bytes`.

    Raises:
        Damaged: not a program, another version, or damaged; says which.
    """
    if len(content) < _HEAD.size + _LENGTHS.size or not content.startswith(magic.PROGRAM):
        raise Damaged("this is not a pygradc program")
    _, version, digest = _HEAD.unpack_from(content)
    if version != VERSION:
        raise Damaged(f"a program of version {version}; this pygradc reads version {VERSION}")
    body = content[_HEAD.size :]
    if _digest(body) != digest:
        raise Damaged("the program is damaged: its checksum is wrong")
    return _read_body(body)


def _read_body(body: bytes) -> Contents:
    text_length, number_length = _LENGTHS.unpack_from(body)
    start = _LENGTHS.size
    if text_length > len(body) or number_length > len(body) or number_length % 8:
        raise Damaged("the program is damaged: its lengths are wrong")
    text, rest = body[start : start + text_length], body[start + text_length :]
    if len(text) != text_length or len(rest) < number_length:
        raise Damaged("the program is damaged: its lengths are wrong")
    data = np.frombuffer(rest[:number_length], dtype="<f8").astype(np.float64)
    owner = _read_code(rest[number_length:])
    try:
        contents = Contents(owner, data, json.loads(text, parse_int=_integer))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(repr(error)) from None
    _check(contents)
    return contents


def _damaged(how: str) -> Damaged:
    return Damaged(f"the program's description is damaged: {how}")


def _integer(digits: str) -> int:
    """Parse an integer; Python's own error for very long ones says less."""
    if len(digits) > _MOST_DIGITS:
        raise _damaged(f"a number of {len(digits)} digits")
    return int(digits)


def _read_code(code: bytes) -> Any:
    owner = new_owner("program")
    status = lib.pg_program_read(owner, code, len(code))
    if status == lib.PG_ERR_NOMEM:
        raise MemoryError
    if status != lib.PG_OK:
        raise Damaged("the program's code is damaged")
    return owner


def _check(contents: Contents) -> None:
    """Check that the description matches the code.

    Raises:
        Damaged: it doesn't; says how.
    """
    size = lib.pg_program_measure(contents.owner[0])
    inputs = contents.inputs
    if not isinstance(inputs, structures.Sequence) or inputs.kind is not tuple:
        raise _damaged("its arguments aren't a tuple")
    if contents.errors not in ("raise", "ignore"):
        raise _damaged(f"errors={contents.errors!r}")
    wanted = (
        structures.count_leaves(contents.inputs),
        structures.count_leaves(contents.outputs),
        len(contents.data),
    )
    if wanted != (size.inputs, size.outputs, size.params):
        raise Damaged("the program's description doesn't fit its code")
    if any(not 0 <= i < size.params for i in contents.labels):
        raise _damaged("a label without a parameter")


# ---- structures as JSON -------------------------------------------------------------------------


def _flat(structure: structures.Structure) -> structures.Structure:
    return structures.Sequence(tuple, (structures.LEAF,) * structures.count_leaves(structure))


def _structure_to(structure: structures.Structure) -> Any:
    if isinstance(structure, structures.Leaf):
        return "leaf"
    if isinstance(structure, structures.Truth):
        return "bool"
    if isinstance(structure, structures.Array):
        truths = {"bools": list(structure.truths)} if structure.truths else {}
        return {"array": list(structure.shape), **truths}
    if isinstance(structure, structures.Static):
        if isinstance(structure.value, bytes):
            raise ValueError("a program that takes or returns bytes can't be saved")
        if structure.kind is not None:
            raise ValueError(
                f"a program with {structure.value!r} in place of a string can't be saved"
            )
        return {"static": structure.value}
    items = [_structure_to(item) for item in structure.items]
    if isinstance(structure, structures.Mapping):
        if not all(type(key) is str for key in structure.keys):
            raise ValueError("a program with dict keys that aren't strings can't be saved")
        return {"dict": list(structure.keys), "items": items}
    return {"tuple" if issubclass(structure.kind, tuple) else "list": items}


def _labels_from(data: Any) -> dict[int, str]:
    if not isinstance(data, dict) or not all(re.fullmatch(r"[0-9]{1,10}", key) for key in data):
        raise _damaged(f"invalid labels: {repr(data)[:80]}")
    return {int(i): str(label) for i, label in data.items()}


def _structure_from(data: Any) -> structures.Structure:
    if data == "leaf":
        return structures.LEAF
    if data == "bool":
        return structures.TRUTH
    if isinstance(data, dict):
        if "array" in data:
            return _array_from(data)
        if "static" in data:
            if not isinstance(data["static"], (type(None), str, bool)):
                raise _damaged(f"invalid static value: {data['static']!r}")
            return structures.Static(data["static"])
        if "dict" in data:
            keys, items = data["dict"], _items_from(data.get("items"))
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                raise _damaged("keys that aren't strings")
            if len(keys) != len(items) or len(set(keys)) != len(keys):
                raise _damaged("the numbers of keys and items differ, or a key is duplicated")
            return structures.Mapping(tuple(keys), items)
        for name, kind in (("tuple", tuple), ("list", list)):
            if name in data:
                return structures.Sequence(kind, _items_from(data[name]))
    raise _damaged(f"invalid structure: {repr(data)[:80]}")


def _items_from(data: Any) -> tuple[structures.Structure, ...]:
    if not isinstance(data, list):
        raise _damaged(f"invalid items: {repr(data)[:80]}")
    return tuple(map(_structure_from, data))


def _array_from(data: dict[str, Any]) -> structures.Array:
    truths = _shape_from(data["bools"]) if "bools" in data else ()
    array = structures.Array(_shape_from(data["array"]), truths)
    if any(i >= structures.count_leaves(array) for i in array.truths):
        raise _damaged("a bool outside its array")
    return array


def _shape_from(data: Any) -> tuple[int, ...]:
    if not isinstance(data, list) or any(type(axis) is not int or axis < 0 for axis in data):
        raise _damaged(f"invalid shape: {repr(data)[:80]}")
    if not 0 < len(data) <= _MOST_AXES or math.prod(max(n, 1) for n in data) > _MOST_LEAVES:
        raise _damaged(f"invalid shape: {repr(data)[:80]}")
    return tuple(data)
