"""One op by itself, by its number in the op table: its value and its derivatives.

The computation is the core's own, on a graph that no Value lives on; so hidden ops are reached,
too, and the number of an op and its operands suffice. An object is used by one thread at a time.
Source: csrc/graph/graph.c, csrc/graph/sweep.c.
"""

from __future__ import annotations

from pygradc._core import ffi, lib
from pygradc.core import errors
from pygradc.core.ops import Op


class Single:
    """Evaluates ops; owns the graph that it does so on."""

    def __init__(self) -> None:
        # Ctrl-C between the two calls would leak a graph without nodes: a few hundred bytes.
        self._graph = ffi.gc(lib.pg_graph_new(), lib.pg_graph_free)
        if self._graph == ffi.NULL:
            raise MemoryError
        self._id = ffi.new("pg_node_id *")
        self._slopes = ffi.new("double[2]")
        self._kept: dict[int, tuple[int, int, int]] = {}  # for each binary op a node to reuse

    def value(self, op: Op, a: float, b: float = 0.0) -> float:
        """op(a, b), with an error where Python's floats would raise one."""
        made = self._apply(op, a, b)
        y = float(lib.pg_node_data(self._graph, made[0]))
        self._release(made)
        return y

    def slopes(self, op: Op, a: float, b: float, y: float) -> tuple[float, ...]:
        """The derivatives of y = op(a, b) by its operands, without a look at poles.

        Infinite or undefined where the formula is; `backward()` may raise an error there.
        """
        at, left, right = self._node_for(op, b)
        lib.pg_node_set_data(self._graph, left, a)
        if op.arity == 2:
            lib.pg_node_set_data(self._graph, right, b)
        lib.pg_node_set_data(self._graph, at, y)
        lib.pg_node_slopes(self._graph, self._slopes, at)
        found = tuple(self._slopes[0 : op.arity])
        if op.takes_number:
            self._release((at, left, right))
        return found

    def _node_for(self, op: Op, b: float) -> tuple[int, int, int]:
        """A node of this op at operands inside of its domain; one with a number isn't kept."""
        inside = [0.25 * lo + 0.75 * hi for lo, hi in op.intervals]
        if op.takes_number:
            return self._apply(op, inside[0], b)
        if op.number not in self._kept:
            self._kept[op.number] = self._apply(op, inside[0], inside[-1])
        return self._kept[op.number]

    def _apply(self, op: Op, a: float, b: float) -> tuple[int, int, int]:
        """A new node and its operands, which it doesn't own alone: `_release` drops all three."""
        left = self._leaf(a)
        right = self._leaf(b) if op.arity == 2 else 0
        if op.arity == 2:
            status = lib.pg_graph_binary(self._graph, self._id, op.number, left, right)
        elif op.takes_number:
            status = lib.pg_graph_number(self._graph, self._id, op.number, left, b)
        else:
            status = lib.pg_graph_unary(self._graph, self._id, op.number, left)
        if status != lib.PG_OK:
            self._release((0, left, right))
            self._fail(status)
        return self._id[0], left, right

    def _leaf(self, data: float) -> int:
        status = lib.pg_graph_leaf(self._graph, self._id, data)
        if status != lib.PG_OK:
            self._fail(status)
        return int(self._id[0])

    def _release(self, ids: tuple[int, int, int]) -> None:
        for each in ids:
            if each:
                lib.pg_graph_release(self._graph, each)

    def _fail(self, status: int) -> None:
        if status == lib.PG_ERR_NOMEM:
            raise MemoryError
        fault = lib.pg_graph_fault(self._graph)
        errors.fail(status, fault.op, fault.derivative, fault.a, fault.b)
