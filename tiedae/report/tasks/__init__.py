"""How the results of tasks are shown: one module per kind of task, one row each in `TASK_VIEWS`, by `kind` of `[task]`."""

from __future__ import annotations

from collections.abc import Mapping

from . import anomaly, compression, denoising, reduction
from .view import TaskView

TASK_VIEWS: Mapping[str, TaskView] = {
    "compression": compression.VIEW,
    "anomaly": anomaly.VIEW,
    "denoising": denoising.VIEW,
    "reduction": reduction.VIEW,
}
