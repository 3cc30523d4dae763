"""What a reader takes of processor time and memory, measured in a process of its own."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tiedae.base.errors import TiedaeError
from tiedae.compress.imports import onnx_chain  # noqa: F401 (which readers import late)
from tiedae.compress.imports.assumed import require_assumed
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.mirrored import mirror
from tiedae.dedupe.models import inspect_model
from tiedae.report.models import render

SECONDS = 5.0
"""Processor time of reading a file at most."""
MEMORY = 200 << 20
"""Bytes beyond 10 × the file at most."""
LONGEST = 10
"""Seconds of processor time after which a process is ended."""
ADDRESSES = 8 << 30
"""Bytes that a process may map beside what it has."""


@dataclass(frozen=True)
class Cost:
    """What reading took: `seconds` of processor time, and `memory` at most beside what the process had, in bytes.

    `text`: of the error of a file that was refused, "" of one that was read. `ended`: how a process ended otherwise.
    """

    seconds: float
    memory: int
    text: str = ""
    ended: str = ""


def cost(read: Callable[[Path], object], path: Path) -> Cost:
    """What `read` takes for a file, in a forked process: import what it needs first."""
    receive, send = os.pipe()
    process = os.fork()
    if not process:
        os.close(receive)
        _child(read, path, send)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        found = stream.read()
    _, status, usage = os.wait4(process, 0)
    if not found:
        ended = (
            f"ended by {signal.Signals(-code).name}"
            if (code := os.waitstatus_to_exitcode(status)) < 0
            else f"ended with {code}"
        )
        return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10, ended=ended)
    return Cost(**json.loads(found))


def inspected(path: Path) -> None:
    """What `tiedae inspect` does with a model."""
    render(inspect_model(path))


def imported(path: Path) -> None:
    """What a recipe or `ta.from_keras` reads of a model."""
    chain = read_model(path)
    require_assumed(chain, chain.custom)
    mirror(chain, tie=None).weights()


COMMANDS = (inspected, imported)


def _child(read: Callable[[Path], object], path: Path, send: int) -> None:
    try:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, LONGEST)
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ADDRESSES, resource.RLIM_INFINITY))
        Path("/proc/self/clear_refs").write_text("5")
        before, begun, text, ended = _peak(), _seconds(), "", ""
        try:
            read(path)
        except TiedaeError as error:
            text = str(error)
        except BaseException:  # noqa: BLE001 (what this looks for)
            ended = traceback.format_exc(limit=-4)
        found = {"seconds": _seconds() - begun, "memory": _peak() - before, "text": text[:500], "ended": ended[-500:]}
        os.write(send, json.dumps(found).encode())
    finally:
        os._exit(0)


def _seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak() -> int:
    """Bytes that were in memory at most since the count was cleared."""
    found = re.search(rb"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_bytes())
    assert found
    return int(found[1]) << 10
