"""Second-order influence of kernels and activations on the output.

The loss of rounding or pruning is the squared change of the output. To second order (Gauss–Newton) a change ΔW of a tied kernel
costs

    tr(ΔWᵀ · E[xxᵀ] · ΔW · E[ggᵀ])  in the encoder, x → xW, and
    tr(ΔW · E[zzᵀ] · ΔWᵀ · E[hhᵀ])  in the decoder, z → zWᵀ,

where g and h are the output's gradients at the two products, with factored moments (Martens & Grosse 2015). Gradients along
random signs estimate the moments without the full Jacobian (Hutchinson 1989).
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tiedae.config.layer_kinds import OF_WEIGHTS, UNPOOLED

from .autoencoder import TiedAutoencoder
from .patterns import of_rows
from .tied_layers import RULES, TiedLayer

PROBES = 8
"""Number of random directions of the output."""
LEAST_SAMPLES = 128
"""Samples by which influence is measured, at least."""


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The loss of a change Δ of a kernel, Σ tr(Δᵀ · A · Δ · B) over `terms` (A, B), one per direction of the tie.

    A: float32 [inputs, inputs]; B: float32 [units, units]; both symmetric positive semidefinite. The loss is the mean squared
    change of the output per sample.
    """

    terms: tuple[tuple[np.ndarray, np.ndarray], ...]

    def diagonal(self) -> np.ndarray:
        """The loss of changing one weight by 1, for each weight, [inputs, units]."""
        return sum((np.outer(np.diag(a), np.diag(b)) for a, b in self.terms), np.zeros((), np.float32))

    def loss(self, change: np.ndarray) -> float:
        return float(sum(np.vdot(a @ change @ b, change) for a, b in self.terms))


@dataclass(frozen=True, eq=False)
class ActivationInfluence:
    """An activation over the samples: `values` float32 [rows, units], one row per sample and place; `gains` [units], the mean
    squared gradient of the output, summed over places.

    The gradient of a clamped value counts as 0: quantization keeps it exact.
    """

    values: np.ndarray
    gains: np.ndarray


@dataclass(frozen=True, eq=False)
class Influence:
    """`kernels`: by kernel name; `activations`: by tensor name."""

    kernels: Mapping[str, Quadratic]
    activations: Mapping[str, ActivationInfluence]


def tensors_of(model: TiedAutoencoder, x: np.ndarray | tf.Tensor, kernels: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    """The tensor after each tap of the model, by name, for samples `x` and these kernels."""
    tensors: dict[str, tf.Tensor] = {}
    tap = model.encoder.tap

    def record(name: str, tensor: tf.Tensor, training: bool) -> tf.Tensor:
        tensors[name] = tap(name, tensor, training)
        return tensors[name]

    with model.tapped(record):
        model.decoder(model.encoder(x, kernels=kernels), kernels=kernels)
    return tensors


def samples_for(model: TiedAutoencoder, samples: int) -> int:
    """How many of the samples have as many rows as there are samples, for the kernel with the most rows in each: at least
    some."""
    places = max(math.prod(rows[:-1]) for rows in model.config.rows)
    return min(samples, max(LEAST_SAMPLES, samples // places))


def influence(model: TiedAutoencoder, x: np.ndarray, *, seed: int = 0) -> Influence:
    """The influence of a float model's kernels and activations over samples `x`, float32 [n, inputs]."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(inputs := tf.convert_to_tensor(x))
        tensors = tensors_of(model, inputs, [kernel.unquantized() for kernel in model.kernels])
    names = [name for name in tensors if name != "x" and not name.endswith(OF_WEIGHTS)]
    rng = np.random.default_rng(seed)
    probed: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _ in range(PROBES):
        signs = rng.choice(np.array([-1, 1], np.float32), tensors["y"].shape)
        found = tape.gradient(tensors["y"], [tensors[name] for name in names], output_gradients=tf.constant(signs))
        for name, gradient in zip(names, found, strict=True):
            probed[name].append(gradient.numpy())
    values = {name: tensor.numpy() for name, tensor in tensors.items()}
    gradients = {name: np.stack(each) * _unclamped(model, name, values[name]) for name, each in probed.items()}
    kernels = {}
    for layer, source, mirrored, z in pairs(model):
        g, h = (gradients[_product(each, gradients)] for each in (layer, mirrored))
        x, h = (np.asarray(layer.rows(each)) for each in (values[source], h.reshape(-1, *h.shape[2:])))
        g, h = (each if a is None else each * of_rows(a, each.shape[-1]) for each, a in ((g, layer.gains), (h, mirrored.gains)))
        places = np.float32(math.prod(x.shape[1:-1]))
        encoder = _moment(x), places * _moment(g)
        decoder = _moment(h), places * _moment(values[z])
        kernels[layer.kernel.name] = Quadratic((encoder, decoder))
    activations = {}
    for name, each in ((name, each) for name, each in gradients.items() if not name.endswith(UNPOOLED)):
        units = each.shape[-1]
        gains = np.square(each).mean((0, 1)).reshape(-1, units).sum(0)
        activations[name] = ActivationInfluence(values[name].reshape(-1, units), gains)
    return Influence(kernels, activations)


def pairs(model: TiedAutoencoder) -> list[tuple[TiedLayer, str, TiedLayer, str]]:
    """(encoder layer, name of its input, decoder layer over the same kernel, name of its input) of each kernel."""
    names = ["x", *(layer.tensor_name for layer in model.stack)]
    sources = zip(names, reversed(names[:-1]), strict=False)
    return [(encode, x, decode, z) for (encode, decode), (x, z) in zip(model.pairs, sources, strict=False)]


def _product(layer: TiedLayer, names: Container[str]) -> str:
    """Of the names of tensors, that of the one whose gradient is that of the layer's product."""
    return next(name for end in (".linear", UNPOOLED, "") if (name := f"{layer.tensor_name}{end}") in names)


def _unclamped(model: TiedAutoencoder, name: str, values: np.ndarray) -> np.ndarray:
    """0 for values that a relu or relu6 clamps, else 1."""
    activation = {layer.tensor_name: layer.activation for layer in model.stack}.get(name.removesuffix(UNPOOLED))
    if activation not in ("relu", "relu6"):
        return np.ones((), np.float32)
    low, high = RULES[activation].window
    return ((values > low) & (values < high)).astype(np.float32)


def _moment(rows: np.ndarray) -> np.ndarray:
    """The mean of rᵀr over rows r, [..., size] → [size, size]."""
    rows = rows.reshape(-1, rows.shape[-1])
    return rows.T @ rows / np.float32(len(rows))
