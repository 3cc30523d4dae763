"""Anomaly detection: detector, task and report of the int8 program, and its scores by the codec."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.base.errors import DataError, InputError
from tiedae.base.records import decode, plain
from tiedae.bundle.task_results import AnomalyResult
from tiedae.bundle.verdict import Criterion, Reason
from tiedae.calibration import quantize_post_training, representative
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.codec import Codec
from tiedae.codec.detector import SAMPLES, fit_detector, totals
from tiedae.compress import Dataset, QuantizeConfig, Recipe, TiedAutoencoder, TrainConfig
from tiedae.compress.float_training import train_float
from tiedae.config.tasks import Anomaly, Compression, ScoreKind
from tiedae.data.normal import normal_only
from tiedae.export import lower
from tiedae.export.kinds import Kind, Why
from tiedae.export.targets import Programs
from tiedae.program.file_io import FileIO
from tiedae.program.integer_maps import fit
from tiedae.report.tasks import anomaly as anomaly_view
from tiedae.tasks import anomaly, groups
from tiedae.tasks.judging import judge
from tiedae.tasks.ranking import f1
from tiedae.tasks.row import Exported, TaskMeasurement
from tiedae.verify.parity.keras_device import keras_function

from ..variants import every

TASK = Anomaly(0.9, (0,))


def counts(n: int = 600, inputs: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """int16 samples: a sine of one of two frequencies by label 0 or 1, at some phase and amplitude, around 1024 counts."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    t = np.arange(inputs) / inputs
    wave = np.sin(2 * np.pi * ((1 + 2 * labels[:, None]) * t + rng.uniform(size=(n, 1)))) * rng.uniform(100, 200, (n, 1))
    return np.rint(1024 + wave).astype(np.int16), labels


def parts(data: Dataset, task: Anomaly, epochs: int = 40) -> tuple[Programs, Exported]:
    data = normal_only(data, task.normal)
    train = TrainConfig(epochs=epochs, batch_size=16)
    floating = TiedAutoencoder([16, 4], inputs=data.inputs, output_activation="linear")
    train_float(floating, data, train)
    recipe = Recipe("d", data.config, floating.config, train, quantize=QuantizeConfig(method="ptq"), task=task)
    model = floating.copy()
    quantize_post_training(model, representative(data.train, 128), recipe.quantize)
    programs = Programs(*(lower(model, "d", layout=layout) for layout in ("split", "fused")))
    maps, scaling = fit(data.spec, programs.fused.quantization("x"), programs.fused.quantization("y"))
    data = data.with_scaling(scaling)
    io = FileIO.of(recipe.export, scaling, data.train.dtype.name)
    backend = ProgramBackend(programs.fused, data.spec, io, maps)
    return programs, with_task(programs, Exported(backend, data, recipe, keras_function(floating)), task)


def with_task(programs: Programs, exported: Exported, task: Anomaly) -> Exported:
    detector = fit_detector(programs, exported.backend, exported.data, task, 0)
    return dataclasses.replace(exported, recipe=replace(exported.recipe, task=task), detector=detector)


@pytest.fixture(scope="module")
def built() -> tuple[Programs, Exported]:
    x, labels = counts()
    data = Dataset.from_array(x, labels=labels, test=0.3, validation=0.3, output_activation="linear", per_feature=False)
    return parts(dataclasses.replace(data, windows=True), TASK)


@pytest.fixture(scope="module")
def exported(built: tuple[Programs, Exported]) -> Exported:
    return built[1]


@pytest.fixture(scope="module")
def measured(exported: Exported) -> TaskMeasurement:
    return anomaly.measure(exported)


def test_the_quality_of_a_group_is_that_of_its_normal_samples(exported: Exported) -> None:
    test = exported.data.test
    one = dataclasses.replace(test, groups=np.repeat("a", len(test)))
    grouped = dataclasses.replace(exported, data=dataclasses.replace(exported.data, test=one))
    (row,) = groups.measure(grouped)
    x = test.take(np.flatnonzero(np.equal(np.asarray(test.labels), 0)))
    y = exported.model.scaled_values(exported.model.reconstruct(x)[1])
    assert row.samples == len(test) > len(x) and row.fidelity == exported.fidelity.measure(x, y)


def result_of(measured: TaskMeasurement) -> AnomalyResult:
    assert isinstance(measured.result, AnomalyResult)
    return measured.result


def codec_of(exported: Exported) -> Codec:
    """A codec of the program whose manifest has the detector alone."""
    bundle: Any = SimpleNamespace(manifest=SimpleNamespace(detector=exported.detector))
    return Codec("d", exported.data.spec, exported.backend.program.tensors["code"], exported.backend, bundle)


@pytest.mark.parametrize("kind", ["mse", "mae", "max", "standardized"])
def test_thresholds_are_quantiles_of_held_out_samples_per_layout(built: tuple[Programs, Exported], kind: ScoreKind) -> None:
    programs, exported = built
    detector = with_task(programs, exported, Anomaly(0.9, (0,), kind)).detector
    held = exported.data.validation
    assert detector is not None and held is not None and detector.samples == len(held) < SAMPLES
    assert held.labels is not None and set(np.asarray(held.labels).tolist()) == {0}
    for layout in ("split", "fused"):
        backend = dataclasses.replace(exported.backend, program=getattr(programs, layout))
        found, limit = totals(detector.scoring, backend, held, 0), getattr(detector.thresholds, layout)
        assert np.mean(found > limit) <= 0.1 < np.mean(found >= limit) and limit in found
    assert detector.training is not None and detector.training.samples == len(exported.data.train)


def test_other_tasks_have_no_detector_and_validation_is_needed(built: tuple[Programs, Exported]) -> None:
    programs, exported = built
    assert fit_detector(programs, exported.backend, exported.data, Compression(), 0) is None
    without = dataclasses.replace(exported.data, validation=None)
    with pytest.raises(DataError, match="got no validation samples, must be held-out normal ones"):
        fit_detector(programs, exported.backend, without, TASK, 0)


def test_the_program_finds_anomalies(measured: TaskMeasurement, exported: Exported) -> None:
    result = result_of(measured)
    labels = np.asarray(exported.data.test.labels)
    assert (result.samples, result.normal) == (180, np.count_nonzero(labels == 0))
    int8, keras = result.method("int8"), result.method("float")
    assert int8 is not None and keras is not None and result.method("none") is None
    assert int8.roc_auc.value > 0.95 and abs(int8.roc_auc.value - keras.roc_auc.value) < 0.02
    rates = {row.label: row.flagged / row.samples for row in result.labels}
    assert rates["0"] < 0.3 and rates["1"] > 0.9 and [row.normal for row in result.labels] == [True, False]
    assert result.false_alarms is not None and result.normal is not None
    assert result.alarm_rate == pytest.approx(result.false_alarms / (0.1 * result.normal))
    assert decode(AnomalyResult, plain(result), "x") == result


def test_thresholds_of_other_methods_come_from_held_out_samples(exported: Exported, measured: TaskMeasurement) -> None:
    """Half of the test samples are anomalies: a quantile of their scores is another threshold, and another F1."""
    data, detector = exported.data, exported.detector
    assert detector is not None and data.validation is not None
    test, held = (part.take(slice(None)) for part in (data.test, data.validation))
    anomalous = np.asarray(data.test.labels) != 0
    others, _ = anomaly.other_methods(exported, detector.scoring)
    for name, score in others.items():
        found = result_of(measured).method(name)
        limits = [np.quantile(score(samples), 0.9, method="inverted_cdf") for samples in (held, test)]
        right, wrong = (f1(score(test) > limit, anomalous) for limit in limits)
        assert found is not None and found.f1.value == right != wrong, name


def test_the_verdict_compares_the_areas_of_the_table(exported: Exported, measured: TaskMeasurement) -> None:
    result, found = result_of(measured), judge(measured, exported.backend, exported.data.test, exported.data.test, 0)
    names = [each.method for each in result.methods if each.method not in ("int8", "float")]
    assert list(found.baselines) == names and len(found.comparisons) == 2 * len(names)
    assert {"rms", "rms-differences", "log-spectra"} < set(names), "windows of a record"
    for row in found.comparisons:
        ours, theirs = result.method("int8"), result.method(row.baseline)
        assert ours is not None and theirs is not None
        of = [each.roc_auc if row.criterion is Criterion.ROC_AUC else each.pr_auc for each in (ours, theirs)]
        assert (row.ours, row.theirs) == (pytest.approx(of[0].value), pytest.approx(of[1].value, abs=1e-3)), "float32"
    assert (pca := found.against("pca")) is not None and pca.ours == pca.theirs == 1, "PCA tells two sines apart too"
    assert Reason.NO_BETTER not in {finding.reason for finding in found.findings if finding.subject == "pca"}


def test_without_labels_the_mean_is_what_has_to_be_surpassed(exported: Exported) -> None:
    data = dataclasses.replace(exported.data, test=dataclasses.replace(exported.data.test, labels=None))
    contest = anomaly.measure(dataclasses.replace(exported, data=data)).contest
    assert contest is not None and list(contest.baselines) == ["mean"] and contest.criterion is Criterion.SCORE
    gaps = data.scaling.apply(data.test.take(contest.rows)) - data.scaling.apply(data.train.take(slice(None))).mean(axis=0)
    np.testing.assert_allclose(contest.baselines["mean"], np.square(gaps).mean(axis=1), rtol=1e-4)


def test_test_labels_do_not_move_the_threshold(built: tuple[Programs, Exported]) -> None:
    programs, exported = built
    changed = dataclasses.replace(exported.data, test=exported.data.train)
    assert fit_detector(programs, exported.backend, changed, TASK, 0) == exported.detector


@pytest.mark.parametrize("labels", [None, np.zeros(180, int)])
def test_without_labels_of_both_kinds_alarms_alone_are_measured(exported: Exported, labels: np.ndarray | None) -> None:
    data = dataclasses.replace(exported.data, test=dataclasses.replace(exported.data.test, labels=labels))
    found = anomaly.measure(dataclasses.replace(exported, data=data))
    result = result_of(found)
    assert not result.methods and not result.labels and result.alarms > 0
    assert result.normal == (None if labels is None else 180) and (result.alarm_rate is None) == (labels is None)
    assert [(row.kind, row.why, row.what) for row in found.skipped] == [(Kind.TASK, Why.NO_SAMPLES, "ROC-AUC, PR-AUC and F1")]


def test_a_missing_baseline_is_skipped_with_the_reason(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anomaly, "find_spec", lambda name: None)
    found = anomaly.measure(dataclasses.replace(exported, keras=None))
    assert [each.method for each in result_of(found).methods] == [
        "int8",
        "pca",
        "mean",
        "rms",
        "rms-differences",
        "log-spectra",
    ]
    assert [row.what for row in found.skipped] == ["anomalies by the float model", "baseline IsolationForest"]
    assert "tiedae[tasks]" in found.skipped[1].reason or "scikit-learn" in found.skipped[1].reason


def test_a_codec_scores_as_the_program_does(exported: Exported) -> None:
    codec, x, detector = codec_of(exported), exported.data.test.take(slice(None)), exported.detector
    assert detector is not None
    expected = totals(detector.scoring, exported.backend, exported.data.test, 0) * detector.scoring.factor
    scores, flags, errors = codec.score(x), codec.is_anomaly(x), codec.errors(x)
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(flags, expected > detector.threshold("fused"))
    assert flags.dtype == bool and errors.shape == x.shape
    np.testing.assert_allclose(errors.mean(axis=1), scores)
    np.testing.assert_allclose(codec.score(x, axis=0), errors.mean(axis=0))
    assert codec.score(x, axis=None) == pytest.approx(scores.mean())
    assert codec.score(x[3]) == scores[3] and codec.is_anomaly(x[3]) is bool(flags[3])
    np.testing.assert_array_equal(codec.errors(x[3]), errors[3])


def test_a_sensor_stuck_at_its_end_or_shifted_is_an_anomaly(exported: Exported) -> None:
    """Behind the quantization of x a spike is as high as the range of x; its score is that of the sample as given."""
    codec, test, detector = codec_of(exported), exported.data.test, exported.detector
    assert detector is not None
    normal = test.take(np.flatnonzero(np.asarray(test.labels) == 0))
    high = int(exported.data.train.take(slice(None)).max())
    ends = np.full((1, normal.shape[1]), 32767, np.int16), np.full((1, normal.shape[1]), -32768, np.int16)
    assert all(codec.is_anomaly(end).all() for end in ends)
    spiked = normal.copy()
    crest = np.arange(len(normal)), normal.argmax(axis=1)
    spiked[crest] = 2 * high
    clipped = spiked.copy()
    x = exported.backend.program.quantization("x")
    top = exported.data.scaling.invert(np.array([[(255 - x.zero_point) * x.scale]]), "int16")[0, 0]
    clipped = np.minimum(spiked, top)
    np.testing.assert_array_equal(exported.backend.input(spiked), exported.backend.input(clipped))
    assert codec.is_anomaly(spiked).all() and (codec.score(spiked) > codec.score(clipped)).all()


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def wide(request: pytest.FixtureRequest) -> tuple[Programs, Exported, np.ndarray]:
    """Parts of a detector on 1,200 values, and its samples."""
    x = np.random.default_rng(0).normal(size=(300, 1200)).astype(request.param)
    data = Dataset.from_array(x, test=0.2, validation=0.3, output_activation="linear")
    return *parts(data, Anomaly(0.9), epochs=2), x


@pytest.mark.parametrize("score", every(2, ["mse", "mae"]))
def test_nan_and_infinity_are_anomalies_without_a_score(wide: tuple[Programs, Exported, np.ndarray], score: ScoreKind) -> None:
    """Of many values the largest error of one is little: the mean absolute one is below the threshold."""
    programs, exported, x = wide
    codec = codec_of(with_task(programs, exported, Anomaly(0.9, score=score)))
    odd = x[:5].copy()
    odd[0, 2], odd[1, 0], odd[2, 5] = np.nan, np.inf, -np.inf
    odd[3, 7] = 1e300 if x.dtype == np.float64 else np.inf
    scores, flags = codec.score(odd), codec.is_anomaly(odd)
    assert np.isnan(scores).tolist() == [True, True, True, True, False] and flags[:4].all()
    assert scores[4] == codec.score(x[4]) and np.isnan(codec.score(odd[0])) and np.isnan(codec.errors(odd)[:4]).all()
    assert np.isfinite(codec.score(odd, axis=0)).all()
    with pytest.raises(DataError, match="got none without NaN"):
        codec.score(odd[:1], axis=None)
    with pytest.raises(DataError, match="must be finite"):
        codec.encode(odd)


def test_a_bundle_without_a_detector_has_errors_and_no_anomalies(exported: Exported) -> None:
    codec = codec_of(dataclasses.replace(exported, detector=None))
    x = exported.data.test.take(slice(0, 5))
    assert codec.score(x).shape == (5,) and codec.threshold is None
    np.testing.assert_allclose(codec.errors(x).mean(axis=1), codec.score(x))
    with pytest.raises(InputError, match=r"^is_anomaly: bundle d has no threshold of anomalies, must be one of a recipe with"):
        codec.is_anomaly(x)


def manifest_of(exported: Exported, kind: str | None = None, shape: tuple[int, ...] = (24,)) -> Any:
    """What a section reads of a manifest."""
    spec = replace(exported.data.spec, shape=shape, kind=kind or exported.data.kind)
    return SimpleNamespace(data=SimpleNamespace(spec=spec))


def test_scores_of_both_classes_and_the_curves_are_drawn(exported: Exported, measured: TaskMeasurement) -> None:
    result, anomalous = result_of(measured), np.asarray(exported.data.test.labels) != 0
    histogram, (roc, recall) = (
        anomaly_view.score_histogram(result, measured.kept),
        anomaly_view.score_curves(result, measured.kept),
    )
    assert histogram is not None
    assert {label: len(values) for (_, label), values in histogram.values.items()} == {
        "normal": int((~anomalous).sum()),
        "anomalous": int(anomalous.sum()),
    }
    assert histogram.separators[0][0] == result.threshold
    lines, (at,) = roc.curves[:-1], roc.curves[-1].points
    assert [curve.label for curve in lines] == [
        anomaly.TITLES[each.method] for each in result.methods if each.method != "float"
    ]
    area = np.trapezoid([point.y for point in lines[0].points], [point.x for point in lines[0].points])
    int8 = result.method("int8")
    assert int8 is not None and area == pytest.approx(int8.roc_auc.value, abs=1e-3)
    assert result.normal is not None and result.false_alarms is not None
    assert (at.x, at.y) == (result.false_alarms / result.normal, (result.alarms - result.false_alarms) / int(anomalous.sum()))
    assert recall.curves[-1].points[0].x == at.y and recall.curves[0].points[-1].x == 1
    html = str(anomaly_view.section(manifest_of(exported), result, measured.kept))
    bars = sum(np.count_nonzero(fractions) for fractions in histogram.fractions.values())
    assert "ROC curve" in html and "Precision and recall" in html and "threshold" in html
    assert html.count("<rect") >= bars > 10, "every bar is drawn"
    nothing = {**measured.kept, "figures": np.zeros_like(measured.kept["figures"])}
    assert anomaly_view.score_histogram(result, nothing) is None, "no score above 0 has a logarithm"


def test_report_card_and_table_say_what_was_measured(exported: Exported, measured: TaskMeasurement) -> None:
    result = result_of(measured)
    int8 = result.method("int8")
    assert int8 is not None
    area = anomaly_view.estimate_text(int8.roc_auc)
    record = str(anomaly_view.section(manifest_of(exported), result, measured.arrays))
    assert area in record and record.count('aria-label="sample ') == 2 * anomaly.SHOWN
    assert "ROC curve" not in record, "measured.arrays has no scores of all samples; a bundle has"
    table = str(anomaly_view.section(manifest_of(exported, "table"), result, measured.arrays))
    assert table.count('<table class="bars">') == anomaly.SHOWN and ", reconstructed " in table
    channels = str(anomaly_view.section(manifest_of(exported, "record", (8, 3)), result, measured.arrays))
    assert "<img" not in channels and channels.count("<figcaption>channel 2</figcaption>") == anomaly.SHOWN
    image = str(anomaly_view.section(manifest_of(exported, "image", (4, 6)), result, measured.arrays))
    assert image.count("<img") == 3 * anomaly.SHOWN and "× threshold" in image
    assert image.count("<figcaption>") == anomaly.SHOWN + 1 and image.index("By label") > image.index("PR-AUC")
    found = anomaly_view.VIEW.headline(result)
    assert found is not None and found[0] == f"ROC-AUC {int8.roc_auc.value:.4f}" and "(PCA 1.0000)" in found[1]
    unlabelled = anomaly_view.VIEW.headline(replace(result, methods=()))
    assert unlabelled is not None and unlabelled[2] == f"flags {result.alarms} of {result.samples} test samples as anomalies"
    card = anomaly_view.card(result)
    assert f"| int8 program | {area} |" in card and "| 0 (normal) |" in card and f"{result.threshold:.4g}" in card
    lines = anomaly_view.rows(result)
    assert f"PR-AUC {int8.pr_auc.value:.4f}" in lines[0][2]
    assert lines[0][0] == "anomalies, int8 program" and f"{int8.roc_auc.value:.4f}" in lines[0][2]
    assert lines[-1] == ("alarms", "", anomaly_view.alarms_text(result), "", "") and "expected" in lines[-1][2]
