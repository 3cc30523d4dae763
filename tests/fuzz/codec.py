"""What the readers of .tae files and their tables are held to beside the laws of all: bytes and samples that come back.

The first byte of an input says how the others are read. Half of the inputs are **sealed**: checksums and identity are made
right where the bytes look like a file, so that damage reaches what lies behind them.
"""

from __future__ import annotations

import itertools
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.base.errors import TiedaeError
from tiedae.bundle.bundle import Bundle
from tiedae.codec.container import FrameSpan, Gap, is_index, read, read_frame, scan
from tiedae.codec.frames import FileModel
from tiedae.codec.header import Header
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamDecoder
from tiedae.config.sample_spec import SampleSpec
from tiedae.entropy import rans
from tiedae.entropy.classes import CodeTables, read_tables
from tiedae.entropy.contexts import ALONE
from tiedae.entropy.residual_tables import ResidualTables
from tiedae.entropy.residuals import ContextTables, ResidualCoder
from tiedae.entropy.tables import FrequencyTables

from ..codec.conftest import GOLDEN, NAMES, extract_runs
from .laws import require

MOST_SYMBOLS = 1 << 18
"""Symbols of a file that are decoded; beyond that its contents alone are read, to try more inputs a second."""
_INDEX = b"\xa7\xef"


@dataclass(frozen=True)
class Subject:
    """What is fuzzed with: the models of two small bundles, of bytes and of a table of floats, and the first with classes."""

    folder: Path

    @cached_property
    def models(self) -> list[FileModel]:
        models = [FileModel.of(Bundle.open(self.folder / name / "bundle")) for name in NAMES]
        return [*models, replace(models[0], tables=read_tables((GOLDEN / "classes.codec").read_bytes(), "classes.codec"))]

    @cached_property
    def tables(self) -> list[CodeTables]:
        """Real tables, tables that escape everything, and tables under which symbols cost next to nothing."""
        escapes = np.array([[0] * 16 + [1 << 14]], np.uint16)
        sure = np.zeros((2, 257), np.uint16)
        sure[:, [7, 256]] = (1 << 14) - 1, 1
        extremes = FrequencyTables(4, escapes), FrequencyTables(8, sure)
        return [*(model.tables for model in self.models[:2]), *extremes, self.models[2].tables]

    @cached_property
    def coders(self) -> list[ResidualCoder]:
        residuals = self.models[0].residuals
        assert residuals is not None
        part = residuals.prediction.part
        record = ContextTables(part.weights, ALONE, FrequencyTables(8, part.tables.frequencies[:1]))
        signals = [ResidualCoder(kind, (6,), "int16", record) for kind in ("record", "table")]
        return [residuals.prediction, residuals.corrections, *signals]


@cache
def subject() -> Subject:
    """Read whole, so that nothing of its folder is needed."""
    with tempfile.TemporaryDirectory() as folder:
        read_whole = Subject(extract_runs(Path(folder)))
        _ = read_whole.models, read_whole.tables, read_whole.coders
    return read_whole


def seal(data: bytes, identity: bytes) -> bytes:
    """Bytes as a file of this identity, with the right checksums of header, frames and index, where they look like these."""
    sealed = bytearray(b"\x89TAE\x01" + data[5:].ljust(19, b"\1"))
    sealed[5] = (sealed[5] & 3) % 3 | sealed[5] & 4
    sealed[12:20] = identity
    end = 28 if sealed[5] & 3 == 1 else 20
    sealed = sealed.ljust(end + 4, b"\1")
    sealed[end : end + 4] = _checksum(sealed[:end])
    try:
        header = Header.from_bytes(sealed, "f.tae")
    except TiedaeError:
        return bytes(sealed)
    index = sealed.rfind(_INDEX)
    if header.size <= index <= len(sealed) - 10:
        sealed[-8:-4] = (len(sealed) - index).to_bytes(4, "little")
        sealed[-4:] = _checksum(sealed[index:-4], header)
    at = header.size
    while 0 <= at < len(sealed):
        start, stop = _payload_at(sealed, at)
        if at < start <= stop <= len(sealed):
            sealed[start - 4 : start] = _checksum(sealed[at : start - 4] + sealed[start:stop], header)
        at = stop if at < start <= stop <= len(sealed) else sealed.find(b"\xa7", at + 1)
    return bytes(sealed)


def _payload_at(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Where the payload of a frame would begin and end; by itself, as a second reading of docs/reference/format.md."""
    lengths = data[at + 2 : at + 12]
    ends = [i for i, part in enumerate(lengths) if part < 128]
    full = data[at + 1 : at + 2] < b"\xe0"
    if data[at : at + 2] == b"\xa7\xdf" and ends:
        stop = at + 2 + ends[0] + 1 + 4
        return stop, stop
    if data[at] != 0xA7 or len(ends) < 2:
        return 0, 0
    first, last = (-1, ends[0]) if full else (ends[0], ends[1])
    size = sum((part & 127) << 7 * i for i, part in enumerate(lengths[first + 1 : last + 1]))
    return at + 2 + last + 1 + 4, at + 2 + last + 1 + 4 + size


def _checksum(data: bytes | bytearray, header: Header | None = None) -> bytes:
    return zlib.crc32(data, 0 if header is None else header.checksum).to_bytes(4, "little")


def fuzz_contents(_: Subject, data: bytes) -> None:
    """Header, frames and index, without a model."""
    choice, data = data[0], data[1:]
    data = seal(data, data[12:20].ljust(8, b"\0")) if choice & 1 else data
    contents = read(data, "f.tae")
    require(len(contents.frames) <= len(data) // 7, "frames that the bytes cannot hold")
    for frame in contents.frames:
        require(frame.samples <= contents.header.samples_per_frame and frame.stop <= len(data), "a frame beyond its limits")
        with_errors(lambda frame=frame: read_frame(data, frame, contents.header))
    found = list(scan(data, contents.header.size, contents.header))
    places = [contents.header.size, *(each.stop for each in found)]
    require([each.offset for each in found] == places[:-1] and places[-1] == len(data), "a scan that leaves bytes out")
    require(contents.indexed or contents.frames == tuple(each for each in found if isinstance(each, FrameSpan)), "frames")
    for before, after in itertools.pairwise(found):
        two = isinstance(before, Gap) and isinstance(after, Gap)
        require(not two or is_index(data, before, contents.header), "two gaps")


def fuzz_file(subject: Subject, data: bytes) -> None:
    """Whole files to samples, with the tables of a bundle: a reader, and a decoder in pieces."""
    choice, data = data[0], data[1:]
    model = subject.models[2 if choice & 128 else choice & 1]
    data = seal(data, model.identity) if choice & 2 else data
    decoder, size = StreamDecoder(model), max(1, choice >> 2) * 16
    contents = read(data, "f.tae")
    model.require(contents.header, "f.tae")
    found = [each for each in scan(data, contents.header.size, contents.header) if isinstance(each, FrameSpan)]
    if (contents.samples + sum(frame.samples for frame in found)) * max(model.tables.units, model.spec.inputs) > MOST_SYMBOLS:
        return
    count = sum(len(decoder.push(data[start : start + size])) for start in range(0, len(data), size))
    named = with_errors(decoder.finish)
    reader = Reader(model, data, "f.tae")
    samples = sum(map(len, reader.samples()))
    gapless = sum(frame.size for frame in contents.frames) == sum(frame.size for frame in found)
    indexed = contents.indexed and not (named and reader.problems)  # an index of other frames, which both name
    require(samples == count or not gapless or not indexed, "other samples from a stream")
    require(samples <= contents.samples, "more samples than the frames hold")
    require(samples == contents.samples or bool(reader.problems), "samples that are lost silently")


def fuzz_tables(_: Subject, data: bytes) -> None:
    """NAME.codec, of both versions."""
    choice, data = data[0], data[1:]
    head = b"TAEC" + bytes((1 + (choice >> 1 & 1),))
    data = head + data[5:-4] + _checksum(head + data[5:-4]) if choice & 1 else data
    tables = read_tables(data, "f.codec")
    require(tables.to_bytes() == data, "tables whose bytes are others")


def fuzz_residual_tables(_: Subject, data: bytes) -> None:
    """NAME.residuals; sealed, its checksum and those of the tables inside."""
    choice, changed = data[0], bytearray(data[1:])
    if choice & 1:
        changed[:5] = b"TAEP\2"
        at = changed.find(b"TAEC")
        while at >= 0:
            after = changed.find(b"TAER", at)
            stop = after if after >= 0 else len(changed) - 4
            changed[stop - 4 : stop] = _checksum(changed[at : stop - 4])
            at = changed.find(b"TAEC", at + 4)
        changed[-4:] = _checksum(changed[:-4])
    spec = SampleSpec(shape=(24,), dtype="uint8", kind="table" if choice & 2 else "image")
    tables = ResidualTables.from_bytes(spec, bytes(changed), "f.residuals")
    require(tables.to_bytes() == changed, "tables whose bytes are others")


def fuzz_payload(subject: Subject, data: bytes) -> None:
    """The entropy stage, under real and extreme tables: what decodes is what encodes to the same bytes.

    With classes to other bytes where a payload names a class that is not the cheapest; they decode to the same.
    """
    tables, count = subject.tables[data[0] % len(subject.tables)], int.from_bytes(data[1:3], "little") % 2048
    payload = data[3:]
    (codes,) = rans.decode(tables, [payload], [count])
    again = rans.encode(tables, [codes])
    require(again == [payload] or tables.classes > 1, "a payload that no encoder makes")
    require(bool((rans.decode(tables, again, [count])[0] == codes).all()), "codes that do not come back")


def fuzz_residuals(subject: Subject, data: bytes) -> None:
    """The residuals of frames: what decodes, encodes and decodes to itself without loss."""
    coder, count = subject.coders[data[0] % len(subject.coders)], data[1] % 9
    bound = int.from_bytes(data[2:4], "little") if data[0] & 128 else 0
    frames = coder.decode([data[4:]], [count], bound)
    (again,) = coder.decode(coder.encode(frames, 0), [count], 0)
    require(bool((again == frames[0]).all()), "samples that do not come back")


def with_errors(work: Callable[[], Any]) -> bool:
    """Run work that may refuse what it got; whether it does."""
    try:
        work()
    except TiedaeError as error:
        require("\n" not in str(error), "an error of several lines")
        return True
    return False


def reads(run: Callable[[Subject, bytes], None], least: int = 1) -> Callable[[Path], None]:
    """One of these functions as a reader of a file; nothing of one of fewer than `least` bytes."""

    def read_file(path: Path) -> None:
        data = path.read_bytes()
        if len(data) >= least:
            run(subject(), data)

    return read_file


def payloads() -> list[bytes]:
    """Of eight samples, for each of the tables."""
    rng, found = np.random.default_rng(0), []
    for choice, tables in enumerate(subject().tables):
        codes = rng.integers(0, 1 << tables.bits, (8, tables.units), np.uint8)
        found.append(bytes([choice, 8, 0]) + rans.encode(tables, [codes])[0])
    return found


def residual_payloads() -> list[bytes]:
    """Of three samples, for each of the coders, without loss and within 3."""
    rng, found = np.random.default_rng(0), []
    for choice, coder in enumerate(subject().coders):
        samples = rng.integers(0, 128, (3, coder.inputs)).astype(coder.dtype)
        found += [bytes([choice | 128, 3, bound, 0]) + coder.encode([samples], bound)[0] for bound in (0, 3)]
    return found


def golden(pattern: str, prefixes: Sequence[bytes]) -> list[bytes]:
    """The golden files behind each of these bytes."""
    return [prefix + path.read_bytes() for path in sorted(GOLDEN.glob(pattern)) for prefix in prefixes]
