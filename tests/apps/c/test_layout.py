"""The folder that people build: its check finds every difference, and CMake, Arduino's C++ and Zephyr's CMake take it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tiedae.apps.c.golden import GoldenFile, GoldenSamples
from tiedae.apps.c.layout import c_project, size_macros
from tiedae.base.errors import InputError
from tiedae.export.c.codec_source import PROMISES, Promise
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import to_c

from ...export.c.compiled import built_check, tool, write_project
from ...export.c.models import CASES, GOLDEN, PER_FRAME, Made
from ...variants import every
from .linked import OptionSet

WHOLE = GOLDEN // PER_FRAME * PER_FRAME
"""Samples in whole frames."""


def written(made: Made, folder: Path) -> Path:
    return write_project(c_project(made.source, made.golden), folder / made.source.name)


def checked(program: Path) -> tuple[int, str]:
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    return {case.name: case.made() for case in CASES}


def changed(values: np.ndarray) -> np.ndarray:
    """With the last bit of the last value turned."""
    data = np.frombuffer(bytearray(values.tobytes()), values.dtype)
    data.view(np.uint8)[-values.itemsize] ^= 1
    return data.reshape(values.shape)


def with_file(golden: GoldenSamples, kind: str, change: Callable[[GoldenFile], GoldenFile]) -> GoldenSamples:
    return replace(golden, files=tuple(change(file) if file.kind == kind else file for file in golden.files))


@pytest.mark.parametrize(
    ("name", "field", "text"),
    every(
        4,
        [
            ("image", "code", f"code differs at {GOLDEN - 1}"),
            ("image", "decoded", f"decoded sample differs at {GOLDEN - 1}"),
            ("image", "scores", f"score differs at {GOLDEN - 1}"),
            ("image", "anomalies", f"anomaly differs at {GOLDEN - 1}"),
            ("table", "data", f"quantized sample differs at {GOLDEN - 1}"),
            ("table", "scores", f"score differs at {GOLDEN - 1}"),
            ("table", "floats.decoded", f"dequantized sample differs at {GOLDEN - 1}"),
            *((name, f"{kind}.content", f"{kind} file differs at") for name in ("image", "record") for kind in PROMISES),
            *((name, "bounded.decoded", f"decoded bounded file differs at {WHOLE}") for name in ("image", "record")),
        ],
    ),
)
def test_one_other_bit_is_found(made: dict[str, Made], name: str, field: str, text: str, tmp_path: Path) -> None:
    source, golden = made[name].source, made[name].golden
    whole, _, part = field.rpartition(".")
    if not whole:
        other = replace(golden, **{part: changed(getattr(golden, part))})
    elif whole == "floats":
        other = replace(golden, floats={**golden.floats, part: changed(golden.floats[part])})
    elif part == "decoded":
        other = with_file(golden, whole, lambda file: replace(file, decoded=changed(file.decoded)))
    else:
        turned = {kind.kind: kind.content[:-1] + bytes((kind.content[-1] ^ 1,)) for kind in golden.files}
        other = with_file(golden, whole, lambda file: replace(file, content=turned[whole]))
    project = write_project(c_project(source, other), tmp_path / name)
    status, line = checked(built_check(project, tmp_path / "check", "-O0"))
    assert status == 1 and line.startswith(f"{name}: {text}"), line


@pytest.mark.parametrize("signature", ["encode", "decode"])
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_a_file_of_one_half_is_checked_too(made: dict[str, Made], name: str, signature: str, tmp_path: Path) -> None:
    """Without the decoder there are lossy files alone: others hold what it leaves."""
    whole, backend = made[name], made[name].model.program
    unit = DataUnit(backend.spec, backend.maps, backend.io)
    source = to_c(whole.program, signatures=[signature], unit=unit, detector=whole.detector, codec=whole.codec)
    project = write_project(c_project(source, whole.golden), tmp_path / "project")
    assert checked(built_check(project, tmp_path / "check", "-O1")) == (0, f"{name}: {GOLDEN} samples equal\n")
    checks = (project / f"examples/check/{name}_golden.h").read_text()
    assert ("golden_lossless" in checks) == (signature == "decode" and name != "table")


ASKED = [each for n in (1, 2, 3) for each in combinations(("score", "encode", "decode"), n)] + [("reconstruct",)]


@pytest.mark.parametrize(
    ("name", "asked", "files"),
    every(25, [(case.name, asked, files) for case in CASES for files in ((), ("lossy",), PROMISES) for asked in ASKED]),
    ids=str,
)
def test_what_was_asked_for_compiles_and_is_checked(
    made: dict[str, Made], name: str, asked: tuple[str, ...], files: tuple[Promise, ...], tmp_path: Path
) -> None:
    """Without a function or a constant that nothing takes, and without what was not asked for."""
    whole = made[name]
    storage = next(case.storage for case in CASES if case.name == name)
    source = OptionSet(name, asked, files, storage).source(whole)
    golden = replace(whole.golden, files=tuple(file for file in whole.golden.files if file.kind in files))
    project = write_project(c_project(source, golden), tmp_path / "project")
    program = built_check(project, tmp_path / "check", "-O1", "-Wunused-const-variable=2")
    assert checked(program) == (0, f"{name}: {GOLDEN} samples equal\n")
    held, text = {*asked, *(("encode", "decode") if "reconstruct" in asked else ())}, "".join(source.files.values())
    for functions, there in (
        (("frame_encode", "header_write"), "encode" in held and bool(files)),
        (("frame_decode", "file_open"), "decode" in held and bool(files)),
        (("decode_data", "dequantize"), "decode" in held),
        (("score_add", "is_anomaly"), "score" in held),
        (("reconstruct",), {"encode", "decode"} <= held),
    ):
        assert all((f" {name}_{each}" in text) == there for each in functions), functions
    if asked == ("score",):
        assert golden.scores is not None
        write_project(c_project(source, replace(golden, scores=changed(golden.scores))), project)
        assert checked(built_check(project, program, "-O1")) == (1, f"{name}: score differs at {GOLDEN - 1}\n")


@pytest.mark.parametrize(
    ("signatures", "text"),
    [
        (["both"], "signature: got 'both', must be one of encode, decode, reconstruct, score"),
        (["score"], "signature: got 'score', must be one of encode, decode, reconstruct: the model has no detector"),
    ],
)
def test_a_signature_that_the_model_lacks(made: dict[str, Made], signatures: list[str], text: str) -> None:
    with pytest.raises(InputError) as error:
        to_c(made["image"].program, signatures=signatures)
    assert str(error.value) == text


def test_cmake_builds_and_tests_the_folder(made: dict[str, Made], tmp_path: Path) -> None:
    project = written(made["record"], tmp_path)
    cmake, ctest = tool("cmake"), tool("ctest")
    options = ["-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Werror"]
    for command in ([cmake, "-S", project, "-B", tmp_path / "build", *options], [cmake, "--build", tmp_path / "build"]):
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    done = subprocess.run([ctest, "--test-dir", tmp_path / "build"], capture_output=True, text=True, check=True, timeout=60)
    assert "100% tests passed, 0 tests failed out of 1" in done.stdout


def test_another_project_takes_the_library_alone(made: dict[str, Made], tmp_path: Path) -> None:
    written(made["record"], tmp_path)
    (tmp_path / "own.c").write_text(
        "#include <record.h>\nint main(void) { return record_encode(NULL, NULL, NULL) != RECORD_ARGUMENT; }\n"
    )
    text = "cmake_minimum_required(VERSION 3.10)\nproject(own C)\nadd_subdirectory(record)\nadd_executable(own own.c)\n"
    (tmp_path / "CMakeLists.txt").write_text(text + "target_link_libraries(own record_model)\n")
    for command in (["-S", tmp_path, "-B", tmp_path / "build"], ["--build", tmp_path / "build"]):
        subprocess.run([tool("cmake"), *command], check=True, capture_output=True, timeout=120)
    assert checked(tmp_path / "build" / "own") == (0, "")
    assert not list((tmp_path / "build").rglob("record_check*"))


SERIAL = """#include <stdio.h>
struct { void begin(long) {} operator bool() { return true; } void print(const char *text) { fputs(text, stdout); }
  void print(unsigned long n) { printf("%lu", n); } void println(const char *text) { puts(text); }
  void println(unsigned long n) { printf("%lu\\n", n); } } Serial;
"""
"""What the sketch takes of Arduino."""


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_the_sketch_is_cpp_that_finds_the_library(made: dict[str, Made], name: str, tmp_path: Path) -> None:
    project = written(made[name], tmp_path)
    check = project / "examples" / "check"
    sketch = (check / "check.ino").read_text()
    floats = f'#include "{name}_float.h"\n'
    (check / "sketch.cpp").write_text(f"{SERIAL}{sketch}\n{floats}int main() {{ setup(); loop(); }}\n")
    objects = []
    for path in (*project.glob("src/*.c"), *check.glob("*.c"), check / "sketch.cpp"):
        objects.append(tmp_path / f"{path.name}.o")
        compiler = [tool("g++"), "-std=gnu++11"] if path.suffix == ".cpp" else [tool("gcc"), "-std=gnu11"]
        command = [*compiler, "-Wall", "-Wextra", "-Werror", "-I", project / "src", "-c", path, "-o", objects[-1]]
        subprocess.run(command, check=True, timeout=120)
    subprocess.run([tool("g++"), *objects, "-o", tmp_path / "sketch"], check=True, timeout=120)
    assert checked(tmp_path / "sketch") == (0, f"{name}: {GOLDEN} samples equal\n")
    properties = dict(line.split("=", 1) for line in (project / "library.properties").read_text().splitlines())
    assert properties["includes"] == f"{name}.h" and properties["architectures"] == "*"


ZEPHYR = """function(zephyr_library_named name)\nendfunction()
function(zephyr_library_sources)\nmessage("${ARGV}")\nendfunction()
function(zephyr_include_directories)\nmessage("${ARGV}")\nendfunction()
include(FOLDER/zephyr/CMakeLists.txt)
"""
"""The functions of Zephyr that the module calls: there is no Zephyr here."""


def test_the_module_of_zephyr_names_files_that_are_there(made: dict[str, Made], tmp_path: Path) -> None:
    project = written(made["table"], tmp_path)
    (tmp_path / "module.cmake").write_text(ZEPHYR.replace("FOLDER", str(project)))
    done = subprocess.run([tool("cmake"), "-P", tmp_path / "module.cmake"], capture_output=True, text=True, check=True)
    found = [Path(line).resolve() for line in done.stderr.splitlines()]
    assert found == [project / "src" / "table.c", project / "src"] and all(path.exists() for path in found)
    assert "cmake: zephyr" in (project / "zephyr" / "module.yml").read_text()


def test_the_readme_has_the_memory_map(made: dict[str, Made]) -> None:
    for name, each in made.items():
        text = c_project(each.source, each.golden)["README.md"].decode()
        assert f"| {each.source.arena:,} bytes, `{name.upper()}_ARENA_BYTES` |" in text
        macros = [*size_macros(each.source)]
        frames = [
            f"{name.upper()}_{call}" for call in ("PAYLOAD_BYTES(samples)", "INDEX_BYTES(frames)", "FRAME_BYTES(samples)")
        ]
        assert set(frames) <= set(macros) and all(f"`{call}` |" in text for call in macros)
        assert not re.search(r"NAMED|\b(tae|TAE)_", text)
