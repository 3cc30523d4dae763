"""The Android module on a desktop JDK: Java computes what Python does, and refuses what cannot be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from tiedae.apps.native.android import android_module
from tiedae.base.errors import TiedaeError
from tiedae.codec.detector import integer_errors
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamEncoder

from ...export.c.compiled import tool
from ...export.c.models import CASES, Made
from .libraries import (
    CASES_OF_DATA,
    Call,
    Library,
    built,
    built_module,
    half_of,
    javac,
    made_of,
    native_of,
    packed,
    packet,
    samples_of,
    unpacked,
)

pytestmark = pytest.mark.ci

CALLS, THREADS = 600, 4
MOST_GROWTH = CALLS * THREADS // 2
"""KiB that a process whose heap does not grow may grow by: half of one per call."""


@pytest.fixture(scope="module", params=CASES_OF_DATA, ids=lambda case: case.dtype)
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Library]:
    tool("javac")
    made = made_of(request.param)
    return made, built_module(made, tmp_path_factory.mktemp("module"))


def scores(made: Made, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scoring = made.detector.scoring
    errors, missing = integer_errors(scoring, made.model.program, x)
    totals = scoring.totals(errors)
    return np.where(missing, np.nan, totals * scoring.factor), (totals > made.detector.thresholds.fused) | missing


def test_java_computes_what_python_does(module: tuple[Made, Library]) -> None:
    """Values and files, byte for byte; Python reads the files that Java writes, which are its own."""
    made, library = module
    backend, x = made.model.program, samples_of(made)
    codes, y = backend.reconstruct(x)
    restored = backend.samples(y)
    right = [
        (Call("encode", x), codes),
        (Call("decode", codes), restored),
        (Call("reconstruct", x), restored),
        (Call("compress", x), packed(made, x)),
        (Call("decompress", packed(made, x)), restored),
        (Call("recover", packed(made, x)[:-1]), restored),
        (Call("encode", x[:0]), codes[:0]),
    ]
    odd = x.copy()
    if x.dtype.kind == "f":
        odd[[1, 7], [0, -1]] = np.nan, np.inf
    values, flags = scores(made, odd)
    right += [(Call("score", odd), values), (Call("isAnomaly", odd), flags)]
    assert set(flags.tolist()) == {True, False}
    if made.model.spec.kind == "record":
        encoder = StreamEncoder(made.model, backend)
        records = b"".join([*encoder.push(x, [(3, 1), (len(x), 0)]), *encoder.finish()])
        right += [(Call("decompress", records), restored), (Call("recover", records), restored)]
    if made.model.residuals is not None:
        files = {bound: packed(made, x, "bounded", bound) for bound in (1, 300)}
        right += [(Call("compressWithin", x, bound), file) for bound, file in files.items()]
        right += [(Call("decompress", file), unpacked(made, file)) for file in files.values()]
        lossless = packed(made, x, "lossless")
        right += [(Call("compressLossless", x), lossless), (Call("decompress", lossless), x)]
    found = library.run(*(call for call, _ in right))
    for (call, expected), (answer, result, _) in zip(right, found, strict=True):
        assert (call.method, answer) == (call.method, "ok")
        assert result == (expected if isinstance(expected, bytes) else expected.tobytes()), call.method


def test_what_cannot_be_is_an_exception_with_a_sentence(module: tuple[Made, Library]) -> None:
    made, library = module
    x, inputs, units = samples_of(made), made.golden.data.shape[1], made.golden.code.shape[1]
    argument = "IllegalArgumentException: "
    cases = [
        (Call("encode", None), f"{argument}samples: got null, must be an array"),
        (Call("decompress", None), f"{argument}file: got null, must be an array"),
        (Call("encode", x[0, 1:]), f"{argument}samples: got {inputs - 1} values, must be a multiple of {inputs}"),
        (Call("score", x[0, 1:]), f"{argument}samples: got {inputs - 1} values, must be a multiple of {inputs}"),
        (Call("compress", x[:0]), f"{argument}samples: got none, must be one or more"),
        (Call("decode", bytes(units + 1)), f"{argument}codes: got {units + 1} values, must be a multiple of {units}"),
    ]
    if made.model.residuals is not None:
        cases += [
            (Call("compressWithin", x, bound), f"{argument}maxError: got {bound}, must be 1 to 65535") for bound in (0, 65536)
        ]
    if x.dtype.kind == "f":
        odd = x.copy()
        odd[-1, 0] = np.inf
        cases += [(Call(name, odd), f"{argument}samples: got a value that is not finite") for name in ("encode", "compress")]
    top = (1 << made.program.quantization("code").bits) - 1
    if top < 255:
        cases.append((Call("decode", bytes([top + 1] * units)), f"{argument}codes: got one above {top}"))
    for (call, text), (answer, _, _) in zip(cases, library.run(*(call for call, _ in cases)), strict=True):
        assert (call.method, answer) == (call.method, text)


def test_a_model_of_short_codes_is_among_them() -> None:
    assert any(made_of(case).program.quantization("code").bits < 8 for case in CASES_OF_DATA)


def test_damaged_files_are_refused_and_whole_frames_recovered(module: tuple[Made, Library]) -> None:
    """One bit at many places, files cut off anywhere, other bytes: as Python's own reader answers."""
    made, library = module
    whole = packed(made, samples_of(made))
    damaged = [whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :] for at in range(4, len(whole), len(whole) // 60 + 1)]
    damaged += [whole[:at] for at in range(0, len(whole), len(whole) // 30 + 1)]
    damaged += [b"", b"RIFF" + whole, whole[:40] * 3]
    answers = library.run(*(Call(method, file) for file in damaged for method in ("decompress", "recover")))
    recovered = 0
    for i, file in enumerate(damaged):
        (refused, _, _), (answer, result, _) = answers[2 * i : 2 * i + 2]
        assert refused.startswith(f"{library.class_name.rpartition('.')[2]}Exception "), refused
        try:
            reader = Reader(made.model, file, "file")
            found = np.concatenate(list(reader.samples(0, None)))
        except TiedaeError:
            found = None
        if found is None or not len(found):
            assert "Exception " in answer
        else:
            recovered += 1
            assert (answer, result) == ("ok", found.tobytes()), i
    assert recovered > 30


def test_files_of_others_say_why(module: tuple[Made, Library]) -> None:
    made, library = module
    other = made_of(next(case for case in CASES if case.name != made.program.name))
    name, whole = f"{library.class_name.rpartition('.')[2]}Exception", packed(made, samples_of(made))
    foreign, later = packed(other, samples_of(other)), whole[:4] + b"\2" + whole[5:]
    answers = [answer for answer, _, _ in library.run(Call("decompress", foreign), Call("recover", later))]
    model = made.program.name
    assert answers == [
        f"{name} OTHER_MODEL: file: is of another model, must be of {model}",
        f"{name} UNSUPPORTED: file: is of a version or kind that {model} does not decode",
    ]


@pytest.mark.parametrize("module", [CASES[0], CASES[2]], indirect=True, ids=lambda case: case.dtype)
def test_threads_call_at_once_and_nothing_leaks(module: tuple[Made, Library]) -> None:
    made, library = module
    x = samples_of(made)
    file = packed(made, x)
    given = {"reconstruct": x, "score": x, "compress": x, "decompress": file, "recover": file[:-9]}
    calls = [Call(method, each, calls=CALLS, threads=THREADS) for method, each in given.items()]
    calls.append(Call("decompress", file[:-9], calls=CALLS, threads=THREADS))
    answers = library.run(*calls)
    assert [answer for answer, _, _ in answers[:-1]] == ["ok"] * len(given) and " DAMAGED: " in answers[-1][0]
    assert max(grown for _, _, grown in answers) < MOST_GROWTH, [grown for _, _, grown in answers]


def test_a_build_of_other_values_says_so_in_every_call(tmp_path: Path) -> None:
    tool("javac")
    made = made_of(CASES[0])
    files = android_module(native_of(made))
    path = "src/main/cpp/image_golden.h"
    head, array, values = files[path].decode().partition(" golden_lossy[")
    size, brace, values = values.partition("= {\n")
    first, comma, rest = values.partition(",")
    files[path] = f"{head}{array}{size}{brace}{int(first) ^ 1}{comma}{rest}".encode()
    library, x = built(files, tmp_path), made.golden.data
    what = "image: lossy file differs at 0"
    text = f"ImageModelException WRONG_BUILD: {what}, this build does not compute what Python does"
    calls = [Call("encode", x), Call("encode", x[:0]), Call("decompress", b"")]
    assert [answer for answer, _, _ in library.run(*calls)] == [text] * 3


@pytest.mark.parametrize("signature", ["encode", "decode", pytest.param("score", marks=pytest.mark.ci)])
def test_a_module_of_one_half_has_its_methods_alone(signature: str, tmp_path: Path) -> None:
    tool("javac")
    whole = made_of(CASES[0])
    backend, x = whole.model.program, samples_of(whole)
    library, codes = built(android_module(half_of(whole, signature)), tmp_path), backend.encode(x)
    restored, lossless = backend.samples(backend.decode(codes)), packed(whole, x, "lossless")
    calls, right = {
        "encode": ([Call("encode", x), Call("compress", x)], [codes.tobytes(), packed(whole, x)]),
        "decode": ([Call("decode", codes), Call("decompress", lossless)], [restored.tobytes(), x.tobytes()]),
        "score": ([Call("score", x), Call("isAnomaly", x)], [each.tobytes() for each in scores(whole, x)]),
    }[signature]
    assert [(answer, result) for answer, result, _ in library.run(*calls)] == [("ok", result) for result in right]
    text = next(tmp_path.glob("src/main/java/**/ImageModel.java")).read_text()
    others = {
        "encode": ("decode(", "recover(", "score("),
        "decode": ("encode(", "compress(", "reconstruct("),
        "score": ("encode(", "decode(", "compress("),
    }[signature]
    assert not any(f" {each}" in text for each in others)


def test_a_module_that_decodes_alone_decodes_packets(tmp_path: Path) -> None:
    tool("javac")
    made = made_of(CASES[0])
    built(android_module(half_of(made, "decode")), tmp_path)
    frame, samples = packet(made)
    (tmp_path / "frame").write_bytes(frame)
    command = [tool("java"), f"-Djava.library.path={tmp_path}", "-cp", tmp_path, Path(__file__).with_name("Packets.java")]
    subprocess.run([*command, tmp_path / "frame", tmp_path / "samples"], check=True, timeout=120)
    assert (tmp_path / "samples").read_bytes() == samples.tobytes()


APP = """
import java.nio.file.*;
import tiedae.record.*;

public final class App {
    public static void main(String[] paths) throws Exception {
        short[] steps = new short[3 * RecordModel.WINDOW];
        RecordWriter writer = new RecordWriter(Files.newOutputStream(Paths.get(paths[0])), RecordFormat.lossless());
        writer.write(steps);
        writer.close();
        System.out.println(new RecordStream<>(RecordModel.WINDOW, RecordModel::encode).push(steps).length);
        try {
            RecordModel.decompress(new byte[3]);
        } catch (RecordModelException error) {
            System.out.println(error.reason());
        }
    }
}
"""


def java_8(jar: Path) -> Path:
    """The classes of Java 8 without their code, of which `javac --release 8` knows; ProGuard reads no newer ones."""
    with ZipFile(Path(tool("java")).resolve().parents[1] / "lib" / "ct.sym") as known, ZipFile(jar, "w") as classes:
        for name in known.namelist():
            releases, module, *path = name.split("/")
            if "8" in releases and module == "java.base" and name.endswith(".sig"):
                data = known.read(name)
                classes.writestr("/".join(path).replace(".sig", ".class"), data[:6] + b"\0\x34" + data[8:])
    return jar


@pytest.mark.parametrize("module", [CASES[1]], indirect=True, ids=lambda case: case.dtype)
def test_an_app_that_is_shrunk_by_the_modules_rules_runs(module: tuple[Made, Library], tmp_path: Path) -> None:
    """ProGuard reads the rules as R8 does: it removes what the app does not call, and renames all but what JNI looks for."""
    proguard, made, folder = tool("proguard"), module[0], module[1].folder
    (tmp_path / "App.java").write_text(APP)
    classes = ["-d", tmp_path / "in", "--release", "8", *folder.glob("src/main/java/**/*.java"), tmp_path / "App.java"]
    subprocess.run(list(map(str, [*javac(), "-Xlint:-options", *classes])), check=True, timeout=120)
    options = [
        f"-injars {tmp_path / 'in'}",
        f"-outjars {tmp_path / 'app.jar'}",
        f"-libraryjars {java_8(tmp_path / 'java.jar')}",
        "-keep class App { public static void main(java.lang.String[]); }",
        f"-printmapping {tmp_path / 'map'}",
        f"-include {folder / 'consumer-rules.pro'}",
    ]
    (tmp_path / "app.pro").write_text("\n".join(options))
    subprocess.run([proguard, f"@{tmp_path}/app.pro"], check=True, capture_output=True, timeout=120)
    command = [tool("java"), f"-Djava.library.path={folder}", "-cp", tmp_path / "app.jar", "App", tmp_path / "x.tae"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout == f"{3 * made.golden.code.shape[1]}\nDAMAGED\n"
    mapping = (tmp_path / "map").read_text()
    assert "tiedae.record.RecordModel -> tiedae.record.RecordModel:" in mapping
    assert "tiedae.record.RecordWriter -> tiedae.record.RecordWriter:" not in mapping and "RecordReader" not in mapping
    x = np.zeros((3, made.golden.data.shape[1]), np.int16)
    assert (tmp_path / "x.tae").read_bytes() == packed(made, x, "lossless")


@pytest.mark.parametrize("module", [CASES[1]], indirect=True, ids=lambda case: case.dtype)
def test_cmake_builds_a_library_that_exports_one_name(module: tuple[Made, Library], tmp_path: Path) -> None:
    made, (cmake, nm) = module[0], (tool("cmake"), tool("nm"))
    copy = Library(Path(shutil.copytree(module[1].folder, tmp_path / "module")), module[1].class_name)
    source, build = copy.folder / "src" / "main" / "cpp", tmp_path / "build"
    for command in ([cmake, "-S", source, "-B", build], [cmake, "--build", build]):
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    library = shutil.copy(build / "librecord_jni.so", copy.folder)
    exported = subprocess.run([nm, "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in exported.stdout.splitlines()] == ["JNI_OnLoad"]
    x = samples_of(made)
    ((answer, result, _),) = copy.run(Call("compressLossless", x))
    assert (answer, result) == ("ok", packed(made, x, "lossless"))
