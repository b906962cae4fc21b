"""Value: micrograd's class over the native graph.

The operators, `data`, `grad` and `backward` are number slots and attributes of the C type `Scalar`
(csrc/python); this class adds the rest. It must not override an operator: a Python method costs
ten times as much as a slot.
"""

from __future__ import annotations

import builtins
import gc
import inspect
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np

from pygradc.core import copying, errors
from pygradc.core.numbers import as_number
from pygradc.core.refusals import describe
from pygradc.core.scalar import Scalar, core

if TYPE_CHECKING:
    import os

    from pygradc.core.drawing import Digraph
    from pygradc.viewing.page import View

Number = Union[int, float, np.floating, np.integer]


class Value(Scalar):
    """A scalar that records the op and the operands that produced it.

        >>> from pygradc import Value
        >>> a, b = Value(2.0, label="a"), Value(-3.0)
        >>> y = a * b + a ** 2
        >>> y.backward()
        >>> y.data, y.grad, a.grad, b.grad, a.label
        (-2.0, 1.0, 1.0, 2.0, 'a')
        >>> a.data = 5.0                                     # may be set, as grad may
        >>> (a.maximum(b) - abs(a.minimum(b))).data, a.conjugate() is a
        (2.0, True)

    Args:
        data: A real number; kept as a float.
        _children: The operands, for a custom op.
        _op: The custom op's name, for drawings; or microgpt's local gradients, a tuple of
            d(self)/d(child), one for each child.
        label: A name for drawings.

    `children=` and `local_grads=` are microgpt's names for the second and third. None counts as not
    given; a string as the second argument is the label.

    Raises:
        TypeError: data, a child or a local gradient has the wrong type; an argument is given twice.
        ValueError: the numbers of local gradients and of children differ.
    Source: csrc/python/scalar_init.c.
    """

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a subclass that redefines `data` or `grad`: ops would bypass its definition."""
        super().__init_subclass__(**options)
        for base in cls.__mro__[: cls.__mro__.index(Value)]:
            for name in ("data", "grad"):
                if name in vars(base):
                    raise TypeError(
                        f"{base.__name__}.{name} can't replace Value.{name}: ops and backward() "
                        f"read and write the node's own number. Rename it, or make a class that "
                        f"holds a Value instead of deriving from it"
                    )

    def draw_dot(self, format: str = "svg", rankdir: str = "LR", **options: Any) -> Digraph:
        """Draw the graph below this node; see `pygradc.draw_dot`.

        >>> from pygradc import Value
        >>> graph = (Value(2.0, label="a") * 3).draw_dot(rankdir="TB")
        >>> type(graph).__name__
        'Digraph'
        """
        from pygradc.viz import draw_dot

        return draw_dot(self, format=format, rankdir=rankdir, **options)

    def view(
        self, path: str | os.PathLike[str] | None = None, *, title: str = "", open: bool = False
    ) -> View:
        """Show the graph below this node as a page to step through, forward and back.

            >>> import pathlib, tempfile
            >>> from pygradc import Value
            >>> folder = pathlib.Path(tempfile.mkdtemp())
            >>> a, b = Value(2.0, label="a"), Value(-3.0, label="b")
            >>> page = (a * b + 10).view(folder / "graph.html")  # needs nothing but a browser
            >>> page.nodes, page.path.name, "<html" in page.html
            (5, 'graph.html', True)

        Nothing is changed: the gradients on the page are what `backward()` computes from 0, and
        `.grad` stays what it is.

        Args:
            path: Where to write the page. By default a notebook shows it without a file; elsewhere
                a temporary file is written, and its name is shown.
            title: The page's; by default the label.
            open: Show the page in a browser.
        Returns:
            The page: a notebook displays it; has `.html` and `.path`.
        Raises:
            OSError: the file can't be written.
            TypeError: as TraceError, a function is being recorded.
            ValueError: there are more than 200,000 nodes.
            RuntimeError: a `_backward` closure changes the gradient of a node that isn't its
                operand: its steps can't be shown.
        Source: docs/viewing.md.
        """
        from pygradc.viewing import graphs, page  # takes 20 ms

        return page.show(graphs.describe(self, title), path, open)

    def conjugate(self) -> Value:
        """Return self: a Value is real. numpy's `var`, `std` and `linalg.norm` call it."""
        return self

    def __copy__(self) -> Value:
        """A new leaf with the same data, gradient, label and attributes, without the graph."""
        return copying.leaf_of(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Reduce the Value and the whole graph below it, for pickle and deepcopy."""
        own = type(self).__reduce__
        return copying.reduce(self) if own is object.__reduce__ else own(self)

    def __getstate__(self) -> Any:
        return copying.state_of(self)

    def __setstate__(self, state: Any) -> None:
        copying.set_state(self, state)

    def __repr__(self) -> str:
        if core.is_traced(self):
            core.may_show(self)
            return describe(self)
        return f"Value(data={self.data}, grad={self.grad})"

    def _repr_html_(self) -> str | None:
        """A table for notebooks: this node, and below it its operands."""
        from pygradc.core import notebook

        if core.is_traced(self) or not notebook.is_ours(self):
            return None  # then they show the text
        below = self._children
        name = f"Value {self.label}" if self.label else "Value"
        rows = [[str(v.label), str(v._op), str(v.data), str(v.grad)] for v in (self, *below)]
        rows[0][0] = str(self.label) or "this"
        for i, row in enumerate(rows[1:]):
            row[0] = row[0] or f"operand {i + 1}"
        return notebook.table(["", "op", "data", "grad"], rows, name, 10)

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        core.ask(self, "a format")
        return format(self.data, spec)


core.adopt(Value, as_number, errors.fail)
gc.callbacks.append(core.on_collection)


def sum(values: Iterable[Value | Number], start: Value | Number = 0) -> Value:
    """Add up Values in one call, node for node as Python's `sum` does.

        >>> import pygradc
        >>> pygradc.sum([pygradc.Value(1.0), pygradc.Value(2.0)], start=10.0).data
        13.0

    Numbers before the first Value are added as plain floats.

    Args:
        values: Values or numbers.
        start: The initial value of the sum.
    Returns:
        start + values[0] + values[1] + ...; a new leaf if all are numbers.
    Raises:
        TypeError: an item is neither a Value nor a real number.
    Source: csrc/graph/layers.c.
    """
    if not isinstance(values, (list, tuple)):
        values = tuple(values)
    result: Any = core.sum(values, start)
    if result is NotImplemented:  # + is patched, or overridden
        result = builtins.sum(values, start)
    return cast(Value, result)


def dot(
    ws: Iterable[Value | Number], xs: Iterable[Value | Number], bias: Value | Number = 0
) -> Value:
    """A weighted sum in one call, node for node as sum((w*x for w, x in zip(ws, xs)), bias).

        >>> import pygradc
        >>> ws = [pygradc.Value(2.0), pygradc.Value(3.0)]
        >>> pygradc.dot(ws, [10.0, 100.0], 1.0).data
        321.0

    Raises:
        ValueError: ws and xs differ in length.
        TypeError: an item is neither a Value nor a real number.
    Source: csrc/graph/layers.c.
    """
    ws, xs = tuple(ws), tuple(xs)
    if len(ws) != len(xs):
        raise ValueError(f"dot: {len(ws)} weights for {len(xs)} inputs")
    result: Any = core.layer([(ws, bias, 0)], xs)
    if result is NotImplemented:  # + or * is patched
        result = [builtins.sum((w * x for w, x in zip(ws, xs)), bias)]
    return cast(Value, result[0])


def live_nodes() -> int:
    """Count the live nodes: those that Python references, and all nodes below them.

        >>> import pygradc
        >>> before = pygradc.live_nodes()
        >>> y = pygradc.Value(2.0) * 3.0
        >>> pygradc.live_nodes() - before                    # y and its operands
        3
        >>> del y
        >>> pygradc.live_nodes() - before
        0

    The exponent of `a ** 2` is one of them, though `_children` doesn't show it.
    """
    return core.live_nodes()


class _Signature:
    """`inspect.signature(Value)` for Python 3.9, which finds no signature on a type made in C."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        if instance is not None or owner.__init__ is not Scalar.__init__:  # type: ignore[misc]
            # a subclass has the signature of its own __init__
            raise AttributeError("__signature__")
        either, named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        defaults = {"_children": (), "_op": "", "label": ""}
        return inspect.Signature(
            [
                inspect.Parameter("data", either),
                *(inspect.Parameter(name, either, default=x) for name, x in defaults.items()),
                inspect.Parameter("children", named, default=None),
                inspect.Parameter("local_grads", named, default=None),
            ]
        )


if sys.version_info < (3, 10):
    Value.__signature__ = _Signature()
