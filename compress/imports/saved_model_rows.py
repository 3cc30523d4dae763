"""What operations of SavedModels are, as rows of `graph.Operations`. A file leaves out attributes that have their default."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tiedae.base.windows import Padding

from . import graph_axes
from . import graph_convolutions as convolutions
from . import graph_rows as rows
from .flow import GraphStep, Value
from .graph import Operations
from .graph_convolutions import Geometry, Pads
from .reasons import AVERAGES, DILATED, EDGES, INTERPOLATED, JOINS, PER_CHANNEL, POOLS_ALL, RECURRENT, THREE

FIRST = {"FusedBatchNorm": "y", "FusedBatchNormV2": "y", "FusedBatchNormV3": "y"}
"""Names of the first output of operations that have several."""
FLOATS = (1, 2)
INTEGERS = (3, 4, 6, 9)
"""Of tensorflow.DType: float32, float64; int32, uint8, int8, int64."""


def _matmul(step: GraphStep) -> Value:
    given = step.node.attributes
    if given.get("transpose_a") or given.get("adj_x"):
        return step.refuse("must not transpose the samples")
    return rows.product(step, transposed=bool(given.get("transpose_b") or given.get("adj_y")))


def _is_first(step: GraphStep) -> bool:
    """Whether channels are in front of the other axes."""
    return step.node.attributes.get("data_format", b"NHWC")[:2] == b"NC"


def _channel(step: GraphStep) -> int:
    return 1 if _is_first(step) else len(step.flow.axes) - 1


def _bias_add(step: GraphStep) -> Value:
    return rows.add_channels(step, channel=_channel(step))


def _batch_norm(step: GraphStep) -> Value:
    given = step.node.attributes
    if given.get("is_training", True):
        return step.refuse("must normalize for inference")
    return rows.batch_norm(step, given.get("epsilon", 1e-4), channel=_channel(step))


def _geometry(step: GraphStep, sizes: Sequence[int] | None = None) -> Geometry:
    """The windows that a node states over the axes but batch and channels, of `sizes` or its `ksize`."""
    given, first = step.node.attributes, _is_first(step)

    def between(key: str) -> tuple[int, ...]:
        values = list(given[key].i) if key in given else []
        return tuple(values[2:] if first else values[1:-1])

    explicit = convolutions.explicit_pads(list(given["explicit_paddings"].i)) if "explicit_paddings" in given else ()
    named: dict[bytes, Padding] = {b"SAME": "same", b"VALID": "valid"}
    pads: Pads | Padding = named.get(given.get("padding", b"VALID")) or (explicit[2:] if first else explicit[1:-1])
    sizes = between("ksize") if sizes is None else sizes
    return Geometry(tuple(sizes), between("strides"), pads, first, between("dilations"))


_KERNEL = (0, 1, 2, 3)
"""[height, width, channels, filters], of both directions."""


def _kernel_sizes(step: GraphStep) -> tuple[int, ...]:
    kernel = step.constant(1)
    return () if kernel is None else kernel.shape[:-2]


def _conv(step: GraphStep) -> Value:
    kernel, geometry = step.constant(1), _geometry(step, _kernel_sizes(step))
    inputs = step.flow.sizes[_channel(step)]
    if kernel is not None and len(kernel.shape) == 4 and kernel.shape[2] != inputs and inputs % kernel.shape[2] == 0:
        geometry = replace(geometry, groups=inputs // kernel.shape[2])
    return convolutions.convolution(step, geometry, _KERNEL)


def _conv_transpose(step: GraphStep) -> Value:
    target = step.constant(0)
    if target is None or len(target.shape) != 1 or math.prod(target.shape) != 4:
        return step.refuse("must have a constant shape")
    sizes = [int(size) for size in target.read()]
    lengths = tuple(sizes[2:] if _is_first(step) else sizes[1:-1])
    if sizes[0] != step.flow.batch:
        return step.refuse("must keep the samples of a batch")
    return convolutions.transposed(step, _geometry(step, _kernel_sizes(step)), _KERNEL, lengths)


def _resize(step: GraphStep) -> Value:
    """As compat.v1.image.resize_nearest_neighbor computes it."""
    given, target = step.node.attributes, step.constant(1)
    if target is None or math.prod(target.shape) != 2:
        return step.refuse("must have a constant size")
    mapped = "align_corners" if given.get("align_corners") else "asymmetric"
    mapped = "tf_half_pixel_for_nn" if given.get("half_pixel_centers") else mapped
    lengths = tuple(int(size) for size in target.read().ravel())
    return convolutions.resized(step, lengths, mapped, "floor", first=False)


def _transpose(step: GraphStep) -> Value:
    order = step.constant(1)
    return step.refuse("must have a constant order") if order is None else graph_axes.transposed(step, order.read().tolist())


def _cast(step: GraphStep) -> Value:
    return step.flow if step.node.attributes["DstT"] in FLOATS else step.refuse("must compute in float32 or float64")


def _strided_slice(values: Sequence[np.ndarray], attributes: Mapping[str, Any]) -> np.ndarray:
    """Of a shape, which has one axis."""
    begin, end, stride = (int(each.item()) for each in values[1:4])
    if attributes.get("ellipsis_mask") or attributes.get("new_axis_mask"):
        raise ValueError("axes")
    if attributes.get("shrink_axis_mask"):
        return values[0][begin]
    return values[0][None if attributes.get("begin_mask") else begin : None if attributes.get("end_mask") else end : stride]


def _split(step: GraphStep) -> Value | tuple[Value, ...]:
    axis = rows.number(step.constant(0), math.nan)
    return step.refuse(JOINS) if axis is None or math.isnan(axis) else graph_axes.parted(step, int(axis))


def _concat(step: GraphStep) -> Value:
    axis = rows.number(step.constant(len(step.operands) - 1), math.nan)
    return step.refuse(JOINS) if axis is None or math.isnan(axis) else graph_axes.joined(step, int(axis))


def _squeezed(attributes: Mapping[str, Any]) -> list[int]:
    return list(attributes["squeeze_dims"].i) if "squeeze_dims" in attributes else []


_BLOCKS = ("SpaceToBatchND", "BatchToSpaceND")
"""As Keras 2 writes dilated convolutions."""
_UNCHANGED = frozenset({"Identity", "ReadVariableOp", "StopGradient", "PreventGradient", "EnsureShape", "Snapshot"})

OPERATIONS = Operations(
    rows={
        **{
            op: rows.activation(name)
            for op, name in {
                "Relu": "relu",
                "Relu6": "relu6",
                "Tanh": "tanh",
                "Sigmoid": "sigmoid",
                "LeakyRelu": "leaky_relu",
                "Elu": "elu",
                "Selu": "selu",
                "Softmax": "softmax",
                "Softplus": "softplus",
                "Softsign": "softsign",
            }.items()
        },
        **dict.fromkeys(_UNCHANGED, rows.unchanged),
        **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _matmul),
        **dict.fromkeys(FIRST, _batch_norm),
        **dict.fromkeys(("Add", "AddV2"), rows.add),
        **dict.fromkeys(("Div", "RealDiv"), rows.divide),
        "BiasAdd": _bias_add,
        "Sub": rows.subtract,
        "Mul": rows.multiply,
        "Neg": rows.negate,
        "Maximum": rows.at_least,
        "Minimum": rows.at_most,
        "Cast": _cast,
        "Shape": rows.shape_of,
        "Transpose": _transpose,
        "Tile": lambda step: graph_axes.tiled(step, step.constant(1)),
        "Conv2D": _conv,
        "Conv2DBackpropInput": _conv_transpose,
        "MaxPool": lambda step: convolutions.max_pooling(step, _geometry(step)),
        "ResizeNearestNeighbor": _resize,
        **dict.fromkeys(("ResizeBilinear", "ResizeBicubic"), rows.refusal(f"interpolates values; {INTERPOLATED}")),
        **dict.fromkeys(("Conv3D", "Conv3DBackpropInputV2", "MaxPool3D"), rows.refusal(THREE)),
        **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), rows.refusal(EDGES)),
        **dict.fromkeys(("AvgPool", "AvgPool3D"), rows.refusal(AVERAGES)),
        **dict.fromkeys(("Mean", "Max"), rows.refusal(POOLS_ALL)),
        **dict.fromkeys(("While", "StatelessWhile", "TensorListReserve"), rows.refusal(RECURRENT)),
        "Split": _split,
        **dict.fromkeys(("ConcatV2", "SplitV", "GatherV2", "StridedSlice"), rows.refusal(JOINS)),
        "DepthwiseConv2dNative": rows.refusal(PER_CHANNEL),
        **dict.fromkeys(_BLOCKS, rows.refusal(DILATED)),
    },
    joins={"ConcatV2": _concat},
    reshapes={
        "Reshape": lambda shape, values, _: graph_axes.resolved(values[0], math.prod(shape)),
        "ExpandDims": lambda shape, values, _: graph_axes.with_axes(shape, values[0].ravel().tolist()),
        "Squeeze": lambda shape, _, attributes: graph_axes.without_axes(shape, _squeezed(attributes)),
    },
    elementwise={
        "Add": np.add,
        "AddV2": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "RealDiv": rows.quotient,
        "Neg": np.negative,
        "Rsqrt": rows.reciprocal_root,
        "Sqrt": np.sqrt,
        "Maximum": np.maximum,
        "Minimum": np.minimum,
    },
    folds={
        "StridedSlice": _strided_slice,
        "Pack": lambda values, attributes: np.stack(values, attributes.get("axis", 0)),
        "ConcatV2": lambda values, _: np.concatenate(values[:-1], int(values[-1])),
    },
    keeps=lambda node: node.op in _UNCHANGED or (node.op == "Cast" and node.attributes["DstT"] in (*FLOATS, *INTEGERS)),
)
