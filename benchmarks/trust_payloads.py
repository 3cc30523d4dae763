"""Payloads in every text of bundles and model files, and in sources for applications: what is not escaped."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # as in a process of the command line

import msgspec
from install import ROOT
from rows import Row

from tests.payloads.grid import Outcome, Problem, grid
from tests.payloads.languages import problems_of_sources
from tests.payloads.subjects import SUBJECTS
from tests.payloads.table import ALL
from tiedae.base.files import write_atomic
from tiedae.report.console import Console

SHOWN = 10
"""Problems of a subject that are printed."""
CHUNK = 200
"""Payloads that a process tries at a time."""
SOURCES = "sources"
KEPT = ROOT / "build" / "payloads"
"""Outcomes without a problem, by a digest of the repository without its pages: an interrupted run continues from them."""


def payloads(console: Console) -> Sequence[Row]:
    """Cells whose text reaches a page, a terminal, a source or a path as more than text."""
    fields, cells, refused, wrong = {}, 0, 0, 0
    tasks = [(name, start) for start in range(0, len(ALL), CHUNK) for name in (*SUBJECTS, SOURCES)]
    folder = KEPT / _digest()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        running = {pool.submit(_kept, folder, *task): task for task in tasks}
        for i, done in enumerate(as_completed(running), 1):
            (name, start), outcome = running[done], done.result()
            fields[name] = outcome.fields
            cells, refused, wrong = cells + outcome.cells, refused + outcome.refused, wrong + len(outcome.problems)
            console.note(
                f"{i} of {len(tasks)}, {name} from payload {start}: {outcome.fields} fields, {len(outcome.reaching)} of them "
                f"shown; {outcome.cells:,} cells, {outcome.refused:,} refused, {len(outcome.problems)} problems"
            )
            for problem in outcome.problems[:SHOWN]:
                console.note(f"  {problem}")
    detail = (
        f"of {cells:,} cells: {sum(fields.values())} text fields × {len(ALL)} payloads, {refused:,} refused, the rest shown as "
        f"text; and C, Java and JavaScript of {len(ALL)} models compiled"
    )
    return [Row("payloads_unescaped", wrong, "cells", "== 0", "", detail)]


def _digest() -> str:
    """Of all files that git knows or would, but for pages and figures."""
    listed = ["git", "ls-files", "-coz", "--exclude-standard", "--", ":!*.md", ":!benchmarks/figures.json"]
    names = sorted(subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"))
    digest = hashlib.sha256()
    for name in filter(None, names):
        digest.update(f"{name}\0".encode() + ((ROOT / name).read_bytes() if (ROOT / name).is_file() else b""))
    return digest.hexdigest()[:16]


def _kept(folder: Path, name: str, start: int) -> Outcome:
    file = folder / f"{name}-{start}.json"
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Outcome)
    outcome = tried(name, start)
    if not outcome.problems:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, msgspec.json.encode(outcome))
    return outcome


def tried(name: str, start: int) -> Outcome:
    """The outcome of a subject, or of sources, for a chunk of the payloads."""
    texts = ALL[start : start + CHUNK]
    with tempfile.TemporaryDirectory() as folder:
        if name != SOURCES:
            return grid(SUBJECTS[name](Path(folder)), texts)
        found = problems_of_sources(texts, Path(folder))
        return Outcome(problems=[Problem(SOURCES, (), "", "compiler", text) for text in found])
