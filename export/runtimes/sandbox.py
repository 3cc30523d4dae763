"""Runs model files in a child process, since a native runtime may crash, hang or exhaust memory.

Inputs and outputs are passed as .npy files in a temporary folder, without pickle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...compress.errors import FormatError, InputError
from .child_process import Ended, lines_of, serve
from .session import Values
from .table import RUNTIMES

SECONDS = 60.0
"""Timeout of a job, in seconds."""
MEMORY = 4 << 30
"""Memory limit of the child beyond its initial size, in bytes, if the system supports one."""
LINE = 200
"""Maximum length of a message, since native runtimes write long lines."""


@dataclass(frozen=True)
class Job:
    """A file, a runtime, and one or more runs: (signature, inputs by name; in order for a file without signatures)."""

    path: Path
    runtime: str
    runs: Sequence[tuple[str, Values]] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """The result of a job. `runs`: outputs by name, or the error text of a run that was rejected.

    `problem`: the reason if nothing ran (the runtime rejected the file, crashed or timed out), else empty.
    """

    provider: str = ""
    runs: Sequence[Values | str] = ()
    problem: str = ""


def run_apart(jobs: Sequence[Job], *, seconds: float = SECONDS, memory: int = MEMORY) -> list[Answer]:
    """Run jobs in sequence in one child. After a crash, that job reports it and the later ones were not reached."""
    with tempfile.TemporaryDirectory() as name:
        folder, answers = Path(name), []
        plan = {"memory": memory, "jobs": [_saved(folder, i, job) for i, job in enumerate(jobs)]}
        try:
            for found in lines_of(__spec__.name if __spec__ else __name__, plan, seconds):
                runs = [run if isinstance(run, str) else _loaded(run) for run in found["runs"]]
                answers.append(Answer(found["provider"], runs, found["problem"]))
        except Ended as error:
            answers.append(Answer(problem=f"{jobs[len(answers)].runtime} {error.how}"))
        return [*answers, *(Answer(problem=f"{job.runtime} was not reached") for job in jobs[len(answers) :])]


def _saved(folder: Path, index: int, job: Job) -> dict[str, Any]:
    """A job as JSON; its outputs go to files that start with `out`."""
    runs = [
        {"signature": signature, "inputs": _save(inputs, folder / f"{index}.{i}.in"), "out": str(folder / f"{index}.{i}.out")}
        for i, (signature, inputs) in enumerate(job.runs)
    ]
    return {"path": str(job.path.resolve()), "runtime": job.runtime, "runs": runs}


def _save(values: Values, stem: Path | str) -> dict[str, str]:
    files = {name: f"{stem}.{i}.npy" for i, name in enumerate(values)}
    for name, file in files.items():
        np.save(file, np.asarray(values[name]), allow_pickle=False)
    return files


def _loaded(files: Mapping[str, str]) -> dict[str, np.ndarray]:
    return {name: np.load(file, allow_pickle=False) for name, file in files.items()}


def main(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the plan in the child; yields an answer per job."""
    _limit(plan["memory"])
    yield from map(_answer, plan["jobs"])


def _answer(job: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(job["path"])
    try:
        session = RUNTIMES[job["runtime"]].open({each["signature"]: path for each in job["runs"]})
        provider = session.provider
    except FormatError as error:
        return {"provider": "", "runs": [], "problem": str(error).removeprefix(f"{job['path']}: ")[:LINE]}
    runs: list[Any] = []
    for each in job["runs"]:
        try:
            runs.append(_save(session.call(each["signature"], _loaded(each["inputs"])), each["out"]))
        except (FormatError, InputError) as error:
            runs.append(str(error)[:LINE])
    return {"provider": provider, "runs": runs, "problem": ""}


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
