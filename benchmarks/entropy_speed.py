"""The entropy stage on Fashion-MNIST: speed with one thread, and bytes beyond the cross-entropy under the tables.

    TIEDAE_DATA=... python benchmarks/entropy_speed.py --json entropy.json

The codes are 30 principal components of the training images in one uniform scale, 10,000 test images in 156 frames of 64 and
one of 16. Speeds are the best of 20 turns, in time of the processor, which other processes disturb less than time of the clock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from rows import Row, arguments_of, report

from tiedae.config.config import DataConfig
from tiedae.entropy.rans import decode, encode
from tiedae.entropy.tables import fit
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console

UNITS, FRAME, TURNS = 30, 64, 20


def main() -> int:
    arguments = arguments_of(__doc__ or "").parse_args()
    return report("Entropy stage", lambda console: rows(console), arguments.json)


def rows(console: Console) -> Sequence[Row]:
    train, test = codes()
    tables = fit(train)
    frames = [test[start : start + FRAME] for start in range(0, len(test), FRAME)]
    samples = [len(frame) for frame in frames]
    payloads = encode(tables, frames)
    entropy = tables.cross_entropy(test) / 8
    size = sum(map(len, payloads))
    detail = f"{len(frames)} frames, {8 * entropy / len(test):.1f} bit a sample, {len(tables.to_bytes())} bytes of tables"
    return [
        Row(
            "entropy_mcodes_s",
            test.size / best(lambda: decode(tables, payloads, samples)) / 1e6,
            "M/s",
            ">= 5",
            ">= 12",
            detail,
        ),
        Row("entropy_encode_mcodes_s", test.size / best(lambda: encode(tables, frames)) / 1e6, "M/s", ""),
        Row("one_frame_entropy_ms", 1e3 * best(lambda: decode(tables, payloads[:1], samples[:1])), "ms", ""),
        Row("payload_vs_entropy", size / entropy, "", "<= 1.01"),
        Row("payload_overhead", (size - entropy) / len(frames), "bytes a frame", "<= 6", "<= 4"),
    ]


def best(function: Callable[[], object]) -> float:
    """Seconds of processor time of the fastest turn."""
    function()
    turns = []
    for _ in range(TURNS):
        start = time.process_time()
        function()
        turns.append(time.process_time() - start)
    return min(turns)


def codes() -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the training and the test images, uint8 [images, units]."""
    splits = load_dataset(DataConfig(source="fashion-mnist"), "sigmoid")
    train, test = (split.take(np.arange(len(split))).astype(np.float32) for split in (splits.train, splits.test))
    mean = train.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(train - mean, rowvar=False))
    values, others = ((x - mean) @ directions[:, -UNITS:] for x in (train, test))
    scale, low = (values.max() - values.min()) / 255, values.min()

    def quantize(x: np.ndarray) -> np.ndarray:
        return np.clip(np.rint((x - low) / scale), 0, 255).astype(np.uint8)

    return quantize(values), quantize(others)


if __name__ == "__main__":
    sys.exit(main())
