"""Windows of records: a result of each as time steps come, and the samples of a file with what is shorter than a window.

Patches of pictures too: in a file they are to their picture what windows are to their record.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from tiedae.base.errors import DataError, InputError
from tiedae.config.sample_spec import SampleSpec, in_float32, is_finite

from .patches import LONGEST, PictureSize, cut

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
            raise InputError(f"stream: samples are of kind {spec.kind}, must be windows of a record, which have time steps")
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


class Rest(NamedTuple):
    """What is left behind the last window of a record: the windows of it and all records before, and the time steps."""

    windows: int
    steps: np.ndarray


@dataclass(frozen=True, eq=False)
class Windows:
    """The samples of a source, one after the other: whole ones, [n, *shape], and of each record its rest, padded to a window
    with its last time step. Without records, just samples."""

    whole: np.ndarray
    rests: Sequence[Rest] = ()

    @classmethod
    def of(cls, record: Any, spec: SampleSpec) -> Windows:
        """Those of a record, [n] or [n, channels]; DataError for another shape or dtype, and one without a time step."""
        window, step, record = spec.window, spec.shape[1:], np.asarray(record)
        if spec.kind != "record" or record.shape[1:] != step or record.ndim != 1 + len(step):
            right = f"{spec.dtype} [n{''.join(f', {size}' for size in step)}], a record"
            raise DataError(f"record: got {record.dtype} {list(record.shape)}, must be {right}")
        count = len(record) // window
        if not len(record):
            raise DataError("record: got 0 time steps, must be 1 or more")
        return cls(record[: count * window].reshape(count, *spec.shape), (Rest(count, record[count * window :]),))

    def __len__(self) -> int:
        return len(self.whole) + len(self._padded)

    @property
    def values(self) -> int:
        """Values of all samples, without padding."""
        return self.whole.size + sum(rest.steps.size for rest in self.rests)

    @cached_property
    def ends(self) -> Sequence[tuple[int, int]]:
        """Of each record: the number of samples up to its end, and the number that its end states (`container.End`): here the
        padding of its last window in time steps."""
        ends, padded = [], 0
        for rest in self.rests:
            padded += len(rest.steps) > 0
            ends.append((rest.windows + padded, self.whole.shape[1] - len(rest.steps) if len(rest.steps) else 0))
        return ends

    def parts(self) -> Iterator[tuple[int, int, int | None]]:
        """Of each record: the number of its first sample and of the next one's, and what its end states; last the samples that
        are of none, with None."""
        first = 0
        for stop, padding in self.ends:
            yield first, stop, padding
            first = stop
        if first < len(self):
            yield first, len(self), None

    def __getitem__(self, place: slice) -> np.ndarray:
        """Samples from a number up to another, [n, *shape]."""
        start, stop, _ = place.indices(len(self))
        first, last = (bisect.bisect_left(self._padded, number) for number in (start, stop))
        if first == last:
            return self.whole[start - first : stop - first]
        pieces, at = [], start
        for before, number in enumerate(self._padded[first:last], first):
            steps = self._filled[before]
            padding = ((0, self.whole.shape[1] - len(steps)), *[(0, 0)] * (steps.ndim - 1))
            pieces += [self.whole[at - before : number - before], np.pad(steps, padding, mode="edge")[None]]
            at = number + 1
        return np.concatenate([*pieces, self.whole[at - last : stop - last]])

    @cached_property
    def _filled(self) -> Sequence[np.ndarray]:
        """The time steps of rests that have some."""
        return [rest.steps for rest in self.rests if len(rest.steps)]

    @cached_property
    def _padded(self) -> Sequence[int]:
        """The numbers of padded windows."""
        return [stop - 1 for stop, padding in self.ends if padding]


@dataclass(frozen=True, eq=False)
class PicturePatches(Windows):
    """The patches of pictures, one after the other, [n, patch, patch, …], and the size of each picture."""

    sizes: Sequence[PictureSize] = ()

    @classmethod
    def of(cls, picture: Any, spec: SampleSpec) -> PicturePatches:
        """Those of a picture, [h, w, …]; DataError for another shape, sides of no pixel, and of more than `LONGEST`."""
        values, patch, channels = np.asarray(picture), spec.shape[0], spec.shape[2:]
        if not spec.is_patch or values.ndim != len(spec.shape) or values.shape[2:] != channels:
            right = f"[h, w{''.join(f', {each}' for each in channels)}], a picture, of a model of square patches"
            raise DataError(f"picture: got {values.dtype} {list(values.shape)}, must be {spec.dtype} {right}")
        size = PictureSize(*values.shape[:2])
        require_storable(size, "picture")
        return cls(cut(values, patch), sizes=(size,))

    @property
    def values(self) -> int:
        """Values of all pictures, without what patches repeat at the right and at the bottom."""
        channels = int(np.prod(self.whole.shape[3:], dtype=np.int64))
        return self.pixels * channels

    @property
    def pixels(self) -> int:
        """Pixels of all pictures."""
        return sum(size.height * size.width for size in self.sizes)

    @cached_property
    def ends(self) -> Sequence[tuple[int, int]]:
        """Of each picture: the number of patches up to its end, and its size as a number."""
        stops = np.cumsum([size.patches(self.whole.shape[1]) for size in self.sizes]).tolist()
        return [(stop, size.number) for stop, size in zip(stops, self.sizes, strict=True)]

    @cached_property
    def _padded(self) -> Sequence[int]:
        return ()


def require_storable(size: PictureSize, source: object) -> None:
    """Raise DataError, which starts with `source`, for a picture that a .tae file cannot hold."""
    if not all(0 < side <= LONGEST for side in size):
        raise DataError(f"{source}: has {size.width}×{size.height} pixels, must have 1 to {LONGEST:,} rows and columns")


def problem_of_end(spec: SampleSpec, number: int) -> str:
    """Why the end of a record or picture cannot state a number; empty where it can."""
    if spec.is_patch:
        states_size = number >> 32 == 0 and all(PictureSize.from_number(number))
        return "" if states_size else f"the end of a picture states no size: {number}"
    if spec.kind == "record" and 0 <= number < spec.window:
        return ""
    return f"a record ends with padding of a window or more, {spec.window} time steps"
