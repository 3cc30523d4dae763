"""The stream of a C file, compiled with a loop that takes every result of each full window: codes, y, scores, flags, frames."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.codec.frames import FileModel
from tiedae.config.sample_spec import INTEGERS, SampleSpec
from tiedae.export.c.rounding import FORMS
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.program.scoring import Detector

from .compiled import STRICT, compiler, pointer, write
from .models import Case

OK, ARGUMENT = 0, 2
RECORDS = (
    Case("channel", 17, "int16", "record", (33,), "standardized", "dense", FORMS),
    Case("axes", 62, "int16", "record", (4, 6), "mse", "dense", FORMS),
    Case("floats", 178, "float32", "record", (5, 6), "mae", "dense", FORMS),
)
"""Models of windows of 1 and of 6 channels."""
DRIVER = """
#include "NAME.c"
#include "NAME_float.h"

static tae_arena arena;
static tae_stream stream;
static tae_header header;

size_t stream_bytes(void);
size_t stream_bytes(void) { return sizeof(tae_stream); }
size_t frame_bytes(void);
size_t frame_bytes(void) { return TAE_FRAME_BYTES(1); }

/* How many calls with a null pointer are answered with TAE_ARGUMENT. */
int nulls(const VALUE *steps);
int nulls(const VALUE *steps)
{
  size_t used;
  return (tae_stream_init(NULL, 1) == TAE_ARGUMENT) + (tae_stream_push(NULL, steps, 1, &used) == TAE_ARGUMENT)
    + (tae_stream_push(&stream, NULL, 1, &used) == TAE_ARGUMENT) + (tae_stream_push(&stream, steps, 1, NULL) == TAE_ARGUMENT);
}

int begin(size_t hop);
int begin(size_t hop)
{
  const int status = tae_header_make(&header, TAE_LOSSY, 0, 1);
  return status == TAE_OK ? tae_stream_init(&stream, hop) : status;
}

static int window(uint8_t *code, VALUE *y, uint64_t *score, uint8_t *flag, uint8_t *frame, size_t *size)
{
#ifdef FLOATS
  static uint8_t x[TAE_INPUTS], decoded[TAE_INPUTS];
  int status = tae_quantize(stream.window, x);
  if (status == TAE_OK) status = tae_reconstruct(&arena, x, code, decoded);
  if (status == TAE_OK) status = tae_score_float(&arena, stream.window, score, flag);
  tae_dequantize(decoded, y);
#else
  const tae_value *x = stream.window;
  int status = tae_encode_data(&arena, x, code);
  if (status == TAE_OK) status = tae_decode_data(&arena, code, y);
  if (status == TAE_OK) status = tae_score(&arena, x, score, flag);
#endif
  return status == TAE_OK ? tae_frame_encode(&arena, &header, x, 1, frame, TAE_FRAME_BYTES(1), size) : status;
}

int push(const VALUE *steps, size_t count, size_t *done, uint8_t *codes, VALUE *y, uint64_t *scores, uint8_t *flags,
  uint8_t *frames, size_t *sizes);
int push(const VALUE *steps, size_t count, size_t *done, uint8_t *codes, VALUE *y, uint64_t *scores, uint8_t *flags,
  uint8_t *frames, size_t *sizes)
{
  size_t used = 0;
  int status;
  *done = 0;
  while ((status = tae_stream_push(&stream, steps, count, &used)) == TAE_OK) {
    status = window(codes, y, scores, flags, frames, sizes);
    if (status != TAE_OK) return 100 + status;
    steps += used * TAE_STREAM_CHANNELS;
    count -= used;
    *done += 1;
    codes += TAE_UNITS;
    y += TAE_INPUTS;
    scores++, flags++, sizes++;
    frames += TAE_FRAME_BYTES(1);
  }
  return status == TAE_END && used == count ? TAE_OK : status == TAE_END ? 200 : status;
}
"""


@dataclass(frozen=True)
class StreamResults:
    """Of each window: code, y in the data's unit of measure, the integer score, whether it is an anomaly, its frame."""

    codes: np.ndarray
    y: np.ndarray
    scores: np.ndarray
    flags: np.ndarray
    frames: tuple[bytes, ...]


class CStream:
    """The compiled stream of a C file with lossy .tae files alone and a detector; `begin`, then `push`."""

    def __init__(self, source: CSource, spec: SampleSpec, units: int, folder: Path) -> None:
        write(source, folder)
        floats = spec.dtype not in INTEGERS
        value = {"float32": "float", "float64": "double"}[spec.dtype] if floats else "tae_value"
        text = ("#define FLOATS\n" if floats else "") + DRIVER.replace("VALUE", value).replace("NAME", source.name)
        text = text.replace("tae_", f"{source.name}_").replace("TAE_", f"{source.name.upper()}_")
        (folder / "driver.c").write_text(text, encoding="utf-8")
        command = [compiler(), *STRICT, "-O1", "-shared", "-fPIC", folder / "driver.c", "-o", folder / "driver.so"]
        subprocess.run(command, check=True, timeout=300)
        self._library, self._spec, self._units = ctypes.CDLL(str(folder / "driver.so")), spec, units
        self.bytes, self._frame = self._library.stream_bytes(), self._library.frame_bytes()

    def begin(self, hop: int) -> int:
        """The status."""
        return self._library.begin(ctypes.c_size_t(hop))

    def nulls(self) -> int:
        """How many of four calls with a null pointer have the right status."""
        return self._library.nulls(pointer(np.zeros(self._spec.inputs, self._spec.dtype)))

    def push(self, steps: np.ndarray) -> StreamResults | int:
        """The results of the windows that [n, channels] steps of the data's dtype complete; the status where that is not OK."""
        steps = np.ascontiguousarray(steps, self._spec.dtype)
        count = len(steps) + 1
        codes, y = np.zeros((count, self._units), np.uint8), np.zeros((count, *self._spec.shape), self._spec.dtype)
        scores, flags = np.zeros(count, np.uint64), np.zeros(count, np.uint8)
        frames, sizes = np.zeros((count, self._frame), np.uint8), np.zeros(count, np.uintp)
        outputs, done = (codes, y, scores, flags, frames, sizes), ctypes.c_size_t()
        status = self._library.push(pointer(steps), ctypes.c_size_t(len(steps)), ctypes.byref(done), *map(pointer, outputs))
        if status != OK:
            return status
        n = done.value
        made = tuple(frame[:size].tobytes() for frame, size in zip(frames[:n], sizes[:n], strict=True))
        return StreamResults(codes[:n], y[:n], scores[:n], flags[:n].astype(bool), made)


def cut(steps: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Steps in pieces of these sizes, and the rest."""
    return np.split(steps, np.cumsum(sizes)[np.cumsum(sizes) <= len(steps)])


def windows_of(steps: np.ndarray, window: int, hop: int) -> np.ndarray:
    """[n, window, …] of steps [m, …]."""
    starts = range(0, len(steps) - window + 1, hop)
    return np.stack([steps[start : start + window] for start in starts]) if starts else np.empty((0, window, *steps.shape[1:]))


def stream_source(model: FileModel, detector: Detector) -> CSource:
    """The C file of a model, with lossy .tae files alone."""
    backend = model.program
    unit = DataUnit(backend.spec, backend.maps, backend.io)
    return to_c(backend.program, unit=unit, detector=detector, codec=model.coding, promises=["lossy"])
