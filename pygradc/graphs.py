"""What concerns a whole graph: making none, and clearing the gradients of one.

A block without a graph is a state of its thread, kept in C, where the operators look at it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pygradc._scalar import Scalar
from pygradc.value import Value

F = TypeVar("F", bound=Callable[..., Any])


class no_grad:
    """A block, or a function, in which ops make values without a graph.

        with pygradc.no_grad():
            y = model(x)            # a leaf: y._children == ()

        @pygradc.no_grad()
        def predict(x): ...

    What is made in it is a leaf that holds the result; children and `_backward` closures that are
    given to a new Value are dropped. Existing graphs stay as they are, and `backward()` works.
    Blocks nest. Each thread has a state of its own; a coroutine that waits in a block shares it
    with the thread's other coroutines. In a recorded function such a value is computed anew at
    each replay and passes no gradient on, as one of `detach`.

    Raises:
        TypeError: decorates a generator or a coroutine function, whose body runs elsewhere.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # of C, so that Ctrl-C can't leave a thread in a block that has ended

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError(
                f"no_grad: {function.__name__} runs in steps; write `with no_grad():` inside it"
            )

        @functools.wraps(function)
        def without_graph(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

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
