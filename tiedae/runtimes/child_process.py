"""Child processes, which start with nothing loaded, may crash, and end with their parent.

They import nothing of the folder that the parent stands in, which may be a stranger's: they have an empty one of their own, and
Python's `-P`. So paths in a plan are absolute.

The plan is one line of JSON on the child's standard input, which stays open while the parent lives; each answer is one line of
JSON on its standard output. All other output is kept to explain a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from tiedae.base.errors import UnavailableError


class Ended(UnavailableError):
    """A child ended early; `how` is such as `crashed (SIGSEGV)`."""

    def __init__(self, module: str, how: str) -> None:
        super().__init__(f"{module}: the process {how}")
        self.how = how


@contextlib.contextmanager
def limited(child: subprocess.Popen[Any], seconds: float | None) -> Iterator[threading.Event]:
    """Kill the process if the block takes longer, so that no read blocks forever; the event is then set."""
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(seconds or threading.TIMEOUT_MAX, end)
    timer.daemon = True
    try:
        timer.start()
        yield late
    finally:
        timer.cancel()


def lines_of(module: str, plan: object, seconds: float | None = None) -> Generator[Any, None, None]:
    """Run `python -m module`, which calls `serve`, with a plan; yields each answer within `seconds`.

    The child ends with the iteration. Raises Ended if it fails or times out.
    """
    command, pipe = [sys.executable, "-P", "-m", module], subprocess.PIPE
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as words,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=words, env=_environment(), text=True, cwd=folder) as child,
    ):
        assert child.stdin is not None and child.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps(plan) + "\n")
                child.stdin.flush()
            while True:
                with limited(child, seconds) as late:
                    line = child.stdout.readline()
                if not line:
                    break
                yield json.loads(line)
            code = child.wait()
        finally:
            child.kill()
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
        if late.is_set():
            raise Ended(module, f"did not answer within {seconds:g} s")
        if code < 0:
            raise Ended(module, f"crashed ({signal.Signals(-code).name})")
        if code:
            words.seek(0)
            said = words.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise Ended(module, f"failed: {said[-1]}")


def _environment() -> dict[str, str]:
    """The parent's, in which folders to import from mean what they mean in the parent's folder; an empty one is left out."""
    named = [str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": os.pathsep.join(named)}


def serve(answer: Callable[[Any], Iterable[object]]) -> None:
    """The child's side: read the plan and print the answers; other output goes to standard error."""
    with contextlib.suppress(KeyboardInterrupt), os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        plan = json.loads(sys.stdin.readline())
        threading.Thread(target=_end_with_parent, daemon=True).start()
        for each in answer(plan):
            print(json.dumps(each), file=out, flush=True)


def _end_with_parent() -> None:
    """Exit when standard input closes. Python's own stream is not used: its lock would be held at interpreter exit."""
    while os.read(0, 1 << 12):
        pass
    os._exit(1)
