"""Denoising."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from ..manifest import Manifest
from .results import DenoisingResult
from .row import Exported, TableRow, TaskMeasurement, TaskRow, not_measured


def measure(exported: Exported) -> TaskMeasurement:
    return not_measured("denoising", "this version has no measure for it")


def section(manifest: Manifest, result: DenoisingResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    return Markup()


def card(result: DenoisingResult) -> str:
    return ""


def rows(result: DenoisingResult) -> Sequence[TableRow]:
    return ()


ROW = TaskRow("Denoising", measure, section, card, rows)
