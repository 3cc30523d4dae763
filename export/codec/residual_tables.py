"""NAME.residuals: the tables of a bundle's residuals, of a prediction alone and beside the autoencoder's reconstruction."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from ...compress.errors import FormatError
from ...compress.sample_spec import INTEGERS, Integer, SampleSpec
from .residuals import ResidualCoder, fit_residuals

MAGIC = b"TAEP"
VERSION = 1
_HEADER = struct.Struct("<4sBI")
_CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True)
class ResidualTables:
    """`prediction` codes samples without the autoencoder; `corrections`, what its reconstruction leaves."""

    prediction: ResidualCoder
    corrections: ResidualCoder

    def to_bytes(self) -> bytes:
        prediction = self.prediction.to_bytes()
        body = _HEADER.pack(MAGIC, VERSION, len(prediction)) + prediction + self.corrections.to_bytes()
        return body + _CHECKSUM.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, spec: SampleSpec, data: bytes, source: object) -> ResidualTables:
        """What `to_bytes` wrote; FormatError, which starts with `source`, for anything else, and for float data."""
        if len(data) < _HEADER.size + _CHECKSUM.size or data[: len(MAGIC)] != MAGIC:
            raise FormatError(f"{source}: not a file of residuals' tables")
        _, version, size = _HEADER.unpack_from(data)
        if version != VERSION:
            raise FormatError(f"{source}: residuals' tables of version {version}, this tiedae reads version {VERSION}")
        body, checksum = data[: -_CHECKSUM.size], _CHECKSUM.unpack(data[-_CHECKSUM.size :])[0]
        if zlib.crc32(body) != checksum:
            raise FormatError(f"{source}: damaged: the checksum is not that of its bytes")
        dtype: Integer | None = next((each for each in INTEGERS if each == spec.dtype), None)
        if dtype is None:
            raise FormatError(f"{source}: the data are {spec.dtype}, must be {', '.join(INTEGERS)}")
        parts = body[_HEADER.size :][:size], body[_HEADER.size + size :]
        return cls(*(ResidualCoder.from_bytes(spec.kind, spec.shape, dtype, part, source) for part in parts))


def fit_tables(spec: SampleSpec, samples: np.ndarray, y: np.ndarray, per_frame: int) -> ResidualTables:
    """Tables for samples like these training samples, and what they decode to, integers [n, inputs]; see `fit_residuals`."""
    prediction = fit_residuals(spec.kind, spec.shape, samples, per_frame)
    return ResidualTables(prediction, fit_residuals(spec.kind, spec.shape, samples, per_frame, y))
