"""Runs .onnx and .tflite files in OpenVINO on the CPU, in float32 and in accuracy mode: its int8 products saturate on x86-64
without VNNI.

OpenVINO reads only the first subgraph of a .tflite file, so each signature is read from a copy with its subgraph first. On
import, OpenVINO's telemetry package reports over the network and writes to the home folder; it is hidden during the import.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from tiedae.base.errors import FormatError, UnavailableError
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.tflite.reader import INSTEAD_OF_VIEWS, has_views, read_entries, with_primary
from tiedae.program.operations.dense import Dense
from tiedae.program.program import Kernel, Program, Tensor

from .native_output import quiet
from .session import Sample, Session, first_line, in_batches, load, require_files, served

CHUNK = 1024
"""Samples per call, which bounds the memory of the activations."""
REPORTER = "openvino_telemetry"
SS_DISABLE = 2
"""Flag for no alternate signal stack (Linux's signal.h)."""


@lru_cache(maxsize=1)
def library() -> ModuleType:
    """Import openvino without its telemetry. Raises UnavailableError."""
    with _absent(REPORTER):
        return load("openvino")


@contextmanager
def _absent(package: str) -> Iterator[None]:
    """Let the import of a package fail during the block, unless it is loaded already."""
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
    """Restore the thread's alternate signal stack after the block.

    OpenVINO sets its own when it compiles a model (AMX needs a large one) and frees it with the model without a reset: the next
    signal, such as Ctrl-C, would crash the process.
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


@lru_cache
def confuses_square(size: int) -> bool:
    """Whether OpenVINO confuses a kernel [size, size] with its transpose in an .onnx file that reads it both ways.

    A file of that kernel alone is the probe. Raises UnavailableError if OpenVINO is missing.
    """
    library()
    values = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    layers = (Dense("x", "code", "square", False, None, "linear"), Dense("code", "y", "square", True, None, "linear"))
    tensors = {name: Tensor(name, (size,)) for name in ("x", "code", "y")}
    kernels = {"square": Kernel("square", size, size)}
    program = Program("probe", tensors, kernels, layers[:1], layers[1:], {"square": values})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(to_onnx(program, signature="reconstruct"))
        y = OpenVinoSession("openvino-onnx", {"reconstruct": path}).run("reconstruct", values)["y"]
    expected = values @ values @ values.T
    return not np.allclose(y, expected, atol=1e-3 * np.abs(expected).max())


class OpenVinoSession(Session):
    """Model files in OpenVINO, one compiled model per signature; see `Session`. Inner tensors are fused away.

    Raises UnavailableError if OpenVINO is missing or a .tflite file has views, FormatError if it rejects a file.
    """

    def __init__(self, runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> None:
        require_files(runtime, files)
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
        compiled = next(iter(self._models.values()))[0].get_compiled_model()
        devices = compiled.get_property("EXECUTION_DEVICES")
        self.provider = f"{', '.join(devices)}: {core.get_property(devices[0], 'FULL_DEVICE_NAME')}"

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        request, outputs, sample = served(self.runtime, signature, self._models)

        def infer(chunk: np.ndarray) -> dict[str, np.ndarray]:
            request.infer([chunk])
            return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(outputs)}

        return in_batches(infer, signature, x, sample, CHUNK)


_Served = tuple[Any, tuple[str, ...], Sample]
"""A compiled model: request, output names in order, dtype and shape of one input sample."""


def _compile(core: Any, path: Path, signature: str, options: Mapping[str, Any]) -> _Served:
    if path.suffix != ".tflite":
        model = _read(core, path, path, options)
        (source,) = model.inputs
        size = tuple(extent.get_length() for extent in list(source.get_partial_shape())[1:])
        names = tuple(each.name for each in onnx.load(path, load_external_data=False).graph.output)
        return model.create_infer_request(), names, (np.dtype(source.get_element_type().to_dtype()), size)
    data = path.read_bytes()
    if has_views(data):
        raise UnavailableError(f"openvino-tflite has no DENSIFY of dense dimensions; {INSTEAD_OF_VIEWS}")
    entry = served("openvino-tflite", signature, read_entries(data))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(with_primary(data, entry.subgraph))
        return _read(core, path, copy, options).create_infer_request(), entry.outputs, entry.sample


def _read(core: Any, path: Path, source: Path, options: Mapping[str, Any]) -> Any:
    try:
        return core.compile_model(core.read_model(str(source)), "CPU", dict(options))
    except RuntimeError as error:
        raise FormatError(f"{path}: OpenVINO refuses it: {_reason(error)}") from error


def _reason(error: RuntimeError) -> str:
    """The line that names an unsupported operation, else the first line that is no source location."""
    lines = [line.strip("- ") for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "FrontEnd API"))]
    named = [line for line in said if line.startswith("No conversion rule")]
    return next(iter(named or said), first_line(error))
