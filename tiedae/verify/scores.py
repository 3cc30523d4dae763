"""Scores of the exported files in one runtime, against the integer scores of their program.

A runtime that rounds otherwise than the program has other integers of `y`. Its score must be that of the program's `y`, or that
of its own `y`, which `reconstruct` gives for the same sample. OpenVINO computes in floats, and rounds a value at a tie either
way in each signature. Its score must lie between those of the least and the largest integers of `y` that follow, operation by
operation (`interpreter.bounds`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tiedae.bundle.manifest import Manifest
from tiedae.bundle.reference_outputs import Expected
from tiedae.bundle.results import Alarms
from tiedae.export.kinds import Kind, Precision, Why
from tiedae.export.targets import TARGETS
from tiedae.program.arithmetic import Interval
from tiedae.program.differences import mismatch
from tiedae.program.file_io import FileIO
from tiedae.program.interpreter import bounds, input_bounds
from tiedae.program.score_graph import ANOMALY, SCORE, TOLERANCE, Scored, constants
from tiedae.program.scoring import Detector
from tiedae.program.tensors import flat
from tiedae.runtimes.table import RUNTIMES

from .findings import Evidence, Subject
from .measurement import as_bytes


def score_constants(manifest: Manifest, file: str) -> Mapping[str, np.ndarray] | None:
    """The constants of the score in a file; None if it has none."""
    info, detector = manifest.models[file], manifest.detector
    if detector is None or info.precision is not Precision.INT8 or SCORE not in info.signatures:
        return None
    return constants(detector, manifest.layout(info.format))


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
        elif not _compare_integers(subject, detector, evidence, expected, samples):
            subject.findings.skip(Kind.SCORE, Why.NOT_IN_FILES, what, reason, runtime=subject.runtime)
        return
    own = None if subject.same_rounding else _own_y(subject, evidence)
    if own is None and not subject.same_rounding and not _computes_in_floats(subject):
        what, reason = f"scores of {subject.files[SCORE]} in {subject.runtime}", "it rounds in its own way, and gives no y"
        subject.findings.skip(Kind.SCORE, Why.NOT_COMPARABLE, what, reason, runtime=subject.runtime)
        return
    x = subject.input(SCORE, evidence)
    got = subject.run(SCORE, x)
    if len(got) == 2:
        scored = _ScoredSamples(subject, detector, evidence, expected.x)
        _compare(scored, [y for y in (expected.y, own) if y is not None], got[SCORE], got[ANOMALY], samples)
        if evidence.measures_quality and got[ANOMALY].shape == (len(evidence.x),):
            _count_alarms(subject, detector, got[ANOMALY].astype(bool), evidence.normal)
        _check_nan(subject, x, samples)


def _compare_integers(subject: Subject, detector: Detector, evidence: Evidence, expected: Expected, samples: str) -> bool:
    """Check the integer scores of source text, of the samples as they are given: those of integers are the program's, those of
    floats near them. False where the text has none."""
    got = subject.session.scores(flat(evidence.x))
    if got is None:
        return False
    given = (subject.program, FileIO("float32"), flat(evidence.x), evidence.scaled, expected.x, (expected.y, expected.y))
    right, _ = Scored.between(detector, subject.program.layout, *given)
    limit = 0.0 if detector.scoring.multiplier else TOLERANCE
    worst = abs(float(right.relative(got[0] * detector.scoring.factor).max(initial=0)))
    wrong = int(np.count_nonzero((got[1] != right.anomaly) & ~(right.near & (limit > 0))))
    of = {"file": next(iter(subject.files.values())), "runtime": subject.runtime}
    text = f"{len(got[0]):,} scores of {samples} differ from the program's by at most {worst:.2g} of their value"
    subject.findings.check(Kind.SCORE, worst <= limit, worst, f"<= {limit:g}", text, **of, detail=f"score of {samples}")
    text = f"{wrong:,} of {len(got[1]):,} flags of {samples} differ from the program's"
    subject.findings.check(Kind.SCORE, not wrong, wrong, "== 0", text, **of, detail=f"anomaly of {samples}")
    return True


def _computes_in_floats(subject: Subject) -> bool:
    return RUNTIMES[subject.runtime].rounding == "openvino"


@dataclass(frozen=True)
class _ScoredSamples:
    """The samples of a comparison, which it scores from integers of `y`; `x`: the program's input, uint8."""

    subject: Subject
    detector: Detector
    evidence: Evidence
    x: np.ndarray

    def of(self, y: np.ndarray) -> Scored:
        scored, _ = self._between(slice(None), (y, y))
        return scored

    def possible(self, rows: np.ndarray) -> tuple[Scored, Scored]:
        """The least and the largest scores of some samples in a runtime that computes in floats."""
        subject, quantization = self.subject, self.subject.program.quantization("x")
        x = self.x[rows], self.x[rows]
        if subject.io.folded is not None:
            scaled = self.evidence.scaled[rows].clip(*quantization.dequantize(np.array([0, quantization.top], np.uint8)))
            tensor, slack = subject.program.tensors["x"], subject.io.resolution(scaled) / quantization.scale
            low, high = input_bounds(quantization, scaled, slack)
            x = tensor.shaped(low), tensor.shaped(high)
        return self._between(rows, bounds(subject.program, "reconstruct", *x)["y"])

    def _between(self, rows: slice | np.ndarray, y: Interval) -> tuple[Scored, Scored]:
        subject, evidence = self.subject, self.evidence
        given = (evidence.x[rows], evidence.scaled[rows], self.x[rows])
        return Scored.between(self.detector, subject.program.layout, subject.program, subject.io, *given, y)


def _own_y(subject: Subject, evidence: Evidence) -> np.ndarray | None:
    """A runtime's own `y`, uint8."""
    if "reconstruct" not in subject.files:
        return None
    got = subject.run("reconstruct", subject.input("reconstruct", evidence))
    return as_bytes(got["y"], subject.program.quantization("y"))[0] if "y" in got else None


def _compare(
    scored: _ScoredSamples, references: Sequence[np.ndarray], score: np.ndarray, anomaly: np.ndarray, samples: str
) -> None:
    """Check outputs against the nearest of the scores of these integers of `y`, sample by sample; in a runtime that computes in
    floats scores that are farther away, against what rounding at ties allows."""
    subject, of_references = scored.subject, [scored.of(y) for y in references]
    first, *_ = of_references
    for name, values in ((SCORE, score), (ANOMALY, anomaly)):
        if problem := mismatch(first.outputs[name], values):
            subject.check(
                Kind.SCORE, SCORE, False, "mismatch", "as the program", f"{name}: {problem}", detail=f"{name} of {samples}"
            )
            return
    missing, count = ~np.isfinite(score), len(score)
    distances = np.array([each.relative(np.where(missing, 0, score)) for each in of_references])
    nearest = distances.argmin(axis=0), np.arange(count)
    totals = np.array([each.totals for each in of_references])[nearest]
    relative, low = np.where(missing, np.inf, distances[nearest]), replace(first, totals=totals)
    high, rounded = low, np.flatnonzero((relative > TOLERANCE) & ~missing & _computes_in_floats(subject))
    if len(rounded):
        totals, possible = np.stack([low.totals, low.totals]), scored.possible(rounded)
        totals[:, rounded] = [each.totals for each in possible]
        low, high = (replace(low, totals=each) for each in totals)
        relative = np.where(missing, np.inf, np.maximum(low.below(score), high.above(score)))
    _check_scores(subject, low, high, score, relative, rounded, samples)
    flagged, may, must = anomaly.astype(bool), high.anomaly | high.near, low.anomaly & ~low.near
    wrong = np.flatnonzero((flagged & ~may) | (~flagged & must))
    text = f"{len(wrong):,} of {count:,} flags of {samples} differ from the program's"
    if len(wrong):
        at = int(wrong[0])
        text += f", first at [{at}]: got {anomaly[at]}, expected {low.anomaly[at]} for the score {low.score[at]:.9g}"
    subject.check(Kind.SCORE, SCORE, not len(wrong), len(wrong), "== 0", text, detail=f"anomaly of {samples}")


def _check_scores(
    subject: Subject,
    low: Scored,
    high: Scored,
    score: np.ndarray,
    relative: np.ndarray,
    rounded: np.ndarray,
    samples: str,
) -> None:
    """Check scores between the least and largest that they may be; `relative`: how far outside. `rounded`: the samples whose
    bounds are apart, by index."""
    worst, exact = int(relative.argmax()), np.delete(relative, rounded)
    ok, limit = bool(relative[worst] <= TOLERANCE), f"<= {TOLERANCE:g}"
    text = f"{len(exact):,} scores of {samples} differ from the program's by at most {exact.max(initial=0):.2g} of their value"
    if len(rounded):
        at = int(rounded[relative[rounded].argmax()])
        bound = f"got {score[at]:.9g}, bound {low.score[at]:.9g} to {high.score[at]:.9g}"
        text += f"; {len(rounded):,} have integers at a tie, rounded either way; the nearest to its end [{at}] {bound}"
        limit += ", and where integers are at a tie from their bound"
    if not ok:
        text += f"; at [{worst}] got {score[worst]:.9g}, expected {low.score[worst]:.9g}"
    subject.check(Kind.SCORE, SCORE, ok, float(relative[worst]), limit, text, detail=f"score of {samples}")


def _count_alarms(subject: Subject, detector: Detector, flags: np.ndarray, normal: np.ndarray | None) -> None:
    """Record how many normal samples are flagged; `flags`, `normal`: bool [n]."""
    flagged = flags if normal is None else flags[normal]
    row = Alarms(subject.files[SCORE], subject.runtime, detector.quantile, len(flagged), int(flagged.sum()))
    subject.findings.alarms.append(row)


def _check_nan(subject: Subject, x: np.ndarray, samples: str) -> None:
    """Check that a sample is an anomaly without a score if any of its values is NaN or infinite, whichever."""
    if x.dtype != np.float32:
        return
    places = sorted({0, x[0].size // 2, x[0].size - 1})
    values = np.repeat(np.array([np.nan, np.inf, -np.inf], np.float32), len(places))
    broken = flat(np.repeat(x[:1], len(values), axis=0))
    broken[np.arange(len(values)), places * 3] = values
    got = subject.run(SCORE, subject.program.tensors["x"].shaped(broken))
    right = got[ANOMALY] & np.isnan(got[SCORE]) if len(got) == 2 else False
    missed = len(values) - int(np.count_nonzero(right))
    text = f"{missed} of {len(values)} samples with NaN or infinity are not flagged, or have a score"
    subject.check(Kind.SCORE, SCORE, missed == 0, missed, "== 0", text, detail=f"NaN and infinity in {samples}")
