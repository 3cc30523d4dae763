"""Elementwise comparison of two arrays, used by the parity checks, `dedupe` and `assert_parity`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tiedae.compress.blocks import blocks

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
    if got.dtype.kind == "f" and not (np.isfinite(got).all() and np.isfinite(expected).all()):
        broken = ~np.isfinite(got) | ~np.isfinite(expected)
        samples = tuple(sample_at(index, expected, got) for index in _places(broken.ravel()))
        count = int(broken.sum())
        problem = f"{count} of {got.size} values are not finite, first at {place(samples[0])}"
        return Differences(got.size, count, samples=samples, problem=problem)
    counts, differing, total, full_scale = np.zeros(511, np.int64), 0, 0.0, 0.0
    largest: list[tuple[float, int]] = []
    wanted, given = expected.ravel(), got.ravel()
    for part in blocks(given):
        want, have = wanted[part], given[part]
        if got.dtype in (np.int8, np.uint8):
            signed = have.astype(np.int16) - want
            counts += np.bincount(signed + 255, minlength=511)
            gaps = np.abs(signed)
        else:
            gaps = np.abs(have.astype(np.float64) - want.astype(np.float64))
            gaps = gaps if got.dtype.kind == "f" else np.where(have == want, 0, np.maximum(gaps, 1))
        differing, total = differing + int(np.count_nonzero(gaps)), total + float(gaps.sum())
        found = _places(gaps)
        largest += zip(gaps[found].tolist(), (part.start + found).tolist(), strict=True)
        if got.dtype.kind == "f":
            full_scale = max(full_scale, float(np.abs(want).max(initial=0)))
    largest = sorted(largest, key=lambda each: (-each[0], each[1]))[:SHOWN]
    return Differences(
        count=got.size,
        differing=differing,
        largest=float(largest[0][0]) if largest else 0.0,
        mean=total / got.size if got.size else 0.0,
        full_scale=full_scale,
        histogram={str(index - 255): int(counts[index]) for index in np.flatnonzero(counts)},
        samples=tuple(sample_at(index, expected, got) for _, index in largest),
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


def _places(size: np.ndarray) -> np.ndarray:
    """Flat indices of the `SHOWN` largest nonzero values, in descending order, ties by index."""
    places = np.flatnonzero(size)
    if len(places) > SHOWN:
        kth = len(places) - SHOWN
        places = places[size[places] >= np.partition(size[places], kth)[kth]]
    return places[np.argsort(-size[places].astype(np.float64), kind="stable")][:SHOWN]


def _first(values: np.ndarray) -> str:
    return f"[{', '.join(_brief(_plain(value)) for value in values.ravel()[:SHOWN])}]"


def _plain(value: np.generic) -> int | float | str:
    number = value.item()
    return str(number) if isinstance(number, float) and not np.isfinite(number) else number


def _brief(value: int | float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
