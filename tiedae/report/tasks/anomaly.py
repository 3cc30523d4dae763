"""How the results of anomaly detection are shown: tables, score histogram, curves, and the worst samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tiedae.bundle.manifest import Manifest
from tiedae.bundle.task_results import AnomalyResult, Detection, Estimate, IntervalFlags
from tiedae.config.sample_spec import SampleSpec
from tiedae.tasks.anomaly import FLOAT, FOREST, INT8, MEAN, PCA, SHOWN, TITLES
from tiedae.tasks.ranking import Ranked
from tiedae.tasks.signal_scores import DIFFERENCES, RMS, SPECTRA

from ..images import diverging, encode_images
from ..pages import fragment
from ..pages.charts import Bar, BarChart, Curve, CurveChart, HistogramChart, Point
from ..waveforms import PanelGroup, TimeAxes, Waveform
from .view import TableRow, TaskView

IMAGE_BYTES = 300_000
COLOURS = {INT8: "ours", PCA: "keras", FOREST: "stock", MEAN: "prune", RMS: "rms", DIFFERENCES: "avif", SPECTRA: "spectra"}
SCORES = {
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "max": "largest absolute error",
    "standardized": "mean squared error, each value's divided by that of training",
}
DRAWN = 200
"""Points of a drawn curve at most."""


def estimate_text(each: Estimate | None) -> str:
    return "" if each is None else f"{each.value:.4f} ({each.low:.4f}…{each.high:.4f})"


def areas_text(found: Detection) -> str:
    """`ROC-AUC 0.9 (0.8…1), PR-AUC …, F1 …`."""
    return f"ROC-AUC {estimate_text(found.roc_auc)}, PR-AUC {estimate_text(found.pr_auc)}, F1 {estimate_text(found.f1)}"


def intervals_text(intervals: IntervalFlags) -> str:
    """How many are flagged, and the areas of the first method."""
    first = intervals.methods[0]
    areas = f"ROC-AUC {estimate_text(first.roc_auc)}, PR-AUC {estimate_text(first.pr_auc)}"
    return f"{intervals.flagged:,} of {intervals.count:,} flagged; {areas}, against windows that overlap none"


def methods_table(result: AnomalyResult | IntervalFlags) -> list[tuple[str, str, str, str]]:
    """Name, ROC-AUC, PR-AUC and F1 of each method."""
    text = estimate_text
    return [(TITLES[each.method], text(each.roc_auc), text(each.pr_auc), text(each.f1)) for each in result.methods]


def labels_table(result: AnomalyResult | IntervalFlags) -> list[tuple[str, str, str, str]]:
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
    of = result.intervals
    tables: dict[str, object] = {"methods": methods_table(result), "labels": labels_table(result), "intervals": of}
    if of is not None:
        kinds = [row for row, each in zip(labels_table(of), of.labels, strict=True) if not each.normal]
        tables |= {"interval_methods": methods_table(of), "interval_kinds": kinds}
    return {"result": result, "score": SCORES[result.score], "alarms": alarms_text(result), **tables}


def card(result: AnomalyResult) -> str:
    return fragment(Path(__file__).with_name("anomaly_card.md.j2"), **_facts(result))


def section(manifest: Manifest, result: AnomalyResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    spec = manifest.data.spec
    known = {"x", "y", "errors", "scores", "rows"} <= arrays.keys()
    image = (
        spec.kind != "record" and len(spec.shape) in (2, 3) and min(spec.shape[:2]) > 1 and spec.shape[2:] in ((), (1,), (3,))
    )
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        **_facts(result),
        titles=_titles(result, arrays) if known else [],
        marks=_marks(result, arrays) if known else [],
        histogram=score_histogram(result, arrays),
        curves=score_curves(result, arrays),
        images=_images(spec.shape, spec.dtype, arrays) if known and image else None,
        windows=_windows(spec, arrays, _titles(result, arrays)) if known and spec.kind == "record" else None,
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


def _windows(spec: SampleSpec, arrays: Mapping[str, np.ndarray], titles: Sequence[str]) -> list[PanelGroup]:
    """Input and reconstruction of the worst samples by channel, and the error of each time step."""
    axes = TimeAxes(spec)
    rows = list(zip(titles, arrays["x"], arrays["y"], arrays["errors"], strict=True))[: axes.drawn(len(titles))]
    channels = axes.channels(arrays["x"], arrays["y"].astype(np.float64) - arrays["x"])
    return axes.panels([Waveform(title, {"input": x, "ours": y}, errors) for title, x, y, errors in rows], channels, "error")


def _bars(columns: Sequence[str] | None, arrays: Mapping[str, np.ndarray]) -> list[BarChart]:
    """Of each sample: the columns that contribute most, in percent of its errors."""
    charts = []
    names = columns or [f"value {i}" for i in range(arrays["x"].shape[1])]
    for x, y, errors in zip(arrays["x"], arrays["y"], arrays["errors"].astype(np.float64), strict=True):
        parts = 100 * errors / (errors.sum() or 1.0)
        largest = [int(i) for i in np.argsort(-parts, kind="stable")[:SHOWN]]
        notes = {i: f"{x[i]:.4g}, reconstructed {y[i]:.4g}" for i in largest}
        charts.append(BarChart([Bar(names[i], float(parts[i]), f"{parts[i]:.3g} %", "ours", notes[i]) for i in largest]))
    return charts


def rows(result: AnomalyResult) -> Sequence[TableRow]:
    lines = []
    for each in result.methods:
        figures = f"ROC-AUC {each.roc_auc.value:.4f}, PR-AUC {each.pr_auc.value:.4f}, F1 {each.f1.value:.3f}"
        lines.append((f"anomalies, {TITLES[each.method]}", "", figures, "", ""))
    lines.append(("alarms", "", alarms_text(result), "", ""))
    if result.intervals is not None:
        lines.append(("intervals", "", intervals_text(result.intervals), "", ""))
    return lines


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


VIEW = TaskView(
    "Anomaly detection",
    "finds anomalies among samples of {inputs} values, by the error of their reconstruction from a code of {units} bytes",
    "It scores samples: one with a score above the threshold is an anomaly, unlike those it was trained on.",
    section,
    card,
    rows,
    headline,
)
