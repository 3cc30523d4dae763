"""Tasks: what the exported program is measured for, by `kind` of the recipe's `[task]`. One module per kind."""

from __future__ import annotations

from collections.abc import Mapping

from . import anomaly, compression, denoising, reduction
from .row import TaskRow

TASKS: Mapping[str, TaskRow] = {
    "compression": compression.ROW,
    "anomaly": anomaly.ROW,
    "denoising": denoising.ROW,
    "reduction": reduction.ROW,
}
