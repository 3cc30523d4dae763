"""Numbers of strangers: each number of a JSON document as the worst ones. It is refused in one line, or shown."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from msgspec import inspect

from tiedae.base.errors import TiedaeError

from .documents import metrics_subject
from .grid import Subject, _types
from .subjects import SUBJECTS, bundle_in

NUMBERS = (0, 1, 3, -1, 0.5, 5e-324, 1e-300, 1.7e308, 10**40, -(10**40), 2**63)
ESTIMATE = {"value": 0.9, "low": 0.8, "high": 0.95}
LABEL = {"label": "a", "normal": False, "samples": 20, "flagged": 9, "roc_auc": ESTIMATE}
ANOMALY: dict[str, Any] = {
    **{"kind": "anomaly", "score": "mse", "quantile": 0.99, "threshold": 1.0, "held_out": 200, "samples": 120, "alarms": 12},
    **{"normal": 100, "false_alarms": 3, "seed": 0},
    "methods": [{"method": each, "roc_auc": ESTIMATE, "pr_auc": ESTIMATE, "f1": ESTIMATE} for each in ("int8", "float", "pca")],
    "labels": [LABEL, {**LABEL, "label": "n", "normal": True, "samples": 100, "flagged": 3, "roc_auc": None}],
}


def anomalies(metrics: dict[str, Any]) -> None:
    """Of an anomaly task."""
    metrics |= {"task": ANOMALY, "alarms": [{"file": "a", "runtime": "r", "quantile": 0.99, "normal": 100, "false_alarms": 3}]}


DOCUMENTS = {
    **{name: SUBJECTS[name] for name in ("manifest", "metrics", "recipe", "calibration")},
    "anomaly": lambda folder: metrics_subject(bundle_in(folder), anomalies),
}
ONLY = {"anomaly": ("task", "alarms")}
"""Parts of a document whose other parts another one has too."""
FEW = 2
"""Items of each list that are tried."""


def places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the numbers of a document are."""
    parts = document.items() if isinstance(document, dict) else enumerate(document[:FEW]) if isinstance(document, list) else ()
    for key, part in parts:
        yield from places(part, (*place, key))
    if isinstance(document, int | float) and not isinstance(document, bool):
        yield place


def put(document: Any, place: tuple[Any, ...], value: float) -> Any:
    changed = copy.deepcopy(document)
    *way, last = place
    holder = changed
    for key in way:
        holder = holder[key]
    holder[last] = value
    return changed


def problem(subject: Subject, place: tuple[Any, ...], value: float) -> str:
    """What is raised beside a TiedaeError."""
    try:
        subject.show(subject.read(put(subject.document, place, value)))
    except TiedaeError as error:
        return "" if "\n" not in str(error) else f"{place} = {value}: {error}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no TiedaeError
        return f"{place} = {value}: {error!r}"
    return ""


@pytest.mark.night
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_number_of_a_stranger_is_refused_or_shown(name: str, tmp_path: Path) -> None:
    subject = DOCUMENTS[name](tmp_path)
    subject.show(subject.read(subject.document))
    with patch.object(inspect, "type_info", _types):
        tried = [place for place in places(subject.document) if place[0] in ONLY.get(name, place)]
        cells = [problem(subject, place, value) for place in tried for value in NUMBERS]
    assert len(cells) > 100 and not [*filter(None, cells)], "\n".join([*filter(None, cells)][:20])
