"""Sparsity patterns: masks from saliency scores, and checks that a kernel has its pattern.

The encoder reads W and the decoder Wᵀ, so a pattern must hold along both axes.
Imports no TensorFlow, because verification checks patterns too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import combinations, product

import numpy as np

from tiedae.config.config import PruneConfig, require
from tiedae.config.model_config import ModelConfig

Arrays = Sequence[np.ndarray]
Scores = Callable[[], list[np.ndarray]]
"""Current scores of a model's kernels, float [inputs, units] each; larger scores are kept."""
ENUMERATED = 4
"""Largest m of N:M for which all masks of a tile are compared."""
SWAPS = 64
"""Maximum number of swaps that improve a larger tile."""


def largest(scores: Arrays, fraction: float, scope: str) -> list[np.ndarray]:
    """Masks that prune the smallest `fraction` of scores, bool in their shapes: of each array (`layer`) or of all together
    (`global`). The largest score of each array is always kept."""
    flat = [each.ravel() for each in scores] if scope == "layer" else [np.concatenate([each.ravel() for each in scores])]
    masks = [np.ones(each.size, bool) for each in flat]
    for mask, each in zip(masks, flat, strict=True):
        mask[np.argsort(each, kind="stable")[: round(fraction * each.size)]] = False
    parts = np.split(np.concatenate(masks), np.cumsum([each.size for each in scores])[:-1])
    for mask, each in zip(parts, scores, strict=True):
        mask[np.argmax(each)] = True
    return [mask.reshape(each.shape) for mask, each in zip(parts, scores, strict=True)]


def unstructured(scores: Arrays, fraction: float, config: PruneConfig) -> list[np.ndarray]:
    """Single weights."""
    return largest(scores, fraction, config.scope)


def block(scores: Arrays, fraction: float, config: PruneConfig) -> list[np.ndarray]:
    """Whole blocks of `config.block` rows and columns, by the sum of their scores."""
    sums = [tiles(each, *config.block).sum(axis=(1, 3)) for each in scores]
    return [np.kron(kept, np.ones(config.block, bool)) for kept in largest(sums, fraction, config.scope)]


def n_of_m(scores: Arrays, fraction: float, config: PruneConfig) -> list[np.ndarray]:
    """n of every m weights along both axes (a transposable mask, Hubara et al. 2021, arXiv:2102.08124).

    Below the pattern's own sparsity, a ramp prunes only the least salient of the weights outside the pattern.
    """
    n, m = config.n_of_m
    ramped = min(fraction / config.sparsity, 1) * (1 - n / m)
    masks = [transposable(each, n, m) for each in scores]
    out = [np.where(mask, np.inf, each) for mask, each in zip(masks, scores, strict=True)]
    return [mask | kept for mask, kept in zip(masks, largest(out, ramped, "layer"), strict=True)]


def structured(scores: Arrays, fraction: float, config: PruneConfig) -> list[np.ndarray]:
    """Whole units: column j of the kernel that computes unit j and row j of the next. The code only if `config.code`."""
    layers = len(scores) if config.code else len(scores) - 1
    masks = [np.ones(each.shape, bool) for each in scores]
    for i, kept in enumerate(largest(unit_scores(scores)[:layers], fraction, config.scope)):
        masks[i] &= kept
        if i + 1 < len(masks):
            masks[i + 1] &= of_rows(kept, len(masks[i + 1]))[:, None]
    return masks


PATTERNS: Mapping[str, Callable[[Arrays, float, PruneConfig], list[np.ndarray]]] = {
    "unstructured": unstructured,
    "block": block,
    "n:m": n_of_m,
    "structured": structured,
}
"""(scores of each kernel, float [inputs, units]; fraction to prune; configuration) → masks, bool in the same shapes."""


def blocks_held(values: np.ndarray, mask: np.ndarray, config: PruneConfig) -> tuple[bool, str]:
    """Whether every block is kept whole or pruned whole, and pruned blocks are zero."""
    rows, columns = config.block
    kept = tiles(mask != 0, rows, columns).any(axis=(1, 3))
    zero = ~tiles(values != 0, rows, columns).any(axis=(1, 3))
    torn = int(np.count_nonzero(kept & ~tiles(mask != 0, rows, columns).all(axis=(1, 3)) | ~kept & ~zero))
    of = f"{kept.size:,} blocks of {rows} × {columns}"
    return torn == 0, f"{torn:,} of {of} are pruned in part" if torn else f"{np.count_nonzero(zero):,} of {of} are zero"


def n_of_m_held(values: np.ndarray, mask: np.ndarray, config: PruneConfig) -> tuple[bool, str]:
    """Whether at most n of every m values are nonzero, along both axes."""
    n, m = config.n_of_m
    for axis, name in ((1, "inputs"), (3, "units")):
        most = int(tiles(values != 0, m, m).sum(axis=axis).max())
        if most > n:
            return False, f"{most} of {m} values along its {name} are not zero, expected at most {n}"
    return True, f"at most {n} of every {m} values are not zero, along inputs and along units"


HELD: Mapping[str, Callable[[np.ndarray, np.ndarray, PruneConfig], tuple[bool, str]]] = {
    "block": blocks_held,
    "n:m": n_of_m_held,
}
"""(values of a kernel, its mask, configuration) → (whether they have the pattern, a description of the result)."""


def tiles(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Reshape [inputs, units] to [inputs / rows, rows, units / columns, columns]."""
    inputs, units = values.shape
    return values.reshape(inputs // rows, rows, units // columns, columns)


def unit_scores(scores: Arrays) -> list[np.ndarray]:
    """The score of each unit of each layer: the sum over its incoming and outgoing weights."""
    units = [each.shape[1] for each in scores[:-1]]
    read = [*(each.sum(axis=1).reshape(-1, n).sum(axis=0) for each, n in zip(scores[1:], units, strict=True)), 0]
    return [each.sum(axis=0) + after for each, after in zip(scores, read, strict=True)]


def of_rows(units: np.ndarray, inputs: int) -> np.ndarray:
    """Values [units] of the units of a layer for the rows of the next kernel, [inputs], see `layer_kinds`."""
    return np.tile(units, inputs // len(units))


def transposable(scores: np.ndarray, n: int, m: int) -> np.ndarray:
    """The mask, bool [inputs, units], that keeps n weights in every row and column of each m × m tile.

    Optimal up to m = `ENUMERATED`; for larger m greedy, then improved by swaps.
    """
    each = tiles(scores.astype(np.float64), m, m).swapaxes(1, 2).reshape(-1, m, m)
    if m <= ENUMERATED:
        every = _every_mask(n, m)
        masks = every[np.argmax(each.reshape(-1, m * m) @ every.reshape(-1, m * m).T.astype(np.float64), axis=1)]
    else:
        masks = _swap(each, _greedy(each, n))
    inputs, units = scores.shape
    return masks.reshape(inputs // m, units // m, m, m).swapaxes(1, 2).reshape(inputs, units)


@cache
def _every_mask(n: int, m: int) -> np.ndarray:
    """All m × m masks with n in each row and column, bool [count, m, m]: 90 for 2:4."""
    rows = np.array([np.isin(np.arange(m), places) for places in combinations(range(m), n)])
    masks = np.array(list(product(rows, repeat=m)))
    return masks[(masks.sum(axis=1) == n).all(axis=1)]


def kept(scores: np.ndarray, groups: np.ndarray, n: int, m: int) -> np.ndarray:
    """The sum of `scores`, float32 [rows, columns], that optimal n:m masks keep, per group of m rows, int [groups, m]."""
    each = tiles(scores[groups.ravel()], m, m).swapaxes(1, 2).reshape(-1, m * m)
    best = (each @ _every_mask(n, m).reshape(-1, m * m).T.astype(np.float32)).max(axis=1)
    return best.reshape(len(groups), -1).sum(axis=1)


def _greedy(scores: np.ndarray, n: int) -> np.ndarray:
    """Keep the largest scores first, up to n per row and column, then fill incomplete rows and columns by one swap each."""
    count, m, _ = scores.shape
    every = np.arange(count)
    masks = np.zeros(scores.shape, bool)
    for place in np.argsort(-scores.reshape(count, -1), axis=1, kind="stable").T:
        row, column = place // m, place % m
        masks[every, row, column] = (masks[every, row].sum(axis=1) < n) & (masks[every, :, column].sum(axis=1) < n)
    for tile, mask in zip(scores, masks, strict=True):
        while mask.sum() < n * m:
            row, column = np.argmin(mask.sum(axis=1)), np.argmin(mask.sum(axis=0))
            gains = tile[row][None, :] + tile[:, column][:, None] - tile
            allowed = mask & ~mask[row][None, :] & ~mask[:, column][:, None]
            other, there = np.unravel_index(np.argmax(np.where(allowed, gains, -np.inf)), mask.shape)
            mask[other, there], mask[row, there], mask[other, column] = False, True, True
    return masks


def _swap(scores: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Replace two kept weights (a, c), (b, d) by (a, d), (b, c) while that raises a tile's score, by the largest gain first."""
    count, m, _ = scores.shape
    for _ in range(SWAPS):
        best, chosen = np.zeros(count), np.zeros((count, 4), int)
        for a, b in combinations(range(m), 2):
            leave, enter = masks[:, a, :, None] & masks[:, b, None, :], ~masks[:, a, None, :] & ~masks[:, b, :, None]
            gains = scores[:, a, None, :] - scores[:, a, :, None] + scores[:, b, :, None] - scores[:, b, None, :]
            flat = np.where(leave & enter, gains, -np.inf).reshape(count, -1)
            place = np.argmax(flat, axis=1)
            gain = flat[np.arange(count), place]
            better = gain > best
            best = np.where(better, gain, best)
            chosen[better] = np.stack(np.broadcast_arrays(a, b, place // m, place % m), axis=1)[better]
        (moved,) = np.nonzero(best > 1e-12)
        if not len(moved):
            break
        a, b, c, d = chosen[moved].T
        masks[moved, a, c] = masks[moved, b, d] = False
        masks[moved, a, d] = masks[moved, b, c] = True
    return masks


def check_pattern(config: PruneConfig, model: ModelConfig) -> None:
    """Raise RecipeError if the kernels of `model` cannot have the pattern."""
    kernels = model.matrices
    for index in config.skip:
        require(index < len(kernels), "skip", index, f"below {len(kernels)}, the number of kernels")
    require(len(config.skip) < len(kernels), "skip", config.skip, "fewer than all kernels")
    if config.kind in ("block", "n:m"):
        key, got = ("block", list(config.block)) if config.kind == "block" else ("pattern", config.pattern)
        for i, shape in enumerate(kernels):
            if i not in config.skip and any(size % step for size, step in zip(shape, config.tile, strict=True)):
                inputs, units = shape
                right = f"one that divides kernel {i}, {inputs} × {units}; skip = [{i}] leaves that kernel whole"
                require(False, key, got, right)
    if config.kind == "structured":
        layers = model.layers if config.code else model.layers[:-1]
        require(
            len(layers) > 0, "pattern", config.pattern, "another: the model has no hidden units (code = true prunes the code)"
        )
        for i, layer in enumerate(layers):
            stay = layer.units - round(config.sparsity * layer.units)
            right = f"at most {1 - 1 / layer.units:.3g}, so that one of the {layer.units} units of layer {i} stays"
            require(config.scope == "global" or stay >= 1, "sparsity", config.sparsity, right)
