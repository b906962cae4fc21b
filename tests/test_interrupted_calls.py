"""Ctrl-C between any two instructions of the library: does it leave something held, or half done?

A signal's handler runs when a call is over, or a function begins. Here a trace function raises
there, at one such point after the other, and the exception is kept, with the frames that it came
through, as an interactive Python does. After each, all must work as before, in other threads too.
"""

from __future__ import annotations

import contextlib
import copy
import dis
import functools
import os
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, nn, optim

HERE = os.path.dirname(pygradc.__file__)
ROWS = np.array([1.0, 2.0, 3.0])
MANY = np.linspace(0.0, 1.0, 5000)
FULL = bool(os.environ.get("PYGRADC_FULL"))

pytestmark = [
    pytest.mark.skipif(sys.gettrace() is not None, reason="something else traces"),
    pytest.mark.once,
]


@functools.cache
def handlers_run_at(code: CodeType) -> frozenset[int]:
    """The offsets of instructions before which a handler may: the first, and those behind calls."""
    found, behind_call = {0}, False
    for instruction in dis.get_instructions(code):
        if behind_call:
            found.add(instruction.offset)
        behind_call = instruction.opname.startswith("CALL")
    return frozenset(found)


class Interruption:
    """A KeyboardInterrupt at the n-th point of a call."""

    def __init__(self, point: int) -> None:
        self.point, self.seen = point, 0

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith((HERE, contextlib.__file__)):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in handlers_run_at(frame.f_code):
            self.seen += 1
            if self.seen == self.point:
                raise KeyboardInterrupt
        return self._trace

    def of(self, call: Callable[[], Any]) -> KeyboardInterrupt | None:
        sys.settrace(self._trace)
        try:
            call()
        except KeyboardInterrupt as error:
            return error
        finally:
            sys.settrace(None)
        return None


class Model(nn.Module):
    def __init__(self) -> None:
        self.layers = nn.MLP(1, [2, 1])
        self.more = [Value(1.0)]

    def __call__(self, x: Any) -> Value:
        return self.layers([x]) * self.more[0]  # type: ignore[no-any-return]


MODEL = Model()
OPTIMIZER = optim.SGD(MODEL.parameters(), lr=0.0)


def loss() -> Any:
    return pygradc.compile(lambda x: (MODEL(x) - 1.0) ** 2)


def another_op() -> Any:
    return pygradc.op(lambda a: a * a, derivatives=lambda a, y: 2.0 * a)(Value(3.0))


def takes_floats_too(x: Any) -> Any:
    try:
        return float(x)
    except TypeError:
        return x * 3.0


CALLS: dict[str, Callable[[], Any]] = {
    "record": lambda: pygradc.compile(lambda x: x * 3.0)(1.0),
    "mean": lambda: loss().mean(ROWS).backward(),
    "workers": lambda: [f := loss(), f.mean(MANY, workers=3).backward(), f.map(MANY, workers=3)],
    "fit": lambda: pygradc.fit(loss(), ROWS, OPTIMIZER, epochs=2, batch_size=2),
    "fit by workers": lambda: pygradc.fit(loss(), ROWS, OPTIMIZER, batch_size=2, workers=2),
    "op": another_op,
    "parameters": lambda: MODEL.parameters(),
    "state_dict": lambda: MODEL.state_dict(),
    "load_state_dict": lambda: MODEL.load_state_dict(MODEL.state_dict()),
    "deepcopy": lambda: copy.deepcopy(MODEL),
}


def in_another_thread(call: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(60.0)
    return found


def check(numbers: list[float]) -> None:
    assert in_another_thread(lambda: pygradc.compile(lambda x: x * 2.0)(1.5).data) == [3.0]
    assert pygradc.compile(lambda x: x * 2.0)(1.5).data == 3.0
    parameters = MODEL.parameters()
    assert [p.data for p in parameters] == numbers
    assert sum(array.size for array in MODEL.state_dict().values()) == len(numbers)
    v = Value(2.0)
    (v * v).backward()
    assert v.grad == 4.0
    assert another_op().data == 9.0
    assert pygradc.compile(takes_floats_too)(2.0).data == 6.0
    assert len(pygradc.fit(loss(), ROWS, OPTIMIZER)) == 1
    assert pygradc.compile(lambda x: x * 2.0).map(MANY, workers=3).tolist() == (2.0 * MANY).tolist()


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_at_any_point_leaves_all_as_it_was(name: str) -> None:
    call, numbers = CALLS[name], [p.data for p in MODEL.parameters()]
    everywhere = Interruption(0)
    assert everywhere.of(call) is None and everywhere.seen > 30
    step = 1 if FULL else max(1, everywhere.seen // 100)
    kept: list[KeyboardInterrupt] = []
    for point in range(1, everywhere.seen + 1, step):
        interrupted = Interruption(point).of(call)
        if interrupted is not None:
            kept = [*kept[-20:], interrupted]
        check(numbers)
    assert kept
