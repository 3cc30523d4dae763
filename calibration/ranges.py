"""Calibration of a model: run representative data and observe every tensor that the program quantizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tiedae.base.errors import DataError
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.quantizers import linear_windows
from tiedae.config.config import QuantizeConfig, require
from tiedae.config.layer_kinds import OF_WEIGHTS, UNPOOLED

from .calibration_file import CalibratedTensor, Calibration, CalibrationData, Fingerprint
from .histogram import Grid, Histogram
from .observers import OBSERVERS, Observer, settings_of
from .representative import Representative

if TYPE_CHECKING:
    import tensorflow as tf

BATCH = 64
STORED_BINS = 512
"""Bins of a histogram in a calibration; observers use more."""


def calibrate(
    model: TiedAutoencoder, data: Representative, observer: str = "minmax", *, bits: Mapping[str, int] | None = None
) -> Calibration:
    """Calibrate each tensor that the program quantizes on representative samples; `model` is not changed.

    `observer`: a name of `OBSERVERS`; biases use minmax. `bits`: by tensor name, 8 if absent. Raises RecipeError for an
    unknown observer, DataError for samples that cannot be used or a tensor that is not finite.
    """
    require(observer in OBSERVERS, "observer", observer, "one of " + ", ".join(OBSERVERS))
    data.require_usable(model.config.size)
    windows, widths = linear_windows(model.config), bits or {}
    observed: dict[str, _ObservedTensor] = {}
    for batch in tensors_by_batch(model, data.inputs):
        for name, values in batch.items():
            if name not in observed:
                method = "minmax" if name.endswith(OF_WEIGHTS) else observer
                observed[name] = _ObservedTensor(OBSERVERS[method](), values.shape[-1])
            try:
                observed[name].update(values)
            except DataError as error:
                raise DataError(f"calibration: {name}: {error}") from None
    grids = {name: Grid(widths.get(name, 8), windows.get(name, Grid.window)) for name in observed}
    return Calibration(
        observer=observer,
        settings=settings_of(OBSERVERS[observer]()),
        samples=len(data.inputs),
        seed=data.seed,
        data=CalibrationData(data.sha256, data.scaling),
        model=Fingerprint.of(model),
        tensors={name: each.calibrated(grids[name], varies=not name.endswith(OF_WEIGHTS)) for name, each in observed.items()},
    )


def tensors_by_batch(model: TiedAutoencoder, inputs: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Every tensor that the program quantizes, float32 [batch, units], by name, for each batch."""
    batch: dict[str, np.ndarray] = {}

    def record(name: str, values: tf.Tensor, _training: bool) -> tf.Tensor:
        if not name.endswith(UNPOOLED):
            batch[name] = values.numpy()
        return values

    for start in range(0, len(inputs), BATCH):
        with model.tapped(record):
            model.encode_decode(inputs[start : start + BATCH])
        yield dict(batch)


class _ObservedTensor:
    """The observer, the histogram and the extremes per unit of one tensor."""

    def __init__(self, observer: Observer, units: int) -> None:
        self.observer = observer
        self.histogram = Histogram.empty()
        self.low, self.high = np.full(units, np.inf), np.full(units, -np.inf)

    def update(self, values: np.ndarray) -> None:
        self.observer.update(values)
        self.histogram = self.histogram.merged(Histogram.of(values))
        units = values.reshape(-1, len(self.low))
        self.low, self.high = np.minimum(self.low, units.min(axis=0)), np.maximum(self.high, units.max(axis=0))

    def calibrated(self, grid: Grid, *, varies: bool) -> CalibratedTensor:
        low, high = (float(end) for end in np.clip(self.observer.range(grid), *grid.window))
        dead = np.flatnonzero(self.low == self.high).tolist()
        return CalibratedTensor(
            (low, high),
            self.histogram.total,
            grid.clipped(self.histogram, (low, high)),
            grid.bits,
            None if np.isinf(grid.window[0]) else grid.window,
            tuple(dead) if varies else (),
            self.histogram.coarse(STORED_BINS).pack(),
        )


def observer_of(config: QuantizeConfig) -> str:
    """The name of a configuration's observer; auto is the first of `OBSERVERS`."""
    return next(iter(OBSERVERS)) if config.observer == "auto" else config.observer
