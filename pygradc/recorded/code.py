"""A program's code in Python: instructions with named operands.

Shared by the listing and the translation to C. Names: in0, in1 ... are inputs, p0, p1 ...
parameters, u0, u1 ... uniform results, computed once per replay, and v0, v1 ... results for each
row; constants are written as numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pygradc._core import ffi, lib

COMPARISONS = ("<", "<=", ">", ">=")
_EQUALITIES = {lib.PG_EQUAL: "==", lib.PG_NOT_EQUAL: "!="}


@dataclass(frozen=True)
class Instruction:
    """An instruction of the uniform part or the row part.

    Attributes:
        number: index in the whole program, the uniform part first.
        name: its name in ops.def or instructions.def.
        result: the name of its result.
        operands: names. A dot: its start, if it has one, and then left and right of each pair. A
            custom op: its value, and then each operand and the derivative with respect to it. A
            select: a, b and the two compared operands. A take or search: the index or number, and
            then the entries or knots. A scatter: each gradient and its index. A part: its place,
            and its scatter.
        starts: whether it is a dot with a start, or a custom op.
        gated: whether it is a dot of gates, not of products.
        comparison: of a select: "<", "<=", ">", ">=", "==", "!="; `opposite` if it is negated.
        side: of a search: "left" or "right".
        parts: of a scatter: the names of its parts, which are instructions of their own behind it.
        value, da: the table's formulas in a, b and y, for instructions without pairs.
    """

    number: int
    name: str
    result: str
    operands: tuple[str, ...]
    starts: bool = False
    gated: bool = False
    comparison: str = ""
    opposite: bool = False
    side: str = ""
    parts: tuple[str, ...] = ()
    value: str = ""
    da: str = ""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """A dot's factors; a custom op's operands, derivatives; a scatter's numbers, indices."""
        rest = self.operands[self.starts :]
        return list(zip(rest[::2], rest[1::2]))


def _text(text: Any) -> str:
    return str(ffi.string(text).decode())


class Code:
    """Decodes the core's program."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.size = lib.pg_program_measure(handle)
        size = self.size
        self.constants = list(lib.pg_program_constants(handle)[0 : size.constants])
        self.imports = list(lib.pg_program_imports(handle)[0 : size.imports])
        self.length = size.uniform_instrs + size.row_instrs
        self._code = lib.pg_program_code(handle)
        self._pairs = lib.pg_program_pairs(handle)

    def uniform(self, slot: int) -> str:
        """The name of a uniform slot."""
        size = self.size
        if slot < size.constants:
            return repr(self.constants[slot])
        if slot < size.constants + size.params:
            return f"p{slot - size.constants}"
        return f"u{slot - size.constants - size.params}"

    def row(self, slot: int) -> str:
        """The name of a row slot; of an import, the name of the uniform slot that it copies."""
        size = self.size
        if slot < size.inputs:
            return f"in{slot}"
        if slot < size.inputs + size.imports:
            return self.uniform(self.imports[slot - size.inputs])
        return f"v{slot - size.inputs - size.imports}"

    def outputs(self) -> list[str]:
        return [
            self.row(slot) for slot in lib.pg_program_outputs(self.handle)[0 : self.size.outputs]
        ]

    def instructions(self) -> Iterator[Instruction]:
        for number in range(self.length):
            yield self.instruction(number)

    def instruction(self, number: int) -> Instruction:
        instr = self._code[number]
        info = lib.pg_instr_describe(instr.op)
        in_rows = number >= self.size.uniform_instrs
        read = self.row if in_rows else self.uniform
        name = _text(info.name)
        result = read(instr.dst)
        pairs = self._pairs[instr.first : instr.first + instr.count]
        if name == "dot":
            return self._dot(number, instr, pairs, read, result)
        if name == "custom":
            operands = read(instr.a), *(read(slot) for p in pairs for slot in (p.left, p.right))
            return Instruction(number, name, result, operands, True)
        if name == "scatter":
            operands = tuple(read(slot) for p in pairs for slot in (p.left, p.right))
            parts = tuple(read(instr.dst + i) for i in range(1, instr.run))
            return Instruction(number, name, result, operands, parts=parts)
        if name == "part":
            return Instruction(number, name, result, (str(instr.dst - instr.a - 1), read(instr.a)))
        if name in ("take", "search"):
            entry = self.uniform if instr.shape & lib.PG_DOT_WEIGHTED else read
            operands = read(instr.a), *(entry(pair.left) for pair in pairs)
            side = "right" if instr.shape & lib.PG_SEARCH_RIGHT else "left"
            return Instruction(number, name, result, operands, side=side)
        if name == "select":
            pair = pairs[0]
            operands = tuple(map(read, (instr.a, instr.b, pair.left, pair.right)))
            opposite, comparison = divmod(instr.shape, len(COMPARISONS))
            sign = _EQUALITIES.get(instr.shape)
            if sign is not None:
                return Instruction(number, name, result, operands, comparison=sign)
            sign = COMPARISONS[comparison]
            return Instruction(
                number, name, result, operands, comparison=sign, opposite=bool(opposite)
            )
        operands = tuple(map(read, (instr.a, instr.b)[: info.operands]))
        value, da = _text(info.value), _text(info.da)
        return Instruction(number, name, result, operands, value=value, da=da)

    def _dot(self, number: int, instr: Any, pairs: Any, read: Any, result: str) -> Instruction:
        left = self.uniform if instr.shape & lib.PG_DOT_WEIGHTED else read
        starts = bool(instr.shape & lib.PG_DOT_STARTS)
        operands = []
        if starts:
            start = self.uniform if instr.shape & lib.PG_DOT_UNIFORM_START else read
            operands.append(start(instr.a))
        for pair in pairs:
            operands += [left(pair.left), read(pair.right)]
        gated = bool(instr.shape & lib.PG_DOT_GATED)
        return Instruction(number, "dot", result, tuple(operands), starts, gated)


def listing(handle: Any, name: str, labels: dict[str, str], title: str) -> str:
    """The program as text, one instruction per line.

    Args:
        labels: from a parameter's name, such as "p0", to its label.
    """
    code = Code(handle)
    size = code.size
    lines = [title]
    inputs = ", ".join(f"in{i}" for i in range(min(size.inputs, 8)))
    if size.inputs > 8:
        inputs = f"in0 ... in{size.inputs - 1}"
    lines.append(f"{name}({inputs})")
    for parameter, label in labels.items():
        lines.append(f"  {parameter} is {label}")
    if size.uniform_instrs:
        lines.append("once per replay:")
    for instruction in code.instructions():
        if instruction.number == size.uniform_instrs:
            lines.append("for each row:")
        lines.append(f"  {instruction.result} = {_formula(instruction)}")
    lines.append(f"return {', '.join(code.outputs())}")
    return "\n".join(lines)


_INFIX = {"add": "+", "mul": "*", "pow": "**", "pown": "**", "mod": "%", "floordiv": "//"}
_MOST_PAIRS = 6


def _abridged(texts: Iterable[str]) -> list[str]:
    """The first of these and the last, and how many there are in between."""
    found = list(texts)
    if len(found) > _MOST_PAIRS:
        found[_MOST_PAIRS - 1 : -1] = [f"... {len(found) - _MOST_PAIRS} more ..."]
    return found


def _formula(instruction: Instruction) -> str:
    operands = instruction.operands
    if instruction.name in _INFIX:
        return f"{operands[0]} {_INFIX[instruction.name]} {operands[1]}"
    if instruction.name == "select":
        condition = f"{operands[2]} {instruction.comparison} {operands[3]}"
        if instruction.opposite:
            condition = f"not {condition}"
        return f"{operands[0]} if {condition} else {operands[1]}"
    if instruction.name == "custom":
        slopes = [f"d/d{operand} = {slope}" for operand, slope in instruction.pairs]
        return f"custom: {', '.join([operands[0], *slopes])}"
    if instruction.name == "take":
        return f"take {operands[0]} of: {', '.join(_abridged(operands[1:]))}"
    if instruction.name == "scatter":
        sums = _abridged(f"{gradient} by {index}" for gradient, index in instruction.pairs)
        return f"scatter: {', '.join(sums)}"
    if instruction.name == "part":
        return f"part {operands[0]} of {operands[1]}"
    if instruction.name == "search":
        knots = ", ".join(_abridged(operands[1:]))
        return f"search {operands[0]} ({instruction.side}) in: {knots}"
    if instruction.name == "dot":
        form = "_gate({}, {})" if instruction.gated else "{}*{}"
        products = _abridged(form.format(left, right) for left, right in instruction.pairs)
        return "dot: " + " + ".join([*operands[: instruction.starts], *products])
    return f"{instruction.name}({', '.join(operands)})"
