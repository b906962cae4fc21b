"""Operations refused in a function being recorded, and the error that says what to write instead.

During a trace, a Value that depends on an input or on a parameter (a Value that existed before the
trace) has no number: reading it would freeze one answer into the program. The C type calls this
module where a number is read, `recorded/tracing.py` where a Condition's truth value is.
A traced function that catches a TraceError and goes on is refused when it returns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from pygradc.core import lines
from pygradc.core.lines import users_line
from pygradc.core.scalar import Scalar, core

tracing = core.tracing  # is a function being recorded, in this thread?


class TraceError(TypeError):
    """A traced function used a number that exists only in a replay.

        >>> import pygradc
        >>> pygradc.compile(lambda x: x if x > 0 else 0.0)(1.0)        # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        pygradc.TraceError: ...: bool() of a Value made by the comparison ...
        >>> pygradc.compile(lambda x: pygradc.where(x > 0, x, 0.0))(1.0).data
        1.0

    The message names the operation, the op that made the Value, and the line.
    """

    __module__ = "pygradc"


_KEYWORD = "an object that is the same for all rows can be passed as a keyword argument"
CONVERTED = (
    "compute with the Value itself, with its methods exp(), log(), sqrt() and others in place of "
    f"math's and numpy's functions; {_KEYWORD}"
)
AN_INDEX = (
    "look it up with pygradc.take(table, i), and pass an integer that determines a shape as a "
    "keyword argument"
)
_CHANGED = "do this outside of recorded functions, between calls"
_AFTER_BACKWARD = "call backward() on what the recorded function returns"
_EQUALS = (
    "where((a <= b) & (a >= b), x, y) chooses where their numbers are equal; a is b tests "
    "identity, and is always False for an argument and another Value"
)
REMEDIES = {
    "bool()": "branch with pygradc.where(condition, a, b), maximum or minimum; &, | and ~, or "
    "logical_and, logical_or and logical_not, combine conditions",
    "==": _EQUALS,
    "!=": _EQUALS,
    ".data": "compute with the Value itself, or with pygradc.detach(v) in place of v.data in "
    f"an expression: no gradient flows through it; {_KEYWORD}",
    ".grad": f"{_AFTER_BACKWARD}, and read gradients after that",
    "._local_grads": "write the derivative with Values' own operators",
    "float()": CONVERTED,
    "int()": AN_INDEX,
    "round() to digits": "write (v * 10**n).round() / 10**n",
    "complex()": CONVERTED,
    "an index or integer": AN_INDEX,
    "a format": "return the Value as well, and format the returned one; print() and repr() work",
    "data()": f"stack the Values themselves, np.array(values); {_KEYWORD}",
    "grads()": f"{_AFTER_BACKWARD}, and read gradients after that",
    "a copy": "make the copy before, or use the Value itself",
    "a replay": "call the compiled function itself with this function's Values: it is then inlined",
    "state_dict()": _CHANGED,
    "load_state_dict()": _CHANGED,
    "assigning .data": "compute a new Value",
    "assigning .grad": _CHANGED,
    "assigning ._backward": _CHANGED,
    "zero_grad()": _CHANGED,
    "clear_grads()": _CHANGED,
    "optimizer.step()": _CHANGED,
    "backward()": _AFTER_BACKWARD,
    "_backward()": _AFTER_BACKWARD,
    "draw_dot()": "call the plain function with Values, and draw its result",
    "view()": "call the plain function with Values, and view its result",
}
# Refused of any Value: a function that catches the error does the same in eager code.
_NEVER_ANSWERED = frozenset(
    (*("float()", "int()", "complex()", "an index or integer", "round() to digits"),)
)
_REMEDY = (
    "compute with the Value itself; where(), maximum and minimum choose, detach() stops gradients, "
    f"and {_KEYWORD}"
)


_numbers = itertools.count(1)
_recording = 0  # the number of the current trace, or 0
_answers_all = -1  # the number of the trace of a rule that may also run on floats
_caught: TraceError | None = None  # the first error of this trace that may have been caught


def begin_recording() -> None:
    global _recording
    _recording = next(_numbers)
    _untraceable.clear()


def end_recording() -> None:
    global _caught, _recording
    _recording, _caught = 0, None


def current() -> int:
    """The number of the trace that is running, in any thread; 0 if none is."""
    return _recording


def reject(message: str, of_this_trace: bool = False) -> NoReturn:
    """Raise a TraceError that the traced function must not handle.

    If it is caught, the handler's choice would hold for all rows. Errors of other threads don't
    count, unless they come from objects of this trace.
    """
    global _caught
    error = TraceError(f"{users_line()}: {message}")
    if _recording and _caught is None and (of_this_trace or tracing()):
        _caught = error
    raise error


def require_none_caught() -> None:
    """Called once the traced function has returned: require that it caught no TraceError.

    Raises:
        TraceError: it caught one.
    """
    if _caught is not None:
        raise TraceError(
            f"{_caught} The function caught this error and continued, with an outcome that would "
            "hold for all rows."
        )


@contextmanager
def trying(of_rule: bool = False) -> Iterator[Callable[[], TraceError | None]]:
    """In this block a TraceError may be caught without failing the trace.

    Args:
        of_rule: The block tries a rule that may also run on floats: refusals count only here.
    Yields:
        A function that gives the first error which may have been caught, or None.
    """
    global _answers_all, _caught
    before = _answers_all, _caught
    if of_rule:
        _answers_all, _caught = _recording, None
    try:
        yield lambda: _caught
    finally:
        _answers_all, _caught = before


def fail(asked: str, made_by: str, remedy: str) -> NoReturn:
    quote = lines.quoted(lines.here())
    quote = f", in {quote!r}," if quote and quote not in made_by else ""
    message = (
        f"{asked} of a Value made by {made_by}{quote} while a function is recorded: Values have "
        f"no numbers then, since one would become a constant of the program. Instead, {remedy}."
    )
    never = asked in _NEVER_ANSWERED and _answers_all != _recording
    if never and not made_by.startswith("the comparison "):
        raise TraceError(f"{users_line()}: {message}")
    reject(message, of_this_trace=True)


def refuse(asked: str) -> None:
    """Refuse the operation `asked` during a trace.

    Raises:
        TraceError: this thread is recording a function.
    """
    if tracing():
        reject(
            f"{asked} while a function is recorded: it would happen once, not at each replay. "
            f"Instead, {REMEDIES.get(asked, _CHANGED)}."
        )


_untraceable: list[str] = []  # lines that made, in this trace, nodes that can't be recorded


def note_untraceable() -> None:
    """Called by the C type; an error only if an output depends on the node."""
    if len(_untraceable) < 10 and users_line() not in _untraceable:
        _untraceable.append(users_line())


def untraceable() -> NoReturn:
    where = f"{', '.join(_untraceable)}: " if _untraceable else ""
    raise TraceError(
        f"{where}a recorded function made a Value with explicit children, and a _backward closure "
        "or numeric local gradients: a program can't replay these. Write it with Values' own "
        "operators, or as a pygradc.op of these, or make it before the function is recorded."
    )


def frozen(value: Scalar, asked: str) -> NoReturn:
    """Called by the C type when the number of a Value without one is read."""
    role = core.role(value)
    if role == "leftover":
        reject(
            f"{asked} of a Value, {made_by(value)!r}, that outlived the recording it belongs "
            "to: it never had a number. Instead, return it from the function, and keep the result "
            "of the call."
        )
    if asked.startswith("assigning") and not core.is_traced(value):
        refuse(f"{asked} of a constant that an op has used")
    maker = {"input": "an input", "parameter": "a parameter"}.get(role, repr(value._op))
    if not (role or value._op):
        maker = "a constant"
    fail(asked, maker, REMEDIES.get(asked, _REMEDY))


def made_by(value: Scalar) -> str:
    """Its role, or the op that made it; '' for a constant."""
    role = core.role(value)
    return role if role in ("input", "parameter") else value._op or ("input" if role else "")


def describe(value: Scalar) -> str:
    """The repr of a Value without a number.

    It is unique as long as the Value may become part of the program, so that a cache keyed by the
    text of its arguments doesn't confuse two of them.
    """
    label = f" {value.label!r}" if value.label else ""
    if core.role(value) == "leftover":
        return f"Value({made_by(value)}{label} of a function that was recorded)"
    made = f"{made_by(value)}{label}, node {core.trace_number(value)}"
    return f"Value({made} of a function being recorded)"


def value_again() -> NoReturn:
    """Called by the C type for Value(v) during a trace."""
    raise TraceError(
        f"{users_line()}: Value() of a Value while a function is recorded: the arguments of a "
        "recorded function, and everything computed from them, are Values already. Instead, use "
        "them as they are: model(x), not model(list(map(Value, x)))."
    )
