"""The tied kernel: one variable, one mask, one set of integers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from .config import Granularity
from .errors import RecipeError
from .integers import PAIR_LIMIT, Bounds, exceeding_pairs, kernel_bounds, neighbours, within_pairs

FRACTIONS = tuple(i / 50 for i in range(5, 51))
"""Of the largest magnitude: where the range of a kernel of less than 8 bits may start."""
OUTLIER = 8.0
"""In quantization-aware training no weight grows beyond so many root mean squares."""
HEADROOMS = tuple(1 + i / 32 for i in range(33))
"""Times the largest magnitude: where the range of an 8-bit kernel may end. At 2 every pair obeys the pair rule."""
SMALLEST = 1e-8
"""Below it a range holds nothing but zero."""
FACTOR_STEPS = 255
"""The decoder's factors: scales per unit are stored as uint8 multiples of max(scale) / 255, at least 1."""


class TiedKernel(tf_keras.layers.Layer):
    """The only place where a kernel is transformed: variable → mask → clusters → fake quantization → both directions' tensor.

    Calling it gives that tensor, float32 [inputs, units]. Encoder and decoder layers hold a reference to this object. That
    matrix is the one shape of a kernel, whatever the kind of its layers: `matrix` is what pruning, clusters, post-training
    quantization and the pair rule work on, `live` where it has weights, `integers` what becomes of it.

    Attributes
        variable     float32 [inputs, units], trainable
        mask         float32 [inputs, units] of 0 and 1, or None where the kernel is not pruned
        clusters     uint8 [inputs, units], the number of each weight's cluster, or None where every weight has its own value
        granularity  None where the kernel is not quantized
        bits         of its integers, which lie within `bounds`
        pair_limit   of its integers of 8 bits, see `integers`: `UNPAIRED` where the kernel was quantized before there was one
        largest      float32 scalar (`tensor`) or [units] (`unit`): what the largest integer stands for. At 8 bits `headroom`
                     times the largest magnitude of the weights; with fewer it starts where rounding costs the least squared
                     error, which cuts some weights off, and is trained with them (Esser et al. 2020)
        headroom     1, or more where so many pairs would break the pair rule that coarser integers cost less squared error
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
        if self.trains_scales:
            return self._rounded(kernel, tf.convert_to_tensor(self.largest))
        if training:
            self.largest.assign(self._magnitude(kernel))
        return self._paired(self._rounded(kernel, tf.stop_gradient(self.largest)))

    def masked(self) -> tf.Tensor:
        """The variable, zero in pruned places."""
        return tf.convert_to_tensor(self.variable) if self.mask is None else self.variable * self.mask

    def unquantized(self) -> tf.Tensor:
        """The masked kernel; where it is clustered, the first weight of each cluster stands for all of its cluster.

        Its gradient is then the sum over the cluster, which is the gradient of the shared value.
        """
        kernel = self.masked()
        if self.clusters is None:
            return kernel
        return tf.gather(tf.gather_nd(kernel, self.first), tf.cast(self.clusters, tf.int32))

    @property
    def matrix(self) -> np.ndarray:
        """float32 [inputs, units]: the kernel before quantization, with its zeros and shared values."""
        return self.unquantized().numpy()

    @property
    def live(self) -> np.ndarray:
        """bool [inputs, units]: where a weight lives; everywhere in a kernel that is not pruned."""
        return np.ones(self.variable.shape, bool) if self.mask is None else self.mask.numpy() > 0

    def _assigned(self, given: tf.Variable | None, name: str, values: np.ndarray, dtype: tf.DType) -> tf.Variable:
        """A variable of the kernel's shape that is not trained, made where none is given, with these values."""
        settings: dict = {"dtype": dtype, "initializer": "zeros", "trainable": False}
        variable: tf.Variable = self.add_weight(name=name, shape=self.variable.shape, **settings) if given is None else given
        variable.assign(values)
        return variable

    def set_mask(self, mask: np.ndarray) -> None:
        """Use a mask of 0 and 1, [inputs, units]; it replaces an earlier one."""
        self.mask = self._assigned(self.mask, "mask", mask, tf.float32)

    def set_clusters(self, clusters: np.ndarray) -> None:
        """Let the weights of equal number, uint8 [inputs, units] in 0…k − 1, hold one value from now on: their first one's.

        Raises ValueError where a number below the largest is missing, or pruned places share a number with others.
        """
        numbers, first = np.unique(clusters, return_index=True)
        if not np.array_equal(numbers, np.arange(len(numbers))):
            raise ValueError(f"{self.name}: clusters are numbered {numbers.tolist()}, must be 0 to {len(numbers) - 1}")
        if np.isin(clusters[~self.live], clusters[self.live]).any():
            raise ValueError(f"{self.name}: pruned places share a cluster with weights")
        self.clusters = self._assigned(self.clusters, "clusters", clusters, tf.uint8)
        self.first = np.stack(np.unravel_index(first, clusters.shape), axis=1)

    def write_back(self) -> None:
        """Write the mask's zeros and the clusters' shared values into the variable, so that it holds `matrix` itself."""
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
        if self.trains_scales:
            largest.assign(self._least_error())
        else:
            self.headroom = self._least_headroom() if self.clusters is None else 1.0
            largest.assign(self._magnitude(self.unquantized()))
        self.largest = largest

    def update_scales(self) -> None:
        """Take the scales anew from the current weights, unless they are trained or there are none."""
        if self.largest is not None and not self.trains_scales:
            self.largest.assign(self._magnitude(self.unquantized()))

    def set_integers(self, integers: np.ndarray, scales: np.ndarray) -> None:
        """Hold these integers, [inputs, units] within `bounds`, in steps of `scales`, float32 () or [units] as `largest` is.

        The variable becomes their real values, from which training continues. Integers that break
        the pair rule are moved until they obey.
        """
        assert self.largest is not None
        self.largest.assign(np.float32(self.bounds[1]) * scales)
        self.variable.assign(within_pairs(integers, self.pair_limit) * self.scale_tensor())

    def reassign_pairs(self) -> None:
        """Prepare a clustered kernel for 8 bits under the pair rule: weights whose pairs exceed a range move to smaller values.

        The range is that at which moving weights and rounding values cost the least squared error together; `_magnitude`
        keeps to it afterwards.
        """
        if self.clusters is None:
            return
        values, clusters = self.matrix, self.clusters.numpy()
        codebook = np.array([values[clusters == number][0] for number in range(clusters.max() + 1)])
        live = np.unique(clusters[self.live])

        def reassigned(headroom: float) -> tuple[float, np.ndarray]:
            limit = headroom * np.abs(codebook).max()
            held = _smaller_clusters(clusters, codebook, live, limit)
            step = max(limit / self.bounds[1], SMALLEST)
            return float(np.square(np.rint(codebook / step)[held] * step - values).sum()), held

        _, held = min((reassigned(headroom) for headroom in HEADROOMS[::8]), key=lambda each: each[0])
        self.variable.assign(codebook[held])
        self.set_clusters(np.unique(held, return_inverse=True)[1].reshape(held.shape).astype(np.uint8))

    def dampen(self, fraction: tf.Tensor | float) -> None:
        """Move each weight by this fraction of the way to the integer that it rounds to (Nagel et al. 2022): late in training,
        weights that lie between two integers would else go on jumping from one to the other."""
        assert self.largest is not None
        low, high = self.bounds
        reached = tf.clip_by_value(self.unquantized(), low / high * self.largest, self.largest)
        self.variable.assign_sub(fraction * (reached - self(training=False)))

    def clip_outliers(self) -> None:
        """Clip the variable to `OUTLIER` times the root mean square of its live weights: a few outliers would set the step."""
        live = self.unquantized()
        count = tf.math.count_nonzero(live, dtype=tf.float32)
        bound = OUTLIER * tf.sqrt(tf.reduce_sum(tf.square(live)) / tf.maximum(count, 1.0))
        self.variable.assign(tf.clip_by_value(self.variable, -bound, bound))
        if self.largest is not None:
            self.largest.assign(self._at_least_a_factor(self.largest))

    def _magnitude(self, kernel: tf.Tensor) -> tf.Tensor:
        """`headroom` times the largest magnitude, of the kernel or per unit, large enough for the decoder's factor.

        The values of a clustered kernel cannot be moved one by one: there it is also large enough for the sum of each pair.
        """
        largest = self.headroom * tf.reduce_max(tf.abs(kernel), axis=self._axis)
        if self.clusters is not None and self.bits == 8 and self.pair_limit == PAIR_LIMIT:
            for axis in (0, 1):
                largest = tf.reduce_max(tf.concat([[largest], tf.reshape(tf.abs(_pair_sums(kernel, axis)), [-1])], 0))
        return self._at_least_a_factor(largest)

    def _at_least_a_factor(self, largest: tf.Tensor | tf.Variable | np.ndarray) -> tf.Tensor:
        return tf.maximum(largest, tf.maximum(tf.reduce_max(largest) / FACTOR_STEPS, SMALLEST))

    def _least_error(self) -> np.ndarray:
        """The fraction of the largest magnitude, per scale, at which rounding the weights costs the least squared error."""
        kernel = self.matrix
        largest = self._magnitude(kernel).numpy()
        ranges = np.stack([np.float32(fraction) * largest for fraction in FRACTIONS])
        errors = [np.square(self._rounded(kernel, each) - kernel).sum(self._axis) for each in ranges]
        best = np.argmin(errors, axis=0)
        return self._at_least_a_factor(np.take_along_axis(ranges, best[None], axis=0)[0]).numpy()

    def _least_headroom(self) -> float:
        """The headroom at which rounding the weights and holding the pair rule cost the least squared error."""
        kernel = self.matrix
        scales = self._magnitude(kernel).numpy() / self.bounds[1]

        def integers(headroom: float) -> np.ndarray:
            return np.rint(kernel / (np.float32(headroom) * scales))

        if not exceeding_pairs(integers(1.0), self.pair_limit):
            return 1.0
        held = {each: within_pairs(integers(each), self.pair_limit) * np.float32(each) * scales for each in HEADROOMS}
        return min(held, key=lambda each: float(np.square(held[each] - kernel).sum()))

    def _rounded(self, kernel: tf.Tensor | np.ndarray, largest: tf.Tensor | np.ndarray) -> tf.Tensor:
        """To integers of `bounds`. The gradient passes where nothing is cut off, and goes to `largest` elsewhere."""
        low, high = self.bounds
        return largest * tf.quantization.fake_quant_with_min_max_args(
            kernel / largest, min=low / high, max=1.0, num_bits=self.bits, narrow_range=low == -high
        )

    def _paired(self, kernel: tf.Tensor) -> tf.Tensor:
        """Rounded values, with those moved that break the pair rule: `integers.within_pairs` with its own gradient, half of a
        pair's difference each where it is at its limit. Only the pairs that break it are touched: they are few."""
        steps = tf.broadcast_to(self.scale_tensor(), (self.units,))
        for axis in (0, 1):
            next_one = tf.one_hot(axis, 2, dtype=tf.int64)
            sums = _pair_sums(tf.stop_gradient(kernel / steps), axis)
            first = tf.where(tf.abs(sums) > self.pair_limit + 0.5) * (1 + next_one)
            places = tf.concat([first, first + next_one], 0)
            scales = tf.gather(steps, places[:, 1])
            integers = tf.gather_nd(kernel, places) / scales
            integers += tf.stop_gradient(tf.round(integers) - integers)
            total = tf.add(*tf.split(integers, 2))
            excess = total - tf.clip_by_value(total, -self.pair_limit, self.pair_limit)
            half = excess / 2
            half += tf.stop_gradient(tf.round(half) - half)
            kernel = tf.tensor_scatter_nd_sub(kernel, places, tf.concat([excess - half, half], 0) * scales)
        return kernel

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


def _pair_sums(kernel: tf.Tensor, axis: int) -> tf.Tensor:
    """The sum of each pair of a kernel [inputs, units] along an axis; an odd last entry has none."""
    inputs, units = kernel.shape
    if axis == 0:
        return tf.reduce_sum(tf.reshape(kernel[: inputs // 2 * 2], (inputs // 2, 2, units)), 1)
    pairs = tf.reshape(kernel[:, : units // 2 * 2], (-1, 2))
    return tf.reshape(tf.reduce_sum(tf.transpose(pairs), 0), (inputs, units // 2))  # faster than strided slices


def _smaller_clusters(clusters: np.ndarray, codebook: np.ndarray, live: np.ndarray, limit: float) -> np.ndarray:
    """Cluster numbers [inputs, units] so that no two neighbours of one sign add to more than `limit`, where `codebook` has
    values for that: the two nearest ones of smaller magnitude. `live` are the numbers that weights may have."""
    held = clusters.astype(np.int64)
    for axis in (0, 1):
        first, second = neighbours(held, axis)
        broken = np.abs(codebook[first] + codebook[second]) > limit
        for pair in np.unique(np.stack([first[broken], second[broken]], 1), axis=0):
            values = codebook[pair]
            smaller = live[(codebook[live] * values[0] > 0) & (np.abs(codebook[live]) <= np.abs(values).max())]
            sums = np.abs(codebook[smaller][:, None] + codebook[smaller])
            costs = np.square(codebook[smaller] - values[0])[:, None] + np.square(codebook[smaller] - values[1])
            grown = np.abs(codebook[smaller])[:, None] > abs(values[0]), np.abs(codebook[smaller]) > abs(values[1])
            costs = np.where((sums > limit) | grown[0] | grown[1], np.inf, costs)
            best = np.unravel_index(np.argmin(costs), costs.shape) if costs.size else (0, 0)
            if costs.size and np.isfinite(costs[best]):
                here = (first == pair[0]) & (second == pair[1])
                first[here], second[here] = smaller[best[0]], smaller[best[1]]
    return held
