"""Weights by which a tied net is PCA before its first step, where its layers allow it.

The optimum of a linear tied autoencoder is PCA (Baldi & Hornik, "Neural networks and principal component analysis", 1989).
With c the first components of a sample, every layer holds c as units s(c · S), S [components, units]. A linear layer has S = R
with orthonormal rows, so that units · Sᵀ = c. A relu layer has pairs, S = [R, −R], since relu(v) − relu(−v) = v. The kernel
between two layers is S₀ᵀ · S₁, upwards S₀ᵀ gives c and S₁ the units of the next layer; its transpose does the same downwards,
where a decoder layer has the activation of the encoder layer whose output it gives. Below the first layer S is the basis
Uᵀ, and its bias takes the mean of the samples away, which that of the output adds again.

relu6 clips pairs at 6 in both directions, and what a tied kernel makes smaller upwards it makes larger downwards. So a
component that reaches m has ⌈(m / 6)²⌉ pairs, each divided by the root of their number. No such weights exist for hidden
layers of sigmoid and tanh.

In front of an output of sigmoid or tanh the components are those of the clipped inverses of the samples, at the scale of least
squared error: near PCA of the samples, and not it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from .batch_norm import EPSILON
from .data import Dataset, choose
from .network import TiedNetwork
from .records import require
from .samples import Samples
from .tied_layers import RULES

MOST_SAMPLES = 60_000
"""Training samples, drawn by the seed, whose components are taken."""
MOST_EXACT = 4_096
"""Values of a sample up to which the whole covariance is decomposed."""
OVERSAMPLED, POWERS = 16, 3
"""Directions beside those wanted, and products with the covariance, of the randomized range finder (Halko et al. 2011)."""
BATCH = 4_096
SMALL = 1e-2
"""Standard deviation of random weights, times the root of the number of inputs."""
CLIPPED = 6.0
"""The largest value of relu6."""
ENDS: Mapping[str, tuple[float, float]] = {"sigmoid": (0.03, 0.97), "tanh": (-0.94, 0.94)}
"""Where samples are clipped before the inverse of an output's activation: nearer to its ends inverses grow, and pixels there
decide the components. Fashion-MNIST, 32 components: error 21.0 at 0.001, 14.5 at 0.01, 12.1 at 0.03, 14.6 at 0.1."""


@dataclass(frozen=True, eq=False)
class Components:
    """The `mean` sample, float64 [inputs], and the `basis` of largest variance of what the output's activation has to be given
    for the samples, about its mean, the `offset`: float64 [inputs, components], in order. `scale`: of the kernel in each
    direction, 1 for a linear output. `reach`: the largest magnitude of each component, [components].
    """

    mean: np.ndarray
    offset: np.ndarray
    basis: np.ndarray
    scale: float
    reach: np.ndarray


def components_of(
    samples: Samples, count: int, seed: int, *, output: str = "linear", centred: bool = True, exact_reach: bool = True
) -> Components:
    """The first components of samples in scaled values; fewer than `count` where samples or values are fewer.

    `output`: the activation behind them. Not `centred`: of a net that has no bias to take the mean away. The scale is that of
    `BATCH` of the samples drawn, and `reach` too unless it is `exact_reach`.
    """
    chosen, inputs = choose(samples, MOST_SAMPLES, seed), samples.inputs
    inverse, ends = RULES[output].inverse, ENDS.get(output)
    mean = offset = np.zeros(inputs)

    def parts(taken: np.ndarray = chosen) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(taken), BATCH):
            x = samples.scaling.apply(samples.take(taken[start : start + BATCH]))
            y = x if output == "linear" else inverse(x if ends is None else np.clip(x, *ends))
            yield x - mean, y - offset

    sums, whole = np.zeros((2, inputs)), np.zeros((inputs, inputs) if inputs <= MOST_EXACT else (0, 0))
    if centred:  # near the mean first, so that what is subtracted from the products of all in the end is small
        mean, offset = (each.mean(axis=0, dtype=np.float64) for each in next(parts()))
    for x, y in parts():
        sums += x.sum(axis=0), y.sum(axis=0)
        if len(whole):
            whole += y.T @ y
    if centred:
        beside = sums / len(chosen)
        mean, offset = mean + beside[0], offset + beside[1]
        if len(whole):
            whole -= len(chosen) * np.outer(beside[1], beside[1])
    count = min(count, inputs, len(chosen) - centred)

    def spread(vectors: np.ndarray) -> np.ndarray:
        """The covariance, but for a factor, times vectors [inputs, n]."""
        product = np.zeros_like(vectors)
        for _, y in parts():
            product += y.T @ (y @ vectors)
        return product

    basis = np.linalg.eigh(whole)[1][:, ::-1][:, :count] if len(whole) else _randomized(spread, inputs, count, seed)
    basis, reach, along, square = _signed(basis), np.zeros(count), 0.0, 0.0
    for x, y in parts(chosen if exact_reach else chosen[:: -(-len(chosen) // BATCH)]):
        units = x @ basis
        np.maximum(reach, np.abs(units).max(axis=0, initial=0), out=reach)
        along, square = along + float((units * (y @ basis)).sum()), square + float(np.square(units).sum())
    scale = 1.0 if output == "linear" or along <= 0 else math.sqrt(along / square)
    return Components(mean, offset, basis, scale, scale * reach)


def _randomized(multiply: Callable[[np.ndarray], np.ndarray], inputs: int, count: int, seed: int) -> np.ndarray:
    """The leading eigenvectors of a covariance that is only multiplied with, float64 [inputs, count]."""
    vectors = np.random.default_rng(seed).normal(size=(inputs, min(inputs, count + OVERSAMPLED)))
    for _ in range(POWERS):
        vectors = np.linalg.qr(multiply(np.linalg.qr(vectors)[0]))[0]
    return vectors @ np.linalg.eigh(vectors.T @ multiply(vectors))[1][:, ::-1][:, :count]


def _signed(basis: np.ndarray) -> np.ndarray:
    """Each direction with its largest entry above zero: eigenvectors have no sign of their own."""
    largest = np.abs(basis).argmax(axis=0)
    return basis * np.where(basis[largest, np.arange(basis.shape[1])] < 0, -1.0, 1.0)


def _plain(reach: np.ndarray, units: int) -> np.ndarray:
    """S of a linear layer, float64 [components, units]."""
    return np.eye(len(reach), units)


def _pairs(reach: np.ndarray, units: int, counts: np.ndarray | None = None) -> np.ndarray:
    """S of a relu layer: one pair of each component, or `counts`; units without a pair are 0."""
    counts = np.ones(len(reach), int) if counts is None else counts
    rows, total = np.repeat(np.arange(len(reach)), counts), int(counts.sum())
    weights = np.zeros((len(reach), units))
    for sign, first in ((1.0, 0), (-1.0, total)):
        weights[rows, first + np.arange(total)] = sign / np.sqrt(counts[rows])
    return weights


def _clipped_pairs(reach: np.ndarray, units: int) -> np.ndarray:
    """S of a relu6 layer: pairs that stay below 6 where there is room for them, else one each."""
    counts = np.maximum(1, np.ceil(np.square(reach / CLIPPED))).astype(int)
    return _pairs(reach, units, counts if 2 * counts.sum() <= units else None)


HELD: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "linear": _plain,
    "relu": _pairs,
    "relu6": _clipped_pairs,
}
"""S of an activation's layer, by the reach of the components and the number of units: a row for each of `COMPONENT_UNITS`."""


def start_at_pca(model: TiedNetwork, data: Dataset, seed: int) -> int:
    """Set the variables of a float model, built for the data, so that it is PCA of the wanted training samples; returns the
    number of components. Units that hold none get small random weights, and give nothing at first.

    Raises RecipeError where layers cannot hold components.
    """
    config = model.config
    require(not config.no_components, "train.start", "pca", f"random: {config.no_components}")
    first, output = model.encoder.stack[0], model.decoder.stack[-1]
    centred = first.bias is not None and output.bias is not None
    found = components_of(
        data.train.wanted,
        config.components,
        seed,
        output=config.output_activation,
        centred=centred,
        exact_reach=any(layer.activation == "relu6" for layer in config.layers),
    )
    order = model.encoder.arranged(tf.range(data.train.inputs)[None]).numpy().reshape(-1)
    weights, rng = found.scale * found.basis[order].T, np.random.default_rng(seed)
    for kernel, layer in zip(model.kernels, config.layers, strict=True):
        held = HELD[layer.activation](found.reach, layer.units)
        matrix, empty = weights.T @ held, ~held.any(axis=0)
        matrix[:, empty] = rng.normal(0, SMALL / np.sqrt(len(matrix)), (len(matrix), int(empty.sum())))
        kernel.variable.assign(matrix)
        weights = held
    for layer in model.stack:
        if layer.bias is not None:
            layer.bias.assign(np.zeros(layer.bias.shape))
        if layer.norm is not None:  # known by the first look at the samples, with the same products
            layer.norm.gamma.assign(np.ones(layer.norm.gamma.shape))
            layer.norm.mean.assign(np.zeros(layer.norm.mean.shape))
            layer.norm.variance.assign(np.full(layer.norm.variance.shape, 1 - EPSILON))
    if centred:
        assert first.bias is not None and output.bias is not None
        first.bias.assign(-(found.mean[order] @ model.kernels[0].variable.numpy().astype(np.float64)))
        output.bias.assign(found.offset[order])
    return len(found.reach)
