"""`dedupe` on .onnx files that ONNX Runtime's dynamic quantizer made, and on kernels of Conv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from tiedae.export.duplicates import copies
from tiedae.export.onnx.reader import read_onnx

from .onnx_models import graph, model, node, operations, qdq, require_same, run, share, weights

UNFUSED = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
TABLE = weights(200, 32)


@pytest.fixture
def dynamic(tmp_path):
    """A language model with a tied embedding, quantized: its weight type → the file."""

    def quantized(weight_type: QuantType) -> Path:
        nodes = [
            node("Gather", "E ids", "h"),
            node("MatMul", "h W", "a"),
            node("Tanh", "a", "b"),
            node("MatMul", "b H", "y"),
        ]
        constants = {"E": TABLE, "W": weights(32, 32, seed=1), "H": TABLE.T}
        made = graph(nodes, constants, {"ids": ("batch", "time")}, {"y": ("batch", "time", 200)})
        made.input[0].type.tensor_type.elem_type = TensorProto.INT64
        onnx.save(model(made), tmp_path / "float.onnx")
        quantize_dynamic(tmp_path / "float.onnx", tmp_path / "source.onnx", weight_type=weight_type)
        return tmp_path / "source.onnx"

    return quantized


@pytest.mark.filterwarnings("ignore")
def test_an_embedding_and_its_head_of_the_dynamic_quantizer(dynamic, tmp_path):
    """Both have a scale and a zero point; the head needs a Transpose, which is gone once the file is loaded."""
    source = dynamic(QuantType.QUInt8)
    found = {each.name: each for each in read_onnx(source).constants}
    table, head = found["E_quantized"], found["H_quantized"]
    scale, zero = float(np.float32(np.ptp(TABLE) / 255)), table.zero_points[0]
    for each in (table, head):
        assert (each.scales, each.zero_points) == ((pytest.approx(scale, rel=1e-5),), (zero,)) and 0 < zero < 255
        real = (each.values.astype(np.float64) - zero) * scale
        np.testing.assert_allclose(real if each is table else real.T, TABLE, rtol=0, atol=0.51 * scale)
    shared, _, out = share(tmp_path, source)
    (merged,) = shared.merged
    assert (merged.name, merged.relation, merged.saved) == ("H_quantized", "transposed", 6400)
    assert merged.how == "Transpose of the original, folded at load (from ORT_ENABLE_BASIC on): in memory twice"
    assert not shared.kept and not copies(read_onnx(out))
    assert operations(out) == operations(source) and "Transpose" not in operations(out)
    require_same(source, out)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tolerance", [None, 2.0])
def test_other_integers_of_an_embedding_and_its_head_are_found(tolerance, dynamic, tmp_path):
    """int8 heads are quantized symmetrically, tables are not. MatMulInteger's scale is in other nodes: no merge, and why."""
    source = dynamic(QuantType.QInt8)
    shared, _, out = share(tmp_path, source, tolerance=tolerance)
    (duplicate,) = copies(read_onnx(source))
    (kept,) = shared.kept
    assert (duplicate.name, duplicate.relation, kept.name) == ("H_quantized", "near", "H_quantized")
    assert kept.reason == "near: E_quantized is read by Gather, not only by DequantizeLinear of constant scales"
    assert shared.data == source.read_bytes() == out.read_bytes()


KERNEL = weights(16, 24) / 6
STEP = np.float32(0.1)
"""Of activations."""


def rounded(values: np.ndarray, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and scales, per tensor or along an axis."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    scales = np.abs(values).max(axis=None if axis is None else others, keepdims=True) / 127
    return np.rint(values / scales).astype(np.int8), scales.reshape(-1 if axis is not None else ()).astype(np.float32)


def conv_and_gemm(axes: tuple[int | None, int | None], size: int = 1) -> onnx.ModelProto:
    """A Conv 16 ← 24 and a Gemm with its kernel, or a second Conv for a larger `size`; all quantized, with int32 biases.

    Activations stay below 128, so that no processor saturates a pair of products: 2 · 128 · 127 < 2¹⁵.
    """
    kernel = KERNEL[:, :, None, None] if size == 1 else weights(16, 24, size, size) / (6 * size)
    both = (kernel, KERNEL) if size == 1 else (kernel, kernel.transpose(1, 0, 2, 3))
    nodes = qdq("x", "s z", "q0", "d0")
    constants = {"s": STEP, "z": np.uint8(64)}
    for i, (values, axis) in enumerate(zip(both, axes, strict=True)):
        integers, scales = rounded(values, axis)
        constants |= {f"K{i}": integers, f"k{i}": scales, f"n{i}": np.zeros_like(scales, np.int8)}
        units = values.shape[0] if values.ndim == 4 else values.shape[1]
        bias_scale = scales if axis == (0 if values.ndim == 4 else 1) else scales.max()
        constants |= {f"b{i}": np.arange(units, dtype=np.int32) * 700, f"t{i}": np.asarray(STEP * bias_scale, np.float32)}
        nodes.append(node("DequantizeLinear", f"K{i} k{i} n{i}", f"w{i}", axis=axis or 0))
        nodes.append(node("DequantizeLinear", f"b{i} t{i}", f"c{i}", axis=0))
    middle = qdq("h", "s z", "q1", "d1")
    pool = [node("GlobalAveragePool", "d1", "p"), node("Flatten", "p", "f"), node("QuantizeLinear", "f s z", "q2")]
    pool += [node("DequantizeLinear", "q2 s z", "d2"), node("Gemm", "d2 w1 c1", "g")]
    last = pool if size == 1 else [node("Conv", "d1 w1 c1", "g", pads=[1] * 4)]
    nodes += [node("Conv", "d0 w0 c0", "h", pads=[size // 2] * 4), *middle, *last]
    nodes += qdq("g", "s z", "q3", "y")
    return model(graph(nodes, constants, {"x": ("batch", 24, 5, 5)}))


@pytest.mark.parametrize(("size", "how"), [(1, "Reshape of the original"), (3, "Transpose of the original")])
def test_equal_kernels_of_conv_are_merged(size, how, tmp_path):
    shared, source, out = share(tmp_path, conv_and_gemm((None, None), size))
    (merged,) = shared.merged
    assert merged.how.startswith(how) and not shared.kept
    assert operations(out) == operations(source)
    require_same(source, out)


@pytest.mark.parametrize("size", [1, 3])
def test_near_kernels_of_conv(size, tmp_path):
    """Per channel of either side: one scale for both, biases in the scale of the products, fused as before."""
    made = conv_and_gemm((0, 1) if size == 1 else (0, 0), size)
    (kept,) = share(tmp_path, made)[0].kept
    steps = float(kept.reason.removesuffix(" would allow that").rpartition(" ")[2])
    assert kept.reason.startswith(f"near, up to {steps:.2f} of a step apart: --near ")
    (again,) = share(tmp_path, made, tolerance=steps - 0.02)[0].kept
    assert again.reason == kept.reason
    shared, source, out = share(tmp_path, made, tolerance=steps)
    (merged,) = shared.merged
    assert merged.how.endswith("one scale, biases in the new one") and not copies(read_onnx(out))
    assert operations(out) == operations(source)
    for level in (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, UNFUSED):
        before, after = (run(path, level=level)["y"] for path in (source, out))
        apart = np.abs(before - after)
        assert np.ptp(before) > 1 and apart.max() <= 0.3 and apart.mean() <= 0.05


def test_tables_behind_operations_that_move_values(tmp_path):
    """An int8 table that is gathered, reshaped and then dequantized has the scale; the head the same bytes transposed."""
    table = (TABLE * 30).clip(-127, 127).astype(np.int8)
    nodes = [
        node("Gather", "E ids", "g"),
        node("Reshape", "g rows", "r"),
        node("DequantizeLinear", "r s z", "h"),
        node("DequantizeLinear", "H s z", "d"),
        node("MatMul", "h d", "y"),
    ]
    constants = {"E": table, "H": table.T, "s": np.float32(0.03), "z": np.int8(0), "rows": np.array([-1, 32])}
    made = graph(nodes, constants, {"ids": ("time",)})
    made.input[0].type.tensor_type.elem_type = TensorProto.INT64
    shared, source, out = share(tmp_path, model(made))
    known = {each.name: each.scales for each in read_onnx(source).constants if each.values.ndim == 2}
    assert known == {"E": (float(np.float32(0.03)),), "H": (float(np.float32(0.03)),)}
    assert [each.how for each in shared.merged] == ["DequantizeLinear of its own, MatMul → Gemm transB"]
    require_same(source, out)


N, P = np.float32([0.1, 0.2, 0.3]), np.array([1, 2, 3], np.uint8)
KINDS = {
    "MatMulIntegerToFloat": (node("MatMulIntegerToFloat", "x K a N x P", "y", domain="com.microsoft"), 1),
    "DynamicQuantizeMatMul": (node("DynamicQuantizeMatMul", "x K N P", "y", domain="com.microsoft"), 1),
    "QLinearMatMul": (node("QLinearMatMul", "x a z K N P a z", "y"), 1),
    "QLinearConv": (node("QLinearConv", "x a z K N P a z", "y"), 0),
    "QGemm": (node("QGemm", "x a z K N P", "y", domain="com.microsoft"), 1),
    "QGemm transB": (node("QGemm", "x a z K N P", "y", domain="com.microsoft", transB=1), 0),
    "DequantizeLinear": (node("DequantizeLinear", "K N P", "y", axis=-2), 0),
}


@pytest.mark.parametrize("case", KINDS)
def test_scales_per_channel(case, tmp_path):
    operation, axis = KINDS[case]
    kernel = np.ones((3, 3), np.uint8)
    made = graph([operation], {"K": kernel, "N": N, "P": P, "a": np.float32(1), "z": np.uint8(0)}, outputs={"y": ("b",)})
    path = tmp_path / "file.onnx"
    path.write_bytes(helper.make_model(made).SerializeToString())
    (constant,) = [each for each in read_onnx(path).constants if each.name == "K"]
    assert (constant.scales, constant.zero_points, constant.axis) == (tuple(N.tolist()), (1, 2, 3), axis)


@pytest.mark.parametrize("change", ["", "no Mul", "two readers", "no constant scale"])
def test_scales_of_integer_products(change, tmp_path):
    """Only where the product is scaled by a product of scales, and by nothing else."""
    nodes = [
        node("MatMulInteger", "x K z P", "i"),
        node("Cast", "i", "c", to=TensorProto.FLOAT),
        node("Mul", "v N", "m"),
        node("Add" if change == "no Mul" else "Mul", "c m", "y"),
    ]
    if change == "two readers":
        nodes.append(node("Neg", "c", "w"))
    if change == "no constant scale":
        nodes[2] = node("Mul", "v v", "m")
    made = graph(nodes, {"K": np.ones((3, 3), np.uint8), "N": N, "P": P, "z": np.uint8(0)}, {"x": ("b", 3), "v": ()})
    path = tmp_path / "file.onnx"
    path.write_bytes(helper.make_model(made).SerializeToString())
    (constant,) = [each for each in read_onnx(path).constants if each.name == "K"]
    assert (constant.scales, constant.zero_points) == ((), ()) if change else (tuple(N.tolist()), (1, 2, 3))
    assert constant.axis == (0 if change else 1)
