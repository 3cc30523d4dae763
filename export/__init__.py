"""The integer program, one writer per target, verification, benchmark, report and bundle.

Names load lazily. Only `lower` and the stock converters need TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .baselines.converters import stock_onnx, stock_onnx_int8, stock_tflite
    from .bundle import Bundle
    from .deduplicate.share import share_file
    from .file_io import FileIO
    from .formats.duplicates import copies
    from .formats.onnx_reader import read_onnx
    from .formats.onnx_writer import to_onnx, to_onnx_pair
    from .formats.storage_check import prove
    from .formats.tflite_reader import read_tflite
    from .formats.tflite_writer import to_tflite
    from .inspection import inspect_file
    from .interpreter import execute
    from .lowering import lower
    from .parity.assertion import ParityError, ParityReport, assert_parity
    from .parity.comparison import compare, compare_operations
    from .program import Program
    from .runtimes.litert import open_litert
    from .runtimes.ort import open_ort
    from .verify.baseline import compare_metrics
    from .verify.results import read_metrics
    from .verify.verify import verify_bundle

__all__ = [
    "Bundle",
    "FileIO",
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
    "FileIO": "file_io",
    "ParityError": "parity.assertion",
    "ParityReport": "parity.assertion",
    "Program": "program",
    "assert_parity": "parity.assertion",
    "compare": "parity.comparison",
    "compare_metrics": "verify.baseline",
    "compare_operations": "parity.comparison",
    "copies": "formats.duplicates",
    "execute": "interpreter",
    "inspect_file": "inspection",
    "lower": "lowering",
    "open_litert": "runtimes.litert",
    "open_ort": "runtimes.ort",
    "prove": "formats.storage_check",
    "read_metrics": "verify.results",
    "read_onnx": "formats.onnx_reader",
    "read_tflite": "formats.tflite_reader",
    "share_file": "deduplicate.share",
    "stock_onnx": "baselines.converters",
    "stock_onnx_int8": "baselines.converters",
    "stock_tflite": "baselines.converters",
    "to_onnx": "formats.onnx_writer",
    "to_onnx_pair": "formats.onnx_writer",
    "to_tflite": "formats.tflite_writer",
    "verify_bundle": "verify.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
