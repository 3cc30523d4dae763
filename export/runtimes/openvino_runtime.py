"""Runs .onnx and .tflite files in OpenVINO on the CPU, in float32 and with accuracy before speed: its int8 products saturate on
x86-64 without VNNI.

OpenVINO reads the first subgraph of a .tflite file only. So each signature is read from a copy in which its subgraph is the
first. On import OpenVINO reports its use over the network and writes into the home folder, unless the package that
does so is absent: it is kept absent during the import.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...compress.errors import FormatError
from ..formats.tflite_reader import entry_of, read_entries, with_primary
from .native_output import quiet
from .session import Sample, Session, first_line, in_batches, load, require_files, served

CHUNK = 1024
"""Samples per call, which bounds the memory of the activations."""
REPORTER = "openvino_telemetry"
SS_DISABLE = 2
"""No stack of their own for signal handlers (Linux's signal.h)."""


@lru_cache(maxsize=1)
def library() -> ModuleType:
    """openvino, imported without its reports. Raises UnavailableError."""
    with _absent(REPORTER):
        return load("openvino")


@contextmanager
def _absent(package: str) -> Iterator[None]:
    """Let the import of a package that is not loaded yet fail while the block runs."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


class _Stack(ctypes.Structure):
    """stack_t of Linux's signal.h."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def _same_signal_stack() -> Iterator[None]:
    """Give the thread back the stack that its signal handlers run on, or none.

    Where OpenVINO compiles a model it sets a stack of its own (AMX wants a large one), which is gone with the model while the
    thread still points to it: the next signal, such as Ctrl-C, would end the process.
    """
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        if library.sigaltstack(ctypes.byref(before), None) != 0:
            library.sigaltstack(ctypes.byref(_Stack(None, SS_DISABLE, 0)), None)


def open_files(runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> OpenVinoSession:
    """Open the file of each signature, `.onnx` or `.tflite`.

    Raises UnavailableError where OpenVINO is not here, FormatError where it refuses a file.
    """
    require_files(runtime, files)
    return OpenVinoSession(runtime, files, threads)


class OpenVinoSession(Session):
    """Model files in OpenVINO, one compiled model per signature. See `runtime.Session`; the tensors inside are fused away."""

    def __init__(self, runtime: str, files: Mapping[str, Path], threads: int) -> None:
        self.runtime = runtime
        with quiet(), _same_signal_stack():
            core = library().Core()
            options = {
                "EXECUTION_MODE_HINT": "ACCURACY",
                "INFERENCE_PRECISION_HINT": "f32",
                "LP_TRANSFORMS_MODE": "NO",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
            }
            self._models = {signature: _compile(core, path, signature, options) for signature, path in files.items()}
        compiled = next(iter(self._models.values())).request.get_compiled_model()
        devices = compiled.get_property("EXECUTION_DEVICES")
        self.provider = f"{', '.join(devices)}: {core.get_property(devices[0], 'FULL_DEVICE_NAME')}"

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        model = served(self.runtime, signature, self._models)

        def infer(chunk: np.ndarray) -> dict[str, np.ndarray]:
            model.request.infer([chunk])
            return {name: model.request.get_output_tensor(i).data.copy() for i, name in enumerate(model.outputs)}

        return in_batches(infer, signature, x, model.sample, CHUNK)


@dataclass(frozen=True)
class _Served:
    """A compiled model's request, its outputs by their place, and what one sample of its input is."""

    request: Any
    outputs: tuple[str, ...]
    sample: Sample


def _compile(core: Any, path: Path, signature: str, options: Mapping[str, Any]) -> _Served:
    if path.suffix != ".tflite":
        model = _read(core, path, path, options)
        (source,) = model.inputs
        size = tuple(extent.get_length() for extent in list(source.get_partial_shape())[1:])
        names = tuple(min(output.get_names()) for output in model.outputs)
        return _Served(model.create_infer_request(), names, (np.dtype(source.get_element_type().to_dtype()), size))
    data = path.read_bytes()
    entry = entry_of(read_entries(data), signature)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(with_primary(data, entry.subgraph))
        return _Served(_read(core, path, copy, options).create_infer_request(), entry.outputs, entry.sample)


def _read(core: Any, path: Path, source: Path, options: Mapping[str, Any]) -> Any:
    try:
        return core.compile_model(core.read_model(str(source)), "CPU", dict(options))
    except RuntimeError as error:
        raise FormatError(f"{path}: OpenVINO refuses it: {_reason(error)}") from error


def _reason(error: RuntimeError) -> str:
    """The line of OpenVINO's report that names an operation that it lacks, else the first that is no place in its source."""
    lines = [line.strip("- ") for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "FrontEnd API"))]
    named = [line for line in said if line.startswith("No conversion rule")]
    return next(iter(named or said), first_line(error))
