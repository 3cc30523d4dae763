"""Weights by which a tied net is PCA before its first step, where its layers allow it.

The optimum of a linear tied autoencoder is PCA (Baldi & Hornik, "Neural networks and principal component analysis", 1989).
A layer holds components c, at each of its places, as units s(c · S), S [components, units]. A linear layer has S = R with
orthonormal rows, so that units · Sᵀ = c. A relu layer has pairs, S = [R, −R], since relu(v) − relu(−v) = v. The kernel between
two layers is S₀ᵀ · B · S₁, where B are the components of c₀, or of the c₀ of a window, and the identity for one place. Upwards
S₀ᵀ gives c₀ and S₁ the units of the next layer; its transpose does the same downwards, where a decoder layer has the
activation of the encoder layer whose output it gives. Biases take means away upwards, and add them again downwards.

A component that reaches further than others has several pairs, each divided by the root of their number, where units are left
over: up- and downwards all units of a layer share one range of 8 bits. Their R is turned a little, so that each learns its own.

relu6 clips pairs at 6 in both directions, and what a tied kernel makes smaller upwards it makes larger downwards. So a
component that reaches m has ⌈(m / 6)²⌉ pairs, each divided by the root of their number. No such weights exist for hidden
layers of sigmoid and tanh.

This is PCA where windows are side by side. Where they overlap, kernels are smaller by the root of how many windows a value is
under on average, so that what windows add up to is about one sample, and nothing is promised; nor in front of an output of
sigmoid or tanh, where the components are those of the clipped inverses of the samples, at the scale of least squared error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from tiedae.base.records import require
from tiedae.config.layer_kinds import COMPONENT_UNITS
from tiedae.config.model_config import ModelConfig
from tiedae.data.dataset import Dataset, choose
from tiedae.data.samples import Samples

from .batch_norm import EPSILON
from .blocks import TENSOR_VALUES
from .network import TiedNetwork
from .tied_layers import RULES

MOST_SAMPLES, MOST_VALUES = 60_000, 1 << 27
"""Training samples, drawn by the seed, whose components are taken, and values of their rows: whatever is less."""
MOST_EXACT = 4_096
"""Values of a row up to which the whole covariance is decomposed."""
OVERSAMPLED, POWERS = 16, 3
"""Directions beside those wanted, and products with the covariance, of the randomized range finder (Halko et al. 2011)."""
BATCH = 4_096
"""Samples of a batch, at most."""
SMALL, FAINT = 1e-2, 1e-4
"""Standard deviation of random weights, times the root of how many there are: of units of the code that hold no component, and
of the next layer's weights for hidden units without one, as with none its transpose would give them nothing at first."""
FAR, TURNED = 8.0, 0.1
"""The reach of a component of a relu layer in one pair, in median reaches, beyond which it has several where it can, FAR² at
most, as hidden units share 8-bit ranges of both directions; and by how much these differ: a standard deviation, as a fraction
of a pair's reach."""
CLIPPED = 6.0
"""The largest value of relu6."""
ENDS: Mapping[str, tuple[float, float]] = {"sigmoid": (0.03, 0.97), "tanh": (-0.94, 0.94)}
"""Where samples are clipped before the inverse of an output's activation: nearer to its ends inverses grow, and pixels there
decide the components. Fashion-MNIST, 32 components: error 21.0 at 0.001, 14.5 at 0.01, 12.1 at 0.03, 14.6 at 0.1."""


class Parts(Protocol):
    """Rows of samples in batches: of all, or of one batch drawn from all; what a kernel multiplies and what its transpose is to
    give for it, float64 [n, inputs] each. Not `both`: the second alone, in place of both."""

    def __call__(self, whole: bool, both: bool = True, /) -> Iterator[tuple[np.ndarray, np.ndarray]]: ...


@dataclass(frozen=True, eq=False)
class Components:
    """The `mean` row, and the `basis` of largest variance of the wanted rows about their mean, the `offset`: float64 [inputs]
    each and [inputs, components], in order. `scale`: of the kernel in each direction, by which it gives wanted rows, 1 where
    they are the rows. `reach`: the largest magnitude of each component, [components].
    """

    mean: np.ndarray
    offset: np.ndarray
    basis: np.ndarray
    scale: float
    reach: np.ndarray


def components_of(
    parts: Parts, count: int, seed: int, *, channels: int | None = None, shifted: bool = False, exact_reach: bool = True
) -> Components:
    """The first components of rows; fewer than `count` where rows or their values are fewer.

    `channels`: the values of a row that have means, and repeat in it; None: no mean is taken away. `shifted`: what is wanted
    is not the rows, so that there is a scale. It is that of some of the samples, and so is `reach` unless it is `exact_reach`.
    """
    x, y = next(parts(False))
    inputs = x.shape[1]
    mean = offset = np.zeros(inputs)
    if channels is not None:  # near the mean first, so that what is subtracted from the products of all in the end is small
        mean, offset = (_by_channel(each.mean(axis=0), channels) for each in (x, y))
    rows, sums, whole = 0, np.zeros((2, inputs)), np.zeros((inputs, inputs) if inputs <= MOST_EXACT else (0, 0))
    for x, y in parts(True):
        x, y = x - mean, y - offset
        rows, sums = rows + len(x), sums + np.stack([x.sum(axis=0), y.sum(axis=0)])
        if len(whole):
            whole += y.T @ y
    if channels is not None:
        moved = [_by_channel(each / rows, channels) for each in sums]
        mean, offset = mean + moved[0], offset + moved[1]
        if len(whole):
            cross = np.outer(sums[1], moved[1])
            whole -= cross + cross.T - rows * np.outer(moved[1], moved[1])
    count = min(count, inputs, rows - (channels is not None))

    def spread(vectors: np.ndarray) -> np.ndarray:
        """The covariance, but for a factor, times vectors [inputs, n]."""
        product = np.zeros_like(vectors)
        for _, y in parts(True, False):
            product += (y - offset).T @ ((y - offset) @ vectors)
        return product

    basis = np.linalg.eigh(whole)[1][:, ::-1][:, :count] if len(whole) else _randomized(spread, inputs, count, seed)
    basis, reach, along, square = _signed(basis), np.zeros(count), 0.0, 0.0
    for x, y in parts(exact_reach):
        units = (x - mean) @ basis
        np.maximum(reach, np.abs(units).max(axis=0, initial=0), out=reach)
        along, square = along + float((units * ((y - offset) @ basis)).sum()), square + float(np.square(units).sum())
    scale = math.sqrt(along / square) if shifted and along > 0 else 1.0
    return Components(mean, offset, basis, scale, scale * reach)


def _by_channel(mean: np.ndarray, channels: int) -> np.ndarray:
    """A mean row with one value per channel, [inputs]."""
    return np.tile(mean.reshape(-1, channels).mean(axis=0), len(mean) // channels)


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


def _plain(reach: np.ndarray, units: int, needed: int) -> np.ndarray:
    """S of a linear layer, float64 [components, units]."""
    return np.eye(min(len(reach), units), units)


def _pairs(reach: np.ndarray, units: int, needed: int) -> np.ndarray:
    """S of a relu layer: a pair of each component, and of those that reach far several, where units are left over."""
    reach = reach[: units // 2]
    counts, left = np.ones(len(reach), int), units // 2 - len(reach)
    limit = max(FAR * float(np.median(reach)), float(reach.max()) / FAR) if len(reach) else 0.0
    while left and (reach / np.sqrt(counts)).max(initial=0) > limit:
        counts[np.argmax(reach / np.sqrt(counts))] += 1
        left -= 1
    return _in_pairs(_turned(counts, reach) if counts.max(initial=1) > 1 else np.eye(len(counts)), units)


def _repeated(counts: np.ndarray) -> np.ndarray:
    """R of `counts` equal pairs of each component, float64 [components, pairs] with orthonormal rows."""
    return np.repeat(np.diag(1 / np.sqrt(counts)), counts, axis=1)


def _turned(counts: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """The same, but the pairs of a component differ a little, or they would learn the same. `reach`: of each component, in one
    pair. No other component adds much to a pair, as rows are made orthonormal from the one that reaches furthest on."""
    pairs, of = _repeated(counts), np.repeat(np.arange(len(counts)), counts)
    noise = np.random.default_rng(0).normal(size=pairs.shape) * (counts[of] > 1)
    least = np.minimum(reach[:, None], (reach / np.sqrt(counts))[of]) / np.where(reach > 0, reach, 1)[:, None]
    order = np.argsort(-reach, kind="stable")
    mixed = (pairs + TURNED * noise * least)[order]
    turned = np.empty_like(pairs)
    turned[order] = np.linalg.solve(np.linalg.cholesky(mixed @ mixed.T), mixed)
    return turned


def _in_pairs(pairs: np.ndarray, units: int) -> np.ndarray:
    """S = [R, −R]; units without a pair are 0."""
    return np.pad(np.concatenate([pairs, -pairs], axis=1), ((0, 0), (0, units - 2 * pairs.shape[1])))


def _clipped_pairs(reach: np.ndarray, units: int, needed: int) -> np.ndarray:
    """S of a relu6 layer: pairs that stay below 6 where those needed have room, else one each."""
    counts = np.clip(np.ceil(np.square(reach / CLIPPED)), 1, units + 1).astype(int)
    fitting = int(np.count_nonzero(2 * np.cumsum(counts) <= units))
    if fitting < min(needed, len(reach)):
        return _in_pairs(np.eye(min(len(reach), units // 2)), units)
    return _in_pairs(_repeated(counts[:fitting]), units)


HELD: Mapping[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "linear": _plain,
    "relu": _pairs,
    "relu6": _clipped_pairs,
}
"""S of an activation's layer, by the reach of the components, the number of units, and how many of the components the code
takes: a row for each of `COMPONENT_UNITS`."""


def start_at_pca(model: TiedNetwork, data: Dataset, seed: int) -> int:
    """Set the variables of a float model, built for the data, so that it is PCA of the wanted training samples; returns the
    number of components of the code. Hidden units that hold none get random weights, of which the next layer takes next to
    nothing at first.

    Raises RecipeError where layers cannot hold components.
    """
    config = model.config
    require(not config.no_components, "train.start", "pca", f"random: {config.no_components}")
    for layer in model.stack:
        if layer.bias is not None:
            layer.bias.assign(np.zeros(layer.bias.shape))
        if layer.norm is not None:  # known by the first look at the samples, with the same products
            layer.norm.gamma.assign(np.ones(layer.norm.gamma.shape))
            layer.norm.mean.assign(np.zeros(layer.norm.mean.shape))
            layer.norm.variance.assign(np.full(layer.norm.variance.shape, 1 - EPSILON))
    rng, reach, held = np.random.default_rng(seed), np.zeros(0), np.eye(1)  # of samples each value is a place of one unit
    for i, (kernel, (encode, decode)) in enumerate(zip(model.kernels, model.pairs, strict=True)):
        layer, below, places = config.layers[i], held, kernel.inputs // held.shape[1]
        found = _of_windows(model, data.train.wanted, seed, i, below)
        basis = np.eye(len(below))
        if found is not None:
            overlap = math.prod(float(counts[counts > 0].mean()) for counts in layer.windows_over(config.shapes[i]))
            basis, reach = found.scale / math.sqrt(overlap) * found.basis, found.reach / math.sqrt(overlap)
        held = HELD[layer.activation](reach[: _passed_on(config, i)], layer.units, config.layers[-1].units)
        basis, reach, empty = basis[:, : len(held)], reach[: len(held)], ~held.any(axis=0)
        matrix = _in_units(basis @ held, below, places)
        left = ~matrix.any(axis=1) & (i > 0)
        matrix[left] = _random(matrix[left].shape, FAINT, 1, rng)
        matrix[:, empty] = _random(matrix[:, empty].shape, SMALL if i + 1 == len(config.layers) else 1.0, 0, rng)
        kernel.variable.assign(matrix)
        if found is not None and encode.bias is not None and decode.bias is not None:
            bias = -(found.mean @ basis @ held)
            if i == 0:
                bias[empty] = -(found.mean @ matrix[:, empty])
            encode.bias.assign(bias)
            decode.bias.assign(_in_units(found.offset[:, None], below, places)[: decode.size(), 0])
    return len(reach)


def _passed_on(config: ModelConfig, i: int) -> int | None:
    """The components that the layer above can hold where it takes those of one place; None: all, as it makes others of them.

    Units for more would hold faint components, and soon be dead: random ones learn more.
    """
    if i + 1 == len(config.layers) or config.rows[i + 1] != config.shapes[i + 1]:
        return None
    above = config.layers[i + 1]
    return above.units // COMPONENT_UNITS[above.activation]


def _random(shape: tuple[int, ...], deviation: float, axis: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, deviation / math.sqrt(shape[axis]), shape)


def _in_units(values: np.ndarray, held: np.ndarray, places: int) -> np.ndarray:
    """Components of places, [places · components, n], as their units: [places · units, n]."""
    units = held.T @ values.reshape(places, len(held), values.shape[1])
    return units.reshape(places * held.shape[1], values.shape[1])


def _of_windows(model: TiedNetwork, samples: Samples, seed: int, i: int, held: np.ndarray) -> Components | None:
    """The components of what kernel `i` takes, where `held` is S of the layer below; None where it takes one place, whose
    components these are already."""
    config, (encode, decode), inputs = model.config, model.pairs[i], model.config.rows[i][-1]
    if i and (config.rows[i] == config.shapes[i] or not len(held)):
        return None
    output = config.output_activation if i == 0 else "linear"
    inverse, ends = RULES[output].inverse, ENDS.get(output)
    values = math.prod(config.rows[i])
    chosen = choose(samples, min(MOST_SAMPLES, -(-MOST_VALUES // values)), seed)
    size = max(1, min(BATCH, TENSOR_VALUES // max(values, *config.widths[: i + 1])))

    def rows_of(x: np.ndarray) -> np.ndarray:
        values = model.encoder.arranged(tf.convert_to_tensor(x))
        for layer in model.encoder.stack[:i]:
            values = layer(values)
        units = encode.rows(values).numpy().astype(np.float64)
        return (units.reshape(-1, held.shape[1]) @ held.T).reshape(-1, len(held) * inputs // held.shape[1])

    def parts(whole: bool, both: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        taken = chosen if whole else chosen[:: -(-len(chosen) // size)]
        for start in range(0, len(taken), size):
            x = samples.scaling.apply(samples.take(taken[start : start + size]))
            wanted = rows_of(x if output == "linear" else inverse(x if ends is None else np.clip(x, *ends)))
            yield rows_of(x) if both and output != "linear" else wanted, wanted

    biased = encode.bias is not None and decode.bias is not None
    return components_of(
        parts,
        config.layers[i].units // COMPONENT_UNITS[config.layers[i].activation],
        seed,
        channels=decode.size() // held.shape[1] * len(held) if biased else None,
        shifted=output != "linear",
        exact_reach=any(layer.activation == "relu6" for layer in config.layers[i:]),
    )
