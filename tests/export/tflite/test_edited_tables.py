"""Tables of a file that is being edited: what is read of them, and what is added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tiedae.export.tflite.graph import TfliteGraph, has_scales, is_int8, scales_of, swap_axes, zero_points_of
from tiedae.export.tflite.schema import Op, Type, int32, new_operator, quantization
from tiedae.export.tflite.sparse import sparse_kernel

VALUES = np.arange(6, dtype=np.int8)


def graph_of(*tensors: Any) -> TfliteGraph:
    """A subgraph over two buffers: an empty one, and that of `VALUES`."""
    buffers = [schema.BufferT(data=each) for each in (np.zeros(0, np.uint8), VALUES.view(np.uint8))]
    table = schema.SubGraphT(tensors=list(tensors), inputs=int32([0]), outputs=int32([2]), operators=[])
    return TfliteGraph(schema.ModelT(operatorCodes=[], buffers=buffers), table)


def tensor(shape: tuple[int, ...] = (2, 3), kind: int = Type.INT8, buffer: int = 1, **fields: Any) -> Any:
    return schema.TensorT(shape=int32(shape), type=kind, buffer=buffer, name=b"t", **fields)


def test_values_are_those_of_dense_constants() -> None:
    kernel = sparse_kernel(np.eye(9, dtype=np.int8).reshape(9, 1, 1, 9))
    assert kernel is not None
    sparsity = kernel.table((9, 1, 1, 9), range(4))
    others = [tensor(buffer=0), tensor(sparsity=sparsity), tensor(kind=Type.UINT8), tensor(kind=Type.BOOL)]
    graph = graph_of(tensor(), *others)
    values = graph.values(0)
    assert values is not None and values.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [graph.values(i) for i in range(1, 5)] == [None] * 4


@pytest.mark.parametrize(
    ("code", "custom", "name"),
    [
        (Op.CUSTOM, b"Mine", "Mine"),
        (Op.CUSTOM, None, "CUSTOM"),
        (Op.TANH, None, "TANH"),
        (Op.TANH, b"Mine", "TANH"),
        (9999, None, "operator 9999"),
        (Op.CUSTOM, b"M\xff", "M\ufffd"),
    ],
)
def test_custom_operators_have_a_name_of_their_own(code: int, custom: bytes | None, name: str) -> None:
    graph = graph_of()
    graph.model.operatorCodes = [schema.OperatorCodeT(min(code, 127), custom, 1, code)]
    assert graph.operator_name(schema.OperatorT(0)) == name


def test_an_activation_like_another_has_its_quantization_or_one_of_its_own() -> None:
    graph = graph_of(tensor(quantization=quantization([0.5], [7])))
    alike, own, shifted = (graph.add_like(0, b".more", *each) for each in ((), (0.25,), (0.25, -3)))
    assert [graph.tensor(i).name for i in (alike, own, shifted)] == [b"t.more"] * 3
    found = [(scales_of(graph.tensor(i)).tolist(), zero_points_of(graph.tensor(i)).tolist()) for i in (alike, own, shifted)]
    assert found == [([0.5], [7]), ([0.25], [0]), ([0.25], [-3])]
    assert {graph.tensor(i).buffer for i in (alike, own, shifted)} == {0}


@pytest.mark.parametrize("readers", [1, 2])
def test_a_constant_takes_the_place_of_one_that_nothing_else_reads(readers: int) -> None:
    graph = graph_of(tensor(), tensor(buffer=0))
    graph.table.operators = [new_operator(graph.model, Op.RESHAPE, 1, [0], 1) for _ in range(readers)]
    values = np.float32([1, 2])
    assert graph.add_constant(b"new", values) == 2
    assert graph.add_constant(b"instead", values, instead=0) == (0 if readers == 1 else 3)
    assert len(graph.table.tensors) == (3 if readers == 1 else 4)


def test_inputs_and_outputs_are_of_the_subgraph() -> None:
    graph = graph_of(*(tensor() for _ in range(3)))
    assert [graph.is_input_or_output(i) for i in range(3)] == [True, False, True]
    graph.table.outputs = None
    assert [graph.is_input_or_output(i) for i in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("kind", "scales", "points", "valid"),
    [
        (Type.INT8, [0.5], [-128], True),
        (Type.INT8, [0.5], [127], True),
        (Type.INT8, [0.5], [128], False),
        (Type.INT8, [0.5], [-129], False),
        (Type.UINT8, [0.5], [0], False),
        (Type.INT8, [0.5, 0.5], [0, 0], False),
        (Type.INT8, [0.0], [0], False),
        (Type.INT8, [], [0], False),
    ],
)
def test_int8_has_one_scale_and_one_zero_point_in_range(kind: int, scales: list, points: list, valid: bool) -> None:
    table = schema.QuantizationParametersT(scale=np.float32(scales), zeroPoint=np.int64(points))
    assert is_int8(tensor(kind=kind, quantization=table)) == valid
    assert not is_int8(tensor(kind=kind))


@pytest.mark.parametrize(("scale", "valid"), [(2e-20, True), (5e-21, False), (5e19, True), (2e20, False), (-1.0, False)])
def test_scales_between_1e_20_and_1e20_are_valid(scale: float, valid: bool) -> None:
    assert has_scales(tensor(quantization=quantization([1.0, scale]))) == valid


def test_the_last_two_axes_are_swapped() -> None:
    found = tensor((5, 2, 3))
    swap_axes(found)
    assert found.shape.tolist() == [5, 3, 2]
