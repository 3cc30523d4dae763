"""Archives: an .npz of plain arrays with a header as JSON. No pickle, no code."""

from __future__ import annotations

import io
import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import FormatError

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
