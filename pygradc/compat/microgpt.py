"""microgpt's engine: pygradc's Value, which takes microgpt's `(data, children, local_grads)`.

One thing differs. microgpt stores each derivative as a number when the op runs; pygradc's ops read
their operands' data when `backward()` runs, as micrograd's do. Both give the same gradients unless
data are assigned between the forward pass and `backward()`. A node made with `local_grads` stores
its derivatives as numbers in both.
"""

from pygradc.value import Value

__all__ = ["Value"]
