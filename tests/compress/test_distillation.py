"""Knowledge distillation: the fraction of the loss that comes from the uncompressed model, and what it leaves alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import (
    DataError,
    Dataset,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizeConfig,
    RecipeError,
    TiedAutoencoder,
    TrainConfig,
    Training,
    prune,
    train_quantized,
)
from tiedae.compress.train import LOSSES, distilled

from ..variants import every

TRAIN = TrainConfig(epochs=3, batch_size=32)


def model_of(seed: int = 0, inputs: int = 24) -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig((LayerConfig(12, "relu"), LayerConfig(4)), "sigmoid", inputs), seed=seed)


def pruned(splits: Dataset, distill: float, teacher: TiedAutoencoder | None, **options) -> TiedAutoencoder:
    model = model_of()
    prune(model, splits, PruneConfig(sparsity=0.5, epochs=2, distill=distill), Training(TRAIN, teacher, **options))
    return model


def quantized(splits: Dataset, distill: float, teacher: TiedAutoencoder | None, **options) -> TiedAutoencoder:
    model = model_of()
    config = QuantizeConfig(epochs=2, distill=distill, refinements=())
    quantize_post_training(model, representative(splits.train, 64), config)
    train_quantized(model, splits, config, Training(TRAIN, teacher, **options))
    return model


STAGES: dict[str, Callable[..., TiedAutoencoder]] = {"prune": pruned, "quantize": quantized}


def weights(model: TiedAutoencoder) -> dict[str, bytes]:
    return {name: variable.numpy().tobytes() for name, variable in model.state().items()}


@settings(max_examples=20, deadline=None)
@given(fraction=st.floats(0, 1, exclude_min=True), name=st.sampled_from(sorted(LOSSES)), seed=st.integers(0, 9))
def test_the_objective_is_the_stated_mixture(fraction: float, name: str, seed: int) -> None:
    x, y = np.random.default_rng(seed).uniform(0.01, 0.99, (2, 5, 24)).astype(np.float32)
    teacher, loss = model_of(seed=1), LOSSES[name]
    expected = (1 - fraction) * loss(x, y).numpy() + fraction * loss(teacher(x), y).numpy()
    np.testing.assert_allclose(distilled(loss, teacher, fraction)(x, x, y), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("stage", every(len(STAGES), STAGES))
def test_without_a_share_the_teacher_changes_nothing(make_splits, stage: str) -> None:
    splits = make_splits()
    assert weights(STAGES[stage](splits, 0.0, None)) == weights(STAGES[stage](splits, 0.0, model_of(seed=1)))


@pytest.mark.usefixtures("any_gain")
@pytest.mark.parametrize("stage", every(len(STAGES), STAGES))
def test_a_pupil_comes_nearer_to_its_teacher_which_stays_as_it_is(make_splits, stage: str) -> None:
    splits, teacher = make_splits(), model_of(seed=1)
    before = weights(teacher)
    x = splits.scaling.apply(splits.test.take(np.arange(64)))
    distances = [np.square(STAGES[stage](splits, d, teacher)(x) - teacher(x)).mean() for d in (0.0, 1.0)]
    assert distances[1] < 0.9 * distances[0]
    assert weights(teacher) == before


@pytest.mark.parametrize("stage", every(len(STAGES), STAGES))
def test_an_interrupted_pupil_goes_on_to_the_same_weights(make_splits, tmp_path: Path, stage: str) -> None:
    checkpoint, left = tmp_path / "checkpoint.safetensors", tmp_path / "left.safetensors"

    def leave(_stage: str, epoch: int, *_rest: object) -> None:
        if epoch == 2:
            shutil.copy(checkpoint, left)

    splits, teacher = make_splits(), model_of(seed=1)
    whole = STAGES[stage](splits, 0.5, teacher, checkpoint=checkpoint, progress=leave)
    assert weights(STAGES[stage](splits, 0.5, teacher, checkpoint=left)) == weights(whole)


@pytest.mark.parametrize("stage", STAGES)
def test_a_share_without_a_fitting_teacher_is_refused(make_splits, stage: str) -> None:
    splits = make_splits()
    with pytest.raises(RecipeError, match=r"distill: got 0\.5, but no teacher; pass the uncompressed model as teacher, or 0"):
        STAGES[stage](splits, 0.5, None)
    with pytest.raises(DataError, match=r"the teacher's inputs are 10, the model's are 24"):
        STAGES[stage](splits, 0.5, model_of(inputs=10))


@pytest.mark.parametrize("config", [PruneConfig, QuantizeConfig])
@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_fraction_is_a_fraction(config: type, fraction: float) -> None:
    with pytest.raises(RecipeError, match=r"distill: got .*, must be a number in \[0, 1\]"):
        config(distill=fraction)
