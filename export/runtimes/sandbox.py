"""Runs model files in a process of their own, where a native runtime may crash, hang or eat memory without taking us along.

The parent writes the inputs as .npy files and a plan as JSON into a temporary folder and starts this module on it as a script;
the child answers each job with .npy files and a JSON file of its own. No pickle passes between them.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...compress.errors import FormatError, InputError
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
        folder = Path(name)
        _write_plan(folder, jobs, memory)
        end = _child(folder, seconds)
        answers = []
        for index, job in enumerate(jobs):
            answer = _read_answer(folder, index) if (folder / f"{index}.json").is_file() else None
            answers.append(answer or Answer(problem=f"{job.runtime} {end or 'gave no answer'}"))
            end = "was not reached" if answer is None else end
        return answers


def _write_plan(folder: Path, jobs: Sequence[Job], memory: int) -> None:
    plan: list[dict[str, Any]] = []
    for i, job in enumerate(jobs):
        runs = []
        for j, (signature, inputs) in enumerate(job.runs):
            files = {name: f"{i}.{j}.{k}.in.npy" for k, name in enumerate(inputs)}
            for name, file in files.items():
                np.save(folder / file, inputs[name], allow_pickle=False)
            runs.append({"signature": signature, "inputs": files})
        plan.append({"path": str(job.path.resolve()), "runtime": job.runtime, "runs": runs})
    (folder / "plan.json").write_text(json.dumps({"memory": memory, "jobs": plan}), encoding="utf-8")


def _child(folder: Path, seconds: float) -> str:
    """Run the child to its end; how it ended where that was not well."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (folder / "words").open("w+b") as words:
        command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, str(folder)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=words, stderr=words, env=environment)
        try:
            code = _wait(child, folder, seconds)
        finally:
            child.kill()
            child.wait()
            assert child.stdin is not None
            child.stdin.close()
        words.seek(0)
        said = words.read().decode(errors="replace").strip().splitlines()
    if code is None:
        return f"did not answer within {seconds:g} s"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    return f"failed: {said[-1] if said else f'exit code {code}'}" if code else ""


def _wait(child: subprocess.Popen[bytes], folder: Path, seconds: float) -> int | None:
    """The exit code; None where `seconds` passed without another answer."""
    before = None
    while before != (answers := sorted(folder.glob("*.json"))):
        before = answers
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(seconds)
    return None


def _read_answer(folder: Path, index: int) -> Answer:
    found = json.loads((folder / f"{index}.json").read_text(encoding="utf-8"))
    runs = [
        run if isinstance(run, str) else {name: np.load(folder / file, allow_pickle=False) for name, file in run.items()}
        for run in found["runs"]
    ]
    return Answer(found["provider"], runs, found["problem"])


def main(folder: Path) -> None:
    """The child: run the plan, an answer per job."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    with contextlib.suppress(KeyboardInterrupt):
        _limit(plan["memory"])
        for index, job in enumerate(plan["jobs"]):
            answer = _answer(folder, index, job)
            temporary = folder / f"{index}.tmp"
            temporary.write_text(json.dumps(answer), encoding="utf-8")
            temporary.rename(folder / f"{index}.json")


def _answer(folder: Path, index: int, job: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(job["path"])
    try:
        session = RUNTIMES[job["runtime"]].open({each["signature"]: path for each in job["runs"]})
        provider = session.provider
    except FormatError as error:
        return {"provider": "", "runs": [], "problem": str(error).removeprefix(f"{job['path']}: ")[:LINE]}
    runs: list[Any] = []
    for j, each in enumerate(job["runs"]):
        inputs = {name: np.load(folder / file, allow_pickle=False) for name, file in each["inputs"].items()}
        try:
            outputs = session.call(each["signature"], inputs)
        except (FormatError, InputError) as error:
            runs.append(str(error)[:LINE])
            continue
        files = {name: f"{index}.{j}.{k}.out.npy" for k, name in enumerate(outputs)}
        for name, file in files.items():
            np.save(folder / file, np.asarray(outputs[name]), allow_pickle=False)
        runs.append(files)
    return {"provider": provider, "runs": runs, "problem": ""}


def _end_with_parent() -> None:
    """The parent holds our standard input open as long as it lives."""
    sys.stdin.buffer.read()
    os._exit(1)


def _limit(memory: int) -> None:
    """Bound the address space to what is mapped now and `memory` bytes more, where the system knows such a bound."""
    try:
        import resource

        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
    except (ImportError, OSError, ValueError):
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
