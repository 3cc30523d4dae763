"""Runs ONNX files in ONNX Runtime, and says which provider really ran.

A build of ONNX Runtime with CUDA imports without a GPU, lists CUDA as available and then runs on the CPU without an error. So
the provider is read from the opened session, never from the list of what is available. What reads and writes files is imported
where it is needed: the benchmark counts the memory of the runtime alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...compress.errors import DataError, FormatError, InputError, UnavailableError
from ...compress.packages import require_one_build
from .native_output import quiet
from .session import Bound, Session, Values, first_line, load, require_files, served

PROVIDERS: Mapping[str, tuple[Any, ...]] = {
    "ort-cpu": ("CPUExecutionProvider",),
    "ort-cuda": (("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"),
}
"""The providers that each runtime asks for. TensorFloat-32 is off: with it, float parity means nothing."""

CHUNK = 1024
"""Samples per call, which bounds the memory of the activations."""


@dataclass(eq=False)
class OrtSession(Session):
    """ONNX files opened in ONNX Runtime, one per signature; fulfils `runtime.Session`.

    `runtime` and `provider` are what really runs; `note` says why where that is not what was asked for, else it is empty.
    """

    runtime: str
    provider: str
    note: str
    paths: Mapping[str, Path]
    threads: int
    sessions: dict[str, Any] = field(repr=False)
    traced: dict[str, Any] = field(default_factory=dict, repr=False)
    names: dict[str, tuple[str, list[str]]] = field(default_factory=dict, repr=False)

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        path = served(self.runtime, signature, self.paths)
        if signature not in self.names:
            self.names[signature] = _names(self.sessions[signature])
        return _run(self.sessions[signature], self.names[signature], path, x)

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors inside the file by the program's names, for the same batch.

        They come from a copy of the file that has them as outputs. In an integer file all are uint8, `x` and `y` too where the
        file's edge has another dtype; in a float file all are float32. `x` itself is given back only where it is converted.
        """
        path = served(self.runtime, signature, self.paths)
        if signature not in self.traced:
            self.traced[signature] = _open(path, instrumented(path), PROVIDERS[self.runtime], self.threads)
        return inner_names(_run(self.traced[signature], _names(self.traced[signature]), path, x))

    def call(self, signature: str, inputs: Values) -> Values:
        session = served(self.runtime, signature, self.sessions)
        names = [output.name for output in session.get_outputs()]
        try:
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except (*_refusals(), ValueError, RuntimeError) as error:
            raise FormatError(f"{self.runtime} refuses to run it: {first_line(error)}") from error

    def bind(self, signature: str, x: np.ndarray) -> Bound:
        session, device = served(self.runtime, signature, self.sessions), "cuda" if self.runtime == "ort-cuda" else "cpu"
        (source,) = session.get_inputs()
        names = [output.name for output in session.get_outputs()]
        value, feed, binding = library().OrtValue.ortvalue_from_numpy, {source.name: x}, session.io_binding()
        binding.bind_ortvalue_input(source.name, value(x, device, 0))
        for name, y in zip(names, session.run(names, feed), strict=True):
            binding.bind_ortvalue_output(name, value(np.asarray(y), device, 0))

        def invoke() -> None:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return Bound(invoke, lambda: session.run(names, feed))


def open_ort(runtime: str, paths: Mapping[str, Path], *, threads: int = 1) -> OrtSession:
    """Open one ONNX file per signature (`{"reconstruct": path}`, `encode`, `decode`) in `ort-cpu` or `ort-cuda`.

    Where CUDA does not come up, the session's runtime is `ort-cpu` and its note says why. Raises FormatError for a file that
    ONNX Runtime refuses, InputError for another runtime or no file at all.
    """
    if runtime not in PROVIDERS:
        raise InputError(f"runtime: got {runtime!r}, must be one of {', '.join(PROVIDERS)}")
    require_files(runtime, paths)
    note = ""
    if runtime == "ort-cuda":
        note = _cuda_problem(next(iter(paths.values())), threads)
        runtime = "ort-cpu" if note else runtime
    sessions = {signature: _open(path, path, PROVIDERS[runtime], threads) for signature, path in paths.items()}
    provider = next(iter(sessions.values())).get_providers()[0]
    return OrtSession(runtime, provider, note, dict(paths), threads, sessions)


def open_files(runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> OrtSession:
    """`open_ort`, which must run what was asked for; else UnavailableError."""
    session = open_ort(runtime, files, threads=threads)
    if session.runtime != runtime:
        raise UnavailableError(session.note)
    return session


@lru_cache(maxsize=1)
def library() -> ModuleType:
    """onnxruntime, without the warnings that it prints while it looks for devices. Raises UnavailableError."""
    require_one_build()
    found = load("onnxruntime")
    if not hasattr(found, "InferenceSession"):
        raise UnavailableError("onnxruntime is installed in part: uninstall it, then install it again")
    found.set_default_logger_severity(3)
    return found


@lru_cache(maxsize=1)
def _refusals() -> tuple[type[Exception], ...]:
    names = "Fail InvalidArgument InvalidGraph InvalidProtobuf NoSuchFile NotImplemented RuntimeException"
    return tuple(getattr(library().capi.onnxruntime_pybind11_state, name) for name in names.split())


def _open(path: Path, model: Path | bytes, providers: tuple[Any, ...], threads: int) -> Any:
    options = library().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads of this session would otherwise spin into the time of the next one that is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return library().InferenceSession(model, options, providers=list(providers))
    except _refusals() as error:
        raise FormatError(f"{path}: ONNX Runtime refuses it: {_line(error)}") from error


def _cuda_problem(path: Path, threads: int) -> str:
    """Why CUDA does not run this file, or nothing."""
    if "CUDAExecutionProvider" not in library().get_available_providers():
        return "CUDA was asked for, but this build of ONNX Runtime has no CUDA provider; it ran on the CPU"
    with quiet() as chatter:
        library().preload_dlls()
        provider = _open(path, path, PROVIDERS["ort-cuda"], threads).get_providers()[0]
        chatter.seek(0)
        text = chatter.read().decode(errors="replace")
    if provider == "CUDAExecutionProvider":
        return ""
    reason = re.search(r"with error: ([^\n]+)|(CUDA failure [^\n;]+)", text)
    return f"CUDA was asked for, but {provider} ran" + (f": {next(filter(None, reason.groups()))}" if reason else "")


def _names(session: Any) -> tuple[str, list[str]]:
    """The name of a session's input, and those of its outputs."""
    (taken,) = session.get_inputs()
    return taken.name, [output.name for output in session.get_outputs()]


def _run(session: Any, io: tuple[str, list[str]], path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    source, names = io
    try:
        if len(x) <= CHUNK:
            return dict(zip(names, session.run(names, {source: np.ascontiguousarray(x)}), strict=True))
        starts = range(0, len(x), CHUNK)
        chunks = [session.run(names, {source: np.ascontiguousarray(x[start : start + CHUNK])}) for start in starts]
    except _refusals() as error:
        raise DataError(f"{path}: ONNX Runtime refuses the samples: {_line(error)}") from error
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*chunks, strict=True), strict=True)}


def inner_names(values: Values) -> dict[str, np.ndarray]:
    """Traced values by the program's names: behind an input or output of another dtype it is the uint8 tensor that counts."""
    from ..formats.onnx_writer import EDGE

    given = {name: each for name, each in values.items() if not name.endswith(EDGE)}
    return given | {name.removesuffix(EDGE): each for name, each in values.items() if name.endswith(EDGE)}


def instrumented(path: Path) -> bytes:
    """The model with its inner tensors [batch, size] as outputs: the uint8 ones of an integer file, all of a float file."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    element = onnx.TensorProto.UINT8 if quantized else onnx.TensorProto.FLOAT
    types = ((value, value.type.tensor_type) for value in model.graph.value_info)
    model.graph.output.extend(value for value, kind in types if kind.elem_type == element and len(kind.shape.dim) == 2)
    return model.SerializeToString()


def _line(error: Exception) -> str:
    """The first line of ONNX Runtime's message, without its numbers."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip().splitlines()[0]
