"""The top of the report: the user's story in its order, in the units that the data have."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tiedae.base.numbers import duration, human_size

from .drawn import render_report

FIDELITY = {"measure": "PSNR", "unit": "dB", "mse": 0.01}


def cards(page: str) -> list[tuple[str, str]]:
    """(figure, text) of every card, in their order."""
    return re.findall(r'<div class="card"><b class=".*?">(.*?)</b><span>(.*?)</span>', page)


def lead(page: str) -> str:
    (text,) = re.findall(r'<p class="lead">(.*?)</p>', page)
    return text


def test_the_story_goes_from_the_samples_to_the_checks(make_parts, make_bench):
    manifest, metrics, *arrays = make_parts()
    for row in metrics["quality"]:
        row["fidelity"] = FIDELITY | {"value": 41 - row["error"]}
    page = render_report(manifest, metrics | {"bench": make_bench()}, *arrays)
    assert [figure for figure, _ in cards(page)] == ["64 → 5", "PSNR 34.1 dB", "565 kB", "21.5 µs", "1 copy", "✓ 2"]
    texts = [text for _, text in cards(page)]
    assert texts[0] == "values of a sample (uint8, 64 B) to bytes of its code: 12.8 to 1"
    assert texts[1] == "int8 (PSNR 34.18 dB in Keras float); root mean squared error 0.1 of 255"
    assert texts[2] == (
        "TFLite int8 552 kB, 0.48 × the 1.15 MB of the stock converter; "
        "ONNX int8 565 kB, 0.516 × the 1.1 MB of the stock converter"
    )
    assert texts[3].endswith("TFLite int8 15.2 µs; ONNX int8 21.5 µs")
    assert "turns 64 uint8 values into a code of 5 bytes (12.8 to 1), gives them back with PSNR 34.1 dB in int8" in lead(page)
    assert lead(page).endswith("needs 21.5 µs for a sample, holds each of its 2 kernels once, and passes all 2 checks.")


def test_without_bench_there_is_no_latency_and_without_fidelity_the_error(make_parts):
    manifest, metrics, *arrays = make_parts()
    page = render_report(manifest, metrics, *arrays)
    assert [figure for figure, _ in cards(page)] == ["64 → 5", "error 6.905", "565 kB", "1 copy", "✓ 2"]
    assert "gives them back with an error of 6.905 in int8 (Keras float 6.821)" in lead(page)


@pytest.mark.parametrize(("dtype", "count", "ratio"), [("int16", "128 B", "25.6"), ("float64", "512 B", "102")])
def test_the_ratio_counts_samples_in_their_dtype(make_parts, dtype, count, ratio):
    page = render_report(*make_parts((64,), dtype, "minmax"))
    assert cards(page)[0] == ("64 → 5", f"values of a sample ({dtype}, {count}) to bytes of its code: {ratio} to 1")


def test_a_code_of_few_bits_and_the_worst_column_are_named(make_parts):
    manifest, metrics, *arrays = make_parts((64,), "float32", "minmax")
    manifest["tensors"]["code"] = manifest["tensors"]["code"] | {"bits": 5}
    columns = [{"name": name, "r2": r2, "rmse": 1.0} for name, r2 in (("ph", 0.5), ("<salt>", -1.25), ("never changes", None))]
    for row in metrics["quality"]:
        row["fidelity"] = {"measure": "R²", "unit": "", "value": 0.75, "mse": 1.0, "columns": columns}
    metrics["warnings"] = [{"column": f"<c{i}>", "r2": None} for i in range(6)]
    page = render_report(manifest, metrics, *arrays)
    (_, first), (figure, text) = cards(page)[:2]
    assert "bytes of its code of 5 bits: 51.2 to 1" in first
    assert figure == "R² 0.75" and text.endswith("the worst column, &lt;salt&gt;, has R² -1.25")
    assert "6 columns never change in the measured samples (&lt;c0&gt;" in page and "<c3>" not in page


def test_failed_checks_are_the_verdict(make_parts):
    manifest, metrics, *arrays = make_parts()
    metrics["checks"][0]["ok"] = False
    page = render_report(manifest, metrics, *arrays)
    assert cards(page)[-1] == ("✗ 1 failed", "of 2 checks") and lead(page).endswith("and fails 1 of 2 checks.")


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0.953, "0.953 µs"), (15.2, "15.2 µs"), (486, "486 µs"), (999.6, "1 ms"), (1250, "1.25 ms"), (2_620_000, "2.62 s")],
)
def test_durations_are_read_in_their_own_unit(microseconds, text):
    assert duration(microseconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (4016, "4.02 kB"), (999_600, "1 MB"), (2_170_004, "2.17 MB"), (3e9, "3 GB")]
)
def test_bytes_are_read_in_their_own_unit(count, text):
    assert human_size(count) == text


def test_memory_and_startup_are_folded(make_parts, make_bench):
    manifest, metrics, *arrays = make_parts()
    bench = make_bench()
    bench["startup"][0]["startup_ms"] = 2620.0
    page = render_report(manifest, metrics | {"bench": bench}, *arrays)
    folded = re.findall(r"<details><summary>(.*?)</summary>(.*?)</details>", page, re.S)
    content = {title.partition(",")[0]: text for title, text in folded}
    assert "3.0 MiB" in content["Resident memory"] and "2.62 s" in content["Start-up"]


def table_parts(make_parts, columns=None, width=20):
    manifest, metrics, golden, kernels, masks = make_parts((width,), "float32", "standard")
    manifest["data"] |= {"kind": "table", "columns": columns}
    return manifest, metrics, golden, kernels, masks


def test_a_table_shows_the_error_of_each_column_instead_of_a_curve(make_parts):
    names = [f"<{i}>" for i in range(20)]
    manifest, metrics, golden, *arrays = table_parts(make_parts, names)
    scaling = manifest["data"]["scaling"]
    quantization = manifest["tensors"]["y"]
    x = np.random.default_rng(0).uniform(0, 1, golden["x"].shape).astype(np.float32)
    x[:, 7] = 0.5
    golden["x"] = (x * scaling["scale"] + scaling["offset"]).astype(np.float32)
    golden["y.f32"] = x.copy()
    golden["y"] = np.rint(x / quantization["scale"]).astype(np.uint8)
    golden["y"][:, 3] = 255 - golden["y"][:, 3]
    golden["y"][11, 5] = 255 if golden["y"][11, 5] < 128 else 0
    page = render_report(manifest, metrics, golden, *arrays)
    (text,) = re.findall(r'<section id="reconstructions">.*?</section>', page, re.S)
    assert "<polyline" not in text and text.count('<rect class="ours"') == 20
    order = re.findall(r"<tr><th>&lt;(\d+)&gt;<small>", text)
    assert order[:2] == ["3", "5"] and "4 more columns" in text
    assert "never changes" in text.partition("&lt;7&gt;")[2].partition("</tr>")[0]
    (relative,) = re.findall(r"<th>&lt;3&gt;.*?<td class=n>(\d+) %</td>", text)
    given, got = x[:, 3].astype(float), golden["y"][:, 3] * quantization["scale"]
    assert abs(float(relative) - 100 * np.sqrt(np.square(got - given).mean()) / given.std()) < 1


def test_columns_without_names_have_numbers(make_parts):
    page = render_report(*table_parts(make_parts, width=5))
    assert all(f"<th>value {i}<small>" in page for i in range(5))
