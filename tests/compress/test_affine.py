"""Affine arithmetic: ranges, integers, inputs and outputs of a file."""

import numpy as np
import pytest
from tiedae.compress.affine import Quantization, affine_parameters, io_dtype, quantize, signed, unsigned
from tiedae.compress.errors import ExportError

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
