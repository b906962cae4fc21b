"""Types of arguments and results, for type checkers: nothing here runs.

A compiled function keeps its signature: `Compiled[P, R]` takes P, and R is what it returns. A layer
is generic in what a call returns, `Out`: one Value for one output, else a list; which of them, the
number of outputs decides, and so a checker knows only where it sees that number, or is told:

    model: nn.MLP[Value] = nn.MLP(2, [16, 1])

Type variables have defaults (PEP 696): `Compiled` is `Compiled[..., Value]`, `nn.MLP` is
`nn.MLP[Value | list[Value]]`. Checkers know `typing_extensions` without installing it. When the
program runs, `nn.MLP[Value]` is `nn.MLP` itself.
Source: PEP 612, PEP 646, PEP 696.
"""

from __future__ import annotations

import typing
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Union

import numpy as np
import numpy.typing as npt

from pygradc.value import Number, Value

Floats = npt.NDArray[np.float64]
Input = Union[Value, Number]

if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import Protocol

    from typing_extensions import ParamSpec, TypeVar

    P = ParamSpec("P", default=...)
    R = TypeVar("R", default=Value, covariant=True)
    Out = TypeVar("Out", default=Union[Value, list[Value]], covariant=True)

    Q = ParamSpec("Q")
    S = TypeVar("S")

    class Array(Protocol):
        """An array of numpy, or one of another library that numpy reads."""

        def __array__(self) -> npt.NDArray[Any]: ...

    class DLPack(Protocol):
        """An array that numpy reads through `__dlpack__`."""

        def __dlpack__(self) -> object: ...
        def __dlpack_device__(self) -> tuple[int, int]: ...

    WRT = Literal["inputs", "parameters"]
    Math = Literal["exact", "fast"]
    Errors = Literal["raise", "ignore"]

    Row = Union[Array, DLPack, Input, Sequence[Union[Input, Array]]]
    """One row of numbers and Values, in order."""

    Column = Union[
        Array, DLPack, Input, str, bytes, None, Sequence["Column"], Mapping[Any, "Column"]
    ]
    """An argument of many rows: an array, a dict or tuple of these, or what all rows share."""

    Flat = Union[Value, list[Value], list[list[Value]], npt.NDArray[np.object_]]
    """What a function returns for one row, where one array holds the results of many."""

    Stacked = Union[
        Floats, list["Stacked"], tuple["Stacked", ...], dict[Hashable, "Stacked"], str, bool, None
    ]
    """The results of many rows: arrays, in the structure of one row's."""

    Returned = Union[
        Value, list["Returned"], tuple["Returned", ...], dict[Hashable, "Returned"],
        npt.NDArray[np.object_], str, bool, None,
    ]  # fmt: skip
    """What any recorded function may return."""
else:
    P, Q = (getattr(typing, "ParamSpec", typing.TypeVar)(name) for name in "PQ")
    R, Out, S = map(typing.TypeVar, ("R", "Out", "S"))

    class Generic:
        """`typing.Generic` takes no ParamSpec in Python 3.9, and leaves traces on instances."""

        __slots__ = ()

        def __class_getitem__(cls, types: object) -> type:
            return cls
