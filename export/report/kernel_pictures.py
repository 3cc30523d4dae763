"""Kernels as pictures with their masks: first-layer kernels of picture data as filters, others as matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from ..operations.interleave import interleaved
from .figures import escape, number, share
from .key_figures import Row
from .pictures import STEPS, diverging, indexed
from .samples import is_picture

KERNEL_BYTES = 500_000
"""What all pictures of kernels may take in the page."""
FILTERS, FILTER_SIDE, COLUMNS = 128, 56, 16
"""How many units are drawn as filters, their longest side in dots, and how many stand beside each other."""
SIDES = (512, 384, 256, 128, 64, 32)
"""Sides that a matrix is shrunk to, each on its own, until it fits."""
SATURATION = 0.99
"""The share of kept weights whose magnitude the palette distinguishes; the largest ones saturate."""
PRUNED = (58, 63, 71)
PALETTE = np.concatenate([diverging(np.linspace(-1, 1, STEPS)), np.array([PRUNED, (255, 255, 255)], np.uint8)])
PRUNED_INDEX, GAP_INDEX = STEPS, STEPS + 1
"""Dark gray for pruned weights; transparent between filters."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights float32 and their mask bool, both [inputs, units]."""

    name: str
    weights: np.ndarray
    mask: np.ndarray

    @cached_property
    def limit(self) -> float:
        """The magnitude in full colour, in real units."""
        kept = np.abs(self.weights[self.mask])
        return float(np.quantile(kept, SATURATION)) if kept.any() else 1.0


def render_kernels(manifest: Row, kernels: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> str:
    """The section of the report: a picture per kernel of `manifest["kernels"]`, within a budget of bytes."""
    shape, ways = manifest["data"]["shape"], manifest.get("model", {}).get("interleave", 1)
    figures = []
    budget = KERNEL_BYTES // max(1, len(manifest["kernels"]))
    for i, stated in enumerate(manifest["kernels"]):
        scale = np.array(stated["scale"], np.float32)
        kernel = Kernel(stated["name"], kernels[stated["name"]] * scale, masks[stated["name"]])
        if i == 0:
            kernel = Kernel(kernel.name, *(_by_input(each, ways) for each in (kernel.weights, kernel.mask)))
        filters = i == 0 and is_picture(shape) and math.prod(shape) == len(kernel.weights)
        figures.append(_filters(kernel, shape, budget) if filters else _matrix(kernel, budget))
    swatches = "".join(f'<i style="background: rgb({r}, {g}, {b})"></i>' for r, g, b in PALETTE[:STEPS].tolist())
    pruned = '<i style="background: rgb({}, {}, {})"></i>'.format(*PRUNED)
    key = f'<p class="key">negative {swatches} positive <span>{pruned} pruned</span></p>'
    intro = (
        "The integers of the int8 files times their scale: the one copy that encoder and decoder share. White is zero, "
        f"full colour the magnitude that {SATURATION:.0%} of the kept weights stay below."
    )
    return f'<p>{intro}</p>\n{key}\n<div class="kernels">\n' + "\n".join(figures) + "\n</div>"


def _by_input(rows: np.ndarray, ways: int) -> np.ndarray:
    """The rows of the first kernel in the order of the inputs."""
    return interleaved(rows.T, len(rows) // ways).T


def _figure(kernel: Kernel, source: str, kind: str, text: str, size: Sequence[int]) -> str:
    inputs, units = kernel.weights.shape
    pruned = kernel.mask.size - int(np.count_nonzero(kernel.mask))
    facts = f"{inputs} × {units}, {share(pruned, kernel.mask.size)} pruned, full colour at ±{number(kernel.limit)}; {text}"
    name = escape(kernel.name)
    image = f'<img src="{source}" width="{size[1]}" height="{size[0]}" alt="weights of {name}, {escape(facts)}">'
    return f'<figure class="{kind}">{image}<figcaption><b>{name}</b> {escape(facts)}</figcaption></figure>'


def _filters(kernel: Kernel, shape: Sequence[int], budget: int) -> str:
    """The units with the largest norms, each as a picture of the inputs; channels stand beside each other."""
    order = np.argsort(-np.square(kernel.weights, dtype=np.float64).sum(axis=0), kind="stable")
    height, width, channels = (*shape, 1)[:3]
    ratio = min(1.0, FILTER_SIDE / max(height, width))
    rows, columns = max(1, round(height * ratio)), max(1, round(width * ratio)) * channels

    def tile(unit: int) -> np.ndarray:
        weights, mask = (
            each[:, unit].reshape(height, width, channels).transpose(0, 2, 1).reshape(height, -1)
            for each in (kernel.weights, kernel.mask)
        )
        return np.pad(_indices(weights, mask, (rows, columns), kernel.limit), 1, constant_values=GAP_INDEX)

    count = min(FILTERS, len(order))
    while True:
        beside = min(COLUMNS, count)
        tiles = [tile(unit) for unit in order[:count]]
        tiles += [np.full_like(tiles[0], GAP_INDEX)] * (-count % beside)
        grid = np.block([tiles[start : start + beside] for start in range(0, len(tiles), beside)])
        source = indexed(grid, PALETTE, transparent=GAP_INDEX)
        if len(source) <= budget or count <= COLUMNS:
            break
        count //= 2
    which = f"the {count} of {len(order)} units with the largest norms" if count < len(order) else f"all {count} units"
    return _figure(kernel, source, "filters", f"{which}, each drawn over the inputs", grid.shape)


def _matrix(kernel: Kernel, budget: int) -> str:
    size: tuple[int, ...] = kernel.weights.shape
    source = ""
    for side in SIDES:
        size = tuple(min(n, side) for n in kernel.weights.shape)
        source = indexed(_indices(kernel.weights, kernel.mask, size, kernel.limit), PALETTE, transparent=GAP_INDEX)
        if len(source) <= budget:
            break
    whole = size == kernel.weights.shape
    text = "inputs downwards, units across" + ("" if whole else "; a dot is the mean of the kept weights under it")
    return _figure(kernel, source, "matrix", text, size)


def _indices(weights: np.ndarray, mask: np.ndarray, size: Sequence[int], limit: float) -> np.ndarray:
    """Palette indices of a picture of `size` rows and columns; a dot is dark where most of the weights under it are pruned."""
    kept, sums = _shrink(mask, size), _shrink(weights * mask, size)
    level = np.clip(sums / np.maximum(kept, 1e-6) / limit, -1, 1)
    colour = np.rint((level + 1) / 2 * (STEPS - 1)).astype(np.uint8)
    return np.where(kept < 0.5, np.uint8(PRUNED_INDEX), colour)


def _shrink(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The mean of the values under each dot."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32), "F")
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BOX))
