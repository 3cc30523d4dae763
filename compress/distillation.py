"""Knowledge distillation: fine-tuning held to what the uncompressed model answers (Hinton et al. 2015, for a regression)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from .autoencoder import TiedAutoencoder
from .config import FineTuning
from .errors import DataError, RecipeError

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""loss(what is wanted, what came out), float32 [batch, inputs] each → float32 [batch]."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A model whose output stands for `share` of what is wanted; the sample itself stands for the rest."""

    model: TiedAutoencoder
    share: float

    def objective(self, loss: Loss) -> Loss:
        """(1 − share) · loss(x, y) + share · loss(teacher's y, y); nothing flows back into the teacher."""

        def distilled(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            taught = tf.stop_gradient(self.model(x))
            return (1 - self.share) * loss(x, y) + self.share * loss(taught, y)

        return distilled


def teacher_of(config: FineTuning, model: TiedAutoencoder, original: TiedAutoencoder | None) -> Teacher | None:
    """The uncompressed model as the teacher of `model`, or None where `config.distill` is 0.

    Raises RecipeError where a teacher is asked for and `original` is None, DataError where its inputs are others.
    """
    if config.distill == 0:
        return None
    if original is None:
        raise RecipeError(f"distill: got {config.distill}, but no teacher; pass the uncompressed model as teacher, or 0")
    if original.config.inputs != model.config.inputs:
        raise DataError(f"the teacher's inputs are {original.config.inputs}, the model's are {model.config.inputs}")
    return Teacher(original, config.distill)
