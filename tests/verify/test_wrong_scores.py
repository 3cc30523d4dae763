"""Scores and flags that are wrong in one place are found and named, in real files whose answers are changed there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.bundle.reference_outputs import expect
from tiedae.bundle.results import Check
from tiedae.compress import VerifyConfig
from tiedae.program.score_graph import ANOMALY, SCORE, Scored
from tiedae.verify.findings import Evidence, Findings, Subject
from tiedae.verify.scores import _check_scores, _compare_integers, measure_scores

from .changed_session import ChangedSession, Outputs
from .test_scores import DATA, Files, detector_of, programs_of


@pytest.fixture
def files(make_program: Callable[..., Any], tmp_path: Path) -> Files:
    data = DATA["table, data"]
    programs = programs_of(data, make_program)
    return Files.write(tmp_path, programs, data, detector_of(programs, data, "mse"))


def evidence_of(files: Files) -> Evidence:
    return Evidence(files.data.x, files.data.scaled, None, None, False)


def checks(files: Files, change: Callable[[np.ndarray, Outputs], None]) -> dict[str, Check]:
    subject = files.subject("litert-xnnpack")
    changed = dataclasses.replace(subject, session=ChangedSession(subject.session, SCORE, change), findings=Findings())
    expected = expect(subject.program, files.data.scaled, subject.conversion)
    measure_scores(changed, files.detector, evidence_of(files), expected, "samples")
    return {check.detail: check for check in changed.findings.judged(VerifyConfig())}


@pytest.mark.parametrize("output", [SCORE, ANOMALY])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_each_value_that_is_not_finite_is_tried_in_each_place(files: Files, value: float, output: str) -> None:
    """At the first, the middle and the last value of a sample."""

    def change(x: np.ndarray, outputs: Outputs) -> None:
        rows = (np.isnan(x) if np.isnan(value) else x == value).any(axis=1)
        outputs[output][rows] = 1.0 if output == SCORE else False

    found = checks(files, change)
    assert [name for name, check in found.items() if not check.ok] == ["NaN and infinity in samples"]
    check = found["NaN and infinity in samples"]
    assert check.text.endswith("3 of 9 samples with NaN or infinity are not flagged, or have a score")
    assert (check.value, check.limit) == (3, "== 0")


def test_a_wrong_score_is_named_with_the_right_one(files: Files) -> None:
    """A runtime that computes in integers has no scores at a tie."""
    program = files.programs.split
    x = expect(program, files.data.scaled, "multiply")
    given = (files.detector, "split", program, files.data.io, files.data.x, files.data.scaled, x.x)
    right = Scored.between(*given, (x.y, x.y))[0].score[7]

    def change(_x: np.ndarray, outputs: Outputs) -> None:
        if len(outputs[SCORE]) == 300:
            outputs[SCORE][7] *= np.float32(1.5)

    found = checks(files, change)
    check = found["score of samples"]
    text = f"300 scores of samples differ from the program's by at most 0.5 of their value; at [7] got {1.5 * right:.6g}"
    assert not check.ok and text[:-3] in check.text and f"expected {right:.6g}"[:-1] in check.text
    assert check.limit == "<= 1e-05" and float(check.value) == pytest.approx(0.5, rel=1e-4)
    whole = checks(files, lambda _x, _outputs: None)["score of samples"]
    assert whole.ok and whole.limit == "<= 1e-05" and whole.text.endswith(" of their value")


def test_scores_that_are_all_at_a_tie_leave_none_that_is_exact(files: Files) -> None:
    low = Scored(files.detector, "split", np.array([100, 200, 300]))
    high = dataclasses.replace(low, totals=np.array([110, 210, 310]))
    subject = files.subject("litert-xnnpack")
    _check_scores(subject, low, high, low.score, np.array([0.0, 0.0, -1e-3]), np.arange(3), "samples")
    (check,) = subject.findings.judged(VerifyConfig())
    text = "0 scores of samples differ from the program's by at most 0 of their value; 3 have integers at a tie"
    assert check.ok and text in check.text


@dataclasses.dataclass(frozen=True)
class SourceScores:
    """Integer scores and flags as source text gives them."""

    answer: tuple[np.ndarray, np.ndarray] | None
    runtime: str = "c"

    def scores(self, _x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        return self.answer


@pytest.mark.parametrize("name", ["bytes, uint8", "table, model"])
def test_flags_of_source_text_are_the_programs_but_at_the_threshold_of_floats(
    name: str, make_program: Callable[..., Any], tmp_path: Path
) -> None:
    data = DATA[name]
    programs = programs_of(data, make_program)
    files = Files.write(tmp_path, programs, data, detector_of(programs, data, "mse"))
    subject = files.subject("ort-cpu")
    expected = expect(subject.program, data.scaled, "divide")
    given = (files.detector, "fused", subject.program, data.io, data.x, data.scaled, expected.x)
    right, _ = Scored.between(*given, (expected.y, expected.y))
    near, far = int(np.flatnonzero(right.near)[0]), int(np.flatnonzero(~right.near)[0])

    def failed(*flipped: int) -> list[tuple[str, object]]:
        flags = right.anomaly.copy()
        flags[list(flipped)] ^= True
        session: Any = SourceScores((right.totals, flags))
        source: Subject = dataclasses.replace(subject, session=session, findings=Findings())
        assert _compare_integers(source, files.detector, evidence_of(files), expected, "samples")
        return [(check.detail, check.value) for check in source.findings.judged(VerifyConfig()) if not check.ok]

    floats = data.spec.dtype == "float32"
    assert failed() == []
    assert failed(far) == [("anomaly of samples", 1)]
    assert failed(near) == ([] if floats else [("anomaly of samples", 1)])
    assert failed(near, far) == [("anomaly of samples", 1 if floats else 2)]
    none: Any = SourceScores(None)
    source = dataclasses.replace(subject, session=none, findings=Findings())
    assert not _compare_integers(source, files.detector, evidence_of(files), expected, "samples")
    assert source.findings.observed == []
