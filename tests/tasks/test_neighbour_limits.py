"""Limits, defaults and blocks of the measures of neighbourhoods; the signs and the blocks of principal components."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import InputError
from tiedae.tasks import neighbourhoods
from tiedae.tasks.neighbourhoods import (
    Pca,
    continuity,
    knn_accuracy,
    nearest,
    trustworthiness,
    trustworthiness_of_each,
)

RNG = np.random.default_rng(0)
X, CODES = RNG.normal(size=(60, 5)), RNG.normal(size=(60, 2))
LABELS = RNG.integers(0, 3, 60)


@pytest.mark.parametrize(
    ("measure", "default"),
    [
        (lambda *k: trustworthiness(X, CODES, *k), 10),
        (lambda *k: trustworthiness_of_each(X, CODES, *k).tolist(), 10),
        (lambda *k: continuity(X, CODES, *k), 10),
        (lambda *k: knn_accuracy(X[:40], LABELS[:40], X[40:], LABELS[40:], *k), 5),
    ],
)
def test_a_measure_has_the_usual_number_of_neighbours(measure: Callable[..., object], default: int) -> None:
    """10 of trustworthiness and continuity, 5 that vote."""
    assert measure() == measure(default)
    assert measure() not in (measure(default - 1), measure(default + 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: knn_accuracy(X, LABELS, X, LABELS, 0), "neighbours: got 0, must lie in 1…60, the number of training samples"),
        (lambda: Pca.fit(X, 0), "units: got 0, must lie in 1…5, the number of inputs"),
    ],
)
def test_none_is_too_few(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message


def test_all_training_samples_may_vote() -> None:
    counts = np.bincount(LABELS)
    assert knn_accuracy(X, LABELS, X, LABELS, 60) == counts.max() / 60


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_largest_weight_of_a_component_is_positive(seed: int, units: int) -> None:
    components = Pca.fit(np.random.default_rng(seed).normal(size=(20, 5)), units).components
    assert (components.max(axis=0) == np.abs(components).max(axis=0)).all()
    np.testing.assert_allclose(components.T @ components, np.eye(units), atol=1e-12)


def test_a_block_of_distances_has_64_mebibytes() -> None:
    """Of 131,072 rows: 64 distances each, and what is left."""
    many = np.zeros((1 << 17, 1))
    rows, sizes = zip(
        *((len(numbers), block.nbytes) for numbers, block in neighbourhoods._distances(many[:65], many)), strict=True
    )
    assert rows == (64, 1) and sizes == (64 << 20, 1 << 20)


def test_blocks_are_of_neighbouring_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhoods, "BLOCK_BYTES", 8 * 60 * 7)
    found = list(neighbourhoods._distances(X[:20], X))
    assert [numbers.tolist() for numbers, _ in found] == [list(range(7)), list(range(7, 14)), list(range(14, 20))]
    direct = np.square(X[:20, None] - X[None]).sum(axis=2)
    np.testing.assert_allclose(np.concatenate([block for _, block in found]), direct, atol=1e-12)


class Read(np.ndarray):
    """Samples that record which of their rows are read."""

    slices: ClassVar[list[tuple[int, int]]] = []

    def __getitem__(self, key):
        if isinstance(key, slice):
            self.slices.append((key.start, key.stop))
        return super().__getitem__(key)


def test_components_are_fitted_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of samples in float64 is no larger than one of distances: 25 samples of 5 values."""
    whole = Pca.fit(X, 5)
    monkeypatch.setattr(neighbourhoods, "BLOCK_BYTES", 8 * 5 * 25)
    monkeypatch.setattr(Read, "slices", [])
    parts = Pca.fit(X.view(Read), 5)
    assert Read.slices == [(0, 25), (25, 50), (50, 75)]
    np.testing.assert_allclose(parts.components, whole.components, atol=1e-12)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_nearest_are_those_of_the_smallest_distances(count: int) -> None:
    distances = np.random.default_rng(1).permuted(np.tile(np.arange(8.0), (5, 1)), axis=1)
    found = nearest(distances, count)
    assert found.shape == (5, count)
    assert np.sort(np.take_along_axis(distances, found, axis=1), axis=1).tolist() == [list(range(count))] * 5
