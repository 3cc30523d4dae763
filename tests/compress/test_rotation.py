"""Balancing the code changes its axes and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder, balance_code
from tiedae.compress.symmetries import TOLERANCE, equalizing_rotation, join_ranges, narrow_code


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 12), rank=st.integers(1, 12), seed=st.integers(0, 1000))
def test_the_rotation_is_orthogonal_and_equalizes(n: int, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(40, rank)) @ rng.normal(size=(rank, n)) * rng.uniform(0.1, 10, n)
    moments = codes.T @ codes
    rotation = equalizing_rotation(moments)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(n), atol=1e-12)
    diagonal = np.diag(rotation.T @ moments @ rotation)
    assert np.ptp(diagonal) <= 2 * TOLERANCE * diagonal.mean()


def unbalanced(last: LayerConfig) -> TiedAutoencoder:
    model = TiedAutoencoder(ModelConfig((LayerConfig(12, "relu"), last), "sigmoid", 24), seed=1)
    model.kernels[-1].variable.assign(model.kernels[-1].variable * np.array([5, 1, 1, 0.2], np.float32))
    return model


def test_outputs_stay_and_code_units_become_equally_loud() -> None:
    model = unbalanced(LayerConfig(4))
    x = np.random.default_rng(0).uniform(size=(300, 24)).astype(np.float32)
    code, y = model.encode_decode(x)
    assert balance_code(model, x)
    balanced, same = model.encode_decode(x)
    np.testing.assert_allclose(same, y, atol=2e-6)
    loudness = np.square(balanced).mean(axis=0)
    assert np.ptp(loudness) < 0.01 * loudness.mean() < np.ptp(np.square(code).mean(axis=0))
    distances = [np.linalg.norm(each[:150] - each[150:], axis=1) for each in (code.numpy(), balanced.numpy())]
    np.testing.assert_allclose(*distances, rtol=1e-4)


def test_a_pruned_kernel_is_left_alone() -> None:
    """Its zeros would be others."""
    model = unbalanced(LayerConfig(4))
    kernel = model.kernels[-1]
    kernel.set_mask(np.abs(kernel.variable.numpy()) > 0.3)
    x = np.random.default_rng(0).uniform(size=(300, 24)).astype(np.float32)
    y = model(x)
    assert not balance_code(model, x)
    np.testing.assert_array_equal(model(x), y)


@pytest.mark.parametrize("axes", [{"activation": "tanh"}, {"l1": 0.1}, {"activity_l1": 0.1}, {"dropout": 0.1}])
def test_a_code_whose_axes_matter_is_left_alone(axes: dict[str, Any]) -> None:
    model = unbalanced(LayerConfig(4, **axes))
    before = model.kernels[-1].variable.numpy()
    assert not balance_code(model, np.ones((8, 24), np.float32))
    np.testing.assert_array_equal(model.kernels[-1].variable, before)


def test_a_wide_code_becomes_narrower_and_nothing_else() -> None:
    model, x = unbalanced(LayerConfig(4)), np.random.default_rng(0).uniform(size=(300, 24)).astype(np.float32)
    code, y = model.encode_decode(x)
    spans = np.ptp(code.numpy(), axis=0)
    most = 0.8 * float(spans.max())
    narrow_code(model, x, most)
    narrowed, same = model.encode_decode(x)
    np.testing.assert_allclose(same, y, atol=2e-6)
    assert np.ptp(narrowed.numpy(), axis=0).max() <= most * (1 + 1e-5)
    unchanged = np.isclose(np.ptp(narrowed.numpy(), axis=0), spans, rtol=1e-5)
    assert unchanged.sum() == 2, "the widest and one other were turned"


def test_a_code_that_cannot_become_narrow_enough() -> None:
    """It is as narrow as turning makes it; a narrow one is left as it is."""
    model, x = unbalanced(LayerConfig(4)), np.random.default_rng(0).uniform(size=(300, 24)).astype(np.float32)
    before = model.kernels[-1].variable.numpy()
    span = np.ptp(model.encoder(x).numpy(), axis=0).max()
    narrow_code(model, x, 1.01 * span)
    np.testing.assert_array_equal(model.kernels[-1].variable, before)
    narrow_code(model, x, 0.0)
    assert 0.3 * span < np.ptp(model.encoder(x).numpy(), axis=0).max() < 0.9 * span


def test_units_share_the_range_of_the_widest() -> None:
    """Each is shifted by whole steps, to within half a step of the middle; the reconstruction stays."""
    model, x = unbalanced(LayerConfig(4)), np.random.default_rng(0).uniform(size=(300, 24)).astype(np.float32)
    model.encoder.stack[-1].bias.assign([9.0, -7.0, 0.0, 2.0])
    before, y = (values.numpy() for values in model.encode_decode(x))
    join_ranges(model, x, 0.25)
    after, same = (values.numpy() for values in model.encode_decode(x))
    np.testing.assert_allclose(same, y, atol=2e-5)
    steps = (before - after) / 0.25
    np.testing.assert_allclose(steps, np.rint(steps[:1]).repeat(len(x), axis=0), atol=1e-4)
    assert np.ptp(after) <= np.ptp(before, axis=0).max() + 0.26 < np.ptp(before)


@pytest.mark.parametrize("axes", [{"activation": "tanh"}, {"l1": 0.1}])
def test_a_wide_code_whose_axes_matter_is_left_alone(axes: dict[str, Any]) -> None:
    model, x = unbalanced(LayerConfig(4, **axes)), np.random.default_rng(0).uniform(size=(300, 24)).astype(np.float32)
    before = model.kernels[-1].variable.numpy()
    narrow_code(model, x, 0.0)
    np.testing.assert_array_equal(model.kernels[-1].variable, before)
