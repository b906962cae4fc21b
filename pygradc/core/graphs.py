"""Operations on whole graphs: not recording one (`no_grad`), and clearing its gradients.

Whether ops build a graph is a per-thread flag, kept in C, where the operators read it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pygradc.core.scalar import Scalar, core

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
        f"no_grad: {name} runs in steps, after a block around its call has ended; inside it, write "
        "`with no_grad():` around the computation between two yields or awaits: a block around "
        "one of these would stay active in the code that runs meanwhile"
    )


class no_grad:
    """A block, or a function, in which ops build no graph.

        >>> import pygradc
        >>> x = pygradc.Value(3.0)
        >>> with pygradc.no_grad():
        ...     y = x * x                                    # a leaf
        >>> @pygradc.no_grad                                 # or @pygradc.no_grad()
        ... def square(x):
        ...     return x * x
        >>> y._children, square(x)._children
        ((), ())

    Each result is a leaf; children and `_backward` closures passed to a new Value are dropped.
    Existing graphs are unchanged, and `backward()` works. Blocks nest. The state is per thread: a
    generator that yields inside a block, or a coroutine that awaits inside one, leaves the thread
    in the block while other code runs, so write the block around the computation between two yields
    or awaits. In a recorded function such a value is recomputed at each replay and passes no
    gradient, like the result of `detach`.

    Raises:
        TypeError: it decorates a generator function, a coroutine function or an asynchronous
            generator function, or a function that returns an object which one of these makes: the
            body would run outside of the block.
    """

    __slots__ = ()

    @overload
    def __new__(cls) -> no_grad: ...

    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]

    def __new__(cls, function: Any = None) -> Any:
        block = super().__new__(cls)
        return block if function is None else block(function)

    if TYPE_CHECKING:  # implemented in C, so that Ctrl-C can't leave a thread in an ended block

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
                    result.close()  # or Python warns that the coroutine was never awaited
                raise _steps(function)
            return result

        return without_graph  # type: ignore[return-value]


core.adopt_no_grad(no_grad)


def clear_grads(root: Scalar) -> None:
    """Set the gradient of root and of every node below it to 0.

        >>> import pygradc
        >>> a = pygradc.Value(3.0)
        >>> y = a * a
        >>> y.backward()
        >>> pygradc.clear_grads(y)
        >>> y.grad, a.grad
        (0.0, 0.0)

    Raises:
        TypeError: root isn't a Value.
    """
    if not isinstance(root, Scalar):
        raise TypeError(f"clear_grads: expected a Value, not {type(root).__name__}")
    core.clear_grads(root)
