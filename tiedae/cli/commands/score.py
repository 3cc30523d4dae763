"""Score the samples of a source: the reconstruction error of each, in scaled values, and which are anomalies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import Call, Parser

if TYPE_CHECKING:
    from ..scores import Scores


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()
    parser.add_path("data", "DATA", "a file, a folder of images or a known name, as in a recipe", type=str)
    parser.add_file(
        "--csv", text="write each sample's score, its split and whether it is an anomaly, one a line; of records each time step"
    )
    parser.add_file("--map", text="write the error of each value as .npy, float32, in the axes of the samples")
    parser.add_value("--label", "COLUMN", "of a .csv file: labels, by which the scores of an anomaly bundle are measured")
    text = "of a record: a .csv file of start and end in seconds; the scores are measured by the windows that overlap one"
    parser.add_value("--intervals", "FILE", text)
    parser.add_value("--runtime", "NAME", "auto (default), program, or a runtime of `tiedae verify`", default="auto")
    parser.add_json("mean, median, 95th percentile and the largest score; threshold, alarms, drift and areas under curves")


def run(call: Call) -> None:
    import numpy as np

    from tiedae.bundle.bundle import npy

    from ..scores import score

    brief, lines, errors = score(
        call.bundle,
        call.data,
        runtime=call.runtime,
        label=call.label,
        intervals=call.intervals,
        steps_too=call.csv is not None,
        progress=call.console.progress,
    )
    for line in texts(brief):
        call.console.say(line)
    call.write(brief, {"csv": lambda _: "".join(lines), "map": lambda _: npy(np.concatenate(list(errors)))})


SPLITS = {"train": "trained on", "validation": "validation", "test": "test", "none": "in no split"}


def trained_text(brief: Scores) -> str:
    """How many of the samples the bundle was trained on, and the mean score of these and of the others."""
    if not brief.trained_on:
        return "trained on: none of these; they are not the bundle's training data (by sha256, which another order changes)"
    means = ["" if row.mean is None else f" (mean {row.mean:.4g})" for row in brief.splits]
    parts = (f"{row.samples:,} {SPLITS[row.split]}{mean}" for row, mean in zip(brief.splits, means, strict=True))
    return f"splits: {', '.join(parts)}"


def all_text(brief: Scores) -> str:
    """Which samples a figure of all is of, where it was trained on some: `, all 600, 337 of them trained on`."""
    return f", all {brief.samples:,}, {brief.trained_on:,} of them trained on" if brief.trained_on else ""


def texts(brief: Scores) -> list[str]:
    """The summary in lines."""
    from tiedae.program.drift import drift_text
    from tiedae.report.group_table import group_lines
    from tiedae.report.tasks.anomaly import SCORES, areas_text, estimate_text, intervals_text

    lines = [f"{brief.samples:,} samples: every one holds NaN or infinity and has no score"]
    if brief.mean is not None:
        line = f"mean {brief.mean:.4g}, median {brief.median:.4g}, 95 % below {brief.p95:.4g}"
        worst = f"largest {brief.largest:.4g} at sample {brief.largest_at}"
        missing = f", {brief.missing:,} with NaN or infinity apart" if brief.missing else ""
        kind = f"{SCORES[brief.score]} in scaled values, {brief.runtime}"
        lines = [f"{brief.samples:,} samples: {line}, {worst}{missing} ({kind})"]
    lines.append(trained_text(brief))
    if brief.alarms is not None:
        fraction = f"{100 * brief.alarms / brief.samples:.3g} %"
        lines.append(
            f"anomalies: {brief.alarms:,} of {brief.samples:,} ({fraction}), score above {brief.threshold:.4g} or none"
        )
        if brief.drift is not None:
            lines.append(f"drift: {drift_text(brief.drift)}")
    if brief.detection is not None:
        brackets = f"in brackets 95 % bootstrap intervals, seed {brief.seed}"
        if brief.tested is not None:
            lines.append(f"with labels, test samples: {areas_text(brief.tested)}; {brackets}")
        lines.append(f"with labels{all_text(brief)}: {areas_text(brief.detection)}; {brackets}")
        for each in brief.labels:
            area = "normal" if each.normal else f"ROC-AUC {estimate_text(each.roc_auc)}"
            lines.append(f"label {each.label}: {each.flagged:,} of {each.samples:,} flagged, {area}")
    if brief.intervals is not None:
        if brief.tested_intervals is not None:
            lines.append(f"intervals, test samples: {intervals_text(brief.tested_intervals)}")
        lines.append(f"intervals{all_text(brief)}: {intervals_text(brief.intervals)}")
        for each in brief.intervals.kinds:
            lines.append(f"intervals {each.label}: {each.flagged:,} of {each.samples:,} flagged, {estimate_text(each.roc_auc)}")
    return lines + group_lines(brief.groups)
