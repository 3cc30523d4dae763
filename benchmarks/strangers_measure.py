"""What strangers.py measures of one file: copies counted and listed, `dedupe` and the other tools, each result judged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from strangers_files import HERE, Model, answer, size_of, tool

from tiedae.base.errors import CheckError

TOOLS = ("onnxsim", "onnxslim", "onnxoptimizer")
MINIMUM = 64
"""Minimum bytes of a copy if `inspect` states none."""
BOUND, TOOL_BOUND = 1e-4, 1e-3
"""Largest change of an output by `dedupe`, and by tools that fold operations, relative to its largest value."""
TOO_LONG = 1800
"""Seconds after which a tool counts as failed."""
SHARE = """
import json, resource, sys
from tiedae.cli import main
code = main(sys.argv[1:])
peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([code, *peaks]))
"""
"""Runs tiedae and prints its exit code and the peak resident memory, in MiB, of its process and of its largest child."""


@dataclass(frozen=True)
class Written:
    """What a tool made of a file, or the `reason` why it made nothing. `verdict` and `right` are the judge's."""

    bytes: int | None = None
    verdict: str = ""
    right: bool = False
    reason: str = ""
    seconds: float = 0.0
    own_mib: float = 0.0
    child_mib: float = 0.0


@dataclass(frozen=True)
class Measured:
    """A file, its copies by our own count, those of them that `inspect` lists, and what `dedupe` and other tools made of it.

    `tools`: by name, its own result and that of `dedupe` after it.
    """

    name: str
    bytes: int
    copies: int
    copied_bytes: int
    listed: int
    shared: Written
    tools: Mapping[str, tuple[Written, Written]] = field(default_factory=dict)


def measured(model: Model, python: str, folder: Path) -> Measured:
    """Measure one file. `python`: that of the environment of the other tools. `folder` takes what is written."""
    found = json.loads(tool(sys.executable, "-m", "tiedae", "inspect", str(model.path), "--json", "-"))
    minimum = str(found.get("minimum", MINIMUM))
    groups = answer(sys.executable, str(HERE / "strangers_count.py"), str(model.path), "--minimum", minimum)
    names = {copy["name"] for copy in found["copies"]}
    out = folder / f"shared{model.path.suffix}"
    return Measured(
        model.name,
        model.size,
        sum(len(group) - 1 for group in groups),
        sum(each["bytes"] for group in groups for each in group[1:]),
        sum(listed(group, names) for group in groups),
        shared(model.path, out, model),
        {name: _beside(name, python, model, folder) for name in TOOLS if model.path.suffix == ".onnx"},
    )


def listed(group: Sequence[Mapping[str, Any]], names: set[str]) -> int:
    """How many copies of a group have one of these names; all but one of its constants are copies."""
    return min(sum(not names.isdisjoint(each["names"]) for each in group), len(group) - 1)


def shared(path: Path, out: Path, model: Model, bound: float = BOUND) -> Written:
    """`tiedae dedupe` on a file, judged against the model's original."""
    command = (sys.executable, "-c", SHARE, "dedupe", str(path), "--out", str(out), "--quiet")
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise CheckError(f"{path}: tiedae dedupe ended with exit code {done.returncode}: {done.stderr.strip()[-400:]}")
    code, own, child = json.loads(done.stdout.strip().splitlines()[-1])
    made = Written(seconds=seconds, own_mib=own, child_mib=child)
    if code:
        return replace(made, reason=_cause(done.stderr, code).removeprefix(f"{path}: ").replace(str(path), model.name))
    return judged(made, out, model, bound)


def _cause(errors: str, code: int) -> str:
    """The last line of standard error."""
    return (errors.strip().splitlines() or [f"exit code {code}"])[-1].removeprefix("tiedae: ")


def _beside(name: str, python: str, model: Model, folder: Path) -> tuple[Written, Written]:
    """Another tool on a file, and `dedupe` on its result."""
    out, after = folder / f"{name}.onnx", folder / f"{name}.shared.onnx"
    start = time.perf_counter()
    script = str(HERE / "strangers_peer.py")
    try:
        command = (python, script, name, str(model.path), str(out))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TOO_LONG)
    except subprocess.TimeoutExpired:
        return Written(reason=f"ran longer than {TOO_LONG} s"), Written()
    made = Written(seconds=time.perf_counter() - start)
    if done.returncode:
        return replace(made, reason=_cause(done.stderr, done.returncode)), Written()
    own, both = judged(made, out, model, TOOL_BOUND), shared(out, after, model, TOOL_BOUND)
    for path in (out, after):
        path.unlink(missing_ok=True)
    return own, both


def judged(made: Written, out: Path, model: Model, bound: float) -> Written:
    """`made` with the size of `out` and the judge's verdict."""
    script = str(HERE / "strangers_judge.py")
    found = answer(sys.executable, script, str(model.path), str(out), "--name", model.name, "--bound", str(bound))
    within = f" within {found['largest']:.0e}" if found["verdict"] == "agree" else ""
    verdict = f"{found['verdict']}{within}, {found['cases']} cases" if found["cases"] else found["verdict"]
    return replace(made, bytes=size_of(out), verdict=verdict, right=found["right"], reason=found["reason"])


def latencies(before: Path, after: Path, name: str) -> Mapping[str, tuple[float, float]]:
    """ms before and after, by level of ONNX Runtime's graph optimizations."""
    return answer(sys.executable, str(HERE / "strangers_speed.py"), str(before), str(after), "--name", name)
