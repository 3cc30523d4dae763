"""HDF5 files of others: texts and arrays, each array read when it is asked for; what points out of the file is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FormatError, InputError
from ..packages import missing
from .chain import ChainArray

if TYPE_CHECKING:
    import h5py

MAX_OBJECTS = 100_000
"""Groups and arrays of a file at most."""
MAX_DEPTH = 64
"""Groups inside groups at most."""
MAX_INFLATION = 100
"""Bytes of an array, or of an archive's member, at most: a multiple of those that are stored for it, from `FREE_BYTES` on."""
FREE_BYTES = 1 << 20
OPTIMIZER = ("optimizer", "optimizer_weights")
"""Groups of a file that only training needs."""


def import_h5py() -> Any:
    """The package h5py; NotInstalledError, with the command that installs it, where it is missing."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise missing("h5py") from None
    return h5py


@contextlib.contextmanager
def damage(source: str) -> Iterator[None]:
    """FormatError, naming the file, for what h5py raises of a damaged one."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise FormatError(f"{source}: is damaged: {error}") from error


def require_heap(data: memoryview) -> None:
    """Raise OSError where bytes that begin with a whole collection of texts hold objects that do not fill it: libhdf5 would
    search one of 0 bytes for ever (HDF5 File Format Specification 3.0, "Global Heap"; object 0 is free space)."""
    size = int.from_bytes(data[8:16], "little") if data[:4] == b"GCOL" else 0
    at = 16
    while at + 16 <= size <= len(data):
        index, length = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 8 : at + 16], "little")
        step = 16 + (length + 7) // 8 * 8 if index else length
        if not 16 <= step <= size - at:
            raise OSError(f"a collection of texts of {size:,} bytes has {length:,} for one of them at byte {at:,}")
        at += step


def text(source: str, group: h5py.Group, name: str) -> str | None:
    """An attribute that is a text; None where it is missing."""
    with damage(source):
        value = group.attrs.get(name)
    if isinstance(value, bytes):
        with damage(source):
            value = value.decode()
    if not isinstance(value, str | None):
        raise FormatError(f"{source}: attribute {name} is {type(value).__name__}, must be a text")
    return value


def texts(source: str, group: h5py.Group, name: str) -> list[str]:
    """An attribute that is a list of texts, or the parts name0, name1, … that Keras writes of a long one."""
    with damage(source):
        parts: list[Any] = [group.attrs[name]] if name in group.attrs else []
        while name not in group.attrs and f"{name}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{name}{len(parts)}"])
        return [str(item, "utf-8") if isinstance(item, bytes) else str(item) for part in parts for item in np.ravel(part)]


def arrays(source: str, file: h5py.Group) -> Iterator[tuple[str, ChainArray]]:
    """Path and array of everything in a file but its optimizer; a backslash of a path is a slash, as Windows wrote it.

    Raises FormatError for a link, for references to objects, for values outside the file, and for one that is damaged. Reading
    an array raises InputError unless it is finite.
    """
    h5py = import_h5py()
    waiting: list[tuple[str, Any, int]] = [("", file, 0)]
    seen = 0
    while waiting:
        path, group, depth = waiting.pop()
        with damage(source):
            names = list(group)
        for name in names:
            seen += 1
            inner = f"{path}/{name}".replace("\\", "/").lstrip("/")
            if inner in OPTIMIZER:
                continue
            if seen > MAX_OBJECTS or depth > MAX_DEPTH:
                raise FormatError(
                    f"{source}: {inner[:60]}: is one of more than {MAX_OBJECTS} arrays, or more than {MAX_DEPTH} deep"
                )
            with damage(source):
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise FormatError(f"{source}: {inner}: is a link to {_target(link)}, which is not followed")
                value: Any = group[name]
            if isinstance(value, h5py.Group):
                waiting.append((inner, value, depth + 1))
            elif isinstance(value, h5py.Dataset):
                yield inner, _stored(source, inner, value)


def _target(link: Any) -> str:
    return f"{getattr(link, 'filename', 'this file')}:{getattr(link, 'path', '?')}"


def _stored(source: str, path: str, dataset: h5py.Dataset) -> ChainArray:
    title = f"{source}: {path}"
    with damage(source):
        dtype, shape = _dtype(dataset), dataset.shape
        outside = dataset.is_virtual or dataset.external
        stored = dataset.id.get_storage_size()
    if outside:
        raise FormatError(f"{title}: has its values in another file, which is not read")
    if shape is None or dtype is None:
        kind = "an empty value" if shape is None else "object references" if dataset.dtype.kind == "O" else str(dataset.dtype)
        raise FormatError(f"{title}: holds {kind}, must hold numbers")
    if dataset.nbytes > FREE_BYTES + MAX_INFLATION * stored:
        raise FormatError(f"{title}: {list(shape)} would take {dataset.nbytes:,} bytes, of which the file has {stored:,}")

    def read() -> np.ndarray:
        with damage(source):
            values = dataset[()]
        values = np.asarray(values.view(dtype) if dataset.dtype.kind == "V" else values)
        if not np.isfinite(values).all():
            raise InputError(f"{title}: got NaN or infinity, weights must be finite")
        return values

    return ChainArray(path, shape, read, dtype.name)


def _dtype(dataset: h5py.Dataset) -> np.dtype | None:
    """The numbers of an array; None for anything else. Keras writes bfloat16 as two bytes and an attribute."""
    if dataset.dtype.kind in "fiub":
        return dataset.dtype
    if dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and dataset.attrs.get("dtype") == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return None
