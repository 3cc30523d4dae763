"""Adds measurements to a bundle: metrics.json, the rendered pages and the manifest are replaced together or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from tiedae.base.errors import FormatError, InputError
from tiedae.bundle.bench_results import Bench
from tiedae.bundle.bundle import Bundle, write_files
from tiedae.bundle.manifest import FILE, with_files
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import read_metrics, to_json
from tiedae.export.file_info import FileInfo
from tiedae.report.rendering import pages_of

STAGING = ".bench."
"""Prefix of the staging folder inside the bundle."""


def record(path: Path, measured: Bench) -> list[Path]:
    """Write `measured` to a bundle's metrics.json and render its pages again; returns the files written.

    Other metrics stay. All files are staged before the first one is replaced. Raises FormatError if a file of the bundle is
    missing or differs from the manifest, InputError if the bundle is not writable; the bundle is then unchanged.
    """
    bundle = Bundle.open(path)
    bundle.require_intact()
    if METRICS not in bundle.manifest.files:
        raise FormatError(f"{path}: its manifest lists no {METRICS}")
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: cannot be written to")
    metrics = replace(read_metrics(path / METRICS), bench=measured)
    changed = {METRICS: to_json(metrics).encode(), **pages_of(bundle, metrics)}
    changed[FILE] = with_files(path, {name: FileInfo.of(data) for name, data in changed.items()})
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=path) as staged:
        write_files(Path(staged), changed)
        with _uninterrupted():
            for name in changed:
                (Path(staged) / name).replace(path / name)
    return [path / name for name in changed]


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM to the end of the block; only the main thread receives them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    known = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in known}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
