"""The table of runtimes: what each one runs, how it rounds, and how it is opened or why it cannot be.

A rounding family is a way of requantizing a product of integers. `program` is the way of the integer program, so runtimes of
that family are held to equality; others may be an LSB off in each operation, which what follows can amplify.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from ..interpreter import Conversion
from ..program import Program
from .session import Session, load

Files = Mapping[str, Path]
"""The file that serves each signature."""


class Open(Protocol):
    """Opens the file of each signature with a number of threads.

    Raises UnavailableError, with the reason, where the runtime is not here; FormatError where it refuses a file.
    """

    def __call__(self, files: Files, *, threads: int = 1) -> Session: ...


Role = Literal["usual", "witness", "foreign", "ours"]
Fault = Callable[[Program, str], str]
"""(program, signature) → a known fault of the runtime that a file of them meets, or nothing."""


def _none(_program: Program, _signature: str) -> str:
    return ""


Load = Callable[[], Open]
"""Brings a runtime into this process, and gives what opens its files. Raises UnavailableError where it is not here."""


@dataclass(frozen=True)
class Runtime:
    """One row of the table.

    `converts` is how float32 inputs become integers, see `inputs`. `fault` is reported beside a check that failed. `role`: the
    `usual` runtime of a format serves where one is enough, a `witness` is held beside it; they and `foreign` ones run files of
    anyone. `module` is the Python module of a runtime that the benchmark times; `device` is where it runs.
    """

    format: str
    precisions: tuple[Literal["int8", "f32"], ...]
    rounding: Literal["program", "litert", "tflm", "openvino"]
    converts: Conversion
    load: Load
    fault: Fault = _none
    role: Role = "ours"
    module: str = ""
    device: Literal["CPU", "CUDA"] = "CPU"

    def open(self, files: Files, *, threads: int = 1) -> Session:
        """Open the file of each signature; see `Open`."""
        return self.load()(files, threads=threads)


BOTH: tuple[Literal["int8", "f32"], ...] = ("int8", "f32")


def _opens(module: str, name: str, *packages: str, library: bool = False) -> Load:
    """`open_files` of a module of this folder for row `name`, once `packages` import, and what its `library` imports."""

    def loaded() -> Open:
        for package in packages:
            load(package)
        found = importlib.import_module(f".{module}", __package__)
        if library:
            found.library()
        return partial(found.open_files, name)

    return loaded


def _square_kernels(program: Program, signature: str) -> str:
    """Measured with OpenVINO 2026.4."""
    square = [name for name, kernel in program.kernels.items() if kernel.inputs == kernel.units]
    if signature != "reconstruct" or not square:
        return ""
    return (
        "a known fault of OpenVINO's CPU plugin: in an .onnx file that reads a square kernel both ways "
        f"({', '.join(square)}) it takes the kernel for its transpose; the file is right if ort-cpu's checks of it hold"
    )


LITERT = "ai_edge_litert.interpreter"
RUNTIMES: dict[str, Runtime] = {
    "litert-xnnpack": Runtime(
        "tflite", BOTH, "program", "multiply", _opens("litert", "litert-xnnpack", LITERT), role="usual", module=LITERT
    ),
    "litert-compiled": Runtime(
        "tflite", BOTH, "program", "multiply", _opens("compiled", "litert-compiled", "ai_edge_litert.compiled_model")
    ),
    "litert-builtin": Runtime(
        "tflite", ("int8",), "litert", "multiply", _opens("litert", "litert-builtin", LITERT), role="foreign"
    ),
    "litert-reference": Runtime("tflite", BOTH, "litert", "away", _opens("litert", "litert-reference", LITERT), role="witness"),
    "tflm": Runtime("tflite", BOTH, "tflm", "away", _opens("tflm", "tflm")),
    "openvino-tflite": Runtime("tflite", BOTH, "openvino", "divide", _opens("openvino_runtime", "openvino-tflite")),
    "openvino-onnx": Runtime("onnx", BOTH, "openvino", "divide", _opens("openvino_runtime", "openvino-onnx"), _square_kernels),
    "ort-cpu": Runtime(
        "onnx", BOTH, "program", "divide", _opens("ort", "ort-cpu", library=True), role="usual", module="onnxruntime"
    ),
    "ort-cuda": Runtime(
        "onnx",
        BOTH,
        "program",
        "divide",
        _opens("ort", "ort-cuda", library=True),
        role="foreign",
        module="onnxruntime",
        device="CUDA",
    ),
    "ort-node": Runtime("onnx", BOTH, "program", "divide", _opens("node", "ort-node")),
}


def rounds_as_program(name: str) -> bool:
    """Whether a runtime of this name rounds products as the program states."""
    return name in RUNTIMES and RUNTIMES[name].rounding == "program"


def of_role(format: str, *roles: Role) -> list[str]:
    """The runtimes of a format that have one of these roles, in the order of the table."""
    return [name for name, runtime in RUNTIMES.items() if runtime.format == format and runtime.role in roles]


def usual(format: str) -> str:
    """The runtime that serves where one of a format is enough."""
    return of_role(format, "usual")[0]
