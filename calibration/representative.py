"""Representative data: calibration samples, drawn by a seed and identified by a digest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tiedae.base.archive import sha256_of
from tiedae.base.errors import DataError
from tiedae.base.records import require
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import NoiseConfig
from tiedae.data.dataset import choose
from tiedae.data.noise import noise_of, pairs
from tiedae.data.samples import Samples

MINIMUM = 8
"""Minimum number of calibration samples."""


@dataclass(frozen=True, eq=False)
class Representative:
    """Calibration samples: `inputs` float32 [n, inputs] in scaled values, by `scaling`, at int64 ascending `indices`.

    `sha256`: digest of `inputs`, which a calibration records. `population`: samples that they were drawn from, as
    `Samples.independent` counts them.
    """

    indices: np.ndarray = field(repr=False)
    inputs: np.ndarray = field(repr=False)
    seed: int
    scaling: Scaling
    population: int

    def __post_init__(self) -> None:
        if self.inputs.dtype != np.float32:
            raise DataError(
                f"calibration data: got {self.inputs.dtype}, must be float32 in scaled values, as `Scaling.apply` makes them"
            )

    @property
    def sha256(self) -> str:
        return sha256_of(self.inputs)

    def take(self, positions: np.ndarray | slice) -> Representative:
        """The samples at these positions."""
        return replace(self, indices=self.indices[positions], inputs=self.inputs[positions])

    def require_usable(self, inputs: int) -> None:
        """Raise DataError unless there are enough samples, of `inputs` values, finite, not all equal, and 0…1 if `byte`."""
        shape = self.inputs.shape
        if len(shape) != 2 or shape[1] != inputs:
            raise DataError(f"calibration data: shape {list(shape)}, must be [samples, {inputs}] as the model takes them")
        if shape[0] < MINIMUM:
            raise DataError(f"calibration data: {shape[0]} samples, must be {MINIMUM} or more")
        finite = np.isfinite(self.inputs)
        if not finite.all():
            sample, value = np.argwhere(~finite)[0]
            got = self.inputs[sample, value]
            raise DataError(f"calibration data: sample {sample}, value {value} is {got}, must be finite")
        low, high = self.inputs.min(), self.inputs.max()
        if self.scaling.rule == "byte" and (low < 0 or high > 1):
            raise DataError(f"calibration data: values from {low:g} to {high:g}, must be 0…1, bytes / 255, with scaling 'byte'")
        if (self.inputs == self.inputs[0]).all():
            raise DataError(f"calibration data: all {shape[0]} samples are equal; must vary")


def representative(samples: Samples, count: int, *, seed: int = 0, noise: NoiseConfig | None = None) -> Representative:
    """Draw `count` samples, or all if there are fewer; stratified by class if there are labels. With the noise of training,
    the model's inputs are noisy, drawn by the seed.

    Raises DataError for anything but `Samples`, RecipeError for a `count` below 1.
    """
    if not isinstance(samples, Samples):
        made = "such as `splits.train`, since they know their scaling; Dataset.from_array makes Dataset of an array"
        raise DataError(f"representative: got {type(samples).__name__}, must be Samples {made}")
    require(count >= 1, "count", count, "at least 1")
    count = min(count, len(samples))
    indices = choose(samples, count, seed)
    inputs, _ = next(pairs(samples, indices, count, noise_of(noise, samples), [seed, *b"calibration"]))
    return Representative(indices, inputs, seed, samples.scaling, samples.independent)
