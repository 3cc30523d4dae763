"""Opens the files of a bundle in every runtime; those that cannot or must not run are rows with a reason."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tiedae.base.errors import InputError, NotInstalledError, UnavailableError
from tiedae.bundle.bundle import Bundle, Programs, write_files
from tiedae.export.kinds import Kind, Why
from tiedae.export.targets import TARGETS
from tiedae.runtimes.session import Session
from tiedae.runtimes.table import RUNTIMES, Runtime

from .findings import Findings

MOST_THREADS = 4
MUCH = 1e10
"""Multiply-adds of all samples from which a runtime gets a thread for each core."""


@dataclass(frozen=True, eq=False)
class Runnable:
    """The files of a bundle that may run: those that are `usable`.

    `ours`: files of source text by name, which run as they are here, since those in the bundle may have changed. `strange` text
    does not run. `samples`: how many run.
    """

    bundle: Bundle
    programs: Programs
    usable: Set[str]
    ours: Mapping[str, bytes]
    strange: Set[str]
    samples: int

    def threads(self, target: str) -> int:
        """Of a runtime for this target's files; what they compute does not depend on it."""
        work = self.programs.of(target).multiply_adds * self.samples
        return min(MOST_THREADS, os.cpu_count() or 1) if work > MUCH else 1


def open_sessions(runnable: Runnable, precision: str, findings: Findings) -> Iterator[tuple[Session, Mapping[str, str], str]]:
    """(session, file by signature, target) of every runtime that runs files of this precision.

    Without files that a fault of the runtime concerns.
    """
    bundle, programs = runnable.bundle, runnable.programs
    by_signature: dict[str, dict[str, str]] = {target: {} for target in TARGETS}
    for name, info in bundle.manifest.models.items():
        if info.precision != precision:
            continue
        companions = TARGETS[info.format].companions(f"{bundle.manifest.name}.{precision}", info.signatures)
        if {name} | (companions & set(bundle.manifest.files)) <= runnable.usable:
            by_signature[info.format] |= dict.fromkeys(info.signatures, name)
        else:
            findings.skip(Kind.RUNS, Why.REFUSED, f"running {name}", "it is damaged")
    for name, runtime in RUNTIMES.items():
        files = by_signature[runtime.format]
        if not files or precision not in runtime.precisions:
            continue
        if unknown := sorted(runnable.strange & set(files.values())):
            reason = f"{unknown[0]} is not what this version writes of the program, and its code would run: --run-c runs it"
            findings.skip(Kind.OPENS, Why.REFUSED, f"{name} on {precision}", reason, runtime=name)
            continue
        try:
            faults = {signature: runtime.fault(programs.of(runtime.format), signature) for signature in files}
            for file, fault in {files[signature]: fault for signature, fault in faults.items() if fault}.items():
                findings.skip(Kind.OPENS, Why.FAULTY, f"{file} in {name}", fault, runtime=name)
            files = {signature: file for signature, file in files.items() if not faults[signature]}
            if not files:
                continue
            session = _opened(runnable, runtime, files)
        except UnavailableError as error:
            why = Why.NOT_INSTALLED if isinstance(error, NotInstalledError) else Why.UNAVAILABLE
            findings.skip(Kind.OPENS, why, f"{name} on {precision}", str(error), runtime=name)
        except InputError as error:
            text = f"{' and '.join(sorted(set(files.values())))} in {name}: {error}"
            of = {"detail": f"{precision} {runtime.format}", "runtime": name}
            findings.check(Kind.OPENS, False, "refused", "opens", text, **of)
        else:
            yield session, files, runtime.format


def _opened(runnable: Runnable, runtime: Runtime, files: Mapping[str, str]) -> Session:
    threads = runnable.threads(runtime.format)
    if not set(files.values()) <= runnable.ours.keys():
        return runtime.open({signature: runnable.bundle.path / file for signature, file in files.items()}, threads=threads)
    with TemporaryDirectory() as folder:
        write_files(Path(folder), runnable.ours)
        return runtime.open({signature: Path(folder) / file for signature, file in files.items()}, threads=threads)
