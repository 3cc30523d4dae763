"""The scaling of samples, fitted to their ranges or moments."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tiedae.base.errors import DataError
from tiedae.config.scaling import LARGEST_REACH, OUTPUT_RANGES, Rule, Scaling

from .samples import Samples

MIN_SPAN = float(np.finfo(np.float32).tiny)
"""A feature of a smaller span is constant: float32's smallest normal number."""
LARGEST = 1e30
"""Limit on the magnitude of values, and of 1 / scale: files multiply by both in float32, and some runtimes flush the smallest
numbers to 0."""


def fit_scaling(
    rule: Rule | Literal["auto"],
    samples: Samples,
    *,
    per_feature: bool = False,
    channels: int = 1,
    output_activation: str = "sigmoid",
    source: str = "samples",
) -> Scaling:
    """Fit a scaling to samples, in one or two passes over chunks.

    `auto` is `byte` for uint8, `standard` for a linear output, `capped` with several scales, else `minmax` to the range of the
    output activation; with one scale, data that are already within that range stay unscaled. `capped` where no value reaches
    that far is `standard`. `per_feature` fits an offset and scale per feature, else `channels` one for each: value i is of
    channel i mod `channels`. A constant feature or channel maps to the middle of the range, which every output activation
    reaches, with its magnitude (1 for 0) as scale, so that a small model error stays small relative to it.

    Raises DataError, naming `source`, if `byte` is given for values outside 0…255, or if values differ by too little for
    float32.
    """
    if rule == "auto" and samples.dtype == np.uint8:
        rule = "byte"
    if rule == "none":
        return Scaling()
    if rule == "byte" and samples.dtype == np.uint8:
        return Scaling("byte", 0.0, 255.0)
    low, high = samples.extent
    if rule == "byte":
        if low.min() < 0 or high.max() > 255:
            got = f"has values from {low.min():g} to {high.max():g}"
            raise DataError(f'{source}: {got}; scaling "byte" divides by 255, they must lie in 0…255')
        return Scaling("byte", 0.0, 255.0)
    scales = samples.inputs if per_feature else channels
    if rule == "auto":
        reached = OUTPUT_RANGES.get(output_activation)
        if scales == 1 and reached is not None and reached[0] <= low.min() and high.max() <= reached[1]:
            return Scaling()
        rule = "minmax" if reached is not None else "capped" if scales > 1 else "standard"
    low, high = low.reshape(-1, scales).min(axis=0), high.reshape(-1, scales).max(axis=0)
    if rule in ("standard", "capped"):
        middle = 0.0
        offset, scale = _moments(samples, scales)
        least = np.maximum(high - offset, offset - low) / LARGEST_REACH
        rule = "capped" if rule == "capped" and np.any(least > scale) else "standard"
        scale = np.maximum(scale, least) if rule == "capped" else scale
    else:
        bottom, top = OUTPUT_RANGES.get(output_activation, (0.0, 1.0))
        middle = (bottom + top) / 2
        scale = (high - low) / (top - bottom)
        offset = low - bottom * scale
    constant = high - low < MIN_SPAN
    scale = np.where(constant, np.where(np.abs(low) < MIN_SPAN, 1.0, np.abs(low)), scale)
    offset = np.where(constant, low - middle * scale, offset)
    if scale.min() < 1 / LARGEST:
        what = "feature" if per_feature else "channel"
        got = f"{what} {scale.argmin()} would be divided" if scales > 1 else "values would be divided"
        raise DataError(f"{source}: {got} by {scale.min():.3g}, must be at least {1 / LARGEST:g}; scale the data")
    if per_feature or scales > 1:
        offset, scale = (np.tile(each, samples.inputs // scales) for each in (offset, scale))
        return Scaling(rule, tuple(offset.tolist()), tuple(scale.tolist()))
    return Scaling(rule, float(offset[0]), float(scale[0]))


def _moments(samples: Samples, scales: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float64 [scales], in two passes, which are stable under large offsets.

    Value i of a sample belongs to scale i mod `scales`.
    """

    def average(of: Any) -> np.ndarray:
        total = np.zeros(samples.inputs)
        for _, chunk in samples.chunks():
            total += of(chunk.astype(np.float64, copy=False)).sum(axis=0)
        return (total / len(samples)).reshape(-1, scales).mean(axis=0)

    mean = average(lambda x: x)
    center = np.tile(mean, samples.inputs // scales)
    return mean, np.sqrt(average(lambda x: np.square(x - center)))
