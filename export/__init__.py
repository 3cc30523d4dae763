"""The integer program, a writer per target, and the proof: storage, parity, the verified bundle.

Names load when they are used: none of them needs TensorFlow but `lower`, which takes a Keras model, and the stock converters.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import Bundle
    from .formats.copies import copies
    from .formats.onnx_reader import read_onnx
    from .formats.onnx_writer import to_onnx, to_onnx_pair
    from .formats.storage import prove
    from .formats.tflite_reader import read_tflite
    from .formats.tflite_writer import to_tflite
    from .inspection import inspect_file
    from .interpreter import execute
    from .lowering import lower
    from .parity.assertion import ParityError, ParityReport, assert_parity
    from .parity.baseline import compare_metrics
    from .parity.comparison import compare, compare_operations
    from .program import Program
    from .results import read_metrics
    from .runtimes.litert import open_litert
    from .runtimes.ort import open_ort
    from .sharing.share import share_file
    from .stock import stock_onnx, stock_onnx_int8, stock_tflite
    from .verify import verify_bundle

__all__ = [
    "Bundle",
    "ParityError",
    "ParityReport",
    "Program",
    "assert_parity",
    "compare",
    "compare_metrics",
    "compare_operations",
    "copies",
    "execute",
    "inspect_file",
    "lower",
    "open_litert",
    "open_ort",
    "prove",
    "read_metrics",
    "read_onnx",
    "read_tflite",
    "share_file",
    "stock_onnx",
    "stock_onnx_int8",
    "stock_tflite",
    "to_onnx",
    "to_onnx_pair",
    "to_tflite",
    "verify_bundle",
]

_LAZY = {
    "Bundle": "bundle",
    "ParityError": "parity.assertion",
    "ParityReport": "parity.assertion",
    "Program": "program",
    "assert_parity": "parity.assertion",
    "compare": "parity.comparison",
    "compare_metrics": "parity.baseline",
    "compare_operations": "parity.comparison",
    "copies": "formats.copies",
    "execute": "interpreter",
    "inspect_file": "inspection",
    "lower": "lowering",
    "open_litert": "runtimes.litert",
    "open_ort": "runtimes.ort",
    "prove": "formats.storage",
    "read_metrics": "results",
    "read_onnx": "formats.onnx_reader",
    "read_tflite": "formats.tflite_reader",
    "share_file": "sharing.share",
    "stock_onnx": "stock",
    "stock_onnx_int8": "stock",
    "stock_tflite": "stock",
    "to_onnx": "formats.onnx_writer",
    "to_onnx_pair": "formats.onnx_writer",
    "to_tflite": "formats.tflite_writer",
    "verify_bundle": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
