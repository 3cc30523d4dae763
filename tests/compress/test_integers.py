"""The pair rule: what integers of 8 bits a processor without VNNI multiplies exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tiedae.compress.integers import PAIR_LIMIT, UNPAIRED, exceeding_pairs, paired_magnitudes, within_pairs

KERNELS = arrays(np.int8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-127, 127))
INT16 = np.iinfo(np.int16)


@given(KERNELS)
def test_no_pair_along_either_axis_saturates_int16_with_any_activations(kernel: np.ndarray):
    held = within_pairs(kernel).astype(np.int64)
    assert held.shape == kernel.shape and exceeding_pairs(within_pairs(kernel)) == 0
    for along in (held, held.T):
        first, second = along[: len(along) // 2 * 2 : 2], along[1::2]
        for a, b in ((255, 255), (255, 0), (0, 255)):
            sums = a * first + b * second
            assert sums.min(initial=0) >= INT16.min and sums.max(initial=0) <= INT16.max


@given(KERNELS)
def test_magnitudes_only_fall_signs_and_zeros_stay_and_obeying_kernels_are_left_alone(kernel: np.ndarray):
    held = within_pairs(kernel)
    assert (np.abs(held.astype(int)) <= np.abs(kernel.astype(int))).all()
    assert np.array_equal(np.sign(held), np.sign(kernel))
    assert np.array_equal(within_pairs(held), held)
    assert held.dtype == np.int8 and np.array_equal(within_pairs(kernel, UNPAIRED), kernel)


@given(KERNELS)
def test_a_kernel_obeys_the_rule_where_its_paired_magnitudes_are_within_127(kernel: np.ndarray):
    reals, fraction = kernel.astype(np.float32), 127 / PAIR_LIMIT
    magnitudes = paired_magnitudes(reals, fraction)
    assert (magnitudes >= np.abs(reals)).all()
    assert (exceeding_pairs(kernel) == 0) == (magnitudes.max() < 127 + fraction / 2)
    assert np.array_equal(paired_magnitudes(reals, 127 / UNPAIRED), np.abs(reals))


@pytest.mark.parametrize(
    ("kernel", "held", "exceeding"),
    [
        ([[100], [28]], [[100], [28]], 0),  # exactly at the limit
        ([[100], [29]], [[99], [29]], 1),
        ([[-127], [-127]], [[-64], [-64]], 1),
        ([[127], [-127]], [[127], [-127]], 0),  # of opposite signs
        ([[127, 127]], [[64, 64]], 1),  # the decoder's sum
        ([[90], [127], [127]], [[45], [83], [127]], 1),  # the odd last row has no neighbour; the pair is (0, 1)
        ([[0, 127], [127, 0]], [[0, 127], [127, 0]], 0),
    ],
)
def test_pairs_are_neighbours_from_the_first_on(kernel: list, held: list, exceeding: int):
    array = np.array(kernel, np.int8)
    assert exceeding_pairs(array) == exceeding
    assert within_pairs(array).tolist() == held


def test_another_limit():
    assert exceeding_pairs(np.array([[65], [64]], np.int8), PAIR_LIMIT + 1) == 0
