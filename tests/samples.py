"""Small arrays that a model can be trained on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


def shared_data(name: str) -> Path:
    """A file or folder of real data in TIEDAE_DATA; without it the test is skipped."""
    if not (data := os.environ.get("TIEDAE_DATA")):
        pytest.skip("TIEDAE_DATA, the folder of the data sets, is not set")
    return Path(data) / name


def curve(count: int, features: int, seed: int = 0) -> np.ndarray:
    """Samples near a surface of three dimensions, in 0…1."""
    rng = np.random.default_rng(seed)
    return 1 / (1 + np.exp(-rng.uniform(-1, 1, (count, 3)) @ rng.normal(0, 2, (3, features))))


def images() -> np.ndarray:
    return np.round(255 * curve(300, 24)).astype(np.uint8).reshape(300, 4, 6)


def table() -> np.ndarray:
    """Columns of very different units: around 300 ± 5, 0.002, a thousand."""
    return (curve(300, 5) * [10, 0.004, 2000, 1, 50] + [300, 0, -1000, 7, 0]).astype(np.float32)


class Frame:
    """What pandas and polars have in common."""

    def __init__(self, values: np.ndarray, columns: list[str]) -> None:
        self.values, self.columns = values, columns

    def __getitem__(self, names: list[str]) -> Frame:
        return Frame(self.values[:, [self.columns.index(name) for name in names]], names)

    def to_numpy(self) -> np.ndarray:
        return self.values
