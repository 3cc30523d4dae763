"""Samples to the payloads of frames and back: what both ends of a file have in common, and the modes of a frame."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...compress.errors import FormatError
from ...compress.sample_spec import SampleSpec
from ..bundle import Bundle
from ..manifest import decoding_text
from . import rans
from .backends import ProgramBackend, program_of
from .container import Data, FileKind, FrameSpan, Header, Payload, read_frame
from .tables import FrequencyTables


@dataclass(frozen=True)
class FileModel:
    """What encoder and decoder of a file share: the fused program, the tables of its codes, the samples' shape and dtype.

    `identity`: 8 bytes that name all of it, in the header of each file.
    """

    program: ProgramBackend
    tables: FrequencyTables
    identity: bytes

    @classmethod
    def of(cls, bundle: Bundle) -> FileModel:
        """That of a bundle; InputError where it has no tables, FormatError where it is damaged."""
        tables = bundle.tables()
        identity = hashlib.sha256(decoding_text(bundle.path) + tables.to_bytes()).digest()[:8]
        manifest = bundle.manifest
        return cls(ProgramBackend(program_of(bundle), manifest.data.spec, manifest.io), tables, identity)

    @property
    def spec(self) -> SampleSpec:
        return self.program.spec

    def header(self, samples_per_frame: int, kind: FileKind = FileKind.LOSSY, bound: float = 0.0) -> Header:
        """The header of a file of this model; InputError for a number or bound that there cannot be."""
        sample_bytes = self.spec.inputs * np.dtype(self.spec.dtype).itemsize
        return Header(self.identity, sample_bytes, samples_per_frame, kind, bound)

    def require(self, header: Header, source: object) -> None:
        """Raise FormatError, which starts with `source`, for a file of another model or of a kind that is not read here."""
        if header.identity != self.identity:
            made, own = header.identity.hex(), self.identity.hex()
            what = "model, tables, shape, dtype or scaling"
            raise FormatError(f"{source}: was encoded with another {what}: its identity is {made}, must be {own}")
        if header.kind not in MODES_OF:
            raise FormatError(f"{source}: a {header.kind.name.lower()} file, which this tiedae neither writes nor reads")

    def samples(self, codes: np.ndarray) -> np.ndarray:
        """What codes [n, units] decode to, [n, inputs] in the data's unit and dtype, the same on every machine."""
        return self.program.samples(self.program.decode(codes))


@dataclass(frozen=True)
class FrameMode:
    """How a frame holds its samples.

    `encode`: samples [n, inputs] and codes [n, units] of each frame → payloads. `decode`: payloads and numbers of samples →
    the samples of each frame, [n, inputs] in the data's dtype; FormatError for a payload that `encode` does not make.
    """

    name: str
    encode: Callable[[FileModel, Header, Sequence[np.ndarray], Sequence[np.ndarray]], list[bytes]]
    decode: Callable[[FileModel, Header, Sequence[bytes], Sequence[int]], list[np.ndarray]]


def _encode_codes(
    model: FileModel, _header: Header, _samples: Sequence[np.ndarray], codes: Sequence[np.ndarray]
) -> list[bytes]:
    return rans.encode(model.tables, codes)


def _decode_codes(model: FileModel, _header: Header, payloads: Sequence[bytes], counts: Sequence[int]) -> list[np.ndarray]:
    samples = model.samples(np.concatenate(rans.decode(model.tables, payloads, counts)))
    return np.split(samples, np.cumsum(counts)[:-1])


MODES: Mapping[int, FrameMode] = {0: FrameMode("codes", _encode_codes, _decode_codes)}
"""The modes of a frame by number, below 15."""
MODES_OF: Mapping[FileKind, tuple[int, ...]] = {FileKind.LOSSY: (0,)}
"""The modes in files of a kind; an encoder takes the shortest for each frame, of equal ones the first."""


def encode_frames(
    model: FileModel, header: Header, samples: Sequence[np.ndarray], codes: Sequence[np.ndarray]
) -> list[Payload]:
    """The shortest payload of each frame."""
    tried = [[Payload(i, data) for data in MODES[i].encode(model, header, samples, codes)] for i in MODES_OF[header.kind]]
    return [min(found, key=lambda payload: len(payload.data)) for found in zip(*tried, strict=True)]


def decode_frames(
    model: FileModel, header: Header, data: Data, frames: Sequence[FrameSpan]
) -> tuple[list[np.ndarray], dict[FrameSpan, str]]:
    """The samples of each whole frame in order, [n, inputs] in the data's dtype, and what is wrong with the others."""
    payloads: dict[FrameSpan, Payload] = {}
    problems: dict[FrameSpan, str] = {}
    for frame in frames:
        try:
            payloads[frame] = read_frame(data, frame, header)
            if payloads[frame].mode not in MODES_OF[header.kind]:
                raise FormatError(f"damaged: mode {payloads.pop(frame).mode}, which files of its kind do not have")
        except FormatError as error:
            problems[frame] = str(error)
    decoded: dict[FrameSpan, np.ndarray] = {}
    for mode in dict.fromkeys(payload.mode for payload in payloads.values()):
        _decode_mode(model, header, {f: each for f, each in payloads.items() if each.mode == mode}, decoded, problems)
    return [decoded[frame] for frame in frames if frame in decoded], problems


def _decode_mode(
    model: FileModel,
    header: Header,
    payloads: Mapping[FrameSpan, Payload],
    decoded: dict[FrameSpan, np.ndarray],
    problems: dict[FrameSpan, str],
) -> None:
    """Decode frames of one mode together; where one is damaged, each by itself."""
    mode = MODES[next(iter(payloads.values())).mode]
    try:
        found = mode.decode(model, header, [each.data for each in payloads.values()], [frame.samples for frame in payloads])
        decoded.update(zip(payloads, found, strict=True))
    except FormatError as error:
        if len(payloads) == 1:
            problems[next(iter(payloads))] = str(error).removeprefix("frame 0: ")
            return
        for frame, payload in payloads.items():
            _decode_mode(model, header, {frame: payload}, decoded, problems)
