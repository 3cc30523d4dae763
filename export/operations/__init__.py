"""The operations of a program: one class per operation, with its record, both interpreters and both writers.

A new operation is a subclass of `Operation` in a file of this folder, and a row of `OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from .dense import AddBias, Dense, Product
from .elementwise import Activate, Requantize, Rescale
from .interleave import Interleave
from .operation import Operation

OPERATIONS: Mapping[str, type[Operation]] = {
    operation.__name__: operation for operation in (Dense, Product, AddBias, Rescale, Activate, Requantize, Interleave)
}
"""Operations by name, as in the manifest."""

__all__ = ["OPERATIONS", "Activate", "AddBias", "Dense", "Interleave", "Operation", "Product", "Requantize", "Rescale"]
