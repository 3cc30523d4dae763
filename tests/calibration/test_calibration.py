"""Observers, representative data, and post-training quantization."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiedae.calibration import MinMax, MovingAverage, calibrate, quantize_post_training, representative
from tiedae.compress import LayerConfig, ModelConfig, QuantizationSpec, QuantizeConfig, Samples, Scaling, TiedAutoencoder

VALUES = arrays(np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32))


@settings(max_examples=50, deadline=None)
@given(first=VALUES, second=VALUES)
def test_min_max_of_two_batches_is_that_of_both_together(first: np.ndarray, second: np.ndarray) -> None:
    apart, together = MinMax(), MinMax()
    apart.update(first)
    apart.update(second)
    together.update(np.concatenate([first, second]))
    assert apart.range() == together.range() == (min(first.min(), second.min()), max(first.max(), second.max()))


@settings(max_examples=50, deadline=None)
@given(first=VALUES, second=VALUES)
def test_the_moving_average_starts_at_the_first_batch_and_moves_by_its_share(first: np.ndarray, second: np.ndarray) -> None:
    observer = MovingAverage(decay=0.75)
    observer.update(first)
    assert observer.range() == (first.min(), first.max())
    observer.update(second)
    expected = 0.75 * np.array([first.min(), first.max()]) + 0.25 * np.array([second.min(), second.max()])
    np.testing.assert_allclose(observer.range(), expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=6), count=st.integers(1, 200), seed=st.integers(0, 99))
def test_classes_are_represented_in_proportion(counts: list[int], count: int, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    samples = Samples(np.arange(labels.size, dtype=np.uint8).reshape(-1, 1), labels)
    chosen = representative(samples, count, seed=seed)
    assert len(chosen.indices) == min(count, labels.size) == len(set(chosen.indices.tolist()))
    for label, size in enumerate(counts):
        share = len(chosen.indices) * size / labels.size
        assert abs(np.count_nonzero(labels[chosen.indices] == label) - share) <= len(counts)


def test_the_choice_follows_from_the_seed_and_is_recorded_by_hash() -> None:
    samples = Samples(np.random.default_rng(0).integers(0, 256, (100, 6)).astype(np.uint8), scaling=Scaling("byte", 0.0, 255.0))
    first, again, other = (representative(samples, 10, seed=seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256
    assert first.inputs.dtype == np.float32 and first.inputs.shape == (10, 6)
    np.testing.assert_array_equal(first.inputs, samples.scaling.apply(samples.take(first.indices)))


@pytest.fixture
def model() -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig((LayerConfig(8, "relu"), LayerConfig(3)), "sigmoid", 6), seed=2)


@pytest.fixture
def data():
    samples = Samples(np.random.default_rng(0).integers(0, 256, (200, 6)).astype(np.uint8), scaling=Scaling("byte", 0.0, 255.0))
    return representative(samples, 150)


def test_calibration_sees_every_tensor_and_leaves_the_model_as_it_was(model: TiedAutoencoder, data) -> None:
    before = {name: variable.numpy() for name, variable in model.state().items()}
    ranges = calibrate(model, data)
    names = {"x", "encoder_0", "code", "decoder_1.product", "decoder_1.bias", "decoder_1"}
    assert set(ranges) == names | {"y.product", "y.bias", "y.linear", "y"}
    code = model.encoder(data.inputs).numpy()
    assert ranges["code"] == pytest.approx((code.min(), code.max()))
    assert ranges["encoder_0"][0] == 0
    assert all(np.array_equal(before[name], variable) for name, variable in model.state().items())


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
def test_post_training_quantization_stays_close(model: TiedAutoencoder, data, granularity: str) -> None:
    floating = model(data.inputs).numpy()
    quantize_post_training(model, data, QuantizeConfig(method="ptq"), QuantizationSpec(granularity))
    assert np.abs(model(data.inputs).numpy() - floating).max() < 0.05
    assert not np.array_equal(model(data.inputs), floating)
