"""Reports and cards of odd but possible bundles: whole pages, no None or NaN in words, the same bytes every time."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.records import plain
from tiedae.bundle.manifest import ProgramText

from .conftest import bench
from .drawn import render_card, render_report

HUGE = "<b>&amp;\"'`|" + "name/" * 60


def described(name, signatures, format_):
    """A model file as the manifest describes it."""
    infos = {"x": (64, "uint8"), "code": (5, "uint8"), "y": (64, "uint8")}
    sides = {"encode": (["x"], ["code"]), "decode": (["code"], ["y"]), "reconstruct": (["x"], ["code", "y"])}

    def described(name):
        size, dtype = infos[name]
        return {"name": name, "dtype": dtype, "shape": ["batch", size], "scale": 0.5, "zero_point": 3}

    stated = {
        signature: {
            "inputs": [described(each) for each in sides[signature][0]],
            "outputs": [described(each) for each in sides[signature][1]],
            "operations": {"GEMM": 2},
        }
        for signature in signatures
    }
    return {name: {"bytes": 1234, "sha256": "0" * 64, "format": format_, "precision": "int8", "signatures": stated}}


def no_float_error(manifest, metrics, arrays):
    metrics["quality"] = [row for row in metrics["quality"] if row["title"] != "Keras float"]


def nothing_measured(manifest, metrics, arrays):
    metrics |= {key: [] for key in ("quality", "files", "parity", "storage", "checks", "skipped", "history")}


def encoder_only(manifest, metrics, arrays):
    manifest["files"] = described("toy.int8.tflite", ["encode"], "tflite")
    metrics["quality"] = [row for row in metrics["quality"] if row["stage"] != "export"]


def only_onnx(manifest, metrics, arrays):
    manifest["files"] = described("toy.encoder.int8.onnx", ["encode"], "onnx")
    manifest["files"] |= described("toy.decoder.int8.onnx", ["decode"], "onnx")
    for key in ("files", "parity", "storage"):
        metrics[key] = [row for row in metrics[key] if row["file"].endswith(".onnx")]


def huge_names(manifest, metrics, arrays):
    for key in ("files", "parity", "storage"):
        metrics[key] = [row | {"file": HUGE + row["file"]} for row in metrics[key]]
    metrics["quality"] = [row | {"title": HUGE if row["stage"] == "export" else row["title"]} for row in metrics["quality"]]
    metrics["skipped"] = [{"kind": "opens", "why": "unavailable", "what": HUGE, "reason": HUGE}]
    metrics["versions"] = {HUGE: HUGE}
    metrics["checks"] = [{"kind": "storage", "file": HUGE, "ok": False, "value": HUGE, "limit": HUGE, "text": HUGE}]


def all_checks_failed(manifest, metrics, arrays):
    metrics["checks"] = [check | {"ok": False} for check in metrics["checks"]]
    metrics["storage"] = [row | {"ok": False} for row in metrics["storage"]]


def nothing_comparable(manifest, metrics, arrays):
    metrics["parity"] = [row | {"problem": "got float32 [3], expected uint8 [3]", "count": 0} for row in metrics["parity"]]


def all_pruned(manifest, metrics, arrays):
    for name, mask in arrays[2].items():
        mask[:] = False
        arrays[1][name][:] = 0


def constant_samples(manifest, metrics, arrays):
    for values in arrays[0].values():
        values[:] = 0


def one_epoch_of_an_unknown_stage(manifest, metrics, arrays):
    metrics["history"] = [{"stage": "dream", "epoch": 1, "loss": 0.0}]


def a_bare_bench(manifest, metrics, arrays):
    found = bench()
    row = found["latency"][0] | {"provider": "", "dtypes": "", "against": None, "ratio": None}
    rows = [row | {"subject": HUGE, "median_us": 1e-3, "maker": "stock"}, row | {"subject": "b", "median_us": 1e7}]
    metrics["bench"] = found | {"latency": rows, "memory": [], "startup": [], "skipped": []}


ODD = (
    no_float_error,
    nothing_measured,
    encoder_only,
    only_onnx,
    huge_names,
    all_checks_failed,
    nothing_comparable,
    all_pruned,
    constant_samples,
    one_epoch_of_an_unknown_stage,
    a_bare_bench,
)


class Words(HTMLParser):
    """The words of a page; fails where an element is left open or closed twice."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def require_whole(manifest, metrics, arrays):
    page, card = render_report(manifest, metrics, *arrays), render_card(manifest, metrics)
    words = " ".join(Words(page).words)
    for text in (words, card):
        assert not re.search(r"\b(None|nan|NaN|inf|Infinity)\b", text)
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', re.sub(r'src="[^"]*"', "", page))
    assert len(page) < 2_000_000
    assert len(re.findall(r"^## ", card, re.M)) == 9 and "\n\n\n" not in card
    lines = [line for line in card.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in lines)
    assert page == render_report(manifest, metrics, *arrays) and card == render_card(manifest, metrics)
    return page, card


@pytest.mark.parametrize("change", ODD, ids=lambda change: change.__name__)
@pytest.mark.parametrize("shape", [(8, 8), (64,)], ids=str)
def test_odd_bundles_render(make_parts, make_program, change, shape):
    manifest, metrics, *arrays = make_parts(shape)
    manifest["files"] = described("toy.int8.tflite", ["encode", "decode", "reconstruct"], "tflite")
    manifest["operations"] = {form: plain(ProgramText.of(make_program((64, 12, 5), form=form))) for form in ("split", "fused")}
    change(manifest, metrics, arrays)
    page, card = require_whole(manifest, metrics, arrays)
    assert 'id="graph"' in page and "<b>&amp;\"'" not in page
    assert card.startswith(f"# {manifest['name']}")


@settings(max_examples=15, deadline=None)
@given(
    shape=st.sampled_from([(1,), (3,), (4, 4), (4, 4, 1), (4, 5, 3), (2, 9), (7, 3, 2)]),
    kind=st.sampled_from([("uint8", "byte"), ("int16", "minmax"), ("float32", "none"), ("float64", "standard")]),
    samples=st.integers(1, 30),
    stock=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_data_renders(make_parts, shape, kind, samples, stock, seed):
    manifest, metrics, *arrays = make_parts(shape, *kind, samples=samples, stock=stock, seed=seed)
    manifest["files"] = described("toy.int8.tflite", ["reconstruct"], "tflite")
    assert np.isfinite(arrays[0]["y.f32"]).all()
    require_whole(manifest, metrics, arrays)
