"""Verify a bundle: hashes, storage, parity in every runtime, and quality of the exported files.

Needs only the files of the bundle, no TensorFlow. Given the Keras model and test samples, it measures those, as a run does. All
results are rows of `Metrics`; a skipped measurement has a row with the reason.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from ...compress.config import VerifyConfig
from ...compress.data import Samples
from ...compress.errors import FormatError
from ...compress.normal import measured_rows, normal_rows
from ...compress.tasks import Task
from .. import golden as vectors
from ..bundle import PRECISIONS, PROGRAM_FILE, Bundle, Programs, describe_files, model_names, residuals_name, tables_name
from ..file_info import digest_of
from ..formats.duplicates import copies
from ..formats.model_file import Contents
from ..formats.storage_check import StorageFinding, prove, prove_scaling, prove_score, shared_values
from ..integer_maps import differing
from ..lowering import interleaved_parts
from ..manifest import KernelInfo, Manifest, Tensors, describe_kernels, sha256_of
from ..parity.comparison import compare
from ..parity.fidelity import Fidelity, fit_value, most_lost, warnings_of
from ..parity.reference_outputs import Expected, Keras, Layers, Original, best_floats, expect, read_float_program
from ..program import Program
from ..runtimes.machine import installed_versions
from ..targets import TARGETS, read_model, tolerances_of
from .cross_format import measure_crossing
from .error_breakdown import attribute
from .error_limit import FRACTION, ErrorLimit
from .findings import Evidence, Findings, Outputs, Subject
from .kinds import Kind, Maker, Precision, Why
from .measurement import measure_float, measure_int8
from .results import Metrics, ModelFile, Proof, Source
from .scores import measure_scores, score_constants
from .sessions import open_sessions
from .sources import check_sources, is_source

MAX_SAMPLES = 10_000
"""Maximum number of test samples."""

GOLDEN = "golden samples"

Announce = Callable[[str], None]


def verify_bundle(
    path: Path,
    *,
    keras: Keras | None = None,
    layers: Layers | None = None,
    uncompressed: Keras | None = None,
    float_error: float | None = None,
    test: Samples | None = None,
    test_samples: int | None = None,
    tolerances: VerifyConfig | None = None,
    error_limit: ErrorLimit | None = FRACTION,
    run_source: bool = False,
    announce: Announce = lambda _text: None,
) -> Metrics:
    """Verify a bundle and return its metrics; `Metrics.failed` has the failed checks.

    `keras` is the source of the float files, `layers` gives the outputs of its layers, `uncompressed` is the float model before
    pruning, the reference of quality (default: `keras`); `float_error`: its error on `test`, where known. `test_samples`: how
    many the test set has, where `test` is only its first part. Without `test` samples the golden vectors are used; without a
    model, the float program of the float files. `tolerances` default to those of the recipe. `error_limit`: how the int8 files'
    error is held to the float model's; None: it is not, where the task has figures of its own. `run_source`: run the code of .c
    files that are not what this version writes of the program. Raises FormatError if `path` is no bundle or its manifest is
    damaged.
    """
    bundle, original, findings = Bundle.open(path), Original(keras, layers, uncompressed), Findings()
    manifest = bundle.manifest
    tolerances = tolerances or manifest.recipe.verify
    announce("hashes")
    intact = _check_hashes(bundle, findings)
    contents = _read_models(bundle, findings)
    _check_tables(bundle, intact, findings)
    announce("storage")
    try:
        programs, masks = bundle.programs(contents), bundle.masks()
        golden = bundle.golden()
    except FormatError as error:
        findings.check(Kind.PROGRAM, False, "damaged", "readable", str(error))
        return _metrics(bundle, findings)
    _check_storage(manifest, contents, programs, masks, findings)
    _check_manifest(bundle, contents, programs, masks, golden, findings)
    answered = _check_golden(manifest, programs, golden, findings)
    floating = _check_float_program(manifest, contents, programs.fused, golden, tolerances, findings)
    fidelity = Fidelity.of_data(manifest.data)
    count = test_samples or (0 if test is None else len(test))
    ours = check_sources(bundle, programs, intact, findings)
    strange = {name for name in bundle.models if is_source(name) and name not in ours and not run_source}
    evidence = _evidence(manifest, fidelity, golden, original, floating, test, count, findings)
    if float_error is not None:
        evidence = dataclasses.replace(evidence, float_error=float_error)
    shown = Evidence(golden["x"], manifest.data.scaling.apply(manifest.io.samples(golden["x"])), None, None, False)
    expected: dict[str, Expected] = {}
    measured: list[Outputs] = []
    usable = intact - (set(bundle.models) - contents.keys())
    for precision in PRECISIONS:
        of_precision: list[Outputs] = []
        for session, files, target in open_sessions(bundle, programs, precision, usable, ours, strange, findings):
            announce(f"{precision} {session.runtime}")
            io, limits = TARGETS[target].file_io(manifest.io_of(precision)), tolerances_of(target, tolerances)
            subject = Subject(session, files, contents, programs.of(target), limits, findings, io)
            if precision == "int8":
                if target not in expected:
                    known = answered.get(target) if test is None else None
                    expected[target] = expect(subject.program, evidence.scaled, known=known)
                own = expect(subject.program, evidence.scaled, subject.conversion, expected[target])
                of_precision.append(measure_int8(subject, own, evidence))
                if manifest.detector is not None:
                    measure_scores(subject, manifest.detector, evidence, own, GOLDEN if test is None else "test samples")
                    if test is not None:
                        own = expect(subject.program, shown.scaled, subject.conversion)
                        measure_scores(subject, manifest.detector, shown, own, GOLDEN)
            else:
                of_precision.append(measure_float(subject, evidence))
        against = expected if precision == "int8" else {}
        if any(precision in TARGETS[target].precisions for target in manifest.recipe.export.targets):
            measure_crossing(of_precision, against, evidence, findings, precision)
        measured += of_precision
    findings.errors += attribute(measured, expected, evidence.floats)
    if error_limit is not None:
        _check_quality(findings, error_limit, tolerances, evidence)
    return _metrics(bundle, findings)


def source_of(source: str, test: Samples, task: Task) -> Source:
    """The test samples of a measurement: where they are from, and how many of them quality is measured on."""
    taken = np.arange(min(len(test), MAX_SAMPLES))
    normal = normal_rows(test, task, taken)
    return Source(source, test.sha256, len(measured_rows(len(taken), normal)), normal is not None and bool(normal.any()))


def _metrics(bundle: Bundle, findings: Findings) -> Metrics:
    return Metrics(
        bundle.manifest.name,
        **findings.rows(),
        warnings=warnings_of(findings.quality),
        versions=installed_versions(),
    )


def _check_hashes(bundle: Bundle, findings: Findings) -> set[str]:
    """The names of the files that have the manifest's sha256."""
    intact = set()
    for name, stated in bundle.manifest.files.items():
        path = bundle.path / name
        digest = digest_of(path) if path.is_file() else "missing"
        ok, wrong = digest == stated.sha256, f"was changed: its sha256 is {digest[:12]}…" if path.is_file() else "is missing"
        text = f"{name}: sha256 is the manifest's" if ok else f"{name} {wrong}"
        findings.check(Kind.SHA256, ok, digest[:12], stated.sha256[:12], text, file=name)
        if ok:
            intact.add(name)
    return intact


def _read_models(bundle: Bundle, findings: Findings) -> dict[str, Contents]:
    contents = {}
    for name in bundle.models:
        try:
            contents[name] = read_model(bundle.path / name)
        except FormatError as error:
            findings.check(Kind.FORMAT, False, "damaged", "readable", str(error), file=name)
    return contents


def _check_tables(bundle: Bundle, intact: set[str], findings: Findings) -> None:
    """Check that the tables of codes and residuals, of a bundle that has them, are readable and those of its model and data."""
    name, code = bundle.manifest.name, bundle.manifest.tensors.code
    units = f"tables of {bundle.manifest.model.widths[-1]} units of {code.bits} bits, as in the manifest"
    residuals = "tables of the residuals of the manifest's data"
    for file, read, text in (
        (tables_name(name), bundle.tables, units),
        (residuals_name(name), bundle.residuals, residuals),
    ):
        if file not in intact:
            continue
        try:
            read()
        except FormatError as error:
            findings.check(Kind.FORMAT, False, "damaged", "readable", str(error), file=file)
        else:
            findings.check(Kind.FORMAT, True, "readable", "readable", f"{file}: {text}", file=file)


def _check_storage(
    manifest: Manifest,
    contents: Mapping[str, Contents],
    programs: Programs,
    masks: Mapping[str, np.ndarray],
    findings: Findings,
) -> None:
    recipe = manifest.recipe
    clusters = None if recipe.cluster is None else recipe.cluster.clusters
    for name, each in contents.items():
        precision = manifest.models[name].precision
        matrices = {constant.name for constant in each.constants if constant.values.ndim > 1}
        again = (duplicate.original for duplicate in copies(each) if matrices & {duplicate.name, duplicate.original})
        stored = 1 + max(Counter(again).values(), default=0)
        findings.files.append(ModelFile(name, each.size, each.format, precision, Maker.TIEDAE, stored))
        int8 = precision is Precision.INT8
        rows = (
            prove(each, programs.fused, masks, clusters, recipe.prune)
            if int8
            else _prove_float(each, manifest.kernels, masks, clusters)
        )
        rows = [
            *rows,
            prove_scaling(each, TARGETS[each.format].file_io(manifest.io_of(precision)).folded),
            prove_score(each, score_constants(manifest, name)),
        ]
        for row in rows:
            findings.storage.append(Proof(name, row.kernel, row.statement, row.ok, row.text))
        wrong = [row for row in rows if not row.ok]
        text = wrong[0].text if wrong else "every kernel stored once, its values and zeros the program's"
        findings.check(Kind.STORAGE, not wrong, len(wrong), "== 0", f"{name}: {text}", file=name)


def _prove_float(
    contents: Contents, kernels: Sequence[KernelInfo], masks: Mapping[str, np.ndarray], clusters: int | None
) -> list[StorageFinding]:
    """Prove that a float file stores every kernel once, in either orientation, and no other matrix."""
    stored = {constant.storage: constant.values for constant in contents.constants if constant.values.ndim >= 2}
    digests = [(values, {sha256_of(values), sha256_of(values.T)}) for values in stored.values()]
    rows = []
    for kernel in kernels:
        name, found = kernel.name, [values for values, both in digests if kernel.sha256_f32 in both]
        text = f"{name}: stored {len(found)} times with the manifest's values, expected once"
        rows.append(StorageFinding(name, "copies", len(found) == 1, text))
        for values in found:
            oriented = values if sha256_of(values) == kernel.sha256_f32 else values.T
            live = int(np.count_nonzero(oriented.reshape(kernel.shape)[~masks[name]]))
            rows.append(StorageFinding(name, "zeros", live == 0, f"{name}: {live} masked values are not zero, expected 0"))
            if clusters is not None:
                rows.append(shared_values(name, values, clusters))
    total = sum(values.size for values in stored.values())
    expected = sum(kernel.size for kernel in kernels)
    rows.append(
        StorageFinding("", "weights", total == expected, f"matrices of {total:,} values in all, kernels of {expected:,}")
    )
    return rows


def _check_manifest(
    bundle: Bundle,
    contents: Mapping[str, Contents],
    programs: Programs,
    masks: Mapping[str, np.ndarray],
    golden: Mapping[str, np.ndarray],
    findings: Findings,
) -> None:
    """Check that the manifest's kernels, tensors, inputs, outputs and files are the actual ones."""
    manifest, reference = bundle.manifest, programs.reference
    stated = tuple(replace(kernel, sha256_f32="") for kernel in manifest.kernels)
    findings.same(Kind.MANIFEST, stated, describe_kernels(reference, masks), detail="kernels")
    tensors = Tensors(*(reference.quantization(name) for name in ("x", "code", "y")))
    findings.same(Kind.MANIFEST, manifest.tensors, tensors, detail="tensors")
    findings.same(Kind.MANIFEST, manifest.model.interleave, interleaved_parts(reference), detail="interleave")
    if manifest.integer_maps is not None:
        wrong = differing(manifest.integer_maps, manifest.data.spec, tensors.x, tensors.y)
        text = f"integer maps: {wrong} values of {manifest.data.dtype} or y differ from the files' operations, expected 0"
        findings.check(Kind.MANIFEST, wrong == 0, wrong, "== 0", text, detail="integer_maps")
    for name, found in describe_files(bundle.path, contents, contents, manifest.io.scaled).items():
        findings.same(Kind.MANIFEST, replace(manifest.files[name], sha256=""), replace(found, sha256=""), file=name)
    described = vectors.describe(golden, manifest.models, manifest.io.scaled)
    findings.same(Kind.MANIFEST, manifest.golden, described, detail="golden")
    required = model_names(manifest.name, manifest.recipe.export, detector=manifest.detector)
    required |= {f"golden/{name}.npy" for name in golden} | {PROGRAM_FILE}
    missing = sorted(required - set(manifest.files))
    text = (
        f"the manifest does not list {', '.join(missing)}"
        if missing
        else "the manifest lists every file that the recipe implies"
    )
    findings.check(Kind.MANIFEST, not missing, len(missing), "== 0", text, detail="files")


def _check_golden(
    manifest: Manifest, programs: Programs, golden: Mapping[str, np.ndarray], findings: Findings
) -> Mapping[str, Expected]:
    """Check that the golden vectors are the programs' outputs; returns those outputs by target."""
    data, config = manifest.data, manifest.recipe.export
    scaled = data.scaling.apply(manifest.io.samples(golden["x"]))
    answered = vectors.expectations(programs, config.targets, scaled, manifest.io)
    expected = vectors.answers(answered, manifest.io)
    if manifest.detector is not None:
        expected |= vectors.scores(answered, manifest.io, manifest.detector, golden["x"], scaled)
    findings.same(Kind.GOLDEN, sorted(set(golden) - {"x", *vectors.FLOATS}), sorted(expected), detail="arrays")
    for name in [name for name in expected if name in golden]:
        row = compare(Kind.GOLDEN, name, golden[name], expected[name])
        ok = not row.problem and row.differing == 0
        text = row.problem or f"{row.differing} of {row.count} values differ from the program's"
        findings.check(Kind.GOLDEN, ok, row.differing, "== 0", f"golden/{name}.npy: {text}", detail=name)
    return answered


def _check_float_program(
    manifest: Manifest,
    contents: Mapping[str, Contents],
    integer: Program,
    golden: Mapping[str, np.ndarray],
    tolerances: VerifyConfig,
    findings: Findings,
) -> Program | None:
    """Check that all float files hold the same biases; returns the float program, or None without one of the golden vectors."""
    signatures = set(manifest.recipe.export.signatures)
    if "reconstruct" not in signatures and not {"encode", "decode"} <= signatures:
        reason = f"the float files hold {' and '.join(sorted(signatures))} only, not the whole model"
        findings.skip(Kind.LAYERS, Why.NOT_IN_FILES, "float layers", reason)
        return None
    files = {name: each for name, each in contents.items() if manifest.models[name].precision is Precision.F32}
    if not any(Precision.F32 in TARGETS[target].precisions for target in manifest.recipe.export.targets):
        findings.skip(Kind.LAYERS, Why.NOT_IN_FILES, "float layers", "the bundle's targets have no float files")
        return None
    io = manifest.io.floats
    x, y = manifest.data.scaling.apply(io.samples(golden["x"])), io.scaled_values(golden["y.f32"])
    kernels = {kernel.name: kernel.sha256_f32 for kernel in manifest.kernels}
    vectors = {**golden, "x": x, "y.f32": y}
    allowed = tolerances.float_max_abs + io.relative_resolution(y)
    program, wrong = read_float_program(integer, files, kernels, vectors, allowed)
    if program is None:
        text = "no float file holds constants that give the golden vectors of Keras"
        findings.check(Kind.FLOAT, False, "none", "golden vectors", text, detail="program")
        return None
    for name in files:
        texts = [each.text for each in wrong if each.file == name]
        text = "; ".join(texts) or "its biases are those of the float program"
        findings.check(Kind.FLOAT, not texts, len(texts), "== 0", f"{name}: {text}", file=name, detail="constants")
    return program


def _evidence(
    manifest: Manifest,
    fidelity: Fidelity,
    golden: Mapping[str, np.ndarray],
    original: Original,
    floating: Program | None,
    test: Samples | None,
    test_samples: int,
    findings: Findings,
) -> Evidence:
    taken = np.arange(0 if test is None else min(len(test), MAX_SAMPLES))
    x = golden["x"] if test is None else test.take(taken)
    scaled = manifest.data.scaling.apply(manifest.io.samples(x))
    clean = None if test is None or test.clean is None else test.wanted.take(taken)
    clean_scaled = None if clean is None else manifest.data.scaling.apply(manifest.io.samples(clean))
    if test is None:
        reason = "no test samples given; the golden vectors serve parity only"
        findings.skip(Kind.QUALITY, Why.NO_SAMPLES, "quality", reason)
    elif test_samples > len(taken):
        what, reason = f"{test_samples - len(taken):,} test samples", f"the first {len(taken):,} are measured"
        findings.skip(Kind.SAMPLES, Why.LIMITED, what, reason)
    known = (golden["code.f32"], manifest.io.floats.scaled_values(golden["y.f32"])) if test is None else None
    floats = best_floats(scaled, original, known, floating)
    reference = original.keras if original.uncompressed is None else original.uncompressed
    normal = None if test is None else normal_rows(test, manifest.recipe.task, taken)
    evidence = Evidence(x, scaled, floats, None, test is not None, fidelity, clean, clean_scaled, normal)
    if reference is None:
        return evidence
    y = reference(scaled)[1]
    return dataclasses.replace(evidence, float_error=evidence.error(y), float_fit=evidence.fit(y))


def _check_quality(findings: Findings, limit: ErrorLimit, tolerances: VerifyConfig, evidence: Evidence) -> None:
    """Check the int8 files' error against Keras float's, in every runtime."""
    if not evidence.measures_quality:
        return
    if evidence.float_error is None:
        reason = "no Keras model given for these samples"
        findings.skip(Kind.QUALITY, Why.NO_KERAS, "quality against Keras float", reason)
        return
    reference, most = evidence.float_error, limit.most(tolerances)
    for row in findings.quality:
        if row.precision is not Precision.INT8:
            continue
        loss, fit = limit.lost(row.error, reference), fit_value(row.fidelity)
        quality = f"error {row.error:.4g}, {limit.text.format(loss)} against Keras float {reference:.4g}"
        text = f"{row.file} in {row.runtime}: {quality}, over {evidence.samples_text}{f' ({fit})' if fit else ''}"
        text += most_lost(row.fidelity, evidence.float_fit)
        limit_text = f"<= {most:g}{limit.unit}"
        findings.check(Kind.QUALITY, loss <= most, loss, limit_text, text, file=row.file, runtime=row.runtime)
