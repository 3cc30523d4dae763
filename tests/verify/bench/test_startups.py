"""Rows of how long a file takes until its first output, and the stock file whose dtypes are made ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.export import to_onnx
from tiedae.export.kinds import Maker, Precision
from tiedae.export.targets import read_model
from tiedae.program.file_io import SCALED_IO
from tiedae.verify.bench import subjects
from tiedae.verify.bench.benchmark import _startup_rows
from tiedae.verify.bench.footprint import Footprint, Load
from tiedae.verify.bench.latency import Timed
from tiedae.verify.bench.subjects import OUR_DTYPES, BenchSubject, Cast
from tiedae.verify.stock.converters import stock_onnx_int8


def loaded(*signatures: str, ms: float) -> tuple[BenchSubject, Load, Footprint]:
    """A measurement of the signatures of one file, loaded together."""
    path = Path("folder") / "a.tflite"
    owner = BenchSubject(
        "a", Maker.TIEDAE, "tflite", Precision.INT8, "litert-xnnpack", "CPU", dict.fromkeys(signatures, path), {}
    )
    load = tuple(Timed("a", "litert-xnnpack", str(path), name, "x.npy") for name in signatures)
    return owner, load, Footprint(None, ms, 2 * ms, 5)


def test_a_start_has_one_row_for_a_file_and_its_first_signature() -> None:
    rows = _startup_rows([loaded("encode", ms=3.0), loaded("encode", "decode", ms=4.0), loaded("decode", ms=5.0)])
    found = [(row.subject, row.file, row.signature, row.startup_ms, row.import_ms, row.processes) for row in rows]
    assert found == [("a", "a.tflite", "encode", 3.0, 6.0, 5), ("a", "a.tflite", "decode", 5.0, 10.0, 5)]


def test_a_stock_file_of_floats_is_also_measured_with_our_integers(make_program: Callable[..., Any], tmp_path: Path) -> None:
    ours, stock = tmp_path / "ours.int8.onnx", tmp_path / "stock.int8.onnx"
    ours.write_bytes(to_onnx(make_program(), signature="reconstruct"))
    samples = np.random.default_rng(0).random((40, 20), np.float32)
    stock.write_bytes(stock_onnx_int8(to_onnx(make_program(quantized=False), signature="reconstruct"), samples))
    signatures = {each.name: each for each in read_model(ours).signatures}
    cast = Cast(SCALED_IO)
    subjects._add_stock(cast, stock, "onnx", Precision.INT8, signatures, tmp_path)
    found = {(each.variant, each.dtypes("reconstruct")) for each in cast.subjects if each.runtime == "ort-cpu"}
    assert found == {("", "float32 → float32, float32"), (OUR_DTYPES, "uint8 → uint8, uint8")}
