"""The integer program, a writer and a reader per format, and the bundle.

Names load lazily. Only `lower` needs TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import Bundle
    from .file_io import FileIO
    from .formats.onnx_reader import read_onnx
    from .formats.onnx_writer import to_onnx, to_onnx_pair
    from .formats.tflite_reader import read_tflite
    from .formats.tflite_writer import to_tflite
    from .interpreter import execute
    from .lowering import lower
    from .program import Program

__all__ = [
    "Bundle",
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

_LAZY = {
    "Bundle": "bundle",
    "FileIO": "file_io",
    "Program": "program",
    "execute": "interpreter",
    "lower": "lowering",
    "read_onnx": "formats.onnx_reader",
    "read_tflite": "formats.tflite_reader",
    "to_onnx": "formats.onnx_writer",
    "to_onnx_pair": "formats.onnx_writer",
    "to_tflite": "formats.tflite_writer",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
