"""The operations of a program. One row per operation holds its record, both interpreters and both writers.

A new operation is a file with a subclass of `Operation`, and its name in `OPERATIONS`.
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
"""By the name that the manifest has."""

__all__ = ["OPERATIONS", "Activate", "AddBias", "Dense", "Interleave", "Operation", "Product", "Requantize", "Rescale"]
