"""Random inputs fit their input, and within what the graph says of them."""

import numpy as np
import pytest
from tiedae.compress.errors import FormatError
from tiedae.export.formats.model_file import Contents, Signature, TensorInfo
from tiedae.export.formats.onnx_reader import read_onnx
from tiedae.export.formats.onnx_writer import to_onnx
from tiedae.export.formats.random_inputs import BATCHES, Ranges, onnx_ranges, random_inputs, tflite_ranges
from tiedae.export.formats.tflite_reader import read_tflite
from tiedae.export.formats.tflite_schema import Op

from ..deduplicate.tflite_files import File, schema


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
    inputs = [each for _, each in random_inputs(read_tflite(data), ranges, 0)]
    assert [each["ids"].shape for each in inputs] == [(1,), (3,)]
    assert all(each["ids"].max() < 5 and each["ids"].min() >= 0 for each in inputs)
    assert all(each["x"].min() >= -50 and each["x"].max() > 1 for each in inputs)


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
def test_random_inputs_fit_their_input(tensor, low, high):
    contents = Contents("tflite", 0, (), (Signature("s", (tensor,), (), {}),))
    runs = random_inputs(contents, Ranges(ids=7), 3)
    for size, (signature, inputs) in zip(BATCHES, runs, strict=True):
        values = inputs["p"]
        assert signature == "s" and values.dtype == tensor.dtype
        assert values.shape == tuple(size if length is None else length for length in tensor.shape)
        assert low <= values.min() and values.max() <= high and (values.size == 1 or len(np.unique(values)) > 1)
    again = random_inputs(contents, Ranges(ids=7), 3)
    np.testing.assert_array_equal(again[0][1]["p"], runs[0][1]["p"])


@pytest.mark.parametrize(
    "tensor", [TensorInfo("p", "string", (1,)), TensorInfo("p", "resource", ()), TensorInfo("p", "float32", (1 << 30,))]
)
def test_inputs_without_random_values_are_refused(tensor):
    with pytest.raises(FormatError, match="no random values for the input p"):
        random_inputs(Contents("tflite", 0, (), (Signature("s", (tensor,), (), {}),)), Ranges(), 0)
