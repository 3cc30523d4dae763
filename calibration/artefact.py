"""A calibration as a value and as a file: what was seen, which ranges follow, and which model and data they are of."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compress.config import require
from ..compress.data import Scaling
from ..compress.errors import FormatError, InputError
from ..compress.files import write_atomic
from .histogram import Grid, Histogram, Range
from .observers import OBSERVERS

if TYPE_CHECKING:
    from ..compress.autoencoder import TiedAutoencoder
    from ..compress.quantizers import QuantizationSpec

KIND = "tiedae-calibration"
SCHEMA = 1
PACKAGES = ("tiedae", "numpy", "tensorflow")


@dataclass(frozen=True)
class Fingerprint:
    """Which model a calibration is of: `kernels` and `biases` are the sha256 of float32 values, little-endian, by name."""

    widths: tuple[int, ...]
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
            model.config.widths,
            tuple(layer.activation for layer in model.config.layers),
            model.config.output_activation,
            model.kernels[0].granularity,
            tuple(kernel.bits for kernel in model.kernels),
            {kernel.name: _sha256(kernel.masked().numpy()) for kernel in model.kernels},
            {layer.tensor_name: _sha256(layer.bias.numpy()) for layer in layers if layer.bias is not None},
            model.config.interleave,
        )

    def difference(self, other: Fingerprint) -> str:
        """The first thing in which `other` is not this model, in words; empty where they are the same."""
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


@dataclass(frozen=True, eq=False)
class CalibratedTensor:
    """One tensor: its chosen `range` (low, high), over `values` observed values of which the share `clipped` lies outside.

    `bits` is the grid's, `window` where values count (see `Grid`), `dead` the units that never changed.
    """

    range: Range
    values: int
    clipped: float
    histogram: Histogram = field(repr=False)
    bits: int = 8
    window: Range = (-math.inf, math.inf)
    dead: tuple[int, ...] = ()

    @property
    def grid(self) -> Grid:
        return Grid(self.bits, self.window)

    def to_json(self) -> dict[str, Any]:
        window = None if math.isinf(self.window[0]) else list(self.window)
        return {
            "range": list(self.range),
            "values": self.values,
            "clipped": self.clipped,
            "bits": self.bits,
            "window": window,
            "dead": list(self.dead),
            "histogram": self.histogram.to_json(),
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> CalibratedTensor:
        window = (-math.inf, math.inf) if written["window"] is None else _span(written["window"])
        return cls(
            _span(written["range"]),
            int(written["values"]),
            float(written["clipped"]),
            Histogram.from_json(written["histogram"]),
            int(written["bits"]),
            window,
            tuple(int(unit) for unit in written["dead"]),
        )

    def __post_init__(self) -> None:
        Grid(self.bits, self.window)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranges of every tensor that a program quantizes, by name, and what they come from.

    `observer` and its `settings` chose them from `samples` samples, drawn with `seed` and scaled by `scaling`;
    `data_sha256` is the digest of those (see `Representative`), `versions` the packages that computed.
    """

    observer: str
    settings: Mapping[str, Any]
    samples: int
    seed: int
    data_sha256: str
    scaling: Scaling
    model: Fingerprint
    tensors: Mapping[str, CalibratedTensor]
    versions: Mapping[str, str] = field(default_factory=lambda: {name: version(name) for name in PACKAGES})

    @property
    def ranges(self) -> dict[str, Range]:
        """(low, high) in model units, by tensor name."""
        return {name: tensor.range for name, tensor in self.tensors.items()}

    def require_model(self, model: Fingerprint, spec: QuantizationSpec, *, source: str = "calibration") -> None:
        """Raise InputError, naming `source` and what differs, unless this is one of `model` with tensors of `spec`."""
        different = self.model.difference(model)
        if different:
            raise InputError(f"{source}: {different}")
        for name, tensor in self.tensors.items():
            if tensor.bits != spec.bits_of(name):
                raise InputError(f"{source}: {name} of {tensor.bits} bits, must be {spec.bits_of(name)}")

    def require_scaling(self, scaling: Scaling, *, source: str = "calibration") -> None:
        """Raise InputError, naming `source`, unless the data were scaled as `scaling` does."""
        if self.scaling != scaling:
            mine, theirs = (_scaling(each) for each in (self.scaling, scaling))
            theirs = theirs if mine != theirs else "by other offsets and scales"
            raise InputError(f"{source}: on data scaled by {mine}, must be {theirs}")

    def summary(self) -> dict[str, Any]:
        """What a manifest says of it: `sha256` is the digest of the samples, `file_sha256` that of the file."""
        return {
            "observer": self.observer,
            "settings": dict(self.settings),
            "samples": self.samples,
            "seed": self.seed,
            "sha256": self.data_sha256,
            "file_sha256": self.sha256,
        }

    @property
    def sha256(self) -> str:
        """The digest of the file that `write_calibration` writes."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The text of the file; equal calibrations give equal text."""
        written = {
            "kind": KIND,
            "schema": SCHEMA,
            "observer": self.observer,
            "settings": dict(self.settings),
            "samples": self.samples,
            "seed": self.seed,
            "data": {"sha256": self.data_sha256, "scaling": self.scaling.to_json()},
            "model": asdict(self.model),
            "tensors": {name: tensor.to_json() for name, tensor in self.tensors.items()},
            "versions": dict(self.versions),
        }
        return json.dumps(written, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace('},"', '},\n"') + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibration:
        """The inverse of `to_json`; FormatError, in words that follow a file's name, for anything else."""
        try:
            written = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"damaged: {error}") from None
        if not isinstance(written, dict) or written.get("kind") != KIND:
            raise FormatError("not a calibration of tiedae")
        if written.get("schema") != SCHEMA:
            raise FormatError(f"schema {written.get('schema')!r}, this tiedae reads schema {SCHEMA}")
        try:
            return cls._from_mapping(written)
        except KeyError as error:
            raise FormatError(f"damaged: lacks {error.args[0]}") from None
        except (AttributeError, InputError, OverflowError, TypeError, ValueError) as error:
            raise FormatError(f"damaged: {error}") from None

    @classmethod
    def _from_mapping(cls, written: Mapping[str, Any]) -> Calibration:
        require(written["observer"] in OBSERVERS, "observer", written["observer"], "one of " + ", ".join(OBSERVERS))
        model, data = dict(written["model"]), written["data"]
        for key in ("widths", "activations", "bits"):
            model[key] = tuple(model[key])
        return cls(
            str(written["observer"]),
            dict(written["settings"]),
            int(written["samples"]),
            int(written["seed"]),
            str(data["sha256"]),
            Scaling.from_json(data["scaling"]),
            Fingerprint(**model),
            _tensors(written["tensors"]),
            dict(written["versions"]),
        )


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration as JSON, whole or not at all."""
    write_atomic(path, calibration.to_json().encode())


def read_calibration(path: Path) -> Calibration:
    """The calibration that `write_calibration` wrote; FormatError, naming the file, where it is missing or damaged."""
    try:
        return Calibration.from_json(path.read_bytes())
    except FileNotFoundError:
        raise FormatError(f"{path}: no such calibration; `tiedae calibrate` makes one") from None
    except IsADirectoryError:
        raise FormatError(f"{path}: is a folder, must be a calibration in JSON") from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def _tensors(written: Any) -> dict[str, CalibratedTensor]:
    if not isinstance(written, dict):
        raise ValueError(f"tensors is a {type(written).__name__}, must be an object")
    tensors = {}
    for name, tensor in written.items():
        try:
            tensors[name] = CalibratedTensor.from_json(tensor)
        except KeyError as error:
            raise ValueError(f"{name}: lacks {error.args[0]}") from None
        except (InputError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None
    return tensors


def _sha256(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _scaling(scaling: Scaling) -> str:
    if isinstance(scaling.scale, tuple):
        return f"{scaling.rule} of each value"
    return f"{scaling.rule} (− {scaling.offset:g}) / {scaling.scale:g}"


def _span(written: Any) -> Range:
    low, high = (float(value) for value in written)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"a range of {written!r}")
    return low, high


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
