"""Parity between formats: TFLite's codes and outputs compared with ONNX's, and each format decoding the other's codes.

One runtime may store or send a code that another one decodes. Decoded codes of the other format are compared with the program's
`y` of the same codes (float files: with the float model's), and with the output for the runtime's own codes. One runtime
represents each format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, permutations

import numpy as np

from tiedae.bundle.reference_outputs import Expected
from tiedae.export.kinds import Kind, Precision, Why
from tiedae.export.targets import TARGETS
from tiedae.program.tensors import flat
from tiedae.runtimes.table import RUNTIMES

from .findings import Evidence, Findings, Outputs
from .measurement import check_output
from .rules import codes_of_formats


def measure_crossing(
    measured: Sequence[Outputs], expected: Mapping[str, Expected], evidence: Evidence, findings: Findings, precision: str
) -> None:
    """Compare one runtime of each format, the usual one if it ran; adds a skipped row if fewer than two formats ran.

    `expected` by format, for int8 files.
    """
    first: dict[str, Outputs] = {}
    for each in sorted(measured, key=lambda each: RUNTIMES[each.subject.runtime].role != "usual"):
        first.setdefault(each.subject.format, each)
    if len(first) < 2:
        reason = f"{' and '.join(first) or 'no format'} alone ran here, must be two of {', '.join(TARGETS)}"
        findings.skip(Kind.FORMATS, Why.NOT_IN_FILES, f"{precision} formats against each other", reason)
        return
    count = min((each.count for each in first.values() if each.values), default=len(evidence.x))
    each_format = [first[target].leading(count) for target in TARGETS if target in first]
    evidence = evidence.leading(count)
    for one, other in combinations(each_format, 2):
        _compare_values(one, other)
    for encoder, decoder in permutations(each_format, 2):
        missing = "code to decode" if "code" not in encoder.values else "file with the signature decode"
        if "code" in encoder.values and "decode" in decoder.subject.files:
            _cross(encoder, decoder, expected.get(decoder.subject.format), evidence)
        else:
            what = f"{precision} codes of {encoder.subject.runtime} decoded in {decoder.subject.runtime}"
            findings.skip(Kind.CROSSING, Why.NOT_IN_FILES, what, f"there is no {missing}")


def _compare_values(one: Outputs, other: Outputs) -> None:
    """Compare codes and y directly. The int8 decoders round at different places, so their `y` has no limit."""
    subject, reference = other.subject, one.subject.runtime
    signature = next(name for name in ("reconstruct", "encode", "decode") if name in subject.files)
    same = _same_integers(one, other)
    if not same.all():
        what = f"formats against each other on {int((~same).sum()):,} of {len(same):,} samples"
        reason = f"an input lies at a tie between two integers, where {reference} and {subject.runtime} round differently"
        subject.findings.skip(Kind.FORMATS, Why.NOT_COMPARABLE, what, reason)
    for name in ("code", "y") if same.any() else ():
        if name not in one.values or name not in other.values:
            continue
        first, second = one.values[name][same], other.values[name][same]
        quantization = subject.program.quantization(name) if first.dtype == np.uint8 else None
        tolerance = 2 * subject.float_tolerance(name, first)
        options = {"reference": reference, "quantization": quantization, "tolerance": tolerance}
        row = subject.compare(Kind.FORMATS, signature, name, first, second, **options)
        if row.precision is Precision.F32:
            subject.hold_float(row, peer=reference)
        elif name == "code":
            exact = one.subject.same_rounding and subject.same_rounding
            judge = partial(codes_of_formats, row, exact, len(subject.program.kernels))
            subject.observe(Kind.FORMATS, signature, row.equal_fraction, row.text, judge, detail=name, peer=reference)


def _same_integers(one: Outputs, other: Outputs) -> np.ndarray:
    """bool [samples]: whether both runtimes quantize a sample's inputs to the same integers."""
    if one.expected is None or other.expected is None:
        return np.ones(len(next(iter(one.values.values()), ())), bool)
    return np.asarray(flat(one.expected.x == other.expected.x).all(axis=1))


def _cross(encoder: Outputs, decoder: Outputs, expected: Expected | None, evidence: Evidence) -> None:
    subject, source = decoder.subject, encoder.subject.runtime
    codes = encoder.values["code"]
    got = subject.run("decode", codes)
    if "y" not in got:
        return
    if expected is None:
        if evidence.floats is not None:
            tolerance = subject.float_tolerance("y", evidence.floats.y)
            options = {"reference": evidence.floats.reference, "tolerance": tolerance}
            row = subject.compare(Kind.CROSSING, "decode", "y", evidence.floats.y, got["y"], encoder=source, **options)
            subject.hold_float(row, peer=source)
        return
    decoded, own = check_output(subject, "decode", codes, got["y"], expected, encoder=source), decoder.values
    if decoded and "y" in own and np.array_equal(own.get("code", codes), codes):
        options = {"reference": subject.runtime, "quantization": subject.program.quantization("y"), "encoder": source}
        row = subject.compare(Kind.CROSSING, "decode", "y", own["y"], decoded["y"], **options)
        subject.hold(row, exact=subject.same_rounding, detail="own codes", peer=source)
