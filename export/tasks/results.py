"""The result of each kind of task, in metrics.json under `task`; `kind` is the tag, as in `[task]` of a recipe."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from msgspec import Meta

from ...compress.keys import Count, Positive
from ...compress.records import Record
from ...compress.tasks import NoiseKind

Method = Literal["int8", "float", "pca", "umap"]
"""`int8`: codes of the integer program, as real numbers; `float`: those of the float model that it comes from."""
Bytes = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0, le=sys.float_info.max)]
INPUT, PROGRAM, KERAS = "input", "int8", "float"
OWN = (INPUT, PROGRAM, KERAS)
"""Methods of a denoising that are no baselines: the noisy input, the exported program, the float model."""


class CompressionResult(Record, frozen=True, tag="compression", tag_field="kind"):
    """`sample_bytes` of a sample as given, `code_bytes` of its code before entropy coding, both packed."""

    sample_bytes: Bytes
    code_bytes: Bytes


class AnomalyResult(Record, frozen=True, tag="anomaly", tag_field="kind"):
    pass


class Denoised(Record, frozen=True):
    """How near a method's output, or the noisy input itself (`input`), is to the clean samples.

    `level`: of the noise; None where the data have noise of their own. `gain_db`: 10 · log₁₀(squared error of the noisy input /
    squared error); None where one of them is 0. `value`: PSNR of images in dB, R² of a table, PRDN of a record in %, as
    `measure` says. `ssim`: of images. `setting`: the parameter that validation samples chose.
    """

    method: str
    level: float | None
    mse: Amount
    measure: str
    unit: str
    value: float | None
    gain_db: float | None = None
    ssim: float | None = None
    setting: str = ""


class DenoisingResult(Record, frozen=True, tag="denoising", tag_field="kind"):
    """`noise` and `level` of training, None each where the data have pairs; `samples` of the test set that were measured.

    `rows`: the noisy input, the int8 program and the float model, then baselines, at the level of training; and the input and
    the program at other levels.
    """

    noise: NoiseKind | None
    level: float | None
    samples: Bytes
    rows: tuple[Denoised, ...]

    def at(self, level: float | None) -> list[Denoised]:
        return [row for row in self.rows if row.level == level]

    def row(self, method: str) -> Denoised:
        """That of a method at the level of training."""
        return next(row for row in self.at(self.level) if row.method == method)

    @property
    def best_baseline(self) -> Denoised | None:
        """The baseline of the least squared error."""
        return min((row for row in self.at(self.level) if row.method not in OWN), key=lambda row: row.mse, default=None)


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
