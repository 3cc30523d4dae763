"""Measurements of exported files in one runtime: codes and operations in LSB, float outputs, quality.

Everything ends as rows of `Findings`, which become metrics.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...compress.affine import Quantization
from ...compress.config import VerifyConfig
from ..expected import TRACED_SAMPLES, Expected, layer_outputs
from .comparison import Parity, compare, compare_traced
from .findings import Evidence, Findings, Measured, Subject

ROUNDING = 0.01
"""What the arithmetic of a dequantized output may add to a difference, in steps."""


def measure_int8(
    subject: Subject, expected: Expected, evidence: Evidence, tolerances: VerifyConfig, findings: Findings
) -> Measured:
    """Codes and outputs against the program, each operation on equal inputs, and the error of what comes out."""
    plain: dict[str, dict[str, np.ndarray]] = {}
    values: dict[str, np.ndarray] = {}
    for signature in ("reconstruct", "encode"):
        if signature in subject.files:
            plain[signature] = got = subject.run(signature, subject.input(signature, evidence), findings)
            if "code" in got:
                row = _check_codes(subject, signature, expected.code, got["code"], tolerances, findings)
                values |= {} if row.problem else {"code": got["code"]}
            if "y" in got and "code" in values:
                values |= check_output(subject, signature, values["code"], got["y"], expected, tolerances, findings)
    if "decode" in subject.files:
        plain["decode"] = got = subject.run("decode", expected.code, findings)
        decoded = check_output(subject, "decode", expected.code, got["y"], expected, tolerances, findings) if got else {}
        if "y" not in values and "code" in values:
            own = np.array_equal(values["code"], expected.code)
            values |= decoded if own else _output(subject, subject.run("decode", values["code"], findings), expected)
    layers = {name: each[:TRACED_SAMPLES] for name, each in values.items()}
    for signature in subject.traced_signatures():
        source = expected.code if signature == "decode" else subject.input(signature, evidence)
        x = source[:TRACED_SAMPLES]
        traced = subject.trace(signature, x, findings)
        if traced:
            if "x" in traced and signature != "decode":
                _check_integers(subject, signature, expected.x[:TRACED_SAMPLES], traced["x"], tolerances, findings)
            _check_operations(subject, signature, x, traced, expected, tolerances, findings)
            _check_tracing(subject, signature, plain.get(signature, {}), traced, tolerances, findings)
            written = {operation.y for operation in subject.program.part(signature)[0]}
            layers |= {name: traced[name] for name in layer_outputs(subject.program) if name in written & traced.keys()}
    outputs = {"y": subject.program.quantization("y").dequantize(values["y"])} if "y" in values else {}
    _measure_quality(subject, "int8", outputs, evidence, findings)
    return Measured(subject, values, layers, expected)


def _output(subject: Subject, got: Mapping[str, np.ndarray], expected: Expected) -> dict[str, np.ndarray]:
    return {"y": as_bytes(got["y"], subject.program.quantization("y"))[0]} if "y" in got else {}


def as_bytes(values: np.ndarray, quantization: Quantization) -> tuple[np.ndarray, str]:
    """A file's `y` as the program's uint8, to the nearest step; and where it is not finite, a text that says so."""
    if values.dtype != np.float32:
        return quantization.from_port(values), ""
    broken = ~np.isfinite(values)
    q = quantization.quantize(np.where(broken, np.float32(0), values))
    if not broken.any():
        return q, ""
    at = tuple(np.argwhere(broken)[0].tolist())
    return q, f"{int(broken.sum()):,} of {values.size:,} values are not finite, first at {list(at)}: got {values[at]}"


def check_output(
    subject: Subject,
    signature: str,
    codes: np.ndarray,
    y: np.ndarray,
    expected: Expected,
    tolerances: VerifyConfig,
    findings: Findings,
    *,
    kind: str = "output",
    what: str = "y",
    **more: str,
) -> dict[str, np.ndarray]:
    """`y` as the file gives it, in steps, against the program's from the same codes; returns it as uint8 where it is one.

    Runtimes that round as the program does stay within `operation_max_lsb`. In others an LSB inside can grow on its way out:
    they are held to it on average. A dequantized `y` may lie between steps: ONNX Runtime leaves out the last of two
    quantizations in a row.
    """
    quantization = subject.program.quantization("y")
    q, problem = as_bytes(y, quantization)
    right = expected.decode(codes)
    row = compare(f"{what} ({signature})", right, q, operation="y", quantization=quantization)
    if problem and not row.problem:
        row = replace(row, problem=f"{row.what}: {problem}")
    findings.parity.append(subject.row(signature, row, **more))
    largest, mean = row.max_lsb, row.mean_lsb
    if y.dtype == np.float32 and not row.problem:
        steps = np.abs(y.astype(np.float64) - quantization.dequantize(right)) / quantization.scale
        largest, mean = float(steps.max(initial=0)), float(steps.mean())
    value = largest if subject.rounds_alike else mean
    limit = f"<= {tolerances.operation_max_lsb} LSB{'' if subject.rounds_alike else ' on average (rounds differently)'}"
    ok = not row.problem and value <= tolerances.operation_max_lsb + ROUNDING
    name = subject.name(kind, signature) + "".join(f" {each}" for each in more.values())
    subject.check(findings, name, signature, ok, value, limit, row.text)
    return {} if row.problem else {"y": q}


def _check_codes(
    subject: Subject, signature: str, expected: np.ndarray, got: np.ndarray, tolerances: VerifyConfig, findings: Findings
) -> Parity:
    quantization = subject.program.quantization("code")
    row = compare(f"codes ({signature})", expected, got, operation="code", quantization=quantization)
    if not row.problem and got.max(initial=0) > quantization.top:
        text = f"{row.what}: got {got.max()}, a code of {quantization.bits} bits is at most {quantization.top}"
        row = replace(row, problem=text)
    findings.parity.append(subject.row(signature, row))
    if subject.rounds_alike:
        max_lsb, min_share = tolerances.codes_max_lsb, tolerances.codes_equal_share
        limit = f">= {min_share}, <= {max_lsb} LSB"
    else:
        max_lsb, min_share = tolerances.codes_max_lsb * len(subject.program.kernels), 0.0
        limit = f"<= {max_lsb} LSB (rounds differently)"
    ok = row.within(max_lsb=max_lsb, equal_share=min_share)
    subject.check(findings, subject.name("codes", signature), signature, ok, row.equal_share, limit, row.text)
    return row


def _check_integers(
    subject: Subject, signature: str, expected: np.ndarray, got: np.ndarray, tolerances: VerifyConfig, findings: Findings
) -> None:
    """The integers that the runtime makes of its inputs are those from which the codes were expected."""
    quantization = subject.program.quantization("x")
    row = compare(f"x ({signature})", expected, got, operation="x", quantization=quantization)
    findings.parity.append(subject.row(signature, row))
    most = 0 if subject.rounds_alike else tolerances.operation_max_lsb
    ok = row.within(max_lsb=most)
    subject.check(findings, subject.name("inputs", signature), signature, ok, row.max_lsb, f"<= {most} LSB", row.text)


def _check_operations(
    subject: Subject,
    signature: str,
    x: np.ndarray,
    traced: Mapping[str, np.ndarray],
    expected: Expected,
    tolerances: VerifyConfig,
    findings: Findings,
) -> None:
    """Every operation on equal inputs: whatever a runtime's rounding, it stays within the stated LSB."""
    rows, hidden = compare_traced(traced, subject.program, signature, x, expected.traced)
    findings.parity += [subject.row(signature, row) for row in rows]
    none = Parity("none", "int8", problem="the runtime shows no operation")
    worst = max(rows, key=lambda row: (bool(row.problem), row.max_lsb), default=none)
    ok = worst.within(max_lsb=tolerances.operation_max_lsb)
    text = f"{len(rows)} operations of {signature}, at most {worst.max_lsb} LSB on equal inputs ({worst.what})"
    limit = f"<= {tolerances.operation_max_lsb} LSB"
    name = subject.name("operations", signature)
    subject.check(findings, name, signature, ok, worst.max_lsb, limit, text if ok else worst.text)
    for operation in hidden:
        reason = "the runtime shows no tensor of it"
        findings.skip(f"{subject.runtime}: operation {operation} of {subject.files[signature]}", reason)


def _check_tracing(
    subject: Subject,
    signature: str,
    plain: Mapping[str, np.ndarray],
    traced: Mapping[str, np.ndarray],
    tolerances: VerifyConfig,
    findings: Findings,
) -> None:
    """What was seen inside is what the plain run computes: the outputs of both agree."""
    for name, values in plain.items():
        if name in traced:
            quantization = subject.program.quantization(name)
            q, _ = as_bytes(values[:TRACED_SAMPLES], quantization)
            row = compare(f"{name} ({signature})", traced[name], q, reference="its own trace")
            ok, limit = row.within(max_lsb=tolerances.operation_max_lsb), f"<= {tolerances.operation_max_lsb} LSB"
            label = f"{subject.name('trace', signature)} {name}"
            subject.check(findings, label, signature, ok, row.max_lsb, limit, row.text)


def measure_float(subject: Subject, evidence: Evidence, tolerances: VerifyConfig, findings: Findings) -> Measured:
    """Code and y of every signature and every layer against the float model, and the error of what comes out."""
    floats, values = evidence.floats, {}
    for signature in ("reconstruct", "encode", "decode"):
        code = values.get("code") if floats is None else floats.code
        source = code if signature == "decode" else evidence.scaled
        if signature not in subject.files or source is None:
            continue
        got = subject.run(signature, source, findings)
        for name in got:
            if floats is None:
                findings.skip(
                    f"float {name} of {subject.files[signature]} in {subject.runtime}", "no float model to compare with"
                )
                values.setdefault(name, got[name])
                continue
            expected = {"code": floats.code, "y": floats.y}[name]
            row = compare(
                f"float {name} ({signature})",
                expected,
                got[name],
                reference=floats.reference,
                operation=name,
                tolerance=tolerances.float_max_abs,
            )
            check_float(subject, signature, f"float {name}", row, findings)
            if not row.problem:
                values.setdefault(name, got[name])
    layers = {name: each[:TRACED_SAMPLES] for name, each in values.items()} | _measure_layers(
        subject, evidence, tolerances, findings
    )
    _measure_quality(subject, "f32", values, evidence, findings)
    return Measured(subject, values, layers)


def check_float(subject: Subject, signature: str, kind: str, row: Parity, findings: Findings, **more: str) -> None:
    """Record a comparison of floats and hold it to its own tolerances."""
    findings.parity.append(subject.row(signature, row, **more))
    kind, _, name = kind.partition(" ")
    label = " ".join(filter(None, (kind, name, subject.files[signature], signature, subject.runtime, *more.values())))
    subject.check(findings, label, signature, row.close(), row.relative, _float_limit(row), row.text)


def _float_limit(row: Parity) -> str:
    return f"<= {row.rtol or 0:g} of full scale"


def _measure_layers(
    subject: Subject, evidence: Evidence, tolerances: VerifyConfig, findings: Findings
) -> dict[str, np.ndarray]:
    """The output of every layer inside the files, and its largest difference from the float model."""
    floats, layers = evidence.floats, {}
    if floats is None or not floats.layers:
        return {}
    for signature in subject.traced_signatures():
        x = (floats.code if signature == "decode" else evidence.scaled)[:TRACED_SAMPLES]
        traced = subject.trace(signature, x, findings)
        written = {operation.y for operation in subject.program.part(signature)[0]}
        rows = []
        for name, expected in floats.layers.items():
            if name in written & traced.keys():
                what, reference = f"layer {name}", floats.layers_reference
                got, tolerance = traced[name], tolerances.float_max_abs
                rows.append(compare(what, expected, got, reference=reference, operation=name, tolerance=tolerance))
                layers |= {} if rows[-1].problem else {name: got}
        findings.parity += [subject.row(signature, row) for row in rows]
        if traced:
            none = Parity("none", "float", problem="the runtime shows no layer")
            worst = max(rows, key=lambda row: (bool(row.problem), row.relative), default=none)
            limit, text = f"<= {tolerances.float_max_abs:g} of full scale", f"{len(rows)} layers, worst {worst.text}"
            name = subject.name("layers", signature)
            subject.check(findings, name, signature, worst.close(), worst.relative, limit, text)
    return layers


def _measure_quality(
    subject: Subject, precision: str, outputs: Mapping[str, np.ndarray], evidence: Evidence, findings: Findings
) -> None:
    runtime = subject.runtime
    if not evidence.measures_quality:
        return
    if not ({"reconstruct"} <= subject.files.keys() or {"encode", "decode"} <= subject.files.keys()):
        what = f"quality of {', '.join(sorted(set(subject.files.values())))} in {runtime}"
        findings.skip(what, "it takes the signature reconstruct, or encode and decode")
        return
    file = subject.files.get("reconstruct", subject.files.get("decode", ""))
    if "y" not in outputs or not np.isfinite(error := squared_error(evidence.scaled, outputs["y"])):
        text = f"{file} in {runtime}: no finite y of the expected shape"
        findings.check(f"quality {file} {runtime}", False, "no y", "finite", text)
        return
    row = {"row": f"tiedae {file}", "stage": "export", "precision": precision, "runtime": runtime, "file": file}
    fault = subject.fault("reconstruct" if "reconstruct" in subject.files else "decode")
    in_user_units = evidence.in_user_units(outputs["y"])
    findings.quality.append({**row, "error": error, **in_user_units} | ({"fault": fault} if fault else {}))


def squared_error(x: np.ndarray, y: np.ndarray) -> float:
    """Σ (y − x)² over the values of a sample, averaged over samples; model units."""
    return float(np.mean(np.sum(np.square(y.astype(np.float64) - x), axis=1)))
