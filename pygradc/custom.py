"""Custom ops: a forward function and its derivatives, without a closure for each node.

An op is classified at its first call with a given number of operands. Its rule, that is both
functions, is run on symbols, as in a recording, and on the operands, as floats and as Values. If it
uses nothing but ops of Values, and floats and Values give the same results, the rule is *symbolic*:
from then on both functions get Values, in eager code and in recordings, so that a program gives the
op's bits. If not (`math.sin(a)`, `if a > 0`, `table.get(a)`), both get floats, and a recording
refuses the op and says why. An error that floats raise as well, such as a name that isn't defined
yet, leaves the question open: the next call examines the rule again.

What symbols can't refuse is found in the rule's bytecode: `recorded/questions.py`.
Source: csrc/python/scalar_custom.c; in programs the instruction `custom` of csrc/replay/replay.c.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Any, NamedTuple, Union, overload

import numpy as np

from pygradc.core.graphs import no_grad
from pygradc.core.refusals import TraceError, reject, trying
from pygradc.core.scalar import core
from pygradc.recorded import tracing
from pygradc.recorded.instances import Beside, name_in
from pygradc.recorded.questions import Examined, askers, noting, only_chooses_formulas
from pygradc.value import Number, Value

Derivatives = Union[Callable[..., Any], Sequence[Callable[..., Any]]]
_Rule = tuple["Op", str, Callable[..., Any], Callable[..., Any], bool]


class Op(Examined):
    """A custom op, made by `op`; call it with Values and numbers."""

    def __init__(
        self, forward: Callable[..., Any], derivatives: Derivatives, name: str | None
    ) -> None:
        functools.update_wrapper(self, forward)
        self.__qualname__: str = getattr(forward, "__qualname__", "op")
        self.name = name if name is not None else getattr(forward, "__name__", "op")
        self._forward = forward
        self._given = derivatives if callable(derivatives) else tuple(derivatives)
        self._derivatives = _as_one(self._given)
        self._written = (forward, self._given)
        # By the number of operands: both kinds of rule, the one in use, and why it isn't symbolic.
        self._kinds: dict[int, tuple[_Rule, _Rule]] = {}  # the rule on floats, on Values
        self._rules: dict[int, _Rule] = {}  # decided
        self._open: dict[int, _Rule] = {}  # provisional, to be examined again
        self._reasons: dict[int, str] = {}  # why it can't be recorded
        self._at = Beside()  # the classification as a method, for each instance

    def _passes_instance(self) -> bool:
        """Do the derivatives of a method take the instance, as forward does?"""
        each = (self._given,) if callable(self._given) else self._given
        return all(_positional(function) > _positional(self._forward) for function in each)

    def __call__(self, *operands: Value | Number) -> Value:
        rule = self._rules.get(len(operands))
        if core.tracing():
            return self._record(rule or self._examine_in_trace(len(operands)), operands)
        return self._examine(operands) if rule is None else core.apply(rule, operands)

    def _rule(self, count: int) -> _Rule:
        """The tag of nodes with this number of operands."""
        known = self._rules.get(count) or self._open.get(count)
        if known is not None or core.tracing():
            return known or self._examine_in_trace(count)
        return tracing.trace(lambda: self._examine_in_trace(count))

    def _count(self, rule: _Rule) -> int:
        return next(count for count, kinds in self._kinds.items() if rule in kinds)

    # ---- classification: symbolic, or on floats

    def _both_kinds(self, count: int) -> tuple[_Rule, _Rule]:
        def kind(symbolic: bool) -> _Rule:
            return self, self.name, self._forward, self._derivatives, symbolic

        if count == 0:
            raise TypeError(f"op {self.name!r} needs at least one operand")
        return self._kinds.setdefault(count, (kind(False), kind(True)))

    def _settle(self, count: int, symbolic: bool, decided: bool) -> _Rule:
        """Set the kind of rule: for good if decided, else until the next call."""
        rule = self._both_kinds(count)[symbolic]
        if decided:
            self._open.pop(count, None)
            return self._rules.setdefault(count, rule)
        self._open[count] = rule
        return rule

    def _examine(self, operands: tuple[Value | Number, ...]) -> Value:
        """Call the op, and classify it; an error that floats raise, too, decides nothing."""
        count = len(operands)
        self._both_kinds(count)
        refusal = tracing.trace(lambda: self._ask_symbols(count))
        trials: list[_Trial] = []
        try:
            return self._settle_by_trials(operands, refusal, trials)
        finally:  # break the cycle between an error and the frames of its traceback
            for trial in trials:
                trial.error = None
            del refusal

    def _settle_by_trials(
        self,
        operands: tuple[Value | Number, ...],
        refusal: _Refusal | None,
        trials: list[_Trial],
    ) -> Value:
        count = len(operands)
        of_floats, of_values = self._both_kinds(count)
        asks = refusal is not None and refusal.is_question
        floats = _Trial(of_floats, operands, refusal is None or asks or refusal.may_be_an_error)
        trials.append(floats)
        if refusal is not None and (not asks or floats.is_whole or self._floats_compute(count)):
            if floats.node is not None:
                self._settle(count, symbolic=False, decided=floats.error is None)
                return floats.node
            if asks:
                raise floats.error or refusal.error
        values = _Trial(of_values, operands, refusal is None or asks)
        trials.append(values)
        if values.node is None:
            if refusal is not None:
                raise floats.error or refusal.error
            if floats.node is None or _is_of_numbers(values.error):
                raise values.error or TypeError(f"op {self.name!r} has no result")
        difference = floats.difference(values, operands)
        if difference is not None and floats.node is not None:
            self._reasons[count] = difference
            self._settle(count, symbolic=False, decided=floats.error is None)
            return floats.node
        decided = (refusal is None or asks) and values.error is None
        self._settle(count, symbolic=True, decided=decided)
        assert values.node is not None
        return values.node

    def _question(self, count: int) -> str | None:
        """What in the rule may distinguish floats from Values; None: nothing that matters.

        Code that only selects between formulas, which agree on all samples, is the same rule for
        both.
        """
        found = askers(self._written)
        if not found:
            return None
        if all(map(only_chooses_formulas, found)):
            return self._compare_samples(count, _WIDE_SAMPLES)
        return found[0].question

    def _floats_compute(self, count: int) -> bool:
        """Can both functions be computed on floats at all?"""
        of_floats, _ = self._both_kinds(count)
        for sample in _WIDE_SAMPLES:
            with trying():
                trial = _Trial(of_floats, _operands_at(sample, count), True)
            trial.error = None  # break the cycle through its traceback
            if trial.is_whole:
                return True
        return False

    def _compare_samples(self, count: int, samples: Sequence[float]) -> str | None:
        """How floats and Values differ, on samples where both can be computed; None if nowhere."""
        for sample in samples:
            operands = _operands_at(sample, count)
            with trying():
                floats, values = (_Trial(kind, operands, True) for kind in self._both_kinds(count))
            computed = floats.node is not None and values.node is not None
            difference = floats.difference(values, operands) if computed else None
            floats.error = values.error = None  # break the cycles through their tracebacks
            if difference is not None:
                return difference
        return None

    def _examine_in_trace(self, count: int) -> _Rule:
        """Classify the op during a trace: there are no numbers yet, so samples are used."""
        kinds = self._both_kinds(count)
        if self._open.get(count) is kinds[True]:
            return kinds[True]
        refusal = self._ask_symbols(count)
        if refusal is not None and not (refusal.is_question and not self._floats_compute(count)):
            return self._settle(count, symbolic=False, decided=False)
        difference = self._compare_samples(count, _SAMPLES)
        if difference is not None:
            self._reasons[count] = difference
        return self._settle(count, symbolic=difference is None, decided=difference is not None)

    def _ask_symbols(self, count: int) -> _Refusal | None:
        """Run the rule on symbols, in a trace; what it raised or asked, None if nothing."""
        in_forward = True
        question = self._question(count)
        try:
            with noting(count, question is None) as (operands, noted), _strictly():
                y = tracing.as_value(self._forward(*operands))
                in_forward = False
                self._slopes(operands, y)
        except MemoryError:
            raise
        except Exception as error:
            self._reasons[count] = _reason(error)
            return _Refusal(error, in_forward)
        question = question or next(iter(noted), None)
        if question is None:
            self._reasons.pop(count, None)
            return None
        self._reasons[count] = question
        return _Refusal(TraceError(question), in_forward, is_question=True)

    def _slopes(self, operands: tuple[Value, ...], y: Value) -> tuple[Value, ...]:
        slopes = _as_tuple(self._derivatives(*operands, y))
        if len(slopes) != len(operands):
            raise ValueError(f"{len(slopes)} derivatives for {len(operands)} operands")
        return tuple(map(tracing.as_value, slopes))

    # ---- recording

    def _record(self, rule: _Rule, operands: tuple[Value | Number, ...]) -> Value:
        if not rule[-1]:
            reason = self._reasons.get(len(operands), "it needs numbers")
            reject(
                f"op {self.name!r} can't be recorded, since its rule is not written with Values' "
                f"ops: {reason}"
            )
        values = tuple(map(tracing.as_value, operands))
        with _strictly():
            y = tracing.as_value(self._forward(*values))
            slopes = self._slopes(values, y)
        given = [i for i, operand in enumerate(operands) if isinstance(operand, Value)]
        if not given:
            return y
        return core.trace_custom(rule, y, [values[i] for i in given], [slopes[i] for i in given])

    def __get__(self, instance: Any, owner: Any = None) -> Op:
        """Bind as a method: forward gets the instance first, as do derivatives that take it."""
        if instance is None or not hasattr(type(self._forward), "__get__"):
            return self
        return _Method(self, instance)

    def __reduce__(self) -> Any:
        """Pickle and copy as a function: by qualified name in its module."""
        return str(self.__qualname__)

    def __repr__(self) -> str:
        return f"<op {self.name!r}>"


class _Method(Op):
    """An op bound to an instance: made anew at each lookup.

    Its classification is kept beside the instance.
    """

    def __init__(self, op: Op, instance: Any) -> None:
        forward: Callable[..., Any] = MethodType(op._forward, instance)
        derivatives = op._derivatives
        if op._passes_instance():
            derivatives = functools.partial(derivatives, instance)
        super().__init__(forward, derivatives, op.name)
        self._written = (forward, op._given)
        self._op, self._instance = op, instance
        self._known, self._reasons = op._at.of(instance, lambda: ({}, {}))
        for count, symbolic in self._known.items():
            self._rules[count] = self._both_kinds(count)[symbolic]

    def __call__(self, *operands: Value | Number) -> Value:
        try:
            return super().__call__(*operands)
        finally:
            self._known.update((count, rule[-1]) for count, rule in self._rules.items())

    def __get__(self, instance: Any, owner: Any = None) -> Op:
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Method):
            return False
        return self._op is other._op and self._instance is other._instance

    def __hash__(self) -> int:
        return hash((id(self._op), id(self._instance)))

    def __reduce__(self) -> Any:
        name = name_in(self._instance, self._op)
        if name is not None:
            return getattr, (self._instance, name)
        return _Method, (self._op, self._instance)


def _positional(function: Callable[..., Any]) -> float:
    """The number of positional parameters; inf if it takes any number, or can't be inspected."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return math.inf
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return math.inf
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


class _Refusal(NamedTuple):
    """Why a rule can't be run on symbols."""

    error: Exception
    in_forward: bool
    is_question: bool = False  # it raised nothing, but may distinguish floats from Values

    @property
    def may_be_an_error(self) -> bool:
        """Is it something that floats may fail at, too, and not a request for a number?"""
        return not self.in_forward and not isinstance(self.error, TraceError)


class _Trial:
    """The outcome of one kind of rule on these operands."""

    def __init__(
        self, rule: _Rule, operands: tuple[Value | Number, ...], with_derivatives: bool
    ) -> None:
        self.node: Value | None = None
        self.slopes: tuple[float, ...] | None = None
        self.error: Exception | None = None
        try:
            self.node = core.apply(rule, operands)
            if with_derivatives:
                self.slopes = self._ask_derivatives(rule, operands, self.node)
        except MemoryError:
            raise
        except Exception as error:
            self.error = error

    @property
    def is_whole(self) -> bool:
        """Did both functions succeed?"""
        return self.slopes is not None

    def _ask_derivatives(
        self, rule: _Rule, operands: tuple[Value | Number, ...], node: Value
    ) -> tuple[float, ...]:
        of_values = rule[-1]
        arguments = [*operands, node]
        given = list(map(tracing.as_value, arguments) if of_values else map(_float_of, arguments))
        with no_grad() if of_values else nullcontext():
            found = _as_tuple(rule[3](*given))
        if len(found) != len(operands):
            raise ValueError(f"{len(found)} derivatives for {len(operands)} operands")
        return tuple(map(_float_of, found))

    def difference(self, other: _Trial, operands: tuple[Value | Number, ...]) -> str | None:
        """How this trial, on floats, differs from the other, on Values; None if it doesn't."""
        if self.node is None:
            return None
        if other.node is None:
            return _reason(other.error)
        pairs = [("its result", self.node.data, other.node.data)]
        if self.slopes is not None and other.slopes is not None:
            pairs += [("a derivative", a, b) for a, b in zip(self.slopes, other.slopes)]
        elif self.slopes is not None and not _is_of_numbers(other.error):
            return _reason(other.error)
        size = max(1.0, *(abs(_float_of(x)) for x in operands))
        for what, a, b in pairs:
            if not _is_close(a, b, size):
                return f"{what} is {a!r} for floats and {b!r} for Values"
        return None


def _is_close(a: float, b: float, size: float) -> bool:
    """Are two results equal up to rounding, for operands of this size?"""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True
    return abs(a - b) <= 1e-8 * max(abs(a), abs(b)) + 1e-13 * size


def _is_of_numbers(error: Exception | None) -> bool:
    """Is it an error of an op outside its domain, which says nothing about other numbers?"""
    return isinstance(error, (ArithmeticError, ValueError))


def _reason(error: Exception | None) -> str:
    return str(error) or type(error).__name__


def _operands_at(sample: float, count: int) -> tuple[float, ...]:
    return tuple(sample * (1.0 + i / 7.0) for i in range(count))


def _float_of(x: Any) -> float:
    return x.data if isinstance(x, Value) else float(x)


def _as_tuple(found: Any) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, (tuple, list, np.ndarray)) else (found,)


_SAMPLES = (0.7390851, 1.3247179, -0.5671432)  # for a trace, where there are no numbers
_WIDE_SAMPLES = (*_SAMPLES, 0.0, 1.0, -1.0, 2.0, 1e-3, -3.3, 7.5, -20.0, 50.0, 300.0, -500.0, 1e5)


def _as_one(derivatives: Derivatives) -> Callable[..., Any]:
    """The derivatives as a single function of all operands and the result."""
    if callable(derivatives):
        return derivatives
    each = tuple(derivatives)
    for function in each:
        if not callable(function):
            raise TypeError(f"op: a derivative must be a function, not {type(function).__name__}")
    return lambda *operands: tuple(function(*operands) for function in each)


@contextmanager
def _strictly() -> Iterator[None]:
    outer = core.trace_strictly(True)
    try:
        yield
    finally:
        core.trace_strictly(outer)


@overload
def op(
    forward: Callable[..., float | Value], derivatives: Derivatives, *, name: str | None = None
) -> Op: ...
@overload
def op(
    *, derivatives: Derivatives, name: str | None = None
) -> Callable[[Callable[..., float | Value]], Op]: ...
def op(
    forward: Callable[..., Any] | None = None,
    derivatives: Derivatives | None = None,
    *,
    name: str | None = None,
) -> Any:
    """Make an op from two functions: `op(forward, derivatives)`, or as a decorator.

        >>> import math
        >>> import pygradc
        >>> @pygradc.op(derivatives=lambda a, y: 1.0 / (1.0 + math.exp(-a)))
        ... def softplus(a):
        ...     return math.log1p(math.exp(a))
        >>> @pygradc.op(derivatives=lambda a, b, y: (b, a))  # recordable: Values' ops only
        ... def times(a, b):
        ...     return a * b
        >>> x = pygradc.Value(0.0)
        >>> times(softplus(x), 3.0).backward()
        >>> x.grad
        1.5

    Args:
        forward: Takes one number for each operand and returns the result, a number.
        derivatives: Takes the operands and the result, and returns the derivative with respect to
            each operand: a number for one, a tuple for several; or a tuple of functions, one for
            each. Called when a gradient reaches the node, with the operands' data at that time.
        name: The node's `_op`; None: the function's name.
    Returns:
        An `Op`. Called with Values or numbers, it gives a Value with these as children. The
        derivatives aren't checked against forward: they are used as given, in a program, too.
    Raises:
        TypeError: no derivatives, or something isn't callable.
        In calls: TypeError, an operand or a result isn't a number; TraceError, in a recording, the
        rule needs a number; whatever forward raises.
        In backward(): ValueError, not as many derivatives as operands; TypeError, one isn't a
        number; whatever derivatives raises. All gradients are then unchanged.

    Both functions get floats, unless they use nothing but ops of Values: then they get Values, in
    `no_grad()`, and the op can be recorded. To decide, the first call runs both on symbols, which
    refuse whatever needs a number (`if`, `in`, an f-string, a set), and then on the operands as
    floats and as Values, one call more than it needs: results that differ by more than rounding
    mean floats. So does whatever may distinguish floats from Values (`isinstance`, `type`, `is`, an
    `except`), unless floats can't compute the rule at all. An error that floats raise, too, decides
    nothing, and the next call examines the rule again.
    """
    if derivatives is None:
        if callable(forward):
            raise TypeError("op: derivatives are missing; write @op(derivatives=...)")
        raise TypeError("op needs derivatives")
    if forward is None:
        return functools.partial(op, derivatives=derivatives, name=name)
    if not callable(forward):
        raise TypeError(f"op: expected a function, not {type(forward).__name__}")
    return Op(forward, derivatives, name)
