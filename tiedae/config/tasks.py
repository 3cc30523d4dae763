"""The `[task]` table of a recipe: what the bundle is for. One record per kind, each with its own keys; `kind` is the tag.
The noise that a denoising is trained with is in `[train]`.

`tasks.table.TASKS` holds what each kind measures and reports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tiedae.base.keys import AboveZero, Positive, means
from tiedae.base.records import LARGEST, Checked, require

ScoreKind = Literal["mse", "mae", "max", "standardized"]


class Compression(Checked, frozen=True, tag="compression", tag_field="kind"):
    """Codes are stored or sent, and decoded later."""


class Anomaly(Checked, frozen=True, tag="anomaly", tag_field="kind"):
    """Samples that are reconstructed worse than held-out normal ones are anomalies."""

    quantile: Annotated[
        float, Meta(gt=0, lt=1), means("fraction of normal samples whose score is below the threshold, which it sets")
    ] = 0.99
    normal: Annotated[
        tuple[int | str, ...], means("labels of normal samples, the only ones trained on; empty: every sample is normal")
    ] = ()
    score: Annotated[
        ScoreKind,
        means("mean squared, mean absolute or largest error; or errors by those of training"),
    ] = "mse"

    def check(self) -> None:
        require(len(set(self.normal)) == len(self.normal), "normal", list(self.normal), "a list of different labels")


MOST_INPUTS = 1 << 16
"""Values of a sample that an anomaly score takes at most: their sum fits in 64 bits."""


def held_out_samples(quantile: float) -> int:
    """The least number of normal samples that say where a quantile of theirs is: 1 / (1 − quantile)."""
    return math.ceil(round(1 / (1 - quantile), 6))


class Denoising(Checked, frozen=True, tag="denoising", tag_field="kind"):
    """Noisy samples become clean ones; needs `noise` in [train], or `clean` in [data]."""


class Reduction(Checked, frozen=True, tag="reduction", tag_field="kind"):
    """Codes replace the samples in plots and other models: do neighbours stay neighbours?"""

    neighbours: Annotated[Positive, means("of a sample, for trustworthiness and continuity")] = 10
    votes: Annotated[Positive, means("nearest codes of training samples that vote on a label, where the data have labels")] = 5
    samples: Annotated[
        int, Meta(ge=8, le=LARGEST), means("test samples that are compared at most; the time grows with their square")
    ] = 2000


NoiseKind = Literal["gaussian", "salt-pepper", "masking", "speckle"]
LARGEST_DEVIATION = 10.0
"""Of `gaussian` and `speckle`: scaled data span a few at most, a larger level is one of data that are not scaled."""


class NoiseConfig(Checked, frozen=True):
    """Noise that each epoch adds to its inputs anew; the output to learn stays clean."""

    kind: Annotated[NoiseKind, means("gaussian is added, speckle multiplied; salt-pepper: extremes; masking: 0", "gaussian")]
    level: Annotated[
        AboveZero,
        means("gaussian, speckle: standard deviation of scaled values; else fraction of values that change", 0.3),
    ]

    def check(self) -> None:
        fraction = self.kind in ("salt-pepper", "masking")
        limit, what = (
            (1.0, "a fraction of the values") if fraction else (LARGEST_DEVIATION, "a standard deviation in scaled values")
        )
        right = f"in (0, {limit:g}{')' if fraction else ']'}, {what}, with kind {self.kind}"
        require(self.level < limit or (not fraction and self.level == limit), "level", self.level, right)


Task = Compression | Anomaly | Denoising | Reduction

BASELINES: Mapping[str, tuple[str, ...]] = {
    "compression": ("pca", "jpeg", "webp", "avif", "lzma", "flac", "mean"),
    "anomaly": ("pca", "isolation-forest", "mean", "rms", "rms-differences", "log-spectra"),
    "denoising": ("input", "median", "wavelet", "nl-means", "pca", "mean"),
    "reduction": ("pca", "mean"),
}
"""What a result is compared with, by kind of task. `mean`: that of the training samples, in place of any output or code.
`rms`, `rms-differences` and `log-spectra`: of records alone."""


def task_kind(record: Struct) -> str:
    """The tag of a task, or of a task's result: `anomaly`."""
    return str(type(record).__struct_config__.tag)
