"""micrograd's Value with a native core.

from pygradc import Value
a, b = Value(2.0), Value(-3.0)
L = (a * b + 10) * -2.0
L.backward()
print(L, a.grad)        # Value(data=-8.0, grad=1.0) 6.0
"""

from pygradc import _begin

_begin.begin()

from pygradc import compat, losses, nn, optim
from pygradc._draws import RecordingWarning
from pygradc.arrays import data, grads, set_data
from pygradc.compiled import Compiled, compile
from pygradc.custom import op
from pygradc.fitting import fit
from pygradc.graphs import clear_grads, no_grad
from pygradc.program import Program, load
from pygradc.states import load_state, save_state
from pygradc.tracing import (
    TraceError,
    detach,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    where,
)
from pygradc.value import Value, dot, live_nodes, sum
from pygradc.viz import draw_dot

_begin.end()

__version__ = "0.1.0"

__all__ = [
    "Compiled",
    "Program",
    "RecordingWarning",
    "TraceError",
    "Value",
    "clear_grads",
    "compat",
    "compile",
    "data",
    "detach",
    "dot",
    "draw_dot",
    "fit",
    "grads",
    "live_nodes",
    "load",
    "load_state",
    "logical_and",
    "logical_not",
    "logical_or",
    "losses",
    "maximum",
    "minimum",
    "nn",
    "no_grad",
    "op",
    "optim",
    "save_state",
    "set_data",
    "sum",
    "where",
]
