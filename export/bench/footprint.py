"""Resident memory and start-up, each taken in a fresh process.

Memory is the growth of the resident set (Rss in /proc/self/smaps_rollup) from the moment when the runtime's module is imported
to the moment when every signature in question has run at batch 1, each file opened once: the file as far as it is mapped,
packed kernels, activations, and the runtime's own code as far as it was touched. Start-up is the time from opening the file to
the first result of the first signature; the runtime's import is measured separately. The file is in the page cache.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..runtimes.child_process import lines_of, serve

ROLLUP = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True)
class Run:
    """One signature to run: the file that holds it, and a .npy with a sample or more in its input's dtype."""

    path: str
    signature: str
    x: str


@dataclass(frozen=True)
class Load:
    """What one process opens and runs, in this order."""

    subject: str
    runtime: str
    runs: tuple[Run, ...]
    threads: int = 1


@dataclass(frozen=True)
class Footprint:
    """Medians over processes: bytes of resident memory, and milliseconds; `memory` None where the system does not report it."""

    memory: int | None
    startup_ms: float
    import_ms: float
    processes: int


def footprints(
    loads: Sequence[Load], *, processes: int, announce: Callable[[str], None] = lambda _text: None
) -> Iterator[tuple[Load, Footprint]]:
    """Measure each load in `processes` processes, in turns; yields them when all are done.

    Raises UnavailableError, with the reason, where a child fails.
    """
    taken: list[list[dict[str, Any]]] = [[] for _ in loads]
    for i in range(processes if loads else 0):
        announce(f"memory and start-up of {len(loads)} cases, process {i + 1} of {processes}")
        for load, rows in zip(loads, taken, strict=True):
            rows += lines_of(__name__, asdict(load))
    for load, rows in zip(loads, taken, strict=True):
        memory = [row["memory"] for row in rows if row["memory"] is not None]
        median = {key: float(np.median([row[key] for row in rows])) for key in ("startup_ms", "import_ms")}
        yield load, Footprint(int(np.median(memory)) if memory else None, **median, processes=processes)


def resident() -> int | None:
    """Bytes of this process's resident set, None where the system does not report it."""
    try:
        text = ROLLUP.read_text()
    except OSError:
        return None
    return next(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss:"))


def main(load: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The child: open and run a `Load`, and answer what it took."""
    from .openers import OPENERS

    inputs = [np.load(run["x"], allow_pickle=False)[:1].copy() for run in load["runs"]]
    begun = time.perf_counter_ns()
    importlib.import_module(OPENERS[load["runtime"]].module)
    imported = time.perf_counter_ns()
    open_files = OPENERS[load["runtime"]].load()
    before, opened = resident(), time.perf_counter_ns()
    first, models, kept = 0, {}, []
    for run, x in zip(load["runs"], inputs, strict=True):
        path = run["path"]
        if path not in models:
            files = {each["signature"]: Path(path) for each in load["runs"] if each["path"] == path}
            models[path] = open_files(files, threads=load["threads"])
        kept.append(models[path].bind(run["signature"], x))
        first = first or time.perf_counter_ns()
    after = resident()
    yield {
        "memory": None if before is None or after is None else after - before,
        "startup_ms": (first - opened) / 1e6,
        "import_ms": (imported - begun) / 1e6,
    }


if __name__ == "__main__":
    serve(main)
