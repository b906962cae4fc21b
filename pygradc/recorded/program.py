"""Programs: the result of tracing a function once, replayed in C over rows.

Captured Values (those that existed before the trace) are the parameters; their data are read
afresh at each replay. A replay releases the GIL. Results don't depend on executor or workers: the
partition of rows into chunks depends on the number of rows alone, and chunks are summed in a fixed
tree.
Source: csrc/record, csrc/program, csrc/replay.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from pygradc._core import ffi, lib
from pygradc.core.scalar import core
from pygradc.files import atomic, magic
from pygradc.recorded import code, program_file, row_derivatives
from pygradc.recorded import structure as structures
from pygradc.recorded.parallel import Results, Threads, Work, sharers
from pygradc.recorded.row_derivatives import Lifted
from pygradc.recorded.rows import Floats, Rows, _floats
from pygradc.recorded.workspace import HVP, JVP, Borrowed, Replayable, Workspace
from pygradc.typed import Generic, R
from pygradc.value import Value

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pygradc.recorded.parallel import Sharers
    from pygradc.typed import WRT, Column, Flat, Returned, Stacked
    from pygradc.viewing.page import View

_MOST_SHOWN = 500  # instructions, in a notebook
_SUM = lib.PG_WRT_PARAMS  # the kind of work that `sum` is, without Values among the arguments


class Program(Replayable, Generic[R]):
    """Straight-line code for one structure of arguments.

        >>> import os, pygradc, tempfile
        >>> k = pygradc.Value(2.0)
        >>> f = pygradc.compile(lambda x, y: k * x * y)
        >>> f(3.0, 5.0).data
        30.0
        >>> (program,) = f.programs
        >>> program.map([3.0, 4.0], [5.0, 6.0]).tolist(), program.mean([3.0, 4.0], [5.0, 6.0]).data
        ([30.0, 48.0], 39.0)
        >>> print(program)
        <Program <lambda>: 2 inputs, 1 parameters, 1 outputs, 2 instructions>
        <lambda>(in0, in1)
        for each row:
          v0 = p0 * in0
          v1 = v0 * in1
        return v1
        >>> path = os.path.join(tempfile.mkdtemp(), "product.pgp")
        >>> program.save(path)
        >>> pygradc.load(path).sum([3.0], [5.0]).data
        30.0
        >>> "product_gradient" in program.to_c("product")
        True
        >>> program.gradients([3.0], [5.0])[1][0].tolist(), program.jacobian([3.0], [5.0]).tolist()
        ([10.0], [[[10.0, 6.0]]])
        >>> program.hessian([3.0], [5.0]).tolist(), program.vjp([10.0], [3.0], [5.0]).tolist()
        ([[[0.0, 2.0], [2.0, 0.0]]], [[100.0, 60.0]])
        >>> program.jvp([1.0], [3.0], [5.0])[1].tolist(), program.parameters()[0] is k
        ([15.0], True)
        >>> program.hvp([1.0, 0.0], [3.0], [5.0], wrt="inputs").tolist()
        [[0.0, 2.0]]

    Made by `compile`, or by `load`. Calls, `map`, `sum`, `mean` and derivatives work as those of a
    compiled function, but for arguments of this structure only. R is what it returns.
    """

    def __init__(
        self,
        owner: Any,
        params: tuple[Value, ...],
        inputs: structures.Structure,
        outputs: structures.Structure,
        errors: str,
        name: str,
    ) -> None:
        super().__init__(owner, errors)
        self._params = params
        self._inputs = inputs
        self._outputs = outputs
        self._normal = _normal(inputs)
        self._name = name
        self._lifts: dict[bool, Lifted] = {}
        self._used = 0  # its compiled function's clock at the last use
        self._set_level(self._level)

    @property
    def native(self) -> bool:
        """Do replays run machine code? Else kernels interpret the program, with the same bits.

        False on processors other than x86-64 with AVX2 and FMA, and AArch64, where the system
        refuses executable memory, if the environment said PYGRADC_NATIVE=0 when it was recorded,
        and if the code of one row would be larger than 2 MiB.

        >>> import pygradc
        >>> f = pygradc.compile(lambda x: x * x)
        >>> f(3.0).data
        9.0
        >>> f.programs[0].native in (True, False)
        True
        """
        return bool(lib.pg_program_is_native(self._handle, self._level))

    def _set_level(self, level: int) -> None:
        """Set the level for all later replays: see `pg_replay_levels`, `pg_workspace_new`."""
        self._level = level
        self._idle.clear()
        self._lifts.clear()
        words = structures.words(self._inputs)
        if words is None:
            return
        assert isinstance(self._inputs, structures.Sequence)
        self._fast_path = core.replay(
            int(ffi.cast("intptr_t", self._handle)),
            len(self._inputs.items),
            tuple(words[2:]),
            np.ndarray,
            self._errors == "ignore",
            level,
        )
        for wrt, plan in self._plans.items():
            core.replay_back(self._fast_path, wrt, plan.address)

    # ---- replaying

    def __call__(self, *args: Column) -> R:
        """Replay for one row.

        Args:
            args: floats, Values and containers of them, in the recorded structure.
        Returns:
            The function's result. Its Values can be used in expressions; `backward()` reaches the
            parameters and the Values among args.
        Raises:
            ValueError, TypeError: arguments of another structure; says which was expected.
            FloatingPointError: an operand outside an op's domain.
        """
        values = self._row_by_fast_path(args)
        if values is not NotImplemented:
            return values  # type: ignore[no-any-return]
        leaves: list[Any] = []
        given = structures.take_apart(args, leaves, "argument")
        self._check(given)
        return self._one_row(leaves)  # type: ignore[no-any-return]

    def _row_by_fast_path(self, args: tuple[Any, ...]) -> Any:
        """`__call__` as one call to C; NotImplemented if the fast path doesn't apply."""
        if self._fast_path is None:
            return NotImplemented
        return self._put_together(core.replay_row(self._fast_path, self._params, args), True)

    def _total_by_fast_path(self, arrays: tuple[Any, ...], mean: bool, by: Sharers) -> Any:
        """`sum` or `mean` as one call to C; NotImplemented if the fast path doesn't apply."""
        if self._fast_path is None or not (by is None or self._is_alone(arrays, _SUM, by)):
            return NotImplemented
        return self._put_together(core.replay_sum(self._fast_path, self._params, arrays, mean))

    def _jvp_by_fast_path(self, v: Any, arrays: tuple[Any, ...], wrt: str, by: Sharers) -> Any:
        """`jvp` as one call to C; NotImplemented if the fast path doesn't apply."""
        if self._fast_path is None or wrt not in row_derivatives.WRT:
            return NotImplemented
        if not (by is None or self._is_alone(arrays, JVP, by)):
            return NotImplemented
        pair = core.replay_jvp(self._fast_path, self._params, arrays, v, wrt == "inputs")
        return pair if pair is NotImplemented else self._stack_both(*pair)

    def _hvp_by_fast_path(
        self, v: Any, arrays: tuple[Any, ...], wrt: str, mean: bool, by: Sharers
    ) -> Any:
        """`hvp` as one call to C; NotImplemented if the fast path doesn't apply."""
        if self._fast_path is None or wrt not in row_derivatives.WRT:
            return NotImplemented
        if not (by is None or wrt == "parameters" or self._is_alone(arrays, HVP, by)):
            return NotImplemented
        return core.replay_hvp(self._fast_path, self._params, arrays, v, wrt == "inputs", mean)

    def _is_alone(self, arrays: tuple[Any, ...], kind: int, by: Sharers) -> bool:
        """Do workers= leave these rows to the calling thread?"""
        payoff = self._payoffs[kind]
        try:
            rows = len(arrays[0])
            return type(by) is Threads and (rows <= payoff.few or payoff.is_alone(rows))
        except (TypeError, IndexError):
            return False

    def _one_row(self, leaves: list[Any]) -> Any:
        values = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, Value)}
        plan = self._plan(lib.PG_WRT_PARAMS | (lib.PG_WRT_INPUTS if values else 0))
        row = np.array([leaf.data if isinstance(leaf, Value) else leaf for leaf in leaves], float)
        size = self._size
        outputs = np.empty(size.outputs)
        gradients = np.empty((size.outputs, size.inputs)) if values else None
        with Borrowed(self) as ws:
            ws.aim([(row, len(leaves), len(leaves))], 1, plan)
            ws.write_to(outputs=outputs, gradients=gradients)
            self._sum(ws, 1.0)
            derivatives = ws.gradients.copy()
        if gradients is None:
            return self._results(outputs.tolist(), self._params, derivatives, True)
        results = []
        for o, data in enumerate(outputs.tolist()):
            order = [i for i in plan.input_order(o, size.inputs) if i in values]
            children = (*self._params, *(values[i] for i in order))
            by_all = np.concatenate([derivatives[o], gradients[o, order]])
            results.append(core.result(data, children, by_all))
        return self._put_together(tuple(results), True)

    @overload
    def map(
        self: Program[Flat],
        *arrays: Column,
        executor: Executor | None = None,
        workers: int | None = None,
    ) -> Floats: ...
    @overload
    def map(
        self: Program[tuple[Flat, Flat]],
        *arrays: Column,
        executor: Executor | None = None,
        workers: int | None = None,
    ) -> tuple[Floats, Floats]: ...
    @overload
    def map(
        self, *arrays: Column, executor: Executor | None = None, workers: int | None = None
    ) -> Stacked: ...
    def map(
        self, *arrays: Any, executor: Executor | None = None, workers: int | None = None
    ) -> Any:
        """The outputs of each row, without gradients.

        Args:
            arrays: one for each argument, shape (rows, *shape), float64 or convertible; or a
                number, the same for all rows.
            executor: of `concurrent.futures`; it gets parts of the rows.
            workers: the number of threads that share the rows, the calling one among them; the
                others are pygradc's own. Without either the calling thread does it alone.
        Returns:
            A number becomes an array (rows,), a regular list or array (rows, *shape), float64;
            tuples and dicts keep their type.
        Raises:
            ValueError, TypeError: arrays of another shape; names both. Both executor and workers.
            FloatingPointError: a row leaves an op's domain; names row, op and operand.
        Source: csrc/replay/replay.c; oracle: pygradc.reference.
        """
        return self._map(Rows(arrays), sharers(executor, workers))

    def _map(self, rows: Rows, by: Sharers) -> Any:
        self._check(rows.structure)
        done = self._run(rows, by, 0, gradients=False, sums=False)
        return structures.stack(self._outputs, done.outputs)

    def sum(
        self, *arrays: Column, executor: Executor | None = None, workers: int | None = None
    ) -> R:
        """The outputs, each summed over the rows: one Value for each.

        Gradients with respect to the parameters, and to Values among the arguments, are computed at
        the same time: `backward()` only adds them.

        Args, Raises: as `map`. The sum of no rows is 0.
        """
        by = executor if workers is None else sharers(executor, workers)
        return self._sum_or_mean(arrays, by, mean=False)

    def mean(
        self, *arrays: Column, executor: Executor | None = None, workers: int | None = None
    ) -> R:
        """The outputs, each averaged over the rows: one Value for each. See `sum`.

        Raises:
            ValueError: there are no rows; and as `map`.
        """
        by = executor if workers is None else sharers(executor, workers)
        return self._sum_or_mean(arrays, by, mean=True)

    def _sum_or_mean(self, arrays: tuple[Any, ...], by: Sharers, mean: bool) -> R:
        values: R = self._total_by_fast_path(arrays, mean, by)
        return self._total(Rows(arrays), by, mean) if values is NotImplemented else values

    @overload
    def gradients(
        self: Program[Flat],
        *arrays: Column,
        wrt: Literal["inputs"] = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
    ) -> tuple[Floats, tuple[Floats, ...]]: ...
    @overload
    def gradients(
        self: Program[Flat],
        *arrays: Column,
        wrt: Literal["parameters"],
        executor: Executor | None = None,
        workers: int | None = None,
    ) -> tuple[Floats, Floats]: ...
    @overload
    def gradients(
        self,
        *arrays: Column,
        wrt: WRT = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
    ) -> tuple[Stacked, Floats | tuple[Floats, ...]]: ...
    def gradients(
        self,
        *arrays: Any,
        wrt: str = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
    ) -> tuple[Any, Any]:
        """The outputs and their gradients, row by row.

            f = pygradc.compile(lambda x: slope * x[0] * x[1])
            outputs, (by_x,) = f.gradients(X)
            outputs, by_slope = f.gradients(X, wrt="parameters")  # shape (rows, 1)

        Args:
            arrays, executor, workers: as `map`.
            wrt: "inputs", or "parameters".
        Returns:
            (outputs, gradients): outputs as `map`. By the inputs, gradients are a tuple with, for
            each argument, an array (rows, *output shape, *argument shape); by the parameters an
            array (rows, *output shape, parameters), in the order of `parameters()`. The output
            shape is () for one number, the shape of a regular list or array, and otherwise
            (outputs,). They have the bits of `backward()` of a call of that row.
        Raises:
            ValueError: wrt is neither; and as `map`.
        Source: csrc/replay/replay.c, csrc/program/lift.c.
        """
        return self._gradients(Rows(arrays), wrt, sharers(executor, workers))

    def _gradients(self, rows: Rows, wrt: str, by: Sharers) -> tuple[Any, Any]:
        self._check(rows.structure)
        flat, derivatives = row_derivatives.first(self, rows, wrt, by)
        outputs = structures.stack(self._outputs, flat)
        shape = structures.shape_of(self._outputs)
        out_shape = (self._size.outputs,) if shape is None else shape
        gradients = derivatives.reshape(rows.count, *out_shape, derivatives.shape[-1])
        if wrt == "parameters":
            return outputs, gradients
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
        return outputs, tuple(parts)

    def jacobian(
        self,
        *arrays: Column,
        wrt: WRT = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
    ) -> Floats:
        """The Jacobian matrix of each row: what `gradients` gives, as one array.

            pygradc.compile(lambda x: [x[0] * x[1], x[0]]).jacobian(X)  # shape (rows, 2, 2)

        Args:
            arrays, executor, workers: as `map`.
            wrt: "inputs", those of all arguments in order; or "parameters", in the order of
                `parameters()`.
        Returns:
            Shape (rows, outputs, inputs or parameters), float64; also if there is one output.
        Raises:
            ValueError: wrt is neither; and as `map`.
        Source: as `gradients`.
        """
        return self._jacobian(Rows(arrays), wrt, sharers(executor, workers))

    def _jacobian(self, rows: Rows, wrt: str, by: Sharers) -> Floats:
        self._check(rows.structure)
        return row_derivatives.first(self, rows, wrt, by)[1]

    def vjp(
        self,
        weights: Column,
        *arrays: Column,
        wrt: WRT = "inputs",
        executor: Executor | None = None,
        workers: int | None = None,
    ) -> Floats:
        """The gradient of the outputs' weighted sum, row by row: weights times the Jacobian.

            f = pygradc.compile(lambda x: [x[0] * x[1], x[0]])
            f.vjp([1.0, 10.0], X)  # shape (rows, 2): x[1] + 10, x[0]

        One backward pass, whatever the number of outputs. An output with the weight 0 contributes
        0, even if its derivative is infinite.

        Args:
            weights: shape (outputs,), the same for all rows, or (rows, outputs).
            arrays, executor, workers: as `map`.
            wrt: as `jacobian`.
        Returns:
            Shape (rows, inputs or parameters), float64.
        Raises:
            ValueError: weights have another shape, or wrt is neither; and as `map`.
        Source: csrc/program/lift.c.
        """
        return self._vjp(weights, Rows(arrays), wrt, sharers(executor, workers))

    def _vjp(self, weights: Any, rows: Rows, wrt: str, by: Sharers) -> Floats:
        self._check(rows.structure)
        return row_derivatives.weighted(self, weights, rows, wrt, by)

    def hessian(self, *arrays: Column, wrt: WRT = "inputs", workers: int | None = None) -> Floats:
        """The matrix of second derivatives of each row.

            pygradc.compile(lambda x, y: x * x * y).hessian([1.0], [3.0])  # [[[6, 2], [2, 0]]]

        Exact, along each unit vector in turn: a tangent pass, forward and backward, for each input
        or parameter.

        Args:
            arrays, workers: as `map`.
            wrt: as `jacobian`.
        Returns:
            Shape (rows, n, n), float64, for n inputs or parameters.
        Raises:
            ValueError: the function returns more than one Value, or wrt is neither; and as `map`.
            FloatingPointError: also where a second derivative is infinite or undefined.
        Source: csrc/replay/tangent.c.
        """
        return self._hessian(Rows(arrays), wrt, sharers(None, workers))

    def _hessian(self, rows: Rows, wrt: str, by: Sharers) -> Floats:
        self._check(rows.structure)
        row_derivatives.require_one_output(self, "hessian")
        return row_derivatives.hessian(self, rows, wrt, by)

    def _lift(self, weighted: bool) -> Lifted:
        found = self._lifts.get(weighted)
        return found or self._lifts.setdefault(weighted, Lifted(self, weighted))

    def _total(self, rows: Rows, by: Sharers, mean: bool) -> Any:
        self._check(rows.structure)
        if mean and rows.count == 0:
            raise ValueError("mean: there are no rows")
        scale = 1.0 / rows.count if mean else 1.0
        children: tuple[Value, ...] = self._params
        if isinstance(by, Threads) and self._payoffs[_SUM].is_alone(rows.count):
            by = None
        if rows.values or by is not None:
            totals, derivatives = self._total_of_chunks(rows, by, scale)
            children = (*children, *(value for _, value in rows.values))
        else:
            with Borrowed(self) as ws:
                ws.aim(rows.columns, rows.count, self._plan(lib.PG_WRT_PARAMS), rows.index)
                self._sum(ws, scale)
                return self._results(ws.totals.tolist(), children, ws.gradients)
        return self._results(totals, children, derivatives)

    def _results(
        self,
        data: list[float],
        children: tuple[Value, ...],
        derivatives: Floats,
        of_one_row: bool = False,
    ) -> Any:
        """The outputs as Values, in the structure of the function's result."""
        values = tuple(core.result(x, children, d) for x, d in zip(data, derivatives))
        return self._put_together(values, of_one_row)

    def _put_together(self, values: Any, of_one_row: bool = False) -> Any:
        """Rebuild the function's result from its flat outputs; NotImplemented is passed on."""
        if values is NotImplemented:
            return values
        if self._outputs is structures.LEAF:
            return values[0]
        return structures.put_together(self._outputs, iter(values), of_one_row)

    def _total_of_chunks(self, rows: Rows, by: Sharers, scale: float) -> tuple[list[float], Floats]:
        wrt = lib.PG_WRT_PARAMS | (lib.PG_WRT_INPUTS if rows.values else 0)
        params = self._data()  # read once, for chunks and sums: another thread may set them
        done = row_derivatives.run(Work(self, params, rows, wrt, bool(rows.values), True), by)
        with Borrowed(self) as ws:
            ws.aim(rows.columns, rows.count, self._plan(wrt))
            ws.write_to(partials=done.partials)
            self._begin(ws, params)
            ws.task.scale = scale
            status = lib.pg_replay_finish(ws.handle, ws.task, ws.totals_at, ws.gradients_at)
            if status != lib.PG_OK:
                self._fail(status, ws)
            totals, derivatives = ws.totals.tolist(), ws.gradients.copy()
        if rows.values:
            wanted = done.gradients[:, :, [i for i, _ in rows.values]].sum(axis=0) * scale
            derivatives = np.ascontiguousarray(np.concatenate([derivatives, wanted], axis=1))
        return totals, derivatives

    @overload
    def jvp(
        self: Program[Flat],
        v: Column,
        *arrays: Column,
        wrt: WRT = "parameters",
        workers: int | None = None,
    ) -> tuple[Floats, Floats]: ...
    @overload
    def jvp(
        self, v: Column, *arrays: Column, wrt: WRT = "parameters", workers: int | None = None
    ) -> tuple[Stacked, Stacked]: ...
    def jvp(
        self, v: Any, *arrays: Any, wrt: str = "parameters", workers: int | None = None
    ) -> tuple[Any, Any]:
        """The outputs of each row, and their derivatives along a direction v.

            pygradc.compile(lambda x: x[0] * x[1]).jvp([1.0, 0.0], X, wrt="inputs")

        Args:
            v: with wrt="parameters" as many numbers as `parameters()`, in that order; with
                wrt="inputs" as many as inputs, those of all arguments in order, shape (inputs,) for
                all rows, or (rows, inputs).
            arrays, workers: as `map`.
            wrt: what v is a direction in.
        Returns:
            (outputs, tangents), each as `map` gives it.
        Raises:
            ValueError: v has another shape, or wrt is neither; and as `map`.
            FloatingPointError: also where a derivative is infinite or undefined.
        Source: csrc/replay/tangent.c.
        """
        by = None if workers is None else sharers(None, workers)
        pair = self._jvp_by_fast_path(v, arrays, wrt, by)
        return self._jvp(v, Rows(arrays), wrt, by) if pair is NotImplemented else pair

    def _jvp(self, v: Any, rows: Rows, wrt: str, by: Sharers) -> tuple[Any, Any]:
        self._check(rows.structure)
        return self._stack_both(*row_derivatives.along(self, v, rows, wrt, by))

    def _stack_both(self, outputs: Floats, tangents: Floats) -> tuple[Any, Any]:
        return structures.stack(self._outputs, outputs), structures.stack(self._outputs, tangents)

    def hvp(
        self,
        v: Column,
        *arrays: Column,
        wrt: WRT = "parameters",
        mean: bool = False,
        workers: int | None = None,
    ) -> Floats:
        """The Hessian times v: of the sum over the rows by the parameters, or row by row by inputs.

            loss.hvp(v, X, Y)                # shape (parameters,)
            loss.hvp(v, X, Y, wrt="inputs")  # shape (rows, inputs)

        Args:
            v, wrt: as `jvp`.
            arrays: as `map`.
            mean: by the parameters: take the mean over the rows instead of the sum.
            workers: as `map`, by the inputs. By the parameters the calling thread forms the sum,
                whose order isn't in chunks.
        Returns:
            Shape (parameters,), or with wrt="inputs" (rows, inputs); float64.
        Raises:
            ValueError: v has another shape, or the function returns more than one Value, or wrt is
                neither; mean=True with wrt="inputs"; and as `map`.
            FloatingPointError: also where a second derivative is infinite or undefined.
        Source: csrc/replay/tangent.c.
        """
        by = None if workers is None else sharers(None, workers)
        product = self._hvp_by_fast_path(v, arrays, wrt, mean, by)
        return self._hvp(v, Rows(arrays), wrt, mean, by) if product is NotImplemented else product

    def _hvp(self, v: Any, rows: Rows, wrt: str, mean: bool, by: Sharers) -> Floats:
        self._check(rows.structure)
        row_derivatives.require_one_output(self, "hvp")
        if row_derivatives.is_by_inputs(wrt):
            if mean:
                raise ValueError(
                    "hvp: mean= is an option of wrt='parameters': by the inputs each row has a "
                    "product of its own"
                )
            return row_derivatives.hessian_times(self, v, rows, by)
        if mean and rows.count == 0:
            raise ValueError("hvp: there are no rows")
        scale = 1.0 / rows.count if mean else 1.0
        return row_derivatives.hessian_of_sum_times(self, v, rows, scale)

    def _direction(self, v: Any) -> Floats:
        given = () if v is None else v
        direction = _floats(given, ("argument", "v"))
        if direction.ndim == 0:
            direction = np.atleast_1d(direction)
        count = len(self._params)
        if direction.shape != (count,):
            raise ValueError(
                f"v has shape {direction.shape}, expected ({count},): a number for each of the "
                f"{count} parameters, the captured Values of parameters(). To differentiate with "
                "respect to the arguments, write wrt='inputs'"
            )
        return direction

    # ---- the core's calls

    def _sum(self, ws: Workspace, scale: float) -> None:
        """Replay all rows, into ws.totals and ws.gradients."""
        core.read(self._params, ws.params)
        ws.task.scale = scale
        status = lib.pg_replay_sum(ws.handle, ws.params_at, ws.task, ws.totals_at, ws.gradients_at)
        if status != lib.PG_OK:
            self._fail(status, ws)

    def _run(self, rows: Rows, by: Sharers, wrt: int, gradients: bool, sums: bool) -> Results:
        """Replay all rows with the current data of the parameters."""
        return row_derivatives.run(Work(self, self._data(), rows, wrt, gradients, sums), by)

    def _data(self) -> Floats:
        """A snapshot of the parameters' data, shape (parameters,)."""
        params = np.empty(self._size.params)
        core.read(self._params, params)
        return params

    def _check(self, given: structures.Structure) -> None:
        """Require the recorded structure of arguments; lists and arrays of one shape are equal.

        Raises:
            ValueError: it is another one; names both.
        """
        if given == self._inputs:
            return
        if _normal(given) == self._normal and _names_agree(given, self._inputs):
            return
        wanted, got = map(structures.describe_all, (self._inputs, given))
        raise ValueError(f"recorded for {wanted}; called with {got}")

    # ---- introspection

    def parameters(self) -> list[Value]:
        """The captured Values: those of dots, dot by dot, then others, as the trace met them."""
        return list(self._params)

    def __len__(self) -> int:
        """The number of instructions."""
        return int(self._size.uniform_instrs + self._size.row_instrs)

    def __str__(self) -> str:
        """The code, one instruction per line."""
        labels = {
            f"p{i}": " ".join(str(p.label).split()) for i, p in enumerate(self._params) if p.label
        }
        return code.listing(self._handle, self._name, labels, repr(self))

    def to_c(self, name: str = "program") -> str:
        """A standalone C file with `name`_value and `name`_gradient, for one row.

        It compiles with `cc -std=c11 -Wall -Werror` and gives the bits of exact mode.
        Raises:
            ValueError: name is not a C identifier.
        """
        from pygradc.recorded import codegen  # takes 3 ms

        return codegen.translate(self, name)

    def view(
        self,
        *args: Any,
        output: int = 0,
        path: str | os.PathLike[str] | None = None,
        open: bool = False,
    ) -> View:
        """Show the program as a page: its instructions, and the numbers of one row step by step.

            >>> import pathlib, tempfile, pygradc
            >>> f = pygradc.compile(lambda x, y: x * y + 10)
            >>> _ = f(2.0, -3.0)
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "program.html"
            >>> f.programs[0].view(2.0, -3.0, path=path).nodes
            4

        Args:
            args: One row, as for a call. Without it the page has no numbers, unless the program
                has no arguments.
            output: The number of the output whose gradients are shown.
            path, open: As `Value.view`.
        Returns:
            The page: a notebook displays it; has `.html` and `.path`.
        Raises:
            IndexError: there is no such output.
            ValueError, TypeError, FloatingPointError: as a call with these arguments.
        """
        from pygradc.recorded import stepping
        from pygradc.viewing import page

        row = args if args or not self._size.inputs else None
        return page.show(stepping.describe(self, row, output), path, open)

    # ---- saving and copying

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program and its parameters' data to a file; `pygradc.load` reads it.

        The write is atomic: the file is written whole or not at all.

        Raises:
            OSError: the file can't be written; it is unchanged.
            ValueError: the result's structure can't be saved (dict keys that aren't strings).
        """
        atomic.write(path, program_file.to_bytes(self))

    def __reduce__(self) -> Any:
        try:
            return _from_bytes, (program_file.to_bytes(self),)
        except ValueError:  # structures that a file can't represent are pickled beside it
            content = program_file.to_bytes(self, structured=False)
            return _from_bytes, (content, self._inputs, self._outputs)

    def __copy__(self) -> Program:
        """The same code with the same parameters."""
        return Program(
            self._owner, self._params, self._inputs, self._outputs, self._errors, self._name
        )

    def __deepcopy__(self, memo: Any) -> Program:
        """The same code with parameters of its own."""
        make, arguments = self.__reduce__()
        return make(*arguments)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        size = self._size
        return (
            f"<Program {self._name}: {size.inputs} inputs, {size.params} parameters, "
            f"{size.outputs} outputs, {len(self)} instructions>"
        )

    def _repr_html_(self) -> str:
        """A table for notebooks: what it takes and has; the code, if it is short, at a click."""
        from pygradc.core import notebook

        shown = notebook.table(COLUMNS, [cells(self)], f"Program {self._name}")
        return shown + notebook.folded("code", str(self)) * (len(self) <= _MOST_SHOWN)


COLUMNS = ("recorded for", "inputs", "parameters", "outputs", "instructions", "runs as")


def cells(program: Program[Any]) -> list[str]:
    """A program as a row of a table with these columns."""
    size = program._size
    counts = (size.inputs, size.params, size.outputs, len(program))
    taken = structures.describe_all(program._inputs)
    return [taken, *map("{:,}".format, counts), "machine code" if program.native else "kernels"]


def _normal(structure: structures.Structure) -> Any:
    """Normal form: equal for structures that one array could fill, such as lists and arrays."""
    shape = structures.shape_of(structure)
    if shape is not None:
        return shape
    if isinstance(structure, structures.Static):
        return structure
    if isinstance(structure, structures.Mapping):
        return structure.keys, structure.kind, tuple(map(_normal, structure.items))
    assert isinstance(structure, structures.Sequence)
    return tuple(map(_normal, structure.items))


def _names_agree(one: structures.Structure, other: structures.Structure) -> bool:
    """Do namedtuples at the same place have the same fields? Lists and tuples go by position."""
    if not isinstance(one, structures.Sequence) or not isinstance(other, structures.Sequence):
        return True
    names = [getattr(x.kind, "_fields", None) for x in (one, other)]
    if None not in names and names[0] != names[1]:
        return False
    return all(map(_names_agree, one.items, other.items))


def _from_bytes(
    content: bytes,
    inputs: structures.Structure | None = None,
    outputs: structures.Structure | None = None,
) -> Program:
    """The program; `inputs` and `outputs` are given if the bytes lack the structures."""
    contents = program_file.from_bytes(content)
    params = tuple(map(Value, contents.data.tolist()))
    for i, label in contents.labels.items():
        params[i].label = label
    return Program(
        contents.owner,
        params,
        contents.inputs if inputs is None else inputs,
        contents.outputs if outputs is None else outputs,
        contents.errors,
        contents.name,
    )


def load(path: str | os.PathLike[str]) -> Program[Returned]:
    """Load a program that `Program.save` wrote; it has parameters of its own.

        >>> import os, pygradc, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "square.pgp")
        >>> square = pygradc.compile(lambda x: x * x)
        >>> square(3.0).data
        9.0
        >>> square.programs[0].save(path)
        >>> pygradc.load(path).map([1.0, 2.0]).tolist()
        [1.0, 4.0]

    Raises:
        OSError: the file can't be read.
        ValueError: it isn't a program, has another version, or is damaged, whatever the bytes.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        content = file.read()
    try:
        return _from_bytes(content)
    except program_file.Damaged as error:
        text = f"{os.fsdecode(name)}: {error}"
        if content.startswith(magic.ARCHIVE):
            text += "; pygradc.load_state reads arrays, such as weights, from .npz files"
        raise ValueError(text) from None
