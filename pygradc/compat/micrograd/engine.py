"""micrograd's engine: pygradc's Value, which takes micrograd's `(data, _children, _op)`."""

from pygradc.value import Value

__all__ = ["Value"]
