"""Sources for applications of models whose names and texts are payloads: C, Java, JavaScript, Swift, Gradle, CMake.

C and Java are compiled, JavaScript is run; every text is also that of a harmless model, but for the name, which is how those
of Swift and Kotlin are held without their compilers.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec import structs

from tiedae.apps.c.layout import c_project
from tiedae.apps.native.android import android_module
from tiedae.apps.native.ios import swift_package
from tiedae.apps.native.model import NativeModel
from tiedae.apps.web import package
from tiedae.apps.web.package import WebModel
from tiedae.apps.web.page import Shown, web_page
from tiedae.apps.web.wasm import Toolchain
from tiedae.config.sample_spec import SampleSpec, Signal
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import to_c
from tiedae.program.program import Program

from ..conftest import build_program
from ..export.c.compiled import STRICT
from ..export.c.models import CASES, Made
from .checks import beyond
from .grid import HARMLESS

FIXED = ("x", "code", "y")
RUN = """
import { readFileSync } from "node:fs";
const wrong = [];
for (const [path, expected] of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    const value = (await import(path)).default;
    if (JSON.stringify(value) !== JSON.stringify(expected)) wrong.push(`${path}: another value`);
  } catch (error) {
    wrong.push(`${path}: ${error}`);
  }
}
const kept = new Set(["owned"].filter((name) => name in globalThis));
console.log(JSON.stringify([...wrong, ...kept]));
"""


def renamed(program: Program, payload: str) -> Program:
    """The program with a payload in its name and in that of every tensor, kernel and constant but x, code and y."""
    names = {*program.tensors, *program.kernels, *program.constants} - {*FIXED}
    other = {name: f"{payload}{i}" if i % 2 else f"{i}{payload}" for i, name in enumerate(sorted(names))}

    def new(name: str) -> str:
        return other.get(name, name)

    def operation(each):
        texts = {field.name: getattr(each, field.name) for field in dataclasses.fields(each) if field.name != "activation"}
        return dataclasses.replace(each, **{key: new(value) for key, value in texts.items() if isinstance(value, str)})

    return Program(
        payload,
        {new(name): dataclasses.replace(tensor, name=new(name)) for name, tensor in program.tensors.items()},
        {new(name): dataclasses.replace(kernel, name=new(name)) for name, kernel in program.kernels.items()},
        tuple(map(operation, program.encoder)),
        tuple(map(operation, program.decoder)),
        {new(name): values for name, values in program.constants.items()},
    )


def c_sources(program: Program, payloads: Sequence[str], folder: Path) -> dict[Path, str]:
    """The C file of each payload, by path; each compiles by itself."""
    found = {}
    for i, payload in enumerate(payloads):
        files = to_c(renamed(program, payload)).files
        (folder / str(i)).mkdir(parents=True)
        for path, text in files.items():
            (folder / str(i) / path).write_text(text, "utf-8")
            if path.endswith(".c"):
                found[folder / str(i) / path] = payload
    return found


def compiled(sources: Mapping[Path, str]) -> list[str]:
    """What gcc says of C files, with the payload of each; and those with a name of a payload's outside of comments."""
    wrong = []
    for path, payload in sources.items():
        folder = ["-I", str(path.parent)]
        done = _gcc(*STRICT, *folder, "-fsyntax-only", str(path))
        text = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        wrong += [f"{payload!r:.80}: {text}"] if done.returncode else []
        own = re.sub(r'"[^"]*"', "", _gcc("-std=c99", *folder, "-E", "-P", str(path)).stdout)
        wrong += [f"{payload!r:.80}: declares owned"] if re.search(r"\bowned\b", own) else []
    return wrong


def _gcc(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["gcc", *options], capture_output=True, text=True, timeout=300, check=False)


def models(made: Made, payloads: Sequence[str]) -> Iterator[tuple[str, NativeModel]]:
    """A library of each payload as the model's name, columns, channels and unit of measure."""
    backend = made.model.program
    for payload in payloads:
        program = dataclasses.replace(made.program, name=payload)
        unit = DataUnit(backend.spec, backend.maps, backend.io)
        source = to_c(program, unit=unit, detector=made.detector, codec=made.codec)
        yield payload, NativeModel(program, source, made.golden, with_texts(backend.spec, payload), made.detector)


def with_texts(spec: SampleSpec, payload: str) -> SampleSpec:
    columns = tuple(f"{payload}{i}" for i in range(spec.inputs)) if spec.kind == "table" else None
    names = (payload,) * spec.channels if spec.kind == "record" else ()
    return structs.replace(spec, columns=columns, signal=Signal(names, 1.0, payload))


def web_files(model: NativeModel, payload: str) -> dict[str, bytes]:
    """A web package and its page without what clang makes of the C files, which `compiled` sees."""
    web = WebModel(**vars(model), peak=1.0)
    shown = Shown(payload, 1, model.golden.data[:1], note=payload)
    with patch.object(package, "compile_wasm", lambda *_: b""):
        files = package.web_package(web, Toolchain("clang", "wasm-ld", "clang 1"))
    return files | web_page(web, time=payload, shown=shown)


KINDS: Mapping[str, Callable[[NativeModel, str], dict[str, bytes]]] = {
    "android": lambda model, _: android_module(model),
    "ios": lambda model, _: swift_package(model),
    "web": web_files,
}
SHOWN = ("index.html", "page/data.mjs", "model.mjs")
"""Files that show more of a stranger's than the model's name."""


def different(alike: NativeModel, model: NativeModel, payload: str) -> list[str]:
    """How the files of a model are more than those of the model `harmless`, but for the name.

    A name that Java or Swift reserves is another one there: compiling it has to do.
    """
    wrong = []
    for kind, make in KINDS.items():
        if not all(re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,63}", name) for name in (model.name, model.word, model.camel)):
            wrong.append(f"{kind}: {payload!r:.80}: {model.name!r:.80} is no name in every language")
        files, expected = make(model, payload), {}
        for path, data in make(alike, HARMLESS).items():
            path, text = (_as_named(each, model) for each in (path, data.decode("latin-1")))
            expected[path] = text.encode("latin-1").decode()
        if "index.html" in files:
            more = beyond("index.html", files["index.html"].decode(), expected["index.html"])
            wrong += [f"{kind}: {payload!r:.80}: index.html: {text}" for text in more]
        if model.word == model.name:
            own = {*model.source.files, *SHOWN}  # the model's C is compiled, see `compiled`
            same = {path: data.decode() for path, data in files.items() if not {path, Path(path).name} & own}
            changed = [path for path, text in same.items() if expected.get(path) != text]
            wrong += [f"{kind}: {payload!r:.80}: {path} is not that of a harmless model" for path in changed]
    return wrong


def outside(model: NativeModel, payload: str) -> list[str]:
    """Paths of files that do not lie in the folder that they are written to."""
    folder = Path("/folder")
    paths = [path for make in KINDS.values() for path in make(model, payload)] + [*c_project(model.source, model.golden)]
    right = [(folder / path).resolve().is_relative_to(folder) and "\\" not in path and ":" not in path for path in paths]
    return [f"{payload!r:.80}: writes {path!r}" for path, inside in zip(paths, right, strict=True) if not inside]


def _as_named(text: str, model: NativeModel) -> str:
    for word, other in ((HARMLESS, model.name), (HARMLESS.upper(), model.name.upper()), (HARMLESS.capitalize(), model.camel)):
        text = text.replace(word, other)
    return text


def java_sources(model: NativeModel) -> dict[str, str]:
    return {path: data.decode() for path, data in android_module(model).items() if path.endswith(".java")}


def javac(sources: Mapping[Path, str], out: Path) -> list[str]:
    """What javac says of all files together."""
    for path, text in sources.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    listed = out / "sources"
    out.mkdir(parents=True, exist_ok=True)
    listed.write_text("\n".join(f'"{path}"' for path in sources), "utf-8")
    command = ["javac", "-encoding", "UTF-8", "-proc:none", "-nowarn", "-Xmaxerrs", "1000", "-d", str(out), f"@{listed}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    return [line for line in done.stderr.splitlines() if "error:" in line]


def run_modules(texts: Mapping[Path, str], values: Mapping[Path, Any] | None = None) -> list[str]:
    """What is wrong with modules that are one value of JSON each, or are to be these values, as Node.js imports them."""
    stated = []
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        value = text.removeprefix("export default ").removesuffix(";\n")
        stated.append((str(path), json.loads(value) if values is None else values[path]))
    command = ["node", "--input-type=module", "-e", RUN]
    done = subprocess.run(command, input=json.dumps(stated), capture_output=True, text=True, timeout=300, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else [done.stderr[:500]]


def problems_of_sources(payloads: Sequence[str], folder: Path) -> list[str]:
    """What is wrong with the sources of models that are named by payloads: C and Java compiled, JavaScript run."""
    wrong, java, modules = compiled(c_sources(small_program(), payloads, folder / "c")), {}, {}
    for index in (1, 2):  # a record, with channels, and a table, with columns
        made = CASES[index].made()
        (_, alike), *_ = models(made, [HARMLESS])
        names: set[str] = set()
        for i, (payload, model) in enumerate(models(made, payloads)):
            wrong += [*different(alike, model, payload), *outside(model, payload)]
            web = web_files(model, payload)
            modules |= {folder / f"web{index}" / str(i) / path: web[path].decode() for path in SHOWN if path.endswith(".mjs")}
            if model.name not in names:
                names.add(model.name)
                java |= {folder / f"java{index}" / model.name / path: text for path, text in java_sources(model).items()}
        wrong += javac({path: text for path, text in java.items() if f"java{index}" in path.parts}, folder / f"classes{index}")
    return [*wrong, *run_modules(modules)]


def small_program() -> Program:
    return build_program((6, 4, 2))
