"""Anomaly detection: how well the scores of the int8 program tell anomalies from normal samples, beside other methods.

Test samples keep every label; one that is not among `task.normal` is an anomaly. The program scores as its bundle does, in the
fused layout. Every method has a threshold of its own, the same quantile of the same held-out normal samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from tiedae.base.packages import missing
from tiedae.bundle.fidelity import FRACTION, ErrorLimit
from tiedae.bundle.task_results import AnomalyResult, Detection, IntervalFlags, LabelFlags, Scorer
from tiedae.bundle.verdict import Criterion
from tiedae.codec.backends import BATCH
from tiedae.codec.detector import integer_errors
from tiedae.config.tasks import Anomaly, ScoreKind, Task
from tiedae.data.dataset import choose
from tiedae.data.labels import label_text
from tiedae.data.normal import is_normal, normal_rows
from tiedae.data.samples import Samples
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.program.scoring import Scoring

from .neighbourhoods import Pca
from .ranking import Ranked, average_precision, by_interval, by_label, detection, roc_auc
from .row import Contest, Exported, HeldFigure, Statistic, TaskMeasurement, TaskRow, not_measured
from .signal_scores import DIFFERENCES, LEAST_STEPS, RMS, SPECTRA, signal_scores

SAMPLES = 10_000
"""Samples of each split at most."""
TREES = 100
SHOWN = 8
"""Worst test samples, and columns of one, that are drawn."""
INT8, FLOAT, PCA, FOREST, MEAN = "int8", "float", "pca", "isolation-forest", "mean"
TITLES = {
    INT8: "int8 program",
    FLOAT: "Keras float",
    PCA: "PCA",
    FOREST: "IsolationForest",
    MEAN: "mean of training samples",
    RMS: "RMS of a window",
    DIFFERENCES: "RMS of second differences",
    SPECTRA: "PCA of log spectra",
}
Score = Callable[[np.ndarray], np.ndarray]
"""Samples [n, inputs] in the data's unit of measure → scores, float64 [n]."""


def measure(exported: Exported, samples: int = SAMPLES) -> TaskMeasurement:
    """The result on test samples, and the worst of them: `x`, `y`, not scaled, `errors` of their values, `scores`."""
    task, data, detector = exported.recipe.task, exported.data, exported.detector
    assert isinstance(task, Anomaly)
    if detector is None:
        return not_measured("anomaly", "there is no detector: no validation samples set its threshold", Why.NO_SAMPLES)
    seed, scoring = data.config.seed, detector.scoring
    rows = choose(data.test, samples, seed)
    test = data.test.take(rows)
    errors = program_errors(exported, scoring, test)
    totals = scoring.totals(errors)
    scores, flags = totals * scoring.factor, totals > getattr(detector.thresholds, exported.model.layout)
    labels = None if data.test.labels is None else np.asarray(data.test.labels)[rows]
    anomalous = None if labels is None else ~is_normal(labels, task.normal)
    methods: list[Detection] = []
    intervals: IntervalFlags | None = None
    found: tuple[LabelFlags, ...] = ()
    skipped: list[Skipped] = []
    held = None if data.validation is None else data.validation.take(choose(data.validation, samples, seed))

    def flagged(score: Score, own: np.ndarray) -> np.ndarray | None:
        limit = None if held is None else np.quantile(score(held), task.quantile, method="inverted_cdf")
        return None if limit is None else own > limit

    contest = Contest(Criterion.SCORE, rows, scores, {}, alarms=flags / (1 - task.quantile))
    weights, keras = score_weights(scoring), exported.keras
    float_score = None
    if keras is not None:
        float_score = score_of(exported, scoring, lambda scaled: scaled.astype(np.float64) - keras(scaled)[1], weights)
    if float_score is not None:
        by_float = float_score(test)
        float_flags = flagged(float_score, by_float)
        alarms = None if float_flags is None else float_flags / (1 - task.quantile)
        contest = dataclasses.replace(contest, keras=by_float, keras_alarms=alarms)
    if anomalous is None or labels is None or anomalous.all() or not anomalous.any():
        reason = "the test samples have no labels" if labels is None else "the test samples are all normal, or none is"
        skipped.append(Skipped(Kind.TASK, Why.NO_SAMPLES, "ROC-AUC, PR-AUC and F1", reason))
        distance = score_of(exported, scoring, lambda scaled: exported.mean - scaled, weights)
        far = {MEAN: distance(test)} if exported.others else {}
        contest = None if anomalous is not None and anomalous.any() else dataclasses.replace(contest, baselines=far)
    else:
        found = by_label(scores, flags, labels, anomalous, seed)
        others: dict[Scorer, Score] = {} if float_score is None else {FLOAT: float_score}
        if exported.others and held is not None:
            baselines, skipped = other_methods(exported, scoring)
            others |= baselines
        scored: dict[Scorer, np.ndarray] = {name: score(test) for name, score in others.items()}
        with_flags: dict[Scorer, tuple[np.ndarray, np.ndarray]] = {INT8: (scores, flags)}
        for name, own in scored.items():
            flags_of = flagged(others[name], own)
            if flags_of is not None:
                with_flags[name] = own, flags_of
        methods = [detection(name, *own, anomalous, seed) for name, own in with_flags.items()]
        if data.test.intervals is not None:
            intervals = by_interval(with_flags, data.test.intervals[rows], task.normal, seed)
        areas: dict[str, np.ndarray] = {name: own for name, own in scored.items() if name != FLOAT}
        contest = dataclasses.replace(contest, criterion=Criterion.ROC_AUC, baselines=areas, anomalous=anomalous)
    worst = np.argsort(-scores, kind="stable")[:SHOWN]
    y = exported.model.samples(exported.model.reconstruct(test[worst])[1])
    arrays = {
        "x": test[worst],
        "y": y,
        "errors": (scoring.terms(errors[worst]) * scoring.value_factor).astype(np.float32),
        "scores": scores[worst],
        "rows": data.test.places(rows[worst]),
    }
    if labels is not None:
        arrays["labels"] = np.array([label_text(each) for each in labels[worst].tolist()])
    result = AnomalyResult(
        task.score,
        task.quantile,
        detector.threshold(exported.model.layout),
        detector.samples,
        len(test),
        int(flags.sum()),
        None if anomalous is None else int((~anomalous).sum()),
        None if anomalous is None else int((flags & ~anomalous).sum()),
        seed,
        tuple(methods),
        found,
        intervals,
    )
    return TaskMeasurement(result, arrays, tuple(skipped), contest)


def program_errors(exported: Exported, scoring: Scoring, x: np.ndarray) -> np.ndarray:
    """D of samples [n, inputs] in the data's unit of measure, int64 [n, inputs]."""
    parts = (x[start : start + BATCH] for start in range(0, len(x), BATCH))
    return np.concatenate([integer_errors(scoring, exported.model, part)[0] for part in parts])


def real_scores(kind: ScoreKind, errors: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
    """Scores, float64 [n], of errors in scaled values [n, inputs]; `weights` [inputs] multiply squared errors."""
    if kind == "max":
        return np.abs(errors).max(axis=1)
    if kind == "mae":
        return np.abs(errors).mean(axis=1)
    return (np.square(errors, dtype=np.float64) * weights).mean(axis=1)


def score_of(
    exported: Exported, scoring: Scoring, errors: Callable[[np.ndarray], np.ndarray], weights: np.ndarray | float
) -> Score:
    """The score of a method by its errors, float [n, inputs], a function of samples in scaled values, float32 [n, inputs]."""
    return lambda x: real_scores(scoring.kind, errors(exported.data.scaling.apply(x)), weights)


def score_weights(scoring: Scoring) -> np.ndarray | float:
    """What the squared error of each feature counts in a real score."""
    return np.array(scoring.weights) * scoring.unit_weight if scoring.weights else 1.0


def other_methods(exported: Exported, scoring: Scoring) -> tuple[dict[Scorer, Score], list[Skipped]]:
    """The scores of baselines fitted to the same training samples; what was skipped, with reasons.

    PCA: the same kind of score behind as many components as the code has values, standardized by its own training errors.
    Mean: the same behind none, the distance from the mean of the training samples.
    IsolationForest (Liu, Ting & Zhou 2008): scikit-learn's, with its own settings and 100 trees.
    Of records also `signal_scores`.
    """
    data = exported.data
    apply, seed = data.scaling.apply, data.config.seed
    train = apply(data.train.take(choose(data.train, SAMPLES, seed)))
    scores: dict[Scorer, Score] = {}
    skipped: list[Skipped] = []
    if exported.keras is None:
        skipped.append(Skipped(Kind.TASK, Why.NO_KERAS, "anomalies by the float model", "there is no Keras model here"))
    units = exported.backend.program.tensors["code"].size
    pca = Pca.fit(train, min(units, train.shape[1]))

    errors: dict[Scorer, Callable[[np.ndarray], np.ndarray]] = {
        PCA: lambda scaled: pca.decode(pca.encode(scaled)) - scaled,
        MEAN: lambda scaled: exported.mean - scaled,
    }
    for name, of in errors.items():
        own = 1 / np.maximum(np.square(of(train)).mean(axis=0), scoring.scale**2) if scoring.weights else 1.0
        scores[name] = score_of(exported, scoring, of, own)
    if find_spec("sklearn") is None:
        skipped.append(Skipped(Kind.TASK, Why.NOT_INSTALLED, f"baseline {TITLES[FOREST]}", str(missing("sklearn"))))
    else:
        from sklearn.ensemble import IsolationForest

        forest = IsolationForest(n_estimators=TREES, random_state=seed).fit(train)
        scores[FOREST] = lambda x: -forest.score_samples(apply(x))
    return scores | signal_methods(exported, train, units), skipped


def signal_methods(exported: Exported, train: np.ndarray, units: int) -> dict[Scorer, Score]:
    """The scores of windows of a record, none of other data; `train`: training samples, float32 [n, inputs], scaled."""
    spec, apply = exported.data.spec, exported.data.scaling.apply
    if spec.kind != "record" or spec.window < LEAST_STEPS:
        return {}

    def windows(scaled: np.ndarray) -> np.ndarray:
        return scaled.reshape(len(scaled), spec.window, spec.channels)

    return {
        name: lambda x, score=score: score(windows(apply(x))) for name, score in signal_scores(windows(train), units).items()
    }


def area(of: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Contest, np.ndarray], Statistic]:
    """The area under a curve of `Ranked.counts`, as a figure that is held."""

    def statistic(contest: Contest, values: np.ndarray) -> Statistic:
        assert contest.anomalous is not None
        ranked = Ranked.of(values, contest.anomalous)
        return lambda weights: of(*ranked.counts(weights))

    return statistic


def alarm_rate(contest: Contest, values: np.ndarray) -> Statistic:
    """Flagged normal samples / expected ones."""
    normal = np.flatnonzero(np.ones(len(values)) if contest.anomalous is None else ~contest.anomalous)
    values = values[normal].astype(np.float64)
    return lambda weights: float(np.average(values, weights=None if weights is None else weights[normal]))


def scored_pair(contest: Contest) -> tuple[np.ndarray, np.ndarray] | None:
    return None if contest.anomalous is None or contest.keras is None else (contest.own, contest.keras)


def flagged_pair(contest: Contest) -> tuple[np.ndarray, np.ndarray] | None:
    return None if contest.alarms is None or contest.keras_alarms is None else (contest.alarms, contest.keras_alarms)


def error_limit(task: Task, test: Samples | None) -> ErrorLimit | None:
    """The error of normal samples is limited where there are no anomalies: else the areas say what it is good for."""
    rows = np.arange(0 if test is None else len(test))
    normal = None if test is None else normal_rows(test, task, rows)
    return FRACTION if normal is None or normal.all() else None


HELD = (
    HeldFigure("ROC-AUC", scored_pair, area(roc_auc), lambda limits: limits.max_points_lost),
    HeldFigure("PR-AUC", scored_pair, area(average_precision), lambda limits: limits.max_points_lost),
    HeldFigure("alarm rate", flagged_pair, alarm_rate, lambda limits: limits.max_alarms_added, sign=-1),
)
ROW = TaskRow(measure, needs=lambda _: {"isolation-forest": ("sklearn",)}, held=HELD, error_limit=error_limit)
