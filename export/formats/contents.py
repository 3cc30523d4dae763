"""What a model file holds, whatever its format: the shape that inspection, the storage proof and the report read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

UNSIGNED = 128
"""The zero point of uint8 values that are int8 ones, so much more."""


def printable(name: str) -> str:
    """A name of a foreign file for one line of text: control characters are escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)


@dataclass(frozen=True, eq=False)
class Constant:
    """One use of stored data: several constants may be views of one `storage`.

    `values` is the array as stored, in the orientation of the file (read-only; may be a memory map). `storage` identifies the
    bytes: equal for two views of one buffer. `scales` and `zero_points` are empty where the constant is not quantized
    (int8 values of a TFLite file have zero points in −128…127), `axis` is the quantized dimension of per-channel scales.
    `stored` is the number of bytes in the file where `values` are unpacked ones, such as 4-bit integers.
    """

    name: str
    values: np.ndarray = field(repr=False)
    storage: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    stored: int | None = None

    @property
    def integers(self) -> np.ndarray:
        """`values`, 4-bit integers and uint8 of zero point `UNSIGNED` as int8."""
        if self.values.dtype == np.uint8 and set(self.zero_points) == {UNSIGNED}:
            return (self.values ^ np.uint8(UNSIGNED)).view(np.int8)
        return self.values.astype(np.int8) if self.values.dtype == ml_dtypes.int4 else self.values

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.values.nbytes if self.stored is None else self.stored


@dataclass(frozen=True)
class Port:
    """An input or output of a signature. A dimension of None is free (the batch)."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Signature:
    """One entry point: its ports and how often each kind of operation occurs in it, nested graphs included."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Contents:
    """A parsed model file.

    `size` counts the bytes of the file and of its external data. `details` are facts of the format worth showing, such as the
    opset or the minimum runtime version.
    """

    format: str
    size: int
    constants: tuple[Constant, ...]
    signatures: tuple[Signature, ...]
    details: Mapping[str, str] = field(default_factory=dict)
