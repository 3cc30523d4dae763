"""Normal samples: those that an anomaly detector learns from, chosen by their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tiedae.base.errors import DataError
from tiedae.config.tasks import MOST_INPUTS, Anomaly, Task, held_out_samples

from .dataset import Dataset
from .labels import Label, is_among, require_occurring, with_labels
from .samples import Samples

NORMAL = (0, "normal")
"""The labels of normal samples where a task states none."""


def is_normal(labels: np.ndarray, normal: Sequence[Label] = ()) -> np.ndarray:
    """Which labels [n] are among `normal` (none: `NORMAL`), bool [n]. Numbers compare as such: 3, 3.0 and "3" are one label."""
    return is_among(labels, normal or NORMAL)


def normal_rows(test: Samples, task: Task, rows: np.ndarray) -> np.ndarray | None:
    """Which of these test samples are normal, bool [n]; None of another task, or without labels."""
    labelled = isinstance(task, Anomaly) and test.labels is not None
    return is_normal(np.asarray(test.labels)[rows], normal_of(task)) if labelled else None


def measured_rows(count: int, normal: np.ndarray | None) -> np.ndarray:
    """Which of `count` samples quality is measured on, by index: the normal ones, all where that is not known or none is."""
    return np.arange(count) if normal is None or not normal.any() else np.flatnonzero(normal)


def normal_only(data: Dataset, normal: Sequence[Label], source: str = "data") -> Dataset:
    """The same data with training and validation samples of these labels alone, all where `normal` is empty; the test stays.

    Raises DataError, naming the source, where there are no labels, or no training sample of one that is stated.
    """
    if not normal:
        return data
    require_occurring(data.train.labels, normal, "task.normal", source, "training sample")
    train = with_labels(data.train, normal)
    if data.validation is None or data.validation.labels is None:
        return replace(data, train=train)
    held = with_labels(data.validation, normal)
    return replace(data, train=train, validation=held if len(held) else None)


def normal_of(task: Task) -> tuple[Label, ...]:
    """The labels that a task trains on; empty for all."""
    return task.normal if isinstance(task, Anomaly) else ()


def require_detectable(data: Dataset, task: Task, source: str) -> None:
    """Raise DataError where an anomaly task has too few held-out normal samples for its quantile, or too many values each."""
    if not isinstance(task, Anomaly):
        return
    if data.inputs > MOST_INPUTS:
        raise DataError(f"{source}: has {data.inputs:,} values per sample, must be at most {MOST_INPUTS:,} with [task] anomaly")
    got, least = 0 if data.validation is None else len(data.validation), held_out_samples(task.quantile)
    if got < least:
        right = f"must be {least} or more for task.quantile {task.quantile:g}"
        raise DataError(f"{source}: has {got} held-out normal samples, {right}; raise `validation` in [data]")
