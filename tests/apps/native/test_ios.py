"""The Swift package: its C part on Apple's processors and under sanitizers, and all of it where Swift is found."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tiedae.apps.native.ios import swift_package
from tiedae.codec.header import FileKind
from tiedae.codec.streams import StreamEncoder

from ...export.c.compiled import STRICT, tool, write_project
from ...export.c.models import Made
from .libraries import CASES_OF_DATA, half_of, made_of, native_of, packet, samples_of

APPLE = ("arm64-apple-ios13", "armv7k-apple-watchos6")
HEADERS = {
    "stdlib.h": "void *malloc(size_t); void *calloc(size_t, size_t); void *realloc(void *, size_t); void free(void *);",
    "string.h": "int memcmp(const void *, const void *, size_t);",
    "stdio.h": "int snprintf(char *restrict, size_t, const char *restrict, ...);",
    "math.h": '#define NAN __builtin_nanf("")',
}
"""What the C part takes of C's library: there is no SDK of Apple here."""
SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module", params=CASES_OF_DATA, ids=lambda case: case.dtype)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Path]:
    made = made_of(request.param)
    return made, write_project(swift_package(native_of(made)), tmp_path_factory.mktemp("package"))


def c_target(package: Path) -> Path:
    return next(package.glob("Sources/C*"))


@pytest.mark.ci
@pytest.mark.parametrize("target", APPLE)
def test_the_c_part_is_right_for_apples_processors(package: tuple[Made, Path], target: str, tmp_path: Path) -> None:
    clang, folder = tool("clang"), c_target(package[1])
    for name, text in HEADERS.items():
        (tmp_path / name).write_text(f"#include <stddef.h>\n{text}\n")
    command = [
        clang,
        f"--target={target}",
        *STRICT,
        "-fsyntax-only",
        "-ffreestanding",
        "-isystem",
        tmp_path,
        f"-I{folder}/include",
    ]
    done = subprocess.run([*command, *folder.glob("*.c")], capture_output=True, text=True, timeout=120, check=False)
    assert not done.returncode, done.stderr[:3000]


def test_swift_sees_one_header_without_the_models_structs(package: tuple[Made, Path]) -> None:
    """SwiftPM makes a module of all of include/; Swift takes arrays of C as tuples, which are slow to compile."""
    (header,) = (c_target(package[1]) / "include").iterdir()
    assert header.name == f"{package[0].source.name}_app.h"
    text = header.read_text()
    assert "struct " not in text and f'#include "{package[0].source.name}.h"' not in text


@pytest.mark.ci
def test_damaged_files_under_sanitizers(package: tuple[Made, Path], tmp_path: Path) -> None:
    made, folder = package[0], c_target(package[1])
    kinds = ("lossy", "lossless") if made.model.residuals is not None else ("lossy",)
    text = Path(__file__).with_name("fuzz_app.c").read_text().replace("NAMED", made.source.name)
    (tmp_path / "fuzz.c").write_text(text.replace("tae_", f"{made.source.name}_"))
    command = [tool("clang"), *SANITIZE, f"-DINPUTS={made.golden.data.shape[1]}", f"-I{folder}/include", tmp_path / "fuzz.c"]
    subprocess.run([*command, *folder.glob("*.c"), "-o", tmp_path / "fuzz"], check=True, timeout=120)
    for kind in kinds:
        encoder = StreamEncoder(made.model, made.model.program, samples_per_frame=3, kind=FileKind[kind.upper()])
        (tmp_path / "file").write_bytes(encoder.whole(samples_of(made)[:8]))
        done = subprocess.run([tmp_path / "fuzz", tmp_path / "file"], capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_swift_builds_the_package_and_its_tests_hold(package: tuple[Made, Path]) -> None:
    """Not in CI: Swift is larger than all else that CI installs together."""
    swift, folder = tool("swift"), package[1]
    done = subprocess.run([swift, "test"], cwd=folder, capture_output=True, text=True, timeout=500, check=False)
    shutil.rmtree(folder / ".build")
    assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Executed 7 tests, with 0 failures" in done.stdout + done.stderr


PACKETS = """import XCTest
import Image

final class PacketTests: XCTestCase {
    func testPackets() throws {
        XCTAssertEqual(try ImageFormat.lossless.frames(of: 1).samples(FRAME), SAMPLES)
        XCTAssertThrowsError(try ImageFormat.lossless.samples([])) {
            XCTAssertTrue($0.localizedDescription.hasPrefix("file: is damaged"))
        }
    }
}
"""


def test_a_package_that_decodes_alone_decodes_packets(tmp_path: Path) -> None:
    swift, made = tool("swift"), made_of(CASES_OF_DATA[0])
    write_project(swift_package(half_of(made, "decode")), tmp_path)
    frame, samples = packet(made)
    text = PACKETS.replace("FRAME", str([*frame])).replace("SAMPLES", str(samples.ravel().tolist()))
    (tmp_path / "Tests" / "ImagesTests" / "Packets.swift").write_text(text)
    done = subprocess.run([swift, "test"], cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Executed 3 tests, with 0 failures" in done.stdout + done.stderr


def test_the_swift_file_says_that_swift_was_not_run(package: tuple[Made, Path]) -> None:
    module = c_target(package[1]).name[1:]
    text = (package[1] / "Sources" / module / f"{module}.swift").read_text()
    assert text.startswith("// Swift was not run on this file.")


def test_scores_and_flags_are_those_of_python(package: tuple[Made, Path], tmp_path: Path) -> None:
    made, folder = package[0], c_target(package[1])
    library, golden, inputs = tmp_path / "app.so", made.golden, made.golden.floats.get("data", made.golden.data)
    assert golden.scores is not None and golden.anomalies is not None and set(golden.anomalies.tolist()) == {0, 1}
    command = [tool("clang"), "-shared", "-fPIC", f"-I{folder}/include", *folder.glob("*.c"), "-o", library]
    subprocess.run(command, check=True, timeout=120)
    count = len(inputs)
    totals, flags = (ctypes.c_int64 * count)(), (ctypes.c_uint8 * count)()
    score, size = getattr(ctypes.CDLL(str(library)), f"{made.source.name}_app_score"), ctypes.c_size_t
    assert score(np.ascontiguousarray(inputs).ctypes, size(inputs.size), totals, size(count), flags, size(count)) == count
    assert ([*totals], [*flags]) == (golden.scores.tolist(), golden.anomalies.tolist())


def test_swift_decides_nothing_about_anomalies(package: tuple[Made, Path]) -> None:
    """What C says is what Swift gives: flags are neither compared nor negated, and no threshold is applied."""
    module = c_target(package[1]).name[1:]
    text = (package[1] / "Sources" / module / f"{module}.swift").read_text()
    body = text.partition("public static func score(")[2].partition("\n    }\n")[0].replace("->", "")
    assert "$1 != 0" in body and not re.findall(r"[<>!]|\bnot\b|threshold", body.replace("$1 != 0", ""))


def test_golden_samples_of_swift_are_those_of_c(package: tuple[Made, Path]) -> None:
    made, folder = package
    (tests,) = folder.glob("Tests/*/*.swift")
    text = tests.read_text()
    for name, right in (("samples", made.golden.floats.get("data", made.golden.data)), ("codes", made.golden.code)):
        literal = text.partition(f"let {name}: ")[2].partition("[\n")[2].partition("]")[0]
        np.testing.assert_array_equal(np.array(literal.split(","), right.dtype), right.ravel())
