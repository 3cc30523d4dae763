"""Lets convolutions of a .tflite file read their filter from a buffer that has its values in another order of the axes.

The filter becomes a view (`export.tflite.views`), which DENSIFY reads into a tensor of its own when XNNPACK loads the file. So
CONV_2D's, [units, *window, channels], and that of the TRANSPOSE_CONV which mirrors it, [channels, *window, units], are one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tiedae.export.tflite.graph import TfliteGraph, TfliteUse, shape_of
from tiedae.export.tflite.schema import Op, Type, int32, vector
from tiedae.export.tflite.sparse import in_order
from tiedae.export.tflite.views import view_of

from .tflite_rewrite import Rewrite

INPUTS = {Op.CONV_2D: 0, Op.TRANSPOSE_CONV: 2}
"""Which input is convolved, by operator; the filter is the second one of both."""
AXES = 4


def plan_filter_view(views: Sequence[tuple[TfliteGraph, int]], original: np.ndarray) -> Rewrite | None:
    """Plan that all readers of the tensors `views` (graph, index), over one buffer, read `original` instead.

    None unless they are filters of one shape, float32 or int8, of convolutions alone, and `original` has their values.
    """
    uses = [use for graph, index in views for use in graph.uses(index)]
    if not uses or not all(map(_is_filter, uses)) or any(graph.is_input_or_output(index) for graph, index in views):
        return None
    graph, index = views[0]
    shape, values = shape_of(graph.tensor(index)), graph.values(index)
    if values is None or len(shape) != AXES or any(shape_of(graph.tensor(i)) != shape for graph, i in views):
        return None
    order = _order_of(values, original)
    if order is None:
        return None
    names = dict.fromkeys(use.graph.operator_name(use.operator) for use in uses)
    return Rewrite(f"{', '.join(names)} on a view, by DENSIFY", lambda: _densify(views, order), turns=False)


def _is_filter(use: TfliteUse) -> bool:
    place = INPUTS.get(use.graph.code(use.operator))
    if place is None or use.slot != 1:
        return False
    types = {use.graph.tensor(int(use.operator.inputs[slot])).type for slot in (place, use.slot)}
    return types in ({Type.FLOAT32}, {Type.INT8})


def _order_of(values: np.ndarray, original: np.ndarray) -> tuple[int, ...] | None:
    """The axes of `values` in the order of `original`; those of length 1 first, which is the fastest to read."""
    if values.size != original.size or values.dtype != original.dtype:
        return None
    orders = sorted(itertools.permutations(range(AXES)), key=lambda order: [values.shape[axis] > 1 for axis in order])
    return next((order for order in orders if np.array_equal(in_order(original, values.shape, order), values)), None)


def _densify(views: Sequence[tuple[TfliteGraph, int]], order: tuple[int, ...]) -> None:
    for graph, index in views:
        operators = [use.operator for use in graph.uses(index)]
        if not operators:
            continue
        tensor = graph.tensor(index)
        tensor.sparsity, dense = view_of(shape_of(tensor), order), graph.add_like(index, b".dense")
        for operator in operators:
            operator.inputs = int32(dense if each == index else each for each in vector(operator.inputs))
        graph.replace(operators[0], [graph.operator(Op.DENSIFY, 1, [index], dense), operators[0]])
