"""Operations of the samples that formats have in common: each gives the flow behind it, or refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .chain import Affine, BatchNorm, ChainArray, ChainFunction, ChainProduct, stored
from .flow import Flow, GraphConstant, GraphStep, Row, Trail, Value, along
from .graph_axes import CHANNELS, MOVED, settled


def unchanged(step: GraphStep) -> Value:
    """The samples as they are."""
    return step.flow if step.operands[0] is step.flow else step.refuse("must have the samples as its first input")


def left_out(step: GraphStep) -> Value:
    """An operation that only training has."""
    return replace(step.flow, left_out=Trail.of(step.flow.left_out, f"{step.node.name} ({step.node.op})"))


def shape_of(step: GraphStep) -> GraphConstant:
    """The shape of the samples, as a constant."""
    return GraphConstant(stored(step.node.outputs[0], np.array(step.flow.sizes, np.int64)))


def refusal(reason: str) -> Row:
    """A row that refuses."""
    return lambda step: step.refuse(reason)


def activation(function: str) -> Row:
    """A row of an activation, by Keras' name."""
    return lambda step: step.flow.then(ChainFunction(*step.names, function))


def product(step: GraphStep, *, transposed: bool = False) -> Flow:
    """x · kernel, or x · kernelᵀ where it is `transposed`, over the last axis."""
    kernel, flow = step.constant(1), settled(step.flow, step.names)
    if flow is None:
        return step.refuse(MOVED)
    if kernel is None or len(kernel.shape) != 2:
        return step.refuse("must multiply the samples by a kernel [inputs, units]")
    transposed ^= bool(kernel.order)
    layer = ChainProduct(*step.names, step.weight(kernel), transposed=transposed)
    inputs, units = layer.widths
    if inputs != flow.shape[-1]:
        return step.refuse(f"kernel of {inputs} inputs behind {flow.shape[-1]} values")
    before = _subtracted(step.over(flow))
    if before is not None:
        layer = replace(layer, before=before)
    return flow.then(layer, shape=(*flow.shape[:-1], units), without=before is not None)


def _subtracted(step: GraphStep) -> ChainArray | None:
    """The bias of an earlier layer that has just been subtracted, as some hand-made decoders do."""
    last, vector = step.flow.last, step.vector(step.flow.operand)
    if vector is None or not isinstance(last, Affine) or not np.array_equal(last.scale, 1):
        return None
    layers = (each.last for each in along(step.flow.trail))
    known = any(isinstance(layer, ChainProduct) and layer.bias == vector for layer in layers)
    return vector if known and np.array_equal(last.offset, -vector.read().astype(np.float64)) else None


def add(step: GraphStep) -> Flow:
    """Plus a bias, the end of a batch normalization, or a shift."""
    constant = step.constant(0) or step.constant(1)
    return _added(step, constant, step.vector(constant))


def add_channels(step: GraphStep, *, channel: int) -> Flow:
    """Plus a bias [channels], along an axis of the tensor."""
    if len(step.flow.axes) <= channel or not _is_channels(step.flow, channel):
        return step.refuse(CHANNELS)
    return _added(step, step.constant(1), step.channels(1))


def _added(step: GraphStep, constant: GraphConstant | None, bias: ChainArray | None) -> Flow:
    last = step.flow.last
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
    if again is not gain or math.prod(epsilon.shape) != 1 or centre is None or spread is None:
        return None
    number = float(epsilon.read().item())
    return BatchNorm(last.name, "BatchNormalization", step.vector(gamma), step.vector(beta), centre, spread, number)


def batch_norm(step: GraphStep, epsilon: float, *, channel: int) -> Flow:
    """Batch normalization by (x, gamma, beta, mean, variance), over an axis of the tensor: the channels of the samples."""
    flow = step.flow
    gamma, beta, mean, variance = (step.channels(place) for place in range(1, 5))
    if len(flow.axes) <= channel or not _is_channels(flow, channel):
        return step.refuse(
            f"normalizes axis {channel} of {list(flow.sizes[1:])}, must be the channels of channels-last samples"
        )
    if gamma is None or beta is None or mean is None or variance is None:
        return step.refuse("must have a gamma, beta, mean and variance for each value of the last axis")
    return flow.then(BatchNorm(*step.names, gamma, beta, mean, variance, epsilon))


def _is_channels(flow: Flow, place: int) -> bool:
    """Whether an axis of the tensor is the channels of the samples, or both have one value."""
    return flow.axes[place].of == len(flow.shape) or (flow.sizes[place] == 1 == flow.shape[-1])


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
