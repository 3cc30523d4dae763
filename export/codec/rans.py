"""The entropy stage: codes to the payloads of frames and back, by rANS under static tables. docs/format.md specifies every bit.

One state per frame, 32 bits, 16-bit words. All frames of a call advance together, one symbol of each per step: each is a lane
of int64 vectors. Nothing overflows: states stay below 2³² whatever the payload, and so do all products and sums.

After J. Duda, "Asymmetric numeral systems" (2013), and F. Giesen, "Interleaved entropy coders" (2014).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ...compress.errors import FormatError
from .damage import refuse
from .tables import RAW_BITS, SUM, SUM_BITS, FrequencyTables

WORD_BITS = 16
START = 1 << WORD_BITS
"""The state before the first symbol is encoded and after the last one is decoded; also the least state."""
STATE_BYTES = 4
_WORD_BYTES = 2

# 0-d arrays: numpy converts a Python integer at every call, which costs as much as the call.
_SLOT, _SUM_BITS, _LEAST = np.array(SUM - 1), np.array(SUM_BITS), np.array(START)
_WORD, _WORD_BITS, _ONE = np.array((1 << WORD_BITS) - 1), np.array(WORD_BITS), np.array(1)
_FULL = np.array(2 * WORD_BITS - SUM_BITS)
"""A state of `frequency << _FULL` or more leaves a word before a symbol of that frequency."""


def encode(tables: FrequencyTables, frames: Sequence[np.ndarray]) -> list[bytes]:
    """The payload of each frame, codes uint8 [samples, units] of any number of samples. DataError for other codes."""
    for i, frame in enumerate(frames):
        tables.require(frame, f"frame {i}")
    order, segments = _plan([len(frame) for frame in frames])
    state = np.full(len(frames), START, np.int64)
    blocks = [
        _encode_block(tables, np.stack([frames[i][start:stop] for i in order[:lanes]], axis=-1), state[:lanes])
        for start, stop, lanes in reversed(segments)
    ]
    payloads: dict[int, bytes] = {}
    for lane, i in enumerate(order):
        words = b"".join(block[lane] for block in reversed(blocks) if lane < len(block))
        raw = frames[i][tables.frequencies[np.arange(tables.units), frames[i]] == 0]
        payloads[i] = int(state[lane]).to_bytes(STATE_BYTES, "little") + words + raw[::-1].tobytes()
    return [payloads[i] for i in range(len(frames))]


def decode(tables: FrequencyTables, payloads: Sequence[bytes], samples: Sequence[int]) -> list[np.ndarray]:
    """The codes of frames, uint8 [samples, units], from their payloads and numbers of samples; the inverse of `encode`.

    Raises DamagedFrames for payloads that `encode` makes of no codes. A damaged one that is the payload of other codes decodes
    to those, about one in 2¹⁶: files hold a checksum of each payload.
    """
    least, problems = _least_bits(tables), dict[int, str]()
    for i, (payload, count) in enumerate(zip(payloads, samples, strict=True)):
        if len(payload) < STATE_BYTES or not 0 <= count <= 8 * len(payload) / least:
            problems[i] = f"{len(payload)} bytes cannot hold {count} samples"
        elif int.from_bytes(payload[:STATE_BYTES], "little") < START:
            problems[i] = f"its state must be {START} or more"
    refuse(problems)
    order, segments = _plan(samples)
    state = np.array([int.from_bytes(payloads[i][:STATE_BYTES], "little") for i in order], np.int64)
    words, position = _join_words([payloads[i] for i in order])
    begins = position.copy()
    blocks = [np.empty((0, tables.units, len(order)), np.uint16)] + [
        _decode_block(tables, stop - start, words, position[:lanes], state[:lanes]) for start, stop, lanes in segments
    ]
    frames: dict[int, np.ndarray] = {}
    for lane, i in enumerate(order):
        if state[lane] != START:
            problems[i] = f"decoding ends in state {state[lane]}, must be {START}"
            continue
        consumed = STATE_BYTES + _WORD_BYTES * int(position[lane] - begins[lane])
        symbols = np.concatenate([block[:, :, lane] for block in blocks if lane < block.shape[2]])
        try:
            frames[i] = _with_raw_values(tables, symbols, payloads[i], consumed)
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


def _encode_block(tables: FrequencyTables, codes: np.ndarray, state: np.ndarray) -> list[bytes]:
    """Encode codes [samples, units, lanes] onto the states, in place, last to first; each lane's words, as they are decoded."""
    left = np.zeros(codes.shape, "<u2")
    leaves = np.zeros(codes.shape, bool)
    units = [
        (np.where(frequency == 0, tables.escape, np.arange(len(frequency))), frequency, start)
        for frequency, start in zip(tables.frequencies.astype(np.int64), tables.starts, strict=True)
    ]
    for row, row_left, row_leaves in zip(codes[::-1], left[::-1], leaves[::-1], strict=True):
        for unit in reversed(range(tables.units)):
            symbol_of, frequency_of, start_of = units[unit]
            symbol = symbol_of[row[unit]]
            frequency = frequency_of[symbol]
            np.greater_equal(state >> _FULL, frequency, row_leaves[unit])
            full = row_leaves[unit].nonzero()[0]
            before = state[full]
            row_left[unit, full] = before & _WORD
            state[full] = before >> _WORD_BITS
            quotient, remainder = np.divmod(state, frequency)
            quotient <<= _SUM_BITS
            quotient += remainder
            np.add(quotient, start_of[symbol], state)
    return [left[:, :, lane][leaves[:, :, lane]].tobytes() for lane in range(len(state))]


def _decode_block(
    tables: FrequencyTables, samples: int, words: np.ndarray, position: np.ndarray, state: np.ndarray
) -> np.ndarray:
    """The next symbols of each lane, uint16 [samples, units, lanes]; advances positions in the words and states, in place."""
    slots = np.empty((samples, tables.units, len(state)), np.uint16)
    advance = np.empty((len(state), 2), np.uint32)
    frequency, offset = advance.T
    for rows in slots:
        for row, advances in zip(rows, tables.advances, strict=True):
            slot = state & _SLOT
            row[:] = slot
            advances.take(slot, 0, advance, "clip")  # unlike "raise", it writes to `advance` without a copy
            state >>= _SUM_BITS
            state *= frequency
            state += offset
            low = (state < _LEAST).nonzero()[0]
            at = position[low]
            state[low] = state[low] << _WORD_BITS | words.take(at, None, None, "clip")
            position[low] = at + _ONE
    return tables.symbols[np.arange(tables.units)[:, None], slots]


def _join_words(payloads: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The words of all payloads, int64, and where those of each begin; a word past the end is another payload's or 0."""
    padded = [payload[STATE_BYTES:] + bytes(len(payload) % _WORD_BYTES) for payload in payloads]
    words = np.frombuffer(b"".join([*padded, bytes(_WORD_BYTES)]), "<u2").astype(np.int64)
    return words, np.cumsum([0, *(len(each) // _WORD_BYTES for each in padded)], dtype=np.int64)[:-1]


def _with_raw_values(tables: FrequencyTables, symbols: np.ndarray, payload: bytes, consumed: int) -> np.ndarray:
    """Symbols [samples, units] as codes, uint8; the raw values of the escapes are the last bytes, in reverse.

    Raises FormatError, which says no frame, where they are others.
    """
    escaped = symbols == tables.escape
    escapes = int(np.count_nonzero(escaped))
    if consumed + escapes != len(payload):
        raise FormatError(f"{consumed + escapes} bytes consumed, must be all {len(payload)}")
    codes = symbols.astype(np.uint8)
    if escapes:
        raw = np.frombuffer(payload, np.uint8)[: consumed - 1 : -1]
        if raw.max() >= tables.escape or tables.frequencies[escaped.nonzero()[1], raw].any():
            raise FormatError("an escape's raw value is no code, or a code that has a frequency")
        codes[escaped] = raw
    return codes


def _least_bits(tables: FrequencyTables) -> float:
    """Bits by which each sample lengthens a payload at least, above 0; docs/format.md, "Bounds", derives them."""
    frequencies = np.maximum(tables.frequencies, 1).astype(np.float64)
    growth = np.log2(0.8 * (frequencies + 4 * SUM) / (4 * frequencies + 1))
    growth[:, -1] += RAW_BITS
    return float(growth.min(axis=1).sum())
