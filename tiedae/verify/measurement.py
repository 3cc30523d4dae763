"""Measurements of exported files in one runtime: codes and operations in LSB, float outputs, quality.

All of them are recorded in the subject's `Findings`; `rules` judges them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
from msgspec.structs import replace

from tiedae.bundle.reference_outputs import TRACED_SAMPLES, Expected, layer_outputs
from tiedae.bundle.results import Parity, Quality
from tiedae.compress.affine import Quantization
from tiedae.export.kinds import Kind, Precision, Stage, Why
from tiedae.program.interpreter import bounds

from .findings import Evidence, Outputs, Subject
from .parity.comparison import compare, compare_traced
from .rules import ROUNDING, close, codes, output, within_operation


def measure_int8(subject: Subject, expected: Expected, evidence: Evidence) -> Outputs:
    """Compare codes, outputs and every operation (on equal inputs) with the program, and measure the test error."""
    plain: dict[str, dict[str, np.ndarray]] = {}
    values: dict[str, np.ndarray] = {}
    for signature in ("reconstruct", "encode"):
        if signature in subject.files:
            plain[signature] = got = subject.run(signature, subject.input(signature, evidence))
            if "code" in got and not _check_codes(subject, signature, expected.code, got["code"]).problem:
                values |= {"code": got["code"]}
            if "y" in got and "code" in values:
                values |= check_output(subject, signature, values["code"], got["y"], expected)
    if "decode" in subject.files:
        plain["decode"] = got = subject.run("decode", expected.code)
        decoded = check_output(subject, "decode", expected.code, got["y"], expected) if got else {}
        if "y" not in values and "code" in values:
            own = np.array_equal(values["code"], expected.code)
            values |= decoded if own else _output(subject, subject.run("decode", values["code"]))
    layers = {name: each[:TRACED_SAMPLES] for name, each in values.items()}
    for signature in subject.traced_signatures():
        source = expected.code if signature == "decode" else subject.input(signature, evidence)
        x = source[:TRACED_SAMPLES]
        traced = subject.trace(signature, x)
        if traced:
            if "x" in traced and signature != "decode":
                _check_integers(subject, signature, expected.x[:TRACED_SAMPLES], traced["x"])
            _check_operations(subject, signature, x, traced, expected)
            _check_tracing(subject, signature, plain.get(signature, {}), traced)
            written = {operation.y for operation in subject.program.part(signature)[0]}
            seen = {name: traced[name] for name in layer_outputs(subject.program) if name in written & traced.keys()}
            layers |= {name: each for name, each in seen.items() if each.shape[1:] == subject.program.tensors[name].shape}
    outputs = {"y": subject.program.quantization("y").dequantize(values["y"])} if "y" in values else {}
    _measure_quality(subject, Precision.INT8, outputs, evidence)
    return Outputs(subject, values, layers, expected)


def _output(subject: Subject, got: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`y` as uint8; empty without one of the program's shape, which the check of the program's codes has named."""
    if "y" not in got or got["y"].shape[1:] != subject.program.tensors["y"].shape:
        return {}
    return {"y": as_bytes(got["y"], subject.program.quantization("y"))[0]}


def as_bytes(values: np.ndarray, quantization: Quantization) -> tuple[np.ndarray, str]:
    """A file's `y` as the program's nearest uint8, and a text if it is not finite."""
    if values.dtype != np.float32:
        return quantization.from_io(values), ""
    broken = ~np.isfinite(values)
    q = quantization.quantize(np.where(broken, np.float32(0), values))
    if not broken.any():
        return q, ""
    at = tuple(np.argwhere(broken)[0].tolist())
    return q, f"{int(broken.sum()):,} of {values.size:,} values are not finite, first at {list(at)}: got {values[at]}"


def check_output(
    subject: Subject, signature: str, codes: np.ndarray, y: np.ndarray, expected: Expected, encoder: str = ""
) -> dict[str, np.ndarray]:
    """Compare a file's `y` with the program's for the same codes; returns {"y": uint8}, empty if they are not comparable.

    Runtimes that round as the program does must stay within `operation_max_lsb`. In others an inner LSB can grow towards the
    output, so the mean difference must, or each value what as much in every operation allows. A dequantized `y` may lie
    between integers: ONNX Runtime drops the second of two consecutive quantizations. In the data's unit of measure it may be
    off by the resolution of float32 there. `encoder` is the runtime that encoded the codes, if it is another one.
    """
    kind, quantization = Kind.CROSSING if encoder else Kind.OUTPUT, subject.program.quantization("y")
    q, problem = as_bytes(y, quantization)
    right = expected.decode(codes)
    row = subject.compare(kind, signature, "y", right, q, quantization=quantization, problem=problem, encoder=encoder)
    largest, mean = row.max_lsb, row.mean_lsb
    if y.dtype == np.float32 and not row.problem:
        steps = np.abs(y.astype(np.float64) - quantization.dequantize(right)) / quantization.scale
        largest, mean = float(steps.max(initial=0)), float(steps.mean())
    value = largest if subject.same_rounding else mean
    allowed, outside = _resolution(subject, right), None
    if not (subject.same_rounding or row.problem or value <= subject.tolerances.operation_max_lsb + ROUNDING + allowed):
        outside = _outside(subject, codes, q, math.ceil(allowed))
    judge = partial(output, math.inf if row.problem else value, subject.same_rounding, allowed, outside)
    subject.observe(kind, signature, value, row.text, judge, peer=encoder)
    return {} if row.problem else {"y": q}


def _outside(subject: Subject, codes: np.ndarray, y: np.ndarray, more: int) -> int:
    """How many values of `y`, uint8, no runtime gives whose every operation is within the limit, and the last within `more`."""
    low, high = bounds(subject.program, "decode", codes, codes, subject.tolerances.operation_max_lsb)["y"]
    return int(((y.astype(int) < low - np.int64(more)) | (y > high + np.int64(more))).sum())


def _resolution(subject: Subject, y: np.ndarray) -> float:
    """The resolution of float32 for the program's `y`, uint8, in LSB."""
    quantization = subject.program.quantization("y")
    return subject.io.resolution(quantization.dequantize(y)) / quantization.scale


def _check_codes(subject: Subject, signature: str, expected: np.ndarray, got: np.ndarray) -> Parity:
    quantization = subject.program.quantization("code")
    high = got.dtype == np.uint8 and got.max(initial=0) > quantization.top
    problem = f"got {got.max()}, a code of {quantization.bits} bits is at most {quantization.top}" if high else ""
    row = subject.compare(Kind.CODES, signature, "code", expected, got, quantization=quantization, problem=problem)
    judge = partial(codes, row, subject.same_rounding, len(subject.program.kernels))
    subject.observe(Kind.CODES, signature, row.equal_fraction, row.text, judge)
    return row


def _check_integers(subject: Subject, signature: str, expected: np.ndarray, got: np.ndarray) -> None:
    """Compare the integers that the runtime quantizes its inputs to."""
    row = subject.compare(Kind.INPUTS, signature, "x", expected, got, quantization=subject.program.quantization("x"))
    subject.hold(row, exact=subject.same_rounding)


def _check_operations(
    subject: Subject, signature: str, x: np.ndarray, traced: Mapping[str, np.ndarray], expected: Expected
) -> None:
    """Compare every operation on equal inputs, whatever the runtime's rounding."""
    rows, hidden = compare_traced(traced, subject.program, signature, x, expected.traced)
    rows = [replace(row, **subject.identity(signature)) for row in rows]
    subject.findings.parity += rows
    none = Parity(Kind.OPERATIONS, Precision.INT8, "none", problem="the runtime exposes no operation")
    worst = max(rows, key=lambda row: row.badness, default=none)
    text = f"{len(rows)} operations of {signature}, at most {worst.max_lsb} LSB on equal inputs ({worst.label})"
    judge = partial(within_operation, worst, False, 0)
    subject.observe(Kind.OPERATIONS, signature, worst.max_lsb, text, judge, failure=worst.text)
    for operation in hidden:
        what = f"{subject.runtime}: operation {operation} of {subject.files[signature]}"
        subject.findings.skip(
            Kind.OPERATIONS, Why.NOT_SHOWN, what, "the runtime does not expose its output", runtime=subject.runtime
        )


def _check_tracing(subject: Subject, signature: str, plain: Mapping[str, np.ndarray], traced: Mapping[str, np.ndarray]) -> None:
    """Compare the outputs of a traced and a plain run."""
    for name, values in plain.items():
        if name in traced:
            quantization = subject.program.quantization(name)
            q, _ = as_bytes(values[:TRACED_SAMPLES], quantization)
            row = compare(Kind.TRACE, name, traced[name], q, reference="its own trace", signature=signature)
            coarse = round(_resolution(subject, q)) if values.dtype == np.float32 else 0
            subject.hold(row, more=coarse, detail=name)


def measure_float(subject: Subject, evidence: Evidence) -> Outputs:
    """Compare code, y and every layer with the float model, and measure the test error."""
    floats, values = evidence.floats, {}
    for signature in ("reconstruct", "encode", "decode"):
        code = values.get("code") if floats is None else floats.code
        source = code if signature == "decode" else evidence.x
        if signature not in subject.files or source is None:
            continue
        source = source if signature == "decode" else subject.input(signature, evidence)
        for name, got in subject.run(signature, source).items():
            if floats is None:
                what, reason = f"float {name} of {subject.files[signature]}", "no float model to compare with"
                subject.findings.skip(Kind.FLOAT, Why.NOT_COMPARABLE, f"{what} in {subject.runtime}", reason)
                values.setdefault(name, got)
                continue
            expected = {"code": floats.code, "y": floats.y}[name]
            tolerance = subject.float_tolerance(name, expected)
            row = subject.compare(Kind.FLOAT, signature, name, expected, got, reference=floats.reference, tolerance=tolerance)
            subject.hold_float(row)
            if not row.problem:
                values.setdefault(name, got)
    layers = {name: each[:TRACED_SAMPLES] for name, each in values.items()} | _measure_layers(subject, evidence)
    _measure_quality(subject, Precision.F32, values, evidence)
    return Outputs(subject, values, layers)


def _measure_layers(subject: Subject, evidence: Evidence) -> dict[str, np.ndarray]:
    """Compare every layer inside the files with the float model; returns the layers' outputs."""
    floats, tolerance, layers = evidence.floats, subject.tolerances.float_max_abs, {}
    if floats is None or not floats.layers:
        return {}
    for signature in subject.traced_signatures():
        source = floats.code if signature == "decode" else subject.input(signature, evidence)
        traced = subject.trace(signature, source[:TRACED_SAMPLES])
        written = {operation.y for operation in subject.program.part(signature)[0]}
        rows = []
        for name, expected in floats.layers.items():
            if name in written & traced.keys():
                options = {"reference": floats.layers_reference, "tolerance": tolerance}
                rows.append(subject.compare(Kind.LAYERS, signature, name, expected, traced[name], **options))
                layers |= {} if rows[-1].problem else {name: traced[name]}
        if traced:
            none = Parity(Kind.LAYERS, Precision.F32, "none", problem="the runtime exposes no layer")
            worst = max(rows, key=lambda row: row.badness, default=none)
            text, judge = f"{len(rows)} layers, worst {worst.text}", partial(close, replace(worst, rtol=tolerance))
            subject.observe(Kind.LAYERS, signature, worst.relative, text, judge)
    return layers


def _measure_quality(subject: Subject, precision: Precision, outputs: Mapping[str, np.ndarray], evidence: Evidence) -> None:
    runtime, findings = subject.runtime, subject.findings
    if not evidence.measures_quality:
        return
    if not ({"reconstruct"} <= subject.files.keys() or {"encode", "decode"} <= subject.files.keys()):
        what = f"quality of {', '.join(sorted(set(subject.files.values())))} in {runtime}"
        reason = "there is no signature reconstruct, nor both encode and decode"
        findings.skip(Kind.QUALITY, Why.NOT_IN_FILES, what, reason, runtime=runtime)
        return
    signature = "reconstruct" if "reconstruct" in subject.files else "decode"
    file = subject.files[signature]
    if "y" not in outputs or not np.isfinite(error := evidence.error(outputs["y"])):
        text = f"{file} in {runtime}: no finite y of the expected shape"
        findings.check(Kind.QUALITY, False, "no y", "finite", text, file=file, runtime=runtime)
        return
    of = {"precision": precision, "file": file, "runtime": runtime, "provider": subject.session.provider}
    noise = evidence.noise(file, runtime, outputs["y"]) if precision is Precision.INT8 else None
    findings.quality.append(Quality(f"tiedae {file}", Stage.EXPORT, error, evidence.fit(outputs["y"]), noise=noise, **of))
