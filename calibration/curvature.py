"""Influence: how much the output changes where a kernel or an activation does, to second order.

The loss of quantization is the squared change of the output. To second order (Gauss–Newton) a change ΔW of a tied kernel costs

    tr(ΔWᵀ · E[xxᵀ] · ΔW · E[ggᵀ])  in the encoder, x → xW, and
    tr(ΔW · E[zzᵀ] · ΔWᵀ · E[hhᵀ])  in the decoder, z → zWᵀ,

where g and h are the output's gradients at the two products (moments taken apart, as by Martens & Grosse 2015). Gradients along
random signs give the moments without the whole Jacobian (Hutchinson 1989).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ..compress.autoencoder import TiedAutoencoder
from ..compress.layers import RULES, TiedLayer

PROBES = 8
"""Random directions of the output along which gradients are taken."""


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The loss of a change Δ of a kernel, Σ tr(Δᵀ · A · Δ · B) over `terms` (A, B), one per direction of the tie.

    A is float32 [inputs, inputs], B float32 [units, units], both symmetric and positive semidefinite; the loss is a sample's
    mean squared change of the output.
    """

    terms: tuple[tuple[np.ndarray, np.ndarray], ...]

    def diagonal(self) -> np.ndarray:
        """The loss of a change by 1 of each weight alone, [inputs, units]."""
        return sum((np.outer(np.diag(a), np.diag(b)) for a, b in self.terms), np.zeros((), np.float32))

    def loss(self, change: np.ndarray) -> float:
        return float(sum(np.vdot(a @ change @ b, change) for a, b in self.terms))


@dataclass(frozen=True, eq=False)
class Watched:
    """An activation over the samples: `values` float32 [n, units], `gains` [units], the mean square of the output's gradient.

    A value that an activation has cut to 0 stays exact in any quantization: its gradient counts as 0.
    """

    values: np.ndarray
    gains: np.ndarray


@dataclass(frozen=True, eq=False)
class Influence:
    """`kernels` by kernel name; `activations` by the tensor's name in the program."""

    kernels: Mapping[str, Quadratic]
    activations: Mapping[str, Watched]


def tensors_of(model: TiedAutoencoder, x: np.ndarray, kernels: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    """What passes each tap of the model, by name, for samples `x` and these kernels; fake-quantized where the model is."""
    seen: dict[str, tf.Tensor] = {}
    before = model.encoder.tap

    def keep(name: str, tensor: tf.Tensor, training: bool) -> tf.Tensor:
        seen[name] = before(name, tensor, training)
        return seen[name]

    with model.tapped(keep):
        model.decoder(model.encoder(x, kernels=kernels), kernels=kernels)
    return seen


def influence(model: TiedAutoencoder, x: np.ndarray, *, seed: int = 0) -> Influence:
    """Influence in a float model over samples `x`, float32 [n, inputs]; `model` is left as it was."""
    with tf.GradientTape(persistent=True) as tape:
        tensors = tensors_of(model, x, [kernel.unquantized() for kernel in model.kernels])
    names = [name for name in tensors if name != "x" and not name.endswith(".bias")]
    rng = np.random.default_rng(seed)
    probed: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _ in range(PROBES):
        signs = rng.choice(np.array([-1, 1], np.float32), tensors["y"].shape)
        found = tape.gradient(tensors["y"], [tensors[name] for name in names], output_gradients=tf.constant(signs))
        for name, gradient in zip(names, found, strict=True):
            probed[name].append(gradient.numpy())
    values = {name: tensor.numpy() for name, tensor in tensors.items()}
    gradients = {name: np.stack(each) * _moves(model, name, values[name]) for name, each in probed.items()}
    kernels = {}
    for layer, source, mirrored, z in pairs(model):
        encoder = _moment(values[source]), _moment(gradients[_product(layer)])
        decoder = _moment(gradients[_product(mirrored)]), _moment(values[z])
        kernels[layer.kernel.name] = Quadratic((encoder, decoder))
    gains = {name: np.square(each).mean((0, 1)) for name, each in gradients.items()}
    return Influence(kernels, {name: Watched(values[name], gains[name]) for name in names})


def pairs(model: TiedAutoencoder) -> list[tuple[TiedLayer, str, TiedLayer, str]]:
    """(encoder layer, the tensor that it reads, decoder layer over the same kernel, the tensor that it reads)."""
    names = ["x", *(layer.tensor_name for layer in model.stack)]
    sources = zip(names, reversed(names[:-1]), strict=False)
    return [(encode, x, decode, z) for (encode, decode), (x, z) in zip(model.pairs, sources, strict=False)]


def _product(layer: TiedLayer) -> str:
    """The tensor whose gradient is that of the layer's product."""
    return layer.tensor_name if RULES[layer.activation].fused else f"{layer.tensor_name}.linear"


def _moves(model: TiedAutoencoder, name: str, values: np.ndarray) -> np.ndarray:
    """1 where a small change of the tensor is one of the product, 0 where an activation has cut it off."""
    activation = {layer.tensor_name: layer.activation for layer in model.stack}.get(name)
    if activation not in ("relu", "relu6"):
        return np.ones((), np.float32)
    low, high = RULES[activation].window
    return ((values > low) & (values < high)).astype(np.float32)


def _moment(rows: np.ndarray) -> np.ndarray:
    """The mean of rᵀr over all rows r, [..., size] → [size, size]."""
    rows = rows.reshape(-1, rows.shape[-1])
    return rows.T @ rows / np.float32(len(rows))
