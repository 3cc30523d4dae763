"""Stores each constant of any .tflite file once.

Tensors of a .tflite file are views of its buffers, each with its own shape and quantization. Equal bytes become one buffer,
across subgraphs. A matrix becomes a view of its transpose if all operators that read it can be rewritten (`tflite_rewrite`).
With a tolerance, so do int8 kernels with nearly equal real values, which converters create when they quantize the two
directions of a tied kernel separately.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tiedae.export.duplicates import MINIMUM, Duplicate, copies
from tiedae.export.reals import joined
from tiedae.export.tflite.graph import (
    TfliteGraph,
    has_scales,
    name_of,
    names_operators,
    scales_of,
    shape_of,
    swap_axes,
    zero_points_of,
)
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.schema import Type, pack_model, unpack_model, vector

from .equivalence import Kept, Merged, Shared
from .filter_views import plan_filter_view
from .tflite_rewrite import Replacement, Rewrite, plan_use

VIEWED = "others are views of it"
LAST_BITS = "the unused bits of its last byte are others"


def share_tflite(data: bytes | mmap.mmap, *, tolerance: float | None = None, minimum: int = MINIMUM) -> Shared:
    """Rewrite a .tflite file so that equal and transposed constants are stored once.

    Every duplicate that `duplicates.copies` finds from `minimum` bytes on is merged, or kept with a reason. `tolerance`, in
    steps of the larger scale, also merges near int8 kernels that differ by no more (`duplicates.WITHIN` at most). Signatures,
    metadata, variables, custom operators and the indices of tensors and buffers do not change. Raises FormatError for a damaged
    file, ExportError for one that cannot be rewritten without loss.
    """
    found = copies(read_tflite(data), minimum)
    if not found:
        return Shared(joined([data]), (), ())
    model = unpack_model(data)
    sharing = _Sharing.of(model, found, tolerance)
    results = {duplicate.storage: sharing.merge(duplicate) for duplicate in sorted(found, key=_rank)}
    for duplicate in found:
        if duplicate.by == "values" and isinstance(results[duplicate.storage], Kept):
            results[duplicate.storage] = sharing.kept_by_value(duplicate)
    in_order = [results[duplicate.storage] for duplicate in found]
    merged = tuple(each for each in in_order if isinstance(each, Merged))
    kept = tuple(each for each in in_order if isinstance(each, Kept))
    if not merged:
        return Shared(joined([data]), (), kept)
    _empty_unread(model, {int(duplicate.storage) for duplicate in found} | {int(each.original_storage) for each in found})
    return Shared(pack_model(model, data), merged, kept)


def _rank(duplicate: Duplicate) -> int:
    """Equal bytes first, which need no other operator, and the transposed before the near."""
    return 2 if duplicate.by == "values" else int(duplicate.order == "transposed")


@dataclass(frozen=True, eq=False)
class _SharedBuffer:
    """A buffer and the tensors that view it, in file order, equal ones of other buffers included."""

    buffer: int
    views: list[tuple[TfliteGraph, int]] = field(default_factory=list)

    @property
    def tensors(self) -> list[Any]:
        return [graph.tensor(index) for graph, index in self.views]

    @property
    def tensor(self) -> Any:
        return self.tensors[0]

    @property
    def name(self) -> str:
        return name_of(self.tensor)

    @property
    def values(self) -> np.ndarray:
        """Values without the axes of length 1; empty for a type that is not computed with."""
        graph, index = self.views[0]
        values = graph.values(index)
        return np.empty(0) if values is None else values.squeeze()

    @property
    def is_matrix(self) -> bool:
        """Whether the last two axes hold the values, of one type, in all views."""
        same = len({tensor.type for tensor in self.tensors}) == 1 and self.values.ndim == 2
        return same and all(shape_of(tensor)[-2:] == self.values.shape for tensor in self.tensors)


@dataclass(frozen=True, eq=False)
class _Sharing:
    """The buffers of a model while duplicates are merged.

    `originals`: number of duplicates by their original. `moved`: buffers whose tensors view another one now. `taken`: buffers
    that others were rewritten to view; they stay.
    """

    graphs: Sequence[TfliteGraph]
    buffers: Mapping[int, _SharedBuffer]
    tolerance: float | None
    fixed_places: bool
    originals: Mapping[str, int]
    moved: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, model: Any, found: Sequence[Duplicate], tolerance: float | None) -> _Sharing:
        graphs = [TfliteGraph(model, table) for table in model.subgraphs]
        buffers: dict[int, _SharedBuffer] = {}
        for graph in graphs:
            for index, tensor in enumerate(graph.table.tensors or []):
                buffers.setdefault(tensor.buffer, _SharedBuffer(tensor.buffer)).views.append((graph, index))
        originals = Counter(duplicate.original_storage for duplicate in found if _rank(duplicate))
        return cls(graphs, buffers, tolerance, names_operators(model), originals)

    def data(self, stored: _SharedBuffer) -> np.ndarray:
        return self.graphs[0].model.buffers[stored.buffer].data

    def pair(self, duplicate: Duplicate) -> tuple[_SharedBuffer, _SharedBuffer]:
        """The buffers of the original and of the duplicate."""
        return self.buffers[int(duplicate.original_storage)], self.buffers[int(duplicate.storage)]

    def merge(self, duplicate: Duplicate) -> Merged | Kept:
        first, second = self.pair(duplicate)
        if any(tensor.isVariable for tensor in (*first.tensors, *second.tensors)):
            return Kept(duplicate.name, duplicate.original, "a variable, which keeps a state of its own")
        if not first.buffer or not second.buffer:
            return Kept(duplicate.name, duplicate.original, "one of both is in buffer 0, which LiteRT takes for empty")
        if _rank(duplicate) == 0 or np.array_equal(self.data(first), self.data(second)):
            return self._merge_equal(duplicate, first, second)
        if duplicate.by == "values" and (self.tolerance is None or duplicate.largest > self.tolerance):
            return Kept(duplicate.name, duplicate.original, "")
        return self._merge_view(duplicate)

    def _merge_equal(self, duplicate: Duplicate, first: _SharedBuffer, second: _SharedBuffer) -> Merged | Kept:
        if not np.array_equal(self.data(first), self.data(second)):
            viewed = any(tensor.sparsity is not None for tensor in (*first.tensors, *second.tensors))
            reason = "one of both is a view, in another order than its bytes" if viewed else LAST_BITS
            return Kept(duplicate.name, duplicate.original, reason)
        self._move(second, first)
        first.views.extend(second.views)
        return Merged(duplicate.name, duplicate.original, duplicate.relation, "a second view of one buffer", duplicate.size)

    def _merge_view(self, duplicate: Duplicate) -> Merged | Kept:
        """Make one of a pair a view of the other."""
        plan = self._plan(duplicate)
        if isinstance(plan, str):
            return Kept(duplicate.name, duplicate.original, plan)
        stored, original, rewrites = plan
        name, other = duplicate.name, duplicate.original
        if original is not self.pair(duplicate)[0]:
            name, other = other, name
        how = ", ".join(dict.fromkeys(rewrite.how for rewrite in rewrites)) or "a second view of one buffer"
        merged = Merged(name, other, duplicate.relation, how, int(self.data(stored).size))
        if duplicate.by == "values":
            values = original.values.T if duplicate.order == "transposed" else original.values
            changed = float(np.mean(stored.values != values.reshape(stored.values.shape)))
            merged = replace(merged, relation="near", steps=duplicate.largest, changed=changed)
        for rewrite in rewrites:
            rewrite.apply()
        turns = duplicate.order == "transposed" and all(rewrite.turns for rewrite in rewrites)
        for graph, index in stored.views if turns else ():
            swap_axes(graph.tensor(index))
        self._move(stored, original)
        self.taken.add(original.buffer)
        return merged

    def _plan(self, duplicate: Duplicate) -> tuple[_SharedBuffer, _SharedBuffer, list[Rewrite]] | str:
        """(what becomes a view, of what, rewrites of its readers): the one whose readers can be rewritten, preferably the one
        read later; the reason as text if neither can be."""
        first, second = self.pair(duplicate)
        if first.buffer in self.moved or second.buffer in self.moved:
            return "one of both is a view of another constant now"
        attempts = [(second, first), (first, second)]
        if self.originals[duplicate.original_storage] == 1 and _runs_before(self.graphs, second, first):
            attempts.reverse()
        reasons = []
        for stored, original in attempts:
            rewrites = self._rewrites(stored, original, duplicate)
            if not isinstance(rewrites, str):
                return stored, original, rewrites
            reasons.append(rewrites)
        return "; ".join(reason for reason in dict.fromkeys(reasons) if reason != VIEWED) or VIEWED

    def _rewrites(self, stored: _SharedBuffer, original: _SharedBuffer, duplicate: Duplicate) -> list[Rewrite] | str:
        """Plan the rewrite of all readers of `stored`; the reason as text if one cannot be rewritten."""
        if stored.buffer in self.taken:
            return VIEWED
        near, transposed = duplicate.by == "values", duplicate.order == "transposed"
        if near and not (_is_kernel(stored) and _is_kernel(original)):
            return "only int8 kernels with zero points of 0, and scales along the first axis, take the values of another"
        if transposed and not near and (plan := plan_filter_view(stored.views, original.values)):
            return "metadata refers to operators by index, which new operators would shift" if self.fixed_places else [plan]
        view = Replacement(original.values, transposed, scales_of(original.tensor) if near else None)
        rewrites = []
        for graph, index in stored.views:
            if graph.is_input_or_output(index):
                return "it is an input or output of its subgraph"
            for use in graph.uses(index):
                rewrite = plan_use(use, view)
                if isinstance(rewrite, str):
                    return rewrite
                if self.fixed_places:
                    return "metadata refers to operators by index, which new operators would shift"
                rewrites.append(rewrite)
        like = original.values.dtype == stored.values.dtype and original.values.shape == stored.values.T.shape
        if transposed and not (stored.is_matrix and like):
            return "it is no matrix that is transposed"
        return rewrites

    def kept_by_value(self, duplicate: Duplicate) -> Kept:
        """Why a duplicate by value is kept, and whether a larger tolerance would merge it."""
        steps = f"{math.ceil(100 * duplicate.largest) / 100:g}"
        distance = f"near, up to {steps} of a step apart" if duplicate.relation == "near" else "equal in value, not in bytes"
        plan = self._plan(duplicate)
        if not isinstance(plan, str):
            plan = f"--near {steps} would allow that"
        return Kept(duplicate.name, duplicate.original, f"{distance}: {plan}")

    def _move(self, stored: _SharedBuffer, original: _SharedBuffer) -> None:
        """Let all tensors of a buffer view another buffer."""
        for tensor in stored.tensors:
            tensor.buffer = original.buffer
        self.moved.add(stored.buffer)


def _is_kernel(stored: _SharedBuffer) -> bool:
    """Whether all views are int8 with the same scales, per tensor or first axis, and zero points of 0."""
    views = stored.tensors
    scales, shape = scales_of(views[0]), shape_of(views[0])
    if any(view.type != Type.INT8 or shape_of(view) != shape for view in views) or scales.size not in (1, shape[0]):
        return False
    if scales.size > 1 and views[0].quantization.quantizedDimension:
        return False
    same = [scales_of(view).size == scales.size and np.allclose(scales_of(view), scales, rtol=1e-6, atol=0) for view in views]
    return all(same) and all(has_scales(view) and not np.any(zero_points_of(view)) for view in views)


def _empty_unread(model: Any, before: Iterable[int]) -> None:
    """Empty the buffers that lost their tensors; they keep their indices."""
    read = {tensor.buffer for table in model.subgraphs for tensor in table.tensors or []}
    read |= {entry.buffer for entry in model.metadata or []} | set(vector(model.metadataBuffer))
    for index in set(before) - read:
        model.buffers[index].data = np.zeros(0, np.uint8)


def _runs_before(graphs: Sequence[TfliteGraph], one: _SharedBuffer, other: _SharedBuffer) -> bool:
    """Whether `one` is read before `other` in the first subgraph that reads both.

    Without such a subgraph: whether `one` has fewer rows than columns, as in an encoder.
    """
    for graph in graphs:
        first = [_first_use(graph, stored) for stored in (one, other)]
        if None not in first:
            return first[0] < first[1]  # type: ignore[operator]
    return one.values.ndim == 2 and one.values.shape[0] < one.values.shape[1]


def _first_use(graph: TfliteGraph, stored: _SharedBuffer) -> int | None:
    indices = {index for owner, index in stored.views if owner is graph}
    operators = enumerate(graph.table.operators or [])
    return next((place for place, operator in operators if indices & set(vector(operator.inputs))), None)
