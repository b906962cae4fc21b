"""Recorded functions: traced once for each structure of arguments, replayed in C over rows.

`compile` wraps a function; a `Program` is what one trace of it gave. What the recording captured
(Values that were there before) are the parameters: their data are read anew at each replay.
A replay works in a workspace, of which a program keeps as many as replays ran at the same time, and
holds no GIL. Results don't depend on the executor: rows are cut into chunks by their number alone,
and chunks are summed in a fixed tree.
Source: csrc/record.c, passes.c, program.c, reverse.c, replay.c.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from pygradc import _errors, tracing
from pygradc import _structure as structures
from pygradc._core import ffi, lib
from pygradc._scalar import Scalar
from pygradc.value import Value

Floats = npt.NDArray[np.float64]

PASSES = {
    "fold": lib.PG_PASS_FOLD,
    "hoist": lib.PG_PASS_HOIST,
    "fuse": lib.PG_PASS_FUSE,
    "share": lib.PG_PASS_SHARE,
    "powers": lib.PG_PASS_POWERS,
}
EXACT_PASSES = ("fold", "hoist", "fuse")
FAST_PASSES = (*EXACT_PASSES, "share", "powers")


# ---- arguments of many rows ---------------------------------------------------------------------


class Rows:
    """Arguments as the core takes them: arrays, row after row, and what is the same for all rows.

    Attributes:
        structure: of one row's arguments.
        count: rows.
        columns: for each leaf or array: (array, doubles from row to row, doubles a row).
        values: (index of the input, Value) for each Value among them.
    """

    __slots__ = ("columns", "count", "structure", "values", "width")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.count = -1
        self.columns: list[tuple[Floats, int, int]] = []
        self.values: list[tuple[int, Value]] = []
        self.width = 0
        items = []
        for i, arg in enumerate(arguments):
            items.append(self._read(arg, ("argument", i)))
        self.structure = structures.Sequence(tuple, tuple(items))
        if self.count < 0:
            raise ValueError("expected at least one array, whose first axis is the row")

    def _read(self, arg: Any, where: tuple[Any, ...]) -> structures.Structure:
        """One argument, or an item of a dict; `where` is its place, for messages."""
        if isinstance(arg, dict):
            items = [self._read(item, (*where, key)) for key, item in arg.items()]
            return structures.Mapping(tuple(arg), tuple(items))
        if isinstance(arg, Value):
            self.values.append((self.width, arg))
            arg = arg.data
        array = _floats(arg, where)
        rows, *shape = array.shape or (None,)
        if rows is None:
            self.columns.append((array, 0, 1))
            self.width += 1
            return structures.LEAF
        if rows != self.count:
            if self.count >= 0:
                raise ValueError(
                    f"{_place(where)} has {rows} rows, those before it have {self.count}"
                )
            self.count = rows
        size = math.prod(shape)
        self.columns.append((array, size, size))
        self.width += size
        return structures.Array(tuple(shape)) if shape else structures.LEAF


def _place(where: tuple[Any, ...]) -> str:
    """'argument 0', "argument 1['x']"."""
    return f"{where[0]} {where[1]}" + "".join(f"[{key!r}]" for key in where[2:])


_FLOAT64 = np.dtype(np.float64)


def _floats(arg: Any, where: tuple[Any, ...]) -> Floats:
    """As a C-contiguous float64 array."""
    if type(arg) is np.ndarray and arg.dtype is _FLOAT64 and arg.flags.c_contiguous:
        return arg
    what = _place(where)
    try:
        array = np.asarray(arg)
    except ValueError as error:
        raise ValueError(f"{what}: expected an array with a row axis: {error}") from None
    if array.dtype == object:
        raise TypeError(f"{what}: expected numbers; Values go one row at a time, as in f(x)")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what}: expected real numbers, got an array of {array.dtype}")
    return np.ascontiguousarray(array, dtype=np.float64) if array.ndim else array.astype(np.float64)


# ---- the core's objects -------------------------------------------------------------------------


class _Workspace:
    """Room for one replay, with the C structs that describe it."""

    __slots__ = (
        "arguments",
        "gradients",
        "gradients_at",
        "handle",
        "keep",
        "params",
        "params_at",
        "reverse",
        "stop",
        "task",
        "totals",
        "totals_at",
    )

    def __init__(self, program: Program) -> None:
        handle = lib.pg_workspace_new(program._handle, program._level)
        if handle == ffi.NULL:
            raise MemoryError
        self.handle = ffi.gc(handle, lib.pg_workspace_free)
        self.task = ffi.new("pg_task *")
        self.task.ignore = program._errors == "ignore"
        self.arguments: Any = ()
        self.reverse: _Reverse | None = None
        size = program._size
        self.params = np.empty(size.params)
        self.totals = np.empty(size.outputs)
        self.gradients = np.empty((size.outputs, size.params))
        self.params_at, self.totals_at, self.gradients_at = map(
            _pointer, (self.params, self.totals, self.gradients)
        )
        self.stop = ffi.new("int *")
        lib.pg_workspace_poll(self.handle, lib.pg_python_poll, self.stop)


_DOUBLES = ffi.typeof("double[]")
_ARGUMENTS = ffi.typeof("pg_argument[]")


def _pointer(array: Floats) -> Any:
    """A double * that keeps the array alive."""
    return ffi.from_buffer(_DOUBLES, array)


class _Reverse:
    """The steps back of each output, with respect to parameters, inputs or both."""

    def __init__(self, program: Program, wrt: int) -> None:
        self.each = []
        for output in range(program._size.outputs):
            out = ffi.new("pg_reverse **")
            if lib.pg_reverse_new(out, program._handle, output, wrt) != lib.PG_OK:
                raise MemoryError
            self.each.append(ffi.gc(out[0], lib.pg_reverse_free))
        self.array = ffi.new("pg_reverse *[]", self.each)
        self.partials = lib.pg_partial_count(program._handle, self.array)


class _Stopped(Exception):
    """A replay was told to stop by another one's failure."""


# ---- the program --------------------------------------------------------------------------------


class Program:
    """Straight-line code for one structure of arguments.

    Made by `compile`, or by `load`. Calling it, `map`, `sum`, `mean` and `gradients` are as those of
    a compiled function, for arguments of this structure.
    """

    def __init__(
        self,
        handle: Any,
        params: tuple[Value, ...],
        inputs: structures.Structure,
        outputs: structures.Structure,
        errors: str,
        name: str,
    ) -> None:
        self._handle = handle
        self._size = lib.pg_program_measure(handle)
        self._params = params
        self._inputs = inputs
        self._outputs = outputs
        self._normal = _normal(inputs)
        self._errors = errors
        self._name = name
        self._level = -1
        self._idle: list[_Workspace] = []
        self._reverses: dict[int, _Reverse] = {}
        self._lock = threading.Lock()

    # ---- replaying

    def __call__(self, *args: Any) -> Any:
        """Replay for one row.

        Args:
            args: floats, Values and containers of them, as the function was recorded with.
        Returns:
            What the function returns; its Values can be used in expressions, and `backward()`
            reaches the parameters and the Values among args.
        Raises:
            ValueError, TypeError: arguments of another structure; says which was expected.
            FloatingPointError: an operand outside an op's domain.
        """
        leaves: list[Any] = []
        given = structures.take_apart(args, leaves, "argument")
        self._check(given)
        return self._one_row(leaves)

    def _one_row(self, leaves: list[Any]) -> Any:
        values = [(i, leaf) for i, leaf in enumerate(leaves) if isinstance(leaf, Value)]
        wrt = lib.PG_WRT_PARAMS | (lib.PG_WRT_INPUTS if values else 0)
        row = np.empty(len(leaves))
        for i, leaf in enumerate(leaves):
            row[i] = leaf.data if isinstance(leaf, Value) else leaf
        size = self._size
        outputs = np.empty(size.outputs)
        gradients = np.empty((size.outputs, size.inputs)) if values else None
        with _Borrowed(self) as ws:
            self._aim(ws, [(row, len(leaves), len(leaves))], 1, self._reverse(wrt))
            self._sum(ws, outputs, gradients, 1.0)
            derivatives = ws.gradients.copy()
        children = (*self._params, *(value for _, value in values))
        if gradients is not None:
            wanted = gradients[:, [i for i, _ in values]]
            derivatives = np.concatenate([derivatives, wanted], axis=1)
        results = [
            Scalar._result(data, children, derivatives[i])
            for i, data in enumerate(outputs.tolist())
        ]
        return structures.put_together(self._outputs, iter(results))

    def map(self, *arrays: Any, executor: Executor | None = None) -> Any:
        """The outputs of each row, without gradients.

        Args:
            arrays: one an argument, shape (rows, *shape), float64 or convertible; or a number, the
                same for all rows.
            executor: of `concurrent.futures`; None: here.
        Returns:
            A number becomes an array (rows,), a regular list or array (rows, *shape), float64;
            tuples and dicts stay what they are.
        Raises:
            ValueError, TypeError: arrays of another shape; names both.
            FloatingPointError: a row leaves an op's domain; names row, op and operand.
        Source: csrc/replay.c; oracle: pygradc.reference.
        """
        return self._map(Rows(arrays), executor)

    def _map(self, rows: Rows, executor: Executor | None) -> Any:
        self._check(rows.structure)
        outputs, _, _ = self._run(rows, executor, 0, gradients=False, sums=False)
        return structures.stack(self._outputs, outputs)

    def sum(self, *arrays: Any, executor: Executor | None = None) -> Any:
        """The outputs, each summed over the rows: one Value for each.

        Gradients with respect to the parameters, and to Values among the arguments, are computed
        with it: `backward()` only adds them.

        Args, Raises: as `map`. No rows give 0.
        """
        return self._total(Rows(arrays), executor, mean=False)

    def mean(self, *arrays: Any, executor: Executor | None = None) -> Any:
        """The outputs, each averaged over the rows: one Value for each. See `sum`.

        Raises:
            ValueError: there are no rows; and as `map`.
        """
        return self._total(Rows(arrays), executor, mean=True)

    def gradients(self, *arrays: Any, executor: Executor | None = None) -> tuple[Any, Any]:
        """The outputs and their gradients with respect to the inputs, row by row.

        Args, Raises: as `map`.
        Returns:
            (outputs, gradients): outputs as `map`; gradients a tuple with, for each argument, an
            array (rows, *output shape, *argument shape), where the output shape of one number is (),
            and otherwise (outputs,) unless the result is a regular list or array.
        """
        return self._gradients(Rows(arrays), executor)

    def _gradients(self, rows: Rows, executor: Executor | None) -> tuple[Any, Any]:
        self._check(rows.structure)
        outputs, gradients, _ = self._run(
            rows, executor, lib.PG_WRT_INPUTS, gradients=True, sums=False
        )
        shape = structures.shape_of(self._outputs)
        out_shape = (self._size.outputs,) if shape is None else shape
        gradients = gradients.reshape(rows.count, *out_shape, self._size.inputs)
        assert isinstance(self._inputs, structures.Sequence)
        parts, start = [], 0
        for item in self._inputs.items:
            end = start + structures.count_leaves(item)
            item_shape = structures.shape_of(item)
            part = gradients[..., start:end]
            if item_shape is not None:
                part = part.reshape(rows.count, *out_shape, *item_shape)
            parts.append(part)
            start = end
        return structures.stack(self._outputs, outputs), tuple(parts)

    def _total(self, rows: Rows, executor: Executor | None, mean: bool) -> Any:
        self._check(rows.structure)
        if mean and rows.count == 0:
            raise ValueError("mean: there are no rows")
        scale = 1.0 / rows.count if mean else 1.0
        children: tuple[Value, ...] = self._params
        if rows.values or executor is not None:
            totals, derivatives = self._total_of_chunks(rows, executor, scale)
            children = (*children, *(value for _, value in rows.values))
        else:
            with _Borrowed(self) as ws:
                self._aim(ws, rows.columns, rows.count, self._reverse(lib.PG_WRT_PARAMS))
                self._sum(ws, None, None, scale)
                totals, derivatives = ws.totals.tolist(), ws.gradients
                results = [
                    Scalar._result(data, children, derivatives[i]) for i, data in enumerate(totals)
                ]
            return structures.put_together(self._outputs, iter(results))
        results = [Scalar._result(data, children, derivatives[i]) for i, data in enumerate(totals)]
        return structures.put_together(self._outputs, iter(results))

    def _total_of_chunks(
        self, rows: Rows, executor: Executor | None, scale: float
    ) -> tuple[list[float], Floats]:
        wrt = lib.PG_WRT_PARAMS | (lib.PG_WRT_INPUTS if rows.values else 0)
        _, gradients, partials = self._run(
            rows, executor, wrt, gradients=bool(rows.values), sums=True
        )
        with _Borrowed(self) as ws:
            self._aim(ws, rows.columns, rows.count, self._reverse(wrt))
            ws.task.partials = _pointer(partials)
            self._begin(ws)
            status = lib.pg_replay_finish(
                self._handle,
                ws.handle,
                ws.task,
                ws.totals_at,
                ws.gradients_at,
                scale,
            )
            if status != lib.PG_OK:
                self._fail(status, ws)
            totals, derivatives = ws.totals.tolist(), ws.gradients.copy()
        if rows.values:
            wanted = gradients[:, :, [i for i, _ in rows.values]].sum(axis=0) * scale
            derivatives = np.concatenate([derivatives, wanted], axis=1)
        return totals, derivatives

    # ---- the core's calls

    def _reverse(self, wrt: int) -> _Reverse:
        reverse = self._reverses.get(wrt)
        if reverse is None:
            with self._lock:
                reverse = self._reverses.setdefault(wrt, _Reverse(self, wrt))
        return reverse

    def _aim(
        self,
        ws: _Workspace,
        columns: Sequence[tuple[Floats, int, int]],
        rows: int,
        reverse: _Reverse | None,
    ) -> None:
        """Describe a task over all chunks, without results yet."""
        ws.keep = [_pointer(array) for array, _, _ in columns]
        task = ws.task
        if len(ws.arguments) != len(columns):
            ws.arguments = ffi.new(_ARGUMENTS, len(columns))
            task.arguments = ws.arguments
            task.argument_count = len(columns)
        for argument, data, (_, stride, count) in zip(ws.arguments, ws.keep, columns):
            argument.data, argument.stride, argument.count = data, stride, count
        if ws.reverse is not reverse:
            ws.reverse = reverse
            task.reverse = reverse.array if reverse is not None else ffi.NULL
        task.rows = rows
        task.first_chunk, task.last_chunk = 0, lib.pg_chunk_count(rows)
        task.outputs = task.gradients = task.partials = ffi.NULL

    def _sum(
        self, ws: _Workspace, outputs: Floats | None, gradients: Floats | None, scale: float
    ) -> None:
        """Replay all, into ws.totals and ws.gradients."""
        if outputs is not None:
            ws.task.outputs = _pointer(outputs)
        if gradients is not None:
            ws.task.gradients = _pointer(gradients)
        Scalar._read(self._params, ws.params)
        status = lib.pg_replay_sum(
            self._handle,
            ws.handle,
            ws.params_at,
            ws.task,
            ws.totals_at,
            ws.gradients_at,
            scale,
        )
        if status != lib.PG_OK:
            self._fail(status, ws)

    def _begin(self, ws: _Workspace, params: Floats | None = None) -> None:
        if params is None:
            Scalar._read(self._params, ws.params)
            params = ws.params
        status = lib.pg_replay_begin(
            self._handle, ws.handle, _pointer(params), self._errors == "ignore"
        )
        if status != lib.PG_OK:
            self._fail(status, ws)

    def _run(
        self, rows: Rows, executor: Executor | None, wrt: int, gradients: bool, sums: bool
    ) -> tuple[Any, Any, Any]:
        """(outputs, gradients, partials) of all rows; each None if not asked for."""
        params = np.empty(self._size.params)
        Scalar._read(self._params, params)
        work = _Work(self, params, rows, wrt, gradients, sums)
        if executor is None:
            return work.run(0, lib.pg_chunk_count(rows.count), None)
        return _in_parallel(work, executor)

    def _fail(self, status: int, ws: _Workspace) -> NoReturn:
        if status == lib.PG_ERR_STOPPED:
            Scalar._raise_signal()
            raise _Stopped
        if status == lib.PG_ERR_NOMEM:
            raise MemoryError
        at = lib.pg_workspace_fault(ws.handle)
        fault = at.fault
        what = _errors.describe(status, fault.op, fault.derivative, fault.a, fault.b)
        where = f"row {at.row}" if at.row >= 0 else "in what depends on parameters only"
        raise FloatingPointError(f"{where}: {what}")

    def _check(self, given: structures.Structure) -> None:
        """Is this the structure of arguments that was recorded, lists and arrays being alike?"""
        if given == self._inputs or _normal(given) == self._normal:
            return
        raise ValueError(
            f"recorded for arguments {structures.describe(self._inputs)}, "
            f"called with {structures.describe(given)}"
        )

    # ---- what it is

    def parameters(self) -> list[Value]:
        """The captured Values, in the order in which the function came to them."""
        return list(self._params)

    def __len__(self) -> int:
        """How many instructions."""
        return int(self._size.uniform_instrs + self._size.row_instrs)

    def __repr__(self) -> str:
        size = self._size
        return (
            f"<Program {self._name}: {size.inputs} inputs, {size.params} parameters, "
            f"{size.outputs} outputs, {len(self)} instructions>"
        )


def _normal(structure: structures.Structure) -> Any:
    """What two structures have in common that one array could give."""
    shape = structures.shape_of(structure)
    if shape is not None:
        return shape
    if isinstance(structure, structures.Static):
        return structure
    if isinstance(structure, structures.Mapping):
        return structure.keys, tuple(map(_normal, structure.items))
    assert isinstance(structure, structures.Sequence)
    return tuple(map(_normal, structure.items))


class _Borrowed:
    """A workspace of the program, for a while: `with _Borrowed(program) as ws`."""

    __slots__ = ("program", "ws")

    def __init__(self, program: Program) -> None:
        self.program = program

    def __enter__(self) -> _Workspace:
        try:
            self.ws = self.program._idle.pop()
        except IndexError:
            self.ws = _Workspace(self.program)
        return self.ws

    def __exit__(self, *_: object) -> None:
        self.ws.keep = None
        self.program._idle.append(self.ws)


# ---- chunks, and who does them ------------------------------------------------------------------


class _Work:
    """A replay of many rows, that can be done in parts; it pickles."""

    def __init__(
        self, program: Program, params: Floats, rows: Rows, wrt: int, gradients: bool, sums: bool
    ) -> None:
        self.program, self.params, self.wrt = program, params, wrt
        self.columns, self.count = rows.columns, rows.count
        self.gradients, self.sums = gradients, sums

    def part(self, first: int, last: int) -> _Work:
        """The same with the rows of these chunks only."""
        start, end = (lib.pg_chunk_start(self.count, chunk) for chunk in (first, last))
        some: _Work = object.__new__(_Work)
        some.__dict__.update(self.__dict__)
        some.columns = [
            (array[start:end] if stride else array, stride, n) for array, stride, n in self.columns
        ]
        return some

    def run(self, first: int, last: int, stop: Any) -> tuple[Any, Any, Any]:
        """Do these chunks, whose rows are those of `columns`."""
        program = self.program
        size = program._size
        start, end = (lib.pg_chunk_start(self.count, chunk) for chunk in (first, last))
        reverse = program._reverse(self.wrt) if self.wrt else None
        outputs = np.empty((end - start, size.outputs))
        gradients = np.empty((end - start, size.outputs, size.inputs)) if self.gradients else None
        partials = np.empty((last - first, reverse.partials)) if reverse and self.sums else None
        with _Borrowed(program) as ws:
            program._aim(ws, self.columns, self.count, reverse)
            task = ws.task
            task.first_chunk, task.last_chunk = first, last
            task.outputs = _pointer(outputs)
            if gradients is not None:
                task.gradients = _pointer(gradients)
            if partials is not None:
                task.partials = _pointer(partials)
            if stop is not None:
                lib.pg_workspace_poll(ws.handle, lib.pg_python_poll, stop)
            try:
                program._begin(ws, self.params)
                status = lib.pg_replay(program._handle, ws.handle, task)
                if status != lib.PG_OK:
                    program._fail(status, ws)
            finally:
                lib.pg_workspace_poll(ws.handle, lib.pg_python_poll, ws.stop)
        return outputs, gradients, partials


def _run_part(work: _Work, first: int, last: int, stop: Any) -> tuple[Any, Any, Any]:
    return work.run(first, last, stop)


def _in_parallel(work: _Work, executor: Executor) -> tuple[Any, Any, Any]:
    """Hand out neighbouring chunks, as many parts as there are workers."""
    chunks = lib.pg_chunk_count(work.count)
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    parts = max(1, min(chunks, workers))
    bounds = [chunks * i // parts for i in range(parts + 1)]
    stop = ffi.new("int *") if isinstance(executor, ThreadPoolExecutor) else None
    futures = [
        executor.submit(_run_part, work.part(first, last), first, last, stop)
        for first, last in zip(bounds, bounds[1:])
    ]
    try:
        results = [future.result() for future in futures]
    except BaseException:
        if stop is not None:
            stop[0] = 1
        for future in futures:
            future.cancel()
        for future in futures:
            if not future.cancelled():
                future.exception()
        raise
    joined = []
    for kind in zip(*results):
        joined.append(None if kind[0] is None else np.concatenate(kind))
    return tuple(joined)


# ---- compiled functions -------------------------------------------------------------------------


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
        self._programs: OrderedDict[Any, Program] = OrderedDict()
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **static: Any) -> Any:
        """Replay for one row; record first, if the structure of args or `static` is new.

        Args:
            args: floats, Values, and nested lists, tuples, dicts, arrays of them.
            static: anything hashable; part of what is recorded.
        Returns, Raises: as `Program.__call__`; TraceError, from the recording.
        """
        if tracing.tracing():
            return self._function(*args, **static)
        leaves: list[Any] = []
        structure = structures.take_apart(args, leaves, "argument")
        return self._program(structure, static)._one_row(leaves)

    def map(self, *arrays: Any, executor: Executor | None = None, **static: Any) -> Any:
        """The outputs of each row, without gradients: see `Program.map`."""
        rows = Rows(arrays)
        return self._program(rows.structure, static)._map(rows, executor)

    def sum(self, *arrays: Any, executor: Executor | None = None, **static: Any) -> Any:
        """The outputs, each summed over the rows, as Values: see `Program.sum`."""
        rows = Rows(arrays)
        return self._program(rows.structure, static)._total(rows, executor, mean=False)

    def mean(self, *arrays: Any, executor: Executor | None = None, **static: Any) -> Any:
        """The outputs, each averaged over the rows, as Values: see `Program.mean`."""
        rows = Rows(arrays)
        return self._program(rows.structure, static)._total(rows, executor, mean=True)

    def gradients(
        self, *arrays: Any, executor: Executor | None = None, **static: Any
    ) -> tuple[Any, Any]:
        """Outputs and gradients with respect to the inputs, row by row: see `Program.gradients`."""
        rows = Rows(arrays)
        return self._program(rows.structure, static)._gradients(rows, executor)

    @property
    def programs(self) -> tuple[Program, ...]:
        """One a structure of arguments, the least recently used first."""
        return tuple(self._programs.values())

    def parameters(self) -> list[Value]:
        """The captured Values of all programs, each once."""
        found = {id(p): p for program in self.programs for p in program.parameters()}
        return list(found.values())

    def _program(self, structure: structures.Structure, static: dict[str, Any]) -> Program:
        try:
            key = (structure, tuple(sorted(static.items()))) if static else structure
            program = self._programs.get(key)
        except TypeError as error:
            raise TypeError(
                f"keyword arguments are part of what is recorded and must be hashable: {error}"
            ) from None
        with self._lock:
            if program is None:
                program = self._record(structure, static)
                self._programs[key] = program
            self._programs.move_to_end(key)
            while len(self._programs) > self._max_programs:
                self._programs.popitem(last=False)
        return program

    def _record(self, structure: structures.Structure, static: dict[str, Any]) -> Program:
        with tracing.trace():
            count = structures.count_leaves(structure)
            inputs = [Scalar._trace_input() for _ in range(count)]
            args = structures.put_together(structure, iter(inputs))
            result = self._function(*args, **static)
            leaves: list[Any] = []
            outputs = structures.take_apart(result, leaves, "result")
            if not leaves:
                raise TypeError(f"a recorded function must return Values, got {result!r}")
            ends = [leaf if isinstance(leaf, Value) else Value(leaf) for leaf in leaves]
            address, params = Scalar._record(inputs, ends, self._passes, self._fast)
        handle = ffi.gc(ffi.cast("pg_program *", address), lib.pg_program_free)
        name = getattr(self._function, "__name__", "function")
        return Program(handle, params, structure, outputs, self._errors, name)

    def __repr__(self) -> str:
        return f"<compiled {self._function!r}, {len(self._programs)} programs>"


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
        passes: Which of "fold", "hoist", "fuse", "share", "powers" are made; None: all that keep
            the bits, or in fast mode all.
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


