"""The integer program, a writer per target, and the proof: storage, parity, the verified bundle.

Names load when they are used: none of them needs TensorFlow but `lower`, which takes a Keras model, and the stock converters.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertion import ParityError, ParityReport, assert_parity
    from .baseline import compare_metrics, read_baseline
    from .bundle import Bundle
    from .inspection import inspect_file
    from .interpreter import execute
    from .litert import open_litert
    from .lowering import lower
    from .onnx_reader import read_onnx
    from .onnx_writer import to_onnx, to_onnx_pair
    from .ort import open_ort
    from .parity import compare, compare_operations
    from .program import Program
    from .sharing import share_file
    from .stock import stock_onnx, stock_onnx_int8, stock_tflite
    from .storage import prove
    from .tflite_reader import read_tflite
    from .tflite_writer import to_tflite
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
    "execute",
    "inspect_file",
    "lower",
    "open_litert",
    "open_ort",
    "prove",
    "read_baseline",
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
    "ParityError": "assertion",
    "ParityReport": "assertion",
    "Program": "program",
    "assert_parity": "assertion",
    "compare": "parity",
    "compare_metrics": "baseline",
    "compare_operations": "parity",
    "execute": "interpreter",
    "inspect_file": "inspection",
    "lower": "lowering",
    "open_litert": "litert",
    "open_ort": "ort",
    "prove": "storage",
    "read_baseline": "baseline",
    "read_onnx": "onnx_reader",
    "read_tflite": "tflite_reader",
    "share_file": "sharing",
    "stock_onnx": "stock",
    "stock_onnx_int8": "stock",
    "stock_tflite": "stock",
    "to_onnx": "onnx_writer",
    "to_onnx_pair": "onnx_writer",
    "to_tflite": "tflite_writer",
    "verify_bundle": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
