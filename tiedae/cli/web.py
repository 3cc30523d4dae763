"""Folders of `tiedae package --for npm` and `--for web`: an npm package, and a page around it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tiedae.apps.model import AppFolder, AppOptions, app_model, golden_count
from tiedae.apps.web.package import SCRIPTS, WebModel, module_name, web_package
from tiedae.apps.web.page import Shown, web_page
from tiedae.apps.web.wasm import FEATURES, find_toolchain
from tiedae.base.errors import DataError, InputError
from tiedae.base.records import Record
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import Manifest
from tiedae.config.tasks import Denoising, task_kind
from tiedae.data.noise import noise_of, noisy_samples
from tiedae.data.samples import Samples
from tiedae.pipeline.run_artifacts import load_source, source_of_clean

from .coding import named

GOLDEN_SAMPLES = 4
SHOWN_SAMPLES = 64
"""Samples of --samples that a page shows, at most."""


class ModuleSize(Record, frozen=True):
    """Bytes of a WebAssembly module: the stored kernels, all else, both, and both after gzip."""

    kernels: int
    other: int
    total: int
    gzip: int


class WebFolder(AppFolder, frozen=True):
    """An npm package, and a page where it is one. `modules` by their features, `browser`: gzip bytes that a browser fetches.
    `samples`: how many are shown of --samples, and how many these are; None without."""

    storage: str
    tae_files: tuple[str, ...]
    modules: dict[str, ModuleSize]
    compiler: str
    browser: int
    samples: tuple[int, int] | None = None

    @property
    def adds(self) -> list[tuple[str, str]]:
        rows = []
        for features, size in self.modules.items():
            text = f"{size.kernels:,} kernels + {size.other:,} code and tables = {size.total:,}, {size.gzip:,} after gzip"
            rows.append((module_name(self.name, features), text))
        if self.samples is not None:
            shown, total = self.samples
            rows.append(("samples on the page", f"the first {shown} of {total:,}" if shown < total else f"all {total}"))
        return [*rows, ("all that a browser fetches", f"{self.browser:,} after gzip")]


def web_folder(kind: str, bundle: Bundle, options: AppOptions) -> tuple[Mapping[str, bytes], WebFolder]:
    """The package's files, of `web` with a page around them, and what is in them; lossy .tae files alone unless `options` name
    others.

    Raises NotInstalledError without clang and wasm-ld, InputError for signatures, DataError for samples of another shape or
    dtype, what `app_model` raises.
    """
    if options.signatures is not None:
        raise InputError(f"--signatures {','.join(options.signatures)}: must be left out, a web package has all of them")
    tools = find_toolchain()
    shown = None if options.samples is None else shown_samples(bundle.manifest, options.samples)
    count, clean = golden_count(bundle, GOLDEN_SAMPLES), bundle.task_arrays().get("clean")
    model = app_model(
        bundle, replace(options, files=("lossy",) if options.files is None else options.files), count, spread=clean is None
    )
    manifest = bundle.manifest
    golden = None if clean is None else clean[: len(model.golden.code)]
    web = WebModel(**vars(model), peak=manifest.data.peak, task=task_kind(manifest.recipe.task), clean=golden)
    files = web_package(web, tools)
    name = model.source.name
    modules, kernels = {features: files[module_name(name, features)] for features in FEATURES}, model.source.kernel_bytes
    sizes = {key: ModuleSize(kernels, len(data) - kernels, len(data), _gzipped(data)) for key, data in modules.items()}
    needed = {path: files[path] for path in (*SCRIPTS, "model.mjs", module_name(name, "simd"))}
    if kind == "web":
        recipe = manifest.recipe.data
        page = web_page(web, time=recipe.time, shown=shown, tiled=recipe.patch is not None)
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
        None if shown is None else (len(shown.data), shown.total),
    )
    return files, made


def shown_samples(manifest: Manifest, source: str) -> Shown:
    """The first `SHOWN_SAMPLES` samples of a source, as a recipe's bundle reads them. Those of a denoising bundle are clean and
    get the noise of its training, drawn by the data's seed, or they are the recipe's noisy ones beside its clean ones.

    Raises DataError, naming the source, for no samples, and those of another shape or dtype.
    """
    values = load_source(manifest, source).values
    if not len(values):
        raise DataError(f"{source}: holds no samples")
    recipe, data = manifest.recipe, _checked(manifest, source, values)
    shown = Shown(Path(source).name or source, len(values), data)
    if not isinstance(recipe.task, Denoising):
        return shown
    if (pair := source_of_clean(manifest, source)) is not None:
        return replace(shown, clean=_checked(manifest, pair, load_source(manifest, pair).values))
    samples = Samples(data, scaling=manifest.data.scaling)
    noise = noise_of(recipe.train.noise, samples)
    if noise is None:
        return shown
    note = f", with {noise.config.kind} noise of level {noise.config.level:g}"
    return replace(shown, data=noisy_samples(data, samples, noise, [recipe.data.seed, *b"test"]), clean=data, note=note)


def _checked(manifest: Manifest, source: str, values: np.ndarray) -> np.ndarray:
    """The first samples in the data's dtype, [n, inputs]."""
    spec = manifest.data.spec
    flat, _ = named(source, 0, lambda: spec.flatten(values[:SHOWN_SAMPLES]))
    named(source, 0, lambda: spec.require_finite(flat))
    return np.ascontiguousarray(flat, spec.dtype)


def _gzipped(data: bytes) -> int:
    return len(gzip.compress(data, 9, mtime=0))
