"""Saliency: each score is what its paper says, against a plain reckoning of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tiedae.compress import LayerConfig, ModelConfig, PruneConfig, TiedAutoencoder, TrainConfig, fit, prune
from tiedae.compress.pruning import BATCH, SALIENCIES, Scores

from ..variants import every
from .conftest import sparsity_of
from .test_curvature import squared_change

TRAIN = TrainConfig(epochs=2, batch_size=32)


def model_of(**layer: float) -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig((LayerConfig(12, "tanh", **layer), LayerConfig(4)), "sigmoid", 24))


def loss_of(model: TiedAutoencoder, x: np.ndarray) -> float:
    return float(tf.reduce_mean(tf.square(x - model(x))))


def test_gradient_foretells_the_loss_without_a_weight(make_splits) -> None:
    """Over one batch the score is (w · ∂L/∂w)²; the difference quotient of shrinking that weight in both directions agrees,
    with other weights masked."""
    splits, model = make_splits(train=BATCH), model_of()
    model.kernels[0].set_mask(np.arange(24 * 12).reshape(24, 12) % 5 != 1)
    x = next(splits.train.batches(np.arange(BATCH), BATCH))
    scores = SALIENCIES["gradient"](model, splits, PruneConfig(samples=BATCH), TRAIN)()
    for kernel, score in zip(model.kernels, scores, strict=True):
        weights = kernel.variable.numpy()
        for place in ((0, 0), (3, 2), (11, 3)):
            losses = []
            for factor in (0.9, 1.1):
                changed = weights.copy()
                changed[place] *= factor
                kernel.variable.assign(changed)
                losses.append(loss_of(model, x))
            kernel.variable.assign(weights)
            assert score[place] == pytest.approx(((losses[1] - losses[0]) / 0.2) ** 2, rel=0.05, abs=1e-13)


@pytest.mark.parametrize("saliency", ["gradient", "curvature"])
def test_a_masked_weight_has_a_score(make_splits, saliency: str) -> None:
    model = model_of(activity_l1=0.1)
    masked = np.arange(24 * 12).reshape(24, 12) % 2 == 0
    model.kernels[0].set_mask(~masked)
    scores = SALIENCIES[saliency](model, make_splits(), PruneConfig(samples=100), TRAIN)()
    assert (scores[0][masked] > 0).mean() > 0.9


@pytest.mark.parametrize("seed", every(3, [0, 1, 2]))
def test_curvature_foretells_the_output_without_a_weight(make_splits, seed: int) -> None:
    """Of all kernels together, in the order of what it does; the moments are factored, so the sizes may be off by a factor."""
    splits, model = make_splits(seed=seed), model_of()
    fit(model, splits, TrainConfig(epochs=5, batch_size=32, learning_rate=1e-2, seed=seed))
    x = next(splits.train.batches(np.arange(256), 256))
    given, found = [], []
    for index, score in enumerate(SALIENCIES["curvature"](model, splits, PruneConfig(samples=256), TRAIN)()):
        weights = model.kernels[index].variable.numpy()
        for place in (place for place in np.ndindex(weights.shape) if place[0] % 5 == 0):
            change = np.zeros_like(weights)
            change[place] = -0.1 * weights[place]
            given.append(score[place])
            found.append(squared_change(model, x, index, change))
    assert np.corrcoef(np.log(given), np.log(found))[0, 1] > 0.97


def test_curvature_counts_samples_alike_in_batches(make_splits, monkeypatch) -> None:
    splits, model = make_splits(), model_of()
    whole = SALIENCIES["curvature"](model, splits, PruneConfig(), TRAIN)()
    monkeypatch.setattr("tiedae.compress.pruning.TENSOR_VALUES", 8 * 24 * 100)  # batches of 100, 100, 56
    parts = SALIENCIES["curvature"](model, splits, PruneConfig(), TRAIN)()
    for one, other in zip(whole, parts, strict=True):
        assert np.median(other / one) == pytest.approx(1, rel=0.05) and np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


@pytest.mark.ci
def test_movement_is_what_the_updates_sum_up_to() -> None:
    """Along small steps of plain gradient descent, Σ −w · ∂L/∂w · rate comes to half the score."""
    rng, model = np.random.default_rng(0), model_of()
    x, rate = rng.random((64, 24), np.float32), 1e-2
    scores = SALIENCIES["movement"](model, None, PruneConfig(), TRAIN)
    total = [np.zeros(kernel.variable.shape) for kernel in model.kernels]
    for _ in range(200):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(x - model(x))) / 64
        variables = [kernel.variable for kernel in model.kernels]
        for sums, variable, gradient in zip(total, variables, tape.gradient(loss, variables), strict=True):
            sums -= rate * (variable * gradient).numpy()
            variable.assign_sub(rate * gradient)
    for sums, score in zip(total, scores(), strict=True):
        assert np.abs(score / 2 - sums).max() < 0.05 * np.abs(sums).max()


def signed(saliency: Callable[..., Scores], sign: int) -> Callable[..., Scores]:
    def of_model(*given: object) -> Scores:
        scores = saliency(*given)
        return lambda: [sign * each for each in scores()]

    return of_model


@pytest.mark.parametrize("saliency", every(3, ["curvature", *(each for each in SALIENCIES if each != "curvature")]))
def test_each_saliency_prunes_to_its_share_and_is_better_than_its_contrary(make_splits, monkeypatch, saliency: str) -> None:
    splits, errors = make_splits(), {}
    start = model_of()
    fit(start, splits, TrainConfig(epochs=30, batch_size=32, learning_rate=1e-2))
    weights = {name: variable.numpy() for name, variable in start.state().items()}
    x = next(splits.test.batches(np.arange(64), 64))
    right = SALIENCIES[saliency]
    for sign in (1, -1):
        model = model_of()
        for name, variable in model.state().items():
            variable.assign(weights[name])
        monkeypatch.setitem(SALIENCIES, saliency, signed(right, sign))
        prune(model, splits, PruneConfig(sparsity=0.7, saliency=saliency, epochs=6), TrainConfig(batch_size=32))
        assert sparsity_of(model) == pytest.approx({"kernel_0": 0.7, "kernel_1": 0.7}, abs=0.02)
        errors[sign] = loss_of(model, x)
    assert errors[1] < errors[-1]
