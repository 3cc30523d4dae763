"""The rows of groups: in words, what a group lacks."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.report.group_table import area_text, group_lines
from tiedae.tasks.groups import by_group

SCORES = np.array([1.0, 2, 3, 9, 8, 1, np.nan, np.nan])
GROUPS = np.array([2, 2, 2, 2, 10, 10, 3, 3])
ANOMALOUS = np.array([False, False, False, True, True, True, False, False])


@pytest.mark.parametrize("with_labels", [True, False])
def test_a_group_has_figures_of_its_own_samples(with_labels: bool) -> None:
    flags = np.isnan(SCORES) | (SCORES > 2.5)
    rows = {row.group: row for row in by_group(GROUPS, SCORES, flags, ANOMALOUS if with_labels else None, 0)}
    assert list(rows) == ["2", "3", "10"] and [row.samples for row in rows.values()] == [4, 2, 2]
    assert [row.mean for row in rows.values()] == [3.75, None, 4.5] and [row.flagged for row in rows.values()] == [2, 2, 1]
    if not with_labels:
        assert all(row.normal is None and row.roc_auc is None and not area_text(row) for row in rows.values())
        return
    assert [(row.normal, row.false_alarms) for row in rows.values()] == [(3, 1), (2, 2), (0, 0)]
    assert rows["2"].roc_auc is not None and rows["2"].roc_auc.value == 1.0
    assert (area_text(rows["3"]), area_text(rows["10"])) == ("no anomalies", "no normal samples")
    lines = group_lines([*rows.values()])
    assert lines[1] == "group 3: 2 samples, no score, flagged 2 (100.0%); of 2 normal ones 2, no anomalies"
    assert lines[2] == "group 10: 2 samples, mean 4.5, flagged 1 (50.0%), no normal samples"


def test_other_tasks_have_errors_alone() -> None:
    rows = by_group(GROUPS[:6], SCORES[:6], None, None, 0)
    assert group_lines(rows) == ["group 2: 4 samples, mean 3.75", "group 10: 2 samples, mean 4.5"]
