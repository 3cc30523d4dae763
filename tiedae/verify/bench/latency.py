"""Interleaved latency measurement: warm-up, rounds over all subjects in a child process, confidence intervals of ratios.

Each round times every subject once, in rotating order, so that noise affects all subjects equally and ratios can be taken per
round. A sample is the mean of enough calls to make the clock's resolution negligible.

This module is also the child process, which fixes the number of threads: TensorFlow accepts it only before initialization.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.bundle.bench_results import Ratio, Way
from tiedae.runtimes.child_process import lines_of, serve

SAMPLE_NS = 200_000
"""Minimum duration of a sample, in ns; shorter calls are repeated."""
ROUNDS = (21, 200)
"""Minimum and maximum number of rounds."""
WARM_UP = 3
"""Number of untimed calls at the start."""

Call = Callable[[], object]


@dataclass(frozen=True, eq=False)
class Timing:
    """Latency of a call. `samples`: float64 [rounds], ns per call, each the mean of `inner` calls."""

    samples: np.ndarray
    inner: int

    @property
    def median_us(self) -> float:
        return float(np.median(self.samples)) / 1e3

    @property
    def p95_us(self) -> float:
        """95th percentile of the samples, which are single calls only if `inner` is 1."""
        return float(np.percentile(self.samples, 95)) / 1e3


def ratio(subject: Timing, baseline: Timing, *, resamples: int = 1000, seed: int = 0) -> Ratio:
    """median(subject) / median(baseline) with its percentile bootstrap interval of 95 % (Efron, 1979).

    Rounds are resampled, since both timings share the noise of their rounds. Raises ValueError if the numbers of rounds differ.
    """
    pairs = np.stack([subject.samples, baseline.samples])
    rounds = pairs.shape[1]
    picked = np.random.default_rng(seed).integers(rounds, size=(resamples, rounds))
    medians = np.median(pairs[:, picked], axis=2)
    low, high = np.quantile(medians[0] / medians[1], (0.025, 0.975))
    first, second = np.median(pairs, axis=1)
    return Ratio(float(first / second), float(low), float(high))


def interleave(
    calls: Mapping[str, Call],
    *,
    seconds: float,
    rounds: tuple[int, int] = ROUNDS,
    sample_ns: int = SAMPLE_NS,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Timing]:
    """Time `calls` in rounds for about `seconds`, within `rounds` (minimum, maximum).

    Calls must be synchronous. An untimed call before each sample refills the caches. Garbage collection is off.
    """
    with _no_garbage_collection():
        for call in calls.values():
            for _ in range(WARM_UP):
                call()
        inner = {name: _repeats(call, sample_ns, clock) for name, call in calls.items()}
        names, samples = list(calls), {name: [] for name in calls}
        begun, done = clock(), 0
        while done < rounds[0] or (done < rounds[1] and clock() - begun < 1e9 * seconds):
            turn = done % len(names)
            for name in names[turn:] + names[:turn]:
                samples[name].append(_sample(calls[name], inner[name], clock))
            done += 1
    return {name: Timing(np.array(values, np.float64), inner[name]) for name, values in samples.items()}


def _repeats(call: Call, sample_ns: int, clock: Callable[[], int]) -> int:
    """Number of calls per sample, a power of two, so that a fast sample takes at least `sample_ns`."""
    inner = 1
    while min(_sample(call, inner, clock) for _ in range(WARM_UP)) * inner < sample_ns:
        inner *= 2
    return inner


def _sample(call: Call, inner: int, clock: Callable[[], int]) -> float:
    call()
    begun = clock()
    for _ in range(inner):
        call()
    return (clock() - begun) / inner


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True)
class Timed:
    """A signature of a file in a runtime. `x`: a .npy with a batch, the largest that is timed, in the input's dtype. Both
    paths are absolute."""

    subject: str
    runtime: str
    path: str
    signature: str
    x: str


@dataclass(frozen=True)
class TimedGroup:
    """Subjects that are timed in turns: one signature, one batch, one `way` (a call of `session.Bound`)."""

    subjects: tuple[Timed, ...]
    batch: int
    way: Way


@dataclass(frozen=True, eq=False)
class GroupTimings:
    """Timings and reported providers of a group, by subject."""

    group: TimedGroup
    timings: Mapping[str, Timing]
    providers: Mapping[str, str] = field(default_factory=dict)


def time_groups(
    groups: Sequence[TimedGroup], *, threads: int, seconds: float, rounds: tuple[int, int] = ROUNDS
) -> Iterator[GroupTimings]:
    """Time groups in a child process whose runtimes have `threads` threads; yields each when done.

    Raises UnavailableError, with the reason, if the child fails.
    """
    plan = {"groups": [asdict(group) for group in groups], "threads": threads, "seconds": seconds, "rounds": rounds}
    for group, line in zip(groups, lines_of(__name__, plan), strict=True):
        timings = {name: Timing(np.array(each["samples"]), each["inner"]) for name, each in line["timings"].items()}
        yield GroupTimings(group, timings, line["providers"])


def main(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Time each group of the plan in the child; yields an answer per group."""
    from .openers import OPENERS

    for group in plan["groups"]:
        sessions, calls = {}, {}
        for each in group["subjects"]:
            name, signature = each["subject"], each["signature"]
            x = np.ascontiguousarray(np.load(each["x"], allow_pickle=False)[: group["batch"]])
            sessions[name] = OPENERS[each["runtime"]].load()({signature: Path(each["path"])}, threads=plan["threads"])
            calls[name] = getattr(sessions[name].bind(signature, x), group["way"])
        providers = {name: session.provider for name, session in sessions.items()}
        timings = interleave(calls, seconds=plan["seconds"], rounds=tuple(plan["rounds"]))
        yield {
            "timings": {name: {"samples": t.samples.tolist(), "inner": t.inner} for name, t in timings.items()},
            "providers": providers,
        }


if __name__ == "__main__":
    serve(main)
