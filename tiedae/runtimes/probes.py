"""What is measured of files beside their outputs, each as a session whose outputs are the measurements.

The latency of files; and which bodies of control flow, such as the branches of `If`, a run enters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tiedae.base.errors import FormatError

from .bodies import OnnxBodies, TfliteBodies
from .ort import Unoptimized
from .session import Called, Values
from .table import RUNTIMES

BUDGET = 0.3
"""Duration of the timed calls of a signature in two files, in seconds."""
LEAST, MOST = 3, 101
"""Number of timed calls per file."""
TOO_LONG = 1.0
"""Calls that take longer, in seconds, are not timed."""

Held = Mapping[tuple[str, ...], Called]
"""Sessions that are open already, by runtime and path."""

Probe = Callable[[Sequence[Path], Collection[str], Held], Called]
"""Opens the files of a measurement, with the names of their signatures. Raises FormatError if a runtime rejects one."""


class CallTurns:
    """Times open files, whose calls take turns: seconds per call, by each file's index."""

    def __init__(self, *sessions: Called) -> None:
        self.provider = sessions[0].provider
        self.sessions = sessions

    def call(self, signature: str, inputs: Values) -> Values:
        first = [_first(session, signature, inputs) for session in self.sessions]
        affordable = int(BUDGET * len(self.sessions) / 2 / max(sum(first), 1e-9))
        turns = range(min(max(affordable, LEAST), MOST))
        times = np.array([[_seconds(session, signature, inputs) for session in self.sessions] for _ in turns])
        return {str(i): seconds for i, seconds in enumerate(times.T)}


def _seconds(session: Called, signature: str, inputs: Values) -> float:
    start = time.perf_counter()
    session.call(signature, inputs)
    return time.perf_counter() - start


def _first(session: Called, signature: str, inputs: Values) -> float:
    """Seconds of a call after a first one. Raises FormatError if the first is too long."""
    seconds = _seconds(session, signature, inputs)
    if seconds > TOO_LONG:
        raise FormatError(f"a call takes {seconds:.1f} s, timed are calls of up to {TOO_LONG:g} s")
    return _seconds(session, signature, inputs)


def _turns(runtime: str, paths: Sequence[Path], signatures: Collection[str], held: Held) -> Called:
    open_one = RUNTIMES[runtime].open
    return CallTurns(*(held.get((runtime, str(path))) or open_one(dict.fromkeys(signatures, path)) for path in paths))


LATENCY: Mapping[str, str] = {"tflite": "latency of litert-xnnpack", "onnx": "latency of ort-cpu"}
UNOPTIMIZED = "latency of ort-cpu without optimizations"
BODIES: Mapping[str, str] = {"tflite": "bodies of litert-reference", "onnx": "bodies of ort-cpu"}
PROBES: Mapping[str, Probe] = {
    LATENCY["tflite"]: partial(_turns, "litert-xnnpack"),
    LATENCY["onnx"]: partial(_turns, "ort-cpu"),
    UNOPTIMIZED: lambda paths, *_: CallTurns(*map(Unoptimized, paths)),
    BODIES["tflite"]: lambda paths, *_: TfliteBodies(paths[0]),
    BODIES["onnx"]: lambda paths, *_: OnnxBodies(paths[0]),
}
"""The measurements by name, such as a job of the sandbox has in place of a runtime."""
