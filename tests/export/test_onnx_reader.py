"""What an .onnx file holds: every constant, its storage and quantization; damaged files are FormatErrors."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiedae.compress.errors import FormatError
from tiedae.export.contents import Contents, Port
from tiedae.export.onnx_reader import read_onnx
from tiedae.export.onnx_writer import to_onnx, to_onnx_pair
from tiedae.export.program import Quantization, Tensor

from ..conftest import build_program


def read(folder: Path, data: bytes) -> Contents:
    path = folder / "file.onnx"
    path.write_bytes(data)
    return read_onnx(path)


def write_pair(folder: Path, program) -> tuple[Path, Path, Path]:
    paths = folder / "encoder.onnx", folder / "decoder.onnx", folder / "kernels.bin"
    for path, data in zip(paths, to_onnx_pair(program, kernels_file="kernels.bin"), strict=True):
        path.write_bytes(data)
    return paths


@pytest.mark.parametrize("options", [{}, {"granularity": "unit"}, {"quantized": False}])
def test_our_file_gives_back_the_program(options, tmp_path):
    program = build_program(**options)
    data = to_onnx(program)
    contents = read(tmp_path, data)
    assert (contents.format, contents.size) == ("onnx", len(data))
    assert contents.details == {"opset": "17", "ir_version": "8", "producer": "tiedae 0.1.0"}
    for name, kernel in program.kernels.items():
        views = [constant for constant in contents.constants if constant.name == name]
        assert {view.storage for view in views} == {name}
        for view in views:
            np.testing.assert_array_equal(view.values, program.constants[name].T)
        assert {(view.scales, view.zero_points, view.axis) for view in views} == (
            {(kernel.scales, (0,) * len(kernel.scales), 0), ((kernel.decode_scale,), (0,), 0)}
            if program.quantized
            else {((), (), 0)}
        )
    for name, values in program.constants.items():
        if name not in program.kernels:
            (constant,) = [constant for constant in contents.constants if constant.name == name]
            np.testing.assert_array_equal(constant.values, values)
            assert not constant.values.flags.writeable


def test_ports_and_operations(tmp_path):
    program = build_program(output_activation="tanh", byte_data=False)
    (signature,) = read(tmp_path, to_onnx(program, io="int8")).signatures
    x, code, y = (program.tensors[name].quantization for name in ("x", "code", "y"))
    assert signature.name == "reconstruct"
    assert signature.inputs == (Port("x", "int8", (None, 20), x.scale, x.zero_point - 128),)
    assert signature.outputs == (
        Port("code", "uint8", (None, 5), code.scale, code.zero_point),
        Port("y", "int8", (None, 20), y.scale, y.zero_point - 128),
    )
    assert signature.operations["Gemm"] == 4
    assert signature.operations["Tanh"] == 1
    (signature,) = read(tmp_path, to_onnx(program, signature="decode")).signatures
    assert signature.inputs == (Port("code", "uint8", (None, 5), code.scale, code.zero_point),)
    assert signature.outputs == (Port("y", "float32", (None, 20)),)


def test_a_clipped_output_has_the_quantization_of_what_is_clipped(tmp_path):
    program = build_program(activations=("relu", "relu"))
    tensors = {**program.tensors, "code": Tensor("code", 5, Quantization(1 / 64, 30))}
    data = to_onnx(dataclasses.replace(program, tensors=tensors), signature="encode")
    (signature,) = read(tmp_path, data).signatures
    assert signature.operations["Clip"] == 1
    assert signature.outputs == (Port("code", "uint8", (None, 5), 1 / 64, 30),)


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
            assert isinstance(view.values, np.memmap)
            np.testing.assert_array_equal(view.values, program.constants[name].T)
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
    weights = contents.constants[0]
    assert (weights.scales, weights.zero_points, weights.axis) == ((1.0, 2.0, 3.0), (0, -4, 5), 1)
    assert contents.signatures[0].operations == {
        "If": 1, "own.Shift": 1, "DequantizeLinear": 1, "Constant": 3, "Add": 2,
    }  # fmt: skip
    assert contents.details["opset"] == "17, own 1"


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
