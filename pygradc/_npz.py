"""numpy's .npz archives as bytes, and back: whatever the bytes, arrays or ValueError.

A member of the zip file is one array, stored as it is, with a header of exactly the form that numpy
writes; so nothing in a file is executed, and reading takes no more memory than twice the file.
Source: numpy/lib/format.py, NEP 1 (the header); PKWARE, APPNOTE.TXT (zip).
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pygradc._rows import refuse_masked

Array = npt.NDArray[Any]

_SUFFIX = ".npy"
_LONGEST_NAME = 10_000
_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # of the header, by version
_KIND = r"[<>|](?:f[248]|[iu][1248]|U[1-9]\d{0,8})"
_HEADER = re.compile(
    rb"\{'descr': '(%b)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, )*\d{1,18},?)?\), \} *\n" % _KIND.encode()
)
_LAST_CHARACTER = 0x10FFFF


def to_bytes(state: Mapping[str, Any]) -> bytes:
    """The archive; the same state gives the same bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for name, value in state.items():
            member = zipfile.ZipInfo(_member_name(name))
            member.external_attr = 0o644 << 16
            entry = io.BytesIO()
            np.lib.format.write_array(entry, _array(name, value), allow_pickle=False)
            members.writestr(member, entry.getvalue())
    return archive.getvalue()


def _member_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"state: names must be strings, not {name!r}")
    if len(name) > _LONGEST_NAME or zipfile.ZipInfo(name + _SUFFIX).filename != name + _SUFFIX:
        raise ValueError(f"state: {name[:100]!r} can't be the name of an entry")
    return name + _SUFFIX


def _array(name: str, value: Any) -> Array:
    refuse_masked(f"state: {name!r}", value)
    array = np.asarray(value)
    if not re.fullmatch(_KIND, array.dtype.str):
        raise TypeError(f"state: {name!r} must be real numbers or strings, not {array.dtype}")
    return array


def from_bytes(content: bytes) -> dict[str, Array]:
    """The inverse.

    Raises:
        ValueError: no archive of arrays, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > len(content):
                raise ValueError("its members are larger than the file")
            state = {member.filename: _read(archive, member) for member in members}
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises many kinds, and only the bytes can be the reason
        raise ValueError(f"no archive of arrays, or a damaged one: {error}") from None
    if len(state) != len(members) or not all(name.endswith(_SUFFIX) for name in state):
        raise ValueError("no archive of arrays: its members have other names")
    return {name[: -len(_SUFFIX)]: array for name, array in state.items()}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ValueError(f"{member.filename!r} is compressed; numpy.savez does without")
    entry = archive.read(member)
    try:
        return _parse(entry)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{member.filename!r}: {error}") from None


def _parse(entry: bytes) -> Array:
    """One .npy file."""
    version = entry[len(_MAGIC)] if entry[: len(_MAGIC)] == _MAGIC and len(entry) > 12 else 0
    if version not in _LENGTH_BYTES:
        raise ValueError("no array")
    start = len(_MAGIC) + 2 + _LENGTH_BYTES[version]
    length = int.from_bytes(entry[len(_MAGIC) + 2 : start], "little")
    header = _HEADER.fullmatch(entry, start, start + length)
    if header is None:
        raise ValueError("no array of real numbers or strings")
    dtype = np.dtype(header[1].decode())
    shape = tuple(int(axis) for axis in re.findall(rb"\d+", header[3] or b""))
    if math.prod(shape) * dtype.itemsize != len(entry) - start - length:
        raise ValueError(f"{len(entry) - start - length} bytes for an array {shape} of {dtype}")
    array = np.frombuffer(entry, dtype, offset=start + length)
    array = array.reshape(shape, order="F" if header[2] == b"True" else "C")
    array = array.astype(dtype.newbyteorder("="))
    if dtype.kind == "U" and np.any(array.reshape(-1).view(np.uint32) > _LAST_CHARACTER):
        raise ValueError("no characters")
    return array
