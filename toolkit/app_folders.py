"""Folders that people build an application from, of a bundle: one row of `APPS` for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tiedae.apps.c.layout import c_project, size_macros
from tiedae.apps.model import AppFolder, AppKind, AppOptions, app_model
from tiedae.apps.native.android import android_module
from tiedae.apps.native.ios import swift_package
from tiedae.bundle.bundle import Bundle, write_files
from tiedae.codec.opening import bundle_of
from tiedae.compress.records import encode

from .native import native_folder
from .object_size import ObjectSize, object_size
from .run_directory import new_folder, require_new
from .web import web_folder

MARKER = "tiedae.json"
"""The file of such a folder that says what it is; --force replaces no other folder."""
GOLDEN_SAMPLES = 8


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


def package_app(path: Path, out: Path, kind: str, options: AppOptions, *, replace: bool) -> AppFolder:
    """Write the folder `out`, which appears whole, for a kind in `APPS`; `path`: a bundle, or OUT of a run.

    Raises InputError where `out` exists, unless `replace` and it is such a folder; what `to_c` raises.
    """
    bundle = bundle_of(path)
    require_new(out, replace=replace, option="--force", marker=MARKER, what="folder of `tiedae package`", apart=bundle.path)
    files, made = APPS[kind].make(bundle, options)
    with new_folder(out) as partial:
        write_files(partial, {**files, MARKER: encode({"kind": kind, "name": made.name})})
    return made


def _c_folder(bundle: Bundle, options: AppOptions) -> tuple[Mapping[str, bytes], CFolder]:
    model = app_model(bundle, options, GOLDEN_SAMPLES)
    source = model.source
    files = c_project(source, model.golden, signatures=options.signatures)
    made = CFolder(
        "c",
        source.name,
        {path: len(data) for path, data in sorted(files.items())},
        options.storage,
        tuple(options.signatures),
        source.arena,
        size_macros(source),
        object_size(source.files),
    )
    return files, made


APPS: dict[str, AppKind] = {
    "c": AppKind("C sources", _c_folder),
    "web": AppKind("web page, with its npm package", partial(web_folder, "web")),
    "npm": AppKind("npm package for Node.js and browsers", partial(web_folder, "npm")),
    "android": AppKind("Android library module", partial(native_folder, "android", android_module)),
    "ios": AppKind("Swift package", partial(native_folder, "ios", swift_package)),
}
