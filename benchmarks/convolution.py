"""Convolutions over one kernel in TFLite, ONNX and C: equality, copies, bytes, latency, start-up, memory.

    python benchmarks/convolution.py --json convolution.json

Nets have random weights, which cost as much as trained ones, and .tflite files have three signatures. A ratio is that of the
worst of the nets. Latencies are in turns on one thread at batch 1, start-up and memory those of processes of their own. It runs
from a checkout, since it takes the random programs of the tests.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from c_files import Library, written
from convolution_c import c_costs
from convolution_onnx import onnx_costs
from convolution_tflite import load_costs, patch_latency, sparse_bytes, stock_costs, view_latency
from rows import Row, report_parts

from tests.program.convolutions import random_program
from tiedae.export import to_onnx, to_tflite
from tiedae.export.c.kernels import STORAGES, Storage
from tiedae.export.c.source import to_c
from tiedae.export.storage_check import prove
from tiedae.export.targets import read_model
from tiedae.program.interpreter import execute
from tiedae.program.program import Program
from tiedae.report.console import Console
from tiedae.runtimes.table import RUNTIMES

Outputs = dict[str, np.ndarray]
RANDOM = 100
RUN_BY = {"XNNPACK": "litert-xnnpack", "ONNX Runtime": "ort-cpu"}


def equality(console: Console) -> Sequence[Row]:
    """Values of code and y that differ from the program's, and copies of a kernel, over files of random nets in each format."""
    different, count, copies = dict.fromkeys((*RUN_BY, "C"), 0), 0, 0
    with tempfile.TemporaryDirectory() as text:
        for seed in range(RANDOM):
            if seed % 20 == 0:
                console.note(f"equality: net {seed + 1} of {RANDOM}")
            folder = Path(text) / str(seed)
            folder.mkdir()
            program, x = random_program(seed)
            expected = execute(program, "reconstruct", x)
            for name, path, got in _results(program, x, folder, STORAGES[seed % 2]):
                different[name] += sum(int(np.count_nonzero(got[each] != expected[each])) for each in ("code", "y"))
                copies = max(copies, _copies(path, program))
            count += sum(expected[each].size for each in ("code", "y"))
    texts = ", ".join(f"{number} in {name}" for name, number in different.items())
    detail = f"of {count:,} values of code and y of {RANDOM} random nets in each: {texts}"
    return [
        Row("conv_values_different", sum(different.values()), "values", "== 0", "", detail),
        Row("kernel_copies_max", copies, "", "== 1", "", f".tflite, .onnx and C files of {RANDOM} random nets"),
    ]


def _results(
    program: Program, x: np.ndarray, folder: Path, storage: Storage
) -> Iterator[tuple[str, Path, dict[str, np.ndarray]]]:
    """Of each format: what runs it, the file, code and y."""
    files = {"XNNPACK": folder / "net.tflite", "ONNX Runtime": folder / "net.onnx"}
    files["XNNPACK"].write_bytes(to_tflite(program, io="uint8"))
    files["ONNX Runtime"].write_bytes(to_onnx(program, io="uint8"))
    for name, path in files.items():
        yield name, path, RUNTIMES[RUN_BY[name]].open({"reconstruct": path}).run("reconstruct", x)
    source, shapes = to_c(program, storage=storage), {name: program.tensors[name].shape for name in ("code", "y")}
    got = Library(source, folder, "-O1").reconstruct(x.reshape(len(x), -1), program.tensors["code"].size)
    values = {name: each.reshape(len(x), *shapes[name]) for name, each in zip(shapes, got, strict=True)}
    yield "C", folder / written(source, folder), values


def _copies(path: Path, program: Program) -> int:
    """How often the file has a kernel, at most; 0 where its proof fails otherwise."""
    findings = prove(read_model(path), program)
    stored = [re.search(r"stored (\d+) times", finding.text) for finding in findings if not finding.ok]
    return max((int(found[1]) if found else 0 for found in stored), default=1)


PARTS = {
    "equality": equality,
    "tflite-view": view_latency,
    "tflite-patches": patch_latency,
    "tflite-load": load_costs,
    "tflite-stock": stock_costs,
    "tflite-sparse": sparse_bytes,
    "onnx": onnx_costs,
    "c": c_costs,
}

if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "Convolutions", PARTS))
