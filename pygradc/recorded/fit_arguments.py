"""Checks of the arguments of `fit`, before anything is recorded; each error says what to write.

The names that errors suggest are from the signatures of `fit` and of the compiled function.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import numpy as np

from pygradc import optim
from pygradc._core import lib
from pygradc.recorded import structure as structures
from pygradc.recorded.compiled import Compiled
from pygradc.recorded.program import Program
from pygradc.recorded.rows import Rows
from pygradc.recorded.workspace import pointer
from pygradc.value import Value

_LOOKED_AT = 1 << 22  # doubles between two checks for Ctrl-C

# Keywords of other libraries' fit, and what to do here; other names are matched by similarity.
_ELSEWHERE = {
    "validation_split": "split the arrays, and pass validation_data=(X, Y)",
    "early_stopping": "callbacks=[pygradc.EarlyStopping(patience=10)]",
    "patience": "callbacks=[pygradc.EarlyStopping(patience=10)]",
    "clip": "set it on the optimizer: optim.SGD(parameters, lr=0.01, clip=ClipGradients(norm=1.0))",
    "scheduler": "schedule=pygradc.LRSchedule.cosine(0.1, steps=100)",
    "verbose": "progress=True shows a bar; callback=lambda epoch, loss: print(epoch, loss)",
    "lr": "set it on the optimizer: optim.SGD(parameters, lr=0.01)",
    "learning_rate": "set it on the optimizer: optim.SGD(parameters, lr=0.01)",
    "loss": "the compiled loss comes first: fit(loss, X, Y, optimizer)",
    "executor": "workers=2 shares each batch with a thread of pygradc's own",
    "max_iter": "use epochs=, the number of passes over the rows",
    "random_state": "use seed=, the seed of the order of rows",
}


def check_function(function: Any) -> None:
    """Require a compiled function or a program.

    Raises:
        TypeError: it is neither; says what to write.
    """
    if isinstance(function, (Compiled, Program)):
        return
    kind = kind_of(function)
    if callable(getattr(function, "parameters", None)) and callable(function):
        line = (
            "compile a loss of one row first: "
            "loss = pygradc.compile(lambda x, y: losses.mse(model(x), y)), then "
            "fit(loss, X, Y, optimizer)"
        )
        raise TypeError(f"fit: expected a compiled function, not a model ({kind}): {line}")
    if callable(function):
        name = getattr(function, "__name__", "f")
        called = "loss" if name == "<lambda>" else name
        raise TypeError(
            f"fit: expected a compiled function, not a plain one ({name}): write @pygradc.compile "
            f"above it, or {called} = pygradc.compile({'lambda ...' if called != name else name})"
        )
    raise TypeError(
        f"fit: expected a compiled function, not {kind}: fit(loss, X, Y, optimizer), where "
        "loss = pygradc.compile(function of one row)"
    )


def split(data: tuple[Any, ...], optimizer: Any) -> tuple[tuple[Any, ...], optim.Optimizer]:
    """Split the arguments into arrays and the optimizer, which comes last or by keyword.

    Raises:
        TypeError: there is no optimizer, or more than one, or it isn't the last.
    """
    places = [i for i, x in enumerate(data) if isinstance(x, optim.Optimizer)]
    if optimizer is None and places == [len(data) - 1]:
        return data[:-1], data[-1]
    if isinstance(optimizer, optim.Optimizer) and not places:
        return data, optimizer
    if places and (optimizer is not None or len(places) > 1):
        raise TypeError("fit: expected one optimizer, got two")
    behind = data[places[0] + 1 :] if places else ()
    if behind and all(isinstance(x, int) for x in behind):
        raise TypeError(
            "fit: pass options, after the optimizer, by keyword: "
            f"fit(loss, X, Y, optimizer, epochs={behind[0]})"
        )
    if places:
        raise TypeError(
            f"fit: expected the optimizer after the arrays, not before them (it is argument "
            f"{places[0]}): fit(loss, X, Y, optimizer)"
        )
    given = f", not {kind_of(optimizer)}" if optimizer is not None else ""
    raise TypeError(
        "fit: expected an optimizer after the arrays, such as "
        f"optim.SGD(model.parameters(), lr=0.01){given}"
    )


def kind_of(x: Any) -> str:
    return f"the class {x.__name__} itself" if isinstance(x, type) else type(x).__name__


# ---- keywords -----------------------------------------------------------------------------------


def check_keywords(own: Iterable[str], function: Any, static: dict[str, Any]) -> None:
    """Require that the function takes these keywords.

    Args:
        own: the keywords of fit itself.
    Raises:
        TypeError: one is unknown, or holds an array; suggests what was meant.
    """
    if not static:
        return
    takes = parameters(function)
    for name, value in static.items():
        if name not in takes:
            _unknown(name, value, [*own], takes)
        if _is_array(value):
            _by_position(name, value)


def parameters(function: Any) -> dict[str, Any]:
    """The parameters, in the sense of a signature, that the recorded function takes by keyword."""
    if isinstance(function, Program):
        return {}
    signature = _signature(function)
    if signature is None:
        return _Anything()
    if any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return _Anything(signature.parameters)
    return {n: p for n, p in signature.parameters.items() if p.kind in _BY_NAME}


class _Anything(dict):  # type: ignore[type-arg]
    """Contains any name."""

    def __contains__(self, name: object) -> bool:
        return True


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _signature(function: Compiled) -> inspect.Signature | None:
    try:
        return inspect.signature(function._function)
    except (TypeError, ValueError):  # a builtin without a signature
        return None


def _unknown(name: str, value: Any, own: list[str], takes: dict[str, Any]) -> NoReturn:
    """Raise for an unknown keyword, and suggest the one that was meant."""
    import difflib  # takes 1 ms, and only errors need it

    if name in _ELSEWHERE:
        hint = _ELSEWHERE[name]
    elif near := difflib.get_close_matches(name, [*own, *takes], 1, 0.6):
        hint = f"did you mean {near[0]}=?"
    elif _is_array(value):
        _by_position(name, value)
    else:
        what = f"and the function {', '.join(takes)}" if takes else "and the function none"
        hint = f"fit takes {', '.join(own)}, {what}"
    raise TypeError(f"fit: unknown keyword {name!r}: {hint}")


def _is_array(value: Any) -> bool:
    return isinstance(value, (list, Value)) or (hasattr(value, "__array__") and np.ndim(value) > 0)


def _by_position(name: str, value: Any) -> NoReturn:
    raise TypeError(
        f"fit: {name}= holds a {type(value).__name__}: keyword arguments are part of the "
        "recording; pass arrays by position, in the function's order: fit(loss, X, Y, optimizer)"
    )


def check_count(function: Compiled, arrays: int, static: dict[str, Any]) -> None:
    """Require that the function can be called with this number of arrays.

    Raises:
        TypeError: it can't; shows its signature.
    """
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(*[None] * arrays, **static)
    except TypeError as error:
        name = getattr(function._function, "__name__", "function")
        raise TypeError(
            f"fit: {name}{signature} can't take {arrays} array{'s' * (arrays != 1)}: {error}"
        ) from None


# ---- the program -------------------------------------------------------------------------------


def program_of(
    function: Any,
    data: tuple[Any, ...],
    rows: Rows,
    static: dict[str, Any],
    what: str = "the function",
) -> Program:
    """The program of one output for these rows; recorded, if they are the first of their kind.

    Raises:
        TypeError, ValueError: there is none; the function is called `what`.
    """
    if isinstance(function, Compiled):
        try:
            program = function._program(rows.structure, static)
        except TypeError:
            check_count(function, len(data), static)
            raise
    else:
        program = function
        program._check(rows.structure)
    if program._size.outputs != 1:
        raise ValueError(f"fit: {what} must return one Value, not {program._size.outputs}")
    if rows.values:
        raise TypeError("fit: a Value among the arrays can't be trained; capture it instead")
    return program


# ---- nan ----------------------------------------------------------------------------------------


def refuse_nan(rows: Rows, data: tuple[Any, ...], what: str = "the data") -> None:
    """Refuse nan in the data, which would make every parameter nan; infinities may be masks.

    Raises:
        ValueError: there is one; names argument, row and column.
    """
    for i, (array, stride, _) in enumerate(rows.columns):
        flat = array.reshape(-1)
        for first in range(0, array.size, _LOOKED_AT):
            part = flat[first : first + _LOOKED_AT]
            at = lib.pg_first_nan(pointer(part), part.size)
            if at < part.size:
                where = _place(i, array, stride, first + at, rows, data)
                raise ValueError(
                    f"fit: nan in {what}: {where} (counted from 0). Leave such rows out, or fill "
                    'them; a function compiled with errors="ignore" accepts them'
                )


def _place(column: int, array: Any, stride: int, at: int, rows: Rows, data: tuple[Any, ...]) -> str:
    argument, keys = list(_places(rows.structure))[column]
    where = f"argument {argument}" + "".join(keys)
    if not stride:
        return where
    row, *rest = (int(i) for i in np.unravel_index(at, array.shape))
    names = getattr(data[argument], "columns", None) if not keys else None
    if len(rest) == 1:
        named = f" ({names[rest[0]]!r})" if names is not None and len(names) > rest[0] else ""
        return f"{where}, row {row}, column {rest[0]}{named}"
    return f"{where}, row {row}" + (f", element {tuple(rest)}" if rest else "")


def _places(structure: Any) -> Iterator[tuple[int, tuple[str, ...]]]:
    """For each of `Rows.columns`, the argument's index and the path of keys inside it."""
    for i, item in enumerate(structure.items):
        for keys in _leaves(item, ()):
            yield i, keys


def _leaves(structure: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(structure, structures.Mapping):
        for key, item in zip(structure.keys, structure.items):
            yield from _leaves(item, (*keys, f"[{key!r}]"))
    elif isinstance(structure, structures.Sequence):  # a namedtuple: its fields
        names = getattr(structure.kind, "_fields", range(len(structure.items)))
        for name, item in zip(names, structure.items):
            yield from _leaves(item, (*keys, f".{name}"))
    elif not isinstance(structure, structures.Static):
        yield keys
