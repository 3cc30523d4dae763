"""The guides of docs/guides, each run as it is written. Their tools: those of `.ci/run`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rows import Row

from tiedae.compress import InputError
from tiedae.report.console import Console

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from pages import PageError, run_page  # noqa: E402  # pyright: ignore[reportMissingImports]


def rows(console: Console) -> Sequence[Row]:
    if "TIEDAE_DATA" not in os.environ:
        raise InputError("TIEDAE_DATA: not set, must name the folder of the data sets")
    guides = [path for path in sorted((ROOT / "docs" / "guides").glob("*.md")) if path.name != "README.md"]
    failed: list[str] = []
    begun = time.perf_counter()
    for guide in guides:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            try:
                run_page(guide, Path(folder))
            except PageError as error:
                failed.append(guide.stem)
                console.note(str(error))
            console.note(f"{guide.stem}: {time.perf_counter() - start:.0f} s")
    minutes = (time.perf_counter() - begun) / 60
    detail = ", ".join(failed) or f"{len(guides)} guides"
    return [
        Row("jobs_failed", len(failed), "guides", "== 0", "", detail),
        Row("guides_time", minutes, "min", "<= 10", "", "one after the other"),
    ]
