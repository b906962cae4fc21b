"""micrograd's modules, on pygradc: `import pygradc.compat.micrograd as micrograd`.

`engine` has `Value`; `nn` has `Module`, `Neuron`, `Layer`, `MLP`, with micrograd's arguments, ReLU,
zero biases and the linear last layer. This package exports all of them, too.
"""

from pygradc.compat.micrograd import engine, nn
from pygradc.compat.micrograd.engine import Value
from pygradc.compat.micrograd.nn import MLP, Layer, Module, Neuron

__all__ = ["MLP", "Layer", "Module", "Neuron", "Value", "engine", "nn"]
