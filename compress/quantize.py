"""Quantization-aware training: the float model goes on training with the integer program's roundings in the loop."""

from __future__ import annotations

import math

from .autoencoder import TiedAutoencoder
from .config import QuantizeConfig, TrainConfig
from .data import Splits
from .errors import InputError
from .train import History, Training, fit


def train_quantized(model: TiedAutoencoder, splits: Splits, config: QuantizeConfig, train: TrainConfig | Training) -> History:
    """Fine-tune a model whose kernels and activations are fake-quantized (Jacob et al. 2018), masks held.

    Activation ranges follow for the first part of the epochs and stand still for the rest, so that the weights settle on
    the ranges that are exported. Raises what `fit` raises, InputError where the model is not quantized, RecipeError where it
    was quantized by another configuration or for data of another scaling.
    """
    if model.quantizers is None:
        raise InputError("train_quantized: got a float model; quantize_post_training must quantize it first")
    model.quantizers.spec.require_from(config, splits.train.scaling, source="the model is quantized")
    training = Training.fine_tuning(train, config, model, splits)
    return fit(model, splits, training, stage="quantize", observed_epochs=max(1, math.ceil(config.epochs * OBSERVED)))


OBSERVED = 0.6
"""The share of quantization-aware epochs in which activation ranges follow."""
