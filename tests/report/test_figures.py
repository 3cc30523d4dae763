"""The figures of the report: the graph, kernels with their masks, heat maps, bars with intervals."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image

from tiedae.bundle.manifest import ProgramText
from tiedae.bundle.results import Kind, LayerError, Lost, Parity, Precision
from tiedae.compress.symmetries import input_order
from tiedae.config.model_config import ModelConfig
from tiedae.report.graph_svg import WIDTH, draw_program
from tiedae.report.heatmap import LEVELS, error_cell, error_maps, parity_cell, parity_maps
from tiedae.report.kernel_images import KERNEL_BYTES, PALETTE, PRUNED, render_kernels
from tiedae.report.page import shapes_text, windows_text
from tiedae.report.pages import HERE, macros
from tiedae.report.pages.charts import Bar, BarChart
from tiedae.report.speed import leading_case, render_speed

from ..typed import typed_bench, typed_manifest
from .conftest import bundle_parts


def elements(svg: str, kind: str) -> list[ElementTree.Element]:
    """Elements of an SVG by the first word of their class."""
    return [each for each in ElementTree.fromstring(svg).iter() if (each.get("class") or "").split(" ")[0] == kind]


NETS = {
    "one layer": ((20, 5), ("linear",), "sigmoid"),
    "demo": ((20, 12, 5), ("relu", "linear"), "sigmoid"),
    "tanh all the way": ((9, 8, 7, 6), ("tanh", "tanh", "tanh"), "tanh"),
    "deep": ((40, *range(12, 3, -1)), ("relu6",) * 8 + ("linear",), "linear"),
}


@pytest.mark.parametrize(("widths", "activations", "output"), NETS.values(), ids=NETS)
@pytest.mark.parametrize(("form", "granularity"), [("split", "tensor"), ("split", "unit"), ("fused", "unit")])
def test_the_drawing_has_every_kernel_once_with_an_arrow_each_way(make_program, widths, activations, output, form, granularity):
    program = make_program(widths, activations, output, form=form, granularity=granularity)
    svg = draw_program(ProgramText.of(program), {"x": "uint8"}, {"kernel_0": "50 % pruned"}, "a <title>")
    kernels = elements(svg, "kernel")
    assert len(kernels) == len(program.kernels) and len(elements(svg, "use")) == 2 * len(program.kernels)
    operations = [*program.operations]
    assert len(elements(svg, "operation")) == len(operations) and len(elements(svg, "io")) == 3
    uses = sum("kernel" in vars(operation) for operation in operations)
    assert sum("tied" in each.get("class", "") for each in elements(svg, "operation")) == uses == 2 * len(kernels)
    frame = [float(n) for n in ElementTree.fromstring(svg).get("viewBox", "").split()]
    boxes = [
        [float(e.get(k, "nan")) for k in ("x", "y", "width", "height")]
        for e in ElementTree.fromstring(svg).iter()
        if e.get("rx")
    ]
    for x, y, width, height in boxes:
        assert min(x, y) >= 0 and x + width <= WIDTH and y + height <= frame[3]
    for i, (x, y, width, height) in enumerate(boxes):
        for left, top, wide, high in boxes[i + 1 :]:
            assert x + width <= left or left + wide <= x or y + height <= top or top + high <= y, "boxes overlap"
    texts = [each.text for each in ElementTree.fromstring(svg).iter("text")]
    assert f"x · {widths[0]} uint8" in texts and f"code · {widths[-1]}" in texts and "50 % pruned" in texts
    assert texts.count("W") == texts.count("Wᵀ") == len(kernels)


@pytest.mark.parametrize("interleave", [1, 4])
def test_the_drawing_shows_the_order_of_the_program(make_program, interleave):
    """Down the encoder, up the decoder: the boxes of a column are where the data passes."""
    program = make_program((20, 12, 5), form="split", granularity="unit", interleave=interleave)
    svg = draw_program(ProgramText.of(program), {}, {}, "t")
    at = {}
    for group in ElementTree.fromstring(svg).iter("g"):
        title, rect = group.find("title"), group.find("rect")
        at[title.text] = float(rect.get("y"))
    down = [at[operation.y] for operation in program.encoder]
    up = [at[operation.y] for operation in program.decoder]
    assert down == sorted(down) and up == sorted(up, reverse=True) and len(at) == 2 + len(down) + len(up)


def test_long_names_of_kernels_are_cut_and_kept_in_a_title(make_program):
    program = ProgramText.of(make_program())
    named = dataclasses.replace(program.kernels["kernel_0"], name="<kernel>" * 20)
    program = replace(program, kernels={**program.kernels, "kernel_0": named})
    svg = draw_program(program, {}, {}, "t")
    texts = [each.text for each in ElementTree.fromstring(svg).iter("text")]
    assert "<kernel><kernel><…" in texts
    assert "<kernel>" * 20 in [each.text for each in ElementTree.fromstring(svg).iter("title")]


def kernel_parts(shape, inputs, units, *, scale=(0.01,), seed=0, window=None, code=0):
    rng = np.random.default_rng(seed)
    mask = rng.uniform(size=(inputs, units)) < 0.5
    values = (rng.integers(-127, 128, (inputs, units)) * mask).astype(np.int8)
    manifest = bundle_parts(shape, samples=2)[0]
    kernel = manifest["kernels"][0] | {"shape": [inputs, units], "scale": list(scale)}
    manifest |= {"kernels": [kernel], "model": manifest["model"] | {"widths": [int(np.prod(shape)), code or units]}}
    manifest["recipe"] |= {"model": {"layers": [{"units": units} if window is None else window | {"filters": units}]}}
    return typed_manifest(manifest), {"kernel_0": values}, {"kernel_0": mask}


def pictures(html: str) -> list[np.ndarray]:
    """RGBA of every picture."""
    sources = re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(source))).convert("RGBA")) for source in sources]


def test_a_matrix_shows_each_weight_and_its_mask():
    manifest, kernels, masks = kernel_parts((30,), 30, 17)
    (picture,) = pictures(render_kernels(manifest, kernels, masks))
    dark = (picture[..., :3] == PRUNED).all(axis=-1)
    assert np.array_equal(dark, ~masks["kernel_0"])
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    strong = masks["kernel_0"] & (np.abs(kernels["kernel_0"].astype(int)) > 40)
    assert np.array_equal((red > blue)[strong], (kernels["kernel_0"] < 0)[strong])


@pytest.mark.parametrize(("shape", "wide"), [((6, 5), 5), ((6, 5, 1), 5), ((6, 5, 3), 15)])
def test_filters_show_units_over_the_inputs_the_largest_first(shape, wide):
    inputs = int(np.prod(shape))
    manifest, kernels, masks = kernel_parts(shape, inputs, 20)
    kernels["kernel_0"][:, 7] = 127 * masks["kernel_0"][:, 7]
    (picture,) = pictures(render_kernels(manifest, kernels, masks))
    assert picture.shape[:2] == (2 * (6 + 2), 16 * (wide + 2))
    assert (picture[0, :, 3] == 0).all() and (picture[9:, 4 * (wide + 2) :, 3] == 0).all()
    first = picture[1:7, 1 : 1 + wide]
    mask = masks["kernel_0"][:, 7].reshape(6, 5, -1).transpose(0, 2, 1).reshape(6, wide)
    assert np.array_equal((first[..., :3] == PRUNED).all(axis=-1), ~mask)
    assert (first[mask][:, :3] == PALETTE[12]).all()


@pytest.mark.parametrize(
    ("kind", "shape", "axes", "size"),
    [
        ("conv2d", (6, 5), "6 × 5 × 1", (3, 3)),
        ("conv2d", (6, 5, 2), "6 × 5 × 2", (3, 6)),
        ("conv1d", (12,), "12 × 1", (1, 3)),
        ("conv1d", (12, 4), "12 × 4", (4, 3)),
    ],
)
def test_filters_of_convolutions_show_windows_small_ones_in_full_rows(kind, shape, axes, size):
    places = int(np.prod(shape[:2] if kind == "conv2d" else shape[:1]))
    manifest, kernels, masks = kernel_parts(shape, int(np.prod(size)), 3, window={"kind": kind}, code=3 * places)
    kernels["kernel_0"][:, 1] = 127 * masks["kernel_0"][:, 1]
    (picture,) = pictures(render_kernels(manifest, kernels, masks))
    height, width = size
    assert picture.shape[:2] == (height + 2, 16 * (width + 2)) and (picture[:, 3 * (width + 2) :, 3] == 0).all()
    mask = masks["kernel_0"][:, 1]
    mask = mask.reshape(3, 3, -1).transpose(0, 2, 1).reshape(size) if kind == "conv2d" else mask.reshape(3, -1).T
    assert np.array_equal((picture[1 : 1 + height, 1 : 1 + width, :3] == PRUNED).all(axis=-1), ~mask)
    assert shapes_text(manifest) == f"{axes} → {axes[:-1]}3"
    by_axis = "3 × 3, strides 1 × 1" if kind == "conv2d" else "3, strides 1"
    assert windows_text(manifest.recipe) == f"layer 1: {kind} {by_axis}, same"


def test_filters_show_inputs_in_their_own_order_where_the_kernel_has_another():
    manifest, kernels, masks = kernel_parts((6, 5), 30, 4)
    order = input_order(30, 3)
    interleaved = [{"kernel_0": each["kernel_0"][order]} for each in (kernels, masks)]
    (picture,) = pictures(render_kernels(manifest, kernels, masks))
    (other,) = pictures(render_kernels(replace(manifest, model=replace(manifest.model, interleave=3)), *interleaved))
    assert np.array_equal(picture, other)


@pytest.mark.parametrize(
    ("shape", "inputs", "units"),
    [((3000,), 3000, 2000), ((64, 64), 4096, 600), ((128, 128, 3), 49152, 40), ((5,), 5, 1), ((4000,), 4000, 2)],
    ids=str,
)
def test_pictures_of_kernels_stay_within_their_budget(shape, inputs, units):
    manifest, kernels, masks = kernel_parts(shape, inputs, units)
    html = render_kernels(manifest, kernels, masks)
    assert len(html) <= KERNEL_BYTES + 5000 and len(pictures(html)) == 1


@pytest.mark.parametrize("shape", [(64, 64), (4096,)])
def test_many_kernels_share_the_budget(shape):
    manifest, kernels, masks = kernel_parts(shape, 4096, 512)
    names = [f"kernel_{i}" for i in range(9)]
    chain = [replace(manifest.kernels[0], name=name, shape=(n, 512)) for name, n in zip(names, (4096, *[512] * 8), strict=True)]
    recipe = replace(manifest.recipe, model=ModelConfig([{"units": 512}] * 9))
    model = replace(manifest.model, widths=(4096, *[512] * 9))
    fused = manifest.operations.fused
    fused = replace(fused, kernels=dict.fromkeys(names, fused.kernels["kernel_0"]))
    operations = replace(manifest.operations, fused=fused)
    manifest = replace(manifest, recipe=recipe, kernels=tuple(chain), model=model, operations=operations)
    every = [{name: each["kernel_0"][: 4096 if name == names[0] else 512] for name in names} for each in (kernels, masks)]
    html = render_kernels(manifest, *every)
    assert len(html) <= KERNEL_BYTES + 9 * 500 and len(pictures(html)) == 9


@pytest.mark.parametrize("kept", [True, False])
def test_kernels_of_zeros_are_drawn(kept):
    manifest, kernels, _ = kernel_parts((8,), 8, 3)
    (picture,) = pictures(render_kernels(manifest, {"kernel_0": 0 * kernels["kernel_0"]}, {"kernel_0": np.full((8, 3), kept)}))
    assert (picture[..., :3] == ((247, 247, 247) if kept else PRUNED)).all()


def int8_row(count, differing, lsb=1, kind=Kind.OPERATIONS, tensor="y", file="a.int8.tflite", runtime="r", **more):
    of = {"file": file, "runtime": runtime, "count": count, "differing": differing, "max_lsb": lsb}
    return Parity(kind, Precision.INT8, tensor, **of, **more)


NOISE = LayerError(Lost.QUANTIZATION, "y", Precision.INT8, "program", "keras", 64, 0.1, 0.3, 0.0, sqnr_db=27.4)


@settings(deadline=None)
@given(st.integers(1, 10**9), st.data())
def test_the_more_values_differ_the_darker(count, data):
    few, many = sorted(data.draw(st.tuples(st.integers(0, count), st.integers(0, count))))
    low, high = parity_cell(int8_row(count, few)), parity_cell(int8_row(count, many))
    assert 0 <= low.level <= high.level <= LEVELS and (low.level == 0) == (few == 0)


@settings(deadline=None)
@given(st.floats(-50, 300), st.floats(-50, 300))
def test_the_more_noise_the_darker(a, b):
    loud, quiet = (error_cell(replace(NOISE, sqnr_db=decibels, rms=1.0)) for decibels in sorted((a, b)))
    assert 1 <= quiet.level <= loud.level <= LEVELS


def test_heat_maps_follow_the_program_and_show_the_worst():
    rows = [
        int8_row(1000, 1, runtime="one"),
        int8_row(1000, 0, tensor="code", runtime="one"),
        int8_row(1000, 200, 3, tensor="code", runtime="two", file="a.encoder.int8.onnx", sqnr_db=41.2),
        int8_row(1000, 0, tensor="code", runtime="two", file="a.int8.onnx"),
        int8_row(1000, 1, tensor="<odd>", runtime="one"),
        int8_row(1000, 900, kind=Kind.CODES, signature="encode", runtime="one"),
        int8_row(0, 0, runtime="two", file="a.int8.onnx", problem="y: got <int8>"),
    ]
    html = parity_maps(rows, ["code", "y"])
    heads = re.findall(r'<th scope="col">(.*?)<small>(.*?)</small>', html)
    assert heads == [("one", "TFLite"), ("two", "ONNX")]
    cells = {
        name: re.findall(r"<td class=\"(.*?)\"[^>]*>(.*?)</td>", row)
        for name, row in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', html)
    }
    assert list(cells) == ["code", "y", "&lt;odd&gt;"]
    assert cells["code"] == [("heat0", "equal"), ("heat5", "20 %<small>≤ 3 LSB, 41 dB</small>")]
    assert cells["y"] == [("heat2", "0.1 %<small>≤ 1 LSB</small>"), ("heat5 failed", "✗ not comparable")]
    assert cells["&lt;odd&gt;"][1] == ("soft", "—") and "y: got &lt;int8&gt;" in html and "900" not in html


def test_errors_of_quantization_and_conversion_are_columns():
    converted = replace(NOISE, error=Lost.CONVERSION, runtime="ort-cpu", file="a.onnx")
    rows = [
        replace(NOISE, layout="split"),
        replace(converted, rms=0.0, sqnr_db=None),
        replace(converted, error=Lost.TOTAL),
        replace(converted, precision=Precision.F32, sqnr_db=131.8),
    ]
    html = error_maps(rows, ["y"])
    assert re.findall(r'<td class="(heat.)">(.*?)</td>', html) == [("heat4", "27 dB"), ("heat0", "equal"), ("heat1", "132 dB")]
    assert html.count("<h3>Signal-to-noise ratio per layer in dB") == 2 and error_maps([], ["y"]) == ""


def test_whiskers_lie_around_the_end_of_their_bar_and_long_bars_are_broken():
    bars = [Bar("a", 50.0, "50", "ours", whisker=(45.0, 60.0)), Bar("b", 10.0, "10", "stock"), Bar("c", 900.0, "900", "keras")]
    chart = macros(HERE / "charts.html.j2").bar_chart(BarChart(bars, 100.0))
    rows = re.findall(r"<tr>(.*?)</tr>", chart)
    assert 'width="50.00%"' in rows[0]
    assert re.findall(r'class="whisker" x1="(.*?)" x2="(.*?)"', rows[0]) == [
        ("45.00%", "60.00%"),
        ("45.00%", "45.00%"),
        ("60.00%", "60.00%"),
    ]
    assert "whisker" not in rows[1] and rows[1].count("<rect") == 1 and rows[2].count("<rect") == 3


def test_speed_leads_with_one_call_of_the_whole_model(make_bench):
    bench = typed_bench(make_bench())
    title, rows = leading_case(bench.latency)
    assert title == "reconstruct, batch 1, 1 thread, the runtime's own call" and len(rows) == 5
    html = render_speed(bench)
    chart = html.partition("<details>")[0]
    assert "15.2 µs" in chart and "0.953 [0.934, 0.972] × TFLiteConverter int8 tflite" in chart
    assert re.search(r'width="69.31%" height="14" rx="2"/><line class="whisker" x1="67.93%" x2="70.70%"', chart)
    assert chart.count('class="whisker"') == 2 * 3 and chart.count('<rect class="keras"') == 3
    assert "10 further cases" in html and "486 µs" in html
    assert "3.0 MiB" in html and "1.25 ms" in html and "A &lt;CPU&gt;, 2 cores" in html and "no GPU &lt;here&gt;" in html


def test_speed_says_how_to_get_it(make_bench):
    for bench in (None, typed_bench(make_bench() | {"latency": []})):
        assert "<code>tiedae bench BUNDLE</code> adds latency" in render_speed(bench)


def test_speed_of_rows_that_compare_with_nothing(make_bench):
    found = make_bench()
    bare = found["latency"][0] | {"provider": "", "dtypes": "", "against": None, "ratio": None}
    rows = [bare | {"subject": "a", "median_us": 3.0}, bare | {"subject": "b, onnx", "median_us": 5.0, "batch": 2}]
    html = render_speed(typed_bench(found | {"latency": rows, "memory": [], "startup": []}))
    assert "3 µs" in html and "b, onnx" in html and "None" not in html and "whisker" not in html
