"""Folders that people build an application from, of a bundle: one row of `APPS` for each kind."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tiedae.apps.c.core import Core, CoreBytes, core_bytes
from tiedae.apps.c.layout import c_project, size_macros
from tiedae.apps.model import AppFolder, AppKind, AppModel, AppOptions, app_model
from tiedae.apps.native.android import android_module
from tiedae.apps.native.ios import swift_package
from tiedae.base.errors import InputError, UnavailableError
from tiedae.base.records import encode
from tiedae.bundle.bundle import Bundle, write_files
from tiedae.codec.opening import bundle_of
from tiedae.pipeline.run_directory import let_all_read, new_folder, require_new
from tiedae.runtimes.c import find_compiler

from .native import native_folder
from .web import web_folder

MARKER = "tiedae.json"
"""The file of such a folder that says what it is; --force replaces no other folder."""
GOLDEN_SAMPLES = 8


class CFolder(AppFolder, frozen=True):
    """C sources: the arena's bytes, the macros that give the size of other buffers, and what they take of a core's memory; None
    where that is `unknown`, and why."""

    storage: str
    signatures: tuple[str, ...]
    arena: int
    buffers: dict[str, str]
    tae_files: tuple[str, ...]
    core_bytes: CoreBytes | None
    unknown: str = ""

    @property
    def memory(self) -> list[tuple[str, str]]:
        unknown = [("flash", f"unknown: {self.unknown}"), ("RAM arena", f"{self.arena:,} bytes")]
        return [*(unknown if self.core_bytes is None else self.core_bytes.rows), *self.buffers.items()]


def package_app(path: Path, out: Path, kind: str, options: AppOptions, *, replace: bool) -> AppFolder:
    """Write the folder `out`, which appears whole, for a kind in `APPS`; `path`: a bundle, or OUT of a run.

    Raises InputError where `out` exists, unless `replace` and it is such a folder; for a core of another kind than C sources;
    CheckError where a core has not the memory; what `app_model` raises.
    """
    if options.core is not None and kind != "c":
        raise InputError(f"--for {kind}: has no --cc, --flash and --ram, they are for C sources: --for c")
    bundle = bundle_of(path)
    require_new(out, replace=replace, option="--force", marker=MARKER, what="folder of `tiedae package`", apart=bundle.path)
    with new_folder(out) as partial:
        files, made = APPS[kind].make(bundle, options)
        write_files(partial, {**files, MARKER: encode({"kind": kind, "name": made.name})})
        let_all_read(partial)
    return made


def _c_folder(bundle: Bundle, options: AppOptions) -> tuple[Mapping[str, bytes], CFolder]:
    model = app_model(bundle, options, GOLDEN_SAMPLES)
    source = model.source
    taken, unknown = _core_bytes(model, options.core)
    files = c_project(source, model.golden, taken if options.core is not None else None)
    made = CFolder(
        "c",
        source.name,
        {path: len(data) for path, data in sorted(files.items())},
        options.storage,
        source.signatures,
        source.arena,
        size_macros(source),
        model.promises,
        taken,
        unknown,
    )
    return files, made


def _core_bytes(model: AppModel, core: Core | None) -> tuple[CoreBytes | None, str]:
    """What C sources take of a core's memory, which must be enough; of this machine's without one, if a compiler is found here,
    else why it is not."""
    options = {"floats": bool(model.golden.floats)}
    try:
        taken = core_bytes(model.source, model.program, core.compiler if core is not None else find_compiler(), **options)
    except UnavailableError as error:
        if core is not None:
            raise InputError(f"--cc {shlex.join(core.compiler)!r}: {error}") from error
        return None, str(error)
    if core is not None:
        taken.require_fits(core)
    return taken, ""


APPS: dict[str, AppKind] = {
    "c": AppKind("C sources", _c_folder),
    "web": AppKind("web page, with its npm package", partial(web_folder, "web")),
    "npm": AppKind("npm package for Node.js and browsers", partial(web_folder, "npm")),
    "android": AppKind("Android library module", partial(native_folder, "android", android_module)),
    "ios": AppKind("Swift package", partial(native_folder, "ios", swift_package)),
}
