"""Runs .tflite files in LiteRT's CompiledModel on the CPU, the successor of its Interpreter.

Input and output buffers are kept until the batch size changes.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import weakref
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.options import CpuOptions, Options

from tiedae.base.errors import FormatError, UnavailableError
from tiedae.export.tflite.reader import has_computed_shapes, read_entries

from .litert import CHUNK
from .native_output import quiet
from .session import Session, first_line, in_batches, one_file, served


class CompiledSession(Session):
    """A .tflite file as a CompiledModel; see `Session`. Inner tensors are not accessible.

    Raises FormatError if LiteRT rejects it, UnavailableError if shapes are computed: LiteRT 2.3.0 ends the process then.
    """

    def __init__(self, runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> None:
        data = one_file(runtime, files).read_bytes()
        self.runtime, self._entries = runtime, read_entries(data)
        if has_computed_shapes(data):
            raise UnavailableError(f'{runtime} runs no TRANSPOSE_CONV with a computed shape; kernels = "view" makes one for it')
        options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=threads))
        with quiet():
            try:
                self._model = CompiledModel.from_buffer(data, options=options)
            except RuntimeError as error:
                raise FormatError(f"LiteRT refuses the file: {first_line(error)}") from error
        self._buffers: dict[str, tuple[int, Any, dict[str, Any]]] = {}
        weakref.finalize(self, _close, self._model, self._buffers)
        rest = "all operations" if self._model.is_fully_accelerated() else "the rest in builtin kernels"
        self.provider = f"CPU accelerator (XNNPACK), {rest}"

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        entry = served(self.runtime, signature, self._entries)
        return in_batches(lambda chunk: self._invoke(signature, chunk), signature, x, entry.sample, CHUNK)

    def _invoke(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        name = self._entries[signature].x
        if self._buffers.get(signature, (0,))[0] != len(x):
            self._buffers.pop(signature, None)
            with quiet():
                self._buffers[signature] = self._prepare(signature, name, x)
        _, source, results = self._buffers[signature]
        source.write(x)
        self._model.run_by_name(signature, {name: source}, results)
        details = self._model.get_output_tensor_details(signature)
        return {output: _read(results[output], details[output]) for output in results}

    def _prepare(self, signature: str, name: str, x: np.ndarray) -> tuple[int, Any, dict[str, Any]]:
        """Allocate buffers for the shape of `x`. The first write of the process initializes LiteRT's environment."""
        self._model.resize_input_tensor_by_name(signature, name, x.shape)
        source = self._model.create_input_buffer_by_name(signature, name)
        outputs = self._model.get_output_tensor_details(signature)
        results = {output: self._model.create_output_buffer_by_name(signature, output) for output in outputs}
        source.write(x)
        _quiet_at_exit()
        return len(x), source, results


def _read(buffer: Any, details: dict[str, Any]) -> np.ndarray:
    shape = tuple(details["shape"])
    return buffer.read(int(np.prod(shape)), np.dtype(details["dtype"])).reshape(shape)


@lru_cache(maxsize=1)
def _quiet_at_exit() -> None:
    """Discard what native code writes to C's `stderr` at exit, where LiteRT logs the release of its environment.

    Python's own output is not affected. Does nothing if the C library has no such symbol.
    """
    libc = ctypes.CDLL(None)
    try:
        stream = ctypes.c_void_p.in_dll(libc, "stderr")
    except ValueError:
        return
    libc.fopen.restype = ctypes.c_void_p
    nowhere = libc.fopen(os.devnull.encode(), b"w")
    if nowhere:
        atexit.register(setattr, stream, "value", nowhere)


def _close(model: CompiledModel, buffers: dict[str, Any]) -> None:
    """Free buffers, model and environment in order of dependency, without LiteRT's log."""
    with quiet():
        buffers.clear()
        model.close()
        model.environment.close()
