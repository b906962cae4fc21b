"""Compiled functions: traced once for each structure of arguments, and replayed from then on.

A `Compiled` looks up, or records, the `Program` for the arguments of a call. Programs are cached
in `_Recordings`: one for the function itself, and one for each instance that it is a method of.
The latter are kept beside the instance (`instances.py`), so that neither an attribute's name nor a
copy of the instance leads to another instance's programs. A copy or a pickle holds the function
and the options, and makes its own recordings.
Source: csrc/python/scalar_bind.c, for methods.
"""

from __future__ import annotations

import copy
import copyreg
import functools
import inspect
import itertools
import operator
import sys
import warnings
from collections.abc import Callable, Iterable
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, overload

import numpy as np

from pygradc._core import Bindable, ffi, lib
from pygradc.core import lines
from pygradc.core.foreign import is_foreign, is_of_a_known_library
from pygradc.core.owner import new_owner
from pygradc.core.refusals import TraceError, require_none_caught
from pygradc.core.scalar import core
from pygradc.recorded import draws, tracing
from pygradc.recorded import structure as structures
from pygradc.recorded.exactly import exactly
from pygradc.recorded.instances import Beside, is_method_of, name_in
from pygradc.recorded.parallel import sharers
from pygradc.recorded.program import COLUMNS, Program, cells
from pygradc.recorded.rows import Floats, Rows
from pygradc.typed import Generic, P, Q, R, S
from pygradc.value import Value

if TYPE_CHECKING:
    import os
    from concurrent.futures import Executor
    from typing import Protocol

    from typing_extensions import Concatenate

    from pygradc.recorded.parallel import Sharers
    from pygradc.typed import WRT, Column, Errors, Flat, Math, Stacked
    from pygradc.viewing.page import View

PASSES = {
    "fold": lib.PG_PASS_FOLD,
    "hoist": lib.PG_PASS_HOIST,
    "fuse": lib.PG_PASS_FUSE,
    "share": lib.PG_PASS_SHARE,
    "powers": lib.PG_PASS_POWERS,
    "layers": lib.PG_PASS_LAYERS,
    "order": lib.PG_PASS_ORDER,
}
EXACT_PASSES = ("fold", "hoist", "fuse", "layers")
FAST_PASSES = (*EXACT_PASSES, "share", "powers", "order")


class _Options(NamedTuple):
    fast: bool
    errors: str
    passes: int
    max_programs: int


class _Recordings:
    """The programs of one function, or of one instance's method."""

    __slots__ = ("clock", "evicted", "gone", "programs", "recent", "repeated", "warned")

    def __init__(self) -> None:
        self.programs: dict[Any, Program] = {}
        self.recent: list[Program] = []  # without static arguments, most recently used first
        self.clock = itertools.count(1)
        self.evicted = 0  # evictions so far
        self.gone: dict[int, None] = {}  # hashes of the most recently evicted keys
        self.repeated = 0  # recordings of an evicted key
        self.warned = False

    def chose(self, program: Program) -> None:
        """Mark this program, which has no static arguments, as the most recently used."""
        program._used = next(self.clock)
        if not self.recent or self.recent[0] is not program:
            self.recent = [program, *(p for p in self.recent if p is not program)]

    def add(self, key: Any, program: Program, most: int) -> None:
        """Add a new program; evict the least recently used beyond `most`."""
        program._used = next(self.clock)
        self.programs[key] = program
        self.repeated += hash(key) in self.gone
        while len(self.programs) > most:
            oldest = min(self.programs, key=lambda key: self.programs[key]._used)
            del self.programs[oldest]
            kept = set(map(id, self.programs.values()))  # `chose` may re-add an evicted program
            self.recent = [p for p in self.recent if id(p) in kept]
            self.evicted += 1
            self.gone[hash(oldest)] = None
            if len(self.gone) > _MOST_GONE:
                self.gone.pop(next(iter(self.gone)), None)

    def is_thrashing(self, program: Program, most: int) -> bool:
        """Is most of the time spent on recording?"""
        often = self.repeated >= _REPEATED or self.evicted >= max(_EVICTED, 4 * most)
        calls, recordings = program._used, self.evicted + len(self.programs)
        return often and calls < _CALLS_PER_RECORDING * recordings


_MOST_GONE = 4096
_REPEATED = 8
_EVICTED = 256
_CALLS_PER_RECORDING = 30  # a recording costs about as much as thirty replays of one row

_NOTHING, _INSTANCE, _CLASS = range(3)  # what a lookup binds to, as in csrc/python/scalar_bind.c


class Compiled(Bindable, Generic[P, R]):
    """A function that is recorded once for each structure of arguments.

        >>> import pygradc
        >>> k = pygradc.Value(2.0)
        >>> f = pygradc.compile(lambda x, y: k * x * y)
        >>> f(3.0, 5.0).data, f.map([3.0, 4.0], [5.0, 6.0]).tolist()
        (30.0, [30.0, 48.0])
        >>> f.sum([3.0, 4.0], [5.0, 6.0]).data, f.mean([3.0, 4.0], [5.0, 6.0]).data
        (78.0, 39.0)
        >>> outputs, (by_x, by_y) = f.gradients([3.0], [5.0])
        >>> by_x.tolist(), by_y.tolist(), f.jacobian([3.0], [5.0]).tolist()
        ([10.0], [6.0], [[[10.0, 6.0]]])
        >>> f.hessian([3.0], [5.0]).tolist(), f.vjp([10.0], [3.0], [5.0]).tolist()
        ([[[0.0, 2.0], [2.0, 0.0]]], [[100.0, 60.0]])
        >>> outputs, along = f.jvp([1.0], [3.0], [5.0])      # along k: x * y
        >>> along.tolist(), f.hvp([1.0, 0.0], [3.0], [5.0], wrt="inputs").tolist()
        ([15.0], [[0.0, 2.0]])
        >>> len(f.programs), f.parameters()[0] is k
        (1, True)

    Made by `compile`. `__wrapped__` is the function itself. A method has separate recordings for
    each instance. For type checkers, P are its parameters, and R is what it returns.
    """

    _plain: Callable[..., Any]
    _options: _Options

    if TYPE_CHECKING:  # csrc/python/scalar_bind.c

        @property
        def __wrapped__(self) -> Callable[P, R]: ...

        @overload
        def __get__(self, instance: None, owner: object = ..., /) -> Compiled[P, R]: ...
        @overload
        def __get__(
            self: Compiled[Concatenate[S, Q], R], instance: S, owner: object = ..., /
        ) -> Compiled[Q, R]: ...
        @overload  # of a staticmethod; mypy takes it for a method all the same
        def __get__(self, instance: object, owner: object = ..., /) -> Compiled[P, R]: ...
        def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...

    def __init__(self, function: Callable[..., Any], options: _Options) -> None:
        plain, self._binds = _unwrapped(function)
        self.__dict__.update(_attributes_of(plain))
        self.__dict__["_plain"], self.__dict__["_options"] = plain, options
        self._kept, self._at = _Recordings(), Beside()

    def __call__(self, *args: P.args, **static: P.kwargs) -> R:
        """Replay for one row; record first if the structure of args, or `static`, is new.

        Args:
            args: floats, Values, and nested lists, tuples, dicts, arrays of them.
            static: anything hashable; part of the recording.
        Returns, Raises: as `Program.__call__`; TraceError, from the recording.
        """
        if core.tracing():
            return self._function(*map(structures.as_values, args), **static)  # type: ignore[no-any-return]
        kept = self._kept
        if not static:
            recent = kept.recent
            for program in recent:
                values = program._row_by_fast_path(args)
                if values is not NotImplemented:
                    if recent[0] is program:
                        program._used = next(kept.clock)
                    else:
                        kept.chose(program)
                    return values  # type: ignore[no-any-return]
        if self._is_method_of(args):
            return self._bound_to(args[0])(*args[1:], **static)  # type: ignore[no-any-return]
        leaves: list[Any] = []
        structure = structures.take_apart(args, leaves, "argument")
        try:
            program = self._program(structure, static, one_row=True)
        except (TypeError, ValueError, IndexError) as error:
            _explain_rows(error, self._name, args)
            raise
        return program._one_row(leaves)  # type: ignore[no-any-return]

    @overload
    def map(
        self: Compiled[P, Flat],
        *arrays: Column,
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> Floats: ...
    @overload
    def map(
        self: Compiled[P, tuple[Flat, Flat]],
        *arrays: Column,
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> tuple[Floats, Floats]: ...
    @overload
    def map(
        self,
        *arrays: Column,
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> Stacked: ...
    def map(
        self,
        *arrays: Any,
        executor: Executor | None = None,
        workers: int | None = None,
        **static: Any,
    ) -> Any:
        """The outputs of each row, without gradients: see `Program.map`."""
        by = sharers(executor, workers)
        program, rows = self._chosen(arrays, static)
        return program._map(rows, by)

    def sum(
        self,
        *arrays: Column,
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> R:
        """The outputs, each summed over the rows, as Values: see `Program.sum`."""
        by = executor if workers is None else sharers(executor, workers)
        return self._total(arrays, by, static, mean=False)

    def mean(
        self,
        *arrays: Column,
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> R:
        """The outputs, each averaged over the rows, as Values: see `Program.mean`."""
        by = executor if workers is None else sharers(executor, workers)
        return self._total(arrays, by, static, mean=True)

    def _total(self, arrays: tuple[Any, ...], by: Sharers, static: dict[str, Any], mean: bool) -> R:
        if not static:
            kept = self._kept
            recent = kept.recent
            for program in recent:
                values = program._total_by_fast_path(arrays, mean, by)
                if values is not NotImplemented:
                    if recent[0] is program:
                        program._used = next(kept.clock)
                    else:
                        kept.chose(program)
                    return values  # type: ignore[no-any-return]
        program, rows = self._chosen(arrays, static)
        return program._total(rows, by, mean)  # type: ignore[no-any-return]

    @overload
    def gradients(
        self: Compiled[P, Flat],
        *arrays: Column,
        wrt: Literal["inputs"] = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> tuple[Floats, tuple[Floats, ...]]: ...
    @overload
    def gradients(
        self: Compiled[P, Flat],
        *arrays: Column,
        wrt: Literal["parameters"],
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> tuple[Floats, Floats]: ...
    @overload
    def gradients(
        self,
        *arrays: Column,
        wrt: WRT = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> tuple[Stacked, Floats | tuple[Floats, ...]]: ...
    def gradients(
        self,
        *arrays: Any,
        wrt: str = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
        **static: Any,
    ) -> tuple[Any, Any]:
        """Outputs and gradients by the inputs or parameters, row by row: see `Program.gradients`.

        Here and below, parameters are in the order of the program's own `parameters()`.
        """
        by = sharers(executor, workers)
        program, rows = self._chosen(arrays, static)
        return program._gradients(rows, wrt, by)

    def jacobian(
        self,
        *arrays: Column,
        wrt: WRT = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> Floats:
        """The Jacobian of each row, (rows, outputs, inputs): see `Program.jacobian`."""
        by = sharers(executor, workers)
        program, rows = self._chosen(arrays, static)
        return program._jacobian(rows, wrt, by)

    def vjp(
        self,
        weights: Column,
        *arrays: Column,
        wrt: WRT = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
        **static: object,
    ) -> Floats:
        """The gradient of the outputs' weighted sum, row by row: see `Program.vjp`."""
        by = sharers(executor, workers)
        program, rows = self._chosen(arrays, static)
        return program._vjp(weights, rows, wrt, by)

    def hessian(
        self, *arrays: Column, wrt: WRT = "inputs", workers: int | None = None, **static: object
    ) -> Floats:
        """The second derivatives of each row, (rows, inputs, inputs): see `Program.hessian`."""
        by = None if workers is None else sharers(None, workers)
        program, rows = self._chosen(arrays, static)
        return program._hessian(rows, wrt, by)

    @overload
    def jvp(
        self: Compiled[P, Flat],
        v: Column,
        *arrays: Column,
        wrt: WRT = "parameters",
        workers: int | None = None,
        **static: object,
    ) -> tuple[Floats, Floats]: ...
    @overload
    def jvp(
        self,
        v: Column,
        *arrays: Column,
        wrt: WRT = "parameters",
        workers: int | None = None,
        **static: object,
    ) -> tuple[Stacked, Stacked]: ...
    def jvp(
        self,
        v: Any,
        *arrays: Any,
        wrt: str = "parameters",
        workers: int | None = None,
        **static: Any,
    ) -> tuple[Any, Any]:
        """Outputs, and their derivatives along v: see `Program.jvp`."""
        by = None if workers is None else sharers(None, workers)
        if not static:
            for program in self._kept.recent:
                pair = program._jvp_by_fast_path(v, arrays, wrt, by)
                if pair is not NotImplemented:
                    self._kept.chose(program)
                    return pair  # type: ignore[no-any-return]
        program, rows = self._chosen(arrays, static)
        return program._jvp(v, rows, wrt, by)

    def hvp(
        self,
        v: Column,
        *arrays: Column,
        wrt: WRT = "parameters",
        mean: bool = False,
        workers: int | None = None,
        **static: object,
    ) -> Floats:
        """The Hessian times v, of the sum over the rows or row by row: see `Program.hvp`."""
        by = None if workers is None else sharers(None, workers)
        if not static:
            for program in self._kept.recent:
                product = program._hvp_by_fast_path(v, arrays, wrt, mean, by)
                if product is not NotImplemented:
                    self._kept.chose(program)
                    return product  # type: ignore[no-any-return]
        program, rows = self._chosen(arrays, static)
        return program._hvp(v, rows, wrt, mean, by)

    @property
    def programs(self) -> tuple[Program[R], ...]:
        """One for each structure of arguments, the least recently used first."""
        return tuple(sorted(self._kept.programs.values(), key=operator.attrgetter("_used")))

    def parameters(self) -> list[Value]:
        """The captured Values of all programs, each once."""
        found = {id(p): p for program in self.programs for p in program.parameters()}
        return list(found.values())

    def view(
        self,
        *args: Any,
        output: int = 0,
        path: str | os.PathLike[str] | None = None,
        open: bool = False,
        **static: Any,
    ) -> View:
        """Show the program for these arguments as a page, with their numbers: see `Program.view`.

        Without arguments: the program that was used last, without numbers.

            >>> import pathlib, tempfile, pygradc
            >>> f = pygradc.compile(lambda x, y: x * y + 10)
            >>> f.view(2.0, -3.0, path=pathlib.Path(tempfile.mkdtemp()) / "f.html").nodes
            4

        Raises:
            ValueError: there are no arguments, and nothing is recorded; and as `Program.view`.
        """
        if self._is_method_of(args):
            bound = self._bound_to(args[0])
            return bound.view(*args[1:], output=output, path=path, open=open, **static)
        if not args and not static and self.programs:
            program: Program[Any] = self.programs[-1]
        else:
            structure = structures.take_apart(args, [], "argument")
            try:
                program = self._program(structure, static, one_row=True)
            except TypeError as error:
                if args or static:
                    raise
                raise ValueError(
                    f"view: {self._name} isn't recorded yet: give one row of its arguments, as to "
                    f"a call ({error})"
                ) from None
        return program.view(*args, output=output, path=path, open=open)

    # ---- finding and recording a program

    def _chosen(self, arrays: tuple[Any, ...], static: dict[str, Any]) -> tuple[Program, Rows]:
        """The program for these arrays, and the arrays as Rows."""
        if self._is_method_of(arrays):
            return self._bound_to(arrays[0])._chosen(arrays[1:], static)
        rows = Rows(arrays)
        return self._program(rows.structure, static), rows

    def _check_arrays(self, static: dict[str, Any]) -> None:
        """Check that the function can be called without arrays.

        Raises:
            ValueError: it takes arguments.
        """
        try:
            signature = inspect.signature(self._function)
        except (TypeError, ValueError):
            return
        try:
            signature.bind(**static)
        except TypeError:
            raise ValueError(
                f"expected at least one array, whose first axis is the row: {self._name} takes "
                f"{signature}"
            ) from None

    def _program(
        self, structure: structures.Structure, static: dict[str, Any], one_row: bool = False
    ) -> Program:
        key: Any = structure
        if static:
            key = structure, tuple((name, self._key(name, static)) for name in sorted(static))
        kept = self._kept
        program: Program | None = kept.programs.get(key)
        if program is None:
            if not (one_row or structure.items):  # type: ignore[union-attr]
                self._check_arrays(static)
            program = self._program_anew(key, structure, static)
        if static:
            program._used = next(kept.clock)
        else:
            kept.chose(program)
        return program

    def _key(self, name: str, static: dict[str, Any]) -> Any:
        try:
            return exactly(static[name])
        except TypeError as error:
            raise TypeError(
                f"{self._name}: keyword arguments are part of the recording and must be "
                f"hashable; {name}= is not: {error}. Pass numbers and arrays by position"
            ) from None

    def _program_anew(
        self, key: Any, structure: structures.Structure, static: dict[str, Any]
    ) -> Program:
        program, thrashes = tracing.alone(lambda: self._add(key, structure, static))
        if thrashes:
            self._warn(self._options.max_programs)
        return program

    def _add(
        self, key: Any, structure: structures.Structure, static: dict[str, Any]
    ) -> tuple[Program, bool]:
        """The program, recorded unless another thread was faster; and does the cache thrash?"""
        kept, most = self._kept, self._options.max_programs
        program: Program | None = kept.programs.get(key)
        if program is not None:
            return program, False
        if static:
            self._check_names(static)
        program = self._record(structure, static)
        kept.add(key, program, most)
        return program, kept.is_thrashing(program, most)

    def _warn(self, most: int) -> None:
        """Warn of thrashing, once for each function."""
        everywhere = (self._origin or self)._kept
        if everywhere.warned:
            return
        everywhere.warned = True
        warnings.warn(
            f"{self._name} is recorded again and again: it is called with more structures of "
            f"arguments than the max_programs={most} that are cached, and a recording costs far "
            "more than a replay. Pad the arguments to a few lengths, pass data that change between "
            "calls as an array, or raise compile(max_programs=)",
            RuntimeWarning,
            stacklevel=_levels_to_user(),
        )

    def _check_names(self, static: dict[str, Any]) -> None:
        """Check that the function takes each keyword; hint at options of the wrong method.

        Raises:
            TypeError: it doesn't take one; names it.
        """
        try:
            parameters = inspect.signature(self._function).parameters
        except (TypeError, ValueError):
            return
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for name in static:
            found = parameters.get(name)
            if found is not None and found.kind in (
                found.POSITIONAL_OR_KEYWORD,
                found.KEYWORD_ONLY,
            ):
                continue
            if name in _OPTIONS:
                raise TypeError(f"{self._name}: {name}= is an option of {_OPTIONS[name]} only")
            if not takes_any:
                raise TypeError(f"{self._name} takes no keyword argument {name!r}")

    def _record(self, structure: structures.Structure, static: dict[str, Any]) -> Program:
        options, function = self._options, self._function
        owner = new_owner("program")

        def body() -> tuple[tuple[Value, ...], structures.Structure, list[int]]:
            count = structures.count_leaves(structure)
            inputs = [core.trace_input() for _ in range(count)]
            args = structures.put_together(structure, iter(inputs))
            result = function(*args, **static)
            require_none_caught()
            self._require_unchanged(args, structures.put_together(structure, iter(inputs)))
            leaves: list[Any] = []
            outputs = structures.take_apart(result, leaves, "result")
            if not leaves:
                raise TypeError(f"a recorded function must return Values, got {result!r}")
            ends = [leaf if isinstance(leaf, Value) else Value(leaf) for leaf in leaves]
            at = int(ffi.cast("intptr_t", owner))
            params = core.record(inputs, ends, options.passes, options.fast, at)
            return params, outputs, core.unheld(params, (1,) * len(params))

        before = draws.begin(self._function, static)
        params, outputs, replaced = tracing.trace(body)
        draws.end(self._function, before)
        if replaced:
            self._refuse_state(params[replaced[0]])
        return Program(owner, params, structure, outputs, options.errors, self._name)

    def _require_unchanged(self, args: Any, anew: Any) -> None:
        """Compare the arguments after the trace with freshly rebuilt ones.

        Raises:
            TraceError: the function changed one in place; names it.
        """
        places = [i for i, pair in enumerate(zip(args, anew)) if _differ(*pair)]
        if places:
            raise TraceError(
                f"{self._where()}: {self._name} changes its argument {places[0]} in place while it "
                "is recorded, which a replay would not do. Instead, work on a copy, such as "
                "list(argument), and return the result."
            )

    def _refuse_state(self, parameter: Value) -> NoReturn:
        label = f", {parameter.label!r}" if parameter.label else ""
        raise TraceError(
            f"{self._where()}: {self._name} replaces a Value that it reads{label} while it is "
            "recorded: the first one would be part of the program, and each replay would start "
            "from it. Instead, pass state that changes from call to call as an argument, and "
            "return the new state."
        )

    def _where(self) -> str:
        """The file and line of the function's definition."""
        code = getattr(self._plain, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else self._name

    # ---- methods

    @property
    def _function(self) -> Callable[..., Any]:
        """The function to call: bound to the instance, if this is a method."""
        if self._origin is None:
            return self._plain
        bound: Callable[..., Any] = self._plain.__get__(self._instance, type(self._instance))
        return bound

    @property
    def _name(self) -> str:
        return str(getattr(self._plain, "__name__", "function"))

    @property
    def _programs(self) -> dict[Any, Program]:
        return self._kept.programs  # type: ignore[no-any-return]

    def _kept_for(self, instance: Any) -> _Recordings:
        """The instance's recordings; called by the C type when it finds none."""
        return self._at.of(instance, _Recordings)  # type: ignore[no-any-return]

    def _bound_to(self, instance: Any) -> Compiled[..., Any]:
        method: Any = self
        bound: Compiled[..., Any] = method.__get__(
            instance, instance if self._binds == _CLASS else None
        )
        return bound

    def _is_method_of(self, args: tuple[Any, ...]) -> bool:
        """Is the first argument the instance, as in `Base.loss(self, x)`?"""
        if not args or type(args[0]) in _DATA or self._origin is not None or not self._binds:
            return False
        return not is_of_a_known_library(args[0]) and is_method_of(args[0], self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Compiled) or self._origin is None:
            return self is other
        return self._origin is other._origin and self._instance is other._instance

    def __hash__(self) -> int:
        return hash((id(self._origin or self), id(self._instance)))

    # ---- copies and pickles

    def __copy__(self) -> Compiled:
        """The same function without recordings; a bound method stays bound to the same instance."""
        if self._origin is not None:
            return self._origin._bound_to(self._instance)  # type: ignore[no-any-return]
        again: Compiled = Compiled.__new__(Compiled)
        again.__setstate__(self.__getstate__())
        return again

    def __deepcopy__(self, memo: Any) -> Compiled:
        """Copy as a plain function: globals and closure are shared, other callables are copied."""
        if self._origin is not None:
            return self._origin._bound_to(copy.deepcopy(self._instance, memo))  # type: ignore[no-any-return]
        again = memo[id(self)] = Compiled.__new__(Compiled)
        again.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return again

    def __reduce__(self) -> Any:
        if self._origin is not None:
            name = name_in(self._instance, self._origin)
            if name is not None:
                return getattr, (self._instance, name)
            return _bind, (self._origin, self._instance)
        if self._leads_to_itself() and not _by_value(self.__dict__.get("__module__")):
            return self.__dict__["__qualname__"]
        return copyreg.__newobj__, (Compiled,), self.__getstate__()  # type: ignore[attr-defined]

    def _leads_to_itself(self) -> bool:
        """Do its module and qualified name lead to it, as with a plain function?"""
        found: Any = sys.modules.get(self.__dict__.get("__module__", ""))
        for name in str(self.__dict__.get("__qualname__", "<>")).split("."):
            found = getattr(found, name, None)
        return found is self

    def __getstate__(self) -> tuple[Any, ...]:
        known = _attributes_of(self._plain)
        own = {
            name: value
            for name, value in self.__dict__.items()
            if name not in _INTERNAL and known.get(name, _NONE) is not value
        }
        return self._plain, self._binds, tuple(self._options), own

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        plain, binds, options, own = state
        Compiled.__init__(self, plain, _Options(*options))
        self._binds = binds
        self.__dict__.update(own)

    def __repr__(self) -> str:
        return f"<compiled {self._function!r}, {len(self._programs)} programs>"

    def _repr_html_(self) -> str:
        """A table for notebooks: a row for each program."""
        from pygradc.core import notebook

        title = f"compiled {getattr(self._plain, '__qualname__', self._name)}"
        if not self._programs:
            return notebook.heading(f"{title}: not recorded so far")
        return notebook.table(COLUMNS, [*map(cells, self.programs)], title)


class _Wrapped:
    """`__wrapped__` of a Compiled: the function, bound if it is a method; absent on the class."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            raise AttributeError("__wrapped__")
        return instance._function

    def __set__(self, instance: Any, value: Any) -> NoReturn:
        raise AttributeError("__wrapped__ of a compiled function can't be set")


Compiled.__wrapped__ = _Wrapped()  # type: ignore[method-assign, assignment]

_NONE = object()
_INTERNAL = frozenset(("_plain", "_options"))
_OPTIONS = {
    "executor": "map, sum, mean, gradients, jacobian and vjp",
    "mean": "hvp",
    "workers": "map, sum, mean, gradients, jacobian, hessian, vjp, jvp and hvp",
    "wrt": "gradients, jacobian, hessian, vjp, jvp and hvp",
}
_DATA = frozenset((float, int, Value, np.ndarray, list, tuple, dict, str, type(None), bool))


def _differ(new: Any, old: Any) -> bool:
    """Do two containers of Values differ? Where `==` is refused, compare structures and ids."""
    if new is old:
        return False
    if not isinstance(new, np.ndarray):
        try:
            return bool(new != old)
        except (TraceError, TypeError, ValueError):  # contains arrays, or other Values
            pass
    return bool(_taken_apart(new) != _taken_apart(old))


def _taken_apart(argument: Any) -> Any:
    """Structure and leaf ids; None if this is no longer a valid argument."""
    leaves: list[Any] = []
    try:
        return structures.take_apart((argument,), leaves, "argument"), list(map(id, leaves))
    except (TypeError, ValueError):
        return None


def _unwrapped(function: Any) -> tuple[Callable[..., Any], int]:
    """The plain function, and what attribute lookup binds it to."""
    if isinstance(function, staticmethod):
        return function.__func__, _NOTHING
    if isinstance(function, classmethod):
        return function.__func__, _CLASS
    binds = hasattr(type(function), "__get__") and not isinstance(function, MethodType)
    return function, _INSTANCE if binds else _NOTHING


def _attributes_of(function: Any) -> dict[str, Any]:
    """The attributes that functools.wraps copies; none that would hide a method of Compiled."""
    named = {
        name: getattr(function, name)
        for name in functools.WRAPPER_ASSIGNMENTS
        if hasattr(function, name)
    }
    own = {
        name: value
        for name, value in getattr(function, "__dict__", {}).items()
        if name not in _INTERNAL and not hasattr(Compiled, name)
    }
    own.pop("__wrapped__", None)
    return {**own, **named}


def _bind(method: Compiled, instance: Any) -> Compiled:
    """Rebuild a bound method when unpickling."""
    return method._bound_to(instance)


def _by_value(module: Any) -> bool:
    """Is cloudpickle the caller, and does it pickle the contents of this module by value?"""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") in ("pickle", "_pickle"):
        frame = frame.f_back
    if frame is None or "cloudpickle" not in str(frame.f_globals.get("__name__")):
        return False
    listed = frame.f_globals.get("list_registry_pickle_by_value", frozenset)()
    return module == "__main__" or module in listed


def _levels_to_user() -> int:
    """The `stacklevel`, for a warning issued by the caller, of the innermost user frame."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and not lines.is_users(frame):
        level, frame = level + 1, frame.f_back
    return level


def _explain_rows(error: Exception, name: str, args: tuple[Any, ...]) -> None:
    """Explain a call that failed because it was given whole arrays: a call takes one row.

    Raises:
        The error's type: the arguments look like arrays of many rows.
    """
    arrays = [
        tuple(getattr(arg, "shape", ()))
        for arg in args
        if isinstance(arg, np.ndarray) or is_foreign(arg)
    ]
    if isinstance(error, TraceError) or not arrays or type(error) not in _EXPLAINED:
        return
    deep = any(len(shape) > 1 for shape in arrays)
    if not deep and len({shape[:1] for shape in arrays}) == len(arrays):
        return
    shapes = ", ".join(map(str, arrays))
    raise type(error)(
        f"{error}. {name} was called with arrays of shape {shapes}, and a call takes one row: "
        f"for all rows write {name}.mean(...), {name}.sum(...) or {name}.map(...) of the same "
        "arrays, whose first axis is the row"
    ) from error


_EXPLAINED = (TypeError, ValueError, IndexError)


if TYPE_CHECKING:

    class Decorator(Protocol):
        """`compile` with options only."""

        def __call__(self, function: Callable[P, R], /) -> Compiled[P, R]: ...


@overload
def compile(
    function: Callable[P, R],
    *,
    math: Math = "exact",
    errors: Errors = "raise",
    passes: Iterable[str] | None = None,
    max_programs: int = 64,
) -> Compiled[P, R]: ...
@overload
def compile(
    function: None = None,
    *,
    math: Math = "exact",
    errors: Errors = "raise",
    passes: Iterable[str] | None = None,
    max_programs: int = 64,
) -> Decorator: ...
def compile(
    function: Any = None,
    *,
    math: str = "exact",
    errors: str = "raise",
    passes: Iterable[str] | None = None,
    max_programs: int = 64,
) -> Any:
    """Record a function of Values, to replay it in C: `@pygradc.compile`.

        >>> import pygradc
        >>> @pygradc.compile
        ... def distance(point):
        ...     return (point[0] ** 2 + point[1] ** 2).sqrt()
        >>> distance([3.0, 4.0]).data, distance.map([[3.0, 4.0], [5.0, 12.0]]).tolist()
        (5.0, [5.0, 13.0])
        >>> pygradc.compile(lambda x: x.log(), errors="ignore").map([1.0, -1.0]).tolist()
        [0.0, nan]

    Args:
        function: Takes numbers, Values and containers of them, and returns Values in any nesting.
            Captured Values are parameters; keyword arguments are static. It is run once for each
            structure of arguments, and must do the same whatever the numbers are.
        math: "exact": libm, bit for bit the results of the function itself, row by row. "fast": our
            own vectorized functions, common subexpressions merged, products for squares, gradients
            summed in the order of the code.
        errors: "raise": a row outside an op's domain raises FloatingPointError. "ignore": it gives
            inf or nan.
        passes: Which of "fold", "hoist", "fuse", "layers", "share", "powers", "order" to run; None:
            all that preserve the bits, or in fast mode all.
        max_programs: How many programs to keep; the least recently used are evicted.
    Returns:
        A `Compiled`; without a function, a decorator.
    Raises:
        ValueError: a setting is none of these.
    """
    if function is None:
        return functools.partial(
            compile, math=math, errors=errors, passes=passes, max_programs=max_programs
        )
    if not callable(function) and not isinstance(function, (classmethod, staticmethod)):
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
        raise ValueError(f"passes: unknown {unknown}; expected some of {list(PASSES)}")
    number = functools.reduce(lambda bits, name: bits | PASSES[name], wanted, 0)
    return Compiled(function, _Options(math == "fast", errors, number, max_programs))
