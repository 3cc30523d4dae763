"""`dedupe` on .onnx files: what is merged and how, nothing lost, the same outputs in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tiedae.export.duplicates import copies
from tiedae.export.onnx.reader import read_onnx

from .onnx_models import graph, model, node, operations, qdq, require_same, share, weights

FILES = Path(__file__).parent / "files"
W, B = weights(24, 24), weights(24, seed=1)
FOLDED = "Transpose of the original, folded"


@pytest.mark.parametrize(
    ("file", "merged", "how", "ratio"),
    [
        ("torch_parameter_script", 1, "Gemm transB", 0.67),
        ("torch_parameter_dynamo", 1, "Gemm transB", 0.88),
        ("torch_function_dynamo", 1, "Gemm transB", 0.88),
        ("torch_embedding_script", 1, FOLDED, 0.66),
        ("torch_embedding_dynamo", 1, FOLDED, 0.83),
        ("torch_function_script", 0, "", 1.0),
        ("torch_untied_script", 0, "", 1.0),
        ("torch_untied_dynamo", 0, "", 1.0),
    ],
)
def test_files_of_pytorch(file, merged, how, ratio, tmp_path):
    shared, source, out = share(tmp_path, FILES / f"{file}.onnx")
    assert [each.how[: len(how)] for each in shared.merged] == [how] * merged
    assert not shared.kept and not copies(read_onnx(out))
    assert out.stat().st_size <= ratio * source.stat().st_size
    assert merged or shared.data == source.read_bytes()
    require_same(source, out)


def tied(*nodes, inputs=None, outputs=None, opset=17, **constants):
    """A model whose first operation multiplies with W and whose others get `h` and the constants."""
    first = node("MatMul", "x W", "h")
    ends = {"inputs": inputs or {"x": ("batch", 24)}, "outputs": outputs or {"y": None}}
    return model(graph([first, *nodes], {"W": W} | constants, **ends), opset)


CASES = {
    "gemm b": (tied(node("Gemm", "h C B", "y", transB=1), C=W.T, B=B), "Gemm transB"),
    "gemm b without a flag": (tied(node("Gemm", "h C", "y"), C=W.T), "Gemm transB"),
    "gemm a": (tied(node("Gemm", "C h", "y", transB=1), C=W.T), "Gemm transA"),
    "equal": (tied(node("MatMul", "h C", "y"), C=W), "one initializer"),
    "matmul": (tied(node("MatMul", "h C", "y"), C=W.T), "MatMul → Gemm transB"),
    "matmul from the left": (
        tied(node("Transpose", "h", "u"), node("MatMul", "C u", "v"), node("Transpose", "v", "y"), C=W.T),
        "MatMul → Gemm transA",
    ),
    "both inputs": (tied(node("MatMul", "C C", "v"), node("MatMul", "h v", "y"), C=W.T), "MatMul → Gemm transA; Gemm transB"),
    "matmul and bias": (tied(node("MatMul", "h C", "u"), node("Add", "u B", "y"), C=W.T, B=B), "MatMul + Add → Gemm transB"),
    "bias first": (tied(node("MatMul", "h C", "u"), node("Add", "B u", "y"), C=W.T, B=B), "MatMul + Add → Gemm transB"),
    "bias that widens": (
        tied(node("MatMul", "h C", "u"), node("Add", "u B", "y"), C=W.T, B=weights(3, 1, 24)),
        "MatMul → Gemm transB",
    ),
    "bias that adds rows": (
        tied(node("MatMul", "h C", "u"), node("Add", "u R", "y"), C=W.T, R=weights(5, 24), inputs={"x": (1, 24)}),
        "MatMul → Gemm transB",
    ),
    "product is an output": (
        tied(node("MatMul", "h C", "u"), node("Add", "u B", "y"), C=W.T, B=B, outputs={"u": None, "y": None}),
        "MatMul → Gemm transB",
    ),
    "opset 9 and bias": (
        tied(node("MatMul", "h C", "u"), node("Add", "u B", "y"), C=W.T, B=B, opset=9),
        "MatMul + Add → Gemm transB",
    ),
    "opset 9": (tied(node("MatMul", "h C", "y"), C=W.T, opset=9), FOLDED),
    "rank 3": (tied(node("MatMul", "h C", "y"), C=W.T, inputs={"x": ("batch", 3, 24)}), FOLDED),
    "identity": (
        tied(node("Identity", "C", "D"), node("MatMul", "h D", "y"), C=W.T),
        "Identity of its own, MatMul → Gemm transB",
    ),
    "transpose goes": (tied(node("Transpose", "C", "D"), node("MatMul", "h D", "y"), C=W.T), "its own Transpose"),
    "transpose is an output": (
        tied(node("Transpose", "C", "D"), node("MatMul", "h D", "y"), C=W.T, outputs={"y": None, "D": None}),
        "its own Transpose",
    ),
    "transpose of more axes": (
        tied(
            node("Transpose", "C", "D", perm=[1, 2, 0]),
            node("Add", "K D", "v"),
            node("MatMul", "h W", "y"),
            K=weights(4, 6, 5),
            C=weights(4, 6, 5).transpose(2, 0, 1),
            outputs={"y": None, "v": None},
        ),
        "its own Transpose",
    ),
    "permuted": (
        tied(
            node("Mul", "K K", "u"),
            node("Neg", "C", "v"),
            node("MatMul", "h W", "y"),
            K=weights(4, 6, 5),
            C=weights(4, 6, 5).transpose(2, 0, 1),
            outputs={"y": None, "u": None, "v": None},
        ),
        FOLDED,
    ),
    "reshaped": (
        tied(node("Neg", "F", "v"), node("MatMul", "h W", "y"), F=W.reshape(6, 96), outputs={"y": None, "v": None}),
        "Reshape of the original",
    ),
    "turned and reshaped": (
        tied(node("Neg", "F", "v"), node("MatMul", "h W", "y"), F=W.T.reshape(24, 24, 1, 1), outputs={"y": None, "v": None}),
        FOLDED,
    ),
    "an output": (tied(node("MatMul", "h C", "y"), C=W, outputs={"y": None, "C": (24, 24)}), "one initializer; an output"),
    "a transposed output": (
        tied(node("MatMul", "h W", "y"), C=W.T, outputs={"y": None, "C": (24, 24)}),
        "MatMul → Gemm transB",
    ),
    "an output of a rigid one": (
        tied(node("Neg", "W", "v"), node("MatMul", "h W", "y"), C=W.T, outputs={"y": None, "v": None, "C": (24, 24)}),
        "an output of the graph: Identity of the original",
    ),
    "nothing reads it": (tied(node("MatMul", "h W", "y"), C=W.T), "nothing reads it"),
    "not a kernel": (
        tied(node("Add", "h A", "u"), node("Mul", "u D", "y"), A=W[:5], D=W[:5], inputs={"x": (5, 24)}),
        "one initializer",
    ),
    "fused": (
        tied(helper.make_node("FusedMatMul", ["h", "C"], ["y"], domain="com.microsoft"), C=W.T, outputs={"y": ("batch", 24)}),
        "FusedMatMul transB",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_ways_to_read_the_original(case, tmp_path):
    built, how = CASES[case]
    shared, source, out = share(tmp_path, built)
    assert not shared.kept and not copies(read_onnx(out))
    (merged,) = shared.merged
    assert merged.how.startswith(how)
    assert merged.saved > 0 and merged.steps == 0
    require_same(source, out)


@pytest.mark.parametrize(
    ("dtype", "how"),
    [(np.float64, "MatMul → Gemm transB"), (np.float16, "MatMul → Gemm transB"), (np.int64, FOLDED), (np.int32, FOLDED)],
)
def test_element_types(dtype, how, tmp_path):
    values = weights(24, 24, dtype=dtype)
    nodes = [node("MatMul", "x W", "h"), node("MatMul", "h C", "y")]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shared, source, out = share(tmp_path, model(graph(nodes, {"W": values, "C": values.T}, element=element)))
    assert shared.merged[0].how.startswith(how)
    require_same(source, out)


def quantized(*nodes, ends=None, **constants):
    """x → uint8 `q` → `h` through the int8 kernel Q, → the other nodes with `p`, h in uint8."""
    first = [
        *qdq("x", "s z", "q", "xq"),
        node("DequantizeLinear", "Q t n", "Qd"),
        node("Gemm", "xq Qd", "h"),
        *qdq("h", "r z", "p", "hq"),
    ]
    parameters = {"s": np.float32(0.02), "z": np.uint8(128), "t": np.float32(0.01), "n": np.int8(0), "r": np.float32(0.1)}
    return model(graph([*first, *nodes], {"Q": Q} | parameters | constants, outputs=ends or {"y": None}))


Q = weights(24, 12, dtype=np.int8)
LAST = qdq("u", "r z", "w", "y")
MATMUL = helper.make_node("QLinearMatMul", ["p", "r", "z", "C", "t", "n", "r", "z"], ["w"])
QGEMM = helper.make_node("QGemm", ["p", "r", "z", "C", "t", "n", "", "r", "z"], ["w"], domain="com.microsoft")
QUANTIZED = {
    "gemm": (
        quantized(node("DequantizeLinear", "C t n", "Cd"), node("Gemm", "hq Cd", "u", transB=1), *LAST, C=Q),
        "one initializer",
        ["QGemm", "QGemm"],
    ),
    "gemm transposed": (
        quantized(node("DequantizeLinear", "C t n", "Cd"), node("Gemm", "hq Cd", "u"), *LAST, C=Q.T),
        "DequantizeLinear of its own, Gemm transB",
        ["QGemm", "QGemm"],
    ),
    "matmul transposed": (
        quantized(node("DequantizeLinear", "C t n", "Cd"), node("MatMul", "hq Cd", "u"), *LAST, C=Q.T),
        "DequantizeLinear of its own, MatMul → Gemm transB",
        ["QGemm", "QGemm"],
    ),
    "another scale": (
        quantized(node("DequantizeLinear", "C k n", "Cd"), node("Gemm", "hq Cd", "u"), *LAST, C=Q.T, k=np.float32(0.02)),
        "DequantizeLinear of its own, Gemm transB",
        ["QGemm", "QGemm"],
    ),
    "per channel": (
        quantized(
            node("DequantizeLinear", "C k m", "Cd", axis=1),
            node("Gemm", "hq Cd", "u"),
            *LAST,
            C=Q.T,
            k=np.linspace(0.01, 0.02, 24, dtype=np.float32),
            m=np.zeros(24, np.int8),
        ),
        "DequantizeLinear of its own, Gemm transB",
        ["QGemm", "QGemm"],
    ),
    "QLinearMatMul": (
        quantized(MATMUL, LAST[1], C=Q.T),
        "DequantizeLinear of its own, Gemm transB",
        ["QGemm", "QLinearMatMul"],
    ),
    "QGemm": (quantized(QGEMM, LAST[1], C=Q.T, ends={"y": ("batch", 24)}), "QGemm transB", ["QGemm", "QGemm"]),
}


@pytest.mark.parametrize("case", QUANTIZED)
def test_integer_kernels_stay_fused(case, tmp_path):
    built, how, fused = QUANTIZED[case]
    shared, source, out = share(tmp_path, built)
    (merged,) = shared.merged
    assert merged.how.startswith(how)
    assert [each for each in operations(out) if "Gemm" in each or "MatMul" in each] == fused
    require_same(source, out)


def test_integer_kernels_without_a_flag_are_turned_when_the_file_is_loaded(tmp_path):
    """QLinearMatMul of both orders: a Transpose that is gone once ONNX Runtime has loaded the file."""
    product = [helper.make_node("QLinearMatMul", f"{a} r z {b} t n r z".split(), [c]) for a, b, c in ("qQp", "pCw")]
    nodes = [node("QuantizeLinear", "x r z", "q"), *product, LAST[1]]
    parameters = {"r": np.float32(0.1), "z": np.uint8(128), "t": np.float32(0.01), "n": np.int8(0)}
    shared, source, out = share(tmp_path, model(graph(nodes, {"Q": Q, "C": Q.T} | parameters)))
    assert shared.merged[0].how.startswith(FOLDED)
    assert "Transpose" not in operations(out)
    require_same(source, out)
