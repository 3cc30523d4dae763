"""Frequency tables: the best integers for their weights, good for codes not seen in training, and bytes that hold them."""

from __future__ import annotations

import heapq
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.entropy.classes import CodeTables, read_tables
from tiedae.entropy.tables import _WIDTHS, CODE_BITS, SUM, FrequencyTables, _smoothed, allot, fit

from .class_reference import class_tables
from .reference import frequency_tables

FORMAT = Path(__file__).parents[2] / "docs/reference/format.md"
GOLDEN = bytes.fromhex("54414543 01 04 0200 07 09 8020 8040 a01f 00 00 ff7f 56241e4f")
"""The example of docs/reference/format.md. It holds the format: files of these bytes exist."""


def signed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def greedy(weights: list[float]) -> float:
    """The least −Σ w·log2(f / sum): each slot goes to the symbol that gains most."""
    frequencies = [1 if weight else 0 for weight in weights]

    def gain(i: int) -> tuple[float, int]:
        return -weights[i] * np.log1p(1 / frequencies[i]), i

    queue = [gain(i) for i, weight in enumerate(weights) if weight]
    heapq.heapify(queue)
    for _ in range(SUM - sum(frequencies)):
        i = queue[0][1]
        frequencies[i] += 1
        heapq.heapreplace(queue, gain(i))
    return cost(weights, frequencies)


def cost(weights: list[float], frequencies: list[int]) -> float:
    return sum(w * (14 - np.log2(f)) for w, f in zip(weights, frequencies, strict=True) if w)


WEIGHTS = st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1e6), st.integers(1, 5).map(float)), min_size=2, max_size=257)


@given(WEIGHTS.filter(any))
def test_frequencies_cost_as_little_as_any(weights: list[float]) -> None:
    frequencies = allot(np.array([weights, weights[::-1]]))
    assert frequencies.dtype == np.uint16
    assert frequencies.sum(axis=1, dtype=np.int64).tolist() == [SUM, SUM]
    assert ((frequencies > 0) == (np.array([weights, weights[::-1]]) > 0)).all()
    best = greedy(weights)
    assert cost(weights, frequencies[0].tolist()) == pytest.approx(best, rel=1e-12)
    assert cost(weights[::-1], frequencies[1].tolist()) == pytest.approx(best, rel=1e-12)


def test_golden_bytes() -> None:
    tables = FrequencyTables.from_bytes(GOLDEN, "demo.codec")
    assert (tables.bits, tables.units, tables.escape) == (4, 2, 16)
    assert {i: n for i, n in enumerate(tables.frequencies[0].tolist()) if n} == {7: 4096, 8: 8192, 9: 4000, 16: 96}
    assert {i: n for i, n in enumerate(tables.frequencies[1].tolist()) if n} == {0: 16383, 16: 1}
    assert tables.to_bytes() == GOLDEN


def test_the_example_of_the_document_is_true() -> None:
    text = FORMAT.read_text(encoding="utf-8").partition("Two units of 4 bits:")[2].partition("##")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert bytes.fromhex("".join(cells).replace("`", "")) == GOLDEN


@given(frequency_tables())
def test_bytes_hold_the_tables(tables: FrequencyTables) -> None:
    data = tables.to_bytes()
    found = FrequencyTables.from_bytes(data, "demo.codec")
    assert found.bits == tables.bits
    np.testing.assert_array_equal(found.frequencies, tables.frequencies)
    assert found.frequencies.dtype == np.uint16


EITHER = st.one_of(frequency_tables(), class_tables())


@given(EITHER, st.data())
def test_damaged_bytes_are_refused(tables: CodeTables, data: st.DataObject) -> None:
    written = tables.to_bytes()
    at = data.draw(st.integers(0, len(written) - 1))
    flipped = written[:at] + bytes((written[at] ^ data.draw(st.integers(1, 255)),)) + written[at + 1 :]
    for damaged in (written[:at], flipped, written + b"\0"):
        with pytest.raises(FormatError, match=r"^demo\.codec: ") as caught:
            read_tables(damaged, "demo.codec")
        assert "\n" not in str(caught.value)


@given(EITHER, st.data())
def test_bytes_with_the_right_checksum_are_refused_or_hold_tables(tables: CodeTables, data: st.DataObject) -> None:
    body = bytearray(tables.to_bytes()[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(4, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        body.extend(bytes(max(0, 8 - len(body))))
    written = signed(bytes(body))
    try:
        found = read_tables(written, "demo.codec")
    except FormatError as error:
        assert "\n" not in str(error)
    else:
        assert found.to_bytes() == written


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a file of frequency tables"),
        (b"PK\3\4" + GOLDEN[4:], "not a file of frequency tables"),
        (GOLDEN[:11], "not a file of frequency tables"),
        (signed(GOLDEN[:4] + b"\2" + GOLDEN[5:-4]), "frequency tables of version 2, this tiedae reads version 1"),
        (GOLDEN[:-1], "damaged: the checksum is not that of its bytes"),
        (signed(GOLDEN[:5] + b"\11" + GOLDEN[6:-4]), "damaged: 2 units of 9 bits in 24 bytes"),
        (signed(GOLDEN[:6] + b"\xff\xff" + GOLDEN[8:-4]), "damaged: 65535 units of 4 bits in 24 bytes"),
        (signed(GOLDEN[:6] + b"\0\0"), "damaged: its frequencies are not those of 0 units of 4 bits"),
        (signed(GOLDEN[:9] + b"\20" + GOLDEN[10:-4]), "damaged: its frequencies are not those of 2 units of 4 bits"),
        (signed(GOLDEN[:-5] + b"\xff"), "damaged: its frequencies are not those of 2 units of 4 bits"),
        (signed(GOLDEN[:-6] + b"\x81\0"), "damaged: not the shortest bytes of its frequencies"),
        (signed(GOLDEN[:-4] + b"\0"), "damaged: not the shortest bytes of its frequencies"),
    ],
)
def test_damage_is_said_in_one_line(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        FrequencyTables.from_bytes(data, "demo.codec")
    assert str(caught.value) == f"demo.codec: {problem}"


@pytest.mark.parametrize("bits", CODE_BITS)
def test_cross_entropy_counts_codes_and_escapes(bits: int) -> None:
    frequencies = np.zeros((1, 2**bits + 1), np.uint16)
    frequencies[0, [3, 5, -1]] = SUM // 2, SUM // 4, SUM // 4
    tables = FrequencyTables(bits, frequencies)
    assert tables.cross_entropy(np.array([[3], [5], [7]], np.uint8)) == 1 + 2 + (2 + 8)
    assert tables.cross_entropy(np.empty((0, 1), np.uint8)) == 0
    with pytest.raises(DataError, match=r"codes must be uint8 \[samples, 1\]"):
        tables.cross_entropy(np.zeros((4, 2), np.uint8))


def test_histograms_are_smoothed_by_the_width_under_which_codes_left_out_are_likeliest() -> None:
    """Against sums over single codes: the first histogram is narrow, the second wide, the third of one code."""
    codes = range(16)
    counts = np.array([[0, 0, 9, 40, 11, *[0] * 11], np.arange(3, 19), [0, 1, *[0] * 14]])
    found = _smoothed(counts.astype(np.float64), counts.sum(axis=1, keepdims=True))
    chosen = []
    for histogram, smoothed in zip(counts.tolist(), found, strict=True):
        total, best = sum(histogram), (-np.inf, 0.0, np.zeros(16))
        for width in _WIDTHS:
            weights = [[np.exp(-(((a - b) / width) ** 2) / 2) if width else float(a == b) for b in codes] for a in codes]
            rows = [[weight / sum(row) for weight in row] for row in weights]
            expected = [sum(histogram[a] * rows[a][b] for a in codes) for b in codes]
            left_out = [max(expected[b] - rows[b][b], 0) / max(total - 1, 1) for b in codes]
            mixed = [(1 - 1 / (total + 1)) * p + 1 / (total + 1) / 16 for p in left_out]
            likelihood = sum(n * np.log(p) for n, p in zip(histogram, mixed, strict=True))
            if likelihood > best[0]:
                best = likelihood, width, np.array(expected)
        chosen.append(best[1])
        np.testing.assert_allclose(smoothed, best[2], atol=1e-9)
    assert len(set(chosen[:2])) == 2


def test_few_training_codes_give_tables_for_others() -> None:
    """300 codes of about 90 values: their histogram alone costs a quarter more than the distribution they come from."""
    rng = np.random.default_rng(0)
    codes = np.clip(np.rint(rng.normal(128, 25, (20_300, 1))), 0, 255).astype(np.uint8)
    train, test = codes[:300], codes[300:]
    counts = np.bincount(train[:, 0], minlength=257).astype(np.float64)[None]
    counts[0, -1] = 1
    plain = FrequencyTables(8, allot(counts)).cross_entropy(test)
    entropy = np.log2(25 * np.sqrt(2 * np.pi * np.e)) * len(test)
    assert fit(train).cross_entropy(test) < 1.01 * entropy
    assert plain > 1.1 * entropy


@pytest.mark.parametrize("samples", [200, 20_000, 400_000])
def test_rare_codes_share_the_escape_where_that_costs_less(samples: int) -> None:
    """Codes with gaps, which no smoothing helps: no number of the rarest codes in the escape saves 2 bits more."""
    codes = np.minimum(np.random.default_rng(1).geometric(0.1, (samples, 1)) * 2, 254).astype(np.uint8)
    counts = np.bincount(codes[:, 0], minlength=257).astype(np.float64)
    rarest = np.argsort(counts[:-1], kind="stable")
    costs = []
    for k in range(np.count_nonzero(counts[:-1] == 0), 256):
        weights = counts.copy()
        weights[256] = max(weights[rarest[:k]].sum(), 1e-9)
        weights[rarest[:k]] = 0
        costs.append(FrequencyTables(8, allot(weights[None])).cross_entropy(codes))
    assert fit(codes).cross_entropy(codes) <= min(costs) + 2


@pytest.mark.parametrize("bits", CODE_BITS)
def test_constant_codes_cost_next_to_nothing(bits: int) -> None:
    codes = np.full((1000, 2), 2**bits - 1, np.uint8)
    assert fit(codes, bits).cross_entropy(codes) / codes.size < 0.002
    assert fit(codes[:1], bits).cross_entropy(np.zeros((1, 2), np.uint8)) < 2 * (14 + 8)


@pytest.mark.parametrize(
    ("codes", "bits", "problem"),
    [
        (np.empty((0, 3), np.uint8), 8, r"got uint8 \[0, 3\], must be uint8 \[samples, units\] in 0…255"),
        (np.zeros((2, 3), np.float32), 8, r"got float32 \[2, 3\]"),
        (np.zeros(3, np.uint8), 8, r"got uint8 \[3\]"),
        (np.full((2, 3), 16, np.uint8), 4, r"at most 16, must be uint8 \[samples, units\] in 0…15"),
    ],
)
def test_other_training_codes_are_refused(codes: np.ndarray, bits: int, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        fit(codes, bits)


@pytest.mark.parametrize(
    ("bits", "frequencies", "problem"),
    [
        (3, np.zeros((1, 9), np.uint16), "bits: got 3, must lie in 4…8"),
        (4, np.zeros((1, 17), np.int64), r"got int64 \[1, 17\], must be uint16 \[units, 17\]"),
        (4, np.zeros((1, 16), np.uint16), r"got uint16 \[1, 16\]"),
        (4, np.zeros((0, 17), np.uint16), r"of 1…65,535 units"),
        (4, np.full((1, 17), SUM // 17, np.uint16), "unit 0: frequencies add up to 16371, must be 16384"),
        (4, np.array([[SUM, *[0] * 16]], np.uint16), "unit 0: the escape's frequency is 0, must be 1 or more"),
    ],
)
def test_other_tables_are_refused(bits: int, frequencies: np.ndarray, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        FrequencyTables(bits, frequencies)
