"""Encoding and decoding of files with a bundle: samples are read and results written in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from tiedae.base.errors import DataError
from tiedae.base.files import atomic
from tiedae.base.npy import npy_header, read_npy
from tiedae.base.records import Record
from tiedae.codec.codec import Codec
from tiedae.codec.header import SUFFIX
from tiedae.codec.opening import bundle_of, open_bundle
from tiedae.data.windows import PicturePatches, Windows, require_storable
from tiedae.pipeline.run_artifacts import source_arrays
from tiedae.pipeline.sources import all_of
from tiedae.report.console import Progress

T = TypeVar("T")
PIECE = 8192
"""Samples that are read, run and written together."""


class Coded(Record, frozen=True):
    """What was written: samples, bytes of a sample before and after, the runtime that ran."""

    samples: int
    sample_bytes: int
    code_bytes: int
    runtime: str

    @property
    def ratio(self) -> float:
        return self.sample_bytes / self.code_bytes


class Encoded(Coded, frozen=True):
    """`left_out`: time steps of records that no window holds."""

    left_out: int


def encode(path: Path, source: str, out: Path, *, runtime: str, replace: bool, progress: Progress) -> Encoded:
    """Write the codes of every sample of a source as .npy, uint8 [n, *shape]. Raises what `Codec.encode` raises."""
    codec, windows = opened(path, source, runtime)
    samples, left_out = windows.whole, sum(len(rest.steps) for rest in windows.rests)
    if not len(samples):
        right = f"must have {codec.spec.window} or more for codes; a {SUFFIX} file holds them"
        raise DataError(f"{source}: has {left_out} time steps, {right}")
    _written(out, samples, codec.encode, codec.code.shape, codec.code.dtype, replace, steps(progress, "encode"), source)
    return Encoded(len(samples), codec.spec.inputs * samples.itemsize, codec.code.size, codec.runtime, left_out)


def decode(path: Path, codes: Path, out: Path, *, runtime: str, replace: bool, progress: Progress) -> Coded:
    """Write the samples that a .npy of codes decodes to, [n, *shape] in the data's unit of measure and dtype."""
    codec = open_bundle(bundle_of(path), runtime)
    values = read_npy(codes, mapped_from=0)
    if values.ndim != 1 + len(codec.code.shape):
        right = f"codes [n, {', '.join(map(str, codec.code.shape))}]"
        raise DataError(f"{codes}: got {values.dtype} {list(values.shape)}, must be {right}")
    shape, dtype = codec.spec.shape, codec.spec.dtype
    _written(out, values, codec.decode, shape, dtype, replace, steps(progress, "decode"), str(codes))
    return Coded(len(values), codec.spec.inputs * np.dtype(dtype).itemsize, codec.code.size, codec.runtime)


def opened(path: Path, source: str, runtime: str) -> tuple[Codec, Windows]:
    """The codec of a bundle, and every sample of a source with the rests of its records, or the patches of its pictures.

    DataError without a sample.
    """
    bundle = bundle_of(path)
    arrays = source_arrays(bundle.manifest, source, short=True)
    if arrays.pictures:
        for size in arrays.pictures:
            require_storable(size, source)
        windows = PicturePatches(arrays.values, sizes=arrays.pictures)
    else:
        windows = Windows(all_of(arrays).values, arrays.rests)
    if not len(windows):
        raise DataError(f"{source}: holds no samples")
    return open_bundle(bundle, runtime), windows


def _written(
    out: Path,
    values: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
    dtype: str,
    replace: bool,
    report: Callable[[int, int], None],
    source: str,
) -> None:
    with atomic(out, replace=replace) as file:
        file.write(npy_header(dtype, (len(values), *shape)))
        for start, part in pieces(values, report):
            result = named(source, start, lambda part=part: function(part))
            file.write(np.ascontiguousarray(result, dtype).tobytes())


def pieces(
    values: np.ndarray | Windows, report: Callable[[int, int], None], first: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """Samples from `first` on in pieces, each with the number of its first one; `report` is called with those that are done."""
    for start in range(first, len(values), PIECE):
        part = values[start : start + PIECE]
        yield start, part
        report(start + len(part), len(values))


def named(source: str, start: int, work: Callable[[], T]) -> T:
    """The result of a piece; an error about its samples names the source, and the place of the piece."""
    try:
        return work()
    except DataError as error:
        place = f", samples from {start}" if start else ""
        raise DataError(f"{source}{place}: {error}") from None


def steps(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, 1, 1, done, total, math.nan)
