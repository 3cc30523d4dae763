"""What constants are quantized with, where graphs lie, and how models are stored."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tiedae.base.errors import FormatError
from tiedae.config.tasks import ScoreKind
from tiedae.export.onnx.kernels import external_kernels, places
from tiedae.export.onnx.quantization import quantizations
from tiedae.export.onnx.reader import read_onnx
from tiedae.export.onnx.scopes import ReadScope, bodies
from tiedae.export.onnx.tensors import data_of
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.program.interpreter import execute

from ...conftest import build_program
from ...program.convolutions import random_program
from ...program.test_score_graph import detector_of

KERNEL, CUBE = np.ones((3, 3), np.int8), np.ones((2, 3, 3), np.int8)
SCALARS = {name: np.float32(value) for name, value in (("s", 0.5), ("t", 0.25))}
POINTS = {name: np.int8(value) for name, value in (("z", 3), ("p", -4))}
EACH = {"each": np.float32([0.5, 0.25, 0.125]), "points": np.int8([1, 2, 3])}


def microsoft(operation: str, inputs: Sequence[str], **attributes: int) -> NodeProto:
    return helper.make_node(operation, inputs, ["out"], domain="com.microsoft", **attributes)


def found_in(nodes: Sequence[NodeProto], constants: dict[str, np.ndarray], **annotated: tuple[str, str]) -> dict[str, list]:
    """The quantizations of each constant by its name."""
    stored = {name: (np.asarray(values), name) for name, values in constants.items()}
    scope = ReadScope("", nodes, stored, None, annotated=annotated)
    return {name: list(each) for (_, name), each in quantizations([scope]).items()}


ONE, OTHER, PER_UNIT = ((0.5,), (3,), 0), ((0.25,), (-4,), 0), ((0.5, 0.25, 0.125), (1, 2, 3))
PAIRS = ["a", "s", "z", "b", "t", "p"]
SCALED, AFTER = ["a", "each", "points"], ["x", "s", "z", "a", "each", "points"]
READ = {
    "an axis that is not stated": (
        helper.make_node("DequantizeLinear", SCALED, ["y"]),
        CUBE,
        {"a": (*PER_UNIT, 1)},
    ),
    "of a vector": (helper.make_node("DequantizeLinear", SCALED, ["y"]), CUBE[0, 0], {"a": (*PER_UNIT, 0)}),
    "the last axis": (
        helper.make_node("DequantizeLinear", SCALED, ["y"], axis=-1),
        CUBE,
        {"a": (*PER_UNIT, 2)},
    ),
    "QGemm": (microsoft("QGemm", AFTER), KERNEL, {"a": (*PER_UNIT, 1)}),
    "QGemm transposed": (microsoft("QGemm", AFTER, transB=1), KERNEL, {"a": (*PER_UNIT, 0)}),
    "QLinearConv": (
        helper.make_node("QLinearConv", AFTER, ["y"]),
        CUBE,
        {"a": (*PER_UNIT, 0)},
    ),
    "QLinearMatMul": (helper.make_node("QLinearMatMul", PAIRS, ["y"]), KERNEL, {"a": ONE, "b": OTHER}),
    "QLinearAdd": (microsoft("QLinearAdd", PAIRS), KERNEL, {"a": ONE, "b": OTHER}),
    "MatMulIntegerToFloat": (
        microsoft("MatMulIntegerToFloat", ["a", "b", "s", "t", "z", "p"]),
        KERNEL,
        {"a": ONE, "b": OTHER},
    ),
    "DynamicQuantizeMatMul": (microsoft("DynamicQuantizeMatMul", ["x", "a", "s", "z"]), KERNEL, {"a": ONE}),
}


@pytest.mark.parametrize(("node", "values", "expected"), READ.values(), ids=READ)
def test_each_operation_says_how_its_constants_are_quantized(node: NodeProto, values: np.ndarray, expected: dict) -> None:
    found = found_in([node], {"a": values, "b": values, **SCALARS, **POINTS, **EACH})
    assert found == {name: [steps] for name, steps in expected.items()}


@pytest.mark.parametrize("cast", [True, False])
def test_scales_of_an_integer_product_are_multiplied_later(cast: bool) -> None:
    """By the product of both scales; a Cast lies between."""
    nodes = [helper.make_node("MatMulInteger", ["x", "a", "", "z"], ["sum"]), helper.make_node("Mul", ["u", "s"], ["both"])]
    nodes += [helper.make_node("Cast", ["sum"], ["real"], to=1)] if cast else []
    nodes.append(helper.make_node("Mul", ["real" if cast else "sum", "both"], ["y"]))
    assert found_in(nodes, {"a": KERNEL, **SCALARS, **POINTS}) == {"a": [ONE]}
    nodes[-1] = helper.make_node("Add", ["real" if cast else "sum", "both"], ["y"])
    assert found_in(nodes, {"a": KERNEL, **SCALARS, **POINTS}) == {}


def test_an_annotation_without_a_zero_point_means_0() -> None:
    constants = {"a": KERNEL, **SCALARS, **POINTS, **EACH}
    assert found_in([], constants, a=("s", "")) == {"a": [((0.5,), (0,), 0)]}
    assert found_in([], constants, a=("s", "z")) == {"a": [ONE]}
    assert found_in([], constants, a=("each", "")) == {"a": [((0.5, 0.25, 0.125), (0, 0, 0), 1)]}


def nested(depth: int) -> onnx.GraphProto:
    """Graphs in graphs, two of one node at each depth."""
    nodes = []
    if depth:
        inside = {"then_branch": nested(depth - 1), "else_branch": nested(0)}
        nodes.append(helper.make_node("If", ["c"], ["y"], name=f"if{depth}", **inside))
    return helper.make_graph(nodes, f"depth {depth}", [], [])


def test_each_graph_names_the_place_of_its_parent() -> None:
    model = helper.make_model(nested(2))
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [], []))
    found = list(bodies(model))
    assert [(proto.name, parent) for proto, _, parent, _ in found] == [
        ("depth 2", None),
        ("depth 0", 0),
        ("depth 1", 0),
        ("depth 0", 2),
        ("depth 0", 2),
        ("F", None),
    ]
    assert len({prefix for _, prefix, _, _ in found}) == 6


@pytest.mark.parametrize("dtype", [np.int8, np.float32, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.bfloat16])
def test_the_data_of_values_are_those_of_onnx(dtype: type) -> None:
    values = np.arange(1, 8).astype(dtype)
    assert bytes(data_of(values)) == numpy_helper.from_array(values).raw_data


@pytest.mark.parametrize(("ir", "read"), [(2, True), (3, False), (8, False)])
def test_operator_sets_are_named_from_version_3_on(ir: int, read: bool, tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("y", 1, [1])
    model = helper.make_model(helper.make_graph([], "g", [], [value]), ir_version=ir)
    del model.opset_import[:]
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    if read:
        assert read_onnx(path).details["opset"] == ""
    else:
        with pytest.raises(FormatError, match="it names no operator set"):
            read_onnx(path)


@pytest.mark.parametrize(("offset", "text"), [("9" * 18, r"bytes 9+ to 1\d+ are"), ("9" * 19, "must be a number of bytes")])
def test_an_offset_has_at_most_18_digits(offset: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(8))
    tensor = TensorProto(name="a", data_type=TensorProto.INT8, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "a.bin"), ("offset", offset), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    value = helper.make_tensor_value_info("y", 1, [1])
    (tmp_path / "a.onnx").write_bytes(helper.make_model(helper.make_graph([], "g", [], [value], [tensor])).SerializeToString())
    with pytest.raises(FormatError, match=text):
        read_onnx(tmp_path / "a.onnx")


def test_kernels_begin_at_pages_of_4096_bytes() -> None:
    program = build_program((70, 60, 20, 5), ("relu", "relu", "linear"))
    found = list(places(program, "packed").values())
    lengths = [70 * 60, 60 * 20, 20 * 5]
    assert found == [(0, lengths[0]), (8192, lengths[1]), (12288, lengths[2])]
    data = external_kernels(program)
    assert len(data) == 12288 + lengths[2] and not any(data[lengths[0] : 8192])


def test_a_pair_has_the_operator_set_of_a_single_model() -> None:
    program = build_program()
    models = [onnx.load_from_string(each) for each in (to_onnx(program), *to_onnx_pair(program, kernels_file="k.bin")[:2])]
    assert [each.opset_import[0].version for each in models] == [17, 17, 17]


def test_patches_keep_the_dimension_of_the_batch() -> None:
    """Each shape that splits them has a 0 there: a −1 would leave it to be computed, of a batch that may be empty."""
    seen = 0
    for seed in range(12):
        program, _ = random_program(seed, tiles=True)
        model = onnx.load_from_string(to_onnx(program))
        shapes = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer if each.data_type == 7}
        turned = {
            node.input[0] for node in model.graph.node if node.op_type == "Transpose" and len(node.attribute[0].ints) == 5
        }
        splits = [node for node in model.graph.node if node.op_type == "Reshape" and node.output[0] in turned]
        assert all(shapes[node.input[1]][0] == 0 for node in splits)
        seen += len(splits)
    assert seen


@pytest.mark.parametrize("kind", ["mse", "mae", "max", "standardized"])
def test_a_sample_has_its_own_score_in_a_batch_of_any_size(kind: ScoreKind) -> None:
    """Of 7 values, which a mean takes as 9."""
    program = build_program((7, 5, 3), byte_data=False)
    data = to_onnx(program, signature="score", io="float32", detector=detector_of(kind, 7))
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (6, 7)).astype(np.float32)
    score, anomaly = map(np.asarray, session.run(["score", "anomaly"], {"x": x}))
    assert score.shape == anomaly.shape == (6,)
    for i, j in itertools.combinations(range(7), 2):
        np.testing.assert_array_equal(session.run(["score"], {"x": x[i:j]})[0], score[i:j])
    y = execute(program, "reconstruct", program.quantization("x").quantize(x))["y"]
    distances = np.abs(x - program.quantization("y").dequantize(y))
    right = {"mse": (distances**2).mean(1), "mae": distances.mean(1), "max": distances.max(1)}
    if kind in right:
        np.testing.assert_allclose(score, right[kind], rtol=1e-5)
