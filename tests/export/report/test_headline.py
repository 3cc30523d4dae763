"""The figures that pages lead with."""

from tiedae.export.report.headline import worst_exported
from tiedae.export.report.summary import table_rows

QUALITY = {"row": "tiedae toy.int8.onnx", "stage": "export", "precision": "int8", "file": "toy.int8.onnx"}
ROWS = [
    {**QUALITY, "runtime": "ort-cpu", "error": 16.0},
    {**QUALITY, "runtime": "openvino-onnx", "error": 134.0, "fault": "a known one"},
]
FILE = {"file": "toy.int8.onnx", "bytes": 10, "format": "onnx", "precision": "int8", "maker": "tiedae", "kernel_copies": 1}


def test_a_runtime_with_a_known_fault_is_no_figure_of_the_file():
    metrics = {"quality": ROWS, "files": [FILE], "parity": [], "name": "toy"}
    assert worst_exported(metrics, "int8") == ROWS[0]
    (row,) = table_rows(metrics)
    assert row[1] == "16.000"


def test_without_a_fault_the_worst_runtime_counts():
    rows = [{key: value for key, value in row.items() if key != "fault"} for row in ROWS]
    assert worst_exported({"quality": rows}, "int8") == rows[1]
