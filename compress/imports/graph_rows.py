"""Operations of the samples that formats have in common: each gives the flow behind it, or refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..layer_kinds import Shape
from .chain import Affine, BatchNorm, ChainArray, ChainFunction, ChainProduct, ChainReshape, stored
from .graph import MAX_FOLDED, Flow, GraphConstant, GraphStep, Row, Value, resolved


def unchanged(step: GraphStep) -> Value:
    """The samples as they are."""
    return step.flow if step.operands[0] is step.flow else step.refuse("must have the samples as its first input")


def left_out(step: GraphStep) -> Value:
    """An operation that only training has."""
    return replace(step.flow, left_out=(*step.flow.left_out, f"{step.node.name} ({step.node.op})"))


def shape_of(step: GraphStep) -> GraphConstant:
    """The shape of the samples, as a constant."""
    return GraphConstant(stored(step.node.outputs[0], np.array([step.flow.batch, *step.flow.shape], np.int64)))


def refusal(reason: str) -> Row:
    """A row that refuses."""
    return lambda step: step.refuse(reason)


def activation(function: str) -> Row:
    """A row of an activation, by Keras' name."""
    return lambda step: step.flow.then(ChainFunction(*step.names, function))


def product(step: GraphStep, *, transposed: bool = False) -> Flow:
    """x · kernel, or x · kernelᵀ where it is `transposed`, over the last axis."""
    kernel, flow = step.constant(1), step.flow
    if kernel is None or len(kernel.shape) != 2:
        return step.refuse("must multiply the samples by a kernel [inputs, units]")
    transposed ^= kernel.flipped
    layer = ChainProduct(*step.names, step.weight(kernel), transposed=transposed)
    inputs, units = layer.widths
    if inputs != flow.shape[-1]:
        return step.refuse(f"kernel of {inputs} inputs behind {flow.shape[-1]} values")
    before = _subtracted(step)
    if before is not None:
        layer = replace(layer, before=before)
    return flow.then(layer, shape=(*flow.shape[:-1], units), without=before is not None)


def _subtracted(step: GraphStep) -> ChainArray | None:
    """The bias of an earlier layer that has just been subtracted, as some hand-made decoders do."""
    last, vector = step.flow.last, step.vector(step.flow.operand)
    if vector is None or not isinstance(last, Affine) or not np.array_equal(last.scale, 1):
        return None
    biases = {layer.bias for layer in step.flow.layers if isinstance(layer, ChainProduct)}
    return vector if vector in biases and np.array_equal(last.offset, -vector.read().astype(np.float64)) else None


def add(step: GraphStep) -> Flow:
    """Plus a bias, the end of a batch normalization, or a shift."""
    constant = step.constant(0) or step.constant(1)
    bias, last = step.vector(constant), step.flow.last
    if constant is None or bias is None:
        return step.refuse("must add a number or one a value of the last axis")
    if isinstance(last, ChainProduct) and last.bias is None:
        width = step.flow.shape[-1]
        whole = replace(bias, shape=(width,), read=lambda: np.broadcast_to(bias.read(), (width,)))
        return step.flow.then(replace(last, bias=whole), without=1)
    norm = _batch_norm(step, constant)
    return step.flow.then(norm, without=1) if norm else _affine(step, 1.0, bias.read(), constant)


def subtract(step: GraphStep) -> Flow:
    """Minus a constant, or a constant minus the samples."""
    return _with_constant(step, lambda values: (1.0, -values), lambda values: (-1.0, values))


def multiply(step: GraphStep) -> Flow:
    """Times a constant."""
    return _with_constant(step, lambda values: (values, 0.0), lambda values: (values, 0.0))


def divide(step: GraphStep) -> Flow:
    """Divided by a constant."""
    return _with_constant(step, lambda values: (1 / values, 0.0), None)


def negate(step: GraphStep) -> Flow:
    """Times −1."""
    return _affine(step, -1.0, 0.0, None)


Parts = Callable[[np.ndarray], tuple[Any, Any]]


def _with_constant(step: GraphStep, behind: Parts, before: Parts | None) -> Flow:
    """An affine function of the samples and one constant `behind` or `before` them: its (scale, offset)."""
    parts, constant = (behind, step.constant(1)) if step.operands[0] is step.flow else (before, step.constant(0))
    vector = step.vector(constant)
    if parts is None or vector is None:
        return step.refuse("must have the samples and a number, or one a value of the last axis")
    values = vector.read().astype(np.float64)
    with np.errstate(divide="ignore"):
        scale, offset = parts(values)
    return _affine(step, scale, offset, constant) if np.isfinite(scale).all() else step.refuse("divides by zero")


def _root(constant: GraphConstant | None) -> GraphConstant | None:
    """The 1 / √variance of which a constant is the gain of a batch normalization."""
    factor = constant.operands[0] if constant and constant.by is np.multiply else constant
    return factor if factor and factor.by is reciprocal_root else None


def _affine(step: GraphStep, scale: Any, offset: Any, operand: GraphConstant | None) -> Flow:
    """x · scale + offset, one layer with an `Affine` just before unless a batch normalization begins."""
    scale, offset, last = np.asarray(scale, np.float64), np.asarray(offset, np.float64), step.flow.last
    if not isinstance(last, Affine) or _root(operand):
        return step.flow.then(Affine(*step.names, scale, offset), operand=operand)
    merged = Affine(last.name, last.class_name, last.scale * scale, last.offset * scale + offset)
    return step.flow.then(merged, without=1)


def reciprocal_root(values: np.ndarray) -> np.ndarray:
    """1 / √values, element by element."""
    return 1 / np.sqrt(values)


def _batch_norm(step: GraphStep, offset: GraphConstant) -> BatchNorm | None:
    """x · gain + (beta − mean · gain), with gain = gamma / √(variance + epsilon), as TensorFlow computes it; else None.

    Source: `tf.nn.batch_normalization`.
    """
    gain, last = step.flow.operand, step.flow.last
    if gain is None or not isinstance(last, Affine) or last.offset.any():
        return None
    root, gamma = _root(gain), gain.operands[1] if gain.by is np.multiply else None
    beta, shift = offset.operands if offset.by is np.subtract else (None, offset)
    if root is None or root.operands[0].by is not np.add or shift.by is not np.multiply:
        return None
    (mean, again), (variance, epsilon) = shift.operands, root.operands[0].operands
    if beta is None and mean.by is np.negative:
        mean = mean.operands[0]
    elif beta is None:
        return None
    centre, spread = step.vector(mean), step.vector(variance)
    if again != gain or math.prod(epsilon.shape) != 1 or centre is None or spread is None:
        return None
    number = float(epsilon.read().item())
    return BatchNorm(last.name, "BatchNormalization", step.vector(gamma), step.vector(beta), centre, spread, number)


def batch_norm(step: GraphStep, epsilon: float) -> Flow:
    """Batch normalization by (x, gamma, beta, mean, variance), over the last axis."""
    gamma, beta, mean, variance = (step.vector(step.constant(place)) for place in range(1, 5))
    if gamma is None or beta is None or mean is None or variance is None:
        return step.refuse("must have a gamma, beta, mean and variance for each value of the last axis")
    return step.flow.then(BatchNorm(*step.names, gamma, beta, mean, variance, epsilon))


def reshape(step: GraphStep, *, copies_zero: bool = False) -> Flow:
    """A new shape for the values of each sample. `copies_zero`: 0 means the axis as it was."""
    target, before = step.constant(1), (step.flow.batch, *step.flow.shape)
    if target is None or target.read().dtype.kind not in "iu" or len(target.shape) != 1 or math.prod(target.shape) > MAX_FOLDED:
        return step.refuse("must have a constant shape")
    shape = target.read()
    if copies_zero:
        shape = np.array([before[i] if size == 0 and i < len(before) else size for i, size in enumerate(shape)])
    return _reshaped(step, resolved(shape, math.prod(before)))


def _reshaped(step: GraphStep, shape: Shape) -> Flow:
    flow = step.flow
    if shape == (flow.batch, *flow.shape):
        return flow
    if len(shape) < 2 or shape[0] != flow.batch or min(shape) < 1 or math.prod(shape[1:]) != math.prod(flow.shape):
        return step.refuse(f"must keep the {math.prod(flow.shape)} values of each sample together")
    return flow.then(ChainReshape(*step.names, shape[1:]), shape=shape[1:])


def flatten(step: GraphStep) -> Flow:
    """Each sample as one axis."""
    return _reshaped(step, (step.flow.batch, math.prod(step.flow.shape)))


def clip(step: GraphStep, low: float, high: float) -> Flow:
    """At least `low`, at most `high`: relu or relu6."""
    last = step.flow.last
    if (low, high) == (-math.inf, math.inf):
        return step.flow
    if isinstance(last, ChainFunction) and last.function in ("relu", "relu6") and low <= 0:
        if high == 6:
            return step.flow.then(replace(last, function="relu6"), without=1)
        if high == math.inf:
            return step.flow
    functions = {(0.0, math.inf): "relu", (0.0, 6.0): "relu6"}
    if (low, high) not in functions:
        return step.refuse(f"clips to {low:g} … {high:g}, must be from 0, to 6 or without an end (relu6, relu)")
    return step.flow.then(ChainFunction(*step.names, functions[low, high]))


def at_least(step: GraphStep) -> Flow:
    """The larger of the samples and a number."""
    return _clipped(step, lambda bound: (bound, math.inf))


def at_most(step: GraphStep) -> Flow:
    """The smaller of the samples and a number."""
    return _clipped(step, lambda bound: (-math.inf, bound))


def _clipped(step: GraphStep, bounds: Callable[[float], tuple[float, float]]) -> Flow:
    bound = number(step.constant(0) or step.constant(1), math.nan) if len(step.operands) == 2 else None
    return step.refuse("must have the samples and a number") if bound is None else clip(step, *bounds(bound))


def quotient(dividend: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """dividend / divisor, of integers without the rest."""
    return dividend // divisor if dividend.dtype.kind in "iu" else dividend / divisor


def number(constant: GraphConstant | None, default: float) -> float | None:
    """The value of a constant of one number, `default` where it is left out; None for several."""
    if constant is None:
        return default
    return float(constant.read().item()) if math.prod(constant.shape) == 1 else None
