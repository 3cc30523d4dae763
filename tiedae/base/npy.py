""".npy files and the members of .npz files, of strangers too: a header is checked before anything is allocated. No pickle."""

from __future__ import annotations

import io
import lzma
import math
import struct
import sys
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from .errors import DataError, FormatError
from .files import open_regular
from .limits import BRACKETS, require_unpackable

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
"""Exceptions, besides ValueError, that NumPy and zipfile raise for a damaged or encrypted .npy or .npz."""

MAGIC = b"\x93NUMPY"
_PREFIX = 12
"""Bytes of magic, version and length of a header, at most."""


def npy_header(dtype: str, shape: Sequence[int]) -> bytes:
    """The start of a .npy file in C order, as long for any count: numpy leaves space for its digits."""
    buffer = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": tuple(shape)})
    return buffer.getvalue()


def read_npy(path: Path, *, mapped_from: float = math.inf) -> np.ndarray:
    """The array of a .npy file; a file of `mapped_from` bytes or more is memory-mapped, read-only.

    Raises FormatError for a file that is damaged, truncated or no regular .npy file, DataError for Python objects, OSError
    where it is not there.
    """
    with open_regular(path) as file:
        size = path.stat().st_size
        if size >= mapped_from:
            _require_array(file, size, str(path))
            return np.load(path, mmap_mode="r", allow_pickle=False)
        return read_array(file, size, str(path))


def read_array(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """The array of an open .npy file of `size` bytes; raises as `read_npy`, errors begin with `name`."""
    _require_array(file, size, name)
    try:
        with warnings.catch_warnings(action="ignore"):
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, *DAMAGE) as error:
        raise FormatError(f"{name}: cannot be read ({error or type(error).__name__})") from None
    numbers = np.dtype("u4").newbyteorder(array.dtype.byteorder)
    if (
        array.dtype.kind == "U"
        and array.dtype.itemsize
        and np.ascontiguousarray(array).view(numbers).max(initial=0) > sys.maxunicode
    ):
        raise FormatError(f"{name}: is damaged (text with a value that is no Unicode character)")
    return array


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name.

    Raises FormatError for a file that is damaged, no .npz file, or holds something else; DataError for Python objects, and
    where it would take far more memory than its size (`limits.require_unpackable`); OSError where it is not there.
    """
    with open_regular(path) as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise FormatError(f"{path}: is a .npy file, must be .npz; rename it")
        try:
            with zipfile.ZipFile(file) as archive:
                require_unpackable(path, sum(each.file_size for each in archive.infolist()), path.stat().st_size)
                return members(archive, f"{path}: ")
        except (ValueError, *DAMAGE) as error:
            raise FormatError(f"{path}: is damaged or not a .npz file ({error or type(error).__name__})") from None


def members(archive: zipfile.ZipFile, prefix: str) -> dict[str, np.ndarray]:
    """The arrays of an open .npz file by name, each no larger than the archive says; errors begin with `prefix`."""
    return {info.filename.removesuffix(".npy"): _member(archive, info, prefix) for info in archive.infolist()}


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, prefix: str) -> np.ndarray:
    name = info.filename.removesuffix(".npy")
    with archive.open(info) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise FormatError(f"{prefix}{name} is not an array; a .npz holds .npy files only")
        file.seek(0)
        return read_array(file, info.file_size, f"{prefix}{name}")


def _require_array(file: IO[bytes], size: int, name: str) -> None:
    """Raise unless a file begins with the header of an array of numbers or texts that fits into `size` bytes."""
    start = file.read(_PREFIX)
    if start[: len(MAGIC)] != MAGIC:
        raise FormatError(f"{name}: is not a .npy file")
    try:
        version = np.lib.format.read_magic(io.BytesIO(start))
        length = int.from_bytes(start[8:10] if version == (1, 0) else start[8:12], "little")
        text = start + file.read(min(length, size))
        if text.count(b"(") + text.count(b"[") > BRACKETS:
            raise ValueError("too many brackets")
        header = io.BytesIO(text)
        header.seek(8)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings(action="ignore"):  # of headers by Python 2, and of damaged ones
            shape, _, dtype = read(header)
    except (ValueError, *DAMAGE) as error:
        raise FormatError(f"{name}: its header is damaged ({error})") from None
    file.seek(0)
    if min(shape, default=0) < 0:
        raise FormatError(f"{name}: its header is damaged (shape {list(shape)})")
    if dtype.hasobject:
        raise DataError(f"{name}: holds Python objects (ragged samples?), must be an array of numbers")
    needed = header.tell() + math.prod(shape) * dtype.itemsize
    if size < needed:
        raise FormatError(f"{name}: is truncated: {size} bytes, must be {needed} for shape {list(shape)} of {dtype}")
