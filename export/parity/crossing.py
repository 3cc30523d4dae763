"""Formats against each other: TFLite's numbers beside ONNX's, and what one encodes decoded by the other.

A code is stored or sent by one runtime and read by another. So the codes of both are compared directly, and each file decodes
the other's codes; the result is held to the program's `y` of the same codes (float files: to the float model's), and to what
the decoding runtime makes of its own codes. One runtime stands for each format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, permutations

import numpy as np

from ...compress.config import VerifyConfig
from ..expected import Expected
from ..runtimes.table import RUNTIMES
from ..targets import TARGETS
from .comparison import compare
from .findings import Evidence, Findings, Measured
from .measure import check_float, check_output


def measure_crossing(
    measured: Sequence[Measured],
    expected: Mapping[str, Expected],
    evidence: Evidence,
    tolerances: VerifyConfig,
    findings: Findings,
    precision: str,
) -> None:
    """Compare a runtime of each format, the usual one where it is here; a skipped row where there are not two formats.

    `expected` by format, for int8 files.
    """
    first: dict[str, Measured] = {}
    for each in sorted(measured, key=lambda each: RUNTIMES[each.subject.runtime].role != "usual"):
        first.setdefault(each.subject.format, each)
    if len(first) < 2:
        reason = f"{' and '.join(first) or 'no format'} alone ran here, it takes two of {', '.join(TARGETS)}"
        findings.skip(f"{precision} formats against each other", reason)
        return
    each_format = [first[target] for target in TARGETS if target in first]
    for one, other in combinations(each_format, 2):
        _compare_values(one, other, tolerances, findings)
    for encoder, decoder in permutations(each_format, 2):
        what = f"{precision} codes of {encoder.subject.runtime} decoded in {decoder.subject.runtime}"
        if "code" not in encoder.values or "decode" not in decoder.subject.files:
            missing = "code to decode" if "code" not in encoder.values else "file with the signature decode"
            findings.skip(what, f"there is no {missing}")
            continue
        _cross(encoder, decoder, expected.get(decoder.subject.format), evidence, tolerances, findings)


def _compare_values(one: Measured, other: Measured, tolerances: VerifyConfig, findings: Findings) -> None:
    """Codes and y directly. The two int8 decoders round at other places, so their `y` is a row without a limit."""
    subject, reference = other.subject, one.subject.runtime
    signature = next(name for name in ("reconstruct", "encode", "decode") if name in subject.files)
    alike = _same_integers(one, other)
    if not alike.all():
        what = f"formats against each other on {int((~alike).sum()):,} of {len(alike):,} samples"
        findings.skip(what, f"an input lies at a tie between two integers, where {reference} and {subject.runtime} round apart")
    for name in ("code", "y") if alike.any() else ():
        if name not in one.values or name not in other.values:
            continue
        first, second = one.values[name][alike], other.values[name][alike]
        quantization = subject.program.quantization(name) if first.dtype == np.uint8 else None
        tolerance = 2 * tolerances.float_max_abs
        row = compare(
            f"formats: {name}",
            first,
            second,
            reference=reference,
            operation=name,
            quantization=quantization,
            tolerance=tolerance,
        )
        if row.kind == "float":
            check_float(subject, signature, f"formats {name}", row, findings, against=reference)
            continue
        findings.parity.append(subject.row(signature, row, against=reference))
        if name == "code":
            exact = one.subject.rounds_alike and subject.rounds_alike
            max_lsb = tolerances.codes_max_lsb * (1 if exact else 2 * len(subject.program.kernels))
            share = tolerances.codes_equal_share if exact else 0.0
            ok = row.within(max_lsb=max_lsb, equal_share=share)
            label, limit = f"{subject.name('formats code', signature)} {reference}", f">= {share}, <= {max_lsb} LSB"
            subject.check(findings, label, signature, ok, row.equal_share, limit, row.text)


def _same_integers(one: Measured, other: Measured) -> np.ndarray:
    """bool [samples]: whether both runtimes make the same integers of a sample's inputs."""
    if one.expected is None or other.expected is None:
        return np.ones(len(next(iter(one.values.values()), ())), bool)
    return (one.expected.x == other.expected.x).all(axis=1)


def _cross(
    encoder: Measured,
    decoder: Measured,
    expected: Expected | None,
    evidence: Evidence,
    tolerances: VerifyConfig,
    findings: Findings,
) -> None:
    subject, source = decoder.subject, encoder.subject.runtime
    codes = encoder.values["code"]
    got = subject.run("decode", codes, findings)
    if "y" not in got:
        return
    y, what = got["y"], f"y of {source}'s codes"
    if expected is not None:
        decoded = check_output(
            subject, "decode", codes, y, expected, tolerances, findings, kind="crossing", what=what, encoder=source
        )
        own = decoder.values
        if decoded and "y" in own and np.array_equal(own.get("code", codes), codes):
            quantization = subject.program.quantization("y")
            row = compare(what, own["y"], decoded["y"], reference=subject.runtime, operation="y", quantization=quantization)
            findings.parity.append(subject.row("decode", row, encoder=source))
            most = 0 if subject.rounds_alike else tolerances.operation_max_lsb
            label = f"{subject.name('crossing', 'decode')} {source} own codes"
            ok, read = row.within(max_lsb=most), "reconstruct" if "reconstruct" in subject.files else "decode"
            text = row.text if ok else subject.blamed(read, row.text)
            subject.check(findings, label, "decode", ok, row.max_lsb, f"<= {most} LSB", text)
        return
    if evidence.floats is not None:
        tolerance = tolerances.float_max_abs
        row = compare(what, evidence.floats.y, y, reference=evidence.floats.reference, operation="y", tolerance=tolerance)
        check_float(subject, "decode", "crossing y", row, findings, encoder=source)
