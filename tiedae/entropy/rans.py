"""The entropy stage: codes to the payloads of frames and back, by rANS under static tables.

docs/reference/format.md specifies every bit.

One state per frame, 32 bits, 16-bit words. All frames of a call advance together, one symbol of each per step: each is a lane
of int64 vectors. Nothing overflows: states stay below 2³² whatever the payload, and so do all products and sums.

After J. Duda, "Asymmetric numeral systems" (2013), and F. Giesen, "Interleaved entropy coders" (2014).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from tiedae.base.errors import DataError, FormatError

SUM_BITS = 14
SUM = 1 << SUM_BITS
"""What the frequencies of a table add up to."""
RAW_BITS = 8
"""Bits of the raw value behind an escape."""
WORD_BITS = 16
START = 1 << WORD_BITS
"""The state before the first symbol is encoded and after the last one is decoded; also the least state."""
STATE_BYTES = 4
WORD_BYTES = 2

# 0-d arrays: numpy converts a Python integer at every call, which costs as much as the call.
SLOT = np.array(SUM - 1)
_SUM_BITS, _LEAST = np.array(SUM_BITS), np.array(START)
_WORD, _WORD_BITS, _ONE = np.array((1 << WORD_BITS) - 1), np.array(WORD_BITS), np.array(1)
_FULL = np.array(2 * WORD_BITS - SUM_BITS)
"""A state of `frequency << _FULL` or more leaves a word before a symbol of that frequency."""


class DamagedFrames(FormatError):
    """Damaged frames of a call, all of them in one error: the others are decoded again without them.

    `problems`: what is wrong with each, by its place in the call.
    """

    def __init__(self, problems: Mapping[int, str]) -> None:
        first = min(problems)
        super().__init__(f"frame {first}: damaged: {problems[first]}")
        self.problems = problems


def refuse(problems: Mapping[int, str]) -> None:
    """Raise DamagedFrames where there are problems."""
    if problems:
        raise DamagedFrames(problems)


class SymbolTables(Protocol):
    """What frames are coded under: tables of codes, one per unit (`FrequencyTables`) or with classes (`ClassTables`).

    A sample is a row of `width` symbols. `least_bits`: by which it lengthens a payload at least, above 0. `rows`: what
    `encode_block` takes of a frame's codes, [samples, width], and the raw values of its escapes in order. `encode_block` and
    `decode_block` take rows [samples, width, lanes] to the words of each lane and back; they advance states, and positions in
    the words, in place. `codes`: those of a frame's symbols, [samples, units], by the raw values behind the bytes that are
    consumed; FormatError, which says no frame, where these are others.
    """

    @property
    def bits(self) -> int: ...
    @property
    def units(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def least_bits(self) -> float: ...
    def rows(self, codes: np.ndarray) -> tuple[np.ndarray, bytes]: ...
    def encode_block(self, rows: np.ndarray, state: np.ndarray) -> list[bytes]: ...
    def decode_block(self, samples: int, words: np.ndarray, position: np.ndarray, state: np.ndarray) -> np.ndarray: ...
    def codes(self, symbols: np.ndarray, payload: bytes, consumed: int) -> np.ndarray: ...


def require_codes(codes: np.ndarray, units: int, bits: int, source: str) -> None:
    """Raise DataError, naming `source`, unless these are codes of `units` units: uint8 [samples, units] in 0…2**bits − 1."""
    right = f"{source}: codes must be uint8 [samples, {units}]"
    if codes.dtype != np.uint8 or codes.shape != (len(codes), units):
        raise DataError(f"{right}, got {codes.dtype} {list(codes.shape)}")
    if codes.max(initial=0) >> bits:
        raise DataError(f"{right} in 0…{2**bits - 1}, of {bits} bits, got {codes.max()}")


def encode(tables: SymbolTables, frames: Sequence[np.ndarray]) -> list[bytes]:
    """The payload of each frame, codes uint8 [samples, units] of any number of samples. DataError for other codes."""
    for i, frame in enumerate(frames):
        require_codes(frame, tables.units, tables.bits, f"frame {i}")
    order, segments = _plan([len(frame) for frame in frames])
    state = np.full(len(frames), START, np.int64)
    rows = [tables.rows(frame) for frame in frames]
    blocks = [
        tables.encode_block(np.stack([rows[i][0][start:stop] for i in order[:lanes]], axis=-1), state[:lanes])
        for start, stop, lanes in reversed(segments)
    ]
    payloads: dict[int, bytes] = {}
    for lane, i in enumerate(order):
        words = b"".join(block[lane] for block in reversed(blocks) if lane < len(block))
        payloads[i] = int(state[lane]).to_bytes(STATE_BYTES, "little") + words + rows[i][1][::-1]
    return [payloads[i] for i in range(len(frames))]


def decode(tables: SymbolTables, payloads: Sequence[bytes], samples: Sequence[int]) -> list[np.ndarray]:
    """The codes of frames, uint8 [samples, units], from their payloads and numbers of samples; the inverse of `encode`.

    Raises DamagedFrames for payloads that `encode` makes of no codes. A damaged one that is the payload of other codes decodes
    to those, about one in 2¹⁶: files hold a checksum of each payload.
    """
    least, problems = tables.least_bits, dict[int, str]()
    for i, (payload, count) in enumerate(zip(payloads, samples, strict=True)):
        if len(payload) < STATE_BYTES or not 0 <= count <= 8 * len(payload) / least:
            problems[i] = f"{len(payload)} bytes cannot hold {count} samples"
        elif int.from_bytes(payload[:STATE_BYTES], "little") < START:
            problems[i] = f"its state must be {START} or more"
    refuse(problems)
    order, segments = _plan(samples)
    state = np.array([int.from_bytes(payloads[i][:STATE_BYTES], "little") for i in order], np.int64)
    words, position = join_words([payloads[i] for i in order])
    begins = position.copy()
    blocks = [np.empty((0, tables.width, len(order)), np.uint16)] + [
        tables.decode_block(stop - start, words, position[:lanes], state[:lanes]) for start, stop, lanes in segments
    ]
    frames: dict[int, np.ndarray] = {}
    for lane, i in enumerate(order):
        if state[lane] != START:
            problems[i] = f"decoding ends in state {state[lane]}, must be {START}"
            continue
        consumed = STATE_BYTES + WORD_BYTES * int(position[lane] - begins[lane])
        symbols = np.concatenate([block[:, :, lane] for block in blocks if lane < block.shape[2]])
        try:
            frames[i] = tables.codes(symbols, payloads[i], consumed)
        except FormatError as error:
            problems[i] = str(error)
    refuse(problems)
    return [frames[i] for i in range(len(payloads))]


def _plan(samples: Sequence[int]) -> tuple[list[int], list[tuple[int, int, int]]]:
    """The frames' order, longest first, and segments (start, stop, lanes): samples start…stop are those of the first lanes."""
    order = sorted(range(len(samples)), key=lambda i: -samples[i])
    ascending = sorted(samples)
    stops = sorted({0, *samples})
    return order, [(start, stop, len(samples) - bisect_left(ascending, stop)) for start, stop in pairwise(stops)]


def put(state: np.ndarray, frequency: np.ndarray, start: np.ndarray, left: np.ndarray, leaves: np.ndarray) -> None:
    """Encode a symbol of each lane onto the states, in place: the word that a lane leaves, and whether it leaves one."""
    np.greater_equal(state >> _FULL, frequency, leaves)
    full = leaves.nonzero()[0]
    before = state[full]
    left[full] = before & _WORD
    state[full] = before >> _WORD_BITS
    quotient, remainder = np.divmod(state, frequency)
    quotient <<= _SUM_BITS
    quotient += remainder
    np.add(quotient, start, state)


def take(state: np.ndarray, frequency: np.ndarray, offset: np.ndarray, words: np.ndarray, position: np.ndarray) -> None:
    """Advance states, and positions in the words, in place behind a symbol of each lane; `offset`: slot less start."""
    state >>= _SUM_BITS
    state *= frequency
    state += offset
    low = (state < _LEAST).nonzero()[0]
    at = position[low]
    state[low] = state[low] << _WORD_BITS | words.take(at, None, None, "clip")
    position[low] = at + _ONE


def words_of(left: np.ndarray, leaves: np.ndarray) -> list[bytes]:
    """The words of each lane as they are decoded, of what `put` left, uint16 [samples, width, lanes]."""
    return [left[:, :, lane][leaves[:, :, lane]].tobytes() for lane in range(left.shape[2])]


def join_words(payloads: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The words of all payloads, int64, and where those of each begin; a word past the end is another payload's or 0."""
    padded = [payload[STATE_BYTES:] + bytes(len(payload) % WORD_BYTES) for payload in payloads]
    words = np.frombuffer(b"".join([*padded, bytes(WORD_BYTES)]), "<u2").astype(np.int64)
    return words, np.cumsum([0, *(len(each) // WORD_BYTES for each in padded)], dtype=np.int64)[:-1]


def with_raw_values(
    frequencies: np.ndarray, places: np.ndarray, symbols: np.ndarray, payload: bytes, consumed: int
) -> np.ndarray:
    """Symbols [samples, units] as uint8 codes; the raw values of the escapes are the last bytes, in reverse.

    `frequencies`: of tables, the last of each its escape's. `places`: the table of each symbol. Raises FormatError, which says
    no frame, where the raw values are others.
    """
    escape = frequencies.shape[1] - 1
    escaped = symbols == escape
    escapes = int(np.count_nonzero(escaped))
    if consumed + escapes != len(payload):
        raise FormatError(f"{consumed + escapes} bytes consumed, must be all {len(payload)}")
    codes = symbols.astype(np.uint8)
    if escapes:
        raw = np.frombuffer(payload, np.uint8)[: consumed - 1 : -1]
        if raw.max() >= escape or frequencies[np.broadcast_to(places, symbols.shape)[escaped], raw].any():
            raise FormatError("an escape's raw value is no code, or a code that has a frequency")
        codes[escaped] = raw
    return codes


def least_bits(frequencies: np.ndarray) -> np.ndarray:
    """Bits by which a symbol under each table lengthens a payload at least, float64 (docs/reference/format.md, "Bounds").

    A symbol of frequency 0 counts as one of frequency 1.
    """
    found = np.maximum(frequencies, 1).astype(np.float64)
    return np.log2(0.8 * (found + 4 * SUM) / (4 * found + 1))
