""".npy files, of strangers too: the header is checked before anything is allocated. No pickle."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .archive import DAMAGE
from .errors import DataError, FormatError
from .files import open_regular


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
        if file.read(6) != b"\x93NUMPY":
            raise FormatError(f"{path}: is not a .npy file")
        file.seek(0)
        try:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            with warnings.catch_warnings(action="ignore"):  # of headers by Python 2, and of damaged ones
                shape, _, dtype = header(file)
        except (ValueError, *DAMAGE) as error:
            raise FormatError(f"{path}: its header is damaged ({error})") from None
        if min(shape, default=0) < 0:
            raise FormatError(f"{path}: its header is damaged (shape {list(shape)})")
        if dtype.hasobject:
            raise DataError(f"{path}: holds Python objects (ragged samples?), must be an array of numbers")
        needed, size = file.tell() + math.prod(shape) * dtype.itemsize, path.stat().st_size
        if size < needed:
            raise FormatError(f"{path}: is truncated: {size} bytes, must be {needed} for shape {list(shape)} of {dtype}")
        file.seek(0)
        try:
            with warnings.catch_warnings(action="ignore"):
                if size >= mapped_from:
                    return np.load(path, mmap_mode="r", allow_pickle=False)
                return np.load(file, allow_pickle=False)
        except (ValueError, *DAMAGE) as error:
            raise FormatError(f"{path}: cannot be read as shape {list(shape)} of {dtype} ({error})") from None
