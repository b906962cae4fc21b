"""A call that fails leaves nothing behind: no frame that its traceback names may hold the error, or
the Values there live until the next garbage collection.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, nn, optim

LOG = pygradc.compile(lambda x: x.log())
W = Value(1.0)
SQUARE = pygradc.compile(lambda x: (W * x) ** 2)


def layer_of_zeros() -> nn.Layer:
    layer = nn.Layer(2, 1, activation="log")
    for p in layer.parameters():
        p.data = 0.0
    return layer


def fit(x: float) -> Any:
    return pygradc.fit(SQUARE, np.array([x]), optim.SGD([W], lr=0.1), epochs=1)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (ValueError, lambda: layer_of_zeros()([1.0, 1.0])),
        (ValueError, lambda: layer_of_zeros().neurons[0]([1.0, 1.0])),
        (TypeError, lambda: nn.MLP(2, [1])(np.ones((3, 2)))),
        (FloatingPointError, lambda: LOG.map(np.array([0.0]))),
        (FloatingPointError, lambda: LOG.gradients(np.array([0.0]))),
        (FloatingPointError, lambda: fit(1e200)),
        (ValueError, lambda: fit(np.nan)),
    ],
)
def test_an_error_is_in_no_cycle(kind: type[Exception], call: Callable[[], Any]) -> None:
    def objects_after_a_call() -> int:
        with pytest.raises(kind) as info:
            call()
        del info
        return len(gc.get_objects())

    objects_after_a_call()
    gc.collect()
    gc.disable()
    try:
        count, living = objects_after_a_call(), pygradc.live_nodes()
        for _ in range(5):
            last = objects_after_a_call()
        assert pygradc.live_nodes() == living
        assert last - count < 5
    finally:
        gc.enable()
