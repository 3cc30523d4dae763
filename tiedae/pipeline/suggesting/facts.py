"""Facts about training samples that a recipe is chosen by, measured in seconds and without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.base.keys import Count, Positive
from tiedae.base.records import Record
from tiedae.bundle.fidelity import column_power
from tiedae.compress.affine import Quantization
from tiedae.config.config import ExportConfig
from tiedae.config.sample_spec import Kind
from tiedae.config.scaling import LARGEST_REACH, Rule, Scaling
from tiedae.data.dataset import Dataset, choose
from tiedae.data.labels import label_text
from tiedae.data.samples import Samples
from tiedae.program.file_io import FileIO

from .order import LEAST_ROWS, LEAST_STEPS, MOST_CHANNELS, channels_of_rows, order_of_rows

LOOKED_AT = 8_000
"""Training samples whose spectrum is computed, at most."""
MOST_VALUES = 1 << 25
"""Their values at most: larger samples are fewer."""

NARROW = 128
"""Bytes that span less than this are scaled to their own range."""
LARGEST_RATIO = 10.0
"""Channels are taken to have one unit of measure where the standard deviation of each, and of all values together, is at most
this many times the least one."""
FILLED = 6.0
"""Pixels fill the range of a sigmoid where the range is at most this many of their standard deviations: most of its outputs
occur then, and saturated values are black and white."""


class Facts(Record, frozen=True):
    """Facts about the training samples of a source.

    `shape` of a sample. `samples`: all of them, test samples included; `training`: those that a run trains on, overlapping
    windows included; `overlap`: how many of those share a value; `held_out`, `tested`: the number of validation and of test
    samples. `low`, `high`: the extremes. `deviation`: the standard deviation of all values; `channels`: the least and the
    largest of a record's channels that vary. `tail`: the largest distance of a value from the mean, in standard deviations; of
    each column of a table, of all values of other data. `reach`: the largest magnitude of scaled values. `constants`: columns
    of one value. `duplicates`: samples that equal an earlier one. `labels`: the distinct ones, as text. `scaling`,
    `per_feature`, `output`: how samples are scaled, and for which output activation. `spread`: the standard deviation of scaled
    values. `variances`: of the principal components of scaled values, descending, of `looked_at` samples. `coarse`: the inputs
    that float32 resolves too coarsely in their unit.
    """

    kind: Kind
    dtype: str
    shape: tuple[Positive, ...]
    samples: Positive
    training: Positive
    overlap: Positive
    held_out: Count
    tested: Positive
    low: float
    high: float
    deviation: float
    channels: tuple[float, float]
    tail: float
    reach: float
    constants: Count
    duplicates: Count
    labels: tuple[str, ...]
    scaling: Rule | Literal["auto"]
    per_feature: bool | Literal["auto"]
    output: str
    spread: float
    variances: tuple[float, ...]
    looked_at: Positive
    coarse: Count = 0

    def scaling_of(self, splits: Dataset) -> Scaling:
        """The scaling of the data set that the facts are about."""
        return splits.fitted(self.scaling, self.per_feature, self.output)

    @property
    def inputs(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def one_unit(self) -> bool:
        """Whether these are several channels that seem to have one unit of measure, of a scale in which each still varies."""
        least, most = self.channels
        return 0 < least < most and max(most, self.deviation) <= LARGEST_RATIO * least

    @property
    def heavy(self) -> bool:
        """Whether the columns have heavy tails."""
        return self.tail > LARGEST_REACH

    @property
    def apart(self) -> int:
        """Training samples that share no value."""
        return -(-self.training // self.overlap)


def measure(splits: Dataset, stated: Mapping[str, Any]) -> Facts:
    """The facts about training samples; `stated`: keys of the recipe that are fixed, such as `data.scaling`."""
    train, wanted = splits.train, splits.train.wanted
    x = subsample(splits)
    low, high = wanted.extent
    kind = splits.kind
    if kind == "table":
        tail = tail_of(x, low, high)
    else:
        tail = tail_of(x.reshape(-1, 1), low.min(keepdims=True), high.max(keepdims=True))
    span = float(high.max() - low.min())
    narrow = train.dtype == np.uint8 and span < NARROW
    reached = 255.0 if train.dtype == np.uint8 and not narrow else span
    deviation = float(x.std(dtype=np.float64))
    filled = kind == "image" and reached <= FILLED * deviation
    output = stated.get("model.output_activation", "sigmoid" if filled else "linear")
    rule = stated.get("data.scaling", "minmax" if narrow else "auto")
    per_feature = stated.get("data.per_feature", "auto")
    scaling = splits.fitted(rule, per_feature, output)
    scaled, ends = scaling.apply(x), scaling.apply(np.stack([low, high]))
    held_out = 0 if splits.validation is None else len(splits.validation)
    return Facts(
        kind,
        train.dtype.name,
        train.shape,
        len(train.disjoint) + held_out + len(splits.test),
        len(train),
        train.overlap,
        held_out,
        len(splits.test),
        float(low.min()),
        float(high.max()),
        deviation,
        channel_deviations(x, splits.spec.channels),
        tail,
        float(np.abs(ends).max()),
        int(np.count_nonzero(high <= low)),
        duplicates_of(train.disjoint),
        () if train.labels is None else tuple(label_text(label) for label in np.unique(train.labels).tolist()),
        rule,
        per_feature,
        output,
        float(scaled.std(dtype=np.float64)),
        tuple(variances_of(scaled).tolist()),
        len(x),
        coarse_inputs(scaling, train.dtype.name, float(np.ptp(ends))),
    )


def coarse_inputs(scaling: Scaling, dtype: str, span: float) -> int:
    """How many inputs float32 resolves too coarsely in their unit of measure (`FileIO.coarse`), all where it cannot represent
    the scaling.

    The scale of `x` is not known before training: that of the range of training samples in bytes, `span` / 255.
    """
    try:
        io = FileIO.of(ExportConfig(), scaling, dtype)
    except ExportError:
        return max(1, np.size(scaling.scale))
    return len(io.coarse(Quantization(float(np.float32((span or 1.0) / 255)), 0)))


def subsample(splits: Dataset) -> np.ndarray:
    """Training samples that share no value, in the data's unit of measure, [n, inputs], drawn by the seed of the split."""
    train = splits.train.disjoint
    count = min(LOOKED_AT, max(2, MOST_VALUES // splits.inputs), len(train))
    return train.wanted.take(choose(train, count, splits.config.seed))


def looks_like_signal(splits: Dataset) -> bool:
    """Whether rows of a table of no stated kind seem to be time steps, or its columns do: neighbours are similar."""
    if splits.kind != "table" or splits.config.kind == "table":
        return False
    if splits.columns is None and splits.inputs >= LEAST_STEPS and channels_of_rows(subsample(splits)):
        return True
    values = splits.train.values
    return len(values) >= LEAST_ROWS and splits.inputs <= MOST_CHANNELS and order_of_rows(values).in_time


def tail_of(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """The largest distance of the extremes `low` and `high` [columns] from the mean of x [n, columns], in its deviations."""
    wide = x.astype(np.float64)
    deviation, mean = wide.std(axis=0), wide.mean(axis=0)
    varies = deviation > 0
    return float((np.maximum(high - mean, mean - low)[varies] / deviation[varies]).max(initial=0.0))


def channel_deviations(x: np.ndarray, channels: int) -> tuple[float, float]:
    """The least and the largest standard deviation of those channels of samples [n, inputs] that vary; 0 where none does."""
    steps = x.reshape(-1, channels)
    deviations = np.sqrt(column_power(steps) / len(steps))
    varying = deviations[deviations > 0]
    return (float(varying.min()), float(varying.max())) if len(varying) else (0.0, 0.0)


def duplicates_of(samples: Samples) -> int:
    """How many samples equal an earlier one."""
    seen = {hash(row.tobytes()) for _, chunk in samples.chunks() for row in chunk}
    return len(samples) - len(seen)


def variances_of(x: np.ndarray) -> np.ndarray:
    """Variances of the principal components of scaled samples, float32 [n, inputs]: float64, descending, none below 0."""
    centred = x - x.mean(axis=0, dtype=np.float64).astype(np.float32)
    moments = centred @ centred.T if centred.shape[1] > len(centred) else centred.T @ centred
    return np.maximum(np.linalg.eigvalsh(moments.astype(np.float64) / len(centred))[::-1], 0.0)
