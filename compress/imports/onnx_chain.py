"""A chain of layers from an .onnx file: what torch and tf2onnx write for an autoencoder.

An initializer is one variable, behind whichever operations it is: MatMul and Transpose, Gemm with transB 0 and 1. Initializers
of equal values are different variables. Specification: https://onnx.ai/onnx/operators
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

from ..errors import FormatError, InputError
from ..layer_kinds import Shape
from . import graph, graph_axes
from . import graph_convolutions as convolutions
from . import graph_rows as rows
from .chain import Chain, ChainArray, Refused, stored
from .flow import Flow, GraphConstant, GraphStep, Node, Unread, Value
from .graph import Operations
from .graph_convolutions import Geometry
from .reasons import AVERAGES, EDGES, INTERPOLATED, JOINS, OUTPUT_PADDING, POOLS_ALL, RECURRENT

MIN_OPSET = 7
"""The first opset in which operations broadcast as NumPy does."""
MAX_BYTES = 2**31
"""Upper bound of a protobuf message; larger models use external data."""

_ONNX = ("", "ai.onnx")
"""Names of the domain of the standard's operations."""
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_INTEGERS = (TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8)


Read = Callable[[TensorProto], np.ndarray]
"""The values of a tensor, of its dtype and shape."""


def read_onnx(path: Path) -> Chain:
    """The chain of an .onnx file with one input [batch, …]; its operations that no chain has are `Refused` layers.

    Raises FormatError for a damaged file and for external data that is missing, too short or outside the file's folder;
    InputError for an opset before 7, several inputs, float16, and an input of unknown shape.
    """
    return chain_of_proto(path, _parsed(path), partial(_array, path))


def chain_of_proto(path: Path, model: onnx.ModelProto, read: Read) -> Chain:
    """The chain of a parsed file; `read`: the values of a tensor, which may be none in `model`. Raises as `read_onnx`."""
    _require_readable(path, model)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    values: dict[str, Value] = {name: _constant(path, tensor, name, read) for name, tensor in initializers.items()}
    inputs = {each.name: each for each in model.graph.input if each.name not in initializers}
    name = graph.one_input(str(path), list(inputs))
    values[name] = samples = _start(path, inputs[name])
    nodes = [_node(path, node, _opset(model)) for node in model.graph.node]
    values.update((node.outputs[0], _constant_node(path, node, read)) for node in nodes if node.op == "Constant")
    graph.trace((node for node in nodes if node.op != "Constant"), values, OPERATIONS)
    return graph.chain_to(samples, {each.name: values.get(each.name) for each in model.graph.output}, "ONNX")


def _parsed(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if (size := path.stat().st_size) >= MAX_BYTES:
        raise FormatError(f"{path}: not an ONNX file: it has {size:,} bytes, must be fewer than {MAX_BYTES:,}")
    try:
        return onnx.load_model(path, load_external_data=False)
    except (DecodeError, ValueError):
        raise FormatError(f"{path}: not an ONNX file, or a truncated one") from None


def _require_readable(path: Path, model: onnx.ModelProto) -> None:
    if not model.graph.output or not model.opset_import:
        raise FormatError(f"{path}: not an ONNX file, or a truncated one: it has no graph")
    if (opset := _opset(model)) < MIN_OPSET:
        raise InputError(f"{path}: opset {opset}, must be {MIN_OPSET} or newer: onnx.version_converter converts it")
    _require_text(path, model.graph)


def _opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in _ONNX), default=0)


def _require_text(path: Path, graph: onnx.GraphProto) -> None:
    """Raise FormatError for names that cannot be printed, also those that are not UTF-8, which protobuf returns as bytes."""
    named = [each.name for each in (*graph.input, *graph.output, *graph.initializer)]
    nodes = [text for node in graph.node for text in (node.name, node.op_type, node.domain, *node.input, *node.output)]
    attributes = [each.name for node in graph.node for each in node.attribute]
    if damaged := [text for text in (*named, *nodes, *attributes) if not (isinstance(text, str) and text.isprintable())]:
        raise FormatError(f"{path}: damaged: the name {damaged[0]!r} is not text")


def _start(path: Path, value: ValueInfoProto) -> Flow:
    tensor = value.type.tensor_type
    if tensor.elem_type not in (*_FLOATS, *_INTEGERS):
        dtype = TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type in TensorProto.DataType.values() else "unknown"
        raise InputError(f"{path}: input {value.name}: dtype {dtype.lower()}, must be float32, float64 or integers")
    axes = [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
    return graph.start(str(path), value.name, axes if tensor.HasField("shape") else None)


def _constant(path: Path, tensor: TensorProto, name: str, read: Read) -> GraphConstant:
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).name
    except KeyError:
        raise FormatError(f"{path}: constant {name!r} is damaged: dtype {tensor.data_type}") from None
    return GraphConstant(ChainArray(name, tuple(tensor.dims), partial(read, tensor), dtype))


def _array(path: Path, tensor: TensorProto) -> np.ndarray:
    """The values of a constant, from its external data where it has some."""
    try:
        values = numpy_helper.to_array(tensor, str(path.parent))
        return values.reshape(tuple(tensor.dims))
    except (ValueError, TypeError, KeyError, OSError, checker.ValidationError) as error:
        raise FormatError(f"{path}: constant {tensor.name!r} cannot be read: {_first_line(error)}") from None


def _node(path: Path, node: NodeProto, opset: int) -> Node:
    """A node; an operation of another domain than ONNX is called by it. The operations that are read are checked."""
    op = node.op_type if node.domain in _ONNX else f"{node.domain}.{node.op_type}"
    name = node.name or next(iter(node.output), "")
    if not node.output or not node.output[0]:
        raise FormatError(f"{path}: damaged: a node ({op}) has no output")
    if op in _READ and op != "Constant":  # whose values may be elsewhere
        context = type(checker.DEFAULT_CONTEXT)()
        context.ir_version, context.opset_imports = onnx.IR_VERSION, {"": opset}
        try:
            checker.check_node(node, context)
        except (checker.ValidationError, ValueError) as error:
            raise FormatError(f"{path}: damaged: {name} ({op}): {_first_line(error)}") from None
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute} if op in _READ else {}
    return Node(name, op, tuple(node.input), tuple(node.output), attributes)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _constant_node(path: Path, node: Node, read: Read) -> Value:
    """What a Constant is: its only attribute, an array or numbers."""
    value = next(iter(node.attributes.values()), None)
    if isinstance(value, TensorProto):
        return _constant(path, value, node.outputs[0], read)
    return _computed(node.outputs[0], np.asarray(value)) if isinstance(value, (int, float, list)) else Unread(node)


# Rows, each for opsets 7 and newer.


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
        flow = rows.multiply(step.behind(flow, _computed(f"{step.node.name}:alpha", alpha)))
    if bias is not None and beta != 1:
        bias = _computed(f"{step.node.name}:beta", bias.read() * beta)
    return flow if bias is None else rows.add(step.behind(flow, bias))


def _computed(name: str, values: np.ndarray | float) -> GraphConstant:
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
    return step.flow if step.node.attributes.get("to") in _FLOATS else step.refuse("must compute in float32 or float64")


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
    return pads and Geometry(tuple(sizes), strides, pads, True, dilations, given.get("group", 1))


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
    return _computed(whole.stored.variable, whole.read()[given.get("start", 0) : given.get("end")])


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
        "Max": np.maximum,
        "Min": np.minimum,
    },
    folds={
        "Gather": _gather,
        "Slice": _sliced,
        "Split": lambda values, attributes: tuple(np.split(values[0], len(values[0]))),
        "Concat": lambda values, attributes: np.concatenate(values, axis=attributes.get("axis", 0)),
    },
    keeps=lambda node: node.op == "Identity" or (node.op == "Cast" and node.attributes.get("to") in (*_FLOATS, *_INTEGERS)),
)
_READ = frozenset({*OPERATIONS.rows, *OPERATIONS.reshapes, *OPERATIONS.elementwise, *OPERATIONS.folds, "Constant"})
