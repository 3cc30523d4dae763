"""A small trained model, and the samples that it is calibrated on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tiedae.calibration import Representative, representative
from tiedae.compress import Dataset, LayerConfig, ModelConfig, Samples, Scaling, TiedAutoencoder, TrainConfig, fit


def build_samples(count: int, seed: int = 0) -> Samples:
    """uint8 samples of 24 values on a curve of three dimensions, with a little noise."""
    maps = np.random.default_rng(0).normal(0, 2, (3, 24))
    rng = np.random.default_rng(seed)
    logits = rng.uniform(-1, 1, (count, 3)) @ maps + rng.normal(0, 0.1, (count, 24))
    return Samples(np.rint(255 / (1 + np.exp(-logits))).astype(np.uint8), scaling=Scaling("byte", 0.0, 255.0))


@pytest.fixture(scope="session")
def trained_state() -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in trained_model(seed=1).state().items()}


def trained_model(seed: int) -> TiedAutoencoder:
    samples = build_samples(512)
    model = TiedAutoencoder(CONFIG, seed=seed)
    fit(model, Dataset(samples, None, build_samples(64, 1), samples.scaling), TrainConfig(epochs=30, batch_size=32))
    return model


CONFIG = ModelConfig((LayerConfig(20, "relu"), LayerConfig(12, "relu"), LayerConfig(4)), "sigmoid", 24)


def model_of(state: dict[str, np.ndarray]) -> TiedAutoencoder:
    """A 24-20-12-4 model of these weights."""
    model = TiedAutoencoder(CONFIG)
    for name, variable in model.state().items():
        variable.assign(state[name])
    return model


@pytest.fixture
def trained(trained_state: dict[str, np.ndarray]) -> Callable[[], TiedAutoencoder]:
    """Makes a 24-20-12-4 model of its own each time, always the same weights."""
    return lambda: model_of(trained_state)


@pytest.fixture(scope="session")
def samples() -> Representative:
    return representative(build_samples(512), 128)


@pytest.fixture(scope="session")
def unseen() -> np.ndarray:
    """float32 [1000, 24] of the same kind."""
    held = build_samples(1000, 2)
    return held.scaling.apply(held.take(np.arange(1000)))
