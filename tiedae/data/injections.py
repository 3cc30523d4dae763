"""Faults injected into a signal, so that a detector can be measured where nobody has labelled any.

A fault changes the time steps of an interval alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from .arrays import Interval

HUM = 60.0
"""Hz, of the mains."""
HUM_LEVEL = 0.1
"""RMS of the hum / RMS of the interval about its mean."""
STEP = 0.2
"""mV."""

Inject = Callable[[np.ndarray, float], np.ndarray]
"""(Values of an interval in mV, float64 [t]; the rate in Hz) → values with the fault."""


def _hum(x: np.ndarray, rate: float) -> np.ndarray:
    return x + np.sqrt(2) * HUM_LEVEL * x.std() * np.sin(2 * np.pi * HUM / rate * np.arange(len(x)))


INJECTIONS: Mapping[str, Inject] = {
    "half": lambda x, _: 0.5 * x,
    "larger": lambda x, _: 1.5 * x,
    "hum": _hum,
    "dropout": lambda x, _: np.zeros_like(x),
    "step": lambda x, _: x + STEP,
}
"""By kind: the amplitude times 0.5 and 1.5, mains hum, a dropout to 0 mV, a step of the baseline."""


def injected(record: np.ndarray, intervals: Iterable[Interval], rate: float, zero: float, gain: float) -> np.ndarray:
    """A record of integers [n], 0 mV at `zero` and `gain` of them per mV, with the fault of each interval's kind."""
    changed, limits = record.copy(), np.iinfo(record.dtype)
    for each in intervals:
        place = slice(round(each.start * rate), round(each.end * rate))
        values = zero + gain * INJECTIONS[each.kind]((record[place] - zero) / gain, rate)
        changed[place] = np.clip(np.rint(values), limits.min, limits.max).astype(record.dtype)
    return changed
