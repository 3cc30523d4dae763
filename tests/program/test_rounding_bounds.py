"""What a runtime that computes in binary32 may give: the bounds hold whatever it does at ties, and are narrow elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.base.errors import DataError
from tiedae.compress.affine import Quantization
from tiedae.program.arithmetic import TIE, clamp, outwards, product_multiplier
from tiedae.program.interpreter import CONVERSIONS, bounds, execute, input_bounds, input_integers, program_input
from tiedae.program.operations import Dense, Interleave, Operation, Product, Requantize
from tiedae.program.operations.operation import Elementwise
from tiedae.program.program import Kernel, Program, Tensor

PROGRAMS = {
    "fused": {"form": "fused"},
    "split": {"form": "split"},
    "a scale per unit": {"form": "split", "granularity": "unit"},
    "sigmoid": {"form": "fused", "output_activation": "sigmoid", "byte_data": True},
    "tanh inside": {"form": "split", "activations": ("tanh", "linear")},
    "interleaved": {"form": "fused", "interleave": 3},
    "codes of 5 bits": {"form": "fused", "code_bits": 5},
}


@pytest.fixture(params=PROGRAMS.values(), ids=PROGRAMS)
def program(request, make_program) -> Program:
    return make_program((30, 16, 6), **request.param)


def exact(program: Program, operation: Operation, q: np.ndarray) -> np.ndarray:
    """The real y in LSB from the zero point."""
    x, y = program.quantization(operation.x), program.quantization(operation.y)
    operation = operation.dense if isinstance(operation, Product) else operation
    if isinstance(operation, Dense):
        sums = (q.astype(np.int64) - x.zero_point) @ operation.matrix(program).astype(np.int64)
        sums = sums + (0 if operation.bias is None else program.constants[operation.bias])
        return sums * product_multiplier(x, operation.scales(program), y).astype(np.float64)
    assert isinstance(operation, Elementwise)
    return operation.exact(program, (q.astype(np.float64) - x.zero_point) * x.scale) / y.scale


def run_with_errors(program: Program, q: np.ndarray, rng: np.random.Generator, off: int = 0) -> dict[str, np.ndarray]:
    """The program in a runtime whose every value is off by up to `TIE` before it is rounded and `off` LSB after, as drawn."""
    values = {"x": q}
    for operation in program.part("reconstruct")[0]:
        if isinstance(operation, Interleave):
            values[operation.y] = operation.integers(program, values[operation.x])
            continue
        y, real = program.quantization(operation.y), exact(program, operation, values[operation.x])
        rounded = np.rint(real + rng.choice([-1, 0, 1], real.shape) * TIE) + y.zero_point
        rounded = np.clip(rounded, *clamp(getattr(operation, "activation", "linear"), y))
        values[operation.y] = np.clip(rounded + rng.integers(-off, off + 1, real.shape), 0, y.top).astype(np.uint8)
    return values


def test_whatever_a_runtime_does_at_ties_is_within_the_bounds(program: Program) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (3000, 30)).astype(np.uint8)
    found, other = bounds(program, "reconstruct", x, x), 0
    own = execute(program, "reconstruct", x)
    for values in (own, *(run_with_errors(program, x, rng) for _ in range(5))):
        for name, (low, high) in found.items():
            assert ((low <= values[name]) & (values[name] <= high)).all(), name
        other += int((values["y"] != own["y"]).sum())
    assert other > 0, "no draw met a tie"


def test_a_runtime_whose_operations_are_off_is_within_wider_bounds(program: Program) -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(0, 256, (300, 30)).astype(np.uint8)
    exactly, wider = bounds(program, "reconstruct", x, x), bounds(program, "reconstruct", x, x, 2)
    values = run_with_errors(program, x, rng, 2)
    for name, (low, high) in wider.items():
        assert ((low <= values[name]) & (values[name] <= high)).all(), name
    low, high = exactly["y"]
    assert ((values["y"] < low) | (high < values["y"])).any()


def test_away_from_ties_there_is_one_integer(program: Program) -> None:
    x = np.random.default_rng(1).integers(0, 256, (3000, 30)).astype(np.uint8)
    low, high = bounds(program, "encode", x, x)["code"]
    assert (low == high).mean() > 0.9


def test_a_wider_input_has_wider_bounds(program: Program) -> None:
    x = np.random.default_rng(2).integers(1, 255, (200, 30)).astype(np.uint8)
    near, far = (bounds(program, "reconstruct", x - by, x + by) for by in (np.uint8(0), np.uint8(1)))
    for name in near:
        assert (far[name][0] <= near[name][0]).all() and (near[name][1] <= far[name][1]).all()
    inside = execute(program, "reconstruct", x + np.random.default_rng(3).integers(-1, 2, x.shape).astype(np.uint8))
    assert all(((low <= inside[name]) & (inside[name] <= high)).all() for name, (low, high) in far.items())


@pytest.mark.parametrize(
    ("value", "slack", "expected"),
    [
        (2.4, 0.05, (2, 2)),
        (2.4, 0.11, (2, 3)),
        (2.5, 0.0, (2, 3)),
        (-0.5, 0.0, (-1, 0)),
        (2.6, 0.2, (2, 3)),
        (2.6, 0.05, (3, 3)),
    ],
)
def test_integers_that_a_value_may_be_rounded_to(value: float, slack: float, expected: tuple[int, int]) -> None:
    low, high = outwards(np.array([value]), np.array([value]), slack, 10, 0, 255)
    assert (int(low[0]) - 10, int(high[0]) - 10) == expected


def test_inputs_at_a_tie_have_two_integers() -> None:
    quantization = Quantization(float(np.float32(0.1)), 3)
    scaled = np.array([[0.1, 0.15, 0.2515, 99.0, -99.0]], np.float32)
    low, high = input_bounds(quantization, scaled)
    assert low.tolist() == [[4, 4, 6, 255, 0]] and high.tolist() == [[4, 5, 6, 255, 0]]
    assert input_bounds(quantization, scaled, 0.02)[0].tolist() == [[4, 4, 5, 255, 0]]


def test_every_conversion_is_within_the_bounds(program: Program) -> None:
    scaled = np.random.default_rng(4).uniform(-0.5, 1.5, (2000, 30)).astype(np.float32)
    low, high = input_bounds(program.quantization("x"), scaled)
    for conversion in ("divide", "multiply", "away"):
        x = program_input(program, scaled, conversion)
        assert ((low <= x) & (x <= high)).all()


def one_product(kernel: list[int], bias: int, multiplier: float) -> Program:
    """code = kernel · x + bias, times `multiplier`, from 128."""
    tensors = {"x": Tensor("x", (len(kernel),), Quantization(1.0, 0)), "code": Tensor("code", (1,), Quantization(1.0, 128))}
    tensors["y"] = Tensor("y", (len(kernel),), Quantization(1.0, 0))
    constants = {"k": np.array(kernel, np.int8)[:, None], "b": np.array([bias], np.int32)}
    encoder = (Dense("x", "code", "k", False, "b", "linear"),)
    kernels = {"k": Kernel("k", len(kernel), 1, (multiplier,))}
    return Program("p", tensors, kernels, encoder, (Dense("code", "y", "k", True, None, "linear"),), constants)


def test_the_ends_of_an_input_are_those_of_a_product() -> None:
    low, high = bounds(one_product([1], 0, 1.0), "encode", np.array([[10]], np.uint8), np.array([[14]], np.uint8))["code"]
    assert (low.tolist(), high.tolist()) == ([[138]], [[142]])


@pytest.mark.parametrize(
    ("low", "high", "multiplier", "most"),
    [
        (255, 255, 1e-2, 0.0),
        (0, 255, 1e-6, 70.5 - TIE - 2.5e-4),
        (100, 100, 1e-7, 119.5 - TIE - 2e-4),
        (9, 9, 1e-7, 119.5 - TIE),
    ],
)
def test_a_sum_has_the_error_of_its_terms(low: int, high: int, multiplier: float, most: float) -> None:
    """4,096 products that cancel, and a bias which takes the largest sum to `most` LSB: what is rounded are they."""
    step, spread = np.float64(np.float32(multiplier)), 2048 * 127 * (high - low)
    bias = round(most / step) - spread
    program = one_product([127, -127] * 2048, bias, multiplier)
    got = bounds(program, "encode", *(np.full((1, 4096), value, np.uint8) for value in (low, high)))["code"]
    low_end, high_end = (np.array([(bias + side * spread) * step]) for side in (-1, 1))
    slack = TIE + 64 * 2.0**-24 * (4096 * 127 * high + abs(bias)) * step
    wanted, exact = (outwards(low_end, high_end, each, 128, 0, 255) for each in (slack, TIE))
    found, wanted, exact = ([int(end.ravel()[0]) for end in pair] for pair in (got, wanted, exact))
    assert found == wanted != exact


def test_values_below_the_grid_are_its_least_integer() -> None:
    tensors = {"x": Tensor("x", (1,), Quantization(1.0, 128)), "code": Tensor("code", (1,), Quantization(1.0, 0))}
    tensors["y"] = Tensor("y", (1,), Quantization(1.0, 128))
    program = Program("p", tensors, {}, (Requantize("x", "code"),), (Requantize("code", "y"),), {})
    ends = (np.array([[value]], np.uint8) for value in (0, 3))
    assert [int(each[0, 0]) for each in bounds(program, "encode", *ends)["code"]] == [0, 0]


def test_bounds_are_of_integers(program: Program) -> None:
    x = np.zeros((2, 30), np.uint8)
    for low, high in ((x.astype(np.float32), x), (x, x.astype(np.float32)), (x, x[:, :29])):
        with pytest.raises(DataError, match="program toy, reconstruct"):
            bounds(program, "reconstruct", low, high)


def test_conversions_round_as_their_names_say() -> None:
    halves = np.array([0.5, 1.5, 2.5, -0.5], np.float32)
    wanted = {"divide": [128, 130, 130, 128], "multiply": [128, 130, 130, 128], "away": [129, 130, 131, 127]}
    for conversion in CONVERSIONS:
        assert input_integers(Quantization(1.0, 128), halves, conversion).tolist() == wanted[conversion]
