"""The tied kernel: one variable, one mask, one set of integers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from .config import Granularity
from .errors import RecipeError
from .integers import Bounds, kernel_bounds

SHARES = tuple(i / 50 for i in range(5, 51))
"""Of the largest magnitude: where the range of a kernel of less than 8 bits may start."""
OUTLIER = 8.0
"""In quantization-aware training no weight grows beyond so many root mean squares."""
SMALLEST = 1e-8
"""Below it a range holds nothing but zero."""
FACTOR_STEPS = 255
"""The decoder brings a unit's scale as a byte, in so many steps of the kernel's largest; no unit's is below one step."""


class TiedKernel(tf_keras.layers.Layer):
    """The only place where a kernel is transformed: variable → mask → clusters → fake quantization → both directions' tensor.

    Calling it gives that tensor, float32 [inputs, units]. Encoder and decoder layers hold a reference to this object.

    Attributes
        variable     float32 [inputs, units], trainable
        mask         float32 [inputs, units] of 0 and 1, or None where the kernel is not pruned
        clusters     uint8 [inputs, units], the number of each weight's cluster, or None where every weight has its own value
        granularity  None where the kernel is not quantized
        bits         of its integers, which lie within `bounds`
        largest      float32 scalar (`tensor`) or [units] (`unit`): what the largest integer stands for. At 8 bits the largest
                     magnitude of the weights; with fewer it starts where rounding costs the least squared error, which cuts
                     some weights off, and is trained with them (Esser et al. 2020)
    """

    def __init__(self, inputs: int, units: int, *, name: str, seed: int = 0, l1: float = 0.0, l2: float = 0.0) -> None:
        super().__init__(name=name)
        regularizer = tf_keras.regularizers.L1L2(l1, l2) if l1 or l2 else None
        self.variable = self.add_weight(
            name="kernel",
            shape=(inputs, units),
            initializer=tf_keras.initializers.GlorotUniform(seed),
            regularizer=regularizer,
        )
        self.mask: tf.Variable | None = None
        self.clusters: tf.Variable | None = None
        self.granularity: Granularity | None = None
        self.bits = 8
        self.largest: tf.Variable | None = None
        self.built = True

    @property
    def inputs(self) -> int:
        return self.variable.shape[0]

    @property
    def bounds(self) -> Bounds:
        """The least and the largest integer."""
        return kernel_bounds(self.bits)

    @property
    def trains_scales(self) -> bool:
        """Whether the scales are trained; else they follow the weights."""
        return self.bits < 8

    @property
    def units(self) -> int:
        return self.variable.shape[1]

    def __call__(self, training: bool = False) -> tf.Tensor:  # type: ignore[override]
        """The kernel as both directions see it. `training` lets the scales follow the current weights."""
        kernel = self.unquantized()
        if self.largest is None:
            return kernel
        if training and not self.trains_scales:
            self.largest.assign(self._magnitude(kernel))
        largest = tf.convert_to_tensor(self.largest)
        return self._rounded(kernel, largest if self.trains_scales else tf.stop_gradient(largest))

    def masked(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.variable) if self.mask is None else self.variable * self.mask

    def unquantized(self) -> tf.Tensor:
        """The masked kernel; where it is clustered, the first weight of each cluster stands for all of its cluster.

        Its gradient is then the sum over the cluster, which is the gradient of the shared value.
        """
        kernel = self.masked()
        if self.clusters is None:
            return kernel
        return tf.gather(tf.gather_nd(kernel, self.first), tf.cast(self.clusters, tf.int32))

    def set_mask(self, mask: np.ndarray) -> None:
        """Use a mask of 0 and 1, [inputs, units]; it replaces an earlier one."""
        variable = self.mask
        if variable is None:
            variable = self.add_weight(name="mask", shape=self.variable.shape, initializer="ones", trainable=False)
            self.mask = variable
        variable.assign(mask)

    def set_clusters(self, clusters: np.ndarray) -> None:
        """Let the weights of equal number, uint8 [inputs, units] in 0…k − 1, hold one value from now on: their first one's.

        Raises ValueError where a number below the largest is missing, or pruned places share a number with others.
        """
        numbers, first = np.unique(clusters, return_index=True)
        if not np.array_equal(numbers, np.arange(len(numbers))):
            raise ValueError(f"{self.name}: clusters are numbered {numbers.tolist()}, must be 0 to {len(numbers) - 1}")
        if self.mask is not None:
            pruned = self.mask.numpy() == 0
            if set(clusters[pruned].tolist()) & set(clusters[~pruned].tolist()):
                raise ValueError(f"{self.name}: pruned places share a cluster with weights")
        variable = self.clusters
        if variable is None:
            shape = self.variable.shape
            variable = self.add_weight(name="clusters", shape=shape, dtype=tf.uint8, initializer="zeros", trainable=False)
            self.clusters = variable
        variable.assign(clusters)
        self.first = np.stack(np.unravel_index(first, clusters.shape), axis=1)

    def settle(self) -> None:
        """Write the mask's zeros and the clusters' values into the variable."""
        if self.mask is not None or self.clusters is not None:
            self.variable.assign(self.unquantized())

    def attach_quantizer(self, granularity: Granularity, bits: int = 8) -> None:
        """Fake-quantize from now on, one scale per kernel (`tensor`) or per unit (`unit`), starting from the weights.

        The kernel in units of `largest` goes through TensorFlow's fake quantization, zero an integer. (The operation with a
        range per channel gives the same numbers, several times slower.)
        """
        if granularity == "unit" and self.clusters is not None:
            raise RecipeError("granularity: got 'unit', must be 'tensor' for a clustered kernel, whose values units share")
        self.granularity, self.bits = granularity, bits
        shape = (self.units,) if granularity == "unit" else ()
        largest = self.add_weight(name="largest", shape=shape, initializer="ones", trainable=self.trains_scales)
        largest.assign(self._least_error() if self.trains_scales else self._magnitude(self.unquantized()))
        self.largest = largest

    def follow(self) -> None:
        """Let the scales follow the current weights, unless they are trained."""
        if self.largest is not None and not self.trains_scales:
            self.largest.assign(self._magnitude(self.unquantized()))

    def set_integers(self, integers: np.ndarray, scales: np.ndarray) -> None:
        """Hold these integers, [inputs, units] within `bounds`, in steps of `scales`, float32 () or [units] as `largest` is.

        The variable becomes their real values, so that whatever goes on from here goes on from them.
        """
        assert self.largest is not None
        self.largest.assign(np.float32(self.bounds[1]) * scales)
        self.variable.assign(integers * self.scale_tensor())

    def approach(self, share: tf.Tensor | float) -> None:
        """Move each weight by this share of the way to the integer that it rounds to, in the end of training: there weights
        that lie between two integers would go on jumping from one to the other (dampening, Nagel et al. 2022)."""
        assert self.largest is not None
        low, high = self.bounds
        reached = tf.clip_by_value(self.unquantized(), low / high * self.largest, self.largest)
        self.variable.assign_sub(share * (reached - self(training=False)))

    def limit(self) -> None:
        """Clip the variable to `OUTLIER` times the root mean square of its live weights: a few outliers would set the step."""
        live = self.unquantized()
        count = tf.math.count_nonzero(live, dtype=tf.float32)
        bound = OUTLIER * tf.sqrt(tf.reduce_sum(tf.square(live)) / tf.maximum(count, 1.0))
        self.variable.assign(tf.clip_by_value(self.variable, -bound, bound))
        if self.largest is not None:
            self.largest.assign(self._at_least_a_factor(self.largest))

    def _magnitude(self, kernel: tf.Tensor) -> tf.Tensor:
        """The largest magnitude, of the kernel or per unit, large enough for the decoder's factor."""
        return self._at_least_a_factor(tf.reduce_max(tf.abs(kernel), axis=self._axis))

    def _at_least_a_factor(self, largest: tf.Tensor | tf.Variable | np.ndarray) -> tf.Tensor:
        return tf.maximum(largest, tf.maximum(tf.reduce_max(largest) / FACTOR_STEPS, SMALLEST))

    def _least_error(self) -> np.ndarray:
        """The share of the largest magnitude, per scale, at which rounding the weights costs the least squared error."""
        kernel = self.unquantized().numpy()
        largest = self._magnitude(kernel).numpy()
        ranges = np.stack([np.float32(share) * largest for share in SHARES])
        errors = [np.square(self._rounded(kernel, each) - kernel).sum(self._axis) for each in ranges]
        best = np.argmin(errors, axis=0)
        return self._at_least_a_factor(np.take_along_axis(ranges, best[None], axis=0)[0]).numpy()

    def _rounded(self, kernel: tf.Tensor | np.ndarray, largest: tf.Tensor | np.ndarray) -> tf.Tensor:
        """To integers of `bounds`. The gradient passes where nothing is cut off, and goes to `largest` elsewhere."""
        low, high = self.bounds
        return largest * tf.quantization.fake_quant_with_min_max_args(
            kernel / largest, min=low / high, max=1.0, num_bits=self.bits, narrow_range=low == -high
        )

    @property
    def _axis(self) -> int | None:
        """The axis that a scale spans; None where one spans all."""
        return 0 if self.granularity == "unit" else None

    def scale_tensor(self) -> tf.Tensor:
        """Real value of one integer step, float32, a scalar or [units], without gradient."""
        if self.largest is None:
            raise ValueError(f"{self.name} has no scales: it is not quantized")
        return tf.stop_gradient(self.largest / float(self.bounds[1]))

    def scales(self) -> np.ndarray:
        """The same as an array, float32 [1] or [units]."""
        return np.atleast_1d(self.scale_tensor().numpy())

    def integers(self) -> np.ndarray:
        """int8 [inputs, units] within `bounds`: the values that a call gives, in steps of `scales`."""
        return np.rint(self(training=False).numpy() / self.scales()).clip(*self.bounds).astype(np.int8)
