"""What an anomaly task measures, on a program of random kernels: samples, scores of other methods, reasons; and its groups."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.bundle.task_results import AnomalyResult
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.detector import fit_detector, totals
from tiedae.config.tasks import Anomaly, ScoreKind
from tiedae.data.dataset import Dataset
from tiedae.data.normal import normal_only
from tiedae.data.samples import Samples
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.export.targets import Programs
from tiedae.tasks import anomaly, groups
from tiedae.tasks.neighbourhoods import Pca
from tiedae.tasks.ranking import Ranked, roc_auc
from tiedae.tasks.row import Exported

from ..conftest import build_program
from ..samples import images
from .test_reduction import exported as reduced
from .test_reduction import labels_of

TASK = Anomaly(0.9, (0,))


@pytest.fixture(scope="module")
def exported() -> Exported:
    """Labels 0 and 1; a float model that gives nine tenths of each value; no other methods."""
    subject = reduced(None)
    data = normal_only(Dataset.from_array(images(), labels=labels_of(2), test=0.4, validation=0.3), TASK.normal)
    program = build_program((24, 12, 5))
    backend = ProgramBackend(program, data.spec)
    detector = fit_detector(Programs(program, program), backend, data, TASK, 0)
    recipe = replace(subject.recipe, task=TASK, data=data.config)
    return Exported(backend, data, recipe, lambda x: (x[:, :5], np.float32(0.9) * x), detector=detector, others=False)


def with_test(exported: Exported, **changed: object) -> Exported:
    test = dataclasses.replace(exported.data.test, **changed)
    return dataclasses.replace(exported, data=dataclasses.replace(exported.data, test=test))


def result_of(exported: Exported) -> AnomalyResult:
    result = anomaly.measure(exported).result
    assert isinstance(result, AnomalyResult)
    return result


def test_ten_thousand_samples_are_scored_at_most(exported: Exported) -> None:
    many = Samples(np.resize(images(), (10_001, 4, 6)), scaling=exported.data.scaling)
    subject = dataclasses.replace(exported, keras=None, data=dataclasses.replace(exported.data, test=many))
    assert result_of(subject).samples == 10_000


def test_without_others_the_program_and_the_float_model_alone_are_measured(exported: Exported) -> None:
    measured = anomaly.measure(exported)
    assert [each.method for each in result_of(exported).methods] == ["int8", "float"]
    assert measured.contest is not None and not measured.contest.baselines and measured.skipped == ()


def test_the_float_model_is_scored_by_its_own_errors(exported: Exported) -> None:
    contest = anomaly.measure(exported).contest
    assert contest is not None and contest.keras is not None and contest.anomalous is not None
    scaled = exported.data.scaling.apply(exported.data.test.take(contest.rows)).astype(np.float64)
    np.testing.assert_allclose(contest.keras, np.square(0.1 * scaled).mean(axis=1), rtol=1e-4)
    found = result_of(exported).method("float")
    assert found is not None
    assert found.roc_auc.value == roc_auc(*Ranked.of(contest.keras, contest.anomalous).counts())


def test_the_worst_samples_are_drawn_first(exported: Exported) -> None:
    measured = anomaly.measure(exported)
    assert measured.contest is not None
    descending = np.sort(measured.contest.own)[::-1]
    assert measured.arrays["scores"].tolist() == descending[: anomaly.SHOWN].tolist() and descending[0] > descending[-1]
    np.testing.assert_allclose(measured.arrays["errors"].mean(axis=1), measured.arrays["scores"], rtol=1e-5)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "the test samples have no labels"),
        (0, "the test samples are all normal, or none is"),
        (1, "the test samples are all normal, or none is"),
    ],
)
def test_areas_need_samples_of_both_kinds(exported: Exported, label: int | None, reason: str) -> None:
    labels = None if label is None else np.full(len(exported.data.test), label)
    measured = anomaly.measure(with_test(exported, labels=labels))
    assert measured.skipped == (Skipped(Kind.TASK, Why.NO_SAMPLES, "ROC-AUC, PR-AUC and F1", reason),)
    assert isinstance(measured.result, AnomalyResult) and measured.result.methods == ()
    assert (measured.contest is None) == (label == 1), "alarms of anomalies alone are no false ones"


def test_baselines_are_scored_by_their_distance(exported: Exported) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'tiedae[tasks]'")
    from sklearn.ensemble import IsolationForest

    assert exported.detector is not None
    scores, skipped = anomaly.other_methods(exported, exported.detector.scoring)
    assert list(scores) == ["pca", "mean", "isolation-forest"] and skipped == []
    train, x = (exported.data.scaling.apply(part.take(slice(None))) for part in (exported.data.train, exported.data.test))
    test, pca = exported.data.test.take(slice(None)), Pca.fit(train, 5)
    np.testing.assert_allclose(scores["mean"](test), np.square(x - train.mean(axis=0)).mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(scores["pca"](test), np.square(x - pca.decode(pca.encode(x))).mean(axis=1), rtol=1e-6)
    forest = IsolationForest(n_estimators=100, random_state=exported.data.config.seed).fit(train)
    np.testing.assert_array_equal(scores["isolation-forest"](test), -forest.score_samples(x))


@pytest.mark.parametrize(
    ("kind", "weights", "scores"),
    [
        ("max", 1.0, [4, 1]),
        ("mae", 1.0, [2, 2 / 3]),
        ("mse", 1.0, [20 / 3, 0.5]),
        ("standardized", np.array([1.0, 0, 3]), [52 / 3, 13 / 12]),
    ],
)
def test_scores_of_errors(kind: ScoreKind, weights: np.ndarray | float, scores: list[float]) -> None:
    errors = np.array([[-2.0, 0, 4], [0.5, -0.5, 1]])
    assert anomaly.real_scores(kind, errors, weights) == pytest.approx(scores)


def grouped(exported: Exported, labels: bool = True) -> Exported:
    """The test samples are the held-out ones: their quantile is the threshold itself."""
    held = exported.data.validation
    assert held is not None
    names = np.array(["a", "b"])[np.arange(len(held)) % 2]
    test = dataclasses.replace(held, groups=names, labels=np.zeros(len(held), int) if labels else None)
    return dataclasses.replace(exported, data=dataclasses.replace(exported.data, test=test))


@pytest.mark.parametrize("labels", [True, False])
def test_a_sample_at_the_threshold_is_normal(exported: Exported, labels: bool) -> None:
    subject, detector = grouped(exported, labels), exported.detector
    assert detector is not None
    found = totals(detector.scoring, subject.backend, subject.data.test, 0)
    limit = detector.thresholds.fused
    assert (found == limit).any()
    rows = groups.measure(subject)
    assert [row.group for row in rows] == ["a", "b"] and [row.flagged for row in rows] == [
        int((found[start::2] > limit).sum()) for start in (0, 1)
    ]
    for row in rows:
        assert (row.normal, row.false_alarms) == ((row.samples, row.flagged) if labels else (None, None))


def test_figures_of_a_group_are_of_its_own_samples() -> None:
    """NaN is no score; an area needs both kinds; alarms are false where the sample is normal."""
    names = np.array(["a", "a", "a", "b", "b"])
    scores, odd = np.array([1.0, np.nan, 3.0, 10.0, np.nan]), np.array([False, False, True, False, False])
    flags = np.array([True, False, True, False, False])
    a, b = groups.by_group(names, scores, flags, odd, 0)
    assert (a.group, a.samples, a.mean, a.flagged, a.normal, a.false_alarms) == ("a", 3, 2.0, 2, 2, 1)
    assert (b.group, b.samples, b.mean, b.flagged, b.normal, b.false_alarms) == ("b", 2, 10.0, 0, 2, 0)
    assert a.roc_auc is not None and a.roc_auc.value == 0.5 and b.roc_auc is None
    unlabelled = groups.by_group(names, scores, flags, None, 0)
    assert [(row.flagged, row.normal, row.roc_auc) for row in unlabelled] == [(2, None, None), (0, None, None)]
    plain = groups.by_group(names, scores, None, odd, 0)
    assert [(row.mean, row.flagged, row.normal) for row in plain] == [(2.0, None, None), (10.0, None, None)]
    (missing,) = groups.by_group(names[:1], scores[1:2], None, None, 0)
    assert missing.mean is None


def test_the_mean_is_of_ten_thousand_training_samples_at_most(exported: Exported) -> None:
    rng = np.random.default_rng(0)
    train = Samples(rng.integers(0, 256, (10_001, 4, 6), np.uint8), scaling=exported.data.scaling)
    subject = dataclasses.replace(exported, data=dataclasses.replace(exported.data, train=train))
    left_out = np.random.default_rng(subject.data.config.seed).permutation(10_001)[10_000]
    kept = np.delete(train.take(slice(None)), left_out, axis=0)
    np.testing.assert_allclose(subject.mean, subject.data.scaling.apply(kept).mean(axis=0, dtype=np.float64), rtol=1e-12)
