"""Collect what a verification judges: the files of a bundle, its programs, samples, and what files compute in each runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tiedae.base.errors import FormatError, InputError
from tiedae.bundle import golden as vectors
from tiedae.bundle.bundle import PRECISIONS, Bundle, Programs, describe_files, residuals_name, tables_name
from tiedae.bundle.fidelity import Fidelity
from tiedae.bundle.manifest import Manifest
from tiedae.bundle.reference_outputs import (
    Disagreement,
    Expected,
    FloatFiles,
    Original,
    best_floats,
    expect,
    read_float_program,
)
from tiedae.data.normal import normal_rows
from tiedae.data.samples import Samples
from tiedae.export.account_check import Needed
from tiedae.export.extents import FileBytes
from tiedae.export.file_info import FileInfo, digest_of
from tiedae.export.kinds import Kind, Precision, Why
from tiedae.export.model_file import Contents
from tiedae.export.targets import TARGETS, read_extents, read_model, tolerances_of
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES

from .cross_format import measure_crossing
from .error_breakdown import attribute
from .findings import Evidence, Findings, Outputs, Subject
from .limits import Limits
from .measurement import measure_float, measure_int8
from .scores import measure_scores
from .sessions import Runnable, open_sessions
from .sources import check_sources
from .written_again import needed

MAX_SAMPLES = 10_000
"""Maximum number of test samples."""
MOST_FOUND = 100_000
"""Files of a bundle's folder that are looked for."""
MISSING = "missing"
GOLDEN = "golden samples"

Announce = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class MeasuredSamples:
    """Test samples, of a set of `total`."""

    samples: Samples
    total: int

    @classmethod
    def of(cls, samples: Samples) -> MeasuredSamples:
        return cls(samples, len(samples))


@dataclass(frozen=True)
class BundleFiles:
    """Files by name: their sha256, or `MISSING`; those that are `intact`, as the manifest says; the contents of model files;
    what the bytes of a model file are (`extents`); what is wrong with a `damaged` model file, intact tables or figures; the
    sha256 of the program that a part was `made_for`, see `Bundle.made_for`; the files that are `found` in the folder and not
    empty.
    """

    digests: Mapping[str, str]
    intact: Set[str]
    contents: Mapping[str, Contents]
    damaged: Mapping[str, str]
    made_for: Mapping[str, str]
    extents: Mapping[str, FileBytes]
    found: Set[str]

    @classmethod
    def of(cls, bundle: Bundle) -> BundleFiles:
        stated, contents, extents, damaged = bundle.manifest.files, {}, {}, {}
        digests = {name: digest_of(bundle.path / name) if (bundle.path / name).is_file() else MISSING for name in stated}
        intact = {name for name, digest in digests.items() if digest == stated[name].sha256}
        for name in bundle.models:
            try:
                contents[name] = read_model(bundle.path / name)
                if (parts := read_extents(bundle.path / name)) is not None:
                    extents[name] = parts
            except FormatError as error:
                damaged[name] = str(error)
        for name, read in zip(tables_of(bundle.manifest), (bundle.tables, bundle.residuals), strict=True):
            try:
                if name in intact:
                    read()
            except FormatError as error:
                damaged[name] = str(error)
        made_for = {}
        for part, read in bundle.made_for().items():
            try:
                if part in intact or part not in stated:
                    made_for[part] = read()
            except (FormatError, InputError) as error:
                damaged.setdefault(part, str(error))
        return cls(digests, intact, contents, damaged, made_for, extents, found_in(bundle.path))

    @property
    def usable(self) -> set[str]:
        """Intact files that are no damaged model files."""
        return {name for name in self.intact if name in self.contents or name not in self.damaged}


def found_in(folder: Path) -> set[str]:
    """The files in a folder that are not empty, and links and folders that cannot be looked into; names beyond `MOST_FOUND` are
    left out."""
    found: set[str] = set()
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        paths = (Path(root) / name for name in (*names, *links))
        found.update(path.relative_to(folder).as_posix() for path in paths if path.is_symlink() or path.lstat().st_size)
        if len(found) > MOST_FOUND:
            break
    return found


def tables_of(manifest: Manifest) -> tuple[str, str]:
    """The files of the tables of codes and residuals."""
    return tables_name(manifest.name), residuals_name(manifest.name)


@dataclass(frozen=True, eq=False)
class BundleModel:
    """The integer programs and the masks of kernels, the `golden` arrays, what the programs have `answered` to their samples by
    target, the float program and the biases that differ from it, the files as the manifest would describe them, and what
    int8 files need as this version writes them.
    """

    programs: Programs
    masks: Mapping[str, np.ndarray]
    golden: Mapping[str, np.ndarray]
    answered: Mapping[str, Expected]
    floating: tuple[Program | None, list[Disagreement]]
    described: Mapping[str, FileInfo]
    needed: Mapping[str, Needed]

    @classmethod
    def of(cls, bundle: Bundle, contents: Mapping[str, Contents], limits: Limits) -> BundleModel:
        """Raises FormatError where programs, masks or golden arrays are damaged."""
        manifest, programs, masks, golden = bundle.manifest, bundle.programs(contents), bundle.masks(), bundle.golden()
        scaled = manifest.data.scaling.apply(manifest.io.samples(golden["x"]))
        answered = vectors.expectations(programs, manifest.recipe.export.targets, scaled, manifest.io)
        floating = float_program(manifest, contents, programs.fused, golden, limits)
        described = describe_files(bundle.path, contents, contents, manifest.io.scaled)
        return cls(programs, masks, golden, answered, floating, described, needed(bundle, programs))


@dataclass(frozen=True, eq=False)
class Collected:
    """All that is judged of a bundle. `model`: a text where it is damaged; then there is no `evidence`. `runs`: what the files
    compute in each runtime, compared with the model."""

    bundle: Bundle
    files: BundleFiles
    model: BundleModel | str
    evidence: Evidence | None
    runs: Findings


def collect(
    bundle: Bundle, tested: MeasuredSamples | None, original: Original, limits: Limits, announce: Announce
) -> Collected:
    """Read the files, and run them in every runtime, on the test samples or, without any, on the golden ones."""
    announce("hashes")
    files = BundleFiles.of(bundle)
    announce("storage")
    try:
        model = BundleModel.of(bundle, files.contents, limits)
    except FormatError as error:
        return Collected(bundle, files, str(error), None, Findings())
    evidence = _evidence(bundle.manifest, model, original, tested)
    runs = _Runs(bundle, files, model, evidence, limits)
    return Collected(bundle, files, model, evidence, runs.collected(announce))


def float_gap(manifest: Manifest) -> str:
    """Why a bundle has no float program; empty where it has one."""
    signatures = set(manifest.recipe.export.signatures)
    if "reconstruct" not in signatures and not {"encode", "decode"} <= signatures:
        return f"the float files hold {' and '.join(sorted(signatures))} only, not the whole model"
    if not any(Precision.F32 in TARGETS[target].precisions for target in manifest.recipe.export.targets):
        return "the bundle's targets have no float files"
    return ""


def float_program(
    manifest: Manifest, contents: Mapping[str, Contents], integer: Program, golden: Mapping[str, np.ndarray], limits: Limits
) -> tuple[Program | None, list[Disagreement]]:
    if float_gap(manifest):
        return None, []
    files = {name: each for name, each in contents.items() if manifest.models[name].precision is Precision.F32}
    io = manifest.io.floats
    x, y = manifest.data.scaling.apply(io.samples(golden["x"])), io.scaled_values(golden["y.f32"])
    kernels = {kernel.name: kernel.sha256_f32 for kernel in manifest.kernels}
    allowed = limits.tolerances.float_max_abs + io.relative_resolution(y)
    return read_float_program(integer, files, kernels, {**golden, "x": x, "y.f32": y}, allowed)


def _evidence(manifest: Manifest, model: BundleModel, original: Original, tested: MeasuredSamples | None) -> Evidence:
    scaling, io, golden = manifest.data.scaling, manifest.io, model.golden
    test = None if tested is None else tested.samples
    taken = np.arange(0 if test is None else min(len(test), MAX_SAMPLES))
    x = golden["x"] if test is None else test.take(taken)
    scaled = scaling.apply(io.samples(x))
    clean = None if test is None or test.clean is None else test.wanted.take(taken)
    known = (golden["code.f32"], io.floats.scaled_values(golden["y.f32"])) if test is None else None
    floats = best_floats(scaled, original, known, model.floating[0], model.programs.fused.tensors)
    normal = None if test is None else normal_rows(test, manifest.recipe.task, taken)
    evidence = Evidence(
        x,
        scaled,
        floats,
        original.error,
        test is not None,
        Fidelity.of_data(manifest.data),
        clean,
        scaling.apply(x if clean is None else clean),
        normal,
        left_out=0 if tested is None else max(0, tested.total - len(taken)),
        noises=original.noises,
        float_source=original.source,
    )
    reference = original.keras if original.uncompressed is None else original.uncompressed
    if reference is None:
        return evidence
    if isinstance(reference, FloatFiles) and floats is not None:  # their program has run already
        y = reference.decoded(floats.code, floats.y)
    else:
        y = reference(scaling.apply(x))[1]
    evidence = replace(evidence, float_fit=evidence.fit(y))
    if original.error is not None:
        return evidence
    errors = evidence.errors(y)
    seen: dict[bytes, int] = {}
    groups = np.array([seen.setdefault(sample.tobytes(), len(seen)) for sample in evidence.x[evidence.measured]])
    return replace(evidence, float_error=float(errors.mean()), float_errors=errors, groups=groups)


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs the files of a bundle in every runtime, and compares what they compute."""

    bundle: Bundle
    files: BundleFiles
    model: BundleModel
    evidence: Evidence
    limits: Limits

    def collected(self, announce: Announce) -> Findings:
        findings, manifest, evidence = Findings(), self.bundle.manifest, self.evidence
        programs, files = self.model.programs, self.files
        ours = check_sources(self.bundle, programs, files.intact, findings)
        sources = {name for name, info in manifest.models.items() if TARGETS[info.format].source}
        strange = set() if self.limits.run_source else sources - ours.keys()
        runnable = Runnable(self.bundle, programs, files.usable, ours, strange, len(evidence.x))
        expected: dict[str, Expected] = {}
        everything: list[Outputs] = []
        for precision in PRECISIONS:
            outputs: list[Outputs] = []
            for subject in self.subjects(runnable, precision, findings, announce):
                some = self.evidence_for(subject)
                measured = self.int8(subject, expected, some) if precision == "int8" else measure_float(subject, some)
                outputs.append(measured)
            if any(precision in TARGETS[target].precisions for target in manifest.recipe.export.targets):
                measure_crossing(outputs, expected if precision == "int8" else {}, evidence, findings, precision)
            everything += outputs
        findings.errors += attribute(everything, expected, evidence.floats)
        return findings

    def subjects(self, runnable: Runnable, precision: str, findings: Findings, announce: Announce) -> Iterator[Subject]:
        """The files of this precision in each runtime that runs them."""
        manifest = self.bundle.manifest
        for session, files, target in open_sessions(runnable, precision, findings):
            program, total = self.model.programs.of(target), len(self.evidence.x)
            count = RUNTIMES[session.runtime].samples(program, total)
            announce(f"{precision} {session.runtime}" + (f", {count:,} of {total:,} samples" if count < total else ""))
            io, tolerances = TARGETS[target].file_io(manifest.io_of(precision)), tolerances_of(target, self.limits.tolerances)
            yield Subject(session, files, self.files.contents, program, tolerances, findings, io)

    def evidence_for(self, subject: Subject) -> Evidence:
        """The samples that run in a subject's runtime: of a slow one the first, with a row that says how many of how many."""
        total = len(self.evidence.x)
        count = RUNTIMES[subject.runtime].samples(subject.program, total)
        if count < total:
            what = f"quality of {' and '.join(sorted(set(subject.files.values())))} in {subject.runtime}"
            reason = f"the runtime is slow: {count:,} of {total:,} samples run in it, whose codes and outputs are compared"
            subject.findings.skip(Kind.QUALITY, Why.LIMITED, what, reason, runtime=subject.runtime)
        return self.evidence.leading(count)

    def int8(self, subject: Subject, expected: dict[str, Expected], evidence: Evidence) -> Outputs:
        """Measure int8 files; `expected`, the program's outputs by target, gets those of a new target; `evidence` runs."""
        detector, target, tested = self.bundle.manifest.detector, subject.format, self.evidence.measures_quality
        if target not in expected:
            known = None if tested else self.model.answered.get(target)
            expected[target] = expect(subject.program, self.evidence.scaled, known=known)
        own = expect(subject.program, evidence.scaled, subject.conversion, expected[target].leading(len(evidence.x)))
        outputs = measure_int8(subject, own, evidence)
        if detector is not None:
            measure_scores(subject, detector, evidence, own, "test samples" if tested else GOLDEN)
        if detector is not None and tested:
            manifest, x = self.bundle.manifest, self.model.golden["x"]
            shown = Evidence(x, manifest.data.scaling.apply(manifest.io.samples(x)), None, None, False)
            measure_scores(subject, detector, shown, expect(subject.program, shown.scaled, subject.conversion), GOLDEN)
        return outputs
