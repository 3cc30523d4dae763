"""Dimensionality reduction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from ..manifest import Manifest
from .results import ReductionResult
from .row import Exported, TableRow, TaskMeasurement, TaskRow, not_measured


def measure(exported: Exported) -> TaskMeasurement:
    return not_measured("reduction", "this version has no measure for it")


def section(manifest: Manifest, result: ReductionResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    return Markup()


def card(result: ReductionResult) -> str:
    return ""


def rows(result: ReductionResult) -> Sequence[TableRow]:
    return ()


ROW = TaskRow("Dimensionality reduction", measure, section, card, rows)
