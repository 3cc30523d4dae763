"""Compression: codes are stored or sent, and decoded later. Rate and distortion of the .tae file beside other coders.

Everything is measured on what a decoder gives, in the data's dtype, at the bytes of whole files, heads of frames included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tiedae.bundle.fidelity import MEASURES
from tiedae.bundle.task_results import TIED, Chosen, Coder, CompressionResult, LosslessSize, RatePoint
from tiedae.bundle.verdict import Criterion
from tiedae.codec.frames import FileModel
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamEncoder
from tiedae.compress.errors import FormatError
from tiedae.export.kinds import Kind, Skipped, Why

from .coders import IMAGE_CODERS, LOSSLESS_CODERS, QUALITIES, PcaChoice, file_bytes, grid_of, least_quality
from .row import Contest, Exported, TaskMeasurement, TaskRow, not_measured
from .ssim import ssim_of

MAX_SAMPLES = 2_000
MAX_VALUES = 1 << 21
"""Maximum numbers of test samples, and of their values: a mosaic of two million pixels."""
TRAINING_SAMPLES, HELD_SAMPLES = 8_000, 1_000
"""Training samples that components are fitted to, and samples that their number and step are chosen on, at most."""
LEAST_SAMPLES = 16
"""Training samples that components need."""
MAX_INPUTS = 2_048
"""Values of a sample up to which components are fitted: the time grows with their cube."""
FAR = 4
"""The curve of an image format ends at the first quality whose error is so many times smaller than ours."""
RATES = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Rates of the curve of PCA, as multiples of ours."""
TITLES: Mapping[Coder, str] = {TIED: "this codec, .tae", "pca": "PCA", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


@dataclass(frozen=True)
class _Rates:
    """Measures coders on the same test samples, [n, inputs] in the data's unit of measure."""

    exported: Exported
    samples: np.ndarray = field(repr=False)

    def point(self, coder: Coder, size: int, decoded: np.ndarray, setting: str = "", chosen: Chosen = "") -> RatePoint:
        """The point of a file of `size` bytes that decodes to samples [n, inputs] in the data's unit of measure and dtype."""
        data, fidelity = self.exported.data, self.exported.fidelity
        found = fidelity.measure(self.samples, data.scaling.apply(decoded))
        similarity = ssim_of(data.spec, fidelity.peak, self.samples, decoded) if chosen or coder == TIED else None
        return RatePoint(coder, chosen, size, 8 * size / self.samples.size, found.mse, found.value, similarity, setting)

    def tied(self) -> tuple[RatePoint, np.ndarray]:
        """Our file, and what it decodes to."""
        if self.exported.tables is None:
            raise FormatError("the bundle lists no tables of codes, and files of codes need them")
        model = FileModel(self.exported.backend, self.exported.tables, bytes(8))
        data = StreamEncoder(model, self.exported.model).whole(self.samples)
        decoded = np.concatenate(list(Reader(model, data, "data").samples())).reshape(self.samples.shape)
        classes = self.exported.tables.classes
        return self.point(TIED, len(data), decoded, f"{classes} classes" if classes > 1 else ""), decoded

    def pca(self, skipped: list[Skipped]) -> Iterator[tuple[RatePoint, np.ndarray]]:
        """The points of the curve of PCA, and what each file decodes to."""
        spec, scaling = self.exported.data.spec, self.exported.data.scaling
        train, other, chosen = self.exported.held_apart(HELD_SAMPLES, 5, TRAINING_SAMPLES)
        if problem := no_pca(spec.inputs, len(train)):
            skipped.append(Skipped(Kind.TASK, Why.LIMITED, "PCA", problem))
            return
        held = other.take(chosen)
        choice = PcaChoice(scaling.apply(self.exported.data.train.take(train)), scaling.apply(held))
        assert self.exported.tables is not None
        bits = self.exported.tables.cross_entropy(self.exported.backend.encode(held)) / len(held)
        for rate in RATES:
            coder = choice.at(rate * bits)
            if coder is None:
                if rate == 1:
                    reason = f"no number of components and step costs {bits:.4g} bits a validation sample"
                    skipped.append(Skipped(Kind.TASK, Why.NOT_COMPARABLE, "PCA at the same bits", reason))
                continue
            codes = coder.encode(scaling.apply(self.samples))
            size = file_bytes(coder.tables, codes, spec.inputs * np.dtype(spec.dtype).itemsize)
            decoded = scaling.invert(coder.decode(codes), spec.dtype)
            yield self.point("pca", size, decoded, coder.setting, "bits" if rate == 1 else ""), decoded

    def images(self, error: float, skipped: list[Skipped]) -> Iterator[RatePoint]:
        """Image formats at several qualities, and at the least whose error is at most `error`."""
        spec = self.exported.data.spec
        reason = not_pictures(spec.shape, spec.dtype)
        for name, coder in IMAGE_CODERS.items():
            if problem := reason or coder.missing:
                why = Why.NOT_COMPARABLE if reason else Why.NOT_INSTALLED
                skipped.append(Skipped(Kind.TASK, why, TITLES[name], problem))
                continue
            found: dict[int, RatePoint] = {}
            for quality in QUALITIES:
                found[quality] = self._picture(name, quality)
                if found[quality].mse <= error / FAR:
                    break
            errors = {quality: point.mse for quality, point in found.items()}
            best = least_quality(errors, error, lambda quality, name=name: self._picture(name, quality).mse)
            if best is None:
                text = f"no quality reaches the mean squared error {error:.4g}"
                skipped.append(Skipped(Kind.TASK, Why.NOT_COMPARABLE, f"{TITLES[name]} at no larger error", text))
            else:
                found[best] = self._picture(name, best, "error")
            yield from (found[quality] for quality in sorted(found))

    def _picture(self, name: Coder, quality: int, chosen: Chosen = "") -> RatePoint:
        """All samples in a format of `IMAGE_CODERS`."""
        shape = self.exported.data.spec.shape
        size, back = IMAGE_CODERS[name].code_images(self.samples.reshape(-1, *shape), quality)
        return self.point(name, size, back.reshape(self.samples.shape), f"quality {quality}", chosen)

    def lossless(self, skipped: list[Skipped]) -> Iterator[LosslessSize]:
        spec = self.exported.data.spec
        for coder in LOSSLESS_CODERS:
            if problem := coder.missing(spec.dtype):
                why = Why.NOT_INSTALLED if "installed" in problem else Why.NOT_COMPARABLE
                skipped.append(Skipped(Kind.TASK, why, coder.title, problem))
                continue
            size = coder.size(self.samples.reshape(-1, spec.channels))
            yield LosslessSize(coder.title, size, 8 * size / self.samples.size)


def no_pca(inputs: int, samples: int) -> str:
    """Why components are not fitted to training samples; empty if they are."""
    if inputs > MAX_INPUTS:
        return f"{inputs:,} values a sample, {MAX_INPUTS:,} at most are compared"
    return f"{samples} training samples, must be {LEAST_SAMPLES} or more" if samples < LEAST_SAMPLES else ""


def not_pictures(shape: Sequence[int], dtype: str) -> str:
    """Why samples are no pictures for `IMAGE_CODERS`; empty if they are: uint8 [h, w], [h, w, 1] or [h, w, 3]."""
    if dtype != "uint8":
        return f"the data are {dtype}, must be uint8"
    return "" if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)) else f"samples of {list(shape)} are no pictures"


def measure(exported: Exported, samples: int = MAX_SAMPLES) -> TaskMeasurement:
    """The result on the first `samples` test samples, or as many as `MAX_VALUES` allows, or fill a mosaic."""
    spec, code = exported.data.spec, exported.backend.program.tensors["code"]
    bits = code.size * exported.backend.program.quantization("code").bits
    sizes = spec.inputs * np.dtype(spec.dtype).itemsize, -(-bits // 8)
    if exported.recipe.is_noisy:
        reason = 'the model gives clean samples for noisy ones; [task] kind = "denoising" measures it'
        return TaskMeasurement(CompressionResult(*sizes), {}, not_measured("compression", reason, Why.NOT_COMPARABLE).skipped)
    count = min(samples, max(1, MAX_VALUES // spec.inputs), len(exported.data.test))
    rows, columns = (count, 1) if not_pictures(spec.shape, spec.dtype) else grid_of(count)
    rates = _Rates(exported, exported.data.test.take(np.arange(rows * columns)))
    skipped: list[Skipped] = []
    own, decoded = rates.tied()
    points, lossless = [own], ()
    baselines, settings = {}, {}
    if exported.others:
        for point, of_pca in rates.pca(skipped):
            points.append(point)
            if point.chosen:
                baselines["pca"] = squared_errors(rates.samples, of_pca)
                settings["pca"] = f"at the same bits, {point.setting}"
        baselines["mean"] = squared_errors(rates.samples, exported.data.scaling.invert(exported.mean[None], np.float64))
        points += rates.images(own.mse, skipped) if spec.kind == "image" else ()
        lossless = tuple(rates.lossless(skipped)) if spec.kind == "record" else ()
    result = CompressionResult(*sizes, rows * columns, *MEASURES[spec.kind], tuple(points), lossless)
    contest = Contest(Criterion.MSE, np.arange(rows * columns), squared_errors(rates.samples, decoded), baselines, settings)
    return TaskMeasurement(result, skipped=tuple(skipped), contest=contest)


def squared_errors(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean squared error of each sample, float64 [n], of [n, inputs] each in the data's unit of measure."""
    return np.square(x.astype(np.float64) - y).mean(axis=1)


ROW = TaskRow(
    measure,
    needs=lambda spec: {"image": {"JPEG, WebP and AVIF": ("PIL",)}, "record": {"FLAC": ("soundfile",)}}.get(spec.kind, {}),
)
