"""The .tae codec in C: its bytes and samples are Python's, in both directions, and so is what it makes of damage."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import math
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import CheckError, FormatError
from tiedae.bundle.bundle import Bundle
from tiedae.codec.container import pack_frame, pack_index
from tiedae.codec.frames import FileModel, encode_frames
from tiedae.codec.header import FileKind, Header
from tiedae.codec.reader import Reader
from tiedae.config.sample_spec import INTEGERS, Integer, Kind, SampleSpec
from tiedae.entropy import rans
from tiedae.entropy.classes import ClassTables, CodeTables, read_tables
from tiedae.entropy.lanes import write as write_lanes
from tiedae.entropy.rans import SUM
from tiedae.entropy.residual_tables import ResidualTables
from tiedae.entropy.tables import FrequencyTables
from tiedae.entropy.tokens import extra_bits
from tiedae.export.c.codec_source import Direction, Promise, SampleCodec, codec_text

from ...codec.conftest import GOLDEN, extract_runs
from ...entropy.test_channels import links_of
from ...variants import every
from . import codec_library as library
from .codec_library import Bundled, Copying, Library
from .codec_models import IDENTITY, SHAPES, coarse, file_of, header_of, kind_of, model_of, random_classes, random_tables, walk
from .compiled import STRICT, compiler, write
from .fuzz_codec import SOURCE, fuzzed, mutated, write_codec

PROMISED: tuple[tuple[Promise, ...], ...] = (("lossy",), ("lossless",), ("lossy", "bounded", "lossless"))
DIRECTED: tuple[tuple[Direction, ...], ...] = (("encode", "decode"), ("encode",), ("decode",))
BOUNDS = (None, 0, 1, 7, 65535)
"""Of lossy files None, of lossless ones 0."""
Folder = Callable[[], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Makes the names of new folders."""
    base, numbers = tmp_path_factory.mktemp("codec"), itertools.count()
    return lambda: base / str(next(numbers))


def same_payloads(tables: CodeTables, rng: np.random.Generator, folder: Path) -> None:
    made = Library(Copying(SampleSpec((3,), "uint8"), tables.units, tables.bits), SampleCodec(tables, IDENTITY), folder)
    for samples in (0, 1, 2, 40):
        codes = rng.integers(0, 1 << tables.bits, (samples, tables.units), np.uint8)
        (payload,) = rans.encode(tables, [codes])
        assert made.encode_payload(codes, len(payload)) == payload
        assert made.encode_payload(codes, len(payload) - 1) == library.SPACE
        np.testing.assert_array_equal(made.decode_payload(payload, samples), codes)
        for damaged in (payload[:-1], payload + b"\0", *flips(payload, rng, 20), rng.bytes(9), b"\0\0\1\0"):
            try:
                right = rans.decode(tables, [damaged], [samples])[0]
            except FormatError:
                assert made.decode_payload(damaged, samples) == library.DAMAGED
            else:
                np.testing.assert_array_equal(made.decode_payload(damaged, samples), right)


def flips(data: bytes, rng: np.random.Generator, count: int) -> list[bytes]:
    """Copies with another byte each."""
    places = rng.choice(len(data), min(count, len(data)), replace=False)
    return [data[:at] + bytes([data[at] ^ int(rng.integers(1, 256))]) + data[at + 1 :] for at in places]


@given(st.integers(1, 5), st.integers(4, 8), st.integers(0, 1 << 16))
@settings(max_examples=15)
def test_payloads_are_pythons(folder: Folder, units: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    same_payloads(random_tables(rng, units, bits), rng, folder())


@pytest.mark.parametrize("codes", [256, 240, 70])
@pytest.mark.parametrize("classed", [False, True])
def test_tables_without_a_frequency_above_255_take_a_byte_per_slot(folder: Folder, codes: int, classed: bool) -> None:
    rng = np.random.default_rng(codes)
    frequencies = np.zeros((3, 257), np.uint16)
    for row in frequencies:
        live = np.append(rng.permutation(256)[:codes], 256)
        row[live] = SUM // len(live)
        row[live[: SUM % len(live)]] += 1
        for giver, taker in rng.choice(live, (400, 2)):
            moved = int(min(row[giver] - (giver == 256), 255 - row[taker])) if giver != taker else 0
            row[giver] -= moved
            row[taker] += moved
    tables: CodeTables = FrequencyTables(8, frequencies)
    assert (frequencies.max(), frequencies[:, :-1].min()) == (255, 0)
    if classed:
        scales = rng.integers(0, 3, (2, 5)).astype(np.uint8)
        tables = ClassTables(tables, np.array([SUM - 9, 9], np.uint16), rng.integers(0, 256, (2, 5)).astype(np.uint8), scales)
    assert "low 8 bits" in codec_text(SampleSpec((3,), "uint8"), SampleCodec(tables, IDENTITY)).source
    same_payloads(tables, rng, folder())


@given(st.integers(1, 5), st.integers(4, 8), st.integers(0, 1 << 16))
@settings(max_examples=10)
def test_payloads_with_classes_are_pythons(folder: Folder, units: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    same_payloads(random_classes(rng, units, bits), rng, folder())


def test_codes_of_more_bits_are_refused(folder: Folder) -> None:
    tables = random_tables(np.random.default_rng(0), 2, 4)
    made = Library(Copying(SampleSpec((3,), "uint8"), 2, 4), SampleCodec(tables, IDENTITY), folder())
    assert made.encode_payload(np.array([[15, 16], [0, 0]], np.uint8), 99) == library.CODE


CASES = [(kind, dtype, shape) for kind in SHAPES for dtype in INTEGERS for shape in SHAPES[kind]]


@pytest.mark.parametrize(("kind", "dtype", "shape"), every(5, CASES))
def test_files_are_pythons(folder: Folder, kind: Kind, dtype: Integer, shape: tuple[int, ...]) -> None:
    spec = SampleSpec(shape, dtype, kind=kind)
    network, model = Copying(spec, 4, 6), model_of(spec)
    made = Library(network, model.coding, folder())
    x = np.concatenate([walk(spec, 20, 2), coarse(network, 9, 3)])
    used = set()
    for bound, per_frame in itertools.product(BOUNDS, (1, 3)):
        header, own = header_of(model, bound, per_frame), made.header(*kind_of(bound), per_frame)
        frames = [x[start : start + per_frame] for start in range(0, len(x), per_frame)]
        codes = [network.codes(frame) for frame in frames]
        used |= {payload.mode for payload in encode_frames(model, header, frames, codes)}
        data = file_of(model, header, frames, codes)
        assert made.write_file(own, frames, 4096) == data
        found = made.read(data)
        assert not found.problems
        assert found.first == tuple(range(0, len(x), per_frame))
        right = np.concatenate(list(Reader(model, data, "f.tae").samples())).reshape(len(x), -1)
        np.testing.assert_array_equal(found.samples, right)
    assert used >= ({0, 1} if math.prod(shape) < 6 else {0, 1, 2})


@pytest.fixture(scope="module")
def small(folder: Folder) -> tuple[FileModel, Library]:
    """A model of images, and its codec."""
    model = model_of(SampleSpec((2, 3), "int16"), 3, 5)
    return model, Library(model.program, model.coding, folder())  # type: ignore[arg-type]


def small_file(model: FileModel, bound: int | None) -> bytes:
    network = Copying(model.spec, 3, 5)
    x = np.concatenate([walk(model.spec, 5, 4), coarse(network, 3, 5)])
    frames = [x[:3], x[3:6], x[6:]]
    return file_of(model, header_of(model, bound, 3), frames, [network.codes(frame) for frame in frames])


def _unlike(size: int) -> list[list[tuple[int, int]]]:
    """Entries of an index that no frames of these bytes have."""
    return [[], [(3, 7)], [(0, size)], [(3, size), (2, 7)], [(3, size - 7), (2, 7)], [(4, size)], [(3, size - 6), (2, 6)]]


def damaged_files(data: bytes, header: Header) -> list[bytes]:
    """Each byte changed; cut; without the index; with frames behind it; with an index of other frames."""
    rng = np.random.default_rng(0)
    index = data.rindex(b"\xa7\xef")
    frames = data[header.size : index]
    others = [data[:index], data + frames, data[:index] + data[index:] * 2, data[:-1], data + b"\xa7", data + b"\xa7\xef\1"]
    crafted = [data[:index] + pack_index(header, entries) for entries in _unlike(index - header.size)]
    crafted += [data[: header.size] + frame for frame in _odd_frames(header, data[index - 30 : index])]
    return [*flips(data, rng, len(data)), *(data[:stop] for stop in range(0, len(data), 5)), *others, *crafted]


def _odd_frames(header: Header, payload: bytes) -> Iterator[bytes]:
    """Frames with right checksums: of no samples, of all but stated, with a needless byte of a number, of other modes."""
    heads = [
        b"\xa7\xe0\0\x1e",
        b"\xa7\xe0\3\x1e",
        b"\xa7\xe0\x82\0\x1e",
        b"\xa7\xe0\2\x9e\0",
        b"\xa7\xe0\2\x9e\x80\x80\x80\x10",
    ]
    for head in [*heads, *(bytes((0xA7, second, 2, 30)) for second in (0xE0, 0xE1, 0xE5, 0xEE, 0xDF))]:
        yield head + zlib.crc32(payload, zlib.crc32(head, header.checksum)).to_bytes(4, "little") + payload


@pytest.mark.parametrize("bound", [None, 0, 7])
def test_damaged_files_are_read_as_python_reads_them(small: tuple[FileModel, Library], bound: int | None) -> None:
    model, made = small
    for data in damaged_files(small_file(model, bound), header_of(model, bound, 3)):
        found = made.read(data)
        try:
            reader = Reader(model, data, "f.tae")
            right = list(reader.samples())
        except (FormatError, CheckError):
            assert not len(found.samples), data.hex()
            continue
        assert found.problems == len(reader.problems), data.hex()
        flat = [each.reshape(-1, model.spec.inputs) for each in right]
        np.testing.assert_array_equal(found.samples, np.concatenate([found.samples[:0], *flat]), data.hex())


def test_a_crafted_index_does_not_take_long_to_read(small: tuple[FileModel, Library]) -> None:
    """Each of its entries is bytes to skip that look like an index from the first of them on."""
    model, made = small
    header, skipped = header_of(model, None, 3), bytearray()
    while len(skipped) < 600_000:
        skipped += b"\xa7\xef\0\0\0" + (len(skipped) + 13).to_bytes(4, "little") + bytes(4)
    data = header.to_bytes() + bytes(skipped) + pack_index(header, [(0, 13)] * (len(skipped) // 13))
    begun = time.process_time()
    assert made.read(data).problems == len(skipped) // 13
    assert time.process_time() - begun < 5


def test_crafted_bytes_do_not_take_long_to_scan(small: tuple[FileModel, Library]) -> None:
    """Each two bytes look like a frame up to the end, whose checksum takes a pass over the rest."""
    model, made = small
    header = header_of(model, None, 3)
    numbers = (bytes((n & 127 | 128, n >> 7 & 127 | 128, n >> 14)) for n in range(400_000, 20_000, -10))
    false = b"".join(b"\xa7\xe0\1" + number + bytes(4) for number in numbers) + bytes(20_010)
    whole = small_file(model, None)[header.size :]
    begun = time.process_time()
    assert made.read(header.to_bytes() + false + whole).statuses == (library.OK, library.DAMAGED, library.DAMAGED, library.END)
    assert time.process_time() - begun < 2


def test_damage_of_one_frame_leaves_its_number(small: tuple[FileModel, Library]) -> None:
    """With an index the numbers of the others' samples are known."""
    model, made = small
    data = bytearray(small_file(model, None))
    data[header_of(model, None, 3).size + 8] ^= 1
    found = made.read(bytes(data))
    assert found.statuses == (library.OK, library.DAMAGED, library.OK, library.OK, library.END)
    assert found.first == (3, 6)


@pytest.mark.parametrize("kind", SHAPES)
def test_residuals_are_those_of_samples(folder: Folder, kind: Kind) -> None:
    """All raw tokens behind an escape, with all or no extra bits; damaged payloads behind right checksums."""
    spec = SampleSpec((1,), "uint8", kind=kind)
    model = model_of(spec)
    made = Library(Copying(spec, 4, 6), model.coding, folder())
    assert model.residuals is not None
    coder = model.residuals.prediction
    header, tables = header_of(model, 0, 1), coder.part.tables
    _, leaves, _ = coder.residuals(np.zeros((1, 1, 1), np.int32), np.zeros((1, 1, 1), np.int32), 0)
    place = int(leaves[0, 0])
    payloads = []
    for token, full in itertools.product(range(256), (0, 1)):
        count = int(extra_bits(np.clip(token, 9, 247)))
        frequencies = [[tables.frequencies[place, 256]], [1 << 6], [1 << 14 - count]]
        starts = [[tables.starts[place, 256]], [token << 6], [full * ((1 << count) - 1) << 14 - count]]
        payloads += write_lanes(np.array(frequencies, np.uint16), np.array(starts, np.uint16))
    read = [same_frames(model, made, header, 1, payload) for payload in payloads]
    assert 0 < sum(read) < len(read)


@pytest.mark.parametrize(
    ("kind", "shape", "dtype"),
    every(2, [("image", (3, 4), "int16"), ("record", (12,), "uint16"), ("record", (4, 3), "int16"), ("table", (5,), "uint8")]),
)
def test_damaged_payloads_are_pythons(folder: Folder, kind: Kind, shape: tuple[int, ...], dtype: Integer) -> None:
    spec, rng = SampleSpec(shape, dtype, kind=kind), np.random.default_rng(0)
    network, model = Copying(spec, 4, 6), model_of(spec)
    made = Library(network, model.coding, folder())
    for bound, x in itertools.product((None, 0, 7), (walk(spec, 3, 2), coarse(network, 3, 3))):
        header = header_of(model, bound, 3)
        (right,) = encode_frames(model, header, [x], [network.codes(x)])
        assert same_frames(model, made, header, right.mode, right.data)
        for payload in (*flips(right.data, rng, 40), right.data[:-1], right.data[:-2], right.data + b"\0", b"", rng.bytes(9)):
            same_frames(model, made, header, right.mode, payload)


def same_frames(model: FileModel, made: Library, header: Header, mode: int, payload: bytes) -> bool:
    """Whether a file of one frame is whole; C and Python agree on it, and on its samples."""
    frame = pack_frame(header, mode, header.samples_per_frame, payload)
    data = header.to_bytes() + frame + pack_index(header, [(header.samples_per_frame, len(frame))])
    reader, found = Reader(model, data, "f.tae"), made.read(data)
    (right,) = reader.samples()
    assert found.problems == len(reader.problems), data.hex()
    np.testing.assert_array_equal(found.samples, right.reshape(-1, model.spec.inputs), data.hex())
    return not found.problems


def test_predictions_round_as_pythons(folder: Folder) -> None:
    """A first weight of a half: sums of weights and differences often lie halfway."""
    spec = SampleSpec((50,), "uint8", kind="record")
    model = model_of(spec)
    assert model.residuals is not None
    block = dataclasses.replace(model.residuals.prediction.part, weights=np.array([1 << 13, *[0] * 15], np.int16))
    coder = dataclasses.replace(model.residuals.prediction, part=block)
    model = dataclasses.replace(model, residuals=ResidualTables(coder, coder))
    made = Library(Copying(spec, 4, 6), model.coding, folder())
    x = np.random.default_rng(0).integers(100, 104, (8, 50), np.uint8)
    right = file_of(model, header_of(model, 0, 8), [x], [Copying(spec, 4, 6).codes(x)])
    assert made.write_file(made.header("lossless", 0, 8), [x], 1 << 14) == right


@pytest.mark.parametrize("largest", every(2, [(1 << 31) - 1, 1 << 20]))
def test_links_of_any_weight_are_pythons(folder: Folder, largest: int) -> None:
    spec = SampleSpec((5, 4), "uint16", kind="record")
    model, network = model_of(spec), Copying(spec, 4, 6)
    assert model.residuals is not None
    block = dataclasses.replace(model.residuals.prediction.part, links=links_of(4, 1, largest))
    coder = dataclasses.replace(model.residuals.prediction, part=block)
    model = dataclasses.replace(model, residuals=ResidualTables(coder, coder))
    made = Library(network, model.coding, folder())
    for seed, bound in itertools.product(range(3), (0, 7, 65535)):
        x = np.concatenate([walk(spec, 9, seed), np.random.default_rng(seed).integers(0, 1 << 16, (3, 20), np.uint16)])
        right = file_of(model, header_of(model, bound, 12), [x], [network.codes(x)])
        assert made.write_file(made.header(*kind_of(bound), 12), [x], 1 << 14) == right
        assert (
            made.read(right).samples.tolist()
            == np.concatenate(list(Reader(model, right, "f").samples())).reshape(12, 20).tolist()
        )


def test_a_frame_takes_the_memory_that_is_stated(small: tuple[FileModel, Library]) -> None:
    model, made = small
    for bound in (None, 0):
        data, header = small_file(model, bound), made.header(*kind_of(bound), 3)
        frame, used = library.CFrame(), ctypes.c_size_t()
        bytes_ = data[header.size :]
        assert made.call("frame_read", header, bytes_, len(bytes_), frame, ctypes.byref(used)) == library.OK
        assert isinstance(made.read_frame(header, frame), np.ndarray)
        assert made.read_frame(header, frame, room=-1) == library.SPACE
        assert bound is None or made.read_frame(header, frame, predictors=2) == library.SPACE
        assert made.call("frame_read", header, bytes_, used.value - 1, frame, ctypes.byref(used)) == library.END
        assert made.call("frame_read", header, None, 9, frame, ctypes.byref(used)) == library.ARGUMENT


def test_a_sample_is_found_by_its_number(small: tuple[FileModel, Library]) -> None:
    model, made = small
    data = small_file(model, 0)
    whole = made.read(data).samples
    for sample in range(8):
        np.testing.assert_array_equal(made.read(data, sample).samples, whole[sample // 3 * 3 :])
    assert made.read(data, 8).statuses == (library.OK, library.ARGUMENT)
    assert made.read(data[:-1], 0).statuses == (library.OK, library.DAMAGED)


def test_capacities_are_tight(small: tuple[FileModel, Library]) -> None:
    model, made = small
    x = walk(model.spec, 3, 2)
    for bound in (None, 0, 7):
        header = made.header(*kind_of(bound), 3)
        frame = made.write_frame(header, x, 4096)
        assert isinstance(frame, bytes)
        assert made.write_frame(header, x, len(frame)) == frame
        assert {made.write_frame(header, x, size) for size in range(len(frame))} == {library.SPACE}
        assert made.write_frame(header, x, 4096, cells=3 * (6 + 3) - 1) == (frame if bound is None else library.SPACE)
        assert made.write_header(header, header.size - 1) == library.SPACE
        assert made.write_frame(header, walk(model.spec, 4, 2), 4096) == library.ARGUMENT
        assert made.write_frame(header, x[:0], 4096) == library.ARGUMENT
    assert made.write_index(header, [(3, 300)], 12) == library.SPACE
    assert made.write_index(header, [(3, 300)], 13) == pack_index(header_of(model, 7, 3), [(3, 300)])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"identity": b"identitY"}, library.OTHER_MODEL),
        ({"sample_bytes": 24}, library.DAMAGED),
        ({"classed": True}, library.DAMAGED),
        ({"kind": FileKind.BOUNDED, "bound": 1.5}, library.DAMAGED),
        ({"kind": FileKind.BOUNDED, "bound": 65536.0}, library.DAMAGED),
        ({"kind": FileKind.BOUNDED, "bound": 0.5}, library.DAMAGED),
        ({"kind": FileKind.BOUNDED, "bound": 65535.0}, library.OK),
    ],
)
def test_headers_of_others_are_refused(small: tuple[FileModel, Library], change: dict[str, object], status: int) -> None:
    model, made = small
    header = dataclasses.replace(header_of(model, None, 3), **change)  # type: ignore[arg-type]
    assert made.read(header.to_bytes()).statuses[0] == status
    version = bytes(header.to_bytes()[:4] + b"\2" + header.to_bytes()[5:])
    assert made.read(version).statuses == (library.UNSUPPORTED,)


@pytest.mark.parametrize(
    ("kind", "bound", "samples", "status"),
    [(0, 0, 0, 2), (0, 0, 65536, 2), (0, 1, 3, 2), (1, 0, 3, 2), (1, 65536, 3, 2), (2, 1, 3, 2), (3, 0, 3, 2), (-1, 0, 3, 2)],
)
def test_headers_are_checked(small: tuple[FileModel, Library], kind: int, bound: int, samples: int, status: int) -> None:
    arguments = (ctypes.c_int(kind), ctypes.c_uint32(bound), ctypes.c_uint32(samples))
    assert small[1].call("header_make", library.CHeader(), *arguments) == status


def test_a_frame_holds_64_mib_or_one_sample(folder: Folder) -> None:
    spec = SampleSpec((2049,), "int16")
    made = Library(Copying(spec, 2, 4), SampleCodec(random_tables(np.random.default_rng(0), 2, 4), IDENTITY), folder())
    for samples, status in ((16376, library.OK), (16377, library.ARGUMENT), (1, library.OK)):
        arguments = (ctypes.c_int(0), ctypes.c_uint32(0), ctypes.c_uint32(samples))
        assert made.call("header_make", library.CHeader(), *arguments) == status


def test_float_data_have_lossy_files_alone(folder: Folder) -> None:
    tables = random_tables(np.random.default_rng(0), 2, 4)
    made = Library(Copying(SampleSpec((3,), "float32"), 2, 4), SampleCodec(tables, IDENTITY), folder())
    for kind, bound in ((FileKind.BOUNDED, 0.5), (FileKind.LOSSLESS, 0.0)):
        header = Header(IDENTITY, 12, 3, kind, bound)
        assert made.read(header.to_bytes()).statuses == (library.UNSUPPORTED,)
    assert made.read(Header(IDENTITY, 12, 3).to_bytes()).statuses[0] == library.OK
    frame = library.CFrame(samples=1, mode=4)
    assert made.read_frame(made.header("lossy", 0, 3), frame) == library.UNSUPPORTED


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract_runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("file", ["bytes", "classes", "lossless", "bounded", "table"])
def test_golden_files(runs: Path, folder: Folder, file: str) -> None:
    """Read through the network of their bundle in C, and written again where the data are integers."""
    model = FileModel.of(Bundle.open(runs / ("table" if file == "table" else "bytes") / "bundle"))
    data = (GOLDEN / f"{file}.tae").read_bytes()
    if file == "classes":
        tables = read_tables((GOLDEN / "classes.codec").read_bytes(), "classes.codec")
        model = dataclasses.replace(model, tables=tables, identity=data[12:20])
    made = Library(Bundled(model), model.coding, folder(), "-O1")
    found = made.read(data)
    assert not found.problems
    right = np.load(GOLDEN / f"{'bytes' if file == 'classes' else file}.npy")
    samples = found.samples if file != "table" else model.program.samples(found.samples)
    np.testing.assert_array_equal(samples, right.reshape(len(right), -1))
    if file == "table":
        return
    bound = {"lossless": 0, "bounded": 3}.get(file)
    original = right if file == "lossless" else np.load(GOLDEN / "lossless.npy")
    x = original if bound is not None else np.load(runs / "bytes" / "bytes.npy")[-20:]
    flat = np.ascontiguousarray(x.reshape(len(x), -1))
    frames = [flat[start : start + 8] for start in range(0, len(flat), 8)]
    assert made.write_file(made.header(*kind_of(bound), 8), frames, 4096) == data


@pytest.mark.ci
@pytest.mark.parametrize(
    ("cc", "options"),
    [("gcc", ("-O3",)), ("gcc", ("-Os", "-m32")), pytest.param("clang", ("-O2",), marks=pytest.mark.ci)],
)
def test_compilers_have_no_objection(tmp_path: Path, cc: str, options: tuple[str, ...]) -> None:
    """Kinds of data, directions and kinds of files in all pairs; to objects, so that 32 bits need no library."""
    rng = np.random.default_rng(0)
    command = [compiler(cc), *STRICT, "-ffreestanding", *options, "-c", "-o", tmp_path / "codec.o"]
    for (i, kind), (j, wanted) in itertools.product(enumerate(SHAPES), enumerate(DIRECTED)):
        spec = SampleSpec(SHAPES[kind][0], INTEGERS[i], kind=kind)
        tables = (random_tables if (i + j) % 2 else random_classes)(rng, 4, 6)
        codec = SampleCodec(tables, IDENTITY, model_of(spec).residuals)
        text = codec_text(spec, codec, directions=wanted, promises=PROMISED[(i + j) % 3])
        assert ("tae_frame_encode" in text.source) == ("encode" in wanted)
        assert ("tae_frame_decode" in text.source) == ("decode" in wanted)
        subprocess.run([*command, write(Copying(spec, 4, 6).text(text), tmp_path)], check=True, timeout=60)


@pytest.mark.parametrize("kind", every(3, SHAPES))
def test_no_bytes_read_or_write_out_of_bounds(tmp_path: Path, kind: Kind) -> None:
    """AddressSanitizer and UndefinedBehaviorSanitizer find nothing; `fuzz_frame.c` states laws that hold for all inputs."""
    model, program = fuzzed(kind, classed=kind == "record"), tmp_path / "fuzz"
    write_codec(model, tmp_path)
    options = ("-DSTANDALONE", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I", tmp_path)
    built = subprocess.run(
        [compiler("gcc"), "-std=c99", "-Wall", "-Wextra", *options, SOURCE, "-o", program], capture_output=True, text=True
    )
    if "cannot find" in built.stderr:
        pytest.skip("gcc here has no libraries of sanitizers")
    assert not built.returncode, built.stderr[:3000]
    data = list(mutated(model, 4000))
    (tmp_path / "inputs").write_bytes(b"".join(len(each).to_bytes(4, "little") + each for each in data))
    done = subprocess.run([program, tmp_path / "inputs"], capture_output=True, text=True, timeout=120)
    assert done.stdout == f"{len(data)} inputs\n", done.stderr[:3000]
