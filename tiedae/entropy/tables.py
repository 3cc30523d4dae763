"""Static frequency tables, one per code unit: what the entropy stage codes with (docs/reference/format.md)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from tiedae.base.errors import DataError, FormatError, InputError

from .rans import RAW_BITS, SLOT, SUM, SUM_BITS, least_bits, put, require_codes, take, with_raw_values, words_of

CODE_BITS = range(4, 9)

MAGIC = b"TAEC"
VERSION = 1
HEADER = struct.Struct("<4sBBH")
_CHECKSUM = struct.Struct("<I")
_PROGRAM, _DIGEST_SIZE = b"TAEM", 32
"""What stands before the sha256 of a program, and its bytes."""
_NO_CODES = (1, 0)
"""First and last code of a unit that escapes every code."""
_WIDTHS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Standard deviations that `fit` chooses among, in codes."""


@dataclass(frozen=True, eq=False)
class FrequencyTables:
    """How often each code of each unit is expected, in parts of 2¹⁴.

    `bits`: of a code, 4…8. `frequencies`: uint16 [units, 2**bits + 1], the last column the escape's, 1 or more. Each row adds
    up to 2¹⁴. A code of frequency 0 is written as the escape and its raw value. Raises InputError for other frequencies.
    """

    bits: int
    frequencies: np.ndarray

    def __post_init__(self) -> None:
        found = self.frequencies
        if self.bits not in CODE_BITS:
            raise InputError(f"tables: bits: got {self.bits!r}, must lie in {CODE_BITS[0]}…{CODE_BITS[-1]}")
        if found.dtype != np.uint16 or found.shape != (len(found), self.escape + 1) or not 0 < len(found) < 1 << 16:
            right = f"uint16 [units, {self.escape + 1}] of 1…65,535 units"
            raise InputError(f"tables: frequencies: got {found.dtype} {list(found.shape)}, must be {right}")
        sums = found.sum(axis=1, dtype=np.int64)
        if (sums != SUM).any():
            unit = int((sums != SUM).argmax())
            raise InputError(f"tables: unit {unit}: frequencies add up to {sums[unit]}, must be {SUM}")
        if not found[:, -1].all():
            raise InputError(f"tables: unit {int(found[:, -1].argmin())}: the escape's frequency is 0, must be 1 or more")

    @property
    def units(self) -> int:
        return len(self.frequencies)

    @property
    def width(self) -> int:
        """Symbols of a sample."""
        return self.units

    @property
    def classes(self) -> int:
        """One, that of all samples."""
        return 1

    @property
    def longest(self) -> int:
        """Bytes by which a sample lengthens a payload at most: of each unit, a word and a raw value."""
        return 3 * self.units

    @property
    def escape(self) -> int:
        """The symbol behind the last code, 2**bits."""
        return 1 << self.bits

    @cached_property
    def starts(self) -> np.ndarray:
        """The sum of the frequencies before each symbol, int64 [units, symbols]: its first slot."""
        return np.cumsum(self.frequencies, axis=1, dtype=np.int64) - self.frequencies

    @cached_property
    def symbols(self) -> np.ndarray:
        """The symbol of each slot, uint16 [units, 2¹⁴]."""
        numbers = np.arange(self.escape + 1, dtype=np.uint16)
        return np.stack([np.repeat(numbers, row) for row in self.frequencies])

    @cached_property
    def advances(self) -> np.ndarray:
        """What decoding a slot does to a state, x ← frequency · (x >> 14) + offset: uint32 [units, 2¹⁴, 2], both per slot."""
        units = np.arange(self.units)[:, None]
        offsets = np.arange(SUM) - self.starts[units, self.symbols]
        return np.stack([self.frequencies[units, self.symbols], offsets], axis=-1, dtype=np.uint32, casting="unsafe")

    @cached_property
    def information(self) -> np.ndarray:
        """Bits that each code costs, float64 [units, 2**bits]; the raw value of an escape included."""
        codes, escapes = self.frequencies[:, :-1], self.frequencies[:, -1:]
        escaped = SUM_BITS - np.log2(escapes) + RAW_BITS
        return np.where(codes > 0, SUM_BITS - np.log2(np.maximum(codes, 1)), escaped)

    def cross_entropy(self, codes: np.ndarray) -> float:
        """Bits that codes, uint8 [samples, units], cost under these tables, escapes and their raw values included."""
        require_codes(codes, self.units, self.bits, "cross-entropy")
        return float(self.information[np.arange(self.units), codes].sum())

    @property
    def least_bits(self) -> float:
        found = least_bits(self.frequencies)
        found[:, -1] += RAW_BITS
        return float(found.min(axis=1).sum())

    def rows(self, codes: np.ndarray) -> tuple[np.ndarray, bytes]:
        return codes, codes[self.frequencies[np.arange(self.units), codes] == 0].tobytes()

    def encode_block(self, rows: np.ndarray, state: np.ndarray) -> list[bytes]:
        left = np.zeros(rows.shape, "<u2")
        leaves = np.zeros(rows.shape, bool)
        units = [
            (np.where(frequency == 0, self.escape, np.arange(len(frequency))), frequency, start)
            for frequency, start in zip(self.frequencies.astype(np.int64), self.starts, strict=True)
        ]
        for row, row_left, row_leaves in zip(rows[::-1], left[::-1], leaves[::-1], strict=True):
            for unit in reversed(range(self.units)):
                symbol_of, frequency_of, start_of = units[unit]
                symbol = symbol_of[row[unit]]
                put(state, frequency_of[symbol], start_of[symbol], row_left[unit], row_leaves[unit])
        return words_of(left, leaves)

    def decode_block(self, samples: int, words: np.ndarray, position: np.ndarray, state: np.ndarray) -> np.ndarray:
        slots = np.empty((samples, self.units, len(state)), np.uint16)
        advance = np.empty((len(state), 2), np.uint32)
        frequency, offset = advance.T
        for rows in slots:
            for row, advances in zip(rows, self.advances, strict=True):
                slot = state & SLOT
                row[:] = slot
                advances.take(slot, 0, advance, "clip")  # unlike "raise", it writes to `advance` without a copy
                take(state, frequency, offset, words, position)
        return self.symbols[np.arange(self.units)[:, None], slots]

    def codes(self, symbols: np.ndarray, payload: bytes, consumed: int) -> np.ndarray:
        return with_raw_values(self.frequencies, np.arange(self.units), symbols, payload, consumed)

    def to_bytes(self) -> bytes:
        """The content of `NAME.codec`, equal for equal tables."""
        head = HEADER.pack(MAGIC, VERSION, self.bits, self.units)
        return signed(head + b"".join(map(pack_table, self.frequencies[:, :-1])))

    @classmethod
    def from_bytes(cls, data: bytes, source: object) -> FrequencyTables:
        """The tables that `to_bytes` wrote; FormatError, which starts with `source`, for anything else."""
        body, bits, units = opened(data, HEADER, MAGIC, VERSION, "frequency tables", source)
        if bits not in CODE_BITS or len(body) - HEADER.size < units * len(_NO_CODES):
            raise FormatError(f"{source}: damaged: {units} units of {bits} bits in {len(data)} bytes")
        try:
            tables = cls(bits, unpack_tables(body, HEADER.size, units, 1 << bits)[0])
        except (InputError, IndexError):
            raise FormatError(f"{source}: damaged: its frequencies are not those of {units} units of {bits} bits") from None
        if tables.to_bytes() != data:
            raise FormatError(f"{source}: damaged: not the shortest bytes of its frequencies")
        return tables


def opened(data: bytes, header: struct.Struct, magic: bytes, version: int, what: str, source: object) -> tuple[Any, ...]:
    """All but the checksum of a file that `signed` made, and the fields of its header behind magic and version.

    `what`: the file's kind, in words. FormatError, which starts with `source`, for others.
    """
    if data[: len(magic)] != magic or len(data) < header.size + _CHECKSUM.size:
        raise FormatError(f"{source}: not a file of {what}")
    _, found, *fields = header.unpack_from(data)
    if found != version:
        raise FormatError(f"{source}: {what} of version {found}, this tiedae reads version {version}")
    body = data[: -_CHECKSUM.size]
    if signed(body) != data:
        raise FormatError(f"{source}: damaged: the checksum is not that of its bytes")
    return body, *fields


def signed(body: bytes) -> bytes:
    """These bytes and their checksum."""
    return body + _CHECKSUM.pack(zlib.crc32(body))


def made_for(data: bytes, program: str) -> bytes:
    """The content of a file of tables, and the program that they were made for, by its sha256 in hexadecimal digits."""
    return data + _PROGRAM + bytes.fromhex(program)


def without_program(data: bytes) -> tuple[bytes, str]:
    """What `made_for` was given; the program is "" of a file that names none."""
    at = len(data) - len(_PROGRAM) - _DIGEST_SIZE
    if at < 0 or data[at : at + len(_PROGRAM)] != _PROGRAM:
        return data, ""
    return data[:at], data[at + len(_PROGRAM) :].hex()


def pack_table(frequencies: np.ndarray) -> bytes:
    """The bytes of a table's frequencies of codes, uint16 [codes]."""
    used = np.flatnonzero(frequencies).tolist()
    first, last = (used[0], used[-1]) if used else _NO_CODES
    return bytes((first, last)) + pack_numbers(frequencies[first : last + 1])


def pack_numbers(numbers: np.ndarray) -> bytes:
    """Numbers below 2¹⁴ in one or two bytes each."""
    return b"".join(bytes((n,) if n < 128 else (n & 127 | 128, n >> 7)) for n in numbers.tolist())


def unpack_numbers(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """What `pack_numbers` wrote at a place, `SUM` at most, and where it ends; IndexError where the bytes end early."""
    numbers = []
    for _ in range(count):
        low = data[at]
        numbers.append(min(low if low < 128 else low & 127 | data[at + 1] << 7, SUM))
        at += 1 if low < 128 else 2
    return numbers, at


def unpack_tables(data: bytes, at: int, count: int, codes: int) -> tuple[np.ndarray, int]:
    """Frequencies, uint16 [tables, codes + 1], of tables at a place, and where they end; IndexError where the bytes end early
    or name a code that is none."""
    frequencies = np.zeros((count, codes + 1), np.uint16)
    for row in frequencies:
        first, last = data[at], data[at + 1]
        if last >= codes:
            raise IndexError("code")
        numbers, at = unpack_numbers(data, at + 2, max(0, last + 1 - first))
        row[first : first + len(numbers)] = numbers
        row[codes] = max(SUM - int(row.sum(dtype=np.int64)), 0)
    return frequencies, at


def require_training(codes: np.ndarray, bits: int) -> None:
    """Raise DataError unless these are training codes: uint8 [samples, units] in 0…2**bits − 1, one or more."""
    if codes.ndim != 2 or codes.dtype != np.uint8 or not codes.size or codes.max() >> bits:
        most = f", at most {codes.max()}" if codes.size else ""
        raise DataError(
            f"training codes: got {codes.dtype} {list(codes.shape)}{most}, must be uint8 [samples, units] in 0…{2**bits - 1}"
        )


def fit(codes: np.ndarray, bits: int = 8) -> FrequencyTables:
    """Tables for codes like these training codes, uint8 [samples, units] of `bits` bits.

    Each unit's histogram is smoothed by the Gaussian under which the codes, each left out in turn, are likeliest
    (likelihood cross-validation: Habbema et al. 1974, Duin 1976); the escape counts as one code more. Of the integers that add
    up to 2¹⁴, the frequencies are those of the least cross-entropy.

    Raises DataError without a sample, or for codes of another dtype, shape or range.
    """
    require_training(codes, bits)
    return fit_counts(np.stack([np.bincount(unit, minlength=1 << bits) for unit in codes.T]), bits)


def fit_counts(counts: np.ndarray, bits: int) -> FrequencyTables:
    """The same from histograms, integers [tables, 2**bits] of one training code or more each."""
    samples = counts.sum(axis=1, keepdims=True)
    expected = _smoothed(counts.astype(np.float64), samples)
    # Without a frequency a code costs RAW_BITS more; the slot that it would have is worth log2(e) bits per SUM codes.
    rare = expected * RAW_BITS * SUM < samples * np.log2(np.e)
    escapes = np.where(rare, expected, 0.0).sum(axis=1, keepdims=True) + samples / (samples + 1)
    return FrequencyTables(bits, allot(np.concatenate([np.where(rare, 0.0, expected), escapes], axis=1)))


@cache
def _kernels(codes: int) -> tuple[np.ndarray, ...]:
    """For each of `_WIDTHS`: the weight of one code for another, float64 [codes, codes], rows that add up to 1."""
    distances = np.abs(np.subtract.outer(np.arange(codes), np.arange(codes)))
    kernels = [np.exp(-0.5 * np.square(distances / width)) if width else (distances == 0) * 1.0 for width in _WIDTHS]
    return tuple(kernel / kernel.sum(axis=1, keepdims=True) for kernel in kernels)


def _smoothed(counts: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Expected counts, float64 [tables, codes], by the likeliest of `_WIDTHS` for each; `samples`: of each, [tables, 1]."""
    unseen = 1 / (samples + 1)
    best, likelihood = counts, np.full((len(counts), 1), -np.inf)
    tables, codes = seen = counts.nonzero()
    weights, blank, rest = counts[seen], unseen[tables, 0], np.maximum(samples - 1, 1)[tables, 0]
    terms = np.zeros(counts.shape)
    for kernel in _kernels(counts.shape[1]):
        expected = counts @ kernel
        others = np.maximum(expected[seen] - kernel.diagonal()[codes], 0.0) / rest
        terms[seen] = weights * np.log((1 - blank) * others + blank / counts.shape[1])
        found = terms.sum(axis=1, keepdims=True)
        best, likelihood = np.where(found > likelihood, expected, best), np.maximum(found, likelihood)
    return best


def allot(weights: np.ndarray) -> np.ndarray:
    """Frequencies, uint16, of least cross-entropy for weights, float64 [units, symbols], of which each unit has one above 0;
    1 or more where a weight is not 0.

    The cost −Σ w·log f is separable and convex. So the optimum gives each slot in turn to the symbol that gains most by it,
    w·log(1 + 1/f). Bisection finds the gain down to which all symbols are served; ties share the slots that are left.
    """
    used = weights > 0
    rows, own = used.nonzero()[0], weights[used]
    begins = np.searchsorted(rows, np.arange(len(weights)))

    def served(gain: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(np.ceil(1 / np.expm1(gain[rows] / own)), 1), SUM)

    high = weights.sum(axis=1)
    low = high / (2 * SUM)
    frequencies = np.zeros(weights.shape, np.int64)
    with np.errstate(divide="ignore", over="ignore"):
        for _ in range(60):
            middle = (low + high) / 2
            fits = np.add.reduceat(served(middle), begins) <= SUM
            low, high = np.where(fits, low, middle), np.where(fits, middle, high)
        frequencies[used] = served(high)
    left = SUM - frequencies.sum(axis=1, keepdims=True)
    gains = weights * np.log1p(1 / np.maximum(frequencies, 1))
    frequencies += (-gains).argsort(axis=1, kind="stable").argsort(axis=1) < left
    return frequencies.astype(np.uint16)
