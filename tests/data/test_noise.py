"""Noise: its levels, its seeds, clean outputs in every stage, pairs, and the same weights without it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.calibration import quantize_post_training
from tiedae.calibration.representative import representative
from tiedae.compress import (
    ClusterConfig,
    DataError,
    Dataset,
    NoiseConfig,
    PruneConfig,
    QuantizeConfig,
    RecipeError,
    TiedAutoencoder,
    TrainConfig,
    Training,
    cluster,
    fit,
    prune,
)
from tiedae.compress.float_training import train_float
from tiedae.compress.quantized_training import train_quantized
from tiedae.compress.train import validation_loss
from tiedae.data.noise import CORRUPTIONS, Noise, noisy_samples, noisy_test, pairs

GAUSSIAN = NoiseConfig("gaussian", 0.3)
EPOCHS = TrainConfig(epochs=3, batch_size=32, noise=GAUSSIAN)


def images(n: int = 200, seed: int = 0) -> np.ndarray:
    """Bytes of a few factors, so that there is something to denoise to."""
    rng = np.random.default_rng(seed)
    mixed = rng.uniform(size=(n, 3)) @ rng.uniform(size=(3, 24))
    return (255 * mixed / mixed.max()).astype(np.uint8).reshape(n, 4, 6)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_array(images(), validation=0.2)


def test_a_level_is_what_it_says() -> None:
    x = np.full((200, 500), 0.5, np.float32)
    data = Dataset.from_array(np.random.default_rng(0).uniform(-2, 3, (50, 500)), scaling="none", output_activation="linear")

    def noisy(kind: Any, level: float) -> np.ndarray:
        return Noise.of(NoiseConfig(kind, level), data.train).apply(x, np.random.default_rng(1))

    added, multiplied = noisy("gaussian", 0.2) - x, noisy("speckle", 0.2) / x - 1
    assert added.std() == pytest.approx(0.2, rel=0.02) and abs(added.mean()) < 0.002
    assert multiplied.std() == pytest.approx(0.2, rel=0.02) and abs(multiplied.mean()) < 0.002
    masked = noisy("masking", 0.3)
    assert set(np.unique(masked)) == {0.0, 0.5} and (masked == 0).mean() == pytest.approx(0.3, abs=0.01)
    low, high = data.train.extent
    salted = noisy("salt-pepper", 0.3)
    assert (salted == low.astype(np.float32)).mean() == pytest.approx(0.15, abs=0.01)
    assert (salted == high.astype(np.float32)).mean() == pytest.approx(0.15, abs=0.01)
    assert (salted == x).mean() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_bytes_stay_bytes(kind: Any, data: Dataset) -> None:
    noise = Noise.of(NoiseConfig(kind, 0.9), data.train)
    x = noise.apply(next(data.train.batches(np.arange(100), 100)), np.random.default_rng(0))
    assert x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1
    given = noisy_samples(data.train.take(slice(0, 50)), data.train, noise, [0])
    assert given.dtype == np.uint8 and given.shape == (50, 24)


def test_each_epoch_has_noise_of_its_own_and_a_clean_target(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def spied(*arguments: Any) -> Any:
        for pair in pairs(*arguments):
            seen.append(pair)
            yield pair

    monkeypatch.setattr("tiedae.compress.train.pairs", spied)
    model = TiedAutoencoder([8, 3], inputs=24)
    fit(model, replace_validation(data), replace(EPOCHS, epochs=2, batch_size=1000))
    clean = data.scaling.apply(data.train.take(np.arange(len(data.train))))
    noisy = []
    for x, wanted in seen:
        order = [int(np.flatnonzero((clean == row).all(axis=1))[0]) for row in wanted]
        noisy.append(x[np.argsort(order)])
        assert (np.sort(wanted, axis=0) == np.sort(clean, axis=0)).all()
    assert len(noisy) == 2 and not np.array_equal(noisy[0], noisy[1])
    # clipped to 0…1, about the level
    assert 0.15 < (noisy[0] - clean).std() < 0.35


def replace_validation(data: Dataset) -> Dataset:
    return Dataset(data.train, None, data.test, data.scaling)


def test_training_with_noise_removes_it(data: Dataset) -> None:
    noise = Noise.of(GAUSSIAN, data.train)

    def error(train: TrainConfig) -> float:
        model = TiedAutoencoder([32], inputs=24)
        fit(model, data, train)
        return validation_loss(model, data.validation, EPOCHS, noise) or 0.0

    assert error(replace(EPOCHS, epochs=40)) < 0.8 * error(replace(EPOCHS, epochs=40, noise=None))


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


class Stopped(Exception):
    pass


def test_a_resumed_run_gives_the_same_weights(data: Dataset, tmp_path: Path) -> None:
    def model() -> TiedAutoencoder:
        return TiedAutoencoder([8, 3], inputs=24, seed=1)

    whole, again = model(), model()
    train_float(whole, data, EPOCHS)

    def stop(record: Any) -> None:
        if record["epoch"] == 2:
            raise Stopped

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stopped):
        fit(again, data, Training(EPOCHS, checkpoint=checkpoint, after_epoch=stop))
    resumed = model()
    train_float(resumed, data, Training(EPOCHS, checkpoint=checkpoint))
    assert same(whole.arrays(), resumed.arrays())
    plain = model()
    train_float(plain, data, replace(EPOCHS, noise=None))
    assert not same(whole.arrays(), plain.arrays())


def test_training_of_a_quantized_model_sees_noisy_inputs(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def spied(*arguments: Any) -> Any:
        for pair in pairs(*arguments):
            seen.append(pair)
            yield pair

    model = TiedAutoencoder([8, 3], inputs=24)
    quantize_post_training(model, representative(data.train, 64, noise=GAUSSIAN), QuantizeConfig(refinements=()))
    for module in ("train", "quantized_training"):
        monkeypatch.setattr(f"tiedae.compress.{module}.pairs", spied)
    train_quantized(model, replace_validation(data), QuantizeConfig(epochs=2), replace(EPOCHS, batch_size=1000))
    clean = data.scaling.apply(data.train.take(np.arange(len(data.train))))
    assert len(seen) == 4, "both epochs, and the choice between the start and the end"
    for x, wanted in seen:
        assert (np.sort(wanted, axis=0) == np.sort(clean, axis=0)).all() and 0.15 < (x - wanted).std() < 0.35


STAGES = {
    "prune": lambda model, data, train: prune(model, data, PruneConfig(epochs=1), train),
    "saliency": lambda model, data, train: prune(model, data, PruneConfig(epochs=1, saliency="gradient"), train),
    "distill": lambda model, data, train: prune(
        model, data, PruneConfig(epochs=1, distill=0.5), Training(train, TiedAutoencoder([8, 3], inputs=24, seed=5))
    ),
    "cluster": lambda model, data, train: cluster(model, data, ClusterConfig(epochs=1), train),
}


@pytest.mark.parametrize("stage", STAGES)
def test_later_stages_train_on_the_noise_too(stage: str, data: Dataset) -> None:
    """With the noise of the configuration they end elsewhere than without it."""
    found = []
    for noise in (None, GAUSSIAN):
        model = TiedAutoencoder([8, 3], inputs=24)
        STAGES[stage](model, data, replace(EPOCHS, noise=noise))
        found.append(model.arrays())
    assert not same(*found)


def test_calibration_sees_noisy_inputs(data: Dataset) -> None:
    clean, noisy = (representative(data.train, 64, noise=noise) for noise in (None, GAUSSIAN))
    assert np.array_equal(clean.indices, noisy.indices) and clean.sha256 != noisy.sha256
    again = representative(data.train, 64, noise=GAUSSIAN)
    assert again.sha256 == noisy.sha256 and 0.1 < (noisy.inputs - clean.inputs).std() < 0.35


def test_noisy_test_samples_keep_the_clean_ones(data: Dataset) -> None:
    noisy = noisy_test(data.test, Noise.of(GAUSSIAN, data.train), 3, 15)
    assert len(noisy) == 15 and np.array_equal(noisy.wanted.take(slice(0, 15)), data.test.take(slice(0, 15)))
    assert noisy.shape == (4, 6) and not np.array_equal(noisy.take(slice(0, 15)), noisy.wanted.take(slice(0, 15)))
    count = len(data.test)
    grouped = dataclasses.replace(data.test, groups=np.arange(count), records=np.arange(count), labels=np.arange(count))
    noisy = noisy_test(grouped, Noise.of(GAUSSIAN, data.train), 3, 15)
    assert all(len(each) == 15 for each in (noisy.groups, noisy.records, noisy.labels))


def test_pairs_are_split_together_and_trained_towards_the_clean_ones() -> None:
    clean = images()
    noisy = np.clip(clean + np.random.default_rng(1).normal(0, 60, clean.shape), 0, 255).astype(np.uint8)
    data = Dataset.from_array(noisy, clean=clean, validation=0.2)
    for part in (data.train, data.validation, data.test):
        every = np.arange(len(part))
        rows = part.rows
        assert np.array_equal(part.take(every), noisy[rows].reshape(len(part), -1))
        assert np.array_equal(part.wanted.take(every), clean[rows].reshape(len(part), -1))
    (x, wanted), *_ = pairs(data.train, np.arange(10), 10, None, [0])
    assert np.array_equal(x, data.scaling.apply(data.train.take(slice(0, 10))))
    assert np.array_equal(wanted, data.scaling.apply(data.train.wanted.take(slice(0, 10))))
    model = TiedAutoencoder([32])
    model.fit(data, epochs=60, batch_size=8, verbose=0)
    y, wanted = model.predict(data), data.test.wanted.take(slice(0, len(data.test))).reshape(-1, 4, 6)
    x = data.test.take(slice(0, len(data.test))).reshape(-1, 4, 6)
    assert np.square(y.astype(float) - wanted).mean() < 0.7 * np.square(x.astype(float) - wanted).mean()


@pytest.mark.parametrize(
    ("clean", "text"),
    [
        (
            np.zeros((200, 4, 5), np.uint8),
            r"clean: got clean samples of uint8 \[200, 4, 5\], must be uint8 \[200, 4, 6\] as",
        ),
        (np.zeros((199, 4, 6), np.uint8), r"clean: got clean samples of uint8 \[199, 4, 6\], must be"),
        (np.zeros((200, 4, 6), np.float32), r"clean: got clean samples of float32 \[200, 4, 6\], must be uint8"),
        (np.full((200, 4, 6), np.nan), r"clean: sample 0, value 0 is nan, must be finite"),
    ],
)
def test_clean_samples_that_do_not_pair_are_refused(clean: np.ndarray, text: str) -> None:
    with pytest.raises(DataError, match=text):
        Dataset.from_array(images(), clean=clean)


def test_noise_beside_pairs_is_refused() -> None:
    data = Dataset.from_array(images(), clean=images())
    with pytest.raises(RecipeError, match="noise: got noise beside samples that have clean ones; must be one of them"):
        TiedAutoencoder([8]).fit(data, noise=GAUSSIAN, verbose=0)


@pytest.mark.ci
def test_fit_takes_noise_as_a_table_and_later_stages_keep_it() -> None:
    import tiedae as ta

    data = ta.Dataset.from_array(images())
    model = ta.TiedAutoencoder([8])
    model.fit(data, epochs=1, noise={"kind": "masking", "level": 0.5}, verbose=0)
    assert model.lineage.configs["train"].noise == NoiseConfig("masking", 0.5)
    options = {"epochs": 1, "config": QuantizeConfig(refinements=()), "verbose": 0}
    small = ta.quantize(model, data, **options)
    other = ta.quantize(model, data, train=replace(model.lineage.configs["train"], noise=None), **options)
    assert not same(small.arrays(), other.arrays())
    assert small.lineage.calibration.sha256 != other.lineage.calibration.sha256
    with pytest.raises(RecipeError, match=r"level: got 25\.0, must be in"):
        model.fit(data, noise={"kind": "gaussian", "level": 25}, verbose=0)
