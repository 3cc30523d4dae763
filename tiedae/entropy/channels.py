"""Records of several channels: the order of values, and predictions from other channels. docs/reference/format.md, "Channels".

channel 0   0 1 2 3 4 …        the wave in which each step of a sample is coded: channels of one wave
channel 1     1 2 3 4 …        depend on earlier waves alone
channel 2       2 3 4 …
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tiedae.base.errors import InputError

COUNT = 16
"""Links of a channel."""
BITS = 20
"""Fraction bits of a link's weight."""
LIMITS = -(1 << 37), (1 << 37) - 1
"""Of a sum of links: twice the largest change, in parts of 2²⁰."""
_NEAREST = 8
"""Channels before and after one that export considers for its links."""
_LAGS = 32
"""Lags that export considers, from 0 on."""
_TAPS = 16
"""Earlier changes of its own that a channel's links are fitted beside."""
_REACH = _LAGS + _TAPS
_ROUNDS = 3
_RIDGE = 1e-6
_LINK = np.dtype([("distance", "i1"), ("lag", "u1"), ("weight", "<i4")])


@dataclass(frozen=True)
class Waves:
    """The order of values of samples [steps, channels]: wave u of a sample holds step u − k of each channel k that has one."""

    steps: int
    channels: int

    @property
    def count(self) -> int:
        """Waves of a sample."""
        return self.steps + self.channels - 1

    def active(self, wave: int) -> slice:
        """The channels that have a value in a wave of a frame."""
        at = wave % self.count
        return slice(max(0, at - self.steps + 1), min(self.channels, at + 1))

    def times(self, wave: int) -> np.ndarray:
        """The steps of these values, counted from the start of the frame."""
        sample, at = divmod(wave, self.count)
        active = self.active(wave)
        return sample * self.steps + at - np.arange(active.start, active.stop)

    def split(self, frames: np.ndarray) -> np.ndarray:
        """Frames [lanes, samples, steps · channels] as [waves, channels, lanes], 0 where a channel has no value."""
        shaped = np.moveaxis(frames.reshape(*frames.shape[:2], self.steps, self.channels), 0, -1)
        found = np.zeros((frames.shape[1], self.count, self.channels, len(frames)), frames.dtype)
        for k in range(self.channels):
            found[:, k : k + self.steps, k] = shaped[:, :, k]
        return found.reshape(-1, self.channels, len(frames))

    def joined(self, streams: np.ndarray) -> np.ndarray:
        """The inverse of `split`."""
        series = self.series(streams)
        return np.moveaxis(series, -1, 0).reshape(series.shape[2], -1, self.steps * self.channels)

    def series(self, streams: np.ndarray) -> np.ndarray:
        """What `split` gives, without waves: all steps of each channel, [steps, channels, lanes]."""
        shaped = streams.reshape(-1, self.count, self.channels, streams.shape[-1])
        found = np.stack([shaped[:, k : k + self.steps, k] for k in range(self.channels)], axis=2)
        return found.reshape(-1, self.channels, streams.shape[-1])


@dataclass(frozen=True, eq=False)
class Links:
    """What channels are predicted from beside their own past: `COUNT` changes of other channels each.

    Of channel k: the change of channel k + `distances`, int8, `lags`, uint8, steps before, times `weights`, int32, in parts of
    2²⁰. All are [channels, COUNT]. Raises InputError for a channel that is not there, and a value that is decoded later.
    """

    distances: np.ndarray
    lags: np.ndarray
    weights: np.ndarray

    def __post_init__(self) -> None:
        shape = len(self.distances), COUNT
        if any(each.shape != shape for each in (self.distances, self.lags, self.weights)):
            raise InputError(f"links: got {list(self.distances.shape)}, must be [channels, {COUNT}]")
        others = np.arange(shape[0])[:, None] + self.distances
        if ((others < 0) | (others >= shape[0]) | (self.distances == 0)).any():
            raise InputError(f"links: each must be to another one of {shape[0]} channels")
        if (self.lags <= self.distances.astype(int)).any():
            raise InputError("links: a lag must be above the distance of a later channel")

    @property
    def channels(self) -> int:
        return len(self.weights)

    @property
    def depth(self) -> int:
        """Last changes of each channel that a decoder keeps: those that links reach, and those by which a channel is ahead."""
        return int((self.lags - np.minimum(self.distances.astype(int), 0)).max()) + 1

    def to_bytes(self) -> bytes:
        packed = np.empty(self.weights.shape, _LINK)
        packed["distance"], packed["lag"], packed["weight"] = self.distances, self.lags, self.weights
        return packed.tobytes()

    @classmethod
    def size_of(cls, channels: int) -> int:
        """Bytes of the links of a record."""
        return channels * COUNT * _LINK.itemsize if channels > 1 else 0

    @classmethod
    def from_bytes(cls, data: bytes, channels: int) -> Links:
        """What `to_bytes` wrote; InputError for links that there cannot be."""
        packed = np.frombuffer(data, _LINK).reshape(channels, COUNT)
        return cls(packed["distance"], packed["lag"], packed["weight"].astype(np.int32))

    @cached_property
    def sources(self) -> np.ndarray:
        """The number of each link's channel."""
        return np.arange(self.channels)[:, None] + self.distances


class LinkedChanges:
    """The changes of all channels of frames while they are coded, and the sums that links predict the next ones by."""

    def __init__(self, links: Links, waves: Waves, samples: int, lanes: int) -> None:
        self._links, self._waves = links, waves
        self._start = int(links.lags.max())
        self._changes = np.zeros((self._start + samples * waves.steps, waves.channels, lanes), np.int32)

    def expected(self, wave: int) -> np.ndarray:
        """The sums of the links of the channels that a wave has values of, in parts of 2²⁰, int64 [channels, lanes]."""
        active = self._waves.active(wave)
        times = self._start + self._waves.times(wave)[:, None] - self._links.lags[active]
        changes = self._changes[times, self._links.sources[active]]
        sums = (self._links.weights[active, :, None].astype(np.int64) * changes).sum(axis=1)
        return np.minimum(np.maximum(sums, LIMITS[0]), LIMITS[1])

    def keep(self, wave: int, changes: np.ndarray) -> None:
        """Take the changes of a wave, [channels, lanes]."""
        active = self._waves.active(wave)
        self._changes[self._start + self._waves.times(wave), np.arange(active.start, active.stop)] = changes


def in_parts(sums: np.ndarray) -> np.ndarray:
    """Sums of links, rounded to integers."""
    return sums + (1 << BITS - 1) >> BITS


def unexplained(series: np.ndarray, links: Links) -> np.ndarray:
    """Series of which the links leave nothing that they expect, int64 [steps, channels, lanes], of series of the same shape."""
    changes = np.diff(series, axis=0, prepend=series[:1])
    left = changes.astype(np.int64)
    for k in range(links.channels):
        sums = np.zeros((len(series), series.shape[2]), np.int64)
        for source, lag, weight in zip(links.sources[k], links.lags[k].tolist(), links.weights[k].tolist(), strict=True):
            sums[lag:] += weight * changes[: max(0, len(series) - lag), source].astype(np.int64)
        left[:, k] -= in_parts(np.clip(sums, *LIMITS))
    return left.cumsum(axis=0)


def fit_links(series: np.ndarray) -> Links:
    """Links of the least squared error on training series, integers [steps, channels, lanes].

    They are chosen one by one, each the best beside those before (orthogonal least squares: S. Chen et al., 1989), on changes
    that the prediction from a channel's own past has left.
    """
    moments = _moments(np.diff(series, axis=0))
    fitted = [_fit_channel(moments, k, near) for k, near in _near(len(moments))]
    distances, lags, weights = (np.array(each) for each in zip(*fitted, strict=True))
    limits = np.iinfo(np.int32)
    rounded = np.clip(np.rint(weights * (1 << BITS)), limits.min, limits.max)
    return Links(distances.astype(np.int8), lags.astype(np.uint8), rounded.astype(np.int32))


def _near(channels: int) -> Iterator[tuple[int, slice]]:
    """Each channel and those that its links may be to, itself among them."""
    return ((k, slice(max(0, k - _NEAREST), k + _NEAREST + 1)) for k in range(channels))


def _moments(changes: np.ndarray) -> np.ndarray:
    """Of changes [steps, channels, lanes], the sum of i's at a step times j's m steps later, [i, j, m + `_REACH`]."""
    padded = np.concatenate([changes, np.zeros((_REACH, *changes.shape[1:]))]).astype(np.float64)
    flat = np.moveaxis(padded, 2, 0).reshape(-1, changes.shape[1])
    sums = np.stack([flat[: len(flat) - m].T @ flat[m:] for m in range(_REACH + 1)], axis=2)
    return np.concatenate([sums.swapaxes(0, 1)[:, :, :0:-1], sums], axis=2)


def _fit_channel(moments: np.ndarray, k: int, near: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances, lags and weights of a channel's links, [COUNT] each."""
    own, local = k - near.start, moments[near, near]
    places = [(j, lag) for j in range(len(local)) if j != own for lag in range(max(0, 1 + j - own), _LAGS)]
    channels, lags = np.array(places).T
    weights, chosen = np.zeros(0), np.zeros(0, np.int64)
    for _ in range(_ROUNDS):
        terms = np.append(-1.0, weights), np.append(own, channels[chosen]), np.append(0, lags[chosen])
        filtered = _filtered(local, _own_past(local, *terms))
        products = filtered[channels[:, None], channels, _LAGS - 1 + lags[:, None] - lags]
        weights, chosen = _best(products, filtered[channels, own, _LAGS - 1 + lags])
    return channels[chosen] - own, lags[chosen], weights


def _own_past(moments: np.ndarray, weights: np.ndarray, channels: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """The filter that predicts a sum of lagged changes from its own past: 1, then less the weights of the last ones."""
    places = _REACH + lags[:, None] - lags
    pairs = weights[:, None] * weights
    own = np.array([(pairs * moments[channels[:, None], channels, places + m]).sum() for m in range(_TAPS + 1)])
    matrix = own[np.abs(np.subtract.outer(np.arange(_TAPS), np.arange(_TAPS)))]
    return np.append(1.0, -np.linalg.solve(matrix + (_RIDGE * own[0] + 1e-9) * np.eye(_TAPS), own[1:]))


def _filtered(moments: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """The moments of changes behind a filter, [i, j, m + `_LAGS` − 1]."""
    both = np.correlate(taps, taps, "full")
    lags = 2 * _LAGS - 1
    windows = np.lib.stride_tricks.sliding_window_view(moments[:, :, 1:-1], lags, axis=2)
    return np.einsum("ijad,a->ijd", windows, both)


def _best(products: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and the numbers, of the `COUNT` variables that leave the least squared error, chosen one by one."""
    scale = 1 / np.sqrt(np.maximum(np.diag(products), 1e-9))
    matrix, right = products * scale * scale[:, None] + _RIDGE * np.eye(len(scale)), targets * scale
    chosen: list[int] = []
    while len(chosen) < COUNT:
        explained = np.linalg.solve(matrix[np.ix_(chosen, chosen)], matrix[chosen])
        rest, errors = right - right[chosen] @ explained, np.diag(matrix) - (matrix[chosen] * explained).sum(axis=0)
        gains = np.square(rest) / np.maximum(errors, _RIDGE)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
    return np.linalg.solve(matrix[np.ix_(chosen, chosen)], right[chosen]) * scale[chosen], np.array(chosen)
