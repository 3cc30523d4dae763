"""HDF5 files of others: texts and arrays, each array read when it is asked for; what points out of the file is refused."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tiedae.base.errors import FormatError, InputError
from tiedae.base.limits import FREE_BYTES, HDF5_DEPTH, HDF5_OBJECTS, INFLATION

from .chain import ChainArray
from .hdf5_attributes import Attributes, damage, import_h5py

if TYPE_CHECKING:
    import h5py

OPTIMIZER = ("optimizer", "optimizer_weights")
"""Groups of a file that only training needs."""


def arrays(attributes: Attributes, file: h5py.Group) -> Iterator[tuple[str, ChainArray]]:
    """Path and array of everything in a file but its optimizer, as of `objects`."""
    return ((path, value) for path, _, value in objects(attributes, file) if isinstance(value, ChainArray))


def objects(attributes: Attributes, file: h5py.Group) -> Iterator[tuple[str, int, Any]]:
    """Path, address, and array or group, of everything in a file but its optimizer. An object with several names has one
    address; a backslash of a path is a slash, as Windows wrote it.

    Raises FormatError for a link, for references to objects, for values outside the file, and for one that is damaged. Reading
    an array raises InputError unless it is finite.
    """
    h5py, source = import_h5py(), attributes.source
    waiting: list[tuple[str, Any]] = [("", file)]
    seen = taken = 0
    known: dict[int, Any] = {}
    most = FREE_BYTES + INFLATION * attributes.window.size
    while waiting:
        path, group = waiting.pop()
        with damage(source):
            names = list(group)
        for name in names:
            seen += 1
            if isinstance(name, bytes):
                raise FormatError(f"{source}: {path[:60]}/{name[:60]!r}: a name must be text in UTF-8")
            inner = f"{path}/{name}".replace("\\", "/").lstrip("/")
            if inner in OPTIMIZER:
                continue
            if seen > HDF5_OBJECTS or inner.count("/") > HDF5_DEPTH:
                raise FormatError(
                    f"{source}: {inner[:60]}: is one of more than {HDF5_OBJECTS} arrays, or more than {HDF5_DEPTH} deep"
                )
            with damage(source):
                link = group.id.links.get_info(name.encode())
                if link.type != h5py.h5l.TYPE_HARD:
                    target = _target(group.get(name, getlink=True))
                    raise FormatError(f"{source}: {inner}: is a link to {target}, which is not followed")
                if link.u not in known:
                    value = group[name]
                    known[link.u] = _stored(attributes, inner, value) if isinstance(value, h5py.Dataset) else value
            value = known[link.u]
            if isinstance(value, h5py.Group):
                waiting.append((inner, value))
                yield inner, link.u, value
            elif isinstance(value, ChainArray):
                taken += _read_bytes(value)
                if taken > most:
                    raise FormatError(
                        f"{source}: {inner}: the arrays up to it would take {taken:,} bytes, must be {most:,} at most"
                    )
                yield inner, link.u, replace(value, variable=inner)


def _read_bytes(array: ChainArray) -> int:
    """The bytes that an array takes where it is computed with, in float64."""
    return 8 * array.size


def _target(link: Any) -> str:
    return f"{getattr(link, 'filename', 'this file')}:{getattr(link, 'path', '?')}"


def _stored(attributes: Attributes, path: str, dataset: h5py.Dataset) -> ChainArray:
    source = attributes.source
    title = f"{source}: {path}"
    with damage(source):
        dtype, shape = _dtype(dataset, attributes), dataset.shape
        outside = dataset.is_virtual or dataset.external
        stored = min(dataset.id.get_storage_size(), attributes.window.size)
    if outside:
        raise FormatError(f"{title}: has its values in another file, which is not read")
    if shape is None or dtype is None:
        kind = "an empty value" if shape is None else "object references" if dataset.dtype.kind == "O" else str(dataset.dtype)
        raise FormatError(f"{title}: holds {kind}, must hold numbers")
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if (needed := max(8 * math.prod(shape), chunk)) > FREE_BYTES + INFLATION * stored:
        raise FormatError(f"{title}: {list(shape)} would take {needed:,} bytes, of which the file has {stored:,}")

    def read() -> np.ndarray:
        with damage(source):
            _require_chunks(dataset, chunk)
            values = dataset[()]
        values = np.asarray(values.view(dtype) if dataset.dtype.kind == "V" else values)
        if not np.isfinite(values).all():
            raise InputError(f"{title}: got NaN or infinity, weights must be finite")
        return values

    return ChainArray(path, shape, read, dtype.name)


FILTERS = (1, 2, 3)
"""Deflate, shuffle and a checksum. libhdf5 would look for a library of code for others."""


def _require_chunks(dataset: h5py.Dataset, size: int) -> None:
    """Raise OSError for a chunk that unpacks to more than its `size` bytes, to whatever it is, and for unknown filters."""
    pipeline = dataset.id.get_create_plist()
    filters = [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]
    if set(filters) - {*FILTERS} or filters.count(1) > 1:
        raise OSError(f"{dataset.name} is packed by the filters {filters}, must be by deflate alone")
    for i in range(dataset.id.get_num_chunks() if 1 in filters else 0):
        skipped, packed = dataset.id.read_direct_chunk(dataset.id.get_chunk_info(i).chunk_offset)
        if not skipped and len(zlib.decompressobj().decompress(packed, size + 1)) > size:
            raise OSError(f"a part of {dataset.name} unpacks to more than its {size:,} bytes")


def _dtype(dataset: h5py.Dataset, attributes: Attributes) -> np.dtype | None:
    """The numbers of an array; None for anything else. Keras writes bfloat16 as two bytes, in archives with an attribute."""
    if dataset.dtype.kind in "fiub":
        return dataset.dtype
    if dataset.dtype.str == "|V2" and attributes.text(dataset, "dtype") in ("bfloat16", None):
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return None
