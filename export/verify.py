"""Verification of a bundle: hashes, storage, parity of every runtime, and quality through the exported files.

Works from the files alone (golden vectors, no TensorFlow). With the Keras model and test samples it measures on those, as a
run does. Everything ends as rows of one metrics dictionary; nothing is skipped without a row that says why.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..compress.config import VerifyConfig
from ..compress.data import Samples, Scaling
from ..compress.errors import FormatError
from .bundle import Bundle, Programs, program_input, read_model
from .contents import Contents
from .interpreter import execute
from .litert import open_litert
from .manifest import sha256_of
from .measure import Evidence, Findings, Subject, measure_float, measure_int8, squared_error
from .ort import open_ort, shadowing
from .parity import compare
from .runtime import Session
from .storage import Finding, copies, prove

SCHEMA = 1
MAX_SAMPLES = 10_000
"""How many test samples are run through every runtime."""

Announce = Callable[[str], None]
Keras = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""float32 model inputs [batch, inputs] → (code, y) of a Keras model."""


def verify_bundle(
    path: Path,
    *,
    keras: Keras | None = None,
    uncompressed: Keras | None = None,
    test: Samples | None = None,
    tolerances: VerifyConfig | None = None,
    announce: Announce = lambda _text: None,
) -> dict[str, Any]:
    """Check a bundle and return its metrics; `checks` in it say what failed.

    `keras` is the model that the float files come from, `uncompressed` the float model before pruning, against which quality is
    measured (else `keras`). Without them, or without `test` samples, the golden vectors stand in. Raises FormatError where
    `path` is no bundle, or its manifest is unreadable.
    """
    bundle = Bundle.open(path)
    tolerances = tolerances or VerifyConfig(**bundle.manifest["recipe"]["verify"])
    findings = Findings()
    announce("hashes")
    intact = _check_hashes(bundle, findings)
    contents = _read_models(bundle, findings)
    announce("storage")
    try:
        programs, masks = bundle.programs(contents), bundle.masks()
        golden = bundle.golden()
    except FormatError as error:
        findings.check("program", False, "damaged", "readable", str(error))
        return _metrics(bundle, findings)
    _check_storage(bundle, contents, programs, masks, findings)
    _check_golden(programs, golden, Scaling.from_json(bundle.manifest["data"]["scaling"]), findings)
    evidence = _evidence(bundle, golden, keras, uncompressed, test)
    for precision, measure in {"int8": measure_int8, "f32": measure_float}.items():
        for session, files, target in _sessions(bundle, precision, intact, findings):
            announce(f"{precision} {session.runtime}")
            measure(Subject(session, files, contents, programs.form(target)), evidence, tolerances, findings)
    _check_quality(findings, tolerances, evidence)
    return _metrics(bundle, findings)


def _metrics(bundle: Bundle, findings: Findings) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "name": bundle.manifest["name"],
        **{key: value for key, value in asdict(findings).items()},
        "versions": dict(bundle.manifest["versions"]),
    }


def failed(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The checks that do not hold."""
    return [check for check in metrics["checks"] if not check["ok"]]


def _check_hashes(bundle: Bundle, findings: Findings) -> set[str]:
    """The names of the files whose sha256 is the manifest's."""
    intact = set()
    for name, stated in bundle.manifest["files"].items():
        path = bundle.path / name
        if not path.is_file():
            findings.check(f"sha256 {name}", False, "missing", stated["sha256"][:12], f"{name} is missing")
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        ok = digest == stated["sha256"]
        text = f"{name}: sha256 is the manifest's" if ok else f"{name} was changed: its sha256 is not the manifest's"
        findings.check(f"sha256 {name}", ok, digest[:12], stated["sha256"][:12], text)
        if ok:
            intact.add(name)
    return intact


def _read_models(bundle: Bundle, findings: Findings) -> dict[str, Contents]:
    contents = {}
    for name in bundle.models:
        try:
            contents[name] = read_model(bundle.path / name)
        except FormatError as error:
            findings.check(f"format {name}", False, "damaged", "readable", str(error))
    return contents


def _check_storage(
    bundle: Bundle, contents: Mapping[str, Contents], programs: Programs, masks: Mapping[str, np.ndarray], findings: Findings
) -> None:
    for name, each in contents.items():
        stated = bundle.manifest["files"][name]
        duplicated = copies(each)
        findings.files.append(
            {
                "file": name,
                "bytes": each.size,
                "format": each.format,
                "precision": stated["precision"],
                "maker": "tiedae",
                "kernel_copies": 1 + max(Counter(copy.original for copy in duplicated).values(), default=0),
            }
        )
        rows = prove(each, programs.fused, masks) if stated["precision"] == "int8" else _prove_float(each, bundle)
        findings.storage += [{"file": name, "name": row.name, "ok": row.ok, "text": row.text} for row in rows]
        wrong = [row for row in rows if not row.ok]
        text = wrong[0].text if wrong else "every kernel stored once, its values and zeros the program's"
        findings.check(f"storage {name}", not wrong, len(wrong), "== 0", f"{name}: {text}")


def _prove_float(contents: Contents, bundle: Bundle) -> list[Finding]:
    """Each float kernel is in exactly one storage of the file, by the sha256 of the manifest."""
    stored = {constant.storage: constant.values for constant in contents.constants}
    rows = []
    for kernel in bundle.manifest["kernels"]:
        matrices = [values for values in stored.values() if list(values.shape) == kernel["shape"][::-1]]
        count = sum(sha256_of(values.T) == kernel["sha256_f32"] for values in matrices)
        text = f"{kernel['name']}: {count} of {len(matrices)} matrices of its shape hold the manifest's values, expected 1 of 1"
        rows.append(Finding(kernel["name"], count == len(matrices) == 1, text))
    return rows


def _check_golden(programs: Programs, golden: Mapping[str, np.ndarray], scaling: Scaling, findings: Findings) -> None:
    x = program_input(programs.reference, scaling.apply(golden["x"]))
    values = execute(programs.reference, "reconstruct", x)
    for name in ("code", "y"):
        row = compare(f"golden {name}", golden[name], values[name])
        ok = not row.problem and row.differing == 0
        text = row.problem or f"golden/{name}.npy: {row.differing} of {row.count} values differ from the program's"
        findings.check(f"golden {name}", ok, row.differing, "== 0", text)


def _evidence(
    bundle: Bundle,
    golden: Mapping[str, np.ndarray],
    keras: Keras | None,
    uncompressed: Keras | None,
    test: Samples | None,
) -> Evidence:
    scaling = Scaling.from_json(bundle.manifest["data"]["scaling"])
    x = golden["x"] if test is None else test.take(np.arange(min(len(test), MAX_SAMPLES)))
    scaled = scaling.apply(x)
    if keras is not None:
        code, y = keras(scaled)
    else:
        code, y = (golden["code.f32"], golden["y.f32"]) if test is None else (None, None)
    reference = keras if uncompressed is None else uncompressed
    float_error = None if reference is None else squared_error(scaled, reference(scaled)[1])
    return Evidence(x, scaled, code, y, float_error, measures_quality=test is not None)


TFLITE_RUNTIMES: Mapping[str, tuple[str, ...]] = {
    "int8": ("litert-xnnpack", "litert-builtin", "litert-reference"),
    "f32": ("litert-xnnpack", "litert-reference"),
}


def _sessions(
    bundle: Bundle, precision: str, usable: set[str], findings: Findings
) -> Iterator[tuple[Session, Mapping[str, str], str]]:
    """(session, file name by signature, target) for every runtime that can run files of this precision."""
    by_signature: dict[str, dict[str, str]] = {"tflite": {}, "onnx": {}}
    for name in bundle.models:
        stated = bundle.manifest["files"][name]
        if stated["precision"] != precision:
            continue
        external = {"encode", "decode"} & set(stated["signatures"]) if stated["format"] == "onnx" else set()
        needed = {name} | {
            other for other in bundle.manifest["files"] if external and other.endswith(f".{precision}.kernels.bin")
        }
        if needed <= usable:
            by_signature[stated["format"]] |= dict.fromkeys(stated["signatures"], name)
        else:
            findings.skip(f"running {name}", "it is damaged")
    if by_signature["tflite"]:
        (file,) = set(by_signature["tflite"].values())
        data = (bundle.path / file).read_bytes()
        for runtime in TFLITE_RUNTIMES[precision]:
            yield open_litert(runtime, data), by_signature["tflite"], "tflite"
    if by_signature["onnx"]:
        paths = {signature: bundle.path / file for signature, file in by_signature["onnx"].items()}
        yield open_ort("ort-cpu", paths), by_signature["onnx"], "onnx"
        cuda = open_ort("ort-cuda", paths)
        if cuda.runtime == "ort-cuda":
            yield cuda, by_signature["onnx"], "onnx"
        else:
            findings.skip(f"ort-cuda on {precision}", cuda.note)
        warning = shadowing()
        if warning:
            findings.skip("a clean ONNX Runtime", warning)


def _check_quality(findings: Findings, tolerances: VerifyConfig, evidence: Evidence) -> None:
    """The int8 files' error against Keras float's, in every runtime."""
    if not evidence.measures_quality:
        return
    if evidence.float_error is None:
        findings.skip("quality against Keras float", "no Keras model given for these samples")
        return
    reference = evidence.float_error
    for row in findings.quality:
        if row["precision"] != "int8":
            continue
        loss = row["error"] / reference - 1 if reference > 0 else float(row["error"] > 0)
        limit = f"<= {tolerances.max_quality_loss:g}"
        text = f"{row['file']} in {row['runtime']}: error {row['error']:.4g}, {loss:+.2%} against Keras float {reference:.4g}"
        findings.check(f"quality {row['file']} {row['runtime']}", loss <= tolerances.max_quality_loss, loss, limit, text)
