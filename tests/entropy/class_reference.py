"""The entropy stage with classes as docs/reference/format.md states it, a symbol at a time, and tables with classes to try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tiedae.entropy.classes import ClassTables
from tiedae.entropy.tables import SUM

from .reference import Table, decode_symbols, encode_symbols, frequency_tables


class Classes(NamedTuple):
    """Version 2 of NAME.codec: tables of the family, frequencies of the classes, mean and table of each unit by class."""

    family: Sequence[Table]
    frequencies: Sequence[int]
    means: Sequence[Sequence[int]]
    scales: Sequence[Sequence[int]]

    @classmethod
    def of(cls, tables: ClassTables) -> Classes:
        return cls(*(each.tolist() for each in (tables.family.frequencies, tables.frequencies, tables.means, tables.scales)))

    def tables(self, k: int) -> list[Table]:
        """Those of a sample of class k: of the class, which has no escape, then of its units."""
        return [self.frequencies, *(self.family[scale] for scale in self.scales[k])]

    def symbols(self, k: int, codes: Sequence[int]) -> list[int]:
        count = len(self.family[0]) - 1
        return [(code - mean + count // 2) % count for code, mean in zip(codes, self.means[k], strict=True)]

    def cost(self, k: int, codes: Sequence[int]) -> int:
        total = cost(self.frequencies[k])
        for scale, symbol in zip(self.scales[k], self.symbols(k, codes), strict=True):
            table = self.family[scale]
            total += cost(table[symbol]) if table[symbol] else cost(table[-1]) + 8 * 256
        return total

    def choice(self, codes: Sequence[int]) -> int:
        costs = [self.cost(k, codes) for k in range(len(self.frequencies))]
        return costs.index(min(costs))


def cost(frequency: int) -> int:
    n = frequency.bit_length() - 1
    y, logarithm = frequency * 2 ** (14 - n), n
    for _ in range(8):
        y, logarithm = y * y >> 14, 2 * logarithm
        if y >= 2**15:
            y, logarithm = y >> 1, logarithm + 1
    return 14 * 256 - logarithm


def encode(classes: Classes, codes: Sequence[Sequence[int]], chosen: Sequence[int] | None = None) -> bytes:
    """`chosen`: the classes, by default the cheapest."""
    chosen = [classes.choice(sample) for sample in codes] if chosen is None else chosen
    return encode_symbols(
        [
            [(classes.frequencies, k, False), *((table, symbol, True) for table, symbol in zip(tables, symbols, strict=True))]
            for k, sample in zip(chosen, codes, strict=True)
            for tables, symbols in [(classes.tables(k)[1:], classes.symbols(k, sample))]
        ]
    )


def decode(classes: Classes, payload: bytes, samples: int) -> list[list[int]]:
    """ValueError or IndexError for a damaged payload."""
    count = len(classes.family[0]) - 1

    def following(sample: Sequence[int]) -> tuple[Table, bool] | None:
        if not sample:
            return classes.frequencies, False
        unit = len(sample) - 1
        return (classes.family[classes.scales[sample[0]][unit]], True) if unit < len(classes.means[0]) else None

    return [
        [(symbol + mean + count // 2) % count for symbol, mean in zip(symbols, classes.means[k], strict=True)]
        for k, *symbols in decode_symbols(following, payload, samples)
    ]


@st.composite
def class_tables(draw: st.DrawFn) -> ClassTables:
    """2 to 5 or 256 classes of 1 to 4 units over 1 to 4 tables, any means."""
    family = draw(frequency_tables())
    classes, units = draw(st.sampled_from((2, 3, 5, 256))), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cuts = np.sort(rng.choice(SUM - 1, classes - 1, replace=False)) + 1
    frequencies = np.diff([0, *cuts.tolist(), SUM]).astype(np.uint16)
    means = rng.integers(0, family.escape, (classes, units), np.uint8)
    return ClassTables(family, frequencies, means, rng.integers(0, family.units, (classes, units), np.uint8))


@st.composite
def class_frames_of(draw: st.DrawFn, tables: ClassTables) -> list[np.ndarray]:
    """Up to 6 frames of 0 to 20 samples: near the means of classes, or any codes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from((0, 2, tables.family.escape)))
    frames = []
    for samples in draw(st.lists(st.integers(0, 20), max_size=6)):
        around = tables.means[rng.integers(0, tables.classes, samples)].astype(np.int64)
        frames.append(((around + rng.integers(-spread, spread + 1, around.shape)) % tables.family.escape).astype(np.uint8))
    return frames
