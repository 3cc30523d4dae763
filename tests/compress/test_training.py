"""Training, pruning and quantization-aware training: what they keep, and that an interrupted run ends where it would have."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from msgspec import structs

from tiedae.base.records import checked
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import (
    DataError,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizeConfig,
    TiedAutoencoder,
    TrainConfig,
    Training,
    fit,
    prune,
    train_quantized,
)
from tiedae.compress.held_out import Judges
from tiedae.compress.kernel import OUTLIER_RMS
from tiedae.compress.optimizer import Optimizer
from tiedae.compress.patterns import HELD
from tiedae.compress.quantized_training import HeldOut
from tiedae.compress.start_or_end import Change, StartOrEnd, noise_of_mean, standard_error
from tiedae.compress.train import CODE_SAMPLES, training_step, validation_loss

from ..variants import every
from .conftest import sparsity_of

LAYERS = (LayerConfig(12, "relu"), LayerConfig(4))


def model_of(layers: tuple[LayerConfig, ...] = LAYERS, output: str = "sigmoid") -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig(layers, output, 24))


def loss_of(model: TiedAutoencoder, splits) -> float:
    loss = validation_loss(model, splits.test, TrainConfig())
    assert loss is not None
    return loss


def weights(model: TiedAutoencoder) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in model.state().items()}


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("loss", ["mse", "mae", "bce", "huber"])
def test_each_loss_goes_down(make_splits, loss: str) -> None:
    history = fit(model_of(), make_splits(), TrainConfig(epochs=6, batch_size=32, learning_rate=1e-2, loss=loss))
    assert [record["epoch"] for record in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["loss"] < 0.95 * history[0]["loss"]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(make_splits) -> None:
    results = []
    for seed in (1, 1, 2):
        model = TiedAutoencoder(ModelConfig(LAYERS, "sigmoid", 24), seed=seed)
        fit(model, make_splits(), TrainConfig(epochs=2, batch_size=32, seed=seed))
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize(
    ("layer", "quantity"),
    every(
        2,
        [
            (LayerConfig(12, "relu", l2=1e-2), lambda m, _: np.square(m.kernels[0].variable).sum()),
            (LayerConfig(12, "relu", l1=1e-3), lambda m, _: np.abs(m.kernels[0].variable).sum()),
            (LayerConfig(12, "relu", activity_l2=1e-3), lambda m, x: np.square(m.encoder.stack[0](x)).sum()),
            (LayerConfig(12, "relu", activity_l1=1e-3), lambda m, x: np.abs(m.encoder.stack[0](x)).sum()),
        ],
    ),
    ids=["l2", "l1", "activity_l2", "activity_l1"],
)
def test_a_penalty_shrinks_what_it_penalizes(make_splits, layer: LayerConfig, quantity) -> None:
    splits = make_splits()
    x = next(splits.test.batches(np.arange(64), 64))
    sizes = []
    for first in (LayerConfig(12, "relu"), layer):
        model = model_of((first, LayerConfig(4)))
        fit(model, splits, TrainConfig(epochs=5, batch_size=32, learning_rate=1e-2))
        sizes.append(float(quantity(model, x)))
    assert sizes[1] < 0.9 * sizes[0]


def test_a_kernel_penalty_counts_once_although_two_layers_use_it() -> None:
    model = model_of((LayerConfig(12, l2=0.5), LayerConfig(4)))
    model(np.zeros((1, 24), np.float32), training=True)
    expected = 0.5 * np.square(model.kernels[0].variable.numpy()).sum()
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_dropout_only_acts_in_training() -> None:
    model = model_of((LayerConfig(12, "relu", dropout=0.5), LayerConfig(4)))
    x = np.random.default_rng(0).uniform(size=(8, 24)).astype(np.float32)
    np.testing.assert_array_equal(model(x), model(x))
    first, second = model(x, training=True), model(x, training=True)
    assert not np.array_equal(first, second)


class Killed(Exception):
    pass


def in_an_epoch(interrupt: Callable[[], object]) -> dict[str, Any]:
    """Options of a training that is interrupted in its third epoch."""

    def progress(_stage: str, epoch: int, _epochs: int, step: int, _steps: int, _loss: float) -> None:
        if (epoch, step) == (3, 3):
            interrupt()

    return {"progress": progress}


def after_an_epoch(interrupt: Callable[[], object]) -> dict[str, Any]:
    """Options of a training that is interrupted after its second epoch."""

    def after_epoch(record) -> None:
        assert ("validation_loss" in record) and record["loss"] > 0
        if record["epoch"] == 2:
            interrupt()

    return {"after_epoch": after_epoch}


PRUNING = {
    "magnitude": PruneConfig(epochs=4, sparsity=0.6),
    "movement": PruneConfig("2:4", saliency="movement", ramp=0.9, epochs=4),
    "2:4": PruneConfig("2:4", saliency="gradient", samples=64, schedule="constant", epochs=4),
    "structured": PruneConfig("structured", code=True, saliency="gradient", samples=64, ramp=0.9, epochs=4),
}


def run_stage(stage: str, model: TiedAutoencoder, splits, **options) -> None:
    train = Training(TrainConfig(epochs=4, batch_size=32, patience=0), **options)
    if stage == "train":
        fit(model, splits, train)
    elif stage.startswith("prune"):
        prune(model, splits, PRUNING[stage.removeprefix("prune ")], train)
    else:
        data = representative(splits.train, 64)
        bits = {"quantize": (8,), "quantize 4 bits": (4,)}[stage]
        config = QuantizeConfig(granularity="unit", bits=bits, epochs=4, refinements=())
        quantize_post_training(model, data, config)
        train_quantized(model, splits, config, train)


@pytest.mark.parametrize(
    ("stage", "place"),
    every(
        3,
        [
            *(
                (stage, place)
                for stage in ("train", "prune magnitude", "quantize")
                for place in ("in an epoch", "after an epoch")
            ),
            ("prune movement", "in an epoch"),
            ("prune 2:4", "after an epoch"),
            ("prune structured", "in an epoch"),
            ("quantize 4 bits", "after an epoch"),
        ],
    ),
)
def test_an_interrupted_stage_goes_on_to_the_same_weights(make_splits, tmp_path: Path, stage: str, place: str) -> None:
    """Float training is interrupted by an exception; of the other stages the checkpoint is copied where it would have been."""
    options = {"in an epoch": in_an_epoch, "after an epoch": after_an_epoch}[place]
    splits = make_splits(validation=0 if place == "in an epoch" else 64)
    layers = (LayerConfig(12, "relu", dropout=0.2), LayerConfig(4))
    whole, checkpoint, left = model_of(layers), tmp_path / "checkpoint.safetensors", tmp_path / "left.safetensors"

    def kill() -> None:
        raise Killed

    if stage == "train":
        run_stage(stage, whole, splits)
        with pytest.raises(Killed):
            run_stage(stage, model_of(layers), splits, checkpoint=left, **options(kill))
    else:
        run_stage(stage, whole, splits, checkpoint=checkpoint, **options(lambda: shutil.copy(checkpoint, left)))
    resumed = model_of(layers)
    seen: list[int] = []
    run_stage(stage, resumed, splits, checkpoint=left, progress=lambda _s, epoch, *_: seen.append(epoch))
    assert set(seen) == {3, 4}
    assert same(weights(whole), weights(resumed))


def test_a_step_is_traced_once() -> None:
    model, traced = model_of(), []
    optimizer = Optimizer(model, TrainConfig(), 1)

    def apply(gradients: list[Any]) -> None:
        traced.append(gradients)
        optimizer.apply(gradients)

    step = training_step(model, apply, 24, lambda _x, wanted, y: y - wanted)
    for count in (5, 9):
        x = np.zeros((count, 24), np.float32)
        step(x, x)
    assert len(traced) == 1


def test_a_checkpoint_of_another_stage_is_not_resumed(make_splits, tmp_path: Path) -> None:
    splits, model, checkpoint = make_splits(), model_of(), tmp_path / "checkpoint.safetensors"
    train = Training(TrainConfig(epochs=4, batch_size=32), checkpoint=checkpoint)
    fit(model, splits, train)
    history = prune(model, splits, PruneConfig(sparsity=0.5, epochs=4), train)
    assert [record["stage"] for record in history] == ["prune"] * 4
    assert sparsity_of(model) == {"kernel_0": 0.5, "kernel_1": 0.5}


@pytest.mark.ci
@pytest.mark.usefixtures("any_gain")
def test_weights_of_few_bits_end_nearer_to_their_integers(make_splits, monkeypatch) -> None:
    """Dampening: half as far, on average, as without it."""
    far = []
    for damping in (0.0, 400.0):
        monkeypatch.setattr("tiedae.compress.optimizer.DAMPING", damping)
        model = model_of()
        run_stage("quantize 4 bits", model, make_splits())
        steps = [kernel.matrix / kernel.scales() - kernel.integers() for kernel in model.kernels]
        far.append(np.mean([np.abs(each[np.abs(each) <= 0.5]).mean() for each in steps]))
    assert far[1] < 0.5 * far[0]


def test_early_stopping_waits_and_keeps_the_best_weights(make_splits) -> None:
    splits = make_splits(train=64, validation=64)
    model = model_of()
    config = TrainConfig(epochs=40, batch_size=16, learning_rate=0.3, schedule="constant", patience=2)
    history = fit(model, splits, config)
    losses = [record["validation_loss"] for record in history]
    assert len(history) < 40
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    again = fit(
        model_of(), splits, TrainConfig(**{**structs.asdict(config), "epochs": int(np.argmin(losses)) + 1, "patience": 0})
    )
    assert again[-1]["validation_loss"] == min(losses)


@pytest.mark.parametrize(
    "config",
    every(
        6,
        [
            *(PruneConfig(sparsity=0.75, schedule=each, scope="layer", epochs=3) for each in ("polynomial", "constant")),
            *(PruneConfig(sparsity=0.75, schedule=each, scope="global", epochs=3) for each in ("polynomial", "constant")),
            PruneConfig("block", 0.75, block=(3, 2), epochs=3),
            PruneConfig("1:4", 0.75, saliency="gradient", samples=64, epochs=3),
        ],
    ),
    ids=lambda config: f"{config.pattern} {config.schedule} {config.scope}",
)
def test_pruning_reaches_its_share_and_zeros_stay_zero_in_every_later_stage(make_splits, config: PruneConfig) -> None:
    splits, model = make_splits(), model_of()
    train = TrainConfig(epochs=2, batch_size=32)
    fit(model, splits, train)
    prune(model, splits, config, train)
    masks = model.masks()
    total = sum(mask.size for mask in masks.values())
    assert sum((~mask).sum() for mask in masks.values()) / total == pytest.approx(0.75, abs=0.01)
    if config.scope == "layer":
        assert sparsity_of(model) == pytest.approx({"kernel_0": 0.75, "kernel_1": 0.75}, abs=0.02)
    for kernel in model.kernels:
        assert not kernel.variable.numpy()[~masks[kernel.name]].any()
    run_stage("quantize", model, splits)
    for kernel in model.kernels:
        np.testing.assert_array_equal(kernel.mask.numpy() > 0, masks[kernel.name])
        assert not kernel.integers()[~masks[kernel.name]].any()
        if config.kind in HELD:
            assert HELD[config.kind](kernel.integers(), masks[kernel.name], config)[0]
        assert not kernel.variable.numpy()[~masks[kernel.name]].any()


def test_a_ramp_longer_than_the_training_still_ends_at_its_share(make_splits) -> None:
    model = model_of()
    prune(model, make_splits(train=16), PruneConfig(sparsity=0.5, epochs=1, ramp=1.0), TrainConfig(batch_size=64))
    assert sparsity_of(model) == pytest.approx({"kernel_0": 0.5, "kernel_1": 0.5}, abs=0.02)


def test_the_last_update_reaches_the_sparsity_exactly(make_splits) -> None:
    """83 steps of ramp and an update every 4: the last one, at 80, is not the ramp's last step."""
    model = model_of((LayerConfig(1200),))
    config = PruneConfig(sparsity=0.9, epochs=3, ramp=83.5 / 96)
    prune(model, make_splits(train=256), config, TrainConfig(batch_size=8))
    assert np.count_nonzero(~model.masks()["kernel_0"]) == round(0.9 * 24 * 1200)


def test_weights_from_before_the_end_of_the_ramp_are_not_kept(make_splits) -> None:
    splits, model = make_splits(validation=64), model_of()
    fit(model, splits, TrainConfig(epochs=4, batch_size=32, learning_rate=1e-2))
    config = PruneConfig(sparsity=0.9, epochs=5, ramp=0.7, learning_rate=1e-5)
    history = prune(model, splits, config, TrainConfig(batch_size=32, patience=1))
    losses = [record["validation_loss"] for record in history]
    assert np.argmin(losses) < 3
    assert sparsity_of(model) == pytest.approx({"kernel_0": 0.9, "kernel_1": 0.9}, abs=0.02)


def test_every_epoch_competes_where_the_mask_is_final_at_once(make_splits) -> None:
    splits, model = make_splits(validation=64), model_of()
    config = PruneConfig(sparsity=0.5, schedule="constant", epochs=4, ramp=1.0, learning_rate=1.0, weight_decay=0)
    train = TrainConfig(batch_size=32, schedule="constant")
    losses = [record["validation_loss"] for record in prune(model, splits, config, train)]
    assert np.argmin(losses) < 3
    assert validation_loss(model, splits.validation, train) == min(losses)


def test_weight_decay_takes_its_share_off_the_kernels_alone() -> None:
    model = model_of()
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer = Optimizer(model, TrainConfig(learning_rate=0.1, schedule="constant", weight_decay=0.5), 1)
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in model.trainable_variables])
    for variable in model.trainable_variables:
        expected = 0.95 if len(variable.shape) == 2 else 1.0
        np.testing.assert_allclose(variable, np.full(variable.shape, expected), rtol=1e-6)


@pytest.mark.ci
def test_an_outlier_is_drawn_in_by_quantization_aware_training(make_splits) -> None:
    splits, model = make_splits(), model_of()
    kernel = model.kernels[0]
    kernel.variable[5, 3].assign(30.0)
    quantize_post_training(model, representative(splits.train, 64), QuantizeConfig(refinements=()))
    train_quantized(model, splits, QuantizeConfig(epochs=3), TrainConfig(batch_size=32))
    weight = kernel.variable.numpy()
    assert np.abs(weight).max() < 1.01 * OUTLIER_RMS * np.sqrt(np.square(weight).mean())


@pytest.mark.usefixtures("any_gain")
def test_training_moves_the_ranges_of_few_bits_and_helps(make_splits) -> None:
    splits, model = make_splits(), model_of()
    data = representative(splits.train, 64)
    config = QuantizeConfig(granularity="unit", bits=(4,), epochs=5, refinements=())
    quantize_post_training(model, data, config)
    start, error = [kernel.largest.numpy() for kernel in model.kernels], loss_of(model, splits)
    train_quantized(model, splits, config, TrainConfig(batch_size=32))
    for before, kernel in zip(start, model.kernels, strict=True):
        assert (before != kernel.largest.numpy()).all() and (kernel.largest.numpy() > 0).all()
    assert loss_of(model, splits) < error


@pytest.mark.ci
@pytest.mark.usefixtures("any_gain")
def test_quantization_aware_training_begins_with_the_model_and_the_ranges_of_ptq(make_splits) -> None:
    """Scales of a quantized kernel that training computes are those that rounding chose."""
    splits, model, other = make_splits(), model_of(), model_of()
    for each, method in ((model, "qat"), (other, "ptq")):
        quantize_post_training(each, representative(splits.train, 64), QuantizeConfig(method=method))
    assert same(weights(model), weights(other))
    x = splits.test.scaling.apply(splits.test.take(np.arange(8)))
    np.testing.assert_allclose(model(x, training=True), model(x), atol=1e-6)
    train_quantized(model, splits, QuantizeConfig(epochs=3), TrainConfig(batch_size=32))
    assert not same(weights(model), weights(other))


@pytest.mark.usefixtures("any_gain")
@pytest.mark.parametrize("layout", ["split", "fused"])
def test_training_moves_both_ends_of_a_range_by_one_factor(make_splits, layout) -> None:
    splits, model = make_splits(), model_of()
    quantize_post_training(model, representative(splits.train, 64), QuantizeConfig(), layout=layout)
    quantizers = model.quantizers
    x = splits.test.scaling.apply(splits.test.take(np.arange(8)))
    np.testing.assert_allclose(model(x, training=True), model(x), atol=1e-6)
    start = quantizers.ranges()
    train_quantized(model, splits, QuantizeConfig(epochs=3), TrainConfig(batch_size=32))
    end = quantizers.ranges()
    moved = {name for name in start if not name.endswith(".bias") and start[name] != end[name]}
    assert moved == set(quantizers.factors) and {"encoder_0", "code"} <= moved
    assert ("y.product" in moved) == (layout == "split")
    for name in moved:
        assert end[name][0] * start[name][1] == pytest.approx(end[name][1] * start[name][0], rel=1e-5)
    assert all(factor.numpy() == 0 for factor in quantizers.factors.values())


@pytest.mark.parametrize("bits", [8, 4])
def test_the_gradient_of_a_range_is_that_of_its_scale(make_splits, bits: int) -> None:
    """Of a value within the range its rounding error, of another the end that it is clipped to (Esser et al. 2020)."""
    splits, model = make_splits(), model_of()
    quantize_post_training(model, representative(splits.train, 64), QuantizeConfig(code_bits=bits, refinements=()))
    quantizers = model.quantizers
    assert quantizers is not None
    low, high = quantizers.ranges()["code"]
    scale = (high - low) / (2**bits - 1)
    low = -np.round(-low / scale) * scale
    high = low + (2**bits - 1) * scale
    for x, wanted in ((1.3 * scale, (np.round(1.3) - 1.3) * scale), (2 * high, high), (2 * low, low)):
        with tf.GradientTape() as tape:
            y = quantizers("code", tf.constant([x], tf.float32), True)
        gradient = tape.gradient(y, quantizers.factors["code"])
        assert gradient is not None and gradient.numpy() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("validation", every(2, [0, 32]))
@pytest.mark.parametrize(("rate", "is_start"), [(3e-3, False), (3.0, True)])
def test_quantization_aware_training_keeps_its_end_only_where_that_is_better(
    make_splits, rate: float, is_start: bool, validation: int
) -> None:
    splits, model = make_splits(validation=validation), model_of()
    fit(model, splits, TrainConfig(epochs=2, batch_size=32, learning_rate=1e-2))
    config = QuantizeConfig(epochs=2, learning_rate=rate, refinements=())
    quantize_post_training(model, representative(splits.train, 64), config)
    training = Training(TrainConfig(batch_size=32))
    start, error = weights(model), HeldOut.of(model, Judges.of(splits, CODE_SAMPLES, 0), training).errors.mean()
    kept = checked(StartOrEnd, train_quantized(model, splits, config, training)[-1]["kept"])
    assert (kept.is_start, same(weights(model), start), kept.error.start) == (is_start, is_start, error)
    assert HeldOut.of(model, Judges.of(splits, CODE_SAMPLES, 0), training).errors.mean() == (
        kept.error.start if is_start else kept.error.end
    )
    assert kept.error.start > kept.error.end + 1.96 * kept.error.noise or is_start
    assert kept.cost == kept.error and "bits" not in kept.text
    assert ("there are no validation samples" in kept.text) == (validation == 0)
    assert ("post-training quantization" if is_start else "quantization-aware training") in kept.text


@pytest.mark.parametrize(
    ("gains", "is_start"),
    [((1, 1, 1, 1), False), ((-1, -1, -1, -1), True), ((0, 0, 0, 0), True), ((9, -3, -1, -4), True), ((2, 1, 1.5, 1), False)],
)
def test_a_gain_that_chance_explains_keeps_the_start(gains: tuple[float, ...], is_start: bool) -> None:
    end = np.full(4, 10.0)
    change = Change.of(end + gains, end)
    assert StartOrEnd(change, change, "validation").is_start == is_start
    assert (change.end, change.start) == (10, 10 + np.mean(gains))
    assert change.noise == pytest.approx(np.std(gains, ddof=1) / 2)


FALLS, BARELY, STAYS, RISES = (Change(start, end, 0.1) for start, end in ((10, 9), (10, 9.81), (10, 10), (9, 10)))


@pytest.mark.parametrize(
    ("error", "cost", "is_start"),
    [
        (FALLS, FALLS, False),
        (FALLS, BARELY, False),
        (BARELY, FALLS, True),
        (FALLS, STAYS, False),
        (FALLS, Change(9.9, 10, 0.1), False),
        (STAYS, FALLS, True),
        (RISES, FALLS, True),
        (FALLS, RISES, True),
    ],
)
def test_the_error_has_to_fall_and_the_cost_must_not_rise_beyond_noise(error: Change, cost: Change, is_start: bool) -> None:
    kept = StartOrEnd(error, cost, "validation")
    assert kept.is_start == is_start
    assert ("with the bits of its code" in kept.text) == (cost != error)


def test_duplicates_are_one_observation_and_single_samples_one_each() -> None:
    differences = np.random.default_rng(0).normal(size=12)
    alone = standard_error(differences)
    assert alone == pytest.approx(np.std(differences, ddof=1) / np.sqrt(12))
    assert standard_error(differences, np.arange(12)[::-1]) == pytest.approx(alone)
    assert standard_error(np.tile(differences, 9), np.tile(np.arange(12), 9)) == pytest.approx(alone)
    assert standard_error(np.tile(differences, 9)) < alone / 2.9


@pytest.mark.parametrize(
    ("gain", "noise", "split", "least"),
    [
        (0.039, 0, "training", 0.4),
        (0.041, 0, "training", 0.4),
        (0.05, 0.129, "training", 0.506),
        (0.05, 0.127, "training", 0.498),
        (0.001, 0, "validation", 0),
        (0.05, 0.26, "validation", 0.51),
        (0.05, 0.25, "validation", 0.49),
    ],
)
def test_training_has_to_gain_more_than_noise_and_fitting(gain: float, noise: float, split, least: float) -> None:
    change = Change(10, 10 * (1 - gain), noise)
    kept = StartOrEnd(change, change, split)
    assert kept.is_start == (10 * gain < least) and f"must fall by more than {least:.2g}" in kept.text
    assert ("samples that were trained on" in kept.text) == (split == "training")
    assert StartOrEnd(change, Change(10, 10.01, 0), split).is_start


def test_too_few_clusters_count_twice() -> None:
    differences = np.random.default_rng(0).normal(size=40)
    clusters = np.arange(40) // 10
    assert noise_of_mean(differences, clusters) == standard_error(differences, clusters) != standard_error(differences)
    for few in (np.minimum(clusters, 2), np.zeros(40, int)):
        assert noise_of_mean(differences, few) == 2 * standard_error(differences)
    assert noise_of_mean(differences) == standard_error(differences)


def test_what_is_kept_of_a_model_trained_for_rate_pays_for_its_bits(make_splits) -> None:
    splits, model = make_splits(validation=32), model_of()
    fit(model, splits, TrainConfig(epochs=2, batch_size=32, rate=0.01))
    quantize_post_training(model, representative(splits.train, 64), QuantizeConfig(refinements=()))
    held = HeldOut.of(model, Judges.of(splits, CODE_SAMPLES, 0), Training(TrainConfig(rate=0.01)))
    free, paid = held.errors.mean(), held.costs.mean()
    x = splits.validation.scaling.apply(splits.validation.take(np.arange(32)))
    codes = np.rint(model.encoder(x).numpy() / model.code_scale)
    counts = [np.unique(unit, return_counts=True)[1] / 32 for unit in codes.T]
    assert paid - free == pytest.approx(-0.01 * sum(float(each @ np.log2(each)) for each in counts), rel=1e-4)


def test_samples_of_another_width_are_refused(make_splits) -> None:
    with pytest.raises(DataError, match="samples have 10 values, the model's inputs are 24"):
        fit(model_of(), make_splits(inputs=10), TrainConfig(epochs=1))
