"""An operation is one row: nothing outside of its class, and `OPERATIONS`, knows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tiedae.compress.affine import Quantization
from tiedae.compress.errors import ExportError
from tiedae.compress.records import decode, encode
from tiedae.export import operations
from tiedae.export.formats.onnx_writer import to_onnx
from tiedae.export.formats.tflite_writer import to_tflite
from tiedae.export.interpreter import execute
from tiedae.export.manifest import ProgramText
from tiedae.export.operations import OPERATIONS, Activate, AddBias, Operation, Product
from tiedae.export.parity.reference_outputs import float_program
from tiedae.export.program import Kernel, Program, Tensor
from tiedae.export.runtimes.litert import open_litert
from tiedae.export.runtimes.ort import open_ort

from ..conftest import build_program

SCALE = Quantization(1 / 64, 128)


@dataclass(frozen=True)
class Turn(Operation):
    """y = x as a matrix of so many rows, transposed."""

    rows: int

    def integers(self, program, x):
        return x.reshape(len(x), self.rows, -1).swapaxes(1, 2).reshape(x.shape)

    reals = integers

    def to_tflite(self, graph):
        (size,) = graph.program.tensors[self.x].shape
        shapes = (self.rows, size // self.rows), (size // self.rows, self.rows)
        before, after = (graph.between(f"{self.y}.{i}", self.x, shape) for i, shape in enumerate(shapes))
        graph.reshape(graph.inner(self.x), before, shapes[0])
        axes = graph.constant("axes", np.array((0, 2, 1), np.int32))
        graph.add("TRANSPOSE", graph.version, [before, axes], after)
        graph.reshape(after, graph.inner(self.y), (size,))

    def to_onnx(self, graph):
        (size,) = graph.program.tensors[self.x].shape
        shapes = (0, self.rows, size // self.rows), (0, size)
        before, after = (graph.constant(f"{self.y}.{i}", shape, np.int64) for i, shape in enumerate(shapes))
        matrix = graph.node("Reshape", [graph.inner(self.x), before], f"{self.y}.matrix")
        turned = graph.node("Transpose", [matrix], f"{self.y}.turned", perm=(0, 2, 1))
        graph.node("Reshape", [turned, after], graph.inner(self.y))


@pytest.mark.parametrize("quantized", [True, False])
def test_a_new_operation_is_one_row(quantized: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, "Turn", Turn)
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
    for session in (
        open_litert("litert-reference", to_tflite(program, io=io)),
        open_ort("ort-cpu", {"reconstruct": tmp_path / "p.onnx"}),
    ):
        got = session.run("reconstruct", x)
        for name in ("code", "y"):
            np.testing.assert_array_equal(got[name], wanted[name])


def test_the_table_has_every_operation_by_its_name() -> None:
    exported = {each for each in vars(operations).values() if isinstance(each, type) and issubclass(each, Operation)}
    assert dict(OPERATIONS) == {each.__name__: each for each in exported - {Operation}}


def test_the_float_program_has_no_operation_that_only_requantizes() -> None:
    integer = build_program(granularity="unit")
    constants = {name: values.astype(np.float32) for name, values in integer.constants.items()}
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
