"""Zip archives, read strictly: any bytes give the members or raise `Damaged`.

zipfile writes them. As a reader it is lenient: an archive that lost an entry to a flipped bit is
read without it. Here every length and offset must fit exactly, the directory and each member must
agree on its name, and each member's CRC-32 is checked. Archives made by `pack` also have a comment:
the SHA-256 of all bytes before it.
Exceptions are translated around three single calls only (zlib, a name's encoding), so that one
raised by a signal handler elsewhere propagates unchanged.
Cost: up to three times the members in memory.
Source: PKWARE, APPNOTE.TXT (zip; 4.4.8 and 4.5.3 for sizes of 4 GiB and more).
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LONG_END = struct.Struct("<4sQ2H2I4Q")
_LONG_END_AT = struct.Struct("<4sIQI")
_EXTRA = struct.Struct("<2H")
_LONG_EXTRA = 1  # the id of the extra field with numbers that don't fit 32 bits

_LOCATOR = b"PK\6\7"  # of an end record with long fields
_SHORT = 0xFFFFFFFF  # means: see the long field
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 1, 0x800
_UNIX, _MODE = 3, 0o100644 << 16
_LONGEST_COMMENT = 0xFFFF
_MARK = b"pygradc sha256 "
_DIGITS = 2 * hashlib.sha256().digest_size


class Damaged(ValueError):
    """The bytes aren't an archive of this kind, or are damaged; the message says how."""


# ---- writing ------------------------------------------------------------------------------------


class _Writer(zipfile.ZipFile):
    """A ZipFile whose finalizer does nothing: what a signal handler raises in one is lost."""

    __del__ = object.__hash__  # type: ignore[assignment] # implemented in C: no handler runs in it


def pack(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An archive of these members, uncompressed; the same members give the same bytes."""
    stream = io.BytesIO()
    with _Writer(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01
            entry.create_system, entry.external_attr = _UNIX, _MODE
            archive.writestr(entry, content)
        archive.comment = _MARK + bytes(_DIGITS)
    with stream.getbuffer() as view:
        view[-_DIGITS:] = hashlib.sha256(view[: -len(archive.comment)]).hexdigest().encode()
    return stream.getvalue()


# ---- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Member:
    """A member's entry in the directory."""

    name: str
    code: bytes  # the name, encoded
    flags: int
    method: int
    crc: int
    packed: int  # bytes in the archive
    size: int
    at: int


def unpack(content: bytes, max_size: int) -> dict[str, bytes]:
    """The members by name, in the directory's order.

    Args:
        max_size: the largest total size of compressed members, unpacked, in bytes.
    Raises:
        Damaged: not an archive, damaged, encrypted, or compressed members are too large.
    """
    members = _directory(content)
    if sum(member.packed for member in members) > len(content):
        raise Damaged("its members are larger than the file")
    compressed = sum(member.size for member in members if member.method != _STORED)
    if compressed > max_size:
        raise Damaged(
            f"its compressed arrays have {compressed:,} bytes, more than max_size={max_size:,}"
        )
    return {member.name: _content(content, member) for member in members}


def _take(layout: struct.Struct, content: bytes, at: int, signature: bytes) -> tuple[int, ...]:
    """The numbers of a record after its signature."""
    if not 0 <= at <= len(content) - layout.size or content[at : at + 4] != signature:
        raise Damaged("not an archive of arrays, or damaged: a record isn't where it should be")
    return layout.unpack_from(content, at)[1:]


def _end(content: bytes) -> int:
    """The offset of the end record; only its comment may follow it."""
    at = len(content)
    while True:
        at = content.rfind(b"PK\5\6", max(0, len(content) - _END.size - _LONGEST_COMMENT), at)
        if at < 0:
            raise Damaged("not an archive of arrays, or damaged: its end record is missing")
        if at + _END.size <= len(content):
            comment = at + _END.size
            if comment + _END.unpack_from(content, at)[-1] == len(content):
                return at


def _check_sum(content: bytes, comment: int) -> None:
    """Check the comment: a mark and the checksum, or nothing in archives such as numpy's."""
    if comment == len(content):
        return
    if content[comment : comment + len(_MARK)] != _MARK:
        raise Damaged(
            "damaged, or written by another program: its comment isn't save_state's checksum, and "
            "numpy.savez writes none"
        )
    digest = hashlib.sha256(memoryview(content)[:comment]).hexdigest()
    if content[comment + len(_MARK) :] != digest.encode():
        raise Damaged("damaged: its checksum is wrong")


def _directory(content: bytes) -> list[_Member]:
    end = _end(content)
    _check_sum(content, end + _END.size)
    numbers = _take(_END, content, end, b"PK\5\6")
    disk, first_disk, here, count, size, at, _ = numbers
    locator = end - _LONG_END_AT.size
    if content[max(locator, 0) : end].startswith(_LOCATOR):
        _, end, disks = _take(_LONG_END_AT, content, locator, _LOCATOR)
        *_, disk, first_disk, here, count, size, at = _take(_LONG_END, content, end, b"PK\6\6")
        if end + _LONG_END.size != locator or disks != 1:
            raise Damaged("damaged: its end record isn't where it should be")
    if disk or first_disk or here != count or at + size != end:
        raise Damaged("damaged: its directory isn't where it should be")
    members, names = [], set()
    for _ in range(count):
        member, at = _entry(content, at)
        members.append(member)
        names.add(member.name)
    if at != end or len(names) != count:
        raise Damaged("damaged: its directory doesn't have the entries that its end record says")
    return members


def _entry(content: bytes, at: int) -> tuple[_Member, int]:
    """An entry of the directory, and the offset of the next one."""
    numbers = _take(_ENTRY, content, at, b"PK\1\2")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra, comment, disk = numbers[:13]
    start = at + _ENTRY.size
    code = content[start : start + name_length]
    fields = content[start + name_length : start + name_length + extra]
    following = start + name_length + extra + comment
    if disk or following > len(content):
        raise Damaged("damaged: an entry of its directory extends past the end")
    longs = _long_fields(fields)
    short = (size, packed, numbers[-1])
    # those present come in this order
    size, packed, where = (next(longs, _SHORT) if x == _SHORT else x for x in short)
    return _Member(_name(code, flags), code, flags, method, crc, packed, size, where), following


def _long_fields(extra: bytes) -> Iterator[int]:
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == _LONG_EXTRA:
            for i in range(at, min(at + length, len(extra)) - 7, 8):
                yield int.from_bytes(extra[i : i + 8], "little")
        at += length


def _name(code: bytes, flags: int) -> str:
    try:
        return code.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise Damaged(f"damaged: {code[:100]!r} isn't a name") from None


def _content(content: bytes, member: _Member) -> bytes:
    *_, name_length, extra = _take(_LOCAL, content, member.at, b"PK\3\4")
    start = member.at + _LOCAL.size
    if content[start : start + name_length] != member.code:
        raise Damaged(f"damaged: {member.name!r} has a different name in the directory")
    start += name_length + extra
    packed = content[start : start + member.packed]
    if len(packed) != member.packed or member.flags & _ENCRYPTED:
        raise Damaged(f"{member.name!r} is encrypted, or truncated")
    entry = packed if member.method == _STORED else _inflated(packed, member)
    if len(entry) != member.size or zlib.crc32(entry) != member.crc:
        raise Damaged(f"{member.name!r} is damaged: its checksum is wrong")
    return entry


def _inflated(packed: bytes, member: _Member) -> bytes:
    """The unpacked bytes, never more than the size in the directory."""
    if member.method != _DEFLATED:
        raise Damaged(f"{member.name!r} is compressed by method {member.method}, not by deflate")
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        entry = stream.decompress(packed, member.size + 1)
    except zlib.error as error:
        raise Damaged(f"{member.name!r} is damaged: {error}") from None
    if not stream.eof or stream.unused_data or stream.unconsumed_tail:
        raise Damaged(f"{member.name!r} is damaged: its length is wrong")
    return entry
