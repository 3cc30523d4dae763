"""Records as the windows that a .tae file holds, with the rest that is shorter than a window."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from tiedae.compress.errors import DataError
from tiedae.compress.sample_spec import SampleSpec


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
        """Those of a record, [n] or [n, channels]; DataError for another shape or dtype, and one shorter than a window."""
        window, step, record = spec.shape[0], spec.shape[1:], np.asarray(record)
        if spec.kind != "record" or record.shape[1:] != step or record.ndim != 1 + len(step):
            right = f"{spec.dtype} [n{''.join(f', {size}' for size in step)}], a record"
            raise DataError(f"record: got {record.dtype} {list(record.shape)}, must be {right}")
        count = len(record) // window
        if not count:
            raise DataError(f"record: got {len(record)} time steps, must be {window} or more, a window")
        return cls(record[: count * window].reshape(count, *spec.shape), (Rest(count, record[count * window :]),))

    def __len__(self) -> int:
        return len(self.whole) + len(self._padded)

    @property
    def values(self) -> int:
        """Values of all samples, without padding."""
        return self.whole.size + sum(rest.steps.size for rest in self.rests)

    @cached_property
    def ends(self) -> Sequence[tuple[int, int]]:
        """Of each record: the number of samples up to its end, and the padding of its last window in time steps."""
        ends, padded = [], 0
        for rest in self.rests:
            padded += len(rest.steps) > 0
            ends.append((rest.windows + padded, self.whole.shape[1] - len(rest.steps) if len(rest.steps) else 0))
        return ends

    def parts(self, first: int = 0, ended: int = 0) -> Iterator[tuple[int, int, int | None]]:
        """Of each record from sample `first` on, of which `ended` have ended: (first sample, stop, padding); last the samples
        that are of none, with None."""
        for stop, padding in self.ends[ended:]:
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
