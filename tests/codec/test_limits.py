"""Crafted files, right to every checksum: what they may take of memory and time is refused or stays within what is stated."""

from __future__ import annotations

import dataclasses
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import CheckError, FormatError, InputError
from tiedae.bundle.bundle import Bundle
from tiedae.codec.container import pack_frame, pack_index, read
from tiedae.codec.frames import FileModel
from tiedae.codec.header import MOST_BYTES, FileKind, Header
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamDecoder
from tiedae.entropy import rans
from tiedae.entropy.classes import ClassTables
from tiedae.entropy.contexts import ALONE
from tiedae.entropy.residuals import ContextTables
from tiedae.entropy.tables import SUM, FrequencyTables

MIB = 1 << 20


@pytest.fixture(scope="module")
def model(coded_runs: Path) -> FileModel:
    return FileModel.of(Bundle.open(coded_runs / "bytes" / "bundle"))


@pytest.fixture(scope="module")
def sure(model: FileModel) -> FileModel:
    """The same model under tables by which a code or residual costs next to nothing: the least bits that there are."""
    assert model.residuals is not None
    plain = np.zeros((model.tables.units, 257), np.uint16)
    plain[:, [7, 256]] = SUM - 1, 1
    tokens = np.zeros((1, 257), np.uint16)
    tokens[:, [128, 256]] = SUM - 1, 1
    part = ContextTables(model.residuals.prediction.part.weights, ALONE, FrequencyTables(8, tokens))
    coder = dataclasses.replace(model.residuals.prediction, part=part)
    residuals = dataclasses.replace(model.residuals, prediction=coder, corrections=coder)
    return dataclasses.replace(model, tables=FrequencyTables(8, plain), residuals=residuals)


@pytest.fixture(scope="module")
def classed(model: FileModel) -> FileModel:
    """The same with classes: of 256, one is almost certain, and its codes are."""
    family = np.zeros((1, 257), np.uint16)
    family[0, [128, 256]] = SUM - 1, 1
    frequencies = np.array([SUM - 255, *[1] * 255], np.uint16)
    means, scales = (np.full((256, model.tables.units), value, np.uint8) for value in (7, 0))
    return dataclasses.replace(model, tables=ClassTables(FrequencyTables(8, family), frequencies, means, scales))


def peak(work: Callable[[], Any]) -> int:
    """Bytes that were allocated at once, at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_frame_holds_no_more_than_its_limit(model: FileModel) -> None:
    most = MOST_BYTES // 4096
    assert Header(bytes(8), 4096, most).samples_per_frame == most
    right = rf"got {most + 1} samples per frame, of 4,096 bytes each, must be {most:,} at most: a frame holds 67,108,864 bytes"
    with pytest.raises(InputError, match=right):
        Header(bytes(8), 4096, most + 1)
    assert Header(bytes(8), 2**32 - 1, 1).samples_per_frame == 1
    with pytest.raises(InputError, match="must be 1 at most"):
        Header(bytes(8), 2**32 - 1, 2)
    small = Header(model.identity, 1, 65_535)
    with pytest.raises(FormatError, match=r"f\.tae: damaged: samples of 1 bytes, must be 24"):
        Reader(model, small.to_bytes() + pack_index(small, []), "f.tae")


@pytest.mark.parametrize("entry", [(1, 0), (0, 0), (64, 6), (65, 100), (0, 1 << 31), (2**32 - 1, 100)])
def test_an_index_of_frames_that_cannot_be_there_is_not_kept(entry: tuple[int, int]) -> None:
    """Entries that the bytes before cannot hold, or of more samples than a frame has."""
    header = Header(bytes(8), 24, 64)
    frame = pack_frame(header, 0, 64, b"payload")
    data = header.to_bytes() + frame + pack_index(header, [entry] * 20_000)
    assert [each.samples for each in read(data, "f.tae").frames] == [64]
    begun = time.process_time()
    assert peak(lambda: read(data, "f.tae")) < 2 * len(data) + MIB
    assert time.process_time() - begun < 10


def test_an_index_is_listed_in_memory_in_proportion_to_the_file() -> None:
    header = Header(bytes(8), 24, 64)
    frames = 20_000
    data = header.to_bytes() + pack_frame(header, 0, 64, b"") * frames + pack_index(header, [(64, 7)] * frames)
    assert len(data) > 9 * frames and peak(lambda: read(data, "f.tae")) < 400 * frames + MIB


def test_indexes_that_overlap_are_not_each_summed() -> None:
    """Gaps whose last bytes name an index that begins far before: none is read over and over."""
    header = Header(bytes(8), 24, 64)
    frame, data = pack_frame(header, 0, 64, b""), bytearray(header.to_bytes() + b"\xa7\xef" + b"\xff" * 3_000_000)
    for _ in range(4000):
        data += (len(data) + 8 - header.size).to_bytes(4, "little") + bytes(4) + frame
    begun = time.process_time()
    assert len(read(data, "f.tae").frames) == 4000
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("kind", "mode", "count", "parts"),
    [(FileKind.LOSSY, 0, 256, [8192, 2048]), (FileKind.LOSSLESS, 1, 32, [1280]), (FileKind.LOSSLESS, 2, 32, [1280])],
)
def test_almost_empty_payloads_of_many_samples_take_what_is_stated(
    sure: FileModel, kind: FileKind, mode: int, count: int, parts: list[int]
) -> None:
    """Many samples under tables of the least bits: some bytes hold them, and no more memory is taken than is stated."""
    header = sure.header(count, kind)
    x = np.zeros((count, 24), np.uint8)
    payload = {
        0: rans.encode(sure.tables, [np.full((count, sure.tables.units), 7, np.uint8)])[0],
        1: sure.residuals.prediction.encode([x], 0)[0],
    }
    payload[2] = len(payload[0]).to_bytes(4, "little") + payload[0] + payload[1]
    frame = pack_frame(header, mode, count, payload[mode])
    assert len(frame) < 40
    data = header.to_bytes() + frame * 40 + pack_index(header, [(count, len(frame))] * 40)

    def decode() -> None:
        assert [len(part) for part in Reader(sure, data, "f.tae").samples()] == parts

    assert peak(decode) < 80 * parts[0] * 24 + 2 * MIB


def test_almost_empty_payloads_with_classes_take_what_is_stated(classed: FileModel) -> None:
    header = classed.header(256)
    (payload,) = rans.encode(classed.tables, [np.full((256, classed.tables.units), 7, np.uint8)])
    frame = pack_frame(header, 0, 256, payload)
    assert len(frame) < 40
    data = header.to_bytes() + frame * 40 + pack_index(header, [(256, len(frame))] * 40)

    def decode() -> None:
        assert [len(part) for part in Reader(classed, data, "f.tae").samples()] == [8192, 2048]

    assert peak(decode) < 80 * 8192 * 24 + 2 * MIB
    damaged = pack_frame(header, 0, 256, payload[:3])
    reader = Reader(classed, header.to_bytes() + damaged + pack_index(header, [(256, len(damaged))]), "f.tae")
    assert [len(part) for part in reader.samples()] == [0]
    assert reader.problems == ["frame 0 (samples 0 to 255): damaged: 3 bytes cannot hold 256 samples"]


def test_a_flag_of_classes_that_is_not_the_tables_is_refused(model: FileModel, classed: FileModel) -> None:
    for own, other, problem in ((model, classed, "has class per sample, must have none"), (classed, model, "has no class")):
        header = dataclasses.replace(own.header(64), classed=other.header(64).classed)
        assert header.classed != own.header(64).classed
        with pytest.raises(FormatError, match=f"f.tae: damaged: {problem}"):
            Reader(own, header.to_bytes() + pack_frame(header, 0, 1, b"") + pack_index(header, [(1, 9)]), "f.tae")


def test_a_stream_does_not_wait_for_a_payload_that_no_frame_has(model: FileModel) -> None:
    header = model.header(4)
    decoder = StreamDecoder(model)
    false = b"\xa7\xd0\xff\xff\xff\xff\x0f\0\0\0\0"
    frame = pack_frame(header, 0, 4, rans.encode(model.tables, [np.zeros((4, model.tables.units), np.uint8)])[0])
    assert len(decoder.push(header.to_bytes())) == 0
    assert len(decoder.push(false)) == 0
    assert len(decoder.push(frame)) == 4
    with pytest.raises(CheckError, match="hold no whole frame"):
        decoder.finish()


def test_longest_payloads(model: FileModel) -> None:
    """Codes that are all escapes, and the largest residuals, stay within what the document states."""
    units = model.tables.units
    escapes = FrequencyTables(8, np.array([[0] * 255 + [SUM - 1, 1]] * units, np.uint16))
    (payload,) = rans.encode(escapes, [np.random.default_rng(0).integers(0, 255, (64, units), np.uint8)])
    assert 0.8 * 64 * 3 * units < len(payload) <= 12 + 64 * 3 * units
    family = ClassTables(
        FrequencyTables(8, escapes.frequencies[:1]),
        np.array([SUM - 1, 1], np.uint16),
        np.array([[127] * units, [126] * units], np.uint8),
        np.zeros((2, units), np.uint8),
    )
    (payload,) = rans.encode(family, [np.random.default_rng(0).integers(0, 254, (64, units), np.uint8)])
    assert 0.8 * 64 * 3 * units < len(payload) <= 12 + 64 * family.longest
    assert dataclasses.replace(model, tables=family).longest_payload(64) == 13 + 64 * (3 * units + 2 + 6 * 24)
    coder = model.residuals.prediction
    tokens = np.zeros((1, 257), np.uint16)
    tokens[:, [128, 256]] = SUM - 1, 1
    part = dataclasses.replace(coder.part, tree=ALONE, tables=FrequencyTables(8, tokens))
    wide = dataclasses.replace(coder, part=part, dtype="uint16")
    (payload,) = wide.encode([np.random.default_rng(0).integers(0, 65_536, (64, 24)).astype(np.uint16)], 0)
    assert len(payload) <= 12 + 64 * 6 * 24
    assert model.longest_payload(64) == 13 + 64 * (3 * units + 6 * 24)


def test_more_tables_than_contexts_are_refused(model: FileModel) -> None:
    """A unit takes 2 bytes in a file and 160 kB as it decodes."""
    part = model.residuals.prediction.part
    tables = FrequencyTables(8, np.tile(part.tables.frequencies[:1], (127, 1)))
    with pytest.raises(InputError, match=r"tables: got 127 of 8 bits, must be \d+ of 8 bits, one per context"):
        ContextTables(part.weights, part.tree, tables)
