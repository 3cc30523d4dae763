"""Times calls side by side: warmed up, in turns, in a process of their own, with intervals for the ratios.

One round times every call once, in an order that rotates, so that a slow moment of the machine meets all of them alike and a
ratio of two calls can be taken round by round. A sample is the mean of so many calls that the clock's step does not matter.

Run as a module it is the child: a process of its own fixes the number of threads, which TensorFlow takes only before it starts.
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

from ..runtimes.child_process import lines_of, serve
from .results import Ratio, Way

SAMPLE_NS = 200_000
"""The least duration of a sample: calls shorter than it are repeated within one."""
ROUNDS = (21, 200)
"""The fewest and the most rounds of a comparison."""
WARM_UP = 3
"""Calls before anything is timed."""

Call = Callable[[], object]


@dataclass(frozen=True, eq=False)
class Timing:
    """Times of one call: `samples` float64 [rounds], nanoseconds per call, each the mean of `inner` calls."""

    samples: np.ndarray
    inner: int

    @property
    def median_us(self) -> float:
        return float(np.median(self.samples)) / 1e3

    @property
    def p95_us(self) -> float:
        """95th percentile of the samples: of single calls only where `inner` is 1."""
        return float(np.percentile(self.samples, 95)) / 1e3


def ratio(subject: Timing, baseline: Timing, *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0) -> Ratio:
    """median(subject) / median(baseline) and its percentile bootstrap interval (Efron, 1979).

    Rounds are resampled, not samples: both timings come from the same rounds, whose common noise then cancels. Raises
    ValueError where they do not.
    """
    pairs = np.stack([subject.samples, baseline.samples])
    rounds = pairs.shape[1]
    picked = np.random.default_rng(seed).integers(rounds, size=(resamples, rounds))
    medians = np.median(pairs[:, picked], axis=2)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians[0] / medians[1], (tail, 1 - tail))
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
    """Time `calls` in turns for about `seconds`, and `rounds` (fewest, most) in any case.

    Every call has to be complete when it returns. A sample begins after one call that is not timed: it brings back into the
    caches what the subject before it drove out. The garbage collector is off meanwhile.
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
    """How many calls take `sample_ns` or more together, even when they are quick: a power of two."""
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
    """What a child times: one signature of a file in a runtime. `x` is a .npy with the largest batch, in its input's dtype."""

    subject: str
    runtime: str
    path: str
    signature: str
    x: str


@dataclass(frozen=True)
class TimedGroup:
    """Subjects that are timed in turns: of one signature, at one batch, in one `way`, a call of `session.Bound`."""

    subjects: tuple[Timed, ...]
    batch: int
    way: Way


@dataclass(frozen=True, eq=False)
class GroupTimings:
    """The timings of a group by subject, and the device or provider that each reported."""

    group: TimedGroup
    timings: Mapping[str, Timing]
    providers: Mapping[str, str] = field(default_factory=dict)


def time_groups(
    groups: Sequence[TimedGroup], *, threads: int, seconds: float, rounds: tuple[int, int] = ROUNDS
) -> Iterator[GroupTimings]:
    """Time groups in a child process whose runtimes have `threads` threads; yields each as it is done.

    Raises UnavailableError, with the reason, where the child fails.
    """
    plan = {"groups": [asdict(group) for group in groups], "threads": threads, "seconds": seconds, "rounds": rounds}
    for group, line in zip(groups, lines_of(__name__, plan), strict=True):
        timings = {name: Timing(np.array(each["samples"]), each["inner"]) for name, each in line["timings"].items()}
        yield GroupTimings(group, timings, line["providers"])


def main(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The child: time every group of the plan, an answer for each."""
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
