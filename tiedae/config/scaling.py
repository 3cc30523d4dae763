"""The scaling of samples between the data's unit of measure and scaled values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from tiedae.base.errors import DataError
from tiedae.base.records import Record, require

Rule = Literal["none", "byte", "minmax", "standard", "capped"]
LARGEST_REACH = 12.0
"""Training samples scaled by `capped` lie within this distance of 0."""

OUTPUT_RANGES: Mapping[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, 1.0),
    "relu6": (0.0, 1.0),
}
"""Range that `minmax` maps to, by output activation; [0, 1] for a linear output."""
ACTIVATION_RANGES: Mapping[str, tuple[float, float]] = {**OUTPUT_RANGES, "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
"""The values that an output activation gives; any, if it is linear."""
TOLERANCE = 1e-3
"""Distance beyond them that data may lie at: rounding of the scaling."""


def require_reachable(scaled: np.ndarray, activation: str) -> None:
    """Raise DataError for scaled values outside the range of the output activation, which cannot give them."""
    low, high = ACTIVATION_RANGES.get(activation, (-np.inf, np.inf))
    least, most = float(scaled.min(initial=0)), float(scaled.max(initial=0))
    if least < low - TOLERANCE or most > high + TOLERANCE:
        got = f"scaled values lie in {least:g}…{most:g}"
        right = 'use linear, or scaling "auto" for this activation'
        raise DataError(f"{got}, output_activation {activation} gives {low:g}…{high:g}; {right}")


class Scaling(Record, frozen=True):
    """model value = (x − offset) / scale, with one offset and scale for all features or one per feature.

    `rule` is their origin: `none` (0, 1), `byte` (0, 255), `minmax`, `standard` (mean, standard deviation) or `capped`
    (mean; the standard deviation, or the largest distance from the mean / `LARGEST_REACH` where that is more).
    """

    rule: Rule = "none"
    offset: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        got = (self.offset, self.scale)
        right = {"none": (0.0, 1.0), "byte": (0.0, 255.0)}.get(self.rule, got)
        require(got == right, "offset and scale", got, f"{right} with rule {self.rule}")
        require(np.shape(self.offset) == np.shape(self.scale), "offset and scale", got, "one number each, or one per feature")

    def is_bytes(self, dtype: str) -> bool:
        """Whether model inputs of `dtype` are bytes of scale 1/255: uint8 with rule `byte`."""
        return dtype == "uint8" and self.rule == "byte"

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Data [..., inputs] in their unit of measure → scaled values, float32; DataError for another number of features."""
        self._require_features(x)
        wide = x.astype(np.result_type(x.dtype, np.float32), copy=False)
        if self.rule == "none":
            return wide.astype(np.float32, copy=False)
        offset, scale = np.asarray(self.offset, wide.dtype), np.asarray(self.scale, wide.dtype)
        return ((wide - offset) / scale).astype(np.float32, copy=False)

    @property
    def float32(self) -> tuple[np.ndarray, np.ndarray]:
        """(offset, scale) as float32, of shape [] or [inputs]."""
        with np.errstate(over="ignore"):
            return np.asarray(self.offset, np.float32), np.asarray(self.scale, np.float32)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Scaled values, float32 [..., inputs] → data in float32: a product and a sum, each rounded to float32."""
        self._require_features(values)
        offset, scale = self.float32
        return values if self.rule == "none" else values * scale + offset

    def invert(self, values: np.ndarray, dtype: np.dtype | type | str) -> np.ndarray:
        """Scaled values, shape [..., inputs] → data in `dtype`; integers round half to even and saturate."""
        wide = np.asarray(values, np.float64)
        self._require_features(wide)
        if self.rule != "none":
            wide = wide * np.asarray(self.scale) + np.asarray(self.offset)
        dtype = np.dtype(dtype)
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            wide = np.clip(np.rint(wide), limits.min, limits.max)
        return wide.astype(dtype)

    def _require_features(self, x: np.ndarray) -> None:
        """Raise DataError unless the last axis has one entry per scale: a single one would broadcast."""
        if isinstance(self.scale, tuple) and x.shape[-1:] != (len(self.scale),):
            raise DataError(f"scaling: got values of shape {list(x.shape)}, must be [..., {len(self.scale)}], one per feature")
