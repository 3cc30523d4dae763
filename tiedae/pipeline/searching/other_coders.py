"""Bits and errors of other coders on the validation samples of a search: PCA, and image formats for images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiedae.base.records import Record
from tiedae.bundle.fidelity import squared_error
from tiedae.bundle.task_results import Coder
from tiedae.data.dataset import Dataset, choose
from tiedae.tasks.coders import IMAGE_CODERS, QUALITIES, PcaChoice, file_bytes, grid_of
from tiedae.tasks.compression import FAR, TITLES, TRAINING_SAMPLES, no_pca, not_pictures

AROUND = (0.7, 1.4)
"""The curve of PCA goes from this multiple of the least bits of a trial to this one of the most."""
RATES = 8
"""Points of the curve of PCA at most."""


class CoderPoint(Record, frozen=True):
    """`bits` per sample, whole files; squared `error` per sample in scaled values; `setting`: what was chosen."""

    coder: Coder
    bits: float
    error: float
    setting: str


class CodersMeasured(Record, frozen=True):
    """Points of other coders, each coder's by bits, and what was left out, with its reason."""

    points: tuple[CoderPoint, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class OtherCoders:
    """Measures coders on validation `samples`, [n, inputs], not scaled. `seed` draws the training samples of PCA.

    Like the search, PCA chooses on the samples that it is measured on.
    """

    splits: Dataset
    samples: np.ndarray = field(repr=False)
    seed: int

    def measure(self, bits: Sequence[float], error: float, *, noisy: bool) -> CodersMeasured:
        """The points around these bits per sample, and down to about this squared error."""
        if noisy:
            return CodersMeasured(skipped=("other coders: the model gives clean samples for noisy ones",))
        skipped: list[str] = []
        points = [*self.pca(bits, skipped)]
        if self.splits.spec.kind == "image":
            points += self.images(max(bits), error, skipped)
        return CodersMeasured(tuple(points), tuple(skipped))

    def point(self, coder: Coder, size: int, samples: np.ndarray, decoded: np.ndarray, setting: str) -> CoderPoint:
        apply = self.splits.scaling.apply
        return CoderPoint(coder, 8 * size / len(samples), squared_error(apply(samples), apply(decoded)), setting)

    def pca(self, bits: Sequence[float], skipped: list[str]) -> Iterator[CoderPoint]:
        """The least error at several bits per sample; components fitted to training samples."""
        spec, scaling, train = self.splits.spec, self.splits.scaling, self.splits.train
        if problem := no_pca(spec.inputs, len(train)):
            skipped.append(f"PCA: {problem}")
            return
        x = scaling.apply(self.samples)
        choice = PcaChoice(scaling.apply(train.take(choose(train, TRAINING_SAMPLES, self.seed))), x)
        wanted = np.geomspace(AROUND[0] * min(bits), AROUND[1] * max(bits), RATES)
        coders = {coder.setting: coder for coder in map(choice.at, wanted) if coder is not None}
        if not coders:
            skipped.append(f"PCA: no number of components and step costs {wanted[0]:.4g} to {wanted[-1]:.4g} bits per sample")
        for coder in coders.values():
            codes = coder.encode(x)
            size = file_bytes(coder.tables, codes, self.samples[0].nbytes)
            yield self.point("pca", size, self.samples, scaling.invert(coder.decode(codes), spec.dtype), coder.setting)

    def images(self, bits: float, error: float, skipped: list[str]) -> Iterator[CoderPoint]:
        """Image formats from the least quality up to the first of `FAR` times less error, or more bits."""
        spec = self.splits.spec
        rows, columns = grid_of(len(self.samples))
        samples = self.samples[: rows * columns]
        reason = not_pictures(spec.shape, spec.dtype)
        for name, coder in IMAGE_CODERS.items():
            if problem := reason or coder.missing:
                skipped.append(f"{TITLES[name]}: {problem}")
                continue
            for quality in QUALITIES:
                size, decoded = coder.thorough.code_images(samples.reshape(-1, *spec.shape), quality)
                point = self.point(name, size, samples, decoded.reshape(samples.shape), f"quality {quality}")
                yield point
                if point.error <= error / FAR or point.bits >= FAR * bits:
                    break
