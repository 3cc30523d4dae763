"""The covering array of `tests/jobs/matrix.py`: each case trained, to verified files that give equal samples."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from rows import Row

from tiedae.config.combinations import FEATURES, FORBIDDEN
from tiedae.report.console import Console

sys.path.append(str(Path(__file__).parent.parent))

from tests.jobs.matrix import cases, covered, failures


def rows(console: Console) -> Sequence[Row]:
    array = list(enumerate(cases()))
    wrong = []
    for number, case, text in failures(array, trained=True):
        console.note(f"case {number}, {', '.join(case.values())}: {text}")
        wrong.append(number)
    count = len(set().union(*(covered(case) for _, case in array)))
    share = len(FORBIDDEN) / len(list(combinations(FEATURES, 2)))
    detail = f"{len(array)} cases, {count} pairs, {len(FORBIDDEN)} pairs of features ({share:.1%}) forbidden"
    return [Row("matrix_failed", len(wrong), "cases", "== 0", detail=detail)]
