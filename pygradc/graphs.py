"""What concerns a whole graph: making none, and clearing the gradients of one.

A block without a graph is a state of its thread, kept in C, where the operators look at it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pygradc._scalar import Scalar
from pygradc.value import Value

F = TypeVar("F", bound=Callable[..., Any])


_STEPS = (GeneratorType, CoroutineType, AsyncGeneratorType)


def _runs_in_steps(function: Any) -> bool:
    return (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    )


def _steps(function: Any) -> TypeError:
    name = getattr(function, "__name__", None) or type(function).__name__
    return TypeError(
        f"no_grad: {name} runs in steps, outside of a block around its call; inside it, write "
        "`with no_grad():` around what computes between two yields or awaits, not around one of "
        "these: the block would go on in the code that runs meanwhile"
    )


class no_grad:
    """A block, or a function, in which ops make values without a graph.

        with pygradc.no_grad():
            y = model(x)            # a leaf: y._children == ()

        @pygradc.no_grad            # or @pygradc.no_grad()
        def predict(x): ...

    What is made in it is a leaf that holds the result; children and `_backward` closures that are
    given to a new Value are dropped. Existing graphs stay as they are, and `backward()` works.
    Blocks nest. Each thread has a state of its own. A generator that yields in a block, or a
    coroutine that waits in one, leaves its thread in it, and so the code that runs meanwhile: write
    the block around what computes between two yields or awaits. In a recorded function such a value
    is computed anew at each replay and passes no gradient on, as one of `detach`.

    Raises:
        TypeError: decorates a generator function, a coroutine function or an asynchronous
            generator, or a function that returns what one of these makes: its body runs elsewhere.
    """

    __slots__ = ()

    @overload
    def __new__(cls) -> no_grad: ...

    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]

    def __new__(cls, function: Any = None) -> Any:
        block = super().__new__(cls)
        return block if function is None else block(function)

    if TYPE_CHECKING:  # of C, so that Ctrl-C can't leave a thread in a block that has ended

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    def __call__(self, function: F) -> F:
        if not callable(function):
            raise TypeError(
                f"no_grad takes a function to decorate, not {type(function).__name__}; as a block "
                "it is `with no_grad():`"
            )
        if _runs_in_steps(function) or _runs_in_steps(getattr(function, "__call__", None)):  # noqa: B004
            raise _steps(function)

        @functools.wraps(function)
        def without_graph(*args: Any, **kwargs: Any) -> Any:
            with self:
                result = function(*args, **kwargs)
            if isinstance(result, _STEPS):
                if not isinstance(result, AsyncGeneratorType):
                    result.close()  # or Python warns of a coroutine that nobody waited for
                raise _steps(function)
            return result

        return without_graph  # type: ignore[return-value]


Scalar._adopt_no_grad(no_grad)


def clear_grads(root: Value) -> None:
    """Set the gradient of root and of every node below it to 0.

    Raises:
        TypeError: root isn't a Value.
    """
    if not isinstance(root, Value):
        raise TypeError(f"clear_grads: expected a Value, not {type(root).__name__}")
    Scalar._clear_grads(root)


__all__ = ["clear_grads", "no_grad"]
