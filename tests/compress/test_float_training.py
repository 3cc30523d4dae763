"""Float training from a start that is not random: trials, the start as an epoch, what an interrupted run goes on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tiedae.compress import float_training
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.config import TrainConfig
from tiedae.compress.data import Dataset
from tiedae.compress.errors import DivergedError
from tiedae.compress.float_training import FACTORS, train_float
from tiedae.compress.layer_kinds import LayerConfig
from tiedae.compress.model_config import ModelConfig
from tiedae.compress.pca_start import start_at_pca
from tiedae.compress.records import checked
from tiedae.compress.train import Training, validation_loss
from tiedae.compress.training_start import TrainingStart

from .test_pca_start import correlated

CONFIG = TrainConfig(epochs=20, batch_size=32, learning_rate=3e-3, start="pca", weight_decay=0.0)


def data_of(*, validation: float = 0.25) -> Dataset:
    return Dataset.from_array(correlated(), test=0.2, validation=validation)


def fresh(*, output: str = "linear", activation: str = "relu") -> TiedAutoencoder:
    layers = (LayerConfig(24, activation), LayerConfig(6))  # pyright: ignore[reportArgumentType]
    return TiedAutoencoder(ModelConfig(layers, output, 40), seed=1)  # pyright: ignore[reportArgumentType]


def begun_of(history: list) -> TrainingStart:
    assert all("begun" not in record for record in history[1:])
    return checked(TrainingStart, history[0]["begun"])


def test_the_best_trial_goes_on_from_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it ends with is a whole training with its learning rate, to the bit."""
    data, model = data_of(), fresh()
    history = train_float(model, data, replace(CONFIG, start="auto"))
    begun = begun_of(history)
    assert list(begun.trials) == [*(f"pca{text}" for text in FACTORS), "random"] and begun.trial_epochs == 2
    name = min(begun.trials, key=lambda each: begun.trials[each])
    assert name == "pca" and begun.learning_rate == 3e-3 and begun.components == 6
    assert begun.trials[name] == history[1]["validation_loss"] and len(history) == 20
    monkeypatch.setattr(float_training, "FACTORS", {"": 1.0})
    alone = fresh()
    assert begun_of(train_float(alone, data, CONFIG)).trials == {}
    for ours, theirs in zip(model.kernels, alone.kernels, strict=True):
        assert np.array_equal(ours.variable.numpy(), theirs.variable.numpy())
    assert all(0 < each < 1 for each in begun.moved) and "kernels moved by" in begun.text


def test_the_start_is_kept_where_no_epoch_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate that ruins the start: it counts as an epoch, and the best one is kept."""
    monkeypatch.setattr(float_training, "FACTORS", {"": 1.0})
    data, model, start = data_of(), fresh(), fresh()
    start_at_pca(start, data, 0)
    config = replace(CONFIG, learning_rate=0.3)
    before = validation_loss(start, data.validation, config) or 0.0
    history = train_float(model, data, config)
    begun = begun_of(history)
    assert begun.kept and begun.loss == before and "which no epoch surpassed" in begun.text
    assert min(record["validation_loss"] for record in history) > 2 * before
    assert validation_loss(model, data.validation, config) == pytest.approx(before, rel=1e-4), "but for the rotated code"
    waited = train_float(fresh(), data, replace(config, patience=3))
    assert len(waited) == 3, "patience counts from the start on"


@pytest.mark.parametrize("stage", ["trial pca / 3", "train"])
def test_an_interrupted_run_goes_on_to_the_same_weights(stage: str, tmp_path: Path) -> None:
    data, whole, model = data_of(), fresh(), fresh()
    right = train_float(whole, data, Training(CONFIG, checkpoint=tmp_path / "whole.safetensors"))

    def interrupt(label: str, epoch: int, *_: object) -> None:
        if (label, epoch) == (stage, 2 if stage != "train" else 5):
            raise KeyboardInterrupt

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_float(fresh(), data, Training(CONFIG, checkpoint=checkpoint, progress=interrupt))
    assert checkpoint.exists() == (stage == "train")
    assert train_float(model, data, Training(CONFIG, checkpoint=checkpoint)) == right
    assert all(np.array_equal(a.variable, b.variable) for a, b in zip(model.kernels, whole.kernels, strict=True))
    assert {path.name for path in tmp_path.iterdir()} == {"whole.safetensors", "checkpoint.safetensors"}


def test_without_validation_samples_nothing_is_tried() -> None:
    """PCA is taken where it is exact, in front of a linear output."""
    data = data_of(validation=0.0)
    for output, start in (("linear", "pca"), ("tanh", "random")):
        scaled = Dataset.from_array(np.tanh(correlated() / 9), test=0.2, scaling="none") if output == "tanh" else data
        begun = begun_of(train_float(fresh(output=output), scaled, replace(CONFIG, start="auto", epochs=2)))
        assert (begun.start, begun.trials, begun.loss, begun.kept) == (start, {}, None, False)


def test_layers_that_hold_no_components_start_at_random() -> None:
    data = data_of()
    automatic, random = fresh(activation="tanh"), fresh(activation="tanh")
    begun = begun_of(train_float(automatic, data, replace(CONFIG, start="auto", epochs=2)))
    assert (begun.start, begun.trials) == ("random", {})
    train_float(random, data, replace(CONFIG, start="random", epochs=2))
    assert all(np.array_equal(a.variable, b.variable) for a, b in zip(automatic.kernels, random.kernels, strict=True))


def test_a_trial_that_diverges_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of()
    monkeypatch.setattr(float_training, "FACTORS", {"": 1e20, " / 10": 0.1})
    begun = begun_of(train_float(fresh(), data, replace(CONFIG, epochs=2)))
    assert list(begun.trials) == ["pca / 10"] and begun.learning_rate == pytest.approx(3e-4)
    monkeypatch.setattr(float_training, "FACTORS", {"": 1.0})
    with pytest.raises(DivergedError, match="train: the loss is"):
        train_float(fresh(), data, replace(CONFIG, start="auto", learning_rate=1e18, epochs=2))


def test_a_rate_starts_at_pca_too() -> None:
    data = data_of()
    model = fresh()
    begun = begun_of(train_float(model, data, replace(CONFIG, rate=0.02, epochs=6)))
    assert begun.loss is not None and begun.trials and model.code_scale is not None
