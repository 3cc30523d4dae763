"""The tied kernel: one variable, one mask, one set of integers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tiedae.base.errors import RecipeError
from tiedae.config.config import Granularity

from .integers import PAIR_LIMIT, Bounds, exceeding_pairs, kernel_bounds, neighbours, within_pairs
from .legacy_keras import tf_keras

CLIP_FRACTIONS = tuple(i / 50 for i in range(5, 51))
"""Candidates for the initial range of a kernel of fewer than 8 bits, as fractions of its largest magnitude."""
OUTLIER_RMS = 14.0
"""Quantization-aware training clips weights at this multiple of their root mean square."""
HEADROOMS = tuple(1 + i / 32 for i in range(33))
"""Candidates for the range of an 8-bit kernel, as multiples of its largest magnitude. At 2 no pair exceeds the pair limit."""
MIN_RANGE = 1e-8
FACTOR_LEVELS = 255
"""The decoder stores scales per unit as uint8 multiples of max(scale) / 255, at least 1."""


class TiedKernel(tf_keras.layers.Layer):
    """The only place that transforms a kernel: variable → mask → clusters → fake quantization → tensor of both directions.

    A call returns that tensor, float32 [inputs, units]. Encoder and decoder layers hold a reference to this object.
    Every kind of layer has this matrix: pruning, clustering, post-training quantization and the pair rule read `matrix`.

    Attributes
        variable     float32 [inputs, units], trainable
        mask         float32 [inputs, units] of 0 and 1; None if not pruned
        clusters     uint8 [inputs, units], the index of each weight's cluster; None if not clustered
        granularity  None if not quantized
        bits         width of the integers
        pair_limit   limit of the pair rule at 8 bits, see `integers`
        largest      float32 () for `tensor`, [units] for `unit`: the real value of the largest integer. At 8 bits it is
                     `headroom` times the largest magnitude. With fewer bits it is trained (Esser et al. 2020), starting at
                     the least squared rounding and clipping error
        headroom     1, or more if coarser integers have less squared error than moving pairs under the limit
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
        self.pair_limit = PAIR_LIMIT
        self.headroom = 1.0
        self.largest: tf.Variable | None = None
        self.built = True

    @property
    def inputs(self) -> int:
        return self.variable.shape[0]

    @property
    def bounds(self) -> Bounds:
        """Smallest and largest integer."""
        return kernel_bounds(self.bits)

    @property
    def trains_scales(self) -> bool:
        """Whether scales are trained; otherwise they are computed from the weights."""
        return self.bits < 8

    @property
    def units(self) -> int:
        return self.variable.shape[1]

    def __call__(self, training: bool = False) -> tf.Tensor:  # type: ignore[override]
        """The tensor that both directions use. `training` updates the scales from the current weights."""
        kernel = self.unquantized()
        if self.largest is None:
            return kernel
        if self.trains_scales:
            return self._rounded(kernel, tf.convert_to_tensor(self.largest))
        if training:
            self.largest.assign(self._weight_range(kernel))
        return self._paired(self._rounded(kernel, tf.stop_gradient(self.largest)))

    def masked(self) -> tf.Tensor:
        """The variable with its mask applied."""
        return tf.convert_to_tensor(self.variable) if self.mask is None else self.variable * self.mask

    def unquantized(self) -> tf.Tensor:
        """The masked kernel; every weight of a cluster takes the value of the cluster's first weight.

        The gradient of that weight is the sum over its cluster.
        """
        kernel = self.masked()
        if self.clusters is None:
            return kernel
        return tf.gather(tf.gather_nd(kernel, self.first), tf.cast(self.clusters, tf.int32))

    @property
    def matrix(self) -> np.ndarray:
        """The kernel before quantization, masked and clustered, float32 [inputs, units]."""
        return self.unquantized().numpy()

    @property
    def live(self) -> np.ndarray:
        """Which weights are kept, bool [inputs, units]; all True if the kernel is not pruned."""
        return np.ones(self.variable.shape, bool) if self.mask is None else self.mask.numpy() > 0

    def _assigned(self, given: tf.Variable | None, name: str, values: np.ndarray, dtype: tf.DType) -> tf.Variable:
        """Assign `values` to the given non-trainable variable of the kernel's shape, or to a new one."""
        settings: dict = {"dtype": dtype, "initializer": "zeros", "trainable": False}
        variable: tf.Variable = self.add_weight(name=name, shape=self.variable.shape, **settings) if given is None else given
        variable.assign(values)
        return variable

    def set_mask(self, mask: np.ndarray) -> None:
        """Set the mask, 0 and 1, [inputs, units]; it replaces an earlier one."""
        self.mask = self._assigned(self.mask, "mask", mask, tf.float32)

    def set_clusters(self, clusters: np.ndarray) -> None:
        """Share one value per cluster from now on: that of its first weight. `clusters`: uint8 [inputs, units] in 0…k − 1.

        Raises ValueError if an index in 0…k − 1 is unused, or a cluster holds both pruned and kept weights.
        """
        numbers, first = np.unique(clusters, return_index=True)
        if not np.array_equal(numbers, np.arange(len(numbers))):
            raise ValueError(f"{self.name}: clusters are numbered {numbers.tolist()}, must be 0 to {len(numbers) - 1}")
        if np.isin(clusters[~self.live], clusters[self.live]).any():
            raise ValueError(f"{self.name}: a cluster holds both pruned and kept weights")
        self.clusters = self._assigned(self.clusters, "clusters", clusters, tf.uint8)
        self.first = np.stack(np.unravel_index(first, clusters.shape), axis=1)

    def write_back(self) -> None:
        """Assign `matrix` to the variable: masked weights become 0, clustered weights their shared value."""
        if self.mask is not None or self.clusters is not None:
            self.variable.assign(self.unquantized())

    def attach_quantizer(self, granularity: Granularity, bits: int = 8) -> None:
        """Fake-quantize from now on, with one scale per kernel (`tensor`) or per unit (`unit`) from the current weights.

        Raises RecipeError for `unit` on a clustered kernel.
        """
        if granularity == "unit" and self.clusters is not None:
            raise RecipeError("granularity: got 'unit', must be 'tensor' for a clustered kernel, whose values units share")
        self.granularity, self.bits = granularity, bits
        shape = (self.units,) if granularity == "unit" else ()
        largest = self.add_weight(name="largest", shape=shape, initializer="ones", trainable=self.trains_scales)
        if self.trains_scales:
            largest.assign(self._min_error_range())
        else:
            self.headroom = self._min_error_headroom() if self.clusters is None else 1.0
            largest.assign(self._weight_range(self.unquantized()))
        self.largest = largest

    def update_scales(self) -> None:
        """Compute the scales from the current weights; no effect if they are trained or the kernel is not quantized."""
        if self.largest is not None and not self.trains_scales:
            self.largest.assign(self._weight_range(self.unquantized()))

    def set_integers(self, integers: np.ndarray, scales: np.ndarray) -> None:
        """Assign integers · scales to the variable, after moving integers that exceed the pair limit.

        `integers`: [inputs, units] within `bounds`; `scales`: float32 () or [units], as `largest`. `headroom` is then that of
        these scales, so that training continues from them.
        """
        assert self.largest is not None
        moved = within_pairs(integers, self.pair_limit)
        self.largest.assign(np.float32(self.bounds[1]) * scales)
        self.variable.assign(moved * self.scale_tensor())
        self.headroom = self.bounds[1] / int(np.abs(moved).max(initial=1))

    def reassign_pairs(self) -> None:
        """Move weights of a clustered kernel to smaller clusters so that 8-bit integers obey the pair rule.

        The range has the least squared error of moving and rounding together; `_weight_range` keeps it afterwards.
        """
        if self.clusters is None:
            return
        values, clusters = self.matrix, self.clusters.numpy()
        codebook = np.array([values[clusters == number][0] for number in range(clusters.max() + 1)])
        live = np.unique(clusters[self.live])

        def reassigned(headroom: float) -> tuple[float, np.ndarray]:
            limit = headroom * np.abs(codebook).max()
            held = _smaller_clusters(clusters, codebook, live, limit)
            scale = max(limit / self.bounds[1], MIN_RANGE)
            return float(np.square(np.rint(codebook / scale)[held] * scale - values).sum()), held

        _, held = min((reassigned(headroom) for headroom in HEADROOMS[::8]), key=lambda each: each[0])
        self.variable.assign(codebook[held])
        self.set_clusters(np.unique(held, return_inverse=True)[1].reshape(held.shape).astype(np.uint8))

    def dampen(self, fraction: tf.Tensor | float) -> None:
        """Move each weight this fraction of the way to its rounded value, against oscillation (Nagel et al. 2022)."""
        assert self.largest is not None
        low, high = self.bounds
        clipped = tf.clip_by_value(self.unquantized(), low / high * self.largest, self.largest)
        self.variable.assign_sub(fraction * (clipped - self(training=False)))

    def clip_outliers(self) -> None:
        """Clip the variable at `OUTLIER_RMS` times the root mean square of its nonzero weights: outliers coarsen the scale."""
        weights = self.unquantized()
        count = tf.math.count_nonzero(weights, dtype=tf.float32)
        bound = OUTLIER_RMS * tf.sqrt(tf.reduce_sum(tf.square(weights)) / tf.maximum(count, 1.0))
        self.variable.assign(tf.clip_by_value(self.variable, -bound, bound))
        if self.largest is not None:
            self.largest.assign(self._representable_range(self.largest))

    def _weight_range(self, kernel: tf.Tensor) -> tf.Tensor:
        """`headroom` times the largest magnitude, of the kernel or per unit; in a clustered kernel at least each pair's sum,
        since single weights cannot move there."""
        largest = self.headroom * tf.reduce_max(tf.abs(kernel), axis=self._axis)
        if self.clusters is not None and self.bits == 8 and self.pair_limit == PAIR_LIMIT:
            for axis in (0, 1):
                largest = tf.reduce_max(tf.concat([[largest], tf.reshape(tf.abs(_pair_sums(kernel, axis)), [-1])], 0))
        return self._representable_range(largest)

    def _representable_range(self, largest: tf.Tensor | tf.Variable | np.ndarray) -> tf.Tensor:
        """The range, at least 1 / `FACTOR_LEVELS` of the largest one, so that the decoder can store its scale."""
        return tf.maximum(largest, tf.maximum(tf.reduce_max(largest) / FACTOR_LEVELS, MIN_RANGE))

    def _min_error_range(self) -> np.ndarray:
        """The range with the least squared error of rounding and clipping, per scale, among `CLIP_FRACTIONS`."""
        kernel = self.matrix
        largest = self._weight_range(kernel).numpy()
        ranges = np.stack([np.float32(fraction) * largest for fraction in CLIP_FRACTIONS])
        errors = [np.square(self._rounded(kernel, each) - kernel).sum(self._axis) for each in ranges]
        best = np.argmin(errors, axis=0)
        return self._representable_range(np.take_along_axis(ranges, best[None], axis=0)[0]).numpy()

    def _min_error_headroom(self) -> float:
        """The headroom with the least squared error of rounding and of moving pairs under the limit."""
        kernel = self.matrix
        scales = self._weight_range(kernel).numpy() / self.bounds[1]

        def integers(headroom: float) -> np.ndarray:
            return np.rint(kernel / (np.float32(headroom) * scales))

        if not exceeding_pairs(integers(1.0), self.pair_limit):
            return 1.0
        held = {each: within_pairs(integers(each), self.pair_limit) * np.float32(each) * scales for each in HEADROOMS}
        return min(held, key=lambda each: float(np.square(held[each] - kernel).sum()))

    def _rounded(self, kernel: tf.Tensor | np.ndarray, largest: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Fake-quantize to `bounds`; clipped weights pass their gradient to `largest`. The kernel is divided by `largest`
        first: TensorFlow's operation with a range per channel gives the same numbers, several times slower."""
        low, high = self.bounds
        return largest * tf.quantization.fake_quant_with_min_max_args(
            kernel / largest, min=low / high, max=1.0, num_bits=self.bits, narrow_range=low == -high
        )

    def _paired(self, kernel: tf.Tensor) -> tf.Tensor:
        """`integers.within_pairs` on rounded values: a pair at its limit gets half of its gradients' difference each. Only
        pairs over the limit, which are few, are gathered."""
        unit_scales = tf.broadcast_to(self.scale_tensor(), (self.units,))
        for axis in (0, 1):
            next_one = tf.one_hot(axis, 2, dtype=tf.int64)
            sums = _pair_sums(tf.stop_gradient(kernel / unit_scales), axis)
            first = tf.where(tf.abs(sums) > self.pair_limit + 0.5) * (1 + next_one)
            indices = tf.concat([first, first + next_one], 0)
            scales = tf.gather(unit_scales, indices[:, 1])
            integers = tf.gather_nd(kernel, indices) / scales
            integers += tf.stop_gradient(tf.round(integers) - integers)
            total = tf.add(*tf.split(integers, 2))
            excess = total - tf.clip_by_value(total, -self.pair_limit, self.pair_limit)
            half = excess / 2
            half += tf.stop_gradient(tf.round(half) - half)
            kernel = tf.tensor_scatter_nd_sub(kernel, indices, tf.concat([excess - half, half], 0) * scales)
        return kernel

    @property
    def _axis(self) -> int | None:
        """The axis over which weights share a scale; None for all axes."""
        return 0 if self.granularity == "unit" else None

    def scale_tensor(self) -> tf.Tensor:
        """The scale, float32 () or [units], without gradient; ValueError if the kernel is not quantized."""
        if self.largest is None:
            raise ValueError(f"{self.name} has no scales: it is not quantized")
        return tf.stop_gradient(self.largest / float(self.bounds[1]))

    def scales(self) -> np.ndarray:
        """The scale as an array, float32 [1] or [units]."""
        return np.atleast_1d(self.scale_tensor().numpy())

    def integers(self) -> np.ndarray:
        """The quantized kernel, int8 [inputs, units] within `bounds`: a call returns integers · scales."""
        return np.rint(self(training=False).numpy() / self.scales()).clip(*self.bounds).astype(np.int8)


def _pair_sums(kernel: tf.Tensor, axis: int) -> tf.Tensor:
    """The sum of each pair of a kernel [inputs, units] along an axis, without an odd last entry."""
    inputs, units = kernel.shape
    if axis == 0:
        return tf.reduce_sum(tf.reshape(kernel[: inputs // 2 * 2], (inputs // 2, 2, units)), 1)
    pairs = tf.reshape(kernel[:, : units // 2 * 2], (-1, 2))
    return tf.reshape(tf.reduce_sum(tf.transpose(pairs), 0), (inputs, units // 2))  # faster than strided slices


def _smaller_clusters(clusters: np.ndarray, codebook: np.ndarray, live: np.ndarray, limit: float) -> np.ndarray:
    """Cluster indices [inputs, units] in which a pair of one sign whose sum exceeds `limit` takes the two nearest values of
    smaller magnitude, if `codebook` has them. `live`: the clusters of weights that are not pruned."""
    held = clusters.astype(np.int64)
    for axis in (0, 1):
        first, second = neighbours(held, axis)
        broken = np.abs(codebook[first] + codebook[second]) > limit
        for pair in np.unique(np.stack([first[broken], second[broken]], 1), axis=0):
            values = codebook[pair]
            smaller = live[(codebook[live] * values[0] > 0) & (np.abs(codebook[live]) <= np.abs(values).max())]
            if not smaller.size:
                continue
            sums = np.abs(codebook[smaller][:, None] + codebook[smaller])
            costs = np.square(codebook[smaller] - values[0])[:, None] + np.square(codebook[smaller] - values[1])
            grown = np.abs(codebook[smaller])[:, None] > abs(values[0]), np.abs(codebook[smaller]) > abs(values[1])
            costs = np.where((sums > limit) | grown[0] | grown[1], np.inf, costs)
            best = np.unravel_index(np.argmin(costs), costs.shape)
            if np.isfinite(costs[best]):
                here = (first == pair[0]) & (second == pair[1])
                first[here], second[here] = smaller[best[0]], smaller[best[1]]
    return held
