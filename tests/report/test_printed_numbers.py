"""The numbers that people read, each found by its header, with values that no other cell has."""

from __future__ import annotations

import itertools
import re

import pytest
from msgspec.structs import replace

from tiedae.bundle.fidelity import meaning
from tiedae.bundle.verdict import Verdict
from tiedae.report.summary import table_rows
from tiedae.verify.bench.benchmark import tables

from ..typed import typed, typed_bench
from .drawn import render_card, render_report
from .html_tables import records, rows_of, section

CODES = {"kind": "codes", "precision": "int8", "tensor": "code", "provider": "p"}


def codes(file: str, runtime: str, differing: int, *, lsb: int = 1, signature: str = "encode", count: int = 4000):
    of = {"file": file, "runtime": runtime, "signature": signature}
    return CODES | of | {"count": count, "differing": differing, "max_lsb": lsb}


def facts(card: str) -> dict[str, str]:
    """The rows of two cells in the card, by the first."""
    return dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", card, re.M))


def test_card_says_that_all_codes_are_equal(make_parts):
    manifest, metrics, *_ = make_parts()
    metrics["parity"] = [codes("toy.int8.tflite", "litert-xnnpack", 0), codes("toy.int8.onnx", "ort-cpu", 0)]
    said = facts(render_card(manifest, metrics))["codes, against the integer program"]
    assert said == "all 4,000 codes equal in litert-xnnpack and ort-cpu"


def test_card_says_how_many_codes_differ_in_the_worst_comparison(make_parts):
    manifest, metrics, *_ = make_parts()
    other = codes("toy.int8.tflite", "litert-xnnpack", 30, lsb=2, signature="reconstruct")
    metrics["parity"] = [codes("toy.int8.tflite", "litert-xnnpack", 0), other, codes("toy.int8.onnx", "ort-cpu", 1)]
    said = facts(render_card(manifest, metrics))["codes, against the integer program"]
    where = "litert-xnnpack, reconstruct, the worst of 3 comparisons"
    assert said == f"99.25 % of 4,000 codes equal, the rest at most 2 LSB off ({where})"


def test_final_table_gives_the_fraction_of_equal_codes(make_parts):
    _, metrics, *_ = make_parts()
    metrics["parity"] = [
        codes("toy.int8.tflite", "litert-xnnpack", 0),
        codes("toy.int8.tflite", "tflm", 2, lsb=1, signature="reconstruct"),
        codes("toy.int8.tflite", "litert-builtin", 30, lsb=3),
        codes("toy.int8.onnx", "ort-cpu", 1),
        codes("toy.stock.int8.tflite", "litert-xnnpack", 8) | {"kind": "witness", "reference": "litert-reference"},
    ]
    rows = {row[0]: row[3:] for row in table_rows(typed(metrics))}
    assert rows["tied int8 tflite"] == (
        "552,352",
        "kernel stored once, codes equal in litert-xnnpack, 99.25 % of codes equal, at most 3 LSB off in litert-builtin, "
        "the worst of tflm and litert-builtin",
    )
    assert rows["tied int8 onnx"][1] == "kernel stored once, 99.975 % of codes equal, at most 1 LSB off in ort-cpu"
    assert rows["stock int8 tflite"][1].endswith("codes against litert-reference: 0.2 %, 1 LSB")


def test_a_stock_file_beside_a_rate_has_finer_codes(make_parts):
    _, metrics, *_ = make_parts()
    plain = typed(metrics)
    rated = replace(plain, verdict=Verdict(1, 1, 0, 1, (), (), False, for_rate=True))
    for found, finer in (
        (plain, False),
        (replace(rated, verdict=replace(rated.verdict, for_rate=False)), False),
        (rated, True),
    ):
        texts = {row[0]: row[4] for row in table_rows(found) if "int8" in row[0]}
        assert len(texts) == 4 and {"finer" in text for name, text in texts.items() if name.startswith("stock")} == {finer}
        assert not any("finer" in text for name, text in texts.items() if name.startswith("tied"))


@pytest.mark.parametrize(
    ("count", "normal", "words"), [(2000, False, "2,000 test samples"), (50, True, "50 normal test samples")]
)
def test_a_fit_says_over_how_many_samples_it_is(make_parts, count, normal, words):
    manifest, metrics, *arrays = make_parts()
    fit = {"measure": "PSNR", "unit": "dB", "mse": 1.0, "value": 20.0}
    metrics["quality"] = [row | {"fidelity": fit} for row in metrics["quality"]]
    metrics["samples"] = {"source": "x.npy", "sha256": "0", "samples": count, "normal": normal}
    assert meaning("PSNR", typed(metrics).samples).endswith(f"; over {words}") and meaning("PSNR", None).endswith(
        "training data"
    )
    assert f"over {words}" in render_card(manifest, metrics) and f"over {words}" in render_report(manifest, metrics, *arrays)


def test_error_bar_is_that_of_the_worst_runtime(make_parts):
    manifest, metrics, *arrays = make_parts()
    place = next(i for i, row in enumerate(metrics["quality"]) if row["title"].endswith("toy.int8.tflite"))
    worst = metrics["quality"][place] | {"runtime": "tflm", "error": 8.125}
    metrics["quality"].insert(place + 1, worst)
    (bars,) = rows_of(section(render_report(manifest, metrics, *arrays), "error-per-stage"))
    (row,) = [row for row in bars if row[0].startswith("tiedae toy.int8.tflite")]
    assert row[2] == "8.125" and row[3] == "+19.1 %"
    assert "litert-xnnpack 6.896, tflm 8.125, litert-reference 6.905" in row[0]


def test_the_worst_runtime_has_the_longest_bar(make_parts):
    manifest, metrics, *arrays = make_parts()
    for row in metrics["quality"]:
        row["error"] = 1.0
    place = next(i for i, row in enumerate(metrics["quality"]) if row["title"].endswith("toy.int8.tflite"))
    metrics["quality"].insert(place + 1, metrics["quality"][place] | {"runtime": "tflm", "error": 4.0})
    text = section(render_report(manifest, metrics, *arrays), "error-per-stage")
    assert sorted(re.findall(r'<rect class="ours" width="(.*?)%"', text)) == ["100.00", "25.00", "25.00"]


def test_proof_table_by_its_headers(make_parts):
    manifest, metrics, *arrays = make_parts()
    aspects = ("copies", "values", "scales", "zeros")
    proved = [*itertools.product(("kernel_0", "kernel_1"), aspects), ("", "weights")]
    metrics["storage"] = [
        {"file": "toy.int8.onnx", "kernel": kernel, "statement": statement, "ok": True, "text": "fine"}
        for kernel, statement in proved
    ]
    metrics["storage"][5] |= {"ok": False, "text": "kernel_1: 3 values differ"}
    (row,) = records(section(render_report(manifest, metrics, *arrays), "storage"), "kernels held", "statements proved")
    assert row == {"": "✗ failed", "file": "toy.int8.onnx", "kernels held": "1 of 2", "statements proved": "8 of 9"}


@pytest.fixture
def measured(make_bench):
    bench = make_bench()
    of = {"maker": "tiedae", "format": "tflite", "precision": "int8", "signatures": ["reconstruct"]}
    bench["sizes"] = [
        of | {"file": "a.tflite", "bytes": 552_352, "gzip_bytes": 417_011, "ratio": 0.481, "gzip_ratio": 0.512},
        of | {"file": "b.tflite", "bytes": 1_149_792, "gzip_bytes": 814_513},
    ]
    for key in ("memory", "startup"):
        bench[key] = []
    return typed_bench(bench)


def test_bench_prints_median_and_p95_each_under_its_header(measured):
    found = {title: (header, rows) for title, header, rows in tables(measured)}
    header, rows = found["Latency of reconstruct, batch 1, 1 thread, µs: the runtime's own call"]
    row = dict(zip(header, rows[0], strict=True))
    assert row["subject"] == "tiedae int8 tflite" and (row["median"], row["p95"]) == ("15.2", "18.2")


def test_bench_prints_bytes_and_gzip_each_under_its_header(measured):
    (header, rows) = next((header, rows) for title, header, rows in tables(measured) if title == "Files")
    assert header == ("file", "bytes", "gzip", "against stock", "gzip")
    assert rows == [("a.tflite", "552,352", "417,011", "0.481", "0.512"), ("b.tflite", "1,149,792", "814,513", "", "")]


def test_report_has_median_and_p95_each_under_its_header(make_parts, make_bench):
    manifest, metrics, *arrays = make_parts()
    page = render_report(manifest, metrics | {"bench": make_bench()}, *arrays)
    found = records(section(page, "speed"), "median", "p95", "samples/s")
    (row,) = [r for r in found if r["subject"] == "tiedae int8 tflite" and "batch 32" in r["case"]]
    assert (row["median"], row["p95"], row["samples/s"]) == ("486 µs", "584 µs", "65,789")
    assert row["ratio"] == "0.953 [0.934, 0.972]" and row["against"] == "TFLiteConverter int8 tflite"
    keras = [r for r in found if r["subject"].startswith("Keras") and "batch 32" in r["case"]]
    assert [(r["median"], r["p95"]) for r in keras] == [("60.9 ms", "73.1 ms")]
