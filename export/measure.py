"""Measurements of exported files in one runtime: codes and operations in LSB, float outputs, quality.

Everything ends as rows of `Findings`, which become metrics.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..compress.config import VerifyConfig
from .bundle import program_input
from .contents import Contents
from .interpreter import execute
from .parity import Parity, compare, compare_operations
from .program import Program, Quantization
from .runtime import Session
from .runtimes import SAME_ROUNDING

TRACED_SAMPLES = 256
"""How many samples are compared operation by operation."""


@dataclass(frozen=True)
class Check:
    """One thing that holds or does not; `limit` is what `value` had to satisfy."""

    name: str
    ok: bool
    value: float | int | str
    limit: str
    text: str


@dataclass
class Findings:
    """The rows of metrics.json as they come in."""

    checks: list[Check] = field(default_factory=list)
    storage: list[dict[str, Any]] = field(default_factory=list)
    parity: list[dict[str, Any]] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def check(self, name: str, ok: bool, value: float | int | str, limit: str, text: str) -> None:
        self.checks.append(Check(name, bool(ok), value, limit, text))

    def same(self, name: str, stated: object, found: object) -> None:
        """Check that what is stated is what was found."""
        ok = stated == found
        text = f"{name}: what is stated is what is there" if ok else f"{name}: says {stated}, but there is {found}"
        self.check(name, ok, int(ok), "== 1", text[:400])

    def skip(self, what: str, reason: str) -> None:
        self.skipped.append({"what": what, "reason": reason})


@dataclass(frozen=True)
class Evidence:
    """What is measured on: `x` in the user's unit and `scaled` to model units; what Keras answers, where it is known.

    `code` and `y` are those of the last float stage, from which the float files come; `float_error` is the test error of the
    float model before any compression, which quality is measured against.
    """

    x: np.ndarray
    scaled: np.ndarray
    code: np.ndarray | None
    y: np.ndarray | None
    float_error: float | None
    measures_quality: bool


@dataclass(frozen=True)
class Subject:
    """Files of one precision in one runtime: which file serves a signature, and the program that they were written from."""

    session: Session
    files: Mapping[str, str]
    contents: Mapping[str, Contents]
    program: Program

    def row(self, signature: str, parity: Parity) -> dict[str, Any]:
        identity = {"runtime": self.session.runtime, "provider": self.session.provider}
        return {"file": self.files[signature], **identity, **parity.to_json()}

    def input(self, signature: str, evidence: Evidence) -> np.ndarray:
        """The samples in the dtype of the signature's `x`."""
        (found,) = [each for each in self.contents[self.files[signature]].signatures if each.name == signature]
        dtype = found.inputs[0].dtype
        if dtype == "float32":
            return evidence.scaled
        q = program_input(self.program, evidence.scaled)
        return q if dtype == "uint8" else (q.astype(np.int16) - 128).astype(np.int8)


def measure_int8(subject: Subject, evidence: Evidence, tolerances: VerifyConfig, findings: Findings) -> None:
    """Codes against the program, each operation on equal inputs, and the error of what comes out."""
    session, files, program = subject.session, subject.files, subject.program
    expected = execute(program, "encode", program_input(program, evidence.scaled))["code"]
    outputs: dict[str, np.ndarray] = {}
    for signature in ("reconstruct", "encode"):
        if signature in files:
            got = session.run(signature, subject.input(signature, evidence))
            outputs |= got
            _check_codes(subject, signature, compare(f"codes ({signature})", expected, got["code"]), tolerances, findings)
    if "encode" in files:
        _check_operations(subject, "encode", subject.input("encode", evidence)[:TRACED_SAMPLES], tolerances, findings)
    if "decode" in files:
        _check_operations(subject, "decode", expected[:TRACED_SAMPLES], tolerances, findings)
    if "y" not in outputs and {"encode", "decode"} <= files.keys():
        outputs["y"] = session.run("decode", outputs["code"])["y"]
    if "decode" in files:
        _check_output(subject, "decode", expected, session.run("decode", expected)["y"], tolerances, findings)
    if "reconstruct" in files:
        _check_output(subject, "reconstruct", outputs["code"], outputs["y"], tolerances, findings)
    if "y" in outputs:
        outputs["y"] = _real(outputs["y"], program.quantization("y"))
    _measure_quality(subject, "int8", outputs, evidence, findings)


def _check_output(
    subject: Subject, signature: str, codes: np.ndarray, y: np.ndarray, tolerances: VerifyConfig, findings: Findings
) -> None:
    """`y` as the file gives it, in steps, against the program's from the same codes.

    Runtimes that round as the program does stay within `operation_max_lsb`. In others an LSB inside can grow on its way out:
    they are held to it on average.
    """
    runtime, file = subject.session.runtime, subject.files[signature]
    quantization = subject.program.quantization("y")
    expected = quantization.dequantize(execute(subject.program, "decode", codes)["y"])
    steps = np.abs(_real(y, quantization).astype(np.float64) - expected) / quantization.scale
    same = runtime in SAME_ROUNDING
    value = float(steps.max(initial=0) if same else steps.mean())
    limit = f"<= {tolerances.operation_max_lsb} LSB{'' if same else ' on average (rounds differently)'}"
    text = f"y of {signature} is {'at most' if same else 'on average'} {value:.3g} LSB from the program's"
    ok = value <= tolerances.operation_max_lsb + 0.01
    findings.check(f"output {file} {signature} {runtime}", ok, value, limit, f"{file} in {runtime}: {text}")


def _check_codes(subject: Subject, signature: str, row: Parity, tolerances: VerifyConfig, findings: Findings) -> None:
    findings.parity.append(subject.row(signature, row))
    runtime, file = subject.session.runtime, subject.files[signature]
    if runtime in SAME_ROUNDING:
        max_lsb, min_share = tolerances.codes_max_lsb, tolerances.codes_equal_share
        limit = f">= {min_share}, <= {max_lsb} LSB"
    else:
        max_lsb, min_share = tolerances.codes_max_lsb * len(subject.program.kernels), 0.0
        limit = f"<= {max_lsb} LSB (rounds differently)"
    ok = not row.problem and row.equal_share >= min_share and row.max_lsb <= max_lsb
    text = row.problem or f"{row.differing} of {row.count} codes differ, by at most {row.max_lsb} LSB"
    findings.check(f"codes {file} {signature} {runtime}", ok, row.equal_share, limit, f"{file} in {runtime}: {text}")


def _check_operations(subject: Subject, signature: str, x: np.ndarray, tolerances: VerifyConfig, findings: Findings) -> None:
    """Every operation on equal inputs: whatever a runtime's rounding, it stays within the stated LSB."""
    runtime, file = subject.session.runtime, subject.files[signature]
    rows, hidden = compare_operations(subject.session, subject.program, signature, x)
    findings.parity += [subject.row(signature, row) for row in rows]
    none = Parity("none", "int8", problem="the runtime shows no operation")
    worst = max(rows, key=lambda row: (bool(row.problem), row.max_lsb), default=none)
    ok = not worst.problem and worst.max_lsb <= tolerances.operation_max_lsb
    text = worst.problem or f"{len(rows)} operations of {signature}, at most {worst.max_lsb} LSB on equal inputs ({worst.what})"
    limit = f"<= {tolerances.operation_max_lsb} LSB"
    findings.check(f"operations {file} {signature} {runtime}", ok, worst.max_lsb, limit, f"{file} in {runtime}: {text}")
    for operation in hidden:
        findings.skip(f"{runtime}: operation {operation} of {file}", "the runtime shows no tensor of it")


def measure_float(subject: Subject, evidence: Evidence, tolerances: VerifyConfig, findings: Findings) -> None:
    """Code and y of every signature against Keras, and the error of what comes out."""
    runtime, outputs = subject.session.runtime, {}
    for signature in ("reconstruct", "encode", "decode"):
        code = outputs.get("code") if evidence.code is None else evidence.code
        source = code if signature == "decode" else evidence.scaled
        if signature not in subject.files or source is None:
            continue
        file = subject.files[signature]
        got = subject.session.run(signature, source)
        outputs |= got
        for name, expected in (("code", evidence.code), ("y", evidence.y)):
            if name not in got:
                continue
            if expected is None:
                findings.skip(f"float {name} of {file} in {runtime}", "no Keras model given for these samples")
            else:
                row = compare(f"float {name} ({signature})", expected, got[name])
                findings.parity.append(subject.row(signature, row))
                allowed = tolerances.float_max_abs * max(1.0, row.full_scale)
                ok = not row.problem and row.max_abs <= allowed
                text = f"{name} differs from Keras by at most {row.max_abs:.2g}, full scale {row.full_scale:.3g}"
                label, text = f"float {name} {file} {signature} {runtime}", f"{file} in {runtime}: {row.problem or text}"
                findings.check(label, ok, row.max_abs, f"<= {allowed:.3g}", text)
    _measure_quality(subject, "f32", outputs, evidence, findings)


def _real(values: np.ndarray, quantization: Quantization) -> np.ndarray:
    """A file's `y` in model units, float32."""
    if values.dtype == np.float32:
        return values
    return quantization.dequantize(values if values.dtype == np.uint8 else (values.astype(np.int16) + 128).astype(np.uint8))


def _measure_quality(
    subject: Subject, precision: str, outputs: Mapping[str, np.ndarray], evidence: Evidence, findings: Findings
) -> None:
    runtime = subject.session.runtime
    if not evidence.measures_quality:
        return
    if not ({"reconstruct"} <= subject.files.keys() or {"encode", "decode"} <= subject.files.keys()):
        what = f"quality of {', '.join(sorted(set(subject.files.values())))} in {runtime}"
        findings.skip(what, "it takes the signature reconstruct, or encode and decode")
        return
    file = subject.files.get("reconstruct", subject.files.get("decode", ""))
    error = squared_error(evidence.scaled, outputs["y"])
    if not np.isfinite(error):
        findings.check(f"quality {file} {runtime}", False, "not finite", "finite", f"{file} in {runtime}: y is not finite")
        return
    row = {"row": f"tiedae {file}", "stage": "export", "precision": precision, "runtime": runtime, "file": file}
    findings.quality.append({**row, "error": error})


def squared_error(x: np.ndarray, y: np.ndarray) -> float:
    """Σ (y − x)² over the values of a sample, averaged over samples; model units."""
    return float(np.mean(np.sum(np.square(y.astype(np.float64) - x), axis=1)))
