"""Compression: codes are stored or sent, and decoded later. Rate and distortion of the .tae file beside other coders.

Everything is measured on what a decoder gives, in the data's dtype, at the bytes of whole files, heads of frames included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

from tiedae.base.errors import FormatError
from tiedae.bundle.fidelity import MEASURES
from tiedae.bundle.task_results import TIED, Chosen, Coder, CompressionResult, LosslessSize, RatePoint
from tiedae.codec.frames import FileModel
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamEncoder
from tiedae.export.kinds import Kind, Skipped, Why

from .arrangements import Arrangement, arrangement_of
from .coders import IMAGE_CODERS, LARGEST_QUALITY, LOSSLESS_CODERS, QUALITIES, least_quality
from .equal_bytes import Around, CodedFile, around
from .pca_files import fair_pca
from .row import Contest, Exported, TaskMeasurement, TaskRow, not_measured
from .sample_errors import SampleError
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
class Opponent:
    """What the verdict compares: the error of each sample, float64 [n], by a coder at our bytes, and how it was got."""

    errors: np.ndarray = field(repr=False)
    setting: str


@dataclass
class Opponents:
    """The coders that the verdict compares, by name; and why others are not, by name."""

    compared: dict[str, Opponent] = field(default_factory=dict)
    uncompared: dict[str, str] = field(default_factory=dict)

    def add(self, name: Coder, found: Around, detail: str = "", *, enough: float = -1.0) -> bool:
        """Compare the files around our bytes, or the smaller one alone where its error is at most `enough`; whether it does."""
        smaller = found.smaller
        if not found.problem:
            sizes = " and ".join(f"{file.size:,}" for file in found.files)
            setting = f"at our bytes, between files of {sizes} bytes: {found.files[0].setting}{detail}"
            self.compared[name] = Opponent(found.errors(), setting)
        elif smaller is not None and smaller.error <= enough:
            self.compared[name] = Opponent(
                smaller.errors, f"{smaller.size:,} bytes, no more than ours: {smaller.setting}{detail}"
            )
        else:
            self.uncompared[name] = found.problem
        return name in self.compared


@dataclass(frozen=True)
class _Rates:
    """Measures coders on the same test samples, [n, inputs] in the data's unit of measure."""

    exported: Exported
    samples: np.ndarray = field(repr=False)
    arrangement: Arrangement
    opponents: Opponents = field(default_factory=Opponents)

    @cached_property
    def error(self) -> SampleError:
        return SampleError.of(self.exported.data.spec.kind, self.samples)

    def point(self, coder: Coder, file: CodedFile, chosen: Chosen = "") -> RatePoint:
        """The point of a file."""
        data, fidelity, decoded = self.exported.data, self.exported.fidelity, file.decoded
        found = fidelity.measure(self.samples, data.scaling.apply(decoded))
        similarity = ssim_of(data.spec, fidelity.peak, self.samples, decoded) if chosen or coder == TIED else None
        bits = 8 * file.size / self.samples.size
        return RatePoint(coder, chosen, file.size, bits, found.mse, found.value, similarity, file.setting)

    def tied(self) -> CodedFile:
        """Our file."""
        if self.exported.tables is None:
            raise FormatError("the bundle lists no tables of codes, and files of codes need them")
        model = FileModel(self.exported.backend, self.exported.tables, bytes(8))
        encoder = StreamEncoder(model, self.exported.model)
        data = b"".join([*encoder.push(self.samples, self.arrangement.ends), *encoder.finish()])
        decoded = np.concatenate(list(Reader(model, data, "data").samples())).reshape(self.samples.shape)
        classes = self.exported.tables.classes
        setting = f"{classes} classes" if classes > 1 else ""
        return CodedFile(len(data), decoded, self.error(self.samples, decoded), setting)

    def pca(self, own: CodedFile, skipped: list[Skipped]) -> Iterator[RatePoint]:
        """The points of the curve of PCA, and its two files around the bytes of ours."""
        spec = self.exported.data.spec
        train, other, chosen = self.exported.held_apart(HELD_SAMPLES, 5, TRAINING_SAMPLES)
        if problem := no_pca(spec.inputs, len(train)):
            skipped.append(Skipped(Kind.TASK, Why.LIMITED, "PCA", problem))
            return
        held = other.take(chosen)
        assert self.exported.tables is not None
        bits = self.exported.tables.cross_entropy(self.exported.backend.encode(held)) / len(held)
        pca = fair_pca(spec, self.exported.data.train.take(train), held, bits, self.error)
        for rate in RATES:
            coder = pca.choice.at(rate * bits)
            if coder is not None:
                yield self.point("pca", pca.file(coder, self.samples))
        found = pca.around(self.samples, bits, own.size)
        if found is None:
            self.opponents.uncompared["pca"] = f"no number of components and step costs {bits:.4g} bits a validation sample"
        else:
            compared = self.opponents.add("pca", found)
            yield from (self.point("pca", file, "bits") for file in found.files if compared)
        if reason := self.opponents.uncompared.get("pca"):
            skipped.append(Skipped(Kind.TASK, Why.NOT_COMPARABLE, "PCA at our bytes", reason))

    def images(self, own: CodedFile, skipped: list[Skipped]) -> Iterator[RatePoint]:
        """Image formats at several qualities, at the least of no larger error, and the two files around the bytes of ours."""
        spec = self.exported.data.spec
        reason = not_pictures(spec.shape, spec.dtype)
        for name, coder in IMAGE_CODERS.items():
            if problem := reason or coder.missing:
                why = Why.NOT_COMPARABLE if reason else Why.NOT_INSTALLED
                skipped.append(Skipped(Kind.TASK, why, TITLES[name], problem))
                continue
            yield from self._format(name, own, skipped)

    def _format(self, name: Coder, own: CodedFile, skipped: list[Skipped]) -> Iterator[RatePoint]:
        """The points of a format of `IMAGE_CODERS`."""

        @cache
        def code(quality: int) -> CodedFile:
            return self._picture(name, quality)

        def error(quality: int) -> float:
            return code(quality).error

        drawn = []
        for quality in QUALITIES:
            drawn.append(quality)
            if error(quality) <= own.error / FAR:
                break
        best = least_quality({quality: error(quality) for quality in drawn}, own.error, error)
        found = around(code, own.size, start=drawn[-1] if best is None else best, least=QUALITIES[0], most=LARGEST_QUALITY)
        if best is None:
            text = f"no quality reaches the mean squared error {own.error:.4g}"
            skipped.append(Skipped(Kind.TASK, Why.NOT_COMPARABLE, f"{TITLES[name]} at no larger error", text))
        detail = f", {self.arrangement.text}"
        if not (compared := self.opponents.add(name, found, detail, enough=own.error)):
            problem = self.opponents.uncompared[name]
            skipped.append(Skipped(Kind.TASK, Why.NOT_COMPARABLE, f"{TITLES[name]} at our bytes", problem))
        yield from (self.point(name, code(quality)) for quality in drawn if quality != best)
        yield from () if best is None else (self.point(name, code(best), "error"),)
        yield from (self.point(name, file, "bits") for file in found.files if compared)

    def _picture(self, name: Coder, quality: int) -> CodedFile:
        """All samples in a format of `IMAGE_CODERS`."""
        shape = self.exported.data.spec.shape
        size, back = self.arrangement.coded(IMAGE_CODERS[name], self.samples.reshape(-1, *shape), quality)
        decoded = back.reshape(self.samples.shape)
        return CodedFile(size, decoded, self.error(self.samples, decoded), f"quality {quality}")

    def lossless(self, own: CodedFile, skipped: list[Skipped]) -> Iterator[LosslessSize]:
        spec = self.exported.data.spec
        for coder in LOSSLESS_CODERS:
            if problem := coder.missing(spec.dtype):
                why = Why.NOT_INSTALLED if "installed" in problem else Why.NOT_COMPARABLE
                skipped.append(Skipped(Kind.TASK, why, coder.title, problem))
                continue
            size = coder.size(self.samples.reshape(-1, spec.channels))
            if size <= own.size:
                exact = Opponent(np.zeros(len(self.samples)), f"lossless in {size:,} bytes, ours {own.size:,}")
                self.opponents.compared[coder.name] = exact
            else:
                self.opponents.uncompared[coder.name] = f"its file has {size:,} bytes, ours {own.size:,}"
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
    """The result on the first `samples` test samples, or as many as `MAX_VALUES` allows, or fill a mosaic; of patches on whole
    pictures."""
    spec, code = exported.data.spec, exported.backend.program.tensors["code"]
    bits = code.size * exported.backend.program.quantization("code").bits
    sizes = spec.inputs * np.dtype(spec.dtype).itemsize, -(-bits // 8)
    if exported.recipe.is_noisy:
        reason = 'the model gives clean samples for noisy ones; [task] kind = "denoising" measures it'
        return TaskMeasurement(CompressionResult(*sizes), {}, not_measured("compression", reason, Why.NOT_COMPARABLE).skipped)
    count = min(samples, max(1, MAX_VALUES // spec.inputs), len(exported.data.test))
    arrangement = arrangement_of(exported.data.test, count, pictures=not not_pictures(spec.shape, spec.dtype))
    rates = _Rates(exported, exported.data.test.take(arrangement.rows), arrangement)
    skipped: list[Skipped] = []
    own = rates.tied()
    points, lossless = [rates.point(TIED, own)], ()
    if exported.others:
        points += rates.pca(own, skipped)
        points += rates.images(own, skipped) if spec.kind == "image" else ()
        lossless = tuple(rates.lossless(own, skipped)) if spec.kind == "record" else ()
    result = CompressionResult(
        *sizes, len(arrangement.rows), *MEASURES[spec.kind], tuple(points), lossless, arrangement.pictures
    )
    return TaskMeasurement(result, skipped=tuple(skipped), contest=contest_of(rates, own))


def contest_of(rates: _Rates, own: CodedFile) -> Contest:
    """Our file against each opponent, and against the mean of the training samples."""
    exported, found = rates.exported, rates.opponents
    baselines = {name: opponent.errors for name, opponent in found.compared.items()}
    if exported.others:
        baselines["mean"] = rates.error(rates.samples, exported.data.scaling.invert(exported.mean[None], np.float64))
    settings = {name: opponent.setting for name, opponent in found.compared.items()}
    return Contest(rates.error.criterion, rates.arrangement.rows, own.errors, baselines, settings, uncompared=found.uncompared)


ROW = TaskRow(
    measure,
    needs=lambda spec: {"image": {"JPEG, WebP and AVIF": ("PIL",)}, "record": {"FLAC": ("soundfile",)}}.get(spec.kind, {}),
)
