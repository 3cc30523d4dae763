"""Anomaly detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from ..manifest import Manifest
from .results import AnomalyResult
from .row import Exported, TableRow, TaskMeasurement, TaskRow, not_measured


def measure(exported: Exported) -> TaskMeasurement:
    return not_measured("anomaly", "this version has no measure for it")


def section(manifest: Manifest, result: AnomalyResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    return Markup()


def card(result: AnomalyResult) -> str:
    return ""


def rows(result: AnomalyResult) -> Sequence[TableRow]:
    return ()


ROW = TaskRow("Anomaly detection", measure, section, card, rows)
