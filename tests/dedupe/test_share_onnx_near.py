"""`dedupe --near` on .onnx files: kernels that a quantizer has stored twice become one set of integers."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from tiedae.export.duplicates import copies
from tiedae.export.onnx.reader import read_onnx
from tiedae.verify.stock.converters import stock_onnx_int8

from .onnx_models import graph, model, node, operations, qdq, require_same, run, share, weights

UNFUSED = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
"""As the file says, in floats: fused, int8 kernels of 8 bits saturate on x86-64 without VNNI."""
SPREAD = np.linspace(0.2, 2, 16, dtype=np.float32)


@pytest.fixture(scope="module")
def floating():
    """32-16-32 as tf2onnx writes it, with units of different size, so that scales per channel matter."""
    kernel = weights(32, 16) / 6 * SPREAD
    nodes = [
        node("MatMul", "x W", "a"),
        node("Add", "a b", "c"),
        node("Relu", "c", "h"),
        node("MatMul", "h C", "d"),
        node("Add", "d e", "y"),
    ]
    constants = {"W": kernel, "C": kernel.T, "b": weights(16, seed=3), "e": weights(32, seed=4)}
    return model(graph(nodes, constants, {"x": ("batch", 32)})).SerializeToString()


@pytest.fixture(scope="module")
def stock(floating):
    """ONNX Runtime's quantizer on that model: per tensor, and per channel of either direction."""
    samples = weights(256, 32, seed=9)
    return {each: onnx.load_from_string(stock_onnx_int8(floating, samples, per_channel=each)) for each in (False, True)}


def kernels(path):
    """The matrices of a file and how they are dequantized, by name."""
    found = [each for each in read_onnx(path).constants if each.values.ndim == 2]
    return {each.name: each for each in found}


def test_per_tensor_copies_are_equal_and_stay_exact(stock, tmp_path):
    shared, source, out = share(tmp_path, stock[False])
    assert [each.relation for each in shared.merged] == ["transposed"]
    assert operations(out).count("QGemm") == 2
    require_same(source, out)


def test_without_a_tolerance_near_copies_stay(stock, tmp_path):
    shared, source, _ = share(tmp_path, stock[True])
    assert not shared.merged and shared.data == source.read_bytes()
    (kept,) = shared.kept
    (again,) = share(tmp_path, stock[True], tolerance=0.1)[0].kept
    assert again.reason == kept.reason
    advice = re.fullmatch(r"near, up to (0\.\d+) of a step apart: --near (0\.\d+) would allow that", kept.reason)
    assert advice and float(advice[1]) == float(advice[2])
    (merged,) = share(tmp_path, stock[True], tolerance=float(advice[2]))[0].merged
    assert float(advice[2]) - 0.01 < merged.steps <= float(advice[2])


def test_per_channel_copies_become_one_kernel(stock, floating, tmp_path):
    """Within a step of both, close to the float kernel, fused as before, biases on the scale of the products."""
    shared, source, out = share(tmp_path, stock[True], tolerance=1.0)
    (merged,) = shared.merged
    assert (merged.relation, merged.saved, not shared.kept) == ("near", 512, True)
    assert 0.1 < merged.steps <= 1.0
    (after,) = kernels(out).values()
    ((scale,), (zero,)) = after.scales, after.zero_points
    float_kernel = next(
        numpy_helper.to_array(each) for each in onnx.load_from_string(floating).graph.initializer if each.name == "W"
    )
    real = (after.values.astype(np.float32) - zero) * scale
    real = real if real.shape == (32, 16) else real.T
    assert np.abs(real - float_kernel).max() <= 0.76 * scale
    assert not copies(read_onnx(out))
    assert operations(out) == operations(source)
    expected, got = (run(path, batch=200, level=UNFUSED)["y"] for path in (source, out))
    step = np.diff(np.unique(expected)).min()
    assert np.abs(got - expected).max() <= 4 * step
    assert np.abs(got - expected).mean() <= 1.0 * step


def pair(one, other, *, scales=(0.01, 0.0101), dtype=np.int8, zero=0, biases=None, width=24):
    """x → Gemm with `one` → Gemm with `other`, transposed, both dequantized; each with scales of its own."""
    nodes, constants = [], {"xs": np.float32(0.05), "xz": np.uint8(128)}
    value = "x"
    for i, (values, scale) in enumerate(zip((one, other), scales, strict=True)):
        constants |= {f"Q{i}": values.astype(dtype), f"s{i}": np.asarray(scale, np.float32)}
        constants[f"z{i}"] = np.full(np.shape(scale), zero, dtype)
        nodes += qdq(value, "xs xz", f"q{i}", f"d{i}")
        nodes.append(node("DequantizeLinear", f"Q{i} s{i} z{i}", f"w{i}", axis=1))
        bias = ""
        if biases is not None:
            constants |= {f"b{i}": biases[i], f"t{i}": np.asarray(0.05 * scale, np.float32)}
            nodes.append(node("DequantizeLinear", f"b{i} t{i}", f"c{i}", axis=0))
            bias = f" c{i}"
        nodes.append(node("Gemm", f"d{i} w{i}{bias}", f"g{i}"))
        value = f"g{i}"
    nodes += qdq(value, "xs xz", "q", "y")
    return model(graph(nodes, constants, {"x": ("batch", width)}))


def rounded(reach=127, zero=0):
    """A kernel [24, 12], quantized per tensor and, transposed, per channel."""
    kernel = weights(24, 12) * np.linspace(0.05, 0.4, 24, dtype=np.float32)[:, None]
    one, rows = np.abs(kernel).max() / reach, np.abs(kernel).max(axis=1) / reach
    return np.rint(kernel / one) + zero, np.rint(kernel / rows[:, None]).T + zero, (one, rows)


@pytest.mark.parametrize("first", [0, 1])
def test_one_scale_per_tensor_stays(first, tmp_path):
    one, other, scales = rounded()
    made = pair(other, one, scales=scales[::-1], width=12) if first else pair(one, other, scales=scales)
    shared, _, out = share(tmp_path, made, tolerance=1.0)
    assert [each.relation for each in shared.merged] == ["near"]
    (kernel,) = kernels(out).values()
    np.testing.assert_array_equal(kernel.values, one.astype(np.int8))
    assert kernel.scales == (float(np.float32(scales[0])),)


@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, 0), (np.uint8, 128)])
@pytest.mark.parametrize("reach", [127, 63])
def test_types_and_bits_remain(reach, dtype, zero, tmp_path):
    """Seven bits stay seven bits (they keep old CPUs from saturating), uint8 stays uint8 with its zero point."""
    kernel = weights(24, 12) * np.linspace(0.05, 0.4, 24, dtype=np.float32)[:, None]
    columns, rows = (np.abs(kernel).max(axis=axis) / reach for axis in (0, 1))
    made = pair(
        np.rint(kernel / columns) + zero,
        np.rint(kernel / rows[:, None]).T + zero,
        scales=(columns, rows),
        dtype=dtype,
        zero=zero,
    )
    shared, _, out = share(tmp_path, made, tolerance=1.0)
    assert [each.relation for each in shared.merged] == ["near"]
    (after,) = kernels(out).values()
    assert after.values.dtype == dtype and after.zero_points == (zero,)
    assert np.abs(after.values.astype(int) - zero).max() == reach
    assert {"QGemm"} == {each for each in operations(out) if "Gemm" in each}


def test_biases_follow_the_scale(tmp_path):
    """A runtime adds the int32 bias to the products: left as it was, it would count by another scale."""
    one, other, scales = rounded()
    biases = np.arange(12, dtype=np.int32) * 1000, np.arange(24, dtype=np.int32) * 700
    shared, source, out = share(tmp_path, pair(one, other, scales=scales, biases=biases), tolerance=1.0)
    assert "one scale, biases in the new one" in shared.merged[0].how
    before, after = (run(path, batch=64, level=UNFUSED)["y"] for path in (source, out))
    assert np.ptp(before) > 3
    assert np.abs(before - after).max() <= 4 * 0.05


@pytest.mark.parametrize(("bias", "fits"), [(2**30 - 1, True), (2**30, False), (1 - 2**30, True), (-(2**30) - 1, False)])
def test_a_bias_must_fit_int32_in_the_new_scale(bias, fits, tmp_path):
    """One of 24 biases, which count twice in the new scale: powers of two, so that each step is exact."""
    one, other, (scale, rows) = rounded()
    made = pair(one, other, scales=(2**-7, rows * 2**-7 / scale), biases=(np.zeros(12, np.int32), np.zeros(24, np.int32)))
    changed = {"xs": np.float32(2**-4), "t1": np.full(24, 2**-10, np.float32), "b1": np.eye(24, dtype=np.int32)[5] * bias}
    for tensor in made.graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(changed[tensor.name]), tensor.name))
    shared, _, out = share(tmp_path, made, tolerance=1.0)
    if fits:
        integers = [each.values for each in read_onnx(out).constants if each.name.endswith(".quantized")]
        assert [values[5] for values in integers if values.size == 24] == [2 * bias]
    else:
        assert [each.reason for each in shared.kept] == ["near: a bias would not fit int32 in the new scale"]


def test_unrelated_kernels_of_one_shape_stay(tmp_path):
    made = pair(weights(24, 12, dtype=np.int8), weights(12, 24, seed=4, dtype=np.int8))
    shared, *_ = share(tmp_path, made, tolerance=1e6)
    assert not shared.merged and not shared.kept


def test_equal_values_in_other_integers(tmp_path):
    """int8, and uint8 with zero point 128: no value changes, so 0 steps suffice."""
    kernel = weights(24, 12, dtype=np.int8)
    made = pair(kernel, kernel.T, scales=(0.01, 0.01))
    for tensor in made.graph.initializer:
        if tensor.name in ("Q1", "z1"):
            values = numpy_helper.to_array(tensor).astype(np.int16) + 128
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.uint8), tensor.name))
    (kept,) = share(tmp_path, made)[0].kept
    assert kept.reason == "equal in value, stored as other bytes: --near 0 would allow that"
    shared, source, out = share(tmp_path, made, tolerance=0.0)
    assert [(each.relation, each.steps) for each in shared.merged] == [("near", 0.0)] and not copies(read_onnx(out))
    for level in (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, UNFUSED):
        np.testing.assert_array_equal(*(run(path, level=level)["y"] for path in (source, out)))


def test_a_kernel_that_was_merged_does_not_move_again(tmp_path):
    """Two kernels per channel and a transposed one, which only a Transpose could replace: its integers would be cheaper."""
    kernel = weights(24, 24) * np.linspace(0.2, 0.4, 24, dtype=np.float32)[:, None]
    nodes, constants, real = qdq("u", "s z", "u.q", "u.d"), {}, {}
    value = "x"
    for i, (values, axis) in enumerate(((kernel, 0), (kernel, 1), (kernel.T * np.float32(1.004), None))):
        scales = np.abs(values).max(axis=None if axis is None else 1 - axis, keepdims=True) / 127
        integers = np.rint(values / scales).astype(np.int8)
        real[i] = integers * scales if i < 2 else (integers * scales).T, scales
        constants |= {f"Q{i}": integers, f"k{i}": scales.ravel() if i < 2 else scales.ravel()[0]}
        constants[f"n{i}"] = np.zeros_like(constants[f"k{i}"], np.int8)
        nodes.append(node("DequantizeLinear", f"Q{i} k{i} n{i}", f"w{i}", axis=axis or 0))
        if i < 2:
            nodes += qdq(value, "s z", f"q{i}", f"d{i}")
            nodes.append(node("Gemm", f"d{i} w{i}", f"g{i}"))
            value = f"g{i}"
    nodes.append(node("MatMul", "u.d w2", "v"))
    constants |= {"s": np.float32(0.05), "z": np.uint8(128)}
    made = model(graph(nodes, constants, {"x": ("batch", 24), "u": ("batch", 3, 24)}, {"g1": None, "v": None}))
    shared, _, out = share(tmp_path, made, tolerance=1.5)
    assert len(shared.merged) == 2 and not shared.kept
    (after,) = kernels(out).values()
    moved = after.values * np.float64(after.scales[0])
    for values, scales in real.values():
        assert (np.abs(moved - values) / np.maximum(scales, after.scales[0])).max() <= 1.5
