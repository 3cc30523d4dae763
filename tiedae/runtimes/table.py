"""The table of runtimes: format, rounding, and how each is opened.

`rounding` is how a runtime requantizes integer products. `program` is the rounding of the integer program: these runtimes must
be exactly equal. Others may differ by 1 LSB per operation, which later operations can amplify.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from tiedae.program.interpreter import Conversion
from tiedae.program.operations.convolution import Convolution
from tiedae.program.program import Program
from tiedae.program.score_graph import SCORE

from .session import Session, load

Files = Mapping[str, Path]
"""File by signature."""


class Open(Protocol):
    """Opens the file of each signature.

    Raises UnavailableError, with the reason, if the runtime is missing, FormatError if it rejects a file.
    """

    def __call__(self, files: Files, *, threads: int = 1) -> Session: ...


Role = Literal["usual", "witness", "foreign", "ours"]
Fault = Callable[[Program, str], str]
"""(program, signature) → a fault of the runtime that a probe shows here, and that makes its results of such a file wrong; empty
if there is none. Raises UnavailableError if the runtime is missing."""


Load = Callable[[], Open]
"""Imports a runtime and returns its `Open`. Raises UnavailableError if it is missing."""


@dataclass(frozen=True)
class Runtime:
    """A row of the table.

    `converts`: how float32 inputs are quantized (`interpreter.Conversion`). `fault`: why it does not run a file. `role`:
    `usual` is a format's default runtime and `witness` its cross-check; these and `foreign` ones run any file, `ours` only our
    own. `module`: the Python module of a runtime that the benchmark times. `device`: where it runs. `budget`: multiply-adds
    of a signature that a verification runs in it, so that a slow runtime takes seconds. It is stated, never measured, so that
    a report does not depend on the load.
    """

    format: str
    precisions: tuple[Literal["int8", "f32"], ...]
    rounding: Literal["program", "litert", "tflm", "openvino"]
    converts: Conversion
    load: Load
    fault: Fault = lambda _program, _signature: ""
    role: Role = "ours"
    module: str = ""
    device: Literal["CPU", "CUDA"] = "CPU"
    budget: float = math.inf

    def samples(self, program: Program, total: int) -> int:
        """How many of the samples a verification runs in it: what the budget allows, and `LEAST_SAMPLES` at least."""
        if math.isinf(self.budget):
            return total
        return min(total, max(LEAST_SAMPLES, int(self.budget // max(1, program.multiply_adds))))

    def open(self, files: Files, *, threads: int = 1) -> Session:
        """Open the file of each signature; see `Open`."""
        return self.load()(files, threads=threads)


LEAST_SAMPLES = 64
"""Samples that a slow runtime runs, at least."""

BOTH: tuple[Literal["int8", "f32"], ...] = ("int8", "f32")


def _opens(session: str, name: str, *, package: str = "", library: bool = False) -> Load:
    """Loader of a class of sessions, MODULE.CLASS here; a `package`, and with `library` the module's, are imported first."""
    module, _, kind = session.partition(".")

    def loaded() -> Open:
        if package:
            load(package)
        found = importlib.import_module(f".{module}", __package__)
        if library:
            found.library()
        return partial(getattr(found, kind), name)

    return loaded


def _square_kernels(program: Program, signature: str) -> str:
    """OpenVINO 2026.4 has the fault. A convolution's kernel is square with as many filters as channels."""
    windows = {each.kernel: math.prod(each.sizes) for each in program.encoder if isinstance(each, Convolution)}
    square = {
        name: kernel.units for name, kernel in program.kernels.items() if kernel.inputs == kernel.units * windows.get(name, 1)
    }
    if signature not in ("reconstruct", SCORE) or not square:
        return ""
    confuses = importlib.import_module(".openvino_runtime", __package__).confuses_square
    confused = [f"{name} [{size}, {size}]" for name, size in square.items() if confuses(size)]
    if not confused:
        return ""
    return (
        f"it reads the square kernel {confused[0]} both ways, and this OpenVINO confuses such a kernel with its transpose, "
        "as a probe shows: a file of one kernel"
    )


LITERT = "ai_edge_litert.interpreter"
_litert = partial(_opens, "litert.LiteRTSession", package=LITERT)
_compiled = partial(_opens, "compiled.CompiledSession", package="ai_edge_litert.compiled_model")
_openvino = partial(_opens, "openvino_runtime.OpenVinoSession")
_ort = partial(_opens, "ort.OrtSession", library=True)

RUNTIMES: dict[str, Runtime] = {
    "litert-xnnpack": Runtime("tflite", BOTH, "program", "multiply", _litert("litert-xnnpack"), role="usual", module=LITERT),
    "litert-compiled": Runtime("tflite", BOTH, "program", "multiply", _compiled("litert-compiled")),
    "litert-builtin": Runtime("tflite", ("int8",), "litert", "multiply", _litert("litert-builtin"), role="foreign", budget=5e9),
    "litert-reference": Runtime("tflite", BOTH, "litert", "away", _litert("litert-reference"), role="witness", budget=3e9),
    "tflm": Runtime("tflite", BOTH, "tflm", "away", _opens("tflm.TflmSession", "tflm"), budget=1e9),
    "openvino-tflite": Runtime("tflite", BOTH, "openvino", "divide", _openvino("openvino-tflite")),
    "openvino-onnx": Runtime("onnx", BOTH, "openvino", "divide", _openvino("openvino-onnx"), _square_kernels),
    "ort-cpu": Runtime("onnx", BOTH, "program", "divide", _ort("ort-cpu"), role="usual", module="onnxruntime"),
    "ort-cuda": Runtime(
        "onnx", BOTH, "program", "divide", _ort("ort-cuda"), role="foreign", module="onnxruntime", device="CUDA"
    ),
    "ort-node": Runtime("onnx", BOTH, "program", "divide", _opens("node.NodeSession", "ort-node")),
    "c": Runtime("c", ("int8",), "program", "divide", _opens("c.CSession", "c")),
}


def rounds_as_program(name: str) -> bool:
    """Whether a runtime rounds integer products as the program does."""
    return name in RUNTIMES and RUNTIMES[name].rounding == "program"


def of_role(format: str, *roles: Role) -> list[str]:
    """Runtimes of a format with one of these roles, in table order."""
    return [name for name, runtime in RUNTIMES.items() if runtime.format == format and runtime.role in roles]


def usual(format: str) -> str:
    """The default runtime of a format; the first that runs our own files where none runs any."""
    return [*of_role(format, "usual"), *of_role(format, "ours")][0]
