"""Libraries for phones around the models of `c.models`, and Android's built and run by a desktop JDK."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from tiedae.apps.native.android import android_module
from tiedae.apps.native.model import NativeModel
from tiedae.codec.header import FileKind
from tiedae.codec.streams import StreamDecoder, StreamEncoder
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import to_c

from ...export.c.compiled import STRICT, tool, write_project
from ...export.c.models import CASES, Case, Made, training_of

CASES_OF_DATA = (*CASES, replace(CASES[1], name="wide", dtype="uint16"), replace(CASES[2], name="exact", dtype="float64"))
"""Data of each dtype that Java and Swift have a type for."""
PER_FRAME = 64


@cache
def made_of(case: Case) -> Made:
    return case.made()


def native_of(made: Made) -> NativeModel:
    return NativeModel(made.program, made.source, made.golden, made.model.program.spec, made.detector)


def half_of(made: Made, signature: str) -> NativeModel:
    """The library of one signature."""
    backend = made.model.program
    unit = DataUnit(backend.spec, backend.maps, backend.io)
    source = to_c(made.program, signatures=[signature], unit=unit, detector=made.detector, codec=made.codec)
    return NativeModel(made.program, source, made.golden, backend.spec, made.detector)


def packet(made: Made) -> tuple[bytes, np.ndarray]:
    """A lossless frame of one sample, as for a radio, and that sample."""
    options = {"samples_per_frame": 1, "kind": FileKind.LOSSLESS, "frame_only": True}
    x = samples_of(made)[:1]
    (frame,) = StreamEncoder(made.model, made.model.program, **options).push(x)
    return frame, x


def samples_of(made: Made) -> np.ndarray:
    """[2 frames and a rest, inputs]."""
    x = training_of(made.model.program)
    return np.concatenate([x, x[::-1], x[:5]])[: 2 * PER_FRAME + 5]


def packed(made: Made, x: np.ndarray, kind: str = "lossy", bound: int = 0) -> bytes:
    """The .tae file of samples, as Python writes it."""
    options = {"samples_per_frame": PER_FRAME, "kind": FileKind[kind.upper()], "bound": float(bound)}
    return StreamEncoder(made.model, made.model.program, **options).whole(x)


def unpacked(made: Made, file: bytes) -> np.ndarray:
    return StreamDecoder(made.model).push(file)


@dataclass(frozen=True)
class Library:
    """A built Android module: the folder of its files and classes, and the class's name."""

    folder: Path
    class_name: str

    def run(self, *calls: Call) -> list[tuple[str, bytes, int]]:
        """What each call answers, the bytes of its result, and by how many KiB the process grew."""
        lines = []
        for i, call in enumerate(calls):
            given = self.folder / f"{i}.in"
            if call.given is not None:
                given.write_bytes(call.given if isinstance(call.given, bytes) else call.given.tobytes())
            number = "" if call.number is None else f" {call.number}"
            source = "null" if call.given is None else given
            lines.append(f"{call.calls} {call.threads} {call.method} {source} {self.folder / f'{i}.out'}{number}\n")
            (self.folder / f"{i}.out").write_bytes(b"")
        options = [
            "--enable-native-access=ALL-UNNAMED",
            "-Xcheck:jni",
            "-Xms32m",
            "-Xmx32m",
            "-XX:+AlwaysPreTouch",
            "-XX:+UseSerialGC",
        ]
        command = [tool("java"), *options, f"-Djava.library.path={self.folder}", "-cp", self.folder, "Harness", self.class_name]
        done = subprocess.run(
            list(map(str, command)),
            input="".join(lines),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2000:] + done.stderr[-2000:]
        answers = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
        assert len(answers) == len(calls), f"-Xcheck:jni warns: {done.stdout[:2000]}"
        results = [(self.folder / f"{i}.out").read_bytes() for i in range(len(calls))]
        return [(text, made, int(grown)) for (text, grown), made in zip(answers, results, strict=True)]


@dataclass(frozen=True)
class Call:
    """A method with an array, null or bytes, and a number where it takes one."""

    method: str
    given: np.ndarray | bytes | None
    number: int | None = None
    calls: int = 1
    threads: int = 1


def jni_includes() -> list[str]:
    """Options of a C compiler that finds jni.h."""
    home = Path(tool("javac")).resolve().parents[1] / "include"
    return [f"-I{home}", *(f"-I{each}" for each in home.iterdir() if each.is_dir())]


def javac() -> list[str]:
    """The Java compiler, without the JIT and the threads that pay in longer runs."""
    return [tool("javac"), "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]


def built(files: Mapping[str, bytes], folder: Path) -> Library:
    """The module of `android_module` in a folder, its classes and its library, without a warning."""
    write_project(files, folder)
    sources = sorted(folder.glob("src/main/java/**/*.java"))
    java = [*javac(), "-Xlint:all,-options", "-Werror", "--release", "8", "-d", folder, *sources]
    name = next(folder.glob("src/main/cpp/*_jni.c")).stem
    cc = [tool("cc"), *STRICT, "-O1", "-shared", "-fPIC", "-fvisibility=hidden", *jni_includes()]
    cc += [*folder.glob("src/main/cpp/*.c"), "-o", folder / f"lib{name}.so"]
    for command in (java, [*javac(), "-d", folder, "-cp", folder, Path(__file__).with_name("Harness.java")], cc):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
        assert not done.returncode, done.stdout + done.stderr
    path = next(each for each in sources if each.stem.endswith("Model"))
    return Library(folder, ".".join(path.relative_to(folder / "src/main/java").with_suffix("").parts))


def built_module(made: Made, folder: Path) -> Library:
    return built(android_module(native_of(made)), folder)
