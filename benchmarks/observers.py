"""The memory that observers take: ten million values streamed through each of them.

python benchmarks/observers.py --json observers.json
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial

import numpy as np
from rows import Row, arguments_of, report

from tiedae.calibration import OBSERVERS, MeanSquared, PerUnit

VALUES = 10_000_000
BATCH = 1 << 20
UNITS = 256


def main() -> int:
    arguments = arguments_of(__doc__ or "").parse_args()
    return report("Observers", lambda _: rows(), arguments.json)


def rows() -> list[Row]:
    peaks = peaks_mb()
    detail = ", ".join(f"{name} {peak:.1f} MB in {seconds:.1f} s" for name, (peak, seconds) in peaks.items())
    worst = max(peak for peak, _ in peaks.values())
    return [Row("observer_peak_mb", worst, "MB", "<= 200", detail=f"{VALUES:,} values each: {detail}")]


def observer_peak_mb(values: int = VALUES) -> float:
    """The most memory, in MB beyond what was held before, that any observer takes for a stream of so many float32 values."""
    return max(peak for peak, _ in peaks_mb(values).values())


def peaks_mb(values: int = VALUES) -> dict[str, tuple[float, float]]:
    """(peak in MB, seconds) by observer; the batches themselves, which are drawn as they are needed, count too."""
    makers = {**OBSERVERS, f"mse per unit ({UNITS})": partial(PerUnit, partial(MeanSquared, bins=512), UNITS)}
    found = {}
    for name, make in makers.items():
        begun = time.perf_counter()
        tracemalloc.start()
        observer = make()
        for batch in stream(values):
            observer.update(batch)
        observer.range()
        found[name] = (tracemalloc.get_traced_memory()[1] / 1e6, time.perf_counter() - begun)
        tracemalloc.stop()
    return found


def stream(values: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Float32 batches [n, UNITS] of a normal distribution with some outliers, the same for the same seed."""
    rng = np.random.default_rng(seed)
    for start in range(0, values, BATCH):
        batch = rng.standard_normal((min(BATCH, values - start) // UNITS, UNITS), np.float32)
        batch[0, 0] *= 100
        yield batch


if __name__ == "__main__":
    sys.exit(main())
