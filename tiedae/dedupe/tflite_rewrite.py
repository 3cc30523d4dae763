"""Rewrites operators of a .tflite file to read a constant from the buffer that holds its transpose.

FULLY_CONNECTED reads weights [units, inputs]. Over the transposed buffer it becomes BATCH_MATMUL with `adj_y` false, then ADD
of the bias with the fused activation. XNNPACK packs either layout at load, so the speed is that of FULLY_CONNECTED. For
BATCH_MATMUL only `adj_y` is toggled.

In int8 the product needs its own quantization, with the narrowest range that the output allows: the output saturates at
[lo, hi], its range narrowed by the fused activation, so channel j of the product matters only within [lo − bias_j, hi − bias_j]
and the range of inputs times kernel. Without a bias, the product has the output's quantization and saturates like the
activation.

Where float inputs are quantized at run time (dynamic range), BATCH_MATMUL does so as FULLY_CONNECTED does: the products are
equal in every bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tiedae.compress.affine import BYTE, SIGNED_SHIFT, affine_parameters, quantize, representable, signed
from tiedae.export.tflite.graph import (
    TfliteGraph,
    TfliteUse,
    has_scales,
    is_int8,
    scales_of,
    shape_of,
    swap_axes,
    zero_points_of,
)
from tiedae.export.tflite.schema import OPTIONS, Op, Type, int32, quantization, vector

Activation = schema.ActivationFunctionType
INFINITY = float("inf")
CLAMPS = {
    Activation.NONE: (-INFINITY, INFINITY),
    Activation.RELU: (0.0, INFINITY),
    Activation.RELU6: (0.0, 6.0),
    Activation.RELU_N1_TO_1: (-1.0, 1.0),
}
"""Output range of the activations that ADD can fuse."""
ALONE = {Activation.RELU: Op.RELU, Activation.RELU6: Op.RELU6}
MAX_RANK = 4
HYBRID = 4
"""Version of BATCH_MATMUL that quantizes float inputs as FULLY_CONNECTED does."""
FINEST = 2.0**-9
"""Minimum step of a constant relative to the output's: XNNPACK does not take an ADD whose scales differ by 2¹⁰."""


@dataclass(frozen=True, eq=False)
class Replacement:
    """The constant that replaces another: its values, in its own layout.

    `scales`, one or one per row, replace the other's scales (for near duplicates) unless None.
    """

    values: np.ndarray = field(repr=False)
    transposed: bool
    scales: np.ndarray | None = None


@dataclass(frozen=True)
class Rewrite:
    """A planned change: a short description and the function that applies it. `turns`: whether a transposed constant takes the
    other's shape."""

    how: str
    apply: Callable[[], None]
    turns: bool = True


def plan_use(use: TfliteUse, view: Replacement) -> Rewrite | str:
    """Plan how a reader takes the replacement; the reason as text if it cannot."""
    name, code = use.graph.operator_name(use.operator), use.graph.code(use.operator)
    planner = _PLANNERS.get(code)
    if planner is None:
        return _REASONS.get(name, f"{name} reads it as stored")
    options = use.operator.builtinOptions
    if len(vector(use.operator.outputs)) != 1 or not isinstance(options, OPTIONS.get(code, object) | None):
        return f"{name} has not the outputs or the options of one"
    return planner(use, view)


def _gather(use: TfliteUse, view: Replacement) -> Rewrite | str:
    if view.transposed:
        return "GATHER reads its rows"
    return "GATHER has the scale of its output" if view.scales is not None else Rewrite("GATHER on a view", lambda: None)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A FULLY_CONNECTED and the indices of its tensors: x, weights [units, inputs], bias (-1 if none), y."""

    graph: TfliteGraph
    operator: Any
    x: int
    weights: int
    bias: int
    y: int

    @classmethod
    def of(cls, use: TfliteUse) -> _Layer:
        x, weights, *bias = map(int, use.operator.inputs)
        return cls(use.graph, use.operator, x, weights, bias[0] if bias else -1, int(use.operator.outputs[0]))

    @property
    def activation(self) -> int:
        return self.operator.builtinOptions.fusedActivationFunction

    @property
    def tensors(self) -> tuple[Any, Any, Any]:
        """x, weights and y."""
        return self.graph.tensor(self.x), self.graph.tensor(self.weights), self.graph.tensor(self.y)

    @property
    def real_bias(self) -> np.ndarray:
        """float64 [units]; zeros without a bias."""
        values = self.graph.values(self.bias) if self.bias >= 0 else None
        if values is None:
            return np.zeros(shape_of(self.graph.tensor(self.weights))[0])
        return values.astype(np.float64) * scales_of(self.graph.tensor(self.bias)).astype(np.float64)

    @property
    def saturates(self) -> bool:
        """Whether the product can be y: there is no bias, and the range of y already applies the activation."""
        low, high = _representable(self.graph.tensor(self.y))
        least, most = CLAMPS[self.activation]
        values = self.graph.values(self.bias) if self.bias >= 0 else None
        return (values is None or not values.any()) and least <= low and high <= most

    @property
    def is_hybrid(self) -> bool:
        """Whether float inputs are quantized at run time, for an int8 kernel."""
        return tuple(tensor.type for tensor in self.tensors) == (Type.FLOAT32, Type.INT8, Type.FLOAT32)

    def product(self, x: int, y: int) -> Any:
        version = HYBRID if self.is_hybrid else 2 if self.graph.tensor(self.weights).type == Type.INT8 else 1
        made = self.graph.operator(Op.BATCH_MATMUL, version, [x, self.weights], y)
        made.builtinOptions.asymmetricQuantizeInputs = self.operator.builtinOptions.asymmetricQuantizeInputs
        return made

    def add(self, x: int, bias: int) -> Any:
        """ADD of a bias with the fused activation."""
        version = 2 if self.graph.tensor(self.y).type == Type.INT8 else 1
        return self.graph.operator(Op.ADD, version, [x, bias], self.y, self.activation)


def _dense(use: TfliteUse, view: Replacement) -> Rewrite | str:
    reason = _unfit(use)
    if reason:
        return reason
    layer = _Layer.of(use)
    x, weights, y = layer.tensors
    floats = all(tensor.type == Type.FLOAT32 for tensor in layer.tensors)
    int8 = all(tensor.type == Type.INT8 for tensor in layer.tensors)
    if not floats and not int8 and not layer.is_hybrid:
        return "FULLY_CONNECTED has inputs of several types, which BATCH_MATMUL does not take"
    if not floats and not (has_scales(weights) and (layer.is_hybrid or (is_int8(x) and is_int8(y)))):
        return "FULLY_CONNECTED has no scales that int8 can be computed with"
    if not view.transposed:
        return _rescaled(layer, view)
    if int8 and layer.bias >= 0 and not _is_bias(use.graph, layer.bias, shape_of(weights)[0]):
        return "the bias of FULLY_CONNECTED is no int32 constant with scales"
    reason = _unfit_for_product(layer)
    if reason:
        return reason
    if floats:
        return Rewrite("FULLY_CONNECTED → BATCH_MATMUL on a view", lambda: _to_product(layer))
    if np.any(zero_points_of(weights)):
        return "its zero point is not 0"
    scales = scales_of(weights) if view.scales is None else view.scales
    before = "MUL + " if view.scales is not None and np.unique(scales).size > 1 else ""
    if layer.is_hybrid:
        if weights.quantization.quantizedDimension or scales_of(weights).size not in (1, shape_of(weights)[0]):
            return "its scales are not along the units"
        return Rewrite(f"FULLY_CONNECTED → {before}BATCH_MATMUL on a view", lambda: _to_hybrid_product(layer, view))
    if view.scales is None and np.unique(scales).size != 1:
        return f"it has {scales.size} scales along the axis that is kept, BATCH_MATMUL takes one"
    after = "" if layer.saturates else " + ADD"
    return Rewrite(f"FULLY_CONNECTED → {before}BATCH_MATMUL{after} on a view", lambda: _to_int8_product(layer, view, scales))


def _convolution(use: TfliteUse, view: Replacement) -> Rewrite | str:
    name = use.graph.operator_name(use.operator)
    if view.transposed:
        return f"{name} {_CONVOLUTION}"
    if use.slot != 1:
        return f"{name} does not read it as its kernel"
    return _rescaled(_Layer.of(use), view)


def _rescaled(layer: _Layer, view: Replacement) -> Rewrite | str:
    """Give a kernel of the same order the scales of another."""
    x, weights, y = layer.tensors
    name = layer.graph.operator_name(layer.operator)
    if not layer.is_hybrid and not (is_int8(x) and weights.type == Type.INT8 and is_int8(y)):
        return f"{name} is not computed with int8 kernels"
    if not layer.is_hybrid and layer.bias >= 0 and not _is_bias(layer.graph, layer.bias, shape_of(weights)[0]):
        return f"the bias of {name} is no int32 constant with scales"
    return Rewrite(f"{name} with the other's scales", lambda: _rescale(layer, view))


def _is_bias(graph: TfliteGraph, index: int, units: int) -> bool:
    tensor, values = graph.tensor(index), graph.values(index)
    sizes = values is not None and values.size == units and scales_of(tensor).size in (1, units)
    return sizes and tensor.type == Type.INT32 and has_scales(tensor)


def _unfit(use: TfliteUse) -> str:
    options = use.operator.builtinOptions
    if use.slot != 1 or use.operator.inputs[0] < 0:
        return "FULLY_CONNECTED does not read it as weights"
    if options is None or options.weightsFormat != schema.FullyConnectedOptionsWeightsFormat.DEFAULT:
        return "FULLY_CONNECTED has its weights shuffled"
    if options.fusedActivationFunction not in CLAMPS:
        return "ADD cannot fuse the activation of FULLY_CONNECTED"
    return ""


def _unfit_for_product(layer: _Layer) -> str:
    x, weights, y = map(shape_of, layer.tensors)
    keeps = layer.operator.builtinOptions.keepNumDims or len(x) == 2
    if not keeps or not 2 <= len(x) <= MAX_RANK or x[-1] != weights[1] or len(y) != len(x):
        return f"FULLY_CONNECTED flattens its input {list(x)}, BATCH_MATMUL keeps its axes"
    if layer.activation not in (Activation.NONE, *ALONE) and layer.bias < 0:
        return "without a bias there is no ADD that could fuse the activation"
    return ""


def _to_product(layer: _Layer, scales: np.ndarray | None = None) -> None:
    """Float FULLY_CONNECTED → [MUL by scales along the summed axis] → BATCH_MATMUL → [ADD of the bias or the activation]."""
    graph, x, before = layer.graph, layer.x, []
    if scales is not None:
        factors = graph.add_constant((graph.tensor(x).name or b"") + b".factors", (scales / scales.max()).astype(np.float32))
        scaled = graph.add_like(x, b".scaled")
        before, x = [graph.operator(Op.MUL, 1, [x, factors], scaled)], scaled
    if layer.bias < 0 and layer.activation == Activation.NONE:
        graph.replace(layer.operator, [*before, layer.product(x, layer.y)])
        return
    inner = graph.add_like(layer.y, b".product")
    alone = layer.bias < 0
    after = graph.operator(ALONE[layer.activation], 1, [inner], layer.y) if alone else layer.add(inner, layer.bias)
    graph.replace(layer.operator, [*before, layer.product(x, inner), after])


def _to_hybrid_product(layer: _Layer, view: Replacement) -> None:
    """The same with an int8 kernel: its scales per unit stay, along its other axis now, or the other's take their place."""
    weights = layer.graph.tensor(layer.weights)
    if view.scales is None:
        weights.quantization = quantization(scales_of(weights), axis=1 if scales_of(weights).size > 1 else 0)
    else:
        weights.quantization = quantization([float(view.scales.max())])
    _to_product(layer, view.scales if view.scales is not None and np.unique(view.scales).size > 1 else None)


def _to_int8_product(layer: _Layer, view: Replacement, scales: np.ndarray) -> None:
    """int8 FULLY_CONNECTED → [MUL by scales along the summed axis] → BATCH_MATMUL → [ADD of an int8 bias]."""
    graph, x, before = layer.graph, layer.x, []
    if np.unique(scales).size > 1:
        before, x = _scaled_input(graph, x, scales)
    graph.tensor(layer.weights).quantization = quantization([float(scales.max())])
    if layer.saturates:
        graph.replace(layer.operator, [*before, layer.product(x, layer.y)])
        return
    real = view.values.astype(np.float64) * np.broadcast_to(scales, len(view.values))[:, None]
    reach, bias = _reach(graph.tensor(x), real), layer.real_bias
    (low, high), clamp = _representable(graph.tensor(layer.y)), CLAMPS[layer.activation]
    lows = np.maximum(max(low, clamp[0]) - bias, reach[0])
    highs = np.minimum(min(high, clamp[1]) - bias, reach[1])
    step = float(scales_of(graph.tensor(layer.y))[0])
    inner = graph.add_like(layer.y, b".product", *_affine(lows.min(), highs.max(), step))
    scale, zero_point = _affine(bias.min(), bias.max(), step)
    stored, table = quantize(bias, scale, zero_point, "int8"), quantization([scale], zero_point)
    name = (graph.tensor(layer.bias).name or b"") if layer.bias >= 0 else (graph.tensor(layer.y).name or b"") + b".bias"
    constant = graph.add_constant(name, stored, table, instead=layer.bias)
    graph.replace(layer.operator, [*before, layer.product(x, inner), layer.add(inner, constant)])


def _scaled_input(graph: TfliteGraph, x: int, scales: np.ndarray) -> tuple[list[Any], int]:
    """MUL of the input by s_j / s_max, which replaces kernel scales along the summed axis."""
    tensor = graph.tensor(x)
    stored = signed(BYTE.quantize(scales / scales.max()))
    constant = graph.add_constant((tensor.name or b"") + b".factors", stored, quantization([BYTE.scale], -SIGNED_SHIFT))
    scaled = graph.add_like(x, b".scaled", float(scales_of(tensor)[0]), int(zero_points_of(tensor)[0]))
    return [graph.operator(Op.MUL, 2, [x, constant], scaled)], scaled


def _representable(tensor: Any) -> tuple[float, float]:
    return representable(float(scales_of(tensor)[0]), int(zero_points_of(tensor)[0]), "int8")


def _reach(x: Any, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest product per channel for inputs in the range of `x`; `kernel` is [inputs, units]."""
    low, high = _representable(x)
    ends = np.stack([low * kernel, high * kernel])
    return ends.min(0).sum(0), ends.max(0).sum(0)


def _affine(low: float, high: float, step: float) -> tuple[float, int]:
    """Int8 scale and zero point for [low, high] and 0, with a scale of at least `FINEST` · `step`."""
    scale, zero_point = affine_parameters(low, high, finest=step * FINEST)
    return scale, zero_point - SIGNED_SHIFT


def _rescale(layer: _Layer, view: Replacement) -> None:
    """Set the other's scales, and requantize an int32 bias. Where XNNPACK requires a scale per unit, their number stays."""
    if view.scales is None:
        return
    x, weights, _ = layer.tensors
    any_number = not layer.is_hybrid and layer.graph.code(layer.operator) == Op.FULLY_CONNECTED
    scales = view.scales if any_number else np.broadcast_to(view.scales, max(view.scales.size, scales_of(weights).size))
    weights.quantization = quantization(scales)
    if layer.bias >= 0 and not layer.is_hybrid:
        units = scales_of(x)[0] * scales
        stored = quantize(layer.real_bias, units.astype(np.float64), 0, "int32")
        name, table = layer.graph.tensor(layer.bias).name, quantization(units)
        bias = layer.graph.add_constant(name, stored, table, instead=layer.bias)
        layer.operator.inputs = int32([layer.x, layer.weights, bias])


def _batch_product(use: TfliteUse, view: Replacement) -> Rewrite | str:
    """BATCH_MATMUL of (x, y); with `adj_y`, y is [units, inputs]."""
    if not view.transposed and view.scales is None:
        return Rewrite("BATCH_MATMUL on a view", lambda: None)
    weights = use.graph.tensor(int(use.operator.inputs[use.slot]))
    if view.scales is not None and (view.scales.size > 1 or not is_int8(weights)):
        return f"BATCH_MATMUL takes one scale, the other has {view.scales.size}"
    if use.slot != 1:
        return "BATCH_MATMUL reads it on its left side, where XNNPACK does not take a transpose"
    if scales_of(weights).size > 1:
        return "BATCH_MATMUL has several scales along an axis"

    def transpose() -> None:
        if view.scales is not None:
            weights.quantization = quantization(view.scales)
        if not view.transposed:
            return
        options = use.operator.builtinOptions or schema.BatchMatMulOptionsT()
        use.operator.builtinOptions = schema.BatchMatMulOptionsT(**{**vars(options), "adjY": not options.adjY})
        use.operator.builtinOptionsType = schema.BuiltinOptions.BatchMatMulOptions

    return Rewrite("BATCH_MATMUL with adj_y toggled, on a view" if view.transposed else "BATCH_MATMUL on a view", transpose)


def _dequantize(use: TfliteUse, view: Replacement) -> Rewrite | str:
    """DEQUANTIZE of float16: all readers of its output must take the transpose."""
    graph, output = use.graph, int(use.operator.outputs[0])
    tensor = graph.tensor(output)
    if not view.transposed and view.scales is None:
        return Rewrite("DEQUANTIZE on a view", lambda: None)
    if graph.tensor(int(use.operator.inputs[use.slot])).type != Type.FLOAT16 or tensor.type != Type.FLOAT32:
        return "DEQUANTIZE of integers has their scales"
    if graph.is_input_or_output(output):
        return "it is dequantized for an output of its subgraph"
    plans = [plan_use(reader, view) for reader in graph.uses(output)]
    refused = [plan for plan in plans if isinstance(plan, str)]

    def transpose() -> None:
        for plan in plans:
            assert isinstance(plan, Rewrite)
            plan.apply()
        swap_axes(tensor)

    return refused[0] if refused else Rewrite(f"DEQUANTIZE on a view, {'; '.join(sorted(p.how for p in plans))}", transpose)  # type: ignore[union-attr]


_PLANNERS: Mapping[int, Callable[[TfliteUse, Replacement], Rewrite | str]] = {
    Op.FULLY_CONNECTED: _dense,
    Op.CONV_2D: _convolution,
    Op.BATCH_MATMUL: _batch_product,
    Op.GATHER: _gather,
    Op.DEQUANTIZE: _dequantize,
}
_CONVOLUTION = "reads its kernel in one order of the axes; equal kernels of the type of the input alone are views in another"
_REASONS = {
    "EMBEDDING_LOOKUP": "EMBEDDING_LOOKUP reads its rows",
    **{name: f"{name} {_CONVOLUTION}" for name in ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D")},
    "TRANSPOSE": "TRANSPOSE of a constant at run time is slow and leaves XNNPACK",
}
