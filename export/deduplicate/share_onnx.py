"""Stores equal and transposed constants of any .onnx file once.

Equal constants become one initializer. A transposed duplicate is removed if its operation can read the original: `Gemm` and its
variants have a flag, a `MatMul` of matrices becomes a `Gemm`, a dequantized kernel keeps its own `DequantizeLinear` over the
shared integers, so that ONNX Runtime fuses it as before. Other readers get a `Transpose` or `Reshape` of the original, which
ONNX Runtime folds at load (from ORT_ENABLE_BASIC on): the file shrinks, the memory does not.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..formats.duplicates import CANDIDATES, Duplicate, copies, tells
from ..formats.onnx_reader import open_onnx
from ..formats.reals import as_bits
from .equivalence import Kept, Merged, Shared
from .onnx_graph import OnnxGraph, Stored
from .onnx_merge import detours, find_view, merge, promote
from .share_onnx_near import merge_near
from .transpose_rules import View


def share_onnx(path: Path, *, name: str, tolerance: float | None = None) -> Shared:
    """Rewrite an .onnx file so that each constant is stored once.

    `name`: file name of the result; external data, if the source has some, is NAME.data. `tolerance`, in quantization steps,
    also merges kernels whose dequantized values differ by no more (`share_onnx_near`). Small constants are skipped
    (`duplicates.searched`). Raises FormatError as `open_onnx` does, ExportError for external data of a tensor that is no
    constant.
    """
    opened = open_onnx(path)
    found = copies(opened.contents)
    graph = OnnxGraph(opened)
    outcomes: list[Merged | Kept] = []
    if not graph.model.training_info:
        for group in _groups(graph):
            outcomes += _merge_group(graph, group)
        if tolerance is not None:
            outcomes += merge_near(graph, [duplicate for duplicate in found if duplicate.relation == "near"], tolerance)
    merged = tuple(each for each in outcomes if isinstance(each, Merged))
    kept = [each for each in outcomes if isinstance(each, Kept)]
    reported = {each.name for each in outcomes}
    for duplicate in found:
        if not reported & {duplicate.name, duplicate.original}:
            kept.append(Kept(duplicate.name, duplicate.original, _reason(graph, duplicate, tolerance)))
    if not merged and not graph.external:
        return Shared(path.read_bytes(), merged, tuple(kept))
    data, external = graph.to_bytes(name)
    return Shared(data, merged, tuple(kept), external)


def _groups(graph: OnnxGraph) -> Iterator[list[Stored]]:
    """Groups of duplicates: in one graph or function, of equal type, with equal bits in some axis order."""
    groups: dict[tuple[int, int, int, int], list[Stored]] = defaultdict(list)
    for stored in graph.constants:
        if not stored.overridable and tells(stored.values) and stored.values.dtype.itemsize <= 8:
            total = int(as_bits(stored.values).sum(dtype=np.uint64))
            key = id(stored.scope.line[-1]), stored.tensor.data_type, stored.values.size, total
            groups[key].append(stored)
    for candidates in groups.values():
        layouts: dict[bytes, list[Stored]] = defaultdict(list)
        for stored in candidates if len(candidates) > 1 else ():
            layouts[hashlib.blake2b(np.ascontiguousarray(as_bits(stored.values)).data).digest()].append(stored)
        left = list(layouts.values())[:CANDIDATES]
        while left:
            equal = [find_view(left[0][0].values, each[0].values) is not None for each in left]
            group = [stored for each, same in zip(left, equal, strict=True) if same for stored in each]
            left = [each for each, same in zip(left, equal, strict=True) if not same]
            if len(group) > 1:
                yield group


def _merge_group(graph: OnnxGraph, group: Sequence[Stored]) -> Iterator[Merged | Kept]:
    """Merge duplicates into the constant that needs the fewest `Transpose` and `Reshape` nodes."""
    originals = sorted(group, key=lambda stored: (stored.node is not None, len(stored.scope.line)))
    candidates: list[Stored] = []
    for stored in originals:
        if not any(_view(each, stored).same for each in candidates):
            candidates.append(stored)
    original = min(
        candidates,
        key=lambda stored: sum(
            detours(graph, duplicate, _view(stored, duplicate)) for duplicate in group if duplicate is not stored
        ),
    )
    copied = [stored for stored in group if stored is not original]
    original = promote(graph, original, [stored.scope for stored in copied])
    for stored in copied:
        yield merge(graph, original, stored, _view(original, stored))


def _view(original: Stored, duplicate: Stored) -> View:
    view = find_view(original.values, duplicate.values)
    assert view is not None, f"{duplicate.name} is a duplicate of {original.name}"
    return view


def _reason(graph: OnnxGraph, duplicate: Duplicate, tolerance: float | None) -> str:
    """Reason why a duplicate was not merged."""
    pair = [stored for stored in map(graph.resolve, (duplicate.name, duplicate.original)) if stored]
    if graph.model.training_info:
        return "the file has training information, which refers to its constants by name"
    for stored in pair:
        if stored.overridable:
            return f"{stored.label} is also a graph input: the caller may pass another value"
    if len({id(stored.scope.line[-1]) for stored in pair}) > 1:
        return "a local function reads no constant from outside"
    if len(pair) < 2:
        return "it is no dense initializer or Constant tensor"
    if duplicate.relation == "near" and tolerance is None:
        return "near, not equal: --near STEPS would merge it"
    if duplicate.by == "values":
        return "equal in value, stored as other bytes"
    return "no Transpose or Reshape gives the order of its values"
