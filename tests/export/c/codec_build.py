"""Builds the C codec of a model around a network of two lines, which Python computes too, and calls it through ctypes."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tiedae.compress.sample_spec import SampleSpec
from tiedae.export.c.codec_source import DIRECTIONS, CodecText, Direction, SampleCodec, codec_text

COMPILERS = tuple(name for name in ("gcc", "clang", "cc") if shutil.which(name))
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
OK, END, ARGUMENT, SPACE, CODE, DAMAGED, OTHER_MODEL, UNSUPPORTED = range(8)
FILE_KINDS = {"lossy": 0, "bounded": 1, "lossless": 2}
_STATUSES = "OK, END, ARGUMENT, SPACE, CODE, DAMAGED, OTHER_MODEL, UNSUPPORTED".replace(", ", ", TAE_")
_NETWORK = """
int tae_encode_data(tae_arena *arena, const tae_value *data, uint8_t *code) {
    size_t i;
    for (i = 0; i < TAE_UNITS; i++) {
        code[i] = (uint8_t)(((int32_t)data[i % TAE_INPUTS] - (LOWEST)) / STEP);
    }
    arena->used = 1;
    return TAE_OK;
}
int tae_decode_data(tae_arena *arena, const uint8_t *code, tae_value *data) {
    size_t i;
    for (i = 0; i < TAE_INPUTS; i++) {
        data[i] = (tae_value)(code[i % TAE_UNITS] * STEP + (LOWEST));
    }
    arena->used = 1;
    return TAE_OK;
}
"""
_SIZES = """
size_t tae_test_sizes(int which) {
    return which ? sizeof(tae_workspace) : sizeof(tae_predictor);
}
"""


@dataclass(frozen=True)
class Copying:
    """A network whose codes are the first values, without their low bits; both ways in integers. As `FileModel.program`."""

    spec: SampleSpec
    units: int
    bits: int

    @property
    def value(self) -> str:
        """The dtype of its values: bytes for float data."""
        return self.spec.dtype if np.dtype(self.spec.dtype).kind in "iu" else "uint8"

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

    def text(self, codec: CodecText) -> str:
        """A whole C file: this network, and a codec around it."""
        numbers = {"INPUTS": self.spec.inputs, "UNITS": self.units, "CODE_BITS": self.bits}
        constants = "".join(f"#define TAE_{name} {value}\n" for name, value in numbers.items())
        types = f"typedef {self.value}_t tae_value;\ntypedef struct {{ int used; }} tae_arena;\n"
        network = _NETWORK.replace("LOWEST", str(self.lowest)).replace("STEP", str(self.step))
        begin = f"#include <stddef.h>\n#include <stdint.h>\nenum {{ TAE_{_STATUSES} }};\n"
        sizes = _SIZES if "tae_predictor" in codec.header else ""
        return begin + constants + types + network + codec.header + codec.source + sizes


def compiled(text: str, *options: str, compiler: str = COMPILERS[0], output: Path | None = None) -> Path:
    """The file that a compiler makes of a text; without an output, a library in a new folder."""
    made = output or Path(tempfile.mkdtemp()) / "codec.so"
    source = made.with_suffix(".c")
    source.write_text(text, encoding="ascii")
    kind = () if output else ("-shared", "-fPIC")
    done = subprocess.run([compiler, *STRICT, *kind, *options, "-o", made, source], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[:3000]
    return made


def renamed(text: str, name: str) -> str:
    """The text with the names of one model, as the generator of C gives them."""
    return re.sub(r"\bTAE_", f"{name.upper()}_", re.sub(r"\btae_", f"{name}_", text))


class Frame(ctypes.Structure):
    _fields_ = (
        ("payload", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("first", ctypes.c_uint64),
        ("samples", ctypes.c_uint32),
        ("mode", ctypes.c_uint8),
    )


class FileHeader(ctypes.Structure):
    _fields_ = (
        ("checksum", ctypes.c_uint32),
        ("samples", ctypes.c_uint32),
        ("bound", ctypes.c_uint32),
        ("kind", ctypes.c_uint8),
        ("size", ctypes.c_uint8),
    )


class Entry(ctypes.Structure):
    _fields_ = (("samples", ctypes.c_uint32), ("bytes", ctypes.c_uint32))


@dataclass(frozen=True)
class Found:
    """What reading a file gave: the statuses of open and next, the samples of each whole frame."""

    statuses: tuple[int, ...]
    frames: tuple[np.ndarray, ...]


class Library:
    """A compiled codec, with arrays and bytes in place of pointers. What writes returns bytes, or a status that is not OK."""

    def __init__(self, network: Copying, codec: SampleCodec, *options: str, compiler: str = COMPILERS[0]) -> None:
        self.network, self.codec = network, codec
        made = codec_text(network.spec, codec)
        self.text = network.text(made)
        self._predicts = "tae_predictor" in made.header
        self._own = ctypes.CDLL(str(compiled(self.text, *options, compiler=compiler)))
        self._arena = ctypes.create_string_buffer(16)

    def encode_payload(self, codes: np.ndarray, capacity: int) -> bytes | int:
        return self._written(
            capacity, lambda out, size: self._own.tae_payload_encode(_at(codes), *_sizes(len(codes)), *out, size)
        )

    def decode_payload(self, payload: bytes, samples: int) -> np.ndarray | int:
        state, codes = (ctypes.c_uint64 * 3)(), np.zeros((samples, self.network.units), np.uint8)
        status = self._own.tae_payload_open(state, payload, *_sizes(len(payload)))
        for row in codes:
            status = status or self._own.tae_payload_next(state, _at(row))
        status = status or self._own.tae_payload_close(state)
        return status or codes

    def header(self, kind: str, bound: int, samples: int) -> FileHeader | int:
        header = FileHeader()
        return self._own.tae_header_make(ctypes.byref(header), FILE_KINDS[kind], bound, samples) or header

    def write_header(self, header: FileHeader, capacity: int = 32) -> bytes | int:
        return self._written(capacity, lambda out, size: self._own.tae_header_write(ctypes.byref(header), *out, size))

    def write_frame(self, header: FileHeader, samples: np.ndarray, capacity: int, cells: int | None = None) -> bytes | int:
        count = len(samples) * (self.network.spec.inputs + self.network.units) if cells is None else cells
        memory = ctypes.create_string_buffer(4 * count)
        workspace = []
        if self._predicts:
            workspace = [ctypes.create_string_buffer(self._own.tae_test_sizes(1))]
            ctypes.memmove(workspace[0], bytes(ctypes.c_void_p(ctypes.addressof(memory))) + bytes(ctypes.c_size_t(count)), 16)
        return self._written(
            capacity,
            lambda out, size: self._own.tae_frame_encode(
                self._arena, ctypes.byref(header), _at(samples), *_sizes(len(samples)), *out, size, *workspace
            ),
        )

    def write_index(self, header: FileHeader, entries: Sequence[tuple[int, int]], capacity: int) -> bytes | int:
        listed = (Entry * len(entries))(*entries)
        return self._written(
            capacity,
            lambda out, size: self._own.tae_index_write(ctypes.byref(header), listed, *_sizes(len(entries)), *out, size),
        )

    def read(self, data: bytes, seek: int | None = None) -> Found:
        """All whole frames of a file, or those from the one that holds a sample."""
        file, frame = (ctypes.c_uint64 * 32)(), Frame()
        statuses, frames = [self._own.tae_file_open(file, data, *_sizes(len(data)))], []
        if seek is not None:
            statuses.append(self._own.tae_file_seek(file, ctypes.c_uint64(seek)))
        while statuses[-1] in (OK, DAMAGED) and statuses[0] == OK and len(statuses) < len(data) + 9:
            status = self._own.tae_file_next(file, ctypes.byref(frame))
            if status == OK:
                samples = self.read_frame(file, frame)
                status = samples if isinstance(samples, int) else status
                frames += [] if isinstance(samples, int) else [samples]
            statuses.append(status)
        return Found(tuple(statuses), tuple(frames))

    def read_frame(self, header: ctypes.Array | FileHeader, frame: Frame) -> np.ndarray | int:
        """The samples of a frame; a file begins with its header."""
        samples = np.empty((frame.samples, self.network.spec.inputs), self.network.value)
        predictors = []
        if self._predicts:
            count = max(frame.samples, self.network.spec.inputs)
            predictors = [ctypes.create_string_buffer(count * self._own.tae_test_sizes(0)), *_sizes(count)]
        status = self._own.tae_frame_decode(
            self._arena, ctypes.byref(header), ctypes.byref(frame), _at(samples), *_sizes(len(samples)), *predictors
        )
        return status or samples

    def _written(self, capacity: int, write) -> bytes | int:  # type: ignore[no-untyped-def]
        out, size = (ctypes.c_uint8 * (capacity + 1))(*b"\xa5" * (capacity + 1)), ctypes.c_size_t()
        status = write((out, ctypes.c_size_t(capacity)), ctypes.byref(size))
        assert out[capacity] == 0xA5
        return status or bytes(out[: size.value])


def _at(values: np.ndarray) -> ctypes.c_void_p:
    assert values.flags.c_contiguous
    return ctypes.c_void_p(values.ctypes.data)


def _sizes(*sizes: int) -> tuple[ctypes.c_size_t, ...]:
    return tuple(map(ctypes.c_size_t, sizes))


def all_directions() -> Collection[Collection[Direction]]:
    return (DIRECTIONS, *((each,) for each in DIRECTIONS))
