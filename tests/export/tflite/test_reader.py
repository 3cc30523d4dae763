"""Reading .tflite files: ours and the stock converter's in full; damaged ones with one clear line."""

import functools
import struct

import flatbuffers
import ml_dtypes
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import FormatError
from tiedae.export.model_file import TensorInfo
from tiedae.export.tflite import flatbuffer
from tiedae.export.tflite import reader as tflite_reader
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.writer import to_tflite

from .test_writer import PROGRAMS, split


@functools.cache
def small() -> bytes:
    return to_tflite(split(granularity="unit"))


def write(tensors: list[schema.TensorT], buffers: list[schema.BufferT], **fields) -> bytes:
    """A file of one subgraph that does nothing with its tensors."""
    graph = schema.SubGraphT(tensors=tensors, inputs=[], outputs=[], operators=[], name="main")
    model = schema.ModelT(version=3, subgraphs=[graph], buffers=[schema.BufferT(), *buffers], operatorCodes=[], **fields)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor(name: str, shape: tuple[int, ...], kind: int, buffer: int = 1, **fields) -> schema.TensorT:
    return schema.TensorT(name=name, shape=list(shape), type=kind, buffer=buffer, **fields)


def buffer(values: np.ndarray) -> schema.BufferT:
    return schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8))


def test_sparse_tensors_strings_and_metadata_are_called_what_they_are():
    sparse = tensor("s", (4, 6), schema.TensorType.FLOAT16, sparsity=schema.SparsityParametersT(traversalOrder=[0, 1]))
    entries = [schema.MetadataT(name="kind", buffer=3), schema.MetadataT(name="bytes", buffer=4)]
    buffers = [buffer(each) for each in (np.arange(3, dtype=np.float16), np.arange(9, dtype=np.uint8))]
    buffers += [schema.BufferT(data=list(data)) for data in (b"a sensor\0\0", b"\xff\0\1")]
    found = read_tflite(write([sparse, tensor("t", (2,), schema.TensorType.STRING, 2)], buffers, metadata=entries))
    assert [(each.name, each.encoded, each.nbytes) for each in found.constants] == [
        ("s", ("sparse float16", (4, 6)), 6),
        ("t", ("string", (2,)), 9),
    ]
    assert found.metadata == {"kind": "a sensor", "bytes": "3 bytes"}


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_ours_read_back(options):
    program = split(**options)
    data = to_tflite(program)
    contents = read_tflite(data)
    constants = {constant.name: constant for constant in contents.constants}
    assert len(constants) == len(contents.constants)
    assert (contents.format, contents.size) == ("tflite", len(data))
    for name, values in program.constants.items():
        got = constants[name]
        if name in program.kernels:
            kernel = program.kernels[name]
            views = (got, constants[f"{name}.decode"])
            assert len({view.storage for view in views}) == 1
            assert [view.scales for view in views] == [kernel.scales, kernel.decode_scales]
            assert got.zero_points == (0,) * len(kernel.scales)
            values = values.T
        elif values.dtype == np.uint8:
            values = (values ^ 128).view(np.int8)
        np.testing.assert_array_equal(got.values, values)
        assert got.values.dtype == values.dtype and not got.values.flags.writeable


def test_signatures_and_details():
    contents = read_tflite(small())
    assert {s.name: s.operations for s in contents.signatures} == {
        "encode": {"QUANTIZE": 2, "FULLY_CONNECTED": 2},
        "decode": {"QUANTIZE": 2, "MUL": 2, "BATCH_MATMUL": 2, "ADD": 2, "LOGISTIC": 1},
        "reconstruct": {"QUANTIZE": 3, "FULLY_CONNECTED": 2, "MUL": 2, "BATCH_MATMUL": 2, "ADD": 2, "LOGISTIC": 1},
    }
    assert contents.details == {
        "schema version": "3",
        "description": "tiedae",
        "subgraphs": "3",
        "min_runtime_version": "2.3.0",
    }


def test_a_stock_file():
    """TFLiteConverter on an untied pair: its kernels, its signature, its operators."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(20, 8)).astype(np.float32)

    class Pair(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 20], tf.float32, name="x")])
        def reconstruct(self, x):
            return {"y": tf.sigmoid(tf.nn.relu(x @ kernel) @ kernel.T)}

    module = Pair()
    function = module.reconstruct.get_concrete_function()
    data = tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert()
    contents = read_tflite(data)
    stored = [c for c in contents.constants if c.values.size == kernel.size]
    assert len({c.storage for c in stored}) == 2
    assert {c.values.shape for c in stored} == {(8, 20), (20, 8)}
    for constant in stored:
        np.testing.assert_array_equal(constant.values, kernel if constant.values.shape == kernel.shape else kernel.T)
    (signature,) = contents.signatures
    assert [tensor.shape for tensor in signature.inputs] == [(None, 20)]
    assert signature.operations == {"FULLY_CONNECTED": 2, "LOGISTIC": 1}
    assert contents.details["min_runtime_version"].count(".") == 2


@pytest.mark.parametrize(
    ("kind", "shape", "stored", "values"),
    [
        (schema.TensorType.INT4, (3,), [0x1F, 0x08], np.array([-1, 1, -8], ml_dtypes.int4)),
        (schema.TensorType.INT4, (2, 2), [0x21, 0x43], np.array([[1, 2], [3, 4]], ml_dtypes.int4)),
        (schema.TensorType.UINT4, (2,), [0x1F], np.array([15, 1], ml_dtypes.uint4)),
        (schema.TensorType.INT2, (5,), [0b11_10_01_00, 0b11], np.array([0, 1, -2, -1, -1], ml_dtypes.int2)),
        (schema.TensorType.BFLOAT16, (2,), [0x80, 0x3F, 0x00, 0xC0], np.array([1, -2], ml_dtypes.bfloat16)),
        (schema.TensorType.INT64, (1,), [1, 0, 0, 0, 0, 0, 0, 0], np.array([1], np.int64)),
        (schema.TensorType.STRING, (2,), [1, 2, 3], np.array([1, 2, 3], np.uint8)),
    ],
)
def test_types(kind, shape, stored, values):
    (constant,) = read_tflite(write([tensor("t", shape, kind)], [buffer(np.array(stored, np.uint8))])).constants
    assert constant.values.dtype == values.dtype
    np.testing.assert_array_equal(constant.values, values)


def test_a_buffer_behind_the_flatbuffer():
    values = np.arange(12, dtype=np.float32)

    def build(offset: int) -> bytes:
        return write([tensor("far", (3, 4), schema.TensorType.FLOAT32)], [schema.BufferT(offset=offset, size=values.nbytes)])

    data = build(len(build(1 << 40))) + values.tobytes()
    (constant,) = read_tflite(data).constants
    np.testing.assert_array_equal(constant.values, values.reshape(3, 4))
    with pytest.raises(FormatError, match=r"bytes .* of .* are referred to"):
        read_tflite(data[:-1])


def test_a_file_without_signatures_has_one():
    graph = schema.SubGraphT(
        tensors=[schema.TensorT(name="in", shape=[1, 3], shapeSignature=[-1, 3], type=schema.TensorType.INT8)],
        inputs=[0],
        outputs=[0],
        operators=[],
    )
    builder = flatbuffers.Builder()
    builder.Finish(schema.ModelT(version=3, subgraphs=[graph], buffers=[schema.BufferT()]).Pack(builder), b"TFL3")
    (signature,) = read_tflite(bytes(builder.Output())).signatures
    assert signature.name == "main"
    assert signature.inputs == signature.outputs == (TensorInfo("in", "int8", (None, 3)),)


def test_operations_of_nested_subgraphs_count_once():
    def graph(code: int, options=None, kind=0):
        operator = schema.OperatorT(opcodeIndex=code, inputs=[], outputs=[], builtinOptions=options, builtinOptionsType=kind)
        return schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[operator])

    loop = schema.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=0)
    codes = [schema.BuiltinOperator.WHILE, schema.BuiltinOperator.ADD]
    model = schema.ModelT(
        version=3,
        subgraphs=[graph(0, loop, schema.BuiltinOptions.WhileOptions), graph(1)],
        buffers=[schema.BufferT()],
        operatorCodes=[schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code) for code in codes],
    )
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    (signature,) = read_tflite(bytes(builder.Output())).signatures
    assert signature.operations == {"WHILE": 1, "ADD": 1}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not a .tflite file: .* got an empty file"),
        (b"PK\x03\x04 a zip archive", "not a .tflite file"),
        (b"\x08\x00\x00\x00ONNX" + b"\0" * 64, "must be b'TFL3', got b'ONNX'"),
        (b"\xff\xff\xff\xffTFL3", "damaged or truncated .tflite file"),
        (b"\x08\x00\x00\x00TFL3" + b"\0" * 64, "damaged"),
    ],
)
def test_foreign_files(data, text):
    with pytest.raises(FormatError, match=text) as caught:
        read_tflite(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "buffers", "text"),
    [
        ([tensor("t", (4,), schema.TensorType.INT8)], [buffer(np.zeros(3, np.int8))], r"tensor t of shape \[4\]"),
        ([tensor("t", (1,) * 99, schema.TensorType.INT8)], [buffer(np.zeros(1, np.int8))], "tensor t has 99 axes"),
        ([tensor("t", (-4,), schema.TensorType.INT8)], [buffer(np.zeros(4, np.int8))], r"tensor t of shape \[-4\]"),
        ([tensor("t", (4,), schema.TensorType.INT8, buffer=7)], [], "buffer 7 of 1"),
    ],
)
def test_contradictions(tensors, buffers, text):
    with pytest.raises(FormatError, match=text):
        read_tflite(write(tensors, buffers))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_files(share):
    data = small()
    with pytest.raises(FormatError):
        read_tflite(data[: int(share * len(data))])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10_000))
def test_a_file_cut_anywhere(length):
    data = small()
    with pytest.raises(FormatError):
        read_tflite(data[: len(data) - 1 - length % (len(data) - 1)])


def test_a_table_that_reaches_past_the_end():
    data = bytearray(small())
    (root,) = struct.unpack_from("<I", data, 0)
    (distance,) = struct.unpack_from("<i", data, root)
    struct.pack_into("<H", data, root - distance + 2, 0xFFFF)
    with pytest.raises(FormatError, match="are referred to"):
        read_tflite(bytes(data))


@settings(max_examples=60, deadline=2000)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=30))
def test_a_damaged_file_is_read_or_refused(changes):
    data = bytearray(small())
    for place, value in changes:
        data[place % len(data)] = value
    try:
        read_tflite(bytes(data))
    except FormatError as error:
        assert "\n" not in str(error)


def test_shared_tables_cannot_make_a_file_endless(monkeypatch):
    """2,000 references to one subgraph of 2,000 references to one tensor: 4,000,000 tables in 16 kB."""
    monkeypatch.setattr(flatbuffer, "MAX_TABLES", 10_000)
    builder = flatbuffers.Builder()
    builder.StartObject(11)
    one = builder.EndObject()
    schema.SubGraphStartTensorsVector(builder, 2_000)
    for _ in range(2_000):
        builder.PrependUOffsetTRelative(one)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 2_000)
    for _ in range(2_000):
        builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(FormatError, match="tables"):
        read_tflite(bytes(builder.Output()))


def test_constants_in_another_file_are_told():
    names = ["a", "b", "c", "d"]
    tensors = [tensor(name, (4,), schema.TensorType.INT8, buffer=0, externalBuffer=7 + i) for i, name in enumerate(names)]
    contents = read_tflite(write([*tensors, tensor("here", (4,), schema.TensorType.INT8)], [buffer(np.zeros(4, np.int8))]))
    assert contents.details["constants in other files, not read"] == "4 (a, b, c, …)"
    assert [constant.name for constant in contents.constants] == ["here"]


def test_packed_values_count_their_bytes_and_are_unpacked_once():
    stored = buffer(np.array([0x21, 0x43], np.uint8))
    tensors = [tensor(name, (2, 2), schema.TensorType.INT4) for name in "ab"]
    first, second = read_tflite(write(tensors, [stored])).constants
    assert first.nbytes == 2 and first.values is second.values


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ([tensor("t", (1,) * 99, schema.TensorType.INT8)], "tensor t has 99 axes, must have at most 32"),
        ([tensor("t", (2**31 - 1,) * 8, schema.TensorType.INT4)], "tensor t of shape"),
        ([tensor("two\nlines", (4,), schema.TensorType.INT8)], r"tensor two\\nlines of shape"),
        ([tensor(b"\xff\xfe", (4,), schema.TensorType.INT8)], "tensor �� of shape"),
    ],
)
def test_damaged_tensors_are_format_errors_of_one_line(tensors, text):
    with pytest.raises(FormatError, match=text) as caught:
        read_tflite(write(tensors, [buffer(np.zeros(3, np.int8))]))
    assert "\n" not in str(caught.value)


def test_shared_vectors_cannot_make_a_file_endless(monkeypatch):
    """300 tensors that share scales of 3,000 numbers."""
    monkeypatch.setattr(flatbuffer, "MAX_TABLES", 10_000)
    tensors = [
        tensor(
            str(i), (1,), schema.TensorType.INT8, quantization=schema.QuantizationParametersT(scale=np.ones(3000, np.float32))
        )
        for i in range(300)
    ]
    with pytest.raises(FormatError, match="tables"):
        read_tflite(write(tensors, [buffer(np.zeros(1, np.int8))]))


def test_a_large_file_is_mapped(monkeypatch, tmp_path):
    path = tmp_path / "a.tflite"
    path.write_bytes(small())
    monkeypatch.setattr(tflite_reader, "MAPPED", 1)
    contents, whole = tflite_reader.read_tflite_file(path), read_tflite(small())
    assert contents.size == whole.size and contents.signatures == whole.signatures
    for mapped, read in zip(contents.constants, whole.constants, strict=True):
        np.testing.assert_array_equal(mapped.values, read.values)
