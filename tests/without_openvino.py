"""Verification without OpenVINO, which takes most of its time to compile files, where its runtimes are not the subject."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiedae.runtimes.table import RUNTIMES


@contextmanager
def without_openvino() -> Iterator[None]:
    """The table of runtimes has no row of OpenVINO, as where it is not installed."""
    rows = dict(RUNTIMES)
    for name, row in rows.items():
        if row.rounding == "openvino":
            del RUNTIMES[name]
    try:
        yield
    finally:
        RUNTIMES.clear()
        RUNTIMES.update(rows)
