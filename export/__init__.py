"""A program as files: TFLite, ONNX and C, and the proof of what they store. Names load lazily.

Only `lower` needs TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiedae.program.file_io import FileIO
    from tiedae.program.interpreter import execute
    from tiedae.program.lowering import lower
    from tiedae.program.program import Program

    from .onnx.reader import read_onnx
    from .onnx.writer import to_onnx, to_onnx_pair
    from .tflite.reader import read_tflite
    from .tflite.writer import to_tflite

_HOMES = {
    "FileIO": "program.file_io",
    "Program": "program.program",
    "execute": "program.interpreter",
    "lower": "program.lowering",
    "read_onnx": "export.onnx.reader",
    "read_tflite": "export.tflite.reader",
    "to_onnx": "export.onnx.writer",
    "to_onnx_pair": "export.onnx.writer",
    "to_tflite": "export.tflite.writer",
}

__all__ = [
    "FileIO",
    "Program",
    "execute",
    "lower",
    "read_onnx",
    "read_tflite",
    "to_onnx",
    "to_onnx_pair",
    "to_tflite",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"tiedae.{_HOMES[name]}"), name)
