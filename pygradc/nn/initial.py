"""Initial weights: uniform between -limit and limit, which depends on a layer's inputs and outputs.

    "uniform"  1                        biases, too: the lessons' network
    "xavier"   sqrt(6 / (nin + nout))   biases 0: Glorot & Bengio (2010), eq. 16
    "he"       sqrt(6 / nin)            biases 0: He et al. (2015), eq. 10, variance 2 / nin

The variance of a uniform number is limit**2 / 3. Numbers come from Python's `random`, or from a
generator of its own.
"""

from __future__ import annotations

import math
import operator
import random
from typing import Any, Literal, NamedTuple, Union

Init = Literal["uniform", "xavier", "he"]
Seed = Union[int, random.Random, None]

_LIMITS = {
    "uniform": lambda nin, nout: 1.0,
    "xavier": lambda nin, nout: math.sqrt(6.0 / (nin + nout)),
    "he": lambda nin, nout: math.sqrt(6.0 / max(nin, 1)),
}


class Draw(NamedTuple):
    """Draws the weights and biases of one layer."""

    generator: Any  # `random` or a random.Random
    limit: float
    bias_limit: float

    def weight(self) -> float:
        return self.generator.uniform(-self.limit, self.limit)  # type: ignore[no-any-return]

    def bias(self) -> float:
        """In the same order with any limit: nothing is drawn for biases that start at 0."""
        limit = self.bias_limit
        return self.generator.uniform(-limit, limit) if limit else 0.0


LESSONS = Draw(random, 1.0, 1.0)


def draw(what: str, nin: int, nout: int, seed: Any, init: Any) -> Draw:
    """How to draw the weights of a layer.

    Args:
        what: The class, for messages.
        seed: A whole number; a random.Random, which is used as it is; or None for `random`.
    Raises:
        ValueError: unknown init.
        TypeError: seed is none of these.
    """
    limit = _LIMITS.get(init) if isinstance(init, str) else None
    if limit is None:
        raise ValueError(f"{what}: init must be one of {list(_LIMITS)}, not {init!r}")
    return Draw(generator(what, seed), limit(nin, nout), float(init == "uniform"))


def generator(what: str, seed: Any) -> Any:
    """`random`, or the generator that the seed means.

    Raises:
        TypeError: the seed is neither None, nor a whole number, nor a random.Random.
        ValueError: it is negative.
    """
    if seed is None:
        return random
    if isinstance(seed, random.Random) or seed is random:
        return seed
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(
            f"{what}: seed must be a whole number, a random.Random or None, not {seed!r}"
        ) from None
    if number < 0:  # random.Random takes -1 for 1
        raise ValueError(f"{what}: seed must be at least 0, not {number}")
    return random.Random(number)
