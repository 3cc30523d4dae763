"""Samples, their scaling, their splits, and validation of input data.

Arrays may be memory maps larger than memory: everything here reads chunks of about `CHUNK_BYTES`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from msgspec.structs import replace as replace_record
from numpy.typing import ArrayLike

from .config import DataConfig
from .errors import DataError
from .intervals import Intervals
from .keys import Line
from .layer_kinds import Activation
from .records import checked, require
from .sample_spec import INTEGERS, Kind, SampleSpec, Signal
from .scaling import LARGEST_REACH, OUTPUT_RANGES, Rule, Scaling
from .splitting import split_groups, split_rows, stratified_order

CHUNK_BYTES = 8 << 20
BLOCK_BYTES = 1 << 20
"""Size of a block of neighbouring samples, the unit of reading a memory map."""
MIN_SPAN = float(np.finfo(np.float32).tiny)
"""A feature of a smaller span is constant: float32's smallest normal number."""
UNKNOWN = Signal()
"""Of a record of which no more is known, and of other data."""
LARGEST = 1e30
"""Limit on the magnitude of values, and of 1 / scale: files multiply by both in float32, and some runtimes flush the smallest
numbers to 0."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples in the data's unit of measure and their scaling to model inputs.

    `values`: shape [n, ...], in memory or memory-mapped. `rows`: int64 ascending, the samples of this split; None for all.
    `labels`: None or one entry per sample of this split. `clean`: what the model shall give for `values`, of their shape and
    dtype, or None for `values` themselves. `groups`: None or one entry per sample, such as a machine: no two splits share one.
    `records`: None or the number of the record that each sample is cut from, int64 [n]. `intervals`: None or those of a record
    that the samples overlap. `overlap`: windows of a record that
    share values with the next one; 1: none.
    """

    values: np.ndarray = field(repr=False)
    labels: np.ndarray | None = field(default=None, repr=False)
    scaling: Scaling = field(default=Scaling())
    rows: np.ndarray | None = field(default=None, repr=False)
    clean: np.ndarray | None = field(default=None, repr=False)
    groups: np.ndarray | None = field(default=None, repr=False)
    records: np.ndarray | None = field(default=None, repr=False)
    intervals: Intervals | None = field(default=None, repr=False)
    overlap: int = 1

    def __len__(self) -> int:
        return len(self.values) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample before flattening, such as (28, 28)."""
        return self.values.shape[1:]

    @property
    def inputs(self) -> int:
        """The number of values per sample."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def dtype(self) -> np.dtype:
        """`INTEGERS` and floats as stored, in native byte order; float32 for other numbers."""
        stored = self.values.dtype.newbyteorder("=")
        return stored if stored.name in INTEGERS or np.issubdtype(stored, np.floating) else np.dtype(np.float32)

    @property
    def disjoint(self) -> Samples:
        """Those of overlapping windows that share no values, in order."""
        if self.overlap == 1:
            return self
        chosen = np.flatnonzero(self.places(np.arange(len(self))) % self.overlap == 0)
        apart = self.select(chosen)
        return replace(
            apart, values=self.values[:: self.overlap], rows=apart.places(np.arange(len(chosen))) // self.overlap, overlap=1
        )

    @cached_property
    def wanted(self) -> Samples:
        """The samples that the model shall give: these, or the clean ones."""
        return self if self.clean is None else replace(self, values=self.clean, clean=None)

    @property
    def spec(self) -> SampleSpec:
        """Shape, dtype and scaling of a sample."""
        return SampleSpec(self.shape, self.dtype.name, self.scaling, kind_of(self))

    @property
    def block(self) -> int:
        """Samples per block of a memory map; 0 for an array in memory."""
        return max(1, BLOCK_BYTES // self._sample_bytes) if _is_mapped(self.values) else 0

    def take(self, indices: np.ndarray | slice) -> np.ndarray:
        """The samples at `indices`, shape [len(indices), inputs], in the data's unit of measure and `dtype`."""
        values = np.asarray(self.values[indices if self.rows is None else self.rows[indices]])
        return np.ascontiguousarray(values.reshape(len(values), -1), self.dtype)

    def places(self, indices: np.ndarray) -> np.ndarray:
        """Where the samples at `indices` stand in the source, int64 [n]."""
        return indices if self.rows is None else self.rows[indices]

    def select(self, indices: np.ndarray) -> Samples:
        """The samples at `indices`, int64 ascending, as samples."""
        each = {name: getattr(self, name) for name in ("labels", "groups", "records", "intervals")}
        chosen = {name: None if values is None else values[indices] for name, values in each.items()}
        return replace(self, rows=self.places(indices), **chosen)

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Model inputs in the given order of sample indices, float32 [up to batch_size, inputs]."""
        for start in range(0, len(order), batch_size):
            yield self.scaling.apply(self.take(order[start : start + batch_size]))

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(index of the first sample, samples as returned by `take`), in order."""
        step = max(1, CHUNK_BYTES // self._sample_bytes)
        for start in range(0, len(self), step):
            yield start, self.take(slice(start, start + step))

    @cached_property
    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Minimum and maximum of each feature in the data's unit of measure, float64 [inputs] each, in chunks; cached."""
        low, high = np.full(self.inputs, np.inf), np.full(self.inputs, -np.inf)
        for _, chunk in self.chunks():
            low, high = np.minimum(low, chunk.min(axis=0)), np.maximum(high, chunk.max(axis=0))
        return low, high

    @cached_property
    def sha256(self) -> str:
        """Hex digest of dtype, shape and little-endian values in sample order, cached."""
        digest = hashlib.sha256(f"{self.dtype.name} {len(self)} {self.inputs}\n".encode())
        for _, chunk in self.chunks():
            digest.update(np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<")).data)
        return digest.hexdigest()

    @property
    def _sample_bytes(self) -> int:
        return max(1, self.inputs * max(self.values.dtype.itemsize, self.dtype.itemsize))


def fit_scaling(
    rule: Rule | Literal["auto"],
    samples: Samples,
    *,
    per_feature: bool = False,
    channels: int = 1,
    output_activation: str = "sigmoid",
    source: str = "samples",
) -> Scaling:
    """Fit a scaling to samples, in one or two passes over chunks.

    `auto` is `byte` for uint8, `standard` for a linear output, `capped` with several scales, else `minmax` to the range of the
    output activation; with one scale, data that are already within that range stay unscaled. `capped` where no value reaches
    that far is `standard`. `per_feature` fits an offset and scale per feature, else `channels` one for each: value i is of
    channel i mod `channels`. A constant feature or channel maps to the middle of the range, which every output activation
    reaches, with its magnitude (1 for 0) as scale, so that a small model error stays small relative to it.

    Raises DataError, naming `source`, if `byte` is given for values outside 0…255, or if values differ by too little for
    float32.
    """
    if rule == "auto" and samples.dtype == np.uint8:
        rule = "byte"
    if rule == "none":
        return Scaling()
    if rule == "byte" and samples.dtype == np.uint8:
        return Scaling("byte", 0.0, 255.0)
    low, high = samples.extent
    if rule == "byte":
        if low.min() < 0 or high.max() > 255:
            got = f"has values from {low.min():g} to {high.max():g}"
            raise DataError(f'{source}: {got}; scaling "byte" divides by 255, they must lie in 0…255')
        return Scaling("byte", 0.0, 255.0)
    scales = samples.inputs if per_feature else channels
    if rule == "auto":
        reached = OUTPUT_RANGES.get(output_activation)
        if scales == 1 and reached is not None and reached[0] <= low.min() and high.max() <= reached[1]:
            return Scaling()
        rule = "minmax" if reached is not None else "capped" if scales > 1 else "standard"
    low, high = low.reshape(-1, scales).min(axis=0), high.reshape(-1, scales).max(axis=0)
    if rule in ("standard", "capped"):
        middle = 0.0
        offset, scale = _moments(samples, scales)
        least = np.maximum(high - offset, offset - low) / LARGEST_REACH
        rule = "capped" if rule == "capped" and np.any(least > scale) else "standard"
        scale = np.maximum(scale, least) if rule == "capped" else scale
    else:
        bottom, top = OUTPUT_RANGES.get(output_activation, (0.0, 1.0))
        middle = (bottom + top) / 2
        scale = (high - low) / (top - bottom)
        offset = low - bottom * scale
    constant = high - low < MIN_SPAN
    scale = np.where(constant, np.where(np.abs(low) < MIN_SPAN, 1.0, np.abs(low)), scale)
    offset = np.where(constant, low - middle * scale, offset)
    if scale.min() < 1 / LARGEST:
        what = "feature" if per_feature else "channel"
        got = f"{what} {scale.argmin()} would be divided" if scales > 1 else "values would be divided"
        raise DataError(f"{source}: {got} by {scale.min():.3g}, must be at least {1 / LARGEST:g}; scale the data")
    if per_feature or scales > 1:
        offset, scale = (np.tile(each, samples.inputs // scales) for each in (offset, scale))
        return Scaling(rule, tuple(offset.tolist()), tuple(scale.tolist()))
    return Scaling(rule, float(offset[0]), float(scale[0]))


def kind_of(samples: Samples, *, windows: bool = False, stated: Literal["auto", Kind] = "auto") -> Kind:
    """The kind of data, which determines the unit of the error and whether `auto` scales per feature.

    As `stated`; of auto `record`: `windows` of neighbours in time. `table`: one axis of columns, each with its own unit of
    measure. `images`: pixels or bytes, samples of two or more axes, or uint8.
    """
    if windows or stated != "auto":
        return "record" if windows or stated == "auto" else stated
    return "table" if len(samples.shape) == 1 and samples.dtype != np.uint8 else "images"


def scales_per_feature(chosen: bool | Literal["auto"], kind: Kind) -> bool:
    """Resolve `DataConfig.per_feature`: auto scales a table per feature."""
    return kind == "table" if chosen == "auto" else chosen


@dataclass(frozen=True)
class Dataset:
    """Training, validation (or None) and test samples of one source, with the scaling fitted on the training samples.

    `windows`: samples are windows of records, which `signal` is of. `columns`: names of the features of a table, `label`: name
    of the labels, if known.
    """

    train: Samples
    validation: Samples | None
    test: Samples
    scaling: Scaling
    windows: bool = False
    columns: tuple[str, ...] | None = None
    label: str | None = None
    config: DataConfig = DataConfig("array")
    signal: Signal = UNKNOWN

    def __post_init__(self) -> None:
        """Raise RecipeError for a name that a manifest cannot hold."""
        checked(tuple[Line, ...], self.signal.channel_names, "channels")
        checked(tuple[Line, ...] | None, self.columns, "columns")
        checked(Line | None, self.label, "label")

    @property
    def kind(self) -> Kind:
        return kind_of(self.train, windows=self.windows, stated=self.config.kind)

    @property
    def spec(self) -> SampleSpec:
        """Shape, dtype, columns, scaling and signal of a sample."""
        return replace_record(self.train.spec, kind=self.kind, columns=self.columns, signal=self.signal)

    def fitted(self, rule: Rule | Literal["auto"], per_feature: bool | Literal["auto"], output_activation: str) -> Scaling:
        """The scaling that these options fit to the training samples: `auto` per column of a table, per channel of a record."""
        each, channels = scales_per_feature(per_feature, self.kind), self.spec.channels if per_feature == "auto" else 1
        options: Any = {"output_activation": output_activation, "source": self.config.source}
        return fit_scaling(rule, self.train.wanted, per_feature=each, channels=channels, **options)

    def with_scaling(self, scaling: Scaling) -> Dataset:
        """The same samples, read with another scaling, such as that of a trained model."""
        validation = None if self.validation is None else replace(self.validation, scaling=scaling)
        train, test = replace(self.train, scaling=scaling), replace(self.test, scaling=scaling)
        return replace(self, train=train, validation=validation, test=test, scaling=scaling)

    @property
    def inputs(self) -> int:
        return self.train.inputs

    @classmethod
    def from_array(
        cls,
        x: Any,
        *,
        clean: Any = None,
        labels: ArrayLike | None = None,
        columns: Sequence[str] | None = None,
        test: float = 0.1,
        validation: float = 0.0,
        seed: int = 0,
        scaling: Rule | Literal["auto"] = "auto",
        per_feature: bool | Literal["auto"] = "auto",
        output_activation: Activation = "sigmoid",
    ) -> Dataset:
        """Split an array at random by the seed and fit a scaling to the training samples.

        `x`: shape [n, ...], any real dtype, in the data's unit of measure; a memory map is not loaded. A data frame names its
        columns, as `columns` does for an array [n, k]. `clean`: clean samples of the same shape and dtype, if `x` are noisy
        ones.
        `labels`: shape [n] or None.
        `test`, `validation`: fractions of n, rounded, at least one sample each (no validation at 0). `scaling`,
        `output_activation`: as in `fit_scaling`. `per_feature`: an offset and scale per feature; auto: for tables, [n, k]
        not of uint8.

        Raises DataError for samples or labels that cannot be used (shape, dtype, not finite, fewer than two, none left to
        train on, all values equal), RecipeError for an option outside its range.
        """
        config = DataConfig("array", test=test, validation=validation, seed=seed, scaling=scaling, per_feature=per_feature)
        checked(Activation, output_activation, "output_activation")
        if hasattr(x, "columns") and hasattr(x, "to_numpy"):
            x, columns = x.to_numpy(), tuple(map(str, x.columns))
        try:
            whole = Samples(np.asanyarray(x), None if labels is None else np.asarray(labels))
        except ValueError:
            raise DataError("array: samples differ in length; all need the same number of numeric values") from None
        check_samples(whole, "array")
        if clean is not None:
            whole = with_clean(whole, clean.to_numpy() if hasattr(clean, "to_numpy") else np.asanyarray(clean), "clean")
        train, held_out, kept = split(whole, (validation, test), "array", seed=seed)
        assert train is not None and kept is not None
        check_varies(train.wanted, "array")
        if columns is not None:
            require(whole.shape == (len(columns),), "columns", list(columns), f"the names of {whole.inputs} values [n, k]")
            columns = tuple(columns)
        unscaled = cls(train, held_out, kept, Scaling(), columns=columns, config=config)
        return unscaled.with_scaling(unscaled.fitted(scaling, per_feature, output_activation))


def split(samples: Samples, fractions: tuple[float, ...], source: str, *, seed: int | None) -> list[Samples | None]:
    """The training samples, then one part per fraction, as `split_rows`, or of groups `split_groups`, chooses them; None for a
    fraction of 0."""
    if not any(fractions):
        return [samples, *(None for _ in fractions)]
    if samples.groups is None:
        parts = split_rows(len(samples), fractions, source, seed=seed)
    else:
        parts = split_groups(samples.groups, fractions, source, seed=seed)
    return [samples.select(rows) if len(rows) else None for rows in parts]


def overlapping(samples: Samples, stride: int) -> Samples:
    """Windows of a record [n, t] or [n, t, channels], and those between two that follow each other in it: one begins every
    `stride` time steps, a divisor of t. A view; no window holds a value that is not of these samples, or of two records."""
    window, parts = samples.shape[0], samples.shape[0] // stride
    rows = samples.places(np.arange(len(samples)))
    records = np.zeros(len(rows)) if samples.records is None else samples.records
    follows = np.append((np.diff(rows) == 1) & (np.diff(records) == 0), False)
    inside = follows[:, None] | (np.arange(parts) == 0)
    steps = samples.values.reshape(-1, *samples.shape[1:])
    views = np.moveaxis(np.lib.stride_tricks.sliding_window_view(steps, window, axis=0)[::stride], -1, 1)
    chosen = samples.select(np.repeat(np.arange(len(rows)), inside.sum(axis=1)))
    return replace(chosen, values=views, rows=(rows[:, None] * parts + np.arange(parts))[inside], overlap=parts)


def choose(samples: Samples, count: int, seed: int) -> np.ndarray:
    """Indices of `count` samples drawn by the seed, int64 ascending; with labels each class in proportion."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(samples)) if samples.labels is None else stratified_order(samples.labels, rng)
    return np.sort(order[:count])


def with_clean(samples: Samples, clean: np.ndarray, source: str) -> Samples:
    """Noisy samples with their clean ones; DataError, naming the source of these, unless they are usable and pair with them."""
    wanted = Samples(clean)
    check_samples(wanted, source)
    if (wanted.dtype, clean.shape) != (samples.dtype, samples.values.shape):
        got = f"clean samples of {wanted.dtype} {list(clean.shape)}"
        raise DataError(f"{source}: got {got}, must be {samples.dtype} {list(samples.values.shape)} as the noisy ones")
    return replace(samples, clean=clean)


def check_varies(samples: Samples, source: str) -> None:
    """Raise DataError, naming the source, if all values of all samples are equal."""
    constant = samples.take(slice(0, 1))[0, 0]
    if all((chunk == constant).all() for _, chunk in samples.chunks()):
        raise DataError(f"{source}: every value to train on is {constant}; there is nothing to learn, must vary")


def check_samples(samples: Samples, source: str, place: Callable[[int, int], str] | None = None) -> None:
    """Raise DataError, naming the source, unless there are two or more finite numeric samples, with no labels or [n].

    `place(sample, value)` names where a value stands; by default by these numbers.
    """
    values = samples.values
    if values.dtype.hasobject:
        raise DataError(f"{source}: samples differ in length or are not numbers; all need the same number of numeric values")
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_) or np.iscomplexobj(values):
        raise DataError(f"{source}: holds values of type {values.dtype}, must be real numbers")
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        right = "of at most 64 bits; convert them, as by astype(np.float64)"
        raise DataError(f"{source}: holds values of type {values.dtype}, must be {right}")
    if values.ndim < 2:
        raise DataError(
            f"{source}: has shape {list(values.shape)}, must be [samples, values…]; `window` in [data] cuts one long record"
        )
    if samples.labels is not None and samples.labels.shape != (len(samples),):
        got = f"has labels of shape {list(samples.labels.shape)}"
        raise DataError(f"{source}: {got}, must be [{len(samples)}], one per sample")
    if len(samples) == 0 or samples.inputs == 0:
        raise DataError(f"{source}: is empty (shape {list(values.shape)})")
    if len(samples) < 2:
        raise DataError(f"{source}: holds 1 sample, must be 2 or more")
    if samples.dtype.kind != "f":
        return
    for start, chunk in samples.chunks():
        wide = chunk.astype(np.result_type(chunk, np.float32), copy=False)
        usable = np.isfinite(wide) & (np.abs(wide) <= LARGEST)
        if not usable.all():
            sample, feature = np.argwhere(~usable)[0].tolist()
            got = chunk[sample, feature]
            right = f"within ±{LARGEST:g}; scale the data" if np.isfinite(got) else "finite"
            where = f"sample {start + sample}, value {feature}" if place is None else place(start + sample, feature)
            raise DataError(f"{source}: {where} is {got}, must be {right}")


def _is_mapped(values: np.ndarray | None) -> bool:
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base if isinstance(values.base, np.ndarray) else None
    return False


def mean_input(samples: Samples) -> np.ndarray:
    """The mean sample in scaled values, float32 [inputs]."""
    total = np.zeros(samples.inputs)
    for _, chunk in samples.chunks():
        total += samples.scaling.apply(chunk).sum(axis=0, dtype=np.float64)
    return (total / len(samples)).astype(np.float32)


def _moments(samples: Samples, scales: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float64 [scales], in two passes, which are stable under large offsets.

    Value i of a sample belongs to scale i mod `scales`.
    """

    def average(of: Any) -> np.ndarray:
        total = np.zeros(samples.inputs)
        for _, chunk in samples.chunks():
            total += of(chunk.astype(np.float64, copy=False)).sum(axis=0)
        return (total / len(samples)).reshape(-1, scales).mean(axis=0)

    mean = average(lambda x: x)
    center = np.tile(mean, samples.inputs // scales)
    return mean, np.sqrt(average(lambda x: np.square(x - center)))
