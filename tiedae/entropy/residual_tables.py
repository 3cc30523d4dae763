"""NAME.residuals: the tables of a bundle's residuals, of a prediction alone and beside the autoencoder's reconstruction."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from tiedae.base.errors import FormatError, InputError
from tiedae.config.sample_spec import INTEGERS, Integer, SampleSpec, channels_of

from .grid import LARGEST
from .residuals import ContextTables, ResidualCoder, fit_residuals
from .tables import opened, signed

MAGIC = b"TAEP"
VERSION = 2
TRAINING_STEPS = (1 / 128, 1 / 32, 1 / 8, 1 / 2)
"""Steps that float samples' tables are fitted to, in parts of the root mean squared error of the reconstruction."""
_HEADER = struct.Struct("<4sBI")


@dataclass(frozen=True)
class ResidualTables:
    """`prediction` codes samples without the autoencoder; `corrections`, what its reconstruction leaves."""

    prediction: ResidualCoder
    corrections: ResidualCoder

    def to_bytes(self) -> bytes:
        prediction = self.prediction.part.to_bytes()
        return signed(_HEADER.pack(MAGIC, VERSION, len(prediction)) + prediction + self.corrections.part.to_bytes())

    @classmethod
    def from_bytes(cls, spec: SampleSpec, data: bytes, source: object) -> ResidualTables:
        """What `to_bytes` wrote; FormatError, which starts with `source`, for anything else."""
        body, size = opened(data, _HEADER, MAGIC, VERSION, "residuals' tables", source)
        parts = body[_HEADER.size :][:size], body[_HEADER.size + size :]
        tables = [ContextTables.from_bytes(part, source, channels_of(spec.kind, spec.shape)) for part in parts]
        try:
            return cls(*(ResidualCoder(spec.kind, spec.shape, coded_dtype(spec.dtype), each) for each in tables))
        except InputError as error:
            raise FormatError(f"{source}: damaged: {error}") from None


def coded_dtype(dtype: str) -> Integer:
    """The dtype of the integers that samples of a dtype are coded as: their own, or int16 for the steps of floats."""
    own: Integer | None = next((each for each in INTEGERS if each == dtype), None)
    return own or "int16"


def fit_tables(spec: SampleSpec, samples: np.ndarray, y: np.ndarray, per_frame: int) -> ResidualTables:
    """Tables for samples like these training samples, and what they decode to, [n, inputs]; see `fit_residuals`.

    Integers: `y` in the samples' dtype. Floats: `y` in float64; they are coded in steps of some sizes, all together.
    """
    if spec.dtype in INTEGERS:
        prediction = fit_residuals(spec.kind, spec.shape, samples, per_frame)
        return ResidualTables(prediction, fit_residuals(spec.kind, spec.shape, samples, per_frame, y))
    whole = samples[: max(1, len(samples) // per_frame) * per_frame].astype(np.float64)
    error = float(np.sqrt(np.mean(np.square(whole - y[: len(whole)])))) or 1.0
    steps = (_steps(whole - base, error) for base in (bases(spec), y[: len(whole)]))
    return ResidualTables(
        *(fit_residuals(spec.kind, spec.shape, each, min(per_frame, len(whole)), bounds=(0,)) for each in steps)
    )


def bases(spec: SampleSpec) -> np.ndarray:
    """What the prediction of float samples starts from, float64 [] or [inputs]: the offset of their scaling."""
    return np.asarray(spec.scaling.offset, np.float64)


def _steps(distances: np.ndarray, error: float) -> np.ndarray:
    """Distances in each of the `TRAINING_STEPS` of an error, one behind the other, int16."""
    steps = [np.clip(np.rint(distances / (error * part)), -LARGEST, LARGEST) for part in TRAINING_STEPS]
    return np.concatenate(steps).astype(np.int16)
