"""Classes of samples: equal to the specification byte for byte, chosen by exact cost, safe on any bytes, worth their bits."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.entropy.class_fitting import fit_classes
from tiedae.entropy.classes import ClassTables, costs_of, read_tables
from tiedae.entropy.rans import decode, encode
from tiedae.entropy.tables import SUM, FrequencyTables, fit

from ..codec import reference_file
from . import class_reference
from .class_reference import Classes, class_frames_of, class_tables
from .reference import frequency_tables
from .test_rans import require_equal
from .test_tables import FORMAT, signed

GOLDEN = bytes.fromhex(
    "54414543 02 04 0200 01 02 07 09 8020 8040 a01f 08 08 ff7f 8060 8020 0800 030f 0001 0000 e0e8f2df".replace(" ", "")
)
"""The example of docs/reference/format.md. It holds the format: files of these bytes exist."""
PAYLOAD = bytes.fromhex("86d90300 80f9 02")
CODES = np.array([[8, 0], [4, 0], [3, 9]], np.uint8)


def example() -> ClassTables:
    family = np.zeros((2, 17), np.uint16)
    family[0, [7, 8, 9, 16]] = 4096, 8192, 4000, 96
    family[1, [8, 16]] = 16383, 1
    means, scales = ([[8, 0], [3, 15]], [[0, 1], [0, 0]])
    frequencies = np.array([12288, 4096], np.uint16)
    return ClassTables(FrequencyTables(4, family), frequencies, np.array(means, np.uint8), np.array(scales, np.uint8))


def test_golden_bytes() -> None:
    assert example().to_bytes() == GOLDEN
    found = read_tables(GOLDEN, "demo.codec")
    assert isinstance(found, ClassTables)
    assert encode(found, [CODES]) == [PAYLOAD]
    require_equal(decode(found, [PAYLOAD], [3]), [CODES])
    assert reference_file.classes(GOLDEN) == Classes.of(example())


def test_the_example_of_the_document_is_true() -> None:
    text = Path(FORMAT).read_text(encoding="utf-8").partition("## Classes")[2].partition("### Example")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    hexadecimal = [bytes.fromhex(row[0].replace("`", "")) for row in rows if len(row) == 2 and row[0] != "bytes"]
    assert b"".join(hexadecimal) == GOLDEN + PAYLOAD
    classes = Classes.of(example())
    choices = [row for row in rows if len(row) == 4 and row[0] != "codes"]
    assert [row[0] for row in choices] == [f"({a}, {b})" for a, b in CODES.tolist()]
    for codes, (_, *costs, chosen) in zip(CODES.tolist(), choices, strict=True):
        for k, cost in enumerate(costs):
            parts, _, total = cost.partition(" = ")
            assert sum(map(int, parts.split(" + "))) == int(total) == classes.cost(k, codes)
        assert int(chosen) == classes.choice(codes)
    steps = [row for row in rows if len(row) == 9 and row[0] != "symbol of"]
    assert [int(row[8].rpartition(" ")[2]) for row in steps if row[0] != "class"] == CODES.ravel().tolist()
    k, states = 0, [*(int(row[1].strip("`"), 16) for row in steps[1:]), 1 << 16]
    for (what, state, slot, symbol, frequency, start, after, _, _), following in zip(steps, states, strict=True):
        k = int(symbol) if what == "class" else k
        table = classes.tables(k)[0 if what == "class" else 1 + int(what[-1])]
        x = int(state.strip("`"), 16)
        assert (x % SUM, table[int(symbol)], sum(table[: int(symbol)])) == (int(slot), int(frequency), int(start))
        assert int(frequency) * (x >> 14) + int(slot) - int(start) == int(after.split("`")[1], 16)
        assert int(after.split("`")[-2], 16) == following


def test_costs_are_those_of_the_document_and_the_information_rounded_up() -> None:
    frequencies = np.arange(1, SUM + 1)
    found = costs_of(frequencies)
    assert found.tolist() == [class_reference.cost(each) for each in frequencies.tolist()]
    over = found - 256 * (14 - np.log2(frequencies))
    assert over.min() >= 0 and over.max() < 1.02
    assert (np.diff(found) <= 0).all()


@given(st.data())
def test_payloads_are_those_of_the_specification_and_decode_to_their_codes(data: st.DataObject) -> None:
    tables = data.draw(class_tables())
    frames = data.draw(class_frames_of(tables))
    plain = Classes.of(tables)
    payloads = encode(tables, frames)
    assert payloads == [class_reference.encode(plain, frame.tolist()) for frame in frames]
    require_equal(decode(tables, payloads, [len(frame) for frame in frames]), frames)
    for payload, frame in zip(payloads, frames, strict=True):
        assert class_reference.decode(plain, payload, len(frame)) == frame.tolist()
        assert 1 <= len(payload) - tables.cross_entropy(frame) / 8 <= 4.5
        assert len(payload) <= 4 + tables.longest * len(frame)
        classes, costs = tables.cheapest(frame)
        assert classes.tolist() == [plain.choice(sample) for sample in frame.tolist()]
        assert costs.tolist() == [plain.cost(k, sample) for k, sample in zip(classes.tolist(), frame.tolist(), strict=True)]


def test_of_equal_costs_the_lowest_class_is_chosen() -> None:
    tables = example()
    same = ClassTables(
        tables.family, np.array([8192, 8192], np.uint16), np.tile(tables.means[:1], (2, 1)), np.tile(tables.scales[:1], (2, 1))
    )
    assert same.cheapest(CODES)[0].tolist() == [0, 0, 0]


@given(st.data())
def test_any_bytes_are_refused_or_decode_as_the_document_says(data: st.DataObject) -> None:
    tables = data.draw(class_tables())
    payload, samples = data.draw(st.binary(max_size=40)), data.draw(st.integers(0, 30))
    same_as_reference(tables, payload, samples)


@given(st.data())
def test_damaged_payloads_are_refused_or_decode_as_the_document_says(data: st.DataObject) -> None:
    tables = data.draw(class_tables())
    frame = data.draw(class_frames_of(tables).filter(bool))[0]
    (payload,) = encode(tables, [frame])
    at = data.draw(st.integers(0, len(payload) - 1))
    flipped = payload[:at] + bytes((payload[at] ^ data.draw(st.integers(1, 255)),)) + payload[at + 1 :]
    for damaged in (payload[:at], payload + b"\0", flipped):
        same_as_reference(tables, damaged, len(frame))


def same_as_reference(tables: ClassTables, payload: bytes, samples: int) -> None:
    """Both refuse a payload, or both decode it, to codes that encode and decode to themselves."""
    try:
        right = class_reference.decode(Classes.of(tables), payload, samples)
    except (ValueError, IndexError):
        with pytest.raises(FormatError, match=r"^frame 0: damaged: ") as caught:
            decode(tables, [payload], [samples])
        assert "\n" not in str(caught.value)
        return
    (found,) = decode(tables, [payload], [samples])
    assert found.tolist() == right
    require_equal(decode(tables, encode(tables, [found]), [samples]), [found])


def test_a_payload_of_a_dearer_class_decodes_too() -> None:
    payload = class_reference.encode(Classes.of(example()), CODES.tolist(), [1, 0, 0])
    assert len(payload) > len(PAYLOAD)
    require_equal(decode(example(), [payload], [3]), [CODES])


@pytest.mark.parametrize("samples", [2**31, 2**80])
def test_more_samples_than_the_bytes_can_hold_are_refused_before_any_work(samples: int) -> None:
    with pytest.raises(FormatError, match=f"7 bytes cannot hold {samples} samples"):
        decode(example(), [PAYLOAD], [samples])


def test_almost_certain_samples_stay_within_the_bound() -> None:
    family = np.zeros((1, 17), np.uint16)
    family[0, [8, 16]] = SUM - 1, 1
    frequencies = np.array([SUM - 1, 1], np.uint16)
    sure = ClassTables(FrequencyTables(4, family), frequencies, np.full((2, 3), 5, np.uint8), np.zeros((2, 3), np.uint8))
    frames = [np.full((samples, 3), 5, np.uint8) for samples in (1, 100, 10_000)]
    payloads = encode(sure, frames)
    assert [len(payload) for payload in payloads] == [4, 4, 4]
    require_equal(decode(sure, payloads, [1, 100, 10_000]), frames)


@given(class_tables())
def test_bytes_hold_the_tables(tables: ClassTables) -> None:
    written = tables.to_bytes()
    found = read_tables(written, "demo.codec")
    assert isinstance(found, ClassTables) and found.to_bytes() == written
    assert Classes.of(found) == Classes.of(tables) == reference_file.classes(written)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a file of frequency tables"),
        (signed(GOLDEN[:4] + b"\3" + GOLDEN[5:-4]), "frequency tables of version 3, this tiedae reads versions 1 and 2"),
        (GOLDEN[:-1], "damaged: the checksum is not that of its bytes"),
        (signed(GOLDEN[:8]), "damaged: 2 units of 4 bits in 0 classes, 0 tables in 12 bytes"),
        (signed(GOLDEN[:5] + b"\11" + GOLDEN[6:-4]), "damaged: 2 units of 9 bits in 2 classes, 2 tables in 38 bytes"),
        (signed(GOLDEN[:6] + b"\xff\xff" + GOLDEN[8:-4]), "damaged: 65535 units of 4 bits in 2 classes, 2 tables in 38 bytes"),
        (signed(GOLDEN[:8] + b"\0" + GOLDEN[9:-4]), "damaged: it does not hold 2 units of 4 bits in 1 classes, 2 tables"),
        (signed(GOLDEN[:9] + b"\0" + GOLDEN[10:-4]), "damaged: it does not hold 2 units of 4 bits in 2 classes, 0 tables"),
        (signed(GOLDEN[:-12] + b"\x10" + GOLDEN[-11:-4]), "damaged: it does not hold 2 units of 4 bits in 2 classes, 2 tables"),
        (signed(GOLDEN[:-5] + b"\2"), "damaged: it does not hold 2 units of 4 bits in 2 classes, 2 tables"),
        (signed(GOLDEN[:-16] + b"\x81" + GOLDEN[-15:-4]), "damaged: it does not hold 2 units of 4 bits in 2 classes, 2 tables"),
        (signed(GOLDEN[:-4] + b"\0"), "damaged: not the shortest bytes of its frequencies"),
    ],
)
def test_damage_is_said_in_one_line(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_tables(data, "demo.codec")
    assert str(caught.value) == f"demo.codec: {problem}"


@given(frequency_tables())
def test_tables_without_classes_are_read_as_before(tables: FrequencyTables) -> None:
    found = read_tables(tables.to_bytes(), "demo.codec")
    assert isinstance(found, FrequencyTables) and found.classes == 1
    np.testing.assert_array_equal(found.frequencies, tables.frequencies)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"frequencies": np.array([SUM], np.uint16)}, r"frequencies: got uint16 \[1\], must be uint16 \[classes\] of 2…256"),
        ({"frequencies": np.array([SUM, 0], np.uint16)}, "frequencies: got 0 or more that add up to 16384, must be 1 or more"),
        ({"frequencies": np.array([1, 2], np.uint16)}, "add up to 3, must be 1 or more that add up to 16384"),
        ({"means": np.zeros((3, 2), np.uint8)}, r"means: got uint8 \[3, 2\], must be uint8 \[2, units\]"),
        ({"means": np.full((2, 2), 16, np.uint8)}, "means: got 16 at most for 2 units, must lie in 0…15"),
        ({"scales": np.full((2, 2), 2, np.uint8)}, "scales: got 2 at most for 2 units, must lie in 0…1"),
        ({"scales": np.zeros((2, 2), np.int64)}, r"scales: got int64 \[2, 2\], must be uint8"),
    ],
)
def test_other_tables_are_refused(change: dict[str, np.ndarray], problem: str) -> None:
    good = example()
    fields = {name: getattr(good, name) for name in ("frequencies", "means", "scales")} | change
    with pytest.raises(InputError, match=problem):
        ClassTables(good.family, **fields)


def test_other_codes_are_refused() -> None:
    with pytest.raises(DataError, match=r"frame 0: codes must be uint8 \[samples, 2\], got uint8 \[3, 3\]"):
        encode(example(), [np.zeros((3, 3), np.uint8)])
    with pytest.raises(DataError, match=r"in 0…15, of 4 bits, got 16"):
        example().cross_entropy(np.full((3, 2), 16, np.uint8))


KINDS = 6


def kinds(samples: int, units: int, bits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes of some kinds of samples, each unit with a mean and a spread of its own in each; and the kinds."""
    rng, top = np.random.default_rng(0), (1 << bits) - 1
    means, spreads = rng.uniform(0.1 * top, 0.9 * top, (KINDS, units)), rng.uniform(0.01 * top, 0.08 * top, (KINDS, units))
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, KINDS, samples)
    return np.clip(np.rint(rng.normal(means[kind], spreads[kind])), 0, top).astype(np.uint8), kind


@pytest.mark.parametrize("bits", [4, 8])
def test_kinds_of_samples_are_found_without_their_names(bits: int) -> None:
    """A new sample costs what it would under the tables of its kind, and log2(6) bits that name it."""
    (train, kind), (test, of_test) = kinds(6000, 16, bits, 1), kinds(2000, 16, bits, 2)
    tables = fit_classes(train, 8, bits)
    assert (tables.classes, tables.bits, tables.units) == (8, bits, 16) and tables.family.units <= 16
    named = sum(fit(train[kind == k], bits).cross_entropy(test[of_test == k]) for k in range(KINDS)) / len(test)
    found = tables.cross_entropy(test) / len(test)
    assert found < named + math.log2(KINDS) + 0.5
    assert found < fit(train, bits).cross_entropy(test) / len(test) - 16


def test_fitting_is_repeatable_and_the_seed_counts() -> None:
    train = kinds(1000, 5, 8, 1)[0]
    first = fit_classes(train, 7, seed=3).to_bytes()
    assert fit_classes(train, 7, seed=3).to_bytes() == first
    assert fit_classes(train, 7, seed=4).to_bytes() != first


def test_few_or_equal_training_codes_make_tables_for_others() -> None:
    """As many classes as samples, and more than there are different codes: no class is so narrow that others cost much."""
    train, test = kinds(40, 8, 8, 1)[0], kinds(500, 8, 8, 2)[0]
    assert fit_classes(train, 40).cross_entropy(test) < 1.15 * fit(train).cross_entropy(test)
    equal = np.full((300, 3), 255, np.uint8)
    tables = fit_classes(equal, 256)
    assert tables.cross_entropy(equal) / len(equal) < 9
    require_equal(decode(tables, encode(tables, [test[:9, :3]]), [9]), [test[:9, :3]])


@pytest.mark.parametrize(
    ("classes", "samples", "most"), [(257, 300, 256), (0, 300, 256), (-1, 300, 256), (31, 30, 30), (256, 255, 255)]
)
def test_more_classes_than_there_are_or_than_samples_are_refused(classes: int, samples: int, most: int) -> None:
    right = f"classes: got {classes}, must lie in 1…{most}: 256 at most, and no more than training samples"
    with pytest.raises(InputError, match=right):
        fit_classes(kinds(samples, 2, 8, 1)[0], classes)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(1, 5), st.sampled_from((4, 5, 8)), st.integers(0, 2**32 - 1))
def test_any_training_codes_make_tables_that_hold_any_codes(classes: int, units: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << bits, (classes + int(rng.integers(0, 30)), units), np.uint8)
    tables = fit_classes(codes, classes, bits, seed)
    other = rng.integers(0, 1 << bits, (9, units), np.uint8)
    require_equal(decode(tables, encode(tables, [codes, other]), [len(codes), 9]), [codes, other])


def test_classes_are_fitted_in_seconds() -> None:
    begun = time.process_time()
    fit_classes(kinds(20_000, 16, 8, 1)[0], 64)
    assert time.process_time() - begun < 20
