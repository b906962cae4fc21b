"""Compiled functions: traced once for each structure of arguments, and replayed from then on.

A `Compiled` finds, or records, the `Program` for the arguments that it is called with.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any

from pygradc import _draws, tracing
from pygradc import _structure as structures
from pygradc._core import ffi, lib
from pygradc._rows import Floats, Rows
from pygradc._scalar import Scalar
from pygradc.program import Program
from pygradc.value import Value

PASSES = {
    "fold": lib.PG_PASS_FOLD,
    "hoist": lib.PG_PASS_HOIST,
    "fuse": lib.PG_PASS_FUSE,
    "share": lib.PG_PASS_SHARE,
    "powers": lib.PG_PASS_POWERS,
    "layers": lib.PG_PASS_LAYERS,
}
EXACT_PASSES = ("fold", "hoist", "fuse", "layers")
FAST_PASSES = (*EXACT_PASSES, "share", "powers")


def _when_used(program: Program) -> int:
    return program._used


class Compiled:
    """A function that is recorded for each structure of arguments it is called with.

    Made by `compile`. `__wrapped__` is the function itself.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        fast: bool,
        errors: str,
        passes: int,
        max_programs: int,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._fast, self._errors, self._passes = fast, errors, passes
        self._max_programs = max_programs
        self._programs: dict[Any, Program] = {}
        self._recent: list[Program] = []  # those without static arguments, the last used first
        self._clock = itertools.count(1)

    def __call__(self, *args: Any, **static: Any) -> Any:
        """Replay for one row; record first, if the structure of args or `static` is new.

        Args:
            args: floats, Values, and nested lists, tuples, dicts, arrays of them.
            static: anything hashable; part of what is recorded.
        Returns, Raises: as `Program.__call__`; TraceError, from the recording.
        """
        if tracing.tracing():
            return self._function(*args, **static)
        if not static:
            for program in self._recent:
                values = program._row_in_short(args)
                if values is not NotImplemented:
                    self._chose(program)
                    return values
        leaves: list[Any] = []
        structure = structures.take_apart(args, leaves, "argument")
        return self._program(structure, static)._one_row(leaves)

    def map(self, *arrays: Any, executor: Executor | None = None, **static: Any) -> Any:
        """The outputs of each row, without gradients: see `Program.map`."""
        rows = Rows(arrays)
        return self._program(rows.structure, static)._map(rows, executor)

    def sum(self, *arrays: Any, executor: Executor | None = None, **static: Any) -> Any:
        """The outputs, each summed over the rows, as Values: see `Program.sum`."""
        return self._total(arrays, executor, static, mean=False)

    def mean(self, *arrays: Any, executor: Executor | None = None, **static: Any) -> Any:
        """The outputs, each averaged over the rows, as Values: see `Program.mean`."""
        return self._total(arrays, executor, static, mean=True)

    def _total(
        self,
        arrays: tuple[Any, ...],
        executor: Executor | None,
        static: dict[str, Any],
        mean: bool,
    ) -> Any:
        if executor is None and not static:
            for program in self._recent:
                values = program._total_in_short(arrays, mean)
                if values is not NotImplemented:
                    self._chose(program)
                    return values
        rows = Rows(arrays)
        return self._program(rows.structure, static)._total(rows, executor, mean)

    def gradients(
        self, *arrays: Any, executor: Executor | None = None, **static: Any
    ) -> tuple[Any, Any]:
        """Outputs and gradients with respect to the inputs, row by row: see `Program.gradients`."""
        rows = Rows(arrays)
        return self._program(rows.structure, static)._gradients(rows, executor)

    def jvp(self, v: Any, *arrays: Any, **static: Any) -> tuple[Any, Any]:
        """Outputs, and their derivatives along v in the parameters: see `Program.jvp`.

        v goes by the order of the program's own `parameters()`.
        """
        rows = Rows(arrays)
        return self._program(rows.structure, static)._jvp(v, rows)

    def hvp(self, v: Any, *arrays: Any, mean: bool = False, **static: Any) -> Floats:
        """The Hessian of the sum over the rows, times v: see `Program.hvp`."""
        rows = Rows(arrays)
        return self._program(rows.structure, static)._hvp(v, rows, mean)

    @property
    def programs(self) -> tuple[Program, ...]:
        """One a structure of arguments, the least recently used first."""
        return tuple(sorted(self._programs.values(), key=_when_used))

    def parameters(self) -> list[Value]:
        """The captured Values of all programs, each once."""
        found = {id(p): p for program in self.programs for p in program.parameters()}
        return list(found.values())

    def _program(self, structure: structures.Structure, static: dict[str, Any]) -> Program:
        key: Any = structure
        if static:
            key = structure, tuple((name, _exactly(static[name])) for name in sorted(static))
        try:
            program = self._programs.get(key)
        except TypeError as error:
            raise TypeError(
                f"keyword arguments are part of what is recorded and must be hashable: {error}"
            ) from None
        if program is None:
            program = self._program_anew(key, structure, static)
        if static:
            program._used = next(self._clock)
        else:
            self._chose(program)
        return program

    def _program_anew(
        self, key: Any, structure: structures.Structure, static: dict[str, Any]
    ) -> Program:
        with tracing.lock():
            program = self._programs.get(key)  # another thread may have been faster
            if program is None:
                program = self._record(structure, static)
                program._used = next(self._clock)
                self._programs[key] = program
            while len(self._programs) > self._max_programs:
                oldest = min(self._programs, key=lambda key: self._programs[key]._used)
                del self._programs[oldest]
                kept = set(map(id, self._programs.values()))  # one that went may be chosen yet
                self._recent = [p for p in self._recent if id(p) in kept]
        return program

    def _chose(self, program: Program) -> None:
        """Take note that this program, found without static arguments, is in use."""
        program._used = next(self._clock)
        if not self._recent or self._recent[0] is not program:
            self._recent = [program, *(p for p in self._recent if p is not program)]

    def _record(self, structure: structures.Structure, static: dict[str, Any]) -> Program:
        def body() -> tuple[int, tuple[Value, ...], structures.Structure]:
            count = structures.count_leaves(structure)
            inputs = [Scalar._trace_input() for _ in range(count)]
            args = structures.put_together(structure, iter(inputs))
            result = self._function(*args, **static)
            leaves: list[Any] = []
            outputs = structures.take_apart(result, leaves, "result")
            if not leaves:
                raise TypeError(f"a recorded function must return Values, got {result!r}")
            ends = [leaf if isinstance(leaf, Value) else Value(leaf) for leaf in leaves]
            return (*Scalar._record(inputs, ends, self._passes, self._fast), outputs)

        before = _draws.begin(self._function)
        address, params, outputs = tracing.trace(body)
        handle = ffi.gc(ffi.cast("pg_program *", address), lib.pg_program_free)
        name = getattr(self._function, "__name__", "function")
        _draws.end(self._function, before)
        return Program(handle, params, structure, outputs, self._errors, name)

    def __get__(self, instance: Any, owner: Any = None) -> Compiled:
        """As a method: each instance has recordings of its own."""
        if instance is None:
            return self
        method = self._function.__get__(instance, owner)
        bound = Compiled(method, self._fast, self._errors, self._passes, self._max_programs)
        kept: Compiled = instance.__dict__.setdefault(self._attribute, bound)
        return kept  # is found there from now on

    def __set_name__(self, owner: Any, name: str) -> None:
        self._attribute = name

    def __repr__(self) -> str:
        return f"<compiled {self._function!r}, {len(self._programs)} programs>"


def _exactly(value: Any) -> Any:
    """A key that tells 1 from True and 1.0, and 0.0 from -0.0, which == doesn't."""
    if isinstance(value, tuple):
        return type(value), tuple(map(_exactly, value))
    return type(value), value.hex() if isinstance(value, float) else value


def compile(
    function: Callable[..., Any] | None = None,
    *,
    math: str = "exact",
    errors: str = "raise",
    passes: Iterable[str] | None = None,
    max_programs: int = 64,
) -> Any:
    """Record a function of Values, to replay it in C: `@pygradc.compile`.

    Args:
        function: Takes numbers, Values and containers of them, and returns Values in any nesting.
            What it captures are parameters; keyword arguments are static. It is run once for each
            structure of arguments, and must do the same whatever the numbers are.
        math: "exact": libm, row by row the bits of the function itself. "fast": our own vector
            functions, shared subexpressions, products for squares.
        errors: "raise": a row outside an op's domain is a FloatingPointError. "ignore": it gives
            inf or nan.
        passes: Which of "fold", "hoist", "fuse", "layers", "share", "powers" are made; None: all
            that keep the bits, or in fast mode all.
        max_programs: How many structures are kept, the most recently used ones.
    Returns:
        A `Compiled`; without a function, what makes one of it.
    Raises:
        ValueError: a setting is none of these.
    """
    if function is None:
        return functools.partial(
            compile, math=math, errors=errors, passes=passes, max_programs=max_programs
        )
    if not callable(function):
        raise TypeError(f"compile: expected a function, not {type(function).__name__}")
    if math not in ("exact", "fast"):
        raise ValueError(f"math must be 'exact' or 'fast', not {math!r}")
    if errors not in ("raise", "ignore"):
        raise ValueError(f"errors must be 'raise' or 'ignore', not {errors!r}")
    if max_programs < 1:
        raise ValueError(f"max_programs must be at least 1, not {max_programs!r}")
    wanted = (FAST_PASSES if math == "fast" else EXACT_PASSES) if passes is None else tuple(passes)
    unknown = [name for name in wanted if name not in PASSES]
    if unknown:
        raise ValueError(f"passes: {unknown} are none of {list(PASSES)}")
    number = functools.reduce(lambda bits, name: bits | PASSES[name], wanted, 0)
    return Compiled(function, math == "fast", errors, number, max_programs)
