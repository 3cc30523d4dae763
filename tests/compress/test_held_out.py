"""Which samples judge quantization-aware training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiedae.base.records import checked
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import Dataset, QuantizeConfig, Samples, Scaling, TiedAutoencoder, TrainConfig, fit, train_quantized
from tiedae.compress.held_out import ENOUGH, FEWEST, MOST, Judges, with_held_out
from tiedae.compress.start_or_end import StartOrEnd
from tiedae.config.config import DataConfig
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.data.dataset import choose, overlapping

from .conftest import build_splits


def numbered(count: int, inputs: int = 4, **options) -> Samples:
    """Samples whose values say which they are."""
    values = np.arange(count * inputs, dtype=np.int32).reshape(count, inputs)
    return Samples(values, scaling=Scaling("minmax", 0.0, float(values.max())), **options)


def splits_of(train: Samples, *, windows: bool = False, seed: int = 0) -> Dataset:
    return Dataset(train, None, numbered(8), train.scaling, windows=windows, config=DataConfig("array", seed=seed))


@pytest.mark.parametrize(
    ("count", "held"), [(ENOUGH, FEWEST), (4000, FEWEST), (4020, 201), (60_000, 3000), (100_000, MOST), (150_000, MOST)]
)
def test_a_twentieth_is_held_out_within_bounds(count: int, held: int) -> None:
    data = with_held_out(splits_of(numbered(count, 1)))
    assert (len(data.validation), len(data.train)) == (held, count - held)
    assert not set(data.train.rows.tolist()) & set(data.validation.rows.tolist())


def test_the_datas_seed_draws_them() -> None:
    drawn = [with_held_out(splits_of(numbered(ENOUGH), seed=seed)).validation.rows.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_nothing_is_held_out_of_few_samples_or_beside_validation_samples() -> None:
    for splits in (splits_of(numbered(ENOUGH - 1)), replace(splits_of(numbered(ENOUGH)), validation=numbered(3))):
        assert with_held_out(splits) is splits


def test_whole_groups_are_held_out_and_are_the_clusters() -> None:
    data = with_held_out(splits_of(numbered(4000, groups=np.arange(4000) % 40)))
    inside, outside = set(data.validation.groups.tolist()), set(data.train.groups.tolist())
    assert len(inside) == 2 and not inside & outside
    judges = Judges.of(data, 8, 0)
    assert [len(set(judges.samples.groups[judges.clusters == i].tolist())) for i in (0, 1)] == [1, 1]


def test_windows_of_held_out_groups_share_no_values() -> None:
    train = numbered(2000, 8, groups=np.arange(2000) // 50)
    data = with_held_out(splits_of(overlapping(train, 2), windows=True))
    assert data.validation.overlap == 1 and len(data.validation) == 4 * 50
    assert not set(data.train.groups.tolist()) & set(data.validation.groups.tolist())


def test_too_few_groups_are_all_trained_on() -> None:
    splits = splits_of(numbered(4000, groups=np.arange(4000) % 3))
    assert with_held_out(splits) is splits


def test_the_last_windows_of_a_record_are_held_out_without_those_that_overlap_them() -> None:
    whole = numbered(ENOUGH, 8)
    data = with_held_out(splits_of(overlapping(whole, 2), windows=True))
    rest, held = (part.take(np.arange(len(part))) for part in (data.train, data.validation))
    assert held.tolist() == whole.values[-FEWEST:].tolist() and rest.max() + 1 == held.min()
    assert data.validation.overlap == 1 and len(rest) == 4 * (ENOUGH - FEWEST) - 3
    assert Judges.of(data, 8, 0).clusters.tolist() == [0] * FEWEST


def test_overlapping_windows_count_once() -> None:
    splits = splits_of(overlapping(numbered(ENOUGH - 1, 8), 2), windows=True)
    assert len(splits.train) > 3 * ENOUGH and with_held_out(splits) is splits


def test_records_are_clusters() -> None:
    data = with_held_out(splits_of(numbered(ENOUGH, 8, records=np.arange(ENOUGH) // 50), windows=True))
    assert set(Judges.of(data, 8, 0).clusters.tolist()) == {0, 1, 2, 3}


def test_without_validation_samples_training_samples_judge() -> None:
    judges = Judges.of(splits_of(numbered(100, groups=np.arange(100) % 5)), 64, 3)
    assert (judges.split, len(judges.samples), judges.clusters) == ("training", 64, None)
    assert judges.samples.rows.tolist() == choose(numbered(100), 64, 3).tolist()


@pytest.mark.parametrize(("rate", "is_start"), [(3e-3, False), (3.0, True)])
@pytest.mark.parametrize("held", [True, False])
def test_held_out_samples_choose(rate: float, is_start: bool, held: bool) -> None:
    """Of 1,000 samples none judge unless they are held out of all training."""
    data = build_splits(train=ENOUGH)
    splits = with_held_out(data) if held else data
    model = TiedAutoencoder(ModelConfig((LayerConfig(16, "relu"), LayerConfig(3)), "sigmoid", 24))
    fit(model, splits, TrainConfig(epochs=2, batch_size=32, learning_rate=1e-2))
    config = QuantizeConfig(epochs=2, learning_rate=rate, refinements=())
    quantize_post_training(model, representative(splits.train, 64), config)
    kept = checked(StartOrEnd, train_quantized(model, splits, config, TrainConfig(batch_size=32))[-1]["kept"])
    assert (kept.split, kept.is_start) == ("validation" if held else "training", is_start)
