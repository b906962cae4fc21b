"""micrograd's Value with a native core.

from pygradc import Value
a, b = Value(2.0), Value(-3.0)
L = (a * b + 10) * -2.0
L.backward()
print(L, a.grad)        # Value(data=-8.0, grad=1.0) 6.0
"""

from pygradc.core import begin

begin.begin()

from pygradc import compat, functions, losses, models, nn, optim, plots
from pygradc.about import __version__ as __version__
from pygradc.about import info
from pygradc.core.arrays import data, grads, set_data
from pygradc.core.graphs import clear_grads, no_grad
from pygradc.core.refusals import TraceError
from pygradc.custom import op
from pygradc.derivatives import check_grad, grad, hessian, jacobian, value_and_grad
from pygradc.functions import *  # noqa: F403  made from the op table
from pygradc.minimizing import minimize
from pygradc.models import load_model, save_model
from pygradc.optim import ClipGradients
from pygradc.recorded.callbacks import EarlyStopping, Epoch
from pygradc.recorded.compiled import Compiled, compile
from pygradc.recorded.draws import RecordingWarning
from pygradc.recorded.fitting import fit
from pygradc.recorded.history import History
from pygradc.recorded.program import Program, load
from pygradc.recorded.tables import interp, searchsorted, take
from pygradc.recorded.tracing import (
    detach,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    where,
)
from pygradc.reductions import clip, logsumexp, norm, softmax
from pygradc.schedules import LRSchedule
from pygradc.states import load_state, save_state
from pygradc.value import Value, dot, live_nodes, sum
from pygradc.viz import draw_dot

begin.end()

__all__ = [
    "ClipGradients",
    "Compiled",
    "EarlyStopping",
    "Epoch",
    "History",
    "LRSchedule",
    "Program",
    "RecordingWarning",
    "TraceError",
    "Value",
    "check_grad",
    "clear_grads",
    "clip",
    "compat",
    "compile",
    "data",
    "detach",
    "dot",
    "draw_dot",
    "fit",
    "functions",
    "grad",
    "grads",
    "hessian",
    "info",
    "interp",
    "jacobian",
    "live_nodes",
    "load",
    "load_model",
    "load_state",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "losses",
    "maximum",
    "minimize",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "norm",
    "op",
    "optim",
    "plots",
    "save_model",
    "save_state",
    "searchsorted",
    "set_data",
    "softmax",
    "sum",
    "take",
    "value_and_grad",
    "where",
    # The ops as functions, except where `import *` would hide Python's own.
    *(name for name in functions.__all__ if name not in ("abs", "pow", "round")),
]
