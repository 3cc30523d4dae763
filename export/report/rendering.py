"""The pages of a bundle, report.html and MODEL_CARD.md, rendered from what the bundle holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ...compress.errors import FormatError
from .. import golden as vectors
from ..bundle import PROGRAM_FILE, Bundle, write_files
from ..file_info import FileInfo
from ..manifest import FILE, Manifest, with_files
from ..targets import read_model
from ..verify.kinds import Precision
from ..verify.results import FILE as METRICS
from ..verify.results import Metrics, read_metrics
from .card import render_card
from .page import render_report

READ = (METRICS, PROGRAM_FILE)
"""What the pages are rendered from, beside the manifest and the kernels in the model files."""


def render_pages(
    manifest: Manifest,
    metrics: Metrics,
    golden: Mapping[str, np.ndarray],
    kernels: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> dict[str, bytes]:
    """Both pages by file name; arguments as in `render_report`."""
    return {
        "report.html": render_report(manifest, metrics, golden, kernels, masks).encode(),
        "MODEL_CARD.md": render_card(manifest, metrics).encode(),
    }


def render_bundle(path: Path) -> list[Path]:
    """Render the pages of an existing bundle and state their sha256 and bytes in its manifest; returns the files written.

    Everything is read and rendered before the first file is written; the manifest is written last. Raises FormatError where
    `path` is no bundle, or a part that the pages are rendered from is missing, damaged or not what the manifest states.
    """
    bundle = Bundle.open(path)
    _require_stated(bundle, [*READ, *(f"golden/{name}.npy" for name in vectors.names(bundle.manifest))])
    metrics = read_metrics(path / METRICS)
    names = [name for name, info in bundle.manifest.models.items() if info.precision is Precision.INT8]
    program = bundle.programs({name: read_model(path / name) for name in names}).reference
    pages = render_pages(bundle.manifest, metrics, bundle.golden(), program.constants, bundle.masks())
    manifest = with_files(path, {name: FileInfo.of(page) for name, page in pages.items()})
    write_files(path, {**pages, FILE: manifest})
    return [path / name for name in pages]


def _require_stated(bundle: Bundle, names: Iterable[str]) -> None:
    for name in names:
        path = bundle.path / name
        if not path.is_file():
            raise FormatError(f"{path}: no such file, and the report is rendered from it")
        digest, stated = FileInfo.of(path.read_bytes()).sha256, bundle.manifest.files.get(name)
        if stated is None or digest != stated.sha256:
            right = f"states {stated.sha256[:12]}…" if stated else "does not list it"
            raise FormatError(f"{path}: sha256 is {digest[:12]}…, {FILE} {right}")
