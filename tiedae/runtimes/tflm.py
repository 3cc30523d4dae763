"""Runs .tflite files in TensorFlow Lite Micro, the interpreter for microcontrollers, built for this machine.

It runs the first subgraph of a file, one sample at a time, so each signature is opened from a copy with its subgraph only. The
package tflite-micro has pre-releases only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.base.errors import FormatError, UnavailableError
from tiedae.export.packing import is_packed
from tiedae.export.tflite.reader import (
    INSTEAD_OF_VIEWS,
    Entry,
    contents_of,
    has_views,
    named_activations,
    read_entries,
    with_primary,
)

from .native_output import quiet
from .session import Session, first_line, in_batches, load, one_file, served

SMALLEST_ARENA = 1 << 20
"""Minimum arena size in bytes, for activations and the transposed kernels of BATCH_MATMUL."""


class TflmSession(Session):
    """A .tflite file in TFLM, one interpreter per signature; see `Session`.

    `read_tflite` checks the file first: TFLM itself does not, and could crash. It has one thread.

    Raises UnavailableError if TFLM is missing or the decoder reads views or packed kernels, FormatError if the file is damaged
    or TFLM lacks one of its operations.
    """

    provider = "reference kernels, one sample per call"

    def __init__(self, runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> None:
        self.runtime, self._data = runtime, one_file(runtime, files).read_bytes()
        data, self._entries = self._data, read_entries(self._data)
        if has_views(data):
            raise UnavailableError(f"{runtime} has no DENSIFY; {INSTEAD_OF_VIEWS}")
        if _unpacks(data):
            raise UnavailableError(f'{runtime} has no DEQUANTIZE of 4-bit kernels; int4 = "bytes" makes a file for it')
        self._interpreters = {name: _load(data, entry, "kAllocationRecording") for name, entry in self._entries.items()}
        self._tracers: dict[str, Any] = {}

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        entry, interpreter = served(self.runtime, signature, self._entries), self._interpreters[signature]

        def invoke(sample: np.ndarray) -> dict[str, np.ndarray]:
            _invoke(interpreter, sample)
            return {name: interpreter.get_output(place) for place, name in enumerate(entry.outputs)}

        return in_batches(invoke, signature, x, entry.sample, 1)

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        entry = served(self.runtime, signature, self._entries)
        if signature not in self._tracers:
            self._tracers[signature] = _load(self._data, entry, "kPreserveAllTensors")
        interpreter = self._tracers[signature]

        def traced(sample: np.ndarray) -> dict[str, np.ndarray]:
            _invoke(interpreter, sample)
            values = {place: interpreter.GetTensor(place, 0)["tensor_data"] for place in sorted(entry.batched)}
            return named_activations((entry.tensors[index], array) for index, array in values.items())

        return in_batches(traced, signature, x, entry.sample, 1)


def _unpacks(data: bytes) -> bool:
    """Whether a decoder in the file reads packed kernels."""
    contents = contents_of(data)
    decodes = any("BATCH_MATMUL" in signature.operations for signature in contents.signatures)
    return decodes and any(is_packed(constant.values) for constant in contents.constants)


def _load(data: bytes, entry: Entry, config: str) -> Any:
    """Load the interpreter of a signature; `config` is a member of TFLM's InterpreterConfig. Raises UnavailableError."""
    runtime, arena = load("tflite_micro.python.tflite_micro.runtime"), max(SMALLEST_ARENA, 10 * len(data))
    chosen = getattr(runtime.InterpreterConfig, config)
    with quiet() as sink:
        try:
            copy = with_primary(data, entry.subgraph, alone=True)
            return runtime.Interpreter.from_bytes(copy, arena_size=arena, intrepreter_config=chosen)
        except (RuntimeError, ValueError) as error:
            sink.seek(0)
            said = sink.read().decode(errors="replace").strip().splitlines()
            raise FormatError(f"TFLM refuses the file: {said[0] if said else first_line(error)}") from error


def _invoke(interpreter: Any, sample: np.ndarray) -> None:
    interpreter.set_input(sample, 0)
    interpreter.invoke()
