"""The pages of a bundle, report.html and MODEL_CARD.md, rendered from what the bundle holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ...compress.errors import FormatError
from .. import golden as vectors
from ..bundle import PROGRAM_FILE, Bundle, write_files
from ..manifest import FILE, dump
from ..targets import read_model
from ..verify.results import FILE as METRICS
from ..verify.results import Metrics, read_metrics
from .card import render_card
from .key_figures import Row
from .page import render_report

READ = (METRICS, PROGRAM_FILE)
"""What the pages are rendered from, beside the manifest and the kernels in the model files."""


def render_pages(
    manifest: Row,
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
    try:
        _require_stated(bundle, [*READ, *(f"golden/{name}.npy" for name in vectors.names(bundle.manifest))])
        metrics = read_metrics(path / METRICS)
        names = [name for name in bundle.models if bundle.manifest["files"][name]["precision"] == "int8"]
        program = bundle.programs({name: read_model(path / name) for name in names}).reference
        pages = render_pages(bundle.manifest, metrics, bundle.golden(), program.constants, bundle.masks())
        stated = {name: {"sha256": hashlib.sha256(page).hexdigest(), "bytes": len(page)} for name, page in pages.items()}
        files = dict(sorted({**bundle.manifest["files"], **stated}.items()))
        manifest = dump({**bundle.manifest, "files": files})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FormatError(f"{path}: {FILE} or {METRICS} is damaged: {error!r}") from error
    write_files(path, {**pages, FILE: manifest})
    return [path / name for name in pages]


def _require_stated(bundle: Bundle, names: Iterable[str]) -> None:
    for name in names:
        path = bundle.path / name
        if not path.is_file():
            raise FormatError(f"{path}: no such file, and the report is rendered from it")
        digest, stated = hashlib.sha256(path.read_bytes()).hexdigest(), bundle.manifest["files"].get(name, {}).get("sha256")
        if digest != stated:
            raise FormatError(f"{path}: sha256 is {digest[:12]}…, {FILE} states {str(stated)[:12]}…")
