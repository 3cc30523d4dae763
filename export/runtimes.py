"""The table of runtimes: what each one runs, how it rounds, and how it is opened or why it cannot be.

A rounding family is a way of requantizing a product of integers. `program` is the way of the integer program, so runtimes of
that family are held to equality; others may be an LSB off in each operation, which what follows can amplify.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..compress.errors import UnavailableError
from .runtime import Session

Files = Mapping[str, Path]
"""The file that serves each signature."""


@dataclass(frozen=True)
class Runtime:
    """One row of the table.

    `open` takes the file of each signature and raises UnavailableError, with the reason, where the runtime is not here.
    """

    format: Literal["tflite", "onnx"]
    precisions: tuple[Literal["int8", "f32"], ...]
    rounding: Literal["program", "litert"]
    open: Callable[[Files], Session]


def _litert(name: str) -> Callable[[Files], Session]:
    def open_file(files: Files) -> Session:
        from .litert import open_litert

        (path,) = set(files.values())
        return open_litert(name, path.read_bytes())

    return open_file


def _ort_cpu(files: Files) -> Session:
    from .ort import open_ort

    return open_ort("ort-cpu", files)


def _ort_cuda(files: Files) -> Session:
    from .ort import open_ort

    session = open_ort("ort-cuda", files)
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
