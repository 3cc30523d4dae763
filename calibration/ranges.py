"""Calibration of a model: run representative data through it and observe every tensor that will be quantized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..compress.autoencoder import TiedAutoencoder
from ..compress.config import QuantizeConfig, require
from ..compress.errors import DataError
from ..compress.quantizers import linear_windows
from .calibration_file import CalibratedTensor, Calibration, CalibrationData, Fingerprint
from .histogram import Grid, Histogram
from .observers import OBSERVERS, MinMax, Observer, PerUnit, settings_of
from .representative import Representative

if TYPE_CHECKING:
    import tensorflow as tf

BATCH = 64
SHOWN_BINS = 512
"""Bins of a histogram in a calibration; ranges are chosen on finer ones."""


def calibrate(
    model: TiedAutoencoder, data: Representative, observer: str = "minmax", *, bits: Mapping[str, int] | None = None
) -> Calibration:
    """Observe each tensor that a program quantizes over representative samples; `model` is left as it was.

    `observer` is a name of `OBSERVERS`. Biases do not vary and are taken by their extremes. `bits` gives grids other than 8
    bits by tensor name. Raises RecipeError for another name, DataError where the samples cannot be used or a tensor, which
    it names, is not finite.
    """
    require(observer in OBSERVERS, "observer", observer, "one of " + ", ".join(OBSERVERS))
    data.require_usable(model.config.inputs)
    windows, widths = linear_windows(model.config), bits or {}
    seen: dict[str, _Seen] = {}
    for batch in tensors_by_batch(model, data.inputs):
        for name, values in batch.items():
            if name not in seen:
                seen[name] = _Seen(OBSERVERS["minmax" if name.endswith(".bias") else observer](), values.shape[-1])
            try:
                seen[name].update(values)
            except DataError as error:
                raise DataError(f"calibration: {name}: {error}") from None
    grids = {name: Grid(widths.get(name, 8), windows.get(name, Grid.window)) for name in seen}
    return Calibration(
        observer=observer,
        settings=settings_of(OBSERVERS[observer]()),
        samples=len(data.inputs),
        seed=data.seed,
        data=CalibrationData(data.sha256, data.scaling),
        model=Fingerprint.of(model),
        tensors={name: each.calibrated(grids[name], varies=not name.endswith(".bias")) for name, each in seen.items()},
    )


def tensors_by_batch(model: TiedAutoencoder, inputs: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Every tensor that an integer program quantizes, float32 [batch, units] by name, of one batch after the other."""
    batch: dict[str, np.ndarray] = {}

    def keep(name: str, values: tf.Tensor, _training: bool) -> tf.Tensor:
        batch[name] = values.numpy()
        return values

    for start in range(0, len(inputs), BATCH):
        with model.tapped(keep):
            model.encode_decode(inputs[start : start + BATCH])
        yield dict(batch)


class _Seen:
    """What is watched of one tensor: for its range, for its picture, and each unit's extremes."""

    def __init__(self, observer: Observer, units: int) -> None:
        self.observer = observer
        self.histogram = Histogram.empty()
        self.units = PerUnit(MinMax, units)

    def update(self, values: np.ndarray) -> None:
        self.observer.update(values)
        self.histogram = self.histogram.merged(Histogram.of(values))
        self.units.update(values)

    def calibrated(self, grid: Grid, *, varies: bool) -> CalibratedTensor:
        low, high = (float(end) for end in np.clip(self.observer.range(grid), *grid.window))
        dead = [unit for unit, (low, high) in enumerate(self.units.ranges()) if low == high]
        return CalibratedTensor(
            (low, high),
            self.histogram.total,
            grid.clipped(self.histogram, (low, high)),
            grid.bits,
            None if np.isinf(grid.window[0]) else grid.window,
            tuple(dead) if varies else (),
            self.histogram.coarse(SHOWN_BINS).written(),
        )


OBSERVER_OF_METHOD = {"ptq": "minmax", "qat": "moving-average"}


def observer_of(config: QuantizeConfig) -> str:
    """The observer that a configuration asks for, by name: its own, or that of its method."""
    return OBSERVER_OF_METHOD[config.method] if config.observer == "auto" else config.observer
