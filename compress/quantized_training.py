"""Quantization-aware training, and whether its end is kept or the model that it began with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tiedae.base.errors import InputError
from tiedae.base.records import plain
from tiedae.config.config import QuantizeConfig, TrainConfig
from tiedae.data.dataset import Dataset
from tiedae.data.noise import Noise, pairs

from .held_out import Judges
from .network import TiedNetwork
from .rate import code_bits
from .start_or_end import Change, StartOrEnd
from .train import CODE_SAMPLES, History, Training, fit, noise_seed


def train_quantized(model: TiedNetwork, splits: Dataset, config: QuantizeConfig, train: TrainConfig | Training) -> History:
    """Fine-tune a model with fake-quantized kernels and activations (Jacob et al. 2018), with fixed masks and trained ranges.

    Keeps the model as trained if the errors of validation samples are lower beyond noise, at no higher cost, else that which
    was given, after post-training quantization; see `StartOrEnd`. The history's last record says which, as `kept`. Raises the
    errors of `fit`, InputError for a float model, RecipeError if the model was quantized with another configuration or scaling.
    """
    if model.quantizers is None:
        raise InputError("train_quantized: got a float model; quantize_post_training must quantize it first")
    model.quantizers.spec.require_from(config, splits.train.scaling, source="the model is quantized")
    training = Training.fine_tuning(train, config, model, splits)
    judged = Training.of(train)
    judges, noise = Judges.of(splits, CODE_SAMPLES, judged.config.seed), training.noise(splits)
    start, before = model.arrays(), HeldOut.of(model, judges, judged, noise)
    history = fit(model, splits, training, stage="quantize")
    kept = before.kept(HeldOut.of(model, judges, judged, noise), judges)
    if kept.is_start:
        model.restore(start)
    history[-1]["kept"] = plain(kept)
    return history


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The squared error of each sample that judges, in scaled values, float64 [n]. `costs`: with the bits of its code, at the
    empirical entropy of each unit, where a model is trained for rate.
    """

    errors: np.ndarray
    costs: np.ndarray

    @classmethod
    def of(cls, model: TiedNetwork, judges: Judges, training: Training, noise: Noise | None = None) -> HeldOut:
        samples, seed = judges.samples, noise_seed(training.config, "validation")
        errors, codes = [], []
        for x, wanted in pairs(samples, np.arange(len(samples)), 1000, noise, seed):
            code, y = model.encode_decode(x)
            errors.append(tf.reduce_sum(tf.square(y - wanted), axis=1).numpy().astype(np.float64))
            codes.append(code.numpy().reshape(len(code), -1))
        squared = np.concatenate(errors)
        return cls(squared, squared + training.config.rate * code_bits(np.concatenate(codes)))

    def kept(self, end: HeldOut, judges: Judges) -> StartOrEnd:
        """What is to be kept of this start and an end."""
        clusters = judges.clusters
        return StartOrEnd(
            Change.of(self.errors, end.errors, clusters), Change.of(self.costs, end.costs, clusters), judges.split
        )
