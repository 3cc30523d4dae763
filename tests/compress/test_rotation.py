"""Balancing the code changes its axes and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder, balance_code
from tiedae.compress.symmetries import TOLERANCE, equalizing_rotation


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


@pytest.mark.parametrize("axes", [{"activation": "tanh"}, {"l1": 0.1}, {"activity_l1": 0.1}, {"dropout": 0.1}])
def test_a_code_whose_axes_matter_is_left_alone(axes: dict[str, Any]) -> None:
    model = unbalanced(LayerConfig(4, **axes))
    before = model.kernels[-1].variable.numpy()
    assert not balance_code(model, np.ones((8, 24), np.float32))
    np.testing.assert_array_equal(model.kernels[-1].variable, before)
