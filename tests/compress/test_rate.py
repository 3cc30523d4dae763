"""Training for rate: what it counts are bits, the step it trains for stays, and units that are not worth their bits leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import (
    ClusterConfig,
    DataConfig,
    Dataset,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizeConfig,
    Recipe,
    RecipeError,
    TiedAutoencoder,
    TrainConfig,
    Training,
    cluster,
    prune,
)
from tiedae.compress.float_training import train_float
from tiedae.compress.quantized_training import train_quantized
from tiedae.compress.rate import RateTerm, code_bits, largest_useful_rate
from tiedae.compress.symmetries import centre_code, interleave, without_unused_code
from tiedae.compress.tied_layers import RULES
from tiedae.compress.train import fit
from tiedae.compress.training_start import Start
from tiedae.config.combinations import FIXED_SCALES
from tiedae.export import lower

from ..variants import every
from .conftest import build_splits

SPLITS = build_splits(24, 256, 64)
CONFIG = ModelConfig((LayerConfig(16, "relu"), LayerConfig(8)), "sigmoid", 24)
TRAIN = TrainConfig(epochs=5, batch_size=32, weight_decay=0.0, rate=0.01)


def trained(train: TrainConfig = TRAIN, splits: Dataset = SPLITS, **training: Any) -> TiedAutoencoder:
    model = TiedAutoencoder(CONFIG, seed=3)
    train_float(model, splits, Training(train, **training))
    return model


@pytest.fixture(scope="module")
def records() -> list[Any]:
    """Of each epoch of `model`, which adds them."""
    return []


@pytest.fixture(scope="module")
def model(records: list[Any]) -> TiedAutoencoder:
    return trained(after_epoch=records.append)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), spread=st.floats(0.05, 30))
def test_the_probabilities_of_all_steps_add_up_to_one(seed: int, spread: float) -> None:
    codes = np.random.default_rng(seed).normal(seed % 11 - 5, spread, (500, 1)).astype(np.float32)
    term = RateTerm(1, 24, 0.01, step=1.0, noisy=False, seed=0)
    term.start(codes)
    bits = term.bits(tf.range(-1000.0, 1001.0)[:, None]).numpy()
    assert np.exp2(-bits).sum(dtype=np.float64) == pytest.approx(1, rel=1e-3)


def test_the_densities_know_how_many_bits_a_code_has(model: TiedAutoencoder, records: list[Any]) -> None:
    x = SPLITS.scaling.apply(SPLITS.train.values)
    assert model.code_scale is not None
    steps = np.rint(model.encoder(x).numpy() / model.code_scale)
    entropy = sum(-(p * np.log2(p)).sum() for unit in steps.T for p in [np.unique(unit, return_counts=True)[1] / len(unit)])
    assert records[-1]["bits"] == pytest.approx(entropy, rel=0.25, abs=1)


def test_from_components_the_densities_know_it_too() -> None:
    """They are fitted where training begins and where rounding replaces noise: without that they lag by a quarter."""
    found: list[Any] = []
    model = trained(replace(TRAIN, start="pca"), after_epoch=found.append)
    entropy = code_bits(np.rint(model.encoder(SPLITS.scaling.apply(SPLITS.train.values)).numpy() / model.code_scale)).mean()
    assert found[-1]["bits"] == pytest.approx(entropy, rel=0.05)


@pytest.mark.parametrize("spread", [0.3, 1.0, 12.0])
def test_densities_that_are_fitted_to_codes_take_little_more_than_their_entropy(spread: float) -> None:
    """A skewed code, one of two values, and a normal one, in steps of 0.5."""
    rng = np.random.default_rng(3)
    units = (rng.exponential(spread, 4000), rng.choice([0.0, 0.5], 4000, p=[0.9, 0.1]), rng.normal(2, spread, 4000))
    codes = np.stack(units, axis=1).astype(np.float32)
    term = RateTerm(3, 24, 0.01, step=0.5, noisy=False, seed=0)
    term.start(codes)
    before = term.mean_bits(codes)
    term.fit(codes)
    least = code_bits(np.rint(codes / 0.5)).mean()
    assert term.mean_bits(codes) < 1.02 * least < 1.05 * least < before


def test_later_training_starts_from_what_the_codes_cost(model: TiedAutoencoder) -> None:
    """Weights would follow densities that fit badly: by that, errors of training rose (benchmarks/carry.py)."""
    term, unfitted = (Training(TRAIN).rate_term(model, SPLITS) for _ in range(2))
    assert term is not None and unfitted is not None and model.code_scale is not None
    codes = model.encoder(SPLITS.scaling.apply(SPLITS.train.values)).numpy()
    unfitted.start(codes)
    assert term.mean_bits(codes) < 0.98 * unfitted.mean_bits(codes)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_quantization_aware_training_takes_a_fraction_of_the_rate(
    model: TiedAutoencoder, fraction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end and the start are compared at the whole rate."""
    weights: list[float] = []
    monkeypatch.setattr(
        "tiedae.compress.quantized_training.fit", lambda *args, **_: weights.append(args[2].config.rate) or [{}]
    )
    monkeypatch.setattr("tiedae.compress.quantized_training.code_bits", lambda codes: np.full(len(codes), 1e6))
    other, config = model.copy(), QuantizeConfig(rate_fraction=fraction)
    quantize_post_training(other, representative(SPLITS.train, 256, seed=0), config)
    history = train_quantized(other, SPLITS, config, TRAIN)
    assert weights == [fraction * TRAIN.rate]
    assert history[-1]["kept"]["cost"]["start"] == pytest.approx(1e6 * TRAIN.rate, rel=1e-2)


def test_a_higher_rate_saves_bits() -> None:
    records: list[Any] = []
    for rate in (0.001, 0.1):
        trained(replace(TRAIN, epochs=20, rate=rate), after_epoch=records.append)
    weaker, stronger = records[19], records[39]
    assert stronger["bits"] < 0.7 * weaker["bits"]


def test_training_goes_on_where_it_stopped(tmp_path: Path, model: TiedAutoencoder) -> None:
    class Stopped(BaseException):
        pass

    def stop(record: Any) -> None:
        if record["epoch"] == 2:
            raise Stopped

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stopped):
        trained(checkpoint=checkpoint, after_epoch=stop)
    resumed = trained(checkpoint=checkpoint)
    assert resumed.code_scale == model.code_scale
    for name, values in model.arrays().items():
        np.testing.assert_array_equal(resumed.arrays()[name], values, name)


def test_later_training_keeps_the_step_and_the_model_its_name(model: TiedAutoencoder) -> None:
    again = model.copy()
    train_float(again, SPLITS, replace(TRAIN, epochs=1))
    assert again.code_scale == model.code_scale == TiedAutoencoder.rebuild(again.describe(), again.arrays()).code_scale


STAGES: dict[str, Callable[[TiedAutoencoder], Any]] = {
    "train": lambda model: None,
    "prune": lambda model: prune(model, SPLITS, PruneConfig(sparsity=0.3, epochs=1), TRAIN),
    "structured": lambda model: prune(model, SPLITS, PruneConfig("structured", 0.3, epochs=1), TRAIN),
    "cluster": lambda model: cluster(model, SPLITS, ClusterConfig(8, epochs=1), TRAIN),
}


@pytest.fixture(scope="module", params=every(2, STAGES))
def staged(request: pytest.FixtureRequest, model: TiedAutoencoder) -> tuple[int, TiedAutoencoder]:
    """The number of a stage and the model after it, to copy."""
    other = model.copy()
    STAGES[request.param](other)
    return list(STAGES).index(request.param), other


@pytest.mark.parametrize("method", every(2, ["qat", "ptq"]))
def test_every_stage_keeps_the_step(model: TiedAutoencoder, staged: tuple[int, TiedAutoencoder], method: str) -> None:
    i, before = staged
    other, observer = before.copy(), ("auto", "mse")[(i + (method == "qat")) % 2]
    config = QuantizeConfig(method, observer=observer, epochs=2, refinements=())  # type: ignore[arg-type]
    quantize_post_training(other, representative(SPLITS.train, 64), config)
    if method == "qat":
        train_quantized(other, SPLITS, config, TRAIN)
    program = lower(TiedAutoencoder.rebuild(other.describe(), other.arrays()), "stepped", layout="fused")
    assert program.quantization("code").scale == model.code_scale


STEP = float(np.float32(0.060686))
"""A step that (high − low) / 255 of its range misses by float32's rounding."""


@pytest.mark.parametrize("bits", [6, 8])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_a_step_is_what_the_code_is_rounded_to(activation: Any, bits: int) -> None:
    layers = (LayerConfig(16, "relu"), LayerConfig(8, activation))
    other = TiedAutoencoder(replace(CONFIG, layers=layers), seed=1)
    config = QuantizeConfig("ptq", code_scale=STEP, code_bits=bits, refinements=())
    x = SPLITS.scaling.apply(SPLITS.train.values[:64])
    quantize_post_training(other, representative(SPLITS.train, 64), config)
    quantization = lower(other, "stepped", layout="fused").quantization("code")
    assert quantization.scale == STEP and quantization.bits == bits
    assert (quantization.zero_point == 0) == (activation == "relu")
    codes = other.encoder(x).numpy()
    np.testing.assert_allclose(codes, np.rint(codes / STEP) * STEP, atol=1e-5)


def with_constant_units(use_bias: bool, constant: float) -> TiedAutoencoder:
    """24-16-8 whose code has units 2 and 5 of one value, `constant`, by hidden unit 0 of one value.

    Hidden unit 1 is never active where it is encoded; by it these units reach the reconstruction.
    """
    layers = (LayerConfig(16, "relu"), LayerConfig(8, use_bias=use_bias))
    model = TiedAutoencoder(replace(CONFIG, layers=layers), seed=1)
    model.code_scale = 0.05
    first, last = (kernel.variable.numpy() for kernel in model.kernels)
    first[:, 0] = 0
    last[0] = 0
    last[:, [2, 5]] = 0
    last[0, [2, 5]] = constant
    last[1, [2, 5]] = 0.5
    model.kernels[0].variable.assign(first)
    model.kernels[1].variable.assign(last)
    model.encoder.stack[0].bias.assign([1.0, -100.0, *[0.0] * 14])
    return model


@pytest.mark.parametrize(("use_bias", "constant", "units"), [(True, 0.0, 6), (True, 3.0, 6), (False, 0.0, 6), (False, 3.0, 8)])
def test_units_of_one_value_leave_and_the_function_stays(use_bias: bool, constant: float, units: int) -> None:
    model = with_constant_units(use_bias, constant)
    x = SPLITS.scaling.apply(SPLITS.train.values)

    def decoded(model: TiedAutoencoder) -> np.ndarray:
        return model.decoder(np.rint(model.encoder(x).numpy() / 0.05).astype(np.float32) * np.float32(0.05)).numpy()

    smaller = without_unused_code(model, x)
    assert smaller is not None and smaller.config.widths[-1] == units
    assert (smaller is model) == (units == 8)
    np.testing.assert_allclose(decoded(smaller), decoded(model), atol=1e-5)


def test_a_centred_code_is_the_same_function(model: TiedAutoencoder) -> None:
    other, x = model.copy(), SPLITS.scaling.apply(SPLITS.train.values)
    shift = centre_code(other, x, 0.5)
    assert np.abs(shift).max() > 0.01
    medians = np.median(other.encoder(x).numpy() / 0.5, axis=0)
    np.testing.assert_allclose(medians, np.rint(medians), atol=1e-4)
    np.testing.assert_allclose(other(x), model(x), atol=1e-5)


def test_unused_units_leave_a_model_that_is_trained_for_rate() -> None:
    small = trained(replace(TRAIN, rate=0.15, epochs=30, learning_rate=0.03))
    assert small.config.widths[-1] < 8
    assert small.kernels[-1].variable.shape[1] == small.config.widths[-1] == small.encode(SPLITS.test).shape[1]


def test_a_rate_at_which_no_unit_lives_is_refused_with_a_bound() -> None:
    with pytest.raises(
        RecipeError, match=r"rate: got 1000, at which no unit of the code lives, must be lower; above [0-9.]+ the"
    ):
        trained(replace(TRAIN, rate=1000.0, epochs=30, learning_rate=0.1))


def test_the_bound_is_that_of_a_gaussian_component() -> None:
    """A line in three dimensions: its variance is the only one."""
    points = np.random.default_rng(0).normal(size=(2000, 1)).astype(np.float32) @ np.float32([[1, 2, 2]])
    assert largest_useful_rate(points) == pytest.approx(2 * np.log(2) * 9, rel=0.1)


@pytest.mark.ci
def test_the_best_epoch_is_one_of_rounded_codes_and_brings_its_step(monkeypatch) -> None:
    """Of 12 epochs the first 8 have noise; of the others the second is made the best."""
    losses = iter([0.0] * 8 + [3.0, 1.0, 2.0, 4.0])
    monkeypatch.setattr("tiedae.compress.train.validation_loss", lambda *_: next(losses))
    terms: list[RateTerm] = []
    made = RateTerm.start
    monkeypatch.setattr(RateTerm, "start", lambda term, codes: (terms.append(term), made(term, codes))[1])
    steps: list[float] = []
    kernels: list[np.ndarray] = []
    model = TiedAutoencoder(CONFIG, seed=3)

    def keep(_: Any) -> None:
        steps.append(terms[0].step)
        kernels.append(model.kernels[0].variable.numpy())

    fit(model, SPLITS, Training(replace(TRAIN, epochs=12), after_epoch=keep))
    assert model.code_scale == steps[9] not in (steps[7], steps[11])
    np.testing.assert_array_equal(model.kernels[0].variable.numpy(), kernels[9])


def test_a_code_of_zeros_at_the_start_is_no_nan() -> None:
    term = RateTerm(3, 24, 0.01, step=None, noisy=True, seed=0)
    term.start(np.zeros((10, 3), np.float32))
    assert all(np.isfinite(variable.numpy()).all() for variable in term.state().values())


def test_codes_are_rounded_and_gradients_pass() -> None:
    term = RateTerm(3, 24, 0.01, step=0.3, noisy=False, seed=0)
    code = tf.Variable(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))
    term.start(code.numpy())
    with tf.GradientTape() as tape:
        rounded, _ = term(code, True)
        total = tf.reduce_sum(rounded)
    np.testing.assert_allclose(rounded, np.rint(code.numpy() / np.float32(0.3)) * np.float32(0.3), atol=1e-6)
    np.testing.assert_allclose(tape.gradient(total, code), 1.0, rtol=1e-6)


def test_an_interleaved_model_keeps_its_step(model: TiedAutoencoder) -> None:
    assert interleave(model, 4).code_scale == model.code_scale


def test_training_without_rate_keeps_a_code_that_was_trained_for_it(model: TiedAutoencoder) -> None:
    other = model.copy()
    train_float(other, SPLITS, replace(TRAIN, rate=0.0, epochs=0))
    np.testing.assert_array_equal(other.arrays()["kernel_1"], model.arrays()["kernel_1"])


def quantized() -> TiedAutoencoder:
    other = TiedAutoencoder(CONFIG, seed=3)
    quantize_post_training(other, representative(SPLITS.train, 64), QuantizeConfig(refinements=()))
    return other


DATA = DataConfig("samples.npy")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TrainConfig(rate=-0.1), r"rate: got -0.1, must be a finite number, 0 or more"),
        (lambda: QuantizeConfig(code_scale=-1.0), r"code_scale: got -1.0, must be a finite number, 0 or more"),
        (
            lambda: Recipe("r", DATA, replace(CONFIG, layers=(LayerConfig(4, "sigmoid"),)), TrainConfig(rate=0.1)),
            r"train.rate: got 0.1, must be 0, since tanh or sigmoid fixes the scale of the code; or",
        ),
        (
            lambda: Recipe(
                "r", DATA, replace(CONFIG, layers=(LayerConfig(4, "tanh"),)), quantize=QuantizeConfig(code_scale=0.1)
            ),
            r"quantize.code_scale: got 0.1, must be 0, since tanh or sigmoid fixes the scale of the code",
        ),
        (
            lambda: train_float(TiedAutoencoder(replace(CONFIG, layers=(LayerConfig(4, "tanh"),))), SPLITS, TRAIN),
            r"rate: got 0.01, must be 0, since tanh or sigmoid fixes the scale of the code",
        ),
        (
            lambda: fit(quantized(), SPLITS, TRAIN),
            r"rate: got 0.01, must be 0: the model is quantized without a step of its code",
        ),
        (
            lambda: Recipe("r", DATA, CONFIG, TRAIN, PruneConfig("2:4", epochs=1)),
            r"prune.skip: got \[\], must be with the last kernel beside train.rate, which takes units out of the code",
        ),
        (
            lambda: trained(replace(TRAIN, rate=1e-6)),
            r"train.rate: got 1e-06, at which the code spans \d+ LSB, must be higher: 255 LSB at most",
        ),
        (
            lambda: quantize_post_training(
                TiedAutoencoder(CONFIG, seed=3), representative(SPLITS.train, 64), QuantizeConfig(code_scale=1e-4)
            ),
            r"quantize.code_scale: got 9.99\d+e-05, must be one of which .*, the code's range, spans 255 at most; it spans",
        ),
    ],
)
def test_bad_input_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        make()


@pytest.mark.parametrize(("start", "rate"), [("random", 1e-5), ("pca", 8e-5)])
def test_a_code_too_wide_for_a_byte_is_narrowed_with_room_for_other_samples(start: Start, rate: float) -> None:
    """A unit of 318 and of 281 LSB, as it is trained. All units have one range: without a shift quantization is refused for 344
    LSB."""
    model = trained(replace(TRAIN, rate=rate, start=start))
    x = SPLITS.scaling.apply(SPLITS.train.values)
    span = float(np.ptp(model.encoder(x).numpy())) / (model.code_scale or 0.0)
    assert 150 < span <= 205
    quantize_post_training(model, representative(SPLITS.train, 64), QuantizeConfig())


def test_another_step_than_the_one_trained_for_is_refused(model: TiedAutoencoder) -> None:
    with pytest.raises(
        RecipeError, match=r"quantize.code_scale: got 0.7, must be 0 or 0\.\d+, which the model was trained for"
    ):
        quantize_post_training(model.copy(), representative(SPLITS.train, 64), QuantizeConfig(code_scale=0.7))


def test_another_step_than_the_one_trained_for_is_not_trained_on(model: TiedAutoencoder) -> None:
    with pytest.raises(RecipeError, match=r"code_scale: got 0.7, must be 0\.\d+, which the model was trained for"):
        fit(model.copy(), SPLITS, Training(TRAIN, code_scale=0.7))


def test_a_step_that_is_too_fine_leaves_a_float_model() -> None:
    other = TiedAutoencoder(CONFIG, seed=3)
    with pytest.raises(RecipeError, match="255 at most"):
        quantize_post_training(other, representative(SPLITS.train, 64), QuantizeConfig(code_scale=1e-4))
    assert not other.quantized


def test_activations_of_fixed_scales_are_those_that_the_layers_fix() -> None:
    assert set(FIXED_SCALES) == {name for name, rule in RULES.items() if rule.output is not None}


def test_fit_gives_bits_and_remembers_the_widths_that_it_began_with() -> None:
    other = TiedAutoencoder([16, 8], inputs=24, seed=3)
    train = replace(TRAIN, rate=0.15, epochs=30, learning_rate=0.03)
    history = other.fit(SPLITS, train=train, verbose=0)
    assert len(history.history["bits"]) == 30
    assert other.config.widths[-1] < 8 and other.lineage.model is not None
    assert other.lineage.model.widths == (24, 16, 8)
    other.fit(SPLITS, epochs=1, verbose=0)
    assert other.lineage.model.widths == (24, 16, 8)


def test_a_step_of_the_recipe_is_trained_for() -> None:
    assert trained(code_scale=0.2).code_scale == float(np.float32(0.2))
