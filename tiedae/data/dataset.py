"""Data sets: the kind, the split and the validation of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from msgspec.structs import replace as replace_record
from numpy.typing import ArrayLike

from tiedae.base.errors import DataError
from tiedae.base.keys import Line
from tiedae.base.records import checked, require
from tiedae.config.config import DataConfig
from tiedae.config.layer_kinds import Activation
from tiedae.config.sample_spec import Kind, SampleSpec, Signal
from tiedae.config.scaling import Rule, Scaling

from .equal_rows import equal_rows
from .samples import Samples, kind_of
from .scaling_fit import LARGEST, fit_scaling
from .splitting import split_groups, split_rows, stratified_order

UNKNOWN = Signal()
"""Of a record of which no more is known, and of other data."""


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
    fraction of 0. With a seed, many equal samples are groups."""
    if not any(fractions):
        return [samples, *(None for _ in fractions)]
    groups = samples.groups if samples.groups is not None or seed is None else equal_rows(samples)
    if groups is None:
        parts = split_rows(len(samples), fractions, source, seed=seed)
    else:
        parts = split_groups(groups, fractions, source, seed=seed)
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


def check_samples(
    samples: Samples, source: str, place: Callable[[int, int], str] | None = None, names: Sequence[str] = ()
) -> None:
    """Raise DataError, naming the source, unless there are two or more finite numeric samples, with no labels or [n].

    `place(sample, value)` names the position of a value; by default by these numbers. `names`: of the columns, or channels.
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
            right += missing_text(samples, names) if np.isnan(got) else ""
            where = f"sample {start + sample}, value {feature}" if place is None else place(start + sample, feature)
            raise DataError(f"{source}: {where} is {got}, must be {right}")


def missing_text(samples: Samples, names: Sequence[str] = ()) -> str:
    """`; missing values: b (3), f (17)`: how many each column of a table, or named channel, has; empty for other samples."""
    if not names and len(samples.shape) != 1:
        return ""
    counts = sum(
        np.isnan(chunk).reshape(len(chunk), -1, len(names) or samples.inputs).sum(axis=(0, 1)) for _, chunk in samples.chunks()
    )
    texts = [f"{names[i] if names else i} ({count:,})" for i, count in enumerate(np.atleast_1d(counts).tolist()) if count]
    return f"; missing values: {', '.join(texts)}"


def mean_input(samples: Samples) -> np.ndarray:
    """The mean sample in scaled values, float32 [inputs]."""
    total = np.zeros(samples.inputs)
    for _, chunk in samples.chunks():
        total += samples.scaling.apply(chunk).sum(axis=0, dtype=np.float64)
    return (total / len(samples)).astype(np.float32)
