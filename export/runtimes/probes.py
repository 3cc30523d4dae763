"""What is measured of files beside their outputs, each as a session whose outputs are the measurements.

The latency of two files, in turns; and which bodies of control flow, such as the branches of `If`, a run enters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...compress.errors import FormatError
from .session import Called, Values
from .table import RUNTIMES

BUDGET = 0.3
"""Duration of timed calls per signature, in seconds."""
LEAST, MOST = 3, 101
"""Number of timed calls per file, or per file and round."""
ROUNDS = 2
"""How often each of two files is opened to be timed, where only one may be open."""
TOO_LONG = 1.0
"""Calls that take longer, in seconds, are not timed."""

Held = Mapping[tuple[str, ...], Called]
"""Sessions that are open already, by runtime and path."""

Probe = Callable[[Sequence[Path], Collection[str], Held], Called]
"""Opens the files of a measurement, with the names of their signatures. Raises FormatError if a runtime rejects one."""


class CallTurns:
    """Times two open files, whose calls take turns: `before` and `after`, in seconds per call."""

    def __init__(self, before: Called, after: Called) -> None:
        self.provider = before.provider
        self._sessions = before, after

    def call(self, signature: str, inputs: Values) -> Values:
        first = [_first(session, signature, inputs) for session in self._sessions]
        turns = range(_count(BUDGET, sum(first)))
        times = np.array([[_seconds(session, signature, inputs) for session in self._sessions] for _ in turns])
        return {"before": times[:, 0], "after": times[:, 1]}


class SessionTurns:
    """The same of two files of which only one is open at a time."""

    def __init__(self, *opens: Callable[[], Called]) -> None:
        self.provider = ""
        self._opens = opens

    def call(self, signature: str, inputs: Values) -> Values:
        rounds = [[self._timed(opened(), signature, inputs) for opened in self._opens] for _ in range(ROUNDS)]
        before, after = (np.concatenate(times) for times in zip(*rounds, strict=True))
        return {"before": before, "after": after}

    def _timed(self, session: Called, signature: str, inputs: Values) -> np.ndarray:
        count = _count(BUDGET / len(self._opens) / ROUNDS, _first(session, signature, inputs))
        return np.array([_seconds(session, signature, inputs) for _ in range(count)])


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


def _count(budget: float, seconds: float) -> int:
    return min(max(int(budget / max(seconds, 1e-9)), LEAST), MOST)


def _turns(runtime: str, paths: Sequence[Path], signatures: Collection[str], held: Held) -> Called:
    sessions = [held[runtime, str(path)] for path in paths if (runtime, str(path)) in held]
    if len(sessions) == len(paths):
        return CallTurns(*sessions)
    return SessionTurns(*(partial(RUNTIMES[runtime].open, dict.fromkeys(signatures, path)) for path in paths))


def _turns_unoptimized(paths: Sequence[Path], _signatures: Collection[str], _held: Held) -> Called:
    from .ort import Unoptimized

    return SessionTurns(*(partial(Unoptimized, path) for path in paths))


def _onnx_bodies(paths: Sequence[Path], _signatures: Collection[str], _held: Held) -> Called:
    from .bodies import OnnxBodies

    return OnnxBodies(paths[0])


def _tflite_bodies(paths: Sequence[Path], _signatures: Collection[str], _held: Held) -> Called:
    from .bodies import TfliteBodies

    return TfliteBodies(paths[0])


LATENCY: Mapping[str, str] = {"tflite": "latency of litert-xnnpack", "onnx": "latency of ort-cpu"}
UNOPTIMIZED = "latency of ort-cpu without optimizations"
BODIES: Mapping[str, str] = {"tflite": "bodies of litert-reference", "onnx": "bodies of ort-cpu"}
PROBES: Mapping[str, Probe] = {
    LATENCY["tflite"]: partial(_turns, "litert-xnnpack"),
    LATENCY["onnx"]: partial(_turns, "ort-cpu"),
    UNOPTIMIZED: _turns_unoptimized,
    BODIES["tflite"]: _tflite_bodies,
    BODIES["onnx"]: _onnx_bodies,
}
"""The measurements by name, such as a job of the sandbox has in place of a runtime."""
