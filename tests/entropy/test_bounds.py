"""Limits hold to the value: the least bits of a sample, and the sizes that tables may have."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from tiedae.base.errors import FormatError, InputError
from tiedae.entropy.channels import COUNT, Links
from tiedae.entropy.classes import MOST_TABLES, ClassTables, read_tables
from tiedae.entropy.contexts import ALONE, ContextTree, _symbols
from tiedae.entropy.grid import restored
from tiedae.entropy.lanes import LaneReader
from tiedae.entropy.rans import SUM, decode, least_bits
from tiedae.entropy.residuals import ContextTables, ResidualCoder, _write
from tiedae.entropy.tables import FrequencyTables, allot

from .test_classes import example
from .test_residuals import golden_tables
from .test_tables import GOLDEN, cost, greedy, signed

MOST = 1 << 14


def least(frequency: int) -> float:
    """docs/reference/format.md, "Bounds"."""
    return math.log2(0.8 * (frequency + 4 * MOST) / (4 * frequency + 1))


def tables_of(*rows: dict[int, int]) -> FrequencyTables:
    """Tables of 4 bits with these frequencies; symbol 16 is the escape."""
    frequencies = np.zeros((len(rows), 17), np.uint16)
    for table, row in zip(frequencies, rows, strict=True):
        table[list(row)] = list(row.values())
    return FrequencyTables(4, frequencies)


SKEWED = tables_of({0: MOST - 1, 16: 1}, {7: 200, 15: 16_000, 16: 184}, {3: 84, 16: 16_300}, {15: 1, 16: MOST - 1})


def test_a_symbol_takes_the_least_bits_of_the_format() -> None:
    assert SUM == MOST
    frequencies = [1, 2, 3, 500, 8192, MOST - 1, MOST]
    np.testing.assert_allclose(least_bits(np.array([0, *frequencies])), [least(1), *map(least, frequencies)], rtol=1e-14)


def cheapest(row: list[int]) -> float:
    """An escape has a raw value of 8 bits behind it."""
    return min(*(least(each or 1) for each in row[:-1]), least(row[-1]) + 8)


def test_a_sample_takes_the_least_of_its_units() -> None:
    rows = SKEWED.frequencies.tolist()
    assert SKEWED.least_bits == pytest.approx(sum(map(cheapest, rows)), rel=1e-14)
    weights, scales = np.array([MOST - 100, 100], np.uint16), np.array([[0, 1], [2, 3]], np.uint8)
    classes = ClassTables(SKEWED, weights, np.zeros((2, 2), np.uint8), scales)
    expected = [least(int(w)) + sum(cheapest(rows[i]) for i in own) for w, own in zip(weights, scales.tolist(), strict=True)]
    assert classes.least_bits == pytest.approx(min(expected), rel=1e-14)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({0: 9000, 255: 7000, 256: 384}, least(9000)),
        ({0: 400, 255: 15_000, 256: 984}, least(15_000)),
        ({3: 10, 255: 10, 256: MOST - 20}, least(MOST - 20) + least(MOST >> 8)),
        ({3: 100, 256: MOST - 100}, least(100)),
    ],
)
def test_a_residual_takes_the_least_of_its_tables(row: dict[int, int], expected: float) -> None:
    frequencies = np.zeros((1, 257), np.uint16)
    frequencies[0, list(row)] = list(row.values())
    part = ContextTables(np.zeros(16, np.int16), ALONE, FrequencyTables(8, frequencies))
    assert part.least_bits == pytest.approx(expected, rel=1e-14)


def refusal(payload: bytes, count: int, decoded) -> str:
    with pytest.raises(FormatError) as found:
        decoded(payload, count)
    return str(found.value)


@pytest.mark.parametrize("size", [4, 40, 1000])
def test_more_samples_than_bytes_can_hold_are_refused_before_they_are_decoded(size: int) -> None:
    part = golden_tables("record")
    coder = ResidualCoder("record", (8,), "int16", part)
    for least_of_a_sample, decoded in (
        (SKEWED.least_bits, lambda payload, count: decode(SKEWED, [payload], [count])),
        (8 * part.least_bits, lambda payload, count: coder.decode([payload], [count], 0)),
    ):
        payload, most = b"\xff" * size, int(8 * size // least_of_a_sample)
        text = f"frame 0: damaged: {size} bytes cannot hold {most + 1} samples"
        assert refusal(payload, most + 1, decoded) == text
        assert "cannot hold" not in refusal(payload, most, decoded)
        assert "cannot hold" in refusal(payload, -1, decoded)


@pytest.mark.parametrize(("bound", "largest"), [(0, 255), (3, 36), (200, 1)])
def test_a_residual_beyond_the_range_of_samples_is_damage(bound: int, largest: int) -> None:
    """−largest…largest quanta of 2E + 1 reach every sample from every prediction."""
    whole = np.zeros((1, 257), np.uint16)
    whole[0, 256] = MOST
    coder = ResidualCoder("record", (1,), "uint8", ContextTables(np.zeros(16, np.int16), ALONE, FrequencyTables(8, whole)))
    for residual in (largest, -largest, largest + 1, -largest - 1):
        (payload,) = _write(coder.part, np.array([[residual]]), np.zeros((1, 1), np.int64))
        if abs(residual) <= largest:
            assert coder.decode([payload], [1], bound)[0].shape == (1, 1)
        else:
            assert refusal(payload, 1, lambda payload, n: coder.decode([payload], [n], bound)).endswith("that no sample has")


def class_tables(tables: int = 2, units: int = 2) -> ClassTables:
    rows = np.tile(example().family.frequencies[:1], (tables, 1))
    means = np.zeros((2, units), np.uint8)
    return ClassTables(FrequencyTables(4, rows), np.array([MOST - 1, 1], np.uint16), means, means)


def test_classes_have_at_most_255_tables_and_65535_units() -> None:
    assert class_tables(tables=MOST_TABLES).family.units == 255 and class_tables(units=65_535).units == 65_535
    with pytest.raises(InputError, match=r"^class tables: family: got 256 tables, must be 255 at most$"):
        class_tables(tables=256)
    with pytest.raises(InputError, match=r"^class tables: means: got 0 at most for 65536 units, must lie in"):
        class_tables(units=65_536)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (GOLDEN[:8] + GOLDEN[8:11], "2 units of 4 bits in 15 bytes"),
        (example().to_bytes()[:9], "2 units of 4 bits in 0 classes, 0 tables in 13 bytes"),
    ],
)
def test_tables_that_end_early_say_what_they_have(data: bytes, text: str) -> None:
    with pytest.raises(FormatError, match=rf"^m: damaged: {re.escape(text)}$"):
        read_tables(signed(data), "m")


def test_a_tree_without_nodes_asks_for_no_feature() -> None:
    assert ALONE.features == 0 and ALONE.leaves_of(np.zeros((1, 3), np.int8)).tolist() == [0, 0, 0]
    one = ContextTree(np.array([[0, 2, 128, 129]], np.int16))
    assert one.features == 1
    assert one.leaves_of(np.array([[1, 2, 3]], np.int8)).tolist() == [0, 1, 1]


def test_a_decoder_keeps_what_links_reach_and_what_a_channel_is_ahead() -> None:
    distances, lags = np.full((2, COUNT), 1, np.int8), np.full((2, COUNT), 5, np.uint8)
    distances[1] = -1
    links = Links(distances, lags, np.zeros((2, COUNT), np.int32))
    assert links.depth == 7  # a lag of 5 to a channel that is one step ahead, and the value itself
    assert Links(distances, np.where(distances > 0, lags, 0).astype(np.uint8), links.weights).depth == 6


def test_a_halving_is_of_the_whole_step() -> None:
    steps, base = np.array([-3.0, 0, 5]), np.array([10.0, 0, -1])
    assert restored(steps, base, 0.75, 0, "float64").tolist() == [5.5, 0, 6.5]
    assert restored(steps, base, 0.75, 3, "float64").tolist() == [10 - 3 * 1.5 / 8, 0, -1 + 5 * 1.5 / 8]


def test_streams_are_read_with_a_number_each() -> None:
    with pytest.raises(ValueError, match="zip"):
        LaneReader([b"\xff" * 4, b"\xff" * 4], [0])


@pytest.mark.parametrize("large", [3.0, 7.0, 40.0, 101.0])
def test_slots_that_are_left_go_to_those_that_gain_most(large: float) -> None:
    """Two symbols gain the same: where one slot is left, it is theirs and not that of the likeliest."""
    weights = [1.0, 1.0, large, 0.0]
    assert cost(weights, allot(np.array([weights]))[0].tolist()) == pytest.approx(greedy(weights), rel=1e-13)


def test_tables_have_at_most_65535_units() -> None:
    rows = np.zeros((65_536, 17), np.uint16)
    rows[:, 16] = MOST
    assert FrequencyTables(4, rows[1:]).units == 65_535
    for wrong in (rows, rows[:0]):
        with pytest.raises(InputError, match=r"must be uint16 \[units, 17\] of 1…65,535 units$"):
            FrequencyTables(4, wrong)


def test_a_table_without_an_escape_is_named() -> None:
    rows = np.zeros((3, 17), np.uint16)
    rows[:, 5], rows[:, 16] = MOST - 1, 1
    rows[2] = 0
    rows[2, 0] = MOST
    with pytest.raises(InputError, match=r"^tables: unit 2: the escape's frequency is 0, must be 1 or more$"):
        FrequencyTables(4, rows)


def test_symbols_of_contexts_rise_with_residuals_and_paths_say_yes_and_no() -> None:
    symbols = _symbols(np.array([-70_000, -100, -5, -1, 0, 1, 5, 100, 70_000])).astype(int)
    assert (np.diff(symbols) > 0).all() and (symbols + symbols[::-1] == 2 * symbols[4]).all()
    signs, yes = ContextTree(np.array([[0, 2, 1, 128], [1, 0, 129, 130]], np.int16))._paths
    assert signs.tolist() == [[1, 0], [-1, -1], [-1, 1]] and yes.ravel().tolist() == [1, 0, 1]
