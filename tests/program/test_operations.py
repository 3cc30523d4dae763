"""An operation is one row of `OPERATIONS` and of the table of each format: nothing else knows it."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import ExportError
from tiedae.base.records import decode, encode
from tiedae.bundle.manifest import ProgramText
from tiedae.bundle.reference_outputs import float_program
from tiedae.codec.backends import written_anew
from tiedae.compress.affine import Quantization
from tiedae.export.c.builder import CBuilder
from tiedae.export.c.operations import C_OPERATIONS
from tiedae.export.c.source import to_c
from tiedae.export.onnx.builder import OnnxGraphBuilder
from tiedae.export.onnx.operations import ONNX_OPERATIONS
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.tflite.builder import TfliteGraphBuilder
from tiedae.export.tflite.operations import TFLITE_OPERATIONS
from tiedae.export.tflite.writer import to_tflite
from tiedae.program import operations
from tiedae.program.interpreter import bounds, execute
from tiedae.program.operations import (
    OPERATIONS,
    Activate,
    AddBias,
    Dense,
    Gain,
    Interleave,
    Operation,
    Product,
    Requantize,
    Rescale,
)
from tiedae.program.operations.operation import Elementwise
from tiedae.program.program import Kernel, Program, Tensor
from tiedae.runtimes.ort import OrtSession

from ..conftest import build_program
from ..export.c.compiled import compiler
from ..runtimes.opening import open_tflite

SCALE = Quantization(1 / 64, 128)


@dataclass(frozen=True)
class Turn(Operation):
    """y = x as a matrix of so many rows, transposed."""

    rows: int

    def integers(self, program, x):
        return x.reshape(len(x), self.rows, -1).swapaxes(1, 2).reshape(x.shape)

    reals = integers


def turn_in_tflite(graph: TfliteGraphBuilder, turn: Turn) -> None:
    (size,) = graph.program.tensors[turn.x].shape
    shapes = (turn.rows, size // turn.rows), (size // turn.rows, turn.rows)
    before, after = (graph.between(f"{turn.y}.{i}", turn.x, shape) for i, shape in enumerate(shapes))
    graph.reshape(graph.inner(turn.x), before, shapes[0])
    axes = graph.constant("axes", np.array((0, 2, 1), np.int32))
    graph.add("TRANSPOSE", graph.version, [before, axes], after)
    graph.reshape(after, graph.inner(turn.y), (size,))


def turn_in_onnx(graph: OnnxGraphBuilder, turn: Turn) -> None:
    (size,) = graph.program.tensors[turn.x].shape
    shapes = (0, turn.rows, size // turn.rows), (0, size)
    before, after = (graph.constant(f"{turn.y}.{i}", shape, np.int64) for i, shape in enumerate(shapes))
    matrix = graph.node("Reshape", [graph.inner(turn.x), before], f"{turn.y}.matrix")
    turned = graph.node("Transpose", [matrix], f"{turn.y}.turned", perm=(0, 2, 1))
    graph.node("Reshape", [turned, after], graph.inner(turn.y))


def turn_in_c(graph: CBuilder, turn: Turn) -> None:
    (size,), rows = graph.program.tensors[turn.x].shape, turn.rows
    body = ["size_t i;", f"for (i = 0; i < {size}; i++) y[i % {size // rows} * {rows} + i / {size // rows}] = x[i];"]
    graph.step(turn, f"{turn.x} to {turn.y}: turned", body)


FORMATS = {
    "TFLite": (TFLITE_OPERATIONS, "split", to_tflite),
    "ONNX": (ONNX_OPERATIONS, "fused", to_onnx),
    "C": (C_OPERATIONS, "fused", to_c),
}
"""The table of each format, the layout of its decoders, what writes a program."""


@pytest.mark.parametrize("quantized", [True, False])
def test_a_new_operation_is_one_row(quantized: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, "Turn", Turn)
    for table, write in ((TFLITE_OPERATIONS, turn_in_tflite), (ONNX_OPERATIONS, turn_in_onnx), (C_OPERATIONS, turn_in_c)):
        monkeypatch.setitem(table, Turn, write)
    tensors = {name: Tensor(name, (6,), SCALE if quantized else None) for name in ("x", "code", "y")}
    program = Program("p", tensors, {}, (Turn("x", "code", 3),), (Turn("code", "y", 2),), {})
    x = np.random.default_rng(0).integers(0, 256, (5, 6), np.uint8)
    x = x if quantized else SCALE.dequantize(x)
    wanted = execute(program, "reconstruct", x)
    assert not np.array_equal(wanted["code"], x) and np.array_equal(wanted["y"], x)
    written = json.loads(encode(ProgramText.of(program)))
    assert decode(ProgramText, written, "p").program("p", {}).encoder == program.encoder
    io = "uint8" if quantized else "float32"
    (tmp_path / "p.onnx").write_bytes(to_onnx(program, io=io))
    sessions: list = [
        open_tflite("litert-reference", to_tflite(program, io=io)),
        OrtSession("ort-cpu", {"reconstruct": tmp_path / "p.onnx"}),
    ]
    if quantized and compiler():
        sessions.append(written_anew(program, "c"))
    for session in sessions:
        got = session.run("reconstruct", x)
        for name in ("code", "y"):
            np.testing.assert_array_equal(got[name], wanted[name])


@pytest.mark.parametrize("label", FORMATS)
def test_a_format_without_an_operation_names_both(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table, layout, write = FORMATS[label]
    program = build_program(form=layout, granularity="unit", byte_data=False, interleave=4)
    kinds = {type(operation) for operation in program.operations}
    assert {Interleave, Rescale, Activate} < kinds
    for kind in kinds:
        with monkeypatch.context() as patch:
            patch.delitem(table, kind)
            said = rf"^program toy: {label} has no {kind.__name__}, which writes '\S+'; must be one of "
            with pytest.raises(ExportError, match=said) as caught:
                write(program)
            assert kind.__name__ not in str(caught.value).partition("must be")[2]
    write(program)


@pytest.mark.parametrize("label", FORMATS)
def test_each_format_has_the_operations_of_its_layout(label: str) -> None:
    lacking = {OPERATIONS[name] for name in OPERATIONS} - set(FORMATS[label][0])
    assert lacking == ({Product, Gain, AddBias} if label == "ONNX" else set())


def test_the_table_has_every_operation_by_its_name() -> None:
    exported = {each for each in vars(operations).values() if isinstance(each, type) and issubclass(each, Operation)}
    assert dict(OPERATIONS) == {each.__name__: each for each in exported - {Operation}}


def test_the_float_program_has_no_operation_that_only_requantizes() -> None:
    integer = build_program(granularity="unit")
    constants = {name: values.astype(np.float32) for name, values in integer.constants.items()}
    assert {each for each in OPERATIONS.values() if each.integer_only} == {Requantize, Rescale}
    assert any(each.integer_only for each in integer.operations)
    assert not any(each.integer_only for each in float_program(integer, constants).operations)


def test_a_function_that_an_operation_cannot_have_is_an_error() -> None:
    tensors = {name: Tensor(name, (4,)) for name in ("x", "code", "y")}
    cases = (
        (AddBias("code", "y", "b", None, "tanh"), "y: got activation 'tanh', must be one of linear, relu, relu6"),
        (Activate("code", "y", "linear"), "y: got function 'linear', must be one of relu, relu6, tanh, sigmoid"),
        (Product("code", "y", "k"), "program p: there is no kernel 'k'"),
    )
    for operation, said in cases:
        with pytest.raises(ExportError, match=said):
            Program("p", tensors, {}, (Activate("x", "code", "relu"),), (operation,), {"b": np.zeros(4, np.float32)})


def test_scales_in_both_directions() -> None:
    kernel = Kernel("k", 3, 2, (0.5, 0.25))
    assert (kernel.encode_scales, kernel.decode_scales) == ((0.5, 0.25), (0.5,))
    assert Kernel("k", 3, 2).decode_scales == ()


def rows_program(**constants: np.ndarray) -> Program:
    """A product over the last of three axes, and back: x [2, 3, 4], code [2, 3, 5]."""
    grid = Quantization(0.5, 0)
    shapes = {"x": (2, 3, 4), "code": (2, 3, 5), "y": (2, 3, 4)}
    tensors = {name: Tensor(name, shape, grid) for name, shape in shapes.items()}
    values = {"k": np.ones((4, 5), np.int8), "b": np.zeros(5, np.int32)} | constants
    encoder = (Dense("x", "code", "k", False, "b", "linear"),)
    return Program(
        "p", tensors, {"k": Kernel("k", 4, 5, (0.25,))}, encoder, (Dense("code", "y", "k", True, None, "linear"),), values
    )


def test_products_are_of_the_last_axis() -> None:
    program = rows_program()
    x, code = (program.tensors[name] for name in ("x", "code"))
    dense = program.encoder[0]
    assert dense.shapes(program) == ((2, 3, 4), (2, 3, 5)) and dense.multiply_adds(x, code) == 2 * 3 * 4 * 5
    assert Product("code", "y", "k").multiply_adds(code, x) == 2 * 3 * 4 * 5
    assert Requantize("x", "y").multiply_adds(x, x) == 0
    assert isinstance(dense, Dense) and dense.bias_scales(program).tolist() == [0.125]
    for wrong in (np.zeros(5, np.float32), np.zeros((3, 5), np.int32), np.zeros(4, np.int32)):
        said = re.escape(f"b: got {wrong.dtype} {list(wrong.shape)}, must be int32 [5]")
        with pytest.raises(ExportError, match=f"^{said}$"):
            rows_program(b=wrong)


def test_factors_of_any_grid_are_exact() -> None:
    program = rows_program(f=np.array([2, 3, 4, 5], np.uint8))
    got = Rescale("x", "y", "f", Quantization(0.5, 2)).exact(program, np.array([1.0, 1.0, 2.0, -1.0]))
    assert got.tolist() == [0.0, 0.5, 2.0, -1.5]


def test_gains_scale_products_and_their_biases() -> None:
    gains = np.array([1, 2, 4, 0.5, 1], np.float32)
    program, plain = rows_program(g=gains, b=np.arange(5, dtype=np.int32)), rows_program(b=np.arange(5, dtype=np.int32))
    first = program.encoder[0]
    assert isinstance(first, Dense)
    dense = dataclasses.replace(first, gains="g")
    program = dataclasses.replace(program, encoder=(dense,))
    assert dense.scales(program).tolist() == (0.25 * gains).tolist()
    assert dense.bias_scales(program).tolist() == (0.125 * gains).tolist()
    x = np.full((1, 2, 3, 4), 3, np.uint8)
    sums = 12 + np.arange(5)
    for held, factors in ((plain, np.ones(5)), (program, gains)):
        expected = np.broadcast_to(np.rint(sums * 0.25 * factors), (1, 2, 3, 5))
        np.testing.assert_array_equal(execute(held, "encode", x)["code"], expected)
        low, high = bounds(held, "encode", x, x)["code"]
        assert ((low <= expected) & (expected <= high)).all()
    for wrong in (np.zeros(5, np.float32), -gains):
        with pytest.raises(ExportError, match=r"^g: the least gain is -?[04], must be positive$"):
            dataclasses.replace(program, constants={**program.constants, "g": wrong})
    with pytest.raises(ExportError, match=r"^g: got int32 \[5\], must be float32 \[5\]$"):
        dataclasses.replace(program, constants={**program.constants, "g": np.ones(5, np.int32)})


def test_a_gain_has_a_grid_in_an_integer_program_alone() -> None:
    program = rows_program(g=np.array([2, 3, 4, 5], np.uint8))
    own = Quantization(0.5, 2)
    assert Gain("x", "y", "g", own).exact(program, np.ones(4)).tolist() == [0.0, 0.5, 1.0, 1.5]
    with pytest.raises(ExportError, match=r"^g: got None, must have a quantization in an integer program"):
        Gain("x", "y", "g", None).check(program)


def test_a_sample_is_interleaved_from_equal_parts_alone() -> None:
    program = rows_program()
    for ways in (1, 4, 24):
        Interleave("x", "y", ways).check(program)
    for ways in (0, 5, 2.0):
        with pytest.raises(ExportError, match=f"interleave to y: got {ways} groups, must be a divisor of 24"):
            Interleave("x", "y", ways).check(program)  # type: ignore[arg-type]


def test_an_operation_says_how_it_computes() -> None:
    for base, method in ((Operation, "integers"), (Elementwise, "exact")):
        with pytest.raises(TypeError, match=method):
            type("Half", (base,), {name: Turn.integers for name in {"integers", "exact"} - {method}})("x", "y")
