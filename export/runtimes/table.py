"""The table of runtimes: what each one runs, how it rounds, and how it is opened or why it cannot be.

A rounding family is a way of requantizing a product of integers. `program` is the way of the integer program, so runtimes of
that family are held to equality; others may be an LSB off in each operation, which what follows can amplify.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ...compress.errors import FormatError, InputError, UnavailableError
from ...compress.packages import INSTALL
from ..inputs import Conversion
from ..program import Program
from .session import Session, load

Files = Mapping[str, Path]
"""The file that serves each signature."""


class Open(Protocol):
    """Opens the file of each signature with a number of threads.

    Raises UnavailableError, with the reason, where the runtime is not here; FormatError where it refuses a file.
    """

    def __call__(self, files: Files, *, threads: int = 1) -> Session: ...


Fault = Callable[[Program, str], str]
"""(program, signature) → a known fault of the runtime that a file of them meets, or nothing."""


def _none(_program: Program, _signature: str) -> str:
    return ""


@dataclass(frozen=True)
class Runtime:
    """One row of the table.

    `converts` is how float32 inputs become integers, see `inputs`. `install` is how the runtime gets here; `fault` is told
    beside a check that failed.
    """

    format: str
    precisions: tuple[Literal["int8", "f32"], ...]
    rounding: Literal["program", "litert", "tflm", "openvino"]
    converts: Conversion
    open: Open
    install: str
    fault: Fault = _none


BOTH: tuple[Literal["int8", "f32"], ...] = ("int8", "f32")


def _litert(name: str) -> Open:
    def open_file(files: Files, *, threads: int = 1) -> Session:
        load("ai_edge_litert.interpreter")
        from .litert import open_litert

        return open_litert(name, _bytes(name, files), threads=threads)

    return open_file


def _compiled(files: Files, *, threads: int = 1) -> Session:
    load("ai_edge_litert.compiled_model")
    from .compiled import NAME, open_compiled

    return open_compiled(_bytes(NAME, files), threads=threads)


def _tflm(files: Files, *, threads: int = 1) -> Session:
    """TFLM has one thread, whatever is asked for."""
    from .tflm import NAME, open_tflm

    return open_tflm(_bytes(NAME, files))


def _openvino(name: str) -> Open:
    def open_files(files: Files, *, threads: int = 1) -> Session:
        from .openvino_runtime import open_openvino

        return open_openvino(name, files, threads=threads)

    return open_files


def _square_kernels(program: Program, signature: str) -> str:
    """Measured with OpenVINO 2026.4."""
    square = [name for name, kernel in program.kernels.items() if kernel.inputs == kernel.units]
    if signature != "reconstruct" or not square:
        return ""
    return (
        "a known fault of OpenVINO's CPU plugin: in an .onnx file that reads a square kernel both ways "
        f"({', '.join(square)}) it takes the kernel for its transpose; the file is right if ort-cpu's checks of it hold"
    )


def _ort_cpu(files: Files, *, threads: int = 1) -> Session:
    from .ort import open_ort

    return open_ort("ort-cpu", files, threads=threads)


def _ort_cuda(files: Files, *, threads: int = 1) -> Session:
    from .ort import open_ort

    session = open_ort("ort-cuda", files, threads=threads)
    if session.runtime != "ort-cuda":
        raise UnavailableError(session.note)
    return session


def _ort_node(files: Files, *, threads: int = 1) -> Session:
    from .node import open_node

    return open_node(files, threads=threads)


def _bytes(name: str, files: Files) -> bytes:
    """The one file that serves every signature."""
    paths = set(files.values())
    if len(paths) != 1:
        raise InputError(f"{name}: got {len(paths)} files, must be one .tflite file with every signature")
    (path,) = paths
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    return path.read_bytes()


RUNTIMES: dict[str, Runtime] = {
    "litert-xnnpack": Runtime("tflite", BOTH, "program", "multiply", _litert("litert-xnnpack"), INSTALL["ai_edge_litert"]),
    "litert-compiled": Runtime("tflite", BOTH, "program", "multiply", _compiled, INSTALL["ai_edge_litert"]),
    "litert-builtin": Runtime("tflite", ("int8",), "litert", "multiply", _litert("litert-builtin"), INSTALL["ai_edge_litert"]),
    "litert-reference": Runtime("tflite", BOTH, "litert", "away", _litert("litert-reference"), INSTALL["ai_edge_litert"]),
    "tflm": Runtime("tflite", BOTH, "tflm", "away", _tflm, INSTALL["tflite_micro"]),
    "openvino-tflite": Runtime("tflite", BOTH, "openvino", "divide", _openvino("openvino-tflite"), INSTALL["openvino"]),
    "openvino-onnx": Runtime(
        "onnx", BOTH, "openvino", "divide", _openvino("openvino-onnx"), INSTALL["openvino"], _square_kernels
    ),
    "ort-cpu": Runtime("onnx", BOTH, "program", "divide", _ort_cpu, INSTALL["onnxruntime"]),
    "ort-cuda": Runtime("onnx", BOTH, "program", "divide", _ort_cuda, INSTALL["onnxruntime"]),
    "ort-node": Runtime("onnx", BOTH, "program", "divide", _ort_node, INSTALL["onnxruntime-node"]),
}

SAME_ROUNDING = tuple(name for name, runtime in RUNTIMES.items() if runtime.rounding == "program")
"""Runtimes that round products as the program states."""
