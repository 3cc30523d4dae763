"""Float training from a start that is not random: trials, the start as an epoch, how an interrupted run continues."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.base.errors import DivergedError, RecipeError
from tiedae.base.records import checked
from tiedae.compress import float_training
from tiedae.compress import train as train_module
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.float_training import FACTORS, train_float
from tiedae.compress.optimizer import Optimizer
from tiedae.compress.pca_start import start_at_pca
from tiedae.compress.rate import NOISE_FRACTION
from tiedae.compress.train import Training, fit, validation_loss
from tiedae.compress.training_start import Start, TrainingStart
from tiedae.config.config import TrainConfig
from tiedae.config.layer_kinds import LayerConfig, layer_tables
from tiedae.config.model_config import ModelConfig
from tiedae.data.dataset import Dataset

from .test_pca_start import correlated

CONFIG = TrainConfig(epochs=20, batch_size=32, learning_rate=3e-3, start="pca", weight_decay=0.0)


def data_of(*, validation: float = 0.25) -> Dataset:
    return Dataset.from_array(correlated(), test=0.2, validation=validation)


def fresh(*, output: str = "linear", activation: str = "relu") -> TiedAutoencoder:
    layers = (LayerConfig(24, activation), LayerConfig(6))  # pyright: ignore[reportArgumentType]
    return TiedAutoencoder(ModelConfig(layers, output, 40), seed=1)  # pyright: ignore[reportArgumentType]


def same(model: TiedAutoencoder, other: TiedAutoencoder) -> bool:
    return all(np.array_equal(a.variable, b.variable) for a, b in zip(model.kernels, other.kernels, strict=True))


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
    assert same(model, alone)
    assert all(0 < each < 1 for each in begun.moved) and "kernels moved by" in begun.text


def test_the_start_is_kept_where_no_epoch_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate that ruins the start: it counts as an epoch, and the best one is kept."""
    monkeypatch.setattr(float_training, "FACTORS", {"": 1.0})
    data, model, start = data_of(), fresh(), fresh()
    start_at_pca(start, data, 0)
    config = replace(CONFIG, learning_rate=1.0)
    before = validation_loss(start, data.validation, config) or 0.0
    history = train_float(model, data, config)
    begun = begun_of(history)
    assert begun.kept and begun.loss == before and "which no epoch surpassed" in begun.text
    assert min(record["validation_loss"] for record in history) > 2 * before
    assert validation_loss(model, data.validation, config) == pytest.approx(before, rel=1e-4), "but for the rotated code"
    waited = train_float(fresh(), data, replace(config, patience=3))
    assert len(waited) == 3, "patience counts from the start on"


@pytest.mark.parametrize("rate", [0.0, 0.02])
@pytest.mark.parametrize("stage", ["try pca / 3", "train"])
def test_an_interrupted_run_goes_on_to_the_same_weights(stage: str, rate: float, tmp_path: Path) -> None:
    data, whole, model, config = data_of(), fresh(), fresh(), replace(CONFIG, rate=rate)
    right = train_float(whole, data, Training(config, checkpoint=tmp_path / "whole.safetensors"))

    def interrupt(label: str, epoch: int, *_: object) -> None:
        if (label, epoch) == (stage, 2 if stage != "train" else 15):
            raise KeyboardInterrupt

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_float(fresh(), data, Training(config, checkpoint=checkpoint, progress=interrupt))
    assert checkpoint.exists() == (stage == "train")
    assert train_float(model, data, Training(config, checkpoint=checkpoint)) == right
    assert same(model, whole)
    assert {path.name for path in tmp_path.iterdir()} == {"whole.safetensors", "checkpoint.safetensors"}


@pytest.mark.parametrize(("start", "full"), [("pca", 0.4), ("random", 0.03)])
def test_from_components_the_warm_up_is_longer(start: Start, full: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full learning rate would soon kill units of faint components."""
    made = []

    class Watched(Optimizer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self.rate)

    monkeypatch.setattr(train_module, "Optimizer", Watched)
    monkeypatch.setattr(float_training, "FACTORS", {"": 1.0})
    data, config = data_of(), replace(CONFIG, start=start, epochs=3)
    train_float(fresh(), data, config)
    steps = 3 * -(-len(data.train) // config.batch_size)
    rates = [float(made[-1](step)) for step in range(steps)]
    assert int(np.argmax(rates)) == int(full * steps) and max(rates) == pytest.approx(config.learning_rate)


@pytest.mark.parametrize(
    ("losses", "quarters"),
    [
        ([], 0),
        ([5, 4, 3], 0),
        ([5, 4, 4.5], 2),
        ([5, 4, 4.03], 0),
        ([5, 4, 4.5, 4.1], 2),
        ([5, 4, 4.5, 3, 2, 3], 2),
        ([5, 6, 4.9, 5.5], 0.75),
        ([5, 4, 3, 2, 3, 4], 0),
    ],
)
def test_the_learning_rate_is_lowered_where_the_loss_rises_with_it(losses: list[float], quarters: float) -> None:
    """It rises for four of ten epochs, a quarter in each."""
    config = replace(CONFIG, epochs=10)
    optimizer = Optimizer(fresh(), config, 7, begun=TrainingStart("pca", 1e-2))
    before = np.array([float(optimizer.rate(step)) for step in range(70)])
    lowered = optimizer.lower(losses)
    assert lowered == pytest.approx(1e-2 * quarters / 4)
    np.testing.assert_allclose(
        [float(optimizer.rate(step)) for step in range(70)], before * (lowered or 1e-2) / 1e-2, rtol=1e-5
    )
    assert Optimizer(fresh(), config, 7, begun=TrainingStart("random", 1e-2)).lower(losses) == 0


@pytest.mark.parametrize("start", ["pca", "random"])
def test_densities_keep_the_learning_rate_of_the_recipe(start: Start) -> None:
    config = replace(CONFIG, epochs=10)
    optimizer = Optimizer(fresh(), config, 7, begun=TrainingStart(start, config.learning_rate / 10))
    optimizer.lower([5, 4, 4.5])
    rates = [float(optimizer.of_rate.lr(step)) for step in range(70)]
    assert max(rates) == pytest.approx(config.learning_rate) and int(np.argmax(rates)) == 2  # of 70 steps 0.03


def test_a_learning_rate_that_is_too_high_is_lowered_and_a_resumed_run_knows(tmp_path: Path) -> None:
    data, config, whole, resumed = data_of(), replace(CONFIG, epochs=10, learning_rate=0.5), fresh(), fresh()
    right = train_float(whole, data, config)
    assert 0 < begun_of(right).lowered < begun_of(right).learning_rate and "learning rate lowered to" in begun_of(right).text

    def interrupt(label: str, epoch: int, *_: object) -> None:
        if (label, epoch) == ("train", 6):
            raise KeyboardInterrupt

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_float(fresh(), data, Training(config, checkpoint=checkpoint, progress=interrupt))
    assert train_float(resumed, data, Training(config, checkpoint=checkpoint)) == right
    assert same(resumed, whole)


def test_without_validation_samples_windows_that_overlap_start_at_random() -> None:
    data = data_of(validation=0.0)
    for strides, start in ((4, "pca"), (2, "random")):
        layers = layer_tables([{"kind": "conv1d", "filters": 8, "kernel": 4, "strides": strides}, {"kind": "flatten"}, 6])
        model = TiedAutoencoder(ModelConfig(tuple(layers), "linear", (40, 1)), seed=1)
        assert begun_of(train_float(model, data, replace(CONFIG, start="auto", epochs=1))).start == start


def test_without_validation_samples_nothing_is_tried() -> None:
    """PCA is taken where it is exact, in front of a linear output."""
    data = data_of(validation=0.0)
    for output, start in (("linear", "pca"), ("tanh", "random")):
        scaled = Dataset.from_array(np.tanh(correlated() / 9), test=0.2, scaling="none") if output == "tanh" else data
        begun = begun_of(train_float(fresh(output=output), scaled, replace(CONFIG, start="auto", epochs=2)))
        assert (begun.start, begun.trials, begun.loss, begun.kept) == (start, {}, None, False)


@pytest.mark.parametrize("start", ["auto", "random"])
def test_without_epochs_a_model_is_prepared(start: str) -> None:
    """It has the step of a rate, the mean of a table in its output's bias, and statistics, whatever its start."""
    config = replace(CONFIG, epochs=0, start=start, rate=0.02)
    model = fresh()
    assert train_float(model, data_of(), config) == [] and model.code_scale is not None
    data = Dataset.from_array(np.exp(correlated() / 9), test=0.2, output_activation="sigmoid")
    layers = (LayerConfig(24, "relu", batch_norm=True), LayerConfig(6))
    model = TiedAutoencoder(ModelConfig(layers, "sigmoid", 40), seed=1)
    train_float(model, data, replace(config, rate=0.0))
    bias = model.decoder.stack[-1].bias
    assert bias is not None and bias.numpy().any() and not any(norm.is_new for norm in model.norms)


def test_nothing_is_written_where_no_checkpoint_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But by trials, in a temporary folder that is gone afterwards."""
    monkeypatch.setattr(float_training, "TemporaryDirectory", lambda: pytest.fail("no trial"))
    train_float(fresh(), data_of(validation=0.0), replace(CONFIG, start="auto", epochs=2))
    monkeypatch.setattr(float_training, "TemporaryDirectory", lambda: TemporaryDirectory(dir=tmp_path))
    written = []
    monkeypatch.setattr(
        train_module, "write_atomic", lambda path, *_, **__: written.append(path.name) or path.write_bytes(_[0])
    )
    train_float(fresh(), data_of(), replace(CONFIG, start="auto", epochs=12))
    assert len(written) == 4 and all("-trial-" in name for name in written) and not list(tmp_path.iterdir())


def test_clipped_pairs_are_reported() -> None:
    """By how much a start misses PCA where relu6 has too few units; with enough of them, or relu, by nothing."""
    data = Dataset.from_array(3 * correlated(), scaling="none", test=0.2, validation=0.25)
    config = replace(CONFIG, epochs=1, learning_rate=1e-6)
    found = {}
    for units, activation in ((24, "relu6"), (4000, "relu6"), (24, "relu")):
        model = TiedAutoencoder(ModelConfig((LayerConfig(units, activation), LayerConfig(4)), "linear", 40), seed=1)  # pyright: ignore[reportArgumentType]
        found[units, activation] = begun_of(train_float(model, data, config))
    assert found[24, "relu6"].clipped > 0.1 and "clipping at 6 adds" in found[24, "relu6"].text
    assert found[4000, "relu6"].clipped < 1e-4 and found[24, "relu"].clipped == 0.0
    assert "clipping" not in found[4000, "relu6"].text


def test_layers_that_hold_no_components_start_at_random() -> None:
    data = data_of()
    automatic, random = fresh(activation="tanh"), fresh(activation="tanh")
    begun = begun_of(train_float(automatic, data, replace(CONFIG, start="auto", epochs=2)))
    assert (begun.start, begun.trials) == ("random", {})
    train_float(random, data, replace(CONFIG, start="random", epochs=2))
    assert same(automatic, random)


def test_a_trial_that_diverges_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of()
    monkeypatch.setattr(float_training, "FACTORS", {"": 1e20, " / 10": 0.1})
    begun = begun_of(train_float(fresh(), data, replace(CONFIG, epochs=2)))
    assert list(begun.trials) == ["pca / 10"] and begun.learning_rate == pytest.approx(3e-4)
    one = replace(CONFIG, epochs=1, batch_size=320)  # whose only step leaves a loss that validation alone sees
    assert list(begun_of(train_float(fresh(), data, one)).trials) == ["pca / 10"]
    monkeypatch.setattr(float_training, "FACTORS", {"": 1.0})
    with pytest.raises(DivergedError, match="train: the loss is"):
        train_float(fresh(), data, replace(CONFIG, start="auto", learning_rate=1e18, epochs=2))


RATE = replace(CONFIG, rate=0.02)


def test_trials_for_a_rate_are_first_epochs_of_a_whole_training_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its noisy epochs and a step of its own: no trial leaves one to the next."""
    data, model, alone = data_of(), fresh(), fresh()
    history = train_float(model, data, RATE)
    begun = begun_of(history)
    assert begun.loss is not None and len(begun.trials) == 3
    monkeypatch.setattr(float_training, "FACTORS", {"": begun.learning_rate / RATE.learning_rate})
    again = train_float(alone, data, RATE)
    assert [row["validation_loss"] for row in again] == [row["validation_loss"] for row in history]
    assert model.code_scale == alone.code_scale and same(model, alone)


def test_patience_waits_for_the_end_of_noise() -> None:
    """The start of a training for rate counts with its rounded code, and so do epochs only once codes are rounded."""
    history = train_float(fresh(), data_of(), replace(RATE, patience=2, epochs=20))
    assert len(history) > 20 * NOISE_FRACTION + 1


def test_no_epochs_leave_the_start() -> None:
    data, model, start = data_of(), fresh(), fresh()
    assert train_float(model, data, replace(CONFIG, epochs=0)) == []
    start_at_pca(start, data, 0)
    config = replace(CONFIG, start="random")
    assert validation_loss(model, data.validation, config) == pytest.approx(
        validation_loss(start, data.validation, config), rel=1e-4
    )


@pytest.mark.parametrize("epochs", [1, 12, 30])
def test_every_epoch_is_reported_once(epochs: int) -> None:
    """Those of the best trial too."""
    reported: list[int] = []
    training = Training(replace(CONFIG, epochs=epochs), after_epoch=lambda record: reported.append(record["epoch"]))
    begun = begun_of(train_float(fresh(), data_of(), training))
    assert reported == list(range(1, epochs + 1)) and len(begun.trials) == 3


def test_given_weights_are_no_start() -> None:
    """Those of a file, say; auto trains them, as random does."""
    data, model, other = data_of(), fresh(), fresh()
    train_float(model, data, replace(CONFIG, epochs=1, start="random"))
    other.restore(model.arrays())
    with pytest.raises(RecipeError, match="start: got 'pca', must be random: the model's weights are given"):
        train_float(model, data, CONFIG)
    for each, start in ((model, "auto"), (other, "random")):
        assert "begun" not in train_float(each, data, replace(CONFIG, epochs=2, start=start))[0]
    assert same(model, other)


@pytest.mark.parametrize("stage", ["train", "prune"])
def test_a_checkpoint_of_something_else_is_no_choice(stage: str, tmp_path: Path) -> None:
    data, path = data_of(), tmp_path / "checkpoint.safetensors"
    (tmp_path / "checkpoint-trial-2.safetensors").write_bytes(b"left by a process that was killed")
    fit(fresh(), data, Training(replace(CONFIG, start="random", epochs=1), checkpoint=path), stage=stage)
    right = train_float(fresh(), data, CONFIG)
    (tmp_path / "checkpoint-trial-2.safetensors").unlink()
    assert train_float(fresh(), data, Training(CONFIG, checkpoint=path)) == right
    (tmp_path / "checkpoint-trial-2.safetensors").write_bytes(b"left by a process that was killed")
    train_float(fresh(), data, Training(CONFIG, checkpoint=path))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]
