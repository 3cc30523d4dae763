"""Merges kernels of an .onnx file that a quantizer stored twice with different integers.

Quantizers treat a kernel and its transpose as unrelated: per channel, each has scales along another axis. Merged, both are the
same integers with one scale per tensor, which ONNX Runtime fuses in either direction.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from tiedae.compress.affine import SIGNED_SHIFT, quantize
from tiedae.export.duplicates import Duplicate
from tiedae.export.onnx.scopes import attribute

from .equivalence import Kept, Merged
from .onnx_graph import OnnxGraph, OnnxUse, Stored
from .onnx_merge import apart, detours, merge, obstacle, promote, views
from .transpose_rules import View

_INTEGERS = (TensorProto.INT8, TensorProto.UINT8)


class _Obstacle(Exception):
    """The reason why a near duplicate stays stored."""


@dataclass(frozen=True, eq=False)
class _Quantized:
    """A kernel whose only readers dequantize it with one quantization. `scales` and `zeros` broadcast against the integers."""

    stored: Stored
    uses: tuple[OnnxUse, ...]
    scales: np.ndarray
    zeros: np.ndarray

    @property
    def real(self) -> np.ndarray:
        return (self.stored.values.astype(np.float64) - self.zeros) * self.scales


@dataclass(frozen=True, eq=False)
class _Bias:
    """An int32 bias of a Gemm or Conv. The runtime assumes its scale to be that of the products, whatever the file states."""

    use: OnnxUse
    real: np.ndarray
    input_scale: float


@dataclass(frozen=True, eq=False)
class _NearMerge:
    """A merge: the values that `original` gets, their quantization, and the largest change of a value, in steps."""

    original: _Quantized
    duplicate: _Quantized
    view: View
    values: np.ndarray
    scale: float
    zero: int
    steps: float
    biases: tuple[_Bias, ...]


def merge_near(graph: OnnxGraph, near: Iterable[Duplicate], tolerance: float | None) -> Iterator[Merged | Kept]:
    """Merge duplicates of other bytes if no value changes by more than `tolerance` steps of the coarser of both quantizations.

    If one kernel has one scale per tensor, both use its integers. Otherwise the mean of both is requantized: symmetric, one
    scale per tensor, with the same number of levels (7 bits remain 7 bits). Biases are requantized to the new scale. A kept
    duplicate has the tolerance that would merge it, or the obstacle, as its reason.
    """
    settled: set[str] = set()
    for duplicate in near:
        try:
            plan = _plan(graph, duplicate, settled)
        except _Obstacle as error:
            yield Kept(duplicate.name, duplicate.original, f"{_kind(duplicate)}: {error}")
            continue
        if tolerance is not None and plan.steps <= tolerance:
            merged = _apply(graph, plan)
            settled |= {stored.label for stored in [graph.resolve(merged.original)] if stored}
            yield merged
        else:
            least = math.ceil(plan.steps * 100) / 100
            change = f"up to {least:.2f} of a step apart" if plan.steps else "stored as other bytes"
            yield Kept(duplicate.name, duplicate.original, f"{_kind(duplicate)}, {change}: --near {least:g} would allow that")


def _kind(duplicate: Duplicate) -> str:
    return "near" if duplicate.relation == "near" else "equal in value"


def _plan(graph: OnnxGraph, duplicate: Duplicate, settled: Set[str]) -> _NearMerge:
    """Plan a merge. The values of constants in `settled`, which were merged before, must not change again."""
    stored = []
    for name in (duplicate.original, duplicate.name):
        found = graph.resolve(name)
        if found is None:
            raise _Obstacle(f"{name} is no dense initializer or Constant tensor")
        stored.append(found)
    one, other = stored
    if reason := apart(graph, one, other):
        raise _Obstacle(reason)
    return _planned(graph, *_orient(graph, _quantized(graph, one), _quantized(graph, other), settled))


def _planned(graph: OnnxGraph, original: _Quantized, duplicate: _Quantized, view: View) -> _NearMerge:
    if reason := obstacle(graph, original.stored, duplicate.stored, view):
        raise _Obstacle(reason)
    mirrored = _back(duplicate.real, original.stored.values.shape, view)
    if original.scales.size == 1:
        values, scale, zero = original.stored.values, float(original.scales.flat[0]), int(original.zeros.flat[0])
    else:
        values, scale, zero = _quantize((original.real + mirrored) / 2, original, duplicate)
    new = (values.astype(np.float64) - zero) * scale
    scales = np.broadcast_to(duplicate.scales, duplicate.stored.values.shape)
    steps = max(
        float((np.abs(new - original.real) / np.maximum(original.scales, scale)).max()),
        float((np.abs(new - mirrored) / np.maximum(_back(scales, values.shape, view), scale)).max()),
    )
    biases = tuple(bias for each in (original, duplicate) for use in each.uses for bias in _biases(graph, use))
    for bias in biases:
        if not (np.abs(bias.real / (bias.input_scale * scale)) < 2**31).all():
            raise _Obstacle("a bias would not fit int32 in the new scale")
    return _NearMerge(original, duplicate, view, values, scale, zero, steps, biases)


def _apply(graph: OnnxGraph, plan: _NearMerge) -> Merged:
    original, duplicate, view, values = plan.original, plan.duplicate, plan.view, plan.values
    held = promote(graph, original.stored, [duplicate.stored.scope])
    old = held.values, _back(duplicate.stored.values, values.shape, view)
    fraction = float(np.mean([each != values for each in old]))
    graph.set_values(held, values)
    for use in (*original.uses, *duplicate.uses):
        _requantize(graph, use, held, plan.scale, plan.zero)
    for bias in plan.biases:
        _express(graph, bias, plan.scale)
    outcome = merge(graph, held, duplicate.stored, view)
    if isinstance(outcome, Kept):
        raise AssertionError(f"{outcome.name}: {outcome.reason}")
    how = f"{outcome.how}; one scale{', biases in the new one' if plan.biases else ''}"
    name = original.stored.label
    return dataclasses.replace(outcome, original=name, relation="near", how=how, steps=plan.steps, changed=fraction)


def _quantized(graph: OnnxGraph, stored: Stored) -> _Quantized:
    uses = graph.uses(stored.scope, stored.name)
    if stored.overridable or stored.name in stored.scope.outputs or stored.tensor.data_type not in _INTEGERS:
        raise _Obstacle(f"{stored.label} is no constant kernel of 8-bit integers")
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for use in uses:
        parameters = [use.scope.find(name) for name in use.node.input[1:3]]
        dequantizes = use.node.op_type == "DequantizeLinear" and use.index == 0 and len(use.node.output) == 1
        if not dequantizes or not parameters or None in parameters:
            raise _Obstacle(f"{stored.label} is read by {use.node.op_type}, not only by DequantizeLinear of constant scales")
        if attribute(use.node, "block_size", 0):
            raise _Obstacle(f"{stored.label} has scales per block")
        scales, *zeros = (each.values for each in parameters if each is not None)
        axis, shape = attribute(use.node, "axis", 1) % stored.values.ndim, [1] * stored.values.ndim
        if scales.size > 1:
            shape[axis] = stored.values.shape[axis]
        if scales.size != np.prod(shape) or any(zero.size not in (1, scales.size) for zero in zeros):
            raise _Obstacle(f"{stored.label} has {scales.size} scales, for {stored.values.shape[axis]} channels")
        zero = zeros[0].astype(np.int64).ravel() if zeros else np.zeros(1, np.int64)
        found.append((scales.astype(np.float64).reshape(shape), np.broadcast_to(zero, scales.size).reshape(shape)))
    if not found or any(not np.array_equal(a, b) for each in found for a, b in zip(found[0], each, strict=True)):
        raise _Obstacle(f"{stored.label} is not dequantized, or with two quantizations")
    return _Quantized(stored, tuple(uses), *found[0])


def _orient(graph: OnnxGraph, one: _Quantized, other: _Quantized, settled: Set[str]) -> tuple[_Quantized, _Quantized, View]:
    """Choose (original, duplicate, view): prefer one scale per tensor, then fewer Transpose and Reshape nodes."""
    choices = []
    if one.stored is other.stored or {one.stored.label, other.stored.label} <= settled:
        raise _Obstacle("both are merged with others")
    for original, duplicate in ((one, other), (other, one)):
        if duplicate.stored.label in settled:
            continue
        shape = original.stored.values.shape
        candidates = views(shape, duplicate.stored.values.shape)
        view = min(candidates, key=lambda view: float(np.abs(_back(duplicate.real, shape, view) - original.real).max()))
        choices.append((original.scales.size > 1, detours(graph, duplicate.stored, view), original, duplicate, view))
    _, _, original, duplicate, view = min(choices, key=lambda choice: choice[:2])
    return original, duplicate, view


def _back(values: np.ndarray, shape: tuple[int, ...], view: View) -> np.ndarray:
    """Reorder an array from the duplicate's layout to the original's."""
    ordered = tuple(shape[axis] for axis in view.perm)
    return values.reshape(ordered).transpose(np.argsort(view.perm))


def _quantize(real: np.ndarray, *quantized: _Quantized) -> tuple[np.ndarray, float, int]:
    """(integers of the first kernel's dtype, scale, zero point)."""
    dtype = quantized[0].stored.values.dtype
    zero = 0 if dtype == np.int8 else SIGNED_SHIFT
    reach = min(127, max(int(np.abs(each.stored.values.astype(np.int64) - each.zeros).max()) for each in quantized))
    scale = float(np.float32(np.abs(real).max() / reach))
    return quantize(real, scale, zero, dtype.name), scale, zero


def _requantize(graph: OnnxGraph, use: OnnxUse, held: Stored, scale: float, zero: int) -> None:
    """Set one scale and zero point for a DequantizeLinear."""
    old = [use.scope.find(name) for name in use.node.input[1:3]]
    assert old[0] is not None
    parameters = np.array(scale, old[0].values.dtype), np.array(zero, held.values.dtype)
    del use.node.input[1:]
    use.node.input.extend(("", ""))
    for index, (kind, values) in enumerate(zip(("scale", "zero_point"), parameters, strict=True), start=1):
        new = graph.add(held.scope, graph.fresh(f"{held.name}.{kind}"), values)
        graph.connect(OnnxUse(use.scope, use.node, index), new.name)
    for each in [each for each in use.node.attribute if each.name == "axis"]:
        use.node.attribute.remove(each)
    _sweep(graph, old)


def _biases(graph: OnnxGraph, kernel: OnnxUse) -> Iterator[_Bias]:
    """The int32 biases of the Gemm and Conv nodes that multiply dequantized values by this kernel."""
    for use in graph.uses(kernel.scope, kernel.node.output[0]):
        if use.node.op_type not in ("Gemm", "Conv") or use.index != 1 or len(use.node.input) < 3:
            continue
        dequantized = [node for node in use.scope.nodes if node.op_type == "DequantizeLinear" and len(node.input) > 1]
        producers = {output: node for node in dequantized for output in node.output}
        x, b = (producers.get(use.node.input[i]) for i in (0, 2))
        scale = use.scope.find(x.input[1]) if x is not None else None
        parts = [use.scope.find(name) for name in b.input[:2]] if b is not None else []
        if scale is None or scale.values.size != 1 or len(parts) < 2 or parts[0] is None or parts[1] is None:
            continue
        if parts[0].values.dtype == np.int32:
            sizes = parts[0].values.size, parts[1].values.size
            input_scale = float(scale.values.flat[0])
            if sizes[1] not in (1, sizes[0]) or not 0 < input_scale < np.inf:
                raise _Obstacle("a bias is dequantized with scales that do not fit it")
            real = parts[0].values.ravel().astype(np.float64) * parts[1].values.ravel().astype(np.float64)
            yield _Bias(OnnxUse(use.scope, use.node, 2), real.reshape(parts[0].values.shape), input_scale)


def _express(graph: OnnxGraph, bias: _Bias, scale: float) -> None:
    """Requantize a bias to the new scale of its products."""
    scope, old = bias.use.scope, bias.use.node.input[bias.use.index]
    (node,) = (node for node in scope.nodes if old in node.output)
    step = np.float32(bias.input_scale * scale)
    new = graph.fresh(old)
    integers = graph.add(scope, graph.fresh(f"{new}.quantized"), quantize(bias.real, float(step), 0, "int32"))
    inputs = [integers, graph.add(scope, graph.fresh(f"{new}.scale"), np.array(step, np.float32))]
    inputs.append(graph.add(scope, graph.fresh(f"{new}.zero_point"), np.array(0, np.int32)))
    graph.insert(scope, "DequantizeLinear", [each.name for each in inputs], new)
    graph.connect(bias.use, new)
    if not graph.uses(scope, old) and old not in scope.outputs:
        graph.remove(scope, node)
        _sweep(graph, [scope.find(name) for name in node.input])


def _sweep(graph: OnnxGraph, constants: Iterable[Stored | None]) -> None:
    """Remove the constants without readers."""
    for stored in constants:
        if stored and not (stored.overridable or stored.name in stored.scope.outputs or graph.uses(stored.scope, stored.name)):
            graph.discard(stored)
