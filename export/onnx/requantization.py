"""Requantization that is exact where ONNX Runtime's own is not: sums of integers as float32, and one factor.

DequantizeLinear with scale 1 gives x less its zero point; Mul and QuantizeLinear with scale 1 are the two roundings of the
program's `requantize`. The Mul's factor is computed of the scales, which ONNX Runtime does once, at load; annotations say whose
scales they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from tiedae.program.operations import Operation

from .builder import OnnxGraphBuilder


def requantized(
    graph: OnnxGraphBuilder, operation: Operation, x: str, scale: str, total: Callable[[str], str]
) -> Callable[[str], str]:
    """Append total(x less its zero point) · (scale of x · scale) / scale of y, in the program's order.

    `x` is the tensor of the file, `scale` a constant, one value or one per channel of y. `total` appends an exact sum, below
    2²⁴. Returns the function that appends the QuantizeLinear to y of that name.
    """
    y, one = operation.y, graph.constant("one", 1, np.float32)
    (source, before), (target, after) = map(graph.parameters, (operation.x, y))
    steps = graph.node("DequantizeLinear", [x, one, before], f"{y}.x.steps")
    factor = graph.node("Div", [graph.node("Mul", [source, scale], f"{y}.unit"), target], f"{y}.factor")
    if graph.constants[scale].ndim:
        factor = graph.per_plane(y, factor)
    product = graph.node("Mul", [total(steps), factor], f"{y}.product")
    graph.annotate(operation.x, source, before)
    graph.annotate(y, target, after)
    return lambda name: graph.node("QuantizeLinear", [product, one, after], name)


def steps_of(graph: OnnxGraphBuilder, constant: str, zero_point: str, label: str) -> str:
    """A constant less its zero point (empty: 0), float32. Casts, since ONNX Runtime folds no DequantizeLinear."""
    values = graph.node("Cast", [constant], f"{label}.real", to=TensorProto.FLOAT)
    if not zero_point:
        return values
    zero = graph.node("Cast", [zero_point], f"{label}.real.zero", to=TensorProto.FLOAT)
    return graph.node("Sub", [values, zero], f"{label}.steps")
