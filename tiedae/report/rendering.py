"""Render the pages of a bundle, report.html and MODEL_CARD.md, from its own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tiedae.bundle import golden as vectors
from tiedae.bundle.bundle import PAGES, PROGRAM_FILE, Bundle, write_files
from tiedae.bundle.manifest import FILE, with_files
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Metrics, read_metrics
from tiedae.export.file_info import FileInfo
from tiedae.export.kinds import Precision
from tiedae.export.targets import read_model

from .card import render_card
from .key_figures import Report
from .page import render_report


@np.errstate(all="ignore")  # a stranger's scales and offsets may be of any size
def render_pages(report: Report) -> dict[str, bytes]:
    """Both pages by file name."""
    texts = render_report(report), render_card(report.manifest, report.metrics)
    return {name: text.encode() for name, text in zip(PAGES, texts, strict=True)}


def pages_of(bundle: Bundle, metrics: Metrics) -> dict[str, bytes]:
    """The pages of an existing bundle with these metrics. Raises FormatError where a file that is needed is damaged."""
    names = [name for name, info in bundle.manifest.models.items() if info.precision is Precision.INT8]
    kernels = bundle.programs({name: read_model(bundle.path / name) for name in names}).reference.constants
    arrays = bundle.golden(), kernels, bundle.masks(), bundle.task_arrays()
    return render_pages(Report(bundle.manifest, metrics, *arrays))


def render_bundle(path: Path) -> list[Path]:
    """Render the pages of an existing bundle and update its manifest; returns the paths of the pages.

    Writes nothing before all is rendered; the manifest is written last. Raises FormatError if `path` is no bundle, or a file
    that is needed is missing, damaged or has another sha256 than the manifest states.
    """
    bundle = Bundle.open(path)
    bundle.require_intact([METRICS, PROGRAM_FILE, *(f"golden/{name}.npy" for name in vectors.names(bundle.manifest))])
    pages = pages_of(bundle, read_metrics(path / METRICS))
    manifest = with_files(path, {name: FileInfo.of(page) for name, page in pages.items()})
    write_files(path, {**pages, FILE: manifest})
    return [path / name for name in pages]
