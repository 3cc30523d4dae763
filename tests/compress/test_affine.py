"""Affine arithmetic: ranges, integers, inputs and outputs of a file."""

import numpy as np
import pytest

from tiedae.base.errors import ExportError
from tiedae.compress.affine import (
    BYTE,
    SIGMOID_OUTPUT,
    TANH_OUTPUT,
    Quantization,
    affine_parameters,
    io_dtype,
    quantize,
    representable,
    signed,
    unsigned,
)

ALL = np.arange(256).astype(np.uint8)


def test_int8_is_128_less() -> None:
    np.testing.assert_array_equal(signed(ALL), ALL.astype(int) - 128)
    np.testing.assert_array_equal(unsigned(signed(ALL)), ALL)
    np.testing.assert_array_equal(unsigned(ALL), ALL)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_values_of_an_input_or_output_come_back(dtype: str) -> None:
    quantization = Quantization.from_range(-0.7, 2.1)
    values = quantization.to_io(ALL, dtype)
    assert values.dtype == dtype
    np.testing.assert_array_equal(quantization.from_io(values), ALL)


def test_integers_of_any_type_saturate_and_agree() -> None:
    real = np.array([-9.0, -0.5, 0.0, 0.49, 9.0])
    scale, zero_point = affine_parameters(-1, 1)
    got = quantize(real, scale, zero_point - 128, "int8")
    np.testing.assert_array_equal(unsigned(got), Quantization(scale, zero_point).quantize(real))


@pytest.mark.parametrize(
    ("io", "is_bytes", "quantized", "wanted"),
    [
        ("auto", True, True, "uint8"),
        ("auto", False, True, "float32"),
        ("auto", True, False, "float32"),
        ("int8", True, True, "int8"),
        ("float32", False, False, "float32"),
    ],
)
def test_the_dtype_of_an_input_or_output(io: str, is_bytes: bool, quantized: bool, wanted: str) -> None:
    assert io_dtype(io, is_bytes, quantized=quantized) == wanted


@pytest.mark.parametrize(("io", "said"), [("int4", "must be one of auto, uint8"), ("int8", "a float program has float32")])
def test_another_dtype_of_an_input_or_output_is_an_error(io: str, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        io_dtype(io, False, quantized=False)


@pytest.mark.parametrize(
    ("low", "high", "options", "scale", "zero_point"),
    [
        (0, 1, (), 1 / 255, 0),
        (0.1, 0.9, (), 0.9 / 255, 0),
        (-0.9, -0.1, (), 0.9 / 255, 255),
        (-1, 2, (4,), 0.2, 5),
        (0, 0, (), 1 / 255, 0),
        (0, 0.9e-30, (), 1 / 255, 0),
        (0, 1e-30, (), 1e-30 / 255, 0),
        (0, 0.5, (), 0.5 / 255, 0),
        (0, 1, (8, 0.01), 0.01, 0),
    ],
)
def test_a_range_is_widened_to_zero_and_divided_into_steps(low, high, options, scale: float, zero_point: int) -> None:
    assert affine_parameters(low, high, *options) == (float(np.float32(scale)), zero_point)


def test_what_integers_represent() -> None:
    assert representable(0.5, 3, "uint8") == (-1.5, 126.0)
    assert representable(0.5, 3, "int8") == (-65.5, 62.0)
    assert io_dtype("auto", True) == "uint8"


@pytest.mark.parametrize(
    ("zero_point", "bits", "said"),
    [
        (0, 0, "bits of an activation must lie in 1…8, got 0"),
        (0, 9, "bits of an activation must lie in 1…8, got 9"),
        (-1, 8, "a zero point must lie in 0…255, got -1"),
        (2, 1, "a zero point must lie in 0…1, got 2"),
    ],
)
def test_zero_point_and_bits_have_limits(zero_point: int, bits: int, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        Quantization(1.0, zero_point, bits)
    assert [Quantization(1.0, top, bits).top for bits, top in ((1, 1), (8, 255))] == [1, 255]


def test_bytes_and_the_outputs_of_functions_have_the_grids_of_runtimes() -> None:
    ends = np.array([0, 255], np.uint8)
    assert BYTE.dequantize(ends).tolist() == [0, 1]
    assert SIGMOID_OUTPUT.dequantize(ends).tolist() == [0, 255 / 256]
    assert TANH_OUTPUT.dequantize(ends).tolist() == [-1, 127 / 128]


def test_an_array_of_any_layout_is_quantized_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)
    grid = Quantization(0.015625, 100)
    right = np.clip(np.rint(values.astype(np.float64) / 0.015625) + 100, 0, 255).astype(np.uint8)
    monkeypatch.setattr("tiedae.compress.blocks.VALUES", 8)
    assert np.array_equal(grid.quantize(values), right)
    assert np.array_equal(grid.quantize(values.transpose(2, 0, 1)), right.transpose(2, 0, 1))
    assert grid.quantize(values[:0]).shape == (0, 5, 3) and grid.quantize(values[0, 0, 0]) == right[0, 0, 0]
