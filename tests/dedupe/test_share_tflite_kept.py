"""Sharing in .tflite files: constants that stay as they are, and the reason for each."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tiedae.dedupe.share_tflite import share_tflite
from tiedae.export.tflite.schema import Op, pack_model, unpack_model

from .tflite_files import Activation, File, int8_pair, tied_pair


def test_packed_integers_with_other_unused_bits_are_kept():
    file = File()
    graph = file.graph("main")
    values = np.random.default_rng(0).integers(-128, 127, 65).astype(np.int8)
    for name in "ab":
        graph.constant(name, values)
        graph.table.tensors[-1].type, graph.table.tensors[-1].shape = schema.TensorType.INT4, np.array([129], np.int32)
        values = np.append(values[:-1], values[-1:] ^ np.int8(0x10))
    graph.set_io([], [])
    shared = share_tflite(file.data())
    assert [each.reason for each in shared.kept] == ["the unused bits of its last byte are others"]


KEPT = {
    "flattened": (dict(rank=3, keepNumDims=False), "flattens its input"),
    "shuffled": (dict(weightsFormat=1), "weights shuffled"),
    "tanh": (dict(activation=Activation.TANH), "cannot fuse the activation"),
    "relu1 alone": (dict(bias=False, activation=Activation.RELU_N1_TO_1), "without a bias"),
    "places": (dict(metadata=["model_control_dependencies"]), "by index"),
}


@pytest.mark.parametrize(("options", "reason"), KEPT.values(), ids=KEPT)
def test_what_cannot_be_turned_is_kept_with_the_reason(options, reason):
    data = _with_fixed_first(options)
    shared = share_tflite(data)
    assert shared.data == data and shared.merged == ()
    assert [(kept.name, kept.original) for kept in shared.kept] == [("second", "first")]
    assert reason in shared.kept[0].reason


def _given_out(model) -> None:
    model.subgraphs[0].outputs = np.append(model.subgraphs[0].outputs, 4).astype(np.int32)


def _off_zero(model) -> None:
    for tensor in model.subgraphs[0].tensors[3:5]:
        tensor.quantization.zeroPoint = np.ones(1, np.int64)


@pytest.mark.parametrize(
    ("change", "reason"), [(_given_out, "it is an input or output of its subgraph"), (_off_zero, "its zero point is not 0")]
)
def test_int8_kernels_that_have_to_stay(change, reason):
    model = unpack_model(int8_pair(bias=0))
    assert [tensor.name for tensor in model.subgraphs[0].tensors[3:5]] == [b"first", b"second"]
    model.subgraphs[0].operators[0].builtinOptions.fusedActivationFunction = Activation.SIGN_BIT
    change(model)
    shared = share_tflite(pack_model(model, b""))
    assert shared.merged == () and reason in shared.kept[0].reason


def _without_outputs(model) -> None:
    for operator in model.subgraphs[0].operators:
        operator.outputs = None


def _with_other_options(model) -> None:
    for operator in model.subgraphs[0].operators:
        operator.builtinOptions, operator.builtinOptionsType = schema.SoftmaxOptionsT(), schema.BuiltinOptions.SoftmaxOptions


@pytest.mark.parametrize("change", [_without_outputs, _with_other_options])
def test_a_broken_operator_keeps_its_constants(change):
    model = unpack_model(tied_pair())
    change(model)
    shared = share_tflite(pack_model(model))
    assert [kept.reason for kept in shared.kept] == ["FULLY_CONNECTED has not the outputs or the options of one"]


def test_a_dequantize_that_reads_what_it_makes_ends():
    file, kernel = File(), np.random.default_rng(0).normal(size=(12, 8)).astype(np.float16)
    graph = file.graph("main")
    y = graph.tensor("y", (8, 12))
    for name, values in (("first", kernel), ("second", np.ascontiguousarray(kernel.T))):
        real = graph.tensor(f"{name}.real", values.shape)
        graph.add(Op.DEQUANTIZE, [graph.constant(name, values), real], [real])
    graph.set_io([], [y])
    assert [kept.reason for kept in share_tflite(file.data()).kept] == ["DEQUANTIZE of integers has their scales"]


def test_buffer_0_is_no_original():
    """LiteRT takes it for empty, whatever it holds."""
    model = unpack_model(tied_pair())
    first, second = model.subgraphs[0].tensors[3:5]
    model.buffers[0].data = model.buffers[first.buffer].data
    first.buffer, second.buffer, second.shape = 0, first.buffer, first.shape
    for tensor in model.subgraphs[0].tensors:
        tensor.buffer = tensor.buffer or (0 if tensor is first else 2)
    model.buffers[2].data = np.zeros(0, np.uint8)
    shared = share_tflite(pack_model(model))
    assert [kept.reason for kept in shared.kept] == ["one of both is in buffer 0, which LiteRT takes for empty"]


def test_variables_keep_their_state():
    model = unpack_model(tied_pair())
    model.subgraphs[0].tensors[4].isVariable = True
    assert share_tflite(pack_model(model, b"")).merged == ()


def _with_fixed_first(options) -> bytes:
    """The file whose second layer has the options, and whose first cannot be turned."""
    model = unpack_model(tied_pair(**options))
    first = model.subgraphs[0].operators[0]
    first.builtinOptions.fusedActivationFunction = Activation.SIGN_BIT
    return pack_model(model, b"")
