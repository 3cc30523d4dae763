"""Tie-aware rounding: laws that hold for any kernel and any moments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.calibration.rounding import MAX_SHIFT, clipped_scales, damped, nearest, rounded
from tiedae.compress.curvature import Quadratic
from tiedae.compress.integers import PAIR_LIMIT, UNPAIRED, Bounds, exceeding_pairs


def moment(rng: np.random.Generator, size: int, samples: int) -> np.ndarray:
    rows = rng.normal(size=(samples, size)).astype(np.float32) + 0.5
    return rows.T @ rows / np.float32(samples)


def case(seed: int, inputs: int, units: int, sparsity: float = 0.0) -> tuple[np.ndarray, Quadratic]:
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(inputs, units)).astype(np.float32) * (rng.uniform(size=(inputs, units)) >= sparsity)
    terms = tuple((moment(rng, inputs, 5), moment(rng, units, 5)) for _ in range(2))
    return kernel.astype(np.float32), Quadratic(terms)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    inputs=st.integers(1, 8),
    units=st.integers(1, 8),
    bounds=st.sampled_from([(-2, 1), (-8, 7), (-127, 127)]),
    per_unit=st.booleans(),
    sparsity=st.sampled_from([0.0, 0.6, 1.0]),
    pairs=st.booleans(),
)
def test_never_worse_than_nearest_close_to_it_and_zero_where_the_kernel_is(
    seed: int, inputs: int, units: int, bounds: Bounds, per_unit: bool, sparsity: float, pairs: bool
) -> None:
    kernel, quadratic = case(seed, inputs, units, sparsity)
    limit = PAIR_LIMIT if pairs else UNPAIRED
    scales = clipped_scales(kernel, quadratic, bounds, per_unit=per_unit, limit=limit)
    assert scales.shape == ((units,) if per_unit else ()) and scales.dtype == np.float32
    plain, chosen = nearest(kernel, scales, bounds, limit), rounded(kernel, scales, bounds, quadratic, limit=limit)
    loss = damped(quadratic).loss
    assert loss(chosen * scales - kernel) <= loss(plain * scales - kernel) * (1 + 1e-5)
    assert np.abs(chosen - plain).max() <= MAX_SHIFT and bounds[0] <= chosen.min() and chosen.max() <= bounds[1]
    assert exceeding_pairs(chosen, limit) == 0
    assert np.all(chosen == np.rint(chosen)) and np.all(chosen[kernel == 0] == 0)


@pytest.mark.parametrize("bounds", [(-8, 7), (-127, 127)])
def test_it_finds_most_of_what_trying_everything_finds(bounds: Bounds) -> None:
    gained, possible = 0.0, 0.0
    for seed in range(10):
        kernel, quadratic = case(seed, 2, 3)
        scales = clipped_scales(kernel, quadratic, bounds, per_unit=False)
        plain, loss = nearest(kernel, scales, bounds), damped(quadratic).loss
        moves = (np.reshape(each, (2, 3)) for each in itertools.product((-1, 0, 1), repeat=6))
        best = min(loss(np.clip(plain + move, *bounds) * scales - kernel) for move in moves)
        start = loss(plain * scales - kernel)
        possible += start - best
        gained += start - loss(rounded(kernel, scales, bounds, quadratic) * scales - kernel)
    assert gained > 0.8 * possible > 0


def test_both_directions_count() -> None:
    """Each direction's loss rises where only the other one is minimized."""
    kernel, both = case(4, 12, 10)
    scales = clipped_scales(kernel, both, (-8, 7), per_unit=False)
    zero = tuple(np.zeros_like(moment) for moment in both.terms[0])
    alone = [Quadratic((both.terms[0], zero)), Quadratic((zero, both.terms[1]))]
    together = rounded(kernel, scales, (-8, 7), both) * scales - kernel
    for mine, other in (alone, alone[::-1]):
        single = rounded(kernel, scales, (-8, 7), mine) * scales - kernel
        assert other.loss(together) < other.loss(single)


def test_clipping_gives_up_an_outlier_that_matters_little() -> None:
    kernel, quadratic = case(0, 40, 30)
    kernel[0, 0] = 20
    scale = clipped_scales(kernel, quadratic, (-8, 7), per_unit=False)
    assert scale < 0.5 * 20 / 7
    uniform = Quadratic(((np.eye(40, dtype=np.float32), np.eye(30, dtype=np.float32)),))
    clipped = clipped_scales(kernel, uniform, (-8, 7), per_unit=False)
    errors = [uniform.loss(nearest(kernel, scale, (-8, 7)) * scale - kernel) for scale in (clipped, np.float32(20 / 7))]
    assert errors[0] < errors[1]
