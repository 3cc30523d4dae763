"""Observers, representative data, and post-training quantization."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.calibration import calibrate, quantize_post_training, representative
from tiedae.compress import LayerConfig, ModelConfig, QuantizeConfig, Samples, Scaling, TiedAutoencoder


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=6), count=st.integers(1, 200), seed=st.integers(0, 99))
def test_classes_are_represented_in_proportion(counts: list[int], count: int, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    samples = Samples(np.arange(labels.size, dtype=np.uint8).reshape(-1, 1), labels)
    chosen = representative(samples, count, seed=seed)
    assert len(chosen.indices) == min(count, labels.size) == len(set(chosen.indices.tolist()))
    for label, size in enumerate(counts):
        fraction = len(chosen.indices) * size / labels.size
        assert abs(np.count_nonzero(labels[chosen.indices] == label) - fraction) <= len(counts)


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
    ranges = calibrate(model, data).ranges
    names = {"x", "encoder_0", "code", "decoder_1.product", "decoder_1.bias", "decoder_1"}
    assert set(ranges) == names | {"y.product", "y.bias", "y.linear", "y"}
    code = model.encoder(data.inputs).numpy()
    assert ranges["code"] == pytest.approx((code.min(), code.max()))
    assert ranges["encoder_0"][0] == 0
    assert all(np.array_equal(before[name], variable) for name, variable in model.state().items())


@pytest.mark.parametrize("granularity", ["tensor", "unit"])
def test_post_training_quantization_stays_close(model: TiedAutoencoder, data, granularity: str) -> None:
    floating = model(data.inputs).numpy()
    quantize_post_training(model, data, QuantizeConfig(method="ptq", granularity=granularity))
    assert np.abs(model(data.inputs).numpy() - floating).max() < 0.05
    assert not np.array_equal(model(data.inputs), floating)
