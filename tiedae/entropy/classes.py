"""Frequency tables with classes: a sample's class says which table, and which mean, each unit has.

docs/reference/format.md, "Classes".

The encoder writes each sample under the class of the least cost, as vector quantization by entropy does (P. A. Chou,
T. Lookabaugh, R. M. Gray, "Entropy-constrained vector quantization", IEEE Trans. ASSP 37, 1989). Costs are integers, so that
every encoder chooses the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tiedae.base.errors import FormatError, InputError

from .rans import RAW_BITS, SLOT, SUM, SUM_BITS, least_bits, put, require_codes, take, with_raw_values, words_of
from .tables import (
    CODE_BITS,
    HEADER,
    MAGIC,
    FrequencyTables,
    opened,
    pack_numbers,
    pack_table,
    signed,
    unpack_numbers,
    unpack_tables,
)

VERSION = 2
MOST_CLASSES = 256
MOST_TABLES = 255
COST_BITS = 8
"""A cost is a number of bits times 2**COST_BITS."""
_TOGETHER = 512
"""Samples whose costs are summed together: they stay in a processor's cache."""


def costs_of(frequencies: np.ndarray) -> np.ndarray:
    """What symbols of these frequencies, 1…2¹⁴, cost, int64 in 1/256 bits: 14 bits less the binary logarithm, rounded up.

    By squaring, a bit of the logarithm at a time, in integers below 2³⁰ (J. C. Majithia, D. Levan, 1973).
    """
    whole = np.frexp(frequencies.astype(np.float64))[1].astype(np.int64) - 1
    mantissa, logarithm = frequencies.astype(np.int64) << SUM_BITS - whole, whole
    for _ in range(COST_BITS):
        mantissa = mantissa * mantissa >> SUM_BITS
        above = mantissa >> SUM_BITS + 1
        mantissa, logarithm = mantissa >> above, 2 * logarithm + above
    return (SUM_BITS << COST_BITS) - logarithm


@dataclass(frozen=True, eq=False)
class ClassTables:
    """A family of tables that classes and units share, and which of them each unit has in each class.

    `family`: tables of code − mean + 2**(bits − 1), modulo 2**bits. `frequencies`: of the classes, uint16 [classes], 1 or more
    each, 2¹⁴ in all. `means`: uint8 [classes, units] in 0…2**bits − 1. `scales`: the table of the family, uint8
    [classes, units]. Raises InputError for others.
    """

    family: FrequencyTables
    frequencies: np.ndarray
    means: np.ndarray
    scales: np.ndarray

    def __post_init__(self) -> None:
        found, tables = self.frequencies, self.family.units
        if found.dtype != np.uint16 or found.ndim != 1 or not 2 <= len(found) <= MOST_CLASSES:
            right = f"uint16 [classes] of 2…{MOST_CLASSES} classes"
            raise InputError(f"class tables: frequencies: got {found.dtype} {list(found.shape)}, must be {right}")
        if not found.all() or found.sum(dtype=np.int64) != SUM:
            got = f"{found.min()} or more that add up to {found.sum(dtype=np.int64)}"
            raise InputError(f"class tables: frequencies: got {got}, must be 1 or more that add up to {SUM}")
        if tables > MOST_TABLES:
            raise InputError(f"class tables: family: got {tables} tables, must be {MOST_TABLES} at most")
        for name, values, limit in (("means", self.means, self.family.escape), ("scales", self.scales, tables)):
            if values.dtype != np.uint8 or values.shape != self.means.shape or values.shape != (len(found), self.units):
                right = f"uint8 [{len(found)}, units]"
                raise InputError(f"class tables: {name}: got {values.dtype} {list(values.shape)}, must be {right}")
            if not 0 < self.units < 1 << 16 or values.max() >= limit:
                got = f"{values.max(initial=0)} at most for {self.units} units"
                raise InputError(f"class tables: {name}: got {got}, must lie in 0…{limit - 1} for 1…65,535 units")

    @property
    def bits(self) -> int:
        return self.family.bits

    @property
    def units(self) -> int:
        return self.means.shape[-1]

    @property
    def classes(self) -> int:
        return len(self.frequencies)

    @property
    def width(self) -> int:
        """Symbols of a sample: its class, then its units'."""
        return 1 + self.units

    @property
    def longest(self) -> int:
        """Bytes by which a sample lengthens a payload at most: a word of the class; of each unit, a word and a raw value."""
        return 2 + 3 * self.units

    @property
    def least_bits(self) -> float:
        tables = least_bits(self.family.frequencies)
        tables[:, -1] += RAW_BITS
        return float((least_bits(self.frequencies) + tables.min(axis=1)[self.scales].sum(axis=1)).min())

    @cached_property
    def costs(self) -> np.ndarray:
        """What each code of each unit costs in each class, in 1/256 bits, uint16 [units, 2**bits, classes]."""
        frequencies = self.family.frequencies
        escapes = costs_of(frequencies[:, -1:]) + (RAW_BITS << COST_BITS)
        tables = np.where(frequencies[:, :-1] > 0, costs_of(np.maximum(frequencies[:, :-1], 1)), escapes).astype(np.uint16)
        codes = np.arange(self.family.escape, dtype=np.uint8)[:, None]
        return np.stack(
            [tables[scales, self._centred(codes, means)] for scales, means in zip(self.scales.T, self.means.T, strict=True)]
        )

    def cheapest(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The class of the least cost of each sample, uint8 [samples], the lowest of equal ones; and its cost, int32."""
        classes, costs = np.empty(len(codes), np.uint8), np.empty(len(codes), np.int32)
        own = costs_of(self.frequencies).astype(np.int32)
        for start in range(0, len(codes), _TOGETHER):
            part = codes[start : start + _TOGETHER]
            total = np.tile(own, (len(part), 1))
            for unit, table in zip(part.T, self.costs, strict=True):
                total += table[unit]
            classes[start : start + _TOGETHER] = chosen = total.argmin(axis=1)
            costs[start : start + _TOGETHER] = total[np.arange(len(part)), chosen]
        return classes, costs

    def cross_entropy(self, codes: np.ndarray) -> float:
        """Bits that codes, uint8 [samples, units], cost under these tables: their classes, escapes and raw values included."""
        require_codes(codes, self.units, self.bits, "cross-entropy")
        classes = self.cheapest(codes)[0]
        of_codes = self.family.information[self.scales[classes], self._centred(codes, self.means[classes])]
        return float((SUM_BITS - np.log2(self.frequencies[classes])).sum() + of_codes.sum())

    def rows(self, codes: np.ndarray) -> tuple[np.ndarray, bytes]:
        classes = self.cheapest(codes)[0]
        symbols, scales = self._centred(codes, self.means[classes]).astype(np.uint16), self.scales[classes]
        escaped = self.family.frequencies[scales, symbols] == 0
        raw = symbols[escaped].astype(np.uint8).tobytes()
        symbols[escaped] = self.family.escape
        return np.concatenate([classes[:, None], symbols], axis=1, dtype=np.uint16), raw

    def encode_block(self, rows: np.ndarray, state: np.ndarray) -> list[bytes]:
        left = np.zeros(rows.shape, "<u2")
        leaves = np.zeros(rows.shape, bool)
        starts = np.cumsum(self.frequencies, dtype=np.int64) - self.frequencies
        for row, row_left, row_leaves in zip(rows[::-1], left[::-1], leaves[::-1], strict=True):
            scales = self.scales.T[:, row[0]]
            frequency, start = self.family.frequencies[scales, row[1:]].astype(np.int64), self.family.starts[scales, row[1:]]
            for unit in reversed(range(self.units)):
                put(state, frequency[unit], start[unit], row_left[1 + unit], row_leaves[1 + unit])
            put(state, self.frequencies[row[0]].astype(np.int64), starts[row[0]], row_left[0], row_leaves[0])
        return words_of(left, leaves)

    def decode_block(self, samples: int, words: np.ndarray, position: np.ndarray, state: np.ndarray) -> np.ndarray:
        found = np.empty((samples, self.width, len(state)), np.uint16)
        advance = np.empty((len(state), 2), np.uint32)
        frequency, offset = advance.T
        classes, of_class, of_family = *self._class_slots, self.family.advances.reshape(-1, 2)
        rows = self.scales.T.astype(np.int64) << SUM_BITS
        symbols = self.family.symbols.ravel()
        for row in found:
            slot = state & SLOT
            classes.take(slot, None, row[0], "clip")
            of_class.take(slot, 0, advance, "clip")
            take(state, frequency, offset, words, position)
            for unit, at in zip(row[1:], rows[:, row[0]], strict=True):
                at |= state & SLOT
                symbols.take(at, None, unit, "clip")
                of_family.take(at, 0, advance, "clip")
                take(state, frequency, offset, words, position)
        return found

    def codes(self, symbols: np.ndarray, payload: bytes, consumed: int) -> np.ndarray:
        classes = symbols[:, 0]
        centred = with_raw_values(self.family.frequencies, self.scales[classes], symbols[:, 1:], payload, consumed)
        return self._centred(centred, -self.means[classes])  # half of all codes, added twice, is none

    @cached_property
    def _class_slots(self) -> tuple[np.ndarray, np.ndarray]:
        """The class of each slot, uint16 [2¹⁴], and what decoding it does to a state, as `FrequencyTables.advances`."""
        classes = np.repeat(np.arange(self.classes, dtype=np.uint16), self.frequencies)
        starts = np.cumsum(self.frequencies, dtype=np.int64) - self.frequencies
        advances = np.stack([self.frequencies[classes], np.arange(SUM) - starts[classes]], axis=-1)
        return classes, advances.astype(np.uint32)

    def _centred(self, codes: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Codes, uint8, as the family's tables have them: their mean in the middle."""
        return codes - means + np.uint8(self.family.escape // 2) & np.uint8(self.family.escape - 1)

    def to_bytes(self) -> bytes:
        """The content of `NAME.codec`, equal for equal tables."""
        head = HEADER.pack(MAGIC, VERSION, self.bits, self.units) + bytes((self.classes - 1, self.family.units))
        tables = b"".join(map(pack_table, self.family.frequencies[:, :-1]))
        return signed(head + tables + pack_numbers(self.frequencies) + self.means.tobytes() + self.scales.tobytes())

    @classmethod
    def from_bytes(cls, data: bytes, source: object) -> ClassTables:
        """The tables that `to_bytes` wrote; FormatError, which starts with `source`, for anything else."""
        body, bits, units = opened(data, HEADER, MAGIC, VERSION, "frequency tables", source)
        classes, tables = (body[HEADER.size] + 1, body[HEADER.size + 1]) if len(body) > HEADER.size + 1 else (0, 0)
        count, begin = classes * units, HEADER.size + 2
        what = f"{units} units of {bits} bits in {classes} classes, {tables} tables"
        if bits not in CODE_BITS or not count or len(body) - begin < 2 * tables + classes + 2 * count:
            raise FormatError(f"{source}: damaged: {what} in {len(data)} bytes")
        try:
            family, at = unpack_tables(body, begin, tables, 1 << bits)
            frequencies, at = unpack_numbers(body, at, classes)
            means, scales = (
                np.frombuffer(body[start : start + count], np.uint8).reshape(classes, units) for start in (at, at + count)
            )
            found = cls(FrequencyTables(bits, family), np.array(frequencies, np.uint16), means, scales)
        except (InputError, IndexError, ValueError):
            raise FormatError(f"{source}: damaged: it does not hold {what}") from None
        if found.to_bytes() != data:
            raise FormatError(f"{source}: damaged: not the shortest bytes of its frequencies")
        return found


CodeTables = FrequencyTables | ClassTables
"""What codes are coded under, without classes or with."""
_KINDS: dict[int, type[FrequencyTables] | type[ClassTables]] = {1: FrequencyTables, VERSION: ClassTables}


def read_tables(data: bytes, source: object) -> CodeTables:
    """The tables of NAME.codec, of either version; FormatError, which starts with `source`, for anything else."""
    version = data[len(MAGIC)] if len(data) > len(MAGIC) and data[: len(MAGIC)] == MAGIC else 1
    if version not in _KINDS:
        raise FormatError(f"{source}: frequency tables of version {version}, this tiedae reads versions 1 and {VERSION}")
    return _KINDS[version].from_bytes(data, source)
