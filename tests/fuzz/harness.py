"""Runs inputs of a target in forked processes, and counts how they end.

An input has a number: the whole files and the corpus come first, then mutations, each of which follows from the seed and its
number alone. A process that dies takes one input with it, and the next one goes on behind it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tiedae.base.errors import TiedaeError

from .laws import SECONDS, WALL_SECONDS, Court, Verdict
from .targets import Target

BATCH = 2_000
"""Inputs of a process at most."""
_STATE = struct.Struct("<qqqd")
"""Number of the input that is tried, values and refusals so far, and the most seconds of one."""
_DEATHS = {signal.SIGPROF: f"takes more than {SECONDS:g} s", signal.SIGALRM: f"waits for more than {WALL_SECONDS:g} s"}


@dataclass(frozen=True)
class Breach:
    """An input that breaks a law, and the place in the code. `count`: how many inputs of the run broke one there."""

    case: int
    law: str
    place: str
    size: int
    count: int = 1


@dataclass
class Tally:
    """How the inputs of a target ended. `places`: where refusals were raised, and the first input of each."""

    cases: int = 0
    values: int = 0
    refused: int = 0
    broken: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    breaches: list[Breach] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def add(self, breach: Breach) -> None:
        self.broken += 1
        for i, other in enumerate(self.breaches):
            if other.place == breach.place:
                smaller = min(other, breach, key=lambda each: each.size)
                self.breaches[i] = replace(smaller, count=other.count + 1)
                return
        self.breaches.append(breach)


@dataclass(frozen=True)
class Inputs:
    """The inputs of a target by number: `starts`, then mutations of them, mostly of the `whole` first ones."""

    target: Target
    starts: Sequence[bytes]
    seed: int = 0
    whole: int = 0

    @classmethod
    def of(cls, name: str, target: Target, seed: int = 0) -> Inputs:
        whole = target.whole()
        return cls(target, [*whole, *target.corpus(name)], seed, len(whole))

    def __getitem__(self, number: int) -> bytes:
        if number < len(self.starts):
            return self.starts[number]
        rng = random.Random(self.seed << 40 | number)
        data = rng.choice(self.starts[: self.whole or None] if rng.randrange(4) else self.starts)
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 8))):
            data = rng.choice(self.target.mutations)(data, rng, self.starts)
        return data[: self.target.longest]


def run(inputs: Inputs, numbers: range, *, seconds: float | None = None) -> Tally:
    """Try the inputs of these numbers, as many as there is time for."""
    warm_up(inputs.target)
    tally, begun, at = Tally(), time.monotonic(), numbers.start
    gc.collect()
    gc.freeze()
    try:
        while at < numbers.stop and (seconds is None or time.monotonic() - begun < seconds):
            at = _batch(inputs, range(at, min(at + BATCH, numbers.stop)), tally, seconds and begun + seconds)
    finally:
        gc.unfreeze()
    tally.cases = at - numbers.start
    return tally


def warm_up(target: Target) -> None:
    """Read whole files once, so that no process imports modules or starts threads later."""
    with folder_of(target) as folder:
        for data in target.whole():
            path = folder / target.file
            path.write_bytes(data)
            with contextlib.suppress(TiedaeError):
                target.read(path)


@contextlib.contextmanager
def folder_of(target: Target) -> Iterator[Path]:
    """A folder with the files that a target has beside its own."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name) / "given"
        for file, data in {target.file: b"", **target.beside()}.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        yield folder


def _batch(inputs: Inputs, numbers: range, tally: Tally, until: float | None) -> int:
    """Try inputs in a process; the number behind the last one that was tried."""
    state = mmap.mmap(-1, _STATE.size)
    state[:] = _STATE.pack(numbers.start, 0, 0, 0.0)
    with folder_of(inputs.target) as folder:
        receive, send = os.pipe()
        sys.stdout.flush()
        process = os.fork()
        if not process:
            os.close(receive)
            _child(inputs, numbers, folder, state, send, until)
        os.close(send)
        with os.fdopen(receive, "rb") as stream:
            lines = stream.read().splitlines()
        _, status, usage = os.wait4(process, 0)
        found = sorted(path.name for path in folder.parent.iterdir())
    number, values, refused, slowest = _STATE.unpack(state[:])
    tally.values += values
    tally.refused += refused
    tally.slowest = max(tally.slowest, slowest)
    tally.seconds += usage.ru_utime + usage.ru_stime
    for line in map(json.loads, lines):
        if "error" in line:
            raise RuntimeError(f"the harness itself fails at input {number}:\n{line['error']}")
        if "law" in line:
            tally.add(Breach(**line))
        else:
            tally.places.setdefault(line["place"], line["case"])
    if found != ["given"]:
        tally.add(Breach(number, f"writes {found} beside its folder", "", 0))
    code = os.waitstatus_to_exitcode(status)
    if code:
        law = next((text for each, text in _DEATHS.items() if each == -code), f"dies of {_name(code)}")
        tally.add(Breach(number, law, f"input {number}", len(inputs[number])))
        return number + 1
    return number


def _name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else str(code)


def _child(inputs: Inputs, numbers: range, folder: Path, state: mmap.mmap, send: int, until: float | None) -> None:
    """Try inputs and end; what is found goes through the pipe, a line each."""
    code = 0
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        path, court = folder / inputs.target.file, Court(folder, anywhere=inputs.target.anywhere)
        values = refused = 0
        slowest, places = 0.0, set()
        for number in numbers:
            state[:] = _STATE.pack(number, values, refused, slowest)
            if until is not None and time.monotonic() > until:
                break
            data = inputs[number]
            begun = time.process_time()
            verdict = court.judge(inputs.target.read, path, data, inputs.target.declared(data), resident=inputs.target.resident)
            slowest = max(slowest, time.process_time() - begun)
            values += verdict.value
            refused += verdict.refused
            _tell(send, verdict, number, len(data), places)
        else:
            state[:] = _STATE.pack(numbers.stop, values, refused, slowest)
    except BaseException:  # noqa: BLE001 (a defect of the harness, which the parent raises)
        _write(send, {"error": traceback.format_exc(limit=-6)})
    finally:
        os._exit(code)


def _tell(send: int, verdict: Verdict, number: int, size: int, places: set[str]) -> None:
    if verdict.law:
        _write(send, asdict(Breach(number, verdict.law, verdict.place, size)))
    elif verdict.refused and verdict.place not in places:
        places.add(verdict.place)
        _write(send, {"place": verdict.place, "case": number})


def _write(send: int, line: dict[str, Any]) -> None:
    os.write(send, json.dumps(line).encode() + b"\n")
