"""The reference: its stated roundings, and that both layouts of a program give the same codes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiedae.compress import ExportError
from tiedae.compress.affine import SIGMOID_OUTPUT, Quantization
from tiedae.program.arithmetic import FUNCTIONS, activation_table, add_parameters, clear_of_ties, requantize
from tiedae.program.interpreter import apply, execute
from tiedae.program.operations import AddBias, Requantize, Rescale
from tiedae.program.operations.interleave import interleaved
from tiedae.program.program import Kernel, Program, Tensor

SCALES = st.floats(2.0**-5, 4.0, width=32)


@settings(max_examples=200, deadline=None)
@given(
    accumulator=arrays(np.int64, 50, elements=st.integers(-(2**31), 2**31 - 1)),
    multiplier=st.floats(2.0**-30, 8.0, width=32),
    zero_point=st.integers(0, 255),
)
def test_requantize_is_a_binary32_product_rounded_to_nearest_even(accumulator, multiplier, zero_point) -> None:
    product = accumulator.astype(np.float32) * np.float32(multiplier)
    expected = np.clip(np.rint(product.astype(np.float64)) + zero_point, 0, 255)
    np.testing.assert_array_equal(requantize(accumulator, np.float32(multiplier), zero_point, 0, 255), expected)


@settings(max_examples=200, deadline=None)
@given(
    accumulator=arrays(np.int64, 50, elements=st.integers(-(2**31), 2**31 - 1)),
    half=arrays(np.float64, 50, elements=st.integers(-300, 300).map(lambda k: k + 0.5)),
)
def test_next_to_a_tie_it_is_a_binary32_product_too(accumulator, half) -> None:
    multiplier = np.abs(half / np.where(accumulator == 0, 1, accumulator)).astype(np.float32)
    product = accumulator.astype(np.float32) * multiplier
    expected = np.clip(np.rint(product.astype(np.float64)) + 128, 0, 255)
    np.testing.assert_array_equal(requantize(accumulator, multiplier, 128, 0, 255), expected)


@pytest.mark.parametrize("multiplier", [2.0**-100, 2.0**-60, 2.0**-40])
def test_what_is_less_than_half_a_step_is_none(multiplier: float) -> None:
    got = requantize(np.array([1, -1, 2**31 - 1, -(2**31)]), np.float32(multiplier), 7, 0, 255)
    np.testing.assert_array_equal(got, [7] * 4)


@pytest.mark.parametrize("multiplier", [1.0, 2.0**23, 2.0**24, 2.0**25, 2.0**40])
def test_whatever_the_multiplier_a_value_out_of_range_saturates(multiplier: float) -> None:
    got = requantize(np.array([2**31 - 1, 1, 0, -1, -(2**31)]), np.float32(multiplier), 7, 3, 250)
    np.testing.assert_array_equal(got, [250, min(250, 7 + multiplier), 7, max(3, 7 - multiplier), 3])


def test_requantize_rounds_ties_to_even() -> None:
    got = requantize(np.array([1, 3, 5, -1, -3]), np.float32(0.5), 10, 0, 255)
    np.testing.assert_array_equal(got, [10, 12, 12, 10, 8])


@pytest.mark.parametrize(
    ("accumulator", "multiplier", "expected"),
    [
        (2**24 + 1, 2.5 / 2**24, 2),  # 2²⁴ in 24 bits; times the multiplier 2.5
        (2**24 + 3, 2.5 / 2**24, 3),  # 2²⁴ + 4
        (-(2**24) - 1, 2.5 / 2**24, -2),
        (1, 0.5, 0),
        (3, 0.5, 2),
        (5, 0.5, 2),
        (3, 1 / 6, 0),  # a little more than 0.5, which is 0.5 in 24 bits
    ],
)
def test_the_accumulator_the_product_and_the_result_are_rounded_to_nearest_even(accumulator, multiplier, expected) -> None:
    assert requantize(np.array([accumulator]), np.float32(multiplier), 100, 0, 255)[0] == 100 + expected


def addition(x: Quantization, bias: Quantization, y: Quantization, values: list[int], activation: str = "linear") -> Program:
    """The decoder of this program is one addition of a bias."""
    tensors = {name: Tensor(name, (len(values),), scale) for name, scale in (("x", x), ("code", x), ("y", y))}
    operations = (AddBias("x", "code", "b", bias, "linear"),), (AddBias("code", "y", "b", bias, activation),)
    return Program("p", tensors, {}, *operations, {"b": np.array(values, np.uint8)})


def test_an_addition_rounds_ties_upwards() -> None:
    half, one = Quantization(0.5, 100), Quantization(1.0, 50)
    values = np.array([[101, 103, 105, 99, 97, 95]], np.uint8)
    got = execute(addition(half, one, one, [50] * 6), "decode", values)["y"].astype(int) - 50
    np.testing.assert_array_equal(got, [[1, 2, 3, 0, -1, -2]])


@settings(max_examples=100, deadline=None)
@given(
    low=st.floats(-50, 50, width=32),
    high=st.floats(-50, 50, width=32),
    real=arrays(np.float32, 20, elements=st.floats(-60, 60, width=32)),
)
def test_a_range_holds_zero_exactly_and_its_values_to_a_step(low: float, high: float, real: np.ndarray) -> None:
    low, high = sorted((low, high))
    quantization = Quantization.from_range(low, high)
    assert quantization.dequantize(np.array([quantization.zero_point], np.uint8))[0] == 0
    inside = real[(real >= min(low, 0)) & (real <= max(high, 0))]
    error = np.abs(quantization.dequantize(quantization.quantize(inside)) - inside)
    assert (error <= 1.001 * quantization.scale).all()  # half a step, one at the end that the rounded zero point cuts off


@settings(max_examples=100, deadline=None)
@given(x_scale=SCALES, bias_scale=SCALES, y_scale=SCALES, zeros=st.tuples(*[st.integers(0, 255)] * 3))
def test_an_addition_is_within_half_a_step_of_the_real_sum(x_scale, bias_scale, y_scale, zeros) -> None:
    x, bias, y = (Quantization(float(s), z) for s, z in zip((x_scale, bias_scale, y_scale), zeros, strict=True))
    tensors = {"x": Tensor("x", (8,), x), "code": Tensor("code", (8,), x), "y": Tensor("y", (8,), y)}
    rng = np.random.default_rng(0)
    constants = {"b": rng.integers(0, 256, 8).astype(np.uint8)}
    operation = AddBias("code", "y", "b", bias, "linear")
    program = Program("p", tensors, {}, (AddBias("x", "code", "b", bias, "linear"),), (operation,), constants)
    values = rng.integers(0, 256, (5, 8)).astype(np.uint8)
    real = (
        (values.astype(int) - x.zero_point) * x.scale + (constants["b"].astype(int) - bias.zero_point) * bias.scale
    ) / y.scale
    got = apply(program, operation, values).astype(int) - y.zero_point
    inside = (got + y.zero_point > 0) & (got + y.zero_point < 255)
    assert (np.abs(got - real)[inside] <= 0.51 + 2.0**-12 * np.abs(real)[inside]).all()
    multipliers = add_parameters(x, bias, y)
    assert 2**20 <= max(multipliers[:2]) <= 2**21


@pytest.mark.parametrize(("activation", "high"), [("linear", 255), ("relu", 255), ("relu6", 10 + 24)])
def test_a_fused_activation_is_a_saturation(activation: str, high: int) -> None:
    """Zero is 10, six is 24 steps of 0.25 above it."""
    quarter = Quantization(0.25, 10)
    program = addition(quarter, quarter, quarter, [10] * 256, activation)
    got = execute(program, "decode", np.arange(256, dtype=np.uint8)[None])["y"][0]
    np.testing.assert_array_equal(got, np.clip(np.arange(256), 0 if activation == "linear" else 10, high))


def test_six_beyond_the_range_cuts_nothing_off() -> None:
    tenth = Quantization(float(np.float32(0.02)), 10)
    program = addition(tenth, tenth, tenth, [10] * 256, "relu6")
    assert execute(program, "decode", np.arange(256, dtype=np.uint8)[None])["y"].max() == 255


EVERY_BYTE = np.arange(256, dtype=np.uint8)[None]


@settings(max_examples=100, deadline=None)
@given(scales=st.tuples(*[st.integers(1, 64)] * 3), zeros=st.tuples(*[st.integers(0, 255)] * 3), factor=st.integers(0, 255))
def test_rescaling_and_requantizing_are_the_nearest_integer(scales, zeros, factor) -> None:
    """Scales are multiples of 1/64 and products small, so that float64 is exact; ties go to even."""
    x, factors, y = (Quantization(scale / 64, zero) for scale, zero in zip(scales, zeros, strict=True))
    tensors = {"x": Tensor("x", (256,), x), "code": Tensor("code", (256,), y), "y": Tensor("y", (256,), y)}
    constants = {"f": np.full(256, factor, np.uint8)}
    program = Program("p", tensors, {}, (Rescale("x", "code", "f", factors),), (Requantize("code", "y"),), constants)
    steps = EVERY_BYTE.astype(np.int64) - x.zero_point
    for operation, product, multiplier in (
        (Rescale("x", "y", "f", factors), steps * (factor - factors.zero_point), x.scale * factors.scale),
        (Requantize("x", "y"), steps, x.scale),
    ):
        real = product.astype(np.float32) * (np.float32(multiplier) / np.float32(y.scale))
        expected = np.clip(np.rint(real) + y.zero_point, 0, 255)
        np.testing.assert_array_equal(apply(program, operation, EVERY_BYTE), expected)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("linear", [-50, -1, 0, 1, 50]),
        ("relu", [0, 0, 0, 1, 50]),
        ("relu6", [0, 0, 0, 1, 6]),
        ("tanh", [-1, -math.tanh(1), 0, math.tanh(1), 1]),
        ("sigmoid", [0, 1 / (1 + math.e), 0.5, 1 / (1 + 1 / math.e), 1]),
    ],
)
def test_functions_are_those_that_their_names_say(function: str, expected: list[float]) -> None:
    np.testing.assert_allclose(FUNCTIONS[function].real(np.array([-50.0, -1, 0, 1, 50])), expected, atol=1e-15)


def test_interleaving_takes_the_values_in_turn_from_equal_parts() -> None:
    x = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(interleaved(x, 3), [[0, 2, 4, 1, 3, 5], [6, 8, 10, 7, 9, 11]])
    np.testing.assert_array_equal(interleaved(interleaved(x, 3), 2), x)


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_tables_are_the_nearest_values(function: str) -> None:
    x = Quantization.from_range(-8, 8)
    real = FUNCTIONS[function].real((np.arange(256) - x.zero_point) * x.scale)
    np.testing.assert_array_equal(activation_table(function, x, SIGMOID_OUTPUT), SIGMOID_OUTPUT.quantize(real))


def tables_in_float32(function: str, x: Quantization, y: Quantization) -> list[np.ndarray]:
    """Tables as runtimes compute them: in float32, by a division or by factors, to even or away from zero."""
    real = (np.arange(256) - x.zero_point).astype(np.float32) * np.float32(x.scale)
    one = np.float32(1)
    values = [np.tanh(real)] if function == "tanh" else [one / (one + np.exp(-real)), np.exp(real) / (one + np.exp(real))]
    steps = [value * np.float32(1 / y.scale) for value in values]
    rounded = [rounding(each) for each in steps for rounding in (np.rint, lambda each: np.trunc(each + np.copysign(0.5, each)))]
    return [np.clip(each + y.zero_point, 0, 255).astype(np.uint8) for each in rounded]


@settings(max_examples=300)
@given(st.sampled_from(["sigmoid", "tanh"]), st.floats(-5, -0.6), st.integers(0, 255))
def test_tables_that_are_clear_of_ties_are_those_of_runtimes_in_float32(function: str, power: float, zero: int) -> None:
    x, y = Quantization(float(np.float32(10**power)), zero), FUNCTIONS[function].output
    assert y is not None
    clear = clear_of_ties(function, x, y)
    assert abs(clear.scale / x.scale - 1) < 0.001 and clear == clear_of_ties(function, clear, y)
    for table in tables_in_float32(function, clear, y):
        np.testing.assert_array_equal(table, activation_table(function, clear, y))


def test_a_scale_with_a_tie_in_its_table_is_moved() -> None:
    x = Quantization(float(np.float32(0.018721677)), 92)
    assert any(
        (table != activation_table("sigmoid", x, SIGMOID_OUTPUT)).any()
        for table in tables_in_float32("sigmoid", x, SIGMOID_OUTPUT)
    )
    moved, raised = (clear_of_ties("sigmoid", x, SIGMOID_OUTPUT, least) for least in (0, x.scale))
    assert x.scale < raised.scale < x.scale * 1.0001 and abs(moved.scale - x.scale) <= raised.scale - x.scale
    clear = Quantization.from_range(-8, 8)
    assert clear_of_ties("sigmoid", clear, SIGMOID_OUTPUT) == clear


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize("bias", [True, False])
def test_both_forms_give_the_same_codes_and_nearly_the_same_output(make_program, granularity: str, bias: bool) -> None:
    x = np.random.default_rng(1).integers(0, 256, (300, 20)).astype(np.uint8)
    split, fused = (
        execute(make_program(form=form, granularity=granularity, bias=bias), "reconstruct", x) for form in ("split", "fused")
    )
    np.testing.assert_array_equal(split["code"], fused["code"])
    assert np.abs(split["y"].astype(int) - fused["y"].astype(int)).max() <= 6


@pytest.mark.parametrize("activation", ["linear", "relu", "relu6", "tanh", "sigmoid"])
def test_integers_follow_the_float_program(make_program, activation: str) -> None:
    arguments = {"activations": (activation, "linear"), "form": "split"}
    quantized, floating = make_program(**arguments, pairs=False), make_program(**arguments, quantized=False)
    x = np.random.default_rng(1).integers(0, 256, (300, 20)).astype(np.uint8)
    got = execute(quantized, "reconstruct", x)
    expected = execute(floating, "reconstruct", (x / 255).astype(np.float32))
    code = quantized.tensors["code"].quantization
    assert np.abs(code.dequantize(got["code"]) - expected["code"]).max() < 6 * code.scale
    assert np.abs(got["y"] / 255 - expected["y"]).mean() < 0.01


@pytest.mark.parametrize("interleave", [1, 4])
def test_batches_are_independent_of_how_they_are_cut(make_program, interleave: int) -> None:
    program = make_program(interleave=interleave)
    x = np.random.default_rng(1).integers(0, 256, (600, 20)).astype(np.uint8)
    whole = execute(program, "encode", x)["code"]
    np.testing.assert_array_equal(
        whole, np.concatenate([execute(program, "encode", part)["code"] for part in np.split(x, 7 * [0] + [13, 400])])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0.0, "zero_point": 0}, "scale must be a positive float32"),
        ({"scale": float("nan"), "zero_point": 0}, "scale must be a positive float32"),
        ({"scale": 0.1, "zero_point": 0}, "scale must be a positive float32"),
        ({"scale": 0.5, "zero_point": 256}, "zero point must lie in 0…255"),
    ],
)
def test_impossible_quantizations_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        Quantization(**change)


def test_a_program_that_contradicts_itself_is_refused(make_program) -> None:
    program = make_program()
    with pytest.raises(ExportError, match="before it is written"):
        Program("p", program.tensors, program.kernels, program.decoder, program.encoder, program.constants)
    with pytest.raises(ExportError, match=r"kernel kernel_0: shape \(20, 12\) in constants, \(9, 12\) declared"):
        kernels = dict(program.kernels) | {"kernel_0": Kernel("kernel_0", 9, 12, (0.5,))}
        Program("p", program.tensors, kernels, program.encoder, program.decoder, program.constants)
    with pytest.raises(ExportError, match="kernel kernel_0: 3 scales, must be 1 or 12, one per unit"):
        kernels = dict(program.kernels) | {"kernel_0": Kernel("kernel_0", 20, 12, (0.5,) * 3)}
        Program("p", program.tensors, kernels, program.encoder, program.decoder, program.constants)
    for scale in (0.0, float("nan"), ""):
        with pytest.raises(ExportError, match="kernel kernel_0: scale must be positive and finite"):
            Kernel("kernel_0", 20, 12, (scale,))
    with pytest.raises(ExportError, match=r"there is no bias 'encoder_0\.bias'"):
        constants = {name: values for name, values in program.constants.items() if name != "encoder_0.bias"}
        Program("p", program.tensors, program.kernels, program.encoder, program.decoder, constants)
    turned = make_program(interleave=4)
    for ways, said in ((3, "got 3 groups, must be a divisor of 20"), (0, "got 0 groups"), ("2", "got '2' groups")):
        with pytest.raises(ExportError, match=rf"interleave to x\.interleaved: {said}"):
            dataclasses.replace(turned, encoder=(dataclasses.replace(turned.encoder[0], ways=ways), *turned.encoder[1:]))
    other = dataclasses.replace(turned.tensors["x.interleaved"], quantization=turned.tensors["code"].quantization)
    with pytest.raises(ExportError, match=r"interleave to x\.interleaved: its shape and quantization must be those of x"):
        dataclasses.replace(turned, tensors={**turned.tensors, "x.interleaved": other})
    with pytest.raises(ExportError, match="int8 in −127…127"):
        constants = dict(program.constants) | {"kernel_0": np.full((20, 12), -128, np.int8)}
        Program("p", program.tensors, program.kernels, program.encoder, program.decoder, constants)
