"""Figures at their limits: a loss of exactly what is allowed, what a bundle keeps, thresholds of derived bundles, planes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.base.errors import FormatError, NotInstalledError, UnavailableError
from tiedae.bundle.results import Source
from tiedae.bundle.task_results import ReductionResult
from tiedae.bundle.verdict import Criterion
from tiedae.config.config import VerifyConfig
from tiedae.config.tasks import Reduction
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.tasks import from_files, losses, reduction
from tiedae.tasks.neighbourhoods import Pca, trustworthiness
from tiedae.tasks.row import Contest, TaskMeasurement
from tiedae.tasks.ssim import has_ssim

from .test_losses import METRICS, alarms, checked, contest
from .test_reduction import exported, labels_of, positions


@pytest.mark.parametrize(("most", "ok"), [(0.25, True), (0.2499, False), (0.2501, True)])
def test_a_loss_of_exactly_what_is_allowed_holds(most: float, ok: bool) -> None:
    """Each sample loses a quarter, so every draw does: no noise excuses more."""
    keras = 0.5 + np.arange(64) / 128
    subject = Contest(Criterion.TRUSTWORTHINESS, np.arange(64), keras - 0.25, {}, keras=keras)
    check = checked(subject, VerifyConfig(max_points_lost=most), reduction.HELD)["trustworthiness"]
    assert check.value == 0.25 and check.ok is ok


def test_nothing_lost_is_printed_without_a_sign() -> None:
    check = checked(alarms(contest(), 30, 30))["alarm rate"]
    assert isinstance(check.value, float) and math.copysign(1, check.value) == 1 and check.value == 0
    assert ": 0 lost, 95 % interval " in check.text


NOW = Source("x", "a" * 64)


@pytest.mark.parametrize(
    ("before", "samples", "same"),
    [(NOW, NOW, True), (NOW, Source("x", "b" * 64), False), (NOW, None, False), (None, NOW, False), (None, None, False)],
)
def test_metrics_are_kept_of_the_same_test_samples(
    before: Source | None, samples: Source | None, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = replace(METRICS, samples=before)
    monkeypatch.setattr(losses, "read_metrics", lambda path: kept)
    bundle: Any = SimpleNamespace(path=Path("bundle"), require_intact=lambda names: None)
    assert losses.kept_metrics(bundle, samples) == (kept if same else None)


def test_damaged_metrics_are_not_kept() -> None:
    def damaged(names: list[str]) -> None:
        raise FormatError("damaged")

    bundle: Any = SimpleNamespace(path=None, require_intact=damaged)
    assert losses.kept_metrics(bundle, NOW) is None


@pytest.mark.parametrize("has", [True, False])
def test_figures_of_the_float_model_are_those_at_hand_or_the_kept_ones(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = contest()
    own = dataclasses.replace(subject, keras=subject.keras if has else None)
    monkeypatch.setattr(losses, "kept_metrics", lambda bundle, samples: METRICS)
    arrays = {"keras": np.ones(400, np.float32), "compared": subject.rows}
    bundle: Any = SimpleNamespace(task_arrays=lambda: arrays)
    measured = TaskMeasurement(None, contest=own)
    found = losses.beside_kept(measured, bundle, NOW)
    if has:
        assert found is measured
    else:
        assert found.contest is not None and found.contest.keras is arrays["keras"] and found.contest.keras_alarms is None
    nothing = TaskMeasurement(None)
    assert losses.beside_kept(nothing, bundle, NOW) is nothing
    arrays["compared"] = subject.rows + 1
    assert losses.beside_kept(measured, bundle, NOW) is measured


def manifest(*derived: str) -> Any:
    return SimpleNamespace(
        detector=SimpleNamespace(thresholds=SimpleNamespace(), quantile=0.9),
        derived=tuple(SimpleNamespace(data_sha256=each) for each in derived),
        data=SimpleNamespace(sha256="trained"),
    )


@pytest.mark.parametrize(
    ("derived", "fitted"),
    [((), "trained"), (("first",), "first"), (("first", "second"), "second"), (("first", "second", "third"), "third")],
)
def test_thresholds_are_checked_on_the_samples_that_the_last_step_was_fitted_to(derived: tuple[str, ...], fitted: str) -> None:
    reason = "the samples are not those that the detector was fitted to"
    row = Skipped(Kind.TASK, Why.NOT_COMPARABLE, "thresholds of held-out samples", reason)
    for given in ("trained", "first", "second", "third"):
        for held in ("validation", None):
            data: Any = SimpleNamespace(validation=held, train=SimpleNamespace(sha256=given))
            skipped = [] if held and given == fitted else [row]
            assert from_files._check_thresholds(manifest(*derived), {}, data) == ([], skipped)


@pytest.mark.parametrize(("error", "why"), [(NotInstalledError, Why.NOT_INSTALLED), (UnavailableError, Why.UNAVAILABLE)])
def test_a_task_without_a_runtime_is_a_skipped_row(error: type[UnavailableError], why: Why) -> None:
    def programs(models: object) -> None:
        raise error("no runtime here")

    bundle: Any = SimpleNamespace(
        manifest=SimpleNamespace(recipe=SimpleNamespace(task=Reduction()), models={}), programs=programs
    )
    metrics, measured = from_files.with_task(METRICS, bundle, None)  # pyright: ignore[reportArgumentType] - never read
    reason = "no runtime runs the files: no runtime here"
    assert measured is None and metrics.skipped[-1] == Skipped(Kind.TASK, why, "the figures of the task", reason)


@pytest.fixture
def no_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "find_spec", lambda name: None)


def test_classes_are_those_of_the_training_samples(no_umap: None) -> None:
    subject = exported(labels_of(6), samples=50)
    one = dataclasses.replace(subject.data.test, labels=np.zeros(len(subject.data.test), int))
    subject = dataclasses.replace(subject, data=dataclasses.replace(subject.data, test=one))
    result = reduction.measure(subject).result
    assert isinstance(result, ReductionResult) and result.classes == len(np.unique(np.asarray(subject.data.train.labels))) > 1


def test_codes_of_the_float_model_are_its_first_output(no_umap: None) -> None:
    subject = exported(None, neighbours=4, samples=50)
    measured = reduction.measure(subject)
    assert isinstance(measured.result, ReductionResult) and subject.keras is not None
    x = subject.data.scaling.apply(subject.data.test.take(positions(subject, measured)))
    assert measured.result.methods[1].trustworthiness == trustworthiness(x, subject.keras(x)[0], 4) < 1


@pytest.mark.parametrize("units", [1, 2, 3, 5])
def test_a_plane_has_two_axes(units: int) -> None:
    codes = np.random.default_rng(0).normal(size=(20, units))
    found = reduction.plane(codes)
    expected = Pca.fit(codes, 2).encode(codes) if units > 2 else np.hstack([codes, np.zeros((20, 2 - units))])
    assert found.shape == (20, 2)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("neighbours", "measured"), [(24, True), (25, False)])
def test_fewer_than_half_of_the_samples_are_neighbours(no_umap: None, neighbours: int, measured: bool) -> None:
    found = reduction.measure(exported(None, neighbours=neighbours, samples=50))
    assert (found.result is not None) is measured
    if not measured:
        assert found.skipped[0].reason == "got 50 test samples, must be more than 50, twice task.neighbours"


@pytest.mark.parametrize(
    ("shape", "has"),
    [((7, 7), True), ((40, 6), False), ((6, 40), False), ((7, 7, 1), True), ((7, 6, 9), False), ((7, 7, 7, 7), False)],
)
def test_an_image_with_a_window_has_a_similarity(shape: tuple[int, ...], has: bool) -> None:
    assert has_ssim(shape) is has
