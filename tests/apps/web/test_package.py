"""The npm package in Node.js: codes, samples, scores and .tae files of Python, byte for byte, with vectors and without."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.codec.container import read as contents_of
from tiedae.codec.detector import integer_errors
from tiedae.codec.header import FileKind
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamDecoder, StreamEncoder
from tiedae.config.sample_spec import INTEGERS
from tiedae.data.patches import cut as cut_picture
from tiedae.export.c.rounding import FORMS

from ...data.test_windows import codec_of
from ...export.c.compiled import tool
from ...export.c.models import CASES, Case, Made, samples_of, training_of
from .node import call, write_package

pytestmark = pytest.mark.ci

WIDE = (
    Case("wide", 16, "float64", "table", (170,), "mae", "dense", FORMS, widest=300),
    Case("long", 33, "uint16", "image", (7, 19), "mse", "dense", FORMS, widest=300),
)
"""Layers wide enough for vectors, of odd sizes."""
BUILDS = {"simd": {"simd": True}, "scalar": {"simd": False}}
SAMPLES = 70
"""More than a frame."""
OPTIONS: dict[str, dict[str, Any]] = {"lossy": {}, "bounded": {"maxError": 2}, "lossless": {"lossless": True}}


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    return {case.name: case.made() for case in (*CASES, *WIDE)}


@pytest.fixture(scope="module")
def packages(made: dict[str, Made], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    return {name: write_package(model, folder / name) for name, model in made.items()}


def encoded(made: Made, kind: str, x: np.ndarray, per_frame: int = 64) -> bytes:
    bound = 2.0 if kind == "bounded" else 0.0
    options = {"samples_per_frame": per_frame, "kind": FileKind[kind.upper()], "bound": bound}
    return StreamEncoder(made.model, made.model.program, **options).whole(x)


@dataclass(frozen=True)
class Right:
    """What Python makes of samples: codes, decoded samples, integer scores; .tae files by kind, and what they decode to."""

    x: np.ndarray
    code: np.ndarray
    restored: np.ndarray
    totals: np.ndarray
    files: dict[str, bytes]
    decoded: dict[str, bytes]


@pytest.fixture(scope="module")
def right(made: dict[str, Made]) -> Callable[[str], Right]:
    @cache
    def of(name: str) -> Right:
        model, backend = made[name], made[name].model.program
        x = samples_of(backend.spec, SAMPLES)
        x[0] = 0
        x[1] = 1e30 if x.dtype.kind == "f" else np.iinfo(x.dtype).max
        code, y = backend.reconstruct(x)
        totals = model.detector.scoring.totals(integer_errors(model.detector.scoring, backend, x)[0])
        files = {file.kind: encoded(model, file.kind, x) for file in model.golden.files}
        decoded = {kind: StreamDecoder(model.model).push(data).tobytes() for kind, data in files.items()}
        return Right(x, code, backend.samples(y), totals, files, decoded)

    return of


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", [case.name for case in (*CASES, *WIDE)])
def test_node_computes_what_python_does(
    packages: dict[str, Path], made: dict[str, Made], right: Callable[[str], Right], name: str, build: str
) -> None:
    wanted, detector = right(name), made[name].detector
    x, kinds = wanted.x, list(wanted.files)
    calls = [("encode", x), ("decode", wanted.code), ("reconstruct", x), ("score", x)]
    calls += [("compress", x, OPTIONS[kind]) for kind in kinds] + [("decompress", wanted.files[kind]) for kind in kinds]
    codes, decoded, reconstructed, scores, *rest = call([(packages[name], BUILDS[build], *each) for each in calls])
    assert np.array_equal(codes, wanted.code.ravel())
    assert decoded.tobytes() == reconstructed.tobytes() == wanted.restored.tobytes() and decoded.dtype == x.dtype
    assert np.array_equal(scores["totals"], wanted.totals)
    assert np.array_equal(scores["anomalies"], wanted.totals > detector.thresholds.fused) and len(set(scores["anomalies"])) == 2
    assert np.array_equal(scores["scores"], wanted.totals * detector.scoring.factor)
    assert kinds == (list(OPTIONS) if x.dtype.name in INTEGERS else ["lossy"])
    for kind, written, read in zip(kinds, rest[: len(kinds)], rest[len(kinds) :], strict=True):
        assert written.tobytes() == wanted.files[kind], kind
        assert read["samples"].tobytes() == wanted.decoded[kind] and read["problems"] == [] and read["kind"] == kind
        assert np.array_equal(read["numbers"], np.arange(SAMPLES))


def cut(data: bytes) -> bytes:
    return data[: len(data) * 3 // 4]


def turned(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :]


def test_records_are_windows_and_a_damaged_end_is_no_frame(packages: dict[str, Path], made: dict[str, Made]) -> None:
    model = made["record"]
    x = samples_of(model.model.program.spec, 9)
    encoder = StreamEncoder(model.model, model.model.program, samples_per_frame=3)
    whole = b"".join([*encoder.push(x, [(3, 2), (6, 0)]), *encoder.finish()])
    contents = contents_of(whole, "")
    damaged = bytearray(whole)
    damaged[contents.ends[0].offset + 2] ^= 1
    damaged[contents.frames[1].stop - 1] ^= 1
    reader = Reader(model.model, bytes(damaged), "file")
    right = np.concatenate(list(reader.samples()))
    first, second = call([(packages["record"], {}, "decompress", data) for data in (whole, bytes(damaged))])
    assert first["problems"] == [] and first["samples"].size == x.size
    assert second["samples"].tobytes() == right.tobytes()
    assert sorted(second["problems"]) == sorted(re.sub(r": damaged: .*", " is damaged", text) for text in reader.problems)


@pytest.mark.parametrize("damage", [cut, turned, lambda data: turned(cut(data))], ids=["cut", "turned", "both"])
@pytest.mark.parametrize("name", ["image", "record", "table"])
def test_what_is_whole_is_given_and_what_is_damaged_is_named(
    packages: dict[str, Path], made: dict[str, Made], name: str, damage: Any
) -> None:
    model = made[name]
    x = samples_of(model.model.program.spec, SAMPLES)
    data = damage(encoded(model, "lossy", x, 4))
    reader = Reader(model.model, data, "file")
    right = np.concatenate(list(reader.samples()))
    (read,) = call([(packages[name], {}, "decompress", data)])
    assert 0 < len(right) < SAMPLES and read["samples"].tobytes() == right.tobytes()
    assert read["problems"] == [
        re.sub(r": damaged: .*", " is damaged", text).replace(": a ", " is a ") for text in named(reader)
    ]
    assert (read["numbers"] is not None) == reader.contents.placed
    if read["numbers"] is not None:
        assert np.array_equal(
            model.model.program.samples(model.model.program.reconstruct(x)[1])[read["numbers"]].ravel(), right.ravel()
        )


def named(reader: Reader) -> list[str]:
    """The problems, of frames without the reason."""
    return [re.sub(r"^(frame \d+ \(.*?\)):.*", r"\1 is damaged", text) for text in reader.problems]


REFUSED: list[tuple[str, str, tuple[Any, ...], str]] = [
    (
        "image",
        "encode",
        (np.zeros(24, np.uint8),),
        "RangeError: samples: got 24 values, must be a multiple of 25",
    ),
    ("image", "encode", (np.zeros(25, np.float32),), "TypeError: samples: got Float32Array, must be Uint8Array"),
    ("image", "encode", ([0] * 25,), "TypeError: samples: got Array, must be Uint8Array"),
    ("image", "encode", (None,), "TypeError: samples: got null, must be Uint8Array"),
    (
        "table",
        "encode",
        (np.full(50, [0.0] * 27 + [np.nan] + [0.0] * 22, np.float32),),
        "RangeError: samples: value 2 of sample 1",
    ),
    (
        "table",
        "compress",
        (np.full(25, np.inf, np.float32),),
        "RangeError: samples: got a value that is not finite",
    ),
    ("image", "decode", (np.zeros(7, np.uint8),), "RangeError: codes: got 7 values, must be a multiple of"),
    (
        "image",
        "compress",
        (np.zeros(25, np.uint8), {"maxError": 0.5}),
        "RangeError: maxError: got 0.5, must be 1 to 65535",
    ),
    ("table", "compress", (np.zeros(25, np.float32), {"lossless": True}), "Error: lossless .tae files: this package was made"),
    ("image", "decompress", (b"no file at all, just some text",), "Error: file: is damaged or cut off; decompress gives"),
]


CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("encoder", {"lossless": True, "maxError": 3}, "Error: maxError: got 3 with lossless, must be left out"),
    ("encoder", {"maxerror": 3}, "Error: options: got maxerror, must be samplesPerFrame, maxError or lossless"),
    ("stream", {"lossless": True}, "Error: stream: got lossless for result 'code', must be hop alone"),
    ("stream", {"result": "score", "maxError": 3}, "Error: stream: got maxError for result 'score', must be hop alone"),
    ("stream", {"result": "frame", "samplesPerFrame": 4}, "RangeError: samplesPerFrame: got 4, must be 1 in a stream"),
    ("stream", {"result": "frame", "maxError": 0}, "RangeError: maxError: got 0, must be 1 to 65535"),
    ("stream", {"result": "frame", "hops": 3}, "Error: options: got hops, must be samplesPerFrame, maxError or lossless"),
    ("stream", {"result": "codes"}, "Error: stream: got codes, must be one of code, reconstruction, score, anomaly, frame"),
    ("stream", {"hop": 34}, "RangeError: hop: got 34, must be 1 to 33"),
]


def test_options_that_contradict_each_other_are_refused(packages: dict[str, Path]) -> None:
    errors = call([(packages["record"], {}, method, options) for method, options, _ in CONTRADICTIONS])
    assert errors == [text for *_, text in CONTRADICTIONS]
    fine = [{}, {"result": "frame", "lossless": True, "hop": 3}, {"result": "frame", "samplesPerFrame": 1}]
    assert [found["hop"] for found in call([(packages["record"], {}, "stream", each) for each in fine])] == [33, 3, 33]


def test_wrong_input_is_named_and_does_no_harm(packages: dict[str, Path], made: dict[str, Made]) -> None:
    calls = [(packages[name], {}, method, *values) for name, method, values, _ in REFUSED]
    good = [(packages["image"], {}, "encode", made["image"].golden.data.ravel())]
    *errors, code = call([*calls, *good])
    assert np.array_equal(code, made["image"].golden.code.ravel())
    for error, (*_, right) in zip(errors, REFUSED, strict=True):
        assert str(error).startswith(right)


SOURCES = {"x.tae": "String", 3: "Number", None: "null"}


def test_a_source_that_cannot_be_read_is_refused(packages: dict[str, Path]) -> None:
    errors = call([(packages["record"], {}, "reader", source) for source in SOURCES])
    text = "TypeError: source: got {}, must be a Blob, or its size and read(offset, size)"
    assert errors == [text.format(kind) for kind in SOURCES.values()]


def test_files_of_another_model_are_refused(packages: dict[str, Path], made: dict[str, Made]) -> None:
    other = made["record"].golden.files[0].content
    (error,) = call([(packages["image"], {}, "decompress", other)])
    assert error == "Error: file: is of another model, must be of image"


def test_a_sample_that_is_not_finite_is_an_anomaly(packages: dict[str, Path]) -> None:
    (score,) = call([(packages["table"], {}, "score", np.full(25, np.nan, np.float32))])
    assert np.isnan(score["scores"]).all() and score["anomalies"].tolist() == [1] and score["totals"].tolist() == [-1]


@pytest.mark.parametrize("build", BUILDS)
def test_a_sample_without_an_error_scores_0(packages: dict[str, Path], made: dict[str, Made], build: str) -> None:
    program = made["table"].model.program
    x = training_of(program)[:3]
    assert np.array_equal(program.samples(program.reconstruct(x)[1]), x)
    (score,) = call([(packages["table"], BUILDS[build], "score", x)])
    assert [values.tolist() for values in score.values()] == [[0] * 3] * 3


@pytest.mark.parametrize("what", ["code", "decoded", "scores"])
def test_the_first_start_finds_one_other_bit(
    packages: dict[str, Path], made: dict[str, Made], tmp_path: Path, what: str
) -> None:
    copy = tmp_path / "image"
    copy.mkdir()
    for path in packages["image"].glob("*.*"):
        (copy / path.name).write_bytes(path.read_bytes())
    facts = json.loads((copy / "model.mjs").read_text().removeprefix("export default ").removesuffix(";\n"))
    last = facts["golden"][what][-8:]
    facts["golden"][what] = facts["golden"][what][:-8] + ("B" if last[0] == "A" else "A") + last[1:]
    (copy / "model.mjs").write_text(f"export default {json.dumps(facts)};\n")
    (error,) = call([(copy, {}, "name")])
    word = {"code": "code", "decoded": "decoded sample", "scores": "score"}[what]
    assert re.match(rf"Error: image: {word} of golden sample 8 differs: value \d+ is \S+, must be \S+$", error), error


def test_vectors_are_used_where_there_are_any(packages: dict[str, Path]) -> None:
    plain = packages["wide"] / "wide.scalar.wasm"
    bytes_ = np.frombuffer(plain.read_bytes(), np.uint8)
    found = call(
        [
            (packages["wide"], {}, "simd"),
            (packages["wide"], {"simd": False}, "simd"),
            (packages["wide"], {"bytes": bytes_}, "inputs"),
        ]
    )
    assert found == [True, False, 170]
    (error,) = call([(packages["wide"], {"url": "nothing.wasm"}, "simd")])
    assert "ENOENT" in error and "nothing.wasm" in error


def test_the_types_are_those_of_the_model(packages: dict[str, Path]) -> None:
    types = (packages["wide"] / "index.d.ts").read_text()
    assert "samples: Float64Array" in types and not re.search(r"\b(INPUT|SAMPLES|NAME)\b", types)
    manifest = json.loads((packages["wide"] / "package.json").read_text())
    assert manifest["exports"]["."]["types"] == "./index.d.ts" and manifest["type"] == "module" and tool("node")


def test_a_file_of_a_picture_is_pythons(packages: dict[str, Path], made: dict[str, Made], tmp_path: Path) -> None:
    """Patches, then the picture's end; the C reader takes its size for no damage."""
    codec = codec_of(made["image"])
    picture = np.random.default_rng(0).integers(0, 256, (13, 22), dtype=np.uint8)
    data = codec.compress_picture(picture)
    script = tmp_path / "picture.mjs"
    script.write_text(
        f"import {{ load }} from '{packages['image'].as_uri()}/index.mjs';\n"
        "import { readFileSync, writeFileSync } from 'node:fs';\n"
        "const encoder = (await load()).encoder();\n"
        "const patches = new Uint8Array(readFileSync(process.argv[2]));\n"
        "const parts = [encoder.push(patches), encoder.endPicture(22, 13), encoder.finish()];\n"
        "writeFileSync(process.argv[3], Buffer.concat(parts));\n"
        "for (const sides of [[0, 5], [5, 65536]]) {\n"
        "  try { (await load()).encoder().endPicture(...sides); } catch (error) { console.log(error.message); }\n"
        "}\n"
    )
    (tmp_path / "patches.raw").write_bytes(cut_picture(picture, 5).tobytes())
    command = [tool("node"), script, tmp_path / "patches.raw", tmp_path / "x.tae"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert (tmp_path / "x.tae").read_bytes() == data
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["width", "height"]
    (read,) = call([(packages["image"], {}, "decompress", data)])
    assert read["problems"] == [] and np.array_equal(read["samples"], codec.decompress(data).ravel())
