"""Images of kernels and masks: first-layer kernels of image data as filters, others as matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from tiedae.base.numbers import fraction, number
from tiedae.bundle.manifest import Manifest
from tiedae.program.operations.interleave import interleaved

from .images import STEPS, diverging, indexed
from .pages import fragment
from .samples import is_image

KERNEL_BYTES = 500_000
"""Maximum bytes of all images of kernels."""
FILTERS, FILTER_SIDE, COLUMNS = 128, 56, 16
"""Maximum number of filters, their longest side in pixels, and filters per row."""
SMALL = 16
"""Filters of fewer pixels are in full rows, of which few filters leave a part empty: they would be drawn too large."""
WIDE = 256
"""Pixels of a page to which a small matrix is enlarged."""
SIDES = (512, 384, 256, 128, 64, 32)
"""Sides of a matrix in pixels, tried in order until it fits."""
SATURATION = 0.99
"""Quantile of the kept weights' magnitudes at full colour."""
PRUNED = (58, 63, 71)
PALETTE = np.concatenate([diverging(np.linspace(-1, 1, STEPS)), np.array([PRUNED, (255, 255, 255)], np.uint8)])
PRUNED_INDEX, GAP_INDEX = STEPS, STEPS + 1
"""Palette entries: dark gray for pruned weights, transparent between filters."""
KernelImage = tuple[str, Sequence[int], str]
"""Data URI, (rows, columns) in pixels of the page, description."""


@dataclass(frozen=True, eq=False)
class MaskedWeights:
    """Weights, float32, and their mask, bool; both [inputs, units]."""

    name: str
    weights: np.ndarray
    mask: np.ndarray

    @cached_property
    def limit(self) -> float:
        """The magnitude at full colour."""
        kept = np.abs(self.weights[self.mask])
        return float(np.quantile(kept, SATURATION)) if kept.any() else 1.0

    @property
    def facts(self) -> str:
        inputs, units = self.mask.shape
        pruned = fraction(self.mask.size - int(np.count_nonzero(self.mask)), self.mask.size)
        return f"{inputs} × {units}, {pruned} pruned, full colour at ±{number(self.limit)}"


def render_kernels(manifest: Manifest, kernels: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> Markup:
    """The section of the report: an image per kernel of the manifest, `KERNEL_BYTES` in all."""
    shape, groups = manifest.recipe.model.layers[0].filter(manifest.data.shape), manifest.model.interleave
    drawable = (shape != manifest.data.shape or is_image(shape)) and math.prod(shape) == manifest.kernels[0].shape[0]
    drawn = []
    budget = KERNEL_BYTES // len(manifest.kernels)
    for i, info in enumerate(manifest.kernels):
        weights, mask = kernels[info.name] * np.array(info.scale, np.float32), masks[info.name]
        if i == 0:
            weights, mask = _by_input(weights, groups), _by_input(mask, groups)
        kernel = MaskedWeights(info.name, weights, mask)
        filters = drawable and i == 0
        image = _filters(kernel, shape, budget) if filters else _matrix(kernel, budget)
        drawn.append(("filters" if filters else "matrix", kernel, *image))
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        images=drawn,
        palette=PALETTE[:STEPS].tolist(),
        pruned=PRUNED,
        saturation=f"{SATURATION:.0%}",
    )


def _by_input(rows: np.ndarray, groups: int) -> np.ndarray:
    """The rows of the first kernel in the order of the inputs: undoes the interleaving."""
    return interleaved(rows.T, len(rows) // groups).T


def _filters(kernel: MaskedWeights, shape: Sequence[int], budget: int) -> KernelImage:
    """The units with the largest norms, each as an image over what it weighs; channels side by side, of signals as rows."""
    order = np.argsort(-np.square(kernel.weights, dtype=np.float64).sum(axis=0), kind="stable")
    height, width, channels = (*shape, 1)[:3]
    ratio = min(1.0, FILTER_SIDE / max(height, width))
    rows, columns = max(1, round(height * ratio)), max(1, round(width * ratio))
    size = (channels, columns) if height == 1 else (rows, columns * channels)
    whole = (channels, width) if height == 1 else (height, channels * width)

    def tile(unit: int) -> np.ndarray:
        weights, mask = (
            each[:, unit].reshape(height, width, channels).transpose(0, 2, 1).reshape(whole)
            for each in (kernel.weights, kernel.mask)
        )
        return np.pad(_indices(weights, mask, size, kernel.limit), 1, constant_values=GAP_INDEX)

    count = min(FILTERS, len(order))
    while True:
        beside = COLUMNS if max(size) < SMALL else min(COLUMNS, count)
        tiles = [tile(unit) for unit in order[:count]]
        tiles += [np.full_like(tiles[0], GAP_INDEX)] * (-count % beside)
        grid = np.block([tiles[start : start + beside] for start in range(0, len(tiles), beside)])
        source = indexed(grid, PALETTE, transparent=GAP_INDEX)
        if len(source) <= budget or count <= COLUMNS:
            break
        count //= 2
    which = f"the {count} of {len(order)} units with the largest norms" if count < len(order) else f"all {count} units"
    return source, grid.shape, f"{which}, each drawn over its inputs"


def _matrix(kernel: MaskedWeights, budget: int) -> KernelImage:
    size: tuple[int, ...] = kernel.weights.shape
    source = ""
    for side in SIDES:
        size = tuple(min(n, side) for n in kernel.weights.shape)
        source = indexed(_indices(kernel.weights, kernel.mask, size, kernel.limit), PALETTE, transparent=GAP_INDEX)
        if len(source) <= budget:
            break
    whole = size == kernel.weights.shape
    zoom = max(1, WIDE // max(size))
    size = tuple(zoom * n for n in size)
    text = "inputs downwards, units across" + ("" if whole else "; a pixel is the mean of its kept weights")
    return source, size, text


def _indices(weights: np.ndarray, mask: np.ndarray, size: Sequence[int], limit: float) -> np.ndarray:
    """Palette indices, uint8 [`size`]: the mean of the kept weights per pixel, or pruned if most of its weights are."""
    kept, sums = _shrink(mask, size), _shrink(weights * mask, size)
    level = np.clip(sums / np.maximum(kept, 1e-6) / limit, -1, 1)
    colour = np.rint((level + 1) / 2 * (STEPS - 1)).astype(np.uint8)
    return np.where(kept < 0.5, np.uint8(PRUNED_INDEX), colour)


def _shrink(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The mean of the values per pixel, float32 [`size`]."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32), "F")
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BOX))
