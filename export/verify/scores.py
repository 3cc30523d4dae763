"""Scores of the exported files in one runtime, against the integer scores of their program.

A runtime that rounds otherwise than the program has other integers of `y`. Its score must be that of the program's `y`, or that
of its own `y`, which `reconstruct` gives for the same sample. OpenVINO computes in floats: an integer of `y` near a tie may be
another one in each signature, so that few samples cannot be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..differences import mismatch
from ..manifest import Manifest
from ..parity.reference_outputs import Expected
from ..runtimes.table import RUNTIMES
from ..score_graph import ANOMALY, SCORE, TOLERANCE, Scored, constants
from ..scoring import Detector
from ..targets import TARGETS
from .findings import Evidence, Subject
from .kinds import Kind, Precision, Why
from .measurement import as_bytes
from .results import Alarms

TIES = 0.02
"""Fraction of samples, or one, with an integer of `y` at a tie in a runtime that computes in floats."""
MOST = 0.01
"""Relative difference that such an integer makes, at most."""


def score_constants(manifest: Manifest, file: str) -> Mapping[str, np.ndarray] | None:
    """The constants of the score in a file; None if it has none."""
    info, detector = manifest.models[file], manifest.detector
    if detector is None or info.precision is not Precision.INT8 or SCORE not in info.signatures:
        return None
    return constants(detector, TARGETS[info.format].layout)


def measure_scores(subject: Subject, detector: Detector, evidence: Evidence, expected: Expected, samples: str) -> None:
    """Check scores and flags of `evidence`, and that samples with NaN or infinity are flagged.

    `expected`: the program's outputs for them, as the runtime quantizes them. `samples`: which they are, for the rows.
    """
    target = subject.format
    if SCORE not in subject.files:
        if RUNTIMES[subject.runtime].fault(subject.program, SCORE):
            return  # the skipped file has its row
        what, reason = f"scores of {target} files in {subject.runtime}", "they have no signature score"
        if TARGETS[target].scores:
            file = next(iter(subject.files.values()))
            subject.findings.check(
                Kind.SCORE, False, "none", "a signature", f"{file}: {reason}", file=file, runtime=subject.runtime
            )
        else:
            subject.findings.skip(Kind.SCORE, Why.NOT_IN_FILES, what, reason, runtime=subject.runtime)
        return
    own = None if subject.rounds_alike else _own_y(subject, evidence)
    if own is None and not subject.rounds_alike:
        what, reason = f"scores of {subject.files[SCORE]} in {subject.runtime}", "it rounds in its own way, and gives no y"
        subject.findings.skip(Kind.SCORE, Why.NOT_COMPARABLE, what, reason, runtime=subject.runtime)
        return
    layout = TARGETS[target].layout
    given = (detector, layout, subject.program, subject.io, evidence.x, evidence.scaled, expected.x)
    x = subject.input(SCORE, evidence)
    got = subject.run(SCORE, x)
    if len(got) == 2:
        references = [Scored.of(*given, y) for y in (expected.y, own) if y is not None]
        _compare(subject, references, got[SCORE], got[ANOMALY], samples)
        if evidence.measures_quality and got[ANOMALY].shape == (len(evidence.x),):
            _count_alarms(subject, detector, got[ANOMALY].astype(bool), evidence.normal)
        _check_nan(subject, x, samples)


def _own_y(subject: Subject, evidence: Evidence) -> np.ndarray | None:
    """A runtime's own `y`, uint8."""
    if "reconstruct" not in subject.files:
        return None
    got = subject.run("reconstruct", subject.input("reconstruct", evidence))
    return as_bytes(got["y"], subject.program.quantization("y"))[0] if "y" in got else None


def _compare(subject: Subject, references: Sequence[Scored], score: np.ndarray, anomaly: np.ndarray, samples: str) -> None:
    """Check outputs against the nearest of these scores, sample by sample."""
    right = references[0].outputs
    for name, values in ((SCORE, score), (ANOMALY, anomaly)):
        if problem := mismatch(right[name], values):
            subject.check(
                Kind.SCORE, SCORE, False, "mismatch", "as the program", f"{name}: {problem}", detail=f"{name} of {samples}"
            )
            return
    missing, count = ~np.isfinite(score), len(score)
    distances = np.array([scored.relative(np.where(missing, 0, score)) for scored in references])
    totals = np.array([scored.totals for scored in references])
    nearest = distances.argmin(axis=0), np.arange(count)
    relative, scored = np.where(missing, np.inf, distances[nearest]), replace(references[0], totals=totals[nearest])
    tied = (relative > TOLERANCE) & (relative <= MOST) & (RUNTIMES[subject.runtime].rounding == "openvino")
    if 0 < tied.sum() <= max(1, TIES * count):
        what = f"{tied.sum()} of {count:,} scores of {samples} in {subject.runtime}"
        reason = "an integer of y lies at a tie, which it rounds otherwise in score than in reconstruct"
        subject.findings.skip(Kind.SCORE, Why.NOT_COMPARABLE, what, reason, runtime=subject.runtime)
        relative, score, anomaly = (each[~tied] for each in (relative, score, anomaly))
        scored, count = replace(scored, totals=scored.totals[~tied]), len(score)
    worst = int(relative.argmax())
    text = f"{count:,} scores of {samples} differ from the program's by at most {relative[worst]:.2g} of their value"
    if not relative[worst] <= TOLERANCE:
        text += f", at [{worst}]: got {score[worst]}, expected {scored.score[worst]:.9g}"
    ok, limit = bool(relative[worst] <= TOLERANCE), f"<= {TOLERANCE:g}"
    subject.check(Kind.SCORE, SCORE, ok, float(relative[worst]), limit, text, detail=f"score of {samples}")
    wrong = np.flatnonzero((anomaly != scored.anomaly) & ~scored.near)
    text = f"{len(wrong):,} of {count:,} flags of {samples} differ from the program's"
    if len(wrong):
        at = int(wrong[0])
        text += f", first at [{at}]: got {anomaly[at]}, expected {scored.anomaly[at]} for the score {scored.score[at]:.9g}"
    subject.check(Kind.SCORE, SCORE, not len(wrong), len(wrong), "== 0", text, detail=f"anomaly of {samples}")


def _count_alarms(subject: Subject, detector: Detector, flags: np.ndarray, normal: np.ndarray | None) -> None:
    """Record how many normal samples are flagged; `flags`, `normal`: bool [n]."""
    flagged = flags if normal is None else flags[normal]
    row = Alarms(subject.files[SCORE], subject.runtime, detector.quantile, len(flagged), int(flagged.sum()))
    subject.findings.alarms.append(row)


def _check_nan(subject: Subject, x: np.ndarray, samples: str) -> None:
    """Check that a sample is an anomaly without a score if any of its values is NaN or infinite, whichever."""
    if x.dtype != np.float32:
        return
    places = sorted({0, x.shape[1] // 2, x.shape[1] - 1})
    values = np.repeat(np.array([np.nan, np.inf, -np.inf], np.float32), len(places))
    broken = np.repeat(x[:1], len(values), axis=0)
    broken[np.arange(len(values)), places * 3] = values
    got = subject.run(SCORE, broken)
    right = got[ANOMALY] & np.isnan(got[SCORE]) if len(got) == 2 else np.zeros(0, bool)
    missed = len(values) - int(np.count_nonzero(right))
    text = f"{missed} of {len(values)} samples with NaN or infinity are not flagged, or have a score"
    subject.check(Kind.SCORE, SCORE, missed == 0, missed, "== 0", text, detail=f"NaN and infinity in {samples}")
