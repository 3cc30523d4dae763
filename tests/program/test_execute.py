"""What `execute` takes: the signature, and values of its input tensor, or an error that names both sides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.compress import DataError, InputError
from tiedae.compress.affine import BYTE
from tiedae.export import execute, to_onnx, to_tflite
from tiedae.program import interpreter as interpreting
from tiedae.program.interpreter import program_input
from tiedae.program.program import Program, Tensor

from ..conftest import build_program

SIZES = {"encode": 20, "decode": 5, "reconstruct": 20}
PROGRAMS = {quantized: build_program(quantized=quantized, code_bits=5 if quantized else 8) for quantized in (True, False)}


@settings(max_examples=150, deadline=None)
@given(
    quantized=st.booleans(),
    signature=st.sampled_from(list(SIZES)),
    dtype=st.sampled_from(["uint8", "int8", "bool", "int64", "float16", "float32", "float64"]),
    shape=st.lists(st.sampled_from([0, 1, 3, 5, 20]), max_size=3),
)
def test_any_other_dtype_or_shape_is_an_error(quantized: bool, signature: str, dtype: str, shape: list[int]) -> None:
    right = "uint8" if quantized else "float32"
    x = np.zeros(shape, dtype)
    if dtype == right and len(shape) == 2 and shape[1] == SIZES[signature]:
        assert all(len(values) == shape[0] for values in execute(PROGRAMS[quantized], signature, x).values())
        return
    with pytest.raises(DataError) as error:
        execute(PROGRAMS[quantized], signature, x)
    text = str(error.value)
    assert text.startswith(f"program toy, {signature}: ")
    assert f"must be {right} [batch, {SIZES[signature]}], got {dtype} {shape}" in text
    assert ("quantize converts real values" in text) == (quantized and dtype != right)


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(4, 8), value=st.integers(0, 255))
def test_a_code_keeps_to_its_bits(bits: int, value: int) -> None:
    program, code = build_program(code_bits=bits), np.zeros((3, 5), np.uint8)
    code[1, 2] = value
    if value < 2**bits:
        assert execute(program, "decode", code)["y"].shape == (3, 20)
        return
    with pytest.raises(DataError, match=rf"code must be uint8 \[batch, 5\] in 0…{2**bits - 1} \({bits} bits\), got {value}"):
        execute(program, "decode", code)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("signature", list(SIZES))
def test_floats_are_finite(signature: str, value: float) -> None:
    x = np.zeros((3, SIZES[signature]), np.float32)
    x[2, 1] = value
    with pytest.raises(DataError, match=rf"must be float32 \[batch, {SIZES[signature]}\] and finite, got {value}"):
        execute(PROGRAMS[False], signature, x)


def test_a_list_is_no_array() -> None:
    with pytest.raises(DataError, match=r"x must be uint8 \[batch, 20\], got list"):
        execute(PROGRAMS[True], "encode", [[0] * 20])


@pytest.mark.parametrize(
    "call",
    [
        lambda program, name: execute(program, name, np.zeros((1, 20), np.uint8)),
        lambda program, name: program.part(name),
        lambda program, name: to_tflite(program, signatures=("encode", name)),
        lambda program, name: to_onnx(program, signature=name),
    ],
    ids=["execute", "part", "to_tflite", "to_onnx"],
)
@pytest.mark.parametrize("name", ["serve", "", "Encode"])
def test_another_signature_is_the_same_error_everywhere(call, name: str) -> None:
    with pytest.raises(InputError, match=f"^signature: got {name!r}, must be one of encode, decode, reconstruct$"):
        call(PROGRAMS[True], name)


def test_one_check_a_call(monkeypatch) -> None:
    """However many operations there are, and however many pieces the batch is cut into."""
    checked = []
    plain = Tensor.require
    monkeypatch.setattr(
        Tensor, "require", lambda self, values, source: checked.append(self.name) or plain(self, values, source)
    )
    execute(PROGRAMS[True], "reconstruct", np.zeros((2 * interpreting.ROWS + 1, 20), np.uint8))
    assert checked == ["x"]


def test_nan_has_no_integer_and_infinity_saturates() -> None:
    with pytest.raises(DataError, match="quantize: got NaN in 2 of 3 values, must be numbers"):
        BYTE.quantize(np.array([np.nan, 0.5, np.nan]))
    np.testing.assert_array_equal(BYTE.quantize(np.array([-np.inf, np.inf])), [0, 255])


def test_raw_bytes_are_no_model_values() -> None:
    """Every byte from 1 on was taken for a value beyond the range: 255."""
    program: Program = PROGRAMS[True]
    raw = np.full((2, 20), 7, np.uint8)
    with pytest.raises(DataError, match="quantize: got uint8, must be floats in scaled values"):
        program_input(program, raw)
    np.testing.assert_array_equal(program_input(program, raw / np.float32(255)), raw)


@pytest.mark.parametrize("dtype", ["int8", "float32", "int64"])
def test_only_uint8_is_dequantized(dtype: str) -> None:
    """The int8 of a file is 128 less, and floats were cut off to integers."""
    with pytest.raises(DataError, match=f"dequantize: got {dtype}, must be uint8"):
        BYTE.dequantize(np.zeros((2, 3), dtype))
