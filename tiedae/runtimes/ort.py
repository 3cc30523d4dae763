"""Runs ONNX files in ONNX Runtime and reports the provider that ran.

A CUDA build of ONNX Runtime without a GPU still lists CUDA as available and silently runs on the CPU, so the provider is read
from the opened session. `onnx` is imported only for tracing: the benchmark measures the memory of the runtime alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tiedae.base.errors import DataError, FormatError, UnavailableError
from tiedae.base.packages import require_one_build

from .native_output import quiet
from .session import Bound, HeldFile, Session, Values, batched, load, require_files, served

PROVIDERS: Mapping[str, tuple[Any, ...]] = {
    "ort-cpu": ("CPUExecutionProvider",),
    "ort-cuda": (("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"),
}
"""The providers that each runtime requests. TensorFloat-32 is off, since it would break float parity."""

CHUNK = 1024
"""Samples per call, which bounds the memory of the activations."""


class OrtSession(Session):
    """ONNX files in ONNX Runtime, one per signature, in `ort-cpu` or `ort-cuda`; see `Session`.

    Raises FormatError for a file that ONNX Runtime rejects, InputError without files, UnavailableError where the CPU would run
    in place of CUDA.
    """

    def __init__(self, runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> None:
        require_files(runtime, files)
        if runtime == "ort-cuda" and (problem := _cuda_problem(next(iter(files.values())), threads)):
            raise UnavailableError(problem)
        self.runtime, self._files, self._threads = runtime, dict(files), threads
        self._held = {signature: HeldFile(path) for signature, path in files.items()}
        self._sessions = {signature: _open(path, path, PROVIDERS[runtime], threads) for signature, path in files.items()}
        self._names = {signature: _names(session) for signature, session in self._sessions.items()}
        self._traced: dict[str, Any] = {}
        self.provider = next(iter(self._sessions.values())).get_providers()[0]

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        path = served(self.runtime, signature, self._files)
        return _run(self._sessions[signature], self._names[signature], path, x)

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """See `Session.trace`. The tensors come from a copy of the file with all of them as outputs.

        All are uint8 in an integer file, `x` and `y` too, and float32 in a float file. `x` is returned only if it is converted.
        """
        path = served(self.runtime, signature, self._files)
        if signature not in self._traced:
            copy = instrumented(path, self._held[signature])
            self._traced[signature] = _open(path, copy, PROVIDERS[self.runtime], self._threads)
        return inner_names(_run(self._traced[signature], _names(self._traced[signature]), path, x))

    def call(self, signature: str, inputs: Values) -> Values:
        return _call(self.runtime, served(self.runtime, signature, self._sessions), inputs)

    def bind(self, signature: str, x: np.ndarray) -> Bound:
        session, device = served(self.runtime, signature, self._sessions), "cuda" if self.runtime == "ort-cuda" else "cpu"
        (source,), names = self._names[signature]
        value, feed, binding = library().OrtValue.ortvalue_from_numpy, {source: x}, session.io_binding()
        binding.bind_ortvalue_input(source, value(x, device, 0))
        for name, y in zip(names, session.run(names, feed), strict=True):
            binding.bind_ortvalue_output(name, value(np.asarray(y), device, 0))

        def invoke() -> None:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return Bound(invoke, lambda: session.run(names, feed))


@lru_cache(maxsize=1)
def library() -> ModuleType:
    """Import onnxruntime without its warnings from device discovery. Raises UnavailableError."""
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


class Unoptimized:
    """A file in `ort-cpu`, one thread, without graph optimizations.

    `model`: a changed copy of the file, which reads its external data. `profile`: start of the path of a profile.
    """

    def __init__(self, path: Path, model: bytes | None = None, *, profile: str = "") -> None:
        options = library().SessionOptions()
        options.graph_optimization_level = library().GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = bool(profile)
        options.profile_file_prefix = profile
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        self.provider = "CPUExecutionProvider"
        self._session = _open(path, path if model is None else model, PROVIDERS["ort-cpu"], 1, options)

    def call(self, signature: str, inputs: Values) -> Values:
        return _call("ort-cpu", self._session, inputs)

    def end_profile(self) -> Path:
        return Path(self._session.end_profiling())


def _open(path: Path, model: Path | bytes, providers: tuple[Any, ...], threads: int, options: Any = None) -> Any:
    options = options or library().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads would otherwise spin while the next session is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return library().InferenceSession(model, options, providers=list(providers))
    except _refusals() as error:
        raise FormatError(f"{path}: ONNX Runtime refuses it: {_line(error)}") from error


def _cuda_problem(path: Path, threads: int) -> str:
    """Reason why CUDA does not run this file; empty if it does."""
    if "CUDAExecutionProvider" not in library().get_available_providers():
        return "CUDA was requested, but this build of ONNX Runtime has no CUDA provider; it ran on the CPU"
    with quiet() as chatter:
        library().preload_dlls()
        provider = _open(path, path, PROVIDERS["ort-cuda"], threads).get_providers()[0]
        chatter.seek(0)
        text = chatter.read().decode(errors="replace")
    if provider == "CUDAExecutionProvider":
        return ""
    reason = re.search(r"with error: ([^\n]+)|(CUDA failure [^\n;]+)", text)
    return f"CUDA was requested, but {provider} ran" + (f": {next(filter(None, reason.groups()))}" if reason else "")


def _names(session: Any) -> tuple[list[str], list[str]]:
    """The names of a session's inputs and outputs."""
    return [each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()]


def _run(session: Any, names: tuple[list[str], list[str]], path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    (source,), outputs = names
    try:
        return batched(lambda chunk: dict(zip(outputs, session.run(outputs, {source: chunk}), strict=True)), x, CHUNK)
    except _refusals() as error:
        raise DataError(f"{path}: ONNX Runtime refuses the samples: {_line(error)}") from error


def _call(runtime: str, session: Any, inputs: Values) -> Values:
    _, names = _names(session)
    try:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
    except (*_refusals(), ValueError, RuntimeError) as error:
        raise FormatError(f"{runtime} refuses to run it: {_whole(error)}") from error


def inner_names(values: Values) -> dict[str, np.ndarray]:
    """Rename traced values to the program's names; an input or output becomes the one in scaled values, or the uint8 one."""
    from tiedae.export.model_file import program_names
    from tiedae.export.onnx.builder import EDGE, channels_last
    from tiedae.program.file_io import MODEL

    return program_names(channels_last(values), MODEL, EDGE)


def instrumented(path: Path, held: HeldFile) -> bytes:
    """The opened model with its inner tensors as outputs, uint8 in an integer file, float32 in a float file.

    External data is read from the folder of `path`.
    """
    import onnx

    model = onnx.load(held.path, load_external_data=False)
    onnx.load_external_data_for_model(model, str(path.parent))
    model = onnx.shape_inference.infer_shapes(model)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    element = onnx.TensorProto.UINT8 if quantized else onnx.TensorProto.FLOAT
    types = ((value, value.type.tensor_type) for value in model.graph.value_info)
    model.graph.output.extend(value for value, kind in types if kind.elem_type == element and len(kind.shape.dim) >= 2)
    return model.SerializeToString()


def _whole(error: Exception) -> str:
    """ONNX Runtime's message in one line, without its error code; a failure inside nested graphs has its cause at the end."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split())) or type(error).__name__


def _line(error: Exception) -> str:
    """The first line of ONNX Runtime's message, without its error code."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip().splitlines()[0]
