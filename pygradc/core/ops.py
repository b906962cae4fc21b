"""The op table of csrc/ops/ops.def, read from the core. No op is defined here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pygradc._core import ffi, lib


@dataclass(frozen=True)
class Op:
    """One row of csrc/ops/ops.def."""

    number: int
    name: str
    symbol: str
    doc: str
    value: str
    derivatives: tuple[str, ...]
    arity: int
    takes_number: bool
    intervals: tuple[tuple[float, float], ...]
    default: float | None

    @property
    def method(self) -> str:
        """The method of Value that applies it, to the second operand or the number if it has one.

        That of `a ** 2` has no name of its own.
        """
        return "__pow__" if self.name == "pown" else self.name

    @property
    def is_activation(self) -> bool:
        """Does it need no second operand: `a.tanh()`, and `a.elu()`, whose number has a default?"""
        return self.arity == 1 and (not self.takes_number or self.default is not None)


def _read(number: int) -> Op:
    row = lib.pg_op_describe(number)

    def text(field: object) -> str:
        return str(ffi.string(field).decode())

    arity, takes_number = row.arity, bool(row.takes_number)
    default = lib.pg_op_default(number)
    return Op(
        number=number,
        name=text(row.name),
        symbol=text(row.symbol),
        doc=text(row.doc),
        value=text(row.value),
        derivatives=tuple(text(field) for field in (row.da, row.db)[:arity]),
        arity=arity,
        takes_number=takes_number,
        intervals=tuple((row.lo[i], row.hi[i]) for i in range(arity + takes_number)),
        default=None if math.isnan(default) else default,
    )


ROWS: tuple[Op, ...] = tuple(_read(number) for number in range(1, lib.pg_op_count() + 1))
OPS = tuple(op for op in ROWS if not op.name.startswith("_"))  # methods of Value
BY_NAME: dict[str, Op] = {op.name: op for op in OPS}
# Those that are functions of pygradc, too, by their names there; `a ** 2` is pow(a, 2), and two are
# written by hand.
FUNCTIONS: dict[str, Op] = {
    **{op.name: op for op in OPS if op.name not in ("pown", "maximum", "minimum")},
    "round": BY_NAME["rint"],
}


def activation_number(name: Any) -> int:
    """The number of an op of one Value, or 0 for "linear".

    Raises:
        ValueError: no such op has this name; the message lists those that do.
    """
    if name == "linear":
        return 0
    op = BY_NAME.get(name) if isinstance(name, str) else None
    if op is None or not op.is_activation:
        unary = [op.name for op in OPS if op.is_activation]
        raise ValueError(
            f"activation must be 'linear' or one of {unary}, not {name!r}{_meant(name, unary)}"
        )
    return op.number


def _meant(name: Any, unary: list[str]) -> str:
    """A suggestion of what to write instead, for an error message."""
    if isinstance(name, (list, tuple)):
        return ": one name for all layers; MLP's output_activation= sets that of the last"
    spoken = name if isinstance(name, str) else getattr(name, "__name__", "")
    if not isinstance(spoken, str):
        return ""
    import difflib  # imported here: 1 ms, needed for a message only

    near = difflib.get_close_matches(spoken.strip().lower(), [*unary, "linear"], 1, 0.75)
    return f": write {near[0]!r}" if near else ""
