"""Resident memory and start-up time, each measured in a fresh process.

Memory is the growth of the resident set (Rss in /proc/self/smaps_rollup) from the import of the runtime's module until every
signature has run at batch 1, each file opened once. It includes mapped pages of the file, packed kernels, activations, and
pages of the runtime's code that were touched. Start-up is the time from opening the file to the first result of the first
signature; the import is measured separately. The file is in the page cache.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.runtimes.child_process import lines_of, serve

from .latency import Timed

ROLLUP = Path("/proc/self/smaps_rollup")


Load = tuple[Timed, ...]
"""Files of one subject that a process opens and runs, in order."""


@dataclass(frozen=True)
class Footprint:
    """Medians over processes. `memory`: resident bytes, None if the system does not report it."""

    memory: int | None
    startup_ms: float
    import_ms: float
    processes: int


def footprints(
    loads: Sequence[Load], *, processes: int, announce: Callable[[str], None] = lambda _text: None
) -> Iterator[tuple[Load, Footprint]]:
    """Measure each load in `processes` processes, interleaved; yields the results at the end.

    Raises UnavailableError, with the reason, if a child fails.
    """
    taken: list[list[dict[str, Any]]] = [[] for _ in loads]
    for i in range(processes if loads else 0):
        announce(f"memory and start-up of {len(loads)} cases, process {i + 1} of {processes}")
        for load, rows in zip(loads, taken, strict=True):
            rows += lines_of(__name__, [asdict(each) for each in load])
    for load, rows in zip(loads, taken, strict=True):
        memory = [row["memory"] for row in rows if row["memory"] is not None]
        median = {key: float(np.median([row[key] for row in rows])) for key in ("startup_ms", "import_ms")}
        yield load, Footprint(int(np.median(memory)) if memory else None, **median, processes=processes)


def resident() -> int | None:
    """This process's resident set in bytes; None if the system does not report it."""
    try:
        text = ROLLUP.read_text()
    except OSError:
        return None
    return next(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss:"))


def main(load: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Open, run and measure a `Load` in the child."""
    from .openers import OPENERS

    inputs, opener = [np.load(run["x"], allow_pickle=False)[:1].copy() for run in load], OPENERS[load[0]["runtime"]]
    begun = time.perf_counter_ns()
    importlib.import_module(opener.module)
    imported = time.perf_counter_ns()
    open_files = opener.load()
    before, opened = resident(), time.perf_counter_ns()
    first, models, kept = 0, {}, []
    for run, x in zip(load, inputs, strict=True):
        path = run["path"]
        if path not in models:
            files = {each["signature"]: Path(path) for each in load if each["path"] == path}
            models[path] = open_files(files)
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
