"""Results of a verification as records, and metrics.json, which holds them.

Enums and names identify a row; its texts are for people and never parsed. JSON keys are the field names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, structs

from tiedae.base.errors import CheckError, FormatError, InputError, listed
from tiedae.base.files import read_regular
from tiedae.base.keys import Line, NonNegative, Positive, ProperFraction, Sha256OrNone
from tiedae.base.numbers import number
from tiedae.base.records import Record, decode, encode, load_json, plain, require
from tiedae.compress.start_or_end import StartOrEnd
from tiedae.compress.training_start import TrainingStart
from tiedae.config.config import VerifyConfig
from tiedae.export.kinds import Kind, Lost, Maker, Precision, Skipped, Stage
from tiedae.program.differences import LEAST_SCALE, Sample, place

from .bench_results import Bench
from .task_results import Estimate, Measure, TaskResult
from .verdict import Verdict

SCHEMA = 2
FILE = "metrics.json"

REFERENCES: Mapping[str, str] = {"program": "the integer program", "keras": "Keras", "float program": "the float program"}
"""Display names of references; a runtime's is its own name."""
Count = Annotated[int, Meta(ge=0)]
Difference = Annotated[str, Meta(pattern=r"^-?[0-9]{1,12}$(?!\n)", title="an integer")]


class Check(Record, frozen=True):
    """A check: `value` had to satisfy `limit`.

    `file`, `signature` and `runtime` identify its subject, `peer` a second runtime; `detail` distinguishes checks of one kind.
    """

    kind: Kind
    ok: bool
    value: float | int | str
    limit: str
    text: str
    file: str = ""
    signature: str = ""
    runtime: str = ""
    detail: str = ""
    peer: str = ""

    @property
    def name(self) -> str:
        return " ".join(self.key)

    @property
    def key(self) -> tuple[str, ...]:
        """The identity of a check."""
        return tuple(filter(None, (self.kind, self.detail, self.file, self.signature, self.runtime, self.peer)))


class Proof(Record, frozen=True):
    """One statement about the storage of a kernel in a file; `kernel` is empty for the whole file."""

    file: str
    kernel: str
    statement: str
    ok: bool
    text: str


class Parity(Record, frozen=True):
    """One comparison of a tensor of the program. `problem` tells of another dtype or shape or a non-finite value: a failure.

    `reference` is the source of the expected values: `program`, `keras`, `float program` or another runtime; `encoder` the
    runtime whose codes were decoded.
    int8: `differing` of `count` values differ, by at most `max_lsb`; `histogram` counts the differences (got − expected).
    float: `max_abs` and `mean_abs` of the differences, `full_scale` the largest expected magnitude; the tolerances are
    |got − expected| ≤ max(`atol`, `rtol` · `full_scale`).
    `sqnr_db` and `cosine` compare real values, see `comparison.similarity`. `samples` are the largest differences.
    """

    kind: Kind
    precision: Precision
    tensor: str
    reference: str = "program"
    file: str = ""
    runtime: str = ""
    provider: str = ""
    signature: str = ""
    encoder: str = ""
    count: Count = 0
    differing: Count = 0
    max_lsb: Count = 0
    max_abs: NonNegative = 0.0
    mean_abs: NonNegative = 0.0
    full_scale: NonNegative = 0.0
    sqnr_db: float | None = None
    cosine: float | None = None
    atol: float | None = None
    rtol: float | None = None
    histogram: Mapping[Difference, int] = {}
    samples: tuple[Sample, ...] = ()
    problem: str = ""

    def __post_init__(self) -> None:
        require(self.kind in LABELS, "kind", self.kind.value, "one of " + ", ".join(LABELS))

    @property
    def label(self) -> str:
        """The compared tensor: `codes (encode)`, `operation y.product`."""
        return LABELS[self.kind].format(**plain(self))

    @property
    def equal_fraction(self) -> float:
        return 1.0 if self.count == 0 else 1 - self.differing / self.count

    @property
    def mean_lsb(self) -> float:
        """The mean magnitude of the int8 differences over all values."""
        return sum(abs(int(lsb)) * count for lsb, count in self.histogram.items()) / max(self.count, 1)

    @property
    def relative(self) -> float:
        """The largest float difference as a fraction of full scale (at least `LEAST_SCALE`)."""
        return self.max_abs / max(self.full_scale, LEAST_SCALE)

    @property
    def badness(self) -> tuple[bool, float, float]:
        """Sort key, largest for the worst: problems (all equal, the first caused the rest), largest difference, fraction of
        differing values."""
        if self.problem:
            return True, 0.0, 0.0
        largest = self.max_lsb if self.precision is Precision.INT8 else self.relative
        return False, largest, self.differing / (self.count or 1)

    @property
    def text(self) -> str:
        """One line: the problem, or the differing values, the largest difference and its place."""
        if self.problem:
            return f"{self.label}: {self.problem}"
        whose = "the program" if self.reference == "program" else REFERENCES.get(self.reference, self.reference)
        if self.precision is Precision.F32:
            where = f"; largest at {place(self.samples[0])}" if self.samples and not self.close() else ""
            fraction = f"{self.relative:.2g} of full scale {self.full_scale:.3g}"
            return f"{self.label} differs from {whose} by at most {self.max_abs:.2g}, {fraction}{where}"
        if self.differing == 0:
            return f"{self.label}: all {self.count:,} values equal those of {whose}"
        gap = f"{self.differing:,} of {self.count:,} values differ from {whose}, by at most {self.max_lsb} LSB"
        return f"{self.label}: {gap}; largest at {place(self.samples[0])}"

    def within(self, *, max_lsb: int, equal_fraction: float = 0.0) -> bool:
        """Whether an int8 comparison is within these limits."""
        return not self.problem and self.max_lsb <= max_lsb and self.equal_fraction >= equal_fraction

    def close(self) -> bool:
        """Whether a float comparison is within its tolerances."""
        return not self.problem and self.max_abs <= max(self.atol or 0.0, (self.rtol or 0.0) * self.full_scale)


LABELS: Mapping[Kind, str] = {
    Kind.GOLDEN: "golden {tensor}",
    Kind.CODES: "codes ({signature})",
    Kind.INPUTS: "x ({signature})",
    Kind.OUTPUT: "y ({signature})",
    Kind.OPERATIONS: "operation {tensor}",
    Kind.TRACE: "{tensor} ({signature})",
    Kind.FLOAT: "float {tensor} ({signature})",
    Kind.LAYERS: "layer {tensor}",
    Kind.FORMATS: "formats: {tensor}",
    Kind.CROSSING: "y of {encoder}'s codes",
    Kind.WITNESS: "codes against {reference}",
}
"""Format of a label by kind of comparison."""


class LayerError(Record, frozen=True):
    """The error (got − expected) of one layer's output in real values, see `error_breakdown`; `mean` is the bias.

    For the program itself `layout` is that of its decoder, and there is no file.
    """

    error: Lost
    layer: str
    precision: Precision
    runtime: str
    reference: str
    count: Count
    rms: NonNegative
    max_abs: NonNegative
    mean: float
    file: str = ""
    layout: str = ""
    sqnr_db: float | None = None
    cosine: float | None = None


class Column(Record, frozen=True):
    """R² of a column of a table or a channel of a record, None if it is constant, and the root of its mean squared error."""

    name: str
    r2: float | None
    rmse: NonNegative


class Fit(Record, frozen=True):
    """The fidelity of reconstructions that are not scaled, see `fidelity`; `value` is None if it is exact or undefined.

    `columns` of a table; `channels` of a record.
    """

    measure: Measure
    unit: str
    mse: float
    value: float | None
    columns: tuple[Column, ...] = ()
    channels: tuple[Column, ...] = ()

    @property
    def worst_columns(self) -> list[tuple[float, str]]:
        """(R², name) of every column that has one, worst first."""
        return sorted((each.r2, each.name) for each in self.columns if each.r2 is not None)

    def lost(self, reference: Fit) -> list[tuple[float, Column, Column]]:
        """(R² lost, column, the same column of the reference) of every column that has R², most lost first."""
        pairs = zip(self.columns, reference.columns, strict=True)
        rows = [(theirs.r2 - ours.r2, ours, theirs) for ours, theirs in pairs if ours.r2 is not None and theirs.r2 is not None]
        return sorted(rows, key=lambda row: (-row[0], row[1].name))


class Quality(Record, frozen=True):
    """The squared `error` per test sample in scaled values, and the fidelity in the data's unit of measure.

    `noise`: half the 95 % interval of its difference to the error of the float model before compression, sample by sample.
    """

    title: str
    stage: Stage
    error: NonNegative
    fidelity: Fit | None = None
    precision: Precision | None = None
    file: str = ""
    runtime: str = ""
    provider: str = ""
    noise: NonNegative | None = None


class GroupFigures(Record, frozen=True):
    """What `samples` of a group of the data are like, such as those of a machine.

    `mean`: of their errors, or of their anomaly scores; None where none has one. `fidelity`: of test samples. `flagged` by an
    anomaly bundle; `normal` of them, of which `false_alarms` are flagged, None without labels. `roc_auc`: of the anomalies of
    the group against its normal samples, where there are both.
    """

    group: str
    samples: Count
    mean: NonNegative | None
    fidelity: Fit | None = None
    flagged: Count | None = None
    normal: Count | None = None
    false_alarms: Count | None = None
    roc_auc: Estimate | None = None


class Alarms(Record, frozen=True):
    """How many test samples a file of an anomaly bundle flags in a runtime: `false_alarms` of `normal` ones, all where they
    have no labels. `quantile`: the fraction of normal samples that its threshold leaves unflagged.
    """

    file: str
    runtime: str
    quantile: ProperFraction
    normal: Count
    false_alarms: Count


class ModelFile(Record, frozen=True):
    """A model file and its external data. `kernel_copies`: how often a kernel is stored; None if unknown.

    `agreement`: the fraction of integers that are equal in the duplicates of a kernel.
    """

    file: str
    bytes: Count
    format: str
    precision: Precision
    maker: Maker
    kernel_copies: int | None
    agreement: float | None = None


class ColumnWarning(Record, frozen=True):
    """A column that is reconstructed worse than by its mean (`r2` below 0, file and runtime in `where`), or constant (None); or
    a channel of a record whose error is large, with its `prdn` in %. `per_feature`: each column has a scale of its own."""

    column: str
    r2: float | None
    where: str = ""
    prdn: NonNegative | None = None
    per_feature: bool = False

    @property
    def text(self) -> str:
        if self.r2 is None:
            return f"{self.column}: never changes in the measured samples, so it has no R²; drop it, or measure other samples"
        if self.prdn is not None:
            return f"{self.column}: PRDN is {self.prdn:.3g} % in {self.where}: little of it is kept; {self.advice}"
        return f"{self.column}: R² is {self.r2:.3g} in {self.where}: its mean would be closer; {self.advice}"

    @property
    def advice(self) -> str:
        return "try more epochs or units" + ("" if self.per_feature else ", or `per_feature = true`")


def warning_lines(warnings: Sequence[ColumnWarning]) -> list[str]:
    """One line for the columns that are worse than their mean, one for those that are constant, and one for channels of large
    errors; each with their count."""
    negative = [warning for warning in warnings if warning.r2 is not None and warning.prdn is None]
    constant = [warning for warning in warnings if warning.r2 is None]
    channels = [warning for warning in warnings if warning.prdn is not None]
    lines = [f"column {each[0].text}" for each in (negative, constant) if len(each) == 1]
    lines += [f"channel {each.text}" for each in channels[:1] if len(channels) == 1]
    if len(negative) > 1:
        worst = negative[0]
        got = f"{len(negative):,} columns have an R² below 0, the worst {worst.column} with {worst.r2:.3g} in {worst.where}"
        lines.append(f"{got}: their means would be closer; {worst.advice}")
    if len(constant) > 1:
        got = f"{len(constant):,} columns never change in the measured samples ({listed([each.column for each in constant])})"
        lines.append(f"{got}, so they have no R²; drop them, or measure other samples")
    if len(channels) > 1:
        worst = channels[0]
        got = f"{len(channels):,} channels have a large PRDN, the worst {worst.column} with {worst.prdn:.3g} % in {worst.where}"
        lines.append(f"{got}: little of them is kept; {worst.advice}")
    return lines


class Device(Record, frozen=True):
    """The device that Keras ran on: TensorFlow's name and the model. `reason` says why it is not a GPU; else empty."""

    device: str
    name: str
    reason: str = ""
    tf32: bool = False


class Model(Record, frozen=True):
    """A model: `widths` are (inputs, values that each layer gives, the code last); `sparsity` by kernel, in 0…1.

    `float_bytes`: of the Keras float model's weights, each kernel once; 0 in earlier bundles, of dense layers.
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...] = ()
    output_activation: str = ""
    interleave: Positive = 1
    sparsity: Mapping[str, float] = {}
    float_bytes: Count = 0


class Source(Record, frozen=True):
    """The test samples of a measurement; quality is measured on `samples` of them, the `normal` ones of an anomaly task."""

    source: str
    sha256: str
    samples: Count = 0
    normal: bool = False

    @property
    def text(self) -> str:
        return samples_text(self.samples, normal=self.normal)


def samples_text(count: int, *, normal: bool) -> str:
    """`2,000 test samples`, `201 normal test samples`."""
    return f"{count:,} {'normal ' if normal else ''}test samples"


class Baseline(Record, frozen=True):
    """The comparison with metrics of `file`: number of figures, and texts of those better by more than the fraction `allow`.

    `uncompared`: what was not compared, with the reason. `allow_by`: fractions of some figures in place of `allow`.
    """

    file: str
    allow: float
    compared: int
    improved: tuple[str, ...]
    uncompared: tuple[str, ...] = ()
    allow_by: Mapping[Line, NonNegative] = {}

    @property
    def allowed(self) -> str:
        """`1.00%, bytes 6.00%`."""
        return ", ".join([f"{self.allow:.2%}", *(f"{name} {fraction:.2%}" for name, fraction in self.allow_by.items())])


class Epoch(Record, frozen=True):
    """An epoch of training. `bits`: of a code at its end, by the densities of training for rate. `kept`: after the last one of
    quantization-aware training. `starts`: of the first one of a tie, the losses that it could start from. `begun`: of the first
    one of float training whose start is not random."""

    stage: str
    epoch: int
    loss: float
    validation_loss: float | None = None
    bits: float | None = None
    kept: StartOrEnd | None = None
    starts: Mapping[Line, NonNegative] | None = None
    begun: TrainingStart | None = None

    @property
    def start(self) -> str:
        """Which start was taken, with the losses of all; empty where there was no choice."""
        if not self.starts:
            return "" if self.begun is None else self.begun.text
        losses = ", ".join(f"{name} {number(loss)}" for name, loss in self.starts.items())
        return f"tied from {min(self.starts, key=self.starts.__getitem__)}; losses before training: {losses}"


class UntiedModel(Record, frozen=True):
    """The model that was tied, or an int8 file that a stock converter made of it: `error` and `fidelity` as of `Quality`;
    `bytes` of the file, or of float32 weights."""

    title: Line
    error: NonNegative
    fidelity: Fit
    bytes: Count


class Metrics(Record, frozen=True):
    """All results of a bundle; `data` is that of its manifest, `task` the result of the recipe's `[task]`.

    `task_runtime` ran the files that `task` and `groups` were measured through; `program`: the integer program in their place.
    `verdict`: whether the result is any good. `untied`: what the model was before it was tied. `limits`: those of [verify] that
    were not the defaults. `program_sha256`: of the program that was measured, "" in earlier metrics.
    """

    name: str
    checks: tuple[Check, ...]
    storage: tuple[Proof, ...]
    parity: tuple[Parity, ...]
    errors: tuple[LayerError, ...]
    quality: tuple[Quality, ...]
    files: tuple[ModelFile, ...]
    skipped: tuple[Skipped, ...]
    versions: Mapping[str, str]
    warnings: tuple[ColumnWarning, ...] = ()
    history: tuple[Epoch, ...] = ()
    data: Mapping[str, Any] = {}
    model: Model | None = None
    keras: Device | None = None
    samples: Source | None = None
    baseline: Baseline | None = None
    bench: Bench | None = None
    task: TaskResult | None = None
    task_runtime: str = ""
    alarms: tuple[Alarms, ...] = ()
    groups: tuple[GroupFigures, ...] = ()
    verdict: Verdict | None = None
    untied: tuple[UntiedModel, ...] = ()
    limits: Mapping[Line, NonNegative] = {}
    program_sha256: Sha256OrNone = ""

    @property
    def limits_text(self) -> str:
        """`codes_equal_share 0 (default 1)`; empty where all limits are the defaults."""
        return ", ".join(limit_text(key, value) for key, value in self.limits.items())

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.ok]

    def raise_for_failures(self) -> None:
        """Raise CheckError, which names the first failed check, if there is one."""
        if self.failed:
            raise CheckError(f"{self.name}: {len(self.failed)} of {len(self.checks)} checks failed: {self.failed[0].text}")


def limit_text(key: str, value: float) -> str:
    usual = structs.asdict(VerifyConfig()).get(key)
    return f"{key} {number(value)}" + (f" (default {number(usual)})" if isinstance(usual, int | float) else "")


def to_json(metrics: Metrics) -> str:
    """The text of metrics.json; ValueError for a number that is not finite."""
    return encode({"schema": SCHEMA, **plain(metrics)}).decode()


def read_metrics(path: Path) -> Metrics:
    """The metrics of a file: metrics.json of a bundle, or the output of `tiedae verify --json`.

    Raises InputError if the file is missing, FormatError if it is damaged, of another kind or schema.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file, must be metrics of a verification")
    found = load_json(read_regular(path), path)
    if not isinstance(found, dict) or "schema" not in found:
        raise FormatError(f"{path}: not metrics of tiedae: it has no schema")
    schema = found.pop("schema")
    if schema != SCHEMA:
        raise FormatError(f"{path}: metrics of schema {schema!r}, this tiedae reads schema {SCHEMA}")
    return decode(Metrics, found, path)


def finite(value: float | int | str) -> float | int | str:
    """The value of a check; NaN and infinity as text, since JSON has neither."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
