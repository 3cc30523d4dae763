"""Bias correction: what quantization shifts on average goes back into the biases of both directions (Nagel et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from ..compress.autoencoder import TiedAutoencoder
from .influence import pairs, tensors_of


def product_means(
    model: TiedAutoencoder, tensors: Mapping[str, tf.Tensor], kernels: Sequence[tf.Tensor]
) -> dict[str, np.ndarray]:
    """The mean of each layer's product, before bias and activation, float32 [units of the layer] by its tensor's name."""
    means = {}
    for (layer, source, mirrored, z), kernel in zip(pairs(model), kernels, strict=True):
        means[layer.tensor_name] = tensors[source].numpy().mean(0) @ kernel.numpy()
        means[mirrored.tensor_name] = kernel.numpy() @ tensors[z].numpy().mean(0)
    return means


def correct_biases(model: TiedAutoencoder, x: np.ndarray, wanted: Mapping[str, np.ndarray], output: np.ndarray) -> None:
    """Shift the biases of a quantized model in place, layer by layer, so that each product with its bias keeps its mean.

    `x` float32 [n, inputs]; `wanted` are `product_means` of the float model over the same samples, `output` is what it gives,
    float32 [n, inputs]. A layer without bias stays, and so does one whose shift does not bring the output nearer: the mean of
    what a sigmoid or relu cuts off says little. So the error over the samples never rises.
    """
    kernels = [kernel() for kernel in model.kernels]

    def error() -> float:
        return float(tf.reduce_mean(tf.square(model(x) - output)))

    least = error()
    for layer in (*model.encoder.stack, *model.decoder.stack):
        if layer.bias is None:
            continue
        before = layer.bias.numpy()
        found = product_means(model, tensors_of(model, x, kernels), kernels)
        layer.bias.assign_add(wanted[layer.tensor_name] - found[layer.tensor_name])
        model.follow_biases()
        shifted = error()
        if shifted < least:
            least = shifted
        else:
            layer.bias.assign(before)
            model.follow_biases()
