"""Hidden units in an order in which an N:M pattern costs less: the same function, more of the scores kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.compress import LayerConfig, ModelConfig, PruneConfig, TiedAutoencoder, TrainConfig, prune
from tiedae.compress.patterns import kept, transposable
from tiedae.compress.symmetries import reorder_units, row_order

X = np.random.default_rng(0).random((9, 16)).astype(np.float32)
LAYERS = (LayerConfig(12, "relu"), LayerConfig(8, "tanh"), LayerConfig(4))


def model() -> TiedAutoencoder:
    made = TiedAutoencoder(ModelConfig(LAYERS, "sigmoid", 16))
    rng = np.random.default_rng(4)
    for variable in made.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    made.kernels[1].set_mask(rng.random((12, 8)) < 0.8)
    return made


def kept_by(made: TiedAutoencoder, skip: tuple[int, ...] = ()) -> float:
    weights = [np.abs(kernel.masked().numpy()) for i, kernel in enumerate(made.kernels) if i not in skip]
    return float(sum((each * transposable(each, 2, 4)).sum() for each in weights))


@pytest.mark.parametrize("skip", [(), (2,), (0,), (1, 2)], ids=str)
def test_the_function_stays_and_masks_keep_more(skip: tuple[int, ...]) -> None:
    made = model()
    before, (code, y) = kept_by(made, skip), made.encode_decode(X)
    scores = [np.abs(kernel.masked().numpy()) for kernel in made.kernels]
    reorder_units(made, lambda: scores, PruneConfig(pattern="2:4", skip=skip), seed=0)
    assert kept_by(made, skip) > 1.005 * before
    for got, expected in zip(made.encode_decode(X), (code, y), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("pattern", "power"), [("2:4", 0), ("4:8", 2)], ids=["no gain", "too many masks"])
def test_nothing_moves_where_nothing_is_to_be_gained(pattern: str, power: int) -> None:
    made = model()
    before = [kernel.variable.numpy() for kernel in made.kernels]
    reorder_units(made, lambda: [each**power for each in before], PruneConfig(pattern=pattern), seed=0)
    for kernel, values in zip(made.kernels, before, strict=True):
        np.testing.assert_array_equal(kernel.variable, values)


@pytest.mark.parametrize("saliency", ["magnitude", "gradient", "movement"])
def test_pruning_by_tiles_reorders_whatever_ranks_the_weights(make_splits, saliency: str) -> None:
    made = TiedAutoencoder(ModelConfig((LayerConfig(12, "relu"), LayerConfig(4)), "sigmoid", 24))
    bias = made.encoder.stack[0].bias
    bias.assign(np.linspace(0.1, 0.2, 12, dtype=np.float32))
    config = PruneConfig("2:4", saliency=saliency, samples=64, epochs=1, learning_rate=1e-9, weight_decay=0.0)
    prune(made, make_splits(), config, TrainConfig(batch_size=64))
    found = np.argsort(bias.numpy())
    assert sorted(found) == list(range(12)) != found.tolist()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), groups=st.integers(1, 5), n=st.integers(1, 3))
def test_an_order_holds_every_row_once_and_is_never_worse(seed: int, groups: int, n: int) -> None:
    scores = np.random.default_rng(seed).random((4 * groups, 8)).astype(np.float32)
    order = row_order(scores, n, 4, np.random.default_rng(seed))
    assert sorted(order) == list(range(4 * groups))
    plain = np.arange(4 * groups).reshape(-1, 4)
    start, found = (kept(scores, each, n, 4) for each in (plain, order.reshape(-1, 4)))
    assert found.sum() >= start.sum() - 1e-5
    best = transposable(scores, n, 4)
    np.testing.assert_allclose(start.sum(), (scores * best).sum(), rtol=1e-5)
