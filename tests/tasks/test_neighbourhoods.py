"""Trustworthiness, continuity and k-NN accuracy against their definitions, written out, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import InputError
from tiedae.tasks import neighbourhoods
from tiedae.tasks.neighbourhoods import Pca, continuity, knn_accuracy, trustworthiness


def points(seed: int, n: int = 60, features: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, features))


def written_out(x: np.ndarray, codes: np.ndarray, k: int) -> float:
    """The formula of Venna & Kaski (2001), term by term."""
    n, total = len(x), 0
    by_x, by_code = (np.linalg.norm(values[:, None] - values[None], axis=-1) for values in (x, codes))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        rank = {j: place for place, j in enumerate(sorted(others, key=lambda j: by_x[i, j]), start=1)}
        total += sum(max(0, rank[j] - k) for j in sorted(others, key=lambda j: by_code[i, j])[:k])
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * total


@pytest.mark.parametrize("k", [1, 4, 10, 29])
def test_trustworthiness_is_the_formula(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, codes = points(0), points(1, features=2)
    assert trustworthiness(x, codes, k) == pytest.approx(written_out(x, codes, k), abs=1e-12)
    assert continuity(x, codes, k) == pytest.approx(written_out(codes, x, k), abs=1e-12)
    whole = trustworthiness(x, codes, k)
    monkeypatch.setattr(neighbourhoods, "BLOCK_BYTES", 8 * 60 * 7)
    assert trustworthiness(x, codes, k) == whole


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([2, 5]))
def test_laws(seed: int, k: int) -> None:
    x, codes = points(seed, 30), points(seed + 1, 30, 2)
    value = trustworthiness(x, codes, k)
    assert 0 <= value <= 1
    assert trustworthiness(x, x, k) == continuity(x, x, k) == 1
    assert trustworthiness(x, 3 * x[:, ::-1] - 7, k) == 1
    order = np.random.default_rng(seed).permutation(30)
    assert trustworthiness(x[order], codes[order], k) == pytest.approx(value, abs=1e-12)
    assert continuity(x, codes, k) == trustworthiness(codes, x, k)


def test_scikit_learn_agrees() -> None:
    manifold = pytest.importorskip("sklearn.manifold", reason="scikit-learn is not installed: pip install 'tiedae[tasks]'")
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    x = points(3, 200, 8) * [5, 3, 1, 1, 1, 1, 1, 1] + 1000
    pca = Pca.fit(x, 2)
    codes = pca.encode(x)
    assert trustworthiness(x, codes, 7) == pytest.approx(manifold.trustworthiness(x, codes, n_neighbors=7), abs=1e-12)
    reference = PCA(2).fit(x)
    np.testing.assert_allclose(np.abs(codes), np.abs(reference.transform(x)), atol=1e-8)
    labels = np.where(x[:, 0] + points(4, 200, 1)[:, 0] > 1000, "high", "low")
    ours = knn_accuracy(codes[:150], labels[:150], codes[150:], labels[150:], 5)
    assert ours == KNeighborsClassifier(5).fit(codes[:150], labels[:150]).score(codes[150:], labels[150:])
    assert 0.5 < ours < 1


def test_votes_of_neighbours() -> None:
    train, labels = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]]), np.array(["a", "a", "b", "b", "b"])
    test = np.array([[0.1], [10.4]])
    assert knn_accuracy(train, labels, test, np.array(["a", "b"]), 3) == 1.0
    assert knn_accuracy(train, labels, test, np.array(["b", "b"]), 3) == 0.5
    assert knn_accuracy(train, labels, test, np.array(["b", "b"]), 5) == 1.0
    assert knn_accuracy(train, labels, np.array([[1.5]]), np.array(["a"]), 2) == 1.0, "of equal votes the first label counts"


def test_equal_codes_are_neighbours_in_any_order() -> None:
    x = points(0, 40)
    assert trustworthiness(x, np.zeros((40, 2)), 5) < trustworthiness(x, x[:, :2], 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: trustworthiness(x, x, 30), r"neighbours: got 30, must lie in 1…29 for 60 samples"),
        (lambda x: trustworthiness(x, x, 0), r"neighbours: got 0"),
        (lambda x: continuity(x, x[:50], 5), r"got samples \[50, 5\] and codes \[60, 5\]"),
        (lambda x: trustworthiness(x, x[:, 0], 5), r"codes \[60\], must be \[n, inputs\] and \[n, units\]"),
        (lambda x: knn_accuracy(x, np.arange(59), x, np.arange(60)), r"train: got labels of shape \[59\], must be \[60\]"),
        (lambda x: knn_accuracy(x, np.arange(60), x, np.arange(60), 61), r"neighbours: got 61, must lie in 1…60"),
        (lambda x: Pca.fit(x, 6), r"units: got 6, must lie in 1…5"),
    ],
)
def test_wrong_calls_are_one_line(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(points(0))
