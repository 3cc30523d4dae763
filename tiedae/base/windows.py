"""Windows: the places of a convolution's kernel in a sample, and samples as rows of the values under it.

Samples are channels-last, [batch, *lengths, channels], with one axis (signals) or two (images); a row is [*sizes, channels],
flat. Imports no TensorFlow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Padding = Literal["valid", "same"]
Lengths = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """`sizes` and `strides` of a kernel, one per axis. `padding`: `valid`, only whole windows; `same`, zeros around a sample,
    so that there are ⌈length / stride⌉ places, as many before as after it, or one more after (TensorFlow, `tf.nn.convolution`).
    """

    sizes: Lengths
    strides: Lengths
    padding: Padding = "valid"

    def places(self, lengths: Lengths) -> Lengths:
        """The places on each axis; 0 where a sample is smaller than a whole window."""
        if self.padding == "same":
            return tuple(-(-n // s) for n, s in zip(lengths, self.strides, strict=True))
        return tuple(max(0, (n - k) // s + 1) for n, k, s in zip(lengths, self.sizes, self.strides, strict=True))

    def pads(self, lengths: Lengths) -> tuple[tuple[int, int], ...]:
        """(zeros before, zeros after) each axis."""
        if self.padding == "valid":
            return ((0, 0),) * len(lengths)
        axes = zip(self.places(lengths), lengths, self.sizes, self.strides, strict=True)
        totals = [max(0, (count - 1) * s + k - n) for count, n, k, s in axes]
        return tuple((total // 2, total - total // 2) for total in totals)

    def tiles(self, lengths: Lengths) -> bool:
        """Whether the windows cover each value of a sample once: strides = sizes, which divide the lengths."""
        return self.sizes == self.strides and all(n % k == 0 for n, k in zip(lengths, self.sizes, strict=True))

    def counts(self, lengths: Lengths) -> tuple[np.ndarray, ...]:
        """Windows that the values along each axis are under, int64 [length] each; the product of all axes' is a value's."""
        found = []
        for n, (before, _), count, size, stride in zip(
            lengths, self.pads(lengths), self.places(lengths), self.sizes, self.strides, strict=True
        ):
            places = np.arange(count)[:, None] * stride - before + np.arange(size)
            found.append(np.bincount(places[(places >= 0) & (places < n)], minlength=n))
        return tuple(found)

    @property
    def overlap(self) -> int:
        """The most windows that one value is under."""
        return math.prod(-(-k // s) for k, s in zip(self.sizes, self.strides, strict=True))

    def rows(self, x: np.ndarray) -> np.ndarray:
        """[batch, *lengths, channels] → [batch, *places, size · channels], zeros where a window reaches beyond the sample."""
        lengths, count = x.shape[1:-1], len(self.sizes)
        padded = np.pad(x, ((0, 0), *self.pads(lengths), (0, 0)))
        views = np.lib.stride_tricks.sliding_window_view(padded, self.sizes, axis=tuple(range(1, count + 1)))
        views = views[(slice(None), *(slice(None, None, s) for s in self.strides))]
        places = self.places(lengths)
        views = views[(slice(None), *(slice(0, each) for each in places))]
        return np.moveaxis(views, count + 1, -1).reshape(len(x), *places, math.prod(self.sizes) * x.shape[-1])

    def added(self, rows: np.ndarray, lengths: Lengths) -> np.ndarray:
        """The transpose of `rows`: [batch, *places, size · channels] → [batch, *lengths, channels], what overlaps is added."""
        pads, channels = self.pads(lengths), rows.shape[-1] // math.prod(self.sizes)
        spans = [before + n + after for n, (before, after) in zip(lengths, pads, strict=True)]
        total = np.zeros((len(rows), *spans, channels), rows.dtype)
        parts = rows.reshape(*rows.shape[:-1], math.prod(self.sizes), channels)
        for part, offset in enumerate(self.offsets):
            axes = zip(offset, self.strides, rows.shape[1:-1], strict=True)
            at = (slice(None), *(slice(first, first + s * (count - 1) + 1, s) for first, s, count in axes))
            total[at] += parts[..., part, :]
        inner = (slice(None), *(slice(before, before + n) for n, (before, _) in zip(lengths, pads, strict=True)))
        return np.ascontiguousarray(total[inner])

    @property
    def offsets(self) -> Iterator[Lengths]:
        """The positions in a window, in the order of a row."""
        return itertools.product(*map(range, self.sizes))
