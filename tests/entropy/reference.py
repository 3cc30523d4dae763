"""The entropy stage as docs/reference/format.md states it, one symbol at a time, and tables and frames to try it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from tiedae.entropy.tables import CODE_BITS, SUM, FrequencyTables

Table = Sequence[int]
"""The frequencies of one unit; the last is the escape's."""


Symbol = tuple[Table, int, bool]
"""A table, one of its symbols, and whether the last symbol is an escape, which stands for those of frequency 0."""


def encode(tables: Sequence[Table], codes: Sequence[Sequence[int]]) -> bytes:
    return encode_symbols([[(table, code, True) for table, code in zip(tables, sample, strict=True)] for sample in codes])


def encode_symbols(samples: Sequence[Sequence[Symbol]]) -> bytes:
    x, words, raw = 1 << 16, [], []
    for sample in reversed(samples):
        for table, value, escapes in reversed(sample):
            symbol = value
            if escapes and table[value] == 0:
                symbol = len(table) - 1
                raw.append(value)
            frequency, start = table[symbol], sum(table[:symbol])
            if x >> 18 >= frequency:
                words.append(x % 2**16)
                x >>= 16
            x = (x // frequency) * 2**14 + x % frequency + start
    return x.to_bytes(4, "little") + b"".join(word.to_bytes(2, "little") for word in reversed(words)) + bytes(raw)


def decode(tables: Sequence[Table], payload: bytes, samples: int) -> list[list[int]]:
    """ValueError or IndexError for a damaged payload."""
    return decode_symbols(lambda sample: (tables[len(sample)], True) if len(sample) < len(tables) else None, payload, samples)


def decode_symbols(
    following: Callable[[Sequence[int]], tuple[Table, bool] | None], payload: bytes, samples: int
) -> list[list[int]]:
    """`following`: by a sample's symbols so far, the next one's table and whether it ends in an escape; None at the end."""
    x, front, back = int.from_bytes(payload[:4], "little"), 4, len(payload)
    if x < 2**16:
        raise ValueError("state")
    found = []
    for _ in range(samples):
        sample: list[int] = []
        while (step := following(sample)) is not None:
            table, escapes = step
            slot, symbol, start = x % 2**14, 0, 0
            while slot >= start + table[symbol]:
                start += table[symbol]
                symbol += 1
            x = table[symbol] * (x >> 14) + slot - start
            if x < 2**16:
                x = x << 16 | payload[front] | payload[front + 1] << 8
                front += 2
            if escapes and symbol == len(table) - 1:
                back -= 1
                symbol = payload[back]
                if symbol >= len(table) - 1 or table[symbol]:
                    raise ValueError("raw value")
            sample.append(symbol)
        found.append(sample)
    if x != 2**16 or front != back:
        raise ValueError("end")
    return found


@st.composite
def frequency_tables(draw: st.DrawFn) -> FrequencyTables:
    """1 to 4 units of any width; some escape everything, some have one code of nearly all slots."""
    bits = draw(st.sampled_from(CODE_BITS))
    frequencies = np.zeros((draw(st.integers(1, 4)), 2**bits + 1), np.uint16)
    for row in frequencies:
        known = draw(st.lists(st.integers(0, 2**bits - 1), max_size=20, unique=True))
        cuts = draw(st.sets(st.integers(1, SUM - 1), min_size=len(known), max_size=len(known)))
        row[[*known, 2**bits]] = np.diff([0, *sorted(cuts), SUM])
    return FrequencyTables(bits, frequencies)


@st.composite
def frames_of(draw: st.DrawFn, tables: FrequencyTables) -> list[np.ndarray]:
    """Up to 6 frames of 0 to 40 samples: all escaped, as frequent as expected, or any codes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(("expected", "any", "escaped")))
    frames = []
    for samples in draw(st.lists(st.integers(0, 40), max_size=6)):
        drawn = [_codes(rng, row[:-1].astype(np.float64), samples, kind) for row in tables.frequencies]
        frames.append(np.stack(drawn, axis=1).astype(np.uint8))
    return frames


def _codes(rng: np.random.Generator, frequencies: np.ndarray, samples: int, kind: str) -> np.ndarray:
    chance = {"expected": frequencies, "any": np.ones(len(frequencies)), "escaped": (frequencies == 0) * 1.0}[kind]
    chance = chance if chance.any() else np.ones(len(frequencies))
    return rng.choice(len(frequencies), samples, p=chance / chance.sum())
