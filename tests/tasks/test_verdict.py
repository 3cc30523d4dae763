"""The verdict: its rules one by one, the paired bootstrap against theory, and dead units and constant outputs of a program."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tiedae.base.errors import RecipeError
from tiedae.base.numbers import number
from tiedae.base.records import checked, decode, plain
from tiedae.bundle.task_results import INPUT, AnomalyResult, Detection, Estimate, IntervalFlags, LabelFlags
from tiedae.bundle.verdict import (
    RULES,
    TITLES,
    Criterion,
    LayerUse,
    MethodComparison,
    Reason,
    Verdict,
    alarm_interval,
    findings,
    sentences,
)
from tiedae.codec.backends import ProgramBackend
from tiedae.compress import DataConfig, Recipe, VerifyConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import BASELINES, Anomaly, Compression, Denoising, NoiseConfig, Reduction
from tiedae.data.dataset import Dataset
from tiedae.data.samples import Samples
from tiedae.export.kinds import Kind
from tiedae.report.verdict import summary, verdict_rows
from tiedae.tasks.denoisers import DENOISERS
from tiedae.tasks.judging import RESAMPLES, better_than, comparisons, judge, layer_use
from tiedae.tasks.ranking import Ranked, average_precision
from tiedae.tasks.row import Contest, TaskMeasurement

from ..conftest import build_program
from ..samples import images

RNG = np.random.default_rng(5)


def verdict(
    *gains: tuple[float, float], layers: tuple[LayerUse, ...] = (), constant: bool = False, of_mean: float = 5.0
) -> Verdict:
    rows = tuple(
        MethodComparison(name, Criterion.MSE, 2.0, theirs, Estimate((low + high) / 2, low, high))
        for (name, theirs), (low, high) in zip((("pca", 3.0), ("mean", of_mean)), gains, strict=False)
    )
    return Verdict(200, 100, 0, RESAMPLES, rows, layers, constant)


def scores_of_mean(theirs: float) -> Verdict:
    row = MethodComparison("mean", Criterion.SCORE, 2.0, theirs, Estimate(1.0, 0.5, 1.5))
    return replace(verdict(), comparisons=(row,))


def alarms(false_alarms: int, normal: int = 1000, held_out: int = 2000) -> AnomalyResult:
    return AnomalyResult("mse", 0.99, 1.0, held_out, 1500, false_alarms, normal, false_alarms, 0, (), ())


def area(value: float) -> Verdict:
    row = MethodComparison("pca", Criterion.ROC_AUC, value, 0.1, Estimate(value - 0.1, 0.01, 0.9))
    return Verdict(200, 100, 0, RESAMPLES, (row,), (), False)


def flagging(flagged: int, auc: float, intervals: tuple[int, int] | None = None) -> AnomalyResult:
    """Of 100 anomalies so many are flagged; and of intervals (all, flagged)."""
    area = Estimate(auc, auc, auc)
    methods = (Detection("int8", area, area, area),)
    kinds = None if intervals is None else IntervalFlags(methods, (LabelFlags("wear", False, *intervals),))
    return AnomalyResult("mse", 0.99, 1.0, 2000, 1100, flagged + 10, 1000, 10, 0, methods, (), kinds)


def areas(roc: tuple[float, float], precision: tuple[float, float]) -> Verdict:
    """(ours, PCA's) by each area, without noise; a difference below 0.06 is noise."""
    rows = []
    for criterion, (ours, theirs) in ((Criterion.ROC_AUC, roc), (Criterion.PR_AUC, precision)):
        gain, noise = ours - theirs, 0.0 if ours == theirs else 0.01
        rows.append(MethodComparison("pca", criterion, ours, theirs, Estimate(gain, gain - noise, gain + noise)))
    return replace(verdict(), comparisons=tuple(rows))


@pytest.mark.parametrize(
    ("subject", "result", "reasons", "words"),
    [
        (verdict((0.1, 0.5), (1, 2)), None, [], ""),
        (verdict((-0.5, -0.1), (1, 2)), None, [Reason.WORSE], "worse than PCA: mean squared error 2 against 3; 95 % interval"),
        (
            verdict((-0.5, 0.1), (1, 2)),
            None,
            [Reason.NO_BETTER],
            "no better than PCA beyond noise: mean squared error",
        ),
        (verdict((0.0, 0.0), (1, 2)), None, [Reason.NO_BETTER], "no better than PCA"),
        (verdict((1, 2), (-2, -1)), None, [Reason.WORSE], "worse than the mean of the training samples"),
        (
            verdict((0.1, 0.5), (1, 2), of_mean=3.9),
            None,
            [Reason.LITTLE],
            "51% of the error of the mean of the training samples is left: mean squared error 2 against 3.9;",
        ),
        (verdict((0.1, 0.5), (1, 2), of_mean=4.0), None, [], "half of it is kept"),
        (verdict((0.1, 0.5), (-2, -1), of_mean=1.0), None, [Reason.WORSE], "worse than the mean of the training samples: mean"),
        (scores_of_mean(3.0), None, [], "scores of normal samples are no error that is left"),
        (verdict(constant=True), None, [Reason.CONSTANT], "every output is the same on 100 test samples"),
        (verdict(layers=(LayerUse("code", 16, (3, 7)),)), None, [Reason.DEAD_UNITS], "2 of 16 units of the code are dead"),
        (verdict(layers=(LayerUse("code", 16, ()),)), None, [], ""),
        (replace(verdict(layers=(LayerUse("code", 16, (3, 7)),)), for_rate=True), None, [], ""),
        (
            replace(verdict(layers=(LayerUse("code", 16, tuple(range(8))),)), for_rate=True),
            None,
            [Reason.DEAD_UNITS],
            "8 of 16 units of the code are dead",
        ),
        (verdict(layers=(LayerUse("encoder_0", 16, tuple(range(7))),)), None, [], ""),
        (
            verdict(layers=(LayerUse("encoder_0", 16, tuple(range(8))),)),
            None,
            [Reason.DEAD_UNITS],
            "8 of 16 units of layer",
        ),
        (verdict(), alarms(10), [], ""),
        (verdict(), alarms(19), [], ""),
        (verdict(), alarms(30), [Reason.ALARM_RATE], "the alarm rate is off: 30 normal test samples are flagged, 10 "),
        (verdict(), alarms(2), [Reason.ALARM_RATE], "the alarm rate is off: 2 normal test samples are"),
        (verdict(), alarms(3, normal=100, held_out=100), [], "three of one expected, of few samples: chance"),
        (verdict(), alarms(4), [], "less than half of ten, but chance"),
        (verdict(), alarms(3), [Reason.ALARM_RATE], "the alarm rate is off: 3 normal test samples are"),
        (verdict(), alarms(26, held_out=500), [], "more than twice ten, but chance"),
        (verdict(), alarms(27, held_out=500), [Reason.ALARM_RATE], "the alarm rate is off: 27 normal test samples are"),
        (verdict(), alarms(150, normal=10000, held_out=20000), [], "beyond chance, but less than twice a hundred"),
        (verdict(), alarms(70, normal=10000, held_out=20000), [], "beyond chance, but more than half of a hundred"),
        (area(0.49), alarms(10), [Reason.BELOW_CHANCE], "ROC-AUC 0.4900: anomalies score lower than normal samples"),
        (area(0.51), alarms(10), [], ""),
        (verdict(), flagging(49, 0.81), [Reason.FEW_FLAGGED], "49 of 100 anomalies of the test set are flagged, although"),
        (verdict(), flagging(50, 0.81), [], "half of them"),
        (verdict(), flagging(0, 0.8), [], "of scores that hardly tell them apart"),
        (verdict(), flagging(60, 0.9, (6, 0)), [Reason.NO_INTERVAL], "none of 6 intervals of the test set is found"),
        (verdict(), flagging(60, 0.9, (6, 1)), [], ""),
        (verdict(), flagging(60, 0.9, (0, 0)), [], "there are none"),
        (areas((0.9, 0.9), (0.7, 0.9)), None, [Reason.WORSE], "worse than PCA: PR-AUC 0.7 against 0.9"),
        (areas((0.9, 0.8), (0.7, 0.9)), None, [Reason.WORSE], "worse than PCA: PR-AUC 0.7 against 0.9"),
        (areas((0.9, 0.8), (0.9, 0.9)), None, [], "better by one of two"),
        (areas((0.9, 0.9), (0.9, 0.9)), None, [Reason.NO_BETTER], "no better than PCA beyond noise: ROC-AUC 0.9"),
        (areas((1.0, 1.0), (1.0, 1.0)), None, [], "ties at 1 are no defect"),
        (areas((1.0, 1.0), (0.9, 0.9)), None, [Reason.NO_BETTER], "no better than PCA beyond noise: PR-AUC 0.9"),
    ],
)
def test_a_reason_is_found_where_it_is_one(
    subject: Verdict, result: AnomalyResult | None, reasons: list[Reason], words: str
) -> None:
    found = findings(subject, result)
    assert [finding.reason for finding in found] == reasons
    texts = sentences(replace(subject, findings=found))
    assert len(texts) == len(reasons) and (not reasons or texts[0].startswith(words))
    assert set(RULES) == set(Reason)


def test_findings_of_one_reason_are_one_line_with_a_count() -> None:
    layers = tuple(LayerUse(name, 16, tuple(range(9))) for name in ("encoder_0", "encoder_1", "code"))
    subject = verdict((-0.5, -0.1), (-2, -1), layers=layers)
    found = findings(subject, None)
    worse, dead = sentences(replace(subject, findings=found))
    assert len(found) == 5 and worse.startswith("worse than 2 baselines: mean squared error 2 against 3 of PCA, 5 of ")
    assert dead.startswith("3 layers have dead units, one value on 100 test samples: 9 of 16 of encoder_0, 9 of 16 of enc")


@pytest.mark.parametrize(
    ("theirs", "words"), [(0.1, "no baseline is above 0.5 either"), (0.71, "another detector: PCA has 0.71 here")]
)
def test_an_area_below_chance_has_causes_and_what_to_try(theirs: float, words: str) -> None:
    subject = area(0.39)
    subject = replace(subject, comparisons=(replace(subject.comparisons[0], theirs=theirs),))
    (text,) = sentences(replace(subject, findings=findings(subject, None)))
    assert "flat, half empty" in text and "Try fewer units" in text and words in text and "docs/guides/anomaly.md" in text


def test_a_verdict_is_read_back_as_it_was_written() -> None:
    subject = verdict((-0.5, 0.1), (1, 2), layers=(LayerUse("code", 4, (1,)),))
    subject = replace(subject, findings=findings(subject, None))
    assert decode(Verdict, plain(subject), "x") == subject and len(subject.findings) == 2


def test_the_interval_of_a_difference_is_that_of_paired_samples() -> None:
    """Errors that vary together in both methods, against the normal interval: unpaired they could not be distinguished."""
    common = RNG.gamma(1.0, 100.0, 2000)
    ours, theirs = common + RNG.normal(0, 1, 2000), common + 0.2 + RNG.normal(0, 1, 2000)
    (row,) = comparisons(Contest(Criterion.MSE, np.arange(2000), ours, {"pca": theirs}), 0)
    gains = theirs - ours
    half = 1.96 * gains.std(ddof=1) / np.sqrt(len(gains))
    assert row.gain.value == pytest.approx(gains.mean(), abs=1e-4) and row.theirs == pytest.approx(theirs.mean(), rel=1e-6)
    assert row.gain.low == pytest.approx(gains.mean() - half, abs=0.2 * half)
    assert row.gain.high == pytest.approx(gains.mean() + half, abs=0.2 * half)
    assert row.better and half < 0.1 < common.std()


def test_equal_samples_are_drawn_together_in_a_verdict() -> None:
    """Thirty copies of each sample of a test set say no more than these alone."""
    own, theirs, many = RNG.normal(1, 1, 8), RNG.normal(1.1, 1, 8), np.tile(np.arange(8), 30)
    (single,) = comparisons(Contest(Criterion.MSE, np.arange(8), own, {"pca": theirs}), 0)
    (copied,) = comparisons(Contest(Criterion.MSE, np.arange(240), own[many], {"pca": theirs[many]}), 0, many)
    for name in ("value", "low", "high"):
        assert getattr(copied.gain, name) == pytest.approx(getattr(single.gain, name), rel=1e-6)
    program = build_program((24, 12, 5))
    backend = ProgramBackend(program, Dataset.from_array(images(), test=0.4).spec)
    contest = Contest(Criterion.MSE, np.arange(240), own[many], {"pca": theirs[many]})
    measured = TaskMeasurement(None, contest=contest)
    samples = Samples(images()[:8].reshape(8, 24)[many])
    found = judge(measured, backend, samples.select(np.arange(20)), samples, 0)
    assert (found.samples, found.different, found.comparisons) == (240, 8, (copied,))
    assert summary(replace(found, findings=())).endswith("beyond noise, on 240 test samples, 8 of them different")
    samples = Samples(images()[:240].reshape(240, 24))
    apart = judge(measured, backend, samples, samples, 0)
    assert apart.different is None and summary(replace(apart, findings=())).endswith("beyond noise")
    assert apart.comparisons[0].gain.high - apart.comparisons[0].gain.low < 0.4 * (copied.gain.high - copied.gain.low)


@pytest.mark.ci
def test_the_interval_covers_the_true_difference_in_most_draws() -> None:
    """95 % of 200 draws of 60 samples each, within four standard errors of that count."""
    rng = np.random.default_rng(0)
    holds = 0
    for seed in range(200):
        gains = rng.normal(0.3, 1, 60)
        (row,) = comparisons(Contest(Criterion.MSE, np.arange(60), np.zeros(60), {"pca": gains}), seed)
        holds += row.gain.low <= 0.3 <= row.gain.high
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 200) <= holds / 200 <= 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([Criterion.MSE, Criterion.TRUSTWORTHINESS]))
def test_gains_change_their_sign_with_the_two_methods(seed: int, criterion: Criterion) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 30))
    (one,) = comparisons(Contest(criterion, np.arange(30), a, {"pca": b}), 0)
    (other,) = comparisons(Contest(criterion, np.arange(30), b, {"pca": a}), 0)
    assert one.gain.value == pytest.approx(-other.gain.value) and one.gain.low == pytest.approx(-other.gain.high)
    (same,) = comparisons(Contest(criterion, np.arange(30), a, {"pca": a}), 0)
    assert (same.gain.low, same.gain.high, same.better) == (0, 0, False)


def test_areas_are_compared_on_the_same_draws_of_normal_and_anomalous_samples() -> None:
    """Two scores of the same ranks but for little noise: their areas vary together, so a small gain is beyond noise."""
    anomalous = np.arange(1000) < 200
    common = RNG.normal(size=1000) + anomalous
    worse = common + RNG.normal(0, 0.6, 1000)
    better, precise, equal, equal_precise = comparisons(
        Contest(Criterion.ROC_AUC, np.arange(1000), common, {"pca": worse, "mean": 3 * common + 1}, anomalous=anomalous), 0
    )
    assert better.better and better.gain.low > 0 and better.ours > better.theirs
    assert (equal.gain.low, equal.gain.high) == (0, 0), "a monotone map of the scores has the same area in every draw"
    assert (equal_precise.gain.low, equal_precise.gain.high) == (0, 0) and precise.better
    direct = [average_precision(*Ranked.of(each, anomalous).counts()) for each in (common, worse)]
    assert [precise.ours, precise.theirs] == pytest.approx(direct, abs=1e-4) and precise.gain.low < precise.gain.value
    shown = verdict_rows(replace(verdict(), comparisons=(better, precise, equal, equal_precise)))
    assert [row[:2] for row in shown][:2] == [("PCA", "ROC-AUC"), ("PCA", "PR-AUC")] and len(shown) == 4
    assert shown[1][2:4] == (number(precise.ours), number(precise.theirs))


@pytest.mark.parametrize(("normal", "held_out", "quantile"), [(500, 300, 0.95), (1000, 1000, 0.99), (100, 100, 0.99)])
def test_chance_explains_as_many_alarms_as_drawn_thresholds_give(normal: int, held_out: int, quantile: float) -> None:
    rng = np.random.default_rng(0)
    limits = np.quantile(rng.random((4000, held_out)), quantile, axis=1, method="inverted_cdf")
    counts = (rng.random((4000, normal)) > limits[:, None]).sum(axis=1)
    low, high = alarm_interval(normal, held_out, quantile)
    assert np.mean(counts < low) <= 0.035 and np.mean(counts > high) <= 0.035
    assert np.mean((counts >= low + 2) & (counts <= high - 2)) < 0.955, "no wider than it has to be"


def test_dead_units_and_constant_outputs_are_those_of_the_program() -> None:
    program = build_program((24, 12, 5))
    x = Samples(images().reshape(300, 24)).take(slice(None))
    backend = ProgramBackend(program, Dataset.from_array(images(), test=0.4).spec)
    layers, constant = layer_use(backend, x)
    assert not constant and [(row.layer, row.units) for row in layers] == [("encoder_0", 12), ("code", 5), ("decoder_1", 12)]
    codes = backend.encode(x)
    assert layers[1].dead == tuple(np.flatnonzero((codes == codes[0]).all(axis=0)).tolist())
    layers, constant = layer_use(backend, x[:1])
    assert constant and layers[1].dead == tuple(range(5)), "one sample never varies"
    found = judge(TaskMeasurement(None), backend, Samples(images()[:1]), Samples(images()[:1]), 0)
    assert found.findings[0].reason is Reason.CONSTANT


def test_several_findings_of_one_baseline_are_one_line() -> None:
    subject = areas((0.7, 0.9), (0.5, 0.8))
    found = findings(subject, None)
    (text,) = sentences(replace(subject, findings=found))
    assert [finding.criterion for finding in found] == [Criterion.ROC_AUC, Criterion.PR_AUC]
    assert text == "worse than PCA: ROC-AUC 0.7 against 0.9; PR-AUC 0.5 against 0.8; on 200 test samples"


@pytest.mark.parametrize(
    ("roc", "precision", "ok"),
    [((0.9, 0.8), (0.9, 0.8), True), ((0.9, 0.8), (0.7, 0.8), False), ((0.9, 0.8), (0.8, 0.8), True),
     ((0.8, 0.8), (0.8, 0.8), False), ((1.0, 1.0), (1.0, 1.0), True)],
)  # fmt: skip
def test_a_detector_is_better_by_one_area_and_worse_by_none(
    roc: tuple[float, float], precision: tuple[float, float], ok: bool
) -> None:
    (check,) = better_than(areas(roc, precision), ("pca",))
    assert check.ok == ok


def test_better_than_is_a_check_of_each_baseline() -> None:
    subject = verdict((-0.5, 0.1), (1, 2))
    pca, mean, forest = better_than(subject, ("pca", "mean", "isolation-forest"))
    assert (pca.ok, mean.ok, forest.ok) == (False, True, False)
    assert pca.kind is Kind.VERDICT and pca.value == -0.5 and pca.limit == "> 0" and "gain over PCA" in pca.text
    assert forest.value == "not compared" and [check.ok for check in better_than(None, ("pca",))] == [False]
    assert better_than(subject, ()) == ()


def recipe(task: object, **verify: object) -> Recipe:
    noise = NoiseConfig("gaussian", 0.3) if isinstance(task, Denoising) else None
    data = DataConfig("x", validation=0.1)
    model = checked(ModelConfig, {"layers": [{"units": 4}]})
    made = Recipe("r", data, model)
    return replace(made, train=replace(made.train, noise=noise), task=task, verify=VerifyConfig(**verify))


@pytest.mark.parametrize("task", [Compression(), Anomaly(), Denoising(), Reduction()])
def test_a_recipe_names_baselines_of_its_task(task: object) -> None:
    kind = plain(task)["kind"]
    assert recipe(task, better_than=BASELINES[kind]).verify.better_than == BASELINES[kind]
    with pytest.raises(RecipeError, match=rf"^verify.better_than: got \['none'\], must be of pca|input.*of \[task\] {kind}$"):
        recipe(task, better_than=("mean", "none"))
    with pytest.raises(RecipeError, match="better_than: got"):
        recipe(task, better_than=("mean", "mean"))


def test_every_baseline_has_a_title_and_every_denoiser_is_one() -> None:
    assert {name for names in BASELINES.values() for name in names} == set(TITLES)
    assert set(BASELINES["denoising"]) == {INPUT, *DENOISERS}


def test_arrays_of_a_contest_are_small_and_in_the_order_of_its_baselines() -> None:
    contest = Contest(Criterion.MSE, np.arange(3), np.ones(3), {"pca": np.zeros(3), "mean": np.full(3, 2.0)})
    arrays = contest.arrays
    assert arrays["figures"].dtype == np.float32 and arrays["figures"][:, 0].tolist() == [1, 0, 2] and len(arrays) == 2
    assert "anomalous" in dataclasses.replace(contest, anomalous=np.zeros(3, bool)).arrays
