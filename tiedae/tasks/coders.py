"""Other coders, to compare the codec with. Whatever is chosen for one is chosen on training and validation samples.

pca      principal components (Pearson, 1901), all rounded to one step, which shares the error best where rates are high
         (Goyal, "Theoretical foundations of transform coding", IEEE Signal Processing Magazine 18, 2001), and entropy coded as
         our codes are: static tables of training codes, the same frames
jpeg     ITU-T T.81, progressive with its optimized tables; webp: RFC 9649, method 6; both by Pillow, of one mosaic
avif     AOMedia's AV1 Image File Format 1.1, by Pillow, of mosaics of up to 1,000 images
lzma     differences of neighbouring values of each channel, channel after channel (`.lzma`, preset 9 extreme), by the standard
         library; lossless
flac     RFC 9639, level 8, by soundfile; lossless. The format predicts two channels from each other, and no more: of more,
         files of two channels or of eight, whichever are smaller
"""

from __future__ import annotations

import io
import lzma
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from tiedae.bundle.task_results import Coder
from tiedae.codec.container import pack_frame, pack_index
from tiedae.codec.header import SAMPLES_PER_FRAME, Header
from tiedae.entropy import rans
from tiedae.entropy.tables import CODE_BITS, FrequencyTables, fit

from .denoisers import EXTRA
from .neighbourhoods import Pca

MAX_COMPONENTS = 256
STEPS = tuple(2 ** (i / 2) for i in range(3, -21, -1))
BETWEEN = (2**-0.25, 1.0, 2**0.25)
"""Steps that are tried, as multiples of the first component's standard deviation; and then of the best of these."""
BYTE = 1 << 8
QUALITIES = (0, 5, 10, 20, 35, 50, 70, 90)
LARGEST_QUALITY = 100


def file_bytes(tables: FrequencyTables, codes: np.ndarray, sample_bytes: int) -> int:
    """The size of a .tae file of codes, uint8 [n, units]."""
    header = Header(bytes(8), sample_bytes)
    frames = np.split(codes, range(SAMPLES_PER_FRAME, len(codes), SAMPLES_PER_FRAME))
    sizes = [
        len(pack_frame(header, 0, len(frame), data)) for frame, data in zip(frames, rans.encode(tables, frames), strict=True)
    ]
    entries = [(len(frame), size) for frame, size in zip(frames, sizes, strict=True)]
    return header.size + sum(sizes) + len(pack_index(header, entries))


@dataclass(frozen=True, eq=False)
class Rounding:
    """Values [n, components] to codes and back, rounded to a step: value = (number + low) · step.

    A number of 0…255 is one code. Of components of more numbers, `wide` ones, the high byte is a code of its own, behind the
    others. `low`: float64 [components], such that the training samples have the middle of the numbers.
    """

    step: float
    low: np.ndarray
    bits: int
    wide: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, step: float) -> Rounding:
        """That of values like these training samples', in the least bits, 4 to 8."""
        least, most = np.rint(values.min(axis=0) / step), np.rint(values.max(axis=0) / step)
        wide = most - least >= BYTE
        bits = 8 if wide.any() else max(CODE_BITS[0], int((most - least).max()).bit_length())
        middle = np.where(wide, BYTE * BYTE, 1 << bits) / 2
        return cls(step, np.ceil((least + most) / 2) - middle, bits, np.flatnonzero(wide))

    def codes(self, values: np.ndarray) -> np.ndarray:
        """uint8 [n, components + wide]; numbers beyond the codes saturate."""
        most = np.full(len(self.low), (1 << self.bits) - 1)
        most[self.wide] = BYTE * BYTE - 1
        numbers = np.clip(np.rint(values / self.step) - self.low, 0, most).astype(np.uint16)
        return np.concatenate([numbers.astype(np.uint8), (numbers[:, self.wide] // BYTE).astype(np.uint8)], axis=1)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """float64 [n, components]."""
        numbers = codes[:, : len(self.low)].astype(np.float64)
        numbers[:, self.wide] += BYTE * codes[:, len(self.low) :].astype(np.float64)
        return (numbers + self.low) * self.step

    def per_component(self, bits: np.ndarray) -> np.ndarray:
        """The bits of each code as those of each component, float64 [components]."""
        summed = bits[: len(self.low)].copy()
        summed[self.wide] += bits[len(self.low) :]
        return summed


@dataclass(frozen=True, eq=False)
class PcaCoder:
    """A PCA whose components are rounded, and tables of the training samples' codes."""

    pca: Pca
    rounding: Rounding
    tables: FrequencyTables

    @property
    def setting(self) -> str:
        return f"{self.pca.components.shape[1]} components, step {self.rounding.step:.3g}"

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, inputs] → codes, uint8."""
        return self.rounding.codes(self.pca.encode(x))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes → samples, float64 [n, inputs]."""
        return self.pca.decode(self.rounding.values(codes))


@dataclass(frozen=True, eq=False)
class PcaChoice:
    """Fits components to `train` and chooses their number and step on `held` samples, float32 [n, inputs] each."""

    train: np.ndarray = field(repr=False)
    held: np.ndarray = field(repr=False)

    @cached_property
    def _costs(self) -> dict[float, tuple[np.ndarray, np.ndarray]]:
        """By step, what `costs` has found."""
        return {}

    @cached_property
    def pca(self) -> Pca:
        return Pca.fit(self.train, min(MAX_COMPONENTS, self.train.shape[1], len(self.train) - 1))

    @cached_property
    def _values(self) -> np.ndarray:
        """The components of the training samples, not rounded."""
        return self.pca.encode(self.train)

    @cached_property
    def _held(self) -> tuple[np.ndarray, np.ndarray]:
        """The components of the held samples, and the mean squared error that the first 1, 2, … of them leave."""
        held = self.pca.encode(self.held)
        return held, np.square(self.held - self.pca.mean).sum(axis=1).mean() - np.cumsum(np.square(held).mean(axis=0))

    def costs(self, step: float) -> tuple[np.ndarray, np.ndarray]:
        """(bits, squared error) per held sample of the first 1, 2, … components, float64 [components] each.

        The components are orthonormal: bits and errors of each add up.
        """
        if step not in self._costs:
            held, left = self._held
            rounding = Rounding.of(self._values, step)
            tables, codes = fit(rounding.codes(self._values), rounding.bits), rounding.codes(held)
            bits = tables.information[np.arange(tables.units), codes].mean(axis=0)
            errors = np.square(rounding.values(codes) - held).mean(axis=0)
            self._costs[step] = np.cumsum(rounding.per_component(bits)), left + np.cumsum(errors)
        return self._costs[step]

    def at(self, bits: float, slack: float = 0.1) -> PcaCoder | None:
        """The coder of the least error at this many bits per held sample, or up to this fraction less; None where none is.

        From the coarsest step to finer ones, until the error rises.
        """

        def least(step: float) -> tuple[float, int, float]:
            cost, error = self.costs(step)
            allowed = np.where((cost <= bits) & (cost > (1 - slack) * bits), error, np.inf)
            return float(allowed.min()), int(allowed.argmin()) + 1, step

        best = math.inf, 0, float(self._values[:, 0].std())
        for multiple in STEPS if best[2] else ():
            found = least(multiple * float(self._values[:, 0].std()))
            if found[0] > best[0]:
                break
            best = found
        if math.isinf(best[0]):
            return None
        _, units, step = min(least(between * best[2]) for between in BETWEEN)
        return self.coder(units, step)

    def coder(self, units: int, step: float) -> PcaCoder:
        """That of the first `units` components and a step, with tables of the training samples."""
        rounding = Rounding.of(self._values[:, :units], step)
        tables = fit(rounding.codes(self._values[:, :units]), rounding.bits)
        return PcaCoder(self.pca.first(units), rounding, tables)


def grid_of(count: int) -> tuple[int, int]:
    """(rows, columns) of a mosaic of `count` images or a few less, columns at most rows and at least about half of them."""
    for images in range(count, 0, -1):
        most = math.isqrt(images)
        columns = next(each for each in range(most, 0, -1) if images % each == 0)
        if 2 * columns >= most:
            return images // columns, columns
    raise ValueError(count)


def mosaic(images: np.ndarray) -> np.ndarray:
    """Images [n, h, w] or [n, h, w, channels], n as `grid_of` has them, side by side: [rows · h, columns · w, …]."""
    rows, columns = grid_of(len(images))
    h, w, *rest = images.shape[1:]
    return images.reshape(rows, columns, h, w, *rest).swapaxes(1, 2).reshape(rows * h, columns * w, *rest)


def tiles(picture: np.ndarray, shape: Sequence[int], count: int) -> np.ndarray:
    """The images of a mosaic, [n, *shape]."""
    rows, columns = grid_of(count)
    h, w, *rest = shape
    return picture.reshape(rows, h, columns, w, *rest).swapaxes(1, 2).reshape(count, *shape)


@dataclass(frozen=True)
class ImageCoder:
    """A format of Pillow with its options beside `quality`; `feature`: what Pillow calls it in `features.check`.

    `slow`: options for fewer bits at the same error, several times slower. `together`: images of a file at most.
    """

    format: str
    feature: str
    options: Mapping[str, object]
    slow: Mapping[str, object] = field(default_factory=dict)
    together: int = sys.maxsize

    @property
    def thorough(self) -> ImageCoder:
        """With the slow options."""
        return replace(self, options={**self.options, **self.slow})

    @property
    def missing(self) -> str:
        """Why it cannot run; empty if it can."""
        if find_spec("PIL") is None:
            return "Pillow is not installed"
        from PIL import features

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a Pillow that does not know the feature warns
            return "" if features.check(self.feature) else f"this Pillow has no {self.feature}"

    def code(self, picture: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
        """(bytes, what is decoded) of a picture, uint8 [h, w], [h, w, 1] or [h, w, 3]."""
        from PIL import Image

        flat = picture[..., 0] if picture.shape[2:] == (1,) else picture
        buffer = io.BytesIO()
        Image.fromarray(flat).save(buffer, self.format, quality=quality, **self.options)
        with Image.open(buffer) as image:
            back = np.asarray(image.convert("L" if flat.ndim == 2 else "RGB"))
        return buffer.getbuffer().nbytes, back.reshape(picture.shape)

    def code_images(self, images: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
        """(bytes of all files, what is decoded) of images as `mosaic` takes them; a file has whole rows of the mosaic."""
        picture = mosaic(images)
        band = max(1, self.together // grid_of(len(images))[1]) * images.shape[1]
        coded = [self.code(picture[top : top + band], quality) for top in range(0, len(picture), band)]
        back = np.concatenate([part for _, part in coded])
        return sum(size for size, _ in coded), tiles(back, images.shape[1:], len(images))


IMAGE_CODERS: Mapping[Coder, ImageCoder] = {
    "jpeg": ImageCoder("JPEG", "jpg", {"progressive": True}),
    "webp": ImageCoder("WEBP", "webp", {"method": 6}),
    "avif": ImageCoder("AVIF", "avif", {"speed": 6}, {"speed": 3}, together=1_000),
}


def least_quality(errors: dict[int, float], error: float, measure: Callable[[int], float]) -> int | None:
    """The least quality whose error is at most `error`; None where the best one's is larger.

    `errors`: those of some qualities, to which those that `measure` finds on the way are added.
    """
    known = sorted(errors)
    high = next((quality for quality in known if errors[quality] <= error), LARGEST_QUALITY)
    low = max((quality for quality in known if quality < high), default=high)
    while high - low > 1:
        middle = (low + high) // 2
        errors[middle] = measure(middle)
        low, high = (low, middle) if errors[middle] <= error else (middle, high)
    if high not in errors:
        errors[high] = measure(high)
    return high if errors[high] <= error else None


@dataclass(frozen=True)
class LosslessCoder:
    """`size`: bytes of integer samples [times, channels]. `package` that it imports, '' for none; `dtypes` that it takes.
    `name`: among the baselines."""

    name: str
    title: str
    size: Callable[[np.ndarray], int]
    dtypes: tuple[str, ...]
    package: str = ""

    def missing(self, dtype: str) -> str:
        """Why it cannot code such samples; empty if it can."""
        if dtype not in self.dtypes:
            return f"the data are {dtype}, must be {' or '.join(self.dtypes)}"
        if self.package and find_spec(self.package) is None:
            return f"{self.package} not installed: {EXTRA}"
        return ""


FLAC_CHANNELS = (2, 8)
"""Of a .flac file: those that are predicted from each other, and the most that it holds."""


def _lzma(samples: np.ndarray) -> int:
    first = np.zeros((1, samples.shape[1]), samples.dtype)
    changes = np.diff(samples, axis=0, prepend=first).T  # modulo the dtype's range, so they add up again
    little = np.ascontiguousarray(changes, samples.dtype.newbyteorder("<")).tobytes()
    return len(lzma.compress(little, format=lzma.FORMAT_ALONE, preset=9 | lzma.PRESET_EXTREME))


def _flac(samples: np.ndarray) -> int:
    soundfile = import_module("soundfile")
    signed = samples if samples.dtype == np.int16 else (samples ^ np.uint16(1 << 15)).view(np.int16)

    def written(channels: np.ndarray) -> int:
        buffer = io.BytesIO()
        soundfile.write(buffer, channels, 44_100, format="FLAC", subtype="PCM_16", compression_level=1.0)
        return len(buffer.getvalue())

    count = signed.shape[1]
    return min(sum(written(signed[:, at : at + most]) for at in range(0, count, most)) for most in FLAC_CHANNELS)


LOSSLESS_CODERS: Sequence[LosslessCoder] = (
    LosslessCoder("lzma", "differences, LZMA", _lzma, ("uint8", "int16", "uint16")),
    LosslessCoder("flac", "FLAC level 8", _flac, ("int16", "uint16"), "soundfile"),
)
