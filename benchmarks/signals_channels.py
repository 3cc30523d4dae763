"""Lossless files of channels beside files of each channel by itself.

    python benchmarks/signals.py --only channels

Six int16 channels: the ECG at three lags, and three mixtures of these, each with noise of its own. The first half trains the
tables, the second half is measured, in frames of 64 windows of 256 steps, by prediction alone. Tables are part of a bundle and
not counted. The defaults of `tiedae/entropy/channels.py` were chosen with other seeds, lags and orders of channels:
docs/decisions/entropy.md#channels-are-predicted-by-fixed-links.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rows import Row

from tiedae.codec.container import pack_frame, pack_index
from tiedae.codec.header import FileKind, Header
from tiedae.data.data_sets import ASSETS
from tiedae.entropy.residuals import fit_residuals

SEED = 31
LAGS = (0, 5, 12)
"""Steps of 1/360 s."""
NOISE = 2.0
"""The standard deviation of each channel's noise, in counts."""
WINDOW = 256
PER_FRAME = 64


@dataclass(frozen=True)
class ChannelsFile:
    """A lossless file of the second half of a record: its bytes, and the values that are coded and decoded in a second."""

    size: int
    encoded: float
    decoded: float


def mixed(series: np.ndarray, seed: int, lags: Sequence[int] = LAGS, noise: float = NOISE) -> np.ndarray:
    """int16 [steps, 2 · lags]: a series at lags, mixtures of these with weights in −1…1, and noise in each."""
    rng, longest = np.random.default_rng(seed), max(lags)
    lagged = np.stack([series[longest - lag : len(series) - lag] for lag in lags], axis=1).astype(np.float64)
    mixtures = lagged @ rng.uniform(-1, 1, (len(lags), len(lags)))
    values = np.concatenate([lagged, mixtures], axis=1)
    return np.rint(values + rng.normal(0, noise, values.shape)).astype(np.int16)


def lossless_file(record: np.ndarray) -> ChannelsFile:
    """That of a record, int16 [steps, channels]. AssertionError where a value is decoded to another one."""
    channels = record.shape[1]
    shape = (WINDOW, channels) if channels > 1 else (WINDOW,)
    half = len(record) // 2 // WINDOW * WINDOW
    training, x = (part.reshape(-1, WINDOW * channels) for part in (record[:half], record[half : 2 * half]))
    coder = fit_residuals("record", shape, training, PER_FRAME)
    frames = np.split(x, range(PER_FRAME, len(x), PER_FRAME))
    begin = time.perf_counter()
    payloads = coder.encode(frames, 0)
    middle = time.perf_counter()
    back = coder.decode(payloads, [len(frame) for frame in frames], 0)
    end = time.perf_counter()
    assert (np.concatenate(back) == x).all(), "a value is decoded to another one"
    header = Header(bytes(8), x[0].nbytes, PER_FRAME, FileKind.LOSSLESS)
    sizes = [len(pack_frame(header, 1, len(frame), data)) for frame, data in zip(frames, payloads, strict=True)]
    entries = [(len(frame), size) for frame, size in zip(frames, sizes, strict=True)]
    size = header.size + sum(sizes) + len(pack_index(header, entries))
    return ChannelsFile(size, x.size / (middle - begin), x.size / (end - middle))


def channels_row() -> Row:
    record = mixed(np.load(ASSETS / "ecg" / "mitbih208.npy"), SEED)
    joint, alone = lossless_file(record), [lossless_file(record[:, k : k + 1]) for k in range(record.shape[1])]
    apart = sum(file.size for file in alone)
    speeds = ", ".join(
        f"{what} {min(getattr(file, what) for file in alone):,.0f} values/s of one channel, {getattr(joint, what):,.0f} of six"
        for what in ("encoded", "decoded")
    )
    detail = f"{joint.size:,} bytes together, {apart:,} each by itself; {speeds}"
    return Row("channels_lossless_ratio", joint.size / apart, "", "<= 0.92", "<= 0.85", detail)
