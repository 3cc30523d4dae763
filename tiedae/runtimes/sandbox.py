"""Runs model files in a child process, since a native runtime may crash, hang or exhaust memory.

All jobs of a child are about the same runs. The first job tries them in order until enough of each case succeeded; the later
jobs get those. Given inputs and all outputs are passed as .npy files in a temporary folder, without pickle; random inputs are
drawn in the child.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.base.errors import FormatError, InputError
from tiedae.export.random_inputs import Draw

from .child_process import Ended, lines_of, serve
from .probes import PROBES
from .session import Called
from .table import RUNTIMES

SECONDS = 60.0
"""Timeout of a job, in seconds; the search for inputs stops after half of it."""
MEMORY = 4 << 30
"""Memory limit of the child beyond its initial size, in bytes, if the system supports one."""
LINE = 4000
"""Maximum length of a message; native runtimes write long lines, with the cause at their end."""


@dataclass(frozen=True)
class TrialRun:
    """A signature and its inputs by name (in order for a file without signatures).

    `case`: what its inputs are an example of, such as one value of a scalar that the graph compares with constants.
    """

    signature: str
    inputs: Mapping[str, np.ndarray | Draw] = field(repr=False)
    case: str = ""


@dataclass(frozen=True)
class Job:
    """A runtime of the table and a file, or one of `PROBES` and its files. `most`: maximum number of runs per signature."""

    runtime: str
    paths: tuple[Path, ...]
    most: int | None = None


@dataclass(frozen=True)
class Answer:
    """The result of a job. `runs`: outputs by name, the error text of a run that was rejected, or None for one not tried.

    `problem`: the reason if nothing ran (the runtime rejected the file, crashed or timed out), else empty.
    """

    provider: str = ""
    runs: Sequence[Mapping[str, np.ndarray] | str | None] = ()
    problem: str = ""


def run_apart(
    runs: Sequence[TrialRun],
    jobs: Sequence[Job],
    *,
    enough: int | None = None,
    hold: bool = False,
    seconds: float = SECONDS,
    memory: int = MEMORY,
) -> list[Answer]:
    """Run jobs in sequence in one child. After a crash, that job reports it and the later ones were not reached.

    `enough`: successes after which the first job skips the other runs of a signature's case; None: it tries all. Probes use
    sessions that are open. `hold`: all of a runtime stay open until another runtime's turn, several files in memory at once;
    else the last one.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, answers = Path(name), []
        plan = {
            "memory": memory,
            "enough": enough,
            "hold": hold,
            "seconds": seconds / 2,
            "runs": [_saved(folder, i, run) for i, run in enumerate(runs)],
            "jobs": [_job(folder, i, job) for i, job in enumerate(jobs)],
        }
        try:
            for found in lines_of(__spec__.name if __spec__ else __name__, plan, seconds):
                got = [_loaded(run) if isinstance(run, dict) else run for run in found["runs"]]
                answers.append(Answer(found["provider"], got, found["problem"]))
        except Ended as error:
            answers.append(Answer(problem=f"{jobs[len(answers)].runtime} {error.how}"))
        return [*answers, *(Answer(problem=f"{job.runtime} was not reached") for job in jobs[len(answers) :])]


def _job(folder: Path, index: int, job: Job) -> dict[str, Any]:
    """A job as JSON; its outputs go to files that start with `out`."""
    paths = [str(path.resolve()) for path in job.paths]
    return {"runtime": job.runtime, "paths": paths, "most": job.most, "out": str(folder / f"{index}.out")}


def _saved(folder: Path, index: int, run: TrialRun) -> dict[str, Any]:
    """A run as JSON: values that are drawn by their record, others by their file."""
    given = {name: values for name, values in run.inputs.items() if not isinstance(values, Draw)}
    files: Mapping[str, Any] = _save(given, folder / f"{index}.in")
    drawn = {name: asdict(values) for name, values in run.inputs.items() if isinstance(values, Draw)}
    return {"signature": run.signature, "case": run.case, "inputs": {name: (files | drawn)[name] for name in run.inputs}}


def _save(values: Mapping[str, Any], stem: Path | str) -> dict[str, str]:
    arrays = dict(part for name, value in values.items() for part in _arrays(name, value))
    files = {name: f"{stem}.{i}.npy" for i, name in enumerate(arrays)}
    for name, file in files.items():
        np.save(file, arrays[name], allow_pickle=False)
    return files


def _arrays(name: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """A value as arrays: strings with their length as dtype, maps as text, each item of a sequence by its index."""
    if isinstance(value, list):
        for i, each in enumerate(value):
            yield from _arrays(f"{name}[{i}]", each)
    else:
        array = np.asarray(value)
        yield name, _texts(array) if array.dtype.kind == "O" else array


def _texts(values: np.ndarray) -> np.ndarray:
    """Strings as an array that is saved without pickle."""
    texts = [each.decode(errors="backslashreplace") if isinstance(each, bytes) else str(each) for each in values.ravel()]
    return np.array(texts, str).reshape(values.shape)


def _loaded(files: Mapping[str, str]) -> dict[str, np.ndarray]:
    return {name: np.load(file, allow_pickle=False) for name, file in files.items()}


def _inputs(run: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs of a run; strings as Python objects, which all runtimes take."""
    values = {
        name: np.load(each, allow_pickle=False) if isinstance(each, str) else Draw(**each).values
        for name, each in run["inputs"].items()
    }
    return {name: each.astype(object) if each.dtype.kind == "U" else each for name, each in values.items()}


def main(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the plan in the child; yields an answer per job."""
    _limit(plan["memory"])
    held: dict[tuple[str, ...], Called] = {}
    runs, enough = dict(enumerate(plan["runs"])), plan["enough"]
    for job in plan["jobs"]:
        answer, found = _answer(job, plan, held, runs, enough)
        if job is plan["jobs"][0]:
            runs, enough = {i: runs[i] for i, got in found.items() if isinstance(got, dict)}, None
        yield answer


def _answer(
    job: Mapping[str, Any],
    plan: Mapping[str, Any],
    held: dict[tuple[str, ...], Called],
    runs: Mapping[int, Any],
    enough: int | None,
) -> tuple[dict[str, Any], dict[int, Any]]:
    """(answer of a job, outputs or error of each run that it tried)."""
    try:
        session = _open(job, plan, held)
    except FormatError as error:
        return {"provider": "", "runs": [], "problem": str(error).removeprefix(f"{job['paths'][0]}: ")[:LINE]}, {}
    found = dict(_answers(job, session, runs, enough, plan["seconds"]))
    return {"provider": session.provider, "runs": [found.get(i) for i in range(len(plan["runs"]))], "problem": ""}, found


def _open(job: Mapping[str, Any], plan: Mapping[str, Any], held: dict[tuple[str, ...], Called]) -> Called:
    """Open a job's files, and hold the session."""
    signatures = {run["signature"] for run in plan["runs"]}
    paths = [Path(path) for path in job["paths"]]
    reused = job["runtime"] in PROBES and {path for _, path in held} >= set(job["paths"])
    if not (plan["hold"] or reused):
        held.clear()
    if job["runtime"] in PROBES:
        return PROBES[job["runtime"]](paths, signatures, held)
    if any(runtime != job["runtime"] for runtime, *_ in held):
        held.clear()
    session = RUNTIMES[job["runtime"]].open(dict.fromkeys(signatures, paths[0]))
    held[job["runtime"], job["paths"][0]] = session
    return session


def _answers(
    job: Mapping[str, Any], session: Called, runs: Mapping[int, Any], enough: int | None, seconds: float
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """(index of a run, its outputs or error), until there are enough of each case, or too much time went by."""
    done: Counter[tuple[str, str]] = Counter()
    made: Counter[str] = Counter()
    start = time.monotonic()
    for i, run in runs.items():
        signature, case = run["signature"], run["case"]
        full = enough is not None and done[signature, case] >= enough
        late = enough is not None and time.monotonic() - start > seconds
        if full or late or (job["most"] is not None and made[signature] >= job["most"]):
            continue
        try:
            yield i, _save(session.call(signature, _inputs(run)), f"{job['out']}.{i}")
            done[signature, case] += 1
            made[signature] += 1
        except (FormatError, InputError) as error:
            yield i, str(error)[:LINE]


def _limit(memory: int) -> None:
    """Limit the address space to its current size plus `memory` bytes, if the system supports it."""
    try:
        import resource

        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
    except (ImportError, OSError, ValueError):
        return


if __name__ == "__main__":
    serve(main)
