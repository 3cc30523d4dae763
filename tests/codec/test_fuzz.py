"""A short run of the fuzzing harness on the corpus and its mutations; docs/trust.md has the long one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tiedae.compress.errors import FormatError
from tiedae.entropy import rans

from . import fuzz

pytestmark = pytest.mark.ci

SECONDS = float(os.environ.get("TIEDAE_FUZZ_SECONDS", "6"))
"""Of all targets together; CI takes 30."""


@pytest.fixture(scope="module")
def subject(coded_runs: Path) -> fuzz.Subject:
    return fuzz.Subject(coded_runs)


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_any_bytes_give_a_result_or_one_line(subject: fuzz.Subject, name: str) -> None:
    tried, seconds, _ = fuzz.run(subject, name, SECONDS / len(fuzz.TARGETS), seed=0)
    assert tried >= len(fuzz.TARGETS[name].seeds(name)) and seconds <= fuzz.MOST_SECONDS


def test_damage_is_found(subject: fuzz.Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness fails where a law does not hold: another exception, other bytes, too long."""
    target, data = fuzz.TARGETS["payload"], bytes([0, 0, 0]) + bytes.fromhex("00000100")
    fuzz.check(subject, target, data)
    for wrong in (lambda *_: [np.zeros(3)[5]], lambda *_: [bytes(4)]):
        with monkeypatch.context() as patch:
            patch.setattr(rans, "encode", wrong)
            with pytest.raises((IndexError, fuzz.Broken)):
                fuzz.check(subject, target, data)
    with monkeypatch.context() as patch:
        patch.setattr(fuzz, "MOST_SECONDS", -1.0)
        with pytest.raises(fuzz.Broken, match=r"s$"):
            fuzz.check(subject, target, data)


@pytest.mark.parametrize("file", ["bytes", "lossless", "bounded", "table", "classes"])
def test_sealed_files_are_those_they_were(subject: fuzz.Subject, file: str) -> None:
    """Sealing changes nothing of a whole file, and makes one whole whose checksums are damaged."""
    data = (fuzz.GOLDEN / f"{file}.tae").read_bytes()
    assert fuzz.seal(data, data[12:20]) == data
    contents = fuzz.read(data, "f.tae")
    damaged = bytearray(data)
    for stop in (contents.header.size, *(frame.offset + 7 for frame in contents.frames[:2]), len(data)):
        damaged[stop - 1] ^= 255
    with pytest.raises(FormatError):
        fuzz.read(bytes(damaged), "f.tae")
    assert fuzz.read(fuzz.seal(bytes(damaged), data[12:20]), "f.tae").indexed
