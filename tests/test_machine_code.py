"""Is the machine code what docs/machine-code.md says? Held against a disassembler."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import pytest

import pygradc
from pygradc import Value
from pygradc._core import ffi, lib

capstone = pytest.importorskip("capstone")

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not lib.pg_has_native() or platform.machine() not in ("x86_64", "AMD64"),
    reason="no machine code for x86-64 here",
)

LISTED = re.compile(
    r"^     (?P<bytes>(?:[0-9a-f]{2} )+) +(?P<text>v\w+ +[^ ,\n]+(?:, [^ ,\n]+)*)", re.M
)


def code_of(program: Any) -> bytes:
    count = lib.pg_program_machine_code(program._handle, ffi.NULL)
    room = ffi.new("uint8_t[]", count)
    assert lib.pg_program_machine_code(program._handle, room) == count
    return bytes(room)


def disassembled(code: bytes) -> list[tuple[bytes, str]]:
    """Each instruction's bytes and text, as the document writes it."""
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = []
    for one in decoder.disasm(code, 0):
        text = re.sub(r"\w+ ptr ", "", f"{one.mnemonic} {one.op_str}").replace(" + ", "+")
        text = re.sub(r"0x([0-9a-f]+)", lambda number: str(int(number[1], 16)), text)
        found.append((bytes(one.bytes), text))
    assert sum(len(each) for each, _ in found) == len(code)  # all of it is code
    return found


def recorded() -> Any:
    """The document's function."""
    w = Value(3.0)

    @pygradc.compile
    def f(x: Any) -> Any:
        return (x * x + w) / x

    assert f(2.0).data == 3.5
    return f.programs[0]


def test_the_document_lists_what_a_disassembler_reads() -> None:
    document = (ROOT / "docs" / "machine-code.md").read_text(encoding="utf-8")
    listed = [
        (bytes.fromhex(each["bytes"]), " ".join(each["text"].split()))
        for each in LISTED.finditer(document)
    ]
    assert len(listed) >= 12
    left = iter(disassembled(code_of(recorded())))
    for each in listed:
        assert each in left, each  # in this order, others in between


def test_nothing_is_fused_and_every_result_is_stored() -> None:
    """No multiply-add, whose bits are others; one store of eight bytes for each instruction."""
    program = recorded()
    texts = [text for _, text in disassembled(code_of(program))]
    assert not [text for text in texts if text.startswith("vfm")]
    stores = [text for text in texts if text.startswith("vmovsd [rsi")]
    assert len(stores) == len(program)


def test_a_program_without_machine_code_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    x = Value(1.0)
    f = pygradc.compile(lambda a: a + x)
    f(1.0)
    assert len(code_of(f.programs[0])) > 0
    assert disassembled(code_of(f.programs[0]))[-1][1] == "ret "
