"""The proof of what a file has beside kernels: offset and scale, constants of a score, hashes and tables of C files."""

import hashlib

import numpy as np
import pytest

from tiedae.export.model_file import Constant, Contents, Signature
from tiedae.export.storage_check import prove, prove_scaling, prove_score
from tiedae.program.file_io import OFFSET, SCALE
from tiedae.program.score_graph import CONSTANTS, SCORE

from ..conftest import build_program

OFFSETS = np.array([0.0, 2.0, 3.0], np.float32)
SCALES = np.array(0.5, np.float32)
SCALING = {OFFSET: OFFSETS, SCALE: SCALES}
VALUES = {name: np.full(2, i, np.float32) for i, name in enumerate(CONSTANTS)}


def contents(*constants: tuple[str, np.ndarray], signatures: tuple[str, ...] = (), file_format: str = "test") -> Contents:
    stored = [Constant(name, values, str(i)) for i, (name, values) in enumerate(constants)]
    return Contents(file_format, 0, tuple(stored), tuple(Signature(name, (), (), {}) for name in signatures))


@pytest.mark.parametrize(
    ("stored", "expected", "text"),
    [
        ([(OFFSET, OFFSETS), ("other", OFFSETS), (SCALE, SCALES)], SCALING, "offset and scale are the manifest's"),
        ([("other", OFFSETS)], {}, "the file holds none"),
        ([(OFFSET, OFFSETS)], {}, f"1 constants {OFFSET}, expected none"),
        ([], SCALING, f"0 constants {OFFSET}, expected one; 0 constants {SCALE}, expected one"),
        ([*SCALING.items(), (OFFSET, OFFSETS)], SCALING, f"2 constants {OFFSET}, expected one"),
        (
            [(OFFSET, OFFSETS.astype(float)), (SCALE, SCALES)],
            SCALING,
            f"{OFFSET}: got float64 [3], expected float32 [3]; first values [0, 2, 3] against [0, 2, 3]",
        ),
        (
            [(OFFSET, OFFSETS), (SCALE, SCALES[None])],
            SCALING,
            f"{SCALE}: got float32 [1], expected float32 []; first values [0.5] against [0.5]",
        ),
        (
            [(OFFSET, np.array([-0.0, 2, 4], np.float32)), (SCALE, SCALES)],
            SCALING,
            f"2 of 3 values of {OFFSET} differ from the manifest's, first at [0]: got -0.0, expected 0.0",
        ),
        (
            [(OFFSET, OFFSETS), (SCALE, SCALES + 1)],
            SCALING,
            f"1 of 1 values of {SCALE} differ from the manifest's, first at []: got 1.5, expected 0.5",
        ),
    ],
)
def test_offset_and_scale_are_the_expected_ones_or_the_difference_is_named(stored: list, expected: dict, text: str) -> None:
    finding = prove_scaling(contents(*stored), expected)
    assert (finding.name, finding.text) == ("scaling", f"scaling: {text}")
    assert finding.ok is (text in ("offset and scale are the manifest's", "the file holds none"))


@pytest.mark.parametrize(
    ("stored", "signatures", "expected", "text"),
    [
        (VALUES, ("encode", SCORE), VALUES, "weights and threshold are those of the manifest's detector"),
        ({}, ("encode",), None, "the file holds none"),
        (VALUES, ("encode",), VALUES, "the file holds no signature score, expected one"),
        (VALUES, (), VALUES, "the file holds no signature score, expected one"),
        ({CONSTANTS[1]: OFFSETS}, ("encode",), None, f"1 constants {CONSTANTS[1]}, expected none"),
        (dict(list(VALUES.items())[1:]), (SCORE,), VALUES, f"0 constants {CONSTANTS[0]}, expected one"),
        (VALUES, (SCORE,), dict(list(VALUES.items())[1:]), f"1 constants {CONSTANTS[0]}, expected none"),
    ],
)
def test_a_score_is_the_expected_one_or_the_difference_is_named(
    stored: dict, signatures: tuple[str, ...], expected: dict | None, text: str
) -> None:
    finding = prove_score(contents(*stored.items(), signatures=signatures), expected)
    assert (finding.name, finding.text) == ("score", f"score: {text}")
    assert finding.ok is (text.startswith("weights") or text == "the file holds none")


PROGRAM = build_program()
HASHES = {name: hashlib.sha256(PROGRAM.constants[name].tobytes()).hexdigest() for name in PROGRAM.kernels}


def source(hashes: dict[str, str], **others: np.ndarray) -> Contents:
    """A C file with the program's kernels, their hashes, and other arrays."""
    kernels = [Constant(name, PROGRAM.constants[name], name, sha256=value) for name, value in hashes.items()]
    return Contents("c", 0, (*kernels, *(Constant(name, values, name) for name, values in others.items())), ())


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (HASHES["kernel_0"], "kernel_0: the file states the sha256 of the program's values"),
        (
            HASHES["kernel_1"],
            f"kernel_0: kernel_0 states sha256 {HASHES['kernel_1'][:12]}…, expected {HASHES['kernel_0'][:12]}…",
        ),
    ],
)
def test_a_c_file_states_the_hash_of_each_kernel(first: str, text: str) -> None:
    findings = {finding.name: finding for finding in prove(source({**HASHES, "kernel_0": first}), PROGRAM)}
    assert findings["kernel_0.sha256"].text == text and findings["kernel_1.sha256"].ok and "kernel_0.scales" not in findings
    assert [name for name, finding in findings.items() if not finding.ok] == ([] if "the file" in text else ["kernel_0.sha256"])


def test_a_kernel_without_a_hash_in_a_c_file_is_a_table() -> None:
    findings = {finding.name: finding for finding in prove(source({**HASHES, "kernel_0": ""}), PROGRAM)}
    assert not findings["kernel_0.sha256"].ok and findings["kernel_1.sha256"].ok
    assert findings["kernel_0.sha256"].text.startswith("kernel_0: kernel_0 states no sha256, expected ")


@pytest.mark.parametrize(
    ("name", "table", "wrong"),
    [
        ("gamma", np.linspace(0, 1, 400).astype(np.float32), []),
        ("bias", np.arange(400, dtype=np.int32), []),
        ("more", np.arange(3, dtype=np.int8), ["weights"]),
        ("again", PROGRAM.constants["kernel_0"].astype(np.int16), ["kernel_0.copies", "weights"]),
    ],
)
def test_a_table_of_a_c_file_is_no_weight_unless_it_is_int8_or_repeats_a_kernel(name, table, wrong) -> None:
    findings = prove(source(HASHES, **{name: table}), PROGRAM)
    assert [finding.name for finding in findings if not finding.ok] == wrong
