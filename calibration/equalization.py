"""Cross-layer equalization of a tied model: function-preserving scales of hidden units that reduce quantization error.

After a linear or relu activation, the encoder may scale hidden unit j by a: column j of its kernel and its bias times a, row j
of the next kernel times 1/a (Nagel et al. 2019). Through the tie, the decoder scales unit j by 1/a and its next product by a,
so the function of both directions is preserved. The code is not scaled: it would be by a², since its kernel acts twice.

With batch normalization both directions of a unit have a gain. So column j of its kernel may have another scale c: the decoder
then scales unit j by 1/c, and the gains of both by a/c, see `symmetries.rescale_units`.

Unit scales are optimized jointly with the step size of every kernel and activation for the least predicted loss: each rounded
value adds its influence times step²/12, each clipped value its influence times the squared clipping error. The pair rule, see
`integers`, clips two neighbours whose sum is too large. So a weight counts with a larger magnitude, which is at the end of the
range when the sum of its pair is at the limit; pairs are taken where all units have the same largest magnitude. The predicted
loss of such a pair is up to 4 times too large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.curvature import Influence
from tiedae.compress.integers import paired_magnitudes
from tiedae.compress.patterns import of_rows
from tiedae.compress.symmetries import HOMOGENEOUS

ITERATIONS = 120
LEARNING_RATE = 0.05
ACTIVATION_STEPS = 255
MAX_LOG_SCALE = 10.0
"""Largest logarithm of an initial scale."""

Term = tuple[Callable[..., tuple[float, tuple[np.ndarray, ...]]], tuple[int, ...]]
"""A part of the predicted loss: a function of some variables to its value and gradients; the indices of these variables."""


def unit_scales(
    model: TiedAutoencoder, influence: Influence, levels: Sequence[int], *, per_unit: bool = False
) -> list[np.ndarray]:
    """The scale of every hidden unit, float32 [units] per hidden layer; [2, units] where gains allow two, see `rescale_units`.

    1 if the activation or a clustered kernel on either side forbids scaling, or nothing reaches the output. `levels`: the
    largest integer of each kernel; `per_unit`: one step size per unit. Deterministic, and invariant to a previous scaling of
    the hidden units but for one factor of each layer, which costs no precision: the median scale of a layer is 1, so that
    Adam, whose steps do not follow the size of weights, trains each kernel as fast as before.
    """
    hidden = model.config.layers[:-1]
    own = [kernel.clusters is None for kernel in model.kernels]
    free = [layer.activation in HOMOGENEOUS and own[i] and own[i + 1] for i, layer in enumerate(hidden)]
    magnitudes = [np.abs(kernel.matrix) for kernel in model.kernels]
    encoded = [influence.activations[f"encoder_{i}"].values if each.batch_norm else None for i, each in enumerate(hidden)]
    rows, columns = _initial_scales(magnitudes, free, encoded)
    variables = [np.zeros(1), *columns, np.zeros(1)]
    held = [i for i, is_free in enumerate([False, *free, False]) if not is_free]
    of_encoder = list(range(len(variables)))
    for i, (own_scale, is_free) in enumerate(zip(rows, free, strict=True)):
        if own_scale is not None and is_free:
            of_encoder[i + 1] = len(variables)
            variables.append(own_scale)
    terms: list[Term] = []
    for i, (kernel, level) in enumerate(zip(model.kernels, levels, strict=True)):
        values = kernel.matrix
        scales = np.exp(variables[i + 1] - of_rows(variables[of_encoder[i]], len(values))[:, None])
        scaled = paired_magnitudes(values * scales, level / kernel.pair_limit)
        weights = np.multiply(influence.kernels[kernel.name].diagonal(), values != 0, dtype=np.float64)
        loss = partial(kernel_loss, (scaled / scales).astype(values.dtype), weights, level)
        terms.append((loss, (of_encoder[i], i + 1, len(variables))))
        variables.append(np.log(_largest(scaled, 0 if per_unit else None) / level))
    for name, each in influence.activations.items():
        for sign, i in _scaled_by(name, of_encoder):
            terms.append((partial(activation_loss, each.values, each.gains, sign), (i, len(variables))))
            variables.append(_ends(each.values * np.exp(sign * of_rows(variables[i], each.values.shape[1]))))
    reached = predicted_loss(terms, variables)[0] > 0
    found = _descended(terms, variables, held) if reached else [np.zeros_like(each) for each in variables]
    found = [each - np.median(each) for each in found]
    pairs = [(found[of_encoder[i]], found[i]) if of_encoder[i] != i else found[i] for i in range(1, len(magnitudes))]
    return [np.exp(log).astype(np.float32) for log in pairs]


def _descended(terms: Sequence[Term], start: Sequence[np.ndarray], held: Sequence[int]) -> list[np.ndarray]:
    """Variables of less loss, all but those `held` moved by Adam (Kingma & Ba 2015); float64, since it amplifies rounding."""
    variable = np.concatenate([np.ravel(each) for each in start], dtype=np.float64)
    variables = np.split(variable, np.cumsum([np.size(each) for each in start])[:-1])
    mean, square = np.zeros_like(variable), np.zeros_like(variable)
    for i in range(ITERATIONS):
        loss, gradients = predicted_loss(terms, variables)
        gradient = np.concatenate([each * (place not in held) for place, each in enumerate(gradients)]) / loss
        mean += (gradient - mean) * 0.1
        square += (gradient**2 - square) * 0.001
        rate = LEARNING_RATE * (1 + math.cos(math.pi * i / ITERATIONS)) / 2
        variable -= rate * (1 - 0.999 ** (i + 1)) ** 0.5 / (1 - 0.9 ** (i + 1)) * mean / (np.sqrt(square) + 1e-12)
    return variables


def predicted_loss(terms: Sequence[Term], variables: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """The sum of the terms, and its gradient by each variable."""
    loss, gradients = 0.0, [np.zeros(np.shape(each)) for each in variables]
    for function, places in terms:
        value, slopes = function(*(variables[place] for place in places))
        loss += value
        for place, slope in zip(places, slopes, strict=True):
            gradients[place] += slope.reshape(-1, *gradients[place].shape).sum(0)
    return loss, gradients


def kernel_loss(
    magnitudes: np.ndarray, weights: np.ndarray, levels: int, before: np.ndarray, after: np.ndarray, step: np.ndarray
) -> tuple[float, tuple[np.ndarray, ...]]:
    """The predicted loss of a scaled kernel over −`levels`…`levels`, and its gradients by the variables.

    `magnitudes` [inputs, units]; `weights`: the influence of each, 0 for those that are 0. Variables: logarithms of the scales
    of the units before and after the kernel, and of its step sizes. In the kernel's own scale the step of a weight is
    rows[i] · columns[j].
    """
    rows = np.exp(of_rows(before, len(magnitudes)))
    columns = np.broadcast_to(np.exp(step - after), magnitudes.shape[1])
    outside = magnitudes > np.multiply.outer(levels * rows, columns, dtype=magnitudes.dtype)
    clipping, by_rows, by_columns = _clipping(magnitudes, weights, levels * rows, columns, outside)
    rounding = rows**2 * (weights @ columns**2) / 12
    of_columns = by_columns + columns**2 * (rows**2 @ weights) / 6
    return rounding.sum() + clipping, (by_rows + 2 * rounding, -of_columns, of_columns)


def activation_loss(
    values: np.ndarray, gains: np.ndarray, sign: float, logs: np.ndarray, ends: np.ndarray
) -> tuple[float, tuple[np.ndarray, ...]]:
    """The predicted loss of an activation times exp(`sign` · `logs`) over −exp(ends[0])…exp(ends[1]), and its gradients."""
    extents, scale = np.exp(ends), np.exp(sign * of_rows(logs, values.shape[1]))
    width = extents.sum()
    rounding = gains * (width / ACTIVATION_STEPS / scale) ** 2 / 12
    loss, by_units, by_ends = rounding.sum(), -2 * rounding, 2 * rounding.sum() * extents / width
    weights, ones = np.broadcast_to(gains / len(values), values.shape), np.ones(len(values))
    for end, (side, beyond) in enumerate(((-1, np.less), (1, np.greater))):
        limits = side * extents[end] / scale
        clipping, _, by_limits = _clipping(values, weights, ones, limits, beyond(values, limits.astype(values.dtype)))
        loss += clipping
        by_units -= by_limits
        by_ends[end] += by_limits.sum()
    return loss, (sign * by_units, by_ends)


def _clipping(
    values: np.ndarray, weights: np.ndarray, rows: np.ndarray, columns: np.ndarray, outside: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Σ weights · (values − rows · columns)² of the values `outside`, and its gradients by the logarithms of both factors."""
    row, column = np.unravel_index(np.flatnonzero(outside), outside.shape)
    limits = rows[row] * columns[column]
    excess = values[row, column] - limits
    pull = weights[row, column] * excess
    slopes = -2 * pull * limits
    return float(pull @ excess), np.bincount(row, slopes, len(rows)), np.bincount(column, slopes, len(columns))


def _initial_scales(
    magnitudes: Sequence[np.ndarray], free: Sequence[bool], encoded: Sequence[np.ndarray | None]
) -> tuple[list[np.ndarray | None], list[np.ndarray]]:
    """Logarithms of the scales that give all units of a kernel the same largest magnitude, from the first kernel on.

    Before them those of the `encoded` values [rows, units] of a layer that has scales of its own for these, else None.
    """
    own = [None if values is None else _evening(np.abs(values).max(0, initial=0), free=True) for values in encoded]
    logs: list[np.ndarray] = []
    before: np.ndarray | None = None
    for kernel, is_free, of_encoder in zip(magnitudes[:-1], free, own, strict=True):
        rows = kernel if before is None else kernel * of_rows(np.exp(-before), len(kernel))[:, None]
        logs.append(_evening(rows.max(0), free=is_free))
        before = of_encoder if of_encoder is not None and is_free else logs[-1]
    return own, logs


def _evening(largest: np.ndarray, *, free: bool) -> np.ndarray:
    """Logarithms of the factors by which all units have the same largest magnitude; 0 for units without any."""
    live = (largest > 0) & free
    return np.where(live, np.log(_largest(largest) / np.where(live, largest, 1)), 0).clip(-MAX_LOG_SCALE, MAX_LOG_SCALE)


def _scaled_by(tensor: str, of_encoder: Sequence[int]) -> list[tuple[float, int]]:
    """[(exponent 1 or −1, variable)] of the scales that apply to an activation; [] for the code and y.

    `of_encoder`: the variables of what the encoder gives, by 1 + hidden layer; the products of the decoder have them too.
    """
    name, _, part = tensor.partition(".")
    layer, _, index = name.partition("_")
    if not index:
        return []
    if layer == "encoder":
        return [(1.0, of_encoder[int(index) + 1])]
    return [(-1.0, of_encoder[int(index)] if part == "product" else int(index))]


def _ends(values: np.ndarray) -> np.ndarray:
    """Logarithms of the range's extent below and above 0."""
    return np.log(np.array([_largest(np.minimum(values, 0)), _largest(np.maximum(values, 0))]))


def _largest(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The largest magnitude along an axis, or of all, at least 1e-8."""
    return np.maximum(np.abs(values).max(axis, initial=0), np.float32(1e-8))
