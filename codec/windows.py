"""Time steps of a record, as they come, to a result of each window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from tiedae.compress.errors import DataError, InputError
from tiedae.compress.sample_spec import SampleSpec, in_float32, is_finite

Result = Literal["code", "reconstruction", "score", "anomaly", "frame"]
"""What a stream gives of a window: what the codec's `encode`, `reconstruct`, `score` or `is_anomaly` does, or a .tae frame."""
Results = TypeVar("Results")


class Stream(Generic[Results]):
    """Time steps in pieces of any size → the results of the windows that they complete; `Codec.stream` opens one.

        step      0        hop      2·hop
        window 0  ├────────────────┤
        window 1           ├────────────────┤
        window 2                    ├────────────────┤

    `window` and `hop`: steps of a window, and from its first to that of the next one. One thread may use a stream at a time.
    """

    def __init__(self, spec: SampleSpec, hop: int, results: Callable[[np.ndarray], Results]) -> None:
        """`results`: of windows, [n, inputs], n ≥ 0. InputError for samples that are no windows, and a hop that skips steps."""
        if spec.kind != "record":
            raise InputError(f"stream: the samples are {spec.kind}, must be windows of a record; only they have time steps")
        if hop not in range(1, spec.shape[0] + 1):
            raise InputError(f"hop: got {hop!r}, must be 1 to {spec.shape[0]} time steps, the window")
        self.window, self.hop = spec.shape[0], int(hop)
        self._step, self._dtype, self._inputs, self._results = spec.shape[1:], np.dtype(spec.dtype), spec.inputs, results
        self._values = np.empty(0, self._dtype)
        self._start = self._stop = 0

    def push(self, steps: Any) -> Results:
        """The results of the windows that these steps complete, in their order; none, [0, …], where no window is full.

        `steps`: [n], or [n, channels], or one step, [channels], in the data's unit of measure and dtype.

        Raises DataError for another dtype or number of channels, NaN and infinity; the stream is then as before.
        """
        values = self._checked(steps)
        if self._start == self._stop and self.hop == self.window and not values.size % self._inputs:
            return self._results(values.reshape(-1, self._inputs))  # whole windows, and none waits: no copy
        stop = self._append(values.reshape(-1))
        hop, size = self._inputs // self.window * self.hop, self._dtype.itemsize
        count = max(0, (stop - self._start - self._inputs) // hop + 1)
        strides = (hop * size, size)
        windows = np.ndarray((count, self._inputs), self._dtype, self._values, self._start * size, strides)
        results = self._results(windows)
        self._start, self._stop = self._start + count * hop, stop
        return results

    def _append(self, values: np.ndarray) -> int:
        """Put values behind those that wait; where they end. A value moves once at most until its first window is full."""
        stop = self._stop + len(values)
        if stop > len(self._values):
            waiting = self._values[self._start : self._stop]
            stop = len(waiting) + len(values)
            self._values = np.empty(max(2 * self._inputs, stop), self._dtype)
            self._values[: len(waiting)] = waiting
            self._start, self._stop = 0, len(waiting)
        self._values[self._stop : stop] = values
        return stop

    def _checked(self, steps: Any) -> np.ndarray:
        """Steps as an array."""
        values = np.asarray(steps)
        if values.dtype != self._dtype:
            raise DataError(f"steps: got {values.dtype}, must be {self._dtype}, in the unit of measure of the training data")
        if values.shape[1:] != self._step and values.shape != self._step:
            step = ", ".join(map(str, self._step))
            right = f"[n, {step}], or one step [{step}]" if step else "[n], or one number"
            raise DataError(f"steps: got shape {list(values.shape)}, must be {right}")
        if self._dtype.kind == "f" and not is_finite(values):
            rows = values.reshape(-1, *self._step)
            step, *channel = np.argwhere(~in_float32(rows))[0].tolist()
            where = f"channel {channel[0]} of step {step}" if channel else f"step {step}"
            raise DataError(f"steps: {where} is {rows[(step, *channel)]}, must be finite in float32")
        return values
