"""The header of a .tae file: what its first bytes say of the others. docs/reference/format.md specifies it."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from mmap import mmap

import numpy as np

from tiedae.base.errors import FormatError, InputError
from tiedae.config.config import CodecConfig
from tiedae.config.sample_spec import SampleSpec

SUFFIX = ".tae"
MAGIC = b"\x89TAE"
VERSION = 1
SAMPLES_PER_FRAME = CodecConfig().frame
MOST_SAMPLES = (1 << 16) - 1
"""The largest number of samples in a frame."""
MOST_BYTES = 1 << 26
"""Bytes of samples that a frame decodes to at most; one sample is always allowed."""


def most_per_frame(spec: SampleSpec) -> int:
    """Samples of a frame at most, of samples in the data's dtype."""
    return max(1, min(MOST_SAMPLES, MOST_BYTES // (spec.inputs * np.dtype(spec.dtype).itemsize)))


_HEADER = struct.Struct("<4sBBHI8s")
_BOUND = struct.Struct("<d")
_CHECKSUM = struct.Struct("<I")

LONGEST_HEADER = _HEADER.size + _BOUND.size + _CHECKSUM.size

Data = bytes | bytearray | mmap


_CLASSED = 4
"""The flag of files whose samples have classes, beside the kind."""


class FileKind(IntEnum):
    """What a file promises of its samples; the low bits of the header's flags."""

    LOSSY = 0
    BOUNDED = 1
    LOSSLESS = 2


def promise(max_error: float | None, lossless: bool) -> tuple[FileKind, float]:
    """The kind of a file, and its bound, as options name them; InputError for both options."""
    if lossless and max_error is not None:
        raise InputError(f"max error {max_error:g}: a lossless file has none; give one of the two")
    if max_error is not None:
        return FileKind.BOUNDED, float(max_error)
    return (FileKind.LOSSLESS if lossless else FileKind.LOSSY), 0.0


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say.

    `identity`: 8 bytes that name the program, tables, shape, dtype and scaling. `sample_bytes`: of a sample in the data's
    dtype. `bound`: the largest error of a value in the data's unit of measure, only of bounded files. `classed`: whether the
    codes of a sample begin with its class. Raises InputError for other values.
    """

    identity: bytes
    sample_bytes: int
    samples_per_frame: int = SAMPLES_PER_FRAME
    kind: FileKind = FileKind.LOSSY
    bound: float = 0.0
    classed: bool = False

    def __post_init__(self) -> None:
        if len(self.identity) != 8 or not 0 < self.sample_bytes < 1 << 32:
            raise InputError(f"header: got {len(self.identity)} bytes of identity, {self.sample_bytes} of a sample")
        if not 0 < self.samples_per_frame <= MOST_SAMPLES:
            raise InputError(f"samples per frame: got {self.samples_per_frame}, must lie in 1…{MOST_SAMPLES:,}")
        if self.samples_per_frame > self.samples_within(MOST_BYTES):
            got = f"{self.samples_per_frame} samples per frame, of {self.sample_bytes:,} bytes each"
            right = f"{self.samples_within(MOST_BYTES):,} at most: a frame holds {MOST_BYTES:,} bytes of samples"
            raise InputError(f"frame: got {got}, must be {right}")
        bounded = self.kind is FileKind.BOUNDED
        if not (0 < self.bound < math.inf if bounded else self.bound == 0):
            right = "finite and above 0" if bounded else "0"
            raise InputError(f"bound of a {self.kind.name.lower()} file: got {self.bound}, must be {right}")

    def to_bytes(self) -> bytes:
        return self._body + _CHECKSUM.pack(self.checksum)

    def samples_within(self, size: int) -> int:
        """Samples that take `size` bytes at most; always one or more."""
        return max(1, size // self.sample_bytes)

    @cached_property
    def checksum(self) -> int:
        """CRC-32 of the bytes before it; those of frames and index continue it."""
        return zlib.crc32(self._body)

    @property
    def size(self) -> int:
        return len(self._body) + _CHECKSUM.size

    @property
    def _body(self) -> bytes:
        flags = self.kind | _CLASSED * self.classed
        fields = (MAGIC, VERSION, flags, self.samples_per_frame, self.sample_bytes, self.identity)
        return _HEADER.pack(*fields) + (_BOUND.pack(self.bound) if self.kind is FileKind.BOUNDED else b"")

    @classmethod
    def from_bytes(cls, data: Data, source: object) -> Header:
        """The header at the start of a file; FormatError, which starts with `source`, for anything else."""
        if data[: len(MAGIC)] != MAGIC:
            raise FormatError(f"{source}: not a {SUFFIX} file")
        if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
            raise FormatError(f"{source}: a {SUFFIX} file of version {data[len(MAGIC)]}, this tiedae reads version {VERSION}")
        if len(data) < _HEADER.size:
            raise FormatError(f"{source}: damaged: ends in the header")
        _, _, flags, samples, sample_bytes, identity = _HEADER.unpack_from(data)
        kind, known = flags & ~_CLASSED, [*FileKind, *(each | _CLASSED for each in FileKind)]
        if flags not in known:
            raise FormatError(f"{source}: flags {flags:#04x}, this tiedae reads {', '.join(f'{each:#04x}' for each in known)}")
        size = _HEADER.size + (_BOUND.size if kind == FileKind.BOUNDED else 0)
        if len(data) < size + _CHECKSUM.size:
            raise FormatError(f"{source}: damaged: ends in the header")
        (bound,) = _BOUND.unpack_from(data, _HEADER.size) if kind == FileKind.BOUNDED else (0.0,)
        if _CHECKSUM.unpack_from(data, size)[0] != zlib.crc32(data[:size]):
            raise FormatError(f"{source}: damaged: the header's checksum is not that of its bytes")
        try:
            return cls(identity, sample_bytes, samples, FileKind(kind), bound, flags != kind)
        except InputError as error:
            raise FormatError(f"{source}: damaged: {error}") from None
