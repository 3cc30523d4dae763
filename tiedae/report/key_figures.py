"""Key figures of the metrics, for report, model card and summary."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np

from tiedae.base.numbers import fraction
from tiedae.bundle.bench_results import Latency
from tiedae.bundle.manifest import Data, Manifest
from tiedae.bundle.results import Metrics, ModelFile, Parity, Quality, UntiedModel
from tiedae.export.kinds import Kind, Maker, Precision, Stage
from tiedae.export.targets import TARGETS
from tiedae.runtimes.table import rounds_as_program

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Report:
    """What report.html shows.

    `golden` by name as in the bundle, floats in the unit of measure of the files (`Manifest.io`): `x` [n, inputs] in the
    data's unit of measure and dtype, `y` [n, inputs] of the reference program, `y.f32` of the Keras model. `kernels` int8 and
    `masks` bool, both [inputs, units], by the kernel's name. `task`: arrays of the task's section by name.
    """

    manifest: Manifest
    metrics: Metrics
    golden: Mapping[str, np.ndarray]
    kernels: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    task: Mapping[str, np.ndarray] = field(default_factory=dict)


def groups(rows: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Rows by key; keys in the order of their first rows."""
    found: dict[K, list[T]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def samples_text(data: Data) -> str:
    """The samples of each split: `9,000 train, 1,000 test`."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return ", ".join(f"{count:,} {part}" for part, count in parts.items() if count)


def keras_float(metrics: Metrics) -> Quality | None:
    """The row of the Keras float model, the reference of comparisons; None if it was not measured."""
    return next((row for row in metrics.quality if row.stage is Stage.TRAIN), None)


def worst_exported(metrics: Metrics, precision: Precision) -> Quality | None:
    """The quality row with the largest error of our files of one precision; None if there is none."""
    rows = (row for row in metrics.quality if (row.stage, row.precision) == (Stage.EXPORT, precision))
    return max(rows, key=lambda row: row.error, default=None)


def float_bytes(metrics: Metrics) -> int:
    """Of the Keras model's weights in float32, each kernel once."""
    if metrics.model is None:
        return 0
    return metrics.model.float_bytes or sum(4 * (a * b + a + b) for a, b in pairwise(metrics.model.widths))


def change_text(value: float, reference: Quality | UntiedModel | None) -> str:
    """The change relative to the reference's error, in percent with sign; '' without a reference."""
    return f"{value / reference.error - 1:+.1%}".replace("%", " %").replace("-", "−") if reference and reference.error else ""


def file_groups(metrics: Metrics) -> dict[tuple[str, Precision], list[ModelFile]]:
    """The model files by (format, precision): int8 before float, then in the order of `TARGETS`; whole models first."""
    whole = {f"{metrics.name}.{row.precision}.{row.format}" for row in metrics.files}
    found = groups(metrics.files, lambda row: (row.format, row.precision))
    formats = list(TARGETS)
    order = sorted(found, key=lambda key: (key[1] is not Precision.INT8, formats.index(key[0]) if key[0] in formats else 99))
    return {key: sorted(found[key], key=lambda row: row.file not in whole) for key in order}


@dataclass(frozen=True)
class SizeComparison:
    """Our file of one format and precision, and the smallest stock file of that kind, if any."""

    ours: ModelFile
    stock: ModelFile | None

    @property
    def ratio(self) -> float | None:
        return self.ours.bytes / self.stock.bytes if self.stock else None


def compare_sizes(metrics: Metrics) -> list[SizeComparison]:
    """One comparison per format and precision of our files, in the order of `file_groups`."""
    compared = []
    for rows in file_groups(metrics).values():
        ours = [row for row in rows if row.maker is Maker.TIEDAE]
        stock = [row for row in rows if row.maker is Maker.STOCK]
        if ours:
            compared.append(SizeComparison(ours[0], min(stock, key=lambda row: row.bytes, default=None)))
    return compared


def size_kind(row: ModelFile) -> str:
    """What the bytes of a file are, where they are not its size."""
    return "bytes of constants" if row.format in TARGETS and TARGETS[row.format].source else ""


def kind_text(row: ModelFile | Latency) -> str:
    """The kind of a file: `TFLite int8`."""
    target = TARGETS.get(row.format)
    return f"{target.label if target else row.format} {row.precision}"


def stored_once(metrics: Metrics) -> bool:
    """Whether every storage proof holds and no file of ours stores a kernel twice."""
    proven = bool(metrics.storage) and all(row.ok for row in metrics.storage)
    return proven and all(row.kernel_copies == 1 for row in metrics.files if row.maker is Maker.TIEDAE)


def promised_codes(metrics: Metrics) -> list[Parity]:
    """The comparisons of our int8 files' codes with the program, in runtimes that must give equal codes."""
    ours = {row.file for row in metrics.files if row.maker is Maker.TIEDAE}
    rows = (row for row in metrics.parity if row.kind is Kind.CODES and row.file in ours)
    return [row for row in rows if rounds_as_program(row.runtime)]


def codes_text(rows: Sequence[Parity], named: bool = True) -> str:
    """The worst of these comparisons of codes in words, with the runtimes if `named`; `rows` is not empty."""
    row, runtimes = max(rows, key=lambda row: row.badness), list(dict.fromkeys(row.runtime for row in rows))
    if row.problem:
        return f"codes cannot be compared in {row.runtime}"
    if not row.differing:
        return f"all {row.count:,} codes equal in {' and '.join(runtimes) if named else 'every runtime'}"
    equal = fraction(row.count - row.differing, row.count)
    where = f"{row.runtime}, {row.signature}, the worst of {len(rows)} comparisons"
    return f"{equal} of {row.count:,} codes equal, the rest at most {row.max_lsb} LSB off ({where})"


def formats_text(metrics: Metrics) -> str | None:
    """The difference between int8 reconstructions of TFLite and ONNX in words; None if they were not compared."""
    of = (Kind.FORMATS, "y", Precision.INT8)
    rows = [row for row in metrics.parity if (row.kind, row.tensor, row.precision) == of]
    row = max(rows, key=lambda row: row.badness, default=None)
    if row is None or row.problem:
        return None
    if not row.differing:
        return f"Reconstructions of the int8 TFLite and ONNX files were equal in all {row.count:,} values."
    return (
        f"Reconstructions of the int8 TFLite and ONNX files differ in {fraction(row.differing, row.count)} of their "
        f"{row.count:,} values, by at most {row.max_lsb} LSB, since their decoders round differently. Decode in one format "
        "if reconstructions must be equal."
    )
