"""Values of ONNX tensors: stored in the model, in a placeholder of `onnx_wire`, or in external data."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tiedae.base.errors import FormatError
from tiedae.base.files import open_regular, read_regular

from ..model_file import MAX_AXES
from ..reals import Chunk
from .wire import placed

MAPPED = 1 << 24
"""Minimum size, in bytes, of model files that are memory-mapped instead of read. External data always are."""

_PACKED = {"int4": 4, "int2": 2, "float4": 4}
"""Bits per value of packed types, by a part of their names."""


def content(path: Path) -> memoryview:
    """The bytes of a file; a larger one is memory-mapped."""
    return mapped(path) if path.stat().st_size >= MAPPED else memoryview(read_regular(path))


def mapped(path: Path) -> memoryview:
    """The bytes of a file, memory-mapped unless it is empty."""
    with open_regular(path) as stream:
        if not os.fstat(stream.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


@dataclass
class TensorData:
    """The data of a model's tensors. `inside`: those of placeholders; `files`: external data read so far, by location."""

    path: Path
    inside: Sequence[memoryview]
    files: dict[str, memoryview] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of external data."""
        return sum(map(len, self.files.values()))

    def load(self, tensor: TensorProto, name: str) -> tuple[np.ndarray, str]:
        """(values, storage) of a tensor: views of the file where possible, `name` unless it lies in external data."""
        if tensor.data_location != TensorProto.EXTERNAL:
            return self._values(tensor), name
        index = placed(tensor)
        if index is not None and index < len(self.inside):
            return self._values(tensor, self.inside[index]), name
        return self._external(tensor)

    def _external(self, tensor: TensorProto) -> tuple[np.ndarray, str]:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        data = self._file(tensor, location)
        offset = self._number(tensor, "offset", entries.get("offset", "0"))
        rest = len(data) - offset
        length = self._number(tensor, "length", entries.get("length", str(max(rest, 0))))
        if length > rest:
            raise self._error(tensor, f"bytes {offset} to {offset + length} are needed, {location!r} ends at {offset + rest}")
        dtype, shape = dtype_of(self.path, tensor.data_type), self._shape(tensor)
        if dtype.kind == "O":
            raise self._error(tensor, "strings cannot be external")
        if length != packed_bytes(math.prod(shape), dtype):
            raise self._error(tensor, f"{length} bytes are given, {list(shape)} values of {dtype.name} are expected")
        return self._values(tensor, data[offset : offset + length]), f"{location}:{offset}"

    def _file(self, tensor: TensorProto, location: str) -> memoryview:
        if location not in self.files:
            folder = _real(self.path.parent)
            if not location or "\0" in location or not _real(folder / location).is_relative_to(folder):
                raise self._error(tensor, f"{location!r} must lie in the file's folder")
            if not _is_file(folder / location):
                raise self._error(tensor, f"{location!r} is missing in {folder}")
            self.files[location] = mapped(folder / location)
        return self.files[location]

    def _values(self, tensor: TensorProto, data: memoryview | None = None) -> np.ndarray:
        """Values of a tensor from its own data, or from these bytes."""
        shape, dtype = self._shape(tensor), dtype_of(self.path, tensor.data_type)
        try:
            if data is None:
                values = np.asarray(numpy_helper.to_array(tensor))
            elif dtype.kind != "O" and bits_of(dtype) == 8 * dtype.itemsize:
                values = np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape)
            else:
                packed = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=bytes(data))
                values = np.asarray(numpy_helper.to_array(packed))
        except (ValueError, TypeError, KeyError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FormatError(f"{self.path}: constant {tensor.name!r} is damaged: {reason}") from error
        values.flags.writeable = False
        return values

    def _shape(self, tensor: TensorProto) -> tuple[int, ...]:
        shape = tuple(tensor.dims)
        if len(shape) > MAX_AXES or min(shape, default=0) < 0:
            text = f"its shape is {list(shape[: MAX_AXES + 1])}"
            raise FormatError(f"{self.path}: constant {tensor.name!r} is damaged: {text}")
        return shape

    def _number(self, tensor: TensorProto, key: str, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise self._error(tensor, f"{key} {text!r} must be a number of bytes")
        return int(text)

    def _error(self, tensor: TensorProto, text: str) -> FormatError:
        return FormatError(f"{self.path}: external data of {tensor.name!r}: {text}")


def data_of(values: np.ndarray) -> Chunk:
    """The `raw_data` of values: a view of them, or packed."""
    if bits_of(values.dtype) < 8 * values.dtype.itemsize:
        return numpy_helper.from_array(values).raw_data
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def dtype_of(path: Path, element: int) -> np.dtype:
    """The dtype of an ONNX element type."""
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(element))
    except KeyError as error:
        raise FormatError(f"{path}: unknown element type {element}") from error


def bytes_in_file(values: np.ndarray) -> int | None:
    """Bytes in the file if they differ from `nbytes`."""
    if values.dtype.kind == "O":
        return sum(len(text) for text in values.ravel().tolist())
    size = packed_bytes(values.size, values.dtype)
    return None if size == values.nbytes else size


def packed_bytes(count: int, dtype: np.dtype) -> int:
    """Bytes of `count` values in the file."""
    return -(-count * bits_of(dtype) // 8)


def bits_of(dtype: np.dtype) -> int:
    """Bits per value in the file."""
    return next((bits for name, bits in _PACKED.items() if name in dtype.name), 8 * dtype.itemsize)


def _real(path: Path) -> Path:
    """Resolve symbolic links; unlike `Path.resolve`, a loop is no error."""
    return Path(os.path.realpath(path))


def _is_file(path: Path) -> bool:
    """`Path.is_file`; False for a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False
