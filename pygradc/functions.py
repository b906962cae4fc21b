"""The ops as functions: `pygradc.tanh(x)`, `pygradc.fmod(a, b)`, of Values and of numbers.

Each is made from its row of csrc/ops/ops.def, and calls the method of Value; a number becomes a
Value first, as in `pygradc.maximum`. `docs/generate.py` writes the types into functions.pyi.
`maximum` and `minimum` are those of pygradc/recorded/tracing.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pygradc.core.ops import FUNCTIONS, Op
from pygradc.recorded.tracing import as_value, beside

_DOC = """{call}: {doc}.

    Args:
{arguments}
    Returns:
        A Value; of plain numbers, too.
    Raises:
        TypeError: an operand is neither a Value nor a real number.
        ArithmeticError, ValueError: as the method `Value.{method}`.
    Source: csrc/ops/ops.def.
    """
_NODE = "        {}: A Value or a number."
_NUMBER = "        number: A number, not a Value{}."


def _unary(op: Op) -> Callable[..., Any]:
    def function(a, /):
        return getattr(as_value(a), op.method)()

    return function


def _binary(op: Op) -> Callable[..., Any]:
    def function(a, b, /):
        return getattr(beside(a, b), op.method)(b)

    return function


def _with_number(op: Op) -> Callable[..., Any]:
    def function(a, number, /):
        return getattr(as_value(a), op.method)(number)

    if op.default is not None:
        function.__defaults__ = (op.default,)
    return function


def _function(name: str, op: Op) -> Callable[..., Any]:
    """The function of one op, with its name and docstring."""
    function = (_with_number if op.takes_number else _binary if op.arity == 2 else _unary)(op)
    function.__name__ = function.__qualname__ = name
    second = "b" if op.arity == 2 else "number" if op.takes_number else ""
    arguments = [_NODE.format("a")]
    if op.arity == 2:
        arguments.append(_NODE.format("b"))
    elif op.takes_number:
        arguments.append(
            _NUMBER.format("" if op.default is None else f"; {op.default!r} if left out")
        )
    call = f"{name}({', '.join(filter(None, ('a', second)))})"
    function.__doc__ = _DOC.format(
        call=call, doc=op.doc, arguments="\n".join(arguments), method=op.method
    )
    return function


__all__ = list(FUNCTIONS)
globals().update({name: _function(name, op) for name, op in FUNCTIONS.items()})
