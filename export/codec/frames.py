"""Samples to the payloads of frames and back: what both ends of a file have in common, and the modes of a frame."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...compress.errors import FormatError, InputError
from ...compress.sample_spec import SampleSpec
from ..bundle import Bundle
from ..manifest import decoding_text
from . import rans
from .backends import ProgramBackend, program_of
from .container import Data, FileKind, FrameSpan, Header, Payload, read_frame
from .damage import DamagedFrames, refuse
from .residual_tables import INTEGERS, ResidualTables
from .residuals import LARGEST_BOUND
from .tables import FrequencyTables

_CODE_BYTES = struct.Struct("<I")


@dataclass(frozen=True)
class FileModel:
    """What encoder and decoder of a file share: the fused program, the tables of its codes, the samples' shape and dtype.

    `residuals`: the tables of integer samples' residuals, which bounded and lossless files need.

    `identity`: 8 bytes that name all of it, in the header of each file.
    """

    program: ProgramBackend
    tables: FrequencyTables
    identity: bytes
    residuals: ResidualTables | None = None

    @classmethod
    def of(cls, bundle: Bundle) -> FileModel:
        """That of a bundle; InputError where it has no tables, FormatError where it is damaged."""
        tables, residuals = bundle.tables(), bundle.residuals()
        text = decoding_text(bundle.path) + tables.to_bytes() + (b"" if residuals is None else residuals.to_bytes())
        identity = hashlib.sha256(text).digest()[:8]
        manifest = bundle.manifest
        return cls(ProgramBackend(program_of(bundle), manifest.data.spec, manifest.io), tables, identity, residuals)

    @property
    def spec(self) -> SampleSpec:
        return self.program.spec

    def header(self, samples_per_frame: int, kind: FileKind = FileKind.LOSSY, bound: float = 0.0) -> Header:
        """The header of a file of this model; InputError for a number, kind or bound that there cannot be."""
        if problem := self._problem(kind, bound):
            raise InputError(problem)
        return Header(self.identity, self.sample_bytes, samples_per_frame, kind, bound)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample in the data's dtype."""
        return self.spec.inputs * np.dtype(self.spec.dtype).itemsize

    def longest_payload(self, samples: int) -> int:
        """Bytes of a frame's payload at most; docs/format.md, "Frame", derives it."""
        return 12 + samples * (3 * self.tables.units + 6 * self.spec.inputs)

    def require(self, header: Header, source: object) -> None:
        """Raise FormatError, which starts with `source`, for a file of another model or of a kind that the data do not have."""
        if header.identity != self.identity:
            made, own = header.identity.hex(), self.identity.hex()
            what = "model, tables, shape, dtype or scaling"
            raise FormatError(f"{source}: was encoded with another {what}: its identity is {made}, must be {own}")
        if header.sample_bytes != self.sample_bytes:
            raise FormatError(f"{source}: damaged: samples of {header.sample_bytes} bytes, must be {self.sample_bytes}")
        if problem := self._problem(header.kind, header.bound):
            raise FormatError(f"{source}: {problem}")

    def _problem(self, kind: FileKind, bound: float) -> str:
        """Why this model has no files of a kind and bound; empty where it has."""
        name, dtype = kind.name.lower(), self.spec.dtype
        if kind is FileKind.LOSSY:
            return ""
        if dtype not in INTEGERS:
            reason = "residuals are integers, floats are not" if kind is FileKind.LOSSLESS else "not yet of floats"
            return f"{name}: the data are {dtype}, must be {', '.join(INTEGERS)}: {reason}"
        if self.residuals is None:
            return f"{name}: the bundle holds no tables of residuals; export the model again to get them"
        if kind is FileKind.BOUNDED and not (bound.is_integer() and 1 <= bound <= LARGEST_BOUND):
            return f"max error: got {bound:g}, must be an integer in 1…{LARGEST_BOUND:,} for {dtype}; lossless is 0"
        return ""

    def samples(self, codes: np.ndarray) -> np.ndarray:
        """What codes [n, units] decode to, [n, inputs] in the data's unit and dtype, the same on every machine."""
        return self.program.samples(self.program.decode(codes))


@dataclass(frozen=True)
class FrameMode:
    """How a frame holds its samples.

    `encode`: samples [n, inputs] and codes [n, units] of each frame → payloads. `decode`: payloads and numbers of samples →
    the samples of each frame, [n, inputs] in the data's dtype; DamagedFrames for payloads that `encode` does not make.
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


def _encode_prediction(
    model: FileModel, header: Header, samples: Sequence[np.ndarray], _codes: Sequence[np.ndarray]
) -> list[bytes]:
    assert model.residuals is not None
    return model.residuals.prediction.encode(samples, int(header.bound))


def _decode_prediction(model: FileModel, header: Header, payloads: Sequence[bytes], counts: Sequence[int]) -> list[np.ndarray]:
    assert model.residuals is not None
    return model.residuals.prediction.decode(payloads, counts, int(header.bound))


def _encode_both(model: FileModel, header: Header, samples: Sequence[np.ndarray], codes: Sequence[np.ndarray]) -> list[bytes]:
    assert model.residuals is not None
    y = np.split(model.samples(np.concatenate(codes)), np.cumsum([len(each) for each in codes])[:-1])
    rests = model.residuals.corrections.encode(samples, int(header.bound), y)
    coded = rans.encode(model.tables, codes)
    return [_CODE_BYTES.pack(len(code)) + code + rest for code, rest in zip(coded, rests, strict=True)]


def _decode_both(model: FileModel, header: Header, payloads: Sequence[bytes], counts: Sequence[int]) -> list[np.ndarray]:
    assert model.residuals is not None
    sizes = [int.from_bytes(payload[: _CODE_BYTES.size], "little") for payload in payloads]
    refuse(
        {
            i: f"{len(payload)} bytes cannot hold {size} bytes of codes"
            for i, (payload, size) in enumerate(zip(payloads, sizes, strict=True))
            if size > len(payload) - _CODE_BYTES.size
        }
    )
    parts = [payload[_CODE_BYTES.size :] for payload in payloads]
    codes = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    rests = [part[size:] for part, size in zip(parts, sizes, strict=True)]
    y = _decode_codes(model, header, codes, counts)
    return model.residuals.corrections.decode(rests, counts, int(header.bound), y)


MODES: Mapping[int, FrameMode] = {
    0: FrameMode("codes", _encode_codes, _decode_codes),
    1: FrameMode("prediction", _encode_prediction, _decode_prediction),
    2: FrameMode("codes and residuals", _encode_both, _decode_both),
}
"""The modes of a frame by number, below 15."""
MODES_OF: Mapping[FileKind, tuple[int, ...]] = {FileKind.LOSSY: (0,), FileKind.BOUNDED: (1, 2), FileKind.LOSSLESS: (1, 2)}
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
    """Decode frames of one mode together; where some are damaged, the others again. A mode names all of one kind of damage."""
    mode = MODES[next(iter(payloads.values())).mode]
    while payloads:
        try:
            found = mode.decode(model, header, [each.data for each in payloads.values()], [frame.samples for frame in payloads])
            decoded.update(zip(payloads, found, strict=True))
            return
        except DamagedFrames as error:
            frames = list(payloads)
            problems.update((frames[i], f"damaged: {text}") for i, text in error.problems.items())
            payloads = {frame: each for frame, each in payloads.items() if frame not in problems}
