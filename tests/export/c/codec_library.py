"""The C codec of a model, compiled and called through ctypes: arrays and bytes in place of pointers.

`Copying` is a network of a few lines, so that its codec is tested alone; `Bundled` is that of a bundle.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from tiedae.codec.frames import FileModel
from tiedae.config.sample_spec import INTEGERS, SampleSpec
from tiedae.export.c.codec_source import CodecText, SampleCodec, codec_text
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.export.c.text import named

from .compiled import pointer, shared

OK, END, ARGUMENT, SPACE, CODE, DAMAGED, OTHER_MODEL, UNSUPPORTED = range(8)
FILE_KINDS = {"lossy": 0, "bounded": 1, "lossless": 2}
_STATUSES = ", ".join(
    f"TAE_{name}" for name in ("OK", "END", "ARGUMENT", "SPACE", "CODE", "DAMAGED", "OTHER_MODEL", "UNSUPPORTED")
)
_NETWORK = """
int tae_encode_data(tae_arena *arena, const tae_value *data, uint8_t *code)
{
  size_t i;
  for (i = 0; i < TAE_UNITS; i++) code[i] = (uint8_t)(((int32_t)data[i % TAE_INPUTS] - (LOWEST)) / STEP);
  return arena == NULL ? TAE_ARGUMENT : TAE_OK;
}
int tae_decode_data(tae_arena *arena, const uint8_t *code, tae_value *data)
{
  size_t i;
  for (i = 0; i < TAE_INPUTS; i++) data[i] = (tae_value)(code[i % TAE_UNITS] * STEP + (LOWEST));
  return arena == NULL ? TAE_ARGUMENT : TAE_OK;
}
"""
_MEMORY = """
size_t tae_test_sizes(int which)
{
  return which ? sizeof(tae_workspace) : sizeof(tae_predictor);
}
"""


class NetworkText(Protocol):
    """A network as C. `value`: the dtype of the values that it takes and gives."""

    spec: SampleSpec
    units: int

    @property
    def value(self) -> str: ...
    def source(self, codec: SampleCodec) -> CSource: ...


@dataclass(frozen=True)
class Copying:
    """A network whose codes are the first values, without their low bits; `FileModel.program` in Python."""

    spec: SampleSpec
    units: int
    bits: int

    @property
    def value(self) -> str:
        return _value(self.spec)

    @property
    def lowest(self) -> int:
        return int(np.iinfo(self.value).min)

    @property
    def step(self) -> int:
        return 1 << 8 * np.dtype(self.value).itemsize - self.bits

    def codes(self, samples: np.ndarray) -> np.ndarray:
        taken = samples[:, np.arange(self.units) % self.spec.inputs].astype(np.int64)
        return ((taken - self.lowest) // self.step).astype(np.uint8)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return codes

    def samples(self, codes: np.ndarray) -> np.ndarray:
        taken = codes[:, np.arange(self.spec.inputs) % self.units].astype(np.int64)
        return (taken * self.step + self.lowest).astype(self.value)

    bases = samples

    def source(self, codec: SampleCodec) -> CSource:
        return self.text(codec_text(self.spec, codec))

    def text(self, codec: CodecText, name: str = "model") -> CSource:
        """The C files, whose names begin with `name`."""
        numbers = {"INPUTS": self.spec.inputs, "UNITS": self.units, "CODE_BITS": self.bits}
        constants = "".join(f"#define TAE_{name} {value}\n" for name, value in numbers.items())
        types = f"enum {{ {_STATUSES} }};\ntypedef {self.value}_t tae_value;\ntypedef struct {{ int used; }} tae_arena;\n"
        header = f"#include <stddef.h>\n#include <stdint.h>\n{constants}{types}{codec.header}"
        network = _NETWORK.replace("LOWEST", str(self.lowest)).replace("STEP", str(self.step))
        source = f'#include "{name}.h"\n{network}{codec.source}{_memory(codec.header)}'
        return CSource(name, named(source, name), named(header, name), "", 16, {})


@dataclass(frozen=True)
class Bundled:
    """The network of a bundle."""

    model: FileModel

    @property
    def spec(self) -> SampleSpec:
        return self.model.spec

    @property
    def units(self) -> int:
        return self.model.tables.units

    @property
    def value(self) -> str:
        return _value(self.spec)

    def source(self, codec: SampleCodec) -> CSource:
        program = self.model.program
        made = to_c(program.program, unit=DataUnit(program.spec, program.maps), codec=codec)
        return replace(made, source=made.source + named(_memory(made.header), made.name))


class CFrame(ctypes.Structure):
    """tae_frame."""

    _fields_ = (
        ("payload", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("first", ctypes.c_uint64),
        ("samples", ctypes.c_uint32),
        ("mode", ctypes.c_uint8),
        ("ends", ctypes.c_uint8),
        ("padding", ctypes.c_uint32),
    )


class CHeader(ctypes.Structure):
    """tae_header."""

    _fields_ = (
        ("checksum", ctypes.c_uint32),
        ("samples", ctypes.c_uint32),
        ("bound", ctypes.c_uint32),
        ("kind", ctypes.c_uint8),
        ("size", ctypes.c_uint8),
    )


class CEntry(ctypes.Structure):
    """tae_entry."""

    _fields_ = (("samples", ctypes.c_uint32), ("bytes", ctypes.c_uint32))


@dataclass(frozen=True)
class Found:
    """What reading a file gave: statuses of open, next and failed decoding; samples of whole frames, their first numbers, and
    the padding of those that end a record, −1 of others."""

    statuses: tuple[int, ...]
    samples: np.ndarray
    first: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def problems(self) -> int:
        """How often something was lost; of an unusable header, once."""
        return sum(status not in (OK, END) for status in self.statuses)


class Library:
    """A compiled codec. What writes returns bytes; it and what decodes return the status where that is not OK.

    Without options it is compiled without optimization, in half of the time.
    """

    def __init__(self, network: NetworkText, codec: SampleCodec, folder: Path, *options: str, cc: str = "cc") -> None:
        self.network = network
        source = network.source(codec)
        folder.mkdir()
        self._library, self._name = shared(source, folder, *(options or ("-O0",)), cc=cc), source.name
        self.arena: ctypes.Array[ctypes.c_char] | None = ctypes.create_string_buffer(source.arena)
        self._predicts = codec.residuals is not None and network.spec.dtype in INTEGERS

    def call(self, function: str, *arguments: object) -> int:
        return getattr(self._library, f"{self._name}_{function}")(*map(_argument, arguments))

    def encode_payload(self, codes: np.ndarray, capacity: int) -> bytes | int:
        return self._written(capacity, lambda *out: self.call("payload_encode", codes, len(codes), *out))

    def decode_payload(self, payload: bytes, samples: int) -> np.ndarray | int:
        state, codes = (ctypes.c_uint64 * 3)(), np.zeros((samples, self.network.units), np.uint8)
        status = self.call("payload_open", state, payload, len(payload))
        for row in codes:
            status = status or self.call("payload_next", state, row)
        status = status or self.call("payload_close", state)
        return status or codes

    def header(self, kind: str, bound: int, samples: int) -> CHeader:
        header = CHeader()
        assert self.call("header_make", header, ctypes.c_int(FILE_KINDS[kind]), *map(ctypes.c_uint32, (bound, samples))) == OK
        return header

    def write_header(self, header: CHeader, capacity: int = 32) -> bytes | int:
        return self._written(capacity, lambda *out: self.call("header_write", header, *out))

    def write_frame(self, header: CHeader, samples: np.ndarray, capacity: int, cells: int | None = None) -> bytes | int:
        count = len(samples) * (self.network.spec.inputs + self.network.units) if cells is None else cells
        memory, workspace = ctypes.create_string_buffer(4 * count), []
        if self._predicts:
            begin = (ctypes.c_size_t * 2)(ctypes.addressof(memory), count)
            workspace.append(ctypes.create_string_buffer(bytes(begin), self.call("test_sizes", ctypes.c_int(1))))
        return self._written(
            capacity, lambda *out: self.call("frame_encode", self.arena, header, samples, len(samples), *out, *workspace)
        )

    def write_index(self, header: CHeader, entries: Sequence[tuple[int, int]], capacity: int) -> bytes | int:
        listed = (CEntry * len(entries))(*entries)
        return self._written(capacity, lambda *out: self.call("index_write", header, listed, len(entries), *out))

    def write_end(self, header: CHeader, padding: int, capacity: int = 11) -> bytes | int:
        return self._written(capacity, lambda *out: self.call("end_write", header, ctypes.c_uint32(padding), *out))

    def write_file(self, header: CHeader, frames: Sequence[np.ndarray], longest: int) -> bytes:
        """A whole file; `longest`: bytes that a frame or an index may take."""
        parts = [self.write_header(header), *(self.write_frame(header, frame, longest) for frame in frames)]
        entries = [(len(frame), len(_bytes(part))) for frame, part in zip(frames, parts[1:], strict=True)]
        return b"".join(map(_bytes, [*parts, self.write_index(header, entries, longest)]))

    def read(self, data: bytes, seek: int | None = None) -> Found:
        """The samples of all whole frames of a file, or of those from the one that holds a sample."""
        file, frame = (ctypes.c_uint64 * 32)(), CFrame()
        statuses = [self.call("file_open", file, data, len(data))]
        if seek is not None and statuses == [OK]:
            statuses.append(self.call("file_seek", file, ctypes.c_uint64(seek)))
        parts, first, padding = [np.empty((0, self.network.spec.inputs), self.network.value)], [], []
        most = len(data) + 9
        while set(statuses[: 1 if seek is None else 2]) == {OK} and statuses[-1] != END and len(statuses) < most:
            status = self.call("file_next", file, frame)
            statuses.append(status)
            if status == OK:
                samples = self.read_frame(file, frame)
                if isinstance(samples, int):
                    statuses.append(samples)
                else:
                    parts.append(samples)
                    first.append(frame.first)
                    padding.append(frame.padding if frame.ends else -1)
        return Found(tuple(statuses), np.concatenate(parts), tuple(first), tuple(padding))

    def read_frame(
        self, header: ctypes.Array[ctypes.c_uint64] | CHeader, frame: CFrame, *, room: int = 0, predictors: int = 99
    ) -> np.ndarray | int:
        """The samples of a frame; a file begins with its header. `room`: samples more or less than it has."""
        count = frame.samples + room
        samples, memory = np.empty((count, self.network.spec.inputs), self.network.value), []
        if self._predicts:
            memory = [ctypes.create_string_buffer(predictors * self.call("test_sizes", ctypes.c_int(0))), predictors]
        status = self.call("frame_decode", self.arena, header, frame, samples, count, *memory)
        return status or samples

    def _written(self, capacity: int, write: Callable[..., int]) -> bytes | int:
        out, size = ctypes.create_string_buffer(b"\xa5" * (capacity + 1)), ctypes.c_size_t()
        status = write(out, capacity, ctypes.byref(size))
        assert out.raw[capacity] == 0xA5, "a byte behind the capacity"
        return status or out.raw[: size.value]


def _argument(value: object) -> object:
    """Integers are sizes; arrays and structs are passed by their address."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return pointer(value)
    if isinstance(value, int):
        return ctypes.c_size_t(value)
    return ctypes.byref(value) if isinstance(value, ctypes.Structure) else value


def _bytes(part: bytes | int) -> bytes:
    assert isinstance(part, bytes), part
    return part


def _value(spec: SampleSpec) -> str:
    return spec.dtype if spec.dtype in INTEGERS else "uint8"


def _memory(header: str) -> str:
    """A function that states the sizes of structs, where the declarations have both."""
    return _MEMORY if "_workspace;" in header and "_predictor;" in header and "_frame_decode" in header else ""
