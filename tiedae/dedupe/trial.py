"""Runs a file and its rewritten copy on the same inputs: which ran, how far the outputs agree, and how long they take."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tiedae.base.errors import CheckError, FormatError, printable
from tiedae.base.records import plain
from tiedae.export.model_file import Contents
from tiedae.export.random_inputs import Draw, ranges_of
from tiedae.runtimes.probes import BODIES, LATENCY, UNOPTIMIZED
from tiedae.runtimes.sandbox import MEMORY, Answer, Job, TrialRun, run_apart
from tiedae.runtimes.table import of_role

from .equivalence import BOUNDS, Change, DifferenceBound, OutputComparison, Shared, compare_outputs
from .inputs import Given, candidates, tried_text

COPIES = 8
"""Copies of a file that a runtime may hold in memory: as read, packed for its kernels, folded."""
ENOUGH = 2
"""Successful runs per signature and case; one where the merge is proven by bytes."""
HELD_BYTES = 1 << 26
"""Maximum size of a file that is open together with its copy, so that their timed calls take turns."""


@dataclass(frozen=True)
class UsedInputs:
    """The inputs of one run. `given`: those whose values the caller gave; the others are random. `case`: values of scalars."""

    signature: str
    shapes: Mapping[str, tuple[int, ...]]
    given: tuple[str, ...] = ()
    case: str = ""


@dataclass(frozen=True)
class Branch:
    """A branch of `If`, or another nested graph, and whether a run of the file entered it."""

    name: str
    ran: bool


@dataclass(frozen=True)
class PairLatency:
    """Median seconds per call of both files, one thread, over `runs` calls each. `problem`: why there are none.

    `optimized`: at the runtime's default level, else with graph optimizations off. `in_turns`: the calls of both files took
    turns; of large files, one was timed after the other.
    """

    signature: str
    optimized: bool = True
    before: float = 0.0
    after: float = 0.0
    runs: int = 0
    in_turns: bool = True
    problem: str = ""


@dataclass(frozen=True)
class Trial:
    """The evidence that a rewritten file computes what the original does.

    `proof`: bytes, if both files are the same but for the place of constants with equal bytes, else the runs; empty where
    nothing was merged. `not_run`: why no runtime ran the file (only with a proof by bytes). `tried`: the inputs of the search,
    by signature.
    """

    proof: Literal["", "bytes", "runs"] = ""
    not_run: str = ""
    tried: Mapping[str, str] = field(default_factory=dict)
    used: tuple[UsedInputs, ...] = ()
    compared: tuple[OutputComparison, ...] = ()
    providers: Mapping[str, str] = field(default_factory=dict)
    branches: tuple[Branch, ...] = ()
    branches_problem: str = ""
    latency: tuple[PairLatency, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return plain(self) | {"compared": [comparison.to_json() for comparison in self.compared]}


def try_both(
    path: Path,
    new: Path,
    contents: Contents,
    after: Contents,
    shared: Shared,
    given: Given,
    *,
    seed: int,
    max_change: float | None,
) -> Trial:
    """Prove a rewritten file by its bytes, and run both files on the same inputs.

    Raises FormatError if the file does not run and its bytes prove nothing, CheckError if an output differs.
    """
    order = {merged.relation for merged in shared.merged} <= {"equal", "reshaped"}
    proof = "bytes" if order and is_same(contents.format, path, new) else "runs"
    try:
        runs = candidates(contents, ranges_of(path, contents), given, seed)
        tried = _Attempt(path, new, contents, runs, proof, given)
        jobs = tried.jobs(_added(contents, after, "Transpose"))
        limits = {"hold": tried.hold, "memory": MEMORY + COPIES * contents.size}
        answers = dict(zip(jobs, run_apart(runs, jobs, enough=1 if proof == "bytes" else ENOUGH, **limits), strict=True))
        trial = tried.result(answers, _bound(contents, shared))
    except FormatError as error:
        if proof == "runs":
            raise
        return Trial(proof, str(error).removeprefix(f"{path}: "))
    _require_agreement(path, trial, max_change)
    return trial


def is_same(target: str, before: Path, after: Path) -> bool:
    """Whether two files are the same but for the places of constants with equal bytes."""
    return not importlib.import_module(f".{target}_same", __package__).same_bytes(before, after)


def _added(before: Contents, after: Contents, operation: str) -> bool:
    one, other = (sum(signature.operations.get(operation, 0) for signature in each.signatures) for each in (before, after))
    return other > one


def _bound(contents: Contents, shared: Shared) -> DifferenceBound:
    relations = {merged.relation for merged in shared.merged}
    change: Change = "near" if "near" in relations else "operators" if "transposed" in relations else "views"
    return BOUNDS[change, any(constant.scales for constant in contents.constants)]


@dataclass(frozen=True)
class _Attempt:
    """The runs of both files in one child process."""

    path: Path
    new: Path
    contents: Contents
    runs: Sequence[TrialRun]
    proof: Literal["bytes", "runs"]
    given: Given

    @property
    def format(self) -> str:
        return self.contents.format

    @property
    def usual(self) -> str:
        return of_role(self.format, "usual")[0]

    @property
    def witnesses(self) -> list[str]:
        return of_role(self.format, "witness") if self.proof == "runs" else []

    @property
    def hold(self) -> bool:
        """Whether both files are open at once, so that their calls can take turns."""
        return self.contents.size <= HELD_BYTES

    def jobs(self, transposes: bool) -> list[Job]:
        """Both files in the usual runtime, what is measured of them, then in the runtimes that bear witness."""
        both, jobs = (self.path, self.new), []
        for path in both:
            jobs.append(Job(self.usual, (path,)))
            if not self.hold:
                jobs.append(Job(LATENCY[self.format], (path,), 1))
        if self.hold:
            jobs.append(Job(LATENCY[self.format], both, 1))
            if self.format == "onnx" and transposes:
                jobs.append(Job(UNOPTIMIZED, both, 1))
        jobs += [Job(runtime, (path,)) for runtime in self.witnesses for path in both]
        if any(name.lower() == "if" for signature in self.contents.signatures for name in signature.operations):
            jobs.append(Job(BODIES[self.format], (self.path,)))
        return jobs

    def result(self, answers: Mapping[Job, Answer], bound: DifferenceBound) -> Trial:
        before, after = (answers[Job(self.usual, (path,))] for path in (self.path, self.new))
        self._require_runs(before, after)
        compared = [*compare_outputs(self.usual, self.runs, before.runs, after.runs, bound)]
        providers = {self.usual: after.provider}
        for runtime in self.witnesses:
            one, other = (answers[Job(runtime, (path,))] for path in (self.path, self.new))
            if problem := one.problem or _first_text(one.runs):
                providers[runtime] = f"not compared: {problem}"
                continue
            if other.problem:
                raise self._not_the_new(runtime, other.problem)
            compared += compare_outputs(runtime, self.runs, one.runs, other.runs, bound)
            providers[runtime] = other.provider
        bodies = answers.get(Job(BODIES[self.format], (self.path,)))
        entered = [got for got in bodies.runs if isinstance(got, dict)] if bodies else []
        names = dict.fromkeys(name for got in entered for name in got)
        ran = [run for run, got in zip(self.runs, before.runs, strict=True) if isinstance(got, dict)]
        return Trial(
            self.proof,
            "",
            {signature.name: self._tried(signature.name, before) for signature in self.contents.signatures},
            tuple(self._used(run) for run in ran),
            tuple(compared),
            providers,
            tuple(Branch(name, any(got.get(name) for got in entered)) for name in names),
            (bodies.problem or _first_text(bodies.runs)) if bodies else "",
            tuple(each for probe in (LATENCY[self.format], UNOPTIMIZED) for each in self._latency(answers, probe)),
        )

    def _require_runs(self, before: Answer, after: Answer) -> None:
        """Raise unless every signature of the original ran and the rewritten file opens."""
        if before.problem:
            raise FormatError(f"{self.path}: {before.problem}")
        results = list(zip(self.runs, before.runs, strict=True))
        for signature in self.contents.signatures:
            got = [answer for run, answer in results if run.signature == signature.name]
            if not any(isinstance(answer, dict) for answer in got):
                cause = next((answer for answer in reversed(got) if isinstance(answer, str)), "not tried")
                raise FormatError(
                    f"{self.path}: {printable(signature.name)}: no input that was tried runs "
                    f"({self._tried(signature.name, before)}), give others with --shape or --data: {cause}"
                )
        if after.problem:
            raise self._not_the_new(self.usual, after.problem)

    def _not_the_new(self, runtime: str, problem: str) -> CheckError:
        return CheckError(f"{self.path}: nothing is written: {runtime} runs the file but not the rewritten one: {problem}")

    def _tried(self, signature: str, before: Answer) -> str:
        results = zip(self.runs, before.runs, strict=True)
        return tried_text([run for run, got in results if run.signature == signature and got is not None])

    def _used(self, run: TrialRun) -> UsedInputs:
        given = tuple(name for name, values in run.inputs.items() if not isinstance(values, Draw))
        return UsedInputs(run.signature, {name: tuple(values.shape) for name, values in run.inputs.items()}, given, run.case)

    def _latency(self, answers: Mapping[Job, Answer], probe: str) -> Iterator[PairLatency]:
        """The latency of each signature as a probe measured it, of both files in one job or each in its own."""
        optimized, jobs = probe != UNOPTIMIZED, [job for job in answers if job.runtime == probe]
        problems = [answers[job].problem for job in jobs if answers[job].problem]
        if problems:
            yield from (PairLatency(signature.name, optimized, problem=problems[0]) for signature in self.contents.signatures)
            return
        for run, *got in zip(self.runs, *(answers[job].runs for job in jobs), strict=True) if jobs else ():
            refused = [each for each in got if isinstance(each, str)]
            times = [each[name] for each in got if isinstance(each, Mapping) for name in sorted(each)]
            if refused:
                yield PairLatency(run.signature, optimized, problem=refused[0])
            elif times:
                before, after = (float(np.median(seconds)) for seconds in times)
                yield PairLatency(run.signature, optimized, before, after, min(each.size for each in times), len(jobs) == 1)


def _first_text(answers: Sequence[Any]) -> str:
    """The first error, if no run succeeded."""
    if any(isinstance(answer, dict) for answer in answers):
        return ""
    return next((answer for answer in answers if isinstance(answer, str)), "")


def _require_agreement(path: Path, trial: Trial, max_change: float | None) -> None:
    """Raise CheckError for an output out of its bounds, or above `max_change`; FormatError if nothing could be compared."""
    for comparison in trial.compared:
        if comparison.problem:
            raise CheckError(f"{path}: nothing is written: {printable(comparison.text)}")
    for signature in {comparison.signature for comparison in trial.compared} if trial.proof == "runs" else ():
        rows = [comparison for comparison in trial.compared if comparison.signature == signature]
        if not any(comparison.is_compared for comparison in rows):
            texts = ", ".join(f"{each.output}: {each.allowed}" for each in rows)
            raise FormatError(f"{path}: {printable(signature)}: give other inputs with --data: {printable(texts)}")
    for comparison in trial.compared:
        largest, _ = comparison.change
        if max_change is not None and largest > max_change:
            where = printable(f"{comparison.signature} {comparison.output} in {comparison.runtime}")
            much = f"changes by up to {largest:.3g} of its full scale, --max-change is {max_change:g}"
            raise CheckError(f"{path}: nothing is written: {where} {much}")
