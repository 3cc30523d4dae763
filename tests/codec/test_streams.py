"""Samples to the bytes of a file and back: those of the program, in any pieces; what cannot be promised is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.base.errors import CheckError, DataError, FormatError, InputError
from tiedae.bundle.bundle import Bundle, write_files
from tiedae.bundle.manifest import FILE, with_files
from tiedae.bundle.manifest import read as read_manifest
from tiedae.codec.codec import Codec
from tiedae.codec.container import pack_frame, pack_index, read, read_frame
from tiedae.codec.frames import MODES, FileModel, encode_frames
from tiedae.codec.header import FileKind, Header
from tiedae.codec.opening import load
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamEncoder
from tiedae.config.scaling import Scaling
from tiedae.export.file_info import FileInfo
from tiedae.program.interpreter import execute

from ..variants import every
from . import reference_file
from .conftest import GOLDEN, INTEGER_FILES, NAMES, golden


@pytest.fixture
def codec(bundle: Path) -> Codec:
    return load(bundle, runtime="program")


def test_golden_files_decode_for_ever(bundle: Path, name: str) -> None:
    """Version 1, written on 2026-11-26 with frames of 8: the last 20 samples of the old runs. Never write them again."""
    found = load(bundle).decompress(golden(name))
    np.testing.assert_array_equal(found, np.load(GOLDEN / f"{name}.npy"))
    assert found.dtype == np.load(GOLDEN / f"{name}.npy").dtype


def test_golden_files_are_what_is_written(codec: Codec, samples: np.ndarray, name: str) -> None:
    assert codec.compress(samples[-20:], samples_per_frame=8) == golden(name)


@pytest.fixture
def classed(coded_runs: Path, tmp_path: Path) -> Path:
    """The bundle of bytes with the tables of four classes, as they were fitted in 2026."""
    bundle, data = tmp_path / "classed", (GOLDEN / "classes.codec").read_bytes()
    shutil.copytree(coded_runs / "bytes" / "bundle", bundle)
    write_files(bundle, {"bytes.codec": data})
    write_files(bundle, {FILE: with_files(bundle, {"bytes.codec": FileInfo.of(data)})})
    return bundle


def test_golden_files_with_classes_decode_for_ever(coded_runs: Path, classed: Path) -> None:
    """Version 2 of the tables, written on 2026-11-27 with frames of 8: the file of bytes again. Never write them again."""
    found = load(classed).decompress(golden("classes"))
    np.testing.assert_array_equal(found, np.load(GOLDEN / "bytes.npy"))
    samples = np.load(coded_runs / "bytes" / "bytes.npy")
    assert load(classed, runtime="program").compress(samples[-20:], samples_per_frame=8) == golden("classes")
    tables = (classed / "bytes.codec").read_bytes()
    manifest = json.loads((classed / "manifest.json").read_bytes())
    residuals = (classed / "bytes.residuals").read_bytes()
    identity = reference_file.identity(manifest, tables + residuals)
    codes = reference_file.decode(golden("classes"), identity, reference_file.classes(tables))
    np.testing.assert_array_equal(codes, load(classed, runtime="program").encode(samples[-20:]))


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"max_error": 3}])
def test_files_with_classes_are_files_as_others(coded_runs: Path, classed: Path, options: dict[str, Any]) -> None:
    """The same samples; any range, in pieces, as frames alone, appended to; other models refuse them."""
    plain, codec = (load(each, runtime="program") for each in (coded_runs / "bytes" / "bundle", classed))
    x = np.load(coded_runs / "bytes" / "bytes.npy")[:50]
    data, right = codec.compress(x, samples_per_frame=8, **options), plain.decompress(plain.compress(x, **options))
    assert read(data, "f.tae").header.classed and not read(plain.compress(x, **options), "f.tae").header.classed
    np.testing.assert_array_equal(codec.decompress(data), right)
    np.testing.assert_array_equal(codec.decompress(data, start=13, stop=29), right[13:29])
    appender = codec.appender(data)
    longer = data + b"".join([*appender.push(x[:11]), *appender.finish()])
    np.testing.assert_array_equal(codec.decompress(longer), np.concatenate([right, right[:11]]))
    decoder = codec.decoder()
    pieces = [decoder.push(longer[start : start + 7]) for start in range(0, len(longer), 7)]
    decoder.finish()
    np.testing.assert_array_equal(np.concatenate(pieces), np.concatenate([right, right[:11]]))
    ends = (
        codec.encoder(samples_per_frame=8, frame_only=True, **options),
        codec.decoder(samples_per_frame=8, frame_only=True, **options),
    )
    np.testing.assert_array_equal(np.concatenate([ends[1].push(frame) for frame in ends[0].push(x[:16])]), right[:16])
    with pytest.raises(FormatError, match="was encoded with another model"):
        plain.decompress(data)


def test_a_damaged_frame_with_classes_leaves_the_others(coded_runs: Path, classed: Path) -> None:
    codec = load(classed, runtime="program")
    x = np.load(coded_runs / "bytes" / "bytes.npy")[:32]
    data = bytearray(codec.compress(x, samples_per_frame=8))
    data[read(bytes(data), "f.tae").frames[1].stop - 1] ^= 1
    reader = Reader(codec.file_model, bytes(data), "f.tae")
    found = np.concatenate(list(reader.samples()))
    np.testing.assert_array_equal(found, np.delete(codec.reconstruct(x), range(8, 16), 0))
    with pytest.raises(CheckError, match=r"frame 1 \(samples 8 to 15\): damaged"):
        reader.require_whole()


@pytest.mark.parametrize("file", INTEGER_FILES)
def test_golden_files_of_integers_decode_for_ever(coded_runs: Path, file: str) -> None:
    """Version 1, written on 2026-11-29 with frames of 8: both modes, and extremes. Never write them again."""
    found, x = load(coded_runs / "bytes" / "bundle").decompress(golden(file)), np.load(GOLDEN / "lossless.npy")
    np.testing.assert_array_equal(found, np.load(GOLDEN / f"{file}.npy"))
    assert load(coded_runs / "bytes" / "bundle").compress(x, samples_per_frame=8, **INTEGER_FILES[file]) == golden(file)
    assert modes(golden(file)) == ([1, 2, 1] if file == "lossless" else [1, 1, 1])


def modes(data: bytes) -> list[int]:
    contents = read(data, "f.tae")
    return [read_frame(data, frame, contents.header).mode for frame in contents.frames]


def document(bundle: Path, name: str) -> tuple[dict[str, Any], bytes, list[list[int]]]:
    """Manifest, identity and tables of a bundle as the document reads them."""
    manifest, tables = json.loads((bundle / "manifest.json").read_bytes()), (bundle / f"{name}.codec").read_bytes()
    residuals = b"".join(path.read_bytes() for path in bundle.glob("*.residuals"))
    return manifest, reference_file.identity(manifest, tables + residuals), reference_file.frequencies(tables)


@pytest.mark.parametrize("file", INTEGER_FILES)
def test_a_decoder_from_the_document_alone_gives_the_integers(coded_runs: Path, file: str) -> None:
    """All but the operations of the program, which are those of the interpreter here."""
    bundle = coded_runs / "bytes" / "bundle"
    manifest, identity, plain = document(bundle, "bytes")
    program = FileModel.of(Bundle.open(bundle)).program.program

    def reconstruct(codes: list[list[int]]) -> list[list[int]]:
        return execute(program, "decode", np.array(codes, np.uint8))["y"].tolist()

    residuals = (bundle / "bytes.residuals").read_bytes()
    found = reference_file.decode_integers(golden(file), identity, plain, residuals, manifest, reconstruct)
    np.testing.assert_array_equal(found, np.load(GOLDEN / f"{file}.npy"))


def test_a_decoder_from_the_document_alone_gives_the_samples(bundle: Path, name: str) -> None:
    manifest, identity, plain = document(bundle, name)
    codes = np.array(reference_file.decode(golden(name), identity, plain), np.uint8)
    y = execute(FileModel.of(Bundle.open(bundle)).program.program, "decode", codes)["y"]
    found = np.array([reference_file.values(each, manifest) for each in y.tolist()])
    np.testing.assert_array_equal(found, np.load(GOLDEN / f"{name}.npy"))
    for stop in range(len(golden(name))):
        with pytest.raises((ValueError, IndexError)):
            reference_file.decode(golden(name)[:stop], identity, plain)


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "ort-cpu", "program"])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 400])
def test_any_runtime_writes_and_reads_the_programs_samples(bundle: Path, samples: np.ndarray, runtime: str, count: int) -> None:
    codec, program = load(bundle, runtime=runtime), load(bundle, runtime="program")
    data = codec.compress(samples[:count])
    assert data == program.compress(samples[:count])
    found = codec.decompress(data)
    np.testing.assert_array_equal(found, program.reconstruct(samples[:count]))
    assert (found.shape, found.dtype) == (samples[:count].shape, samples.dtype)


SPECS = {
    "image": {"shape": (4, 6), "dtype": "uint8", "kind": "image", "scaling": Scaling("byte", 0.0, 255.0)},
    "float images": {"shape": (2, 3, 4), "dtype": "float32", "kind": "image", "scaling": Scaling("minmax", -0.3, 7.7)},
    "table": {"dtype": "float64", "kind": "table", "scaling": Scaling("standard", (0.1,) * 24, (1e-3,) * 24)},
    "record": {"dtype": "float32", "kind": "record", "scaling": Scaling("standard", 917.5, 42.25)},
    "unscaled": {"dtype": "float16", "kind": "record", "scaling": Scaling()},
}


@pytest.mark.parametrize("kind", SPECS)
def test_every_kind_of_data_round_trips(coded_runs: Path, kind: str) -> None:
    codec = load(coded_runs / "bytes" / "bundle", runtime="program")
    spec = replace(codec.spec, **SPECS[kind])
    model = dataclasses.replace(codec.file_model, program=dataclasses.replace(codec.file_model.program, spec=spec))
    x = np.random.default_rng(0).uniform(0, 255, (100, *spec.shape)).astype(spec.dtype)
    encoder = StreamEncoder(model, model.program, samples_per_frame=30)
    data = b"".join([*encoder.push(x[:50]), *encoder.push(x[50]), *encoder.push(x[51:].reshape(49, -1)), *encoder.finish()])
    reader = Reader(model, data, "f.tae")
    found = np.concatenate(list(reader.samples()))
    reader.require_whole()
    flat = x.reshape(100, -1)
    expected = model.program.samples(execute(model.program.program, "reconstruct", model.program.input(flat))["y"])
    np.testing.assert_array_equal(found, expected.reshape(x.shape))
    assert found.dtype == spec.dtype and reader.contents.header.sample_bytes == x[0].nbytes


def test_pieces_make_no_difference(codec: Codec, samples: np.ndarray) -> None:
    whole = codec.compress(samples)
    for size in (1, 37, 64, 399):
        encoder = codec.encoder()
        chunks = [chunk for start in range(0, 400, size) for chunk in encoder.push(samples[start : start + size])]
        assert b"".join([*chunks, *encoder.finish()]) == whole
    for size in (1, 7, len(whole)):
        decoder = codec.decoder()
        parts = [decoder.push(whole[start : start + size]) for start in range(0, len(whole), size)]
        decoder.finish()
        np.testing.assert_array_equal(np.concatenate(parts), codec.reconstruct(samples))


def test_the_recipe_says_how_many_samples_a_frame_has(codec: Codec, samples: np.ndarray) -> None:
    assert codec.bundle is not None
    recipe = codec.bundle.manifest.recipe
    manifest = replace(codec.bundle.manifest, recipe=replace(recipe, codec=replace(recipe.codec, frame=3)))
    other = dataclasses.replace(codec, bundle=dataclasses.replace(codec.bundle, manifest=manifest))
    assert other.compress(samples) == codec.compress(samples, samples_per_frame=3) != codec.compress(samples)
    assert other.compress(samples, samples_per_frame=64) == codec.compress(samples)
    packets = [other.encoder(frame_only=True).push(samples[:3]), other.decoder(frame_only=True)]
    np.testing.assert_array_equal(packets[1].push(b"".join(packets[0])), codec.reconstruct(samples[:3]))


def test_ranges(codec: Codec, samples: np.ndarray) -> None:
    data, right = codec.compress(samples[:150]), codec.reconstruct(samples[:150])
    for start, stop in ((0, 1), (0, 150), (63, 65), (64, 128), (149, 150), (10, None)):
        np.testing.assert_array_equal(codec.decompress(data, start=start, stop=stop), right[start:stop])
    for start, stop in ((0, 151), (150, 151), (5, 5), (7, 3), (-1, 4)):
        with pytest.raises(InputError, match=rf"samples {start}:{stop}: must be a range in 0:150"):
            codec.decompress(data, start=start, stop=stop)


def test_a_range_reads_only_its_frames(codec: Codec, samples: np.ndarray) -> None:
    data = bytearray(codec.compress(samples[:150]))
    data[read(bytes(data), "").frames[0].offset + 12] ^= 1
    assert len(codec.decompress(bytes(data), start=64)) == 86
    with pytest.raises(CheckError, match=r"frame 0 \(samples 0 to 63\): damaged: the checksum"):
        codec.decompress(bytes(data), start=63)


def test_packets_decode_alone(codec: Codec, samples: np.ndarray) -> None:
    encoder, right = codec.encoder(samples_per_frame=4, frame_only=True), codec.reconstruct(samples[:10])
    packets = [*encoder.push(samples[:10]), *encoder.finish()]
    assert len(packets) == 3
    decoder = codec.decoder(samples_per_frame=4, frame_only=True)
    for i in (2, 0):
        np.testing.assert_array_equal(decoder.push(packets[i]), right[4 * i : 4 * i + 4])
    np.testing.assert_array_equal(decoder.push(packets[0] + packets[1]), right[:8])
    for wrong in (packets[1][:-1], packets[1] + b"\0", bytes([packets[1][0] ^ 1]) + packets[1][1:]):
        with pytest.raises(FormatError, match="hold no whole frame"):
            decoder.push(wrong)
    np.testing.assert_array_equal(decoder.push(packets[1]), right[4:8])
    with pytest.raises(FormatError):
        codec.decoder(samples_per_frame=5, frame_only=True).push(packets[0])


def test_wrong_samples_are_refused(codec: Codec, samples: np.ndarray) -> None:
    with pytest.raises(DataError, match="got none, must be one or more"):
        codec.compress(samples[:0])
    with pytest.raises(DataError, match="samples: got shape"):
        codec.compress(samples[:, :3])
    if samples.dtype.kind == "f":
        x = samples.copy()
        x[70, 3] = np.nan
        encoder = codec.encoder()
        encoder.push(x[:64])
        with pytest.raises(DataError, match="value 3 of sample 70 is nan"):
            encoder.push(x[64:])


def test_codes_of_another_model_are_named(bundle: Path, samples: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = load(bundle, runtime="ort-cpu")
    run = type(codec.backend).encode
    monkeypatch.setattr(type(codec.backend), "encode", lambda self, x: run(self, x) ^ np.uint8(1))
    with pytest.raises(CheckError, match=r"ort-cpu: 16 of 16 samples have other codes than in the program; runtime program"):
        codec.compress(samples)


def test_other_models_are_refused(coded_runs: Path) -> None:
    codec = load(coded_runs / "bytes" / "bundle")
    with pytest.raises(FormatError, match="was encoded with another model, tables, shape, dtype or scaling"):
        codec.decompress(golden("table"))
    model = codec.file_model
    coarse = dataclasses.replace(model, identity=bytes(8))
    with pytest.raises(FormatError, match="its identity is 0000000000000000, must be"):
        codec.decompress(coarse.header(64).to_bytes())
    with pytest.raises(FormatError, match="holds no samples"):
        codec.decompress(model.header(64).to_bytes() + pack_index(model.header(64), []))


ADVERSARIAL = {
    "constant": lambda _: np.full((70, 24), 200, np.uint8),
    "black": lambda _: np.zeros((70, 24), np.uint8),
    "white": lambda _: np.full((70, 24), 255, np.uint8),
    "extremes": lambda _: np.resize(np.array([0, 255], np.uint8), (70, 24)),
    "random": lambda _: np.random.default_rng(0).integers(0, 256, (70, 24), np.uint8),
    "impulses": lambda _: np.where(np.random.default_rng(1).random((70, 24)) < 0.05, 255, 0).astype(np.uint8),
    "near the ends": lambda _: np.random.default_rng(2).choice(np.array([0, 1, 2, 253, 254, 255], np.uint8), (70, 24)),
    "samples": lambda codec: np.load(GOLDEN / "bytes.npy"),
    "reconstructions": lambda codec: codec.reconstruct(np.load(GOLDEN / "lossless.npy")),
}


@pytest.mark.parametrize("content", ADVERSARIAL)
@pytest.mark.parametrize("bound", every(3, [0, 1, 3, 16, 200, 65_535]))
def test_every_value_is_within_the_bound(coded_runs: Path, content: str, bound: int) -> None:
    codec = load(coded_runs / "bytes" / "bundle", runtime="program")
    x = ADVERSARIAL[content](codec)
    options: dict[str, Any] = {"max_error": bound} if bound else {"lossless": True}
    data = codec.compress(x, samples_per_frame=16, **options)
    found = codec.decompress(data)
    assert (found.dtype, found.shape) == (np.uint8, x.shape)
    assert np.abs(found.astype(int) - x).max() <= bound
    np.testing.assert_array_equal(codec.decompress(data, start=15, stop=18), found[15:18])
    if bound != 3:
        return
    encoder, decoder = codec.encoder(samples_per_frame=16, **options), codec.decoder()
    again = b"".join([*encoder.push(x[:5]), *encoder.push(x[5:]), *encoder.finish()])
    assert again == data
    np.testing.assert_array_equal(np.concatenate([decoder.push(again[:99]), decoder.push(again[99:])]), found)
    decoder.finish()


def test_both_modes_hold_the_bound_and_the_shorter_is_kept(models: dict[str, FileModel]) -> None:
    """Each mode by itself, as an encoder of another make may choose it."""
    model, x = models["bytes"], np.load(GOLDEN / "lossless.npy")
    codes = model.program.encode(x)
    for header in (model.header(64, FileKind.LOSSLESS), model.header(64, FileKind.BOUNDED, 5.0)):
        sizes = {}
        for mode in model.modes(header.kind):
            (payload,) = MODES[mode].encode(model, header, [x], [codes])
            assert payload is not None
            frame = pack_frame(header, mode, len(x), payload)
            data = header.to_bytes() + frame + pack_index(header, [(len(x), len(frame))])
            (found,) = Reader(model, data, "f.tae").samples()
            assert np.abs(found.astype(int) - x).max() <= header.bound
            sizes[mode] = len(payload)
        (kept,) = encode_frames(model, header, [x], [codes])
        assert (kept.mode, len(kept.data)) == min(sizes.items(), key=lambda each: each[1])


@pytest.mark.parametrize("frame", [0, 7, 12])
def test_a_frame_that_is_no_payload_is_named_among_others(models: dict[str, FileModel], frame: int) -> None:
    """A valid checksum and a payload that is none: of 13 frames, decoded together, the others stay."""
    model, x = models["bytes"], np.tile(np.load(GOLDEN / "lossless.npy")[8:16], (13, 1))
    header = model.header(8, FileKind.LOSSLESS)
    parts = np.split(x, 13)
    payloads = encode_frames(model, header, parts, [model.program.encode(each) for each in parts])
    packed = [pack_frame(header, each.mode, 8, each.data[:-2] if i == frame else each.data) for i, each in enumerate(payloads)]
    data = header.to_bytes() + b"".join(packed) + pack_index(header, [(8, len(each)) for each in packed])
    reader = Reader(model, data, "f.tae")
    np.testing.assert_array_equal(np.concatenate(list(reader.samples())), x[8:])
    assert len(reader.problems) == 1
    assert reader.problems[0].startswith(f"frame {frame} (samples {8 * frame} to {8 * frame + 7}): damaged: ")


def test_what_cannot_be_promised_is_refused(coded_runs: Path, models: dict[str, FileModel]) -> None:
    codec, table = (load(coded_runs / name / "bundle") for name in NAMES)
    x = np.load(GOLDEN / "bytes.npy")
    for bound in (0, -1, 0.5, 65_536, float("nan"), float("inf")):
        with pytest.raises(InputError, match=f"max error: got {bound:g}, must be an integer in 1…65,535 for uint8"):
            codec.compress(x, max_error=bound)
    with pytest.raises(InputError, match="max error 3: a lossless file has none; give one of the two"):
        codec.compress(x, max_error=3, lossless=True)
    floats = np.load(GOLDEN / "table.npy")
    with pytest.raises(
        InputError,
        match=r"lossless: the data are float64, must be uint8, int16, uint16: residuals are integers; max_error bounds floats",
    ):
        table.compress(floats, lossless=True)
    with pytest.raises(InputError, match=r"bounded: the bundle holds no tables of residuals; export the model again"):
        table.compress(floats, max_error=1)
    old = dataclasses.replace(models["bytes"], residuals=None)
    with pytest.raises(InputError, match="lossless: the bundle holds no tables of residuals; export the model again"):
        old.header(64, FileKind.LOSSLESS)
    for model, header in (
        (old, models["bytes"].header(64, FileKind.LOSSLESS)),
        (models["bytes"], Header(models["bytes"].identity, 24, 64, FileKind.BOUNDED, 0.5)),
        (models["table"], Header(models["table"].identity, 80, 64, FileKind.LOSSLESS)),
    ):
        with pytest.raises(FormatError, match=r"^f\.tae: (lossless: the|max error: got 0\.5)"):
            Reader(model, header.to_bytes() + pack_index(header, []), "f.tae")


def test_bundles_without_tables_say_so(small_runs: Path, codec: Codec) -> None:
    with pytest.raises(
        InputError, match=r"holds no bytes\.codec, which \.tae files need; `tiedae rescale .* --data DATA --out DIR`"
    ):
        load(small_runs / "bytes" / "bundle").compress(np.zeros(24, np.uint8))
    with pytest.raises(InputError, match=r"a model archive has no frequency tables; \.tae files need a bundle"):
        dataclasses.replace(codec, bundle=None).compress(np.zeros(24, np.uint8))


def test_the_identity_is_that_of_program_tables_and_data(coded_runs: Path, tmp_path: Path) -> None:
    found = {load(coded_runs / name / "bundle").file_model.identity.hex() for name in NAMES}
    assert found == {Header.from_bytes(golden(name), name).identity.hex() for name in NAMES} and len(found) == 2
    assert read_manifest(coded_runs / "bytes" / "bundle").files.keys() > {"bytes.codec"}
