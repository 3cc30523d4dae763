"""What every runtime offers to the parity engine, and what its rows have in common."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Protocol

import numpy as np

from ...compress.errors import DataError, NotInstalledError, UnavailableError
from ..quiet import quiet

INSTALL: Mapping[str, str] = {
    "ai_edge_litert": "pip install ai-edge-litert",
    "onnxruntime": "pip install onnxruntime-gpu, or onnxruntime where that has no wheel",
    "onnxruntime-node": "npm install --ignore-scripts onnxruntime-node",
    "openvino": "pip install 'tiedae[openvino]'",
    "tflite_micro": "pip install 'tiedae[tflm]'",
}
"""The command that brings a package."""
BROKEN = (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError)
"""What the import of a package raises whose library, or a package under it, is missing or of another version."""


class Session(Protocol):
    """A loaded model file in one runtime."""

    runtime: str
    """Name of the row, such as `litert-xnnpack`."""
    provider: str
    """What really ran, as the runtime reports it."""

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """Run one signature on a batch in the file's own input dtype; outputs by name, as the file gives them."""
        ...

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The program's tensors inside the file, by the program's names, for the same batch.

        Quantized ones are uint8 (int8 of a file + 128). Tensors that the runtime fused away are absent; a runtime that shows
        none gives an empty dictionary.
        """
        ...


def load(module: str) -> ModuleType:
    """Import a runtime's Python module; what it prints is kept back.

    Raises UnavailableError where it is not installed, or where it does not import, with the reason and the command that brings
    it.
    """
    package = module.partition(".")[0]
    install = INSTALL.get(package, f"pip install {package}")
    try:
        with quiet():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == package:
            raise NotInstalledError(f"{package} is not installed: {install}") from None
        raise UnavailableError(f"{package} is installed but does not import: {error}; {install}") from error
    except BROKEN as error:
        raise UnavailableError(f"{package} is installed but does not import: {first_line(error)}; {install}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something, else its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def batches(signature: str, x: np.ndarray, dtype: np.dtype, size: tuple[int, ...], most: int) -> Iterator[np.ndarray]:
    """`x` in contiguous pieces of at most `most` samples.

    Raises DataError where it is not `dtype` [batch, *size] with a sample or more.
    """
    if x.dtype != dtype or x.shape[1:] != size or len(x) == 0:
        right = f"{dtype} [batch, {', '.join(map(str, size))}], batch at least 1"
        raise DataError(f"{signature}: got {x.dtype} {list(x.shape)}, the file takes {right}")
    for start in range(0, len(x), most):
        yield np.ascontiguousarray(x[start : start + most])


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The outputs of consecutive batches as one batch."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
