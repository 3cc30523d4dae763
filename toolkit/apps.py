"""Folders that people build an application from, of a bundle: one row of `APPS` for each kind."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tiedae.compress.errors import InputError, UnavailableError
from tiedae.compress.records import Record, encode
from tiedae.export.bundle import Bundle, tables_name, write_files
from tiedae.export.c.codec_source import SampleCodec
from tiedae.export.c.golden import golden_samples
from tiedae.export.c.kernels import Storage
from tiedae.export.c.layout import c_project, size_macros
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.export.codec.backends import ProgramBackend, program_of
from tiedae.export.codec.codec import bundle_of
from tiedae.export.codec.frames import FileModel
from tiedae.export.program import SIGNATURES
from tiedae.export.runtimes.c import find_compiler

from .run_directory import new_folder, require_new

MARKER = "tiedae.json"
"""The file of such a folder that says what it is; --force replaces no other folder."""
GOLDEN_SAMPLES = 8
SAMPLES_PER_FRAME = 2
"""Of golden .tae files: few, since the check keeps a frame in memory."""
OPTIONS = ("-std=c99", "-O2", "-fno-asynchronous-unwind-tables")


class AppMarker(Record, frozen=True):
    """What a folder is."""

    target: str
    name: str


class ObjectSize(Record, frozen=True):
    """Bytes of code and constants, .text and .rodata, that a compiler makes of a C file on this machine."""

    bytes: int
    compiler: str


class AppFolder(Record, frozen=True):
    """What was written: the kind in `APPS`, the model's name in it, bytes by file."""

    target: str
    name: str
    files: dict[str, int]

    @property
    def memory(self) -> list[tuple[str, str]]:
        """What takes memory in the application, and how much, for people."""
        return []


class CFolder(AppFolder, frozen=True):
    """C sources: the arena's bytes, the macros that give the size of other buffers, and the object, None without a compiler."""

    storage: str
    signatures: tuple[str, ...]
    arena: int
    buffers: dict[str, str]
    object: ObjectSize | None

    @property
    def memory(self) -> list[tuple[str, str]]:
        size = "unknown: no C compiler, or no `size`, is found here"
        if self.object is not None:
            size = f"{self.object.bytes:,} bytes of code and constants ({self.object.compiler})"
        return [("read-only", size), ("arena", f"{self.arena:,} bytes"), *self.buffers.items()]


@dataclass(frozen=True)
class AppOptions:
    """`storage` of kernels, see `export.c.kernels`; `signatures` that the application calls."""

    storage: Storage = "dense"
    signatures: Sequence[str] = SIGNATURES


@dataclass(frozen=True)
class AppKind:
    """What a folder holds, and the function that makes its files by path and says what is in them."""

    summary: str
    make: Callable[[Bundle, AppOptions], tuple[Mapping[str, bytes], AppFolder]]


def bundle_app(path: Path, out: Path, target: str, options: AppOptions, *, replace: bool) -> AppFolder:
    """Write the folder `out`, which appears whole, for an application of a kind in `APPS`; `path`: a bundle, or OUT of a run.

    Raises InputError where `out` exists, unless `replace` and it is such a folder; what `to_c` raises.
    """
    require_new(out, replace=replace, option="--force", marker=MARKER, what="folder of `tiedae bundle`")
    bundle = bundle_of(path)
    here, there = bundle.path.resolve(), out.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise InputError(f"{out}: is, holds or lies in the bundle {bundle.path}, must be another folder")
    files, made = APPS[target].make(bundle, options)
    with new_folder(out) as partial:
        write_files(partial, {**files, MARKER: encode(AppMarker(target, made.name))})
    return made


def _c_folder(bundle: Bundle, options: AppOptions) -> tuple[Mapping[str, bytes], CFolder]:
    manifest, codec, model = bundle.manifest, None, None
    if tables_name(manifest.name) in manifest.files:
        model = FileModel.of(bundle)
        codec = SampleCodec(model.tables, model.identity, model.residuals)
    spec, maps = manifest.data.spec, manifest.integer_maps
    backend = ProgramBackend(program_of(bundle), spec, manifest.io, maps) if model is None else model.program
    chosen = {"storage": options.storage, "signatures": options.signatures}
    unit = DataUnit(spec, maps, manifest.io)
    source = to_c(backend.program, unit=unit, detector=manifest.detector, codec=codec, **chosen)
    bundle.require_intact(["golden/x.npy"])
    x, _ = spec.flatten(bundle.golden()["x"])
    taken = x[np.unique(np.linspace(0, len(x) - 1, GOLDEN_SAMPLES).astype(np.int64))]
    golden = golden_samples(
        backend, taken, detector=manifest.detector, files=model, samples_per_frame=min(SAMPLES_PER_FRAME, len(taken))
    )
    files = c_project(source, golden, signatures=options.signatures)
    made = CFolder(
        "c",
        source.name,
        {path: len(data) for path, data in sorted(files.items())},
        options.storage,
        tuple(options.signatures),
        source.arena,
        {macro.call: macro.meaning for macro in size_macros(source)},
        object_size(source),
    )
    return files, made


def object_size(source: CSource) -> ObjectSize | None:
    """What the C compiler makes of a C file; None where there is no compiler or no `size`, or one of them fails."""
    size = shutil.which("size")
    try:
        compiler = find_compiler()
    except UnavailableError:
        return None
    if size is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name, text in source.files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        made = Path(folder) / "object.o"
        command = [*compiler, *OPTIONS, "-c", f"{source.name}.c", "-o", made.name]
        if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
            return None
        listed = subprocess.run([size, made], capture_output=True, text=True, check=False).stdout.splitlines()
    used = " ".join((Path(compiler[0]).name, *compiler[1:], *OPTIONS))
    return ObjectSize(int(listed[1].split()[0]), used) if len(listed) > 1 else None


APPS: Mapping[str, AppKind] = {"c": AppKind("C sources", _c_folder)}
