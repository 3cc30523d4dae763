"""Render the pages of a bundle, report.html and MODEL_CARD.md, from its own files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from tiedae.bundle import golden as vectors
from tiedae.bundle.bundle import PROGRAM_FILE, Bundle, write_files
from tiedae.bundle.manifest import FILE, Manifest, with_files
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Metrics, read_metrics
from tiedae.compress.errors import FormatError
from tiedae.export.file_info import FileInfo, digest_of
from tiedae.export.kinds import Precision
from tiedae.export.targets import read_model

from .card import render_card
from .page import render_report

PAGES = ("report.html", "MODEL_CARD.md")
READ = (METRICS, PROGRAM_FILE)
"""Files that the pages are rendered from, besides manifest, golden arrays and model files."""


def render_pages(
    manifest: Manifest,
    metrics: Metrics,
    golden: Mapping[str, np.ndarray],
    kernels: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    task: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> dict[str, bytes]:
    """Both pages by file name; arguments as in `render_report`."""
    texts = render_report(manifest, metrics, golden, kernels, masks, task), render_card(manifest, metrics)
    return {name: text.encode() for name, text in zip(PAGES, texts, strict=True)}


def render_bundle(path: Path) -> list[Path]:
    """Render the pages of an existing bundle and update its manifest; returns the paths of the pages.

    Writes nothing before all is rendered; the manifest is written last. Raises FormatError if `path` is no bundle, or a file
    that is needed is missing, damaged or has another sha256 than the manifest states.
    """
    bundle = Bundle.open(path)
    _require_stated(bundle, [*READ, *(f"golden/{name}.npy" for name in vectors.names(bundle.manifest))])
    metrics = read_metrics(path / METRICS)
    names = [name for name, info in bundle.manifest.models.items() if info.precision is Precision.INT8]
    program = bundle.programs({name: read_model(path / name) for name in names}).reference
    pages = render_pages(bundle.manifest, metrics, bundle.golden(), program.constants, bundle.masks(), bundle.task_arrays())
    manifest = with_files(path, {name: FileInfo.of(page) for name, page in pages.items()})
    write_files(path, {**pages, FILE: manifest})
    return [path / name for name in pages]


def _require_stated(bundle: Bundle, names: Iterable[str]) -> None:
    for name in names:
        path = bundle.path / name
        if not path.is_file():
            raise FormatError(f"{path}: no such file, which the report needs")
        digest, stated = digest_of(path), bundle.manifest.files.get(name)
        if stated is None or digest != stated.sha256:
            right = f"states {stated.sha256[:12]}…" if stated else "does not list it"
            raise FormatError(f"{path}: sha256 is {digest[:12]}…, {FILE} {right}")
