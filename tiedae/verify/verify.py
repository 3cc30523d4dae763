"""Verify a bundle: hashes, storage, parity in every runtime, and quality of the exported files.

Needs only the files of the bundle, no TensorFlow. Given the Keras model and test samples, it measures those, as a run does.
`collecting` reads, runs and compares; what it collected is judged here, by functions that read and run nothing. All results are
rows of `Metrics`; a skipped measurement has a row with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import printable
from tiedae.bundle import golden as vectors
from tiedae.bundle.bundle import CALIBRATION, PAGES, PROGRAM_FILE, TASK_FOLDER, Bundle, model_names
from tiedae.bundle.fidelity import ErrorLimit, fit_value, most_lost, warnings_of
from tiedae.bundle.manifest import FILE as MANIFEST
from tiedae.bundle.manifest import KernelInfo, Manifest, Tensors, describe_kernels, sha256_of
from tiedae.bundle.reference_outputs import Original
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Metrics, ModelFile, Proof, Quality, Source, Stage
from tiedae.config.config import VerifyConfig
from tiedae.config.tasks import Task
from tiedae.data.normal import measured_rows, normal_rows
from tiedae.data.samples import Samples
from tiedae.export.account_check import Claims, Needed, float_claims, integer_claims, prove_account, shared, source_claims
from tiedae.export.duplicates import copies
from tiedae.export.kinds import Kind, Maker, Precision, Why
from tiedae.export.model_file import Contents, oriented
from tiedae.export.storage_check import StorageFinding, prove, prove_scaling, prove_score, shared_values
from tiedae.export.targets import TARGETS
from tiedae.program.file_io import OFFSET, SCALE
from tiedae.program.integer_maps import differing
from tiedae.program.lowering import interleaved_parts
from tiedae.runtimes.machine import installed_versions

from .collecting import (
    MAX_SAMPLES,
    MISSING,
    Announce,
    BundleFiles,
    BundleModel,
    Collected,
    MeasuredSamples,
    collect,
    float_gap,
    tables_of,
)
from .findings import Evidence, Findings
from .float_files import FLOAT_FILES
from .limits import Limits
from .parity.comparison import compare
from .scores import score_constants
from .written_again import formats_of

UNACCOUNTED = StorageFinding("", "account", False, "account: this version cannot write the file of the bundle's program again")


def verify_bundle(
    path: Path,
    tested: MeasuredSamples | None = None,
    *,
    original: Original | None = None,
    limits: Limits | None = None,
    announce: Announce = lambda _text: None,
) -> Metrics:
    """Verify a bundle and return its metrics; `Metrics.failed` has the failed checks.

    `tested`: the test samples; without them the golden vectors are used. `original`: the Keras models; without them, the float
    program of the float files. `limits`: by default those of the recipe. Raises FormatError if `path` is no bundle or its
    manifest is damaged.
    """
    bundle = Bundle.open(path)
    limits = (limits or Limits()).of(bundle.manifest.recipe)
    findings = judge(collect(bundle, tested, original or Original(), limits, announce), limits)
    rows = findings.rows(limits.tolerances)
    warnings = warnings_of(findings.quality, bundle.manifest.data.scaling)
    return Metrics(
        bundle.manifest.name,
        **rows,
        warnings=warnings,
        versions=installed_versions(),
        limits=limits.changed,
        program_sha256=bundle.program_sha256,
    )


def judge(collected: Collected, limits: Limits) -> Findings:
    """The rows of everything that was collected."""
    findings, files, model = Findings(), collected.files, collected.model
    manifest = collected.bundle.manifest
    _judge_hashes(manifest, files, findings)
    _judge_reading(manifest, files, findings)
    if isinstance(model, str):
        findings.check(Kind.PROGRAM, False, "damaged", "readable", model)
        return findings
    _judge_made_for(collected.bundle, files, findings)
    _judge_storage(manifest, files, model, findings)
    _judge_folder(manifest, files, model, findings)
    _judge_manifest(manifest, files, model, findings)
    _judge_golden(manifest, model, findings)
    _judge_float_program(manifest, files.contents, model, findings)
    evidence = collected.evidence
    if evidence is None:
        return findings
    _judge_samples(evidence, findings)
    findings.add(collected.runs)
    if evidence.float_source == FLOAT_FILES and evidence.float_error is not None:
        findings.quality.insert(0, Quality("float files", Stage.TRAIN, evidence.float_error, evidence.float_fit))
    if limits.error is not None:
        _judge_quality(findings, limits.error, limits.tolerances, evidence)
    return findings


def _judge_hashes(manifest: Manifest, files: BundleFiles, findings: Findings) -> None:
    """Whether the files have the manifest's sha256."""
    for name, stated in manifest.files.items():
        digest = files.digests[name]
        ok, wrong = name in files.intact, "is missing" if digest == MISSING else f"was changed: its sha256 is {digest[:12]}…"
        text = f"{name}: sha256 is the manifest's" if ok else f"{name} {wrong}"
        findings.check(Kind.SHA256, ok, digest[:12], stated.sha256[:12], text, file=name)


def _judge_reading(manifest: Manifest, files: BundleFiles, findings: Findings) -> None:
    """Whether model files are readable, and the tables of codes and residuals, of a bundle that has them."""
    for name in manifest.models:
        if name in files.damaged:
            findings.check(Kind.FORMAT, False, "damaged", "readable", files.damaged[name], file=name)
    codes, residuals = tables_of(manifest)
    units = f"tables of {manifest.units} units of {manifest.tensors.code.bits} bits, as in the manifest"
    for name, text in ((codes, units), (residuals, "tables of the residuals of the manifest's data")):
        if name in files.damaged:
            findings.check(Kind.FORMAT, False, "damaged", "readable", files.damaged[name], file=name)
        elif name in files.intact:
            findings.check(Kind.FORMAT, True, "readable", "readable", f"{name}: {text}", file=name)


def _judge_made_for(bundle: Bundle, files: BundleFiles, findings: Findings) -> None:
    """Whether tables, figures and sections of the manifest were made for this program; those of earlier bundles do not say."""
    rights = {part: bundle.program_sha256 for part in bundle.made_for()} | {CALIBRATION: bundle.calibrated_program}
    unknown = {CALIBRATION} if bundle.manifest.derived else set()  # of an earlier bundle that named no program
    made_for = {part: made for part, made in files.made_for.items() if made or part not in unknown}
    if not any(made_for.values()) and not files.damaged:
        reason = f"the bundle is of an earlier version; `tiedae rescale {bundle.path} --data DATA` writes one that names it"
        findings.skip(Kind.PROGRAM, Why.NOT_IN_FILES, "the program that tables and figures were made for", reason)
        return
    for part, made in made_for.items():
        right, text = rights[part], f"{part}: was made for this program"
        if made != right:
            got = f"was made for the program of sha256 {made[:12]}…" if made else "names no program that it was made for"
            text = f"{part}: {got}, expected {right[:12] or 'none'}…"
        findings.check(Kind.PROGRAM, made == right, made[:12], right[:12], text, file=part, detail="made for")
    for part in sorted(bundle.made_for().keys() & files.damaged.keys() - set(tables_of(bundle.manifest))):
        findings.check(Kind.PROGRAM, False, "damaged", "readable", files.damaged[part], file=part, detail="made for")


def _judge_samples(evidence: Evidence, findings: Findings) -> None:
    """What is not measured for want of samples, or since there are too many."""
    if not evidence.measures_quality:
        reason = "no test samples given; the golden vectors serve parity only"
        findings.skip(Kind.QUALITY, Why.NO_SAMPLES, "quality", reason)
    elif evidence.left_out:
        what, reason = f"{evidence.left_out:,} test samples", f"the first {len(evidence.x):,} are measured"
        findings.skip(Kind.SAMPLES, Why.LIMITED, what, reason)


def _judge_storage(manifest: Manifest, files: BundleFiles, model: BundleModel, findings: Findings) -> None:
    """Whether every kernel is stored once, with the program's values and zeros, and nothing else is."""
    contents = files.contents
    needed = {name: need for name in files.extents if (need := _needed_by(name, model)) is not None}
    with np.errstate(all="ignore"):  # a damaged scale has checks of its own
        claims = {name: _claims(manifest, name, contents[name], model, need) for name, need in needed.items()}
    recipe, masks, inputs = manifest.recipe, model.masks, model.programs.fused.tensors["x"].shape
    clusters = None if recipe.cluster is None else recipe.cluster.clusters
    for name, each in contents.items():
        precision = manifest.models[name].precision
        matrices = {constant.name for constant in each.constants if constant.values.ndim > 1}
        again = (duplicate.original for duplicate in copies(each) if matrices & {duplicate.name, duplicate.original})
        stored = 1 + max(Counter(again).values(), default=0)
        findings.files.append(ModelFile(name, each.size, each.format, precision, Maker.TIEDAE, stored))
        int8, twice = precision is Precision.INT8, _stores_copies(manifest, each)
        rows = (
            prove(each, model.programs.fused, masks, clusters, recipe.prune, copies=twice)
            if int8
            else _prove_float(each, manifest.kernels, masks, clusters, most=1 + twice)
        )
        rows = [
            *rows,
            prove_scaling(each, TARGETS[each.format].file_io(manifest.io_of(precision)).constants(inputs)),
            prove_score(each, score_constants(manifest, name)),
        ]
        if name in files.extents:
            rows.append(prove_account(*shared(name, files.extents, claims)) if name in claims else UNACCOUNTED)
        else:
            reason = f"the target {each.format} does not say what the bytes of its files are"
            findings.skip(Kind.STORAGE, Why.NOT_SHOWN, f"account of {name}", reason)
        for row in rows:
            findings.storage.append(Proof(name, row.kernel, row.statement, row.ok, row.text))
        wrong = [row for row in rows if not row.ok]
        times = "in both orders" if twice else "once"
        text = wrong[0].text if wrong else f"every kernel stored {times}, its values and zeros the program's"
        findings.check(Kind.STORAGE, not wrong, len(wrong), "== 0", f"{name}: {text}", file=name)


def _needed_by(name: str, model: BundleModel) -> Needed | None:
    """What a model file needs; a float file no more than the int8 one."""
    return model.needed.get(name.replace(f".{Precision.F32}.", f".{Precision.INT8}."))


def _claims(manifest: Manifest, name: str, contents: Contents, model: BundleModel, needed: Needed) -> Claims:
    """What a model file may hold."""
    precision, row, programs = manifest.models[name].precision, TARGETS[contents.format], model.programs
    if row.source:
        return source_claims(contents, programs.fused, needed)
    both, times = (programs.fused, programs.split), 1 + _stores_copies(manifest, contents)
    scaling = row.file_io(manifest.io_of(precision)).constants(programs.fused.tensors["x"].shape)
    constants = *scaling.values(), *(score_constants(manifest, name) or {}).values()
    if precision is Precision.INT8:
        return integer_claims(contents, both, needed, constants, times=times)
    hashes = {each.name: each.sha256_f32 for each in manifest.kernels}
    return float_claims(contents, both, hashes, needed, constants, times=times)


def _stores_copies(manifest: Manifest, contents: Contents) -> bool:
    """Whether a file may store kernels once for each direction."""
    return TARGETS[contents.format].views and manifest.recipe.export.kernels == "copies"


def _prove_float(
    contents: Contents, kernels: Sequence[KernelInfo], masks: Mapping[str, np.ndarray], clusters: int | None, *, most: int = 1
) -> list[StorageFinding]:
    """Prove that a float file stores every kernel once, or `most` times, in any orientation, and no other matrix but offset and
    scale."""
    matrices = (each for each in contents.constants if each.values.ndim >= 2 and each.name not in (OFFSET, SCALE))
    stored = {constant.storage: constant.values for constant in matrices}
    rows, copied = [], 0
    for kernel in kernels:
        name, views = kernel.name, [oriented(values, kernel.shape) for values in stored.values()]
        found = [equal[0] for each in views if (equal := [view for view in each if sha256_of(view) == kernel.sha256_f32])]
        copied += kernel.size * (len(found) - 1 if 1 < len(found) <= most else 0)
        right = "once" if most == 1 else f"1 to {most}"
        text = f"{name}: stored {len(found)} times with the manifest's values, expected {right}"
        rows.append(StorageFinding(name, "copies", 1 <= len(found) <= most, text))
        for values in found:
            live = int(np.count_nonzero(values[~masks[name]]))
            rows.append(StorageFinding(name, "zeros", live == 0, f"{name}: {live} masked values are not zero, expected 0"))
            if clusters is not None:
                rows.append(shared_values(name, values, clusters))
    total = sum(values.size for values in stored.values())
    expected = copied + sum(kernel.size for kernel in kernels)
    rows.append(
        StorageFinding("", "weights", total == expected, f"matrices of {total:,} values in all, kernels of {expected:,}")
    )
    return rows


def _judge_manifest(manifest: Manifest, files: BundleFiles, model: BundleModel, findings: Findings) -> None:
    """Whether the manifest's kernels, tensors, inputs, outputs and files are the actual ones."""
    reference, golden = model.programs.reference, model.golden
    stated = tuple(replace(kernel, sha256_f32="") for kernel in manifest.kernels)
    findings.same(Kind.MANIFEST, stated, describe_kernels(reference, model.masks), detail="kernels")
    tensors = Tensors(*(reference.quantization(name) for name in ("x", "code", "y")))
    findings.same(Kind.MANIFEST, manifest.tensors, tensors, detail="tensors")
    findings.same(Kind.MANIFEST, manifest.model.interleave, interleaved_parts(reference), detail="interleave")
    if manifest.integer_maps is not None:
        wrong = differing(manifest.integer_maps, manifest.data.spec, tensors.x, tensors.y)
        text = f"integer maps: {wrong} values of {manifest.data.dtype} or y differ from the files' operations, expected 0"
        findings.check(Kind.MANIFEST, wrong == 0, wrong, "== 0", text, detail="integer_maps")
    for name, found in model.described.items():
        findings.same(Kind.MANIFEST, replace(manifest.files[name], sha256=""), replace(found, sha256=""), file=name)
    described = vectors.describe(golden, manifest.models, manifest.io.scaled)
    findings.same(Kind.MANIFEST, manifest.golden, described, detail="golden")
    missing = sorted(_required(manifest, model) - set(manifest.files))
    text = (
        f"the manifest does not list {', '.join(missing)}"
        if missing
        else "the manifest lists every file that the recipe implies"
    )
    findings.check(Kind.MANIFEST, not missing, len(missing), "== 0", text, detail="files")


def _judge_folder(manifest: Manifest, files: BundleFiles, model: BundleModel, findings: Findings) -> None:
    """Whether the folder holds the manifest's files and no others, and the manifest lists none of another kind."""
    targets, required = formats_of(manifest), _required(manifest, model)
    models = model_names(manifest.name, replace(manifest.recipe.export, targets=targets), detector=manifest.detector)
    golden = {f"golden/{name}.{target}.npy" for name in model.golden for target in targets}
    listed, known = manifest.files.keys(), {*required, *models, *golden, *tables_of(manifest), METRICS, *PAGES}
    unlisted = sorted(files.found - listed - {MANIFEST})
    strange = sorted(name for name in listed - known if not name.startswith(f"{TASK_FOLDER}/"))
    texts = [
        f"{', '.join(map(printable, names[:3]))}{', …' * (len(names) > 3)}: {what}"
        for names, what in ((unlisted, "in the folder, not in the manifest"), (strange, "in the manifest, no file of a bundle"))
        if names
    ]
    text = "; ".join(texts) or "the folder holds the manifest's files and no others"
    findings.check(Kind.MANIFEST, not texts, len(unlisted) + len(strange), "== 0", text, detail="folder")


def _required(manifest: Manifest, model: BundleModel) -> set[str]:
    """The files that the recipe and the golden arrays imply."""
    names = model_names(manifest.name, manifest.recipe.export, detector=manifest.detector)
    return names | {f"golden/{name}.npy" for name in model.golden} | {PROGRAM_FILE}


def _judge_golden(manifest: Manifest, model: BundleModel, findings: Findings) -> None:
    """Whether the golden vectors are the programs' outputs."""
    golden = model.golden
    scaled = manifest.data.scaling.apply(manifest.io.samples(golden["x"]))
    expected = vectors.answers(model.answered, manifest.io)
    if manifest.detector is not None:
        expected |= vectors.scores(model.answered, manifest.io, manifest.detector, golden["x"], scaled)
    findings.same(Kind.GOLDEN, sorted(set(golden) - {"x", *vectors.FLOATS}), sorted(expected), detail="arrays")
    for name in [name for name in expected if name in golden]:
        row = compare(Kind.GOLDEN, name, golden[name], expected[name])
        ok = not row.problem and row.differing == 0
        text = row.problem or f"{row.differing} of {row.count} values differ from the program's"
        findings.check(Kind.GOLDEN, ok, row.differing, "== 0", f"golden/{name}.npy: {text}", detail=name)


def _judge_float_program(manifest: Manifest, contents: Mapping[str, Contents], model: BundleModel, findings: Findings) -> None:
    """Whether all float files hold the same biases, those of the float program."""
    if reason := float_gap(manifest):
        findings.skip(Kind.LAYERS, Why.NOT_IN_FILES, "float layers", reason)
        return
    program, wrong = model.floating
    if program is None:
        text = "no float file holds constants that give the golden vectors of Keras"
        findings.check(Kind.FLOAT, False, "none", "golden vectors", text, detail="program")
        return
    for name in contents:
        if manifest.models[name].precision is not Precision.F32:
            continue
        texts = [each.text for each in wrong if each.file == name]
        text = "; ".join(texts) or "its biases are those of the float program"
        findings.check(Kind.FLOAT, not texts, len(texts), "== 0", f"{name}: {text}", file=name, detail="constants")


def _judge_quality(findings: Findings, limit: ErrorLimit, tolerances: VerifyConfig, evidence: Evidence) -> None:
    """Whether the int8 files' error is near Keras float's, in every runtime, or no larger beyond noise."""
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
        unclear = loss > most and row.noise is not None and row.error - row.noise <= reference
        quality = f"error {row.error:.4g}, {limit.text.format(loss)} against {evidence.float_source} {reference:.4g}"
        quality += f" (may be noise: the difference is known to ± {row.noise:.2g})" if unclear else ""
        text = f"{row.file} in {row.runtime}: {quality}, over {evidence.samples_text}{f' ({fit})' if fit else ''}"
        text += most_lost(row.fidelity, evidence.float_fit)
        of, limit_text = {"file": row.file, "runtime": row.runtime}, f"<= {most:g}{limit.unit} beyond noise"
        findings.check(Kind.QUALITY, loss <= most or unclear, loss, limit_text, text, **of)


def source_of(source: str, test: Samples, task: Task) -> Source:
    """The test samples of a measurement: where they are from, and how many of them quality is measured on."""
    taken = np.arange(min(len(test), MAX_SAMPLES))
    normal = normal_rows(test, task, taken)
    return Source(source, test.sha256, len(measured_rows(len(taken), normal)), normal is not None and bool(normal.any()))
