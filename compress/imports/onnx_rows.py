"""What operations of .onnx files are, as rows of `graph.Operations`: of the samples, and of constants."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto

from tiedae.config.layer_kinds import Shape

from . import graph_axes
from . import graph_convolutions as convolutions
from . import graph_rows as rows
from .chain import Refused, stored
from .flow import GraphConstant, GraphStep, Value
from .graph import Operations
from .graph_convolutions import Geometry
from .reasons import AVERAGES, EDGES, INTERPOLATED, JOINS, OUTPUT_PADDING, POOLS_ALL, RECURRENT

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
INTEGERS = (TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8)


def _matmul(step: GraphStep) -> Value:
    return rows.product(step) if step.operands[0] is step.flow else step.refuse("must have the samples as its first input")


def _gemm(step: GraphStep) -> Value:
    """alpha · x · kernel + beta · bias."""
    numbers, bias = step.node.attributes, step.constant(2)
    alpha, beta = numbers.get("alpha", 1.0), numbers.get("beta", 1.0)
    if numbers.get("transA", 0) or step.operands[0] is not step.flow or len(step.flow.axes) != 2:
        return step.refuse("must multiply samples [batch, inputs] by a kernel")
    flow = rows.product(step, transposed=bool(numbers.get("transB", 0)))
    if isinstance(flow.last, Refused) or (alpha == 1 and bias is None):
        return flow
    if alpha != 1:
        flow = rows.multiply(step.behind(flow, computed(f"{step.node.name}:alpha", alpha)))
    if bias is not None and beta != 1:
        bias = computed(f"{step.node.name}:beta", bias.read() * beta)
    return flow if bias is None else rows.add(step.behind(flow, bias))


def computed(name: str, values: np.ndarray | float) -> GraphConstant:
    return GraphConstant(stored(name, np.asarray(values)))


def _batch_norm(step: GraphStep) -> Value:
    if step.node.attributes.get("training_mode", 0) or any(step.node.outputs[1:]):
        return step.refuse("is in training mode: export the model for inference")
    return rows.batch_norm(step, step.node.attributes.get("epsilon", 1e-5), channel=1)


def _dropout(step: GraphStep) -> Value:
    training = step.constant(2)
    if training is not None and training.read().any():
        return step.refuse("is in training mode: export the model for inference")
    return rows.left_out(step)


def _cast(step: GraphStep) -> Value:
    return step.flow if step.node.attributes.get("to") in FLOATS else step.refuse("must compute in float32 or float64")


def _clip(step: GraphStep) -> Value:
    given = step.node.attributes
    bounds = [rows.number(step.constant(i), given.get(key, default)) for i, key, default in _BOUNDS]
    low, high = (
        None if bound is None else bound if abs(bound) < _LARGEST else math.copysign(math.inf, bound) for bound in bounds
    )
    return step.refuse("must have numbers as bounds") if low is None or high is None else rows.clip(step, low, high)


_BOUNDS = ((1, "min", -math.inf), (2, "max", math.inf))
_LARGEST = 3e38
"""A bound of this size is none."""


def _flattened(shape: Shape, _: Sequence[np.ndarray], attributes: Mapping[str, Any]) -> Shape:
    axis = attributes.get("axis", 1) % len(shape)
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def _reshaped(shape: Shape, values: Sequence[np.ndarray], attributes: Mapping[str, Any]) -> Shape:
    """0 means the axis as it was, unless it is allowed."""
    target = values[0]
    if not attributes.get("allowzero", 0):
        target = np.array([shape[i] if size == 0 else size for i, size in enumerate(target)])
    return graph_axes.resolved(target, math.prod(shape))


def _transpose(step: GraphStep) -> Value:
    return graph_axes.transposed(step, step.node.attributes.get("perm", range(len(step.flow.axes))[::-1]))


def _geometry(step: GraphStep, sizes: Sequence[int]) -> Geometry | None:
    """The windows that a node states; None where it has other padding than pads or those of a name."""
    given, count = step.node.attributes, len(sizes)
    named = {"NOTSET": convolutions.pads_of(given.get("pads", [0] * 2 * count)), "VALID": "valid", "SAME_UPPER": "same"}
    pads = named.get(given.get("auto_pad", b"NOTSET").decode())
    strides, dilations = (tuple(given.get(key, [1] * count)) for key in ("strides", "dilations"))
    return None if pads is None else Geometry(tuple(sizes), strides, pads, True, dilations, given.get("group", 1))


def _kernel_sizes(step: GraphStep) -> tuple[int, ...]:
    kernel = step.constant(1)
    return () if kernel is None else kernel.shape[2:]


_LOWER = 'has padding SAME_LOWER; padding "same" (SAME_UPPER) or "valid" would do'


def _conv(step: GraphStep) -> Value:
    geometry = _geometry(step, _kernel_sizes(step))
    if geometry is None:
        return step.refuse(_LOWER)
    return convolutions.convolution(step, geometry, _order(geometry), step.constant(2))


def _order(geometry: Geometry) -> tuple[int, ...]:
    """[filters, channels, *axes] as [*axes, channels, filters], of a transposed convolution too."""
    return (*range(2, len(geometry.sizes) + 2), 1, 0)


def _conv_transpose(step: GraphStep) -> Value:
    """Source: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html"""
    geometry, given = _geometry(step, _kernel_sizes(step)), step.node.attributes
    if geometry is None:
        return step.refuse(_LOWER)
    places = step.flow.sizes[2:]
    if len(places) != len(geometry.sizes):
        return step.refuse(f"takes {list(step.flow.sizes[1:])}, must be {len(geometry.sizes)} axes and channels")
    extra = given.get("output_padding", [0] * len(places))
    full = convolutions.full_lengths(places, geometry.sizes, geometry.strides)
    if geometry.pads == "same":
        lengths = tuple(count * stride for count, stride in zip(places, geometry.strides, strict=True))
    elif "output_shape" in given:
        lengths = tuple(given["output_shape"][-len(places) :])
        totals = [whole + more - length for whole, more, length in zip(full, extra, lengths, strict=True)]
        geometry = replace(geometry, pads=tuple((total - total // 2, total // 2) for total in totals))
    else:
        pads = ((0, 0),) * len(places) if isinstance(geometry.pads, str) else geometry.pads
        lengths = tuple(whole + more - sum(pad) for whole, more, pad in zip(full, extra, pads, strict=True))
    flow = convolutions.transposed(step, geometry, _order(geometry), lengths, step.constant(2))
    if any(extra) and isinstance(flow.last, Refused):
        return step.refuse(f"{flow.last.reason}; {OUTPUT_PADDING}")
    return flow


def _max_pool(step: GraphStep) -> Value:
    given = step.node.attributes
    geometry = _geometry(step, given["kernel_shape"])
    if geometry is None:
        return step.refuse(_LOWER)
    sizes = zip(step.flow.sizes[2:], geometry.sizes, strict=False)
    if given.get("ceil_mode", 0) and any(length % size for length, size in sizes):
        return step.refuse("takes windows beyond the samples (ceil_mode); windows that divide each axis would do")
    return convolutions.max_pooling(step, geometry)


def _slice(step: GraphStep) -> Value:
    """Edges that are cut off."""
    given, sizes = step.node.attributes, step.flow.sizes
    parts = [step.constant(i) for i in range(1, len(step.operands))]
    if step.operands[0] is not step.flow or (not parts and "starts" not in given):
        return step.refuse("must have constant starts and ends")
    starts, ends, *rest = (given[key] for key in ("starts", "ends")) if not parts else (_integers(part) for part in parts)
    axes = (rest[0] if rest else given.get("axes")) or range(len(starts))
    steps = rest[1] if len(rest) > 1 and rest[1] else [1] * len(starts)
    if any(each != 1 for each in steps) or not len(starts) == len(ends) == len(axes):
        return step.refuse("leaves values between others out")
    spans = {axis % len(sizes): slice(*span).indices(sizes[axis])[:2] for axis, *span in zip(axes, starts, ends, strict=True)}
    return convolutions.cropped(step, spans)


def _integers(constant: GraphConstant | None) -> list[int]:
    return [] if constant is None else [int(value) for value in np.ravel(constant.read())]


def _pad(step: GraphStep) -> Value:
    """Zeros at edges."""
    given, sizes = step.node.attributes, step.flow.sizes
    counts = _integers(step.constant(1)) or list(given.get("pads", ()))
    value = rows.number(step.constant(2), given.get("value", 0.0))
    axes = _integers(step.constant(3)) or list(range(len(sizes)))
    if step.operands[0] is not step.flow or len(counts) != 2 * len(axes):
        return step.refuse("must have constant pads")
    if any(counts) and (given.get("mode", b"constant") != b"constant" or value != 0):
        return step.refuse(EDGES)
    spans = zip(axes, convolutions.pads_of(counts), strict=True)
    return convolutions.cropped(step, {axis: (-before, sizes[axis] + after) for axis, (before, after) in spans})


def _resize(step: GraphStep) -> Value:
    """Upsampling, by scales or to sizes, the last inputs."""
    given, sizes = step.node.attributes, step.flow.sizes
    if (mode := given.get("mode", b"nearest").decode()) != "nearest":
        return step.refuse(f"interpolates values, {mode}; {INTERPOLATED}")
    last = next((step.constant(place) for place in range(len(step.operands) - 1, 0, -1) if step.operands[place]), None)
    if step.operands[0] is not step.flow or (last is None and "scales" not in given) or "axes" in given:
        return step.refuse("must have constant scales or sizes of all axes")
    values = np.asarray(given["scales"]) if last is None else last.read()
    lengths = values if values.dtype.kind in "iu" else np.floor(np.asarray(sizes, np.float64) * values)
    if len(values) != len(sizes) or list(lengths[:2]) != list(sizes[:2]):
        return step.refuse(f"gives {list(lengths)} of {list(sizes)}, must keep batch and channels")
    is_upsample = step.node.op == "Upsample"
    mapped = given.get("coordinate_transformation_mode", b"asymmetric" if is_upsample else b"half_pixel").decode()
    rounded = given.get("nearest_mode", b"floor" if is_upsample else b"round_prefer_floor").decode()
    return convolutions.resized(step, tuple(int(length) for length in lengths[2:]), mapped, rounded, first=True)


def _shape(step: GraphStep) -> Value:
    given, whole = step.node.attributes, rows.shape_of(step)
    return computed(whole.stored.variable, whole.read()[given.get("start", 0) : given.get("end")])


FUNCTIONS: Mapping[str, str] = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "LeakyRelu": "leaky_relu",
    "PRelu": "prelu",
    "Elu": "elu",
    "Selu": "selu",
    "Celu": "celu",
    "Gelu": "gelu",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "HardSigmoid": "hard_sigmoid",
    "HardSwish": "hard_silu",
    "Mish": "mish",
    "Swish": "silu",
}
"""Keras' names of the activations; of those with parameters the name alone."""


def _gather(values: Sequence[np.ndarray], attributes: Mapping[str, Any]) -> np.ndarray:
    return np.take(values[0], values[1], axis=attributes.get("axis", 0))


def _sliced(values: Sequence[np.ndarray], attributes: Mapping[str, Any]) -> np.ndarray:
    """Of a shape, which has one axis."""
    starts, ends = (int(np.asarray(each).item()) for each in (values[1:3] or (attributes["starts"], attributes["ends"])))
    return values[0][starts : ends : int(values[4].item()) if len(values) > 4 else 1]


def _axes(values: Sequence[np.ndarray], attributes: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(np.ravel(values[0] if values else attributes.get("axes", ())).tolist())


OPERATIONS = Operations(
    rows={
        **{op: rows.activation(name) for op, name in FUNCTIONS.items()},
        "MatMul": _matmul,
        "Gemm": _gemm,
        "Add": rows.add,
        "Sub": rows.subtract,
        "Mul": rows.multiply,
        "Div": rows.divide,
        "Neg": rows.negate,
        "BatchNormalization": _batch_norm,
        "Clip": _clip,
        "Max": rows.at_least,
        "Min": rows.at_most,
        "Identity": rows.unchanged,
        "Cast": _cast,
        "Dropout": _dropout,
        "Shape": _shape,
        "Transpose": _transpose,
        "Tile": lambda step: graph_axes.tiled(step, step.constant(1)),
        "Conv": _conv,
        "ConvTranspose": _conv_transpose,
        "MaxPool": _max_pool,
        "Slice": _slice,
        "Pad": _pad,
        "Resize": _resize,
        "Upsample": _resize,
        **dict.fromkeys(("AveragePool", "LpPool"), rows.refusal(AVERAGES)),
        **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"), rows.refusal(POOLS_ALL)),
        **dict.fromkeys(("LSTM", "GRU", "RNN", "Scan", "Loop"), rows.refusal(RECURRENT)),
        "Split": lambda step: graph_axes.parted(step, step.node.attributes.get("axis", 0)),
        **dict.fromkeys(("Concat", "Gather"), rows.refusal(JOINS)),
    },
    joins={"Concat": lambda step: graph_axes.joined(step, step.node.attributes["axis"])},
    reshapes={
        "Flatten": _flattened,
        "Reshape": _reshaped,
        "Unsqueeze": lambda shape, values, attributes: graph_axes.with_axes(shape, _axes(values, attributes)),
        "Squeeze": lambda shape, values, attributes: graph_axes.without_axes(shape, _axes(values, attributes)),
    },
    elementwise={
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": rows.quotient,
        "Neg": np.negative,
        "Sqrt": np.sqrt,
        "Reciprocal": np.reciprocal,
        "Max": lambda *values: functools.reduce(np.maximum, values),
        "Min": lambda *values: functools.reduce(np.minimum, values),
    },
    folds={
        "Gather": _gather,
        "Slice": _sliced,
        "Split": lambda values, attributes: tuple(np.split(values[0], len(values[0]))),
        "Concat": lambda values, attributes: np.concatenate(values, axis=attributes.get("axis", 0)),
    },
    keeps=lambda node: node.op == "Identity" or (node.op == "Cast" and node.attributes.get("to") in (*FLOATS, *INTEGERS)),
)
READ = frozenset({*OPERATIONS.rows, *OPERATIONS.reshapes, *OPERATIONS.elementwise, *OPERATIONS.folds, "Constant"})
