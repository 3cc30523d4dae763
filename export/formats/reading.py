"""A model file of either format as `Contents`; the libraries of a format are imported for files of that format only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ...compress.errors import FormatError
from .contents import Contents


def read_model(path: Path) -> Contents:
    """Parse a model file by its ending; FormatError where it is missing, damaged or of neither kind."""
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if path.suffix not in _READERS:
        raise FormatError(f"{path}: must end in .tflite or .onnx")
    return _READERS[path.suffix](path)


def _read_tflite(path: Path) -> Contents:
    from .tflite_reader import read_tflite_file

    try:
        return read_tflite_file(path)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _read_onnx(path: Path) -> Contents:
    from .onnx_reader import read_onnx

    return read_onnx(path)


_READERS: Mapping[str, Callable[[Path], Contents]] = {".tflite": _read_tflite, ".onnx": _read_onnx}
