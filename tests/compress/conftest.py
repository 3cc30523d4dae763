"""Small splits of structured data, so that training has something to learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tiedae.compress import Dataset, Samples, Scaling, TiedAutoencoder, start_or_end


def build_splits(inputs: int = 24, train: int = 256, validation: int = 0, test: int = 64, *, seed: int = 0) -> Dataset:
    """uint8 samples on a curve of three dimensions, with a little noise."""
    rng = np.random.default_rng(seed)
    total = train + validation + test
    hidden = rng.uniform(-1, 1, (total, 3))
    real = 1 / (1 + np.exp(-hidden @ rng.normal(0, 2, (3, inputs)) - rng.normal(0, 0.1, (total, inputs))))
    values = np.rint(255 * real).astype(np.uint8)
    scaling = Scaling("byte", 0.0, 255.0)
    parts = np.split(values, [train, train + validation])
    samples = [Samples(part, scaling=scaling) for part in parts]
    return Dataset(samples[0], samples[1] if validation else None, samples[2], scaling)


@pytest.fixture
def make_splits() -> Callable[..., Dataset]:
    return build_splits


def sparsity_of(model: TiedAutoencoder) -> dict[str, float]:
    """The fraction of zeros in each kernel's mask, by kernel name."""
    return {name: float(1 - mask.mean()) for name, mask in model.masks().items()}


@pytest.fixture
def any_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantization-aware training is kept for any gain beyond noise: such tests are of the training."""
    monkeypatch.setattr(start_or_end, "LEAST_FITTED", 0)
    monkeypatch.setattr(start_or_end, "CORRELATED", 1)
