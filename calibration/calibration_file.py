"""A calibration and its file: observed values, chosen ranges, and fingerprints of the model and the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, field

from tiedae.base.archive import sha256_of
from tiedae.base.errors import FormatError, InputError
from tiedae.base.files import read_regular, write_atomic
from tiedae.base.keys import Count, Fraction
from tiedae.base.records import Record, decode, load_json, plain, require
from tiedae.config.layer_kinds import Shape
from tiedae.config.scaling import Scaling

from .histogram import Grid, Histogram, PackedHistogram, Range
from .observers import OBSERVERS

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.quantizers import QuantizationSpec

KIND = "tiedae-calibration"
SCHEMA = 1
PACKAGES = ("tiedae", "numpy", "tensorflow")


class Fingerprint(Record, frozen=True):
    """Identifies a model; `kernels` and `biases`: name → sha256 of the little-endian float32 values.

    `widths`: sizes of a sample and of each layer's output, all axes where there are several.
    """

    widths: tuple[int | Shape, ...]
    activations: tuple[str, ...]
    output_activation: str
    granularity: str | None
    bits: tuple[int, ...]
    kernels: Mapping[str, str]
    biases: Mapping[str, str]
    interleave: int = 1

    @classmethod
    def of(cls, model: TiedAutoencoder) -> Fingerprint:
        layers = (*model.encoder.stack, *model.decoder.stack)
        return cls(
            tuple(shape[0] if len(shape) == 1 else shape for shape in model.config.shapes),
            tuple(layer.activation for layer in model.config.layers),
            model.config.output_activation,
            model.kernels[0].granularity,
            tuple(kernel.bits for kernel in model.kernels),
            {kernel.name: sha256_of(kernel.masked().numpy()) for kernel in model.kernels},
            {name.removesuffix(".bias"): sha256_of(each.numpy()) for layer in layers for name, each in layer.channels.items()},
            model.config.interleave,
        )

    def difference(self, other: Fingerprint) -> str:
        """The first difference from `other`, in words; empty if they are equal."""
        for key in ("widths", "interleave", "activations", "output_activation"):
            mine, theirs = getattr(self, key), getattr(other, key)
            if mine != theirs:
                return f"of a model of {key.replace('_', ' ')} {_plain(mine)}, must be {_plain(theirs)}"
        if self.granularity != other.granularity:
            return f"of kernels quantized per {self.granularity}, must be per {other.granularity}"
        if self.bits != other.bits:
            return f"of kernels of {_plain(self.bits)} bits, must be {_plain(other.bits)}"
        for key in ("kernels", "biases"):
            changed = [n for n, digest in getattr(other, key).items() if getattr(self, key).get(n) != digest]
            if changed:
                return f"of another model of the same shape, the values of {changed[0]} differ; calibrate this one"
        return ""


FINITE32 = 2.0**127
"""Of a range, at most: float32 holds it, and its width."""


class CalibratedTensor(Record, frozen=True, eq=False):
    """One tensor: the chosen `range` (low, high), the number of observed `values` and the fraction `clipped` by the range.

    `bits`, `window`: of the `Grid`; None is no window. `dead`: indices of units with one value for all samples.
    """

    range: Range
    values: Annotated[int, Meta(ge=0)]
    clipped: Fraction
    bits: int
    window: Range | None
    dead: tuple[Count, ...]
    packed: PackedHistogram = field(name="histogram")

    def __post_init__(self) -> None:
        for key, span in {"range": self.range, "window": self.window or self.range}.items():
            right = "(low, high), both finite in float32"
            require(-FINITE32 <= span[0] <= span[1] <= FINITE32 and span[1] - span[0] <= FINITE32, key, span, right)
        assert self.grid

    @property
    def histogram(self) -> Histogram:
        return self.packed.unpack()

    @property
    def grid(self) -> Grid:
        return Grid(self.bits, self.window or Grid.window)


class CalibrationData(Record, frozen=True):
    """The samples of a calibration: their digest (see `Representative`) and scaling."""

    sha256: str
    scaling: Scaling


class Calibration(Record, frozen=True, eq=False, kw_only=True, tag_field="kind", tag=KIND):
    """Ranges of every tensor that the program quantizes, by name, and their origin.

    `observer` with `settings` chose the ranges from `samples` samples of `data`, drawn with `seed`. `versions`: of packages.
    """

    schema: int = SCHEMA
    observer: str
    settings: Mapping[str, Any]
    samples: int
    seed: int
    data: CalibrationData
    model: Fingerprint
    tensors: Mapping[str, CalibratedTensor]
    versions: Mapping[str, str] = field(default_factory=lambda: {name: version(name) for name in PACKAGES})

    def __post_init__(self) -> None:
        require(self.observer in OBSERVERS, "observer", self.observer, "one of " + ", ".join(OBSERVERS))

    @property
    def ranges(self) -> dict[str, Range]:
        """(low, high) in scaled values, by tensor name."""
        return {name: tensor.range for name, tensor in self.tensors.items()}

    def require_model(self, model: Fingerprint, spec: QuantizationSpec, *, source: str = "calibration") -> None:
        """Raise InputError, naming `source` and the difference, unless this calibration is of `model` and `spec`."""
        different = self.model.difference(model)
        if different:
            raise InputError(f"{source}: {different}")
        for name, tensor in self.tensors.items():
            if tensor.bits != spec.bits_of(name):
                raise InputError(f"{source}: {name} of {tensor.bits} bits, must be {spec.bits_of(name)}")

    def require_scaling(self, scaling: Scaling, *, source: str = "calibration") -> None:
        """Raise InputError, naming `source`, unless the calibration data have this scaling."""
        if self.data.scaling != scaling:
            mine, theirs = (_scaling(each) for each in (self.data.scaling, scaling))
            theirs = theirs if mine != theirs else "by other offsets and scales"
            raise InputError(f"{source}: on data scaled by {mine}, must be {theirs}")

    def summary(self) -> dict[str, Any]:
        """The entry of a manifest: `sha256` is the digest of the samples, `file_sha256` that of the file."""
        return {
            "observer": self.observer,
            "settings": dict(self.settings),
            "samples": self.samples,
            "seed": self.seed,
            "sha256": self.data.sha256,
            "file_sha256": self.sha256,
        }

    @property
    def sha256(self) -> str:
        """The digest of the file that `write_calibration` writes."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The text of the file, deterministic."""
        text = json.dumps(plain(self), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.replace('},"', '},\n"') + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: object = "calibration") -> Calibration:
        """The inverse of `to_json`; FormatError, naming `source`, for anything else."""
        written = load_json(text, source)
        if not isinstance(written, dict) or written.get("kind") != KIND:
            raise FormatError(f"{source}: not a calibration of tiedae")
        if written.get("schema") != SCHEMA:
            raise FormatError(f"{source}: schema {written.get('schema')!r}, this tiedae reads schema {SCHEMA}")
        return decode(cls, written, source)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration as JSON, atomically."""
    write_atomic(path, calibration.to_json().encode(), follow=False)


def read_calibration(path: Path) -> Calibration:
    """Read a calibration; FormatError, naming the file, if it is missing or damaged."""
    try:
        return Calibration.from_json(read_regular(path), path)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such calibration; `tiedae calibrate` makes one") from None


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _scaling(scaling: Scaling) -> str:
    if isinstance(scaling.scale, tuple):
        return f"{scaling.rule} of each value"
    return f"{scaling.rule} (− {scaling.offset:g}) / {scaling.scale:g}"
