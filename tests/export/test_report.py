"""The report and the model card: whole, self-contained, and with the numbers of the metrics."""

from __future__ import annotations

import base64
import copy
import io
import itertools
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiedae.compress.config import ExportConfig
from tiedae.compress.data import Samples, Scaling
from tiedae.compress.errors import FormatError
from tiedae.export import figures
from tiedae.export.bundle import Programs, describe_files, model_files, program_input, write_files
from tiedae.export.card import render_card
from tiedae.export.interpreter import execute
from tiedae.export.manifest import describe_kernels
from tiedae.export.report import is_picture, render_report

RUNTIMES = {"litert-xnnpack": "XNNPACK", "litert-reference": "reference kernels", "ort-cpu": "CPUExecutionProvider"}


def bundle_parts(shape=(8, 8), dtype="uint8", rule: Any = "byte", *, samples=64, stock=True, seed=0):
    """A manifest, metrics and golden vectors as a run writes them, around random samples."""
    rng = np.random.default_rng(seed)
    inputs = int(np.prod(shape))
    if dtype == "uint8":
        x = rng.integers(0, 256, (samples, inputs)).astype(np.uint8)
    else:
        x = (rng.normal(size=(samples, inputs)).cumsum(axis=1) * 40).astype(dtype)
    scaling = Scaling.fit(rule, Samples(x))
    y = scaling.apply(x) + rng.normal(0, 0.05, x.shape).astype(np.float32)
    quantization = {"scale": float(np.float32(1 / 255)), "zero_point": 0}
    golden = {
        "x": x,
        "code": rng.integers(0, 256, (samples, 5)).astype(np.uint8),
        "y": np.clip(np.rint(y * 255), 0, 255).astype(np.uint8),
        "code.f32": rng.normal(size=(samples, 5)).astype(np.float32),
        "y.f32": y.astype(np.float32),
    }
    data = {"shape": list(shape), "dtype": dtype, "scaling": scaling.to_json()}
    manifest = {
        "name": "toy",
        "created_by": "tiedae 0.1.0",
        "data": data,
        "tensors": {"x": quantization, "code": quantization, "y": quantization},
        "kernels": [
            {"name": "kernel_0", "shape": [inputs, 12], "scale": [0.01], "sha256": "ab" * 32, "pruned": inputs * 6},
            {"name": "kernel_1", "shape": [12, 5], "scale": [0.01] * 5, "sha256": "cd" * 32, "pruned": 0},
        ],
        "files": {},
    }
    return manifest, _metrics(data | {"source": "toy.npy", "train": 9000, "validation": 0, "test": 1000}, stock), golden


def _metrics(data, stock):
    files = [
        ("toy.int8.tflite", 552_352, "tflite", "int8", "tiedae", 1, ""),
        ("toy.int8.onnx", 565_397, "onnx", "int8", "tiedae", 1, ""),
        ("toy.f32.tflite", 2_170_004, "tflite", "f32", "tiedae", 1, ""),
    ]
    quality = [
        {"row": "Keras float", "stage": "train", "error": 6.8214},
        {"row": "Keras pruned", "stage": "prune", "error": 6.9127},
        {"row": "Keras int8 simulation", "stage": "quantize", "error": 6.8931},
        {"row": "tiedae toy.int8.tflite", "stage": "export", "error": 6.8955, "precision": "int8", "runtime": "litert-xnnpack"},
        {
            "row": "tiedae toy.int8.tflite",
            "stage": "export",
            "error": 6.9049,
            "precision": "int8",
            "runtime": "litert-reference",
        },
        {"row": "tiedae toy.int8.onnx", "stage": "export", "error": 6.8933, "precision": "int8", "runtime": "ort-cpu"},
        {"row": "tiedae toy.f32.tflite", "stage": "export", "error": 6.9128, "precision": "f32", "runtime": "litert-xnnpack"},
    ]
    if stock:
        files += [
            ("toy.stock.int8.tflite", 1_149_792, "tflite", "int8", "stock", 2, "the copies agree in 7.9% of their integers"),
            ("toy.stock.int8.onnx", 1_096_765, "onnx", "int8", "stock", 2, ""),
        ]
        quality += [{"row": "stock toy.stock.int8.tflite", "stage": "stock", "error": 8.0231, "precision": "int8"}]
    keys = ("file", "bytes", "format", "precision", "maker", "kernel_copies", "note")
    parity = []
    for (runtime, provider), differing in zip(RUNTIMES.items(), (0, 1, 0), strict=True):
        file = "toy.int8.onnx" if runtime == "ort-cpu" else "toy.int8.tflite"
        identity = {"file": file, "runtime": runtime, "provider": provider, "kind": "int8"}
        histogram = {"0": 300_000 - differing} | ({"1": differing} if differing else {})
        codes = {
            "what": "codes (encode)",
            "count": 300_000,
            "differing": differing,
            "max_lsb": differing,
            "histogram": histogram,
        }
        product = {"what": "operation y", "count": 200, "differing": 3, "max_lsb": 1, "histogram": {"-1": 3, "0": 197}}
        parity += [identity | codes, identity | product]
    floats = {"runtime": "litert-xnnpack", "provider": "XNNPACK", "kind": "float", "count": 64, "differing": 9, "max_abs": 3e-7}
    parity.append({"file": "toy.f32.tflite", "what": "float y (decode)"} | floats)
    stages = {"train": (24, 0.041), "prune": (8, 0.0102), "quantize": (8, 0.0094)}
    return {
        "schema": 1,
        "name": "toy",
        "data": data | {"sha256": "12" * 32},
        "model": {"widths": [64, 12, 5], "activations": ["relu", "linear"], "output_activation": "sigmoid"},
        "history": [
            {"stage": stage, "epoch": epoch, "loss": loss / epoch**0.5, "validation_loss": 1.1 * loss / epoch**0.5}
            for stage, (epochs, loss) in stages.items()
            for epoch in range(1, epochs + 1)
        ],
        "quality": quality,
        "files": [dict(zip(keys, row, strict=True)) for row in files],
        "parity": parity,
        "storage": [
            {"file": row[0], "name": name, "ok": True, "text": "stored once, 768 integers equal"}
            for row in files
            if row[4] == "tiedae"
            for name in ("kernel_0", "kernel_1")
        ],
        "checks": [
            {"name": "codes toy.int8.tflite", "ok": True, "value": 0.99999, "limit": ">= 0.999", "text": "1 of 300000 differs"},
            {"name": "storage toy.int8.onnx", "ok": True, "value": 0, "limit": "== 0", "text": "every kernel stored once"},
        ],
        "skipped": [{"what": "ort-cuda on int8", "reason": "no CUDA device <here>"}],
        "versions": {"tensorflow": "2.21.0", "numpy": "2.4.6"},
    }


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


def test_page_loads_nothing_and_has_no_script():
    text = render_report(*bundle_parts())
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
def test_pictures_are_whole_and_show_the_input(shape, mode):
    manifest, metrics, golden = bundle_parts(shape)
    text = render_report(manifest, metrics, golden)
    assert len(text) < 1_000_000
    images = Page(text).all("img")
    assert len(images) == 3 * 24
    for attrs in images:
        picture = Image.open(io.BytesIO(base64.b64decode(attrs["src"].partition(",")[2], validate=True)))
        picture.load()
        assert picture.mode == mode
        if max(shape) <= 128 and attrs["alt"].endswith("input"):
            sample = golden["x"][int(attrs["alt"].split()[1].strip(","))]
            assert np.array_equal(np.asarray(picture).reshape(-1), sample)


@pytest.mark.parametrize("shape", [(40,), (1,), (2000,), (30, 2)], ids=str)
def test_other_data_is_drawn_as_curves(shape):
    text = render_report(*bundle_parts(shape, "int16", "minmax"))
    page = Page(text)
    assert page.all("img") == [] and len(text) < 1_000_000
    plots = [attrs for attrs in page.all("svg") if attrs.get("class") == "plot"]
    assert len(plots) == 24
    for attrs in page.all("polyline"):
        assert np.isfinite([[float(v) for v in point.split(",")] for point in attrs["points"].split()]).all()


def test_worst_cases_come_first_by_the_error_of_int8():
    manifest, metrics, golden = bundle_parts()
    golden["y"][[3, 41]] = 255 - golden["x"][[3, 41]]
    page = Page(render_report(manifest, metrics, golden))
    shown = [attrs["alt"].split(",")[0] for attrs in page.all("img")[::3]]
    assert set(shown[:2]) == {"sample 3", "sample 41"} and len(set(shown)) == 24
    y = golden["y"].astype(np.float32) * np.float32(1 / 255)
    worst = np.square(y - golden["x"] / 255.0).sum(axis=1).max()
    assert f"{worst:.4g}" in page.text


def test_numbers_are_those_of_the_metrics():
    _, metrics, _ = parts = bundle_parts()
    text = Page(render_report(*parts)).text
    for row in metrics["quality"]:
        assert f"{row['error']:.4g}" in text
    for row in metrics["files"]:
        assert f"{row['bytes']:,} B" in text
    assert "error of 6.905 in int8 (Keras float 6.821)" in text and "+1.2 % against Keras float" in text
    assert "takes 0.4804 (TFLite int8) and 0.5155 (ONNX int8) of the bytes" in text and "0.5155 ×" in text
    assert "holds each of its 2 kernels once; 100 % of codes equal in 2 runtimes" in text
    assert "-1: 3 · 0: 197" in text and "0: 299,999 · +1: 1" in text and "0.99999 >= 0.999" in text
    assert "3e-07" in text and "no CUDA device <here>" in text
    assert "50 %" in text and "0.041 → 0.008" in text and "tensorflow 2.21.0" in text


def test_a_failed_check_is_told_first_and_in_words():
    manifest, metrics, golden = bundle_parts()
    metrics["checks"].append({"name": "storage x", "ok": False, "value": 1, "limit": "== 0", "text": "kernel_1 <b>twice</b>"})
    metrics["storage"][1] |= {"ok": False, "text": "2 copies"}
    metrics["parity"][0] |= {"problem": "codes: got int8 [3], expected uint8 [3]"}
    page = Page(render_report(manifest, metrics, golden))
    assert page.all("b") and "1 of 3 checks failed kernel_1 <b>twice</b>" in page.text
    assert "is not shown to hold every kernel once; codes cannot be compared" in page.text
    assert "5 of 6" in page.text and "toy.int8.tflite: 2 copies" in page.text and "not comparable" in page.text
    assert "Failed check: kernel_1" in render_card(manifest, metrics)


def test_a_row_of_the_storage_table_says_what_was_proved():
    manifest, metrics, golden = bundle_parts()
    aspects = ("copies", "values", "scales", "zeros")
    files = {
        "toy.int8.onnx": [f"{k}.{a}" for k in ("kernel_0", "kernel_1") for a in aspects] + ["weights"],
        "a.onnx": ["kernel_0"],
    }
    metrics["storage"] = [{"file": f, "name": n, "ok": True, "text": "fine"} for f, names in files.items() for n in names]
    metrics["storage"][5] |= {"ok": False, "text": "kernel_1: 3 values differ"}
    (section,) = re.findall(r'<section id="storage">.*?</section>', render_report(manifest, metrics, golden), re.S)
    first = section.partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", first)]
    assert rows[1][1:] == ["toy.int8.onnx", "1 of 2", "8 of 9"] and "failed" in rows[1][0]
    assert rows[2][1:] == ["a.onnx", "1 of 2", "1 of 1"] and "ok" in rows[2][0]
    assert "—" not in first and "kernel_1: 3 values differ" in section


def test_stages_are_parted_by_dashed_lines():
    text = render_report(*bundle_parts())
    assert text.count('<line class="separator"') == 2
    assert re.search(r"\.separator \{[^}]*stroke-dasharray: 7 5;", text) and "dashed lines part the stages" in text


def test_copies_that_were_not_counted_are_not_told():
    manifest, metrics, golden = bundle_parts()
    metrics["files"][-1]["kernel_copies"] = None
    text = Page(render_report(manifest, metrics, golden)).text
    assert "None" not in text and text.count("kernels stored 2 ×") == 1


def test_licence_and_origin_of_the_data():
    manifest, metrics, golden = bundle_parts()
    assert "licence of the data" not in render_report(manifest, metrics, golden)
    manifest["data"] |= {"licence": "MIT", "origin": "some <where>"}
    page = Page(render_report(manifest, metrics, golden))
    assert "licence of the data MIT" in page.text and "origin of the data some <where>" in page.text


def test_sections_without_content_are_left_out():
    manifest, metrics, golden = bundle_parts(samples=3, stock=False)
    metrics |= {"history": metrics["history"][:1], "skipped": [], "parity": [], "checks": []}
    page = Page(render_report(manifest, metrics, golden))
    titles = ["reconstructions", "error-per-stage", "sizes", "training", "storage", "model-and-data", "versions"]
    assert page.titles == titles
    assert [attrs["href"] for attrs in page.all("a")] == [f"#{title}" for title in titles]
    assert "takes 552,352 B" in page.text and "no stock file" in page.text and "codes were not compared" in page.text
    assert len(page.all("img")) == 9
    assert "training" not in Page(render_report(manifest, metrics | {"history": []}, golden)).titles


def test_same_input_same_bytes_and_input_untouched():
    parts = bundle_parts((16,), "float64", "minmax")
    before = copy.deepcopy(parts[:2])
    assert render_report(*parts) == render_report(*copy.deepcopy(parts))
    assert render_card(*parts[:2]) == render_card(*copy.deepcopy(parts[:2]))
    assert parts[:2] == before


def test_what_is_lacking_is_named():
    manifest, metrics, golden = bundle_parts()
    del metrics["parity"], golden["y.f32"]
    with pytest.raises(FormatError, match=r"^report of toy: lacks metrics: parity, golden: y.f32$"):
        render_report(manifest, metrics, golden)


@pytest.mark.parametrize(
    ("shape", "picture"),
    [((28, 28), True), ((9, 5, 3), True), ((9, 5, 1), True), ((256,), False), ((9, 5, 2), False), ((100, 3), False)],
)
def test_which_shapes_are_pictures(shape, picture):
    assert is_picture(shape) is picture


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(300_000, 300_000, "100 %"), (2_999_999, 3_000_000, "99.999 %"), (1, 3, "33.333 %"), (1, 10**9, "0.001 %"), (0, 5, "0 %")],
)
def test_shares_never_round_to_everything_or_nothing(part, whole, text):
    assert figures.share(part, whole) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.9999999, "0.9999999"), (0.0123456789, "0.0123457"), (1.0, "1"), (3, "3"), ("x", "x")]
)
def test_a_value_never_rounds_onto_its_limit(value, text):
    assert figures.exact(value) == text


positive = st.floats(1e-7, 1e4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(positive, st.floats(-50, 50)), min_size=1, max_size=30))
def test_curves_stay_inside_their_frame(values):
    chart = figures.line_chart([figures.Line("train", range(1, len(values) + 1), values)], title="loss")
    (points,) = [attrs["points"] for attrs in Page(chart).all("polyline")]
    at = np.array([[float(v) for v in point.split(",")] for point in points.split()])
    assert (at >= -1e-3).all() and (at <= 1000.001).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(at[order, 1]) <= 0.02).all()


OFFSETS, SCALES = np.linspace(-1, 1, 20), np.linspace(1, 2, 20)


@pytest.mark.parametrize(
    ("dtype", "scaling", "lines"),
    [
        ("uint8", Scaling("byte", 0.0, 255.0), 5),
        ("float32", Scaling(), 5),
        ("int16", Scaling("minmax", -3.0, 7.5), 5),
        ("float64", Scaling("minmax", tuple(OFFSETS.tolist()), tuple(SCALES.tolist())), 8),
    ],
    ids=["bytes", "float", "one scale", "a scale per feature"],
)
@pytest.mark.parametrize(
    "signatures",
    [("encode", "decode", "reconstruct"), ("encode", "decode"), ("encode",), ("decode",)],
    ids=["all", "pair", "encode", "decode"],
)
def test_programs_of_the_card_run_on_the_files(make_program, tmp_path, monkeypatch, dtype, scaling, lines, signatures):
    """All programs, as a reader copies them, give what the reference program gives."""
    manifest, metrics, programs = written_bundle(make_program, tmp_path, dtype, scaling, signatures)
    expected = golden_values(tmp_path, programs, scaling)
    card = render_card(manifest, metrics)
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(snippets) == (2 if "reconstruct" in signatures else 2 * len(signatures))
    outputs = set()
    for snippet in snippets:
        assert ".int8." in snippet and ".f32." not in snippet
        assert snippet.count("\n") == (5 if "golden/code.npy" in snippet and lines == 5 else lines)
        names: dict[str, Any] = {}
        exec(compile(snippet, "MODEL_CARD.md", "exec"), names)
        result = names.get("result", names)
        if "reconstruct" in signatures or "encode(" in snippet or "encoder." in snippet:
            assert result["code"].dtype == np.uint8
            assert np.mean(result["code"] == expected["code"]) > 0.995
            outputs.add("code")
        if "reconstruct" in signatures or "decode(" in snippet or "decoder." in snippet:
            y = result["y"] if result["y"].dtype == np.float32 else programs.fused.quantization("y").dequantize(result["y"])
            np.testing.assert_allclose(y, expected["y"], atol=4 * programs.fused.quantization("y").scale)
            outputs.add("y")
    assert outputs == {"encode": {"code"}, "decode": {"y"}}.get(signatures[0] if len(signatures) == 1 else "", {"code", "y"})
    for kernel in manifest["kernels"]:
        assert kernel["sha256"] in card


def written_bundle(make_program, folder, dtype, scaling, signatures, io="auto"):
    """Real files of a bundle, int8 and float; returns (manifest, metrics, integer programs)."""
    forms = {form: make_program(form=form, byte_data=dtype == "uint8") for form in ("split", "fused")}
    programs = Programs(**forms)
    floats = Programs(**{form: make_program(form=form, quantized=False) for form in ("split", "fused")})
    manifest, metrics, _ = bundle_parts((20,))
    io = {"auto": "uint8" if dtype == "uint8" else "float32"}.get(io, io)
    files = model_files({"int8": programs, "f32": floats}, ExportConfig(signatures=signatures), io)
    x = scaling.invert(np.random.default_rng(1).uniform(0, 1, (64, 20)), dtype)
    masks = {name: np.ones((kernel.inputs, kernel.units), bool) for name, kernel in programs.fused.kernels.items()}
    kernels = describe_kernels(programs.fused, masks)
    manifest |= {"kernels": kernels, "data": {"shape": [20], "dtype": x.dtype.name, "scaling": scaling.to_json()}}
    quantized = {name: programs.fused.quantization(name) for name in ("x", "code", "y")}
    manifest["tensors"] = {name: {"scale": q.scale, "zero_point": q.zero_point} for name, q in quantized.items()}
    write_files(folder, files | {"manifest.json": json.dumps(manifest).encode()})
    manifest["files"] = describe_files(folder, list(files))
    (folder / "golden").mkdir()
    np.save(folder / "golden/x.npy", x)
    return manifest, metrics, programs


def golden_values(folder, programs, scaling):
    """`code` and float32 `y` of the reference program; saves the code where the programs of the card look for it."""
    x = program_input(programs.fused, scaling.apply(np.load(folder / "golden/x.npy")))
    values = execute(programs.fused, "reconstruct", x)
    np.save(folder / "golden/code.npy", values["code"])
    return {"code": values["code"], "y": programs.fused.quantization("y").dequantize(values["y"])}


FLOATS, MINMAX = ("float32", Scaling()), ("float32", Scaling("minmax", -3.0, 7.5))
BYTES = ("uint8", Scaling("byte", 0.0, 255.0))
BOTH = ("encode", "decode", "reconstruct")
MEANINGS = {
    "code": "A uint8 `code` means (code − {code.zero_point}) · {code.scale!r} in the unit of a float one.",
    "uint8": "A uint8 `y` means (y − {y.zero_point}) · {y.scale!r} in model units.",
    "int8": "An int8 `y` means (y − {int8}) · {y.scale!r} in model units.",
    "float32": "A float32 `y` is in model units.",
    "bytes": "`x` and `y` are the bytes themselves where a file takes bytes.",
    "scaled": "Model units times `scale` plus `offset` (manifest.json, data.scaling) are the units of the samples.",
}


@pytest.mark.parametrize(
    ("data", "io", "signatures", "told"),
    [
        (BYTES, "auto", BOTH, ("code", "uint8", "float32", "bytes")),
        (FLOATS, "auto", BOTH, ("code", "float32")),
        (MINMAX, "auto", ("decode",), ("code", "float32", "scaled")),
        (MINMAX, "uint8", ("decode",), ("code", "uint8", "float32", "scaled")),
        (FLOATS, "int8", BOTH, ("code", "int8", "float32")),
        (MINMAX, "auto", ("encode",), ("code",)),
        (BYTES, "auto", ("encode",), ("code",)),
    ],
)
def test_what_the_numbers_mean_where_the_files_have_them(make_program, tmp_path, data, io, signatures, told):
    manifest, metrics, programs = written_bundle(make_program, tmp_path, *data, signatures=signatures, io=io)
    card = render_card(manifest, metrics)
    tensors: dict = {name: programs.fused.quantization(name) for name in ("code", "y")}
    for key, text in MEANINGS.items():
        assert (str.format_map(text, tensors | {"int8": tensors["y"].zero_point - 128}) in card) == (key in told), key
    assert f"| `toy.int8.tflite` | {', '.join(signatures)} |" in card


def test_card_sections_and_numbers():
    manifest, metrics, _ = bundle_parts()
    x, code = ({"name": name, "dtype": "uint8", "shape": ["batch", size]} for name, size in (("x", 64), ("code", 5)))
    signatures = {"encode": {"inputs": [x], "outputs": [code]}}
    manifest["files"]["toy.encoder.int8.onnx"] = {"format": "onnx", "precision": "int8", "signatures": signatures}
    card = render_card(manifest, metrics)
    titles = re.findall(r"^## (.*)$", card, re.M)
    assert titles == [
        "Model details",
        "Intended use",
        "Training data",
        "Metrics",
        "How to run it",
        "Limitations",
        "Integrity",
    ]
    assert "| licence | not recorded |" in card
    assert "6.905 (+1.2% against Keras float)" in card and "0.4804 × the 1,149,792 B of the stock converter" in card
    manifest["data"] |= {"licence": "MIT", "origin": "somewhere | else"}
    card = render_card(manifest, metrics)
    assert "| licence | MIT |" in card and "| origin | somewhere \\| else |" in card
