"""Programs in Java, JavaScript and Swift that follow the same lines: what to write, append, read and push, and where to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.apps.native.android import android_module
from tiedae.apps.native.ios import swift_package
from tiedae.apps.native.model import NativeModel

from ..export.c.compiled import tool, write_project
from ..export.c.models import Made
from .native.libraries import built, javac, native_of
from .web.node import write_package

HERE = Path(__file__).parent
VIEWS = {"uint8": ("byte", ""), "int16": ("short", ".asShortBuffer()"), "float32": ("float", ".asFloatBuffer()")}
"""The type of a value in Java, and how a buffer gives many."""


@dataclass(frozen=True)
class Driver:
    """A running program around the library of a model, of a language; what it is started by."""

    made: Made
    language: str
    command: Sequence[str]

    def run(self, *lines: str) -> list[str]:
        """The answer to each line."""
        text = "".join(f"{line}\n" for line in lines)
        done = subprocess.run(self.command, input=text, capture_output=True, text=True, timeout=300, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2000:] + done.stderr[-2000:]
        answers = done.stdout.splitlines()
        assert len(answers) == len(lines), done.stdout[:2000]
        return answers


def chosen(text: str, model: NativeModel) -> str:
    """The lines of a program that are for a model."""
    values = model.values
    for name, there in (("EXACT", values["exact"]), ("RECORD", values["window"]), ("NAN", values["floats"])):
        text = text.replace(f"//{name} ", "" if there else "// ")
    return text


def java(made: Made, folder: Path) -> Sequence[str]:
    for name in ("javac", "java", "cc"):
        tool(name)
    model = native_of(made)
    built(android_module(model), folder)
    (value, view), values = VIEWS[made.model.spec.dtype], model.values
    text = (HERE / "native" / "Streams.java").read_text()
    text = chosen(text, model)
    names = {"PACKAGE": values["package"], "CAMEL": model.camel, "VALUE": value, "VIEW": view}
    names["SIZE"] = str(np.dtype(made.model.spec.dtype).itemsize)
    for name, right in names.items():
        text = text.replace(name, right)
    (folder / "Streams.java").write_text(text)
    subprocess.run([*javac(), "-d", folder, "-cp", folder, folder / "Streams.java"], check=True, timeout=300)
    options = ["--enable-native-access=ALL-UNNAMED", "-Xcheck:jni", "-XX:+UseSerialGC", f"-Djava.library.path={folder}"]
    return [tool("java"), *options, "-cp", str(folder), "Streams"]


def javascript(made: Made, folder: Path) -> Sequence[str]:
    write_package(made, folder)
    return [tool("node"), str(HERE / "web" / "streams.mjs"), str(folder)]


def swift(made: Made, folder: Path) -> Sequence[str]:
    swift_build = tool("swift-build")
    model = native_of(made)
    write_project(swift_package(model), folder)
    text = (HERE / "native" / "Streams.swift").read_text()
    text = chosen(text, model).replace("CAMEL", model.camel).replace("VALUE", model.value.swift)
    (folder / "Sources" / "Streams").mkdir()
    (folder / "Sources" / "Streams" / "main.swift").write_text(text)
    package = (folder / "Package.swift").read_text()
    target = f'.executableTarget(name: "Streams", dependencies: ["{model.camel}"]),\n        .testTarget('
    (folder / "Package.swift").write_text(package.replace(".testTarget(", target, 1))
    done = subprocess.run(
        [swift_build, "--product", "Streams"], cwd=folder, capture_output=True, text=True, timeout=500, check=False
    )
    assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    return [str(folder / ".build" / "debug" / "Streams")]


LANGUAGES: dict[str, Callable[[Made, Path], Sequence[str]]] = {"java": java, "javascript": javascript, "swift": swift}


def driver(language: str, made: Made, folder: Path) -> Driver:
    return Driver(made, language, LANGUAGES[language](made, folder))
