"""Model archives: an .npz of plain arrays with the configuration as JSON. No pickle, no code."""

from __future__ import annotations

import dataclasses
import io
import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .config import LayerConfig, ModelConfig
from .errors import FormatError, RecipeError
from .files import write_atomic
from .integers import UNPAIRED

if TYPE_CHECKING:
    from .autoencoder import TiedAutoencoder

FORMAT = "tiedae-model"
VERSION = 1
_HEADER = "header.json"

DAMAGE = (
    EOFError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise, besides ValueError, where the bytes of an .npy or .npz are damaged or encrypted."""


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays and a JSON header as the bytes of an .npz, equal for equal content."""
    text = json.dumps(header).encode()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_HEADER: np.frombuffer(text, np.uint8), **dict(sorted(arrays.items()))})
    return buffer.getvalue()


def unpack(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of `pack`; FormatError where the file is missing, damaged or of another kind."""
    try:
        file = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise FormatError(f"{path}: not a {kind} file, but a .npy of one array")
        arrays = {name: np.asarray(file[name]) for name in file.files}
        header = json.loads(arrays.pop(_HEADER).tobytes())
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except (ValueError, KeyError, *DAMAGE) as error:
        raise FormatError(f"{path}: not a {kind} file, or damaged ({type(error).__name__})") from error
    if not isinstance(header, dict) or header.get("format") != kind:
        raise FormatError(f"{path}: not a {kind} file")
    if header.get("version") != VERSION:
        raise FormatError(f"{path}: {kind} version {header.get('version')}, this tiedae reads version {VERSION}")
    return header, arrays


def describe(model: TiedAutoencoder) -> dict[str, Any]:
    """The configuration from which a model is rebuilt, as JSON."""
    quantizers = model.quantizers
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": dataclasses.asdict(model.config),
        "masked": [kernel.name for kernel in model.kernels if kernel.mask is not None],
        "quantization": None if quantizers is None else dataclasses.asdict(quantizers.spec),
        "pairs": {kernel.name: (kernel.pair_limit, kernel.headroom) for kernel in model.kernels},
    }


def rebuild(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], make: type[TiedAutoencoder]) -> TiedAutoencoder:
    """The model of a header from `describe`, with the variables of `state`."""
    from .quantizers import QuantizationSpec

    config = dict(header["model"])
    config["layers"] = tuple(LayerConfig(**layer) for layer in config["layers"])
    model = make(ModelConfig(**config))
    for kernel in model.kernels:
        if kernel.name in header["masked"]:
            kernel.set_mask(arrays[f"{kernel.name}.mask"])
        if f"{kernel.name}.clusters" in arrays:
            kernel.set_clusters(arrays[f"{kernel.name}.clusters"])
    if header["quantization"] is not None:
        names = [key.removeprefix("range.").removesuffix(".min_var") for key in arrays if key.endswith(".min_var")]
        ranges = {name: (0.0, 0.0) for name in names if f"range.{name}.min_var" in arrays}
        spec = QuantizationSpec.from_json(header["quantization"])
        pairs = header.get("pairs", {})
        model.quantize_kernels(spec.granularity, spec.bits)
        for kernel in model.kernels:
            kernel.pair_limit, kernel.headroom = pairs.get(kernel.name, (UNPAIRED, 1.0))
        model.quantize_activations(spec, ranges)
    restore(model, arrays)
    return model


def restore(model: TiedAutoencoder, arrays: Mapping[str, np.ndarray]) -> None:
    """Assign the variables of `state` from arrays of the same names."""
    for name, variable in model.state().items():
        if arrays[name].shape != tuple(variable.shape):
            raise ValueError(f"{name}: shape {arrays[name].shape}, the configuration says {tuple(variable.shape)}")
        variable.assign(arrays[name])


def write(path: Path, model: TiedAutoencoder) -> None:
    arrays = {name: variable.numpy() for name, variable in model.state().items()}
    write_atomic(path, pack(describe(model), arrays))


def read(path: Path, make: type[TiedAutoencoder]) -> TiedAutoencoder:
    """The model that `write` wrote; FormatError, naming the file, for anything else."""
    header, arrays = unpack(path, FORMAT)
    try:
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                raise FormatError(f"{path}: {name} holds values that are not finite; the archive is damaged")
        return rebuild(header, arrays, make)
    except RecipeError as error:
        raise FormatError(f"{path}: its configuration is wrong: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: the archive contradicts itself: {error}") from error
