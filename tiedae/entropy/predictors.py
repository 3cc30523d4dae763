"""Predictors: what a value is expected to be, and what says how far it is off. docs/reference/format.md, "Predictors".

A frame is steps of streams: at each step a predictor knows the earlier values of every stream, and no other of the same step.
Arrays are integers [steps, streams, lanes], one lane per frame. `y` is the autoencoder's reconstruction, 0 where it isn't used.
A record of channels has a stream per channel, and waves for steps: not every stream has a value in each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tiedae.config.sample_spec import Kind, channels_of

from .channels import BITS, LinkedChanges, Links, Waves, in_parts

TAPS = 16
WEIGHT_BITS = 14
"""Fraction bits of a weight."""
RATE = 16
"""What a weight gains or loses at each step, in parts of 2¹⁴."""
_WEIGHT_LIMITS = -(1 << 15), (1 << 15) - 1
_RECENT = np.array([4, 3, 2, 2, 1, 1, 1, 1])[:, None, None]
"""Weights of the last residuals' magnitudes, the last one first."""
_NEAR = np.array([2, 2, 1, 1])[:, None, None]
"""Weights of the magnitudes to the left, above, above left and above right."""
_SLOWNESS = 6
"""The long-term magnitude of residuals moves by a part of 2⁶ at each step."""
_LARGEST_SLOW = 1023
"""Magnitudes count as this at most in it."""
_OCTAVES = np.array([1 << e for e in range(20)])
_HALF_OCTAVES = np.unique([m << e >> 1 for e in range(20) for m in (2, 3)])
_LIGHTNESS = np.array([1, 4, 16, 64, 192])
_LARGEST_NEAR = 8
"""Magnitudes to the left and above count as this at most, where they are features."""
_ONE = np.array(1)
_ALL = slice(None)
_LARGEST_NUMBER = 127
"""Channels count as this one at most, where their number is a feature."""
_EIGHTHS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256])
"""Distances from which a feature counts as larger, in eighths of a quantum."""
_FURTHER = (4, TAPS)
"""Steps over which the change up to the last value is a feature, beside those of one step."""


class Predictor(Protocol):
    """Predicts one step after the other."""

    def active(self, step: int) -> slice:
        """The streams that have a value in a step; below, `streams` are these."""
        ...

    def predict(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each stream: the prediction, within the dtype, [streams, lanes]; features of the values before it, int [features,
        streams, lanes], each in −128…127; and the sign, 1 or −1, that a residual is multiplied by in its context.
        """
        ...

    def learn(self, step: int, values: np.ndarray, residuals: np.ndarray) -> None:
        """Take the decoded values of the step and their residuals, in quanta: [streams, lanes]."""
        ...


def within(limits: tuple[Any, Any], values: np.ndarray) -> np.ndarray:
    """Values clipped to limits; `np.clip` takes three times as long for a few."""
    return np.minimum(np.maximum(values, limits[0]), limits[1])


def _stacked(*values: np.ndarray) -> np.ndarray:
    """What `np.stack` gives, which takes three times as long for a few."""
    return np.concatenate([each[None] for each in values])


def level_of(bound: int | np.ndarray) -> np.ndarray:
    """The feature that bounds have: the bits of each, 0…16."""
    return np.searchsorted(_OCTAVES, bound, side="right")


def _distances(values: np.ndarray, bound: int | np.ndarray) -> np.ndarray:
    """Differences of values as features, −13…13: how many of `_EIGHTHS` of a quantum they reach, with their signs."""
    return np.sign(values) * np.searchsorted(_EIGHTHS, 8 * np.abs(values) // (2 * bound + 1), side="right")


class SignLms:
    """Series in time, one per stream: 16 weights for the last differences, moved by signs alone.

    After B. Widrow and M. Hoff's LMS in its sign–sign form (R. W. Lucky, 1966). What it adds to the last value is rounded to
    quanta: within a coarse bound, a value that changes little keeps its decoded value.
    """

    features = 6 + len(_FURTHER) + 1

    def __init__(
        self,
        weights: np.ndarray,
        y: np.ndarray,
        limits: tuple[int, int],
        bound: int | np.ndarray,
        linked: tuple[Links, Waves] | None = None,
    ) -> None:
        """`weights`: int16 [16], or [streams, 16], those at the start. `y`: int32 [steps, streams, lanes].

        `limits`: of the dtype. `bound`: of all lanes, or of each, int32 [lanes]. `linked`: of a record of channels.
        """
        series = y.shape[1:]
        self._y, self._limits, self._bound = y, limits, bound
        self._weights = np.broadcast_to(weights.astype(np.int64).T.reshape(TAPS, -1, 1), (TAPS, *series)).copy()
        self._differences = np.zeros((TAPS, *series), np.int64)
        self._last = np.zeros(series, np.int64)
        self._magnitudes = np.zeros((len(_RECENT), *series), np.int64)
        self._slow = np.zeros(series, np.int64)
        self._direction = np.ones(series, np.int64)
        self._level = np.broadcast_to(level_of(bound), series)[None]
        self._expected, self._waves = np.zeros((), np.int64), None
        if linked is not None:
            links, self._waves = linked
            self._linked = LinkedChanges(links, self._waves, len(y) // self._waves.count, series[1])
            numbers = np.minimum(np.arange(series[0]), _LARGEST_NUMBER)
            self._level = np.stack([self._level[0], np.broadcast_to(numbers[:, None], series)])

    def active(self, step: int) -> slice:
        return _ALL if self._waves is None else self._waves.active(step)

    def predict(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        active = self.active(step)
        if self._waves is not None:
            self._expected = self._linked.expected(step)
        differences, direction = self._differences[:, active], self._direction[active]
        change = in_parts(((self._weights[:, active] * differences).sum(axis=0) << BITS - WEIGHT_BITS) + self._expected)
        quantum = 2 * self._bound + 1
        base = self._y[step, active] + self._last[active]
        prediction = within(self._limits, base + (change + self._bound) // quantum * quantum)
        further = (differences[:taps].sum(axis=0) for taps in _FURTHER)
        distances = _stacked(base + change - prediction, change, *differences[:2], *further)
        magnitudes = _stacked((_RECENT * self._magnitudes[:, active]).sum(axis=0), self._slow[active] >> _SLOWNESS)
        activity = np.searchsorted(_HALF_OCTAVES, magnitudes, side="right")
        features = [activity, _distances(direction * distances, self._bound), self._level[:, active]]
        return prediction, np.concatenate(features), direction

    def learn(self, step: int, values: np.ndarray, residuals: np.ndarray) -> None:
        active = self.active(step)
        started = step > 0 if self._waves is None else self._waves.times(step)[:, None] > 0
        now = values - self._y[step, active]
        moved, magnitudes = started * (now - self._last[active]), started * np.abs(residuals)
        weights, differences = self._weights[:, active], self._differences[:, active]
        weights += RATE * np.sign(residuals) * np.sign(differences)
        weights[:] = within(_WEIGHT_LIMITS, weights)
        _push(differences, moved - started * in_parts(self._expected))
        _push(self._magnitudes[:, active], magnitudes)
        slow, direction = self._slow[active], self._direction[active]
        slow += (np.minimum(magnitudes, _LARGEST_SLOW) << 2 + _SLOWNESS) - (slow >> _SLOWNESS)
        direction[:] = np.where(np.abs(moved) > self._bound, np.sign(moved), direction)
        self._last[active] = now
        if self._waves is not None:
            self._linked.keep(step, moved)


def _push(latest: np.ndarray, newest: np.ndarray) -> None:
    """Put the newest first and drop the oldest."""
    latest[1:] = latest[:-1].copy()
    latest[0] = newest


class Median:
    """Images, one per stream, value after value: the median edge detector of LOCO-I (M. Weinberger et al., 2000).

    It detects edges in the image and in its difference from `y`; the median of both predictions and `y` itself is taken.
    """

    features = 9

    def __init__(self, shape: tuple[int, ...], y: np.ndarray, limits: tuple[int, int], bound: int | np.ndarray) -> None:
        """`shape`: of a sample, [width], [height, width] or [height, width, channels…]. `y`: int32 [values, streams, lanes].

        `bound`: of all lanes, or of each, int32 [lanes].
        """
        self._limits, self._bound = limits, bound
        self._width = shape[:2][-1]
        self._channels = math.prod(shape[2:])
        outside = np.zeros((1, *y.shape[1:]), np.int32)  # at −1: what the first value has for neighbours
        self._y = np.concatenate([y, outside])
        self._values, self._magnitudes = np.zeros_like(self._y), np.zeros_like(self._y)
        self._level = np.broadcast_to(level_of(bound), y.shape[1:])

    def active(self, step: int) -> slice:
        return _ALL

    def predict(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        near, y = self._neighbours(step), self._y[step]
        values = left, up, corner, right = self._values[near]
        magnitudes = self._magnitudes[near]
        prediction = _median(_edge(*values[:3]), y + _edge(*(values - self._y[near])[:3]), y)
        prediction = within(self._limits, prediction)
        gradient = np.abs(left - corner) + np.abs(up - corner) + np.abs(up - right)
        activity = (_NEAR * magnitudes).sum(axis=0) + gradient
        level = np.searchsorted(_HALF_OCTAVES, activity, side="right")
        lightness = np.searchsorted(_LIGHTNESS, prediction - self._limits[0], side="right")
        distances = _distances(_stacked(left, up, right, y) - prediction, self._bound)
        nearest = np.minimum(magnitudes[:2], _LARGEST_NEAR)
        features = np.concatenate([level[None], lightness[None], distances, nearest, self._level[None]])
        return prediction, features, _ONE

    def learn(self, step: int, values: np.ndarray, residuals: np.ndarray) -> None:
        self._values[step] = values
        self._magnitudes[step] = np.abs(residuals)

    def _neighbours(self, step: int) -> list[int]:
        """The places left, above, above left and above right; the nearest of these for one outside."""
        row = self._width * self._channels
        first, last = step % row < self._channels, step % row >= row - self._channels
        if step < row:
            return [-1 if first else step - self._channels] * 4
        up = step - row
        corner = up if first else up - self._channels
        return [corner if first else step - self._channels, up, corner, up if last else up + self._channels]


def _median(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return within((np.minimum(b, c), np.maximum(b, c)), a)


def _edge(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    return _median(left, up, left + up - corner)


def open_predictor(
    kind: Kind,
    shape: tuple[int, ...],
    weights: np.ndarray,
    y: np.ndarray,
    limits: tuple[int, int],
    bound: int | np.ndarray,
    links: Links | None = None,
) -> Predictor:
    """The predictor of a kind of data, before its first step."""
    if kind == "image":
        return Median(shape, y, limits, bound)
    return SignLms(weights, y, limits, bound, None if links is None else (links, waves_of(shape)))


def waves_of(shape: tuple[int, ...]) -> Waves:
    """The waves of the samples of a record."""
    return Waves(shape[0], channels_of("record", shape))


def features_of(kind: Kind, channels: int) -> int:
    """How many features the values of a kind of data have."""
    return (Median if kind == "image" else SignLms).features + (channels > 1)


def streams_of(kind: Kind, shape: tuple[int, ...], frames: np.ndarray) -> np.ndarray:
    """Frames [lanes, samples, inputs] as [steps, streams, lanes].

    A record of one channel is one stream of all its values, of more a stream per channel, in waves; a table a stream per
    column; images a stream per image.
    """
    if channels_of(kind, shape) > 1:
        return waves_of(shape).split(frames)
    if kind == "record":
        frames = frames.reshape(len(frames), -1, 1)
    return np.moveaxis(frames, (0, 1, 2), (2, 1, 0) if kind == "image" else (2, 0, 1))


def frames_of(kind: Kind, shape: tuple[int, ...], streams: np.ndarray) -> np.ndarray:
    """The inverse of `streams_of`: [lanes, samples, inputs]."""
    if channels_of(kind, shape) > 1:
        return waves_of(shape).joined(streams)
    frames = np.moveaxis(streams, (2, 1, 0) if kind == "image" else (2, 0, 1), (0, 1, 2))
    return frames.reshape(len(frames), -1, math.prod(shape))


def fit_start_weights(series: np.ndarray, bounds: Sequence[int] = (0,)) -> np.ndarray:
    """Weights, int16 [16], of the least squared error on training series, integers [steps, series], decoded to within `bounds`.

    The decoded values that predict are the series' plus noise, uniform in −E…E for each bound E, from a fixed seed.
    """
    rng = np.random.default_rng(0)
    moments, products = np.eye(TAPS) * 1e-3, np.zeros(TAPS)
    for bound in bounds if len(series) > TAPS + 1 else ():
        decoded = series + rng.integers(-bound, bound, series.shape, endpoint=True)
        differences = np.diff(decoded, axis=0).astype(np.float64)
        targets = series[TAPS + 1 :] - decoded[TAPS:-1]
        for i, each in enumerate(differences.T):
            windows = np.lib.stride_tricks.sliding_window_view(each[:-1], TAPS)[:, ::-1]
            scale = 1 / max(np.square(windows).mean(), 1e-9)
            moments += scale * windows.T @ windows
            products += scale * windows.T @ targets[:, i]
    weights = np.rint(np.linalg.solve(moments, products) * (1 << WEIGHT_BITS))
    return within(_WEIGHT_LIMITS, weights).astype(np.int16)
