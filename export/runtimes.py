"""The table of runtimes: what each one runs, how it rounds, and how it is opened or why it cannot be.

A rounding family is a way of requantizing a product of integers. `program` is the way of the integer program, so runtimes of
that family are held to equality; others may be an LSB off in each operation, which what follows can amplify.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..compress.errors import UnavailableError
from .runtime import Session

Files = Mapping[str, Path]
"""The file that serves each signature."""


class Open(Protocol):
    """Opens the file of each signature with a number of threads.

    Raises UnavailableError, with the reason, where the runtime is not here; FormatError where it refuses a file.
    """

    def __call__(self, files: Files, *, threads: int = 1) -> Session: ...


@dataclass(frozen=True)
class Runtime:
    """One row of the table."""

    format: Literal["tflite", "onnx"]
    precisions: tuple[Literal["int8", "f32"], ...]
    rounding: Literal["program", "litert"]
    open: Open


def _litert(name: str) -> Open:
    def open_file(files: Files, *, threads: int = 1) -> Session:
        from .litert import open_litert

        (path,) = set(files.values())
        return open_litert(name, path.read_bytes(), threads=threads)

    return open_file


def _ort_cpu(files: Files, *, threads: int = 1) -> Session:
    from .ort import open_ort

    return open_ort("ort-cpu", files, threads=threads)


def _ort_cuda(files: Files, *, threads: int = 1) -> Session:
    from .ort import open_ort

    session = open_ort("ort-cuda", files, threads=threads)
    if session.runtime != "ort-cuda":
        raise UnavailableError(session.note)
    return session


RUNTIMES: Mapping[str, Runtime] = {
    "litert-xnnpack": Runtime("tflite", ("int8", "f32"), "program", _litert("litert-xnnpack")),
    "litert-builtin": Runtime("tflite", ("int8",), "litert", _litert("litert-builtin")),
    "litert-reference": Runtime("tflite", ("int8", "f32"), "litert", _litert("litert-reference")),
    "ort-cpu": Runtime("onnx", ("int8", "f32"), "program", _ort_cpu),
    "ort-cuda": Runtime("onnx", ("int8", "f32"), "program", _ort_cuda),
}

SAME_ROUNDING = tuple(name for name, runtime in RUNTIMES.items() if runtime.rounding == "program")
"""Runtimes that round products as the program states."""
