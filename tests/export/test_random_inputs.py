"""Random inputs fit their input, and within what the graph says of them."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from tiedae.base.errors import FormatError
from tiedae.export.model_file import TensorInfo
from tiedae.export.onnx.reader import read_onnx
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.random_inputs import Draw, Ranges, drawn, onnx_ranges, tflite_ranges
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import Op

from ..dedupe.onnx_models import graph, node
from ..dedupe.tflite_files import File, schema


def test_what_reads_a_table_gets_indices_of_its_rows():
    file = File()
    graph = file.graph("embed")
    ids, x = graph.tensor("ids", (-1,), "int32"), graph.tensor("x", (-1, 4))
    row, q = graph.tensor("row", (-1, 4)), graph.tensor("q", (-1, 4), "int8", 0.5, -28)
    graph.add(Op.GATHER, [graph.constant("table", np.zeros((5, 4), np.float32)), ids], [row], schema.GatherOptionsT())
    graph.add(Op.QUANTIZE, [x], [q])
    graph.set_io([ids, x], [row, q])
    data = file.data()
    ranges = tflite_ranges(data)
    assert ranges == Ranges(5, {("embed", "x"): (-50.0, 77.5)})
    (signature,) = read_tflite(data).signatures
    indices, floats = (drawn(tensor, ranges, "embed", (3, 4), 0).values for tensor in signature.inputs)
    assert 0 <= indices.min() < indices.max() < 5
    assert floats.min() >= -50 and floats.max() > 1


def test_ranges_of_an_onnx_file(tmp_path, make_program):
    program = make_program()
    path = tmp_path / "file.onnx"
    path.write_bytes(to_onnx(program, io="float32"))
    contents = read_onnx(path)
    (low, high) = onnx_ranges(path, contents).floats[contents.signatures[0].name, "x"]
    assert (low, high) == (0.0, pytest.approx(1.0))


TENSORS = {
    "uint8": (TensorInfo("p", "uint8", (None, 200)), 0, 255),
    "int8": (TensorInfo("p", "int8", (None, 200)), -128, 127),
    "bool": (TensorInfo("p", "bool", (None, 200)), 0, 1),
    "int64": (TensorInfo("p", "int64", (None, 200)), 0, 6),
    "float32": (TensorInfo("p", "float32", (None, 200)), -1, 1),
    "scalar": (TensorInfo("p", "float32", ()), -1, 1),
}


@pytest.mark.parametrize(("tensor", "low", "high"), TENSORS.values(), ids=TENSORS)
def test_random_values_fit_their_input(tensor, low, high):
    shape = tuple(3 if length is None else length for length in tensor.shape)
    draw = drawn(tensor, Ranges(ids=7), "s", shape, 3)
    values = draw.values
    assert values.dtype == tensor.dtype and values.shape == shape
    assert low <= values.min() and values.max() <= high and (values.size == 1 or len(np.unique(values)) > 1)
    np.testing.assert_array_equal(draw.values, values)


def test_equal_ends_are_a_constant():
    assert Draw("int64", (), 16000, 16000, 0).values == 16000 and Draw("bool", (2,), 1, 1, 0).values.tolist() == [True, True]


@pytest.mark.parametrize("tensor", [TensorInfo("p", "resource", ()), TensorInfo("p", "float32", (1 << 30,))])
def test_inputs_without_random_values_are_refused(tensor):
    with pytest.raises(FormatError, match="no random values for the input p"):
        drawn(tensor, Ranges(), "s", tensor.shape, 0)


def test_a_scalar_takes_the_numbers_that_an_onnx_graph_compares_it_with(tmp_path):
    """Through Cast and Unsqueeze, also in a branch."""
    inner = graph([node("Less", "seen eight", "low")], {"eight": np.array([8])}, {}, {"low": None})
    nodes = [
        node("Cast", "sr", "wide", to=TensorProto.INT64),
        node("Unsqueeze", "wide axes", "seen"),
        node("Equal", "rate seen", "same"),
        node("Squeeze", "same axes", "yes"),
        node("If", "yes", "y", then_branch=inner, else_branch=inner),
    ]
    constants = {"axes": np.array([0]), "rate": np.array([16000])}
    made = graph(nodes, constants, {"sr": (), "x": ("batch", "time", 3)}, {"y": None}, TensorProto.INT32)
    path = tmp_path / "file.onnx"
    path.write_bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
    ranges = onnx_ranges(path, read_onnx(path))
    assert ranges.numbers == {("main", "sr"): (16000, 8, 16001, 9, 7)}


def test_nodes_without_their_inputs_or_outputs_imply_nothing(tmp_path):
    nodes = [node("QuantizeLinear", "", "q"), node("Cast", "x", "", to=1), node("Less", "x", "l"), node("Equal", "x c c", "y")]
    path = tmp_path / "file.onnx"
    path.write_bytes(helper.make_model(graph(nodes, {"c": np.array([3])}, {"x": ()})).SerializeToString())
    assert onnx_ranges(path, read_onnx(path)) == Ranges()


def test_operators_without_their_inputs_or_outputs_imply_nothing():
    file = File()
    graph = file.graph("main")
    graph.table.name = b"\xff"
    x = graph.tensor("x", (1, 4))
    for code, inputs in ((Op.EMBEDDING_LOOKUP, [x]), (Op.GATHER, []), (Op.QUANTIZE, [x]), (Op.CAST, [x]), (Op.CAST, [])):
        graph.add(code, inputs, [])
    graph.set_io([x], [x])
    assert tflite_ranges(file.data()) == Ranges()


def test_a_scalar_takes_the_numbers_that_a_tflite_graph_compares_it_with():
    file = File()
    graph = file.graph("main")
    sr, shaped, y = (
        graph.tensor("sr", (1,), "int32"),
        graph.tensor("shaped", (1, 1), "int32"),
        graph.tensor("y", (1, 1), "bool"),
    )
    graph.add(Op.RESHAPE, [sr, graph.constant("shape", np.array([1, 1], np.int32))], [shaped])
    graph.add(Op.EQUAL, [graph.constant("rate", np.array([16000], np.int32)), shaped], [y])
    graph.set_io([sr], [y])
    assert tflite_ranges(file.data()).numbers == {("main", "sr"): (16000, 16001)}
