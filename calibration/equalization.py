"""Equalization of a tied model: scales of its hidden units that leave the function as it is and let one step serve them all.

Where the activation between two layers is linear or relu, hidden unit j may be scaled by a in the encoder: column j of its
kernel and its bias times a, row j of the next kernel by 1/a (Nagel et al. 2019). The tie carries the same two changes into the
decoder, where unit j then is 1/a times what it was: z·Wᵀ by 1/a, and back by a in the next product. So it is free in both
directions at once. The code is left alone: its kernel's columns act on it twice.

The scales are chosen together with the step of every kernel and activation, for the least predicted loss: each rounded value
adds its influence times step²/12, each clipped one its influence times the square of what is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..compress.autoencoder import TiedAutoencoder
from .influence import Influence

HOMOGENEOUS = ("linear", "relu")
"""Activations f with f(a·x) = a·f(x) for every a > 0."""

ITERATIONS = 120
LEARNING_RATE = 0.05
ACTIVATION_STEPS = 255
FARTHEST = 10.0
"""Logarithm of the largest scale that the search starts from."""


@dataclass(eq=False)
class _Kernel:
    """The predicted loss of a kernel whose columns and rows are scaled, as magnitudes and weights [inputs, units].

    Signs are left aside: the one integer that few bits have below −`levels` is not counted on.
    """

    magnitudes: np.ndarray
    weights: np.ndarray
    levels: int
    step: np.ndarray  # its logarithm

    def loss(self, exponents: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """(loss, its gradients by `exponents` [inputs, units] and by `step`)."""
        step, scale = np.exp(self.step), np.exp(exponents)
        scaled, weights = self.magnitudes * scale, self.weights / np.square(scale)
        cut = np.maximum(scaled - self.levels * step, 0)
        noise = np.square(step) / 12 * (self.magnitudes > 0)
        losses = weights * (noise + np.square(cut))
        by_step = 2 * (weights * (noise - cut * self.levels * step)).sum()
        return losses.sum(), 2 * (weights * cut * scaled - losses), by_step


@dataclass(eq=False)
class _Activation:
    """The same of an activation, values [n, units] and weights [units], over a range from −exp(low) to exp(high)."""

    values: np.ndarray
    weights: np.ndarray
    ends: np.ndarray  # logarithms of (−low, high)

    def loss(self, exponents: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """(loss, its gradients by `exponents` [units] and by `ends`)."""
        low, high = np.exp(self.ends)
        scale = np.exp(exponents)
        scaled, weights = self.values * scale, self.weights / np.square(scale)
        below, above = np.maximum(-scaled - low, 0), np.maximum(scaled - high, 0)
        noise = np.square((low + high) / ACTIVATION_STEPS) / 12
        losses = weights * (noise + (np.square(below) + np.square(above)).mean(0))
        by_scale = 2 * (weights * ((above - below) * scaled).mean(0) - losses)
        wider = 2 * noise / (low + high) * weights.sum()
        by_ends = np.array([wider - 2 * (weights * below.mean(0)).sum(), wider - 2 * (weights * above.mean(0)).sum()])
        return losses.sum(), by_scale, by_ends * np.array([low, high])


class _Adam:
    """Adam (Kingma & Ba 2015) on arrays in place, its rate falling to 0 as a cosine."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays
        self.means, self.squares = ([np.zeros_like(array) for array in arrays] for _ in range(2))

    def update(self, gradients: Sequence[np.ndarray], step: int) -> None:
        rate = LEARNING_RATE * (1 + np.cos(np.pi * step / ITERATIONS)) / 2
        for array, gradient, mean, square in zip(self.arrays, gradients, self.means, self.squares, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (np.square(gradient) - square)
            corrected = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
            array -= rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-12)


def unit_scales(model: TiedAutoencoder, influence: Influence, levels: Sequence[int]) -> list[np.ndarray]:
    """The scale a of every hidden unit, float32 [units] per hidden layer.

    It is 1 where an activation, or weights on either side that share their values in clusters, allow no other, and where
    nothing reaches the output.

    `levels`: the largest integer of each kernel. Deterministic, and what it makes of a model does not depend on how its hidden
    units were scaled.
    """
    hidden = model.config.layers[:-1]
    own = [kernel.clusters is None for kernel in model.kernels]
    free = [layer.activation in HOMOGENEOUS and own[i] and own[i + 1] for i, layer in enumerate(hidden)]
    magnitudes = [np.abs(kernel.unquantized().numpy()) for kernel in model.kernels]
    logs = _start(magnitudes, free)
    kernels = [
        _Kernel(each, influence.kernels[kernel.name].diagonal(), top, np.log(_largest(each * np.exp(exponents)) / top))
        for kernel, each, exponents, top in zip(model.kernels, magnitudes, _exponents(logs, magnitudes), levels, strict=True)
    ]
    activations = [
        (sign, i, _Activation(watched.values, watched.gains, _ends(watched.values * np.exp(sign * logs[i]))))
        for name, watched in influence.activations.items()
        for sign, i in _unit(name)
    ]
    adam = _Adam([*logs, *(kernel.step for kernel in kernels), *(activation.ends for *_, activation in activations)])
    for step in range(ITERATIONS):
        by_logs = [np.zeros_like(log) for log in logs]
        total, by_steps, by_ends = 0.0, [], []
        for k, (kernel, exponents) in enumerate(zip(kernels, _exponents(logs, magnitudes), strict=True)):
            loss, by_exponents, by_step = kernel.loss(exponents)
            total += loss
            by_steps.append(by_step)
            if k < len(logs):
                by_logs[k] += by_exponents.sum(0)
            if k:
                by_logs[k - 1] -= by_exponents.sum(1)
        for sign, i, activation in activations:
            loss, by_scale, by_end = activation.loss(sign * logs[i])
            total += loss
            by_logs[i] += sign * by_scale
            by_ends.append(by_end)
        if not total > 0:
            return [np.ones(layer.units, np.float32) for layer in hidden]
        gradients = [*(by * is_free for by, is_free in zip(by_logs, free, strict=True)), *by_steps, *by_ends]
        adam.update([np.asarray(gradient) / total for gradient in gradients], step)
    return [np.exp(log).astype(np.float32) for log in logs]


def rescale_units(model: TiedAutoencoder, scales: Sequence[np.ndarray]) -> None:
    """Scale the hidden units of a model in place, [units] per hidden layer, in both directions; its function stays."""
    decoder = list(reversed(model.decoder.stack))
    for i, scale in enumerate(scales):
        kernel, following = model.kernels[i], model.kernels[i + 1]
        kernel.variable.assign(kernel.variable * scale)
        following.variable.assign(following.variable / scale[:, None])
        for bias, factor in ((model.encoder.stack[i].bias, scale), (decoder[i + 1].bias, 1 / scale)):
            if bias is not None:
                bias.assign(bias * factor)


def _start(magnitudes: Sequence[np.ndarray], free: Sequence[bool]) -> list[np.ndarray]:
    """Logarithms of the scales that give every unit of a kernel the same largest magnitude, from the first kernel on."""
    logs: list[np.ndarray] = []
    for kernel, is_free in zip(magnitudes[:-1], free, strict=True):
        rows = kernel * np.exp(-logs[-1])[:, None] if logs else kernel
        largest = rows.max(0)
        live = (largest > 0) & is_free
        logs.append(np.where(live, np.log(_largest(largest) / np.where(live, largest, 1)), 0).clip(-FARTHEST, FARTHEST))
    return logs


def _exponents(logs: Sequence[np.ndarray], kernels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The logarithm of what each weight of each kernel is scaled by, [inputs, units]."""
    columns, rows = [*logs, np.zeros(1, np.float32)], [np.zeros(1, np.float32), *logs]
    return [np.broadcast_to(c - r[:, None], kernel.shape) for c, r, kernel in zip(columns, rows, kernels, strict=True)]


def _unit(tensor: str) -> list[tuple[float, int]]:
    """[(1 or −1, index)], how an activation follows the scales of which hidden layer; [] for the code and y."""
    layer, _, index = tensor.split(".")[0].partition("_")
    if not index:
        return []
    return [(1.0, int(index)) if layer == "encoder" else (-1.0, int(index) - 1)]


def _ends(values: np.ndarray) -> np.ndarray:
    """Logarithms of how far values reach below and above 0."""
    return np.log(np.array([_largest(np.minimum(values, 0)), _largest(np.maximum(values, 0))]))


def _largest(values: np.ndarray) -> np.float32:
    """The largest magnitude, at least 1e-8."""
    return np.float32(max(np.abs(values).max(initial=0), 1e-8))
