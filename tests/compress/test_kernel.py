"""One kernel is one variable, one mask and one set of integers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiedae.compress import LayerConfig, RecipeError, TiedKernel
from tiedae.compress.integers import UNPAIRED, exceeding_pairs, within_pairs
from tiedae.compress.tied_layers import TiedDense, TiedDenseTranspose

SHAPE = (7, 4)


def quantized(values: np.ndarray, granularity: str, mask: np.ndarray | None = None, bits: int = 8) -> TiedKernel:
    kernel = TiedKernel(*SHAPE, name="kernel")
    kernel.variable.assign(values)
    if mask is not None:
        kernel.set_mask(mask)
    kernel.attach_quantizer(granularity, bits)
    return kernel


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_call_gives_exactly_the_integers_in_steps_of_the_scales(granularity: str, data: st.DataObject) -> None:
    values = data.draw(arrays(np.float32, SHAPE, elements=st.floats(-4, 4, width=32)))
    mask = data.draw(arrays(np.float32, SHAPE, elements=st.sampled_from([0.0, 1.0])))
    bits = data.draw(st.integers(2, 8))
    kernel = quantized(values, granularity, mask, bits)
    integers, scales = kernel.integers(), kernel.scales()
    low, high = kernel.bounds
    assert integers.dtype == np.int8 and low <= integers.min() and integers.max() <= high
    assert not integers[mask == 0].any()
    np.testing.assert_allclose(kernel(training=False), integers * scales, rtol=1e-6, atol=1e-12)
    reached = np.clip(values * mask, low * scales, high * scales)
    error = np.abs(integers * scales - reached)
    free = np.rint(reached / scales)
    moved = np.abs(free - within_pairs(free)) if bits == 8 else np.zeros_like(free)
    assert (error <= (0.5001 + moved + (moved > 0)) * scales).all()


def test_scales_follow_the_weights_while_training() -> None:
    kernel = quantized(np.eye(*SHAPE, dtype=np.float32), "tensor")
    kernel.variable.assign(2 * np.eye(*SHAPE, dtype=np.float32))
    assert kernel(training=False).numpy().max() == pytest.approx(1)
    assert kernel(training=True).numpy().max() == pytest.approx(2)
    assert kernel.scales()[0] == np.float32(2) / np.float32(127)


def test_rounding_passes_the_gradient_and_the_mask_stops_it() -> None:
    mask = np.ones(SHAPE, np.float32)
    mask[2, 1] = 0
    signs = (-1.0) ** np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1]))  # no pair adds up
    kernel = quantized((signs * np.random.default_rng(0).uniform(0, 1, SHAPE)).astype(np.float32), "unit", mask)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(kernel(training=True))
    np.testing.assert_allclose(tape.gradient(total, kernel.variable), mask, atol=1e-6)


def test_both_directions_hold_the_same_kernel() -> None:
    kernel = TiedKernel(*SHAPE, name="kernel")
    layer = LayerConfig(4, use_bias=False)
    encode = TiedDense(layer, kernel, activation="linear", name="code", shape=(7,))
    decode = TiedDenseTranspose(layer, kernel, activation="linear", name="y", shape=(7,))
    assert encode.kernel is decode.kernel
    kernel.variable.assign(np.arange(28, dtype=np.float32).reshape(SHAPE))
    x = np.eye(7, dtype=np.float32)
    np.testing.assert_array_equal(encode(x), kernel.variable.numpy())
    np.testing.assert_array_equal(decode(np.eye(4, dtype=np.float32)), kernel.variable.numpy().T)
    assert [id(v) for v in encode.trainable_variables] == [id(v) for v in decode.trainable_variables]


def test_an_unknown_activation_names_the_choices() -> None:
    with pytest.raises(RecipeError, match=r"activation: got 'selu', must be one of linear, relu, relu6, sigmoid, tanh"):
        LayerConfig(4, "selu")


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
def test_ranges_of_few_bits_cut_off_what_costs_less_than_it_makes_coarser(granularity: str) -> None:
    values = np.random.default_rng(0).standard_t(3, (400, 3)).astype(np.float32) * [1, 2, 0]
    kernel = TiedKernel(400, 3, name="kernel")
    kernel.variable.assign(values)
    kernel.attach_quantizer(granularity, 4)
    largest, error = np.abs(values).max(0 if granularity == "unit" else None), np.square(kernel() - values).sum()
    kernel.largest.assign(np.maximum(largest, 1e-8))
    assert error < 0.7 * np.square(kernel() - values).sum()


def test_ranges_of_few_bits_are_trained_and_do_not_follow() -> None:
    """The gradient of a range is that of Esser et al. 2020: rounding less value inside, the end of the range where cut off."""
    kernel = quantized(np.ones(SHAPE, np.float32), "unit", bits=4)
    values = np.linspace(-2, 2, 28, dtype=np.float32).reshape(SHAPE)
    kernel.variable.assign(values)
    kernel.largest.assign(np.ones(4, np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(kernel(training=True))
    into_weights, into_range = tape.gradient(total, [kernel.variable, kernel.largest])
    inside = (values >= -8 / 7) & (values <= 1)
    np.testing.assert_array_equal(into_weights, inside)
    expected = np.where(inside, np.rint(values * 7) / 7 - values, np.where(values > 0, 1, -8 / 7)).sum(axis=0)
    np.testing.assert_allclose(into_range, expected, atol=1e-5)
    kernel.update_scales()
    np.testing.assert_array_equal(kernel.largest, np.ones(4))
    kernel.largest.assign(np.full(4, -1.0))
    kernel.clip_outliers()
    assert (kernel.scales() > 0).all()


GRID = np.tile(np.arange(-6, 7) / 7, 30)


@pytest.mark.parametrize(
    ("values", "largest"),
    [
        ([*np.linspace(-0.08, 0.08, 40_000), 1], 0.1),
        ([*0.5 * GRID, 1], 0.5),
        ([*GRID, 1], 1),
        ([*1.02 * GRID, -1], 1),
    ],
    ids=["finer than any", "half", "whole", "wider than any"],
)
def test_ranges_of_few_bits_start_where_rounding_costs_least_from_a_tenth_to_the_whole(values: list, largest: float) -> None:
    kernel = TiedKernel(len(values), 1, name="kernel")
    kernel.variable.assign(np.array(values, np.float32)[:, None])
    kernel.attach_quantizer("tensor", 4)
    assert kernel.largest.numpy() == pytest.approx(largest, rel=1e-6)


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
def test_weights_approach_the_integers_that_they_round_to(granularity: str) -> None:
    kernel = quantized(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), granularity, bits=4)
    assert kernel.largest is not None
    kernel.largest.assign(0.5 * kernel.largest)
    before, integers, scales = kernel.variable.numpy(), kernel.integers(), kernel.scales()
    kernel.dampen(0.25)
    low, high = kernel.bounds
    cut = np.clip(before, low * scales, high * scales) != before
    assert 0 < cut.sum() < cut.size
    np.testing.assert_array_equal(kernel.variable.numpy()[cut], before[cut])
    expected = before + 0.25 * (integers * scales - before)
    np.testing.assert_allclose(kernel.variable.numpy()[~cut], expected[~cut], atol=1e-6)
    np.testing.assert_array_equal(kernel.integers(), integers)


@pytest.mark.parametrize("bits", [4, 8])
def test_no_unit_is_finer_than_the_decoders_factor_can_say(bits: int) -> None:
    values = np.ones(SHAPE, np.float32)
    values[:, 1], values[:, 2] = 1e-6, 0
    kernel = quantized(values, "unit", bits=bits)
    least = kernel.scales().max() / 255
    np.testing.assert_allclose(kernel.scales()[1:3], least, rtol=1e-6)
    if kernel.trains_scales:
        kernel.largest.assign([3.0, 1e-9, -1.0, 1.0])
        kernel.clip_outliers()
        np.testing.assert_allclose(kernel.largest.numpy(), [3, 3 / 255, 3 / 255, 1], rtol=1e-6)


def quantized_kernel(values: np.ndarray, granularity: str = "tensor") -> TiedKernel:
    kernel = TiedKernel(*values.shape, name="kernel")
    kernel.variable.assign(values)
    kernel.attach_quantizer(granularity)
    return kernel


def test_factors_of_a_decoders_input_are_bytes_of_at_least_1() -> None:
    kernel = quantized_kernel(np.eye(4, dtype=np.float32), "unit")
    scales = np.array([1, 0.4, 0.35, 1e-4], np.float32)
    kernel.set_integers(np.diag([64] * 4), scales)
    layer = TiedDenseTranspose(LayerConfig(4), kernel, activation="linear", name="y", shape=(4,))
    x, scaled = layer.rescaled(tf.ones((1, 4)), kernel(), False)
    np.testing.assert_allclose(x[0] * 255, [255, 102, 89, 1], rtol=1e-6)
    np.testing.assert_allclose(scaled, kernel() / scales, rtol=1e-5)


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (1, 4), (4, 1), (1, 1)])
def test_8_bit_kernels_are_projected_onto_the_pair_rule_in_both_directions(granularity: str, shape: tuple[int, int]):
    rng = np.random.default_rng(0)
    values = rng.uniform(0.3, 1, shape).astype(np.float32) * rng.choice([-1, 1, 1, 1], shape)
    values[rng.random(shape) < 0.1] = 0
    kernel = quantized_kernel(values, granularity)
    held = kernel.integers()
    kernel.pair_limit = UNPAIRED
    assert np.array_equal(held, within_pairs(kernel.integers()))
    assert exceeding_pairs(held) == 0 and (held[values == 0] == 0).all()
    np.testing.assert_allclose(kernel.integers(), values / kernel.scales(), atol=0.5001)


def test_where_every_pair_exceeds_coarser_integers_cost_less_than_halved_ones():
    kernel = quantized_kernel(np.full((6, 4), 0.5, np.float32))
    assert kernel.headroom > 1.9
    np.testing.assert_allclose(kernel(), 0.5, rtol=0.01)
    spread = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    assert 1 <= quantized_kernel(spread).headroom < 1.5


@pytest.mark.parametrize(("wide", "found"), [(1, 1), (1.25, 1.25), (1.5, 1.5), (2, 2), (65 / 32, 63 / 32)])
def test_the_headroom_is_found_at_which_pairs_and_lone_weights_are_integers_up_to_2(wide: float, found: float):
    lone = [value for step in range(1, 60, 2) for value in (step, 0)]
    values = np.array([*lone, *[64] * 20, 127 / wide, 0], np.float32)[:, None] * np.float32(wide / 127)
    assert quantized_kernel(np.minimum(values, 1)).headroom == found


def test_a_pair_at_its_limit_trains_by_the_difference_of_its_gradients():
    kernel = quantized_kernel(np.array([[1.0], [0.9], [0.4], [0.2]], np.float32))
    kernel.headroom = 1.0
    kernel.update_scales()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(kernel() * [[3.0], [1.0], [5.0], [7.0]])
    assert kernel.integers().ravel().tolist() == [70, 58, 51, 25]
    np.testing.assert_allclose(tape.gradient(total, kernel.variable), [[1], [-1], [5], [7]], atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("second", "held"), [(28, [100, 28]), (29, [99, 29]), (30, [99, 29])])
def test_a_pair_of_either_sign_moves_from_one_above_its_limit(second: int, held: list[int], sign: int):
    kernel = quantized_kernel(sign * np.array([[100], [second], [127], [0]], np.float32))
    kernel.headroom = 1.0
    kernel.update_scales()
    assert (sign * kernel.integers()).ravel().tolist() == [*held, 127, 0]


def test_integers_that_are_set_obey_and_are_held_as_the_weights():
    kernel = quantized_kernel(np.ones((2, 1), np.float32))
    kernel.set_integers(np.array([[127], [120]], np.int8), np.float32(0.01))
    assert kernel.integers().ravel().tolist() == [68, 60]
    np.testing.assert_allclose(kernel.variable, 0.01 * kernel.integers(), rtol=1e-5)


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize(("largest", "held"), [(0, 127.0), (1, 127.0), (2, 63.5), (127, 1.0)])
def test_the_headroom_of_integers_that_are_set_is_that_of_their_scales(largest: int, held: float, granularity: str):
    kernel = quantized_kernel(np.ones((3, 2), np.float32), granularity)
    integers = np.array([[0, min(largest, 1)], [-largest, 0], [0, 0]], np.int8)
    kernel.set_integers(integers, np.full(2 if granularity == "unit" else (), 0.5, np.float32))
    assert kernel.headroom == held


def test_a_kernel_quantized_before_there_was_a_rule_keeps_its_integers():
    kernel = quantized_kernel(np.ones((2, 2), np.float32))
    kernel.pair_limit, kernel.headroom = UNPAIRED, 1.0
    kernel.update_scales()
    assert kernel.integers().tolist() == [[127, 127], [127, 127]]


def test_a_kernel_knows_its_shape_and_trains_its_variable_alone() -> None:
    kernel = TiedKernel(inputs=SHAPE[0], units=SHAPE[1], name="kernel")
    assert (kernel.inputs, kernel.units, kernel.bits, kernel.trains_scales) == (7, 4, 8, False)
    assert TiedKernel(*SHAPE, name="kernel", l2=0.5).losses and not kernel.losses
    np.testing.assert_array_equal(kernel.variable, TiedKernel(*SHAPE, name="other", seed=0).variable)
    kernel.set_mask(np.ones(SHAPE))
    kernel.set_clusters(np.arange(28, dtype=np.uint8).reshape(SHAPE))
    assert [id(variable) for variable in kernel.trainable_variables] == [id(kernel.variable)]
    kernel.attach_quantizer("tensor", 7)
    assert kernel.trains_scales


NUMBERS = np.arange(28, dtype=np.uint8).reshape(SHAPE) // 4


def test_a_cluster_holds_the_value_of_its_first_weight_in_the_variable_too_once_settled() -> None:
    kernel, values = TiedKernel(*SHAPE, name="kernel"), np.arange(28, dtype=np.float32).reshape(SHAPE)
    kernel.variable.assign(values)
    kernel.write_back()
    np.testing.assert_array_equal(kernel.variable, values)
    for numbers in (NUMBERS, NUMBERS[::-1]):  # the second replaces the first
        kernel.variable.assign(values)
        kernel.set_clusters(numbers)
        first = [values[numbers == number][0] for number in range(7)]
        np.testing.assert_array_equal(kernel(), np.array(first)[numbers])
        kernel.write_back()
        np.testing.assert_array_equal(kernel.variable, np.array(first)[numbers])


def test_a_settled_mask_is_zero_in_the_variable() -> None:
    kernel, mask = TiedKernel(*SHAPE, name="kernel"), (NUMBERS > 2).astype(np.float32)
    kernel.variable.assign(np.ones(SHAPE))
    kernel.set_mask(mask)
    np.testing.assert_array_equal(kernel.variable, np.ones(SHAPE))
    kernel.write_back()
    np.testing.assert_array_equal(kernel.variable, mask)


def test_clusters_that_leave_out_a_number_or_mix_zeros_with_weights_are_refused() -> None:
    kernel = TiedKernel(*SHAPE, name="kernel")
    with pytest.raises(ValueError, match=r"kernel: clusters are numbered \[1, 2, 3, 4, 5, 6, 7\], must be 0 to 6$"):
        kernel.set_clusters(NUMBERS + 1)
    kernel.set_mask(NUMBERS > 2)
    kernel.set_clusters(NUMBERS)
    with pytest.raises(ValueError, match="kernel: a cluster holds both pruned and kept weights"):
        kernel.set_clusters(NUMBERS // 2)


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize("bits", [4, 8])
def test_integers_that_are_set_are_those_that_come_back(granularity: str, bits: int) -> None:
    kernel = quantized(np.ones(SHAPE, np.float32), granularity, bits=bits)
    low, high = (-8, 7) if bits == 4 else (-64, 64)
    integers = np.random.default_rng(0).integers(low, high, SHAPE, endpoint=True).astype(np.int8)
    scales = np.array([0.5, 0.25, 1.0, 2.0] if granularity == "unit" else 0.5, np.float32)
    kernel.set_integers(integers, scales)
    np.testing.assert_array_equal(kernel.integers(), integers)
    np.testing.assert_array_equal(kernel.scales(), np.atleast_1d(scales))


def test_the_scales_follow_only_when_they_are_asked_to() -> None:
    kernel = quantized(np.eye(*SHAPE, dtype=np.float32), "tensor")
    kernel.variable.assign(2 * np.eye(*SHAPE, dtype=np.float32))
    kernel()
    kernel.integers()
    assert kernel.scales()[0] == np.float32(1) / np.float32(127)
    kernel.update_scales()
    assert kernel.scales()[0] == np.float32(2) / np.float32(127)


def test_an_outlier_is_cut_at_fourteen_root_mean_squares_of_the_live_weights() -> None:
    kernel = TiedKernel(40, 30, name="kernel")
    values = np.ones((40, 30), np.float32)
    values[0, 0], values[0, 1] = 100, -100
    mask = np.ones((40, 30), np.float32)
    mask[20:] = 0
    kernel.variable.assign(values)
    kernel.set_mask(mask)
    kernel.clip_outliers()
    bound = 14 * np.sqrt((2 * 100**2 + 598) / 600)
    np.testing.assert_allclose(kernel.variable.numpy()[0, :3], [bound, -bound, 1], rtol=1e-5)
    kernel.set_mask(np.zeros((40, 30)))
    kernel.clip_outliers()
    assert not kernel.variable.numpy().any()
