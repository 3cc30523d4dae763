"""`assert_parity`: compares a model file with its source, for use in test suites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.base.errors import CheckError, InputError
from tiedae.compress.imports.live_calls import array_of
from tiedae.export.model_file import Contents, Signature, TensorInfo
from tiedae.export.random_inputs import drawn, ranges_of
from tiedae.export.targets import read_model
from tiedae.program.differences import Differences, differences, place, sample_at
from tiedae.runtimes.session import Values
from tiedae.runtimes.table import of_role, usual

from .reference_models import (
    answer_of,
    choose_signature,
    name_inputs,
    needs_inputs,
    own_inputs,
    run_file,
    to_real,
    to_stored,
)


class ParityError(CheckError, AssertionError):
    """A file's outputs differ from its reference; also an AssertionError for pytest."""


@dataclass(frozen=True)
class Tolerance:
    """Floats may differ by atol + rtol · |expected|, quantized outputs by `max_lsb`, in at most 1 − `equal_share` of their
    values. Other integers and booleans must be equal."""

    atol: float
    rtol: float
    max_lsb: int
    equal_share: float

    def __post_init__(self) -> None:
        for key in ("atol", "rtol", "max_lsb"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise InputError(f"{key}: got {getattr(self, key)!r}, must be 0 or more")
        if not 0 <= self.equal_share <= 1:
            raise InputError(f"equal_share: got {self.equal_share!r}, must be in [0, 1]")


@dataclass(frozen=True)
class Agreement:
    """Comparison of one output.

    `differing` of `count` values differ at all; `largest` is the largest difference, in LSB if `unit` is LSB. `problem`: one
    line on what exceeds the tolerance, else empty.
    """

    output: str
    unit: str
    count: int
    differing: int
    largest: float
    problem: str = ""


@dataclass(frozen=True)
class ParityReport:
    """The result of `assert_parity`. `provider`: what actually ran, as reported by the runtime."""

    file: str
    signature: str
    runtime: str
    provider: str
    outputs: tuple[Agreement, ...]


def assert_parity(
    reference: Any,
    file: str | Path,
    *,
    inputs: Any = None,
    signature: str | None = None,
    runtime: str | None = None,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    max_lsb: int = 1,
    equal_share: float = 0.99,
    samples: int = 64,
    seed: int = 0,
) -> ParityReport:
    """Run a .tflite or .onnx file and compare its outputs with a reference.

    `reference`: a Keras 2 or 3 model, a callable on arrays in the order of the file's inputs, a `Bundle` or its path (its
    integer program answers), the path of another file, or the outputs themselves. Several outputs are a mapping by the file's
    names or a sequence in the file's order. References take and return real values; for quantized inputs and outputs these
    are converted with the tensor's scale, and compared in LSB.

    `inputs`: an array, a sequence in the file's order or a mapping by name, [batch, …], real or in the input's dtype. Default:
    a bundle's golden samples, else `samples` random ones. Pass real samples for quantized files: random values may be out of
    range.

    `runtime`: litert-xnnpack (default), litert-builtin or litert-reference for .tflite; ort-cpu (default) or ort-cuda for
    .onnx. `atol`, `rtol`, `max_lsb`, `equal_share`: see `Tolerance`. A wrong dtype or shape, NaN and infinity always fail.

    Raises ParityError, an AssertionError, with the outputs that differ, the number of differing values and the worst one;
    InputError, FormatError or UnavailableError if nothing could be compared.
    """
    tolerance = Tolerance(atol, rtol, max_lsb, equal_share)
    path = Path(file)
    contents = read_model(path)
    chosen = choose_signature(path, contents, signature)
    runtime, possible = runtime or usual(contents.format), of_role(contents.format, "usual", "witness", "foreign")
    if runtime not in (possible or [usual(contents.format)]):
        raise InputError(f"runtime: got {runtime!r}, must be one of {', '.join(possible)} for {path.name}")
    answer = answer_of(reference)
    given = _inputs(reference, inputs, path, contents, chosen, samples, seed)
    stored = {tensor.name: to_stored(tensor, given[tensor.name]) for tensor in chosen.inputs}
    real = {tensor.name: to_real(tensor, given[tensor.name]) for tensor in chosen.inputs}
    provider, got = run_file(path, chosen, runtime, stored)
    expected = _named(chosen, answer(contents, chosen, real), path)
    outputs = tuple(_agreement(tensor, expected[tensor.name], got[tensor.name], tolerance) for tensor in chosen.outputs)
    problems = [f"  {each.output}: {each.problem}" for each in outputs if each.problem]
    if problems:
        where = f"{path.name}, {chosen.name} in {runtime}"
        raise ParityError(
            "\n".join([f"{where}: {len(problems)} of {len(outputs)} outputs differ from the reference", *problems])
        )
    return ParityReport(str(path), chosen.name, runtime, provider, outputs)


def _inputs(
    reference: Any, inputs: Any, path: Path, contents: Contents, signature: Signature, samples: int, seed: int
) -> Values:
    if inputs is not None:
        return name_inputs(signature, inputs)
    if needs_inputs(reference):
        raise InputError("inputs: got none, must be the inputs of the reference's arrays")
    own = own_inputs(reference, contents, signature)
    if own is not None:
        return name_inputs(signature, own)
    if samples < 1:
        raise InputError(f"samples: got {samples}, must be at least 1")
    ranges, values = ranges_of(path, contents), {}
    for i, tensor in enumerate(signature.inputs):
        shape = tuple(samples if size is None else size for size in tensor.shape)
        values[tensor.name] = drawn(tensor, ranges, signature.name, shape, seed + i).values
    return values


def _named(signature: Signature, outputs: Any, path: Path) -> dict[str, np.ndarray]:
    """The reference's outputs by the file's names; ParityError if their names or number differ."""
    names = [tensor.name for tensor in signature.outputs]
    if isinstance(outputs, Mapping):
        if outputs.keys() != set(names):
            got = ", ".join(map(str, outputs)) or "none"
            raise ParityError(f"{path.name}, {signature.name}: the reference gives {got}, the file {', '.join(names)}")
        return {name: array_of(outputs[name]) for name in names}
    arrays = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    if len(arrays) != len(names):
        counts = f"the reference gives {len(arrays)} outputs, the file {len(names)}"
        raise ParityError(f"{path.name}, {signature.name}: {counts}: {', '.join(names)}")
    return {name: array_of(values) for name, values in zip(names, arrays, strict=True)}


def _agreement(tensor: TensorInfo, expected: np.ndarray, got: np.ndarray, tolerance: Tolerance) -> Agreement:
    is_quantized = tensor.scale is not None and got.dtype.kind in "iu"
    if is_quantized and expected.dtype.kind == "f":
        finite = np.isfinite(expected).all()
        expected, got = (tensor.quantize(expected), got) if finite else (expected.astype(np.float32), to_real(tensor, got))
    found = differences(expected, got)
    beyond = "" if found.problem else (_quantized if is_quantized else _plain)(tensor, expected, got, found, tolerance)
    unit = "LSB" if is_quantized else "" if got.dtype.kind == "f" else "exact"
    return Agreement(tensor.name, unit, found.count, found.differing, found.largest, found.problem or beyond)


def _quantized(tensor: TensorInfo, expected: np.ndarray, got: np.ndarray, found: Differences, tolerance: Tolerance) -> str:
    """What exceeds the tolerance; empty if nothing does."""
    if found.largest <= tolerance.max_lsb and found.differing <= (1 - tolerance.equal_share) * found.count:
        return ""
    index, *pair = found.samples[0]
    one, other = (f"{value} ({float(to_real(tensor, np.asarray(value, got.dtype))):.6g})" for value in pair[::-1])
    allowed = f"allowed {tolerance.max_lsb} LSB, and {1 - tolerance.equal_share:.3g} of the values"
    return (
        f"{found.differing} of {found.count} values differ, by up to {int(found.largest)} LSB, at {index}: got {one}, "
        f"expected {other}; {allowed}"
    )


def _plain(_tensor: TensorInfo, expected: np.ndarray, got: np.ndarray, found: Differences, tolerance: Tolerance) -> str:
    """What exceeds the tolerance of floats, or differs in numbers without a scale."""
    if got.dtype.kind != "f":
        count, worst, bound = found.differing, next(iter(found.samples), None), "must be equal"
    else:
        wide = expected.astype(np.float64)
        excess = np.abs(got.astype(np.float64) - wide) - (tolerance.atol + tolerance.rtol * np.abs(wide))
        count = int(np.count_nonzero(excess > 0))
        worst = sample_at(excess.argmax(), expected, got) if count else None
        bound = f"allowed atol {tolerance.atol:g} + rtol {tolerance.rtol:g}"
    if worst is None:
        return ""
    return f"{count} of {found.count} values differ, by up to {found.largest:.3g}, worst at {place(worst)}; {bound}"
