"""The interpreter's float32 arithmetic gives the bits of the emulation in int64: `emulation.py`."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiedae.compress.affine import Quantization
from tiedae.compress.integers import kernel_bounds
from tiedae.program.arithmetic import EXACT, LARGEST_STEPS, TERMS, FloatKernel, add_bias, add_parameters, requantize
from tiedae.program.interpreter import apply, execute
from tiedae.program.operations import OPERATIONS, AddBias
from tiedae.program.program import Program, Tensor

from ..conftest import build_program
from . import emulation, products
from .convolutions import random_program

INT32 = np.iinfo(np.int32)
MULTIPLIERS = st.one_of(
    st.floats(2.0**-30, 8.0, width=32), st.floats(0, float(np.finfo(np.float32).max), width=32, exclude_min=True)
)
BYTES = st.integers(0, 255)
ACTIVATIONS = ("linear", "relu", "relu6", "tanh", "sigmoid")


def near_ties(multiplier: float) -> np.ndarray:
    """int32 accumulators, int64 [n]: the 7 closest to each tie of a result in −300…300, and the ends of the range."""
    middles = (np.arange(-300, 300) + 0.5) / multiplier
    found = np.rint(np.clip(middles, INT32.min, INT32.max))[:, None] + np.arange(-3, 4)
    return np.clip(np.append(found, [INT32.min, -1, 0, 1, INT32.max]), INT32.min, INT32.max).astype(np.int64)


@settings(max_examples=300)
@given(
    multiplier=MULTIPLIERS,
    others=arrays(np.int64, 200, elements=st.integers(int(INT32.min), int(INT32.max))),
    zero_point=BYTES,
    ends=st.tuples(BYTES, BYTES).map(sorted),
)
def test_requantize_is_its_emulation(multiplier: float, others: np.ndarray, zero_point: int, ends: list[int]) -> None:
    accumulator, factor = np.append(near_ties(multiplier), others), np.float32(multiplier)
    expected = emulation.requantize(accumulator, factor, zero_point, *ends)
    for dtype in (np.int64, np.float64):
        np.testing.assert_array_equal(requantize(accumulator.astype(dtype), factor, zero_point, *ends), expected)
    exact = np.abs(accumulator) <= EXACT
    np.testing.assert_array_equal(requantize(accumulator[exact].astype(np.float32), factor, zero_point, *ends), expected[exact])


@settings(max_examples=100)
@given(multipliers=st.lists(MULTIPLIERS, min_size=1, max_size=5), zero_point=BYTES)
def test_a_multiplier_per_unit_is_its_emulation(multipliers: list[float], zero_point: int) -> None:
    accumulator = np.stack([near_ties(each) for each in multipliers], axis=1)
    factors = np.array(multipliers, np.float32)
    np.testing.assert_array_equal(
        requantize(accumulator, factors, zero_point, 0, 255), emulation.requantize(accumulator, factors, zero_point, 0, 255)
    )


@settings(max_examples=200)
@given(multiplier=st.floats(2.0**-26, 8.0, width=32), seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["f4", "f8"]))
def test_a_bias_of_any_size_is_added_without_a_second_rounding(multiplier: float, seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    total = near_ties(multiplier)
    accumulator = rng.integers(-EXACT, EXACT, total.size, endpoint=True)
    bias = total - accumulator
    inside = (bias >= INT32.min) & (bias <= INT32.max)
    total, accumulator, bias = total[inside], accumulator[inside], bias[inside].astype(np.int32)
    expected = emulation.requantize(total, np.float32(multiplier), 100, 0, 255)
    added = add_bias(accumulator.astype(dtype), bias)
    np.testing.assert_array_equal(requantize(added, np.float32(multiplier), 100, 0, 255), expected)
    few = np.abs(bias) <= EXACT  # these stay in float32
    added = add_bias(accumulator[few].astype(dtype), bias[few])
    assert added.dtype == dtype
    np.testing.assert_array_equal(requantize(added, np.float32(multiplier), 100, 0, 255), expected[few])


def test_the_bound_of_a_block_covers_every_kernel_and_input() -> None:
    largest = max(-low for low, _ in map(kernel_bounds, range(2, 9)))
    assert LARGEST_STEPS * largest * TERMS <= EXACT
    assert np.float32(EXACT) - np.float32(1) != np.float32(EXACT) == np.float32(EXACT + 1)


@pytest.mark.parametrize("terms", [1, 2, 511, 512, 513, 518, 519, 1023, 1024, 1025, 2000])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("least", [127, 126, 0])
def test_products_of_extremes_are_exact(terms: int, transposed: bool, least: int) -> None:
    """Kernels of magnitudes `least`…127 against inputs of 254 and 255 steps, all of one sign, or of both."""
    rng = np.random.default_rng(terms)
    for signs in ((1,), (-1,), (-1, 1)):
        kernel = rng.integers(least, 128, (terms, 9)) * rng.choice(signs, (terms, 9))
        x = rng.integers(254, 256, (65, terms)) * rng.choice((-1, 1), (65, 1))
        held = FloatKernel.of((kernel.T if transposed else kernel).astype(np.int8))
        got = held.product(x.astype(np.float32), transposed)
        np.testing.assert_array_equal(got.astype(np.int64), x @ kernel)
        fits = 255 * np.abs(kernel).sum(axis=0).max() <= 2**24
        assert got.dtype == (np.float32 if fits else np.float64)


def test_a_sum_of_exactly_two_to_the_24_is_still_float32() -> None:
    kernel = np.zeros((600, 1), np.int8)
    kernel[:518], kernel[518] = 127, 7  # 255 · 65,793 = 2²⁴ − 1
    for more, dtype in ((0, np.float32), (1, np.float64)):
        kernel[519] = more
        got = FloatKernel.of(kernel).product(np.full((1, 600), 255, np.float32), False)
        assert (int(got[0, 0]), got.dtype) == (2**24 - 1 + 255 * more, dtype)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize("form", ["fused", "split"])
def test_programs_give_the_bits_of_the_emulation(form: str, granularity: str, bits: int) -> None:
    for code_bits in range(4, 9):
        hidden, output = ACTIVATIONS[(bits + code_bits) % 5], ACTIVATIONS[code_bits - 4]
        program = build_program(
            activations=(hidden, "linear"),
            output_activation=output,
            form=form,
            granularity=granularity,
            bias=(bits + code_bits) % 3 > 0,
            byte_data=code_bits % 2 == 0,
            bits=bits,
            code_bits=code_bits,
            interleave=4 if bits % 2 else 1,
            pairs=code_bits != 8,
            gains=(bits + code_bits) % 3 > 0 and code_bits % 2 == 1,
            seed=10 * bits + code_bits,
        )
        require_equal(program, np.random.default_rng(bits))


@pytest.mark.parametrize("form", ["fused", "split"])
@pytest.mark.parametrize("zero_point", [0, 255])
def test_wide_programs_of_extremes_give_the_bits_of_the_emulation(form: str, zero_point: int) -> None:
    """Kernels of ±127 and 1,300 inputs: sums of 42 million, four blocks."""
    program = build_program((1300, 520, 3), form=form, pairs=False)
    rng = np.random.default_rng(zero_point)
    kernels = {name: (127 * rng.choice((-1, 1), program.constants[name].shape)).astype(np.int8) for name in program.kernels}
    kernels["kernel_0"][:, :3] = 127
    quantization = Quantization(program.quantization("x").scale, zero_point)
    tensors = {**program.tensors, "x": dataclasses.replace(program.tensors["x"], quantization=quantization)}
    program = dataclasses.replace(program, tensors=tensors, constants={**program.constants, **kernels})
    require_equal(program, rng)


def require_equal(program: Program, rng: np.random.Generator) -> None:
    """Every tensor of every signature, on random bytes, on none and on the largest."""
    for signature in ("encode", "decode", "reconstruct"):
        tensor = program.tensors[program.part(signature)[1]]
        top = program.quantization(tensor.name).top
        x = rng.integers(0, top, (40, *tensor.shape), np.uint8, endpoint=True)
        x = np.concatenate([x, np.zeros_like(x[:1]), np.full_like(x[:1], top)])
        got, expected = execute(program, signature, x), emulation.execute(program, signature, x)
        assert got.keys() == expected.keys()
        for name, values in got.items():
            assert values.dtype == np.uint8
            np.testing.assert_array_equal(values, expected[name], f"{signature}: {name}")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("tiles", [True, False])
def test_programs_of_convolutions_give_the_bits_of_the_emulation(tiles: bool, seed: int) -> None:
    program, _ = random_program(seed, tiles=tiles)
    require_equal(program, np.random.default_rng(seed))


def test_the_emulation_has_every_operation() -> None:
    assert set(emulation.RULES) == set(OPERATIONS.values())


@settings(max_examples=40)
@given(
    mantissa=st.one_of(st.just(1 - 2.0**-20), st.floats(0.5, 1 - 2.0**-20, width=32)),
    other=st.one_of(st.just(1.0), st.floats(2.0**-30, 1.0, width=32)),
    x_is_finer=st.booleans(),
    zeros=st.tuples(*[st.one_of(st.sampled_from((0, 255)), BYTES)] * 3),
    activation=st.sampled_from(["linear", "relu", "relu6"]),
)
@pytest.mark.parametrize("shift", [1, 2, 12, 20, 29, 30, 31, 32, 50])
def test_additions_are_their_emulation(shift: int, mantissa, other, x_is_finer: bool, zeros, activation: str) -> None:
    """Every byte with every bias of an output about 2^(shift − 21) times as coarse: int32 sums up to a shift of 31."""
    y_scale = float(np.float32(2.0 ** (shift - 21) / mantissa))
    scales = (other, 1.0, y_scale) if x_is_finer else (1.0, other, y_scale)
    x, bias, y = (Quantization(scale, zero) for scale, zero in zip(scales, zeros, strict=True))
    assert add_parameters(x, bias, y)[2] == shift
    tensors = {name: Tensor(name, (256,), scale) for name, scale in (("x", x), ("code", x), ("y", y))}
    operations = AddBias("x", "code", "b", x, "linear"), AddBias("code", "y", "b", bias, activation)
    program = Program("p", tensors, {}, operations[:1], operations[1:], {"b": np.arange(256, dtype=np.uint8)})
    values = np.tile(np.arange(256, dtype=np.uint8)[:, None], 256)
    expected = emulation.RULES[AddBias](program, operations[1], values)
    np.testing.assert_array_equal(apply(program, operations[1], values), expected)


def test_float_kernels_are_kept_once_and_used_in_both_directions() -> None:
    program = build_program((600, 40, 5))
    held = {name: program.float_kernel(name) for name in program.kernels}
    execute(program, "reconstruct", np.zeros((1, 600), np.uint8))
    assert all(program.float_kernel(name) is kernel for name, kernel in held.items())
    sizes = [(each.inputs * each.units, held[name].values) for name, each in program.kernels.items()]
    assert all(values.dtype == np.float32 and values.nbytes == 4 * size for size, values in sizes)
    changed = dataclasses.replace(program, constants={**program.constants, "kernel_1": -program.constants["kernel_1"]})
    np.testing.assert_array_equal(changed.float_kernel("kernel_1").values, -held["kernel_1"].values)


@pytest.fixture(scope="module")
def emulated_digest() -> str:
    exact = (x @ kernel.astype(np.int64) for kernel, x in products.operands())
    return products.digest(exact, emulation.requantize)


@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "4"},
        {"OPENBLAS_CORETYPE": "Haswell"},  # AVX2 with fused multiply-add
        {"OPENBLAS_CORETYPE": "Nehalem"},  # SSE, multiplies and adds apart
    ],
    ids=lambda values: "=".join(*values.items()),
)
def test_threads_and_processors_change_nothing(environment: dict[str, str], emulated_digest: str) -> None:
    child = [sys.executable, products.__file__]
    found = subprocess.run(child, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == emulated_digest
