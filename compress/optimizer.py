"""The optimizer of every stage: Adam with decoupled weight decay, and what kernels of few bits ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tiedae.config.config import TrainConfig

from .legacy_keras import tf_keras
from .network import TiedNetwork
from .rate import RateTerm
from .training_start import TrainingStart

WARM_UP = 0.03
"""Fraction of all steps with a rising learning rate."""
WARM_UP_FROM_PCA = 0.4
"""The same from a start at PCA, where a full learning rate soon kills units."""
RISEN = 1.01
"""A validation loss, as a fraction of the least so far, by which a rising learning rate is too high."""
DAMPING = 3.0
"""Dampening of weights of fewer than 8 bits, in units of rate · (1 − rate / peak rate)."""


def _learning_rate(config: TrainConfig, peak: float, steps: int, warm_up: float) -> Any:
    """A constant, or a Keras schedule."""
    if config.schedule == "constant":
        return peak
    warm_up_steps = int(steps * warm_up)
    cosine = tf_keras.optimizers.schedules.CosineDecay
    if warm_up_steps == 0:
        return cosine(peak, max(1, steps))
    return cosine(0.0, max(1, steps - warm_up_steps), warmup_target=peak, warmup_steps=warm_up_steps)


class _Lowerable(tf_keras.optimizers.schedules.LearningRateSchedule):
    """A schedule times `factor`, a variable; `rising`: the steps in which it rises."""

    def __init__(self, schedule: Any, rising: int) -> None:
        self.schedule, self.rising, self.factor = schedule, rising, tf.Variable(1.0, trainable=False)

    def __call__(self, step: Any) -> tf.Tensor:
        return self.schedule(step) * self.factor


class Optimizer:
    """Keras' legacy Adam, one fused operation per variable on a CPU, with its state by name.

    `steps`: of an epoch. `begun`: where float training began, with the weights' learning rate; from PCA that rises for longer,
    and can be lowered. The densities of `rate` keep the recipe's: they follow the code however slowly the weights move.
    """

    def __init__(
        self,
        model: TiedNetwork,
        config: TrainConfig,
        steps: int,
        rate: RateTerm | None = None,
        begun: TrainingStart | None = None,
    ) -> None:
        self.steps, total = steps, steps * config.epochs
        self.peak = config.learning_rate if begun is None else begun.learning_rate
        self.rate: Any = _learning_rate(config, self.peak, total, WARM_UP)
        self.lowerable: _Lowerable | None = None
        if begun is not None and begun.start == "pca" and config.schedule != "constant":
            longer = _learning_rate(config, self.peak, total, WARM_UP_FROM_PCA)
            self.rate = self.lowerable = _Lowerable(longer, int(total * WARM_UP_FROM_PCA))
        adam = tf_keras.optimizers.legacy.Adam
        self.keras, self.of_rate = adam(self.rate), adam(_learning_rate(config, config.learning_rate, total, WARM_UP))
        for each in (self.keras, self.of_rate):
            _ = each.beta_1  # makes its variables; made by the first update, they would have a graph traced twice
        self.kernels = model.kernels
        self.decay = config.weight_decay
        self.weights = list(model.trainable_variables)
        self.variables = [*self.weights, *(rate.trainable_variables if rate else ())]
        state = model.trained_state() | (rate.state() if rate else {})
        named = {name: variable for name, variable in state.items() if any(variable is v for v in self.variables)}
        self.slots = {"adam.step": self.keras.iterations}
        for slot in ("m", "v"):
            self.slots |= {f"adam.{slot}.{name}": self._of(each).add_slot(each, slot) for name, each in named.items()}

    def lower(self, losses: Sequence[float]) -> float:
        """Lower the learning rates to come, where the validation loss rises with them: units would die. The highest
        becomes what it was after the epoch of the least loss.

        `losses`: of all epochs so far. Returns the highest learning rate, 0 where it is not lowered.
        """
        if self.lowerable is None:
            return 0.0
        least, factor, wanted = math.inf, 1.0, 1.0
        for epoch, loss in enumerate(losses, 1):
            if loss < least:
                least, wanted = loss, factor * float(self.lowerable.schedule(epoch * self.steps)) / self.peak
            elif loss > RISEN * least and (epoch - 1) * self.steps < self.lowerable.rising:
                factor = wanted
        self.lowerable.factor.assign(factor)
        return 0.0 if factor == 1 else factor * self.peak

    def _of(self, variable: tf.Variable) -> tf_keras.optimizers.legacy.Adam:
        return self.keras if any(variable is each for each in self.weights) else self.of_rate

    def apply(self, gradients: list[tf.Tensor]) -> None:
        """One update: decoupled weight decay (Loshchilov & Hutter 2019), Adam, dampening and outlier clipping."""
        rate: Any = self.rate(self.keras.iterations) if callable(self.rate) else self.rate
        for kernel in self.kernels:
            if self.decay:
                kernel.variable.assign_sub(rate * self.decay * kernel.variable)
            if kernel.trains_scales and callable(self.rate):
                kernel.dampen(DAMPING * rate * (1 - rate / self.peak))
        updates, count = list(zip(gradients, self.variables, strict=True)), len(self.weights)
        if updates[count:]:
            self.of_rate.iterations.assign(self.keras.iterations)
            self.of_rate.apply_gradients(updates[count:])
        self.keras.apply_gradients(updates[:count])
        for kernel in self.kernels:
            if kernel.granularity is not None:
                kernel.clip_outliers()
