"""ONNX files: exact in ONNX Runtime, fused by it, every kernel stored once."""

import dataclasses
from collections import Counter
from contextlib import nullcontext

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from tiedae.base.errors import ExportError
from tiedae.compress.affine import Quantization
from tiedae.compress.integers import within_pairs
from tiedae.export.onnx.builder import EDGE
from tiedae.export.onnx.kernels import PAGE, external_kernels
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.program.interpreter import execute
from tiedae.program.operations import Activate, Dense, Requantize, Rescale
from tiedae.program.program import Tensor

from ...conftest import build_program

BIG = (784, 512, 256, 30)
STOCK_INT8_BYTES = 1_096_765
"""quantize_static per tensor on tf2onnx's file of the untied twin of BIG."""


def stored(program, name):
    """A kernel as the file has it: [units, inputs], uint8 of zero point 128 where it breaks the pair rule."""
    values = np.ascontiguousarray(program.constants[name].T)
    return (values.astype(np.int16) + 128).astype(np.uint8) if name in program.exceeding_pairs else values


PROGRAMS = {
    "bytes": {},
    "unit": {"granularity": "unit"},
    "floats": {"byte_data": False},
    "no bias": {"bias": False},
    "tanh": {"output_activation": "tanh", "byte_data": False},
    "relu6": {"activations": ("relu6", "linear"), "output_activation": "relu6"},
    "linear": {"output_activation": "linear", "byte_data": False},
    "nonlinear code": {"activations": ("sigmoid", "tanh"), "granularity": "unit"},
    "interleaved": {"interleave": 4},
    "interleaved floats": {"interleave": 5, "byte_data": False},
}


def session(model: bytes, optimized: str = "") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = optimized
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model: bytes, x: np.ndarray) -> dict[str, np.ndarray]:
    opened = session(model)
    (tensor,) = opened.get_inputs()
    values = map(np.asarray, opened.run(None, {tensor.name: x}))
    return dict(zip([output.name for output in opened.get_outputs()], values, strict=True))


def random_bytes(program, samples: int = 200, signature: str = "reconstruct") -> np.ndarray:
    source = program.tensors[program.part(signature)[1]]
    return np.random.default_rng(7).integers(0, 256, (samples, *source.shape)).astype(np.uint8)


def lsb(got: np.ndarray, expected: np.ndarray) -> int:
    return int(np.abs(got.astype(int) - expected.astype(int)).max())


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("signature", ["encode", "decode", "reconstruct"])
def test_integers_equal_the_reference(options, signature):
    program = build_program(**options)
    x = random_bytes(program, signature=signature)
    expected = execute(program, signature, x)
    got = run(to_onnx(program, signature=signature, io="uint8"), x)
    assert list(got) == list(program.part(signature)[2])
    for name, values in got.items():
        assert values.dtype == np.uint8
        assert lsb(values, expected[name]) == 0, name


@settings(max_examples=10, deadline=None)
@given(
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=4).map(tuple),
    granularity=st.sampled_from(["tensor", "unit"]),
    seed=st.integers(0, 2**16),
)
def test_integers_equal_the_reference_for_any_widths(widths, granularity, seed):
    activations = ("relu",) * (len(widths) - 2) + ("linear",)
    program = build_program(widths, activations, granularity=granularity, seed=seed)
    x = random_bytes(program, 50)
    expected = execute(program, "reconstruct", x)
    got = run(to_onnx(program), x)
    assert lsb(got["code"], expected["code"]) == 0
    assert lsb(got["y"], expected["y"]) == 0


@pytest.mark.parametrize(("activation", "zero_point", "scale"), [("relu", 40, 0.02), ("relu6", 0, 0.05), ("relu6", 90, 0.05)])
def test_a_fused_activation_inside_the_range_clips_exactly(activation, zero_point, scale):
    program = build_program(activations=(activation, "linear"))
    inner = dataclasses.replace(program.tensors["encoder_0"], quantization=Quantization(float(np.float32(scale)), zero_point))
    program = dataclasses.replace(program, tensors={**program.tensors, "encoder_0": inner})
    x = random_bytes(program)
    expected = execute(program, "encode", x)
    assert (expected["encoder_0"] == zero_point).any()
    assert lsb(run(to_onnx(program, signature="encode"), x)["code"], expected["code"]) == 0


@pytest.mark.parametrize("opset", [13, 17, 23])
@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_onnx_runtime_fuses_every_product(options, opset, tmp_path):
    program = build_program(**options)
    session(to_onnx(program, io="uint8", opset=opset), str(tmp_path / "optimized.onnx"))
    fused = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    expected = Counter(type(operation) for operation in program.operations)
    tanh = sum(isinstance(operation, Activate) and operation.function == "tanh" for operation in program.operations)
    assert fused["QGemm"] == expected[Dense]
    assert fused["QLinearMul"] == fused["Div"] == 0
    assert fused["Mul"] == 2 * expected[Rescale]
    assert fused["QLinearSigmoid"] == expected[Activate] - tanh
    assert fused["DequantizeLinear"] == fused["QuantizeLinear"] == expected[Requantize] + expected[Rescale] + tanh
    assert fused["Tanh"] == tanh
    assert fused["Gemm"] + fused["Sigmoid"] == 0


@pytest.mark.parametrize("opset", [13, 17, 21, 23])
@pytest.mark.parametrize("quantized", [True, False])
def test_the_checker_accepts_every_opset(opset, quantized):
    data = to_onnx(build_program(quantized=quantized), opset=opset)
    onnx.checker.check_model(data, full_check=True)
    model = onnx.load_from_string(data)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == {13: 7, 17: 8, 21: 10, 23: 11}[opset]
    assert model.producer_name == "tiedae"
    assert model.graph.name == "reconstruct"


DTYPES = {"uint8": "tensor(uint8)", "int8": "tensor(int8)", "float32": "tensor(float)"}


@pytest.mark.parametrize("byte_data", [True, False])
@pytest.mark.parametrize("io", ["auto", "uint8", "int8", "float32"])
def test_io_is_the_dtype_of_x_and_y(io, byte_data):
    program = build_program(byte_data=byte_data)
    model = to_onnx(program, io=io)
    opened = session(model)
    x, code, y = *opened.get_inputs(), *opened.get_outputs()
    real = io if io != "auto" else "uint8" if byte_data else "float32"
    assert [(tensor.name, tensor.type, tensor.shape) for tensor in (x, code, y)] == [
        ("x", DTYPES[real], ["batch", 20]),
        ("code", DTYPES["uint8"], ["batch", 5]),
        ("y", DTYPES[real], ["batch", 20]),
    ]
    q = random_bytes(program)
    expected = execute(program, "reconstruct", q)
    x, y = program.tensors["x"].quantization, program.tensors["y"].quantization
    got = run(model, {"uint8": q, "int8": (q.astype(int) - 128).astype(np.int8), "float32": x.dequantize(q)}[real])
    assert lsb(got["code"], expected["code"]) == 0
    if real == "float32":
        np.testing.assert_allclose(got["y"], y.dequantize(expected["y"]), atol=0.51 * y.scale if byte_data else 1e-7)
    else:
        assert lsb(got["y"], expected["y"].astype(int) - (128 if real == "int8" else 0)) == 0


@pytest.mark.parametrize("interleave", [1, 4])
@pytest.mark.parametrize("batch", [1, 3, 257])
def test_the_batch_is_free(batch, interleave):
    program = build_program(interleave=interleave)
    x = random_bytes(program, batch)
    assert lsb(run(to_onnx(program), x)["y"], execute(program, "reconstruct", x)["y"]) == 0


@pytest.mark.parametrize(
    "options", [{}, {"activations": ("tanh", "relu6")}, {"activations": ("relu6", "sigmoid"), "bias": False}]
)
@pytest.mark.parametrize("signature", ["encode", "decode", "reconstruct"])
def test_a_float_program_equals_the_reference(options, signature):
    program = build_program(quantized=False, **options)
    (size,) = program.tensors[program.part(signature)[1]].shape
    x = np.random.default_rng(0).normal(0, 2, (50, size)).astype(np.float32)
    expected = execute(program, signature, x)
    got = run(to_onnx(program, signature=signature), x)
    assert list(got) == list(program.part(signature)[2])
    for name, values in got.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("quantized", "granularity"), [(False, "tensor"), (True, "tensor"), (True, "unit")])
def test_a_kernel_is_stored_once(quantized, granularity):
    program = build_program(quantized=quantized, granularity=granularity)
    data = to_onnx(program)
    for name in program.kernels:
        assert data.count(stored(program, name).tobytes()) == 1
        assert data.count(np.ascontiguousarray(stored(program, name).T).tobytes()) == 0
    matrices = [tensor for tensor in onnx.load_from_string(data).graph.initializer if len(tensor.dims) == 2]
    assert len(matrices) == len(program.kernels)


@pytest.mark.parametrize("pairs", [True, False])
def test_the_largest_products_do_not_saturate(pairs):
    """Pairs of 255 · 127 leave int16, in which x86-64 without VNNI adds products of uint8 and int8: such kernels are uint8."""
    program = build_program()
    extreme = {name: np.where(program.constants[name] < 0, -127, 127).astype(np.int8) for name in program.kernels}
    held = {name: within_pairs(values) if pairs else values for name, values in extreme.items()}
    program = dataclasses.replace(program, constants={**program.constants, **held})
    with nullcontext() if pairs else pytest.warns(UserWarning, match="kernel_.: .* pairs .* uint8 in .onnx, slower with VNNI"):
        data = to_onnx(program)
    kernels = {each.name: each.data_type for each in onnx.load_from_string(data).graph.initializer}
    assert all(kernels[name] == (TensorProto.INT8 if pairs else TensorProto.UINT8) for name in program.kernels)
    x = np.array([[255] * 20, [0] * 20, [255, 0] * 10], np.uint8)
    expected = execute(program, "reconstruct", x)
    for name, values in run(data, x).items():
        np.testing.assert_array_equal(values, expected[name])


def test_an_int8_file_is_half_of_the_stock_file():
    program = build_program(BIG, ("relu", "relu", "linear"))
    assert len(to_onnx(program)) <= 0.505 * STOCK_INT8_BYTES


def test_values_inside_carry_the_names_of_the_program():
    program = build_program(granularity="unit")
    for io, renamed in (("uint8", {}), ("float32", {"x": "x" + EDGE, "y": "y" + EDGE})):
        model = onnx.load_from_string(to_onnx(program, io=io))
        types = onnx.shape_inference.infer_shapes(model).graph
        uint8 = {
            value.name
            for value in (*types.input, *types.value_info, *types.output)
            if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        }
        assert uint8 == {renamed.get(name, name) for name in program.tensors}


def test_values_that_are_no_tensor_of_the_program_have_numbers_and_kernels_share_a_zero_point():
    program = build_program()
    graph = onnx.load_from_string(to_onnx(program, io="uint8")).graph
    others = [name for node in graph.node for name in node.output if name not in program.tensors]
    assert others == list(map(str, range(len(others))))
    integers = {each.name for each in graph.initializer if each.data_type == TensorProto.INT8}
    assert integers == {*program.kernels, "zero.0"} and len(program.kernels) > 1


def test_a_number_that_is_a_tensor_of_the_program_names_no_other_value():
    program = build_program()
    (first, *rest), tensor = program.encoder, program.tensors["encoder_0"]
    tensors = {name: each for name, each in program.tensors.items() if name != "encoder_0"}
    tensors["1"] = dataclasses.replace(tensor, name="1")
    encoder = (dataclasses.replace(first, y="1"), dataclasses.replace(rest[0], x="1"), *rest[1:])
    program = dataclasses.replace(program, tensors=tensors, encoder=encoder)
    model, x = to_onnx(program), random_bytes(program)
    onnx.checker.check_model(model, full_check=True)
    assert lsb(run(model, x)["y"], execute(program, "reconstruct", x)["y"]) == 0


def test_factors_with_a_zero_point_are_exact():
    program = build_program(granularity="unit")
    shifted = tuple(
        dataclasses.replace(each, quantization=Quantization(each.quantization.scale, 9)) if isinstance(each, Rescale) else each
        for each in program.decoder
    )
    changed = dataclasses.replace(program, decoder=shifted)
    x = random_bytes(program)
    expected = execute(changed, "reconstruct", x)["y"]
    assert lsb(execute(program, "reconstruct", x)["y"], expected) > 0
    assert lsb(run(to_onnx(changed), x)["y"], expected) == 0


@pytest.mark.parametrize("quantized", [True, False])
def test_a_pair_shares_one_file_of_kernels(quantized, tmp_path):
    program = build_program((100, 60, 5), quantized=quantized)
    encoder, decoder, kernels = to_onnx_pair(program, kernels_file="toy.kernels.bin")
    for name, data in (("encoder.onnx", encoder), ("decoder.onnx", decoder), ("toy.kernels.bin", kernels)):
        (tmp_path / name).write_bytes(data)
    assert kernels == external_kernels(program)
    for name in program.kernels:
        values = stored(program, name).tobytes()
        assert kernels.count(values) == 1 and kernels.index(values) % PAGE == 0
        assert values not in encoder and values not in decoder
    for name in ("encoder.onnx", "decoder.onnx"):
        onnx.checker.check_model(tmp_path / name, full_check=True)
    x = random_bytes(program) if quantized else np.random.default_rng(0).uniform(size=(9, 100)).astype(np.float32)
    opened = [onnxruntime.InferenceSession(tmp_path / name) for name in ("encoder.onnx", "decoder.onnx")]
    (code,) = opened[0].run(None, {"x": x})
    (y,) = opened[1].run(None, {"code": code})
    whole = run(to_onnx(program), x)
    np.testing.assert_array_equal(code, whole["code"])
    np.testing.assert_array_equal(y, whole["y"])


def test_the_same_program_gives_the_same_bytes():
    assert to_onnx(build_program()) == to_onnx(build_program())


def test_clipped_integers_have_a_name_of_their_own():
    program = build_program()
    tensors = {**program.tensors, "encoder_0": Tensor("encoder_0", (12,), Quantization(1 / 64, 30))}
    nodes = onnx.load_from_string(to_onnx(dataclasses.replace(program, tensors=tensors))).graph.node
    (clip,) = [node for node in nodes if node.op_type == "Clip"]
    assert clip.output == ["encoder_0"]


@pytest.mark.parametrize(
    ("options", "arguments", "text"),
    [
        ({"form": "split"}, {}, r"program toy: ONNX has no Product, which writes 'decoder_1.product'; .* fused layout"),
        ({"form": "split", "quantized": False}, {}, "ONNX has no Product"),
        ({}, {"opset": 12}, "opset: got 12, must be in 13…23"),
        ({}, {"opset": 24}, "opset: got 24, must be in 13…23"),
        ({}, {"io": "int16"}, "io: got 'int16', must be one of auto, uint8, int8, float32"),
        ({"quantized": False}, {"io": "uint8"}, "io: got 'uint8', but a float program has float32"),
        ({}, {"external": "../kernels.bin"}, "external data: got '../kernels.bin', must be a file name"),
        ({}, {"external": ""}, "external data: got '', must be a file name"),
    ],
)
def test_what_cannot_be_written_is_an_error(options, arguments, text):
    with pytest.raises(ExportError, match=text):
        to_onnx(build_program(**options), **arguments)
