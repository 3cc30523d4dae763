"""The report and the model card: whole, self-contained, and with the numbers of the metrics."""

from __future__ import annotations

import base64
import copy
import io
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tiedae.base.errors import FormatError
from tiedae.base.numbers import exact, fraction
from tiedae.report.pages import HERE, macros
from tiedae.report.pages.charts import Line, LineChart
from tiedae.report.samples import is_image

from .drawn import render_card, render_report
from .html_tables import records, section


class Page(HTMLParser):
    """Collects what a browser would see, and fails where an element is left open or closed twice."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def titles(self):
        return [attrs["id"] for attrs in self.all("section")]


def samples_of(page):
    return [attrs for attrs in page.all("img") if attrs["alt"].startswith("sample ")]


def test_page_loads_nothing_and_has_no_script(make_parts):
    text = render_report(*make_parts())
    page = Page(text)
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    for (_, attrs), key in itertools.product(page.elements, ("src", "href", "xlink:href", "srcset", "data", "action")):
        assert attrs.get(key, "#").startswith(("#", "data:image/png;base64,"))
        assert not any(name.startswith("on") for name in attrs)
    assert not re.search(r"https?:|@import|url\(", text)
    assert len(text) < 1_000_000


@pytest.mark.parametrize(
    ("shape", "mode"), [((8, 8), "L"), ((8, 6, 1), "L"), ((8, 8, 3), "RGB"), ((130, 200, 3), "RGB")], ids=str
)
def test_pictures_are_whole_and_show_the_input(make_parts, shape, mode):
    manifest, metrics, *arrays = make_parts(shape)
    text = render_report(manifest, metrics, *arrays)
    assert len(text) < 1_000_000
    images = samples_of(Page(text))
    assert len(images) == 4 * 24
    for attrs in images:
        picture = Image.open(io.BytesIO(base64.b64decode(attrs["src"].partition(",")[2], validate=True)))
        picture.load()
        assert picture.mode == ("RGB" if attrs["alt"].endswith("int8 − input") else mode)
        if max(shape) <= 128 and attrs["alt"].endswith(", input"):
            sample = arrays[0]["x"][int(attrs["alt"].split()[1].strip(","))]
            assert np.array_equal(np.asarray(picture).reshape(-1), sample)


@pytest.mark.parametrize("shape", [(40,), (1,), (2000,), (30, 2)], ids=str)
def test_other_data_is_drawn_as_curves(make_parts, shape):
    text = render_report(*make_parts(shape, "int16", "minmax"))
    page = Page(text)
    assert samples_of(page) == [] and len(text) < 1_000_000
    charts = [attrs["aria-label"] for attrs in page.all("svg") if attrs.get("aria-label", "").startswith("sample ")]
    channels = 2 if shape[1:] else 1
    assert len(charts) == 12 * 2 * channels, "12 samples, each with its residual below"
    for attrs in page.all("polyline"):
        assert np.isfinite([[float(v) for v in point.split(",")] for point in attrs["points"].split()]).all()


def test_worst_cases_come_first_by_the_error_of_int8(make_parts):
    manifest, metrics, *arrays = make_parts()
    arrays[0]["y"][[3, 41]] = 255 - arrays[0]["x"][[3, 41]]
    page = Page(render_report(manifest, metrics, *arrays))
    shown = [attrs["alt"].split(",")[0] for attrs in samples_of(page)[::4]]
    assert set(shown[:2]) == {"sample 3", "sample 41"} and len(set(shown)) == 24
    y = arrays[0]["y"].astype(np.float32) * np.float32(1 / 255)
    worst = np.square(y - arrays[0]["x"] / 255.0).sum(axis=1).max()
    assert f"{worst:.4g}" in page.text


def test_numbers_are_those_of_the_metrics(make_parts):
    _, metrics, *_ = parts = make_parts()
    text = Page(render_report(*parts)).text
    for row in metrics["quality"]:
        assert f"{row['error']:.4g}" in text
    for row in metrics["files"]:
        assert f"{row['bytes']:,} B" in text
    assert "error of 6.905 in int8 (Keras float 6.821)" in text and "6.905 +1.2 %" in text
    assert "takes 565 kB, 0.48 × (TFLite int8) and 0.516 × (ONNX int8) the stock converters' bytes" in text
    assert "holds each of its 2 kernels once" in text and "all 300,000 codes equal in every runtime" in text
    assert "-1: 3 · 0: 197" in text and "0: 299,999 · +1: 1" in text and "0.99999 >= 0.999" in text
    assert "3e-07" in text and "no CUDA device <here>" in text
    assert "50 %" in text and "0.041 → 0.008" in text and "tensorflow 2.21.0" in text


def test_a_failed_check_is_told_first_and_in_words(make_parts):
    manifest, metrics, *arrays = make_parts()
    twice = {"kind": "storage", "file": "x", "ok": False, "value": 1, "limit": "== 0", "text": "kernel_1 <b>twice</b>"}
    metrics["checks"].append(twice)
    metrics["storage"][1] |= {"ok": False, "text": "2 copies"}
    metrics["parity"][0] |= {"problem": "codes: got int8 [3], expected uint8 [3]"}
    page = Page(render_report(manifest, metrics, *arrays))
    assert page.all("b") and "1 of 3 checks failed kernel_1 <b>twice</b>" in page.text
    assert "is not shown to hold every kernel once" in page.text
    assert "storage proofs hold; codes cannot be compared in litert-xnnpack" in page.text
    assert "5 of 6" in page.text and "toy.int8.tflite: 2 copies" in page.text and "not comparable" in page.text
    assert "Failed check: kernel_1" in render_card(manifest, metrics)


def test_a_row_of_the_storage_table_says_what_was_proved(make_parts):
    manifest, metrics, *arrays = make_parts()
    aspects = ("copies", "values", "scales", "zeros")
    files = {
        "toy.int8.onnx": [*itertools.product(("kernel_0", "kernel_1"), aspects), ("", "weights")],
        "a.onnx": [("kernel_0", "copies")],
    }
    metrics["storage"] = [
        {"file": file, "kernel": kernel, "statement": statement, "ok": True, "text": "fine"}
        for file, statements in files.items()
        for kernel, statement in statements
    ]
    metrics["storage"][5] |= {"ok": False, "text": "kernel_1: 3 values differ"}
    (section,) = re.findall(r'<section id="storage">.*?</section>', render_report(manifest, metrics, *arrays), re.S)
    first = section.partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", first)]
    assert rows[1][1:] == ["toy.int8.onnx", "1 of 2", "8 of 9"] and "failed" in rows[1][0]
    assert rows[2][1:] == ["a.onnx", "1 of 2", "1 of 1"] and "ok" in rows[2][0]
    assert "—" not in first and "kernel_1: 3 values differ" in section


def test_stages_are_parted_by_dashed_lines(make_parts):
    text = render_report(*make_parts())
    assert text.count('<line class="separator"') == 2
    assert re.search(r"\.separator \{[^}]*stroke-dasharray: 7 5;", text) and "dashed lines separate the stages" in text


def test_copies_that_were_not_counted_are_not_told(make_parts):
    manifest, metrics, *arrays = make_parts()
    metrics["files"][-1]["kernel_copies"] = None
    text = Page(render_report(manifest, metrics, *arrays)).text
    assert "None" not in text and text.count("kernels stored 2 ×") == 1


def test_the_keras_model_of_the_samples_is_named_by_its_stage(make_parts):
    manifest, metrics, *arrays = make_parts()
    assert "output of the model Keras pruned" in Page(render_report(manifest, metrics, *arrays)).text
    for key in ("quality", "history"):
        metrics[key] = [row for row in metrics[key] if row["stage"] != "prune"]
    assert "output of the model Keras float" in Page(render_report(manifest, metrics, *arrays)).text


def test_licence_and_origin_of_the_data(make_parts):
    manifest, metrics, *arrays = make_parts()
    assert "licence of the data" not in render_report(manifest, metrics, *arrays)
    manifest["data"] |= {"licence": "MIT", "origin": "some <where>"}
    page = Page(render_report(manifest, metrics, *arrays))
    assert "licence of the data MIT" in page.text and "origin of the data some <where>" in page.text


def test_sections_without_content_are_left_out(make_parts):
    manifest, metrics, *arrays = make_parts(samples=3, stock=False)
    metrics |= {"history": metrics["history"][:1], "skipped": [], "parity": [], "checks": []}
    page = Page(render_report(manifest, metrics, *arrays))
    titles = ["reconstructions", "error-per-stage", "sizes", "speed", "training", "kernels", "storage", "model-and-data"]
    titles += ["versions"]
    assert page.titles == titles
    assert [attrs["href"] for attrs in page.all("a")] == [f"#{title}" for title in titles]
    assert "ONNX int8 565 kB" in page.text and "the stock converter" not in page.text and "codes were not compared" in page.text
    assert len(samples_of(page)) == 12
    assert "training" not in Page(render_report(manifest, metrics | {"history": []}, *arrays)).titles


def test_same_input_same_bytes_and_input_untouched(make_parts):
    parts = make_parts((16,), "float64", "minmax")
    before = copy.deepcopy(parts[:2])
    assert render_report(*parts) == render_report(*copy.deepcopy(parts))
    assert render_card(*parts[:2]) == render_card(*copy.deepcopy(parts[:2]))
    assert parts[:2] == before


def test_what_is_lacking_is_named(make_parts):
    manifest, metrics, *arrays = make_parts()
    del arrays[0]["y"], arrays[0]["y.f32"]
    with pytest.raises(FormatError, match=r"^report of toy: lacks golden y, y.f32$"):
        render_report(manifest, metrics, *arrays)


@pytest.mark.parametrize(
    ("shape", "picture"),
    [((28, 28), True), ((9, 5, 3), True), ((9, 5, 1), True), ((256,), False), ((9, 5, 2), False), ((100, 3), False)],
)
def test_which_shapes_are_pictures(shape, picture):
    assert is_image(shape) is picture


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(300_000, 300_000, "100 %"), (2_999_999, 3_000_000, "99.999 %"), (1, 3, "33.333 %"), (1, 10**9, "0.001 %"), (0, 5, "0 %")],
)
def test_shares_never_round_to_everything_or_nothing(part, whole, text):
    assert fraction(part, whole) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.9999999, "0.9999999"), (0.0123456789, "0.0123457"), (1.0, "1"), (3, "3"), ("x", "x")]
)
def test_a_value_never_rounds_onto_its_limit(value, text):
    assert exact(value) == text


positive = st.floats(1e-7, 1e4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(positive, st.floats(-50, 50)), min_size=1, max_size=30))
def test_curves_stay_inside_their_frame(values):
    lines = [Line("train", range(1, len(values) + 1), values)]
    chart = macros(HERE / "charts.html.j2").line_chart(LineChart(lines, "loss", "epoch", "loss"))
    (points,) = [attrs["points"] for attrs in Page(chart).all("polyline")]
    at = np.array([[float(v) for v in point.split(",")] for point in points.split()])
    assert (at >= -1e-3).all() and (at <= 1000.001).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(at[order, 1]) <= 0.02).all()


def parity_row(file, runtime, kind, tensor, signature, count, differing, **more):
    row = {"kind": kind, "precision": "int8", "tensor": tensor, "signature": signature}
    row |= {"file": file, "runtime": runtime, "provider": "p", "reference": "program"}
    return row | {"count": count, "differing": differing, "max_lsb": int(differing > 0)} | more


FLOAT = {"precision": "f32", "reference": "keras", "full_scale": 2.0}


def test_each_cell_of_the_parity_tables_is_one_comparison(make_parts):
    """The file equals its program in every y; that TFLite's y differs from ONNX's, and codes, are cells of their own."""
    manifest, metrics, *arrays = make_parts()
    metrics["parity"] = [
        parity_row("toy.int8.tflite", "litert-xnnpack", "codes", "code", "encode", 4000, 10),
        parity_row("toy.int8.tflite", "litert-xnnpack", "codes", "code", "reconstruct", 4000, 20, max_lsb=3),
        parity_row("toy.int8.tflite", "litert-xnnpack", "output", "y", "decode", 64_000, 0),
        parity_row("toy.int8.tflite", "litert-xnnpack", "operations", "y", "decode", 640, 32, max_lsb=1),
        parity_row("toy.int8.tflite", "litert-xnnpack", "operations", "code", "encode", 50, 1, max_lsb=2),
        parity_row("toy.encoder.int8.onnx", "ort-cpu", "codes", "code", "encode", 4000, 0),
        parity_row("toy.decoder.int8.onnx", "ort-cpu", "output", "y", "decode", 64_000, 0),
        parity_row("toy.int8.onnx", "ort-cpu", "formats", "y", "decode", 64_000, 19_200, max_lsb=9)
        | {"reference": "litert-xnnpack"},
        parity_row("toy.decoder.int8.onnx", "ort-cpu", "crossing", "y", "decode", 64_000, 640)
        | {"encoder": "litert-xnnpack", "reference": "ort-cpu"},
        parity_row("toy.stock.int8.tflite", "litert-xnnpack", "witness", "code", "reconstruct", 4000, 2)
        | {"reference": "litert-reference"},
        parity_row("toy.stock.f32.tflite", "litert-xnnpack", "float", "y", "reconstruct", 64, 9) | FLOAT | {"max_abs": 5e-7},
        parity_row("toy.f32.tflite", "litert-xnnpack", "float", "y", "decode", 64, 9) | FLOAT | {"max_abs": 3e-7},
        parity_row("toy.f32.tflite", "litert-xnnpack", "layers", "z", "decode", 64, 9) | FLOAT | {"max_abs": 4e-7},
    ]
    metrics["files"].append(metrics["files"][-1] | {"file": "toy.stock.f32.tflite", "precision": "f32"})
    text = section(render_report(manifest, metrics, *arrays), "parity")
    titles = [re.sub(r"</?h3>", "", title) for title in re.findall(r"<h3>.*?</h3>", text)]
    assert [title.partition(":")[0] for title in titles[-5:]] == [
        "Int8 files against the integer program",
        "Float files against Keras",
        "Stock int8 files against litert-reference",
        "Stock float files against Keras",
        "Formats against each other",
    ]
    tflite, onnx = records(text, "codes (encode)", "codes (reconstruct)", "y (decode)", "worst operation")
    assert tflite["codes (encode)"] == "99.75 % of 4,000, at most 1 LSB"
    assert tflite["codes (reconstruct)"] == "99.5 % of 4,000, at most 3 LSB"
    assert tflite["y (decode)"] == "100 % of 64,000" and tflite["worst operation"] == "98 % code, of 50, at most 2 LSB"
    assert (onnx["codes (encode)"], onnx["codes (reconstruct)"]) == ("100 % of 4,000", "—")
    (floats,) = records(text, "files", "y (decode)", "worst layer")
    assert (floats["y (decode)"], floats["worst layer"]) == ("1.5e-07", "2e-07 z")
    formats = {row["what"]: row for row in records(text, "what", "against")}
    assert formats["y"]["differ"] == "30 %, 9 LSB" and formats["y"]["against"] == "int8, litert-xnnpack"
    assert formats["y of litert-xnnpack's codes"]["differ"] == "1 %, 1 LSB"
    (stock,) = records(text.partition("<h3>Stock int8 files")[2].partition("<h3>")[0], "codes (reconstruct)")
    assert stock["codes (reconstruct)"] == "99.95 % of 4,000, at most 1 LSB"


@pytest.mark.parametrize(
    ("differing", "text"), [(19_753, "30.864 % of their 64,000 values, by at most 9 LSB"), (0, "equal in all 64,000")]
)
def test_the_card_says_how_far_the_formats_reconstructions_are_apart(make_parts, differing, text):
    manifest, metrics, *_ = make_parts()
    assert "Reconstructions of the int8 TFLite" not in render_card(manifest, metrics)
    row = parity_row(
        "toy.int8.onnx", "ort-cpu", "formats", "y", "reconstruct", 64_000, differing, max_lsb=9 if differing else 0
    )
    other = parity_row("toy.int8.onnx", "ort-cpu", "output", "y", "reconstruct", 64_000, 7)
    floats = row | {"precision": "f32", "max_abs": 1e-6, "differing": 64_000}
    metrics["parity"] += [other, floats, row | {"reference": "litert-xnnpack"}]
    assert text in render_card(manifest, metrics)


def test_noise_is_called_a_signal_to_noise_ratio(make_parts):
    manifest, metrics, *arrays = make_parts()
    stated = {"error": "quantization", "precision": "int8", "layout": "split", "layer": "y", "runtime": "program"}
    stated |= {"reference": "keras", "count": 64, "rms": 0.1, "max_abs": 0.3, "mean": 0.0}
    text = section(render_report(manifest, metrics | {"errors": [stated | {"sqnr_db": 27.4}]}, *arrays), "parity")
    assert "Signal-to-noise ratio per layer in dB, int8" in text and "27 dB" in text and "Noise" not in text
