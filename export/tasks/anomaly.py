"""Anomaly detection: how well the scores of the int8 program tell anomalies from normal samples, beside other methods.

Test samples keep every label; one that is not among `task.normal` is an anomaly. The program scores as its bundle does, in the
fused layout. Every method has a threshold of its own, the same quantile of the same held-out normal samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from markupsafe import Markup
from tiedae.pages import Bar, BarChart, Curve, CurveChart, HistogramChart, Plot, Point, fragment

from ...compress.data import Samples, choose
from ...compress.labels import label_text
from ...compress.normal import is_normal, normal_rows
from ...compress.packages import missing
from ...compress.tasks import Anomaly, ScoreKind, Task
from ..codec.backends import BATCH
from ..codec.detection import integer_errors
from ..manifest import Manifest
from ..report.images import diverging, encode_images
from ..scoring import Scoring
from ..verify.error_limit import FRACTION, ErrorLimit
from ..verify.kinds import Kind, Skipped, Why
from .neighbourhoods import Pca
from .ranking import Ranked, average_precision, by_label, detection, roc_auc
from .results import AnomalyResult, Detection, Estimate, LabelFlags, Scorer
from .row import Contest, Exported, HeldFigure, Statistic, TableRow, TaskMeasurement, TaskRow, not_measured
from .verdict import Criterion

SAMPLES = 10_000
"""Samples of each split at most."""
TREES = 100
SHOWN = 8
"""Worst test samples, and columns of one, that are drawn."""
IMAGE_BYTES = 300_000
INT8, FLOAT, PCA, FOREST, MEAN = "int8", "float", "pca", "isolation-forest", "mean"
TITLES = {INT8: "int8 program", FLOAT: "Keras float", PCA: "PCA", FOREST: "IsolationForest", MEAN: "mean of training samples"}
COLOURS = {INT8: "ours", PCA: "keras", FOREST: "stock", MEAN: "prune"}
DRAWN = 200
"""Points of a drawn curve at most."""
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
    found: tuple[LabelFlags, ...] = ()
    skipped: list[Skipped] = []
    held = None if data.validation is None else data.validation.take(choose(data.validation, samples, seed))

    def flagged(score: Score, own: np.ndarray) -> np.ndarray | None:
        limit = None if held is None else np.quantile(score(held), task.quantile, method="inverted_cdf")
        return None if limit is None else own > limit

    contest = Contest(Criterion.SCORE, rows, scores, {}, alarms=flags / (1 - task.quantile))
    float_score = None if exported.keras is None else score_by_keras(exported, scoring)
    if float_score is not None:
        by_float = float_score(test)
        float_flags = flagged(float_score, by_float)
        alarms = None if float_flags is None else float_flags / (1 - task.quantile)
        contest = dataclasses.replace(contest, keras=by_float, keras_alarms=alarms)
    if anomalous is None or labels is None or anomalous.all() or not anomalous.any():
        reason = "the test samples have no labels" if labels is None else "the test samples are all normal, or none is"
        skipped.append(Skipped(Kind.TASK, Why.NO_SAMPLES, "ROC-AUC, PR-AUC and F1", reason))
        far = {MEAN: mean_scores(exported, scoring, test)} if exported.others else {}
        contest = None if anomalous is not None and anomalous.any() else dataclasses.replace(contest, baselines=far)
    else:
        methods.append(detection(INT8, scores, flags, anomalous, seed))
        found = by_label(scores, flags, labels, anomalous, seed)
        others: dict[Scorer, Score] = {} if float_score is None else {FLOAT: float_score}
        if exported.others and held is not None:
            baselines, skipped = other_methods(exported, scoring)
            others |= baselines
        scored: dict[Scorer, np.ndarray] = {name: score(test) for name, score in others.items()}
        for name, own in scored.items():
            flags_of = flagged(others[name], own)
            methods += [] if flags_of is None else [detection(name, own, flags_of, anomalous, seed)]
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


def mean_scores(exported: Exported, scoring: Scoring, x: np.ndarray) -> np.ndarray:
    """The scores of samples [n, inputs] in the data's unit of measure if the mean of the training samples were every output."""
    return real_scores(scoring.kind, exported.mean - exported.data.scaling.apply(x), score_weights(scoring))


def score_by_keras(exported: Exported, scoring: Scoring) -> Score:
    """The float model's score."""
    apply, keras, weights = exported.data.scaling.apply, exported.keras, score_weights(scoring)
    assert keras is not None
    return lambda x: real_scores(scoring.kind, apply(x).astype(np.float64) - keras(apply(x))[1], weights)


def score_weights(scoring: Scoring) -> np.ndarray | float:
    """What the squared error of each feature counts in a real score."""
    return np.array(scoring.weights) * scoring.unit_weight if scoring.weights else 1.0


def other_methods(exported: Exported, scoring: Scoring) -> tuple[dict[Scorer, Score], list[Skipped]]:
    """The scores of baselines fitted to the same training samples; what was skipped, with reasons.

    PCA: the same kind of score behind as many components as the code has values, standardized by its own training errors.
    Mean: the same behind none, the distance from the mean of the training samples.
    IsolationForest (Liu, Ting & Zhou 2008): scikit-learn's, with its own settings and 100 trees.
    """
    data = exported.data
    apply, seed = data.scaling.apply, data.config.seed
    train = apply(data.train.take(choose(data.train, SAMPLES, seed)))
    scores: dict[Scorer, Score] = {}
    skipped: list[Skipped] = []
    if exported.keras is None:
        skipped.append(Skipped(Kind.TASK, Why.NO_KERAS, "anomalies by the float model", "there is no Keras model here"))
    (units,) = exported.backend.program.tensors["code"].shape
    pca = Pca.fit(train, min(units, train.shape[1]))

    def score_of(errors: Callable[[np.ndarray], np.ndarray]) -> Score:
        own = 1 / np.maximum(np.square(errors(train)).mean(axis=0), scoring.scale**2) if scoring.weights else 1.0
        return lambda x: real_scores(scoring.kind, errors(apply(x)), own)

    scores[PCA] = score_of(lambda scaled: pca.encode(scaled) @ pca.components.T + pca.mean - scaled)
    scores[MEAN] = score_of(lambda scaled: exported.mean - scaled)
    if find_spec("sklearn") is None:
        skipped.append(Skipped(Kind.TASK, Why.NOT_INSTALLED, f"baseline {TITLES[FOREST]}", str(missing("sklearn"))))
    else:
        from sklearn.ensemble import IsolationForest

        forest = IsolationForest(n_estimators=TREES, random_state=seed).fit(train)
        scores[FOREST] = lambda x: -forest.score_samples(apply(x))
    return scores, skipped


def estimate_text(each: Estimate | None) -> str:
    return "" if each is None else f"{each.value:.4f} ({each.low:.4f}…{each.high:.4f})"


def methods_table(result: AnomalyResult) -> list[tuple[str, str, str, str]]:
    """Name, ROC-AUC, PR-AUC and F1 of each method."""
    text = estimate_text
    return [(TITLES[each.method], text(each.roc_auc), text(each.pr_auc), text(each.f1)) for each in result.methods]


def labels_table(result: AnomalyResult) -> list[tuple[str, str, str, str]]:
    """Label, samples, flagged, ROC-AUC against the normal samples."""
    return [
        (
            f"{each.label}{' (normal)' if each.normal else ''}",
            f"{each.samples:,}",
            f"{each.flagged:,} ({each.flagged / each.samples:.1%})",
            estimate_text(each.roc_auc),
        )
        for each in result.labels
    ]


def alarms_text(result: AnomalyResult) -> str:
    flagged = f"{result.alarms:,} of {result.samples:,} test samples are flagged"
    if result.alarm_rate is None:
        return flagged
    expected = (result.normal or 0) * (1 - result.quantile)
    return f"{flagged}; of the {result.normal:,} normal ones {result.false_alarms:,}, {expected:.3g} expected"


def _facts(result: AnomalyResult) -> dict[str, object]:
    return {"result": result, "methods": methods_table(result), "labels": labels_table(result), "alarms": alarms_text(result)}


def card(result: AnomalyResult) -> str:
    return fragment(Path(__file__).with_name("anomaly_card.md.j2"), **_facts(result))


def section(manifest: Manifest, result: AnomalyResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    spec = manifest.data.spec
    known = {"x", "y", "errors", "scores", "rows"} <= arrays.keys()
    image = len(spec.shape) in (2, 3) and min(spec.shape[:2]) > 1 and spec.shape[2:] in ((), (1,), (3,))
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        **_facts(result),
        titles=_titles(result, arrays) if known else [],
        marks=_marks(result, arrays) if known else [],
        histogram=score_histogram(result, arrays),
        curves=score_curves(result, arrays),
        images=_images(spec.shape, spec.dtype, arrays) if known and image else None,
        plots=_plots(arrays) if known and not image and spec.kind == "record" else None,
        bars=_bars(spec.columns, arrays) if known and not image and spec.kind != "record" else None,
        shape=spec.shape,
    )


def score_histogram(result: AnomalyResult, arrays: Mapping[str, np.ndarray]) -> HistogramChart | None:
    """The scores of both classes with the threshold; None without labels, or where no score has a logarithm."""
    figures, anomalous = arrays.get("figures"), arrays.get("anomalous")
    if figures is None or anomalous is None:
        return None
    scores = figures[0].astype(np.float64)
    positive = scores[scores > 0]
    if not len(positive):
        return None
    scores = np.maximum(scores, positive.min())
    groups = {("ours", "normal"): scores[~anomalous], ("keras", "anomalous"): scores[anomalous]}
    limit = [(result.threshold, f"threshold {result.threshold:.4g}")] if result.threshold > 0 else []
    return HistogramChart(groups, "Scores of normal and anomalous test samples", "score", limit)


def score_curves(result: AnomalyResult, arrays: Mapping[str, np.ndarray]) -> list[CurveChart]:
    """ROC, and precision and recall, of each method, with the threshold; none without labels."""
    figures, anomalous = arrays.get("figures"), arrays.get("anomalous")
    if figures is None or anomalous is None:
        return []
    names = [INT8, *(each.method for each in result.methods if each.method not in (INT8, FLOAT))]
    counted = {name: Ranked.of(values, anomalous).counts() for name, values in zip(names, figures, strict=True)}
    normal, odd = int((~anomalous).sum()), int(anomalous.sum())
    rates = {
        name: (alarms / normal, hits / odd, hits / np.maximum(hits + alarms, 1)) for name, (hits, alarms) in counted.items()
    }
    at = figures[0] > np.float32(result.threshold)
    hits, alarms = int((at & anomalous).sum()), int((at & ~anomalous).sum())
    roc = [_curve(name, np.append(0, false), np.append(0, found)) for name, (false, found, _) in rates.items()]
    recall = [_curve(name, found, precise) for name, (_, found, precise) in rates.items()]
    mark = f"at the threshold: {hits:,} of {odd:,} anomalies found, {alarms:,} of {normal:,} normal samples flagged"
    roc.append(Curve("ours", "at the threshold", [Point(alarms / normal, hits / odd, mark)]))
    recall.append(Curve("ours", "at the threshold", [Point(hits / odd, hits / max(hits + alarms, 1), mark)]))
    return [
        CurveChart(roc, "ROC curve", "false alarms, fraction of normal samples", "anomalies found", logarithmic=False),
        CurveChart(recall, "Precision and recall", "recall, fraction of anomalies", "precision", logarithmic=False),
    ]


def _curve(name: str, x: np.ndarray, y: np.ndarray) -> Curve:
    """A method's curve, thinned to `DRAWN` points at equal ranks."""
    chosen = np.unique(np.linspace(0, len(x) - 1, DRAWN).round().astype(int))
    points = [Point(float(x[i]), float(y[i]), "") for i in chosen]
    return Curve(COLOURS[name], TITLES[name], points, dots=False)


def _marks(result: AnomalyResult, arrays: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Of each of the worst samples: the score over the threshold, and the label or nothing."""
    labels = arrays.get("labels", np.full(len(arrays["rows"]), ""))
    times = arrays["scores"] / (result.threshold or 1.0)
    return [(f"{by:.3g}", str(label)) for by, label in zip(times, labels, strict=True)]


def _titles(result: AnomalyResult, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """A line on each of the worst samples."""
    return [
        f"sample {row}{f', label {label}' if label else ''}: score {score:.4g}, {by} × threshold"
        for row, score, (by, label) in zip(arrays["rows"], arrays["scores"], _marks(result, arrays), strict=True)
    ]


def _images(shape: Sequence[int], dtype: str, arrays: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Data URIs, [sample][input, reconstruction, errors]; the darkest error is the sample's largest."""
    x, y, errors = (arrays[name].astype(np.float64) for name in ("x", "y", "errors"))
    low, high = (0.0, 255.0) if dtype == "uint8" else (min(x.min(), y.min()), max(x.max(), y.max()))
    side = tuple(shape[:2]) if tuple(shape[2:]) == (1,) else tuple(shape)
    levels = []
    for values in zip(x, y, errors, strict=True):
        gray = [np.rint(255 * np.clip((each - low) / ((high - low) or 1.0), 0, 1)).astype(np.uint8) for each in values[:2]]
        summed = values[2].reshape(*shape[:2], -1).sum(axis=2)
        levels += [*(each.reshape(side) for each in gray), diverging(summed / (summed.max() or 1.0))]
    encoded = iter(encode_images(levels, IMAGE_BYTES))
    return [[next(encoded) for _ in range(3)] for _ in x]


def _plots(arrays: Mapping[str, np.ndarray]) -> list[list[Plot]]:
    """Of each sample: input and reconstruction, and the error of each time step."""
    return [
        [Plot({"input": x, "ours": y}, "input and reconstruction"), Plot({"ours": error}, "error of each time step")]
        for x, y, error in zip(arrays["x"], arrays["y"], arrays["errors"], strict=True)
    ]


def _bars(columns: Sequence[str] | None, arrays: Mapping[str, np.ndarray]) -> list[BarChart]:
    """Of each sample: the columns that contribute most, in percent of its errors."""
    charts = []
    names = columns or [f"value {i}" for i in range(arrays["x"].shape[1])]
    for x, y, errors in zip(arrays["x"], arrays["y"], arrays["errors"].astype(np.float64), strict=True):
        parts = 100 * errors / (errors.sum() or 1.0)
        charts.append(
            BarChart(
                [
                    Bar(
                        names[int(i)],
                        float(parts[i]),
                        f"{parts[i]:.3g} %",
                        "ours",
                        f"{x[i]:.4g}, reconstructed {y[i]:.4g}",
                    )
                    for i in np.argsort(-parts, kind="stable")[:SHOWN].tolist()
                ]
            )
        )
    return charts


def rows(result: AnomalyResult) -> Sequence[TableRow]:
    lines = [
        (
            f"anomalies, {TITLES[each.method]}",
            "",
            f"ROC-AUC {each.roc_auc.value:.4f}, PR-AUC {each.pr_auc.value:.4f}, F1 {each.f1.value:.3f}",
            "",
            "",
        )
        for each in result.methods
    ]
    return [*lines, ("alarms", "", alarms_text(result), "", "")]


def headline(result: AnomalyResult) -> tuple[str, str, str] | None:
    """The area of the program, beside PCA's; without labels, how many test samples are flagged."""
    ours, pca = result.method(INT8), result.method(PCA)
    if ours is None:
        flagged = f"{result.alarms:,} of {result.samples:,} test samples"
        rate = f"{result.alarms / max(result.samples, 1):.2%}".replace("%", " %")
        text = f"{flagged} have a score above the threshold, {result.threshold:.4g}; there are no labels to compare with"
        return f"{rate} flagged", text, f"flags {flagged} as anomalies"
    beside = "" if pca is None else f" (PCA {pca.roc_auc.value:.4f})"
    text = f"of the int8 program's scores{beside}; {alarms_text(result)}"
    figure = f"ROC-AUC {ours.roc_auc.value:.4f}"
    return figure, text, f"tells anomalies from normal samples with {figure}{beside}"


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
ROW = TaskRow(
    "Anomaly detection",
    "finds anomalies among samples of {inputs} values, by the error of their reconstruction from a code of {units} bytes",
    "It scores samples: one with a score above the threshold is an anomaly, unlike those it was trained on.",
    measure,
    section,
    card,
    rows,
    headline,
    needs=lambda _: {"isolation-forest": ("sklearn",)},
    held=HELD,
    error_limit=error_limit,
)
