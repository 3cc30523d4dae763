"""What is measured of files beside their outputs, each as a session whose outputs are the measurements.

The latency of two files, in turns; and which bodies of control flow, such as the branches of `If`, a run enters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from ...compress.errors import FormatError
from .session import Session, Values
from .table import RUNTIMES

BUDGET = 0.3
"""Duration of timed runs per signature, in seconds."""
LEAST, MOST = 3, 101
"""Number of timed runs per file."""
TOO_LONG = 1.0
"""Runs that take longer, in seconds, are not timed."""

Held = Mapping[tuple[str, ...], Session]
"""Sessions that are open already, by runtime and path."""


class Probe(Protocol):
    """Opens the files of a measurement. Raises FormatError if a runtime rejects one."""

    def __call__(self, paths: Sequence[Path], signatures: Collection[str], held: Held) -> Session: ...


class Turns(Session):
    """Times the calls of two sessions in turns: `before` and `after`, in seconds per call."""

    def __init__(self, before: Session, after: Session) -> None:
        self.runtime, self.provider = before.runtime, before.provider
        self._calls = {"before": before.call, "after": after.call}

    def call(self, signature: str, inputs: Values) -> Values:
        first = {name: _seconds(call, signature, inputs) for name, call in self._calls.items()}
        if max(first.values()) > TOO_LONG:
            raise FormatError(f"a run takes {max(first.values()):.1f} s, timed are runs of up to {TOO_LONG:g} s")
        pairs = int(BUDGET / sum(first.values()))
        times: dict[str, list[float]] = {name: [] for name in self._calls}
        for _ in range(min(max(pairs, LEAST), MOST)):
            for name, call in self._calls.items():
                times[name].append(_seconds(call, signature, inputs))
        return {name: np.array(each) for name, each in times.items()}


def _seconds(call: Callable[[str, Values], object], signature: str, inputs: Values) -> float:
    start = time.perf_counter()
    call(signature, inputs)
    return time.perf_counter() - start


def _turns(runtime: str, paths: Sequence[Path], signatures: Collection[str], held: Held) -> Session:
    def opened(path: Path) -> Session:
        return held.get((runtime, str(path))) or RUNTIMES[runtime].open(dict.fromkeys(signatures, path))

    before, after = map(opened, paths)
    return Turns(before, after)


def _turns_unoptimized(paths: Sequence[Path], _signatures: Collection[str], _held: Held) -> Session:
    from .ort import Unoptimized

    before, after = map(Unoptimized, paths)
    return Turns(before, after)


def _onnx_bodies(paths: Sequence[Path], _signatures: Collection[str], _held: Held) -> Session:
    from .bodies import OnnxBodies

    return OnnxBodies(paths[0])


def _tflite_bodies(paths: Sequence[Path], _signatures: Collection[str], _held: Held) -> Session:
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
