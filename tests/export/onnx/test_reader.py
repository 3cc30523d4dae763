"""What an .onnx file holds: every constant, its storage and quantization; damaged files are FormatErrors."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tiedae.base.errors import FormatError
from tiedae.compress.affine import Quantization
from tiedae.export.model_file import Contents, TensorInfo
from tiedae.export.onnx.reader import read_onnx
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.program.program import Tensor

from ...conftest import build_program
from .test_wire import is_mapped


def read(folder: Path, data: bytes) -> Contents:
    path = folder / "file.onnx"
    path.write_bytes(data)
    return read_onnx(path)


def write_pair(folder: Path, program) -> tuple[Path, Path, Path]:
    paths = folder / "encoder.onnx", folder / "decoder.onnx", folder / "kernels.bin"
    for path, data in zip(paths, to_onnx_pair(program, kernels_file="kernels.bin"), strict=True):
        path.write_bytes(data)
    return paths


@pytest.mark.filterwarnings("ignore:.*pairs of neighbours add to more than 128:UserWarning")
@pytest.mark.parametrize("options", [{}, {"granularity": "unit"}, {"pairs": False}, {"quantized": False}])
def test_our_file_gives_back_the_program(options, tmp_path):
    program = build_program(**options)
    data = to_onnx(program)
    contents = read(tmp_path, data)
    assert (contents.format, contents.size) == ("onnx", len(data))
    assert contents.details == {"opset": "17", "ir_version": "8", "producer": "tiedae 0.1.0"}
    for name, kernel in program.kernels.items():
        zero, dtype = (128, np.uint8) if name in program.exceeding_pairs else (0, np.int8)
        views = [constant for constant in contents.constants if constant.name == name]
        assert {view.storage for view in views} == {name}
        for view in views:
            np.testing.assert_array_equal(view.integers, program.constants[name].T)
            assert view.values.dtype == (dtype if program.quantized else np.float32)
        assert {(view.scales, view.zero_points, view.axis) for view in views} == (
            {(kernel.scales, (zero,) * len(kernel.scales), 0), (kernel.decode_scales, (zero,), 0)}
            if program.quantized
            else {((), (), 0)}
        )
    for name, values in program.constants.items():
        if name not in program.kernels:
            (constant,) = [constant for constant in contents.constants if constant.name == name]
            np.testing.assert_array_equal(constant.values, values)
            assert not constant.values.flags.writeable


def test_inputs_outputs_and_operations(tmp_path):
    program = build_program(output_activation="tanh", byte_data=False)
    (signature,) = read(tmp_path, to_onnx(program, io="int8")).signatures
    x, code, y = (program.tensors[name].quantization for name in ("x", "code", "y"))
    assert signature.name == "reconstruct"
    assert signature.inputs == (TensorInfo("x", "int8", (None, 20), x.scale, x.zero_point - 128),)
    assert signature.outputs == (
        TensorInfo("code", "uint8", (None, 5), code.scale, code.zero_point),
        TensorInfo("y", "int8", (None, 20), y.scale, y.zero_point - 128),
    )
    assert signature.operations["Gemm"] == 4
    assert signature.operations["Tanh"] == 1
    (signature,) = read(tmp_path, to_onnx(program, signature="decode")).signatures
    assert signature.inputs == (TensorInfo("code", "uint8", (None, 5), code.scale, code.zero_point),)
    assert signature.outputs == (TensorInfo("y", "float32", (None, 20)),)


def test_a_clipped_output_has_the_quantization_of_what_is_clipped(tmp_path):
    program = build_program(activations=("relu", "relu"))
    tensors = {**program.tensors, "code": Tensor("code", (5,), Quantization(1 / 64, 30))}
    data = to_onnx(dataclasses.replace(program, tensors=tensors), signature="encode")
    (signature,) = read(tmp_path, data).signatures
    assert signature.operations["Clip"] == 1
    assert signature.outputs == (TensorInfo("code", "uint8", (None, 5), 1 / 64, 30),)


@pytest.mark.parametrize("quantized", [True, False])
def test_two_models_over_one_file_have_the_same_storage(quantized, tmp_path):
    program = build_program(quantized=quantized)
    *paths, kernels = write_pair(tmp_path, program)
    found = []
    for path in paths:
        contents = read_onnx(path)
        assert contents.size == path.stat().st_size + kernels.stat().st_size
        views = {constant.name: constant for constant in contents.constants if constant.name in program.kernels}
        for name, view in views.items():
            assert is_mapped(view.values)
            np.testing.assert_array_equal(view.integers, program.constants[name].T)
        found.append({name: view.storage for name, view in views.items()})
    assert found[0] == found[1] == {"kernel_0": "kernels.bin:0", "kernel_1": "kernels.bin:4096"}


def nested_model() -> bytes:
    """Constants in every place where ONNX allows them: graph, nested graph, function, Constant nodes, sparse."""

    def constant(name, **value):
        return helper.make_node("Constant", [], [name], **value)

    weights = np.arange(6, dtype=np.int8).reshape(2, 3)
    inner = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["real"], axis=-1),
            constant("more", value=numpy_helper.from_array(np.array([7, 8, 9], np.float32))),
            helper.make_node("Add", ["real", "more"], ["sum"]),
        ],
        "then",
        [],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.array([1, 2, 3], np.float32), "scales")],
    )
    otherwise = helper.make_graph(
        [constant("none", value_floats=[1.5, 2.5])],
        "else",
        [],
        [helper.make_tensor_value_info("none", TensorProto.FLOAT, None)],
    )
    function = helper.make_function(
        "own", "Shift", ["a"], ["b"], [constant("by", value_float=3.5), helper.make_node("Add", ["a", "by"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([5, 6], np.float32), "few"), numpy_helper.from_array(np.array([1, 8], np.int64)), [10]
    )
    graph = helper.make_graph(
        [
            helper.make_node("If", ["c"], ["z"], name="choice", then_branch=inner, else_branch=otherwise),
            helper.make_node("Shift", ["z"], ["y"], domain="own"),
        ],
        "outer",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([0, -4, 5], np.int8), "zeros")],
        sparse_initializer=[sparse],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8).SerializeToString()


def test_constants_are_found_wherever_they_hide(tmp_path):
    contents = read(tmp_path, nested_model())
    values = {constant.name: constant.values.tolist() for constant in contents.constants}
    assert values == {
        "weights": [[0, 1, 2], [3, 4, 5]],
        "zeros": [0, -4, 5],
        "few": [5.0, 6.0],
        "few.indices": [1, 8],
        "choice/then_branch/scales": [1.0, 2.0, 3.0],
        "choice/then_branch/more": [7.0, 8.0, 9.0],
        "choice/else_branch/none": [1.5, 2.5],
        "own.Shift/by": 3.5,
    }
    assert {each.name: each.encoded for each in contents.constants if each.encoded} == {"few": ("sparse float32", (10,))}
    weights = contents.constants[0]
    assert (weights.scales, weights.zero_points, weights.axis) == ((1.0, 2.0, 3.0), (0, -4, 5), 1)
    assert contents.signatures[0].operations == {
        "If": 1, "own.Shift": 1, "DequantizeLinear": 1, "Constant": 3, "Add": 2,
    }  # fmt: skip
    assert contents.details["opset"] == "17, own 1"


def test_free_dimensions_keep_their_names_and_metadata_are_read(tmp_path):
    model = onnx.load_from_string(to_onnx(build_program((12, 6, 3))))
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", None, 4]))
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4, "frames"]))
    model.doc_string, model.model_version, model.domain = "what it does", 3, "com.example"
    helper.set_model_props(model, {"sample_rate": "16000"})
    contents = read(tmp_path, model.SerializeToString())
    (signature,) = contents.signatures
    assert [each.dimensions for each in (*signature.inputs, *signature.outputs)] == [("n", "?", 4), ("batch", 4, "frames")]
    assert signature.inputs[0].shape == (None, None, 4)
    stated = {"domain": "com.example", "model_version": "3", "doc_string": "what it does", "sample_rate": "16000"}
    assert contents.metadata == stated


def test_packed_integers_are_unpacked(tmp_path):
    packed = helper.make_tensor("w", TensorProto.INT4, [5], np.array([0x21, 0x43, 0x0F], np.uint8).tobytes(), raw=True)
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["w", "s"], ["y"])],
        "packed",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5])],
        [packed, numpy_helper.from_array(np.array(0.5, np.float32), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    weights = read(tmp_path, model.SerializeToString()).constants[0]
    assert weights.values.astype(int).tolist() == [1, 2, 3, 4, -1]
    assert (weights.scales, weights.zero_points) == ((0.5,), (0,))
    tensor = model.graph.initializer[0]
    (tmp_path / "w.bin").write_bytes(b"\0" * 7 + tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "7"), ("length", "3")):
        tensor.external_data.add(key=key, value=value)
    external = read(tmp_path, model.SerializeToString()).constants[0]
    np.testing.assert_array_equal(external.values, weights.values)
    assert external.storage == "w.bin:7"


OURS = to_onnx(build_program((6, 4, 2)))


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, len(OURS) - 1))
def test_a_truncated_file_is_a_format_error(length, tmp_path_factory):
    with pytest.raises(FormatError, match=r"file\.onnx: .*(empty|truncated)"):
        read(tmp_path_factory.mktemp("cut"), OURS[:length])


@settings(max_examples=100, deadline=None)
@given(changes=st.dictionaries(st.integers(0, len(OURS) - 1), st.integers(0, 255), min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_is_a_format_error(changes, tmp_path_factory):
    data = bytearray(OURS)
    for position, value in changes.items():
        data[position] = value
    try:
        read(tmp_path_factory.mktemp("flip"), bytes(data))
    except FormatError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "data", [b"hello, this is a text", b"\x1c\0\0\0TFL3" + bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(50), bytes(64)]
)
def test_a_foreign_file_is_a_format_error(data, tmp_path):
    with pytest.raises(FormatError, match=r"file\.onnx: not an ONNX file, or a truncated one"):
        read(tmp_path, data)


def test_a_missing_file_is_a_format_error(tmp_path):
    with pytest.raises(FormatError, match=r"none\.onnx: no such file"):
        read_onnx(tmp_path / "none.onnx")
    with pytest.raises(FormatError, match="no such file"):
        read_onnx(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("location", "gone.bin", "'gone.bin' is missing in"),
        ("location", "../kernels.bin", "'../kernels.bin' must lie in the file's folder"),
        ("location", "/etc/hostname", "'/etc/hostname' must lie in the file's folder"),
        ("location", "", "'' must lie in the file's folder"),
        ("location", ".", "'.' is missing in"),
        ("offset", "4000", "bytes 4000 to 4240 are needed, 'kernels.bin' ends at 4156"),
        ("offset", "-1", "offset '-1' must be a number of bytes"),
        ("offset", "many", "offset 'many' must be a number of bytes"),
        ("length", "239", r"239 bytes are given, \[12, 20\] values of int8 are expected"),
    ],
)
def test_wrong_external_data_is_a_format_error(key, value, text, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (tmp_path / "kernels.bin").write_bytes(bytes(9999))
    path, _, _ = write_pair(folder, build_program())
    model = onnx.load(path, load_external_data=False)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "kernel_0")
    next(entry for entry in tensor.external_data if entry.key == key).value = value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match=f"encoder.onnx: external data of 'kernel_0': {text}"):
        read_onnx(path)


def test_a_second_constant_of_the_same_name_does_not_hide(tmp_path):
    model = onnx.load_from_string(OURS)
    model.graph.initializer.append(model.graph.initializer[0])
    with pytest.raises(FormatError, match="two constants have the name 'kernel_0'"):
        read(tmp_path, model.SerializeToString())


def one_tensor(tensor: TensorProto, nodes=(), functions=()) -> bytes:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "g", [], [value], [tensor] if tensor else [])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=10).SerializeToString()


def outside(location: str, dims=(4,), data_type=TensorProto.INT8, **entries: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=data_type, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (outside("link.bin"), "external data of 'w': 'link.bin' must lie in the file's folder"),
        (outside("circle.bin"), "external data of 'w': 'circle.bin' is missing"),
        (outside("folder/../../outer.bin"), "'folder/../../outer.bin' must lie in the file's folder"),
        (outside("pipe"), "external data of 'w': 'pipe' is missing"),
        (outside("n" * 300), "is missing"),
        (outside("w.bin", dims=(9,)), r"8 bytes are given, \[9\] values of int8 are expected"),
        (outside("w.bin", dims=(17,), data_type=TensorProto.INT4), r"8 bytes are given, \[17\] values of int4 are expected"),
        (outside("w.bin", dims=(1,), data_type=TensorProto.STRING), "external data of 'w': strings cannot be external"),
        (outside("w.bin", dims=(1,) * 40, length="1"), "constant 'w' is damaged: its shape is"),
        (outside("w.bin", dims=(2**62, 2**62)), "8 bytes are given"),
        (outside("w.bin", dims=(-8,)), "constant 'w' is damaged: its shape is"),
        (TensorProto(name="w", data_type=TensorProto.INT8, dims=(2**40, 2**40), raw_data=b"12"), "constant 'w' is damaged"),
        (TensorProto(name="w", data_type=TensorProto.INT8, dims=(1,) * 99, raw_data=b"1"), "'w' is damaged: its shape"),
        (TensorProto(name="w", data_type=77, dims=(1,), raw_data=b"1"), "unknown element type 77"),
        (TensorProto(name="w", data_type=TensorProto.UNDEFINED, dims=(1,), raw_data=b"1"), "unknown element type 0"),
        (TensorProto(data_type=TensorProto.INT8, dims=(1,), raw_data=b"1"), "damaged: a constant of the graph has no name"),
    ],
    ids=[
        "symlink out", "symlink circle", "dots", "pipe", "long name", "short", "short int4", "strings", "axes", "huge",
        "negative", "huge inline", "axes inline", "unknown type", "no type", "no name",
    ],
)  # fmt: skip
def test_damaged_constants_are_format_errors(tensor, text, tmp_path):
    folder = tmp_path / "bundle"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "outer.bin").write_bytes(bytes(8))
    (folder / "w.bin").write_bytes(bytes(8))
    (folder / "link.bin").symlink_to(tmp_path / "outer.bin")
    (folder / "circle.bin").symlink_to(folder / "circle.bin")
    os.mkfifo(folder / "pipe")
    with pytest.raises(FormatError, match=text) as caught:
        read(folder, one_tensor(tensor))
    assert "\n" not in str(caught.value)


def test_no_tensor_reads_the_bytes_of_another(tmp_path):
    """Whatever a file names the place of its data."""
    made = onnx.load_from_string(one_tensor(numpy_helper.from_array(np.arange(3000, dtype=np.float32), "large")))
    made.graph.initializer.append(outside("\0inside:0", dims=(3000,), data_type=TensorProto.FLOAT))
    with pytest.raises(FormatError, match="must lie in the file's folder"):
        read(tmp_path, made.SerializeToString())


def test_a_symbolic_link_within_the_folder_is_followed(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"1234")
    (tmp_path / "link.bin").symlink_to("w.bin")
    (constant,) = read(tmp_path, one_tensor(outside("link.bin"))).constants
    assert constant.values.tolist() == [49, 50, 51, 52]


def nested_deeply(depth: int) -> bytes:
    """Graphs in attributes of nodes of graphs, as bytes: the protobuf library does not build what it would not read."""
    graph = b""
    for _ in range(depth):
        for tag, more in (
            (0x32, b"\xa0\x01\x05"),
            (0x2A, b"\x22\x02If"),
            (0x0A, b""),
        ):  # attribute.g, node.attribute, graph.node
            graph = bytes([tag]) + varint(len(graph)) + graph + more
    graph += helper.make_graph([], "g", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]).SerializeToString()
    rest = helper.make_model(helper.make_graph([], "", [], []))
    rest.ClearField("graph")
    return rest.SerializeToString() + b"\x3a" + varint(len(graph)) + graph


def varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


WEIGHT = numpy_helper.from_array(np.zeros(4, np.float32), "w")
CYCLE = [helper.make_node("Identity", ["b"], ["y"]), helper.make_node("Identity", ["y"], ["b"])]
SELF = helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("F", ["a"], ["b"], domain="own")], [])


@pytest.mark.parametrize(
    ("data", "operations"),
    [
        (one_tensor(WEIGHT, CYCLE), {"Identity": 2}),
        (one_tensor(WEIGHT, [helper.make_node("Identity", ["y"], ["y"])]), {"Identity": 1}),
        (one_tensor(WEIGHT, [helper.make_node("Identity", [], ["y"])]), {"Identity": 1}),
        (one_tensor(WEIGHT, [helper.make_node("F", ["w"], ["y"], domain="own")], [SELF]), {"own.F": 2}),
        (nested_deeply(20), {"If": 20}),
    ],
    ids=["two nodes", "itself", "no input", "function in itself", "nested"],
)
def test_graphs_in_a_circle_end(data, operations, tmp_path):
    assert read(tmp_path, data).signatures[0].operations == operations


@pytest.mark.parametrize("what", ["input", "output"])
def test_two_inputs_or_outputs_of_one_name_are_a_format_error(what, tmp_path):
    made = onnx.load_from_string(one_tensor(WEIGHT))
    getattr(made.graph, what).extend([helper.make_tensor_value_info("v", TensorProto.FLOAT, [4])] * 2)
    with pytest.raises(FormatError, match=f"damaged: two {what}s have the name 'v'"):
        read(tmp_path, made.SerializeToString())


@pytest.mark.parametrize("outputs", [(["p"], []), (["p", "q"], ["f"]), ([], ["f"])])
def test_a_product_without_its_output_has_no_scales(outputs, tmp_path):
    product, cast = outputs
    nodes = [
        helper.make_node("MatMulInteger", ["x", "w"], product),
        helper.make_node("Cast", ["p"], cast, to=1),
        helper.make_node("Mul", ["f", ""], ["y"]),
    ]
    (constant,) = read(tmp_path, one_tensor(WEIGHT, nodes)).constants
    assert constant.scales == ()


def test_a_graph_nested_too_deeply_is_a_format_error(tmp_path):
    with pytest.raises(FormatError, match="not an ONNX file, or a truncated one"):
        read(tmp_path, nested_deeply(200))


def test_names_that_are_not_text_are_format_errors(tmp_path):
    for name in (b"secret_w", b"secret_x", b"secret_node"):
        tensor = numpy_helper.from_array(np.zeros(4, np.float32), "secret_w")
        node = helper.make_node("Identity", ["secret_x"], ["y"], name="secret_node")
        data = one_tensor(tensor, [node])
        assert name in data
        with pytest.raises(FormatError, match=r"damaged: the name b.* is not text|not an ONNX file"):
            read(tmp_path, data.replace(name, name.replace(b"s", b"\xff", 1)))
    function = helper.make_function("own", "F", ["secret_a"], ["b"], [helper.make_node("Identity", ["secret_a"], ["b"])], [])
    data = one_tensor(WEIGHT, functions=[function])
    with pytest.raises(FormatError, match=r"damaged: the name b.* is not text|not an ONNX file"):
        read(tmp_path, data.replace(b"secret_a", b"\xffecret_a", 1))


def test_strings_and_packed_integers_count_their_bytes(tmp_path):
    words = helper.make_tensor("w", TensorProto.STRING, [2], [b"two", b"words"])
    (constant,) = read(tmp_path, one_tensor(words)).constants
    assert constant.nbytes == 8
    packed = helper.make_tensor("w", TensorProto.UINT4, [5], b"\x21\x43\x05", raw=True)
    (constant,) = read(tmp_path, one_tensor(packed)).constants
    assert constant.nbytes == 3 and constant.values.nbytes == 5
