"""Stores each constant of any .tflite file once.

Tensors of a .tflite file are views of its buffers, each with its own shape and quantization. Equal bytes become one buffer,
across subgraphs. A matrix becomes a view of its transpose if all operators that read it can be rewritten (`tflite_rewrite`).
With a tolerance, so do int8 kernels with nearly equal real values, which converters create when they quantize the two
directions of a tied kernel separately.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..formats.duplicates import Duplicate, copies
from ..formats.tflite_graph import (
    TfliteGraph,
    TfliteUse,
    has_scales,
    name_of,
    names_operators,
    scales_of,
    shape_of,
    swap_axes,
    zero_points_of,
)
from ..formats.tflite_reader import read_tflite
from ..formats.tflite_schema import Type, pack_model, unpack_model, vector
from .equivalence import Kept, Merged, Shared
from .tflite_rewrite import Replacement, Rewrite, plan_use

MATRIX_BYTES = 64
"""Minimum size of a matrix that is worth rewriting its operators."""


def share_tflite(data: bytes, *, tolerance: float | None = None) -> Shared:
    """Rewrite a .tflite file so that equal and transposed constants are stored once.

    `tolerance`, in steps of the larger scale, also merges int8 kernels that differ by no more. Signatures, metadata, variables,
    custom operators and the indices of tensors and buffers do not change. Raises FormatError for a damaged file, ExportError
    for one that cannot be rewritten without loss.
    """
    read_tflite(data)
    model = unpack_model(data)
    graphs = [TfliteGraph(model, table) for table in model.subgraphs]
    before = {stored.buffer for stored in _stored(graphs)}
    merged = [*_merge_equal(graphs)]
    reasons: dict[frozenset[str], str] = {}
    originals: set[int] = set()
    for found in _pairs(graphs, tolerance):
        result = _merge_pair(graphs, found, originals, names_operators(model))
        if isinstance(result, Merged):
            merged.append(result)
        else:
            reasons[frozenset((result.name, result.original))] = result.reason
    if not merged:
        return Shared(data, (), _kept(data, graphs, reasons))
    _empty_unread(model, before)
    rewritten = pack_model(model, data)
    return Shared(rewritten, tuple(merged), _kept(rewritten, graphs, reasons))


@dataclass(frozen=True, eq=False)
class _SharedBuffer:
    """A buffer and the tensors that view it, in file order."""

    buffer: int
    views: list[tuple[TfliteGraph, int]] = field(default_factory=list)

    @property
    def tensor(self) -> Any:
        graph, index = self.views[0]
        return graph.tensor(index)

    @property
    def name(self) -> str:
        return name_of(self.tensor)

    @property
    def is_moved(self) -> bool:
        """Whether its tensors view another buffer now."""
        return self.tensor.buffer != self.buffer

    @property
    def matrix(self) -> np.ndarray:
        """Values [rows, columns] of a constant whose other axes have length 1; shape [0, 0] for others."""
        graph, index = self.views[0]
        values = graph.values(index)
        is_matrix = values is not None and values.ndim >= 2 and values.size == values.shape[-1] * values.shape[-2]
        return values.reshape(values.shape[-2:]) if values is not None and is_matrix else np.empty((0, 0))


def _stored(graphs: Sequence[TfliteGraph]) -> list[_SharedBuffer]:
    """The constants of the file, one per buffer."""
    found: dict[int, _SharedBuffer] = {}
    for graph in graphs:
        for index, tensor in enumerate(graph.table.tensors or []):
            if graph.model.buffers[tensor.buffer].data.size and not tensor.isVariable:
                found.setdefault(tensor.buffer, _SharedBuffer(tensor.buffer)).views.append((graph, index))
    return list(found.values())


def _merge_equal(graphs: Sequence[TfliteGraph]) -> Iterator[Merged]:
    """Merge buffers of equal bytes. A buffer without tensors keeps its index."""
    first: dict[tuple[int, bytes], _SharedBuffer] = {}
    for stored in _stored(graphs):
        data = graphs[0].model.buffers[stored.buffer].data
        original = first.setdefault((data.size, _digest(data)), stored)
        if original is stored:
            continue
        relation = "equal" if shape_of(stored.tensor) == shape_of(original.tensor) else "reshaped"
        yield Merged(stored.name, original.name, relation, "a second view of one buffer", int(data.size))
        _move(stored, original.buffer)


def _digest(values: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(values).data).digest()


def _move(stored: _SharedBuffer, buffer: int) -> None:
    """Let all tensors of a buffer view another buffer."""
    for graph, index in stored.views:
        graph.tensor(index).buffer = buffer


def _empty_unread(model: Any, before: Iterable[int]) -> None:
    """Empty the buffers that lost their tensors; they keep their indices."""
    read = {tensor.buffer for table in model.subgraphs for tensor in table.tensors or []}
    read |= {entry.buffer for entry in model.metadata or []} | set(vector(model.metadataBuffer))
    for index in set(before) - read:
        model.buffers[index].data = np.zeros(0, np.uint8)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two matrices, of which one could view the other. `steps`: distance of near duplicates; None for exact ones."""

    first: _SharedBuffer
    second: _SharedBuffer
    transposed: bool
    steps: float | None = None


def _pairs(graphs: Sequence[TfliteGraph], tolerance: float | None) -> Iterator[_Pair]:
    """Transposed pairs, then near ones. A matrix that was merged meanwhile is skipped."""
    seen: dict[Any, _SharedBuffer] = {}
    for stored in _matrices(graphs):
        values = stored.matrix
        mark = values.dtype.str, _digest(values.T), values.shape[::-1]
        if mark in seen:
            yield _Pair(seen[mark], stored, True)
        seen.setdefault((values.dtype.str, _digest(values), values.shape), stored)
    if tolerance is None:
        return
    waiting = [stored for stored in _matrices(graphs) if _is_kernel(stored)]
    while waiting:
        first = waiting.pop(0)
        for second in waiting:
            for transposed in (False, True):
                steps = _steps(first, second, transposed, tolerance)
                if steps is not None and not (first.is_moved or second.is_moved):
                    yield _Pair(first, second, transposed, steps)
        waiting = [stored for stored in waiting if not stored.is_moved]


def _matrices(graphs: Sequence[TfliteGraph]) -> list[_SharedBuffer]:
    """Constants that are matrices, with one shape and type in all views."""

    def fits(stored: _SharedBuffer) -> bool:
        shapes = {(shape_of(graph.tensor(index)), graph.tensor(index).type) for graph, index in stored.views}
        return len(shapes) == 1 and stored.matrix.nbytes >= MATRIX_BYTES and min(stored.matrix.shape) > 1

    return [stored for stored in _stored(graphs) if fits(stored)]


def _is_kernel(stored: _SharedBuffer) -> bool:
    """Whether all views are int8 with the same scales, per tensor or first axis, and zero points of 0."""
    views = [graph.tensor(index) for graph, index in stored.views]
    scales, shape = scales_of(views[0]), shape_of(views[0])
    per_row = scales.size > 1
    if views[0].type != Type.INT8 or scales.size not in (1, shape[0]) or (per_row and len(shape) != 2):
        return False
    if per_row and views[0].quantization.quantizedDimension:
        return False
    same = [scales_of(view).size == scales.size and np.allclose(scales_of(view), scales, rtol=1e-6, atol=0) for view in views]
    return all(same) and all(has_scales(view) and not np.any(zero_points_of(view)) for view in views)


def _steps(first: _SharedBuffer, second: _SharedBuffer, transposed: bool, limit: float) -> float | None:
    """Maximum distance of the real values of two kernels, in steps of the coarser scale.

    None if it exceeds the limit (unrelated kernels do so in the first rows), or if the shapes differ.
    """
    (one, one_steps), (other, other_steps) = (_kernel(stored) for stored in (first, second))
    if transposed:
        other, other_steps = other.T, other_steps.T
    if one.shape != other.shape:
        return None
    largest = 0.0
    for row in range(len(one)):
        gap = np.abs(one[row] * one_steps[row] - other[row] * other_steps[row])
        largest = max(largest, float((gap / np.maximum(one_steps[row], other_steps[row])).max()))
        if largest > limit:
            return None
    return largest


def _kernel(stored: _SharedBuffer) -> tuple[np.ndarray, np.ndarray]:
    """(integers, float64 steps), both [rows, columns]."""
    return stored.matrix, np.broadcast_to(scales_of(stored.tensor).astype(np.float64)[:, None], stored.matrix.shape)


def _merge_pair(graphs: Sequence[TfliteGraph], pair: _Pair, originals: set[int], fixed_places: bool) -> Merged | Kept:
    """Make one of a pair a view of the other: the one whose readers can be rewritten, preferably the one read later.

    `originals`: buffers that have merged views; they stay, and the pair's original joins them.
    """
    attempts = [(pair.second, pair.first), (pair.first, pair.second)]
    if _runs_before(graphs, pair.second, pair.first):
        attempts.reverse()
    reasons = []
    for stored, original in attempts:
        if stored.buffer in originals:
            continue
        plans = _plans(stored, original, pair, fixed_places)
        if isinstance(plans, str):
            reasons.append(plans)
            continue
        size = graphs[0].model.buffers[stored.buffer].data.size
        how = ", ".join(dict.fromkeys(plan.how for plan in plans)) or "a second view of one buffer"
        merged = Merged(stored.name, original.name, "transposed", how, int(size))
        if pair.steps is not None:
            integers = original.matrix.T if pair.transposed else original.matrix
            merged = replace(merged, relation="near", steps=pair.steps, changed=float(np.mean(stored.matrix != integers)))
        for plan in plans:
            plan.apply()
        for graph, index in stored.views if pair.transposed else ():
            swap_axes(graph.tensor(index))
        _move(stored, original.buffer)
        originals.add(original.buffer)
        return merged
    return Kept(pair.second.name, pair.first.name, "; ".join(dict.fromkeys(reasons)) or "others are views of both")


def _plans(stored: _SharedBuffer, original: _SharedBuffer, pair: _Pair, fixed_places: bool) -> list[Rewrite] | str:
    """Plan the rewrite of all readers of `stored`; the reason as text if one cannot be rewritten."""
    view = Replacement(original.matrix, pair.transposed, None if pair.steps is None else scales_of(original.tensor))
    plans = []
    for graph, index in stored.views:
        if graph.is_input_or_output(index):
            return "it is an input or output of its subgraph"
        for use in graph.uses(index):
            plan = plan_use(use, view)
            if isinstance(plan, str):
                return plan
            if fixed_places:
                return "metadata refers to operators by index, which new operators would shift"
            plans.append(plan)
    return plans


def _runs_before(graphs: Sequence[TfliteGraph], one: _SharedBuffer, other: _SharedBuffer) -> bool:
    """Whether `one` is read before `other` in the first subgraph that reads both.

    Without such a subgraph: whether `one` has fewer rows than columns, as in an encoder.
    """
    for graph in graphs:
        first = [_first_use(graph, stored) for stored in (one, other)]
        if None not in first:
            return first[0] < first[1]  # type: ignore[operator]
    rows, columns = shape_of(one.tensor)[-2:]
    return rows < columns


def _first_use(graph: TfliteGraph, stored: _SharedBuffer) -> int | None:
    indices = {index for owner, index in stored.views if owner is graph}
    operators = enumerate(graph.table.operators or [])
    return next((place for place, operator in operators if indices & set(vector(operator.inputs))), None)


def _kept(data: bytes, graphs: Sequence[TfliteGraph], reasons: Mapping[frozenset[str], str]) -> tuple[Kept, ...]:
    """The duplicates that remain in the written file, each with a reason."""
    return tuple(
        Kept(each.name, each.original, reasons.get(frozenset((each.name, each.original))) or _reason(each, graphs))
        for each in copies(read_tflite(data))
    )


def _reason(duplicate: Duplicate, graphs: Sequence[TfliteGraph]) -> str:
    if duplicate.relation == "near":
        steps = f"{math.ceil(100 * duplicate.largest) / 100:g}"
        return f"near, up to {steps} of a step apart: --near {steps} would allow that"
    if duplicate.by == "values":
        return "only the values are equal, the stored bytes are not"
    return _readers(graphs, duplicate.name)


def _readers(graphs: Sequence[TfliteGraph], name: str) -> str:
    """Why the operators that read a constant cannot read its transpose."""
    view = Replacement(np.zeros((1, 1)), True)
    uses: list[TfliteUse] = [
        use
        for graph in graphs
        for index, tensor in enumerate(graph.table.tensors or [])
        if name_of(tensor) == name
        for use in graph.uses(index)
    ]
    texts = [text for text in (plan_use(use, view) for use in uses) if isinstance(text, str)]
    return "; ".join(dict.fromkeys(texts)) or "the order of its axes is another"
