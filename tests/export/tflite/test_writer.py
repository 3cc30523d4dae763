"""TFLite files: one buffer per kernel, taken whole by XNNPACK, small, and refused where they cannot be."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tiedae.base.errors import ExportError
from tiedae.compress.affine import IO, Quantization
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.operations import Activate

from ...conftest import build_program
from ...runtimes.opening import open_tflite

BIG = (784, 512, 256, 30)
BIG_ACTIVATIONS = ("relu", "relu", "linear")
STOCK_INT8_BYTES = 1_149_792
"""TFLiteConverter, int8, three signatures over the untied twin of BIG."""

PROGRAMS = {
    "bytes": {},
    "unit": {"granularity": "unit"},
    "floats": {"byte_data": False},
    "no bias": {"bias": False},
    "no bias unit": {"bias": False, "granularity": "unit", "activations": ("relu6", "tanh")},
    "tanh": {"output_activation": "tanh", "byte_data": False},
    "relu6": {"activations": ("relu6", "linear"), "output_activation": "relu6"},
    "linear": {"output_activation": "linear", "byte_data": False},
    "nonlinear code": {"activations": ("sigmoid", "tanh"), "granularity": "unit"},
    "float": {"quantized": False},
    "float no bias": {"quantized": False, "bias": False},
    "interleaved": {"interleave": 4},
    "interleaved floats": {"interleave": 4, "byte_data": False, "output_activation": "linear"},
    "interleaved float": {"interleave": 4, "quantized": False},
}


def split(**options):
    return build_program(form="split", **options)


def parse(data: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromPackedBuf(data, 0)


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_each_kernel_is_one_buffer_for_both_directions_and_all_signatures(options):
    program = split(**options)
    model = parse(to_tflite(program))
    for name, kernel in program.kernels.items():
        encoding, decoding = (
            {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors if tensor.name == label.encode()}
            for label in (name, f"{name}.decode")
        )
        assert encoding == decoding and len(encoding) == 1
        data = np.asarray(model.buffers[encoding.pop()].data).view(program.constants[name].dtype)
        np.testing.assert_array_equal(data.reshape(kernel.units, kernel.inputs).T, program.constants[name])
    contents = [bytes(buffer.data) for buffer in model.buffers if buffer.data is not None]
    assert len(set(contents)) == len(contents)


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_xnnpack_takes_everything_but_the_edges(options):
    provider = open_tflite("litert-xnnpack", to_tflite(split(**options))).provider
    _, _, outside = provider.partition("builtin kernels: ")
    assert outside == ("" if options.get("quantized") is False else "QUANTIZE")


def test_only_uint8_edges_stay_outside_xnnpack():
    program = split()
    texts = {io: open_tflite("litert-xnnpack", to_tflite(program, signatures=("encode",), io=io)).provider for io in IO[1:]}
    assert texts == {
        "uint8": "XNNPACK: encode 2 of 4 operations; builtin kernels: QUANTIZE",
        "int8": "XNNPACK: encode 2 of 3 operations; builtin kernels: QUANTIZE",
        "float32": "XNNPACK: encode 3 of 4 operations; builtin kernels: QUANTIZE",
    }


@pytest.mark.parametrize(
    ("options", "bytes_at_most"),
    [({}, 549_200), ({"granularity": "unit"}, 563_500), ({"quantized": False}, 2_173_300)],
    ids=["tensor", "unit", "float"],
)
def test_files_are_little_more_than_kernels_and_biases(options, bytes_at_most):
    size = len(to_tflite(split(widths=BIG, activations=BIG_ACTIVATIONS, **options)))
    assert size <= bytes_at_most
    assert options.get("quantized") is False or size <= 0.50 * STOCK_INT8_BYTES


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_buffers_are_aligned_to_16_bytes(options):
    data = to_tflite(split(**options))
    tables = [each._tab for each in buffers_of(data) if not each.DataIsNone()]
    assert tables and all(table.Vector(table.Offset(4)) % 16 == 0 for table in tables)


def buffers_of(data: bytes) -> list[Any]:
    """The buffers of a file as tables of the generated schema."""
    root: Any = schema.Model.GetRootAs(data, 0)
    return [root.Buffers(index) for index in range(root.BuffersLength())]


@pytest.mark.parametrize(
    ("options", "io", "dtypes"),
    [
        ({}, "auto", ("uint8", "uint8", "uint8")),
        ({"byte_data": False}, "auto", ("float32", "uint8", "float32")),
        ({}, "int8", ("int8", "uint8", "int8")),
        ({}, "float32", ("float32", "uint8", "float32")),
        ({"byte_data": False}, "uint8", ("uint8", "uint8", "uint8")),
        ({"quantized": False}, "auto", ("float32", "float32", "float32")),
        ({"quantized": False}, "float32", ("float32", "float32", "float32")),
    ],
)
def test_inputs_and_outputs(options, io, dtypes):
    program = split(**options)
    signatures = {signature.name: signature for signature in read_tflite(to_tflite(program, io=io)).signatures}
    assert {name: ([p.name for p in s.inputs], [p.name for p in s.outputs]) for name, s in signatures.items()} == {
        "encode": (["x"], ["code"]),
        "decode": (["code"], ["y"]),
        "reconstruct": (["x"], ["code", "y"]),
    }
    right = dict(zip(("x", "code", "y"), dtypes, strict=True))
    for signature in signatures.values():
        for info in (*signature.inputs, *signature.outputs):
            tensor = program.tensors[info.name]
            assert (info.dtype, info.shape) == (right[info.name], (None, *tensor.shape))
            if info.dtype == "float32":
                assert (info.scale, info.zero_point) == (None, None)
            else:
                shift = 128 if info.dtype == "int8" else 0
                assert (info.scale, info.zero_point) == (tensor.quantization.scale, tensor.quantization.zero_point - shift)


def test_requantize_and_edge_are_one_operation():
    program = split()
    assert type(program.decoder[-1]).__name__ == "Requantize"
    (signature,) = read_tflite(to_tflite(program, signatures=("decode",))).signatures
    assert signature.operations == {"QUANTIZE": 2, "BATCH_MATMUL": 2, "ADD": 2, "LOGISTIC": 1}
    (signature,) = read_tflite(to_tflite(program, signatures=("decode",), io="float32")).signatures
    assert signature.operations["QUANTIZE"] == 2 and signature.operations["DEQUANTIZE"] == 1


@pytest.mark.parametrize(
    ("options", "signatures", "version"),
    [
        ({}, ("encode",), "1.14.0"),
        ({}, ("encode", "decode"), "2.3.0"),
        ({"granularity": "unit"}, ("decode",), "2.3.0"),
        ({"quantized": False}, ("encode",), "1.5.0"),
        ({"quantized": False}, ("decode",), "2.3.0"),
    ],
)
def test_minimum_runtime_version(options, signatures, version):
    assert read_tflite(to_tflite(split(**options), signatures=signatures)).details["min_runtime_version"] == version


OP = schema.BuiltinOperator
VERSIONS = {
    "unit": (
        {"granularity": "unit"},
        {OP.QUANTIZE: 1, OP.FULLY_CONNECTED: 4, OP.MUL: 2, OP.BATCH_MATMUL: 2, OP.ADD: 2, OP.LOGISTIC: 2},
    ),
    "4 bits": (
        {"bits": 4},
        {OP.QUANTIZE: 1, OP.FULLY_CONNECTED: 10, OP.DEQUANTIZE: 6, OP.BATCH_MATMUL: 2, OP.ADD: 2, OP.LOGISTIC: 2},
    ),
    "floats": (
        {"byte_data": False},
        {OP.QUANTIZE: 1, OP.FULLY_CONNECTED: 4, OP.BATCH_MATMUL: 2, OP.ADD: 2, OP.LOGISTIC: 2, OP.DEQUANTIZE: 2},
    ),
    "float": ({"quantized": False}, {OP.FULLY_CONNECTED: 1, OP.BATCH_MATMUL: 1, OP.ADD: 1, OP.LOGISTIC: 1}),
}


@pytest.mark.parametrize(("options", "versions"), VERSIONS.values(), ids=VERSIONS)
def test_operator_versions(options, versions):
    """Those of TensorFlow's `op_version.cc`; a runtime that is older refuses the file instead of misreading it."""
    codes = parse(to_tflite(split(**options))).operatorCodes
    assert {code.builtinCode: code.version for code in codes} == versions
    assert all(code.deprecatedBuiltinCode == code.builtinCode < 127 for code in codes)


def test_signatures_are_written_in_the_order_asked_for():
    data = to_tflite(split(), signatures=("decode", "encode"))
    assert [graph.name for graph in parse(data).subgraphs] == [b"decode", b"encode"]
    assert Interpreter(model_content=data).get_input_details()[0]["name"] == "code"


def test_the_same_program_gives_the_same_bytes():
    assert to_tflite(split(granularity="unit")) == to_tflite(split(granularity="unit"))


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"signatures": ()}, "signatures: got"),
        ({"signatures": ("encode", "encode")}, "each once"),
        ({"io": "int16"}, "io: got 'int16'"),
    ],
)
def test_wrong_options_are_named(keywords, text):
    with pytest.raises(ExportError, match=text):
        to_tflite(split(), **keywords)


def test_float_program_has_float_inputs_and_outputs_only():
    with pytest.raises(ExportError, match="float program"):
        to_tflite(split(quantized=False), io="uint8")


def test_output_scale_of_sigmoid_is_checked():
    program = split(byte_data=False)
    (name,) = [op.y for op in program.decoder if isinstance(op, Activate) and op.function == "sigmoid"]
    tensors = dict(program.tensors)
    tensors[name] = dataclasses.replace(tensors[name], quantization=Quantization(0.5, 3))
    with pytest.raises(ExportError, match="TFLite fixes the output of sigmoid"):
        to_tflite(dataclasses.replace(program, tensors=tensors))
