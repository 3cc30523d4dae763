"""The operations of a program: one class per operation, a record with both interpreters.

A new operation is a subclass of `Operation` in a file of this folder, a row of `OPERATIONS`, and one of the `OperationTable` of
each format that shall hold it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .convolution import Convolution, MaxPool, Patches, Reshape, Unpatch, Upsample
from .dense import AddBias, Dense, Product
from .elementwise import Activate, Gain, Requantize, Rescale
from .interleave import Interleave
from .operation import Operation

_ROWS = (
    *(Dense, Product, AddBias, Rescale, Gain, Activate, Requantize, Interleave),
    *(Convolution, Reshape, Patches, Unpatch, MaxPool, Upsample),
)
OPERATIONS: Mapping[str, type[Operation]] = {operation.__name__: operation for operation in _ROWS}
"""Operations by name, as in the manifest."""

__all__ = [
    "OPERATIONS",
    "Activate",
    "AddBias",
    "Convolution",
    "Dense",
    "Gain",
    "Interleave",
    "MaxPool",
    "Operation",
    "Patches",
    "Product",
    "Requantize",
    "Rescale",
    "Reshape",
    "Unpatch",
    "Upsample",
]
