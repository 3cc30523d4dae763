"""Folders of `tiedae package --for npm` and `--for web`: an npm package, and a page around it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace

from tiedae.apps.model import AppFolder, AppOptions, app_model, golden_count
from tiedae.apps.web.package import SCRIPTS, WebModel, module_name, web_package
from tiedae.apps.web.page import web_page
from tiedae.apps.web.wasm import FEATURES, find_toolchain
from tiedae.bundle.bundle import Bundle
from tiedae.compress.errors import InputError
from tiedae.compress.records import Record
from tiedae.compress.tasks import task_kind
from tiedae.program.program import SIGNATURES

GOLDEN_SAMPLES = 4


class ModuleSize(Record, frozen=True):
    """Bytes of a WebAssembly module: the stored kernels, all else, both, and both after gzip."""

    kernels: int
    other: int
    total: int
    gzip: int


class WebFolder(AppFolder, frozen=True):
    """An npm package, and a page where it is one. `modules` by their features, `browser`: gzip bytes that a browser fetches."""

    storage: str
    tae_files: tuple[str, ...]
    modules: dict[str, ModuleSize]
    compiler: str
    browser: int

    @property
    def adds(self) -> list[tuple[str, str]]:
        rows = []
        for features, size in self.modules.items():
            text = f"{size.kernels:,} kernels + {size.other:,} code and tables = {size.total:,}, {size.gzip:,} after gzip"
            rows.append((module_name(self.name, features), text))
        return [*rows, ("all that a browser fetches", f"{self.browser:,} after gzip")]


def web_folder(kind: str, bundle: Bundle, options: AppOptions) -> tuple[Mapping[str, bytes], WebFolder]:
    """The package's files, of `web` with a page around them, and what is in them; lossy .tae files alone unless `options` name
    others.

    Raises NotInstalledError without clang and wasm-ld, InputError for signatures, what `app_model` raises.
    """
    if set(options.signatures) != set(SIGNATURES):
        raise InputError(f"--signatures {','.join(options.signatures)}: must be left out, a web package has all of them")
    tools = find_toolchain()
    count, clean = golden_count(bundle, GOLDEN_SAMPLES), bundle.task_arrays().get("clean")
    model = app_model(bundle, replace(options, files=options.files or ("lossy",)), count, spread=clean is None)
    manifest = bundle.manifest
    shown = None if clean is None else clean[: len(model.golden.code)]
    web = WebModel(**vars(model), peak=manifest.data.peak, task=task_kind(manifest.recipe.task), clean=shown)
    files = web_package(web, tools)
    name = model.source.name
    modules, kernels = {features: files[module_name(name, features)] for features in FEATURES}, model.source.kernel_bytes
    sizes = {key: ModuleSize(kernels, len(data) - kernels, len(data), _gzipped(data)) for key, data in modules.items()}
    needed = {path: files[path] for path in (*SCRIPTS, "model.mjs", module_name(name, "simd"))}
    if kind == "web":
        page = web_page(web)
        files, needed = files | page, needed | page
    made = WebFolder(
        kind,
        name,
        {path: len(data) for path, data in sorted(files.items())},
        options.storage,
        model.promises,
        sizes,
        tools.version,
        sum(_gzipped(data) for data in needed.values()),
    )
    return files, made


def _gzipped(data: bytes) -> int:
    return len(gzip.compress(data, 9, mtime=0))
