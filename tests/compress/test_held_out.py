"""Which samples judge quantization-aware training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import Dataset, QuantizeConfig, Samples, Scaling, TiedAutoencoder, TrainConfig, fit, train_quantized
from tiedae.compress.config import DataConfig
from tiedae.compress.data import overlapping
from tiedae.compress.held_out import ENOUGH, FEWEST, MOST, Judges, held_out
from tiedae.compress.layer_kinds import LayerConfig
from tiedae.compress.model_config import ModelConfig
from tiedae.compress.records import checked
from tiedae.compress.start_or_end import StartOrEnd

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
def test_a_twentieth_judges_within_bounds(count: int, held: int) -> None:
    judges = Judges.of(splits_of(numbered(count, 1)), 0)
    rest, samples = judges.splits.train, judges.samples
    assert (judges.split, len(samples), len(rest)) == ("held-out", held, count - held)
    assert judges.splits.validation is samples and judges.clusters is None
    assert not np.intersect1d(rest.rows, samples.rows).size


def test_the_datas_seed_draws_them() -> None:
    drawn = [held_out(splits_of(numbered(ENOUGH), seed=seed))[1].rows.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_below_a_thousand_training_samples_judge() -> None:
    splits = splits_of(numbered(ENOUGH - 1))
    judges = Judges.of(splits, 0)
    assert (judges.split, judges.splits, len(judges.samples)) == ("training", splits, ENOUGH - 1)


def test_validation_samples_judge_where_there_are_any() -> None:
    splits = replace(splits_of(numbered(ENOUGH)), validation=numbered(3))
    judges = Judges.of(splits, 0)
    assert (judges.split, judges.splits, judges.samples) == ("validation", splits, splits.validation)


def test_whole_groups_are_held_out_and_are_the_clusters() -> None:
    groups = np.arange(4000) % 40
    judges = Judges.of(splits_of(numbered(4000, groups=groups)), 0)
    inside, outside = set(judges.samples.groups.tolist()), set(judges.splits.train.groups.tolist())
    assert len(inside) == 2 and not inside & outside
    assert np.unique(judges.clusters).tolist() == [0, 1]
    assert [len(set(judges.samples.groups[judges.clusters == i].tolist())) for i in (0, 1)] == [1, 1]


def test_too_few_groups_are_all_trained_on() -> None:
    assert Judges.of(splits_of(numbered(4000, groups=np.arange(4000) % 3)), 0).split == "training"


def test_the_last_windows_of_a_record_are_held_out_without_those_that_overlap_them() -> None:
    whole = numbered(ENOUGH, 8)
    train = overlapping(whole, 2)
    judges = Judges.of(splits_of(train, windows=True), 0)
    rest, samples = (part.take(np.arange(len(part))) for part in (judges.splits.train, judges.samples))
    assert samples.tolist() == whole.values[-FEWEST:].tolist() and rest.max() + 1 == samples.min()
    assert judges.samples.overlap == 1 and len(rest) == 4 * (ENOUGH - FEWEST) - 3
    assert judges.clusters.tolist() == [0] * FEWEST


def test_overlapping_windows_count_once() -> None:
    train = overlapping(numbered(ENOUGH - 1, 8), 2)
    assert len(train) > 3 * ENOUGH and Judges.of(splits_of(train, windows=True), 0).split == "training"


def test_records_are_clusters() -> None:
    train = numbered(ENOUGH, 8, records=np.arange(ENOUGH) // 50)
    judges = Judges.of(splits_of(train, windows=True), 0)
    assert np.unique(judges.clusters).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("rate", "is_start"), [(3e-3, False), (3.0, True)])
def test_held_out_samples_choose(rate: float, is_start: bool) -> None:
    splits = build_splits(train=ENOUGH)
    model = TiedAutoencoder(ModelConfig((LayerConfig(16, "relu"), LayerConfig(3)), "sigmoid", 24))
    fit(model, splits, TrainConfig(epochs=2, batch_size=32, learning_rate=1e-2))
    config = QuantizeConfig(epochs=2, learning_rate=rate, refinements=())
    quantize_post_training(model, representative(splits.train, 64), config)
    records = train_quantized(model, splits, config, TrainConfig(batch_size=32))
    kept = checked(StartOrEnd, records[-1]["kept"])
    assert (kept.split, kept.is_start) == ("held-out", is_start)
    assert "held-out samples" in kept.text and all("validation_loss" in record for record in records)
