"""The ops as functions: `pygradc.tanh(x)`, `pygradc.fmod(a, b)`, of Values and of numbers.

Each is made from its row of csrc/ops/ops.def, and calls the method of Value; a number becomes a
Value first, as in `pygradc.maximum`. `docs/generate.py` writes the types into functions.pyi, and
operands and results of the docstrings' examples into this file.
`maximum` and `minimum` are those of pygradc/recorded/tracing.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pygradc.core.ops import FUNCTIONS, Op
from pygradc.recorded.tracing import as_value, beside

_DOC = """{call}: {doc}.

        >>> import pygradc
        >>> {nodes} = {operands}
        >>> y = {applied}
        >>> y.backward()
        >>> print({printed})
        {output}

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
# ops: begin
_EXAMPLES = {
    "add": ((1.5, 0.6), "2.1 1 1"),
    "mul": ((1.5, 0.6), "0.9 0.6 1.5"),
    "pow": ((2.3, 0.6), "1.648 0.43 1.373"),
    "exp": ((1.5,), "4.482 4.482"),
    "log": ((6.8,), "1.917 0.1471"),
    "tanh": ((1.5,), "0.9051 0.1807"),
    "relu": ((1.5,), "1.5 1"),
    "sigmoid": ((2.5,), "0.9241 0.0701"),
    "sqrt": ((6.8,), "2.608 0.1917"),
    "abs": ((1.5,), "1.5 1"),
    "sin": ((3.0,), "0.1411 -0.99"),
    "cos": ((3.0,), "-0.99 -0.1411"),
    "erf": ((1.5,), "0.9661 0.1189"),
    "softplus": ((2.5,), "2.579 0.9241"),
    "atan2": ((1.5, 0.6), "1.19 0.2299 -0.5747"),
    "log1p": ((6.5,), "2.015 0.1333"),
    "expm1": ((1.5,), "3.482 4.482"),
    "log2": ((6.8,), "2.766 0.2122"),
    "log10": ((6.8,), "0.8325 0.06387"),
    "exp2": ((1.5,), "2.828 1.961"),
    "cbrt": ((6.8,), "1.895 0.09287"),
    "tan": ((0.6,), "0.6841 1.468"),
    "asin": ((0.5,), "0.5236 1.155"),
    "acos": ((0.5,), "1.047 -1.155"),
    "atan": ((1.5,), "0.9828 0.3077"),
    "sinh": ((1.5,), "2.129 2.352"),
    "cosh": ((1.5,), "2.352 2.129"),
    "asinh": ((1.5,), "1.195 0.5547"),
    "acosh": ((7.0,), "2.634 0.1443"),
    "atanh": ((0.5,), "0.5493 1.333"),
    "erfc": ((1.5,), "0.03389 -0.1189"),
    "hypot": ((1.5, 0.6), "1.616 0.9285 0.3714"),
    "sign": ((1.5,), "1 0"),
    "floor": ((1.5,), "1 0"),
    "ceil": ((1.5,), "2 0"),
    "trunc": ((1.5,), "1 0"),
    "rint": ((1.5,), "2 0"),
    "fmod": ((4.5, 2.0), "0.5 1 -2"),
    "mod": ((4.5, 2.0), "0.5 1 -2"),
    "floordiv": ((4.5, 2.0), "2 0 0"),
    "gelu": ((1.5,), "1.4 1.127"),
    "silu": ((2.5,), "2.31 1.099"),
    "leaky_relu": ((-1.5,), "-0.015 0.01"),
    "elu": ((-1.5,), "-0.7769 0.2231"),
    "log_ndtr": ((0.0,), "-0.6931 0.7979"),
    "lgamma": ((6.8,), "6.208 1.842"),
    "digamma": ((6.8,), "1.842 0.1584"),
    "polygamma": ((6.9, 1), "0.1559 -0.02427"),
    "round": ((1.5,), "2 0"),
}
# ops: end


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
        call=call,
        doc=op.doc,
        arguments="\n".join(arguments),
        method=op.method,
        **_example(name, op),
    )
    return function


def _example(name: str, op: Op) -> dict[str, str]:
    """The parts of the docstring's example."""
    operands, output = _EXAMPLES.get(name, ((), ""))  # a new op's is there after `make docs`
    nodes = ["a", "b"][: op.arity]
    numbers = [repr(number) for number in operands[op.arity :]]
    return {
        "nodes": ", ".join(nodes),
        "operands": ", ".join(f"pygradc.Value({x})" for x in operands[: op.arity]),
        "applied": f"pygradc.{name}({', '.join([*nodes, *numbers])})",
        "printed": " ".join(['f"{y.data:.4g}', *(f"{{{node}.grad:.4g}}" for node in nodes)]) + '"',
        "output": output,
    }


__all__ = list(FUNCTIONS)
globals().update({name: _function(name, op) for name, op in FUNCTIONS.items()})
