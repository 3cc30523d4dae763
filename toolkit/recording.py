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
from tiedae.bundle import manifest as manifests
from tiedae.bundle.bench_results import Bench
from tiedae.bundle.bundle import Bundle, describe_files, write_files
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import read_metrics, to_json
from tiedae.compress.errors import FormatError, InputError
from tiedae.compress.files import read_regular
from tiedae.report.rendering import render_bundle

STAGING = ".bench."
"""Prefix of the staging folder inside the bundle."""


def record(path: Path, measured: Bench) -> list[Path]:
    """Write `measured` to a bundle's metrics.json and render its pages again; returns the files written.

    Other metrics stay. All files are staged before the first one is replaced. Raises FormatError if a file of the bundle is
    missing or differs from the manifest, InputError if the bundle is not writable; the bundle is then unchanged.
    """
    bundle = Bundle.open(path)
    _require_intact(bundle)
    if METRICS not in bundle.manifest.files:
        raise FormatError(f"{path}: its manifest lists no {METRICS}")
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: cannot be written to")
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=path) as temporary:
        staged = Path(temporary)
        for name in (*bundle.manifest.files, manifests.FILE):
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_bytes(read_regular(path / name))
        metrics = replace(read_metrics(staged / METRICS), bench=measured)
        write_files(staged, {METRICS: to_json(metrics).encode()})
        write_files(staged, {manifests.FILE: manifests.with_files(staged, describe_files(staged, [METRICS]))})
        pages = [page.name for page in render_bundle(staged)]
        changed = [METRICS, *pages, manifests.FILE]
        with _uninterrupted():
            for name in changed:
                (staged / name).replace(path / name)
    return [path / name for name in changed]


def _require_intact(bundle: Bundle) -> None:
    for name, stated in bundle.manifest.files.items():
        path = bundle.path / name
        if not stated.holds(path):
            raise FormatError(f"{path}: missing or changed since the manifest was written")


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
