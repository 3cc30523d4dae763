"""The shape, dtype, columns and scaling of the samples that a model takes, and the check that an array has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from tiedae.base.errors import DataError, listed
from tiedae.base.keys import Line, NonNegative
from tiedae.base.numbers import counted
from tiedae.base.records import Record

from .scaling import Scaling

Kind = Literal["image", "table", "record"]
Integer = Literal["uint8", "int16", "uint16"]
SampleType = Literal["uint8", "int16", "uint16", "float16", "float32", "float64"]
"""Dtypes of samples in the data's own unit."""
INTEGERS: tuple[Integer, ...] = get_args(Integer)
"""Dtypes of samples that stay integers; other integers become float32."""

CHECKED_ROWS = 1 << 12
"""Samples of another dtype that are checked together."""


class Signal(Record, frozen=True):
    """What the values of a record mean: the names of its channels (none: unknown), `rate` in time steps per second (Hz; 0:
    unknown), and the unit of measure of all channels (empty: unknown)."""

    channel_names: tuple[Line, ...] = ()
    rate: NonNegative = 0.0
    unit_of_measure: Line = ""


class SampleSpec(Record, frozen=True):
    """What one sample is, in the data's own unit of measure.

    `shape`: before it is flattened in C order, such as (28, 28); (t,) or (t, channels) of a record of t time steps. `dtype`:
    one of `INTEGERS`, or a float dtype. `columns`: the names of a table's values, or None. `scaling`: to scaled values.
    `signal`: of a record.
    """

    shape: tuple[int, ...]
    dtype: str
    scaling: Scaling = Scaling()
    kind: Kind = "image"
    columns: tuple[str, ...] | None = None
    signal: Signal = Signal()

    @property
    def channels(self) -> int:
        """Values of a time step of a record; 1 of other data."""
        return channels_of(self.kind, self.shape)

    @property
    def window(self) -> int:
        """Time steps of a sample of a record; 1 of other data."""
        return self.shape[0] if self.kind == "record" else 1

    @property
    def is_patch(self) -> bool:
        """Whether samples can be patches of pictures: square images."""
        return self.kind == "image" and len(self.shape) in (2, 3) and self.shape[0] == self.shape[1]

    @property
    def text(self) -> str:
        """What a sample is: `28 × 28 values`, or of a record `256 time steps of 6 channels (ax, …, gz) at 100 Hz in g`."""
        if self.kind != "record":
            return f"{' × '.join(map(str, self.shape))} values"
        signal = self.signal
        names = f" ({listed(signal.channel_names)})" if signal.channel_names else ""
        of = f" of {self.channels} channels{names}" if self.channels > 1 else names
        rate = f" at {signal.rate:g} Hz" if signal.rate else ""
        unit = f" in {signal.unit_of_measure}" if signal.unit_of_measure else ""
        return f"{counted(self.shape[0], 'time step')}{of}{rate}{unit}"

    @property
    def inputs(self) -> int:
        """The number of values per sample."""
        return math.prod(self.shape)

    def flatten(self, x: Any) -> tuple[np.ndarray, bool]:
        """(samples [n, inputs] in the dtype given, whether `x` was one sample without a batch axis).

        `x`: one sample of `shape`, or a batch [n, *shape] or [n, inputs]. uint8 where the data are uint8; whole numbers in the
        range of the dtype where it is another of `INTEGERS`; else numbers that are not uint8. A data frame is read by its
        column names. A memory map is not loaded.

        Raises DataError for another shape or dtype, missing columns, and numbers that the dtype does not have.
        """
        values = np.asarray(self._named(x) if self.columns and hasattr(x, "columns") else x)
        inputs, shape, got = self.inputs, self.shape, values.shape
        single = (got == shape or got == (inputs,)) and shape[:-1] != (1,)
        if not single and got[1:] != shape and got[1:] != (inputs,):
            flat = f" or [n, {inputs}]" if len(shape) > 1 else ""
            right = f"a sample {list(self.shape)} or a batch [n, {', '.join(map(str, self.shape))}]{flat}"
            raise DataError(f"samples: got shape {list(values.shape)}, must be {right}")
        self._require_dtype(values)
        return values.reshape(1 if single else len(values), inputs), single

    def require_finite(self, x: np.ndarray, first: int = 0) -> None:
        """Raise DataError, with the index, where a value is not finite in float32; `first` is the index of the first sample."""
        if x.dtype.kind != "f" or is_finite(x):
            return
        row, column = np.argwhere(~in_float32(x))[0].tolist()
        name = f"column {self.columns[column]}" if self.columns else place_of(column, self.channels, self.signal.channel_names)
        raise DataError(f"samples: {name} of sample {first + row} is {x[row, column]}, must be finite in float32")

    def shaped(self, y: np.ndarray, single: bool) -> np.ndarray:
        """Samples [n, inputs] as [n, *shape], or as one sample."""
        return y.reshape(self.shape if single else (len(y), *self.shape))

    def _require_dtype(self, values: np.ndarray) -> None:
        got, unit = values.dtype, "in the unit of measure of the training data"
        if self.dtype not in INTEGERS:
            if got.kind not in "fiub" or got == np.uint8:
                raise DataError(f"samples: got {got}, must be {self.dtype}, or numbers that convert to it, {unit}")
        elif got != self.dtype:
            if self.dtype == "uint8" or got.kind not in "iuf":
                others = "" if self.dtype == "uint8" else ", or whole numbers in its range"
                raise DataError(f"samples: got {got}, must be {self.dtype}{others}, {unit}")
            self._require_integers(values)

    def _require_integers(self, values: np.ndarray) -> None:
        limits = np.iinfo(self.dtype)
        for start in range(0, len(values), CHECKED_ROWS):
            part = values[start : start + CHECKED_ROWS]
            with np.errstate(invalid="ignore"):
                wrong = ~((part >= limits.min) & (part <= limits.max) & (np.trunc(part) == part))
            if wrong.any():
                got, right = part[wrong][0], f"whole numbers in {limits.min}…{limits.max}, of {self.dtype}"
                raise DataError(f"samples: got {got}, must be {right}, in the unit of measure of the training data")

    def _named(self, frame: Any) -> Any:
        """The values of a data frame, [n, columns] in the order of training."""
        missing = [name for name in self.columns or () if name not in list(frame.columns)]
        if missing:
            raise DataError(f"samples: no column {listed(missing)}; the columns must be {listed(self.columns or ())}")
        return frame[list(self.columns or ())].to_numpy()


def channels_of(kind: Kind, shape: tuple[int, ...]) -> int:
    """Values of a time step of samples of a record, shape (t,) or (t, channels); 1 of other data."""
    return math.prod(shape[1:]) if kind == "record" else 1


def place_of(value: int, channels: int = 1, names: Sequence[str] = ()) -> str:
    """The position of a value in a flattened sample: `value 7`, or of several channels `time step 3, channel z`."""
    if channels == 1:
        return f"value {value}"
    step, channel = divmod(value, channels)
    return f"time step {step}, channel {names[channel] if names else channel}"


def is_finite(x: np.ndarray) -> bool:
    """A dot product with itself is finite only where every value is, and takes one pass; a large value is looked at again."""
    flat = x.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        return (x.itemsize <= 4 and math.isfinite(np.dot(flat, flat))) or bool(in_float32(x).all())


def in_float32(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.isfinite(x.astype(np.float32))
