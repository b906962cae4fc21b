"""Programs in files: a header, a checksum, a description in JSON, parameters, and code.

    8 bytes   "pygradc" and a zero
    u32       version
    32 bytes  SHA-256 of what follows
    u64, u64  lengths of the next two
    JSON      name, errors, structures, labels
    float64[] the parameters' data
    bytes     the code, as csrc/save.c writes it

Numbers are little-endian. Nothing in a file is executed; everything is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import Any

import numpy as np

from pygradc import _structure as structures
from pygradc._core import ffi, lib

MAGIC = b"pygradc\0"
VERSION = 1
_HEAD = struct.Struct("<8sI32s")
_LENGTHS = struct.Struct("<QQ")
_MOST_LEAVES = 2**30
_MOST_AXES = 32  # numpy's limit before 2.0


class Contents:
    """What a file holds besides the core's program."""

    def __init__(self, handle: Any, data: Any, about: dict[str, Any]) -> None:
        self.handle, self.data = handle, data
        self.name = str(about["name"])
        self.errors = str(about["errors"])
        self.labels = {int(i): str(label) for i, label in about["labels"].items()}
        self.inputs = _structure_from(about["inputs"])
        self.outputs = _structure_from(about["outputs"])


def to_bytes(program: Any, structured: bool = True) -> bytes:
    """A `Program` as bytes.

    Without its structures any program can be written: they are then rows of numbers.

    Raises:
        ValueError: a structure has what JSON can't say.
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
    return _HEAD.pack(MAGIC, VERSION, hashlib.sha256(body).digest()) + body


def code_of(handle: Any) -> bytes:
    """The core's part."""
    count = lib.pg_program_write(handle, ffi.NULL)
    code = ffi.new("uint8_t[]", count)
    lib.pg_program_write(handle, code)
    return bytes(ffi.buffer(code))


def from_bytes(content: bytes) -> Contents:
    """The inverse.

    Raises:
        ValueError: not a program, of another version, or damaged; says which.
    """
    if len(content) < _HEAD.size + _LENGTHS.size or content[: len(MAGIC)] != MAGIC:
        raise ValueError("this is no pygradc program")
    _, version, digest = _HEAD.unpack_from(content)
    if version != VERSION:
        raise ValueError(f"a program of version {version}; this pygradc reads version {VERSION}")
    body = content[_HEAD.size :]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("the program is damaged: its checksum is wrong")
    return _read_body(body)


def _read_body(body: bytes) -> Contents:
    text_length, number_length = _LENGTHS.unpack_from(body)
    start = _LENGTHS.size
    if text_length > len(body) or number_length > len(body) or number_length % 8:
        raise ValueError("the program is damaged: its lengths are wrong")
    text, rest = body[start : start + text_length], body[start + text_length :]
    if len(text) != text_length or len(rest) < number_length:
        raise ValueError("the program is damaged: its lengths are wrong")
    data = np.frombuffer(rest[:number_length], dtype="<f8").astype(np.float64)
    handle = _read_code(rest[number_length:])
    try:
        contents = Contents(handle, data, json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the program's description is damaged: {error!r}") from None
    _check(contents)
    return contents


def _read_code(code: bytes) -> Any:
    out = ffi.new("pg_program **")
    status = lib.pg_program_read(out, code, len(code))
    if status == lib.PG_ERR_NOMEM:
        raise MemoryError
    if status != lib.PG_OK:
        raise ValueError("the program's code is damaged")
    return ffi.gc(out[0], lib.pg_program_free)


def _check(contents: Contents) -> None:
    """Do the description and the code speak of the same program?"""
    size = lib.pg_program_measure(contents.handle)
    inputs = contents.inputs
    if not isinstance(inputs, structures.Sequence) or inputs.kind is not tuple:
        raise ValueError("the program's description is damaged: its arguments are no tuple")
    if contents.errors not in ("raise", "ignore"):
        raise ValueError(f"the program's description is damaged: errors={contents.errors!r}")
    wanted = (
        structures.count_leaves(contents.inputs),
        structures.count_leaves(contents.outputs),
        len(contents.data),
    )
    if wanted != (size.inputs, size.outputs, size.params):
        raise ValueError("the program's description doesn't fit its code")
    if any(not 0 <= i < size.params for i in contents.labels):
        raise ValueError("the program's description is damaged: a label of no parameter")


# ---- structures as JSON -------------------------------------------------------------------------


def _flat(structure: structures.Structure) -> structures.Structure:
    return structures.Sequence(tuple, (structures.LEAF,) * structures.count_leaves(structure))


def _structure_to(structure: structures.Structure) -> Any:
    if isinstance(structure, structures.Leaf):
        return "leaf"
    if isinstance(structure, structures.Array):
        return {"array": list(structure.shape)}
    if isinstance(structure, structures.Static):
        if isinstance(structure.value, bytes):
            raise ValueError("a program that takes or returns bytes can't be saved")
        if structure.kind is not None:
            raise ValueError(f"a program with {structure.value!r} for a string can't be saved")
        return {"static": structure.value}
    items = [_structure_to(item) for item in structure.items]
    if isinstance(structure, structures.Mapping):
        if not all(type(key) is str for key in structure.keys):
            raise ValueError("a program with dict keys that are no strings can't be saved")
        return {"dict": list(structure.keys), "items": items}
    return {"tuple" if issubclass(structure.kind, tuple) else "list": items}


def _structure_from(data: Any) -> structures.Structure:
    if data == "leaf":
        return structures.LEAF
    if not isinstance(data, dict):
        raise ValueError(f"no structure: {data!r}")
    if "array" in data:
        shape = tuple(data["array"])
        if not 0 < len(shape) <= _MOST_AXES or any(type(axis) is not int for axis in shape):
            raise ValueError(f"no shape: {shape}")
        if min(shape) < 0 or math.prod(max(axis, 1) for axis in shape) > _MOST_LEAVES:
            raise ValueError(f"no shape: {shape}")
        return structures.Array(shape)
    if "static" in data:
        if not isinstance(data["static"], (type(None), str, bool)):
            raise ValueError(f"no static value: {data['static']!r}")
        return structures.Static(data["static"])
    if "dict" in data:
        keys, items = data["dict"], data["items"]
        if len(keys) != len(items) or not all(isinstance(key, str) for key in keys):
            raise ValueError("keys and items differ")
        if len(set(keys)) != len(keys):
            raise ValueError("a key twice")
        return structures.Mapping(tuple(keys), tuple(map(_structure_from, items)))
    for name, kind in (("tuple", tuple), ("list", list)):
        if name in data:
            return structures.Sequence(kind, tuple(map(_structure_from, data[name])))
    raise ValueError(f"no structure: {data!r}")
