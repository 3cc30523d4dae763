"""Runs model files in a process of their own, where a native runtime may crash, hang or eat memory without taking us along.

Inputs and outputs cross as .npy files in a temporary folder. No pickle passes between the processes.
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
"""How long the child may go without finishing a job."""
MEMORY = 4 << 30
"""Bytes that a child may have beyond what it starts with, where the system can limit them."""
LINE = 200
"""Characters of a message that are kept: native runtimes put all that they have to say into one line."""


@dataclass(frozen=True)
class Job:
    """A file in one runtime that runs files of anyone, and its runs, one or more: (signature, inputs by name).

    A file without signatures takes its inputs in the order of the mapping.
    """

    path: Path
    runtime: str
    runs: Sequence[tuple[str, Values]] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What came of a job: outputs by name for each of its runs, or a run's refusal as text; what really ran.

    `problem` is not empty where nothing ran: the runtime refused the file, crashed, or did not answer in time.
    """

    provider: str = ""
    runs: Sequence[Values | str] = ()
    problem: str = ""


def run_apart(jobs: Sequence[Job], *, seconds: float = SECONDS, memory: int = MEMORY) -> list[Answer]:
    """Run jobs one after the other in one child. A crash ends it: the job it was at says so, later ones were not reached."""
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
    """A job as the plan has it; what its runs return goes to files that begin with `out`."""
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
    """The child: run the plan, an answer per job."""
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
    """Bound the address space to what is mapped now and `memory` bytes more, where the system knows such a bound."""
    try:
        import resource

        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
    except (ImportError, OSError, ValueError):
        return


if __name__ == "__main__":
    serve(main)
