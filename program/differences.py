"""Elementwise comparison of two arrays, used by the parity checks, `dedupe` and `assert_parity`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEAST_SCALE = 0.1
"""Lower bound of a full scale: an activation may shrink sums that were rounded at their own magnitude."""
SHOWN = 3
"""Maximum number of differing values reported."""

Sample = tuple[list[int], int | float | str, int | float | str]
"""(index, expected, got); NaN and infinity as text."""


@dataclass(frozen=True)
class Differences:
    """Differences between `got` and `expected`: integers in LSB, floats as absolute differences.

    `differing` of `count` values differ; `largest` and `mean` are taken over all values. `full_scale` is the largest expected
    magnitude of floats. `histogram` counts got − expected of 8-bit integers. `samples` are the largest differences. `problem`
    is the reason if the arrays cannot be compared: a dtype or shape mismatch (every value counts as differing), or values that
    are not finite (these count).
    """

    count: int
    differing: int
    largest: float = 0.0
    mean: float = 0.0
    full_scale: float = 0.0
    histogram: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    problem: str = ""


def differences(expected: np.ndarray, got: np.ndarray) -> Differences:
    """Compare two arrays of equal dtype and shape. A mismatch, NaN or infinity becomes `problem`, never a number."""
    if problem := mismatch(expected, got):
        return Differences(got.size, got.size, problem=problem)
    if got.dtype.kind not in "fiub":
        other = np.argwhere(expected != got)
        text = f"{len(other)} of {got.size} values of {got.dtype} differ, first at "
        return Differences(got.size, len(other), problem=f"{text}{other[0].tolist()}" if len(other) else "")
    if got.dtype.kind == "f":
        broken = ~np.isfinite(got) | ~np.isfinite(expected)
        if broken.any():
            samples, count = _largest(broken, expected, got), int(broken.sum())
            problem = f"{count} of {got.size} values are not finite, first at {place(samples[0])}"
            return Differences(got.size, count, samples=samples, problem=problem)
    histogram: dict[str, int] = {}
    if got.dtype in (np.int8, np.uint8):
        signed = got.astype(np.int16) - expected
        values, counts = np.unique(signed, return_counts=True)
        histogram = {str(value): int(count) for value, count in zip(values, counts, strict=True)}
        gaps = np.abs(signed)
    else:
        gaps = np.abs(got.astype(np.float64) - expected.astype(np.float64))
        gaps = gaps if got.dtype.kind == "f" else np.where(got == expected, 0, np.maximum(gaps, 1))
    return Differences(
        count=got.size,
        differing=int(np.count_nonzero(gaps)),
        largest=float(gaps.max(initial=0)),
        mean=float(gaps.mean()) if gaps.size else 0.0,
        full_scale=float(np.abs(expected).max(initial=0)) if got.dtype.kind == "f" else 0.0,
        histogram=histogram,
        samples=_largest(gaps, expected, got),
    )


def mismatch(expected: np.ndarray, got: np.ndarray) -> str:
    """Describe a mismatch of dtype or shape; empty if there is none."""
    if (expected.dtype, expected.shape) == (got.dtype, got.shape):
        return ""
    shapes = f"got {got.dtype} {list(got.shape)}, expected {expected.dtype} {list(expected.shape)}"
    return f"{shapes}; first values {_first(got)} against {_first(expected)}"


def sample_at(index: Any, expected: np.ndarray, got: np.ndarray) -> Sample:
    """Index and values at a flat index."""
    at = np.unravel_index(int(index), got.shape)
    return [int(i) for i in at], _plain(expected[at]), _plain(got[at])


def place(sample: Sample) -> str:
    """A sample as text."""
    index, expected, got = sample
    return f"{index}: got {_brief(got)}, expected {_brief(expected)}"


def _largest(size: np.ndarray, expected: np.ndarray, got: np.ndarray) -> tuple[Sample, ...]:
    """The `SHOWN` samples of largest nonzero `size`, in descending order, ties by index."""
    flat = size.ravel()
    places = np.flatnonzero(flat)
    if len(places) > SHOWN:
        kth = len(places) - SHOWN
        places = places[flat[places] >= np.partition(flat[places], kth)[kth]]
    places = places[np.argsort(-flat[places].astype(np.float64), kind="stable")][:SHOWN]
    return tuple(sample_at(index, expected, got) for index in places)


def _first(values: np.ndarray) -> str:
    return f"[{', '.join(_brief(_plain(value)) for value in values.ravel()[:SHOWN])}]"


def _plain(value: np.generic) -> int | float | str:
    number = value.item()
    return str(number) if isinstance(number, float) and not np.isfinite(number) else number


def _brief(value: int | float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
