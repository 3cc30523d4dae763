"""Training for rate: what the entropy stage will spend on a code, as a term of the loss (Ballé et al. 2017, arXiv:1611.01704).

All units of the code share one step. At first uniform noise of a step's width replaces rounding; later codes are rounded with
straight-through gradients. Each unit has a density, a mixture of logistics; a code costs −log₂ of what
the density gives its step. The densities serve training alone: the tables of the entropy stage are fitted to real codes.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from .legacy_keras import tf_keras

NOISE_FRACTION = 0.6
"""Fraction of the epochs in which noise replaces rounding."""
COMPONENTS = (-0.5, 0.0, 0.5)
"""Where the components of a density start, in standard deviations around the mean."""
LEAST_SCALE = 1e-2
LEAST_PROBABILITY = 1e-30
LEAST_STEP = 1e-6
FIT_STEPS, FIT_RATE = 200, 0.05
"""Steps of Adam, and its learning rate, in which densities are fitted to given codes."""
MOST_LSB = 255
"""Steps of a code of 8 bits."""


def default_step(weight: float, deviation: float) -> float:
    """The step that a weight starts from where none is given: half the standard deviation of the widest unit at most.

    For a Gaussian unit of a linear code, `weight` · bits + the squared error of a step is least at a distortion of weight /
    (2 ln 2) per unit, of which a step Δ makes Δ² / 12.
    """
    return min(math.sqrt(6 * weight / math.log(2)), deviation / 2)


class RateTerm(tf_keras.layers.Layer):
    """λ · bits per value of a sample, and the rounding that the code goes through meanwhile.

    `weight`: λ. `inputs`: values of a sample, which bits are divided by. `step`: fixed where given, else trained.
    """

    def __init__(self, units: int, inputs: int, weight: float, *, step: float | None, noisy: bool, seed: int) -> None:
        super().__init__(name="rate")
        self.weight, self.inputs, self.seed = weight, inputs, seed
        self.noisy = noisy
        shape = (units, len(COMPONENTS))
        self.variables_by_name = {
            name: self.add_weight(name=name, shape=size, initializer="zeros", trainable=trainable, dtype=dtype)
            for name, size, trainable, dtype in (
                ("logits", shape, True, tf.float32),
                ("means", shape, True, tf.float32),
                ("scales", shape, True, tf.float32),
                ("log_step", (), step is None, tf.float32),
                ("counter", (), False, tf.int32),
            )
        }
        self.fixed_step = step
        self.built = True

    def start(self, codes: np.ndarray) -> None:
        """Set the densities, and a step that is not given, by the codes of some samples, float32 [n, *places, units]."""
        codes = codes.reshape(-1, codes.shape[-1])
        deviations = codes.std(axis=0)
        step = max(self.fixed_step or default_step(self.weight, float(deviations.max())), LEAST_STEP)
        values = self.variables_by_name
        values["log_step"].assign(math.log(step))
        spread = np.maximum(deviations[:, None] / step, 0.5)
        values["means"].assign(codes.mean(axis=0)[:, None] / step + spread * np.array(COMPONENTS))
        values["scales"].assign(np.log(np.repeat(spread / 2, len(COMPONENTS), axis=1)))

    def fit(self, codes: np.ndarray) -> None:
        """Fit the densities to the codes of a model, float32 [n, *places, units], with its weights as they are.

        Weights that are trained on would follow densities that still fit badly.
        """
        rounding = np.random.default_rng(self.seed).uniform(-0.5, 0.5, codes.shape) if self.noisy else 0.0
        steps = codes / self.step
        steps = tf.constant(steps + rounding if self.noisy else np.rint(steps), tf.float32)
        densities = [self.variables_by_name[name] for name in ("logits", "means", "scales")]
        optimizer = tf_keras.optimizers.Adam(FIT_RATE)
        optimizer.build(densities)

        @tf.function(autograph=False)
        def update() -> None:
            with tf.GradientTape() as tape:
                bits = tf.reduce_mean(self.bits(steps))
            optimizer.apply_gradients(zip(tape.gradient(bits, densities), densities, strict=True))

        for _ in range(FIT_STEPS):
            update()

    def shift(self, steps: np.ndarray) -> None:
        """Follow a code whose units have moved down by `steps`, float32 [units]."""
        self.variables_by_name["means"].assign_sub(np.repeat(steps[:, None], len(COMPONENTS), axis=1))

    @property
    def step(self) -> float:
        """The step, in units of the code, a float32 value."""
        return float(self._step)

    @property
    def _step(self) -> tf.Tensor:
        if self.fixed_step is not None:
            return tf.constant(self.fixed_step, tf.float32)
        return tf.exp(self.variables_by_name["log_step"])

    def state(self) -> dict[str, tf.Variable]:
        """The variables by name, as checkpoints store them."""
        return {f"rate.{name}": variable for name, variable in self.variables_by_name.items()}

    def __call__(self, code: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:  # type: ignore[override]
        """Codes [batch, *places, units] → (codes as the decoder gets them, λ · bits per value of each sample, [batch])."""
        step = self._step
        steps = code / step
        if training and self.noisy:
            seed = tf.stack([tf.constant(self.seed, tf.int32), self.variables_by_name["counter"].assign_add(1)])
            steps += tf.random.stateless_uniform(tf.shape(steps), seed, -0.5, 0.5)
        else:
            steps += tf.stop_gradient(tf.round(steps) - steps)
        return steps * step, self.bits(steps) * (self.weight / self.inputs)

    def mean_bits(self, code: tf.Tensor) -> float:
        """Bits of rounded codes, float32 [n, *places, units], on average."""
        return float(tf.reduce_mean(self.bits(tf.round(code / self._step))))

    def bits(self, steps: tf.Tensor) -> tf.Tensor:
        """Bits of codes in steps, float32 [batch, *places, units] → [batch]."""
        values = self.variables_by_name
        distance = tf.abs(steps[..., None] - values["means"])
        inverse = 1 / tf.maximum(tf.exp(values["scales"]), LEAST_SCALE)
        # The tail that is nearer: a difference of two values near 1 would vanish.
        inside = tf.sigmoid((0.5 - distance) * inverse) - tf.sigmoid((-0.5 - distance) * inverse)
        mixed = tf.reduce_sum(tf.nn.softmax(values["logits"]) * inside, axis=-1)
        axes = list(range(1, len(mixed.shape)))
        return -tf.reduce_sum(tf.math.log(tf.maximum(mixed, LEAST_PROBABILITY)), axis=axes) / math.log(2)


def largest_useful_rate(samples: np.ndarray) -> float:
    """The rate above which no unit of a linear code is worth its bits, for samples in scaled values, float32 [n, inputs].

    A Gaussian component of variance v takes ½ log₂(v / D) bits at a squared error D. Its first bits pay while v exceeds
    rate / (2 ln 2): reverse water-filling (Cover & Thomas 2006, 10.3.3). The first principal component has the largest v.
    """
    centred = samples.astype(np.float64) - samples.mean(axis=0, dtype=np.float64)
    gram = centred.T @ centred if centred.shape[1] <= len(centred) else centred @ centred.T
    return float(2 * math.log(2) * np.linalg.eigvalsh(gram)[-1] / len(samples))


def code_bits(codes: np.ndarray) -> np.ndarray:
    """Bits of each quantized code, float64 [n], of codes float32 [n, units]: by the frequencies of the values of each unit."""
    bits = np.zeros(len(codes))
    for unit in codes.T:
        _, places, counts = np.unique(unit, return_inverse=True, return_counts=True)
        bits -= np.log2(counts / len(unit))[places]
    return bits
