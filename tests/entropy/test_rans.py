"""The entropy stage: equal to the specification byte for byte, as small as an independent coder, and safe on any bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import DataError, FormatError
from tiedae.entropy.rans import decode, encode
from tiedae.entropy.tables import SUM, FrequencyTables, fit

from . import reference
from .reference import frames_of, frequency_tables

FORMAT = Path(__file__).parents[2] / "docs/reference/format.md"
GOLDEN = bytes.fromhex("a81c6b06 0436 0503")
"""The example of docs/reference/format.md. It holds the format: files with such payloads exist."""
GOLDEN_CODES = np.array([[8, 0], [3, 0], [7, 5], [9, 0]], np.uint8)


def example() -> FrequencyTables:
    frequencies = np.zeros((2, 17), np.uint16)
    frequencies[0, [7, 8, 9, 16]] = 4096, 8192, 4000, 96
    frequencies[1, [0, 16]] = 16383, 1
    return FrequencyTables(4, frequencies)


def constant(units: int = 1) -> FrequencyTables:
    """Code 0 has all slots but one: a sample costs next to nothing."""
    return FrequencyTables(4, np.tile(np.array([SUM - 1, *[0] * 15, 1], np.uint16), (units, 1)))


def require_equal(found: list[np.ndarray], frames: list[np.ndarray]) -> None:
    assert [each.dtype for each in found] == [np.uint8] * len(frames)
    for got, right in zip(found, frames, strict=True):
        np.testing.assert_array_equal(got, right)


def test_golden_bytes() -> None:
    assert encode(example(), [GOLDEN_CODES]) == [GOLDEN]
    require_equal(decode(example(), [GOLDEN], [4]), [GOLDEN_CODES])


def test_the_example_of_the_document_is_true() -> None:
    text = FORMAT.read_text(encoding="utf-8").partition("### Example")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert b"".join(bytes.fromhex(row[0].strip("`")) for row in rows if len(row) == 2 and row[0] != "bytes") == GOLDEN
    steps = [row for row in rows if len(row) == 9 and row[0] != "unit"]
    assert [int(row[8].removesuffix(", raw")) for row in steps] == GOLDEN_CODES.ravel().tolist()
    for unit, state, slot, symbol, frequency, start, after, _, _ in steps:
        x = int(state.strip("`"), 16)
        table = example().frequencies[int(unit)].tolist()
        assert (x % SUM, table[int(symbol)], sum(table[: int(symbol)])) == (int(slot), int(frequency), int(start))
        assert int(frequency) * (x >> 14) + int(slot) - int(start) == int(after.split("`")[1], 16)


@given(st.data())
def test_payloads_are_those_of_the_specification_and_decode_to_their_codes(data: st.DataObject) -> None:
    tables = data.draw(frequency_tables())
    frames = data.draw(frames_of(tables))
    plain = tables.frequencies.tolist()
    payloads = encode(tables, frames)
    assert payloads == [reference.encode(plain, frame.tolist()) for frame in frames]
    require_equal(decode(tables, payloads, [len(frame) for frame in frames]), frames)
    assert [reference.decode(plain, each, len(frame)) for each, frame in zip(payloads, frames, strict=True)] == [
        frame.tolist() for frame in frames
    ]
    for payload, frame in zip(payloads, frames, strict=True):
        assert 1 <= len(payload) - tables.cross_entropy(frame) / 8 <= 4.5


def same_as_reference(tables: FrequencyTables, payload: bytes, samples: int) -> None:
    """Both refuse a payload, or both decode it, to codes that it is the payload of."""
    try:
        right = reference.decode(tables.frequencies.tolist(), payload, samples)
    except (ValueError, IndexError):
        with pytest.raises(FormatError, match=r"^frame 0: damaged: ") as caught:
            decode(tables, [payload], [samples])
        assert "\n" not in str(caught.value)
        return
    (found,) = decode(tables, [payload], [samples])
    assert found.tolist() == right
    assert encode(tables, [found]) == [payload]


@given(st.data())
def test_any_bytes_are_refused_or_are_the_payload_of_their_codes(data: st.DataObject) -> None:
    tables = data.draw(frequency_tables())
    same_as_reference(tables, data.draw(st.binary(max_size=40)), data.draw(st.integers(0, 30)))


@given(st.data())
def test_damaged_payloads_never_decode_to_the_codes(data: st.DataObject) -> None:
    tables = data.draw(frequency_tables())
    frame = data.draw(frames_of(tables).filter(bool))[0]
    (payload,) = encode(tables, [frame])
    at = data.draw(st.integers(0, len(payload) - 1))
    damaged = data.draw(
        st.sampled_from(
            (payload[:at], payload[at:], payload + payload[:1], payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :])
        )
    )
    if damaged != payload:
        same_as_reference(tables, damaged, len(frame))
    else:
        assert at == 0


def test_a_frame_is_named_and_the_others_do_not_depend_on_it() -> None:
    frames = [GOLDEN_CODES, GOLDEN_CODES[:2], GOLDEN_CODES[:0]]
    payloads = encode(example(), frames)
    with pytest.raises(FormatError, match=r"^frame 1: damaged: .* bytes consumed, must be all"):
        decode(example(), [payloads[0], payloads[1] + b"\0", payloads[2]], [4, 2, 0])
    require_equal(decode(example(), payloads[::-1], [0, 2, 4]), frames[::-1])


@pytest.mark.parametrize(
    ("payload", "samples", "problem"),
    [
        (b"\0\0\1", 0, "3 bytes cannot hold 0 samples"),
        (b"\0\0\1\0", -1, "4 bytes cannot hold -1 samples"),
        (b"\xff\xff\0\0", 4, "its state must be 65536 or more"),
        (b"\1\0\1\0", 0, "decoding ends in state 65537, must be 65536"),
        (GOLDEN[:-1], 4, "8 bytes consumed, must be all 7"),
        (GOLDEN[:-1] + b"\7", 4, "an escape's raw value is no code, or a code that has a frequency"),
        (GOLDEN[:-1] + b"\20", 4, "an escape's raw value is no code, or a code that has a frequency"),
        (GOLDEN[:-1] + b"\377", 4, "an escape's raw value is no code, or a code that has a frequency"),
    ],
)
def test_damage_is_said_in_one_line(payload: bytes, samples: int, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode(example(), [payload], [samples])
    assert str(caught.value) == f"frame 0: damaged: {problem}"


@pytest.mark.parametrize("samples", [2**31, 2**80])
@pytest.mark.parametrize("tables", [example(), constant(), constant(100)], ids=["usual", "constant", "many constants"])
def test_more_samples_than_the_bytes_can_hold_are_refused_before_any_work(tables: FrequencyTables, samples: int) -> None:
    with pytest.raises(FormatError, match=f"8 bytes cannot hold {samples} samples"):
        decode(tables, [GOLDEN], [samples])


def test_long_constant_frames_stay_within_the_bound() -> None:
    frames = [np.zeros((samples, 3), np.uint8) for samples in (1, 100, 20_000)]
    payloads = encode(constant(3), frames)
    assert [len(payload) for payload in payloads] == [4, 4, 4]
    require_equal(decode(constant(3), payloads, [1, 100, 20_000]), frames)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (np.zeros((3, 2), np.int64), r"frame 1: codes must be uint8 \[samples, 2\], got int64 \[3, 2\]"),
        (np.zeros((3, 3), np.uint8), r"got uint8 \[3, 3\]"),
        (np.zeros(2, np.uint8), r"got uint8 \[2\]"),
        (np.full((3, 2), 16, np.uint8), r"in 0…15, of 4 bits, got 16"),
    ],
)
def test_other_codes_are_refused(frame: np.ndarray, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        encode(example(), [GOLDEN_CODES, frame])


def test_no_frames() -> None:
    assert encode(example(), []) == []
    assert decode(example(), [], []) == []


def test_sizes_are_those_of_constriction() -> None:
    """Its ANS coder under the same frequencies, as exact as its fixed point allows: equal but for the ends of a frame."""
    constriction = pytest.importorskip("constriction", reason="constriction is not installed: a development dependency")
    rng = np.random.default_rng(0)
    widths = rng.uniform(2, 30, 8)
    codes = np.clip(np.rint(rng.normal(128, widths, (2200, 8))), 0, 255).astype(np.uint8)
    tables = fit(codes[:2000])
    frames = np.split(codes[2000:], [64, 128, 192])
    categorical = constriction.stream.model.Categorical
    models = [categorical(row / SUM, perfect=True) for row in tables.frequencies.astype(np.float64)]
    raw = constriction.stream.model.Uniform(256)
    for frame, payload in zip(frames, encode(tables, frames), strict=True):
        coder = constriction.stream.stack.AnsCoder()
        for sample in frame[::-1]:
            for unit in reversed(range(tables.units)):
                known = tables.frequencies[unit, sample[unit]] > 0
                if not known:
                    coder.encode_reverse(int(sample[unit]), raw)
                coder.encode_reverse(int(sample[unit]) if known else tables.escape, models[unit])
        assert abs(len(payload) - coder.num_bits() / 8) <= 6
