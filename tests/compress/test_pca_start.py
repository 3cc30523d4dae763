"""A net that starts as PCA gives what PCA gives before its first step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tiedae.base.errors import RecipeError
from tiedae.compress import pca_start
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.float_training import train_float
from tiedae.compress.pca_start import Components, Parts, components_of, start_at_pca
from tiedae.config.config import TrainConfig
from tiedae.config.layer_kinds import LayerConfig, layer_tables
from tiedae.config.model_config import ModelConfig
from tiedae.data.dataset import Dataset
from tiedae.pipeline.recipe import parse_recipe

RANK = 12


def correlated(samples: int = 400, inputs: int = 40, seed: int = 0) -> np.ndarray:
    """float32 [samples, inputs] of 12 directions, some of them weak, and noise, about a mean."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(RANK, inputs)) * np.geomspace(3, 0.3, RANK)[:, None]
    return (rng.normal(size=(samples, RANK)) @ directions + 0.05 * rng.normal(size=(samples, inputs)) + 2).astype(np.float32)


def model_of(data: Dataset, *layers: LayerConfig, output: str = "linear") -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig(layers, output, data.train.inputs), seed=1)  # pyright: ignore[reportArgumentType]


def error(model: TiedAutoencoder, x: np.ndarray) -> float:
    return float(np.square(model(x).numpy().astype(np.float64) - x).sum(axis=1).mean())


def pca_error(x: np.ndarray, components: int, *, centred: bool = True) -> float:
    """By the singular values of the samples, as somebody else would compute it."""
    values = x.astype(np.float64)
    values = values - values.mean(axis=0) * centred
    return float(np.square(np.linalg.svd(values, compute_uv=False)[components:]).sum() / len(x))


def scaled(data: Dataset) -> np.ndarray:
    return data.scaling.apply(data.train.take(np.arange(len(data.train))))


NETS = {
    "no hidden layer": [],
    "one": [(24, "relu")],
    "two": [(30, "relu"), (16, "relu")],
    "three": [(40, "relu"), (24, "relu"), (18, "relu")],
    "wider than pairs": [(61, "relu"), (33, "relu")],
    "linear": [(20, "linear"), (9, "linear")],
    "linear, relu": [(10, "linear"), (17, "relu")],
    "relu, linear": [(20, "relu"), (9, "linear"), (16, "relu")],
    "relu6": [(400, "relu6"), (400, "relu6")],
}


@pytest.mark.parametrize("scaling", ["standard", "capped", "minmax"])
@pytest.mark.parametrize("net", NETS)
def test_start_is_pca(net: str, scaling: str) -> None:
    data = Dataset.from_array(correlated(), scaling=scaling, test=0.2)
    model = model_of(data, *(LayerConfig(units, activation) for units, activation in NETS[net]), LayerConfig(8))
    x = scaled(data)
    assert start_at_pca(model, data, 0) == 8
    assert error(model, x) == pytest.approx(pca_error(x, 8), rel=1e-4)


def far() -> Dataset:
    """One direction reaches much further than the others."""
    rng = np.random.default_rng(1)
    return Dataset.from_array(correlated() + np.outer(rng.normal(size=400) * 60, rng.normal(size=40)), test=0.2)


def extremes(model: TiedAutoencoder, x: np.ndarray) -> float:
    """The product of the largest values of the hidden layer, upwards and downwards, which scales of units do not change."""
    seen: dict[str, float] = {}

    def tap(name: str, values: tf.Tensor, _training: bool) -> tf.Tensor:
        seen[name] = float(tf.reduce_max(values))
        return values

    with model.tapped(tap):
        model(x)
    return seen["encoder_0"] * seen["decoder_1"]


def test_a_component_that_reaches_far_has_several_pairs_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    data, products = far(), []
    x = scaled(data)
    for times in (pca_start.FAR, np.inf):
        monkeypatch.setattr(pca_start, "FAR", times)
        model = model_of(data, LayerConfig(120, "relu"), LayerConfig(8))
        start_at_pca(model, data, 0)
        assert error(model, x) == pytest.approx(pca_error(x, 8), rel=1e-4)
        products.append(extremes(model, x))
        columns = model.kernels[0].matrix.T
        assert len(np.unique(np.round(columns, 5), axis=0)) == 120
    assert products[0] < products[1] / 3


@pytest.mark.parametrize("reach", [[], [0.0, 0.0], [1e6, 0.0, 0.0], [1.0, 1.0, 1.0], [1e9, 1e3, 1.0, 1e-9]])
def test_pairs_hold_components_of_any_reach(reach: list[float]) -> None:
    held = pca_start.HELD["relu"](np.array(reach), 50, 1)
    assert held.shape == (len(reach), 50)
    np.testing.assert_allclose(held @ held.T, 2 * np.eye(len(reach)), atol=1e-12)
    np.testing.assert_allclose(held.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize(("others", "pairs"), [(4.6, 64), (300.0, 9)])
def test_a_far_component_adds_little_to_the_pairs_of_others(others: float, pairs: int) -> None:
    reach = np.r_[others, 6880.0, np.full(46, others)]
    values = np.abs(pca_start.HELD["relu"](reach, 320, 1)) * reach[:, None]
    values = values[:, values.any(axis=0)]
    of_far, faint = values[1], values[np.arange(48) != 1].max(axis=0)
    single = of_far < faint
    assert np.count_nonzero(single) == 2 * 47 and np.count_nonzero(~single) == 2 * pairs
    assert (of_far[single] < 0.1 * faint[single]).all() and (faint[~single] < 0.5 * of_far[~single]).all()


@pytest.mark.parametrize("hidden", [1, 2])
def test_start_is_pca_with_batch_normalization(hidden: int) -> None:
    """Once statistics are known, as `fit` does first; in training by those of the whole batch too."""
    data = Dataset.from_array(correlated(), test=0.2)
    layers = [LayerConfig(24, "relu", batch_norm=True)] * hidden
    model, x = model_of(data, *layers, LayerConfig(8)), scaled(data)
    start_at_pca(model, data, 0)
    model.start_statistics(x)
    model.know_statistics(x)
    assert error(model, x) == pytest.approx(pca_error(x, 8), rel=1e-4)
    trained = model(x, training=True).numpy()
    assert np.square(trained - x).sum(axis=1).mean() == pytest.approx(pca_error(x, 8), rel=1e-3)


def conv(filters: int, kernel: int, **keys: object) -> dict[str, object]:
    return {"kind": "conv1d", "filters": filters, "kernel": kernel, "strides": kernel, "activation": "relu", **keys}


FLAT = {"kind": "flatten"}
TILED = {
    "one": [conv(16, 8), FLAT],
    "valid": [conv(16, 8, padding="valid"), FLAT],
    "linear": [conv(8, 8, activation="linear"), FLAT],
    "narrow": [conv(6, 8), FLAT],
    "two": [conv(8, 4), conv(32, 2), FLAT],
    "dense behind": [conv(16, 8), FLAT, {"units": 40, "activation": "relu"}],
    "dense for each place": [conv(16, 8), {"units": 30, "activation": "relu"}, FLAT],
    "a window of one": [conv(80, 1), FLAT],
    "normalized": [conv(16, 8, batch_norm=True), FLAT],
    "without biases": [conv(16, 8, use_bias=False), FLAT],
}


@pytest.mark.parametrize("net", TILED)
def test_windows_side_by_side_start_as_pca(net: str) -> None:
    """PCA of windows, and of what they give: of the whole sample where windows keep all."""
    data = Dataset.from_array(correlated(), scaling="capped", test=0.2)
    layers = layer_tables([*TILED[net], {"units": 8}])
    model, x = TiedAutoencoder(ModelConfig(tuple(layers), "linear", (40, 1)), seed=1), scaled(data)
    assert start_at_pca(model, data, 0) == 8
    if model.norms:
        model.start_statistics(x)
        model.know_statistics(x)
    assert error(model, x) == pytest.approx(pca_error(x, 8) if net != "narrow" else nested_error(x, 8, 3, 8), rel=1e-4)


def nested_error(x: np.ndarray, window: int, each: int, components: int) -> float:
    """Of `components` of the PCA of `each` components of a window, by singular values."""
    windows = x.astype(np.float64).reshape(-1, window)
    basis = np.linalg.svd(windows - windows.mean(), full_matrices=False)[2][:each]
    kept = ((windows - windows.mean()) @ basis.T).reshape(len(x), -1)
    scales = np.linalg.svd(kept - kept.mean(axis=0), compute_uv=False)
    lost = np.square(windows - windows.mean()).sum() - np.square(kept).sum()
    return float(lost + np.square(scales[components:]).sum()) / len(x)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_windows_that_overlap_start_near_the_sample(padding: str) -> None:
    """All that windows hold comes back, twice where two overlap, at half of the scale; but for the ends."""
    time = np.linspace(0, 12, 64)
    samples = np.sin(time + np.random.default_rng(0).uniform(0, 6, (200, 1))).astype(np.float32)
    data = Dataset.from_array(samples, scaling="none", test=0.2)
    layers = layer_tables([conv(16, 8, strides=4, padding=padding), FLAT, {"units": 4}])
    model, x = TiedAutoencoder(ModelConfig(tuple(layers), "linear", (64, 1)), seed=1), scaled(data)
    assert start_at_pca(model, data, 0) == 4
    assert np.square(model(x).numpy() - x)[:, 8:-8].mean() < 0.02 * np.square(x).mean()


def test_a_code_of_places_starts_as_pca_of_windows() -> None:
    data = Dataset.from_array(correlated(), test=0.2)
    layers = layer_tables([conv(16, 8), conv(3, 1, activation="linear")])
    model, x = TiedAutoencoder(ModelConfig(tuple(layers), "linear", (40, 1)), seed=1), scaled(data)
    assert start_at_pca(model, data, 0) == 3
    windows = x.reshape(-1, 8)
    assert error(model, x) == pytest.approx(5 * pca_error(windows - windows.mean(), 3, centred=False), rel=1e-4)


def test_interleaved_inputs_start_as_pca() -> None:
    data = Dataset.from_array(correlated(), test=0.2)
    config = ModelConfig((LayerConfig(24, "relu"), LayerConfig(8)), "linear", 40, interleave=4)
    model, x = TiedAutoencoder(config, seed=1), scaled(data)
    start_at_pca(model, data, 0)
    assert error(model, x) == pytest.approx(pca_error(x, 8), rel=1e-4)


def test_without_biases_the_mean_stays() -> None:
    data = Dataset.from_array(correlated(), scaling="none", test=0.2)
    model, x = model_of(data, LayerConfig(24, "relu", use_bias=False), LayerConfig(8, use_bias=False)), scaled(data)
    start_at_pca(model, data, 0)
    assert error(model, x) == pytest.approx(pca_error(x, 8, centred=False), rel=1e-4) and x.mean() > 1


def test_no_unit_is_dead_downwards() -> None:
    """The next layer has faint weights for units whose component it leaves, so that they can be trained."""
    data = Dataset.from_array(correlated(), test=0.2)
    model, x = model_of(data, LayerConfig(40, "relu"), LayerConfig(24, "relu"), LayerConfig(4)), scaled(data)
    start_at_pca(model, data, 0)
    values = model.encoder(x)
    for kernel, layer in zip(reversed(model.kernels[1:]), model.decoder.stack, strict=False):
        assert kernel.variable.numpy().any(axis=1).all()
        values = layer(values)
        assert (values.numpy() > 0).any(axis=0).all()


def test_a_layer_holds_what_the_next_can_take_and_random_units() -> None:
    """Of 40 units 24 hold the 12 components that a layer of 24 has pairs for; the others have weights of full size."""
    data = Dataset.from_array(correlated(), test=0.2)
    model = model_of(data, LayerConfig(40, "relu"), LayerConfig(24, "relu"), LayerConfig(4))
    start_at_pca(model, data, 0)
    first, second, code = (kernel.variable.numpy() for kernel in model.kernels)
    np.testing.assert_allclose(first[:, :12], -first[:, 12:24], atol=1e-6)
    np.testing.assert_allclose(first[:, :12].T @ first[:, :12], np.eye(12), atol=1e-5)
    np.testing.assert_allclose(second[:, :4], -second[:, 4:8], atol=1e-3)
    for random in (first[:, 24:], second[:, 8:]):
        assert np.linalg.norm(random, axis=0).mean() == pytest.approx(1, rel=0.2)
    assert np.abs(second[24:, :8]).max() < 1e-3 and np.abs(code[8:]).max() < 1e-3


def test_batches_of_any_size_give_the_same_start(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset.from_array(correlated(), scaling="capped", test=0.2)
    kernels = []
    for values in (1, 700, 1 << 22):
        monkeypatch.setattr(pca_start, "TENSOR_VALUES", values)
        config = ModelConfig(tuple(layer_tables([conv(16, 8), FLAT, {"units": 8}])), "linear", (40, 1))
        model = TiedAutoencoder(config, seed=1)
        start_at_pca(model, data, 0)
        kernels.append([kernel.variable.numpy() for kernel in model.kernels])
    for other in kernels[:-1]:
        for kernel, right in zip(other, kernels[-1], strict=True):
            np.testing.assert_allclose(kernel, right, atol=1e-5)


@pytest.mark.parametrize("size", [1e9, 1e15, 1e25])
def test_values_of_any_size_start(size: float) -> None:
    """relu6 would need more pairs than there are numbers; it has one of each."""
    data = Dataset.from_array((size * correlated()).astype(np.float32), scaling="none", test=0.2)
    model = model_of(data, LayerConfig(24, "relu6"), LayerConfig(4))
    assert start_at_pca(model, data, 0) == 4 and np.isfinite(model.kernels[0].variable.numpy()).all()


@pytest.mark.parametrize("strides", [1, 7, 40])
def test_one_window_is_pca_whatever_its_strides(strides: int) -> None:
    data = Dataset.from_array(correlated(), scaling="capped", test=0.2)
    layers = layer_tables([conv(16, 40, strides=strides, padding="valid"), FLAT, {"units": 8}])
    model, x = TiedAutoencoder(ModelConfig(tuple(layers), "linear", (40, 1)), seed=1), scaled(data)
    start_at_pca(model, data, 0)
    assert error(model, x) == pytest.approx(pca_error(x, 8), rel=1e-4)
    assert model.config.starts_as_pca


@pytest.mark.parametrize(
    ("layers", "output"),
    [
        ([{"units": 24, "activation": "relu6"}], "linear"),
        ([{"units": 1, "activation": "relu"}], "linear"),
        ([conv(16, 7, padding="valid"), FLAT], "linear"),
        ([conv(16, 8, strides=4), FLAT], "linear"),
        ([{"units": 24, "activation": "relu"}], "sigmoid"),
    ],
)
def test_what_may_not_be_pca(layers: list, output: str) -> None:
    config = ModelConfig(tuple(layer_tables([*layers, {"units": 4}])), output, (40, 1) if len(layers) > 1 else 40)  # pyright: ignore[reportArgumentType]
    assert not config.no_components and not config.starts_as_pca


def test_relu6_without_room_clips() -> None:
    """Pairs of its own for what reaches beyond 6, where there is room; else the pairs of relu."""
    data = Dataset.from_array(2 * correlated(), scaling="none", test=0.2)
    x = scaled(data)
    roomy, narrow = (model_of(data, LayerConfig(units, "relu6"), LayerConfig(4)) for units in (4000, 8))
    assert start_at_pca(roomy, data, 0) == start_at_pca(narrow, data, 0) == 4
    assert error(roomy, x) == pytest.approx(pca_error(x, 4), rel=1e-4) and error(narrow, x) > 1.5 * pca_error(x, 4)


def test_a_sigmoid_output_starts_near_pca() -> None:
    rng = np.random.default_rng(0)
    pixels = 1 / (1 + np.exp(-2 * (rng.normal(size=(400, 4)) @ rng.normal(size=(4, 30)))))
    data = Dataset.from_array((255 * pixels).astype(np.uint8), scaling="byte", test=0.2)
    x, model = scaled(data), model_of(data, LayerConfig(16, "relu"), LayerConfig(4), output="sigmoid")
    before = error(model, x)
    start_at_pca(model, data, 0)
    assert error(model, x) < 1.1 * pca_error(x, 4) < 0.2 * before


@pytest.mark.parametrize(
    ("layers", "held"),
    [([(10, "relu")], 5), ([(1, "relu")], 0), ([(1, "linear")], 1), ([(24, "relu"), (6, "relu")], 3)],
)
def test_a_narrow_layer_holds_what_it_can(layers: list, held: int) -> None:
    """Other units of the code are random and small, so that they hardly change what is held."""
    data = Dataset.from_array(correlated(), test=0.2)
    model, x = model_of(data, *(LayerConfig(*each) for each in layers), LayerConfig(8)), scaled(data)
    assert start_at_pca(model, data, 0) == held
    assert error(model, x) == pytest.approx(pca_error(x, held), rel=1e-2)
    assert all(kernel.variable.numpy().any(axis=0).all() for kernel in model.kernels), "every unit has weights"


def test_fewer_samples_than_components() -> None:
    data = Dataset.from_array(correlated(8), test=0.25)
    model, x = model_of(data, LayerConfig(40, "relu"), LayerConfig(16)), scaled(data)
    assert start_at_pca(model, data, 0) == len(x) - 1
    assert error(model, x) == pytest.approx(0, abs=1e-3)


def test_a_code_wider_than_a_sample_and_constant_columns() -> None:
    values = correlated(inputs=6)
    values[:, 2] = 5.0
    data = Dataset.from_array(values, test=0.2)
    model, x = model_of(data, LayerConfig(32, "relu"), LayerConfig(10)), scaled(data)
    assert start_at_pca(model, data, 0) == 6
    assert error(model, x) == pytest.approx(0, abs=1e-3)


REFUSED = {
    r"layers\[0\] has activation tanh, and linear, relu, relu6 alone": (LayerConfig(16, "tanh"), LayerConfig(4)),
    r"layers\[1\] has activation relu, and linear alone": (LayerConfig(16, "relu"), LayerConfig(4, "relu")),
}


@pytest.mark.parametrize("message", REFUSED)
def test_layers_that_hold_no_components_are_refused(message: str) -> None:
    data = Dataset.from_array(correlated(), test=0.2)
    with pytest.raises(RecipeError, match=f"train.start: got 'pca', must be random: {message}"):
        start_at_pca(model_of(data, *REFUSED[message]), data, 0)


def test_a_recipe_starts_as_pca() -> None:
    recipe = {"data": {"source": "x.npy"}, "model": {"layers": [16, 4]}, "train": {"start": "pca"}}
    assert parse_recipe(recipe, "r").train.start == "pca"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"layers": [{"units": 16, "activation": "sigmoid"}, 4]}, r"random: model.layers\[0\] has activation sigmoid, and"),
        (
            {"layers": [{"kind": "conv1d", "filters": 4, "pool": 2}, {"units": 4, "flatten": True}]},
            r"random: model.layers\[0\] has max pooling, behind which",
        ),
        ({"layers": [16, 4], "source": "m.h5"}, "random: model.source gives the weights"),
    ],
)
def test_a_recipe_that_cannot_start_as_pca_is_refused(model: dict, message: str) -> None:
    recipe = {"data": {"source": "x.npy"}, "model": model, "train": {"start": "pca"}}
    with pytest.raises(RecipeError, match=f"train.start: got 'pca', must be {message}"):
        parse_recipe(recipe, "r")


def directions(found: Components) -> np.ndarray:
    return found.basis @ found.basis.T


def in_batches(x: np.ndarray, size: int) -> Parts:
    """All rows in batches, or the first of them."""
    batches = np.split(x.astype(np.float64), range(size, len(x), size))
    return lambda whole, both=True: iter([(batch, batch) for batch in batches[: None if whole else 1]])


def test_many_values_are_decomposed_by_products_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = in_batches(correlated(inputs=80), 100)
    exact = components_of(parts, 6, 0, channels=80)
    monkeypatch.setattr(pca_start, "MOST_EXACT", 79)
    monkeypatch.setattr(pca_start, "OVERSAMPLED", 6)
    found = components_of(parts, 6, 0, channels=80)
    assert np.abs(directions(found) - directions(exact)).max() < 1e-6
    assert np.abs(found.reach - exact.reach).max() < 1e-4


@pytest.mark.parametrize("channels", [None, 5, 20, 40])
def test_components_are_those_of_all_batches(channels: int | None) -> None:
    x = correlated() + np.linspace(0, 9, 40, dtype=np.float32)
    whole, found = (components_of(in_batches(x, size), 6, 0, channels=channels) for size in (400, 37))
    mean = np.zeros(40) if channels is None else np.tile(x.reshape(-1, channels).mean(axis=0, dtype=np.float64), 40 // channels)
    centred = x - mean
    right = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :6]
    np.testing.assert_allclose(found.mean, mean, atol=1e-5)
    assert np.abs(directions(found) - right @ right.T).max() < 1e-9
    assert np.abs(found.basis - whole.basis).max() < 1e-9


def test_float_training_starts_there_once() -> None:
    data = Dataset.from_array(correlated(), test=0.2)
    config = TrainConfig(epochs=1, batch_size=32, learning_rate=1e-5, start="pca", weight_decay=0.0)
    model, x = model_of(data, LayerConfig(24, "relu"), LayerConfig(8)), scaled(data)
    train_float(model, data, config)
    assert error(model, x) == pytest.approx(pca_error(x, 8), rel=1e-2)
    again = TiedAutoencoder([24, 8], output_activation="linear", inputs=40)
    again.fit(data, train=TrainConfig(epochs=1, batch_size=32, start="random"), verbose=0)
    before = error(again, x)
    again.fit(data, train=config, verbose=0)
    assert error(again, x) == pytest.approx(before, rel=1e-2), "a trained model goes on"
