"""Samples to the payloads of frames and back: what both ends of a file have in common, and the modes of a frame."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import Manifest, decoding_text
from tiedae.config.sample_spec import INTEGERS, SampleSpec
from tiedae.entropy import grid, rans
from tiedae.entropy.classes import CodeTables
from tiedae.entropy.rans import DamagedFrames, refuse
from tiedae.entropy.residual_tables import ResidualTables, bases
from tiedae.entropy.residuals import LARGEST_BOUND
from tiedae.export.c.codec_source import SampleCodec
from tiedae.export.targets import ModelCodec

from .backends import ProgramBackend, program_of
from .container import FrameSpan, Payload, read_frame
from .header import Data, FileKind, Header

_CODE_BYTES = struct.Struct("<I")


def model_codec(
    manifest: Manifest, tables: CodeTables, residuals: ResidualTables | None, written: Path | None = None
) -> ModelCodec:
    """What makes the model of a manifest a codec. `written`: the bundle that holds the manifest, where there is one."""
    text = decoding_text(written or manifest) + tables.to_bytes() + (b"" if residuals is None else residuals.to_bytes())
    coding = SampleCodec(tables, hashlib.sha256(text).digest()[:8], residuals)
    return ModelCodec(manifest.data.spec, manifest.integer_maps, coding)


def codec_of_bundle(bundle: Bundle) -> ModelCodec:
    """That of a bundle; InputError where it has no tables, FormatError where they are damaged."""
    return model_codec(bundle.manifest, bundle.tables(), bundle.residuals(), bundle.path)


@dataclass(frozen=True)
class FileModel:
    """What encoder and decoder of a file share: the fused program, the tables of its codes, the samples' shape and dtype.

    `residuals`: the tables of integer samples' residuals, which bounded and lossless files need.

    `identity`: 8 bytes that name all of it, in the header of each file.
    """

    program: ProgramBackend
    tables: CodeTables
    identity: bytes
    residuals: ResidualTables | None = None

    @classmethod
    def of(cls, bundle: Bundle, program: ProgramBackend | None = None) -> FileModel:
        """That of a bundle; InputError where it has no tables, FormatError where it is damaged.

        `program`: the bundle's, where it is known.
        """
        codec, manifest = codec_of_bundle(bundle), bundle.manifest
        if program is None:
            program = ProgramBackend(program_of(bundle), manifest.data.spec, manifest.io, manifest.integer_maps)
        return cls(program, codec.coding.tables, codec.coding.identity, codec.coding.residuals)

    @property
    def spec(self) -> SampleSpec:
        return self.program.spec

    @property
    def coding(self) -> SampleCodec:
        """What its files are coded with, for C."""
        return SampleCodec(self.tables, self.identity, self.residuals)

    def header(self, samples_per_frame: int, kind: FileKind = FileKind.LOSSY, bound: float = 0.0) -> Header:
        """The header of a file of this model; InputError for a number, kind or bound that there cannot be."""
        if problem := self._problem(kind, bound):
            raise InputError(problem)
        return Header(self.identity, self.sample_bytes, samples_per_frame, kind, bound, self.tables.classes > 1)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample in the data's dtype."""
        return self.spec.inputs * np.dtype(self.spec.dtype).itemsize

    def longest_payload(self, samples: int) -> int:
        """Bytes of a frame's payload at most; docs/reference/format.md, "Frame", derives it."""
        return 13 + samples * (self.tables.longest + 6 * self.spec.inputs)

    def require(self, header: Header, source: object) -> None:
        """Raise FormatError, which starts with `source`, for a file of another model or of a kind that the data do not have."""
        if header.identity != self.identity:
            made, own = header.identity.hex(), self.identity.hex()
            what = "model, tables, shape, dtype or scaling"
            raise FormatError(f"{source}: was encoded with another {what}: its identity is {made}, must be {own}")
        if header.sample_bytes != self.sample_bytes:
            raise FormatError(f"{source}: damaged: samples of {header.sample_bytes} bytes, must be {self.sample_bytes}")
        if header.classed != (self.tables.classes > 1):
            got, right = ("has", "none") if header.classed else ("has no", "one")
            raise FormatError(f"{source}: damaged: {got} class per sample, must have {right}, as the tables")
        if problem := self._problem(header.kind, header.bound):
            raise FormatError(f"{source}: {problem}")

    def _problem(self, kind: FileKind, bound: float) -> str:
        """Why this model has no files of a kind and bound; empty where it has."""
        name, dtype = kind.name.lower(), self.spec.dtype
        if kind is FileKind.LOSSY:
            return ""
        if kind is FileKind.LOSSLESS and not self.codes_integers:
            return (
                f"{name}: the data are {dtype}, must be {', '.join(INTEGERS)}: residuals are integers; max_error bounds floats"
            )
        if self.residuals is None:
            return f"{name}: the bundle holds no tables of residuals; export the model again to get them"
        if kind is FileKind.BOUNDED and self.codes_integers and not (bound.is_integer() and 1 <= bound <= LARGEST_BOUND):
            return f"max error: got {bound:g}, must be an integer in 1…{LARGEST_BOUND:,} for {dtype}; lossless is 0"
        return ""

    def modes(self, kind: FileKind) -> tuple[int, ...]:
        """The modes of frames in files of a kind."""
        if kind is FileKind.LOSSY:
            return (0,)
        return (1, 2) if self.codes_integers else (3, 4)

    @property
    def codes_integers(self) -> bool:
        """Whether residuals are of the samples themselves; those of floats are of steps on a grid."""
        return self.spec.dtype in INTEGERS

    def samples(self, codes: np.ndarray) -> np.ndarray:
        """What codes [n, units] decode to, [n, inputs] in the data's unit of measure and dtype, the same on every machine."""
        return self.program.samples(self.program.decode(codes))


@dataclass(frozen=True)
class FrameMode:
    """How a frame holds its samples: by `codes`, by `residuals` of a prediction, or by codes and the residuals beside them."""

    name: str
    codes: bool
    residuals: bool

    def encode(
        self, model: FileModel, header: Header, samples: Sequence[np.ndarray], codes: Sequence[np.ndarray]
    ) -> Sequence[bytes | None]:
        """Samples [n, inputs] and codes [n, units] of each frame → payloads, None where it cannot hold a frame."""
        coded = rans.encode(model.tables, codes) if self.codes else []
        if not self.residuals:
            return coded
        rests = _encode_residuals(model, header, samples, _reconstructed(model, codes) if self.codes else None)
        if not self.codes:
            return rests
        sized = (_CODE_BYTES.pack(len(code)) + code for code in coded)
        return [None if rest is None else code + rest for code, rest in zip(sized, rests, strict=True)]

    def decode(self, model: FileModel, header: Header, payloads: Sequence[bytes], counts: Sequence[int]) -> list[np.ndarray]:
        """Payloads and numbers of samples → the samples of each frame, [n, inputs] in the data's dtype.

        Raises DamagedFrames for payloads that `encode` does not make.
        """
        if not self.residuals:
            return _cut(model.samples(np.concatenate(rans.decode(model.tables, payloads, counts))), counts)
        if not self.codes:
            return _decode_residuals(model, header, payloads, counts, None)
        coded, rests = _split(payloads)
        return _decode_residuals(model, header, rests, counts, _reconstructed(model, rans.decode(model.tables, coded, counts)))


def _reconstructed(model: FileModel, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the residuals of frames of codes are beside."""
    return _cut(model.program.bases(model.program.decode(np.concatenate(codes))), [len(each) for each in codes])


def _encode_residuals(
    model: FileModel, header: Header, samples: Sequence[np.ndarray], y: Sequence[np.ndarray] | None
) -> Sequence[bytes | None]:
    """Payloads of residuals beside `y`, or of a prediction alone; None where a frame of floats is on no grid."""
    assert model.residuals is not None
    coder = model.residuals.prediction if y is None else model.residuals.corrections
    if model.codes_integers:
        return coder.encode(samples, int(header.bound), y)
    around = y or [bases(model.spec)] * len(samples)
    found = [grid.steps_of(each, base, header.bound) for each, base in zip(samples, around, strict=True)]
    streams = iter(coder.encode([each[1] for each in found if each is not None], 0))
    return [None if each is None else bytes((each[0],)) + next(streams) for each in found]


def _decode_residuals(
    model: FileModel, header: Header, payloads: Sequence[bytes], counts: Sequence[int], y: Sequence[np.ndarray] | None
) -> list[np.ndarray]:
    assert model.residuals is not None
    coder = model.residuals.prediction if y is None else model.residuals.corrections
    if model.codes_integers:
        return coder.decode(payloads, counts, int(header.bound), y)
    wrong = (i for i, payload in enumerate(payloads) if not payload or payload[0] > grid.HALVINGS)
    refuse({i: f"its step is halved more than {grid.HALVINGS} times" for i in wrong})
    around = y or [bases(model.spec)] * len(counts)
    steps = coder.decode([payload[1:] for payload in payloads], counts, 0)
    return [
        grid.restored(each, base, header.bound, payload[0], model.spec.dtype)
        for each, base, payload in zip(steps, around, payloads, strict=True)
    ]


def _cut(values: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(counts)[:-1])


def _split(payloads: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The codes of payloads, and their residuals."""
    sizes = [int.from_bytes(payload[: _CODE_BYTES.size], "little") for payload in payloads]
    refuse(
        {
            i: f"{len(payload)} bytes cannot hold {size} bytes of codes"
            for i, (payload, size) in enumerate(zip(payloads, sizes, strict=True))
            if size > len(payload) - _CODE_BYTES.size
        }
    )
    parts = [payload[_CODE_BYTES.size :] for payload in payloads]
    pairs = list(zip(parts, sizes, strict=True))
    return [part[:size] for part, size in pairs], [part[size:] for part, size in pairs]


MODES: Mapping[int, FrameMode] = {
    0: FrameMode("codes", codes=True, residuals=False),
    1: FrameMode("prediction", codes=False, residuals=True),
    2: FrameMode("codes and residuals", codes=True, residuals=True),
    3: FrameMode("prediction on a grid", codes=False, residuals=True),
    4: FrameMode("codes and residuals on a grid", codes=True, residuals=True),
}
"""The modes of a frame by number, below 15."""


def encode_frames(
    model: FileModel, header: Header, samples: Sequence[np.ndarray], codes: Sequence[np.ndarray]
) -> list[Payload]:
    """The shortest payload of each frame, of equal ones that of the first mode; DataError where no mode can hold one."""
    modes = model.modes(header.kind)
    tried = [MODES[i].encode(model, header, samples, codes) for i in modes]
    payloads: list[Payload] = []
    for frame in zip(*tried, strict=True):
        found = [Payload(i, data) for i, data in zip(modes, frame, strict=True) if data is not None]
        if not found:
            reach = f"{grid.LARGEST:,} steps of twice that from its reconstruction"
            raise DataError(
                f"max error {header.bound:g}: too small: a value is more than {reach}, or {model.spec.dtype} is coarser there"
            )
        payloads.append(min(found, key=lambda payload: len(payload.data)))
    return payloads


def decode_frames(
    model: FileModel, header: Header, data: Data, frames: Sequence[FrameSpan]
) -> tuple[list[np.ndarray], dict[FrameSpan, str]]:
    """The samples of each whole frame in order, [n, inputs] in the data's dtype, and what is wrong with the others."""
    payloads: dict[FrameSpan, Payload] = {}
    problems: dict[FrameSpan, str] = {}
    for frame in frames:
        try:
            payloads[frame] = read_frame(data, frame, header)
            if payloads[frame].mode not in model.modes(header.kind):
                raise FormatError(f"damaged: mode {payloads.pop(frame).mode}, which files of its kind do not have")
        except FormatError as error:
            problems[frame] = str(error)
    decoded: dict[FrameSpan, np.ndarray] = {}
    for mode in dict.fromkeys(payload.mode for payload in payloads.values()):
        waiting = [frame for frame in payloads if payloads[frame].mode == mode]
        while waiting:  # a mode names all of one kind of damage; the other frames are decoded again
            try:
                found = MODES[mode].decode(
                    model, header, [payloads[frame].data for frame in waiting], [frame.samples for frame in waiting]
                )
                decoded.update(zip(waiting, found, strict=True))
                break
            except DamagedFrames as error:
                problems.update((waiting[i], f"damaged: {text}") for i, text in error.problems.items())
                waiting = [frame for frame in waiting if frame not in problems]
    return [decoded[frame] for frame in frames if frame in decoded], problems
