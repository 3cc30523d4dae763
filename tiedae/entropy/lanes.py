"""rANS whose symbols need not have one table in turn: each is written under any frequency.

docs/reference/format.md, "Symbol streams".

One stream per frame, with the state, the words and the steps of `rans`. The streams of a call advance together, one symbol of
each per step: each is a lane of int64 vectors. A symbol of frequency 2¹⁴ leaves a state unchanged: a lane that has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .rans import START, STATE_BYTES, SUM, SUM_BITS, WORD_BYTES, join_words, put, refuse, take
from .tables import FrequencyTables


def write(frequencies: np.ndarray, starts: np.ndarray) -> list[bytes]:
    """The stream of each lane. Symbols, uint16 [symbols, lanes]: their frequencies in 1…2¹⁴ and starts, in decoding order."""
    state = np.full(frequencies.shape[1], START, np.int64)
    left = np.zeros(frequencies.shape, "<u2")
    leaves = np.zeros(frequencies.shape, bool)
    used = (frequencies < SUM).any(axis=1)
    for i in np.flatnonzero(used)[::-1]:
        put(state, frequencies[i].astype(np.int64), starts[i], left[i], leaves[i])
    words = (lane[leave].tobytes() for lane, leave in zip(left.T, leaves.T, strict=True))
    return [int(last).to_bytes(STATE_BYTES, "little") + each for last, each in zip(state, words, strict=True)]


class LaneReader:
    """Reads the streams of all lanes, one symbol of each at a time.

    Bytes past the end of a stream read as other streams' or 0, so that a damaged lane disturbs no other; `problems` finds it.
    """

    def __init__(self, streams: Sequence[bytes], frames: Sequence[int]) -> None:
        """`frames`: numbers that errors name them by. Raises DamagedFrames for streams without a state of 2¹⁶ or more."""
        self._frames = frames
        refuse(
            {
                i: f"its {len(stream)} bytes begin with no state of {START} or more"
                for i, stream in zip(frames, streams, strict=True)
                if len(stream) < STATE_BYTES or int.from_bytes(stream[:STATE_BYTES], "little") < START
            }
        )
        self._sizes = [len(stream) for stream in streams]
        self._state = np.array([int.from_bytes(stream[:STATE_BYTES], "little") for stream in streams], np.int64)
        self._words, self._begins = join_words(streams)
        self._position = self._begins.copy()

    def symbols(self, tables: FrequencyTables, units: np.ndarray) -> np.ndarray:
        """The next symbol of each lane, under the table of a unit of its own, int64 [lanes]."""
        slots = self._state & (SUM - 1)
        frequencies, offsets = tables.advances[units, slots].T.astype(np.int64)
        take(self._state, frequencies, offsets, self._words, self._position)
        return tables.symbols[units, slots].astype(np.int64)

    def bits(self, counts: np.ndarray) -> np.ndarray:
        """The next number of each lane, of 0…14 bits, equally likely."""
        shifts = SUM_BITS - counts
        slots = self._state & (SUM - 1)
        take(self._state, 1 << shifts, slots & (1 << shifts) - 1, self._words, self._position)
        return slots >> shifts

    def problems(self) -> dict[int, str]:
        """What is wrong with streams that do not end here, by frame."""
        found, used = dict[int, str](), self._position - self._begins
        for i, size, words, state in zip(self._frames, self._sizes, used, self._state, strict=True):
            consumed = STATE_BYTES + WORD_BYTES * int(words)
            if consumed != size:
                found[i] = f"{consumed} bytes consumed, must be all {size}"
            elif state != START:
                found[i] = f"decoding ends in state {state}, must be {START}"
        return found
