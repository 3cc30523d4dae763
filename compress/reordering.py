"""Reordering hidden units before an N:M pattern: tiles then hold fewer weights that all matter.

The order of hidden units is free: columns of one kernel and rows of the next move together, in both directions of the tie.
Which units stand side by side decides which weights compete for the n places of a tile (channel permutation, Pool & Yu 2021).
"""

from __future__ import annotations

import numpy as np

from .autoencoder import TiedAutoencoder
from .config import PruneConfig
from .patterns import ENUMERATED, kept
from .saliency import Scores

ROUNDS = 500
"""How often the groups of units are paired at random, each pair then trying one exchange."""
LEAST_GAIN = 1e-8
"""Of the sum of all scores; below it an exchange gains nothing but float32's noise."""


def reorder_units(model: TiedAutoencoder, scores_of: Scores, config: PruneConfig, *, seed: int) -> None:
    """Reorder the hidden units of a float model in place, so that N:M masks keep more of its scores.

    The function of the model stays. Nothing happens where the masks of a tile are too many to try them all.
    """
    if config.n_of_m[1] > ENUMERATED or len(model.kernels) == 1:
        return
    rng = np.random.default_rng(seed)
    scores = scores_of()
    for i in range(len(model.kernels) - 1):
        sides = [side for k, side in ((i, scores[i].T), (i + 1, scores[i + 1])) if k not in config.skip]
        if sides:
            order = exchanged(np.concatenate(sides, axis=1), *config.n_of_m, rng)
            scores[i], scores[i + 1] = scores[i][:, order], scores[i + 1][order]
            move_units(model, i, order)


def exchanged(scores: np.ndarray, n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """An order of rows in which n:m masks keep more of `scores`, float [rows, columns], both multiples of m: int [rows]."""
    scores = (scores / max(scores.sum(), 1e-30)).astype(np.float32)
    groups = np.arange(len(scores)).reshape(-1, m)
    sums = kept(scores, groups, n, m)
    for _ in range(ROUNDS if len(groups) > 1 else 0):
        first, second = rng.permutation(len(groups))[: len(groups) // 2 * 2].reshape(2, -1)
        a, b = groups[first], groups[second]
        pair, (i, j) = np.arange(len(a)), rng.integers(0, m, (2, len(a)))
        a[pair, i], b[pair, j] = b[pair, j], a[pair, i]
        of_a, of_b = kept(scores, a, n, m), kept(scores, b, n, m)
        better = of_a + of_b > sums[first] + sums[second] + LEAST_GAIN
        for where, group, total in ((first, a, of_a), (second, b, of_b)):
            groups[where[better]], sums[where[better]] = group[better], total[better]
    return groups.ravel()


def move_units(model: TiedAutoencoder, layer: int, order: np.ndarray) -> None:
    """Give the units of a hidden layer another order, in place: unit j is then what unit `order`[j] was, in both directions."""
    kernel, following = model.kernels[layer], model.kernels[layer + 1]
    mirrored = list(reversed(model.decoder.stack))[layer + 1]
    for each, axis in ((kernel, 1), (following, 0)):
        each.variable.assign(each.variable.numpy().take(order, axis))
        if each.mask is not None:
            each.set_mask(each.mask.numpy().take(order, axis))
    for bias in (model.encoder.stack[layer].bias, mirrored.bias):
        if bias is not None:
            bias.assign(bias.numpy()[order])
