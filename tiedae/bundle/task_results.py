"""The result of each kind of task, in metrics.json under `task`; `kind` is the tag, as in `[task]` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tiedae.base.keys import Count, NonNegative, Positive, ProperFraction
from tiedae.base.numbers import counted
from tiedae.base.records import Record, require
from tiedae.config.tasks import NoiseKind, ScoreKind

Measure = Literal["PSNR", "R²", "PRDN"]
"""Measures of fidelity, see `fidelity`."""
Method = Literal["int8", "float", "pca", "umap"]
"""`int8`: codes of the integer program, as real numbers; `float`: those of the float model that it comes from."""
Scorer = Literal["int8", "float", "pca", "isolation-forest", "mean", "rms", "rms-differences", "log-spectra"]
"""What gives anomaly scores: the integer program, the float model, baselines."""
Bytes = Annotated[int, Meta(ge=1)]
INPUT, PROGRAM, KERAS = "input", "int8", "float"
TIED = "tied"
Coder = Literal["tied", "pca", "jpeg", "webp", "avif"]
Chosen = Literal["", "bits", "error"]
OWN = (INPUT, PROGRAM, KERAS)
"""Methods of a denoising that are no baselines: the noisy input, the exported program, the float model."""


class RatePoint(Record, frozen=True):
    """Test samples through a lossy coder and back: `bytes` of its file, `bits` per value of the samples.

    `coder`: `tied` is this bundle's codec. `chosen`: to be compared with it, at equal `bits` or at equal `error`; empty for
    other points of its curve. `setting`: what was chosen. `mse` in the data's unit of measure, squared; `value`: the result's
    `measure`; None where it is not defined. `ssim`: of images, of points that are compared.
    """

    coder: Coder
    chosen: Chosen
    bytes: Bytes
    bits: NonNegative
    mse: NonNegative
    value: float | None
    ssim: float | None = None
    setting: str = ""


class LosslessSize(Record, frozen=True):
    """The `bytes` of the same samples by a lossless coder, and `bits` per value."""

    coder: str
    bytes: Bytes
    bits: NonNegative


class CompressionResult(Record, frozen=True, tag="compression", tag_field="kind"):
    """`sample_bytes` of a sample as given, `code_bytes` of its code before entropy coding, both packed.

    `samples` of the test set that were coded, 0 where this was not measured. `measure` and `unit` of the quality of `points`:
    PSNR of images in dB, R² of a table, PRDN of a record in %. The first point is this bundle's .tae file. `pictures`: whose
    patches the samples are, which image formats code as wholes; 0: they have one mosaic of all samples.
    """

    sample_bytes: Bytes
    code_bytes: Bytes
    samples: Count = 0
    measure: Measure | Literal[""] = ""
    unit: str = ""
    points: tuple[RatePoint, ...] = ()
    lossless: tuple[LosslessSize, ...] = ()
    pictures: Count = 0

    @property
    def samples_text(self) -> str:
        """`60 test samples`, or `3,072 test samples, patches of 2 whole pictures`."""
        of = f", patches of {counted(self.pictures, 'whole picture')}" if self.pictures else ""
        return f"{self.samples:,} test samples{of}"

    @property
    def compared(self) -> list[RatePoint]:
        """This bundle's point, and those that are compared with it."""
        return [point for point in self.points if point.coder == TIED or point.chosen]

    def ratio(self, size: int) -> float:
        """How many times smaller than the samples a file of `size` bytes is."""
        return self.samples * self.sample_bytes / size


class Estimate(Record, frozen=True):
    """A figure and its bootstrap interval of 95 %."""

    value: float
    low: float
    high: float


class Detection(Record, frozen=True):
    """How well a method's scores tell anomalies from normal samples, see `ranking`; `f1` at its threshold."""

    method: Scorer
    roc_auc: Estimate
    pr_auc: Estimate
    f1: Estimate


class LabelFlags(Record, frozen=True):
    """Of the samples of a label: how many, how many are flagged, and the ROC-AUC against the normal samples if they are not."""

    label: str
    normal: bool
    samples: Positive
    flagged: Count
    roc_auc: Estimate | None = None


class IntervalFlags(Record, frozen=True):
    """How well scores separate the intervals of a record from windows that overlap none. An interval has the largest score of
    its windows, and one flagged window flags it. `methods` as of windows; `labels`: kinds, their `samples` are intervals.
    """

    methods: tuple[Detection, ...]
    labels: tuple[LabelFlags, ...]

    @property
    def kinds(self) -> list[LabelFlags]:
        """Those of intervals, without that of the windows beside them."""
        return [each for each in self.labels if not each.normal]

    @property
    def count(self) -> int:
        return sum(each.samples for each in self.kinds)

    @property
    def flagged(self) -> int:
        return sum(each.flagged for each in self.kinds)


class AnomalyResult(Record, frozen=True, tag="anomaly", tag_field="kind"):
    """How the int8 program flags `samples` test samples, `alarms` of them, and how other methods do.

    `threshold`: of scores in the fused layout, the `quantile` of those of `held_out` normal samples. `normal` test samples, of
    which `false_alarms` are flagged; None without labels. `seed` of the bootstrap. `intervals`: of a record that has some.
    """

    score: ScoreKind
    quantile: ProperFraction
    threshold: NonNegative
    held_out: Positive
    samples: Positive
    alarms: Count
    normal: Count | None
    false_alarms: Count | None
    seed: Count
    methods: tuple[Detection, ...]
    labels: tuple[LabelFlags, ...]
    intervals: IntervalFlags | None = None

    @property
    def alarm_rate(self) -> float | None:
        """Flagged normal test samples / expected ones, 1 at best; None without any."""
        if not self.normal or self.false_alarms is None:
            return None
        return self.false_alarms / (self.normal * (1 - self.quantile))

    def method(self, name: str) -> Detection | None:
        return next((each for each in self.methods if each.method == name), None)


class Denoised(Record, frozen=True):
    """How near a method's output, or the noisy input itself (`input`), is to the clean samples.

    `level`: of the noise; None where the data have noise of their own. `gain_db`: 10 · log₁₀(`error` of the noisy input /
    `error`); None where one of them is 0. `value`: PSNR of images in dB, R² of a table, PRDN of a record in %, as
    `measure` says. `ssim`: of images. `setting`: the parameter that validation samples chose.
    """

    method: str
    level: float | None
    mse: NonNegative
    measure: Measure
    unit: str
    value: float | None
    gain_db: float | None = None
    ssim: float | None = None
    setting: str = ""

    @property
    def error(self) -> float:
        """What methods are compared by: 1 − R² of a table, whose columns have units of their own, else the squared error."""
        return 1 - self.value if self.measure == "R²" and self.value is not None else self.mse


class DenoisingResult(Record, frozen=True, tag="denoising", tag_field="kind"):
    """`noise` and `level` of training, None each where the data have pairs; `samples` of the test set that were measured.

    `rows`: the noisy input, the int8 program and the float model, then baselines, at the level of training; and the input and
    the program at other levels.
    """

    noise: NoiseKind | None
    level: float | None
    samples: Bytes
    rows: tuple[Denoised, ...]

    def __post_init__(self) -> None:
        methods = [row.method for row in self.at(self.level)]
        require({INPUT, PROGRAM} <= {*methods}, f"rows of level {self.level}", methods, f"{INPUT}, {PROGRAM} and others")

    def at(self, level: float | None) -> list[Denoised]:
        return [row for row in self.rows if row.level == level]

    def row(self, method: str) -> Denoised:
        """That of a method at the level of training."""
        return next(row for row in self.at(self.level) if row.method == method)

    @property
    def best_baseline(self) -> Denoised | None:
        """The baseline of the least error."""
        return min((row for row in self.at(self.level) if row.method not in OWN), key=lambda row: row.error, default=None)


class Neighbourhoods(Record, frozen=True):
    """How well codes by `method` keep neighbours, see `neighbourhoods`; `knn_accuracy` is None without labels."""

    method: Method
    trustworthiness: float
    continuity: float
    knn_accuracy: float | None = None


class ReductionResult(Record, frozen=True, tag="reduction", tag_field="kind"):
    """Codes of `units` values of `samples` test samples, by the int8 program and by other methods.

    `neighbours` of trustworthiness and continuity. `votes` of the k-NN accuracy, among `train` training samples; `classes`: the
    number of their labels, 0 without.
    """

    units: Positive
    samples: Positive
    neighbours: Positive
    votes: Positive
    train: Positive
    classes: Count
    methods: tuple[Neighbourhoods, ...]


TaskResult = CompressionResult | AnomalyResult | DenoisingResult | ReductionResult
