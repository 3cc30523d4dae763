"""Archives: arrays and a JSON header in a .safetensors file; those of a bundle in an .npz file. No pickle."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from .errors import FormatError, InputError
from .files import read_regular
from .limits import ARCHIVE_HEADER
from .npy import DAMAGE, members

FORMAT = "tiedae-model"
VERSION = 1
SUFFIX = ".safetensors"
_HEADER = "header.json"
_METADATA = "tiedae"


def archive_path(folder: Path, name: str) -> Path:
    """The path of an archive."""
    return folder / f"{name}{SUFFIX}"


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """The deterministic bytes of a .safetensors file with the header in its metadata."""
    whole = {name: np.asarray(values, order="C") for name, values in arrays.items()}  # safetensors ignores strides
    text = json.dumps(dict(header) | {"sha256": _sha256(header, whole)})
    return safetensors.numpy.save(whole, {_METADATA: text})


def pack_npz(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an .npz, for readers with NumPy alone."""
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{_HEADER: text, **dict(sorted(arrays.items()))})
    return buffer.getvalue()


def unpack(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file by `pack`; FormatError if it is missing, damaged or of another kind."""
    header, arrays = _unpacked(path, kind, _safetensors)
    if header.pop("sha256", None) != _sha256(header, arrays):
        raise FormatError(f"{path}: damaged: its header or arrays are not those that were written")
    return header, arrays


def unpack_npz(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file by `pack_npz`; FormatError as `unpack`."""
    return _unpacked(path, kind, _npz)


def _unpacked(
    path: Path, kind: str, read: Callable[[bytes], tuple[Any, dict[str, np.ndarray]]]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        header, arrays = read(read_regular(path))
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except (InputError, ValueError, KeyError, safetensors.SafetensorError, *DAMAGE) as error:
        raise FormatError(f"{path}: not a {kind} file, or damaged ({type(error).__name__})") from error
    if not isinstance(header, dict) or header.get("format") != kind:
        raise FormatError(f"{path}: not a {kind} file")
    if header.get("version") != VERSION:
        raise FormatError(f"{path}: {kind} version {header.get('version')}, this tiedae reads version {VERSION}")
    return header, arrays


def _npz(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Members are stored as `pack_npz` does, so that arrays take no more memory than the file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("members are compressed")
        arrays = members(archive, "")
    return json.loads(arrays.pop(_HEADER).tobytes()), arrays


def _safetensors(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    size = int.from_bytes(data[:8], "little")
    if size > ARCHIVE_HEADER:
        raise ValueError(f"a header of {size:,} bytes")
    arrays = safetensors.numpy.load(data)
    written = json.loads(data[8 : 8 + size])
    return json.loads(written["__metadata__"][_METADATA]), arrays


def sha256_of(values: np.ndarray) -> str:
    """sha256 (hex) of an array's values, little-endian, in C order; a kernel is [inputs, units]."""
    return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def _sha256(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Digest of the header and of the names, dtypes, shapes and values of the arrays."""
    digest = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype.name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
