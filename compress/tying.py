"""Tied models to start from, of an untied one: an encoder and its mirrored decoder with kernels of their own.

    x ─ E0 ─→ h ─ E1 ─→ code ─ D1ᵀ ─→ h' ─ D0ᵀ ─→ y        kernel i of the tied model: E_i, D_i, or their mean

Units of h' have another order and size than those of h. Where their activation is f(a·x) = a·f(x) for every a > 0, unit j of h'
may take a scale: column j of D0 is divided by what column j of D1ᵀ is multiplied by. Order and scale are found layer by layer
until none changes (weight matching, Ainsworth et al., "Git Re-Basin", ICLR 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tiedae.config.config import TrainConfig
from tiedae.config.model_config import ModelConfig
from tiedae.data.dataset import Dataset, choose

from .autoencoder import TiedAutoencoder
from .float_training import train_float
from .layers import Decoder, Encoder, TiedLayer, know_statistics
from .symmetries import HOMOGENEOUS, permute_units, rescale_units
from .train import CODE_SAMPLES, History, Training, validation_loss

ROUNDS = 50
"""Passes over the layers at most."""
TOLERANCE = 1e-3
"""A scale this close to 1 changes nothing."""
LEAST = 1e-12
"""Norms are at least this."""


@dataclass(frozen=True, eq=False)
class UntiedAutoencoder:
    """An autoencoder whose decoder has kernels of its own: the encoder of one tied network and the decoder of another.

    x: float32 [batch, inputs] in scaled values, as of a tied model. It is a float model, not trained for rate.
    """

    encodes: TiedAutoencoder
    decodes: TiedAutoencoder
    quantized: ClassVar[bool] = False
    code_scale: ClassVar[None] = None

    @property
    def config(self) -> ModelConfig:
        return self.encodes.config

    @property
    def encoder(self) -> Encoder:
        return self.encodes.encoder

    @property
    def decoder(self) -> Decoder:
        return self.decodes.decoder

    @property
    def stack(self) -> tuple[TiedLayer, ...]:
        """All layers in forward order."""
        return (*self.encoder.stack, *self.decoder.stack)

    @property
    def variables(self) -> list[tf.Variable]:
        return [*self.encodes.variables, *self.decodes.variables]

    def encode_decode(self, x: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """(code, y)."""
        code = self.encoder(x)
        return code, self.decoder(code)

    def __call__(self, x: Any) -> tf.Tensor:
        return self.encode_decode(x)[1]

    @property
    def bytes(self) -> int:
        """Of its weights in float32."""
        return 4 * sum(variable.shape.num_elements() for layer in self.stack for variable in _of_layer(layer))


def _of_layer(layer: TiedLayer) -> list[tf.Variable]:
    return [layer.kernel.variable, *layer.channels.values()]


def tie(untied: UntiedAutoencoder, data: Dataset, train: TrainConfig | Training) -> tuple[TiedAutoencoder, History]:
    """The best of `starts`, trained against samples and, for `train.distill` of the loss, against the untied model.

    Its history's first record has the losses of the starts. Raises the errors of `train_float`."""
    training = Training.of(train)
    training = replace(training, teacher=untied, distill=training.config.distill)
    model, losses = best_start(untied, data, training.config)
    training.require_compatible(model, data)
    history = train_float(model, data, training)
    return model, [{**record, "starts": losses} if i == 0 else record for i, record in enumerate(history)]


def best_start(untied: UntiedAutoencoder, data: Dataset, train: TrainConfig) -> tuple[TiedAutoencoder, dict[str, float]]:
    """The tied model of the least loss on validation samples (else on training samples), and the losses by name."""
    held = data.validation
    if held is None:
        held = data.train.select(choose(data.train, CODE_SAMPLES, train.seed))
    training = Training(train)
    models, noise = starts(untied, training.code_inputs(data)), training.noise(data)
    losses = {name: validation_loss(model, held, train, noise) or 0.0 for name, model in models.items()}
    return models[min(losses, key=losses.__getitem__)], losses


def starts(untied: UntiedAutoencoder, x: np.ndarray) -> dict[str, TiedAutoencoder]:
    """Tied models by what their kernels are of; biases and gains of each direction are the untied model's.

    The units of the decoder are matched with those of the encoder first, so that the mean is of like units. Statistics of batch
    normalization, which are of the products of other kernels, become those of samples `x`, float32 [n, inputs].
    """
    encodes, decodes = untied.encodes.copy(), untied.decodes.copy()
    rows = encodes.encoder.arranged(tf.convert_to_tensor(x))
    know_statistics((*encodes.encoder.stack, *decodes.decoder.stack), rows)
    match(encodes, decodes)
    channels = {name: values for layer in decodes.decoder.stack for name, values in _values(layer).items()}
    ways = {
        "the encoder's kernels": lambda own, other: own,
        "the decoder's kernels": lambda own, other: other,
        "the mean of both": lambda own, other: (own + other) / 2,
    }
    models = {}
    for name, way in ways.items():
        models[name] = model = encodes.copy()
        pairs = zip(model.kernels, encodes.kernels, decodes.kernels, strict=True)
        kernels = {kernel.name: way(own.matrix, other.matrix) for kernel, own, other in pairs}
        model.restore(model.arrays() | channels | kernels)
        know_statistics(model.stack, rows, restart=True)
    return models


def _values(layer: TiedLayer) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in layer.channels.items()}


def match(encodes: TiedAutoencoder, decodes: TiedAutoencoder) -> None:
    """Give the hidden units of `decodes` the order and the scale of those of `encodes`, and codes one scale, in place.

    What the encoder of the one and the decoder of the other compute together stays.
    """
    hidden = range(len(encodes.kernels) - 1)
    for _ in range(ROUNDS):
        changed = [_match_layer(encodes, decodes, i) for i in hidden]
        if not any([*changed, _scale_code(encodes, decodes)]):
            return


def _match_layer(encodes: TiedAutoencoder, decodes: TiedAutoencoder, i: int) -> bool:
    """Give a hidden layer of `decodes` the order in which its units resemble those of `encodes` most, and their scale; whether
    that changed it."""
    from scipy.optimize import linear_sum_assignment

    own, other = ((model.kernels[i].matrix, _readers(model, i)) for model in (encodes, decodes))
    likeness = sum((a / _norms(a)).T @ (b / _norms(b)) for a, b in zip(own, other, strict=True))
    order = linear_sum_assignment(likeness, maximize=True)[1]
    permute_units(decodes, i, order)
    scale = _scale(encodes, decodes, i)
    rescale_units(decodes, [scale if k == i else np.ones(1, np.float32) for k in range(len(encodes.kernels) - 1)])
    return bool((order != np.arange(len(order))).any() or _changes(scale))


def _readers(model: TiedAutoencoder, i: int) -> np.ndarray:
    """What the next kernel multiplies the units of a hidden layer by: a column of each unit."""
    units, following = model.kernels[i].units, model.kernels[i + 1].matrix
    return following.reshape(-1, units, following.shape[1]).swapaxes(1, 2).reshape(-1, units)


def _norms(matrix: np.ndarray) -> np.ndarray:
    """Of the columns, at least `LEAST`."""
    return np.maximum(np.linalg.norm(matrix, axis=0), LEAST)


def _scale(encodes: TiedAutoencoder, decodes: TiedAutoencoder, i: int) -> np.ndarray:
    """The scale of a hidden layer of `decodes` for `rescale_units`, float32 [2, units]: by it columns and rows of its kernels
    have norms as those of `encodes`, both for normalized units, for others in their geometric mean."""
    layer = encodes.config.layers[i]
    columns = _norms(encodes.kernels[i].matrix) / _norms(decodes.kernels[i].matrix)
    rows = _norms(_readers(decodes, i)) / _norms(_readers(encodes, i))
    if layer.activation not in HOMOGENEOUS:
        return np.ones((2, layer.units), np.float32)
    if not layer.batch_norm:
        rows = columns = np.sqrt(rows * columns)
    return np.stack([rows, columns]).astype(np.float32)


def _scale_code(encodes: TiedAutoencoder, decodes: TiedAutoencoder) -> bool:
    """Scale the units of the code so that the kernels of both directions have columns of one norm; whether that changed any."""
    layer = encodes.encoder.stack[-1]
    if layer.activation not in HOMOGENEOUS:
        return False
    scale = np.sqrt(_norms(decodes.kernels[-1].matrix) / _norms(encodes.kernels[-1].matrix)).astype(np.float32)
    for network, factor in ((encodes, scale), (decodes, 1 / scale)):
        network.kernels[-1].variable.assign(network.kernels[-1].variable * factor)
    if layer.norm is not None:
        layer.norm.scale(scale, np.ones_like(scale))
    if layer.bias is not None:
        layer.bias.assign(layer.bias * scale)
    return _changes(scale)


def _changes(scale: np.ndarray) -> bool:
    return bool(np.abs(scale - 1).max() > TOLERANCE)
