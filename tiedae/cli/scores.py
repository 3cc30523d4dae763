"""`tiedae score`: the reconstruction error of each sample of a source, and of an anomaly bundle which of them are anomalies."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import DataError, InputError, listed
from tiedae.base.files import expanded
from tiedae.base.records import Record, require
from tiedae.bundle.results import GroupFigures
from tiedae.bundle.task_results import Detection, IntervalFlags, LabelFlags, Scorer
from tiedae.codec.codec import Codec
from tiedae.codec.opening import bundle_of, open_bundle
from tiedae.config.tasks import ScoreKind
from tiedae.data.arrays import Stretch
from tiedae.data.csv_files import read_headings
from tiedae.data.labels import label_text
from tiedae.data.normal import NORMAL, is_normal, normal_of
from tiedae.data.samples import Samples
from tiedae.pipeline.run_artifacts import SPLITS, load_scored
from tiedae.program.drift import Drift
from tiedae.report.console import Progress
from tiedae.tasks.groups import by_group
from tiedae.tasks.ranking import by_interval, by_label, detection

from .coding import named, pieces, steps

METHOD: Scorer = "int8"


class SplitScores(Record, frozen=True):
    """How many samples were of a split when the bundle was trained, of `SPLITS`; the mean of their scores, if they have any."""

    split: str
    samples: int
    mean: float | None


class Scores(Record, frozen=True):
    """The scores of samples in brief, in scaled values; `missing` of them hold NaN or infinity and have none, the figures
    are of the rest.

    `threshold`, `alarms`: of an anomaly bundle; those without a score are alarms. `detection`, `labels`: where samples have
    labels, normal and anomalous ones; `seed` of their intervals. `drift`: of the scores from those of the training samples,
    where the bundle holds these. `intervals`: of a record that has some; `groups`: of data that have some. `trained_on`:
    samples that the bundle was trained on; `splits`: all by their split. `tested`, `tested_intervals`: as `detection` and
    `intervals`, of test samples alone, where the source also holds others of the bundle's data.
    """

    samples: int
    mean: float | None
    median: float | None
    p95: float | None
    largest: float | None
    largest_at: int | None
    runtime: str
    score: ScoreKind = "mse"
    missing: int = 0
    threshold: float | None = None
    alarms: int | None = None
    drift: Drift | None = None
    seed: int | None = None
    detection: Detection | None = None
    labels: tuple[LabelFlags, ...] = ()
    intervals: IntervalFlags | None = None
    groups: tuple[GroupFigures, ...] = ()
    trained_on: int = 0
    splits: tuple[SplitScores, ...] = ()
    tested: Detection | None = None
    tested_intervals: IntervalFlags | None = None


def score(
    path: Path, source: str, *, runtime: str, label: str | None, intervals: str | None, steps_too: bool, progress: Progress
) -> tuple[Scores, Iterator[str], Iterator[np.ndarray]]:
    """The summary; the lines of a .csv file: a sample each, or a time step of a record if `steps_too`; and, in parts, the error
    of each value, float32 [n, *shape].

    `label`: the column of labels of a .csv source. `intervals`: a .csv file of those of a record. Raises InputError for them
    where the bundle has no threshold of anomalies or the source no such column, DataError where the labels are of normal or
    anomalous samples alone.
    """
    bundle = bundle_of(path)
    codec = open_bundle(bundle, runtime)
    if label is not None:
        codec.require_detector("--label")
        require_column(source, label, bundle.manifest.data.columns or ())
    if intervals is not None:
        codec.require_detector("--intervals")
        require(label is None, "--intervals", intervals, "left out beside --label")
    found, splits, stretches = load_scored(bundle.manifest, source, label, intervals)
    if intervals is not None and not (found.intervals and len(found.intervals.kinds)):
        raise DataError(f"{intervals}: no interval is of {source}, must be one at least")
    if not len(found):
        raise DataError(f"{source}: holds no samples")
    report = steps(progress, "score")
    values, scores = found.values, np.empty(len(found))
    flags = np.zeros(len(found), bool)
    for start, part in pieces(values, report):
        place = slice(start, start + len(part))
        scores[place] = named(source, start, lambda part=part: codec.score(part))
        flags[place] = np.isnan(scores[place]) | (scores[place] > (np.inf if codec.threshold is None else codec.threshold))
    brief = _with_splits(_brief(codec, scores, flags), scores, splits)
    if codec.detector is not None and found.labels is not None:
        required = label is not None or intervals is not None
        brief = _with_labels(brief, codec, source, scores, flags, found, required=required)
        brief = _with_tested(brief, codec, scores, flags, found, splits == "test")
    brief = _with_groups(brief, codec, scores, flags, found)
    errors = (codec.errors(part).astype(np.float32).reshape(part.shape) for _, part in pieces(values, report))
    return brief, _lines(codec, values, scores, flags, splits, stretches, steps_too=steps_too), errors


def require_column(source: str, label: str, features: tuple[str, ...]) -> None:
    """Raise InputError unless a source is a .csv file with this column, which is not one of the `features`."""
    path = expanded(source)
    if path.suffix.lower() != ".csv" or not path.is_file():
        raise InputError(
            f"--label {label}: must be left out for {source}, it is for a .csv file; other sources hold their labels"
        )
    headings = read_headings(path)
    if label not in headings:
        raise InputError(f"--label {label}: must be a column of {source}: {listed(headings) or 'it has no heading'}")
    if label in features:
        raise InputError(f"--label {label}: is a column that the bundle scores, must be another")


def _brief(codec: Codec, scores: np.ndarray, flags: np.ndarray) -> Scores:
    whole, detector = scores[~np.isnan(scores)], codec.detector
    middle, high = np.quantile(whole, [0.5, 0.95]).tolist() if len(whole) else (None, None)
    manifest = None if codec.bundle is None else codec.bundle.manifest
    training = detector.training if detector is not None else manifest.scores if manifest is not None else None
    return Scores(
        len(scores),
        float(whole.mean()) if len(whole) else None,
        middle,
        high,
        float(whole.max()) if len(whole) else None,
        int(np.nanargmax(scores)) if len(whole) else None,
        codec.runtime,
        "mse" if detector is None else detector.scoring.kind,
        len(scores) - len(whole),
        codec.threshold,
        None if detector is None else int(flags.sum()),
        Drift.of(whole, training) if len(whole) and training is not None else None,
    )


def _with_splits(brief: Scores, scores: np.ndarray, splits: np.ndarray) -> Scores:
    rows = []
    for name in SPLITS:
        whole = scores[(splits == name) & ~np.isnan(scores)]
        rows.append(SplitScores(name, int((splits == name).sum()), float(whole.mean()) if len(whole) else None))
    return replace(brief, trained_on=rows[0].samples, splits=tuple(row for row in rows if row.samples))


def _with_labels(
    brief: Scores, codec: Codec, source: str, scores: np.ndarray, flags: np.ndarray, found: Samples, *, required: bool
) -> Scores:
    labels = found.labels
    assert codec.bundle is not None and labels is not None
    recipe = codec.bundle.manifest.recipe
    normal, seed = normal_of(recipe.task), recipe.data.seed
    anomalous = ~is_normal(labels, normal)
    if anomalous.all() or not anomalous.any():
        if not required:
            return brief
        names = listed(list(dict.fromkeys(map(label_text, np.unique(labels).tolist()))))
        right = f"normal ones ({listed([*map(label_text, normal or NORMAL)])}) and others"
        raise DataError(f"{source}: got labels {names}, must be {right}, to compare the scores of both")
    return replace(
        brief,
        seed=seed,
        detection=detection(METHOD, scores, flags, anomalous, seed),
        labels=by_label(scores, flags, labels, anomalous, seed),
        intervals=found.intervals and by_interval({METHOD: (scores, flags)}, found.intervals, normal, seed),
    )


def _with_tested(
    brief: Scores, codec: Codec, scores: np.ndarray, flags: np.ndarray, found: Samples, test: np.ndarray
) -> Scores:
    """With the figures of the samples where `test`, bool [n], where these have anomalous and normal ones and are not all."""
    assert codec.bundle is not None and found.labels is not None
    recipe = codec.bundle.manifest.recipe
    normal, rows = normal_of(recipe.task), np.flatnonzero(test)
    anomalous = ~is_normal(np.asarray(found.labels)[rows], normal)
    if brief.detection is None or not brief.trained_on or anomalous.all() or not anomalous.any():
        return brief
    scores, flags, intervals = scores[rows], flags[rows], found.intervals and found.intervals[rows]
    return replace(
        brief,
        tested=detection(METHOD, scores, flags, anomalous, recipe.data.seed),
        tested_intervals=intervals and by_interval({METHOD: (scores, flags)}, intervals, normal, recipe.data.seed),
    )


def _with_groups(brief: Scores, codec: Codec, scores: np.ndarray, flags: np.ndarray, found: Samples) -> Scores:
    if found.groups is None or codec.bundle is None:
        return brief
    recipe, detects = codec.bundle.manifest.recipe, codec.detector is not None
    anomalous = ~is_normal(found.labels, normal_of(recipe.task)) if detects and found.labels is not None else None
    rows = by_group(np.asarray(found.groups), scores, flags if detects else None, anomalous, recipe.data.seed)
    return replace(brief, groups=rows)


def _lines(
    codec: Codec,
    values: np.ndarray,
    scores: np.ndarray,
    flags: np.ndarray,
    splits: np.ndarray,
    stretches: Sequence[Stretch],
    *,
    steps_too: bool,
) -> Iterator[str]:
    """Lines of a .csv file: `sample,score,split`, with `anomaly` of a detector; of its record a line per time step, first
    `step,error`, or `step` and an error of each channel by its name. Of a folder, `file` is first, and steps are its own.
    """
    detects = codec.detector is not None
    heading = "sample,score,anomaly,split" if detects else "sample,score,split"
    rows = zip(scores.tolist(), flags.tolist(), splits.tolist(), strict=True)
    texts = [f"{i},{value!r}{f',{int(flag)}' if detects else ''},{name}" for i, (value, flag, name) in enumerate(rows)]
    files = np.repeat([_cell(each.file) for each in stretches], [each.rows for each in stretches])
    named = any(each.file for each in stretches)
    if not (steps_too and detects and codec.spec.kind == "record"):
        places = [f"{file}," for file in files.tolist()] if named else [""] * len(texts)
        yield f"{'file,' if named else ''}{heading}\n"
        yield from (f"{place}{line}\n" for place, line in zip(places, texts, strict=True))
        return
    channels, window = codec.spec.channels, codec.spec.shape[0]
    names = codec.spec.signal.channel_names or [str(i) for i in range(channels)]
    errors_of = "error" if channels == 1 else ",".join(_cell(f"error {name}") for name in names)
    yield f"{'file,' if named else ''}step,{errors_of},{heading}\n"
    starts = np.concatenate([each.first + window * np.arange(each.rows) for each in stretches])
    for start, part in pieces(values, lambda _done, _all: None):
        for i, errors in enumerate(codec.errors(part).reshape(len(part), window, channels).tolist(), start):
            place = f"{files[i]}," if named else ""
            for step, error in enumerate(errors, int(starts[i])):
                yield f"{place}{step},{','.join(map(repr, error))},{texts[i]}\n"


def _cell(text: str) -> str:
    """A cell of a .csv file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([text])
    return line.getvalue()
