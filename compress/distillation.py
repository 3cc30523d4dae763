"""Knowledge distillation: fine-tuning held to what the uncompressed model answers (Hinton et al. 2015, for a regression)."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""loss(what is wanted, what came out), float32 [batch, inputs] each → float32 [batch]."""


def distilled(loss: Loss, teacher: Callable[[tf.Tensor], tf.Tensor], share: float) -> Loss:
    """(1 − share) · loss(x, y) + share · loss(teacher's y, y); no gradient flows back into the teacher."""

    def mixture(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        taught = tf.stop_gradient(teacher(x))
        return (1 - share) * loss(x, y) + share * loss(taught, y)

    return mixture
