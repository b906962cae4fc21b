"""What `pygradc.minimize` evaluates of a recording: the mean of a program over rows, its gradient,
and products with its Hessian, by a list of parameters, in their order.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pygradc.core.scalar import core
from pygradc.recorded import fit_arguments, row_derivatives
from pygradc.recorded.compiled import Compiled, _levels_to_user
from pygradc.recorded.program import Program
from pygradc.recorded.rows import Floats, Rows
from pygradc.recorded.workspace import Borrowed
from pygradc.value import Value

if TYPE_CHECKING:
    from pygradc.recorded.parallel import Sharers


@contextlib.contextmanager
def in_our_name() -> Iterator[None]:
    """For checks that `fit` has, too."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        if not str(error).startswith("fit: "):
            raise
        raise type(error)(f"minimize: {str(error)[5:]}") from None


_HINTS = {
    "args": "pass arrays by position, after the parameters",
    "x0": "the parameters start where they are: set their data",
    **dict.fromkeys(("jac", "hess", "hessp"), "derivatives come from the function itself"),
}


def check_keywords(function: Any, static: dict[str, Any]) -> None:
    is_recorded = isinstance(function, (Compiled, Program))
    takes = fit_arguments.parameters(function) if is_recorded else {}
    for name in static:
        if name not in takes:
            hint = _HINTS.get(name, f"options of scipy's are options={{{name!r}: ...}}")
            raise TypeError(f"minimize: unknown keyword {name!r}: {hint}")


class Recorded:
    """The mean of a program over rows, at the current data of the parameters."""

    def __init__(
        self,
        function: Compiled | Program,
        parameters: list[Value],
        data: tuple[Any, ...],
        by: Sharers,
        static: dict[str, Any],
    ) -> None:
        check_keywords(function, static)
        self.rows, self.by = Rows(data), by
        self.program = program = _program(function, data, self.rows, static)
        self.is_guarded = program._errors != "ignore"
        if self.is_guarded:
            with in_our_name():
                fit_arguments.refuse_nan(self.rows, data)
        answer = core.places(parameters, program._params)
        assert answer is not None  # each parameter once
        places, found, are_leaves = answer
        _check_captured(program, parameters, found, are_leaves)
        numbers = np.frombuffer(places, dtype=np.uint32)
        self.has = numbers < len(program._params)
        self.places = numbers[self.has]

    def _of_ours(self, derivatives: Any) -> Floats:
        """Those by our parameters; 0 by what the program doesn't use."""
        ours = np.zeros(len(self.has))
        ours[self.has] = derivatives[self.places]
        return ours

    def value(self) -> float:
        """Without derivatives, which may fail where f doesn't; the mean's last bits are numpy's."""
        done = self.program._run(self.rows, self.by, 0, gradients=False, sums=False)
        return float(done.outputs.mean())

    def both(self) -> tuple[float, Floats]:
        program, rows, scale = self.program, self.rows, 1.0 / self.rows.count
        if self.by is not None:
            totals, derivatives = program._total_of_chunks(rows, self.by, scale)
            return totals[0], self._of_ours(derivatives[0])
        with Borrowed(program) as ws:
            ws.aim(rows.columns, rows.count, program._plan(row_derivatives._BY_PARAMETERS))
            program._sum(ws, scale)
            return float(ws.totals[0]), self._of_ours(ws.gradients[0])

    def product(self, v: Floats) -> Floats:
        along = np.zeros(len(self.program._params))
        along[self.places] = v[self.has]
        scale = 1.0 / self.rows.count
        found = row_derivatives.hessian_of_sum_times(self.program, along, self.rows, scale)
        return self._of_ours(found)


def _program(function: Any, data: tuple[Any, ...], rows: Rows, static: dict[str, Any]) -> Program:
    with in_our_name():
        if isinstance(function, Compiled):
            fit_arguments.check_count(function, len(data), static)
        program = fit_arguments.program_of(function, data, rows, static)
    if rows.count == 0:
        raise ValueError("minimize: there are no rows")
    return program


def _check_captured(
    program: Program, parameters: list[Value], found: int, are_leaves: bool
) -> None:
    """Require that what the program captured moves with the parameters.

    Warns if it lacks some of them and has others: they may have been replaced.

    Raises:
        ValueError: it has none of them, or one that was computed from them; says what to write.
    """
    captured = program._params
    if not found and not captured:
        raise ValueError("minimize: the function uses no parameters")
    again = "compile the function again after making the model"
    for i, p in enumerate(captured if not are_leaves else ()):
        if is_computed_from(p, parameters):
            raise ValueError(
                f"minimize: {called(i, p)} that the function captured was computed from the "
                "parameters before it was recorded, and would not move with them. Compute it "
                "inside of the compiled function"
            )
    if not found:
        raise ValueError(
            f"minimize: the function captured {len(captured)} Values, but none of the "
            f"{len(parameters)} parameters: it was recorded with others. Pass them, or {again}"
        )
    if found < len(parameters) and found < len(captured):
        warnings.warn(
            f"minimize: {len(parameters) - found} parameters aren't used by the function, which "
            f"captured {len(captured) - found} other Values. If they were replaced, {again}",
            RuntimeWarning,
            stacklevel=_levels_to_user(),
        )


def is_computed_from(y: Value, parameters: list[Value]) -> bool:
    """From other ones than itself."""
    if not y._children:
        return False
    found = core.derive(y, tuple(p for p in parameters if p is not y))
    return isinstance(found, Value) or any(d is not None for d in found)


def called(i: int, parameter: Value) -> str:
    return f"parameter {i}" + (f" ({parameter.label})" if parameter.label else "")
