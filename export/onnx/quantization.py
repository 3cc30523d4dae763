"""Scales and zero points of the integer constants of an ONNX model, from the operations that read them.

Specification: https://onnx.ai/onnx/operators and
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import NodeProto

from .scopes import ReadScope, attribute, kind

Steps = tuple[tuple[float, ...], tuple[int, ...], int]
"""(scales, zero points, axis of the scales)."""

QUANTIZED_INPUTS: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    **dict.fromkeys(("DequantizeLinear", "com.microsoft.DequantizeLinear"), ((0, 1, 2),)),
    **dict.fromkeys(("QLinearMatMul", "QLinearConv"), ((0, 1, 2), (3, 4, 5))),
    **dict.fromkeys((f"com.microsoft.{name}" for name in ("QGemm", "QLinearAdd", "QLinearMul")), ((0, 1, 2), (3, 4, 5))),
    "com.microsoft.DynamicQuantizeMatMul": ((1, 2, 3),),
    "com.microsoft.MatMulIntegerToFloat": ((0, 2, 4), (1, 3, 5)),
}
"""Indices of an operation's (integers, scale, zero point) inputs."""

SCALED_LATER: Mapping[str, tuple[tuple[int, int], ...]] = dict.fromkeys(("MatMulInteger", "ConvInteger"), ((0, 2), (1, 3)))
"""Indices of (integers, zero point) inputs of products that are scaled later: Cast, then Mul by the product of both scales."""

MOVED = ("Cast", "Gather", "Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")
"""Operations whose values have the scale of their first input, if it has one for all."""

CHAIN = 8
"""Maximum number of such operations that are followed."""


def quantizations(scopes: Sequence[ReadScope]) -> Mapping[tuple[str, str], Mapping[Steps, None]]:
    """The quantizations of each constant, by (prefix of its scope, name)."""
    found: dict[tuple[str, str], dict[Steps, None]] = {}
    for scope in scopes:
        for name, constants in scope.annotated.items():
            _add_annotated(found, scope, name, constants)
        for node in scope.nodes:
            operation = kind(node)
            for data, scale, zero_point in QUANTIZED_INPUTS.get(operation, ()):
                _add(found, scope, node, data, scope.value(node, scale), zero_point)
            for data, zero_point in SCALED_LATER.get(operation, ()):
                _add(found, scope, node, data, _later(scope, node, data), zero_point)
    return found


def _add(
    found: dict[tuple[str, str], dict[Steps, None]],
    scope: ReadScope,
    node: NodeProto,
    data: int,
    scales: tuple[float, ...],
    zero_point: int,
) -> None:
    constant = _constant(scope, node.input[data], each=len(scales) > 1) if data < len(node.input) and scales else None
    if constant:
        owner, name = constant
        zero_points = tuple(int(value) for value in scope.value(node, zero_point)) or (0,) * len(scales)
        axis = _axis(node, owner.stored[name][0].ndim) if len(scales) > 1 else 0
        found.setdefault((owner.prefix, name), {})[scales, zero_points, axis] = None


def _add_annotated(
    found: dict[tuple[str, str], dict[Steps, None]], scope: ReadScope, name: str, constants: Sequence[str]
) -> None:
    """An annotation names no axis: scales of channels are those of the last axis of their number, before axes of windows."""
    scales, zero_points = map(scope.values, constants)
    if name not in scope.stored or not scales:
        return
    shape = scope.stored[name][0].shape
    axis = max((axis for axis, length in enumerate(shape[:2]) if length == len(scales)), default=0) if len(scales) > 1 else 0
    whole = tuple(int(value) for value in zero_points) or (0,)
    found.setdefault((scope.prefix, name), {})[scales, whole * (len(scales) // len(whole)), axis] = None


def _constant(scope: ReadScope, name: str, *, each: bool) -> tuple[ReadScope, str] | None:
    """The constant that a value is made of: through a Cast, which widens 4-bit integers, or, unless it has a scale for `each`
    channel, through all operations that move values."""
    for _ in range(CHAIN):
        found = scope.find(name)
        node = None if found else scope.producers.get(name)
        if node is None or kind(node) not in (("Cast",) if each else MOVED) or not node.input:
            return found
        name = node.input[0]
    return None


def _later(scope: ReadScope, node: NodeProto, factor: int) -> tuple[float, ...]:
    """Scales of a factor of an integer product, in the order of ONNX Runtime's quantizer; empty if they are not found."""
    product = next(iter(node.output), "")
    readers = scope.readers.get(product, ())
    if len(readers) == 1 and kind(readers[0]) == "Cast":
        product = next(iter(readers[0].output), "")
        readers = scope.readers.get(product, ())
    if len(readers) != 1 or kind(readers[0]) != "Mul":
        return ()
    scales = [scope.producers.get(name) for name in readers[0].input if name != product]
    if len(scales) != 1 or scales[0] is None or kind(scales[0]) != "Mul":
        return ()
    return scope.value(scales[0], factor)


def _axis(node: NodeProto, rank: int) -> int:
    """Dimension of a node's per-channel scales."""
    if kind(node) in ("QLinearConv", "ConvInteger"):
        return 0
    if kind(node) == "com.microsoft.QGemm":
        return 1 - attribute(node, "transB", 0)
    axis = attribute(node, "axis", 1)
    return axis + rank if axis < 0 else min(axis, max(rank - 1, 0))
